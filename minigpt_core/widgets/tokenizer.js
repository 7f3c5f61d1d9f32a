// The tokenizer: one text, cut by several tokenizers side by side, and byte-pair encoding that merges step by step.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, slider, field, choice, sentence, count, alone, patiently, later, rove, calm, player, keep, newId, fill } = minigpt.parts;
  const DRAWN = 400; // of a long text only so many characters are drawn and merged
  const LEARNED = 200, PAIRS = 8, MERGES = 60; // where it learns: characters drawn, rows of the table of pairs, merges in the list
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

  const named = ({ left, right }) => `“${minigpt.visible(left)}” and “${minigpt.visible(right)}”`;

  // Byte-pair encoding that learns its merges from the reader's text, one after the other.
  class Learner {
    constructor(changed) {
      Object.assign(this, { changed, states: [], made: 0 });
      this.player = player(() => this.go(this.made + 1), (n) => (calm() ? 1500 : Math.max(350, 1000 * 0.9 ** n)));
      const press = (textContent, to) => make("button", { type: "button", textContent, onclick: () => this.press(to()) });
      this.text = make("p", { className: "mg-pieces" });
      this.said = make("p", { className: "mg-status", role: "status" });
      this.sizes = make("p", { className: "mg-status" });
      this.caption = make("caption");
      this.rows = make("tbody");
      this.heading = make("p", { className: "mg-status", textContent: "Learned merges, each with its number:" });
      this.learned = make("p", { className: "mg-pieces" });
      const heads = ["pair", "", "count", ""].map((textContent) => make("th", { scope: "col", textContent }));
      const table = make("table", { className: "mg-bars" }, this.caption, make("thead", {}, make("tr", {}, ...heads)), this.rows);
      this.table = make("div", { className: "mg-pairs" }, table);
      this.section = make(
        "div",
        { className: "mg-learner", hidden: true },
        make(
          "div",
          { className: "mg-buttons" },
          press("Back", () => this.made - 1),
          press("One merge", () => this.made + 1),
          this.player.button,
          press("Start again", () => 0),
        ),
        this.said,
        this.text,
        this.sizes,
        this.table,
        this.heading,
        this.learned,
      );
    }

    // Another text. The merges make it and its table shorter: both keep their room, so that nothing below them moves.
    read(text, made) {
      this.player.stop();
      this.states = [];
      this.coming = minigpt.learnMerges(text);
      this.go(0);
      for (const part of [this.text, this.table]) {
        part.style.minHeight = "";
        keep(part);
      }
      this.go(made);
    }

    press(to) {
      this.player.stop();
      this.go(to);
    }

    // Show how things are after `to` merges, or after as many as there are. Is there another one?
    go(to) {
      while (this.states.length <= to) {
        const { done, value } = this.coming.next();
        if (done) break;
        const { words, pairs } = value, pieces = words.flat();
        this.states.push({ words, tokens: pieces.length, kinds: pairs.length, pairs: pairs.slice(0, PAIRS) });
      }
      this.made = Math.max(0, Math.min(to, this.states.length - 1));
      this.show();
      this.changed();
      return this.next !== null;
    }

    show() {
      const { words, tokens, kinds, pairs } = this.states[this.made], first = this.states[0], [best] = pairs;
      const merges = this.states.slice(0, this.made).map(({ pairs }) => pairs[0]), last = merges.at(-1);
      this.next = best?.count > 1 ? best : null;
      this.draw(words);
      this.rows.replaceChildren(...pairs.map((pair) => this.row(pair, pairs[0].count)));
      this.caption.textContent =
        `${count(kinds, "pair")} of neighbours${kinds > PAIRS ? `, ${PAIRS} of them shown` : ""}. ` +
        "If counts are equal, the shorter pair comes first, then the order of characters decides.";
      const done = last
        ? `Merge ${this.made}: ${named(last)} are now “${minigpt.visible(last.left + last.right)}”.`
        : "Each character is a piece.";
      this.said.textContent = `${done} ${this.foresee(words)}`;
      const letters = new Set(first.words.flat()).size;
      const [began, now, all] = [first.tokens, tokens, letters + this.made].map((n) => n.toLocaleString("en"));
      this.sizes.textContent = last
        ? `Tokens: ${began} → ${now}. Vocabulary: ${count(letters, "character")} + ${count(this.made, "merge")} = ${all}.`
        : `${count(tokens, "token")}, ${count(letters, "different character")}.`;
      this.heading.style.visibility = last ? "" : "hidden"; // it keeps its place
      this.learned.replaceChildren(
        ...merges.slice(-MERGES).map(({ left, right }, i, { length }) => {
          const { piece } = drawPiece(minigpt.visible(left + right), make("sub", { textContent: this.made - length + i + 1 }));
          piece.classList.toggle("mg-won", i === length - 1);
          return piece;
        }),
      );
    }

    // What comes next, and why. Pairs that overlap are all counted, and cannot all be joined.
    foresee(words) {
      if (!this.next) return "No pair occurs twice: there is nothing left to learn.";
      const times = this.next.count, joined = words.reduce((sum, pieces) => sum + minigpt.placesOf(pieces, this.next).length, 0);
      const overlap = joined < times ? ` They overlap: ${joined} can be joined.` : "";
      return `Next: ${named(this.next)}, which occur side by side ${times} times.${overlap}`;
    }

    // The beginning of the text, and in it the pair that comes next.
    draw(words) {
      const drawn = [];
      let characters = 0;
      for (const pieces of words) {
        if (characters >= LEARNED) break;
        const places = new Set(this.next ? minigpt.placesOf(pieces, this.next) : []);
        pieces.forEach((text, i) => {
          const { piece } = drawPiece(minigpt.visible(text));
          piece.classList.toggle("mg-left", places.has(i));
          piece.classList.toggle("mg-right", places.has(i - 1));
          drawn.push(piece);
          characters += size(text);
        });
      }
      this.text.replaceChildren(...drawn);
    }

    row(pair, most) {
      const won = pair === this.next;
      const names = [pair.left, pair.right].map((text) => drawPiece(minigpt.visible(text)).piece);
      const bar = make("span", { className: "mg-bar" });
      bar.style.width = `${(100 * pair.count) / most}%`;
      return make(
        "tr",
        { className: won ? "mg-won" : "" },
        make("th", { scope: "row" }, ...names),
        make("td", { className: "mg-track" }, bar),
        make("td", { textContent: pair.count }),
        make("td", { textContent: won ? "✓ next" : "" }),
      );
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
      this.learner = new Learner(() => this.report());
      this.learn = make("button", { type: "button", onclick: () => this.turn(!this.learning) });
      this.corpora = field("tokenizers of", this.corpus);
      this.alone = alone(root, (error) => (this.status.textContent = sentence(error)));
      this.input.oninput = later(root, () => this.read());
      this.corpus.onchange = () => this.begin();
      this.merging.onchange = () => this.follow();
      fill(
        root,
        make("div", { className: "mg-shared" }, field("text", this.input), this.corpora, this.learn),
        this.note,
        this.cuts,
        this.status,
        this.merges,
        this.learner.section,
      );
      this.turn(Boolean(state.learn), state.learned);
    }

    // To the merges that are learned from the text, or back to the tokenizers of a corpus.
    turn(learning, learned = 0) {
      this.learning = learning;
      this.learn.textContent = learning ? "Back to the tokenizers" : "Learn from this text";
      this.corpora.hidden = learning;
      this.learner.player.stop();
      if (learning) this.alone(() => this.read(0, learned));
      else this.begin();
    }

    // The tokenizers of a corpus.
    begin() {
      return this.alone(async (signal) => {
        const { [this.corpus.value]: about } = await patiently(this.status, "Loading the tokenizers…", this.engine.read("vocabularies"));
        if (signal.aborted) return;
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

    // The text has changed, or what is made of it.
    read(step, learned = 0) {
      if (!this.learning && !this.rows.length) return;
      const text = this.input.value, [most, done] = this.learning ? [LEARNED, "drawn"] : [DRAWN, "drawn and merged"];
      this.note.hidden = size(text) <= most;
      this.note.textContent = `The counts are of the whole text; its first ${most} characters are ${done}.`;
      const show = (part) => {
        this.cuts.hidden = part !== "cuts";
        this.merges.hidden = part !== "cuts" || !this.merging.value;
        this.learner.section.hidden = part !== "learner";
      };
      try {
        if (this.learning) {
          show(text && "learner");
          this.learner.read(text, learned);
        } else {
          for (const row of this.rows) row.cut(text);
          show(text && "cuts");
          this.follow(step);
        }
        this.status.textContent = !text
          ? "Type a text: its pieces appear here."
          : this.learning ? "" : "Point at a piece, or walk along a row with the arrow keys: its id and its bytes stand here.";
      } catch (error) {
        show(null);
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
      const pair = last && `“${text(starts[place], last.at)}” and “${text(last.at, starts[place + 1])}”`;
      const joined = last && `joins ${pair}, the merge learned as number ${last.id - this.first + 1}`;
      const written = ` What has no piece is written in ${this.lost}: ${count(this.tokens, "token")}.`;
      const rest = this.tokens === starts.length ? "" : written;
      this.said.textContent =
        (last ? `Step ${made} of ${total}: ${joined}.` : `Step 0 of ${total}: each character by itself.`) +
        (made === total ? ` Nothing is left to join: ${count(starts.length, "piece")}.${rest}` : "");
      this.report();
    }

    report() {
      const { value: text } = this.input, { value: corpus } = this.corpus, { value: merging } = this.merging;
      const step = +this.step.input.value, learned = this.learner.made;
      this.tell({ state: { ...this.state, text, corpus, merging, step, learn: this.learning, learned } });
    }
  }

  minigpt.widgets.tokenizer = (root, state, engine, tell) => new Tokenization(root, state, engine, tell);
})();
