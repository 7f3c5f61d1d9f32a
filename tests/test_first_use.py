"""Nothing is used before it is introduced: the glossary's terms and the notation's letters, in the order of reading.

A term is introduced where it first stands in bold; a letter where a chapter lists it among its symbols. What is looked at
is the prose: no code, no headings, no solutions, no first cell, which only announces. Of letters it is more: formulas between
dollars or plain (ln V, 1/V), and shapes such as (B, T, C), in the comments of code and of shown source too.
"""

import re
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["chapters"]
CHAPTERS = [c["file"] for c in CONTENTS if c["file"].startswith("notebooks/")]
NOT_PROSE = r"<details>.*?</details>|```.*?```|`[^`]*`|\]\([^)]*\)|^#[^\n]*"
# Terms that run under a shorter or a bent form in the text.
FORMS = {
    "causal mask": "mask",
    "cosine schedule": "cosine",
    "layer normalisation": "LayerNorm",
    "learning by heart": "by heart",
    "one-hot vector": "one-hot",
    "overfitting": r"overfit\w*",
    "saturation": r"saturat\w*",
    "underfitting": r"underfit\w*",
}


def terms() -> list[str]:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "book" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [term for term in rows if term != "term"]


def letters() -> list[str]:
    page = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\$[^|]+\$) \|", page, re.MULTILINE)
    return sorted({letter for row in rows for letter in letters_in(row) if letter not in ("\\ln", "\\cos", "e")})


def letters_in(text: str) -> set[str]:
    formulas = " ".join(re.findall(r"\$([^$]+)\$", text.replace("$$", "$")))
    return set(re.findall(r"\\[a-zA-Z]+|(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])", re.sub(r"\\text\{[^}]*\}", "", formulas)))


def prose(chapter: str) -> list[tuple[str, str]]:
    """The place and the text of each cell after the first."""
    cells = nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4).cells
    return [
        (f"{chapter} cell {cell.id}", re.sub(NOT_PROSE, "", cell.source, flags=re.DOTALL | re.MULTILINE))
        for cell in cells[1:]
        if cell.cell_type == "markdown"
    ]


BOOK = [place for chapter in CHAPTERS for place in prose(chapter)]


@pytest.mark.parametrize("term", terms())
def test_no_term_comes_before_its_introduction(term):
    form = rf"(?<![\w-]){FORMS.get(term) or re.escape(term)}s?(?!\w)"
    uses = [(place, text) for place, text in BOOK if re.search(form, re.sub(r"\$[^$]*\$", "", text), re.IGNORECASE)]
    assert uses, f"no chapter uses {term!r}: take it out of the glossary"
    place, text = uses[0]
    bold = " ".join(re.findall(r"\*\*([^*]+)\*\*", text))
    assert re.search(form, bold, re.IGNORECASE), f"{place} uses {term!r}, which is introduced (in bold) nowhere before"


def plain_letters_in(text: str) -> set[str]:
    """Of formulas without dollars, and of shapes."""
    shapes = " ".join(re.findall(r"\([^()\n]*,[^()\n]*\)", text))
    return set(re.findall(r"\b(?:ln |1/)([A-Z])\b", text)) | set(re.findall(r"\b[A-Z]\b", shapes))


def letters_by_cell(chapter: str) -> list[tuple[str, set[str]]]:
    """The place of each cell after the first, and the letters that a reader meets there."""
    found = [(place, letters_in(text) | plain_letters_in(text)) for place, text in prose(chapter)]
    for cell in nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4).cells[1:]:
        shown = [output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", [])]
        comments = re.findall(r"#.*", "\n".join([cell.source, *shown])) if cell.cell_type == "code" else []
        inline = re.findall(r"`[^`\n]*`", cell.source) if cell.cell_type == "markdown" else []
        found.append((f"{chapter} cell {cell.id}", plain_letters_in("\n".join(comments + inline))))
    return found


def test_no_letter_comes_before_its_introduction():
    introduced: set[str] = set()
    known = set(letters())
    assert {"T", "V", "\\eta", "\\tau"} <= known
    for chapter in CHAPTERS:
        first = nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4).cells[0].source
        listed = re.search(r"\*\*Symbols:\*\*(.*)", first)
        introduced |= letters_in(listed[1]) if listed else set()
        for place, used in letters_by_cell(chapter):
            early = (used & known) - introduced
            assert not early, f"{place} uses {sorted(early)}, which no list of symbols has introduced by then"


def test_letters_are_found_in_plain_formulas_and_in_shapes():
    assert plain_letters_in("a chance of 1/V costs ln V; I, too, am A") == {"V"}
    assert plain_letters_in("# (B, H, T, T), then (T, C // H)") == {"B", "C", "H", "T"}
    found = dict(letters_by_cell("notebooks/00_first_light"))
    assert {"B", "T", "C"} <= found["notebooks/00_first_light cell light-18"]  # a shape in a comment
    found = dict(letters_by_cell("notebooks/06_attention"))
    assert "S" in found["notebooks/06_attention cell attention-28"]  # in shown source


def test_the_glossary_has_a_meaning_and_a_chinese_term_for_each():
    page = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)[1:]
    assert [term for term, _, _ in rows] == terms() and len(rows) > 60
    assert [t.lower() for t in terms()] == sorted(t.lower() for t in terms())
    chinese = (ROOT / "book" / "zh.md").read_text(encoding="utf-8")
    for term, in_chinese, _ in rows:
        assert term in chinese and in_chinese in chinese, f"book/zh.md lacks {term!r}"
