// The loop: greedy text and its probabilities; a knob that is switched on at some place; where the texts repeat themselves; and
// a phrase said again and again.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, draw, slider, field, choice, percent, sentence, count } = minigpt.parts;
  const { alone, toLine, rove, Text, Prompt, later, newId, fill, drawing, label, axis } = minigpt.parts;
  const PIECE = 12; // tokens of a piece that counts as repeated, as in repeated_share
  const TIMES = 6;
  const RUN = 3; // tokens in a row that the dot plot marks
  const TOP = 8, HEIGHT = 120, LEFT = 34, RIGHT = 12; // pixels of the chart
  const EDGE = 46, ABOVE = 20; // pixels beside and above the dot plot
  const NEAR = 3; // positions beside a mark of the plot that still point at it
  const POINT = "Point at a mark or at a token to see both positions; choose a token to switch the knob on there.";
  const MARKS = "Underlined: stood in the text before. Box: the token from which the knob is on.";
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

  // The runs of RUN tokens or more that stand at two places of the text: [first place, second place, length].
  const runs = (tokens) => {
    const found = [];
    for (let apart = 1; apart < tokens.length; apart++)
      for (let i = 0, length = 0; i + apart <= tokens.length; i++)
        if (tokens[i].id === tokens[i + apart]?.id) length++;
        else {
          if (length >= RUN) found.push([i - length, i - length + apart, length]);
          length = 0;
        }
    return found;
  };

  const longest = (found) => found.reduce((a, b) => (b[2] > a[2] ? b : a), [0, 0, 0]);

  // The loop of a text: the run with the shortest round that goes on to the end and says its whole round again. A repeat that is
  // shorter than a piece, such as a double letter at the end, is no loop.
  const loop = (tokens, found) =>
    found
      .filter(([a, b, length]) => b + length === tokens.length && length >= Math.max(b - a, PIECE))
      .reduce((one, other) => (one && one[1] - one[0] < other[1] - other[0] ? one : other), null);

  // What the dot plot shows of a text, in words.
  const tale = ({ tokens, runs }) => {
    const round = loop(tokens, runs), [first, second, length] = longest(runs);
    if (round) return `repeats itself with period ${round[1] - round[0]} from token ${round[0]} on`;
    if (!length) return `no run of ${RUN} tokens occurs twice`;
    return `no loop; the longest repeat, ${count(length, "token")}, at ${first} and ${second}`;
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
      this.plot = make("div", { className: "mg-chart mg-dots" });
      this.plot.onpointermove = this.plot.onpointerdown = (event) => this.aim(event);
      this.plot.onpointerleave = () => this.forget();
      this.tale = make("p", { className: "mg-status" });
      this.places = make("p", { className: "mg-status", role: "status" });
      this.greedy = this.written();
      this.changed = this.written();
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
        this.prompt.note,
        this.strength,
        this.begin.row,
        make(
          "div",
          { className: "mg-settings" },
          make(
            "section",
            { className: "mg-setting" },
            make("p", { className: "mg-status", textContent: title }),
            this.chart,
            make("div", { className: "mg-notes" }, this.status, this.tale, this.places),
          ),
          make("section", { className: "mg-setting" }, this.plot),
        ),
        make(
          "div",
          { className: "mg-settings" },
          this.column("greedy", "mg-greedy", this.greedy),
          this.column("with the knob", "mg-turned", this.changed),
        ),
        make("p", { className: "mg-status", textContent: MARKS }),
        make("div", { className: "mg-shared" }, this.phrase.field),
        this.again,
        this.said,
      );
      this.id = id;
      this.ready = false;
      this.arm(state.strength);
      const resized = new ResizeObserver(() => this.draw());
      for (const part of [this.chart, this.plot]) resized.observe(part);
      this.read();
    }

    column(textContent, role, text) {
      const title = make("p", { className: `mg-status ${role}`, textContent });
      return make("section", { className: "mg-setting" }, title, text);
    }

    // A text whose tokens can be chosen: the knob is on from there.
    written() {
      const text = make("p", { className: "mg-text" });
      rove(text);
      text.onpointerleave = () => this.forget();
      return text;
    }

    token(side, place) {
      const { text } = side.tokens[place], again = side.again.slice(place, place + PIECE).some(Boolean);
      const span = make("span", { className: "mg-place", textContent: text, tabIndex: place ? -1 : 0 });
      span.classList.toggle("mg-again", again);
      span.setAttribute("role", "button");
      span.setAttribute("aria-label", `token ${place}, ${text.trim() || "space"}`);
      span.onclick = () => {
        this.begin.set(place);
        this.change();
      };
      span.onkeydown = (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault(); // the space bar would scroll the page
        span.click();
      };
      span.onfocus = span.onpointerenter = () => this.look(side, place);
      return span;
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
      await this.engine.ask("generate", question, { signal, onPart: (token) => tokens.push(token) });
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
        const [first, second] = loop(tokens, runs(tokens)) ?? [0, 0], n = second - first;
        const fits = n > 1 && 2 * n <= this.made.config.block_size; // to be said again it must fit in twice
        const phrase = tokens.slice(-(fits ? n : PIECE)).map(({ text }) => text).join("");
        if (this.phrase.value === "") Object.assign(this.phrase, { mine: [], typed: false }); // the reader has none
        await this.phrase.follow(this.engine, this.made.name, [phrase], signal);
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
      this.sides = this.cross = null;
      for (const part of [this.chart, this.plot, this.tale, this.places, this.greedy, this.changed, this.again, this.said])
        part.replaceChildren();
      this.status.textContent = sentence(error);
    }

    show(begin) {
      const held = [this.greedy, this.changed].find((text) => text.contains(document.activeElement));
      const side = (tokens, text) => ({ tokens, text, runs: runs(tokens), again: repeated(tokens) });
      const [a, b] = (this.sides = [side(this.without, this.greedy), side(this.with, this.changed)]);
      for (const each of this.sides) {
        const spans = each.tokens.map((_, place) => this.token(each, place));
        spans[begin]?.setAttribute("aria-pressed", "true");
        each.text.replaceChildren(make("b", { textContent: this.made.prompt }), ...spans);
      }
      const rest = b.again.slice(begin), known = rest.filter(Boolean).length / Math.max(1, rest.length);
      this.status.textContent =
        `Greedy: ${whole(share(a.again))} of its pieces of ${PIECE} tokens stood in it before. ` +
        `With the knob ${whole(share(b.again))}, and from token ${begin} on ${whole(known)}.`;
      this.tale.textContent = `Greedy: ${tale(a)}. With the knob: ${tale(b)}.`;
      this.begun = begin;
      this.draw();
      this.forget();
      held?.querySelectorAll("[tabindex]")[begin]?.focus({ preventScroll: true }); // the one that was chosen
    }

    draw() {
      if (!this.sides) return;
      this.drawChart();
      this.drawPlot();
    }

    // The model's own probability of what was written.
    drawChart() {
      const width = this.chart.clientWidth, last = this.state.length - 1, bottom = TOP + HEIGHT;
      const x = (i) => LEFT + ((width - LEFT - RIGHT) * i) / last, y = (p) => TOP + HEIGHT * (1 - p);
      const svg = drawing(width, bottom + 42, "the model's probability of each token written, along the text");
      for (const tick of [0, 0.5, 1]) {
        svg.append(draw("line", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick), class: "mg-grid" }));
        svg.append(label(LEFT - 6, y(tick), String(tick), { "text-anchor": "end" }));
      }
      const line = (tokens, from, attributes) => {
        const points = smooth(tokens.map(({ own }) => own)).map((p, i) => `${x(i).toFixed(1)},${y(p).toFixed(1)}`).slice(from);
        svg.append(draw("polyline", { points: points.join(" "), fill: "none", "stroke-width": 1.6, ...attributes }));
      };
      line(this.without, 0, { stroke: "#8888" });
      line(this.with, Math.max(0, this.begun - 1), { stroke: "var(--mg-accent)" });
      svg.append(draw("path", { d: `M${x(this.begun)} ${TOP}V${bottom}`, class: "mg-cursor", "stroke-dasharray": "3 3" }));
      svg.append(label((LEFT + width - RIGHT) / 2, bottom + 14, "position in the text", { "text-anchor": "middle" }));
      svg.append(label(LEFT, bottom + 32, "grey: greedy"));
      const blue = { "text-anchor": "end", fill: "var(--mg-accent)" };
      svg.append(label(width - RIGHT, bottom + 32, "blue: with the knob", blue));
      this.chart.replaceChildren(svg);
    }

    // Each text against itself, one in each half: a mark where the same tokens stand at both positions.
    drawPlot() {
      const size = this.plot.clientWidth, N = this.state.length, long = size - EDGE - RIGHT, end = ABOVE + long;
      if (long <= 0) return;
      const at = (this.at = (place) => (long * place) / N);
      const x = (place) => EDGE + at(place), y = (place) => ABOVE + at(place);
      const marks = ([first, second, length], upper) => {
        const [column, row] = upper ? [second, first] : [first, second];
        return `M${x(column).toFixed(2)} ${y(row).toFixed(2)}l${at(length).toFixed(2)} ${at(length).toFixed(2)}`;
      };
      const path = (upper, role, some) => {
        const d = some.map((run) => marks(run, upper)).join("");
        return draw("path", { class: role, "stroke-width": Math.max(2, at(1)), d });
      };
      const parts = this.sides.flatMap(({ runs }, upper) => {
        const half = upper ? "mg-upper" : "mg-lower";
        return [
          path(upper, `${half} mg-short`, runs.filter(([, , length]) => length < PIECE)),
          path(upper, half, runs.filter(([, , length]) => length >= PIECE)),
        ];
      });
      const begun = x(this.begun);
      const turned = `translate(8 ${ABOVE + long / 2}) rotate(-90)`;
      this.cross = draw("path", { class: "mg-cursor" });
      const svg = drawing(
        size,
        end + 38,
        `dot plot of both texts against themselves. ${this.tale.textContent}`,
        draw("path", { d: `M${EDGE} ${ABOVE}h${long}v${long}h${-long}zl${long} ${long}`, class: "mg-frame" }),
        ...parts,
        draw("path", { d: `M${begun} ${ABOVE}V${y(this.begun)}`, class: "mg-cursor", "stroke-dasharray": "3 3" }),
        this.cross,
        label(EDGE, 10, "lower half: greedy"),
        label(size - RIGHT, 10, "upper half: knob", { "text-anchor": "end", fill: "var(--mg-accent)" }),
        label(EDGE + long / 2, end + 30, "position in the text", { "text-anchor": "middle" }),
        label(0, 0, "position in the text", { "text-anchor": "middle", transform: turned }),
      );
      for (const tick of [0, N / 2, N]) {
        svg.append(label(x(tick), end + 12, String(tick), { "text-anchor": tick === N ? "end" : "middle" }));
        svg.append(label(EDGE - 6, y(tick) + (tick === N ? -5 : tick ? 0 : 5), String(tick), { "text-anchor": "end" }));
      }
      this.plot.replaceChildren(svg);
      this.drawCross();
    }

    // The pointer is over the plot: the run that lies nearest, or what stands at the two positions.
    aim(event) {
      if (!this.sides) return;
      const box = this.plot.getBoundingClientRect(), N = this.state.length;
      const place = (pixels) => Math.floor(pixels / this.at(1));
      const column = place(event.clientX - box.left - EDGE), row = place(event.clientY - box.top - ABOVE);
      if (Math.min(column, row) < 0 || Math.max(column, row) >= N || column === row) return this.forget();
      const side = this.sides[column > row ? 1 : 0], first = Math.min(column, row), second = Math.max(column, row);
      const off = ([a, b]) => Math.abs(second - first - (b - a));
      const along = ([a, , length]) => a - NEAR <= first && first < a + length + NEAR;
      const near = side.runs.filter((run) => off(run) <= NEAR && along(run));
      const run = near.sort((a, b) => off(a) - off(b) || b[2] - a[2])[0];
      const into = run && Math.max(0, Math.min(first - run[0], run[2] - 1));
      this.point(side, run ? run[0] + into : first, run ? run[1] + into : second, run);
    }

    // A token is looked at: the longest run that it belongs to.
    look(side, place) {
      const over = ([a, b, length]) => [a, b].find((from) => from <= place && place < from + length);
      const run = longest(side.runs.filter((each) => over(each) !== undefined)), into = place - over(run);
      if (run[2]) return this.point(side, run[0] + into, run[1] + into, run);
      this.forget();
      this.places.textContent = `Token ${this.named(side, place)}: no run of ${RUN} tokens around it occurs twice.`;
    }

    named({ tokens }, place) {
      return `${place}, ${place < tokens.length ? `“${toLine(tokens[place].text)}”` : "after the end"}`;
    }

    // Name two positions of a text, and mark what is the same there.
    point(side, first, second, run) {
      this.forget();
      this.pointed = side === this.sides[1] ? [second, first] : [first, second]; // column and row
      this.drawCross();
      const both = `Token ${this.named(side, first)}, and token ${this.named(side, second)}`;
      this.places.textContent = `${both}: no ${RUN} tokens are the same there.`;
      if (!run) return;
      const [a, b, length] = run, spans = [...side.text.querySelectorAll("[tabindex]")];
      for (const from of [a, b]) for (const span of spans.slice(from, from + length)) span.classList.add("mg-lit");
      this.places.textContent = `${both}: the same ${count(length, "token")} begin at ${a} and at ${b}.`;
    }

    drawCross() {
      const [x, y] = this.pointed?.map((place) => this.at(place + 0.5)) ?? [];
      const end = ABOVE + this.at(this.state.length);
      this.cross.setAttribute("d", this.pointed ? `M${EDGE} ${ABOVE + y}h${x}V${end}` : "");
    }

    forget() {
      this.pointed = null;
      if (this.cross) this.drawCross();
      for (const text of [this.greedy, this.changed])
        for (const span of text.querySelectorAll(".mg-lit")) span.classList.remove("mg-lit");
      this.places.textContent = POINT;
    }

    // The phrase, said once, twice, ...: does saying it make it likelier?
    repeat() {
      if (!this.made) return null;
      return this.saying(async (signal) => {
        const question = { name: this.made.name, phrase: this.phrase.value, times: TIMES };
        const { means } = await this.engine.ask("repeat", question, { signal });
        const rows = means.map((p, time) => {
          const bar = make("span", { className: "mg-bar" }), track = make("td", { className: "mg-track" }, bar);
          bar.style.width = percent(p);
          const title = make("th", { scope: "row", textContent: `time ${time + 1}` });
          return make("tr", {}, title, track, make("td", { textContent: p.toFixed(3) }));
        });
        const [said, mean] = ["said", "probability"].map((textContent) => make("th", { scope: "col", textContent }));
        this.again.replaceChildren(
          make("caption", { textContent: "Probability per token of the phrase's second half, said once, twice, and so on." }),
          make("thead", {}, make("tr", {}, said, axis(1), mean)),
          make("tbody", {}, ...rows),
        );
        const change = means.at(-1) / means[0];
        const becomes = change > 1.02 ? "likelier" : change < 0.98 ? "less likely" : "as likely";
        this.said.textContent =
          `Said again, it is ${becomes} in the end. This is one phrase; section 4 takes two hundred.`;
      });
    }
  }

  minigpt.widgets.repetition = (root, state, engine, tell) => new Repetition(root, state, engine, tell);
})();
