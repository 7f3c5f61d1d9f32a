"""The schematics: as their tool draws them now, legible in light and dark, with words for those who do not see them."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import schematics as tool

from minigpt_core.study.lens import attention_maps

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"
WIDEST = 0.58  # of a letter's size, a mean in wide fonts
COLOURS = {tool.QUERY, tool.KEY, tool.VALUE, tool.SHARE, tool.CHOSEN}
every = pytest.mark.parametrize("name", tool.SCHEMATICS)


def stored(name):
    return tool.path_of(name).read_text(encoding="utf-8")


@every
def test_a_schematic_is_what_its_tool_draws_now(name):
    assert stored(name) == tool.SCHEMATICS[name]().svg(), f"draw it anew: make schematics NAME={name}"


@every
def test_a_schematic_has_a_title_and_a_description(name):
    root = ElementTree.fromstring(stored(name))
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("role") == "img" and root.get("aria-labelledby").split() == [title.get("id"), description.get("id")]
    assert 10 < len(title.text) < 60 and 100 < len(description.text) < 800


@every
def test_a_schematic_has_no_fixed_ground_or_ink(name):
    drawn = stored(name)
    assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;\"'])", drawn)) <= COLOURS
    assert not re.search(r"\b(white|black|rgb|hsl)\b", drawn.split("<style>")[1])
    selectors = re.findall(r"^ +(#\S+) \S+ {", drawn, re.MULTILINE)
    assert set(selectors) == {f"#schematic-{name}"}  # in a page that holds the drawing itself, nothing else is styled
    assert {"fill: currentColor"} <= set(re.findall(r" text { (.*?);", drawn))


@every
def test_the_texts_of_a_schematic_lie_within_it_and_are_legible_at_360_pixels(name):
    root = ElementTree.fromstring(stored(name))
    _, _, width, height = map(float, root.get("viewBox").split())
    for text in root.iter(f"{SVG}text"):
        size = tool.SIZES[text.get("class")]
        said, x, y = "".join(text.itertext()), float(text.get("x")), float(text.get("y"))
        long = WIDEST * size * len(said)
        left = x - {"start": 0, "middle": long / 2, "end": long}[text.get("text-anchor", "start")]
        assert left >= 0 and left + long <= width, said
        assert size <= y + 3 and y + size / 4 <= height, said
        assert size * 360 / width > 10, said


def test_no_schematic_is_left_that_nothing_draws():
    assert {path.name for path in tool.ASSETS.glob("schematic-*")} == {
        tool.path_of(name).name for name in tool.SCHEMATICS
    }


def test_a_chapter_gives_a_schematic_its_own_description():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for name in re.findall(r"schematic-(\w+)\.svg", "".join(cell["source"])):
                image = cell["metadata"]["mystnb"]["image"]
                assert image["alt"] == tool.SCHEMATICS[name]().description and "minigpt-map" in image["classes"], (
                    path.name
                )


def test_attention_is_drawn_with_what_the_model_computes():
    model, tokenizer = tool.load_pretrained("tales-char")
    ids = tool.torch.tensor([tokenizer.encode(tool.WORD)])
    maps = attention_maps(model, ids)
    parts = tool.attention_parts()
    assert tool.torch.allclose(parts["shares"].float(), maps[0, 0, tool.HEAD], atol=1e-4)
    assert tool.torch.allclose(parts["shares"] @ parts["v"], parts["out"])


def test_a_name_that_there_is_not_is_refused():
    with pytest.raises(SystemExit, match="there is no schematic 'nothing': choose one of windows"):
        tool.main(["nothing"])
