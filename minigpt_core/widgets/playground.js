// The playground: a prompt, every knob, and the text as the model writes it: at once, or one token at a time.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const { make, button, draw, knobs, field, choice, percent, sentence, count, alone, patiently, toLine, fromLine } = minigpt.parts;
  const { Prompt, rove, keep, newId, fill, LARGEST_MODEL, bytesOf, fileField, droppable } = minigpt.parts;
  const NAMES = ["temperature", "top_k", "top_p", "min_p", "frequency_penalty", "presence_penalty", "length", "seed"];
  const ENDS = { end: "The text has ended.", stop: "The stop string came.", length: "" };
  const TINT = "The stronger a token's tint, the less likely it was. Choose one to see what else could have been.";

  // One setting: its knobs, its text, and what else could have been.
  class Setting {
    constructor(title, id, shared, engine, initial, tell) {
      Object.assign(this, { shared, engine, tell, run: null, made: null, asked: "", seedIsSet: false, ended: "" });
      this.tokens = []; // all that have come, of which those up to `most` are shown: all, or one for each press of a button
      this.shown = 0;
      this.most = Infinity;
      this.knobs = knobs(id, NAMES, initial, () => shared.changed());
      this.knobs.sliders.seed.input.addEventListener("input", () => (this.seedIsSet = true));
      this.knobs.panel.setAttribute("role", "group");
      this.knobs.panel.setAttribute("aria-label", `knobs of setting ${title}`);
      this.text = make("div", { className: "mg-text" });
      rove(this.text);
      this.others = make("div", { className: "mg-others", hidden: true });
      this.others.setAttribute("role", "group");
      rove(this.others);
      this.others.addEventListener("keydown", ({ key }) => key === "Escape" && this.text.querySelector("[aria-pressed]")?.focus());
      this.others.addEventListener("focusout", ({ relatedTarget }) => this.others.contains(relatedTarget) || this.leave());
      this.writing = make("div", { className: "mg-writing" }, this.text, this.others);
      this.status = make("p", { className: "mg-status", role: "status" });
      this.root = make("section", { className: "mg-setting" }, this.writing, this.status);
      this.root.setAttribute("aria-label", `setting ${title}`);
      for (const part of [this.root, this.knobs.panel]) part.dataset.title = title;
    }

    // The text of the still picture stands until another one is written.
    adopt(still) {
      this.text.replaceChildren(...still.childNodes);
      this.asked = this.asking();
      this.status.textContent =
        `The model wrote this when the page was made, with seed ${this.knobs.values().seed}. ` +
        "Press Write for another text, computed in this page.";
    }

    // The values of another setting.
    take(values) {
      for (const name of NAMES) this.knobs.sliders[name].set(values[name] ?? 0);
      this.seedIsSet = false;
    }

    // While a text is being written, the reader may stop it; between two tokens there is nothing to stop.
    get writes() {
      return this.run !== null && this.most === Infinity;
    }

    // The text is written token by token, and goes on where it is, with the settings that it has.
    get waits() {
      return this.most !== Infinity && (this.run !== null || this.shown < this.tokens.length) && this.asked === this.asking();
    }

    // All that a text depends on.
    asking() {
      const { prompt, stop } = this.shared;
      return JSON.stringify([prompt.model.value, prompt.value, stop.value, this.knobs.values()]);
    }

    // One token more, or all.
    more(most) {
      this.most = most === Infinity ? most : this.most + 1;
      if (most === Infinity) this.close();
      this.reveal();
      this.shared.changed();
    }

    stop() {
      this.run?.abort();
    }

    // Write from the prompt; or go on from `kept`, tokens that stay, with the model and the prompt that wrote them.
    async write(kept, most) {
      this.stop();
      const run = (this.run = new AbortController()), { signal } = run;
      let written = () => "It has written nothing yet.";
      this.most = most;
      this.close();
      keep(this.status); // it never needs less room again
      this.status.textContent = "Loading the model: a moment, only once…";
      this.shared.changed();
      try {
        const made = kept.length ? this.made : await this.shared.prompt.load(signal);
        const { name, prompt } = made, stop = fromLine(this.shared.stop.value);
        const { seed, length, ...knobs } = this.knobs.values();
        if (!kept.length) this.asked = this.asking();
        const { texts } = await this.engine.ask("promptTokens", { name, prompt }, { signal });
        Object.assign(this, { made, tokens: [], shown: 0, ended: "" });
        this.status.textContent = "Writing…";
        keep(this.writing); // what stands below stays where it is
        this.text.replaceChildren(...texts.map((text) => make("span", { className: "mg-prompt", textContent: text })));
        written = () => `It has written ${count(this.shown, "token")}.`;
        const began = performance.now();
        const onPart = (token) => {
          this.tokens.push(token);
          this.reveal();
          if (this.tokens.length === kept.length) this.text.lastChild.focus(); // the button that was pressed is gone
        };
        const { why } = await this.engine.ask("generate", { name, prompt, kept, knobs, seed, count: length, stop }, { signal, onPart });
        if (this.tokens.length < kept.length) this.text.lastChild.focus(); // the end was chosen, which is no token of the text
        const n = this.tokens.length - kept.length, seconds = (performance.now() - began) / 1000;
        const speed = n > 20 && this.most === Infinity ? ` ${count(Math.round(n / seconds), "token")} a second, in this page.` : "";
        this.ended = `${ENDS[why]} Seed ${seed}.${speed} ${TINT}`.trim();
        this.run = null;
        this.reveal();
      } catch (error) {
        if (this.run !== run) return; // another text has begun
        this.status.textContent = signal.aborted ? `Stopped. ${written()} Press Write to begin again.` : sentence(error);
        this.run = null;
        this.tell(this);
      }
      this.shared.changed();
    }

    // Show what has come and is wanted.
    reveal() {
      const before = this.shown;
      while (this.shown < Math.min(this.most, this.tokens.length)) this.show(this.shown++);
      if (this.shown > before && this.shown === this.most) this.beside();
      if (!this.ended || this.shown < this.tokens.length) return;
      this.status.textContent = this.ended;
      this.tell(this);
    }

    // A token of the text, as a button.
    show(place) {
      const token = this.tokens[place];
      const span = make("span", { className: "mg-token", textContent: token.text, tabIndex: place ? -1 : 0 });
      span.style.setProperty("--surprise", Math.min(1, -Math.log(Math.max(token.p, 1e-9)) / 5).toFixed(3));
      span.setAttribute("role", "button");
      const name = token.text === "" ? "part of a character" : token.text.trim() || "space";
      span.setAttribute("aria-label", `${name}, probability ${token.p.toFixed(2)}`);
      span.onclick = () => this.explain(place, span);
      span.onkeydown = (event) => {
        if ((event.key !== "Enter" && event.key !== " ") || event.ctrlKey || event.metaKey) return;
        event.preventDefault(); // the space bar would scroll the page
        span.click();
      };
      this.text.append(span);
    }

    // The likeliest tokens at a place and the one that was drawn there, each a button that goes on from it; and in the text
    // the tokens that the model read.
    list(place, title) {
      const { id, name, p, others, read } = this.tokens[place];
      const all = others.some((other) => other.id === id) ? others : [...others, { id, name, p }];
      const rows = all.map((other) => {
        const drawn = other.id === id, said = `probability ${other.p.toFixed(2)}${drawn ? ", this was drawn" : ""}`;
        const button = make("button", { type: "button", textContent: other.name, tabIndex: drawn ? 0 : -1 });
        button.setAttribute("aria-label", `go on with ${other.name}, ${said}`);
        const most = this.most === Infinity ? Infinity : place + 1;
        button.onclick = () => this.write([...this.tokens.slice(0, place), { ...other, others, read }], most);
        const bar = make("span", { className: "mg-bar" });
        bar.style.width = percent(Math.max(0.01, other.p));
        const row = make("li", {}, button, make("span", { className: "mg-track" }, bar), make("span", { textContent: other.p.toFixed(2) }));
        if (drawn) row.classList.add("mg-drawn");
        return row;
      });
      const spans = [...this.text.children], at = spans.length - this.shown + place;
      const underlined = spans.slice(Math.max(0, at - read), at);
      this.unmark();
      for (const span of underlined) span.classList.add("mg-read");
      this.others.setAttribute("aria-label", title);
      this.others.replaceChildren(make("p", { textContent: `${title}:` }), make("ul", {}, ...rows));
      this.others.hidden = false;
      return underlined.length;
    }

    // Beside a text that grows by one token at a time: what the last one was drawn from.
    beside() {
      const place = this.shown - 1, { p } = this.tokens[place];
      const read = this.list(place, "Candidates for the last token");
      this.others.classList.remove("mg-at");
      this.status.textContent =
        `Token ${this.shown}: probability ${p.toFixed(2)}. ` +
        (read ? `The model read the ${count(read, "underlined token")}.` : "The model had no text to read.");
    }

    // At a token that the reader has chosen: what else could have been, within the panel and the window.
    explain(place, chosen) {
      this.list(place, "Candidates for this token");
      chosen.setAttribute("aria-pressed", "true");
      const { others, writing } = this;
      others.classList.add("mg-at");
      const frame = writing.getBoundingClientRect(), [token] = chosen.getClientRects();
      const below = token.bottom + 4, above = token.top - 4 - others.offsetHeight;
      const fits = below + others.offsetHeight <= document.documentElement.clientHeight || above < 0;
      others.style.top = `${(fits ? below : above) - frame.top}px`;
      others.style.left = `${Math.max(0, Math.min(token.left - frame.left, frame.width - others.offsetWidth))}px`;
      others.querySelector(".mg-drawn button").focus({ preventScroll: true });
      others.scrollIntoView({ block: "nearest", behavior: "instant" });
    }

    unmark() {
      for (const span of this.text.querySelectorAll("[aria-pressed]")) span.removeAttribute("aria-pressed");
      for (const span of this.text.querySelectorAll(".mg-read")) span.classList.remove("mg-read");
    }

    close() {
      this.unmark();
      this.others.hidden = true;
      this.others.classList.remove("mg-at");
    }

    // From a token that was chosen: where the text grows token by token, the list returns to its side.
    leave() {
      if (!this.others.classList.contains("mg-at")) return;
      this.close();
      if (this.most !== Infinity) this.beside();
    }
  }

  const die = () =>
    draw(
      "svg",
      { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
      draw("rect", { x: 1, y: 1, width: 14, height: 14, rx: 3, fill: "none", stroke: "currentColor" }),
      ...[[4.5, 4.5], [11.5, 4.5], [8, 8], [4.5, 11.5], [11.5, 11.5]].map(([cx, cy]) =>
        draw("circle", { cx, cy, r: 1.3, fill: "currentColor" })),
    );

  // `tell` hears each text that has ended, in Jupyter to tell the kernel.
  minigpt.widgets.playground = (root, state, engine, tell) => {
    const id = newId("playground");
    const model = choice(`${id}-model`, state.models, state.model);
    const prompt = new Prompt(`${id}-prompt`, "prompt", state.prompt, 2, engine, model);
    const stop = make("input", { id: `${id}-stop`, type: "text", size: 8, value: toLine(state.stop ?? ""), title: "\\n is a line break" });
    const write = button("Write", () => (shown().some((each) => each.writes) ? shown().forEach((each) => each.stop()) : go(Infinity)));
    write.className = "mg-main";
    write.title = "Ctrl + Enter";
    write.setAttribute("aria-keyshortcuts", "Control+Enter");
    const another = button(" Another", () => {
      const { input } = first.knobs.sliders.seed, seed = 1 + Math.floor(Math.random() * (input.max - 1));
      seeded(seed < +input.value ? seed : seed + 1);
      for (const each of shown()) each.write([], Infinity);
    });
    another.prepend(die());
    another.title = "another seed, another text";
    const one = button("One token", () => go(1));
    const compare = button("Compare two settings", () => {
      const comparing = panel.classList.toggle("mg-comparing"), { temperature, ...same } = first.knobs.values();
      compare.textContent = comparing ? "Back to one setting" : "Compare two settings";
      if (comparing) second.take({ ...same, temperature: temperature < 1.2 ? 1.4 : 0.6 });
      else second.stop();
      for (const part of [second.root, second.knobs.panel]) part.hidden = !comparing;
      for (const each of [first, second]) each.writing.style.minHeight = "";
      changed();
    });
    const differing = make("p", { className: "mg-note", role: "status" });

    const told = ({ text, made, knobs }) =>
      made &&
      tell({
        text: text.textContent,
        // a model from a file is known to this page alone
        ...(made.name in state.models && {
          state: { ...state, prompt: made.prompt, model: made.name, stop: fromLine(stop.value), knobs: knobs.values() },
        }),
      });
    // What the buttons say, and which knobs of two settings differ.
    const changed = () => {
      write.textContent = shown().some((each) => each.writes) ? "Stop" : "Write";
      const names = NAMES.filter((name) => {
        const [a, b] = [first, second].map(({ knobs }) => knobs.sliders[name]);
        const differ = !second.root.hidden && a.input.value !== b.input.value;
        for (const { row } of [a, b]) row.classList.toggle("mg-differs", differ);
        return differ;
      });
      const labels = names.map((name) => first.knobs.sliders[name].row.firstChild.textContent);
      const said = labels.length ? `A and B differ in: ${labels.join(", ")}.` : "A and B do not differ.";
      differing.textContent = second.root.hidden ? "" : said;
    };
    const shared = { prompt, stop, changed };
    const first = new Setting("A", `${id}-a`, shared, engine, state.knobs ?? {}, told);
    const second = new Setting("B", `${id}-b`, shared, engine, {}, () => {});
    second.root.hidden = second.knobs.panel.hidden = true;
    const shown = () => (second.root.hidden ? [first] : [first, second]);

    const seeded = (seed) => {
      for (const each of shown()) {
        each.knobs.sliders.seed.set(seed);
        each.seedIsSet = false;
      }
      changed();
    };
    // On with the texts that wait; or new ones. The same texts again would tell nothing: they get the next seed, unless the
    // reader has set one.
    const go = (most) => {
      const waiting = shown().filter((each) => each.waits);
      if (waiting.length) return waiting.forEach((each) => each.more(most));
      const { input } = first.knobs.sliders.seed;
      if (shown().every((each) => each.asked === each.asking() && !each.seedIsSet)) seeded((+input.value % input.max) + 1);
      for (const each of shown()) each.write([], most);
    };

    const choosing = alone(root, (error) => (first.status.textContent = sentence(error)));
    const load = (signal) => patiently(first.status, "Loading the model…", prompt.load(signal));
    model.onchange = () => choosing(load);

    // A model of the reader's own joins the list, under the name of its file, and is chosen.
    const take = (file) =>
      choosing(async (signal) => {
        if (file.size > LARGEST_MODEL)
          throw new Error(`the file has ${Math.round(file.size / 1e6)} MB, more than the ${LARGEST_MODEL / 1e6} MB that this page reads`);
        const taken = Array.from(model.options, ({ textContent }) => textContent), title = file.name.replace(/\.mgpt$/, "");
        let label = title;
        for (let n = 2; taken.includes(label); n++) label = `${title} (${n})`;
        const value = `file:${label}`;
        await engine.add(value, await bytesOf(file), signal);
        model.append(make("option", { value, textContent: label }));
        model.value = value;
        await load(signal);
        first.status.textContent = `Your model “${label}” is here: press Write.`;
      });
    const own = fileField(`${id}-file`, "Your own model: choose a file", ".mgpt", take);
    const command = make("code", { textContent: "minigpt export --model FOLDER" });
    const note = make("p", { className: "mg-note", id: `${id}-file-note` });
    note.append("Or drop it on this panel. ", command, " makes one. It is read here, in the page, and sent nowhere.");
    own.lastChild.setAttribute("aria-describedby", note.id);
    own.append(note);
    const panel = make(
      "div",
      {},
      make("div", { className: "mg-shared" }, prompt.field, make("div", { className: "mg-buttons" }, write, another, one)),
      make("div", { className: "mg-settings" }, first.root, second.root),
      make(
        "details",
        { open: !state.folded },
        make("summary", { textContent: "Knobs" }),
        make("div", { className: "mg-pair" }, field("model", model), field("stop at", stop), compare),
        own,
        make("div", { className: "mg-settings" }, first.knobs.panel, second.knobs.panel),
        differing,
      ),
    );
    panel.onkeydown = (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      go(Infinity);
    };
    droppable(panel, take);
    const still = root.querySelector("p.mg-text"); // only the still picture has its text in a paragraph
    if (still) first.adopt(still);
    fill(root, panel);
  };
})();
