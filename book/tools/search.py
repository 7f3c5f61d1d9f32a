"""Sphinx extension: the book's own search, by section. When the book is built, `searchindex.js` gets the text of each section,
and each row of the glossaries with its other names; `assets/search.js` ranks them in the page.

The index is a classic script, because `file://` refuses `fetch`, and only search.html loads it. It holds texts, not words: to
look through all of them takes some milliseconds, extracts are cut from them, and Chinese, which has no gaps between words, is
found wherever its characters stand in a row.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.symbols_parser import convert_symbol
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform

# A table with such a head is a glossary; the number is that of the column with the English term.
GLOSSARIES = {("term", "Chinese", "meaning"): 0, ("中文", "English", "一句话"): 1}
UNREAD = (nodes.section, nodes.title, nodes.raw, nodes.comment, nodes.math_block)


def english_column(table: nodes.table) -> int | None:
    """Where a glossary has its English terms; None for other tables."""
    head = next(table.findall(nodes.thead), None)
    return GLOSSARIES.get(tuple(entry.astext() for entry in head.findall(nodes.entry))) if head else None


def rows(tree: nodes.Node) -> Iterator[tuple[nodes.row, list[str], str]]:
    """The rows of the glossaries below a node: each with its texts, and its English term."""
    for table in tree.findall(nodes.table):
        if (column := english_column(table)) is not None:
            for row in next(table.findall(nodes.tbody)).findall(nodes.row):
                texts = [plain(entry) for entry in row.children]
                yield row, texts, texts[column]


class NameRows(SphinxTransform):
    """Links may lead to a row of a glossary: `glossary.html#term-key-value-cache`."""

    default_priority = 840

    def apply(self, **_: Any) -> None:
        for row, _texts, english in rows(self.document):
            row["ids"].append(f"term-{nodes.make_id(english)}")


def sign(command: str) -> str:
    """The sign that LaTeX has for a command, or its name: "\\approx" -> "≈", "\\ln" -> "ln"."""
    code = convert_symbol(command)
    return chr(int(code, 16)) if code else command[1:]


def typed(formula: str) -> str:
    """A formula as one would type it: "e^{\\text{loss}} \\approx 4" -> "e^loss ≈ 4"."""
    formula = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", formula)
    formula = re.sub(r"\\(?:text|mathrm|mathbb|,)", "", formula)
    return re.sub(r"[{}]", "", re.sub(r"\\[a-z]+", lambda command: sign(command[0]), formula))


def plain(node: nodes.Node) -> str:
    if isinstance(node, nodes.math):
        return typed(node.astext())
    return node.astext() if isinstance(node, nodes.Text) else "".join(map(plain, node.children))


def passages(node: nodes.Node) -> Iterator[nodes.Element]:
    """Paragraphs, cells of tables and code below a node; nothing of deeper sections or of a glossary's rows."""
    for child in node.children:
        if isinstance(child, UNREAD) or (isinstance(child, nodes.table) and english_column(child) is not None):
            continue
        if isinstance(child, nodes.TextElement):
            yield child
        else:
            yield from passages(child)


def names(term: str, meaning: str) -> list[str]:
    """A term and its other names: "MLP", "short for multilayer perceptron; also called a net or a web" -> four names."""
    others = re.findall(r"\b(?:also called|mostly called|short for|in short) ([^.,;:]+)|也叫([^。，；]+)", meaning)
    return [term, *(re.sub("^(an?|the) ", "", name) for found in others for name in "".join(found).split(" or "))]


def sections(env: BuildEnvironment, page: str) -> Iterator[dict[str, Any]]:
    """The sections of a page, then the rows of its glossaries, which have `names`."""
    tree = env.get_doctree(page)
    for section in tree.findall(nodes.section):
        parts = list(passages(section))
        prose = [part for part in parts if not isinstance(part, nodes.literal_block)]
        code = " ".join(part.astext() for part in parts if part.get("language") in ("ipython3", "python"))
        if parts:
            yield {
                "page": page,
                "id": "" if section.parent is tree else section["ids"][0],
                "title": plain(next(section.findall(nodes.title))),
                "text": "\n".join(" ".join(plain(part).split()) for part in prose),
                "bold": [plain(strong) for part in prose for strong in part.findall(nodes.strong)],
                "calls": " ".join(sorted(set(re.findall(r"([A-Za-z]\w{3,})\(", code)))),
            }
    for row, (term, other, meaning), _ in rows(tree):
        title = term if term == other else f"{term} · {other}"
        yield {"page": page, "id": row["ids"][0], "title": title, "text": meaning, "names": names(term, meaning)}


def synonyms(terms: Iterable[list[str]]) -> list[list[str]]:
    """Lists with a name in common become one: [["a", "b"], ["c"], ["b", "d"]] -> [["c"], ["a", "b", "d"]]."""
    groups: list[list[str]] = []
    for term in terms:
        same = [group for group in groups if set(group) & set(term)]
        groups = [group for group in groups if group not in same]
        groups.append(list(dict.fromkeys(name for group in [*same, term] for name in group)))
    return groups


def index(env: BuildEnvironment) -> dict[str, Any]:
    """What the page's script reads: titles of pages in the order of reading, their sections, and lists of names of one thing."""
    pages = list(env.collect_relations())
    terms = [
        [english, *names(term, meaning), *([other] if english == term else [])]
        for page in pages
        for _, (term, other, meaning), english in rows(env.get_doctree(page))
    ]
    return {
        "pages": {page: env.titles[page].astext() for page in pages},
        "sections": [section for page in pages for section in sections(env, page)],
        "synonyms": synonyms(terms),
    }


def take_over(app: Sphinx) -> None:
    """Sphinx then writes neither an index nor a search page of its own."""
    if isinstance(app.builder, StandaloneHTMLBuilder):
        app.builder.search = False


def search_page(app: Sphinx) -> list[tuple[str, dict[str, Any], str]]:
    return [("search", {}, "search.html")]


def write_index(app: Sphinx, failure: Exception | None) -> None:
    if failure is None and isinstance(app.builder, StandaloneHTMLBuilder):
        text = json.dumps(index(app.env), ensure_ascii=False, separators=(",", ":"))
        Path(app.outdir, "searchindex.js").write_text(f"globalThis.searchIndex = {text};\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(NameRows)
    app.connect("builder-inited", take_over)
    app.connect("html-collect-pages", search_page)
    app.connect("build-finished", write_index)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
