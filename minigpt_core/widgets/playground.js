// The playground: a prompt, every knob, and the text as the model writes it, token by token.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const { make, knobs, field, choice, percent, sentence, rove, newId, fill } = minigpt.parts;
  const NAMES = ["temperature", "top_k", "top_p", "min_p", "frequency_penalty", "presence_penalty", "length", "seed"];
  const ENDS = { end: "The text has ended.", stop: "The stop string came.", length: "", stopped: "Stopped." };

  // One setting: its knobs, its text, and what else could have been.
  class Setting {
    constructor(id, shared, engine, initial, tell) {
      this.tell = tell;
      this.shared = shared;
      this.engine = engine;
      this.knobs = knobs(id, NAMES, initial);
      this.button = make("button", { type: "button", textContent: "Write" });
      this.button.onclick = () => (this.running ? this.stop() : this.write());
      this.text = make("div", { className: "mg-text" });
      rove(this.text);
      this.status = make("p", { className: "mg-status", role: "status" });
      this.others = make("div", { className: "mg-others" });
      this.root = make("section", { className: "mg-setting" }, this.knobs.panel, this.button, this.text, this.others, this.status);
      this.root.setAttribute("aria-label", "setting");
    }

    stop() {
      this.engine.ask("stop", { target: this.job });
    }

    // Write from the prompt; or go on from `kept`, tokens that stay.
    async write(kept = []) {
      const { prompt, model, stop } = this.shared(), { seed, length, ...knobs } = this.knobs.values();
      this.others.replaceChildren();
      this.status.textContent = "Loading the model…";
      this.running = true;
      this.button.textContent = "Stop";
      this.text.replaceChildren(make("span", { className: "mg-prompt", textContent: prompt }));
      this.tokens = [];
      kept.forEach((token) => this.show(token));
      try {
        await this.engine.load(model);
        this.status.textContent = "Writing…";
        const began = performance.now();
        const { job, answer } = this.engine.ask(
          "generate",
          {
            name: model, prompt, said: kept.map((token) => token.id), knobs, seed, count: length, stop,
          },
          (token) => this.show(token),
        );
        this.job = job;
        const { why } = await answer;
        this.tell({ text: this.text.textContent, state: { prompt, model, stop, knobs: this.knobs.values() } });
        const seconds = (performance.now() - began) / 1000;
        const speed = this.tokens.length > 20 ? ` ${Math.round(this.tokens.length / seconds)} tokens a second, in this page.` : "";
        this.status.textContent = `${ENDS[why]}${speed} Choose a token to see what else could have been.`.trim();
      } catch (error) {
        this.status.textContent = sentence(error);
      }
      this.running = false;
      this.button.textContent = "Write";
    }

    show(token) {
      const place = this.tokens.push(token) - 1;
      const span = make("span", { className: "mg-token", textContent: token.text, tabIndex: place ? -1 : 0 });
      span.style.setProperty("--surprise", Math.min(1, -Math.log(Math.max(token.p, 1e-9)) / 5).toFixed(3));
      span.setAttribute("role", "button");
      span.setAttribute("aria-label", `${token.text.trim() || "blank"}, probability ${token.p.toFixed(2)}`);
      span.onclick = () => this.explain(place, span);
      span.onkeydown = ({ key }) => (key === "Enter" || key === " ") && span.click();
      this.text.append(span);
    }

    // The likeliest tokens at a place, each a button that goes on from there.
    explain(place, chosen) {
      for (const other of this.text.querySelectorAll("[aria-pressed]")) other.removeAttribute("aria-pressed");
      chosen.setAttribute("aria-pressed", "true");
      const rows = this.tokens[place].others.map((other) => {
        const button = make("button", { type: "button", textContent: other.text });
        button.setAttribute("aria-label", `go on with ${other.text}, probability ${other.p.toFixed(2)}`);
        button.onclick = () => {
          const text = other.text.replaceAll("▁", " ").replaceAll("↵", "\n");
          this.write([...this.tokens.slice(0, place), { ...this.tokens[place], id: other.id, text, p: other.p }]);
        };
        const bar = make("span", { className: "mg-bar" });
        bar.style.width = percent(Math.max(0.01, other.p));
        return make("li", {}, button, make("span", { className: "mg-track" }, bar), make("span", { textContent: other.p.toFixed(2) }));
      });
      this.others.replaceChildren(make("p", { textContent: "At this place it might have been:" }), make("ul", {}, ...rows));
    }
  }

  // `tell` hears each finished text, in Jupyter to tell the kernel.
  minigpt.widgets.playground = (root, state, engine, tell) => {
    const id = newId("playground");
    const prompt = make("textarea", { id: `${id}-prompt`, rows: 2, value: state.prompt, maxLength: 10_000 });
    const model = choice(`${id}-model`, state.models, state.model);
    const stop = make("input", { id: `${id}-stop`, type: "text", size: 8, value: state.stop ?? "" });
    const shared = () => ({ prompt: prompt.value, model: model.value, stop: stop.value });
    const told = ({ text, state: changed }) => tell({ text, state: { ...state, ...changed } });
    const first = new Setting(`${id}-a`, shared, engine, state.knobs ?? {}, told);
    const second = new Setting(`${id}-b`, shared, engine, { temperature: 1.4 }, () => {});
    second.root.hidden = true;
    const both = make("button", { type: "button", textContent: "Compare two settings" });
    both.setAttribute("aria-expanded", "false");
    both.onclick = () => {
      second.root.hidden = !second.root.hidden;
      both.setAttribute("aria-expanded", String(!second.root.hidden));
    };
    fill(
      root,
      make("div", { className: "mg-shared" }, field("prompt", prompt), field("model", model), field("stop at", stop), both),
      make("div", { className: "mg-settings" }, first.root, second.root),
    );
  };
})();
