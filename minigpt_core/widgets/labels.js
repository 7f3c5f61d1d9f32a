// The names of a chart's lines, at their right end.
(() => {
  "use strict";
  const { parts } = globalThis.minigpt;
  const LINE = 14; // pixels
  const LONG = 16; // letters of a name that stand in one line

  // Names moved apart where they would touch.
  const apart = (names) => {
    const sorted = names.toSorted((a, b) => a.y - b.y);
    for (let i = 1; i < sorted.length; i++) sorted[i].y = Math.max(sorted[i].y, sorted[i - 1].y + LINE);
    return sorted;
  };

  // A long name, in two lines.
  const lines = (name) => {
    const spaces = [...name.matchAll(/ /g)].map(({ index }) => index);
    if (name.length <= LONG || !spaces.length) return [name];
    const off = (at) => Math.abs(at - name.length / 2), middle = spaces.reduce((a, b) => (off(b) < off(a) ? b : a));
    return [name.slice(0, middle), name.slice(middle + 1)];
  };

  Object.assign(parts, { apart, lines });
})();
