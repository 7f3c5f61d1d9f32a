// The loop: greedy text and its probabilities; a knob that is switched on at some place; and a phrase said again and again.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, draw, slider, field, choice, percent, sentence, count, alone, Text, Prompt, later, newId, fill } = minigpt.parts;
  const PIECE = 12; // tokens of a piece that counts as repeated, as in repeated_share
  const TIMES = 6;
  const TOP = 8, HEIGHT = 120, LEFT = 34, RIGHT = 12; // pixels of the chart
  const KNOBS = {
    temperature: ["temperature", 0, 1.5, 0.05, 0.7],
    frequency_penalty: ["strength", 0, 2, 0.05, 0.5],
    presence_penalty: ["strength", 0, 2, 0.05, 1],
  };
  const NAMES = { temperature: "temperature", frequency_penalty: "frequency penalty", presence_penalty: "presence penalty" };

  // Of each token, whether it ends a piece that stood in the text before.
  const repeated = (tokens) => {
    const seen = new Set();
    return tokens.map((_, end) => {
      const piece = tokens.slice(end - PIECE + 1, end + 1).map(({ id }) => id).join();
      const again = end >= PIECE - 1 && seen.has(piece);
      seen.add(piece);
      return again;
    });
  };

  const whole = (share) => `${Math.round(100 * share)} %`;

  const share = (again) => again.filter(Boolean).length / Math.max(1, again.length - PIECE + 1);

  // The shortest piece that the text ends with twice in a row.
  const period = (tokens) => {
    const ids = tokens.map(({ id }) => id), same = (a, b) => a.every((id, i) => id === b[i]);
    for (let n = 1; 2 * n <= ids.length; n++) if (same(ids.slice(-n), ids.slice(-2 * n, -n))) return n;
    return 0;
  };

  // Means over the last PIECE values: single letters jump too much to be read.
  const smooth = (values) => values.map((_, i) => {
    const last = values.slice(Math.max(0, i - PIECE + 1), i + 1);
    return last.reduce((a, b) => a + b, 0) / last.length;
  });

  class Repetition {
    constructor(root, state, engine, tell) {
      const id = newId("repetition");
      Object.assign(this, { state, engine, tell });
      this.model = choice(`${id}-model`, state.models, state.model);
      this.prompt = new Prompt(`${id}-prompt`, "prompt", state.prompt, 1, engine, this.model);
      this.knob = choice(`${id}-knob`, NAMES, state.knob);
      this.begin = slider(`${id}-begin`, ["on from token", 0, state.length, 1, state.begin], () => this.change());
      this.phrase = new Text(`${id}-phrase`, "say again", "");
      this.strength = make("div");
      const title = `The model's own probability of what is written, mean of ${PIECE} tokens:`;
      this.chart = make("div", { className: "mg-chart" });
      this.greedy = make("p", { className: "mg-text" });
      this.changed = make("p", { className: "mg-text" });
      this.again = make("table", { className: "mg-bars" });
      this.status = make("p", { className: "mg-status", role: "status" });
      this.said = make("p", { className: "mg-status", role: "status" });
      this.writing = alone(root, (error) => this.fail(error));
      this.saying = alone(root, (error) => {
        this.again.replaceChildren();
        this.said.textContent = sentence(error);
      });
      this.writeSoon = later(root, () => this.write());
      this.prompt.input.oninput = later(root, () => this.read());
      this.phrase.input.oninput = later(root, () => this.repeat());
      this.model.onchange = () => this.read();
      this.knob.onchange = () => this.arm(KNOBS[this.knob.value][4]);
      fill(
        root,
        make("div", { className: "mg-pair" }, this.prompt.field, field("model", this.model), field("knob", this.knob)),
        this.strength,
        this.begin.row,
        make("p", { className: "mg-status", textContent: title }),
        this.chart,
        this.status,
        make("div", { className: "mg-settings" }, this.column("greedy", this.greedy), this.column("with the knob", this.changed)),
        make("div", { className: "mg-shared" }, this.phrase.field),
        this.again,
        this.said,
      );
      this.id = id;
      this.ready = false;
      this.arm(state.strength);
      new ResizeObserver(() => this.draw()).observe(this.chart);
      this.read();
    }

    column(title, text) {
      return make("section", { className: "mg-setting" }, make("p", { className: "mg-status", textContent: title }), text);
    }

    // A slider for the chosen knob.
    arm(value) {
      this.force = slider(`${this.id}-strength`, KNOBS[this.knob.value], () => this.change());
      this.force.set(value);
      this.strength.replaceChildren(this.force.row);
      if (this.ready) this.write();
    }

    async generate(kept, knobs, signal) {
      const { name, prompt } = this.made, { seed, length } = this.state, tokens = [];
      const question = { name, prompt, kept, knobs, seed, count: length - kept.length, stop: "" };
      await this.engine.ask("generate", question, { signal, onToken: (token) => tokens.push(token) });
      return tokens;
    }

    // The greedy text, from the beginning; then what is made of it.
    read() {
      return this.writing(async (signal) => {
        this.ready = false;
        this.status.textContent = "Loading the model…";
        this.made = await this.prompt.load(signal);
        this.status.textContent = "Computing…";
        const tokens = await this.generate([], { temperature: 0 }, signal);
        const n = period(tokens), fits = n > 1 && 2 * n <= this.made.config.block_size; // to be said again it must fit in twice
        const loop = tokens.slice(-(fits ? n : PIECE)).map(({ text }) => text).join("");
        if (this.phrase.value === "") Object.assign(this.phrase, { mine: [], typed: false }); // the reader has none
        await this.phrase.follow(this.engine, this.made.name, [loop], signal);
        Object.assign(this, { without: tokens, ready: true });
        this.repeat();
        this.write();
      });
    }

    // A slider has moved.
    change() {
      if (!this.ready) return;
      this.status.textContent = "Computing…";
      this.writeSoon();
    }

    // The same text, and from the chosen token on with the knob.
    write() {
      if (!this.ready) return null;
      return this.writing(async (signal) => {
        this.status.textContent = "Computing…";
        const begin = Math.min(+this.begin.input.value, this.without.length), knob = this.knob.value;
        const kept = this.without.slice(0, begin), strength = +this.force.input.value;
        this.with = await this.generate(kept, { temperature: 0, [knob]: strength }, signal);
        this.show(begin);
        const { name, prompt } = this.made;
        this.tell({ state: { ...this.state, prompt, model: name, knob, strength, begin: +this.begin.input.value } });
      });
    }

    fail(error) {
      this.without = this.with = null;
      for (const part of [this.chart, this.greedy, this.changed, this.again, this.said]) part.replaceChildren();
      this.status.textContent = sentence(error);
    }

    show(begin) {
      const marked = (tokens, again) =>
        tokens.map(({ text }, i) => make("span", { className: again.slice(i, i + PIECE).some(Boolean) ? "mg-again" : "", textContent: text }));
      const [a, b] = [repeated(this.without), repeated(this.with)], n = period(this.without);
      const { prompt } = this.made;
      this.greedy.replaceChildren(make("b", { textContent: prompt }), ...marked(this.without, a));
      this.changed.replaceChildren(make("b", { textContent: prompt }), ...marked(this.with, b));
      const loop = n ? `Greedy ends in a loop of ${count(n, "token")}` : "Greedy is in no loop yet";
      const rest = b.slice(begin), known = rest.filter(Boolean).length / Math.max(1, rest.length);
      this.status.textContent =
        `${loop}; ${whole(share(a))} of its pieces of ${PIECE} tokens stood in it before. ` +
        `With the knob ${whole(share(b))}, and from token ${begin} on ${whole(known)}.`;
      this.begun = begin;
      this.draw();
    }

    // The model's own probability of what was written.
    draw() {
      if (!this.with) return;
      const width = this.chart.clientWidth, last = this.state.length - 1;
      const x = (i) => LEFT + ((width - LEFT - RIGHT) * i) / last, y = (p) => TOP + HEIGHT * (1 - p);
      const text = (at, height, content, attributes) => draw("text", { x: at, y: height, "dominant-baseline": "middle", ...attributes }, content);
      const svg = draw("svg", { width, height: TOP + HEIGHT + 24, viewBox: `0 0 ${width} ${TOP + HEIGHT + 24}`, role: "img" });
      svg.setAttribute("aria-label", "the model's probability of each token written, along the text");
      for (const tick of [0, 0.5, 1]) {
        svg.append(draw("line", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick), class: "mg-grid" }));
        svg.append(text(LEFT - 6, y(tick), String(tick), { "text-anchor": "end" }));
      }
      const line = (tokens, from, attributes) => {
        const points = smooth(tokens.map(({ own }) => own)).map((p, i) => `${x(i).toFixed(1)},${y(p).toFixed(1)}`).slice(from);
        svg.append(draw("polyline", { points: points.join(" "), fill: "none", "stroke-width": 1.6, ...attributes }));
      };
      line(this.without, 0, { stroke: "#8888" });
      line(this.with, Math.max(0, this.begun - 1), { stroke: "var(--mg-accent)" });
      svg.append(draw("line", { x1: x(this.begun), x2: x(this.begun), y1: TOP, y2: TOP + HEIGHT, class: "mg-cursor", "stroke-dasharray": "3 3" }));
      svg.append(text(LEFT, TOP + HEIGHT + 14, "grey: greedy"));
      svg.append(text(width - RIGHT, TOP + HEIGHT + 14, "blue: with the knob", { "text-anchor": "end", fill: "var(--mg-accent)" }));
      this.chart.replaceChildren(svg);
    }

    // The phrase, said once, twice, ...: does saying it make it likelier?
    repeat() {
      if (!this.made) return null;
      return this.saying(async (signal) => {
        const { means } = await this.engine.ask("repeat", { name: this.made.name, phrase: this.phrase.value, times: TIMES }, { signal });
        const rows = means.map((p, time) => {
          const bar = make("span", { className: "mg-bar" }), track = make("td", { className: "mg-track" }, bar);
          bar.style.width = percent(p);
          return make("tr", {}, make("th", { scope: "row", textContent: `time ${time + 1}` }), track, make("td", { textContent: p.toFixed(3) }));
        });
        this.again.replaceChildren(
          make("caption", { textContent: "Probability per token of the phrase's second half, said once, twice, and so on." }),
          make("tbody", {}, ...rows),
        );
        const change = means.at(-1) / means[0];
        this.said.textContent = `Said again, it is ${change > 1.02 ? "likelier" : change < 0.98 ? "less likely" : "as likely"} in the end.`;
      });
    }
  }

  minigpt.widgets.repetition = (root, state, engine, tell) => new Repetition(root, state, engine, tell);
})();
