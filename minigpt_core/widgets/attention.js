// How the tokens of a text attend to each other: every layer and head as a small map, one of them large, arcs for one
// query, the numbers of one pair of query and key, and what the text's loss and the next token become when heads are
// switched off.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, draw, slider, field, choice, capital, sentence, count, alone, patiently, Prompt } = minigpt.parts;
  const { later, Tokens, onColours, newId, fill, number, largest, strip, level, row, table } = minigpt.parts;
  const ARCS = 96, BARS = 40; // heights in pixels: of the arcs above the tokens, and of the bars below them
  const FAINTEST = 0.3; // opacity of an arc; that of the largest share has 1
  const LEAST = 0.005; // a smaller share would be told as 0.00
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

  // How much colour a share gets in a map. The root lifts small shares, so that a broad head is seen too; the colour
  // scale tells it.
  const shade = (share) => Math.sqrt(share);

  const scale = () => {
    const ticks = SCALE.map((share) => {
      const tick = make("span", { textContent: share });
      tick.style.left = `${100 * shade(share)}%`;
      return tick;
    });
    return make("div", { className: "mg-scale" }, "share, square-root scale", make("div", {}, make("i"), ...ticks));
  };

  const which = ([layer, head]) => `layer ${layer}, head ${head}`;

  class AttentionMaps {
    constructor(root, state, engine, tell) {
      const id = newId("attention"), { layer = 0, head = 0, token = null, off = [] } = state;
      Object.assign(this, { state, engine, tell, layer, head, token, off, key: null, maps: [] });
      this.begun = "layer" in state || "head" in state; // otherwise the maps will say where to begin
      this.source = choice(`${id}-source`, { ...state.models, ...state.films }, state.model);
      this.prompt = new Prompt(`${id}-text`, "text", state.text, 1, engine, this.source);
      this.step = slider(`${id}-step`, ["training step", 0, 1, 1, 0], () => this.look());
      this.arcs = draw("svg", { height: ARCS, "aria-hidden": "true" });
      this.tokens = new Tokens("query position", (token) => this.choose(token));
      this.bars = draw("svg", { height: BARS, "aria-hidden": "true" });
      this.strip = make("div", { className: "mg-strip" }, this.arcs, this.tokens.list, this.bars);
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
      const invitation = "Click a token: arcs lead to the tokens that it attends to.";
      const hint = make("p", { className: "mg-note", textContent: invitation });
      const turn = make("div", { className: "mg-switch" }, this.switch, this.switchLabel);
      const numbers = make("div", { className: "mg-maps" }, this.next, make("div", {}, this.keys.row, this.pair));
      const maps = make("div", { className: "mg-maps" },
        make("div", {}, this.heads, turn, this.loss, this.change),
        make("div", { className: "mg-large" }, this.large, scale()));
      this.shown = [hint, this.strip, maps];
      // what a recorded run does not tell
      this.computed = [this.bars, this.legend, turn, this.loss, this.change, numbers];
      this.alone = alone(root, (error) => {
        Object.assign(this, { film: null, maps: [] });
        this.tokens.show([]);
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
          this.film = film;
          this.tokens.show(film.names);
          this.prompt.lend(film.text);
          this.look();
        } else {
          const loaded = await patiently(this.status, "Loading the model…", this.prompt.load(signal));
          const { prompt: text, config, names: vocabulary } = loaded;
          this.off = this.off.filter(([layer, head]) => layer < config.n_layer && head < config.n_head);
          const whole = await this.engine.ask("attend", { name, text, muted: [] }, { signal });
          const now = this.off.length
            ? await this.engine.ask("attend", { name, text, muted: this.off }, { signal })
            : whole;
          Object.assign(this, { film: null, config, vocabulary, whole, now, maps: now.maps });
          this.tokens.show(now.names);
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
      const some = this.maps.length > 0, [heads = []] = this.maps, last = this.tokens.names.length - 1;
      this.step.row.hidden = !this.film;
      for (const part of this.shown) part.hidden = !some;
      for (const part of this.computed) part.toggleAttribute("hidden", !some || Boolean(this.film));
      this.status.textContent = reason;
      if (!some) return;
      this.token = Math.min(this.token ?? this.inView(), last);
      if (!this.begun) this.begin();
      this.layer = Math.min(this.layer, this.maps.length - 1);
      this.head = Math.min(this.head, heads.length - 1);
      const label = (words) => make("span", { textContent: words, ariaHidden: "true" });
      const small = (maps, layer) => maps.map((map, head) => this.small(map, layer, head));
      const rows = this.maps.map((maps, layer) => [label(`layer ${layer}`), ...small(maps, layer)]);
      this.heads.style.setProperty("--mg-columns", heads.length);
      this.heads.replaceChildren(label(""), ...heads.map((_, head) => label(`head ${head}`)), ...rows.flat());
      this.show();
    }

    // The query that comes first, where nobody has chosen one: the last token that is in view.
    inView() {
      const spans = [...this.tokens.list.children], { clientWidth } = this.strip;
      return Math.max(0, spans.findLastIndex((span) => span.offsetLeft + span.offsetWidth <= clientWidth));
    }

    // The head that comes first, where nobody has chosen one: that whose query gives most to a single key.
    begin() {
      const heads = this.maps.flatMap((maps, layer) =>
        maps.map((map, head) => ({ layer, head, most: Math.max(...map[this.token]) })));
      const { layer, head } = heads.reduce((best, each) => (each.most > best.most ? each : best));
      Object.assign(this, { layer, head, begun: true });
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
      if (token < this.tokens.names.length && key >= 0) this.show({ token, key: Math.min(key, token) });
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
      this.tokens.mark(token);
      const spans = [...this.tokens.list.children];
      spans.forEach((span, place) => span.classList.toggle("mg-attended", place === this.key));
      const called = (place) => this.tokens.called(place), named = most.filter(([share], i) => !i || share >= LEAST);
      const told = named.map(([share, s]) => `${called(s)} ${number(share)}`).join(", ");
      this.status.textContent = `${capital(which([layer, head]))}: ${called(token)} attends most to ${told}.`;
      if (!this.film) this.showNumbers(shares[this.key]);
      this.paint();
      if (changed.token !== undefined) this.reveal();
      const { state, film, prompt, off } = this, text = film ? prompt.mine[0] : prompt.value;
      this.tell({ state: { ...state, text, model: this.source.value, layer, head, token, off } });
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
      const { n_embd, n_head, n_kv_head } = this.config, { layer, head, token, key } = this, D = n_embd / n_head;
      const { names } = this.tokens;
      const own = ({ [layer]: vectors }, heads, place) => {
        const begin = (place * heads + Math.floor((head * heads) / n_head)) * D; // heads may share a key
        return vectors.subarray(begin, begin + D);
      };
      const q = own(this.now.queries, n_head, token), k = own(this.now.keys, n_kv_head ?? n_head, key);
      const products = q.map((value, i) => value * k[i]);
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
      const some = this.off.length > 0, bar = (value, i) => level(value / full, i ? "mg-bar" : "mg-own");
      const lines = rows.map(([name, on, off]) => {
        const values = some ? [on, off] : [on];
        return row(name, make("span", {}, ...values.map(bar)), ...values.map(number));
      });
      return table(caption, [title, "", "all on", ...(some ? ["off"] : [])], lines);
    }

    // The loss of the text, and what switching off does to it.
    showLoss() {
      const { whole, now, vocabulary, tokens, off } = this;
      const [before, after] = [whole, now].map(({ losses }) => losses.slice(1));
      this.most = Math.max(...before, ...after);
      this.loss.replaceChildren();
      this.legend.textContent = this.change.textContent = "";
      if (tokens.names.length < 2) return; // nothing is predicted
      const means = [before, after].map((losses) => losses.reduce((a, b) => a + b, 0) / losses.length);
      const full = Math.max(Math.log(vocabulary.length), ...means);
      this.loss.append(this.compare("Mean loss of the text, in nats per token.", "", [["loss", ...means]], full));
      this.legend.textContent = `Bars below the tokens: their losses, the highest ${number(this.most)} nats.`;
      if (!off.length) return;
      this.legend.textContent += " Grey: all heads on; blue: some off.";
      const changes = before.map((loss, i) => Math.abs(after[i] - loss)), at = changes.indexOf(Math.max(...changes));
      this.change.textContent =
        `With ${off.length === 1 ? which(off[0]) : count(off.length, "head")} off, ` +
        `the loss of ${tokens.called(at + 1)} changes most, from ${number(before[at])} to ${number(after[at])}.`;
    }

    // What may come after the query's position.
    showNext() {
      const [before, after] = [this.whole, this.now].map(({ p }) => p[this.token]);
      const most = Array.from(before, (p, id) => [Math.max(p, after[id]), id]).sort((a, b) => b[0] - a[0]);
      const rows = most.slice(0, LIKELIEST).map(([, id]) => [this.vocabulary[id], before[id], after[id]]);
      const caption = `What comes after ${this.tokens.called(this.token)}: probabilities.`;
      this.next.replaceChildren(this.compare(caption, "token", rows, 1));
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

    // Over the tokens an arc for each share of the query that is more than 0.00, below them a bar for each loss.
    drawStrip() {
      const { token, off } = this, shares = this.maps[this.layer][this.head][token], most = shares[this.best];
      const spans = [...this.tokens.list.children], width = this.tokens.list.offsetWidth;
      const middles = spans.map((span) => span.offsetLeft + span.offsetWidth / 2), from = middles[token];
      const reach = (to) => 14 + ((ARCS - 32) * Math.abs(from - to)) / width; // how high its arc goes
      for (const svg of [this.arcs, this.bars]) svg.setAttribute("width", width);
      const drawn = shares.map((share, s) => [share, s]).filter(([share, s]) => s === this.best || share >= LEAST);
      const arcs = drawn.map(([share, s]) => {
        const to = middles[s], high = ARCS - reach(to) / 0.75, [a, b] = s === token ? [from - 9, from + 9] : [from, to];
        const opacity = Math.max(FAINTEST, share / most);
        const look = { "stroke-opacity": opacity.toFixed(3), "stroke-width": (0.5 + 7 * share).toFixed(2) };
        return draw("path", { d: `M${from} ${ARCS}C${a} ${high} ${b} ${high} ${to} ${ARCS}`, ...look });
      });
      const x = Math.max(14, Math.min(width - 14, (from + middles[this.best]) / 2));
      const label = draw("text", { x, y: ARCS - 5 - reach(middles[this.best]) }, number(most));
      this.arcs.replaceChildren(...arcs, label);
      if (!this.film) {
        const bars = (losses, role, shift) => losses.slice(1).map((loss, i) => {
          const height = (BARS * loss) / this.most;
          return draw("rect", { class: role, x: middles[i + 1] + shift, y: BARS - height, width: 3.5, height });
        });
        const { whole, now } = this, beside = off.length ? bars(now.losses, "mg-bar", 0) : [];
        this.bars.replaceChildren(...bars(whole.losses, "mg-own", off.length ? -4 : -2), ...beside);
      }
    }

    // Where the strip is wider than its place, bring the query that was chosen into view.
    reveal() {
      const { strip } = this, { offsetLeft: left, offsetWidth: width } = this.tokens.list.children[this.token];
      const least = left + 2 * width - strip.clientWidth, most = left - width;
      strip.scrollLeft = Math.max(least, Math.min(strip.scrollLeft, most));
    }

    // The large map, its axes, and frames around the row of the query and the square of the pair.
    drawLarge() {
      const map = this.maps[this.layer][this.head], T = map.length, { large, token, key } = this;
      const { names } = this.tokens;
      const ratio = globalThis.devicePixelRatio || 1, width = large.clientWidth, context = large.getContext("2d");
      large.width = large.height = width * ratio;
      context.scale(ratio, ratio);
      context.font = `${FONT}px ui-monospace, monospace`;
      const widest = Math.max(...names.map((name) => context.measureText(name).width)), letters = widest <= FONT + 2;
      this.margin = FONT + 12 + Math.min(64, widest);
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
      // The names that there is room for: of the chosen one, and of every n-th that does not touch it.
      const n = Math.ceil(FONT / cell), middle = (t) => (t + 0.5) * cell;
      const named = (chosen) => names.map((_, t) => t).filter((t) =>
        t === chosen || (t % n === 0 && Math.abs(t - chosen) >= n));
      for (const t of named(token)) write(names[t], margin - 4, Math.max(FONT / 2, middle(t)), false, "right");
      for (const s of named(key))
        if (letters) write(names[s], margin + middle(s), T * cell + 4 + FONT / 2, false, "center");
        else write(names[s], margin + middle(s), T * cell + 4, true, "right");
    }
  }

  minigpt.widgets.attention = (root, state, engine, tell) => new AttentionMaps(root, state, engine, tell);
})();
