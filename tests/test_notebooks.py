"""Notebooks as stored: in their normal form, fit to publish; and the first one's model against the package's.

That their cells still give the stored outputs is nbval's work, in the same pytest run (see the Makefile).
"""

import base64
import importlib.util
import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from minigpt_core.notebook import viz

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

spec = importlib.util.spec_from_file_location("notebooks_tool", ROOT / "book" / "tools" / "notebooks.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_fit_to_publish(path):
    assert tool.problems(path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_opens_in_colab_and_states_its_budget(path):
    notebook = nbformat.read(path, as_version=4)
    where, first = tool.stated_address(notebook), notebook.cells[0].source
    assert first.startswith("# ") and "**Budget:**" in first
    assert (tool.badge(path.name, where) in first) if where else ("colab" not in first)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(cell.source == tool.setup_cell(where) for cell in codes) == 1


def test_no_chapter_asks_for_more_than_90_seconds_and_all_for_no_more_than_twelve_minutes():
    firsts = [nbformat.read(path, as_version=4).cells[0].source for path in NOTEBOOKS]
    budgets = [re.search(r"\*\*Budget:\*\* (\d+) s on two CPU cores, \d+ GB of memory\. \S", first) for first in firsts]
    seconds = [int(budget[1]) for budget in budgets]
    assert max(seconds) <= 90 and sum(seconds) <= 720


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_cell_that_shows_what_the_real_model_does_is_skipped_without_it(path):
    """Such a cell does nothing where the model is missing, so its output can only be compared where it is not."""
    for cell in nbformat.read(path, as_version=4).cells:
        if re.search(r"^if real:(\n    .*|\n)*\n    (    )*print", cell.source, re.MULTILINE):
            assert "real" in cell.metadata.get("tags", []), cell.id


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_outputs_name_no_machine(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"\bcuda\b|\bcpu\b|\bmps\b|/home/|/root/|/work/|0x[0-9a-f]{6}", text, re.IGNORECASE), (
                text
            )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_uncompared_cell_is_followed_by_one_that_asserts(path):
    codes = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for i, cell in enumerate(codes):
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            following = next(c for c in codes[i + 1 :] if "nbval-ignore-output" not in c.metadata.get("tags", []))
            assert "assert" in following.source, cell.source[:60]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_line_of_code_is_cut_in_a_page_of_1280_pixels(path):
    """There 79 characters fit (book.css makes room for them; a browser test measures it)."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and not tool.is_setup(cell):
            long = [line for line in cell.source.splitlines() if len(line) > 79]
            assert not long, f"cell {cell.id}: {long[0]}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_after_each_figure_stands_a_sentence_that_says_what_to_look_for(path):
    cells = nbformat.read(path, as_version=4).cells
    for cell, following in itertools.pairwise(cells):
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            assert re.fullmatch(r"\*[^*]+[.?]\*", following.source), f"after the figure of cell {cell.id}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_text_calls_a_colour_dark_or_bright(path):
    """In a dark theme the larger share is the brighter one: "the stronger the colour" is true in both. And where two say
    orange for vermilion or amber, a name helps more: "the validation curve".
    """
    for cell in nbformat.read(path, as_version=4).cells:
        text = cell.source if cell.cell_type == "markdown" else str(cell.metadata.get("mystnb", ""))
        said = re.findall(r"\b(?:dark|bright|pale|orange)(?:er|est)?\b", text)
        assert not said, f"cell {cell.id} says {said}"


def broken(tmp_path, change) -> list[str]:
    """The problems that are found in a notebook after a change to it."""
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    change([cell for cell in notebook.cells if cell.cell_type == "code"], notebook)
    path = tmp_path / NOTEBOOKS[0].name
    nbformat.write(notebook, path)
    return tool.problems(path)


def test_the_check_sees_a_cell_that_was_never_run(tmp_path):
    found = broken(tmp_path, lambda codes, _: codes[2].update(execution_count=None, outputs=[]))
    assert any("not run from top to bottom" in problem for problem in found)


def test_the_check_sees_errors_missing_alt_text_directives_size_and_stray_metadata(tmp_path):
    error = nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])
    assert any("ends in an error" in p for p in broken(tmp_path, lambda c, _: c[2].outputs.append(error)))
    picture = nbformat.v4.new_output("display_data", data={"image/png": as_png(Image.new("RGBA", (1, 1)).save)})
    assert any("alt text" in p for p in broken(tmp_path, lambda c, _: c[3].outputs.append(picture)))
    directive = nbformat.v4.new_markdown_cell(":::{note}\nhidden\n:::")
    assert any("MyST directive" in p for p in broken(tmp_path, lambda _, n: n.cells.append(directive)))
    large = nbformat.v4.new_output("stream", name="stdout", text="x" * 600_000)
    assert any("larger than" in p for p in broken(tmp_path, lambda c, _: c[2].outputs.append(large)))
    assert any("normal form" in p for p in broken(tmp_path, lambda _, n: n.metadata.update(machine="mine")))


def as_png(save, **options) -> str:
    file = io.BytesIO()
    save(file, format="png", **options)
    return base64.b64encode(file.getvalue()).decode()


def difference(one: str, other: str) -> float:
    """The largest one that a reader can see, on a light page and on a dark one: of 255 levels."""
    seen = []
    for png in (one, other):
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")) / 255
        colour, opaque = picture[..., :3], picture[..., 3:]
        seen.append(np.stack([colour * opaque + page * (1 - opaque) for page in (1.0, 0.08)]))
    return 255 * np.abs(seen[0] - seen[1]).max()


def test_pictures_get_lighter_and_nobody_sees_a_difference():
    few = np.random.default_rng(0).integers(0, 2, (50, 50, 4)) * 255  # 16 colours
    across, down = np.meshgrid(np.arange(100), np.arange(100))
    many = np.stack([across * 2, down * 2, across + down, np.full_like(across, 255)], 2)  # 10,000 colours
    line = np.zeros((100, 100, 4))
    line[40:60] = (0, 114, 178, 0)
    line[40:60, :, 3] = np.linspace(0, 255, 100).round()  # one colour, ever less transparent
    letter = line.copy()
    letter[40:60, :, :3] = 120  # the grey of what is written: how opaque it is, is rounded by 8, then by 32
    noise = np.random.default_rng(0).integers(
        0, 256, (100, 100, 4)
    )  # no figure is like this; each channel by 64 at most
    for picture, largest in ((few, 0), (line, 8), (many, 16), (letter, 40 * (1 - 120 / 255) + 1), (noise, 128)):
        png = as_png(Image.fromarray(picture.astype(np.uint8), "RGBA").save)
        light = tool.lighter(png)
        assert difference(light, png) <= largest
        assert tool.lighter(light) == light


def test_a_figure_of_the_book_takes_half_the_bytes():
    figure = viz.bars({"a": 0.2, "b": 0.5}, chosen="a", title="Two bars", xlabel="length")
    png = as_png(figure.savefig, transparent=True)
    light = tool.lighter(png)
    assert len(light) < 0.5 * len(png)
    assert difference(light, png) <= 40 * (1 - 116 / 255) + 4


def test_the_first_notebooks_model_and_the_packages_give_the_same_numbers():
    """The cells that define its model, run alone; then the same weights in both."""
    from minigpt_core import GPT, GPTConfig

    codes = [
        c for c in nbformat.read(ROOT / "notebooks/00_first_light.ipynb", as_version=4).cells if c.cell_type == "code"
    ]
    names: dict = {}
    for cell in codes:
        if {"imports", "model"} & set(cell.metadata.get("tags", [])):
            exec(cell.source, names)
    torch.manual_seed(0)
    theirs = names["GPT"](vocab_size=61)
    ours = GPT(GPTConfig(61, block_size=names["block_size"], n_layer=names["n_layer"], n_head=names["n_head"],
                         n_embd=names["n_embd"]))  # fmt: skip
    ours.load_state_dict(theirs.state_dict())
    idx = torch.randint(61, (3, names["block_size"]))
    targets = torch.randint(61, (3, names["block_size"]))
    (logits, loss), (logits2, loss2) = theirs(idx, targets), ours(idx, targets)
    assert torch.allclose(logits, logits2, atol=1e-5) and torch.allclose(loss, loss2, atol=1e-5)
    assert abs(loss.item() - torch.tensor(61.0).log().item()) < 0.05


def test_the_first_notebook_is_complete_in_200_lines_and_imports_nothing_of_the_package():
    codes = [
        c for c in nbformat.read(ROOT / "notebooks/00_first_light.ipynb", as_version=4).cells if c.cell_type == "code"
    ]
    assert "setup" in codes[0].metadata.tags  # for Colab, no part of the program
    lines = {c.id: [line for line in c.source.splitlines() if line.strip()] for c in codes[1:]}
    asks = r"\bpredict\(|\.compare\(|\bcheck\b|\b(Quiz|Trainer)\("  # of the reader, or show: no part of the program
    lines = {c.id: lines[c.id] for c in codes[1:] if not re.search(asks, c.source)}
    pictures = {c.id for c in codes if c.id in lines and "remove-input" in c.metadata.get("tags", [])}  # nor are these
    assert sum(len(found) for cell, found in lines.items() if cell not in pictures) <= 200
    drawing = r'(from IPython.display import SVG\n\n)?SVG\("../book/assets/schematic-\w+.svg"\)'
    assert all(re.fullmatch(drawing, cell.source) for cell in codes if cell.id in pictures)
    assert not any(re.match(r"\s*(from|import) minigpt_core", line) for found in lines.values() for line in found)


def stored_outputs(name: str) -> str:
    (path,) = [path for path in NOTEBOOKS if path.name.startswith(name)]
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.mark.parametrize(
    "model, sentence, chapters",
    [
        ("tales-char", '"Where is the Spoon?" asked Wren.', ("01", "06", "10", "12")),
        ("tales-zh", "“这是谁的椅子？”露丝船长问。", ("01", "10", "12")),  # chapter 06 reads the English one only
    ],
)
def test_one_sentence_travels_through_the_book_with_the_same_ids(model, sentence, chapters):
    from minigpt_core import load_pretrained

    ids = str(load_pretrained(model)[1].encode(sentence))
    for chapter in chapters:
        assert ids in stored_outputs(chapter), chapter


# What a clock told must be true: cells that measure seconds are watched


def test_every_cell_that_tells_of_a_clock_is_tagged():
    """Its output is not compared, so nothing else would see that it is false. Chapter 13 plans with what it measures."""
    measured, tagged = {"own-12"}, set()
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            told = "".join(output.get("text", "") for output in cell.get("outputs", []))
            uncompared = "nbval-ignore-output" in cell.metadata.get("tags", [])
            tagged |= {cell.id} if "timing" in cell.metadata.get("tags", []) else set()
            if uncompared and re.search(r"\d m?s\b|\d seconds|/s\b|a second\b|times as (long|fast)", told):
                measured.add(cell.id)
    assert measured == tagged and len(measured) >= 7


def test_of_the_processors_time_what_is_neither_idle_nor_ones_own_is_others():
    assert tool.taken_by_others((100, 50, 10), (120, 62, 18)) == 0
    assert tool.taken_by_others((100, 50, 10), (120, 55, 20)) == pytest.approx(0.25)  # another program
    assert tool.taken_by_others((0, 0, 0), (80, 2, 4)) > 0.9  # a pause of the whole machine


def small_notebook(tmp_path, monkeypatch, source: str) -> Path:
    setup = nbformat.v4.new_code_cell(tool.setup_cell(""), metadata={"tags": ["setup"]})
    timed = nbformat.v4.new_code_cell(source, metadata={"tags": ["timing"]})
    cells = [nbformat.v4.new_markdown_cell("# Small\n\n**Budget:** 1 s"), setup, timed]
    path = tmp_path / "99_small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    monkeypatch.setattr(tool, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebooks.py"])
    return path


def test_the_watch_sees_programs_that_take_the_processors(tmp_path, monkeypatch):
    path = small_notebook(
        tmp_path, monkeypatch, "import time\nbegan = time.time()\nwhile time.time() < began + 2: pass"
    )
    burn = [sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(burn) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        assert tool.execute(nbformat.read(path, as_version=4)) > tool.DISTURBED
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


@pytest.mark.parametrize("shares, runs, stored", [([0.02], 1, True), ([0.4, 0.05], 2, True), ([0.4] * 9, 3, False)])
def test_a_disturbed_notebook_is_run_again_and_in_the_end_refused(shares, runs, stored, tmp_path, monkeypatch, capsys):
    path = small_notebook(tmp_path, monkeypatch, "1")
    before, ran = path.read_bytes(), iter(shares)
    monkeypatch.setattr(tool, "execute", lambda notebook: next(ran))
    assert tool.main() == (0 if stored else 1)
    assert len(shares) - len(list(ran)) == runs
    assert (path.read_bytes() == before) is not stored
    said = capsys.readouterr().err
    assert ("others took 40% of the processors" in said) == (shares[0] > tool.DISTURBED)
    assert ("99_small.ipynb: NOT stored" in said) is not stored
