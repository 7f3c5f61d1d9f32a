// Text to ids and back, as minigpt_core/tokenizer.py does it: characters, or pieces by SentencePiece's byte-pair
// encoding.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const END_OF_TEXT = "<|endoftext|>", END_ID = 0, SPACE = "\u2581", UNKNOWN = "\ufffd";
  const utf8 = new TextEncoder();

  // Text with its blanks and line breaks to be seen.
  minigpt.visible = (text) => text.replaceAll(" ", SPACE).replaceAll("\n", "\u21b5").replaceAll("\t", "\u21e5");

  const refuseHalves = (text) => {
    if (/\p{Surrogate}/u.test(text))
      throw new Error("the text holds half of a character (a lone surrogate): remove it");
  };

  class Tokenizer {
    // `about` is the tokenizer of a model file: { kind: "char", characters } or { kind: "bpe", pieces }, a piece being
    // its text, or a number for a byte, and null for the unknown one. No text becomes one of the tokens of `chat`,
    // which are reserved: with characters they stand at the end, else among the pieces.
    constructor(about) {
      const chat = about.chat ?? [];
      this.kind = about.kind;
      this.ids = new Map();
      if (about.kind === "char") {
        const known = [END_OF_TEXT, ...about.characters];
        known.forEach((piece, id) => this.ids.set(piece, id));
        this.pieces = [...known, ...chat];
        this.bytes = this.pieces.map((piece) => utf8.encode(piece));
        return;
      }
      this.pieces = about.pieces;
      this.byteIds = []; // none, or 256
      this.bytes = about.pieces.map((piece, id) => {
        if (typeof piece === "number") {
          this.byteIds[piece] = id;
          return Uint8Array.of(piece);
        }
        if (piece === null) this.unknown = id;
        else if (id > 0 && !chat.includes(piece)) this.ids.set(piece, id);
        return utf8.encode(piece === null ? UNKNOWN : piece.replaceAll(SPACE, " "));
      });
    }

    encode(text) {
      if (this.kind !== "char") return this.cut(text).flatMap(({ ids }) => ids);
      refuseHalves(text);
      const ids = [];
      text.split(END_OF_TEXT).forEach((part, n) => {
        if (n) ids.push(END_ID);
        for (const character of part) ids.push(this.idOf(character));
      });
      return ids;
    }

    // The text as stretches, each with its ids: one, or those of its bytes. `steps` collects the merges in their order:
    // the id of each joint piece, and the place in the text, counted in characters, where its right half began.
    cut(text, steps = []) {
      refuseHalves(text);
      const stretches = [];
      let at = 0;
      const add = (text, ids) => {
        stretches.push({ text, ids });
        at += Array.from(text).length;
      };
      for (const part of text.split(/(<\|endoftext\|>)/)) {
        if (part === END_OF_TEXT) add(part, [END_ID]);
        else if (this.kind === "char") for (const character of part) add(character, [this.idOf(character)]);
        else
          for (const run of part.split(/(\u2581)/))
            if (run === SPACE) add(run, this.inBytes(run));
            else for (const { text, ids } of this.merge(run.replaceAll(" ", SPACE), at, steps)) add(text, ids);
      }
      return stretches;
    }

    // The first character of the text that has no id, if there is one.
    stranger(text) {
      if (this.kind !== "char") return undefined;
      return Array.from(text.replaceAll(END_OF_TEXT, "")).find((character) => !this.ids.has(character));
    }

    idOf(character) {
      const id = this.ids.get(character);
      if (id === undefined) throw new Error(`the model does not know the character “${character}”: take it out`);
      return id;
    }

    inBytes(character) {
      return this.byteIds.length ? Array.from(utf8.encode(character), (byte) => this.byteIds[byte]) : [this.unknown];
    }

    // Join, again and again, the two neighbours whose joint piece was learned first (has the lowest id), the leftmost
    // of equals; what is in no vocabulary becomes bytes, or, with its neighbours, the unknown piece. A line break never
    // joins.
    merge(text, at, steps) {
      const symbols = Array.from(text), next = symbols.map((_, i) => i + 1), previous = symbols.map((_, i) => i - 1);
      const heap = new Heap();
      const offer = (left) => {
        const right = next[left];
        if (left < 0 || right >= symbols.length || symbols[left] === "\n" || symbols[right] === "\n") return;
        const joint = symbols[left] + symbols[right], id = this.ids.get(joint);
        if (id !== undefined) heap.push({ id, left, joint });
      };
      for (let i = 0; i + 1 < symbols.length; i++) offer(i);
      for (let best; (best = heap.pop()); ) {
        const { id, left, joint } = best, right = next[left];
        if (symbols[left] === null || right >= symbols.length || symbols[left] + symbols[right] !== joint) continue;
        steps.push({ id, at: at + right });
        symbols[left] = joint;
        symbols[right] = null;
        next[left] = next[right];
        if (next[right] < symbols.length) previous[next[right]] = left;
        offer(left);
        offer(previous[left]);
      }
      const stretches = [];
      for (const symbol of symbols) {
        if (symbol === null) continue;
        const text = symbol.replaceAll(SPACE, " "), id = this.ids.get(symbol), last = stretches.at(-1);
        if (id !== undefined) stretches.push({ text, ids: [id] });
        else if (last?.ids[0] === this.unknown) last.text += text;
        else stretches.push({ text, ids: this.inBytes(text) });
      }
      return stretches;
    }

    // How a token is shown, as `tokens` in Python: blanks and line breaks made visible, a byte as a number.
    name(id) {
      const piece = this.pieces[id];
      if (typeof piece === "number") return `<0x${piece.toString(16).toUpperCase().padStart(2, "0")}>`;
      if (piece === null) return "<unk>";
      return minigpt.visible(piece);
    }

    decode(ids) {
      const length = ids.reduce((sum, id) => sum + this.bytes[id].length, 0), bytes = new Uint8Array(length);
      let at = 0;
      for (const id of ids) {
        bytes.set(this.bytes[id], at);
        at += this.bytes[id].length;
      }
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    }
  }

  // Of two lists of characters, both of one length, which comes first. (JavaScript's own order is another one above
  // U+FFFF.)
  const inOrder = (ours, theirs) => {
    const i = ours.findIndex((character, i) => character !== theirs[i]);
    return i < 0 ? 0 : ours[i].codePointAt(0) - theirs[i].codePointAt(0);
  };

  // How often each pair of neighbours stands in the words, the most frequent first; of equals the shorter one, then the
  // one that comes first in the order of characters.
  const countPairs = (words) => {
    const pairs = new Map();
    for (const { pieces, count } of words.values())
      for (let i = 0; i + 1 < pieces.length; i++) {
        const left = pieces[i], right = pieces[i + 1], key = `${left}\n${right}`;
        if (!pairs.has(key)) pairs.set(key, { left, right, all: Array.from(left + right), count: 0 });
        pairs.get(key).count += count;
      }
    return [...pairs.values()].sort(
      (a, b) => b.count - a.count || a.all.length - b.all.length || inOrder(a.all, b.all),
    );
  };

  // The places where the pair stands and can be joined, from left to right: in "aaa" the pair of two a has one.
  minigpt.placesOf = (pieces, { left, right }) => {
    const places = [];
    for (let i = 0; i + 1 < pieces.length; i++) if (pieces[i] === left && pieces[i + 1] === right) places.push(i++);
    return places;
  };

  const join = (pieces, pair) => {
    const places = new Set(minigpt.placesOf(pieces, pair));
    return pieces.flatMap((piece, i) => (places.has(i) ? [pair.left + pair.right] : places.has(i - 1) ? [] : [piece]));
  };

  // Byte-pair encoding, learned from the text as chapter 01 does it: the text is cut into words, each space at the word
  // behind it, and then the most frequent pair becomes one piece, again and again, as long as it occurs twice.
  // Yields how things are at first and after each merge: the words in their order, each as its pieces, and all pairs,
  // of which the first comes next.
  minigpt.learnMerges = function* (text) {
    refuseHalves(text);
    const spaced = text.replaceAll(END_OF_TEXT, "\n").replaceAll(" ", SPACE);
    const order = spaced.match(/\u2581?[^\u2581\n]+|\u2581|\n/gu) ?? [];
    let words = new Map();
    for (const word of order) {
      if (!words.has(word)) words.set(word, { pieces: Array.from(word), count: 0 });
      words.get(word).count++;
    }
    for (;;) {
      const pairs = countPairs(words), [best] = pairs;
      yield { words: order.map((word) => words.get(word).pieces), pairs };
      if (!best || best.count < 2) return;
      words = new Map(Array.from(words, ([word, { pieces, count }]) => [word, { pieces: join(pieces, best), count }]));
    }
  };

  // The pair with the lowest id first, then the leftmost.
  class Heap {
    constructor() {
      this.items = [];
    }
    before(a, b) {
      return a.id - b.id || a.left - b.left;
    }
    push(item) {
      const items = this.items;
      let i = items.push(item) - 1;
      for (let up = (i - 1) >> 1; i > 0 && this.before(item, items[up]) < 0; up = (i - 1) >> 1) {
        items[i] = items[up];
        i = up;
      }
      items[i] = item;
    }
    pop() {
      const items = this.items, first = items[0], item = items.pop();
      if (!items.length) return first;
      let i = 0;
      for (let down = 1; down < items.length; down = 2 * i + 1) {
        if (down + 1 < items.length && this.before(items[down + 1], items[down]) < 0) down++;
        if (this.before(item, items[down]) <= 0) break;
        items[i] = items[down];
        i = down;
      }
      items[i] = item;
      return first;
    }
  }

  Object.assign(minigpt, { END_OF_TEXT, END_ID, Tokenizer });
})();
