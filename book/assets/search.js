// The book's search: ranks sections for what was typed, by the index that book/tools/search.py writes, and shows them.
globalThis.minigpt ??= {};
(() => {
  "use strict";
  const HAN = /\p{Script=Han}/u;
  const SMALL = new Set(
    ("a an and are as at be by can do does for from has have how i if in into is it its me my not of on or so that " +
      "the their there this to was what when where which who why will with you your").split(" "),
  );
  // What a hit is worth: in a section's title; in bold, where terms are introduced; in the text; in the title of its
  // page; in the names of the functions that its code calls. tests/test_search.py says what they must bring first.
  const TITLE = 9, BOLD = 4, TEXT = 3, PAGE = 1, CODE = 1, EXACT = 1e6;
  const SYNONYM = 0.7, LONGER_WORD = 0.3, ASIDE = 0.4;

  // What the forms of a word have in common: clipping -> clip, queries -> quer, normalisation -> normalis.
  const stem = (word) => {
    const cut = word.replace(/(?<=.{4})(?:ations?|ings?|ers?|ed|ies|es|[ey])$/i, "");
    return cut === word ? word.replace(/(?<=.[^si])s$/i, "") : cut.replace(/([bdgmnprt])\1$/i, "$1");
  };
  const FORM = /^(?:.?(?:s|e|es|ed|ings?|ers?|y|ies|ations?))?$/i; // what a form has after the stem
  const words = (text) => text.match(/[a-z0-9]+|\p{Script=Han}/giu) ?? [];
  // The same for all spellings of a name: "Cross-entropies" and "cross entropy", "warm-up" and "warmup".
  const key = (name) => stem(words(name).join("").toLowerCase()).replace(/is$/, "iz");

  // A regular expression for a name in all its forms, which captures how its last word goes on after the stem.
  const pattern = (name) => {
    if (HAN.test(name)) return new RegExp(name, "g");
    if (/[a-z][A-Z]/.test(name)) return new RegExp(`(?<![A-Za-z])${name}`, "g"); // RoPE is no rope
    const forms = words(name).map((word) => stem(word).replace(/i[sz]$/i, "i[sz]"));
    const end = words(name).at(-1).length > 2 ? "([a-z]*)" : "(s?)(?![a-z0-9])";
    return new RegExp(`(?<![a-z0-9])${forms.join("[a-z]*[\\s_-]*")}${end}`, "gi");
  };

  // What was typed, in parts: names of the glossary, each with the other names of the same thing, and single words.
  // Chinese that is no such name: overlapping pairs of characters, each with the English of the names it is part of.
  const parts = (query, synonyms) => {
    const typed = words(query), chinese = HAN.test(query), found = [];
    const groups = new Map(synonyms.flatMap((group) => group.map((name) => [key(name), group])));
    const add = (own, others = []) => {
      const same = (name) => key(name) === key(own), written = others.find(same) ?? own.toLowerCase(); // "warm-up"
      const more = others.filter((name) => !same(name) && (!HAN.test(name) || (chinese && name.length > 1)));
      found.push([{ name: written, weight: 1 }, ...more.map((name) => ({ name, weight: SYNONYM }))]);
    };
    for (let at = 0; at < typed.length; ) {
      const han = HAN.test(typed[at]), join = (to) => typed.slice(at, to).join(han ? "" : " ");
      let to = Math.min(typed.length, at + 8);
      while (to > at + 1 && !groups.has(key(join(to)))) to--;
      const own = join(to), pair = join(at + 2);
      if (to > at + 1 || !han || typed.length === 1) add(own, groups.get(key(own)));
      else if (HAN.test(typed[at + 1] ?? ""))
        add(pair, synonyms.filter((group) => group.some((name) => name.includes(pair))).flat());
      at = to;
    }
    const large = found.filter(([{ name }]) => !SMALL.has(name));
    const chosen = large.length ? large : found;
    return chosen.map((part) => part.map(({ name, weight }) => ({ pattern: pattern(name), weight })));
  };

  // How often a part stands in a text; and what the best hit is worth, the more the more of the text it is, at most 1.
  const hits = (part, text) => {
    let sum = 0, best = 0;
    for (const { pattern, weight } of part)
      for (const [all, rest = ""] of text.matchAll(pattern)) {
        const worth = weight * (FORM.test(rest) ? 1 : LONGER_WORD);
        sum += worth;
        best = Math.max(best, (worth * (1 + all.length / text.length)) / 2);
      }
    return { sum, best };
  };

  // Where the parts of a query stand in a text, in order; of two that begin together, the longer comes first.
  const find = (text, asked) =>
    asked
      .flatMap((part) => part.flatMap(({ pattern }) => [...text.matchAll(pattern)]))
      .map(({ 0: hit, index }) => ({ from: index, to: index + hit.length }))
      .sort((a, b) => a.from - b.from || b.to - a.to);

  // The beginning of a text, to the end of a word if there is one.
  const cut = (text, length) => {
    const space = text.lastIndexOf(" ", length);
    return text.slice(0, space > 0 ? space : length);
  };

  // The sentence that most parts of the query stand in, and what follows it, in pieces: every second one is a hit.
  const extract = (text, asked) => {
    const length = HAN.test(text.slice(0, 20)) ? 110 : 220;
    const sentences = text.split(/(?<=[.?!]) |(?<=[。？！])\n?|\n/);
    const together = sentences.map((sentence) => asked.filter((part) => hits(part, sentence).sum).length);
    const short = text.length < 1.3 * length, start = short ? 0 : together.indexOf(Math.max(...together));
    const told = sentences.slice(start).join(" ").replace(/ +/g, " "), first = find(told, asked)[0]?.from ?? 0;
    const space = told.indexOf(" ", first - length / 4) + 1;
    const from = short || first < length / 2 ? 0 : space && space < first ? space : first;
    const rest = told.slice(from), shown = rest.length > 1.3 * length ? cut(rest, length) : rest;
    const pieces = [from ? "… " : ""];
    let at = 0;
    for (const mark of find(shown, asked)) {
      if (mark.from < at) continue;
      pieces[pieces.length - 1] += shown.slice(at, mark.from);
      pieces.push(shown.slice(mark.from, mark.to), "");
      at = mark.to;
    }
    pieces[pieces.length - 1] += shown.slice(at) + (shown.length < rest.length ? " …" : "");
    return pieces;
  };

  // The sections that answer a query, best first, each with an extract; and how many there are in all. A row of the
  // glossary that has the very name leads; Chinese is answered by the Chinese glossary, all else by the English one.
  const search = ({ pages, sections, synonyms }, query, limit = 20) => {
    const asked = parts(query, synonyms), chinese = HAN.test(query);
    const inOne = asked.length > 1 && !chinese ? [[{ pattern: pattern(query), weight: 1 }]] : [];
    const mean = sections.reduce((sum, { text }) => sum + text.length, 0) / sections.length;
    const scores = sections.map(() => 0), covered = sections.map(() => 0);
    [...asked, ...inOne].forEach((part, n) => {
      const worth = sections.map(({ page, title, text, bold = [], calls = "" }) => {
        const { sum } = hits(part, text), inText = sum / (sum + 0.5 + (1.5 * text.length) / mean);
        const inBold = Math.max(0, ...bold.map((each) => hits(part, each).best));
        const inTitles = TITLE * hits(part, title).best + PAGE * hits(part, pages[page]).best;
        return inTitles + BOLD * inBold + TEXT * inText + CODE * hits(part, calls).best;
      });
      const rarity = Math.log(1 + sections.length / (1 + worth.filter(Boolean).length));
      worth.forEach((each, i) => {
        scores[i] += rarity * each;
        covered[i] += each > 0 && n < asked.length;
      });
    });
    const rank = ({ title, names }, i) => {
      const score = scores[i] * (covered[i] / asked.length) ** 2;
      if (!names) return HAN.test(title) && !chinese ? ASIDE * score : score;
      const exact = names.findIndex((name) => key(name) === key(query));
      return HAN.test(names[0]) !== chinese ? 0 : exact < 0 ? ASIDE * score : EXACT / (1 + exact);
    };
    const ranked = sections.map((section, i) => ({ ...section, score: rank(section, i) }));
    const found = ranked.filter(({ score }) => score > 0).sort((a, b) => b.score - a.score);
    const told = ({ text, calls = "" }) =>
      find(calls, asked).length && !find(text, asked).length ? `In the code: ${calls}` : text;
    const results = found.slice(0, limit).map((each) => ({ ...each, extract: extract(told(each), asked) }));
    return { results, total: found.length };
  };
  globalThis.minigpt.search = search;

  const make = (tag, className, ...content) => {
    const made = Object.assign(document.createElement(tag), { className });
    made.append(...content);
    return made;
  };
  const line = ({ page, id, title, extract }) => {
    const chapter = make("span", "search-page", id ? `${searchIndex.pages[page]} › ` : ""), link = make("a", "", title);
    link.href = `${page}.html${id && `#${id}`}`;
    const marked = extract.map((piece, n) => (n % 2 ? make("mark", "", piece) : piece));
    return make("li", "", chapter, link, make("p", "context", ...marked));
  };

  const field = globalThis.document?.querySelector(".bd-search-container input");
  if (!field) return;
  const show = () => {
    const query = field.value.trim(), { results, total } = search(searchIndex, query), some = results.length;
    const said = total > some ? `The best ${some} of ${total} sections` : `${total} section${total === 1 ? "" : "s"}`;
    document.getElementById("search-status").textContent = query && (total ? said : `Nothing found for “${query}”`);
    document.getElementById("search-results").replaceChildren(make("ul", "search", ...results.map(line)));
  };
  field.value = history.state?.query ?? new URLSearchParams(location.search).get("q") ?? "";
  field.addEventListener("input", () => {
    history.replaceState({ query: field.value }, ""); // for the way back; on file:// no script may change the address
    show();
  });
  if (field.value) show();
  else field.focus();
})();
