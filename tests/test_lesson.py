"""What only the notebooks use."""

import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from PIL import Image

from minigpt_core import training
from minigpt_core.notebook import lesson


@pytest.fixture(autouse=True)
def in_the_notebooks_folder(monkeypatch):
    monkeypatch.chdir(lesson.Path(__file__).parents[1] / "notebooks")


SVG = "{http://www.w3.org/2000/svg}"
ASSETS = lesson.Path(__file__).parents[1] / "book" / "assets"


def parts_of(drawing: str) -> list[str]:
    return [g.get("id") for g in ET.fromstring(drawing).iter(f"{SVG}g") if "part" in g.get("class", "").split()]


def test_the_strip_has_the_parts_of_the_map_in_both_its_forms():
    strip = lesson.lit_map().data
    assert sorted(parts_of(strip)) == sorted(parts_of((ASSETS / "map.svg").read_text(encoding="utf-8")))
    wide, narrow = ET.fromstring(strip).findall(f"{SVG}svg")
    assert (wide.get("class"), narrow.get("class")) == ("wide", "narrow")
    for form in (wide, narrow):
        assert [use.get("href") for use in form.findall(f"{SVG}use")] == [f"#{part}" for part in parts_of(strip)]


def test_only_the_lit_parts_are_marked_and_the_title_names_them():
    strip = lesson.lit_map("optimizer", "feed-forward").data
    drawing = ET.fromstring(strip)
    lit = [g.get("id") for g in drawing.iter(f"{SVG}g") if "lit" in g.get("class", "").split()]
    assert lit == ["feed-forward", "optimizer"]
    assert drawing.findtext(f"{SVG}title") == "The parts of the machine. Lit: feed-forward, optimizer"
    assert ET.fromstring(lesson.lit_map().data).findtext(f"{SVG}title") == "The parts of the machine"
    style = drawing.findtext(f"{SVG}style")
    assert ".lit path { display: inline; }" in style and ".lit text { font-weight: 700;" in style  # not colour alone


def test_a_part_that_the_map_lacks_is_refused_with_those_it_has():
    with pytest.raises(ValueError, match="no part 'sea': choose among text, tokenizer"):
        lesson.lit_map("loss", "sea")


def test_a_schematic_is_the_committed_drawing_and_an_unknown_one_is_refused_with_those_there():
    drawing = (ASSETS / "schematic-attention.svg").read_text(encoding="utf-8")
    assert ET.canonicalize(lesson.schematic("attention").data) == ET.canonicalize(drawing.strip())
    with pytest.raises(ValueError, match=r"no schematic .sea.: choose among .*attention, .*windows"):
        lesson.schematic("sea")


def width(text: str, size: float, weight: str) -> float:
    """In a wide font; most systems' own are narrower."""
    return (
        TextPath((0, 0), text, size=size, prop=FontProperties(family="DejaVu Sans", weight=weight)).get_extents().width
    )


def test_every_text_of_the_strip_lies_in_its_box_and_every_box_in_its_row():
    """Bold, as where it is lit."""
    drawing = ET.fromstring(lesson.lit_map().data)
    boxes = {}
    for part in drawing.iter(f"{SVG}g"):
        rect = part.find(f"{SVG}rect")
        boxes[f"#{part.get('id')}"] = (float(rect.get("x")), float(rect.get("width")))
        for text in part.findall(f"{SVG}text"):
            assert width(text.text, 12, "bold") < float(rect.get("width")) - 3, text.text
    for form in drawing.findall(f"{SVG}svg"):
        *_, right, height = map(float, form.get("viewBox").split())
        ends = {}  # of each row, as far as it is filled
        for use in form.findall(f"{SVG}use"):
            x, y = float(use.get("x")), float(use.get("y"))
            left, wide = boxes[use.get("href")]
            assert ends.get(y, 0) + 3 < x + left and 24 < y < height - 16, use.get("href")
            ends[y] = x + left + wide
        assert max(ends.values()) < right and len(ends) == {"wide": 1, "narrow": 2}[form.get("class")]


@pytest.mark.parametrize("window, rows", [(1280, 1), (360, 2)])
def test_the_strip_shows_the_form_that_fits_the_page(browser, tmp_path, window, rows):
    """As a picture of a page, in the book's style: the first and the last part are lit, in as many rows."""
    (tmp_path / "strip.svg").write_text(lesson.lit_map("text", "optimizer").data, encoding="utf-8")
    style = (ASSETS / "book.css").read_text(encoding="utf-8")
    html = f'<style>* {{ box-sizing: border-box }} body {{ margin: 1rem }} {style}</style><div class="bd-content"><img class="lit-map" src="strip.svg"></div>'
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": window, "height": 300})
    page.goto((tmp_path / "page.html").as_uri())
    box = page.locator("img").bounding_box()
    assert box["width"] == {1280: 680, 360: 360}[window] and box["height"] / box["width"] == pytest.approx(
        {1: 56 / 680, 2: 96 / 358}[rows], rel=0.02
    )
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")).astype(int)
    lit = (np.abs(picture - [0xD9, 0xEF, 0xE6]) < 4).all(2)  # the ground of what is lit
    columns, lines = np.flatnonzero(lit.any(0)), np.flatnonzero(lit.any(1))
    assert columns[0] < 0.05 * box["width"] and columns[-1] > (0.9 if rows == 1 else 0.8) * box["width"]
    assert len(lines) and 1 + (np.diff(lines) > 5).sum() == rows
    page.close()


