// The book's search: ranks sections for what was typed, with the index that book/tools/search.py writes, and shows them.
globalThis.minigpt ??= {};
(() => {
  const HAN = /\p{Script=Han}/u;
  const SMALL = new Set(
    ("a an and are as at be by can do does for from has have how i if in into is it its me my not of on or so that the their " +
      "there this to was what when where which who why will with you your").split(" "),
  );
  // What a hit is worth: in a section's title; in bold, where a term is introduced; in the text; in the title of its page.
  const TITLE = 6, BOLD = 4, TEXT = 3, PAGE = 1;
  const SYNONYM = 0.7, LONGER_WORD = 0.3, GLOSSARY = 0.5;

  // What the forms of a word have in common: clipping -> clip, queries -> quer, normalisation -> normalis.
  const stem = (word) => {
    const cut = word.replace(/(?<=.{4})(?:ations?|ings?|ers?|ed|ies|es|[ey])$/i, "");
    return cut === word ? word.replace(/(?<=.[^si])s$/i, "") : cut.replace(/([bdgmnprt])\1$/i, "$1");
  };
  const FORM = /^(?:.?(?:s|e|es|ed|ings?|ers?|y|ies|ations?))?$/i;
  const words = (text) => text.match(/[a-z0-9]+|\p{Script=Han}/giu) ?? [];
  // The same for all spellings of a name: "Cross-entropies" and "cross entropy", "warm-up" and "warmup".
  const key = (name) => stem(words(name).join("").toLowerCase()).replace(/is$/, "iz");

  // A regular expression for a name in all its forms, which captures how its last word goes on after the stem.
  const pattern = (name) => {
    if (HAN.test(name)) return new RegExp(name, "g");
    if (/[a-z][A-Z]/.test(name)) return new RegExp(`(?<![A-Za-z])${name}`, "g"); // RoPE is no rope
    const forms = words(name).map((word) => stem(word).replace(/i[sz]$/i, "i[sz]"));
    return new RegExp(`(?<![a-z0-9])${forms.join("[a-z]*[\\s_-]*")}([a-z]*)`, "gi");
  };

  // What was typed, in parts: names of the glossary, each with the other names of the same thing, and single words. Chinese
  // that is no such name goes into overlapping pairs of characters, each with the English of the names that it is part of.
  const parts = (query, synonyms) => {
    const typed = words(query), chinese = HAN.test(query), found = [];
    const groups = new Map(synonyms.flatMap((group) => group.map((name) => [key(name), group])));
    const add = (own, others = []) => {
      const fit = others.filter((name) => key(name) !== key(own) && (!HAN.test(name) || (chinese && name.length > 1)));
      found.push([{ name: own, weight: 1 }, ...fit.map((name) => ({ name, weight: SYNONYM }))]);
    };
    for (let at = 0; at < typed.length; ) {
      const han = HAN.test(typed[at]), join = (to) => typed.slice(at, to).join(han ? "" : " ");
      let to = Math.min(typed.length, at + 8);
      while (to > at + 1 && !groups.has(key(join(to)))) to--;
      const next = typed[at + 1] ?? "", own = join(to);
      if (to > at + 1 || !han) add(own, groups.get(key(own)));
      else if (HAN.test(next)) add(own + next, synonyms.filter((group) => group.some((name) => name.includes(own + next))).flat());
      else if (typed.length === 1) add(own, groups.get(own));
      at = to;
    }
    const large = found.filter(([{ name }]) => !SMALL.has(name.toLowerCase()));
    return (large.length ? large : found).map((part) => part.map(({ name, weight }) => ({ pattern: pattern(name), weight })));
  };
  globalThis.minigpt.parts = parts;

  // How often a part stands in a text; and how much of the text the best hit is, between 0 and 1.
  const hits = (part, text) => {
    let sum = 0, share = 0;
    for (const { pattern, weight } of part)
      for (const [all, rest] of text.matchAll(pattern)) {
        const worth = weight * (FORM.test(rest ?? "") ? 1 : LONGER_WORD);
        sum += worth;
        share = Math.max(share, (worth * (1 + all.length / text.length)) / 2);
      }
    return { sum, share };
  };

  // The sections that answer a query, best first: [{ section, score }]. Rows of the glossary that have the very name lead.
  const search = (index, query) => {
    const { pages, sections, synonyms } = index, asked = parts(query, synonyms);
    const whole = asked.length > 1 && !HAN.test(query) ? [[{ pattern: pattern(query), weight: 1 }]] : [];
    const mean = sections.reduce((sum, { text }) => sum + text.length, 0) / sections.length;
    const scores = sections.map(() => 0), covered = sections.map(() => 0);
    for (const part of [...asked, ...whole]) {
      const found = sections.map(({ page, title, text, bold = [] }) => {
        const { sum } = hits(part, text), inTitle = hits(part, title).share, inPage = hits(part, pages[page]).share;
        const inBold = Math.max(0, ...bold.map((each) => hits(part, each).share));
        return TITLE * inTitle + BOLD * inBold + PAGE * inPage + (TEXT * sum) / (sum + 0.5 + (1.5 * text.length) / mean);
      });
      const rarity = Math.log(1 + sections.length / (1 + found.filter(Boolean).length));
      found.forEach((score, i) => {
        scores[i] += rarity * score;
        covered[i] += score > 0 && whole[0] !== part;
      });
    }
    const rank = ({ names }, i) => {
      if (names && HAN.test(names[0]) !== HAN.test(query)) return 0;
      if (names?.some((name) => key(name) === key(query))) return Infinity;
      return scores[i] * (covered[i] / asked.length) ** 2 * (names ? GLOSSARY : 1);
    };
    return sections
      .map((section, i) => ({ section, score: rank(section, i) }))
      .filter(({ score }) => score > 0)
      .sort((a, b) => (a.score === b.score ? 0 : b.score - a.score));
  };
  globalThis.minigpt.search = search;
})();
