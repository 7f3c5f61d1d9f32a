// The attention maps of a text: every layer and head small, one of them large, and what each token looks at.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, slider, field, choice, sentence, alone, patiently, Prompt, later, newId, fill, rove, onColours } = minigpt.parts;
  const LABELLED = 40; // tokens that still find room for their names beside the large map

  // A recorded look: one byte a share in percent, layer by layer, head by head, row by row.
  const unpack = ({ layers, heads, names }, percent) => {
    const bytes = Uint8Array.from(atob(percent), (character) => character.charCodeAt(0));
    let at = 0;
    const row = (_, t) => Array.from(bytes.subarray(at, (at += t + 1)), (share) => share / 100);
    return Array.from({ length: layers }, () => Array.from({ length: heads }, () => names.map(row)));
  };

  // The root lifts small shares, so that a broad head is seen too.
  const shade = (share) => Math.sqrt(share);

  class AttentionMaps {
    constructor(root, state, engine, tell) {
      const id = newId("attention");
      Object.assign(this, { root, state, engine, tell, layer: state.layer ?? 0, head: state.head ?? 0, token: null });
      this.source = choice(`${id}-source`, { ...state.models, ...state.films }, state.model);
      this.prompt = new Prompt(`${id}-text`, "text", state.text, 1, engine, this.source);
      this.step = slider(`${id}-step`, ["training step", 0, 1, 1, 0], () => this.look());
      this.step.row.hidden = true; // until there is a film
      this.tokens = make("div", { className: "mg-tokens", role: "listbox" });
      this.tokens.setAttribute("aria-label", "tokens of the text");
      this.heads = make("div", { className: "mg-heads" });
      this.large = make("canvas");
      this.large.setAttribute("aria-hidden", "true");
      this.status = make("p", { className: "mg-status", role: "status" });
      this.alone = alone(root, (error) => {
        Object.assign(this, { film: null, names: [], maps: [] });
        this.arrange(sentence(error));
      });
      this.prompt.input.oninput = later(root, () => this.read());
      this.source.onchange = () => this.read();
      this.large.onpointermove = (event) => this.point(event);
      rove(this.tokens, (place) => this.choose(place));
      fill(
        root,
        make("div", { className: "mg-shared" }, this.prompt.field, field("maps of", this.source)),
        this.step.row,
        this.tokens,
        make("div", { className: "mg-maps" }, this.heads, this.large),
        this.status,
      );
      new ResizeObserver(() => this.drawLarge()).observe(root);
      onColours(this.large, () => {
        this.paintSmall();
        this.drawLarge();
      });
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
          const { prompt } = await patiently(this.status, "Loading the model…", this.prompt.load(signal));
          const { maps, names } = await this.engine.ask("attend", { name, text: prompt }, { signal });
          Object.assign(this, { film: null, names, maps });
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
      this.step.row.hidden = !this.film;
      this.layer = Math.min(this.layer, Math.max(0, this.maps.length - 1));
      this.head = Math.min(this.head, Math.max(0, (this.maps[0]?.length ?? 1) - 1));
      const last = this.names.length - 1;
      this.token = last < 0 ? null : Math.min(this.token ?? last, last);
      this.tokens.replaceChildren(
        ...this.names.map((name, place) => {
          const span = make("span", { textContent: name, onpointerenter: () => this.choose(place) });
          span.setAttribute("role", "option");
          return span;
        }),
      );
      this.heads.style.setProperty("--mg-columns", this.maps[0]?.length ?? 1);
      this.heads.replaceChildren(
        ...this.maps.flatMap((heads, layer) =>
          heads.map((map, head) => {
            const canvas = make("canvas", { width: map.length, height: map.length });
            const button = make("button", { type: "button", onclick: () => this.enlarge(layer, head) }, canvas);
            button.setAttribute("aria-label", `layer ${layer}, head ${head}`);
            return button;
          }),
        ),
      );
      this.large.hidden = !this.maps.length;
      this.paintSmall();
      if (this.maps.length) this.show();
      else this.status.textContent = reason;
    }

    paintSmall() {
      [...this.heads.querySelectorAll("canvas")].forEach((canvas, place) => {
        const context = canvas.getContext("2d");
        context.clearRect(0, 0, canvas.width, canvas.height);
        this.paint(context, this.maps.flat()[place], 1);
      });
    }

    enlarge(layer, head) {
      Object.assign(this, { layer, head });
      this.show();
    }

    choose(place) {
      this.token = place;
      this.show();
    }

    point(event) {
      const { top, height } = this.large.getBoundingClientRect(), T = this.names.length;
      const edge = T > LABELLED ? 0 : height - this.cell * T;
      const row = Math.floor((event.clientY - top) / this.cell);
      if (event.clientY - top < height - edge && row < T) this.choose(row);
    }

    paint(context, map, cell, left = 0) {
      context.fillStyle = getComputedStyle(this.root).getPropertyValue("--mg-accent");
      map.forEach((row, t) =>
        row.forEach((share, s) => {
          context.globalAlpha = shade(share);
          context.fillRect(left + s * cell, t * cell, cell, cell);
        }),
      );
      context.globalAlpha = 1;
    }

    // What depends on the head and on the token that were chosen.
    show() {
      const row = this.maps[this.layer][this.head][this.token];
      [...this.heads.children].forEach((button, place) =>
        button.setAttribute("aria-pressed", String(place === this.layer * this.maps[0].length + this.head)),
      );
      [...this.tokens.children].forEach((span, place) => {
        span.style.setProperty("--mg-share", shade(row[place] ?? 0).toFixed(3));
        span.setAttribute("aria-selected", String(place === this.token));
        span.tabIndex = place === this.token ? 0 : -1;
      });
      this.drawLarge();
      const most = row.map((share, s) => [share, s]).sort((a, b) => b[0] - a[0]).slice(0, 3);
      const named = most.map(([share, s]) => `“${this.names[s]}” (place ${s}) ${share.toFixed(2)}`).join(", ");
      this.status.textContent =
        `Layer ${this.layer}, head ${this.head}: “${this.names[this.token]}” (place ${this.token}) looks at ${named}.`;
      const { state, layer, head, token, film, prompt } = this;
      this.tell({ state: { ...state, text: film ? prompt.mine[0] : prompt.value, model: this.source.value, layer, head, token } });
    }

    // The large map; again when its place or the page's colours change.
    drawLarge() {
      const map = this.maps?.[this.layer]?.[this.head];
      if (!map) return;
      const T = map.length, ratio = globalThis.devicePixelRatio || 1, width = this.large.clientWidth;
      const margin = T > LABELLED ? 0 : Math.min(60, width / 8);
      this.cell = (width - margin) / T;
      this.large.width = width * ratio;
      this.large.height = width * ratio;
      const context = this.large.getContext("2d");
      context.scale(ratio, ratio);
      this.paint(context, map, this.cell, margin);
      context.strokeStyle = context.fillStyle = getComputedStyle(this.root).color;
      context.lineWidth = 1.5;
      context.strokeRect(margin, this.token * this.cell, (this.token + 1) * this.cell, this.cell);
      if (!margin) return;
      context.font = `${Math.min(14, this.cell)}px ui-monospace, monospace`;
      context.textBaseline = "middle";
      const turned = this.names.some((name) => name.length > 2);
      this.names.forEach((name, place) => {
        const middle = (place + 0.5) * this.cell;
        context.textAlign = "right";
        context.fillText(name, margin - 4, middle, margin - 4);
        context.save();
        context.translate(margin + middle, T * this.cell + 4);
        if (turned) context.rotate(-Math.PI / 2);
        else {
          context.textAlign = "center";
          context.translate(0, this.cell / 2);
        }
        context.fillText(name, 0, 0, margin - 4);
        context.restore();
      });
    }
  }

  minigpt.widgets.attention = (root, state, engine, tell) => new AttentionMaps(root, state, engine, tell);
})();
