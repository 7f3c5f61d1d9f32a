"""Claims with receipts: cells tagged `check` fold in the page, prose leads to them, and the counts are of what is there."""

import html
import os
import re
import subprocess
import symtable
import sys
from pathlib import Path

import nbformat
import pytest
import receipts
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]


def code(source: str, *tags: str, printed: str = "", id: str = "a-01") -> nbformat.NotebookNode:
    outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
    return new_code_cell(source, id=id, outputs=outputs, execution_count=1, metadata={"tags": list(tags)})


def test_asserts_are_counted_wherever_they_stand_and_magics_do_no_harm():
    source = "%pip list\nfor i in range(3):\n    assert i < 3\nassert 'assert' in 'an assert'  # assert"
    assert receipts.asserts(code(source)) == 2


def test_what_was_checked_is_the_last_line_printed():
    assert receipts.what_was_checked(code("", printed="1.2\nall rows sum to 1\n\n")) == "all rows sum to 1"
    assert receipts.what_was_checked(code("")) == ""


def test_a_cell_that_asserts_or_says_nothing_or_shows_more_is_no_receipt():
    assert receipts.fault(code("assert x", printed="fine\n")) == ""
    assert "asserts nothing" in receipts.fault(code("print('fine')", printed="fine\n"))
    assert "prints no line" in receipts.fault(code("assert x"))
    assert "is a sentence" in receipts.fault(code("assert x", printed="It is fine.\n"))
    shown = code("assert x", printed="fine\n")
    shown.outputs.append(new_output("display_data", data={"image/png": ""}))
    assert "shows more" in receipts.fault(shown)


def test_the_counts_are_of_the_cells_that_are_there(tmp_path):
    exercise = "**1.** Why?\n\n<details><summary>Solution</summary>\n\nSo.{}\n\n</details>"
    drawn = code("draw()", id="a-05")
    drawn.outputs = [new_output("display_data", data={"image/png": "", "text/plain": "<Figure>"})]
    panel = code("panel", id="a-06")
    panel.outputs = [new_output("display_data", data={"text/html": "<p>", "text/plain": "a panel"})]
    cells = [
        code("assert 1\nx = 1", "setup", id="a-01"),
        code("x", "nbval-ignore-output", id="a-02", printed="0.123\n"),
        code("assert x == 1\nassert x", id="a-03", printed="x is 1\n"),
        code("", id="a-04"),
        drawn,
        panel,
        code("silent = 1", "exercise", id="a-07"),
        new_markdown_cell(f"assert nothing\n\n{exercise.format('')}\n\n{exercise.format(' [✓](#a-03)')}"),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "a.ipynb")
    counted = receipts.count(tmp_path / "a.ipynb")
    assert counted == {"cells": 6, "compared": 2, "asserts": 2, "exercises": 2, "answered": 1, "checked": 1}


def built(folder: Path, index: str, *cells: nbformat.NotebookNode) -> tuple[str, str, str]:
    """A book of two pages: the front page, the chapter, and what Sphinx complained of."""
    source = folder / "source"
    source.mkdir()
    (source / "index.md").write_text(f"# A book\n\n{index}\n\n```{{toctree}}\nchapter\n```\n", encoding="utf-8")
    notebook = new_notebook(cells=[new_markdown_cell("# A chapter"), *cells])
    notebook.metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    nbformat.write(notebook, source / "chapter.ipynb")
    settings = {
        "extensions": "myst_nb,receipts",
        "nb_execution_mode": "off",
        "html_static_path": ROOT / "book" / "assets",
    }
    options = [part for name, value in settings.items() for part in ("-D", f"{name}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-C", "-n", *options, source, folder / "html"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT / "book" / "tools")},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pages = [(folder / "html" / f"{name}.html").read_text(encoding="utf-8") for name in ("index", "chapter")]
    return pages[0], pages[1], done.stderr


