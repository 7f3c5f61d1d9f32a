// One forward pass taken apart: from a token to the probabilities of the next one. Each step has its line of code, its
// formula and its numbers, those of one position in one layer and head.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, slider, field, choice, percent, sentence, count, alone, patiently, Prompt, later } = minigpt.parts;
  const { rove, Tokens, keep, newId, fill, number, largest, strip, level, row, table } = minigpt.parts;
  const BEFORE = 12, AFTER = 3; // rows for positions up to the chosen one, and after it
  const LIKELIEST = 8;
  const QUERY = ["query", "query", "mg-query"]; // of a row that is no position: its name, its vector, its colour

  // The formulas of the whole way, of which each step is a part. In all formulas _ is what stands below, ^ what stands
  // above.
  const EMBED = "x = E[id] + P[t]";
  const ATTEND = "h = norm(x),   y = softmax(q · k / √D + mask) v";
  const JOIN = "x + W_o [y_0, y_1, …] + b_o";
  const FEED = "x + W_2 max(0, W_1 norm(x) + b_1) + b_2";
  const GUESS = "p = softmax(W norm(x))";

  // Of each step: its name, its line of code, the formula of the whole and the part of it that this step is, its own
  // formula if it has one, and the method that shows it.
  const STEPS = [
    {
      name: "token and position",
      code: "x = token_embedding(idx) + position_embedding(positions)",
      whole: EMBED,
      part: EMBED,
      show: "showEmbedding",
    },
    {
      name: "layer norm",
      code: "h = norm1(x)",
      whole: ATTEND,
      part: "h = norm(x)",
      formula: "h = g (x − mean) / standard deviation + b",
      show: "showNorm",
    },
    {
      name: "query",
      code: "q = split_heads(query(h))",
      whole: ATTEND,
      part: "q",
      formula: "q_t = W_q h_t + b_q",
      show: "showQuery",
    },
    {
      name: "keys",
      code: "k = split_heads(key(h))",
      whole: ATTEND,
      part: "k",
      formula: "k_s = W_k h_s + b_k",
      show: "showKeys",
    },
    {
      name: "products",
      code: "scores = q @ k.transpose(-2, -1)",
      whole: ATTEND,
      part: "q · k",
      formula: "q_t · k_s = Σ_i q_{t,i} k_{s,i}",
      show: "showProducts",
    },
    {
      name: "scaled",
      code: "scores = scores / math.sqrt(D)",
      whole: ATTEND,
      part: "q · k / √D",
      formula: "z_s = q_t · k_s / √D",
      show: "showScaled",
    },
    {
      name: "masked",
      code: "scores = scores.masked_fill(~causal_mask(q, k), -math.inf)",
      whole: ATTEND,
      part: "q · k / √D + mask",
      formula: "z_s = −∞ where s > t",
      show: "showMasked",
    },
    {
      name: "softmax",
      code: "weights = scores.softmax(dim=-1)",
      whole: ATTEND,
      part: "softmax(q · k / √D + mask)",
      formula: "a_s = e^{z_s} / Σ_r e^{z_r}",
      show: "showShares",
    },
    {
      name: "values mixed",
      code: "y = weights @ split_heads(value(h))",
      whole: ATTEND,
      part: "y = softmax(q · k / √D + mask) v",
      formula: "y = Σ_s a_s v_s",
      show: "showValues",
    },
    {
      name: "heads joined",
      code: "y = y.transpose(1, 2).reshape(x.shape)",
      whole: JOIN,
      part: "[y_0, y_1, …]",
      formula: "y = [y_0, y_1, …]",
      show: "showJoined",
    },
    {
      name: "added to stream",
      code: "x = x + output(y)",
      whole: JOIN,
      part: JOIN,
      show: "showBetween",
    },
    {
      name: "feed-forward",
      code: "f = narrow(widen(norm2(x)).relu())",
      whole: FEED,
      part: FEED.slice("x + ".length),
      show: "showFeedForward",
    },
    {
      name: "added again",
      code: "x = x + f",
      whole: FEED,
      part: FEED,
      show: "showLeaving",
    },
    {
      name: "logits",
      code: "logits = head(norm(x))",
      whole: GUESS,
      part: "W norm(x)",
      formula: "z = W norm(x)",
      show: "showLogits",
    },
    {
      name: "probabilities",
      code: "p = logits.softmax(dim=-1)",
      whole: GUESS,
      part: GUESS,
      formula: "p_i = e^{z_i} / Σ_j e^{z_j}",
      show: "showProbabilities",
    },
  ];

  const typeset = (formula) => {
    const parts = formula.split(/([_^](?:\{[^}]*\}|\w))/).filter(Boolean);
    return parts.map((part) => {
      const tag = { _: "sub", "^": "sup" }[part[0]];
      return tag ? make(tag, {}, ...typeset(part.slice(1).replace(/[{}]/g, ""))) : part;
    });
  };

  // The whole formula, its part marked.
  const marked = (whole, part) => {
    const at = whole.indexOf(part);
    const [before, after] = [whole.slice(0, at), whole.slice(at + part.length)];
    return [...typeset(before), make("mark", {}, ...typeset(part)), ...typeset(after)];
  };

  const norm = (vector) => Math.hypot(...vector);

  class Anatomy {
    constructor(root, state, engine, tell) {
      const id = newId("anatomy"), { layer, head, step = 1, token = null } = state;
      Object.assign(this, { state, engine, tell, step, token, inside: null }); // the first step is 1
      this.model = choice(`${id}-model`, state.models, state.model);
      this.prompt = new Prompt(`${id}-text`, "text", state.text, 1, engine, this.model);
      // how many layers and heads there are, the model will tell
      this.layer = slider(`${id}-layer`, ["layer", 0, layer, 1, layer], later(root, () => this.read()));
      this.head = slider(`${id}-head`, ["head", 0, head, 1, head], () => this.show());
      this.tokens = new Tokens("position", (token) => this.choose(token));
      this.lines = make("div", { className: "mg-steps", role: "listbox" });
      this.lines.setAttribute("aria-label", "step");
      this.lines.append(...STEPS.map(({ name, code }, i) => this.line(name, code, i + 1)));
      this.title = make("p", { className: "mg-step" });
      this.code = make("code", { className: "mg-code" });
      this.whole = make("p", { className: "mg-formula mg-whole" });
      this.formula = make("p", { className: "mg-formula" });
      this.stage = make("div");
      this.status = make("p", { className: "mg-status", role: "status" });
      const parts = [this.title, this.code, this.whole, this.formula, this.stage, this.status];
      this.panel = make("div", { className: "mg-stage" }, ...parts);
      const back = make("button", { type: "button", textContent: "← back", onclick: () => this.go(this.step - 1) });
      const ahead = () => this.go(this.step + 1);
      const forward = make("button", { type: "button", textContent: "forward →", onclick: ahead });
      const buttons = make("div", { className: "mg-buttons" }, back, forward);
      buttons.onkeydown = (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (by) this.go(this.step + by);
      };
      this.alone = alone(root, (error) => this.empty(sentence(error)));
      this.prompt.input.oninput = later(root, () => this.read());
      this.model.onchange = () => this.read();
      rove(this.lines, (i) => this.go(i + 1));
      fill(
        root,
        make("div", { className: "mg-shared" }, this.prompt.field, field("model", this.model)),
        make("div", { className: "mg-knobs" }, this.layer.row, this.head.row),
        make("p", { className: "mg-note", textContent: "Click a token to choose its position t." }),
        this.tokens.list,
        make("div", { className: "mg-anatomy" },
          make("div", { className: "mg-path" }, buttons, this.lines),
          this.panel),
      );
      this.light();
      this.read();
    }

    line(name, code, step) {
      const words = [make("b", {}, `${step}`), make("span", {}, name)];
      const line = make("div", { onclick: () => this.go(step), tabIndex: -1 }, ...words);
      line.setAttribute("role", "option");
      line.setAttribute("aria-label", `${step}, ${name}: ${code}`);
      return line;
    }

    // Ask for what one layer computes.
    read() {
      return this.alone(async (signal) => {
        const loading = patiently(this.status, "Loading the model…", this.prompt.load(signal));
        const { name, prompt, config, names: vocabulary } = await loading;
        this.prompt.keep();
        for (const [knob, size] of [[this.layer, config.n_layer], [this.head, config.n_head]]) {
          knob.input.max = size - 1;
          knob.set(Math.min(+knob.input.value, size - 1));
        }
        const layer = +this.layer.input.value;
        const { ids, inside, names } = await this.engine.ask("inside", { name, text: prompt, layer }, { signal });
        if (!inside) return this.empty("Type a text: what the model computes with it appears here.");
        const last = names.length - 1, atEnd = this.token === null || this.token === this.tokens.names.length - 1;
        Object.assign(this, { config, vocabulary, ids, inside, D: config.n_embd / config.n_head });
        this.token = atEnd ? last : Math.min(this.token, last);
        this.tokens.show(names);
        this.show();
      });
    }

    // Nothing is shown, and why.
    empty(reason) {
      Object.assign(this, { inside: null, token: null });
      this.tokens.show([]);
      this.stage.replaceChildren();
      this.status.textContent = reason;
    }

    choose(token) {
      this.token = token;
      this.show();
    }

    go(step) {
      this.step = Math.max(1, Math.min(step, STEPS.length));
      this.light();
      this.show();
    }

    // The line of code and the formulas of the step.
    light() {
      const { name, code, whole, part, formula = "" } = STEPS[this.step - 1];
      [...this.lines.children].forEach((line, i) => {
        line.setAttribute("aria-selected", String(i + 1 === this.step));
        line.tabIndex = i + 1 === this.step ? 0 : -1;
      });
      this.title.textContent = `${this.step} of ${STEPS.length}: ${name}`;
      this.code.textContent = code;
      this.whole.replaceChildren(...marked(whole, part));
      this.formula.replaceChildren(...typeset(formula));
    }

    // What depends on step, position and head.
    show() {
      if (!this.inside) return;
      this.tokens.mark(this.token);
      this[STEPS[this.step - 1].show]();
      keep(this.panel); // so that what stands below keeps its place
      const { token, step, state } = this, layer = +this.layer.input.value, head = +this.head.input.value;
      this.tell({ state: { ...state, text: this.prompt.value, model: this.model.value, layer, head, token, step } });
    }

    // Numbers of the chosen position: all of them, or those of the chosen head, there or at another one.
    vector(name, place = this.token) {
      const width = this.inside[name].length / this.tokens.names.length;
      return this.inside[name].subarray(place * width, (place + 1) * width);
    }

    ofHead(name, place = this.token) {
      const begin = +this.head.input.value * this.D;
      return this.vector(name, place).subarray(begin, begin + this.D);
    }

    // The shares of the positions up to the chosen one, and its products with all positions.
    attention() {
      return this.inside.weights[+this.head.input.value][this.token];
    }

    products() {
      const T = this.tokens.names.length, begin = (+this.head.input.value * T + this.token) * T;
      return this.inside.products.subarray(begin, begin + T);
    }

    say(...sentences) {
      this.status.textContent = sentences.join(" ");
    }

    // The chosen token, or the one at another position, in words.
    called(place = this.token) {
      return this.tokens.called(place);
    }

    // Some vectors of the chosen position, one below the other, all by one measure; or, where it is null, each by its
    // own.
    vectors(caption, vectors, most = largest(...vectors.map(([, values]) => values))) {
      const numbers = (values) => `${Array.from(values.subarray(0, 2), number).join(" ")} …`;
      const bars = (values, role) => strip(values, most ?? largest(values), role);
      const rows = vectors.map(([name, values, role]) => row(name, bars(values, role), numbers(values)));
      const note = most === null ? " Each row has its own scale." : "";
      this.stage.replaceChildren(table(caption + note, ["", "", "first two"], rows));
      this.stage.firstChild.classList.add("mg-tall"); // few rows, many numbers
    }

    // A row for each position near the chosen one, and others above and below them. Where the mask is at work, later
    // positions are faint; where shares are shown, those that have no row are told together.
    positions(caption, name, columns, { masked = false, shares = false, above = [QUERY], below = [] } = {}) {
      const { names } = this.tokens;
      const first = Math.max(0, this.token - BEFORE + 1), end = Math.min(names.length, this.token + 1 + AFTER);
      const near = names.map((_, s) => s).slice(first, end);
      const vectors = [...above, ...below].map(([, vector]) => this.ofHead(vector));
      const most = largest(...vectors, ...near.map((s) => this.ofHead(name, s)));
      const values = near.map((s) => {
        const bars = strip(this.ofHead(name, s), most, `mg-${name}`);
        const line = row(names[s], bars, ...columns.map(([, cell]) => cell(s)));
        if (masked && s > this.token) line.className = "mg-later";
        if (s === this.token) line.classList.add("mg-here");
        return line;
      });
      const others = (list) => list.map(([title, vector, role]) =>
        row(title, strip(this.ofHead(vector), most, role), ...Array(columns.length).fill("")));
      const rows = [...others(above), ...values, ...others(below)];
      const left = names.length - near.length;
      const held = this.attention().slice(0, first).reduce((a, b) => a + b, 0);
      const together = shares ? ` (together a share of ${number(held)})` : "";
      const rest = left ? ` ${count(left, "other position")}${together} ${left === 1 ? "is" : "are"} not shown.` : "";
      this.stage.replaceChildren(table(caption + rest, ["token", name, ...columns.map(([title]) => title)], rows));
    }

    showEmbedding() {
      const id = this.ids[this.token];
      const [token, position] = ["token_embedding", "position_embedding"].map((name) => this.vector(name));
      const sum = token.map((value, i) => value + position[i]);
      const vectors = [["token", token], ["position", position], ["sum", sum]];
      this.vectors("What the token is, and where it stands.", vectors);
      this.say(
        `${this.called()} has the id ${id}. Row ${id} of the table of tokens and row ${this.token} of the table of`,
        `positions, each of ${this.config.n_embd} numbers, are added.`,
      );
    }

    showNorm() {
      const x = this.vector("entering"), mean = x.reduce((a, b) => a + b, 0) / x.length;
      const deviation = Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length);
      const vectors = [["x", x], ["h", this.vector("norm1")]];
      this.vectors("The stream as it enters this layer, and its normalised copy.", vectors, null);
      const layer = +this.layer.input.value;
      const from = layer ? `after ${count(layer, "layer")}` : "this is the sum from step 1";
      this.say(
        `The stream x (${from}) has mean ${number(mean)} and standard deviation ${number(deviation)}.`,
        "Attention reads a copy with mean 0 and standard deviation 1, which learned numbers stretch and shift.",
      );
    }

    showQuery() {
      this.vectors(`The query of head ${this.head.input.value}, out of all of h.`, [
        ["h", this.vector("norm1")], ["query", this.ofHead("query"), "mg-query"],
      ], null);
      this.say(
        `Each of the ${this.D} numbers of the query mixes all ${this.config.n_embd} numbers of h.`,
        `It says what ${this.called()} looks for.`,
      );
    }

    showKeys() {
      this.positions("Every position s has a key.", "key", []);
      this.say(
        `${count(this.tokens.names.length, "position")}, each with a key of ${this.D} numbers, made from its own h.`,
        "A key says what a position has to offer.",
      );
    }

    showProducts() {
      const products = this.products();
      const columns = [["q · k", (s) => number(products[s])]];
      this.positions("Query times key: large where their bars point the same way.", "key", columns);
      const best = products.indexOf(Math.max(...products));
      const q = this.ofHead("query"), k = this.ofHead("key", best);
      this.say(
        `Largest at ${this.called(best)}: ${number(q[0])} · ${number(k[0])} + ${number(q[1])} · ${number(k[1])} + …,`,
        `${count(this.D, "term")}, make ${number(products[best])}.`,
      );
    }

    showScaled() {
      const products = this.products(), root = Math.sqrt(this.D);
      this.positions(`Divided by √D = √${this.D} = ${number(root)}.`, "key",
        [["q · k", (s) => number(products[s])], ["scaled", (s) => number(products[s] / root)]]);
      this.say(
        `The usual size of a sum of ${this.D} terms grows with √${this.D}.`,
        "The division undoes this, so that softmax does not give everything to one position from the start.",
      );
    }

    masked(s) {
      return s > this.token ? "−∞" : number(this.products()[s] / Math.sqrt(this.D));
    }

    showMasked() {
      const later = this.tokens.names.length - 1 - this.token, root = Math.sqrt(this.D);
      const columns = [["scaled", (s) => number(this.products()[s] / root)], ["masked", (s) => this.masked(s)]];
      this.positions("What comes later is not looked at.", "key", columns, { masked: true });
      const here = this.called();
      if (later) this.say(`${count(later, "position")} after ${here} ${later === 1 ? "gets" : "get"} −∞.`);
      else this.say(`${here} is the last position.`, "Choose an earlier one to see the mask at work.");
    }

    // The columns of the shares: numbers and bars.
    shares() {
      const shares = this.attention();
      return [["share", (s) => number(shares[s] ?? 0)], ["", (s) => level(shares[s] ?? 0)]];
    }

    showShares() {
      const shares = this.attention(), columns = [["masked", (s) => this.masked(s)], ...this.shares()];
      this.positions("Scores become shares, which add up to 1.", "key", columns, { masked: true, shares: true });
      const best = shares.indexOf(Math.max(...shares));
      this.say(`${this.called()} attends most to ${this.called(best)}: share ${number(shares[best])}.`);
    }

    showValues() {
      const shares = this.attention(), below = [["mixed", "joined", "mg-value"]];
      this.positions("Each position hands over its value, by its share.", "value", this.shares(),
        { masked: true, shares: true, above: [], below });
      const [first] = this.ofHead("joined");
      const terms = shares.map((share, s) => [share, s]).sort((a, b) => b[0] - a[0]).slice(0, 2);
      const sum = terms.map(([share, s]) => `${number(share)} · ${number(this.ofHead("value", s)[0])}`).join(" + ");
      this.say(`The first number of the mix: ${sum}${shares.length > 2 ? " + …" : ""} = ${number(first)}.`);
    }

    showJoined() {
      const chosen = +this.head.input.value;
      const joined = this.vector("joined"), { n_head, n_embd } = this.config;
      const heads = Array.from({ length: n_head }, (_, head) => [
        `head ${head}`, joined.subarray(head * this.D, (head + 1) * this.D), head === chosen ? "mg-value" : "",
      ]);
      this.vectors("What all heads found, alone and side by side.", [...heads, ["joined", joined]]);
      this.say(
        `${count(n_head, "head")} of ${this.D} numbers side by side make ${n_embd}, as many as the stream has.`,
        `Head ${chosen} is the one that you chose.`,
      );
    }

    showBetween() {
      this.vectors("What attention found is added to the stream.", [
        ["x", this.vector("entering")], ["output", this.vector("attention")], ["x after", this.vector("between")],
      ]);
      this.added("entering", "attention");
    }

    showFeedForward() {
      const wide = this.vector("widen"), relu = wide.map((value) => Math.max(0, value));
      const positive = relu.filter(Boolean).length;
      this.vectors("Widened, negative numbers set to zero, narrowed.", [
        ["norm2", this.vector("norm2")], ["widen", wide], ["relu", relu], ["narrow", this.vector("feed_forward")],
      ], null);
      this.say(
        `Of ${wide.length.toLocaleString("en")} numbers ${positive} are positive and pass.`,
        "No other position has a say here.",
      );
    }

    showLeaving() {
      this.vectors("What feed-forward found is added to the stream.", [
        ["x", this.vector("between")], ["f", this.vector("feed_forward")], ["x after", this.vector("leaving")],
      ]);
      this.added("between", "feed_forward");
    }

    added(stream, found) {
      const x = this.vector(stream), f = this.vector(found);
      this.say(
        `The first number: ${number(x[0])} + ${number(f[0])} = ${number(x[0] + f[0])}.`,
        `The stream has length ${number(norm(x))}, what is added ${number(norm(f))}.`,
      );
    }

    // The likeliest next tokens, each with a number and a bar.
    guesses(caption, title, told, share) {
      const logits = Array.from(this.vector("logits"));
      const best = logits.map((z, id) => [z, id]).sort((a, b) => b[0] - a[0]).slice(0, LIKELIEST);
      const rows = best.map(([, id]) => row(this.vocabulary[id], level(share(id)), told(id)));
      this.stage.replaceChildren(table(caption, ["token", "", title], rows));
      return best[0][1];
    }

    showLogits() {
      const logits = this.vector("logits"), most = Math.max(...logits), least = Math.min(...logits);
      const left = this.config.n_layer - 1 - this.layer.input.value, shown = Math.min(LIKELIEST, logits.length);
      const caption = `The ${shown} highest of ${logits.length} logits, bars from the lowest, ${number(least)}.`;
      const share = (id) => (logits[id] - least) / (most - least || 1);
      const best = this.guesses(caption, "logit", (id) => number(logits[id]), share);
      const after = left ? `After ${count(left, "more layer")} the` : "The";
      this.say(
        `${after} stream is normalised once more, and each token of the vocabulary gets a logit:`,
        `“${this.vocabulary[best]}” ${number(most)}.`,
      );
    }

    showProbabilities() {
      const p = minigpt.softmax(this.vector("logits")), next = this.ids[this.token + 1];
      const best = this.guesses(`What comes after ${this.called()}.`, "p", (id) => percent(p[id]), (id) => p[id]);
      const goes = next === undefined ? "" : ` The text goes on with “${this.vocabulary[next]}”: ${percent(p[next])}.`;
      this.say(`Likeliest next: “${this.vocabulary[best]}”, ${percent(p[best])}.${goes}`);
    }
  }

  minigpt.widgets.anatomy = (root, state, engine, tell) => new Anatomy(root, state, engine, tell);
})();
