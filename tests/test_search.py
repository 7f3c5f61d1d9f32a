"""The search of the book: what learners type finds the section that explains it, over file:// too."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import search
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from conftest import serious_faults

ROOT = Path(__file__).parents[1]
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed: the ranking is NOT tested")


def test_no_row_of_the_glossary_gives_a_name_twice():
    page = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    rows = [row.strip("| ").split(" | ") for row in page.splitlines() if row.startswith("| ")][2:]
    assert len(rows) > 100
    for term, _, meaning in rows:
        names = search.names(term, meaning)
        assert len(names) == len(set(names)), names


def index_of(html: Path) -> dict:
    """The index of a built book, which is a script that names it."""
    script = (html / "searchindex.js").read_text(encoding="utf-8")
    return json.loads(script.removeprefix("globalThis.searchIndex = ").removesuffix(";\n"))


def ask(index: dict, *queries: str) -> list[dict]:
    """The results of each query."""
    question = json.dumps({"index": index, "queries": queries})
    runner = Path(__file__).parent / "search.js"
    done = subprocess.run(["node", str(runner)], input=question, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def places(answer: dict) -> list[str]:
    return [f"{found['page']}#{found['id']}" for found in answer["results"]]


def test_the_other_names_of_a_term_are_read_in_its_meaning():
    meaning = "a row of numbers; also called an array or the tuple, in short V; not what others call a list"
    assert search.names("vector", meaning) == ["vector", "array", "tuple", "V"]
    assert search.names("参数", "训练所调整的数，也叫权重。") == ["参数", "权重"]


def test_names_of_one_thing_come_together():
    assert search.synonyms([["a", "b"], ["c"], ["b", "d"], ["d", "e"]]) == [["c"], ["a", "b", "d", "e"]]


def test_a_formula_reads_as_one_would_type_it():
    assert search.typed(r"e^{\text{loss}} \approx \frac{1}{2} \cdot \ln V") == "e^loss ≈ 1/2 · ln V"


GLOSSARY = """\
# Glossary

| term | Chinese | meaning |
|---|---|---|
| clipping | 梯度裁剪 | shortening a slope; also called gradient clipping |
| normalisation | 归一化 | bringing to one size; also called LayerNorm |
| RoPE | 旋转位置编码 | short for rotary position embedding, a rotation |
| warm-up | 预热 | small steps first |
"""
CHINESE = """\
# 中文

## 术语

