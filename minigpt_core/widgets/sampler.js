// The sampler: what the model expects next, what each knob makes of it, and draws from what is left.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, knobs, field, choice, percent, sentence, count, alone, patiently, Prompt, later, newId, fill } = minigpt.parts;
  const NAMES = ["temperature", "top_k", "top_p", "min_p", "frequency_penalty", "presence_penalty", "seed"];
  const SHOWN = 16, DRAWS = 1000;

  // Which knob took each token out: "top-k" and so on, or nothing.
  const removals = (stages, size) => {
    const by = new Array(size).fill("");
    for (const [name, logits] of stages) logits.forEach((z, id) => (by[id] ||= z === -Infinity ? name : ""));
    return by;
  };

  class Sampler {
    constructor(root, state, engine, tell) {
      const id = newId("sampler");
      Object.assign(this, { state, engine, tell, logits: null });
      this.model = choice(`${id}-model`, state.models, state.model);
      this.prompt = new Prompt(`${id}-prompt`, "prompt", state.prompt, 2, engine, this.model);
      this.knobs = knobs(id, NAMES, state.knobs, () => this.shape());
      this.one = make("button", { type: "button", textContent: "Draw one", onclick: () => this.drawOne() });
      this.many = make("button", { type: "button", textContent: "Draw a thousand", onclick: () => this.drawMany() });
      const again = make("button", { type: "button", textContent: "Start again", onclick: () => this.begin() });
      this.text = make("p", { className: "mg-text mg-line" });
      this.table = make("table", { className: "mg-bars" });
      this.status = make("p", { className: "mg-status", role: "status" });
      this.alone = alone(root, (error) => this.fail(error));
      this.prompt.input.oninput = later(root, () => this.begin());
      this.model.onchange = () => this.begin();
      fill(
        root,
        make("div", { className: "mg-shared" }, this.prompt.field, field("model", this.model)),
        this.knobs.panel,
        make("div", { className: "mg-buttons" }, this.one, this.many, again),
        this.text,
        this.table,
        this.status,
      );
      this.begin();
    }

    // From the prompt, with nothing drawn yet.
    begin() {
      this.random = null;
      this.one.disabled = this.many.disabled = true;
      return this.alone(async (signal) => {
        this.logits = null; // until the answer is here, nothing can be drawn
        const { name, prompt, names, config } = await patiently(this.status, "Loading the model…", this.prompt.load(signal));
        Object.assign(this, { made: { name, prompt }, names, config, said: [], ended: false });
        await this.read(signal);
      });
    }

    // Ask the model what comes after the prompt and what was drawn.
    async read(signal) {
      this.logits = null;
      const { logits, text } = await this.engine.ask("next", { ...this.made, said: this.said }, { signal });
      this.logits = logits;
      this.likeliest = minigpt.ranked(logits).slice(0, SHOWN);
      this.text.replaceChildren(make("span", { className: "mg-prompt", textContent: this.made.prompt }), text);
      this.shape();
    }

    fail(error) {
      this.logits = null;
      this.table.replaceChildren();
      this.text.replaceChildren();
      this.one.disabled = this.many.disabled = true;
      this.status.textContent = sentence(error);
    }

    // A knob has moved: the same logits, shaped anew.
    shape() {
      if (!this.logits) return;
      const { seed, ...values } = this.knobs.values();
      const stages = minigpt.stages(this.logits, this.said, values);
      this.shaped = stages.at(-1)[1];
      this.own = minigpt.softmax(this.logits);
      this.after = minigpt.softmax(this.shaped);
      this.removed = removals(stages, this.logits.length);
      if (seed !== this.seed) this.random = null;
      this.seed = seed;
      this.counts = null;
      this.show();
      const { name, prompt } = this.made;
      this.tell({ state: { ...this.state, prompt, model: name, knobs: { seed, ...values } } });
    }

    // All that belongs to these logits, these knobs and these draws, the sentence included.
    show() {
      this.one.disabled = this.ended;
      this.many.disabled = false;
      this.status.textContent = `${this.ended ? "The text has ended. " : ""}${this.counts ? this.farthest() : ""}`.trim();
      const { own, after, counts, removed, likeliest } = this;
      const rest = (values) => values.reduce((a, b) => a + b, 0) - likeliest.reduce((sum, id) => sum + values[id], 0);
      const others = removed.filter((by) => by).length - likeliest.filter((id) => removed[id]).length;
      const rows = likeliest.map((id) => [this.names[id], own[id], after[id], counts?.[id], removed[id] && `removed by ${removed[id]}`]);
      const left = this.names.length - likeliest.length;
      if (left) rows.push([count(left, "other"), rest(own), rest(after), counts && rest(counts), others && `${others} removed`]);
      const most = Math.max(...rows.flatMap(([, p, q, count]) => [p, q, (count ?? 0) / DRAWS]));
      const head = make("tr", {}, ...["token", "", "model", "knobs", "drawn"].map((name) => make("th", { scope: "col", textContent: name })));
      head.children[1].append(make("span", { className: "mg-hidden", textContent: "bars" }));
      this.table.replaceChildren(
        make("caption", { textContent: "What comes next: the model's probability in grey, after the knobs in blue, drawn as a green mark." }),
        make("thead", {}, head),
        make("tbody", {}, ...rows.map((row) => this.row(row, most))),
      );
    }

    row([name, p, q, count, why], most) {
      const track = make("td", { className: "mg-track" });
      const bar = (className, share) => {
        const span = make("span", { className });
        span.style.width = percent(share / most);
        track.append(span);
      };
      bar("mg-own", p);
      bar("mg-bar", q);
      if (count !== undefined && count !== null) bar("mg-drawn", count / DRAWS);
      if (why) track.append(make("em", { textContent: why }));
      const number = (value, digits) => make("td", { textContent: value === undefined || value === null ? "" : value.toFixed(digits) });
      return make("tr", {}, make("th", { scope: "row", textContent: name }), track, number(p, 3), number(q, 3), number(count, 0));
    }

    // The next token, as generate draws it: the next number of one seed, and penalties that count what was drawn.
    drawOne() {
      if (!this.logits) return;
      this.random ??= this.restarted();
      const id = minigpt.draw(this.shaped, this.random.uniform());
      if (id === this.config.end_id) {
        this.ended = true;
        return this.show();
      }
      this.said.push(id);
      return this.alone((signal) => this.read(signal));
    }

    // A new seed in the middle of a text begins where generate with that seed would be.
    restarted() {
      const random = new minigpt.Mulberry32(this.seed);
      this.said.forEach(() => random.uniform());
      return random;
    }

    drawMany() {
      if (!this.logits) return;
      const random = new minigpt.Mulberry32(this.seed);
      this.counts = new Array(this.logits.length).fill(0);
      for (let n = 0; n < DRAWS; n++) this.counts[minigpt.draw(this.shaped, random.uniform())]++;
      this.show();
    }

    farthest() {
      const far = Math.max(...this.after.map((p, id) => Math.abs(p - this.counts[id] / DRAWS)));
      return `${DRAWS} draws: no token's share is further than ${far.toFixed(3)} from its probability.`;
    }
  }

  minigpt.widgets.sampler = (root, state, engine, tell) => new Sampler(root, state, engine, tell);
})();
