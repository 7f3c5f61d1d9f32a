// What quizzes and predictions share: sentences with `code` and *emphasis*, and what the reader has answered and guessed. That
// is kept in this browser alone, as one JSON object,
//     {"quiz": {chapter: {question: "right" or "wrong"}}, "predict": {question: the guess, or null where it was skipped}},
// and a browser may refuse to keep anything: then nothing is said, and all works until the page is left.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const { make } = minigpt.parts;
  const KEY = "minigpt";

  const rich = (text) =>
    text.split(/(`[^`]+`|\*\S(?:[^*]*\S)?\*)/).map((part, i) =>
      i % 2 ? make(part[0] === "`" ? "code" : "em", { textContent: part.slice(1, -1) }) : part);

  const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});

  // All that is kept; what is damaged counts as nothing.
  const all = () => {
    try {
      return object(JSON.parse(localStorage.getItem(KEY)));
    } catch {
      return {};
    }
  };

  // What is kept at a place, such as ("quiz", "06_attention").
  const recall = (...path) =>
    path.reduce((found, key) => (Object.hasOwn(object(found), key) ? found[key] : undefined), all());

  // Keep a value at a place, or nothing there if it is undefined. The other chapters, in other tabs, keep theirs.
  const keep = (value, ...path) => {
    const whole = all(), last = path.pop();
    const at = path.reduce((found, key) => (found[key] = { ...object(found[key]) }), whole);
    if (value === undefined) delete at[last];
    else at[last] = value;
    try {
      localStorage.setItem(KEY, JSON.stringify(whole));
    } catch {} // refused
  };

  const forget = () => {
    try {
      localStorage.removeItem(KEY);
    } catch {}
  };

  const keeps = () => {
    try {
      return Boolean(localStorage);
    } catch {
      return false;
    }
  };

  minigpt.reader = { rich, recall, keep, forget, keeps };
})();
