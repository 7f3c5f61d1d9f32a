// Recorded training runs to go through: loss, gradient norm and what the model says at a step move together. Or runs whose names
// are hidden, for the reader to say what is wrong with them.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, draw, slider, field, choice, capital, sentence, alone, patiently } = minigpt.parts;
  const { toLine, calm, player, hold, newId, fill, drawing, label, apart, lines } = minigpt.parts;
  const LEFT = 34, RIGHT = 112, GAP = 26, LOSS = 230, NORM = 90; // pixels
  const BLUE = "var(--mg-accent)", VERMILION = "#d55e00", GREY = "#8888", OTHER = "var(--mg-grey)";

  // The last of the pairs [step, value] that is not after `step`.
  const before = (pairs, step) => pairs.filter(([at]) => at <= step).at(-1);

  const heldOut = ({ val }) => ({ steps: val.map(([step]) => step), values: val.map(([, loss]) => loss) });

  class Curves {
    constructor(root, state, engine, tell) {
      const id = newId("curves");
      Object.assign(this, { state, engine, tell, runs: null, chosen: [] });
      this.run = choice(`${id}-run`, state.runs, state.run);
      this.other = choice(`${id}-other`, { "": "nothing", ...state.runs }, state.beside);
      this.pair = make("div", { className: "mg-pair" }, field("run", this.run), field("beside it", this.other));
      this.patient = make("select", { id: `${id}-patient` });
      this.sick = make("div", { className: "mg-pair mg-patients" }, field("patient", this.patient));
      this.hide = make("button", { type: "button", onclick: () => this.turn(!this.hidden) });
      this.step = slider(`${id}-step`, ["step", 1, 1, 1, 1], () => this.go(+this.step.input.value));
      this.player = player(() => this.advance(), () => (calm() ? 1000 : 50), () => this.report());
      this.picture = make("div", { className: "mg-chart" });
      this.picture.onpointerdown = this.picture.onpointermove = (event) => event.buttons && this.point(event);
      this.numbers = make("p", { className: "mg-status", role: "status" });
      this.diagnosis = make("select", { id: `${id}-diagnosis` });
      const ask = make("button", { type: "button", textContent: "Ask the clinic", onclick: () => this.judge() });
      this.verdict = make("p", { className: "mg-verdict", role: "status" });
      this.desk = make("div", {}, make("div", { className: "mg-pair" }, field("your diagnosis", this.diagnosis), ask), this.verdict);
      this.said = make("div", { className: "mg-settings" });
      this.run.onchange = this.other.onchange = () => this.see(+this.step.input.value);
      this.patient.onchange = () => this.see();
      this.alone = alone(root, (error) => (this.numbers.textContent = sentence(error)));
      fill(
        root,
        make("div", { className: "mg-pair" }, this.pair, this.sick, this.hide),
        make("div", { className: "mg-played" }, this.player.button, this.step.row),
        this.picture,
        this.numbers,
        this.said,
        this.desk,
      );
      new ResizeObserver(() => this.arrange()).observe(this.picture);
      this.turn(Boolean(state.patient), state.step);
    }

    // To the runs whose names are hidden, or back to those with names.
    turn(hidden, step) {
      this.hidden = hidden;
      this.hide.textContent = hidden ? "Show the names" : "Hide the names";
      this.pair.hidden = hidden;
      this.sick.hidden = this.desk.hidden = !hidden;
      this.player.stop();
      this.runs = null;
      this.chosen = [];
      return this.alone(async (signal) => {
        const record = await patiently(this.numbers, "Loading the records…", this.engine.read(hidden ? "patients" : "curves"));
        if (signal.aborted) return;
        if (hidden && !this.patients) this.admit(record);
        const { levels, runs } = record;
        this.runs = hidden ? this.patients : Object.fromEntries(
          Object.entries(runs).map(([name, run]) => [name, { ...run, levels, name: capital(this.state.runs[name]) }]),
        );
        this.see(step);
      });
    }

    // The patients, each without its name.
    admit({ diagnoses, patients }) {
      this.patients = Object.fromEntries(
        Object.entries(patients).map(([letter, run]) => [letter, { ...run, name: `Patient ${letter}` }]),
      );
      const options = (names) => names.map((name) => make("option", { value: name, textContent: name }));
      this.patient.replaceChildren(...options(Object.keys(patients)));
      this.patient.value = this.state.patient || "A";
      const none = make("option", { value: "", textContent: "choose a diagnosis" });
      this.diagnosis.replaceChildren(none, ...options(diagnoses));
    }

    // Is it what the clinic finds? If not, the reader hears what the clinic saw, and may try again.
    judge() {
      const [run] = this.chosen, guess = this.diagnosis.value;
      if (!run) return;
      if (!guess) {
        this.verdict.textContent = "Choose a diagnosis first.";
        return;
      }
      const found = run.findings.find(({ name }) => name === guess);
      this.verdict.textContent = found ? this.right(run, found) : `✗ Not ${guess}. The clinic saw this: ${run.findings[0].symptom}`;
      if (found) this.patient.selectedOptions[0].textContent = `${this.patient.value}, ${guess}`;
      this.holdVerdict();
    }

    // Room for the longest verdict, once there is one.
    holdVerdict() {
      const [run] = this.chosen;
      if (this.verdict.textContent) hold(this.verdict, run.findings.map((finding) => this.right(run, finding)));
    }

    right({ name, was }, { name: diagnosis, symptom, diagnosis: meaning, cure }) {
      return `✓ Right: ${diagnosis}. ${symptom} It means: ${meaning} Try: ${cure} ${name} is the run “${was}”.`;
    }

    // Another run is shown, at that step, or at its last one.
    see(step = Infinity) {
      if (!this.runs) return;
      this.player.stop();
      const names = this.hidden ? [this.patient.value] : [this.run.value, this.other.value];
      this.chosen = names.filter(Boolean).map((name) => this.runs[name]);
      this.steps = this.chosen[0].loss.length;
      this.step.input.max = this.steps;
      this.step.set(Math.min(step, this.steps));
      this.verdict.textContent = this.verdict.style.minHeight = this.diagnosis.value = "";
      this.said.replaceChildren(
        ...this.chosen.map(() =>
          make("section", { className: "mg-setting" }, make("p", { className: "mg-status" }), make("p", { className: "mg-text" })),
        ),
      );
      this.until = this.steps;
      this.arrange();
      this.report();
    }

    // Room for all that will be said at any step, and the chart, as wide as there is place.
    arrange() {
      if (!this.chosen.length) return;
      this.width = this.picture.clientWidth;
      hold(this.numbers, [this.tale(this.steps)]);
      if (this.hidden) this.holdVerdict();
      this.chosen.forEach(({ says }, i) => {
        const section = this.said.children[i], [title, text] = section.children;
        section.hidden = !says.length;
        if (!says.length) return;
        hold(title, [this.title(this.chosen[i], says.at(-1)[0])]);
        hold(text, says.map(([, text]) => toLine(text)));
      });
      this.show();
    }

    // By hand: the whole curve is there.
    go(step) {
      if (!this.chosen.length) return;
      this.player.stop();
      const whole = this.until === this.steps;
      this.until = this.steps;
      this.step.set(step);
      if (whole) this.move();
      else this.show();
      this.report();
    }

    // While it plays, the curve is drawn as far as the step; from the end it begins again. Is there more?
    advance() {
      if (!this.chosen.length) return false;
      const step = +this.step.input.value, by = Math.ceil(this.steps / (calm() ? 9 : 225));
      this.until = step === this.steps ? 1 : Math.min(step + by, this.steps);
      this.step.set(this.until);
      this.show();
      return this.until < this.steps;
    }

    x(step) {
      return LEFT + ((this.width - LEFT - RIGHT) * (step - 1)) / (this.steps - 1);
    }

    path(values, ys, attributes) {
      const points = ys.map((y, i) => `${this.x(values[i]).toFixed(1)},${y.toFixed(1)}`).join(" ");
      return draw("polyline", { points, fill: "none", "stroke-width": 1.4, ...attributes });
    }

    // One part of the chart: axis, lines and their names. It reaches as high as the highest line; drawn is what comes up to
    // the step `until`.
    panel(title, top, height, curves) {
      const panel = draw("g"), names = [], high = Math.max(...curves.flatMap(({ values }) => values));
      const level = (value) => top + height * (1 - value / high);
      for (let tick = 0; tick <= high; tick += Math.ceil(high / 5)) {
        panel.append(draw("line", { x1: LEFT, x2: this.width - RIGHT, y1: level(tick), y2: level(tick), class: "mg-grid" }));
        panel.append(label(LEFT - 6, level(tick), String(tick), { "text-anchor": "end" }));
      }
      for (const { name, steps, values, stroke, dots, reference, ...attributes } of curves) {
        const drawn = reference ? values : values.filter((_, i) => steps[i] <= this.until), ys = drawn.map(level);
        panel.append(this.path(steps, ys, { stroke, ...attributes }));
        if (dots) ys.forEach((y, i) => panel.append(draw("circle", { cx: this.x(steps[i]), cy: y, r: 2.5, fill: stroke })));
        if (name && ys.length) names.push(...lines(name).map((line) => ({ y: ys.at(-1), name: line, stroke })));
      }
      for (const { y, name, stroke } of apart(names))
        panel.append(label(this.width - RIGHT + 6, y, name, { class: stroke === GREY ? "mg-grey" : "", fill: stroke }));
      panel.append(label(LEFT, top - 12, title, { class: "mg-title" }));
      return panel;
    }

    // Draw the chart.
    show() {
      const [run, other] = this.chosen;
      const every = run.loss.map((_, i) => i + 1), ends = [1, this.steps];
      const top = 24, below = top + LOSS + GAP + 14, height = below + NORM + 34;
      const reference = { reference: true, stroke: GREY, "stroke-dasharray": "4 4" };
      const losses = [
        ...Object.entries(run.levels).map(([name, level]) => (
          { name: `${name} ${level.toFixed(2)}`, steps: ends, values: [level, level], ...reference }
        )),
        ...(other ? [
          { steps: every, values: other.loss, stroke: OTHER },
          { name: other.name, ...heldOut(other), stroke: OTHER, "stroke-dasharray": "2 3", dots: true },
        ] : []),
        { name: "training", steps: every, values: run.loss, stroke: BLUE },
        { name: "validation", ...heldOut(run), stroke: VERMILION, dots: true },
      ];
      const norms = [
        { name: "clipping", steps: ends, values: [run.clip, run.clip], ...reference },
        ...(other ? [{ steps: every, values: other.norm, stroke: OTHER }] : []),
        { steps: every, values: run.norm, stroke: BLUE },
      ];
      this.cursor = draw("line", { y1: top, y2: below + NORM, class: "mg-cursor" });
      const chart = drawing(
        this.width,
        height,
        `loss and gradient norm: ${run.name}`,
        this.panel("loss (nats per token)", top, LOSS, losses),
        this.panel("norm of the gradient", below, NORM, norms),
        label(this.x(1), height - 18, "1"),
        label(this.x(this.steps), height - 18, `step ${this.steps}`, { "text-anchor": "end" }),
        this.cursor,
      );
      this.picture.replaceChildren(chart);
      this.move();
    }

    point(event) {
      const left = event.clientX - this.picture.getBoundingClientRect().left;
      this.go(Math.round(1 + ((this.steps - 1) * (left - LEFT)) / (this.width - LEFT - RIGHT)));
    }

    // What depends on the step.
    move() {
      const step = +this.step.input.value;
      this.cursor.setAttribute("x1", this.x(step));
      this.cursor.setAttribute("x2", this.x(step));
      this.numbers.setAttribute("aria-live", this.player.playing() ? "off" : "polite");
      this.numbers.textContent = this.tale(step);
      this.chosen.forEach((run, i) => {
        const [title, text] = this.said.children[i].children, look = before(run.says, step);
        title.textContent = look ? this.title(run, look[0]) : "";
        text.textContent = look ? toLine(look[1]) : "";
      });
    }

    title({ name }, step) {
      return `${name}, after step ${step}, says:`;
    }

    tale(step) {
      const tales = this.chosen.map(({ name, loss, norm, val }) => {
        const last = before(val, step), held = last ? `, validation ${last[1].toFixed(2)} (step ${last[0]})` : "";
        return `${name}, step ${step}: training loss ${loss[step - 1].toFixed(2)}${held}, gradient ${norm[step - 1].toFixed(2)}.`;
      });
      return tales.join(" ");
    }

    report() {
      const { value: run } = this.run, { value: beside } = this.other, patient = this.hidden ? this.patient.value : "";
      this.tell({ state: { ...this.state, run, beside, patient, step: +this.step.input.value } });
    }
  }

  minigpt.widgets.curves = (root, state, engine, tell) => new Curves(root, state, engine, tell);
})();
