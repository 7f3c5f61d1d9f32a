"""The schematics: as their tool draws them now, legible in light and dark, with words for those who do not see them."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import schematics as tool
import torch
import torch.nn.functional as F
from schematics import attention, block, drawing, fastest, learning, tokens, training, writing

from minigpt_core import BPETokenizer, CharTokenizer, load_corpus, load_pretrained, split_text
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.study import clinic
from minigpt_core.study.lens import attention_maps
from minigpt_core.tokenizer import END_OF_TEXT

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"
WIDEST = 0.58  # of a letter's size, a mean in wide fonts
COLOURS = {drawing.QUERY, drawing.KEY, drawing.VALUE, drawing.SHARE, drawing.VALIDATION, drawing.CHOSEN}
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
        size = drawing.SIZES[text.get("class")]
        said, x, y = "".join(text.itertext()), float(text.get("x")), float(text.get("y"))
        long = WIDEST * size * len(said)
        left = x - {"start": 0, "middle": long / 2, "end": long}[text.get("text-anchor", "start")]
        assert left >= 0 and left + long <= width, said
        assert size <= y + 3 and y + size / 4 <= height, said
        assert size * 360 / width > 10, said


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def rgb(colour):
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


@every
@pytest.mark.parametrize(("ground", "ink"), [("#ffffff", "#222832"), ("#14181e", "#ced6dd")])  # the theme's
def test_text_on_a_colour_has_contrast_on_light_and_on_dark_pages(name, ground, ink):
    root = ElementTree.fromstring(stored(name))
    looks = {selector[1:]: look for selector, look in drawing.LOOKS.items()}
    for box in root.iter(f"{SVG}rect"):
        look = looks[box.get("class")]
        if "fill: none" in look:
            continue
        fill = rgb(found[0]) if (found := re.findall(r"#\w+", look)) else rgb(ink)
        strength = float(box.get("opacity", 1)) * float((re.findall(r"fill-opacity: ([\d.]+)", look) or [1])[0])
        mixed = [strength * a + (1 - strength) * b for a, b in zip(fill, rgb(ground), strict=True)]
        x, y, width, height = (float(box.get(key)) for key in ("x", "y", "width", "height"))
        dark, light = sorted([luminance(mixed), luminance(rgb(ink))])
        for text in root.iter(f"{SVG}text"):
            if x < float(text.get("x")) < x + width and y < float(text.get("y")) < y + height:
                assert (light + 0.05) / (dark + 0.05) >= 4.5, "".join(text.itertext())


def test_no_schematic_is_left_that_nothing_draws():
    assert {path.name for path in tool.ASSETS.glob("schematic-*")} == {
        tool.path_of(name).name for name in tool.SCHEMATICS
    }


def test_a_chapter_shows_a_schematic_as_it_is_and_gives_it_its_own_description():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for name in re.findall(r"schematic-(\w+)\.svg", "".join(cell["source"])):
                image = cell["metadata"]["mystnb"]["image"]
                assert image["alt"] == tool.SCHEMATICS[name]().description and "minigpt-map" in image["classes"], (
                    path.name
                )
                (shown,) = ("".join(output["data"]["image/svg+xml"]) for output in cell["outputs"])
                assert ElementTree.canonicalize(shown) == ElementTree.canonicalize(stored(name).strip()), path.name


def test_attention_is_drawn_with_what_the_model_computes():
    model, tokenizer = load_pretrained("tales-char")
    maps = attention_maps(model, torch.tensor([tokenizer.encode(drawing.WORD)]))
    parts = attention.attention_parts()
    assert torch.allclose(parts["shares"].float(), maps[0, 0, attention.HEAD], atol=1e-4)
    assert torch.allclose(parts["shares"] @ parts["v"], parts["out"])


def cells(chapter):
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize(
    ("chapter", "example"),
    [
        ("02", "numbers = torch.arange(100, 110)\nT = 4\n"),
        ("02", "V, N, T, B = tokenizer.vocab_size, len(train_ids), 64, 16\n"),
        ("02", "x, y = get_batch(train_ids, T, B, seed=0, step=1)\n"),
        ("03", "z = torch.tensor([2.0, 1.0, 0.0])\n"),
        ("03", "came = 2\n"),
        ("05", "torch.tensor([[0.1, 0.2], [1.0, -1.0], [5.0, 7.0]])  # (V, C)\nids = torch.tensor([2, 0, 2])\n"),
        ("06", "x = torch.tensor([[1.0, 0.0], [3.0, 2.0], [2.0, 4.0], [6.0, 2.0]])"),
        ("06", "torch.manual_seed(0)\nT, C, H = 6, 8, 2\nD = C // H\nh = torch.randn(T, C)\n"),
        ("07", "C, T, L = 128, 64, 2\n"),
        ("10", "simple = torch.tensor([0.5, 0.25, 0.25])\ndarts = [0.1, 0.49, 0.6, 0.99]\n"),
        (
            "10",
            'cuts = {"top_k = 5": {"top_k": 5}, "top_p = 0.5": {"top_p": 0.5},\n        "min_p = 0.5": {"min_p": 0.5}}',
        ),
        ("14", "q, k, theta = torch.tensor([1.0, 0.5]), torch.tensor([0.3, 1.0]), 0.4\n"),
    ],
)
def test_the_small_examples_are_those_of_the_chapters(chapter, example):
    assert any(example in "".join(cell["source"]) for cell in cells(chapter))


def test_the_merges_are_those_that_the_chapter_prints():
    printed = [line for cell in cells("01") for out in cell.get("outputs", []) for line in out.get("text", [])]
    rows = [line.split("   ")[:2] for line in printed]
    assert [row for row in rows if row[0] in tokens.MERGES] == [[piece, str(n)] for piece, n in tokens.MERGES.items()]


def test_a_name_that_there_is_not_is_refused():
    with pytest.raises(SystemExit, match="there is no schematic 'nothing': choose one of merges"):
        tool.main(["nothing"])
