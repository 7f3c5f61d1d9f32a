// The tokenizer: one text, cut by several tokenizers side by side, and byte-pair encoding that merges step by step.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, slider, field, choice, sentence, count, alone, patiently, later, rove, newId, fill } = minigpt.parts;
  const DRAWN = 400; // of a long text only so many characters are drawn and merged
  const utf8 = new TextEncoder();
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ");
  const size = (text) => Array.from(text).length;

  // All sizes of a corpus have the first merges of the largest one, and the same letters.
  const vocabulary = ({ merges, letters }, { size, bytes }) => {
    const first = ["<|endoftext|>", null, "\n", ...(bytes ? Array(256).keys() : [])];
    return [...first, ...merges.slice(0, size - first.length - letters.length), ...letters];
  };

  // The tokens of a text's beginning, each with the stretch of text that it belongs to, and which of the text's bytes, from
  // `from` to before `to`, it stands for.
  const tokens = (stretches) => {
    const found = [];
    let at = 0, characters = 0;
    for (const { text, ids } of stretches) {
      if (characters >= DRAWN) break;
      const { length } = utf8.encode(text), single = ids.length === length;
      ids.forEach((id, i) => found.push({ id, text, from: single ? at + i : at, to: single ? at + i + 1 : at + length }));
      at += length;
      characters += size(text);
    }
    return found;
  };

  const drawPiece = (name, ...others) => {
    const piece = make("span", { className: "mg-piece" }, make("code", { textContent: name }), ...others);
    return { piece, nodes: name.endsWith("\u21b5") ? [piece, make("br")] : [piece] };
  };

  // A tokenizer, and what it makes of the text.
  class Row {
    constructor(id, { label }, tokenizer, choose) {
      Object.assign(this, { label, tokenizer, choose, tokens: [], pieces: [] });
      this.head = make("p", { id });
      this.list = make("div", { className: "mg-pieces", role: "listbox" });
      this.list.setAttribute("aria-labelledby", id);
      rove(this.list);
      this.section = make("div", { className: "mg-cut" }, this.head, this.list);
    }

    // A character that has no id ends in a sentence; half of a character is an error, for all rows alike.
    cut(text) {
      const { tokenizer } = this;
      const stranger = tokenizer.stranger(text);
      const stretches = stranger ? [] : tokenizer.cut(text);
      const n = stretches.reduce((sum, { ids }) => sum + ids.length, 0);
      const each = n ? `, ${(size(text) / n).toFixed(2)} characters a token` : "";
      const said = stranger
        ? `: no ids. “${minigpt.visible(stranger)}” is not among its ${count(tokenizer.ids.size - 1, "character")}.`
        : `: ${count(n, "token")}${each}`;
      this.head.replaceChildren(make("b", { textContent: this.label }), said);
      this.tokens = tokens(stretches);
      this.draw();
    }

    draw() {
      const drawn = this.tokens.map(({ id }, place) => {
        const { piece, nodes } = drawPiece(this.tokenizer.name(id), make("sub", { textContent: id }));
        piece.setAttribute("role", "option");
        piece.setAttribute("aria-selected", "false");
        piece.tabIndex = place ? -1 : 0;
        piece.onpointerenter = piece.onfocus = () => this.choose(this, place);
        return { piece, nodes };
      });
      this.pieces = drawn.map(({ piece }) => piece);
      this.list.hidden = !drawn.length;
      this.list.replaceChildren(...drawn.flatMap(({ nodes }) => nodes));
    }

    // Light the pieces that share a byte with `chosen`.
    light(chosen, piece) {
      this.pieces.forEach((each, place) => {
        const { from, to } = this.tokens[place];
        each.classList.toggle("mg-lit", from < chosen.to && chosen.from < to);
        each.setAttribute("aria-selected", String(each === piece));
      });
    }

    tell({ id, text }) {
      const { bytes, unknown } = this.tokenizer, name = `${this.label}: “${this.tokenizer.name(id)}”, id ${id}`;
      if (id === unknown) return `${name}, the unknown piece. What stood here is lost: “${minigpt.visible(text)}”, bytes ${hex(utf8.encode(text))}.`;
      const part = typeof this.tokenizer.pieces[id] === "number" ? ` of “${minigpt.visible(text)}”` : "";
      return `${name}, ${bytes[id].length === 1 ? "byte" : "bytes"} ${hex(bytes[id])}${part}.`;
    }
  }

  class Tokenization {
    constructor(root, state, engine, tell) {
      const id = newId("tokenizer");
      Object.assign(this, { id, state, engine, tell, rows: [] });
      this.input = make("textarea", { id: `${id}-text`, rows: 3, value: state.text, maxLength: 10_000 });
      this.corpus = choice(`${id}-corpus`, state.corpora, state.corpus);
      this.cuts = make("div");
      this.status = make("p", { className: "mg-status mg-stay", role: "status" });
      this.note = make("p", { className: "mg-status" });
      this.merging = make("select", { id: `${id}-merging` });
      this.step = slider(`${id}-step`, ["merges made", 0, 0, 1, 0], () => this.showStep());
      const back = make("button", { type: "button", textContent: "Back", onclick: () => this.go(-1) });
      const forward = make("button", { type: "button", textContent: "Forward", onclick: () => this.go(1) });
      this.merged = make("p", { className: "mg-pieces" });
      this.said = make("p", { className: "mg-status", role: "status" });
      this.merges = make(
        "div",
        { className: "mg-merges" },
        make(
          "div",
          { className: "mg-pair" },
          field("watch it merge", this.merging),
          make("div", { className: "mg-buttons" }, back, forward),
        ),
        this.step.row,
        this.merged,
        this.said,
      );
      this.merges.hidden = true; // until there are tokenizers
      this.alone = alone(root, (error) => (this.status.textContent = sentence(error)));
      this.input.oninput = later(root, () => this.read());
      this.corpus.onchange = () => this.begin();
      this.merging.onchange = () => this.follow();
      fill(
        root,
        make("div", { className: "mg-shared" }, field("text", this.input), field("tokenizers of", this.corpus)),
        this.note,
        this.cuts,
        this.status,
        this.merges,
      );
      this.begin();
    }

    // The tokenizers of a corpus.
    begin() {
      return this.alone(async () => {
        const { [this.corpus.value]: about } = await patiently(this.status, "Loading the tokenizers…", this.engine.read("vocabularies"));
        this.rows = about.rows.map((row, place) => {
          const described = row.kind ? row : { kind: "bpe", pieces: vocabulary(about, row) };
          return new Row(`${this.id}-row-${place}`, row, new minigpt.Tokenizer(described), (...chosen) => this.choose(...chosen));
        });
        this.cuts.replaceChildren(...this.rows.map(({ section }) => section));
        const labels = this.rows.filter(({ tokenizer }) => tokenizer.kind === "bpe").map(({ label }) => label);
        this.merging.replaceChildren(...labels.map((label) => make("option", { value: label, textContent: label })));
        this.merging.value = labels.includes(this.state.merging) ? this.state.merging : labels.at(-1);
        this.read(this.state.step);
      });
    }

    // The text has changed, or the tokenizers.
    read(step) {
      if (!this.rows.length) return;
      const text = this.input.value, long = size(text) > DRAWN;
      this.note.hidden = !long;
      this.note.textContent = `The counts are of the whole text; its first ${DRAWN} characters are drawn and merged.`;
      try {
        for (const row of this.rows) row.cut(text);
        this.cuts.hidden = this.merges.hidden = !text;
        this.merges.hidden ||= !this.merging.value;
        this.status.textContent = text
          ? "Point at a piece, or walk along a row with the arrow keys: its id and its bytes stand here."
          : "Type a text: its pieces appear here.";
        this.follow(step);
      } catch (error) {
        this.cuts.hidden = this.merges.hidden = true;
        this.status.textContent = sentence(error);
      }
    }

    choose(row, place) {
      const chosen = row.tokens[place];
      for (const each of this.rows) each.light(chosen, row.pieces[place]);
      this.status.textContent = row.tell(chosen);
    }

    // Record the merges that one tokenizer makes in the beginning of the text.
    follow(step = +this.step.input.value) {
      const row = this.rows.find(({ label }) => label === this.merging.value);
      this.characters = Array.from(this.input.value).slice(0, DRAWN);
      this.steps = [];
      this.starts = [];
      this.tokens = 0;
      let at = 0;
      for (const { text, ids } of row?.tokenizer.cut(this.characters.join(""), this.steps) ?? []) {
        const whole = text === "<|endoftext|>";
        for (let i = 0; i < (whole ? 1 : size(text)); i++) this.starts.push(at + i);
        at += size(text);
        this.tokens += ids.length;
      }
      this.lost = row?.tokenizer.byteIds.length ? "bytes" : "unknown pieces"; // what has no piece is written in these
      this.first = row?.tokenizer.pieces.findIndex((piece) => row.tokenizer.ids.has(piece) && size(piece) > 1); // merge
      this.step.input.max = this.steps.length;
      this.step.set(step);
      this.showStep();
    }

    go(by) {
      this.step.set(+this.step.input.value + by);
      this.showStep();
    }

    showStep() {
      const made = +this.step.input.value, total = this.steps.length, last = this.steps[made - 1];
      const gone = new Set(this.steps.slice(0, made).map(({ at }) => at));
      const starts = this.starts.filter((start) => !gone.has(start));
      const text = (from, to) => minigpt.visible(this.characters.slice(from, to).join(""));
      const place = last ? starts.findLastIndex((start) => start < last.at) : -1;
      this.merged.replaceChildren(
        ...starts.flatMap((start, i) => {
          const { piece, nodes } = drawPiece(text(start, starts[i + 1]));
          piece.classList.toggle("mg-lit", i === place);
          return nodes;
        }),
      );
      const joined = last && `joins “${text(starts[place], last.at)}” and “${text(last.at, starts[place + 1])}”, the merge learned as number ${last.id - this.first + 1}`;
      const rest = this.tokens === starts.length ? "" : ` What has no piece is written in ${this.lost}: ${count(this.tokens, "token")}.`;
      this.said.textContent =
        (last ? `Step ${made} of ${total}: ${joined}.` : `Step 0 of ${total}: each character by itself.`) +
        (made === total ? ` Nothing is left to join: ${count(starts.length, "piece")}.${rest}` : "");
      this.tell({
        state: { ...this.state, text: this.input.value, corpus: this.corpus.value, merging: this.merging.value, step: made },
      });
    }
  }

  minigpt.widgets.tokenizer = (root, state, engine, tell) => new Tokenization(root, state, engine, tell);
})();
