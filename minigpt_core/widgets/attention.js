// How the tokens of a text attend to each other: every layer and head as a small map, one of them large, arcs for one query, the
// numbers of one pair of query and key, and what the text's loss and the next token become when heads are switched off.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, draw, slider, field, choice, capital, sentence, count, alone, patiently, Prompt, later } = minigpt.parts;
  const { rove, onColours, newId, fill, number, largest, strip, level, row, table } = minigpt.parts;
  const ARCS = 96, BARS = 40; // heights in pixels: of the arcs above the tokens, and of the bars below them
  const FONT = 12; // of the names beside the large map
  const LIKELIEST = 6;
  const SCALE = [0, 0.04, 0.25, 0.5, 1]; // the shares that the colour scale names

  // A recorded look: one byte a share in percent, layer by layer, head by head, row by row.
  const unpack = ({ layers, heads, names }, percent) => {
    const bytes = Uint8Array.from(atob(percent), (character) => character.charCodeAt(0));
    let at = 0;
    const row = (_, t) => Array.from(bytes.subarray(at, (at += t + 1)), (share) => share / 100);
    return Array.from({ length: layers }, () => Array.from({ length: heads }, () => names.map(row)));
  };

  // How much colour a share gets. The root lifts small shares, so that a broad head is seen too; the colour scale tells it.
  const shade = (share) => Math.sqrt(share);

  const scale = () => {
    const ticks = SCALE.map((share) => {
      const tick = make("span", { textContent: share });
      tick.style.left = `${100 * shade(share)}%`;
      return tick;
    });
    return make("div", { className: "mg-scale" }, "share", make("div", {}, make("i"), ...ticks));
  };

  const which = ([layer, head]) => `layer ${layer}, head ${head}`;

  class AttentionMaps {
    constructor(root, state, engine, tell) {
      const id = newId("attention"), { layer = 0, head = 0, token = null, off = [] } = state;
      Object.assign(this, { state, engine, tell, layer, head, token, off, key: null, names: [], maps: [] });
      this.source = choice(`${id}-source`, { ...state.models, ...state.films }, state.model);
      this.prompt = new Prompt(`${id}-text`, "text", state.text, 1, engine, this.source);
      this.step = slider(`${id}-step`, ["training step", 0, 1, 1, 0], () => this.look());
      this.arcs = draw("svg", { height: ARCS, "aria-hidden": "true" });
      this.tokens = make("div", { className: "mg-tokens", role: "listbox" });
      this.tokens.setAttribute("aria-label", "query position");
      this.bars = draw("svg", { height: BARS, "aria-hidden": "true" });
      this.strip = make("div", { className: "mg-strip" }, this.arcs, this.tokens, this.bars);
      this.legend = make("p", { className: "mg-note" });
      this.status = make("p", { className: "mg-status", role: "status" });
      this.heads = make("div", { className: "mg-heads" });
      this.switch = make("input", { type: "checkbox", id: `${id}-off`, onchange: () => this.turn() });
      this.switchLabel = make("label", { htmlFor: this.switch.id });
      this.loss = make("div");
      this.change = make("p", { className: "mg-note", role: "status" });
      this.large = make("canvas");
      this.large.setAttribute("aria-hidden", "true");
      this.keys = slider(`${id}-key`, ["key position", 0, 0, 1, 0], (key) => this.show({ key }));
      this.pair = make("div");
      this.next = make("div");
      const hint = make("p", { className: "mg-note", textContent: "Click a token: arcs lead to the tokens that it attends to." });
      const turn = make("div", { className: "mg-switch" }, this.switch, this.switchLabel);
      const numbers = make("div", { className: "mg-maps" }, this.next, make("div", {}, this.keys.row, this.pair));
      const maps = make("div", { className: "mg-maps" },
        make("div", {}, this.heads, turn, this.loss, this.change), make("div", { className: "mg-large" }, this.large, scale()));
      this.shown = [hint, this.strip, maps];
      this.computed = [this.bars, this.legend, turn, this.loss, this.change, numbers]; // what a recorded run does not tell
      this.alone = alone(root, (error) => {
        Object.assign(this, { film: null, names: [], maps: [] });
        this.arrange(sentence(error));
      });
      const anew = () => {
        this.key = null;
        return this.read();
      };
      this.prompt.input.oninput = later(root, anew);
      this.source.onchange = anew;
      this.large.onpointerdown = (event) => this.point(event);
      this.large.onpointermove = (event) => event.buttons && this.point(event);
      rove(this.tokens, (token) => this.choose(token));
      fill(
        root,
        make("div", { className: "mg-shared" }, this.prompt.field, field("maps of", this.source)),
        this.step.row, hint, this.strip, this.legend, this.status, maps, numbers,
      );
      new ResizeObserver(() => this.paint()).observe(root);
      onColours(this.large, () => this.paint());
      this.arrange();
      this.read();
    }

    // Ask for the maps: of the model, computed now; or of a run, recorded.
    read() {
      const name = this.source.value, recorded = name in (this.state.films ?? {});
      this.prompt.input.readOnly = recorded;
      return this.alone(async (signal) => {
        if (recorded) {
          const film = await patiently(this.status, "Loading the record…", this.engine.read(name));
          signal.throwIfAborted();
          if (this.film !== film) this.step.among(film.steps, this.state.step);
          Object.assign(this, { film, names: film.names });
          this.prompt.lend(film.text);
          this.look();
        } else {
          const loaded = await patiently(this.status, "Loading the model…", this.prompt.load(signal));
          const { prompt: text, config, names: vocabulary } = loaded;
          this.off = this.off.filter(([layer, head]) => layer < config.n_layer && head < config.n_head);
          const whole = await this.engine.ask("attend", { name, text, muted: [] }, { signal });
          const now = await this.engine.ask("attend", { name, text, muted: this.off }, { signal });
          Object.assign(this, { film: null, config, vocabulary, whole, now, names: now.names, maps: now.maps });
          this.arrange("Type a text: its maps appear here.");
        }
      });
    }

    // The recorded maps at the step of the slider.
    look() {
      const place = +this.step.input.value;
      this.maps = unpack(this.film, this.film.at[place]);
      this.state = { ...this.state, step: this.film.steps[place] };
      this.arrange();
    }

    // Lay out the maps; where there are none, `reason` says why.
    arrange(reason = "") {
      const some = this.maps.length > 0, [heads = []] = this.maps, last = this.names.length - 1;
      this.step.row.hidden = !this.film;
      for (const part of this.shown) part.hidden = !some;
      for (const part of this.computed) part.toggleAttribute("hidden", !some || Boolean(this.film));
      this.status.textContent = reason;
      this.tokens.replaceChildren(
        ...this.names.map((name, token) => {
          const span = make("span", { textContent: name, onclick: () => this.choose(token) });
          span.setAttribute("role", "option");
          return span;
        }),
      );
      if (!some) return;
      this.layer = Math.min(this.layer, this.maps.length - 1);
      this.head = Math.min(this.head, heads.length - 1);
      this.token = Math.min(this.token ?? last, last);
      const label = (words) => make("span", { textContent: words, ariaHidden: "true" });
      const small = (maps, layer) => maps.map((map, head) => this.small(map, layer, head));
      const rows = this.maps.map((maps, layer) => [label(`layer ${layer}`), ...small(maps, layer)]);
      this.heads.style.setProperty("--mg-columns", heads.length);
      this.heads.replaceChildren(label(""), ...heads.map((_, head) => label(`head ${head}`)), ...rows.flat());
      this.show();
    }

    small(map, layer, head) {
      const canvas = make("canvas", { width: map.length, height: map.length });
      const button = make("button", { type: "button", onclick: () => this.show({ layer, head, key: null }) }, canvas);
      button.setAttribute("aria-label", which([layer, head]) + (this.isOff(layer, head) ? ", off" : ""));
      button.classList.toggle("mg-off", this.isOff(layer, head));
      return button;
    }

    isOff(layer, head) {
      return !this.film && this.off.some(([ofLayer, ofHead]) => ofLayer === layer && ofHead === head);
    }

    // Switch the chosen head off, or on again.
    turn() {
      const { layer, head } = this;
      this.off = this.off.filter(([ofLayer, ofHead]) => ofLayer !== layer || ofHead !== head);
      if (this.switch.checked) this.off.push([layer, head]);
      return this.read();
    }

    // Another query. As with another head, its key is the one that it attends to most.
    choose(token) {
      this.show({ token, key: null });
    }

    point(event) {
      const { left, top } = this.large.getBoundingClientRect(), at = (pixel) => Math.floor(pixel / this.cell);
      const token = at(event.clientY - top), key = at(event.clientX - left - this.margin);
      if (token < this.names.length && key >= 0) this.show({ token, key: Math.min(key, token) });
    }

    // What depends on head, query and key, after one of them has changed.
    show(changed = {}) {
      Object.assign(this, changed);
      const { layer, head, token } = this, shares = this.maps[layer][head][token];
      const most = shares.map((share, s) => [share, s]).sort((a, b) => b[0] - a[0]).slice(0, 3);
      this.best = most[0][1];
      if (this.key === null || this.key > token) this.key = this.best;
      [...this.heads.querySelectorAll("button")].forEach((button, place) =>
        button.setAttribute("aria-pressed", String(place === layer * this.maps[0].length + head)),
      );
      [...this.tokens.children].forEach((span, place) => {
        span.classList.toggle("mg-attended", place === this.key);
        span.setAttribute("aria-selected", String(place === token));
        span.tabIndex = place === token ? 0 : -1;
      });
      const named = most.filter(([share], i) => !i || share >= 0.005).map(([share, s]) => `${this.called(s)} ${number(share)}`);
      this.status.textContent = `${capital(which([layer, head]))}: ${this.called(token)} attends most to ${named.join(", ")}.`;
      if (!this.film) this.showNumbers(shares[this.key]);
      this.paint();
      const { state, film, prompt, off } = this, text = film ? prompt.mine[0] : prompt.value;
      this.tell({ state: { ...state, text, model: this.source.value, layer, head, token, off } });
    }

    called(place) {
      return `“${this.names[place]}” (position ${place})`;
    }

    showNumbers(share) {
      const { layer, head, token, key } = this;
      this.switch.checked = this.isOff(layer, head);
      this.switchLabel.textContent = `switch off ${which([layer, head])}`;
      this.keys.input.max = token;
      this.keys.set(key);
      this.showPair(share);
      this.showLoss();
      this.showNext();
    }

    // From the numbers of query and key to the share.
    showPair(share) {
      const { n_embd, n_head } = this.config, { layer, head, token, key, names } = this, D = n_embd / n_head;
      const own = ({ [layer]: vectors }, place) => {
        const begin = place * n_embd + head * D;
        return vectors.subarray(begin, begin + D);
      };
      const q = own(this.now.queries, token), k = own(this.now.keys, key), products = q.map((value, i) => value * k[i]);
      const score = products.reduce((a, b) => a + b, 0), most = largest(q, k);
      this.pair.replaceChildren(
        table("Query times key, number by number.", ["", "", "sum"], [
          row(`query ${names[token]}`, strip(q, most, "mg-query"), ""),
          row(`key ${names[key]}`, strip(k, most, "mg-key"), ""),
          row("q · k", strip(products, largest(products)), number(score)),
          row(`÷ √${D}`, "", number(score / Math.sqrt(D))),
          row("share", level(share), number(share)),
        ]),
      );
    }

    // Rows of two numbers, with all heads on and with some off, and their bars, of which the whole width is `full`.
    compare(caption, title, rows, full) {
      const some = this.off.length > 0, seen = (both) => (some ? both : both.slice(0, 1));
      const bars = (both) => make("span", {}, ...seen(both).map((value, i) => level(value / full, i ? "mg-bar" : "mg-own")));
      const lines = rows.map(([name, ...both]) => row(name, bars(both), ...seen(both).map(number)));
      return table(caption, [title, "", "all on", ...(some ? ["off"] : [])], lines);
    }

    // The loss of the text, and what switching off does to it.
    showLoss() {
      const { whole, now, vocabulary, names, off } = this, [before, after] = [whole, now].map(({ losses }) => losses.slice(1));
      this.most = Math.max(...before, ...after);
      this.loss.replaceChildren();
      this.legend.textContent = this.change.textContent = "";
      if (names.length < 2) return; // nothing is predicted
      const means = [before, after].map((losses) => losses.reduce((a, b) => a + b, 0) / losses.length);
      const full = Math.max(Math.log(vocabulary.length), ...means);
      this.loss.append(this.compare("Mean loss of the text, in nats per token.", "", [["loss", ...means]], full));
      this.legend.textContent =
        `Bars: the loss of each token, at most ${number(this.most)} nats. Grey: all heads on; blue: some off.`;
      if (!off.length) return;
      const changes = before.map((loss, i) => Math.abs(after[i] - loss)), at = changes.indexOf(Math.max(...changes));
      this.change.textContent =
        `With ${off.length === 1 ? which(off[0]) : count(off.length, "head")} off, the loss of ${this.called(at + 1)} ` +
        `changes most, from ${number(before[at])} to ${number(after[at])}.`;
    }

    // What may come after the query's position.
    showNext() {
      const [before, after] = [this.whole, this.now].map(({ p }) => p[this.token]);
      const most = Array.from(before, (p, id) => [Math.max(p, after[id]), id]).sort((a, b) => b[0] - a[0]);
      const rows = most.slice(0, LIKELIEST).map(([, id]) => [this.vocabulary[id], before[id], after[id]]);
      this.next.replaceChildren(this.compare(`What comes after ${this.called(this.token)}: probabilities.`, "token", rows, 1));
    }

    // All that is drawn by the pixel; again when its place or the page's colours change.
    paint() {
      if (!this.maps.length) return;
      this.paintSmall();
      this.drawStrip();
      this.drawLarge();
    }

    paintSmall() {
      [...this.heads.querySelectorAll("canvas")].forEach((canvas, place) => {
        const context = canvas.getContext("2d");
        context.clearRect(0, 0, canvas.width, canvas.height);
        this.fillIn(context, this.maps.flat()[place], 1);
      });
    }

    fillIn(context, map, cell, left = 0) {
      context.fillStyle = getComputedStyle(this.large).getPropertyValue("--mg-accent");
      map.forEach((row, t) =>
        row.forEach((share, s) => {
          context.globalAlpha = shade(share);
          context.fillRect(left + s * cell, t * cell, cell, cell);
        }),
      );
      context.globalAlpha = 1;
    }

    // Over the tokens an arc for each share of the query, below them a bar for each loss.
    drawStrip() {
      const { token, strip, off } = this, shares = this.maps[this.layer][this.head][token];
      const spans = [...this.tokens.children], middles = spans.map((span) => span.offsetLeft + span.offsetWidth / 2);
      const width = this.tokens.offsetWidth, from = middles[token];
      const reach = (to) => 14 + ((ARCS - 32) * Math.abs(from - to)) / width; // how high its arc goes
      for (const svg of [this.arcs, this.bars]) svg.setAttribute("width", width);
      const arcs = shares.map((share, s) => {
        const to = middles[s], high = ARCS - reach(to) / 0.75, [a, b] = s === token ? [from - 9, from + 9] : [from, to];
        const look = { "stroke-opacity": shade(share).toFixed(3), "stroke-width": (0.5 + 7 * share).toFixed(2) };
        return draw("path", { d: `M${from} ${ARCS}C${a} ${high} ${b} ${high} ${to} ${ARCS}`, ...look });
      });
      const x = Math.max(14, Math.min(width - 14, (from + middles[this.best]) / 2));
      const label = draw("text", { x, y: ARCS - 5 - reach(middles[this.best]) }, number(shares[this.best]));
      this.arcs.replaceChildren(...arcs, label);
      if (!this.film) {
        const bars = (losses, role, shift) => losses.slice(1).map((loss, i) => {
          const height = (BARS * loss) / this.most;
          return draw("rect", { class: role, x: middles[i + 1] + shift, y: BARS - height, width: 3.5, height });
        });
        const { whole, now } = this, beside = off.length ? bars(now.losses, "mg-bar", 0) : [];
        this.bars.replaceChildren(...bars(whole.losses, "mg-own", off.length ? -4 : -2), ...beside);
      }
      const { offsetLeft: left, offsetWidth } = spans[token];
      strip.scrollLeft = Math.max(left + 2 * offsetWidth - strip.clientWidth, Math.min(strip.scrollLeft, left - offsetWidth));
    }

    // The large map, its axes, and frames around the row of the query and the square of the pair.
    drawLarge() {
      const map = this.maps[this.layer][this.head], T = map.length, { large, names, token, key } = this;
      const ratio = globalThis.devicePixelRatio || 1, width = large.clientWidth, context = large.getContext("2d");
      large.width = large.height = width * ratio;
      context.scale(ratio, ratio);
      context.font = `${FONT}px ui-monospace, monospace`;
      const widest = Math.max(...names.map((name) => context.measureText(name).width)), letters = widest <= FONT + 2;
      const side = FONT + 12 + Math.min(64, widest), fits = width - side >= FONT * T; // in one row
      const paired = letters && !fits && 2 * (width - 2 * FONT - side) >= FONT * T; // or in two, by turns; or only numbers
      this.margin = fits ? side : 2 * FONT + 12 + (paired ? FONT : 0);
      this.cell = (width - this.margin) / T;
      const { margin, cell } = this;
      this.fillIn(context, map, cell, margin);
      context.strokeStyle = context.fillStyle = getComputedStyle(large).color;
      context.lineWidth = 1.5;
      context.strokeRect(margin, token * cell, (token + 1) * cell, cell);
      context.strokeRect(margin + key * cell, token * cell, cell, cell);
      context.textBaseline = "middle";
      const write = (words, x, y, turned, align) => {
        context.save();
        context.translate(x, y);
        if (turned) context.rotate(-Math.PI / 2);
        context.textAlign = align;
        context.fillText(words, 0, 0);
        context.restore();
      };
      write("query position", FONT / 2, (T * cell) / 2, true, "center");
      write("key position", margin + (T * cell) / 2, width - FONT / 2, false, "center");
      for (let t = 0; t < T; t += fits || paired ? 1 : 10) {
        const middle = (t + 0.5) * cell, back = paired && t % 2 ? FONT : 0, name = fits || paired ? names[t] : t;
        write(name, margin - 4 - back, Math.max(FONT / 2, middle), false, "right");
        if (fits && !letters) write(name, margin + middle, T * cell + 4, true, "right");
        else write(name, margin + middle, T * cell + 4 + FONT / 2 + back, false, "center");
      }
    }
  }

  minigpt.widgets.attention = (root, state, engine, tell) => new AttentionMaps(root, state, engine, tell);
})();