| 中文 | English | 一句话 |
|---|---|---|
| 梯度裁剪 | clipping | 把太长的斜率缩短。 |
| 旋转位置编码 | RoPE | 转一个角度。 |
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A book of four pages, in the theme of this one."""
    folder = tmp_path_factory.mktemp("small")
    source = folder / "source"
    source.mkdir()
    cells = [
        new_markdown_cell("# 01 Steps\n\nHow far?"),
        new_markdown_cell(
            "## 1. Too far\n\nA slope that is **clipped** loses its length: $g \\cdot 2$. </script> & more."
        ),
        new_code_cell("hidden = secret(1)", outputs=[new_output("stream", text="printed")], execution_count=1),
        new_markdown_cell("### Deeper\n\nThe warm-up of embeddings, normalised."),
        new_markdown_cell("## 2. Turned\n\nAn embedding of rotary positions, LayerNorm. Far from here lay a rope."),
        new_markdown_cell("## 3. A rope\n\n" + "The rope of the boat was old. " * 20),
    ]
    language = {"name": "python", "pygments_lexer": "ipython3"}
    nbformat.write(new_notebook(cells=cells, metadata={"language_info": language}), source / "steps.ipynb")
    (source / "glossary.md").write_text(GLOSSARY, encoding="utf-8")
    (source / "zh.md").write_text(CHINESE, encoding="utf-8")
    front = "# A book\n\nWords.\n\n```{toctree}\nsteps\nglossary\nzh\n```\n"
    (source / "index.md").write_text(front, encoding="utf-8")
    settings = {
        "extensions": ["myst_nb", "mathml", "search", "unused"],
        "html_context": {"default_mode": "auto"},
        "myst_enable_extensions": ["dollarmath"],
        "nb_execution_mode": "off",
        "html_theme": "sphinx_book_theme",
        "html_static_path": [str(ROOT / "book" / "assets")],
        "html_css_files": ["book.css", "icons.css"],
        "html_math_renderer": "mathml",
        "templates_path": [str(ROOT / "book" / "templates")],
    }
    (source / "conf.py").write_text(
        "\n".join(f"{name} = {value!r}" for name, value in settings.items()), encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-n", source, folder / "html"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT / "book" / "tools")},
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr[-3000:]
    return folder / "html"


def test_the_index_holds_the_prose_of_each_section_and_each_row_of_the_glossaries(small):
    index = index_of(small)
    assert list(index["pages"].values()) == ["A book", "01 Steps", "Glossary", "中文"]
    found = {(section["page"], section["title"]): section for section in index["sections"]}
    assert found["steps", "01 Steps"]["id"] == "" and found["steps", "01 Steps"]["text"] == "How far?"
    far = found["steps", "1. Too far"]
    assert far["text"] == "A slope that is clipped loses its length: g · 2. </script> & more."
    assert far["bold"] == ["clipped"] and far["calls"] == "secret"
    row = found["glossary", "clipping · 梯度裁剪"]
    assert row["names"] == ["clipping", "gradient clipping"] and row["text"].startswith("shortening")
    assert ["clipping", "gradient clipping", "梯度裁剪"] in index["synonyms"]
    for section in index["sections"]:
        page = (small / f"{section['page']}.html").read_text(encoding="utf-8")
        assert not section["id"] or f'id="{section["id"]}"' in page
    assert "printed" not in json.dumps(index)


@needs_node
def test_names_forms_and_spellings_are_found_and_other_words_are_not(small):
    queries = {
        "gradient clipping": ["glossary#term-clipping", "steps#too-far"],
        "Clip": ["glossary#term-clipping", "steps#too-far"],
        "梯度裁剪": ["zh#term-clipping", "steps#too-far"],
        "warmup": ["glossary#term-warm-up", "steps#deeper"],
        "rope": ["glossary#term-rope"],  # and no boat's
        "ropes": ["glossary#term-rope"],
        "位置": ["zh#term-rope"],
        "normalization": ["glossary#term-normalisation", "steps#deeper", "steps#turned"],
        "embedded": ["steps#deeper", "steps#turned", "glossary#term-rope"],
        "what is the secret": ["steps#too-far"],
        "se": [],
        "length boats": ["steps#a-rope", "steps#too-far"],
        "(": [],
        "": [],
    }
    for (query, expected), answer in zip(queries.items(), ask(index_of(small), *queries), strict=True):
        assert places(answer) == expected, query


@needs_node
def test_the_extract_shows_the_sentence_and_marks_the_words(small):
    slope, boat, code = ask(index_of(small), "slope clipped", "turned boat", "secret")
    assert slope["results"][0]["extract"][:4] == ["A ", "slope", " that is ", "clipped"]
    boats = next(found["extract"] for found in boat["results"] if found["id"] == "a-rope")
    assert boats[1] == "boat" and boats[-1].endswith(" …") and len("".join(boats)) < 230
    assert code["results"][0]["extract"] == ["In the code: ", "secret", ""]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_over_file_finds_shows_and_leads_to_the_section(visit, small, scheme):
    seen = visit((small / "index.html").as_uri(), viewport={"width": 360, "height": 800}, color_scheme=scheme)
    page = seen.page
    page.keyboard.press("Control+k")
    page.keyboard.type("slope <b>")
    page.keyboard.press("Enter")
    page.wait_for_selector("ul.search li")
    assert page.url.endswith("search.html?q=slope+%3Cb%3E")
    field = page.locator(".bd-search-container input")
    assert field.input_value() == "slope <b>"
    field.fill("clipping")
    assert page.get_by_role("status").inner_text() == "2 sections"
    assert page.locator("ul.search li").all_inner_texts()[1].startswith("01 Steps › 1. Too far\n")
    assert page.locator("mark").all_inner_texts() == ["gradient clipping", "clipped"]
    field.fill("xyzzy")
    assert page.get_by_role("status").inner_text() == "Nothing found for “xyzzy”"
    field.fill("")
    assert page.get_by_role("status").inner_text() == "" and page.locator("ul.search li").count() == 0
    field.fill("clipping")
    icon, typed = page.locator(".bd-search-container .fa-magnifying-glass").bounding_box(), field.bounding_box()
    assert icon["x"] + icon["width"] <= typed["x"]
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    assert serious_faults(page) == []
    page.locator("ul.search li a").nth(1).click()
    page.wait_for_url("**/steps.html#too-far")
    page.go_back()
    page.get_by_text("2 sections").wait_for()
    page.locator("ul.search li a").first.click()
    page.wait_for_url("**/glossary.html#term-clipping")
    assert seen.problems == []
    assert seen.outside == []
    page.close()


# What learners type, and the section that explains it.
EXPLAINED = {
    "perplexity": "notebooks/02_windows#the-ladder-of-counting",
    "temperature": "notebooks/10_sampling#temperature",
    "softmax": "notebooks/03_learning#scores-and-softmax",
    "KV cache": "notebooks/10_sampling#each-token-only-once-the-key-value-cache",
    "GPU": "book/questions#do-i-need-a-gpu-does-it-run-on-a-mac",
    "位置": "notebooks/06_attention#order",
    "困惑度": "notebooks/02_windows#the-ladder-of-counting",
    "注意力": "notebooks/06_attention#",
    "overfitting": "notebooks/08_training#good-underfit-overfit",
    "cross entropy": "notebooks/08_training#how-wrong-is-a-guess",
    "RoPE": "notebooks/14_fastest#rotary-positions",
    "gradient clipping": "notebooks/08_training#break-it-no-warm-up-no-clipping",
    "backpropagation": "notebooks/04_backpropagation#",
    # and more
    "batch size": "notebooks/02_windows#batches",
    "BPE": "notebooks/01_tokenization#byte-pair-encoding-by-hand",
    "causal masking": "notebooks/06_attention#an-average-of-the-past-three-times",
    "dropout": "notebooks/09_clinic#patient-dropout-left-on",
    "Why is my loss NaN?": "book/questions#my-loss-jumps-sticks-or-becomes-nan-what-do-i-try-first",
    "layer norm": "notebooks/07_transformer#normalisation",
    "learning rate": "notebooks/05_first_neural_model#the-learning-rate",
    "positional encoding": "notebooks/06_attention#order",
    "train on my own text": "book/questions#how-do-i-train-it-on-my-own-text",
    "tril": "notebooks/06_attention#an-average-of-the-past-three-times",
    "过拟合": "notebooks/08_training#good-underfit-overfit",
    "惩罚": "notebooks/10_sampling#penalties",
}


@needs_node
def test_in_this_book_the_section_that_explains_it_is_among_the_first_three(html):
    answers = ask(index_of(html), *EXPLAINED)
    found = {query: places(answer)[:3] for query, answer in zip(EXPLAINED, answers, strict=True)}
    assert {query: first for query, first in found.items() if EXPLAINED[query] not in first} == {}


@needs_node
def test_in_this_book_each_term_finds_its_row_first_and_then_a_chapter(html):
    index = index_of(html)
    rows = [section for section in index["sections"] if "names" in section]
    terms = [row["names"][0] for row in rows]
    assert len(terms) > 300
    for term, answer in zip(terms, ask(index, *terms), strict=True):
        first, *others = answer["results"]
        assert re.sub("[ -]", "", first["names"][0]) == re.sub("[ -]", "", term)
        assert any(found["page"].startswith("notebooks/") for found in others[:5]), term


def test_in_this_book_the_index_stays_small(html):
    assert len(gzip.compress((html / "searchindex.js").read_bytes(), 6)) < 250_000
