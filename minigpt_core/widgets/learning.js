// What is seen of a model while it learns: its losses beside what counting reaches, what it writes, and where one head looks.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, draw, capital, onColours, label, apart, lines } = minigpt.parts;
  const LEFT = 34, RIGHT = 112, TOP = 26, FOOT = 26; // margins of the chart, in pixels
  const BLUE = "var(--mg-accent)", VERMILION = "#d55e00", GREY = "#8888";
  const MARK = 5, NAME = 180, NEAR = 10, WIDE = 400; // pixels: a mark, how wide and half as high names are, a chart with a long title
  const BEFORE = [0, 1, 3, 7]; // the samples that stay in view

  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const number = (loss) => (Number.isFinite(loss) ? loss.toFixed(2) : "no number");
  const seconds = (value) => (value < 90 ? `${Math.ceil(value)} s` : `${Math.round(value / 60)} min`);

  // A training in the worker, and what it has told so far. Of two that are compared, each has its letter.
  class Run {
    constructor(engine, name, letter) {
      Object.assign(this, { engine, name, letter, losses: [], held: [], samples: [], map: null, left: NaN, why: null });
    }

    ask(action, question = {}, signal = new AbortController().signal, onPart = () => {}) {
      return this.engine.run(action, { name: this.name, ...question }, { signal, onPart });
    }

    // What needs no answer. That it comes too late is no harm.
    tell(action, question) {
      this.ask(action, question).catch(() => {});
    }

    async prepare(question, signal, onPart) {
      const prepared = await this.ask("prepare", question, signal, onPart);
      this.engine.adopt(this.name, prepared);
      Object.assign(this, prepared);
    }

    // What it writes now, and the map of its head, where they are told.
    see({ sample, map }) {
      if (sample) this.samples.push([this.step, sample.trim().replace(/\n+/g, "\n")]);
      this.map = map ?? this.map;
    }

    // Until it ends or is paused; `heard` is told of each step.
    async train(signal, heard) {
      const onPart = (part) => {
        this.losses.push(part.train_loss);
        if (part.val_loss !== null) this.held.push([part.step, part.val_loss]);
        this.left = part.left;
        this.see(part);
        heard(part);
      };
      this.why = null;
      const { why, verdict, seconds, ...shown } = await this.ask("train", {}, signal, onPart);
      Object.assign(this, { why, verdict, seconds });
      this.see(shown); // where it was paused
    }

    // Its memory is given back.
    forget() {
      this.engine.forget(this.name);
    }

    get step() {
      return this.losses.length;
    }

    // What the losses are now: in training the mean of the last twentieth, since one batch is not like the next.
    get now() {
      return { training: mean(this.losses.slice(-Math.max(2, this.step / 20))), heldOut: this.held.at(-1)?.[1] };
    }

    // What its tokens are called: a script of many kinds has no letters.
    get unit() {
      if (this.kind !== "char") return "token";
      return this.look.kinds > 256 ? "character" : "letter";
    }

    // The lines that it is read against, by the names that a reader knows.
    get lines() {
      const { "ln V": blind, "1-gram": single, "2-gram": pairs, "best count": best } = this.references;
      return [["guessing blindly", blind], [`counting ${this.unit}s`, single], ["counting pairs", pairs], ["best count", best]];
    }

    // The last of these that the held-out loss has passed, and the first that it has not.
    get between() {
      const { heldOut } = this.now, below = ([, level]) => heldOut < level;
      return [this.lines.findLast(below), this.lines.find((line) => !below(line))];
    }

    get passed() {
      const [last] = this.between;
      return this.held.length ? `; held out: ${last ? `below ${last[0]}` : "above guessing blindly"}` : "";
    }

    get compared() {
      const [last, next] = this.between.map((line) => line && `${line[0].replace("best", "the best")} (${number(line[1])})`);
      if (!last) return `${this.now.heldOut > this.lines[0][1] ? "worse" : "no better"} than ${next}`;
      return `better than ${last}${next ? `, not as good as ${next}` : ""}`;
    }

    get where() {
      return `${this.letter ? `${this.letter} at step` : "Step"} ${this.step} of ${this.plan.steps}`;
    }

    get standing() {
      const { training, heldOut } = this.now, held = heldOut === undefined ? "" : `, held-out loss ${number(heldOut)}`;
      return `training loss ${number(training)}${held}`;
    }

    // The end in words: where the losses stand, and what the clinic finds, with what it saw where the `whole` is asked for.
    judged(small, whole) {
      const { letter, step, verdict, unit } = this, after = `${letter ? `${letter}: ` : ""}${step} steps in ${seconds(this.seconds)}`;
      const { name, symptom, diagnosis, cure } = verdict;
      if (small) {
        const loss = number(this.now.heldOut), found = `The clinic (chapter 09) says: ${name}. ${diagnosis}`;
        return `${after}. In the part that was hidden, the loss is ${loss} nats per ${unit}: ${this.compared}. ${found}`;
      }
      const saw = whole && name !== "healthy" ? ` ${symptom}` : ""; // of a healthy run no more than is said here
      const found = `The clinic (chapter 09) says: ${name}.${saw} ${diagnosis}`;
      return `${after}, ${this.standing} nats per ${unit}. Held out, this is ${this.compared}. ${found} Try, with Python: ${cure}`;
    }
  }

  // The losses of one run, or of two, and the lines that they are read against.
  class Chart {
    constructor(height) {
      Object.assign(this, { height, runs: [] });
      this.svg = draw("svg", { height, role: "img", "aria-label": "The loss will be drawn here." });
      this.root = make("div", { className: "mg-chart" }, this.svg);
      new ResizeObserver(() => this.show()).observe(this.root);
    }

    x(step) {
      return LEFT + ((this.right - LEFT) * (step - 1)) / (this.steps - 1);
    }

    y(loss) {
      return TOP + ((this.height - TOP - FOOT) * (this.high - Math.min(loss, this.high))) / (this.high - this.low);
    }

    show(runs = this.runs) {
      this.runs = runs;
      const { clientWidth: width } = this.root, [first] = runs, levels = first?.lines ?? [];
      const losses = runs.flatMap(({ losses, held }) => [...losses, ...held.map(([, loss]) => loss)]).filter(Number.isFinite);
      const [[, blind]] = first ? levels : [["", 5]], all = [blind, ...levels.map(([, level]) => level), ...losses];
      this.right = width - RIGHT;
      this.steps = first?.plan.steps ?? 2;
      this.low = first ? Math.floor(Math.min(...all)) : 0;
      this.high = Math.min(2 * blind, Math.max(...all)); // a run may go far astray
      const line = (y, attributes) => draw("line", { x1: LEFT, x2: this.right, y1: y, y2: y, ...attributes });
      const found = runs.length === 1 && first.why && width > WIDE ? first.passed : "";
      const parts = [label(LEFT, TOP - 14, `loss (nats per ${first?.unit ?? "letter"})${found}`, { class: "mg-title" })];
      for (let tick = this.low; tick <= this.high; tick += Math.ceil((this.high - this.low) / 5))
        parts.push(line(this.y(tick), { class: "mg-grid" }), label(LEFT - 6, this.y(tick), String(tick), { "text-anchor": "end" }));
      const names = levels.flatMap(([name, level]) => lines(name).map((words) => ({ words, y: this.y(level) })));
      parts.push(...levels.map(([, level]) => line(this.y(level), { stroke: GREY, "stroke-dasharray": "4 4" })));
      parts.push(...apart(names).map(({ words, y }) => label(this.right + 6, y, words, { class: "mg-grey" })));
      if (first) {
        parts.push(label(LEFT, this.height - 12, "1"));
        parts.push(label(this.right, this.height - 12, `step ${this.steps}`, { "text-anchor": "end" }));
      }
      this.svg.setAttribute("width", width);
      this.svg.replaceChildren(...parts, ...runs.flatMap((run) => this.curves(run)), ...this.names());
    }

    // The two curves of a run. Those of B have dashes, and square marks.
    curves({ losses, held, letter }) {
      const second = letter === "B", sound = held.filter(([, loss]) => Number.isFinite(loss));
      const training = losses.map((loss, i) => [i + 1, loss]).filter(([, loss]) => Number.isFinite(loss));
      const curve = (pairs, stroke, dashes) => {
        const points = pairs.map(([step, loss]) => `${this.x(step).toFixed(1)},${this.y(loss).toFixed(1)}`).join(" ");
        return draw("polyline", { points, fill: "none", stroke, "stroke-width": 1.3, ...(second && { "stroke-dasharray": dashes }) });
      };
      const marks = sound.map(([step, loss]) => {
        const x = this.x(step) - MARK / 2, y = this.y(loss) - MARK / 2;
        return draw("rect", { x, y, width: MARK, height: MARK, rx: second ? 0 : MARK / 2, fill: VERMILION });
      });
      return [curve(training, BLUE, "9 3"), curve(sound, VERMILION, "9 3"), ...marks];
    }

    // The names of the curves: where they end, or as soon as there is no room for that, above what is drawn at the right edge; of
    // two runs those of the lower one stand below it. No dashed line goes through them.
    names() {
      const names = this.runs.filter(({ step }) => step).map((run) => {
        const { training, heldOut } = run.now, tip = this.x(run.step) + 8, room = this.right - tip > NAME;
        const near = run.losses.filter((_, i) => this.x(i + 1) > this.right - NAME);
        const losses = [training, heldOut, ...near].filter(Number.isFinite);
        const above = Math.max(TOP + 12, this.y(Math.max(this.low, ...losses)) - 12);
        const below = Math.min(this.height - FOOT - 6, this.y(Math.min(this.high, ...losses)) + 18);
        const lower = this.runs.some(({ now }) => now.training > training), way = lower ? NEAR : -NEAR;
        const levels = run.lines.map(([, level]) => this.y(level)).sort((a, b) => way * (a - b));
        const y = levels.reduce((y, level) => (Math.abs(y - level) < NEAR ? level + way : y), lower ? below : above);
        const words = [draw("tspan", { fill: BLUE }, `${run.letter} training ${number(training)}`.trim())];
        if (heldOut !== undefined) words.push(draw("tspan", { fill: VERMILION, dx: 8 }, `held out ${number(heldOut)}`));
        return { words, y, place: room ? [tip, "start"] : [this.right, "end"] };
      });
      return apart(names).map(({ words, y, place: [x, anchor] }) => {
        const name = label(x, y, "", { class: "mg-name", "text-anchor": anchor });
        name.append(...words);
        return name;
      });
    }

    // The same for those who do not see it.
    say() {
      const said = this.runs.map((run) => `${run.where}: ${run.standing}${run.passed}`);
      this.svg.setAttribute("aria-label", `Loss over the training steps. ${said.join("; ")}.`);
    }
  }

  // How much one head looks from each token at itself and at those before it, with the tokens where there is room.
  class HeadMap {
    constructor(small) {
      Object.assign(this, { small, map: null });
      this.canvas = make("canvas");
      this.canvas.setAttribute("role", "img");
      this.caption = make("p", { className: "mg-note" });
      this.name("letter");
      this.root = make("div", { className: "mg-looks" }, this.canvas, this.caption);
      new ResizeObserver(() => this.show()).observe(this.canvas);
      onColours(this.canvas, () => this.show());
      this.say();
    }

    show(map = this.map) {
      this.map = map;
      const { canvas } = this, ratio = globalThis.devicePixelRatio || 1, { clientWidth: width } = canvas;
      const { names, rows } = map ?? { names: [], rows: [] }, T = Math.max(1, rows.length);
      const named = width / T > 7, margin = named ? 12 : 0, cell = (width - margin) / T, at = (t) => (t + 0.5) * cell;
      const context = canvas.getContext("2d"), style = getComputedStyle(canvas);
      canvas.width = canvas.height = width * ratio;
      context.scale(ratio, ratio);
      context.fillStyle = style.getPropertyValue("--mg-accent");
      rows.forEach((row, t) => row.forEach((share, s) => {
        context.globalAlpha = Math.sqrt(share); // as in the maps of the other panels
        context.fillRect(margin + s * cell, t * cell, cell, cell);
      }));
      if (!named) return;
      Object.assign(context, { globalAlpha: 1, fillStyle: style.color, textAlign: "center", textBaseline: "middle" });
      context.font = `${Math.min(11, cell)}px ui-monospace, monospace`;
      names.forEach((name, t) => {
        context.fillText(name, margin / 2, at(t) - (name === "▁" ? 3 : 0), margin); // it would touch the name below
        context.fillText(name, margin + at(t), width - margin / 2, cell);
      });
    }

    // What the tokens are called.
    name(unit) {
      const whole = `where one attention head looks, the darker the more: from the ${unit} of each row to those before it`;
      this.caption.textContent = this.small ? `where one attention head looks, among ${unit}s` : whole;
    }

    // Where most rows have their largest share, in words.
    say() {
      const { names = [], rows = [] } = this.map ?? {}, backs = rows.slice(1).map((row, t) => t + 1 - row.indexOf(Math.max(...row)));
      const often = (back) => backs.filter((other) => other === back).length;
      const back = backs.reduce((a, b) => (often(b) > often(a) ? b : a), 0);
      const where = ["itself", "the one just before"][back] ?? `the one ${back} before`;
      const seen = `Of ${rows.length} tokens of “${names.join("").replace(/[▁↵]+/g, " ").trim()}”, ${often(back)} attend most to ${where}.`;
      this.canvas.setAttribute("aria-label", `The attention of one head. ${this.map ? seen : "It will be drawn here."}`);
    }
  }

  // What a run writes now; and what it wrote before, at first noise.
  class Says {
    constructor(letter) {
      this.letter = letter;
      this.caption = make("p", { className: "mg-caption" });
      this.text = make("p", { className: "mg-says" });
      this.before = make("ol", { className: "mg-trail" });
      this.root = make("div", { className: "mg-writes" }, this.caption, this.text, this.before);
    }

    // Of two runs each is called by its letter.
    name(two) {
      this.caption.textContent = `${two ? this.letter : "It"} writes now:`;
    }

    show(samples) {
      const before = BEFORE.filter((place) => place < samples.length - 1).map((place) => samples[place]);
      this.text.textContent = samples.at(-1)?.[1] ?? "";
      this.before.replaceChildren(...before.map(([step, text]) => make("li", {}, make("b", { textContent: `step ${step} ` }), text)));
    }
  }

  minigpt.learning = { Run, Chart, HeadMap, Says, seconds };
})();
