// The sampler: the line from 0 to 1 that a dart is thrown at, what each knob does to it, and the draws.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, draw, knobs, field, choice, percent, sentence, count } = minigpt.parts;
  const { alone, patiently, Prompt, later, newId, fill, drawing, label, axis } = minigpt.parts;
  const NAMES = ["temperature", "top_k", "top_p", "min_p", "frequency_penalty", "presence_penalty", "seed"];
  const SHOWN = 16, DRAWS = 1000;
  const AXES = [0.2, 0.5, 1]; // where the axis of the bars may end
  const DART = 40, LINE = 28, TICKS = 10, STRIP = 16, ROW = 42; // pixels of the drawings
  const LETTER = 8, CHARACTER = 13; // pixels that a label needs, for a letter and for a Chinese character

  // Which knob took each token out: "top-k" and so on, or nothing.
  const removals = (stages, size) => {
    const by = new Array(size).fill("");
    for (const [name, logits] of stages) logits.forEach((z, id) => (by[id] ||= z === -Infinity ? name : ""));
    return by;
  };

  // The n-th number of the seed: the one that generate draws its n-th token with.
  const dart = (seed, n) => {
    const random = new minigpt.Mulberry32(seed);
    for (let i = 1; i < n; i++) random.uniform();
    return random.uniform();
  };

  // From where to where the piece of each token goes, in the order of the vocabulary, as draw adds them up.
  const edges = (shares) => {
    let sum = 0;
    return Array.from(shares, (share) => [sum, (sum += share)]);
  };

  const wide = (label) => [...label].reduce((sum, letter) => sum + (letter > "\u2e80" ? CHARACTER : LETTER), 0);

  // A line from 0 to 1 in pieces, a token each. Those that stay are coloured; `hit` is green. There may be thousands, most
  // of them thinner than a pixel: neighbours that stay are one shape.
  const pieces = (width, top, height, shares, names, role, hit = null, stays = () => true) => {
    const all = edges(shares).map(([a, b], id) => [a * width, b * width, id]).filter(([a, b]) => b > a);
    const box = ([a, b]) => `M${a.toFixed(2)} ${top}H${b.toFixed(2)}V${top + height}H${a.toFixed(2)}z`;
    const runs = [];
    for (const [a, b, id] of all) {
      if (!stays(id)) continue;
      if (runs.at(-1)?.[1] === a) runs.at(-1)[1] = b;
      else runs.push([a, b]);
    }
    const found = all.find(([, , id]) => id === hit);
    const labelled = all.filter(([a, b, id]) => b - a >= wide(names[id]) + 3), middle = top + height / 2;
    const inside = { "text-anchor": "middle", fill: "currentColor" };
    return draw(
      "g",
      {},
      draw("path", { d: runs.map(box).join(""), class: role }),
      draw("path", { d: all.filter(([a, b]) => b - a > 3).map(box).join(""), class: "mg-thin" }),
      ...(found ? [draw("path", { d: box([found[0], Math.max(found[1], found[0] + 2)]), class: "mg-hit" })] : []),
      draw("rect", { x: 0, y: top, width, height, class: "mg-frame" }),
      ...labelled.map(([a, b, id]) => label((a + b) / 2, middle, names[id], inside)),
    );
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
      this.line = make("div", { className: "mg-chart" });
      this.status = make("p", { className: "mg-status", role: "status" });
      this.stages = make("div", { className: "mg-chart" });
      this.table = make("table", { className: "mg-bars mg-shares" });
      this.alone = alone(root, (error) => this.fail(error));
      this.prompt.input.oninput = later(root, () => this.begin());
      this.model.onchange = () => this.begin();
      fill(
        root,
        make("div", { className: "mg-shared" }, this.prompt.field, field("model", this.model)),
        this.knobs.panel,
        make("div", { className: "mg-buttons" }, this.one, this.many, again),
        this.text,
        this.line,
        this.status,
        this.stages,
        this.table,
      );
      new ResizeObserver(() => this.drawLines()).observe(this.line);
      this.begin();
    }

    // From the prompt, with nothing drawn yet.
    begin() {
      this.one.disabled = this.many.disabled = true;
      return this.alone(async (signal) => {
        this.logits = null; // until the answer is here, nothing can be drawn
        const { name, prompt, names, config } = await patiently(this.status, "Loading the model…", this.prompt.load(signal));
        Object.assign(this, { made: { name, prompt }, names, config, said: [], thrown: false, hit: null, drew: false });
        this.settle(await this.ask([], signal));
        this.shape();
      });
    }

    // What the model expects after the prompt and these tokens, and their text.
    ask(said, signal) {
      return this.engine.ask("next", { ...this.made, said }, { signal });
    }

    // These are the logits to draw from.
    settle({ logits, text }) {
      Object.assign(this, { logits, written: text, next: null });
      this.likeliest = minigpt.ranked(logits).slice(0, SHOWN);
    }

    fail(error) {
      this.logits = null;
      for (const part of [this.table, this.text, this.line, this.stages]) part.replaceChildren();
      this.one.disabled = this.many.disabled = true;
      this.status.textContent = sentence(error);
    }

    // A knob has moved: the same logits, shaped anew; and the dart that lies there may hit another token.
    shape() {
      if (!this.logits) return;
      const { seed, ...values } = this.knobs.values();
      this.values = values;
      this.steps = minigpt.stages(this.logits, this.said, values);
      this.shaped = this.steps.at(-1)[1];
      this.own = minigpt.softmax(this.logits);
      this.after = minigpt.softmax(this.shaped);
      this.removed = removals(this.steps, this.logits.length);
      this.seed = seed;
      this.counts = this.darts = null;
      if (this.thrown) this.land();
      this.show();
      const { name, prompt } = this.made;
      this.tell({ state: { ...this.state, prompt, model: name, knobs: { seed, ...values } } });
    }

    // Where the dart hits. The text with that token, and what comes after it, the model says.
    land() {
      this.u = dart(this.seed, this.said.length + 1);
      const hit = minigpt.draw(this.shaped, this.u);
      if (hit === this.hit) return;
      Object.assign(this, { hit, next: null });
      if (hit === this.config.end_id) return;
      this.alone(async (signal) => {
        this.next = await this.ask([...this.said, hit], signal);
        this.write();
      });
    }

    get ended() {
      return this.thrown && this.hit === this.config.end_id;
    }

    write() {
      const text = this.next?.text ?? this.written, before = this.written.length;
      this.text.replaceChildren(
        make("span", { className: "mg-prompt", textContent: this.made.prompt }),
        text.slice(0, before),
        make("mark", { className: "mg-drew", textContent: text.slice(before) }),
      );
    }

    // All that belongs to these logits, these knobs and these draws, the sentences included.
    show() {
      this.one.disabled = this.ended;
      this.many.disabled = false;
      this.status.classList.toggle("mg-two", this.drew);
      this.write();
      this.drawLines();
      this.status.textContent = [this.thrown && this.fell(), this.counts && this.farthest()].filter(Boolean).join(" ");
      const { own, after, counts, removed, likeliest } = this;
      const rest = (values) => values.reduce((sum, value, id) => sum + (likeliest.includes(id) ? 0 : value), 0);
      const others = removed.filter((by) => by).length - likeliest.filter((id) => removed[id]).length;
      const why = (id) => removed[id] && `removed by ${removed[id]}`;
      const rows = likeliest.map((id) => [this.names[id], own[id], after[id], counts?.[id], why(id)]);
      const left = this.names.length - likeliest.length;
      const gone = others && `${others} removed`;
      if (left) rows.push([count(left, "other"), rest(own), rest(after), counts && rest(counts), gone]);
      const largest = Math.max(...rows.flatMap(([, p, q, count]) => [p, q, (count ?? 0) / DRAWS]));
      this.most = AXES.find((most) => largest <= most) ?? 1;
      const titles = ["token", "model", "knobs", "drawn"];
      const head = make("tr", {}, ...titles.map((textContent) => make("th", { scope: "col", textContent })));
      head.firstChild.after(axis(this.most));
      const lines = rows.map((row) => this.row(row));
      if (this.thrown) lines.at(likeliest.indexOf(this.hit)).classList.add("mg-drew"); // at -1 stand the others
      const caption = "What comes next. Grey: the model's probability; blue: after the knobs; green mark: share of the draws.";
      this.table.replaceChildren(
        make("caption", { textContent: caption }),
        make("thead", {}, head),
        make("tbody", {}, ...lines),
      );
    }

    row([name, p, q, count, why]) {
      const track = make("td", { className: "mg-track" });
      const bar = (className, share) => {
        const span = make("span", { className });
        span.style.width = percent(share / this.most);
        track.append(span);
      };
      bar("mg-own", p);
      bar("mg-bar", q);
      if (count) bar("mg-drawn", count / DRAWS);
      if (why) track.append(make("em", { textContent: why }));
      const number = (value, digits) => make("td", { textContent: value?.toFixed(digits) ?? "" });
      const title = make("th", { scope: "row", textContent: name });
      return make("tr", {}, title, track, number(p, 3), number(q, 3), number(count, 0));
    }

    // The line, the darts, and a strip for each stage; again when the place has another width.
    drawLines() {
      const width = this.line.clientWidth - 2;
      if (!this.logits || width <= 0) return;
      this.line.replaceChildren(this.drawLine(width));
      this.stages.replaceChildren(this.drawStages(width));
    }

    drawLine(width) {
      const { after, names, thrown, u, darts, drew } = this, below = DART + LINE;
      const height = below + (drew ? TICKS : 2) + 18; // no room for ticks before the first draw
      const parts = [pieces(width, DART, LINE, after, names, "mg-stays", thrown ? this.hit : null)];
      if (thrown) {
        const x = u * width;
        parts.push(draw("path", { d: `M${x} 17V${DART - 8}`, class: "mg-frame" }));
        parts.push(draw("path", { d: `M${x} ${DART - 1}l4.5 -9h-9z`, class: "mg-head" }));
        parts.push(label(Math.min(Math.max(x, 30), width - 30), 8, `u = ${u.toFixed(3)}`, { "text-anchor": "middle" }));
      }
      if (darts) {
        const ticks = darts.map((each) => `M${(each * width).toFixed(1)} ${below + 2}v${TICKS - 2}`).join("");
        parts.push(draw("path", { d: ticks, class: "mg-ticks" }));
      }
      for (const [share, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]])
        parts.push(label(share * width, height - 7, String(share), { "text-anchor": anchor }));
      const kept = after.filter((p) => p > 0).length, best = after.indexOf(Math.max(...after));
      const cut = `The line from 0 to 1, cut into ${count(kept, "piece")}.`;
      const said = `${cut} The longest is “${names[best]}”, ${after[best].toFixed(3)}. ${thrown ? this.fell() : ""}`;
      return drawing(width, height, said.trim(), ...parts);
    }

    // What comes in, with what a filter removes left empty; or, where nothing is removed, what goes out.
    drawStages(width) {
      const { steps, names, own, values } = this, hit = this.thrown ? this.hit : null;
      const settings = {
        penalties: `${values.frequency_penalty}, ${values.presence_penalty}`,
        temperature: values.temperature, "top-k": values.top_k ?? "all", "top-p": values.top_p, "min-p": values.min_p,
      };
      const longest = (shares) => Math.max(...shares).toFixed(2);
      const rows = [[`model: ${count(names.length, "token")}, largest share ${longest(own)}`, own, "mg-own", undefined]];
      let before = this.logits;
      for (const [name, logits] of steps) {
        const is = (z, id) => z === before[id], stays = (id) => logits[id] > -Infinity;
        const [came, left] = [before, logits].map((all) => all.filter((z) => z > -Infinity).length);
        const entering = minigpt.softmax(before), leaving = minigpt.softmax(logits);
        const together = entering.reduce((sum, p, id) => sum + (stays(id) ? p : 0), 0).toFixed(2);
        const does = logits.every(is) ? "no change"
          : left < came ? `${left} of ${count(came, "token")} ${left === 1 ? "stays" : "stay"}, together ${together}`
          : `largest share ${longest(leaving)}, was ${longest(entering)}`;
        rows.push([`${name} ${settings[name]}: ${does}`, left < came ? entering : leaving, "mg-stays", stays]);
        before = logits;
      }
      const parts = rows.flatMap(([title, shares, role, stays], n) => [
        label(0, n * ROW + 12, title),
        pieces(width, n * ROW + 22, STRIP, shares, names, role, hit, stays),
      ]);
      const said = `How the knobs make this line, one after the other. ${rows.map(([title]) => `${title}.`).join(" ")}`;
      return drawing(width, rows.length * ROW, said, ...parts);
    }

    // The next token, as generate draws it: the next number of one seed, and penalties that count what was drawn. The dart
    // stays to be looked at; the next one is thrown at the line of the token after it.
    drawOne() {
      if (!this.logits || this.ended) return;
      if (this.thrown) {
        if (!this.next) return;
        this.said.push(this.hit);
        this.settle(this.next);
      }
      Object.assign(this, { thrown: true, hit: null, drew: true });
      this.shape();
    }

    drawMany() {
      if (!this.logits) return;
      const random = new minigpt.Mulberry32(this.seed);
      this.drew = true;
      this.darts = Array.from({ length: DRAWS }, () => random.uniform());
      this.counts = new Array(this.logits.length).fill(0);
      for (const u of this.darts) this.counts[minigpt.draw(this.shaped, u)]++;
      this.show();
    }

    fell() {
      const [from, to] = edges(this.after)[this.hit], n = this.said.length + 1;
      const [u, left, right] = [this.u, from, to].map((share) => share.toFixed(3));
      const fell = `Draw ${n} of seed ${this.seed}: u = ${u} falls between ${left} and ${right}: “${this.names[this.hit]}”.`;
      return `${fell}${this.ended ? " The text has ended." : ""}`;
    }

    farthest() {
      const far = Math.max(...this.after.map((p, id) => Math.abs(p - this.counts[id] / DRAWS)));
      return `${DRAWS} draws: no token's share is further than ${far.toFixed(3)} from its probability.`;
    }
  }

  minigpt.widgets.sampler = (root, state, engine, tell) => new Sampler(root, state, engine, tell);
})();
