// The playground: a prompt, every knob, and the text as the model writes it, token by token.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const { make, knobs, field, choice, percent, sentence, count, alone, patiently, toLine, fromLine, Prompt, rove, newId, fill } = minigpt.parts;
  const NAMES = ["temperature", "top_k", "top_p", "min_p", "frequency_penalty", "presence_penalty", "length", "seed"];
  const ENDS = { end: "The text has ended.", stop: "The stop string came.", length: "" };

  // One setting: its knobs, its text, and what else could have been.
  class Setting {
    constructor(id, shared, engine, initial, tell) {
      Object.assign(this, { shared, engine, tell, run: null, made: null, tokens: [], seedIsSet: false });
      this.knobs = knobs(id, NAMES, initial);
      this.knobs.sliders.seed.input.addEventListener("input", () => (this.seedIsSet = true));
      this.button = make("button", { type: "button", textContent: "Write", title: "Ctrl + Enter" });
      this.button.setAttribute("aria-keyshortcuts", "Control+Enter");
      this.button.onclick = () => (this.run ? this.run.abort() : this.begin());
      this.text = make("div", { className: "mg-text" });
      rove(this.text);
      this.status = make("p", { className: "mg-status", role: "status" });
      this.others = make("div", { className: "mg-others" });
      this.root = make("section", { className: "mg-setting" }, this.knobs.panel, this.button, this.text, this.others, this.status);
      this.root.setAttribute("aria-label", "setting");
    }

    // A text from its beginning; another one has the next seed, unless the reader has set one.
    begin() {
      const { seed } = this.knobs.sliders;
      if (this.tokens.length && !this.seedIsSet) seed.set(+seed.input.value === +seed.input.max ? 1 : +seed.input.value + 1);
      return this.write();
    }

    // Write from the prompt; or go on from `kept`, tokens that stay, with the model and the prompt that wrote them.
    async write(kept = []) {
      this.run?.abort();
      const run = (this.run = new AbortController()), { signal } = run;
      let written = () => "It has written nothing yet.";
      this.others.replaceChildren();
      this.status.textContent = "Loading the model…";
      this.button.textContent = "Stop";
      try {
        if (!kept.length) this.made = await this.shared.prompt.load(signal);
        const { name, prompt } = this.made, stop = fromLine(this.shared.stop.value);
        const { seed, length, ...knobs } = this.knobs.values();
        this.status.textContent = "Writing…";
        this.text.style.minHeight = `${this.text.offsetHeight}px`; // what stands below stays where it is
        this.text.replaceChildren(make("span", { className: "mg-prompt", textContent: prompt }));
        this.tokens = [];
        written = () => `It has written ${count(this.tokens.length, "token")}.`;
        const began = performance.now();
        const onToken = (token) => {
          const span = this.show(token);
          if (this.tokens.length === kept.length) span.focus(); // the button that was pressed is gone
        };
        const { why } = await this.engine.ask("generate", { name, prompt, kept, knobs, seed, count: length, stop }, { signal, onToken });
        if (this.tokens.length < kept.length) this.text.lastChild.focus(); // the end was chosen, which is no token of the text
        const n = this.tokens.length - kept.length, seconds = (performance.now() - began) / 1000;
        const speed = n > 20 ? ` ${count(Math.round(n / seconds), "token")} a second, in this page.` : "";
        this.status.textContent = `${ENDS[why]} Seed ${seed}.${speed} Choose a token to see what else could have been.`.trim();
      } catch (error) {
        if (this.run !== run) return; // another text has begun
        this.status.textContent = signal.aborted ? `Stopped. ${written()} Press Write to begin again.` : sentence(error);
      }
      this.run = null;
      this.button.textContent = "Write";
      this.text.style.minHeight = "";
      this.tell(this);
    }

    // A token of the text, as a button.
    show(token) {
      const place = this.tokens.push(token) - 1;
      const span = make("span", { className: "mg-token", textContent: token.text, tabIndex: place ? -1 : 0 });
      span.style.setProperty("--surprise", Math.min(1, -Math.log(Math.max(token.p, 1e-9)) / 5).toFixed(3));
      span.setAttribute("role", "button");
      const name = token.text === "" ? "part of a character" : token.text.trim() || "blank";
      span.setAttribute("aria-label", `${name}, probability ${token.p.toFixed(2)}`);
      span.onclick = () => this.explain(place, span);
      span.onkeydown = (event) => {
        if ((event.key !== "Enter" && event.key !== " ") || event.ctrlKey || event.metaKey) return;
        event.preventDefault(); // the blank would scroll the page
        span.click();
      };
      this.text.append(span);
      return span;
    }

    // The likeliest tokens at a place, each a button that goes on from there.
    explain(place, chosen) {
      for (const other of this.text.querySelectorAll("[aria-pressed]")) other.removeAttribute("aria-pressed");
      chosen.setAttribute("aria-pressed", "true");
      const { others } = this.tokens[place];
      const rows = others.map(({ id, name, p }) => {
        const button = make("button", { type: "button", textContent: name });
        button.setAttribute("aria-label", `go on with ${name}, probability ${p.toFixed(2)}`);
        button.onclick = () => this.write([...this.tokens.slice(0, place), { id, p, others }]);
        const bar = make("span", { className: "mg-bar" });
        bar.style.width = percent(Math.max(0.01, p));
        return make("li", {}, button, make("span", { className: "mg-track" }, bar), make("span", { textContent: p.toFixed(2) }));
      });
      this.others.replaceChildren(make("p", { textContent: "At this place it might have been:" }), make("ul", {}, ...rows));
      this.others.onkeydown = ({ key }) => void (key === "Escape" && chosen.focus()); // false would keep all keys from the button
      this.others.scrollIntoView({ block: "nearest", behavior: "instant" });
      this.others.querySelector("button").focus();
    }
  }

  // `tell` hears each text that has ended, in Jupyter to tell the kernel.
  minigpt.widgets.playground = (root, state, engine, tell) => {
    const id = newId("playground");
    const model = choice(`${id}-model`, state.models, state.model);
    const prompt = new Prompt(`${id}-prompt`, "prompt", state.prompt, 2, engine, model);
    const stop = make("input", { id: `${id}-stop`, type: "text", size: 8, value: toLine(state.stop ?? ""), title: "\\n is a line break" });
    const told = ({ text, made, knobs }) =>
      made &&
      tell({
        text: text.textContent,
        state: { ...state, prompt: made.prompt, model: made.name, stop: fromLine(stop.value), knobs: knobs.values() },
      });
    const first = new Setting(`${id}-a`, { prompt, stop }, engine, state.knobs ?? {}, told);
    const second = new Setting(`${id}-b`, { prompt, stop }, engine, { temperature: 1.4 }, () => {});
    second.root.hidden = true;
    const both = make("button", { type: "button", textContent: "Compare two settings" });
    both.setAttribute("aria-expanded", "false");
    both.onclick = () => {
      second.root.hidden = !second.root.hidden;
      both.setAttribute("aria-expanded", String(!second.root.hidden));
    };
    const choosing = alone(root, (error) => (first.status.textContent = sentence(error)));
    model.onchange = () => choosing((signal) => patiently(first.status, "Loading the model…", prompt.load(signal)));
    const panel = make(
      "div",
      {},
      make("div", { className: "mg-shared" }, prompt.field, field("model", model), field("stop at", stop), both),
      make("div", { className: "mg-settings" }, first.root, second.root),
    );
    panel.onkeydown = (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      for (const setting of [first, second]) if (!setting.root.hidden) setting.begin();
    };
    fill(root, panel);
  };
})();
