// Recorded training runs to go through: loss, gradient norm and what the model says at a step move together.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, draw, slider, field, choice, capital, sentence, patiently, newId, fill } = minigpt.parts;
  const LEFT = 34, RIGHT = 78, LINE = 14, GAP = 26, LOSS = 230, NORM = 90; // pixels
  const BLUE = "var(--mg-accent)", VERMILION = "#d55e00", GREY = "#8888";

  // The last of the pairs [step, value] that is not after `step`.
  const before = (pairs, step) => pairs.filter(([at]) => at <= step).at(-1);

  // Names at the right end of lines, moved apart where they would touch.
  const apart = (names) => {
    const sorted = names.toSorted((a, b) => a.y - b.y);
    for (let i = 1; i < sorted.length; i++) sorted[i].y = Math.max(sorted[i].y, sorted[i - 1].y + LINE);
    return sorted;
  };

  class Curves {
    constructor(root, state, engine, tell) {
      const id = newId("curves");
      Object.assign(this, { state, tell });
      this.run = choice(`${id}-run`, state.runs, state.run);
      this.other = choice(`${id}-other`, { "": "nothing", ...state.runs }, state.beside ?? "");
      this.step = slider(`${id}-step`, ["step", 1, 1, 1, 1], () => this.move());
      this.picture = make("div", { className: "mg-chart" });
      this.picture.onpointerdown = this.picture.onpointermove = (event) => event.buttons && this.point(event);
      this.numbers = make("p", { className: "mg-status", role: "status" });
      this.said = make("div", { className: "mg-settings" });
      this.run.onchange = this.other.onchange = () => this.show();
      fill(
        root,
        make("div", { className: "mg-pair" }, field("run", this.run), field("beside it", this.other)),
        this.step.row,
        this.picture,
        this.numbers,
        this.said,
      );
      this.begin(engine);
    }

    async begin(engine) {
      try {
        Object.assign(this, await patiently(this.numbers, "Loading the records…", engine.read("curves")));
        this.step.input.max = this.steps;
        this.step.set(this.state.step ?? this.steps);
        new ResizeObserver(() => this.show()).observe(this.picture);
      } catch (error) {
        this.numbers.textContent = sentence(error);
      }
    }

    x(step) {
      return LEFT + ((this.width - LEFT - RIGHT) * (step - 1)) / (this.steps - 1);
    }

    path(values, ys, attributes) {
      const points = ys.map((y, i) => `${this.x(values[i]).toFixed(1)},${y.toFixed(1)}`).join(" ");
      return draw("polyline", { points, fill: "none", "stroke-width": 1.4, ...attributes });
    }

    text(x, y, content, attributes = {}) {
      return draw("text", { x, y, "dominant-baseline": "middle", ...attributes }, content);
    }

    // One panel: axis, lines and their names. It reaches as high as the highest line.
    panel(title, top, height, lines) {
      const panel = draw("g"), names = [], high = Math.max(...lines.flatMap(({ values }) => values));
      const level = (value) => top + height * (1 - value / high);
      for (let tick = 0; tick <= high; tick += Math.ceil(high / 5)) {
        panel.append(draw("line", { x1: LEFT, x2: this.width - RIGHT, y1: level(tick), y2: level(tick), class: "mg-grid" }));
        panel.append(this.text(LEFT - 6, level(tick), String(tick), { "text-anchor": "end" }));
      }
      for (const { name, steps, values, stroke, dots, ...attributes } of lines) {
        const ys = values.map(level);
        panel.append(this.path(steps, ys, { stroke, ...attributes }));
        if (dots) ys.forEach((y, i) => panel.append(draw("circle", { cx: this.x(steps[i]), cy: y, r: 2.5, fill: stroke })));
        if (name) names.push({ y: ys.at(-1), name, stroke });
      }
      for (const { y, name, stroke } of apart(names))
        panel.append(this.text(this.width - RIGHT + 6, y, name, { class: stroke === GREY ? "mg-grey" : "", fill: stroke }));
      panel.append(this.text(LEFT, top - 12, title, { class: "mg-title" }));
      return panel;
    }

    // Draw all that does not depend on the step.
    show() {
      if (!this.runs) return;
      this.width = this.picture.clientWidth;
      const run = this.runs[this.run.value], other = this.runs[this.other.value];
      const every = run.loss.map((_, i) => i + 1), ends = [1, this.steps];
      const top = 24, below = top + LOSS + GAP + 14, height = below + NORM + 34;
      const losses = [
        ...Object.entries(this.levels).map(([name, level]) => ({
          name, steps: ends, values: [level, level], stroke: GREY, "stroke-dasharray": "4 4",
        })),
        ...(other ? [
          { steps: every, values: other.loss, stroke: GREY },
          { name: "beside it", steps: other.val.map(([step]) => step), values: other.val.map(([, loss]) => loss), stroke: GREY, dots: true },
        ] : []),
        { name: "training", steps: every, values: run.loss, stroke: BLUE },
        { name: "validation", steps: run.val.map(([step]) => step), values: run.val.map(([, loss]) => loss), stroke: VERMILION, dots: true },
      ];
      const norms = [
        { name: "clipping", steps: ends, values: [run.clip, run.clip], stroke: GREY, "stroke-dasharray": "4 4" },
        ...(other ? [{ steps: every, values: other.norm, stroke: GREY }] : []),
        { steps: every, values: run.norm, stroke: BLUE },
      ];
      this.cursor = draw("line", { y1: top, y2: below + NORM, class: "mg-cursor" });
      const chart = draw(
        "svg",
        { width: this.width, height, viewBox: `0 0 ${this.width} ${height}`, role: "img" },
        this.panel("loss (nats per token)", top, LOSS, losses),
        this.panel("norm of the gradient", below, NORM, norms),
        this.text(this.x(1), height - 18, "1"),
        this.text(this.x(this.steps), height - 18, `step ${this.steps}`, { "text-anchor": "end" }),
        this.cursor,
      );
      chart.setAttribute("aria-label", `loss and gradient norm of the run ${this.state.runs[this.run.value]}`);
      this.picture.replaceChildren(chart);
      this.move();
    }

    point(event) {
      const left = event.clientX - this.picture.getBoundingClientRect().left;
      this.step.set(Math.round(1 + ((this.steps - 1) * (left - LEFT)) / (this.width - LEFT - RIGHT)));
      this.move();
    }

    // What depends on the step.
    move() {
      if (!this.runs) return;
      const step = +this.step.input.value, chosen = [this.run.value, this.other.value].filter(Boolean);
      this.cursor.setAttribute("x1", this.x(step));
      this.cursor.setAttribute("x2", this.x(step));
      this.numbers.textContent = chosen.map((name) => this.tale(name, step)).join(" ");
      this.said.replaceChildren(
        ...chosen.map((name) => {
          const [at, text] = before(this.runs[name].says, step);
          const title = make("p", { className: "mg-status", textContent: `${capital(this.state.runs[name])}, after step ${at}, says:` });
          return make("section", { className: "mg-setting" }, title, make("p", { className: "mg-text", textContent: text }));
        }),
      );
      this.tell({ state: { ...this.state, run: this.run.value, beside: this.other.value, step } });
    }

    tale(name, step) {
      const { loss, norm, val } = this.runs[name], last = before(val, step);
      const held = last ? `, validation ${last[1].toFixed(2)} (step ${last[0]})` : "";
      return `${capital(this.state.runs[name])}, step ${step}: training loss ${loss[step - 1].toFixed(2)}${held}, gradient ${norm[step - 1].toFixed(2)}.`;
    }
  }

  minigpt.widgets.curves = (root, state, engine, tell) => new Curves(root, state, engine, tell);
})();