def test_in_the_page_a_check_is_one_line_that_holds_its_cell_and_the_prose_leads_to_it(tmp_path):
    front, chapter, complaints = built(
        tmp_path,
        "{count}`asserts` in {count}`cells` cells",
        new_markdown_cell("Shares sum to 1 [✓](#a-02)."),
        code("shares = 1", id="a-01"),
        code("assert shares < 2", "check", printed="numbers:\nshares < 2 & whole\n", id="a-02"),
    )
    assert complaints == ""
    assert "1 in 2 cells" in front and "receipts.js" not in front
    folded = re.findall(r'<details class="receipt">(.*?)</details>', chapter, re.DOTALL)
    assert len(folded) == 1 and "shares = 1" not in html.unescape(re.sub("<[^>]*>", "", folded[0]))
    summary, cell = folded[0].split("</summary>")
    assert re.sub("<[^>]*>", "", summary) == "✓ shares &lt; 2 &amp; whole" and 'aria-label="Checked:"' in summary
    assert re.search(r'<div [^>]*class="cell [^>]*id="a-02"', cell) and "numbers:" in cell
    link = re.search(r"<a [^>]*receipt-link[^>]*>", chapter)[0]
    assert 'href="#a-02"' in link and 'title="Checked: shares &lt; 2 &amp; whole"' in link
    assert re.search(r"<script [^>]*receipts\.js", chapter)
    assert (tmp_path / "html" / "_static" / "receipts.js").is_file()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_check_unfolds_on_a_click_and_where_the_prose_leads_to_it(browser, tmp_path, scripts):
    built(
        tmp_path,
        "",
        new_markdown_cell("It holds [✓](#a-01)."),
        code("assert 1", "check", printed="it holds\n", id="a-01"),
    )
    page = browser.new_page(java_script_enabled=scripts)
    page.goto((tmp_path / "html" / "chapter.html").as_uri())
    cell, summary = page.locator("#a-01"), page.locator("details.receipt > summary")
    assert not cell.is_visible() and summary.is_visible()
    summary.click()
    assert cell.is_visible()
    summary.click()
    assert not cell.is_visible()
    page.locator("a.receipt-link").click()
    cell.wait_for(state="visible", timeout=5000)
    page.close()


def test_a_check_without_assert_a_tick_that_leads_nowhere_and_an_unknown_count_are_complained_of(tmp_path):
    _, _, complaints = built(
        tmp_path,
        "{count}`sea`",
        new_markdown_cell("It rains [✓](#a-01). It snows [✓](#a-03)."),
        code("x = 1", id="a-01"),
        code("print('fine')", "check", printed="fine\n", id="a-02"),
    )
    assert "cell a-02 is tagged check, but it asserts nothing" in complaints
    assert complaints.count("xref_missing") == 2 and "there is no count of 'sea': choose among cells" in complaints


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_cell_that_a_chapter_folds_may_fold(path):
    cells = nbformat.read(path, as_version=4).cells
    assert {
        cell.id: receipts.fault(cell) for cell in cells if receipts.tagged(cell, "check") and receipts.fault(cell)
    } == {}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_each_tick_in_the_prose_stands_behind_a_sentence_and_leads_to_a_check_that_is_not_beside_it(path):
    """A no-break space keeps it with its word. The checks of the solutions close the chapter, beside the cell of exercises."""
    cells = nbformat.read(path, as_version=4).cells
    checks = {cell.id: i for i, cell in enumerate(cells) if receipts.tagged(cell, "check")}
    faults = []
    for i, cell in enumerate(cells):
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            for tick in re.finditer(r"\[✓\]\(([^)]*)\)", line):
                goal, before = tick[1].removeprefix("#"), line[: tick.start()]
                if goal not in checks:
                    faults.append(f"{cell.id}: {goal} is no check of this chapter")
                elif abs(checks[goal] - i) == 1 and "## Exercises" not in cell.source:
                    faults.append(f"{cell.id}: {goal} stands right beside its tick")
                if not re.search(r"\.[)*]*\u00a0$", before):
                    faults.append(f"{cell.id}: the tick to {goal} is not behind a full stop and a no-break space")
                if re.match(r"\s*(#|\||<summary>)", line):
                    faults.append(f"{cell.id}: the tick to {goal} stands in a heading, a table or a summary")
    assert faults == []


def uses_and_gives(cell) -> tuple[set[str], set[str]]:
    """The names that a cell takes from outside its functions, and those that it leaves to the cells after it."""
    top = symtable.symtable(TransformerManager().transform_cell(cell.source), cell.id, "exec")
    tables = [top]
    for table in tables:
        tables += table.get_children()
    uses = {s.get_name() for t in tables for s in t.get_symbols() if s.is_global() or (t is top and s.is_referenced())}
    return uses, {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_cell_needs_a_name_that_only_a_folded_cell_assigns(path):
    """Readers who type along do not open what is folded."""
    seen, folded, faults = set(), set(), []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        uses, gives = uses_and_gives(cell)
        if receipts.tagged(cell, "check"):
            folded |= gives - seen
        else:
            faults += [f"{cell.id} needs {name}" for name in sorted(uses & folded - gives)]
            seen, folded = seen | gives, folded - gives
    assert faults == []


def test_no_chapter_is_without_a_tick():
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert [name for name, text in texts.items() if "[✓](#" not in text] == []
