// A budget to spend: hours on a device. Which size and how much text to choose by a law of the loss, what loss to expect, and
// what known runs would cost there.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, draw, slider, field, choice, level, number, row, table, newId, fill, keep, drawing, label } = minigpt.parts;
  const { valley, amount, power, report, costs } = minigpt.scaling;
  const SERIES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
  const LEAST = SERIES[0], MOST = SERIES.at(-1); // hours
  const SLOWEST = 0.1, FASTEST = 1e9; // GFLOP/s of a machine of the reader's own
  const LEFT = 44, RIGHT = 12, TOP = 10, HEIGHT = 190; // pixels
  const OWN = ""; // the name of the reader's own machine
  const GREEN = "var(--mg-second)", BLUE = "var(--mg-accent)";

  // The number that a reader has typed, or a sentence that says what to type.
  const typed = (input, name, least, most) => {
    const text = input.value.trim(), value = text === "" ? NaN : Number(text);
    if (least <= value && value <= most) return value;
    const [from, to] = [least, most].map((end) => end.toLocaleString("en"));
    throw new Error(`${name} must be a number from ${from} to ${to}: type it without commas, such as 2.5.`);
  };

  // Round numbers for an axis, at most five.
  const ticks = (low, high) => {
    const power = 10 ** Math.floor(Math.log10(high - low));
    const step = [0.2, 0.5, 1, 2].map((factor) => factor * power).find((step) => (high - low) / step <= 5);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => +((first + i) * step).toPrecision(6));
  };

  class Budget {
    constructor(root, state, engine, tell) {
      const id = newId("budget");
      Object.assign(this, { state, tell });
      this.hours = make("input", { type: "text", inputMode: "decimal", id: `${id}-hours`, value: state.hours });
      this.own = make("input", { type: "text", inputMode: "decimal", id: `${id}-own`, value: state.own });
      const names = ({ name }) => [name, name];
      const devices = Object.fromEntries([...state.devices.map(names), [OWN, "a machine of your own"]]);
      this.device = choice(`${id}-device`, devices, state.device);
      this.law = choice(`${id}-law`, Object.fromEntries(state.laws.map(names)), state.law);
      this.slider = slider(`${id}-slider`, ["hours, in steps", 0, 1, 1, 0], (place) => {
        this.hours.value = SERIES[place];
        this.show();
      });
      this.slider.among(SERIES.map(String));
      this.speed = field("GFLOP/s", this.own);
      this.trust = make("p", { className: "mg-status", role: "status", id: `${id}-trust` });
      this.hours.setAttribute("aria-describedby", this.trust.id);
      this.own.setAttribute("aria-describedby", this.trust.id);
      this.stage = make("div");
      this.picture = make("div", { className: "mg-chart" });
      this.prices = make("div");
      this.hours.oninput = this.own.oninput = this.device.onchange = this.law.onchange = () => this.show();
      fill(
        root,
        make(
          "div",
          { className: "mg-pair mg-budget" },
          field("hours", this.hours),
          field("device", this.device),
          this.speed,
          field("law", this.law),
        ),
        this.slider.row,
        this.stage,
        this.trust,
        this.picture,
        this.prices,
      );
      new ResizeObserver(() => this.chart()).observe(this.picture);
      this.show();
      root.style.minHeight = ""; // it is drawn
    }

    // Compute anew and show it; or say in a sentence why not.
    show() {
      this.speed.hidden = this.device.value !== OWN;
      const parts = [this.stage, this.picture, this.prices];
      this.now = null;
      try {
        this.now = this.asked();
      } catch (error) {
        for (const part of parts) {
          keep(part); // so that what stands below keeps its place
          part.replaceChildren();
        }
        this.trust.textContent = error.message;
        return;
      }
      for (const part of parts) part.style.minHeight = "";
      const { hours, law } = this.now;
      this.slider.set(SERIES.reduce((near, _, i) => (off(i, hours) < off(near, hours) ? i : near), 0));
      this.facts();
      this.chart();
      this.list();
      this.state = { ...this.state, hours, device: this.device.value, law: law.name };
      this.tell({ state: this.state });
    }

    // What the controls say, and what follows from it.
    asked() {
      const { laws, devices } = this.state;
      const hours = typed(this.hours, "The hours", LEAST, MOST);
      const device = devices.find(({ name }) => name === this.device.value) ?? this.machine();
      const law = laws.find(({ name }) => name === this.law.value);
      return { hours, device, law, ...report(law, device, hours) };
    }

    machine() {
      const own = typed(this.own, "The speed", SLOWEST, FASTEST);
      this.state = { ...this.state, own };
      return { flops: 1e9 * own, share: 1, note: "as you typed it" };
    }

    facts() {
      const { law, facts, terms, trust } = this.now, sum = terms.reduce((a, b) => a + b);
      const bought = table("What this budget can buy, by this law.", ["", "", ""],
        facts.map(([name, value, note]) => row(name, value, note)));
      bought.classList.add("mg-facts");
      const named = [["floor", terms[0]], ["+ size", terms[1]], ["+ text", terms[2]], ["= loss", sum]];
      const split = table(`Expected loss in ${law.unit}: the floor, and what this size and this text still cost.`, ["", "", ""],
        named.map(([name, value]) => row(name, number(value), level(value / sum))));
      this.stage.replaceChildren(bought, split);
      this.trust.textContent = trust;
    }

    // The valley: the loss of every size at this budget.
    chart() {
      if (!this.now) return;
      const { law, flops, best, terms } = this.now, points = valley(law, flops), width = this.picture.clientWidth;
      const [N] = best, loss = terms.reduce((a, b) => a + b);
      const low = law.E, high = Math.max(points[0][1], points.at(-1)[1]), [first, last] = [points[0][0], points.at(-1)[0]];
      const x = (N) => LEFT + ((width - LEFT - RIGHT) * Math.log(N / first)) / Math.log(last / first);
      const y = (loss) => TOP + HEIGHT * (1 - (loss - low) / (high - low));
      const line = (some, attributes) => {
        const at = some.map(([N, loss]) => `${x(N).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
        return draw("polyline", { points: at, fill: "none", stroke: BLUE, ...attributes });
      };
      const sizes = Array.from({ length: 40 }, (_, i) => 10 ** i).filter((N) => first <= N && N <= last);
      const chart = drawing(
        width,
        TOP + HEIGHT + 40,
        `loss against size at ${power(flops)} FLOPs: lowest, ${number(loss)}, at ${amount(N)} parameters`,
        ...ticks(low, high).flatMap((tick) => [
          draw("line", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick), class: "mg-grid" }),
          label(LEFT - 6, y(tick), String(tick), { "text-anchor": "end" }),
        ]),
        ...sizes.map((N) => label(x(N), TOP + HEIGHT + 14, amount(N), { "text-anchor": "middle" })),
        label((LEFT + width - RIGHT) / 2, TOP + HEIGHT + 32, "parameters", { "text-anchor": "middle" }),
        line([[first, low], [last, low]], { stroke: "#8888", "stroke-dasharray": "4 4" }),
        label(width - RIGHT, y(low) - 8, `floor ${number(low)}`, { "text-anchor": "end", class: "mg-grey" }),
        line(points, { "stroke-dasharray": "3 4" }),
        line(points.filter(([, , measured]) => measured), { "stroke-width": 2.5 }),
        draw("circle", { cx: x(N), cy: y(loss), r: 5, fill: GREEN }),
        label(x(N), y(loss) + 17, `${amount(N)}, loss ${number(loss)}`, { "text-anchor": "middle", class: "mg-best" }),
      );
      const note = "The valley: a smaller model holds too little, a larger one reads too little. "
        + `Loss in ${law.unit}, from the floor up; solid where the law was measured, dashed beyond.`;
      this.picture.replaceChildren(make("p", { className: "mg-caption", textContent: note }), chart);
    }

    list() {
      const where = this.device.selectedOptions[0].textContent;
      const rows = costs(this.state.runs, this.now.device).map((cells) => row(...cells));
      const list = table(`What known runs would cost on ${where}, in time alone, whether or not they fit into its memory.`,
        ["run", "parameters", "tokens", "here", "published"], rows);
      list.classList.add("mg-runs");
      this.prices.replaceChildren(list);
    }
  }

  // How far the hours of that place of the slider lie from `hours`, in factors.
  const off = (place, hours) => Math.abs(Math.log(SERIES[place] / hours));

  minigpt.widgets.budget = (root, state, engine, tell) => new Budget(root, state, engine, tell);
})();
