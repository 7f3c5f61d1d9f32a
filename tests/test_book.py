"""The book, built as `make book` builds it: no warning, no dead link, no request that leaves it, alt text everywhere."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *(chapter["file"] for chapter in TOC["chapters"])]


class Page(HTMLParser):
    """What a page refers to: links, resources that a browser fetches, ids, pictures."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.resources, self.ids, self.images = [], [], set(), []
        self.language = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.ids |= {a[name] for name in ("id", "name") if a.get(name)}
        if tag == "html":
            self.language = a.get("lang")
        if tag == "a" and a.get("href"):
            self.links.append(a["href"])
        if tag == "img":
            self.images.append(a)
        if tag in ("script", "img", "iframe", "source", "audio", "video", "embed") and a.get("src"):
            self.resources.append(a["src"])
        if (
            tag == "link"
            and a.get("href")
            and a.get("rel") in ("stylesheet", "preload", "icon", "shortcut icon", "manifest")
        ):
            self.resources.append(a["href"])


@pytest.fixture(scope="session")
def pages(html) -> dict[Path, Page]:
    return {path: Page(path) for path in html.rglob("*.html") if "_static" not in path.parts}


def test_every_page_of_the_contents_is_there(html):
    assert (html / "index.html").is_file()
    for page in PAGES:
        assert (html / f"{page}.html").is_file(), page
    assert (html / "search.html").is_file() and (html / "searchindex.js").stat().st_size > 1000


def test_every_notebook_is_in_the_contents():
    assert {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")} <= set(PAGES)


def test_the_front_page_shows_writing_that_was_written():
    index = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    record = json.loads((ROOT / "book" / "records" / "tales.json").read_text(encoding="utf-8"))
    written = {sample["step"]: sample["text"] for sample in record["samples"]}
    rows = re.findall(r"^\| (\d+)&nbsp;steps? \| (.*) \|$", index, re.MULTILINE)
    assert [int(step) for step, _ in rows] == [1, 50, 200, 900]
    for step, text in rows:
        assert text in written[int(step)]
    card = json.loads((ROOT / "minigpt_core" / "models" / "tales-bpe" / "card.json").read_text(encoding="utf-8"))
    quotes = re.findall(r"^> (.+)$", index, re.MULTILINE)
    assert quotes and all(quote in card["sample"]["text"] for quote in quotes)


NUMBER = r"(?<![A-Za-z0-9.,-])\d[\d,]*(?:\.\d+)?"
NO_MEASUREMENT = (
    r"```.*?```|`[^`]*`|\[[^\]]*\]\([^)]*\)|[Cc]hapter \d\d|\d-gram|sections? [\d, and]*\d|第 [\d、]+ [节章]"
)


def shown(path: Path) -> tuple[str, str]:
    """The first cell of a chapter; and its code with what it printed."""
    cells = nbformat.read(path, as_version=4).cells
    codes = [cell for cell in cells if cell.cell_type == "code"]
    printed = [output.get("text", "") for cell in codes for output in cell.outputs]
    return cells[0].source, "\n".join([cell.source for cell in codes] + printed)


def numbers_in(text: str) -> list[str]:
    """Those that say something: of one digit only if it has decimals.

    >>> numbers_in("2 losses of 1.40 and 7.0, on 154,347 tokens.")
    ['1.40', '7.0', '154347']
    """
    found = [number.rstrip(",").replace(",", "") for number in re.findall(NUMBER, text)]
    return [number for number in found if len(number) > 1]


@pytest.mark.parametrize("page", ["questions", "zh"])
def test_each_number_of_a_page_stands_in_a_chapter_that_its_paragraph_names(page):
    """Printed or in the code, to as many decimals; where no chapter is named, in a budget line or the settings."""
    chapters = {path.name: shown(path) for path in (ROOT / "notebooks").glob("*.ipynb")}
    settings = [(ROOT / name).read_text(encoding="utf-8") for name in ("_config.yml", "pyproject.toml")]
    elsewhere = [first for first, _ in chapters.values()] + settings
    text = re.sub(r"```.*?```", "", (ROOT / "book" / f"{page}.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    checked = 0
    for paragraph in re.split(r"\n\s*\n|\n(?=\|)", text):
        named = re.findall(r"notebooks/(\w+\.ipynb)", paragraph)
        sources = numbers_in("\n".join(["\n".join(chapters[name]) for name in named] or elsewhere))
        for number in numbers_in(re.sub(NO_MEASUREMENT, "", " ".join(paragraph.split()))):
            decimals = len(number.partition(".")[2])
            assert any(f"{float(source):.{decimals}f}" == number for source in sources), f"{number} in: {paragraph}"
            checked += 1
    assert checked > {"questions": 30, "zh": 4}[page]


def test_the_questions_page_gives_the_range_of_the_budget_lines():
    firsts = [shown(path)[0] for path in (ROOT / "notebooks").glob("*.ipynb")]
    seconds = [int(re.search(r"\*\*Budget:\*\* (\d+) s ", first)[1]) for first in firsts]
    page = " ".join((ROOT / "book" / "questions.md").read_text(encoding="utf-8").split())
    assert f"from {min(seconds)} to {max(seconds)} seconds each" in page


def test_every_link_leads_somewhere(pages, html):
    for path, page in pages.items():
        for link in page.links + page.resources:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data", "javascript"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            assert target.is_file(), f"{path.relative_to(html)}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, f"{path.relative_to(html)}: {link}"


def test_no_request_leaves_the_book(pages, html):
    for path, page in pages.items():
        outside = [r for r in page.resources if urlsplit(r).scheme in ("http", "https") or r.startswith("//")]
        assert not outside, f"{path.relative_to(html)}: {outside}"
    for sheet in html.rglob("*.css"):
        fetched = re.findall(r"@import[^;]*|url\(\s*['\"]?(?:https?:)?//[^)]*", sheet.read_text(encoding="utf-8"))
        assert not [f for f in fetched if "//" in f], sheet.name


def test_every_picture_has_alt_text(pages, html):
    for path, page in pages.items():
        for image in page.images:
            decorative = image.get("alt") == "" and image.get("aria-hidden") == "true"
            assert image.get("alt") or decorative, f"{path.relative_to(html)}: {image}"


def test_pages_state_their_language_and_licence(pages, html):
    for page in PAGES:
        assert pages[html / f"{page}.html"].language == ("zh-CN" if page == "book/zh" else "en")
        footer = (html / f"{page}.html").read_text(encoding="utf-8")
        assert "CC BY 4.0" in footer and "CC0" in footer


def test_formulas_are_mathml_and_need_no_script(pages, html):
    page = (html / "book" / "notation.html").read_text(encoding="utf-8")
    assert "<mi>ln</mi><mspace" in page and page.count("<math") > 20
    for path, page in pages.items():
        assert not [r for r in page.resources if "mathjax" in r.lower()], path.name