def test_every_text_of_the_map_lies_in_its_box_or_in_the_drawing():
    drawing = ET.fromstring((ASSETS / "map.svg").read_text(encoding="utf-8"))
    *_, right, bottom = map(float, drawing.get("viewBox").split())
    boxes = {id(text): g.find(f"{SVG}rect") for g in drawing.iter(f"{SVG}g") for text in g.findall(f"{SVG}text")}
    for text in drawing.iter(f"{SVG}text"):
        if text.get("transform"):
            continue
        name = text.get("class") == "name"
        said = "".join(text.itertext())
        wide = width(said, 18 if name else 15, "bold" if name else "normal")
        left = float(text.get("x")) - {"middle": wide / 2, "end": wide}.get(text.get("text-anchor"), 0)
        box = boxes.get(id(text))
        if box is None or text.get("text-anchor") != "middle":
            low, high, floor = 4.0, right - 4, bottom
        else:
            low, floor = float(box.get("x")) + 4, float(box.get("y")) + float(box.get("height"))
            high = low + float(box.get("width")) - 8
        assert low < left < left + wide < high and float(text.get("y")) < floor, said


def test_the_source_shown_is_the_packages_without_the_docstring():
    shown = lesson.show_source(training.learning_rate_at).data
    assert shown.startswith("```python\ndef learning_rate_at(step: int, config: TrainConfig) -> float:\n    if step")
    assert '"""' not in shown and shown.endswith("* height\n```")
    assert "class Record" in lesson.show_source(training.Record).data


def test_check_shape_returns_the_tensor_or_names_both_shapes():
    tensor = torch.zeros(2, 3)
    assert lesson.check_shape(tensor, 2, 3) is tensor
    with pytest.raises(ValueError, match=r"the shape is \(2, 3\), expected \(3, 2\)"):
        lesson.check_shape(tensor, 3, 2)


def test_what_has_no_shape_and_what_has_no_source_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"a tensor of shape \(2,\) is expected, not a list"):
        lesson.check_shape([1, 2], 2)
    for item in (len, 5, "train"):
        with pytest.raises(ValueError, match="there is no Python source of"):
            lesson.show_source(item)


def test_a_record_that_does_not_exist_is_refused_with_those_that_do():
    assert lesson.load_record("tales")["name"] == "tales"
    with pytest.raises(ValueError, match=r"no record 'alices': choose one of .*corpora, .*make records"):
        lesson.load_record("alices")


def test_a_table_names_its_rows_and_columns_and_shows_text_as_it_is():
    shown = ET.fromstring(lesson.table(["a<b", "c"], {"x & y": [1, 2.5], "z": ["", None]}, label="Two").data)
    lines = [["".join(cell.itertext()) for cell in row] for row in shown.iter("tr")]
    assert lines == [["", "a<b", "c"], ["x & y", "1", "2.5"], ["z", "", "None"]]
    assert [cell.get("scope") for cell in shown.iter("th")] == ["col", "col", "row", "row"]
    with pytest.raises(ValueError, match="the row 'x' has 1 cells, but there are 2 columns"):
        lesson.table(["a", "b"], {"x": [1]}, label="Two")


def test_the_staircase_has_the_recorded_steps_before_those_found_here():
    record = lesson.load_record("staircase")
    known = {name: runs[0]["val_loss"] for name, runs in record["steps"].items()}
    figure = lesson.staircase({"one head": 2.5, "four heads": 2.4}, title="Two heads")
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == list(known)[: list(known).index("four heads") + 1]
    losses = [known[name] for name in names[:-2]] + [2.5, 2.4]
    up = names.index("average of the past")  # higher than the network above it: the line goes down, then to the right
    assert axes.lines[0].get_xdata().tolist() == [*losses[:up], losses[up - 1], *losses[up:]]
    assert axes.lines[0].get_ydata().tolist() == [*range(up), up, *range(up, len(losses))]
    rivals = {f"{name} {loss:.2f}" for name, loss in record["rivals"].items()}
    assert len(rivals) == 2 and rivals <= {text.get_text() for text in axes.texts}
    assert figure.get_suptitle() == "Two heads"


@pytest.mark.parametrize(
    "found, said", [({}, "nothing"), ({"one head": 2.5, "no head": 3.0, "a head": 3.0}, "a head, no head")]
)
def test_what_is_no_step_of_the_staircase_is_refused_with_those_that_are(found, said):
    with pytest.raises(
        ValueError, match=f"found holds {said}: the staircase has the steps uniform, unigram, .*one head"
    ):
        lesson.staircase(found, title="")
