// What the widgets are built of: labelled controls, bars, and drawings that take the page's colours.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});

  const make = (tag, properties = {}, ...children) => {
    const { className, ...others } = properties;
    const element = Object.assign(document.createElement(tag), others);
    if (className) element.className = className;
    element.append(...children);
    return element;
  };

  const button = (textContent, onclick) => make("button", { type: "button", textContent, onclick });

  const draw = (tag, attributes = {}, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // name: label, least, most, step, value, what the value 0 means where it means "off"
  const KNOBS = {
    temperature: ["temperature", 0, 2, 0.05, 0.8],
    top_k: ["top-k", 0, 60, 1, 0, "all"],
    top_p: ["top-p", 0.05, 1, 0.05, 1],
    min_p: ["min-p", 0, 0.5, 0.01, 0],
    frequency_penalty: ["frequency penalty", 0, 2, 0.05, 0],
    presence_penalty: ["presence penalty", 0, 2, 0.05, 0],
    length: ["length", 10, 500, 10, 200],
    seed: ["seed", 1, 100, 1, 1],
  };

  // A row: label, slider, and the value beside it. `set` moves it; `among` makes it choose from a list.
  const slider = (id, [label, min, max, step, value, off], onInput = () => {}) => {
    const input = make("input", { type: "range", id, min, max, step, value });
    const output = make("output", { htmlFor: id });
    let list = null;
    const show = () => {
      const number = String(+(+input.value).toFixed(2));
      output.textContent = list ? list[number] : off && number === "0" ? off : number;
      input.setAttribute("aria-valuetext", output.textContent);
    };
    const set = (value) => {
      input.value = value;
      show();
    };
    const among = (values, value) => {
      list = values;
      input.max = values.length - 1;
      set(values.includes(value) ? values.indexOf(value) : values.length - 1);
    };
    input.addEventListener("input", () => {
      show();
      onInput(+input.value);
    });
    show();
    const row = make("div", { className: "mg-knob" }, make("label", { htmlFor: id }, label), input, output);
    return { input, set, among, row };
  };

  // Sliders for those knobs of `names`, their values in one object, as the engine takes them.
  const knobs = (id, names, initial, onInput) => {
    const sliders = {};
    const panel = make("div", { className: "mg-knobs" });
    for (const name of names) {
      sliders[name] = slider(`${id}-${name}`, KNOBS[name], onInput);
      if (initial[name] !== undefined && initial[name] !== null) sliders[name].set(initial[name]);
      panel.append(sliders[name].row);
    }
    const values = () => {
      const values = Object.fromEntries(names.map((name) => [name, +sliders[name].input.value]));
      if ("top_k" in values) values.top_k ||= null;
      return values;
    };
    return { panel, values, sliders };
  };

  const field = (label, input) =>
    make("div", { className: "mg-field" }, make("label", { htmlFor: input.id }, label), input);

  const choice = (id, options, value) => {
    const select = make("select", { id });
    for (const [name, label] of Object.entries(options))
      select.append(make("option", { value: name, textContent: label }));
    if (value !== undefined) select.value = value;
    return select;
  };

  const percent = (p) => `${(100 * p).toFixed(2)}%`;

  const capital = (text) => text[0].toUpperCase() + text.slice(1);

  const sentence = (error) => `${capital(error.message)}.`;

  const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

  // Numbers as tables show them: to two places; a vector as a bar for each number, from the middle, up if positive and
  // down if negative, the whole half at `most`; a share as a bar of that part of the width.
  const number = (value) => (+value.toFixed(2) || 0).toFixed(2).replace("-", "−");

  const largest = (...vectors) => Math.max(...vectors.flatMap((vector) => Array.from(vector, Math.abs)));

  const strip = (values, most, role = "") => {
    const d = Array.from(values, (value, i) => `M${i} 1v${(-value / (most || 1)).toFixed(3)}h.8V1z`).join("");
    const size = { viewBox: `0 0 ${values.length} 2`, preserveAspectRatio: "none" };
    return draw("svg", { ...size, class: `mg-vector ${role}`, "aria-hidden": "true" }, draw("path", { d }));
  };

  const level = (share, role = "mg-bar") => {
    const bar = make("span", { className: role });
    bar.style.width = `${(100 * share).toFixed(1)}%`;
    return make("span", { className: "mg-level" }, bar);
  };

  const row = (name, ...cells) => {
    const wide = (cell) => (cell instanceof Node ? { className: "mg-wide" } : {});
    const others = cells.map((cell) => make("td", wide(cell), cell));
    return make("tr", {}, make("th", { scope: "row", textContent: name }), ...others);
  };

  const table = (caption, columns, rows) => {
    const head = columns.map((textContent, i) =>
      make("th", { scope: "col", textContent, className: rows[0]?.children[i].className })); // as the cells below it
    const parts = [make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)];
    return make("table", { className: "mg-bars" }, make("caption", { textContent: caption }), ...parts);
  };

  // While an answer is on its way, or is about to be asked for, the widget is busy: the pointer shows it.
  const asked = new WeakMap();
  const busy = (root, change) => {
    asked.set(root, (asked.get(root) ?? 0) + change);
    root.classList.toggle("mg-busy", asked.get(root) > 0);
    if (!asked.get(root)) root.style.minHeight = ""; // it is drawn, and as high as it needs to be
  };

  // One thing at a time: each action gets a signal, which ends it as soon as the next one begins. Then nobody hears how
  // it ends.
  const alone = (root, failed) => {
    let last = null;
    return async (action) => {
      last?.abort();
      const { signal } = (last = new AbortController());
      busy(root, 1);
      try {
        await action(signal);
      } catch (error) {
        if (!signal.aborted) failed(error);
      } finally {
        busy(root, -1);
      }
    };
  };

  // What the promise brings; if that takes longer than a moment, `place` says so.
  const patiently = async (place, words, promise) => {
    const before = place.textContent, timer = setTimeout(() => (place.textContent = words), 100);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      if (place.textContent === words) place.textContent = before;
    }
  };

  // In a field of one line ↵ stands for a line break, and so does \n, which is easier to type.
  const toLine = (text) => text.replaceAll("\n", "↵");
  const fromLine = (line) => line.replaceAll("↵", "\n").replaceAll("\\n", "\n");

  // A field for a text, of one line or of several rows; under it stands what the eye would miss.
  class Text {
    constructor(id, label, text, rows = 1) {
      this.line = rows === 1;
      this.input = this.line ? make("input", { type: "text", id }) : make("textarea", { id, rows });
      this.input.maxLength = 10_000;
      this.note = make("p", { className: "mg-note", id: `${id}-note`, role: "status" });
      this.input.setAttribute("aria-describedby", this.note.id);
      this.field = field(label, this.input);
      this.field.append(this.note);
      this.mine = []; // the reader's texts, the last one first
      this.typed = true;
      this.input.addEventListener("input", () => {
        this.typed = true;
        this.remark();
      });
      this.show(text);
    }

    get value() {
      return this.line ? fromLine(this.input.value) : this.input.value;
    }

    show(text, notice) {
      this.input.value = this.line ? toLine(text) : text;
      this.remark(notice);
    }

    remark(notice = "") {
      const last = { " ": "a space", "\n": "a line break", "\t": "a tab" }[this.value.at(-1)];
      this.note.textContent = `${notice} ${last ? `It ends with ${last}, which the model reads too.` : ""}`.trim();
    }

    keep() {
      if (this.typed) this.mine = [this.value, ...this.mine.filter((text) => text !== this.value)];
      this.typed = false;
    }

    // For another model: the last of the reader's texts that it can read, or else the first of `others` that it can.
    async follow(engine, name, others, signal) {
      this.keep();
      const texts = [...this.mine, ...others];
      const { place, stranger } = await engine.ask("readable", { name, texts }, { signal });
      if (this.typed) return; // the reader was faster
      const waits = `The model does not know the character “${stranger}”: your text comes back with a model that does.`;
      this.show(texts[place], stranger && waits);
    }
  }

  // What a shipped model may begin with.
  const TALE = '"Where is the Spoon?" asked';
  const OPENINGS = {
    "tales-char": TALE,
    "tales-bpe": TALE,
    "tales-zh": "“这是谁的椅子？”露丝船长问",
    "shakespeare-char": "O Romeo, Romeo! wherefore",
  };

  // The prompt, which follows the choice of the model.
  class Prompt extends Text {
    constructor(id, label, text, rows, engine, model) {
      super(id, label, text, rows);
      Object.assign(this, { engine, model, of: model.value });
    }

    // The chosen model, loaded, and the text that it is to read.
    async load(signal) {
      for (;;) {
        const name = this.model.value, loaded = await this.engine.load(name, signal);
        if (name !== this.of) await this.follow(this.engine, name, [OPENINGS[name] ?? "", ""], signal);
        if (name !== this.model.value) continue; // the reader has chosen again
        this.of = name;
        return { name, prompt: this.value, ...loaded };
      }
    }

    // Another text stands here, until a model is loaded again.
    lend(text) {
      this.keep();
      this.of = null;
      this.show(text);
    }
  }

  // Waits until nothing has been asked for `pause` milliseconds, then asks once.
  const later = (root, action, pause = 150) => {
    let timer = null;
    return () => {
      if (timer === null) busy(root, 1);
      clearTimeout(timer);
      timer = setTimeout(() => {
        timer = null;
        action();
        busy(root, -1);
      }, pause);
    };
  };

  // One stop of the tab key for all items of a list, those with a tabindex: the one that last had the focus. The arrow
  // keys go from one to the next.
  const rove = (list, moved = () => {}) => {
    const items = () => [...list.querySelectorAll("[tabindex]")];
    list.addEventListener("focusin", ({ target }) => {
      for (const item of items()) item.tabIndex = item === target ? 0 : -1;
    });
    list.addEventListener("keydown", (event) => {
      const all = items(), from = all.indexOf(event.target);
      const next = from + 1, last = from - 1;
      const arrows = { ArrowRight: next, ArrowDown: next, ArrowLeft: last, ArrowUp: last };
      const to = { ...arrows, Home: 0, End: all.length - 1 }[event.key];
      if (all[to] === undefined) return;
      event.preventDefault();
      all[to].focus();
      moved(to);
    });
  };

  // The tokens of a text, of which the reader chooses one: `onChoice` hears its place.
  class Tokens {
    constructor(label, onChoice) {
      Object.assign(this, { names: [], onChoice });
      this.list = make("div", { className: "mg-tokens", role: "listbox" });
      this.list.setAttribute("aria-label", label);
      rove(this.list, onChoice);
    }

    show(names) {
      this.names = names;
      this.list.replaceChildren(
        ...names.map((textContent, place) => {
          const span = make("span", { textContent, onclick: () => this.onChoice(place) });
          span.setAttribute("role", "option");
          return span;
        }),
      );
    }

    // Mark the token at this place as the chosen one.
    mark(chosen) {
      [...this.list.children].forEach((span, place) => {
        span.setAttribute("aria-selected", String(place === chosen));
        span.tabIndex = place === chosen ? 0 : -1;
      });
    }

    called(place) {
      return `“${this.names[place]}” (position ${place})`;
    }
  }

  // Whether the reader asked the system for less motion.
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // A button that plays: it takes a step again and again, `pause(n)` milliseconds after the n-th, until a step says
  // that it was the last one, or the reader pauses it. `stopped` hears of the end of it.
  const player = (step, pause, stopped = () => {}) => {
    const button = make("button", { type: "button", textContent: "Play" });
    let timer = null;
    const playing = () => timer !== null;
    const stop = () => {
      if (!playing()) return;
      clearTimeout(timer);
      timer = null;
      button.textContent = "Play";
      stopped();
    };
    const go = (n) => {
      timer = setTimeout(() => (button.isConnected && step() ? go(n + 1) : stop()), pause(n));
    };
    button.onclick = () => {
      if (playing()) return stop();
      button.textContent = "Pause";
      go(0);
    };
    return { button, playing, stop };
  };

  // A part keeps the room that it has now, rounded up, so that nothing below moves when it needs less.
  const keep = (part) => {
    part.style.minHeight = `${Math.ceil(part.getBoundingClientRect().height)}px`;
  };

  // Room for the longest of the texts that will stand here, so that nothing below moves when they change.
  const hold = (place, texts) => {
    const now = place.textContent;
    place.style.minHeight = "";
    const heights = texts.map((text) => {
      place.textContent = text;
      return Math.ceil(place.getBoundingClientRect().height);
    });
    place.textContent = now;
    place.style.minHeight = `${Math.max(...heights)}px`;
  };

  // A canvas keeps the colours that it was painted with: paint it anew when those of the page change.
  const onColours = (part, paint) => {
    const colours = () => getComputedStyle(part).color + getComputedStyle(part).getPropertyValue("--mg-accent");
    let last = colours();
    const observer = new MutationObserver(() => {
      if (!part.isConnected) observer.disconnect();
      else if (last !== (last = colours())) paint();
    });
    for (const element of [document.documentElement, document.body]) observer.observe(element, { attributes: true });
  };

  // An id of its own for each widget of a page. In Jupyter each widget brings this script again.
  minigpt.widgetCount ??= 0;
  const newId = (name) => `mg-${name}-${++minigpt.widgetCount}`;

  // Fill the root of a widget, which keeps the height of its still picture until it is drawn, so that the page does not
  // jump. JupyterLab would take the arrow keys.
  const fill = (root, ...children) => {
    keep(root);
    root.replaceChildren(...children);
    root.classList.add("mg", "mg-alive");
    root.onkeydown = (event) => event.stopPropagation();
  };

  // A drawing, and a text in it, at the height of its middle.
  const drawing = (width, height, said, ...parts) =>
    draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said }, ...parts);

  const label = (x, y, text, attributes = {}) =>
    draw("text", { x, y, "dominant-baseline": "central", ...attributes }, text);

  // The head of a column of bars: their axis from 0 to `most`.
  const axis = (most) => {
    const ticks = [0, most / 2, most].map((tick) => make("span", { textContent: String(tick) }));
    const head = make("th", { scope: "col", className: "mg-axis" }, ...ticks);
    head.setAttribute("aria-label", `shares, from 0 to ${most}`);
    return head;
  };

  minigpt.widgets ??= {};
  minigpt.parts = {
    make, button, draw, slider, knobs, field, choice, percent, capital, sentence, count, number, largest, strip, level, row,
    table, alone, patiently, toLine, fromLine, Text, Prompt, later, rove, Tokens, calm, player, keep, hold, onColours, newId,
    fill, drawing, label, axis,
  };
})();
