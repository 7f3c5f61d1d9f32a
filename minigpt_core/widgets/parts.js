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
    return { input, set, among, row: make("div", { className: "mg-knob" }, make("label", { htmlFor: id }, label), input, output) };
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
    return { panel, values };
  };

  const field = (label, input) => make("div", { className: "mg-field" }, make("label", { htmlFor: input.id }, label), input);

  const choice = (id, options, value) => {
    const select = make("select", { id });
    for (const [name, label] of Object.entries(options)) select.append(make("option", { value: name, textContent: label }));
    if (value !== undefined) select.value = value;
    return select;
  };

  const percent = (p) => `${(100 * p).toFixed(2)}%`;

  const capital = (text) => text[0].toUpperCase() + text.slice(1);

  const sentence = (error) => `${capital(error.message)}.`;

  // Waits until nothing has been asked for `pause` milliseconds, then asks once.
  const later = (action, pause = 150) => {
    let timer = 0;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(action, pause);
    };
  };

  // One stop of the tab key for all items of a list, those with a tabindex; the arrow keys go from one to the next.
  const rove = (list, moved = () => {}) =>
    list.addEventListener("keydown", (event) => {
      const items = [...list.querySelectorAll("[tabindex]")], from = items.indexOf(event.target);
      const to = { ArrowRight: from + 1, ArrowLeft: from - 1, Home: 0, End: items.length - 1 }[event.key];
      if (items[to] === undefined) return;
      event.preventDefault();
      items[from].tabIndex = -1;
      items[to].tabIndex = 0;
      items[to].focus();
      moved(to);
    });

  // An id of its own for each widget of a page. In Jupyter each widget brings this script again.
  minigpt.widgetCount ??= 0;
  const newId = (name) => `mg-${name}-${++minigpt.widgetCount}`;

  // Fill the root of a widget, which keeps the height of its still picture, so that the page does not jump. JupyterLab would
  // take the arrow keys.
  const fill = (root, ...children) => {
    root.style.minHeight = `${root.offsetHeight}px`;
    root.replaceChildren(...children);
    root.classList.add("mg", "mg-alive");
    root.onkeydown = (event) => event.stopPropagation();
  };

  minigpt.widgets ??= {};
  minigpt.parts = { make, draw, slider, knobs, field, choice, percent, capital, sentence, later, rove, newId, fill };
})();
