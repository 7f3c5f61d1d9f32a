// A text on its way to training: decoded, looked at, cut into two parts, and where the windows of a batch begin. The
// twin of minigpt_core/data.py, of look_at in minigpt_core/study/planning.py, and of _decode in minigpt_core/corpus.py.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { END_OF_TEXT } = minigpt;
  const MANY = 20; // documents
  const LEAST = 2_000, LITTLE = 50_000; // characters
  const MANY_KINDS = 2_000, MOST_KINDS = 5_000; // of character
  const FIRST = 50_000, RUN = 12; // characters in which repetitions are counted, and the length of one
  const OTHER_ENCODINGS = ["gb18030", "big5", "shift_jis", "windows-1252"];
  const INK = /[^\s\x1c-\x1f\x85]|\ufeff/; // what Python's strip() leaves

  // Python counts characters, JavaScript units of UTF-16. This is where each character begins, in units, and where the
  // text ends.
  function places(text) {
    const found = new Uint32Array(text.length + 1);
    let count = 0;
    for (let at = 0; at < text.length; at += text.codePointAt(at) > 0xffff ? 2 : 1) found[count++] = at;
    found[count] = text.length;
    return found.subarray(0, count + 1);
  }

  // The text cut after each end mark; white space after the last one belongs to the last document.
  function documentsOf(text) {
    const documents = text.split(END_OF_TEXT), last = documents.length - 1;
    for (let i = 0; i < last; i++) documents[i] += END_OF_TEXT;
    if (last > 0 && !INK.test(documents[last])) documents[last - 1] += documents.pop();
    return documents;
  }

  // One text of pieces that did not stand together: each but the last ends in an end mark.
  function join(pieces) {
    const full = pieces.filter((piece) => piece), last = full.pop() ?? "";
    return full.map((piece) => (piece.endsWith(END_OF_TEXT) ? piece : piece + END_OF_TEXT)).join("") + last;
  }

  // One document at random from each of as many runs of neighbours as documents are held out.
  function holdOutDocuments(documents, fraction, seed) {
    const n = documents.length;
    if (n < 2) throw new Error(`there is no second document to hold out: documents end in ${END_OF_TEXT}; take blocks`);
    const count = Math.min(Math.ceil(Number((n * fraction).toFixed(6))), n - 1);
    const random = new minigpt.MersenneTwister(seed), chosen = new Set();
    for (let i = 0; i < count; i++) {
      const begin = Math.floor((n * i) / count), end = Math.floor((n * (i + 1)) / count);
      chosen.add(begin + random.below(end - begin));
    }
    const part = (held) => join(documents.filter((_, i) => chosen.has(i) === held));
    return { train: part(false), heldOut: part(true) };
  }

  // `size` characters, in up to 20 blocks, one at a random place in each stretch of the text.
  function holdOutBlocks(text, at, size, seed) {
    const all = at.length - 1, rest = all - size, count = Math.min(20, Math.max(1, Math.floor(size / 500)));
    const random = new minigpt.MersenneTwister(seed), train = [], heldOut = [];
    const share = (whole, i) => Math.floor((whole * i) / count);
    let last = 0;
    for (let i = 0; i < count; i++) {
      const length = share(size, i + 1) - share(size, i), room = share(rest, i + 1) - share(rest, i);
      let start = share(size, i) + share(rest, i) + random.below(room + 1);
      start = Math.max(last, afterMark(text, at, start));
      const end = Math.max(start, afterMark(text, at, Math.min(all, start + length)));
      if (end === start) continue;
      train.push(text.slice(at[last], at[start]));
      heldOut.push(text.slice(at[start], at[end]));
      last = end;
    }
    return { train: join([...train, text.slice(at[last])]), heldOut: join(heldOut) };
  }

  // The character `cut`, or where a cut before it would go through an end mark, the one after the mark.
  function afterMark(text, at, cut) {
    const reach = END_OF_TEXT.length - 1, from = Math.max(0, at[cut] - reach);
    const begin = text.slice(from, at[cut] + reach).lastIndexOf(END_OF_TEXT);
    return begin < 0 ? cut : cut + from + begin + END_OF_TEXT.length - at[cut];
  }

  // A training part and a held-out part of about `fraction` of the text, and how it was cut: by "documents", where there are
  // at least 20, else in "blocks".
  function splitText(text, { how, fraction = 0.1, seed = 0 } = {}) {
    const documents = documentsOf(text);
    how ??= documents.length >= MANY ? "documents" : "blocks";
    if (how === "documents") return { how, ...holdOutDocuments(documents, fraction, seed) };
    const at = places(text), size = Math.floor((at.length - 1) * fraction);
    return { how, ...holdOutBlocks(text, at, size, seed) };
  }

  // Where in N tokens the windows begin that get_batch of minigpt_core/data.py draws for a step.
  function batchStarts(N, blockSize, batchSize, seed, step) {
    if (N < blockSize + 1)
      throw new Error(`one window needs block_size + 1 = ${blockSize + 1} tokens, but there are ${N}`);
    const random = new minigpt.MersenneTwister(minigpt.stepSeed(seed, step));
    return Int32Array.from({ length: batchSize }, () => random.below(N - blockSize));
  }

  // The share of the runs of 12 characters, at the beginning of the text, that stood in it before.
  function repeatedShare(text, at) {
    const count = Math.min(FIRST, at.length - 1) - RUN + 1, runs = new Set();
    for (let i = 0; i < count; i++) runs.add(text.slice(at[i], at[i + RUN]));
    return count > 0 ? 1 - runs.size / count : 0;
  }

  // What a text is like, whether it can be trained on, and sentences of advice. They are Python's, but for a text with
  // many kinds of character: this page does not learn pieces.
  function lookAt(text) {
    const at = places(text), characters = at.length - 1, kinds = new Set(text).size;
    const usable = characters >= LEAST && kinds > 1 && kinds <= MOST_KINDS;
    const number = (value) => value.toLocaleString("en"), advice = [];
    const python = "Python cuts such a text into pieces (chapter “Your own text”)";
    if (characters < LEAST)
      advice.push(
        `${number(characters)} characters are too few: a model needs at least ${number(LEAST)}, ` +
          "and learns words from about 50,000",
      );
    else if (kinds === 1) advice.push("it is one character over and over: there is nothing to learn");
    else if (characters < LITTLE)
      advice.push("short: it will be known by heart before its language is learned; add text of the same kind");
    if (usable && repeatedShare(text, at) > 0.5)
      advice.push(
        "it repeats itself: where what is held back stands in what is learned, a low validation loss means nothing",
      );
    if (kinds > MOST_KINDS)
      advice.push(
        `${number(kinds)} kinds of character are too many: each is a token of its own here, ` +
          `and there can be ${number(MOST_KINDS)}; ${python}`,
      );
    else if (kinds > MANY_KINDS)
      advice.push(
        `many kinds of character: each of the ${number(kinds)} is a token of its own here, ` +
          `and training is slower; ${python}`,
      );
    if (usable && !/\p{L}/u.test(text.slice(0, at[Math.min(FIRST, characters)])))
      advice.push("it holds no letters: is it a text?");
    return { characters, kinds, usable, advice };
  }

  // What the bytes are in that encoding, or nothing where they are no text in it.
  function decoded(bytes, encoding) {
    try {
      const text = new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes).replace(/^\ufeff/, "");
      const holes = encoding === "windows-1252" && /[\x81\x8d\x8f\x90\x9d]/.test(text); // bytes without a character
      return holes || text.includes("\0") ? undefined : text;
    } catch {
      return undefined;
    }
  }

  // The encodings in which the bytes are text, and what each reads where UTF-8 first fails, for a reader to recognise
  // the right one.
  function guess(bytes) {
    const again = new TextEncoder().encode(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
    let place = 0;
    while (place < bytes.length && bytes[place] === again[place]) place++;
    while ((again[place] & 0xc0) === 0x80) place--; // to the first byte of its character
    const begin = Math.max(0, place - (place % 2) - 8), piece = bytes.subarray(begin, begin + 40);
    const reads = (encoding) => {
      const line = new TextDecoder(encoding).decode(piece).replaceAll("\ufffd", "").trim().replace(/\s+/g, " ");
      return Array.from(line).slice(0, 16).join("");
    };
    const fitting = OTHER_ENCODINGS.filter((encoding) => decoded(bytes, encoding) !== undefined);
    return fitting.map((encoding) => ({ encoding, reads: reads(encoding) }));
  }

  // The text of a file: UTF-8, or UTF-16 with a byte order mark, or the encoding that is named. The error for bytes
  // that are no text in it has a list of `guesses`, each { encoding, reads }.
  function decodeText(bytes, encoding) {
    const mark = (bytes[0] << 8) | bytes[1];
    encoding ??= { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[mark] ?? "utf-8";
    const raw = decoded(bytes, encoding);
    if (raw === undefined) {
      const guesses = guess(bytes);
      const cure = guesses.length ? "choose the encoding in which it reads well" : "save it as plain text in UTF-8";
      throw Object.assign(new Error(`the file is not text in ${encoding}: ${cure}`), { guesses });
    }
    const text = raw.replace(/\r\n?/g, "\n").replace(/\x1a$/, "");
    if (!INK.test(text))
      throw new Error("the file is empty: a model needs at least a few thousand characters to learn from");
    return { text, encoding };
  }

  Object.assign(minigpt, { splitText, batchStarts, lookAt, decodeText });
})();
