"""The schematics: as their tool draws them now, legible in light and dark, with words for those who do not see them."""

import ast
import hashlib
import json
import math
import re
import struct
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import schematics as tool
import torch
import torch.nn.functional as F
import vocabularies
from chapter_01 import learning as byte_pairs
from schematics import attention, block, drawing, fastest, growing, learning, real, tokens, training, writing

from minigpt_core import (
    GPT,
    BPETokenizer,
    CharTokenizer,
    GPTConfig,
    get_batch,
    load_corpus,
    load_pretrained,
    split_text,
    stream,
)
from minigpt_core.beyond.byte_level import bytes_of
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.beyond.formats import config_from_gguf
from minigpt_core.beyond.large import add_gradients
from minigpt_core.beyond.parts import RMSNorm, rotate
from minigpt_core.beyond.shards import fingerprint_of
from minigpt_core.sampling import draw
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
            if cell["cell_type"] != "code":
                continue
            for name in re.findall(r'schematic(?:-|\(")(\w+)(?:\.svg|"\))', "".join(cell["source"])):
                image = cell["metadata"]["mystnb"]["image"]
                described = ElementTree.fromstring(stored(name)).find(f"{SVG}desc").text
                assert image["alt"] == described and "minigpt-map" in image["classes"], (path.name, name)
                (shown,) = ("".join(output["data"]["image/svg+xml"]) for output in cell["outputs"])
                assert ElementTree.canonicalize(shown) == ElementTree.canonicalize(stored(name).strip()), path.name


def test_attention_is_drawn_with_what_the_model_computes():
    model, tokenizer = load_pretrained("tales-char")
    maps = attention_maps(model, torch.tensor([tokenizer.encode(drawing.WORD)]))
    parts = attention.attention_parts()
    assert torch.allclose(parts["shares"].float(), maps[0, 0, attention.HEAD], atol=1e-4)
    assert torch.allclose(parts["shares"] @ parts["v"], parts["out"])
    T = len(drawing.WORD)
    masked = parts["scores"].masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), float("-inf"))
    assert torch.allclose(masked.softmax(1), parts["shares"])
    assert torch.allclose(parts["q"] @ parts["k"].T / parts["q"].shape[1] ** 0.5, parts["scores"])


def cells(chapter):
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize(
    ("chapter", "example"),
    [
        ("01", "BPETokenizer.train(tales, vocab_size=V)\n       for V in (350, 500,"),
        ("02", "numbers = torch.arange(100, 110)\nT = 4\n"),
        ("02", "V, N, T, B = tokenizer.vocab_size, len(train_ids), 64, 16\n"),
        ("02", "x, y = get_batch(train_ids, T, B, seed=0, step=1)\n"),
        ("03", "z = torch.tensor([2.0, 1.0, 0.0])\n"),
        ("03", "came = 2\n"),
        ("05", "torch.tensor([[0.1, 0.2], [1.0, -1.0], [5.0, 7.0]])  # (V, C)\nids = torch.tensor([2, 0, 2])\n"),
        ("06", "x = torch.tensor([[1.0, 0.0], [3.0, 2.0], [2.0, 4.0], [6.0, 2.0]])"),
        ("06", "torch.manual_seed(0)\nT, C, H = 6, 8, 2\nD = C // H\nh = torch.randn(T, C)\n"),
        ("06", "with equal shares, that of 1, 2 and 6 is 3, and so is that of 6, 1 and 2"),
        ("06", "an `h` at place 6 another one"),
        ("06", f"sentence = '{attention.SENTENCE}'\n"),
        ("06", "(ids[0] + 1) % tokenizer.vocab_size"),
        (
            "07",
            "x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])\nwiden = torch.tensor([[1.0, 1.0], [1.0, 1.0]])",
        ),
        ("07", "bias = torch.tensor([0.0, -1.0])\nnarrow = torch.tensor([[1.0], [-2.0]])\n"),
        ("07", "h = torch.tensor([[1.0, 2.0, 3.0, 6.0]])\n"),
        ("07", "C, T, L = 128, 64, 2\n"),
        ("08", "beta1, beta2, decay, tiny = 0.9, 0.99, 0.1, 1e-8\n"),
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


def drawn(name):
    return ElementTree.fromstring(stored(name))


def words(name):
    return ["".join(text.itertext()) for text in drawn(name).iter(f"{SVG}text")]


def vectors(name, look):
    """The rows of bars of that look, each as numbers, in shares of its tallest bar."""
    for path in drawn(name).iter(f"{SVG}path"):
        middle, tops = re.match(r"M\S+ (\S+?)V", path.get("d")), re.findall(r"V([\d.]+)(?=H)", path.get("d"))
        if path.get("class") == look and middle:
            heights = [float(middle[1]) - float(top) for top in tops]
            yield torch.tensor(heights) / max(map(abs, heights))


def assert_drawn(bars, vector):
    assert torch.allclose(bars, (vector / vector.abs().max()).float(), atol=0.002)


def outputs(chapter):
    """The lines that the chapter's cells print."""
    return [line for cell in cells(chapter) for out in cell.get("outputs", []) for line in out.get("text", [])]


def defined(chapter, name):
    """The function of that name, as a cell of the chapter writes it."""
    space = {"torch": torch, "math": math, "Counter": Counter}
    for cell in cells(chapter):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and f"def {name}(" in source:
            tree = ast.parse(source)
            tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
            exec(compile(tree, chapter, "exec"), space)
    return space[name]


def test_the_merges_are_those_of_the_chapters_function():
    found = list(byte_pairs()["learn_bpe"](byte_pairs()["words_of"]("the then the other"), 5))
    assert [(piece, count) for piece, count, _ in found] == list(tokens.MERGES.items())
    letters = [word for word in words("merges") if len(word) == 1 and not word.isdigit()]
    assert "".join(letters) == "the▁then▁the▁other" * (1 + len(found))
    rows = Counter(box.get("y") for box in drawn("merges").iter(f"{SVG}rect") if box.get("class") == "chosen")
    pieces = [sum(len(word) * n for word, n in now.items()) for *_, now in found]
    assert list(rows.values()) == [len("the▁then▁the▁other"), *pieces]


def test_the_letters_that_are_written_are_those_that_the_writer_writes():
    model, tokenizer = load_pretrained("tales-char")
    written = "".join(stream(model, tokenizer, "The ", 4, seed=38))
    letters = [word for word in words("writing") if word.startswith("The▁")]
    assert letters == ["The▁" + written[:n] for n in range(4)]
    frame = [box for box in drawn("writing").iter(f"{SVG}rect") if box.get("class") == "chosen"]
    for n, bar in enumerate(frame):
        p = model(torch.tensor([tokenizer.encode("The " + written[:n])]))[0][0, -1].softmax(0)
        assert float(bar.get("width")) / 150 == pytest.approx(p[tokenizer.encode(written[n])[0]].item(), abs=1e-3)
    assert words("writing").count(f"… and {tokenizer.vocab_size - 4} more") == 4


def test_the_dart_hits_what_sampling_draws_and_no_border():
    logits, letters = writing.after_where()
    falling, order = logits[0].sort(descending=True)
    for near in (-0.005, 0, 0.005):
        assert f"0.72 hits {letters[order[draw(falling, 0.72 + near)]]}" in words("dart")
    named = [word for word in words("dart") if len(word) == 1 and word.isalpha()]
    assert f"{len(letters) - len(named)} more" in words("dart")


def test_the_scores_of_the_turned_arrows_are_those_of_the_chapters_turning():
    turned_by = defined("14", "turned_by")
    q, k, theta = torch.tensor([1.0, 0.5]), torch.tensor([0.3, 1.0]), 0.4
    said = words("rotary")
    for t, j in ((7, 5), (57, 55), (11, 5)):
        score = f"{turned_by(q, t * theta) @ turned_by(k, j * theta):.3f}".replace("-", "−")
        assert said[said.index(f"places {t}, {j}") + 1] == f"score {score}"
    (printed,) = (line for line in outputs("14") if "57 and 55" in line)
    assert said[said.index("places 7, 5") + 1].removeprefix("score ") in printed


def test_the_widths_of_the_shapes_are_those_that_hooks_see():
    config, seen = GPTConfig(60, n_layer=2), []
    model = GPT(config)
    block = model.blocks[0]
    ids = torch.zeros(16, 64, dtype=torch.long)
    block.register_forward_pre_hook(lambda part, given: seen.append(given[0].shape))
    for part in (
        *(block.norm1, block.attention, block.norm2, block.feed_forward.widen, block.feed_forward, model.norm),
        model.head,
    ):
        part.register_forward_hook(lambda part, given, out: seen.append(out.shape))
    model(ids)
    said = words("shapes")
    rows = {said[i - 2]: word for i, word in enumerate(said) if word.startswith("16 ×")}
    names = "token + place", "norm", "attention", "norm", "hidden, ReLU", "feed-forward", "last norm", "head: logits"
    for name, shape in zip(names, seen, strict=True):
        assert rows[name] == " × ".join(map(str, shape))
    bars = [float(box.get("width")) * 4 for box in drawn("shapes").iter(f"{SVG}rect") if box.get("class") == "plain"]
    assert sorted(bars)[1:] == sorted(shape[2] for shape in seen)


def test_the_counts_of_the_parameters_add_up_to_all():
    total, *counts = (
        int(n.replace(",", "")) for n in re.findall(r"(?<![\w,])\d[\d,]{3,}", " ".join(words("parameters")))
    )
    model = GPT(GPTConfig(60, n_layer=2))
    assert total == sum(counts) == model.config.n_parameters == sum(p.numel() for p in model.parameters())
    assert f"norms  {sum(p.numel() for name, p in model.named_parameters() if 'norm' in name):,}, not drawn;" in words(
        "parameters"
    )


def test_the_bars_of_the_heads_are_what_pytorchs_attention_gives():
    torch.manual_seed(0)
    h, W = torch.randn(6, 8).double(), torch.randn(3, 8, 8).double()
    q, k, v = (part.view(6, 2, 4).transpose(0, 1) for part in h @ W)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    for look, rows in (("plain", h), ("value", out.flatten(0, 1))):
        for bars, row in zip(vectors("heads", look), rows, strict=True):
            assert_drawn(bars, row)


def test_the_arrows_of_the_push_go_against_the_slopes_of_autograd():
    z = torch.tensor([2.0, 1.0, 0.0], requires_grad=True)
    F.cross_entropy(z, torch.tensor(2)).backward()
    marks, shares = (
        [float(box.get("y")) for box in drawn("push").iter(f"{SVG}rect") if box.get("class") == look]
        for look in ("chosen", "share")
    )
    slopes = [(mark + 2.5 - share) / 110 for mark, share in zip(marks, shares, strict=True)]  # y grows downwards
    assert torch.allclose(torch.tensor(slopes), z.grad, atol=1e-3)
    assert not any(f"{abs(slope):.2f}" in words("push") for slope in slopes[2:])  # the reader is asked for it


def numbers_of(name):
    return [float(word.replace("−", "-")) for word in words(name) if re.fullmatch(r"−?[\d.]+", word)]


def test_a_one_hot_row_times_the_table_is_what_an_embedding_looks_up():
    table, ids = torch.tensor([[0.1, 0.2], [1.0, -1.0], [5.0, 7.0]]), torch.tensor([2, 0, 2])
    rows = [
        [i, *one_hot, row] for row, (i, one_hot) in enumerate(zip(ids.tolist(), F.one_hot(ids).tolist(), strict=True))
    ]
    expected = torch.cat([torch.tensor(rows).flatten(), table.flatten(), F.embedding(ids, table).flatten()])
    assert torch.allclose(torch.tensor(numbers_of("one_hot")), expected)


def test_the_averages_of_the_triangle_are_running_means():
    x = torch.tensor([[1.0, 0.0], [3.0, 2.0], [2.0, 4.0], [6.0, 2.0]])
    means = x.cumsum(0) / torch.arange(1, 5)[:, None]
    said = words("triangle")
    shares = [word for word in said if "/" in word]
    assert shares == [f"1/{t}" for t in (2, 2, 3, 3, 3, 4, 4, 4, 4)]
    numbers = torch.tensor(numbers_of("triangle"))[1 : 1 + 16]  # after the 1 of the first row
    assert torch.equal(numbers, torch.cat([x.flatten(), means.flatten()]))


def test_the_cache_computes_what_is_new_and_gives_what_is_computed_without_it():
    model, tokenizer = load_pretrained("tales-char")
    ids, steps = torch.tensor([tokenizer.encode(drawing.WORD)]), []
    model.blocks[0].attention.key.register_forward_hook(lambda part, given, out: steps.append(out.shape[1]))
    cache, rows = model.new_cache(), []
    for t in range(ids.shape[1]):
        rows.append(model(ids[:, t : t + 1], cache=cache)[0])
    assert torch.allclose(torch.cat(rows, 1), model(ids)[0], atol=1e-4)
    said = words("cache")
    assert [f"{n} computed" for n in steps[:4]] == [word for word in said if word.endswith("computed")]
    assert [word for word in said if word.endswith("kept,")] == [f"{t} kept," for t in range(4)]


def test_muons_rounds_are_those_of_the_chapter_on_the_chapters_gradient():
    G = fastest.gradient()
    theirs, _ = defined("14", "equal_singular_values")(G.T)
    assert torch.allclose(fastest.equalised(G.T), theirs)
    s, printed = torch.linalg.svdvals(G), " ".join(outputs("14"))
    assert f"{1 + ((s**2).cumsum(0) / (s**2).sum() < 0.9).sum().item()} of {len(s)}" in printed


def test_a_character_is_drawn_with_its_bytes_and_with_the_tokens_that_give_it_back():
    tokenizer = BPETokenizer.train(load_corpus("tales"), vocab_size=500)
    row = iter(words("utf8")[3:])
    for character in "aé好😀":
        assert next(row) == character
        assert [next(row) for _ in character.encode()] == [f"{byte:02X}" for byte in character.encode()]
        ids = [int(next(row)) for _ in tokenizer.encode(character)]
        assert tokenizer.decode(ids) == character and len(ids) == len(character.encode())


def test_the_rows_of_the_batch_stand_in_the_text_where_they_are_said_to():
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(split_text(text, parts=3)[0])
    said = words("batch")
    starts = [int(word.removeprefix("from ").replace(",", "")) for word in said if word.startswith("from ")]
    letters = [
        word for word in said[said.index("x  (B, T)") :] if len(word) == 1 and not word.isdigit() and word != "…"
    ]
    n = tokens.LETTERS
    assert len(starts) == 4 and len(letters) == 4 * n
    for i, start in enumerate(starts):
        assert letters[n * i : n * (i + 1)] == [tokenizer.tokens[j] for j in ids[start : start + n]]


@pytest.mark.parametrize(
    ("corpus", "how"), [("sample", "tail"), *(("tales", how) for how in ("tail", "documents", "blocks"))]
)
def test_the_held_out_pieces_are_drawn_where_they_lie(corpus, how):
    text = load_corpus(corpus)
    pieces = "".join(text[a:b] for a, b in tokens.held_out(text, how))
    said = (part.replace(END_OF_TEXT, "").split() for part in (pieces, split_text(text, how)[1]))
    assert "".join(next(said)) == "".join(next(said))
    boxes = [box for box in drawn("split").iter(f"{SVG}rect") if box.get("class") == "validation"][:-1]  # the key
    shares = [float(box.get("width")) / 376 for box in boxes]
    whole = split_text(load_corpus("tales"), "documents")[1].count(END_OF_TEXT)
    assert sum(shares) == pytest.approx(0.1 * 4, abs=0.02) and len(boxes) == 1 + 1 + whole + 20


def test_adamw_is_drawn_by_its_equations():
    for slopes in learning.noisy_slopes().values():
        m, v, rows = 0.0, 0.0, []
        for k, g in enumerate(slopes.tolist(), start=1):
            m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
            mean, spread = m / (1 - 0.9**k), (v / (1 - 0.99**k)) ** 0.5
            rows.append((mean, spread, mean / (spread + 1e-8)))
        assert torch.allclose(torch.stack(learning.steps_of_adamw(slopes)).T, torch.tensor(rows).double(), atol=1e-6)
    agree, contradict = (
        learning.steps_of_adamw(slopes)[2][10:].abs().mean() for slopes in learning.noisy_slopes().values()
    )
    assert agree > 0.9 and contradict < 0.2


def test_before_a_changed_letter_no_prediction_moves():
    far = attention.moved()
    earlier = torch.ones(attention.SEEN, attention.SEEN, dtype=torch.bool).tril(-1)
    assert (far[earlier] == 0).all() and (far[~earlier] > 1e-3).all()
    boxes = [float(box.get("opacity")) for box in drawn("mask").iter(f"{SVG}rect") if box.get("class") == "share"]
    squares, scale = torch.tensor(boxes[: attention.SEEN**2]).view(attention.SEEN, -1), boxes[attention.SEEN**2 :]
    assert torch.equal(squares > 0, (~earlier).T)  # rows: predictions, columns: changed letters
    assert torch.allclose(squares.T[~earlier], 0.2 + 0.6 * (far / far.max())[~earlier].float(), atol=0.006)
    said = words("mask")[2 + 2 * attention.SEEN + 1 :][: len(scale)]
    assert float(said[-1]) == pytest.approx(far.max().item(), abs=0.05) and scale[-1] == squares.max()


def test_the_vector_of_a_letter_at_a_place_is_what_the_first_block_reads():
    model, tokenizer = load_pretrained("tales-char")
    read = []
    model.blocks[0].register_forward_pre_hook(lambda block, inputs: read.append(inputs[0][0]))
    model(torch.tensor([tokenizer.encode("hhhhhhh")]))
    for bars, t in zip(vectors("places", "chosen"), (5, 6), strict=True):
        row = read[0][t, :32].detach()
        assert torch.allclose(bars / bars.norm(), row / row.norm(), atol=0.01)


def test_after_relu_a_line_parts_what_no_line_parted():
    circles = [
        (float(c.get("cx")), float(c.get("cy")), c.get("class") == "chosen") for c in drawn("relu").iter(f"{SVG}circle")
    ]
    (line,) = (path.get("d") for path in drawn("relu").iter(f"{SVG}path") if path.get("class") == "chosen-line")
    (a, b), (c, d) = (map(float, point.split()) for point in line[1:].split("L"))
    above = [(x - a) * (d - b) - (y - b) * (c - a) > 0 for x, y, _ in circles[8:]]
    assert above in ([green for *_, green in circles[8:]], [not green for *_, green in circles[8:]])
    assert [green for *_, green in circles] == [False, True, True, False] * 3


def test_the_stream_is_the_sum_of_what_is_added_and_ends_in_the_models_logits():
    stream, added = block.stream_parts()
    for before, part, after in zip(stream, added, stream[1:], strict=False):
        assert torch.allclose(before + part, after)
    model, tokenizer = load_pretrained("tales-char")
    logits = model(torch.tensor([tokenizer.encode(drawing.WORD)]))[0][0, -1]
    assert torch.allclose(model.head(model.norm(stream[-1].float())), logits, atol=1e-4)
    for bars, vector in zip(vectors("stream", "plain"), stream, strict=True):
        assert torch.allclose(bars / bars.norm(), (vector / vector.norm()).float(), atol=0.01)


def test_the_bars_of_the_norms_are_what_pytorch_makes_of_the_vector():
    h = torch.tensor([1.0, 2.0, 3.0, 6.0])
    bars = [box for box in drawn("norms").iter(f"{SVG}rect") if box.get("class") in ("share", "plain")]
    heights = torch.tensor([float(box.get("height")) for box in bars]).view(4, 4) / 20
    assert torch.allclose(heights[0], h)
    assert torch.allclose(heights[2], F.layer_norm(h, (4,)).abs(), atol=1e-3)
    assert torch.allclose(heights[3], F.rms_norm(h, (4,)), atol=1e-3)


def test_the_folder_of_a_run_holds_what_is_drawn():
    files, numbers, header = training.saved_run()
    assert set(files) == set(training.KEPT) and {"config", "records", "fingerprint"} < set(header)
    assert numbers["model"] == numbers["exp_avg"] == numbers["exp_avg_sq"] == 420_352  # as chapter 07 counts
    said = " ".join(words("checkpoint"))
    assert all(name in said for name in (*files, *header)) and said.count("420,352") == 3


def test_every_verdict_of_the_clinic_is_drawn_in_its_order_and_with_its_own_advice():
    source = Path(clinic.__file__).read_text(encoding="utf-8")
    names = set(re.findall(r'Finding\(\s*"([^"]+)"', source))
    rules = [*clinic.CAUSES, *clinic.LEVELS]
    assert list(training.SYMPTOMS) == rules
    told = [training.findings()[rule] for rule in rules]
    said = words("decision")
    assert {finding.name for finding in told} == names
    assert [word for word in said if word in names] == [finding.name for finding in told]
    assert [word for word in said if word in training.SYMPTOMS.values()] == list(training.SYMPTOMS.values())
    for finding in told:
        assert re.sub(r"at step \d+", "at its lowest", f"Try: {finding.cure}") in " ".join(said)


def test_each_patient_of_the_page_has_the_verdict_that_it_is_drawn_for_and_no_earlier_one():
    for rule, sick in training.patients().items():
        found = [cause for cause in clinic.CAUSES if cause(sick)] or [level for level in clinic.LEVELS if level(sick)]
        assert found[0] is rule, rule.__name__


def test_the_cuts_keep_what_their_rules_say():
    logits, _ = writing.after_where()
    assert {"top-p = 0.5", "min-p = 0.5: half of the first"} <= set(words("cuts"))
    p = sorted(logits[0].softmax(0).tolist(), reverse=True)
    sums = [sum(p[:n]) for n in range(len(p) + 1)]
    kept = 5, next(n for n, total in enumerate(sums) if total >= 0.5), sum(share >= 0.5 * p[0] for share in p)
    names = "top-k = 5", "top-p = 0.5", "min-p = 0.5"
    for name, n in zip(names, kept, strict=True):
        assert f"{name}: {n} kept, {sums[n]:.2f}" in words("cuts")


def test_every_letter_leads_to_its_most_frequent_follower_and_into_a_circle():
    train_text, follows = split_text(load_corpus("tales"), parts=3)[0], writing.most_frequent_next()
    assert {word.replace("▁", " ") for word in words("loop") if len(word) == 1} == {" ", *"abcdefghijklmnopqrstuvwxyz"}
    pairs = Counter(train_text[i : i + 2] for i in range(len(train_text) - 1))
    for letter in " abcdefghijklmnopqrstuvwxyz":
        assert pairs[letter + follows[letter]] == max(n for pair, n in pairs.items() if pair[0] == letter)
        end = letter
        for _ in range(10):
            end = follows[end]
        assert end in " the" or letter == end == "l"


def test_the_rules_of_the_flow_are_those_of_the_chapter():
    prose = "".join("".join(cell["source"]) for cell in cells("13"))
    for said, numbers in (
        ("more than 2,000 different ones", "above 2,000 kinds: BPE pieces"),
        ("twenty or more documents", "whole ones from 20 documents"),
        (
            "fewer than 50,000 tokens gets a narrow model, 64 wide instead of 128",
            "width 64, or 128 from 50,000 tokens",
        ),
        ("Five minutes or more get four layers instead of two", "2 layers, 4 from 5 minutes on"),
        ("read more than forty times", "dropout if read over 40 times"),
        ("no text is read more than sixty times", "an end after 60 readings"),
    ):
        assert said in prose and numbers in " ".join(words("flow"))


def test_the_sum_of_the_previous_tokens_is_what_the_fast_model_reads():
    tokenizer = CharTokenizer.train(load_corpus("tales"))
    torch.manual_seed(0)
    model, read = FastGPT(FastConfig(tokenizer.vocab_size, end_id=tokenizer.end_id)), []
    model.blocks[0].register_forward_pre_hook(lambda block, inputs: read.append(inputs[0][0, -1]))
    model(torch.tensor([tokenizer.encode("with")]))
    (bars,) = vectors("previous", "chosen")
    correlation = torch.corrcoef(torch.stack([bars, read[0][:32].detach()]))[0, 1]  # read: brought to one size
    assert correlation > 0.9999


def test_muon_makes_nearly_a_circle_of_a_flat_ellipse():
    s = torch.linalg.svdvals(fastest.gradient())
    after = s / s.norm()
    for _ in range(5):
        after = 3.4445 * after - 4.7750 * after**3 + 2.0315 * after**5
    said = words("svd")
    for i, name in ((0, "1st"), (3, "4th")):
        assert [word for word in said if word.startswith(name)] == [
            f"{name} direction {length:.2f}" for length in (1, s[i] / s[0], after[i])
        ]


@pytest.fixture(scope="module")
def metadata():
    """What SmolLM2's file says of itself."""
    path = vocabularies.smollm2_file()
    gguf = pytest.importorskip(
        "gguf", reason="gguf is not installed: the pictures are NOT compared with SmolLM2's file"
    )
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


def test_smollm2_is_drawn_as_its_file_says(metadata):
    config = config_from_gguf(metadata)
    assert replace(real.SMOLLM2, norm_eps=config.norm_eps) == config  # the file has it in float32
    assert real.SMOLLM2.norm_eps == pytest.approx(config.norm_eps)


def test_the_plain_model_beside_smollm2_is_the_one_that_ships_and_each_part_is_marked():
    model, _ = load_pretrained("tales-char")
    said = words("real_block")
    for config in (model.config, real.SMOLLM2):
        kv = getattr(config, "key_heads", config.n_head)
        C, hidden = config.n_embd, getattr(config, "n_hidden", None) or 4 * config.n_embd
        assert f"{config.n_parameters:,} parameters" in said and f"× {config.n_layer} blocks" in said
        assert f"{config.n_head} heads of queries," in said and f"{kv} of keys, values" in said
        assert f"{C} → {hidden:,} → {C}" in said
    assert model.blocks[0].feed_forward.widen.out_features == 512 and model.blocks[0].attention.query.bias is not None
    assert model.token_embedding.weight.shape == model.head.weight.shape == (64, 128) and "64 rows of 128" in said
    assert len(model.position_embedding.weight) == 128 and "64 + 128 rows of 128" in said
    assert said.count("≠") == 8 and said.count("=") == 2
    boxes = [box for box in drawn("real_block").iter(f"{SVG}rect") if box.get("class") == "chosen"]
    assert sorted(float(box.get("opacity")) > 0 for box in boxes) == [False] * 7 + [True] * 7
    assert all((float(box.get("x")) > 200) == (float(box.get("opacity")) > 0) for box in boxes)


def test_the_caches_of_grouped_heads_are_as_large_as_drawn():
    said, bars = words("grouped"), {}
    for heads in (9, 3, 1):
        config = replace(real.SMOLLM2, n_kv_head=heads)
        with torch.device("meta"):
            cache = ComposedGPT(config).new_cache()
        size = (cache.keys.numel() + cache.values.numel()) * 4
        bars[heads] = size
        assert f"{size / 1e6:,.0f} MB" in said and f"9 on {heads}" in [word.removesuffix(": SmolLM2") for word in said]
    heights = [float(box.get("height")) for box in drawn("grouped").iter(f"{SVG}rect") if box.get("class") == "plain"]
    assert heights == pytest.approx([84 * size / bars[9] for size in bars.values()], abs=0.01)
    squares = Counter(box.get("class") for box in drawn("grouped").iter(f"{SVG}rect"))
    assert (squares["query"], squares["key"], squares["value"]) == (27, 13, 13)


@torch.no_grad()
def test_the_bars_of_relu_and_swiglu_are_what_the_formulas_give():
    plain, swiglu, x = real.gates()
    opens, up = x @ swiglu.gate.weight.T, x @ swiglu.widen.weight.T
    passes = opens / (1 + (-opens).exp())
    grey = x, x, (wide := x @ plain.widen.weight.T), wide.relu(), plain(x), up, passes * up, swiglu(x)
    for bars, vector in zip(vectors("gate", "plain"), grey, strict=True):
        assert torch.allclose(bars, (vector / vector.abs().max()).float(), atol=0.01)
    for bars, vector in zip(vectors("gate", "chosen"), (opens, passes), strict=True):
        assert torch.allclose(bars, (vector / vector.abs().max()).float(), atol=0.01)
    assert torch.allclose((passes * up) @ swiglu.narrow.weight.T, swiglu(x))
    assert {sum(p.numel() for p in network.parameters()) for network in (plain, swiglu)} == {72}
    assert words("gate")[-1] == "Weights: 2 × 3 × 12 = 72, and 3 × 3 × 8 = 72."


@torch.no_grad()
def test_the_mixture_is_what_the_part_of_the_model_gives():
    model, x = real.mixture()
    scores = model.router(x)
    (bars,) = vectors("experts", "chosen")
    y = model(x[None, None])[0, 0]
    assert torch.allclose(bars, (y / y.abs().max()).float(), atol=0.01)
    said = words("experts")
    assert [f"{score:.2f}".replace("-", "−") for score in scores.tolist()] == [
        word for word in said if re.fullmatch(r"−?\d\.\d\d", word)
    ]
    best = scores.topk(2).indices
    for i, share in zip(best.tolist(), scores[best].softmax(0).tolist(), strict=True):
        assert {f"network {i}", f"share {share:.2f}", f"× {share:.2f}"} <= set(said)
    assert said.count("reads x") == said.count("does not run") == 2


@torch.no_grad()
def test_the_tied_table_gives_the_row_and_the_logits_that_a_tied_model_gives():
    model = ComposedGPT(ComposedConfig(5, n_head=1, n_embd=3, n_layer=1, tied=True))
    model.token_embedding.weight.copy_(real.TABLE)
    logits = model.head(real.LAST.float()).tolist()
    rows = [[*row, logit] for row, logit in zip(model.token_embedding(torch.arange(5)).tolist(), logits, strict=True)]
    numbers = [*(number for row in rows for number in row), *rows[4][:3], *real.LAST.tolist()]
    assert numbers_of("tied") == numbers and max(logits) == logits[1] > sorted(logits)[-2]


def test_the_two_norms_of_the_vector_are_those_of_pytorch_and_of_the_part():
    x = real.NUMBERS
    layer, rms = F.layer_norm(x, (6,), eps=0), RMSNorm(6, eps=0).double()(x).detach()
    said = [word.replace("−", "-") for word in words("rms")]
    numbers = [float(Fraction(word)) for word in said if re.fullmatch(r"-?\d+(\.\d|/3)?", word)]
    assert numbers == pytest.approx(torch.cat([x, x - x.mean(), layer, x, rms]).tolist())
    assert {"− mean, 4", "÷ deviation, 3", "÷ RMS, 5"} <= set(words("rms"))


def test_the_letters_of_bytes_are_those_of_the_vocabularys_alphabet():
    said = words("bytes")
    pieces = [token for ids in real.TEXTS.values() for token in ids]
    told = [(said[i], said[i + 1]) for i, word in enumerate(said) if re.fullmatch(r"[0-9A-F]{2}", word)]
    letters = "".join(letter for _, letter in told)
    assert letters == "".join(pieces) and set(pieces) <= set(said)
    assert bytes.fromhex("".join(code for code, _ in told)) == bytes_of(letters) == "".join(real.TEXTS).encode()
    green = [box for box in drawn("bytes").iter(f"{SVG}rect") if float(box.get("opacity", 0)) > 0]
    assert len(green) == sum(ord(letter) > 255 for letter in letters) == 2


def test_smollm2_cuts_the_drawn_texts_into_the_drawn_tokens():
    tokenizer = vocabularies.smollm2()
    for text, ids in real.TEXTS.items():
        assert tokenizer.encode(text) == list(ids.values())
        assert [tokenizer.tokens[i] for i in ids.values()] == list(ids)


def test_the_order_of_the_halves_is_the_one_that_makes_both_conventions_turn_alike():
    order = [int(word) for word in words("pairs") if word.isdigit()][8:]
    q = torch.randn(1, 1, 3, 8, generator=torch.Generator().manual_seed(0))
    angle = torch.arange(3)[:, None] * 10_000 ** (-torch.arange(0, 8, 2) / 8)  # (T, D / 2)
    first, second = q[..., order].chunk(2, dim=-1)  # what transformers turns together
    turned = torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)
    assert torch.allclose(turned, rotate(q, 0)[..., order], atol=1e-6)


def test_the_shards_hold_each_document_once_and_the_window_is_a_piece_of_them():
    _, tokenizer = load_pretrained("tales-char")
    texts = dict.fromkeys(text for file in growing.FILES.values() for text in file)  # each once, in order
    rows = [[*tokenizer.encode(text), tokenizer.end_id] for text in texts]
    said, shards = words("shards"), [rows[0] + rows[1], rows[2]]
    window = shards[0][6:11]
    assert [int(word) for word in said if word.isdigit()] == [*shards[0], *shards[1], *window[:-1], *window[1:]]
    letters = [
        (a.replace("▁", " "), int(b)) for a, b in pairwise(said) if len(a) == 1 and b.isdigit() and not a.isdigit()
    ]
    pairs = [(tokenizer.encode(letter)[0], token) for letter, token in letters]
    read = [pair for pair in pairs if pair[0] != pair[1]]
    assert len(pairs) == 22 and read == [(tokenizer.encode("x")[0], window[0]), (tokenizer.encode("y")[0], window[1])]
    assert said.count("end") == len(texts)
    assert {"repeated: 1", f"tokenizer’s fingerprint: {fingerprint_of(tokenizer)}"} <= set(said)
    for i, shard in enumerate(shards):
        stored_ids = struct.pack(f"<{len(shard)}H", *shard)
        checksum = hashlib.sha256(stored_ids).hexdigest()[:8]
        assert f"0000{i}.ids: {len(stored_ids)} bytes, SHA-256 {checksum}…" in said


def test_the_groups_add_up_to_the_loss_and_the_gradient_of_the_whole_batch_and_their_means_do_not():
    model, tokenizer = load_pretrained("tales-char")
    model.double()
    x, y = get_batch(torch.tensor(tokenizer.encode(load_corpus("tales"))), 8, 5, seed=0, step=12)
    whole = model(x, y)[1]
    assert torch.allclose(add_gradients(model, x, y, torch.arange(5).split(2)), whole)
    (bars,) = vectors("accumulate", "chosen")
    assert_drawn(bars, model.norm.weight.grad[:8])
    *_, total = vectors("accumulate", "plain")
    assert_drawn(total, model.norm.weight.grad[:8])
    means = [model(x[rows], y[rows])[1].item() for rows in torch.arange(5).split(2)]
    told = " ".join(words("accumulate"))
    assert f"loss {whole:.2f}" in told and f"= {sum(means) / 3:.2f}, another number" in told
    assert f"({' + '.join(f'{mean:.2f}' for mean in means)}) / 3" in told
    assert f"{sum(means) / 3:.1f}" != f"{whole:.1f}"
    losses = [float(word) for word in re.findall(r"\d: +([\d.]+)", told)]
    added = [float(word) for word in re.findall(r"loss ([\d.]+)", told)][:3]
    assert added == pytest.approx([losses[0] + losses[1], losses[2] + losses[3], losses[4]])  # as drawn


def test_the_bytes_that_blocks_keep_are_those_of_their_formula():
    B, T, C, H, L, V = 16, 64, 128, 4, 4, 65
    stream_bytes = 4 * B * T * C
    statistics = 4 * 2 * B * T  # of a norm: means and deviations
    a_block = 12 * stream_bytes + 2 * statistics + 4 * B * H * T  # attention keeps a number for each row of weights
    ids, logits = 8 * (B * T + T), 4 * B * T * V
    outside = ids + 2 * stream_bytes + statistics + logits + 4  # the last: how many targets count
    said = Counter(words("checkpointed"))
    assert said[f"{a_block / 1e6:.1f} MB"] == L and said[f"{stream_bytes / 1e6:.1f} MB"] == L - 1
    assert f"kept: {(L * a_block + outside) / 1e6:.1f} MB" in said
    assert f"kept: {(L * stream_bytes + outside) / 1e6:.1f} MB" in said
    assert f"+ {(a_block - stream_bytes) / 1e6:.1f} MB" in said
    assert said[f"outside of blocks: {outside / 1e6:.1f} MB"] == 2
    for look, n in (("chosen", 2 * L), ("plain", 8 * (L + 1))):
        bars = [box for box in drawn("checkpointed").iter(f"{SVG}rect") if box.get("class") == look]
        assert len(bars) == n and {float(box.get("width")) for box in bars} <= {37.5, 150}


def test_short_numbers_are_those_of_their_bits():
    boxes = [word for word in words("short_numbers") if word in ("0", "1")]
    (whole,) = struct.unpack(">I", struct.pack(">f", 0.999))
    (half,) = struct.unpack(">H", struct.pack(">e", 0.999))
    brain = (whole + 0x8000) >> 16  # the nearest
    assert "".join(boxes).startswith(f"{whole:032b}{brain:016b}{half:016b}")

    def value(bits, kind):
        return torch.tensor(bits).to(torch.int32 if kind == torch.float32 else torch.int16).view(kind).item()

    said = words("short_numbers")
    for place, (kind, fraction) in enumerate(((torch.float32, 23), (torch.bfloat16, 7), (torch.float16, 10))):
        bits = 32 if kind == torch.float32 else 16
        one = int(torch.ones((), dtype=kind).view(torch.int32 if bits == 32 else torch.int16))
        infinite = 2 ** (bits - 1) - 2**fraction
        for name, expected in (
            ("largest", value(infinite - 1, kind)),
            ("smallest normal", value(2**fraction, kind)),
            ("smallest subnormal", value(1, kind)),
            ("step after 1", value(one + 1, kind) - 1),
        ):
            told = said[said.index(name) + 1 + place].replace("−", "-").replace(",", "")
            assert float(told) == pytest.approx(expected, rel=0.05), (kind, name)
        if bits == 32:
            continue
        around = [value(one + i, kind) for i in range(-17, 9)]
        places = [200 + 22_000 * (number - 1) for number in around]
        y = {torch.bfloat16: 378, torch.float16: 446}[kind]
        ticks = [
            float(found[1])
            for path in drawn("short_numbers").iter(f"{SVG}path")
            if (found := re.fullmatch(rf"M([\d.]+) {y - 7}L\S+ {y + 7}", path.get("d")))
        ]
        assert sorted(ticks) == pytest.approx([x for x in places if 12 <= x <= 392], abs=0.01)
    assert "back to 1: lost" in said and torch.tensor(1.0, dtype=torch.bfloat16) - 0.001 == 1
    assert f"{torch.tensor(1.0, dtype=torch.float16).item() - 2 * 2**-11:.5f}: it counts" in said


def test_what_two_processes_add_up_is_the_gradient_of_the_whole_batch():
    torch.manual_seed(0)
    model = GPT(GPTConfig(5, block_size=4, n_layer=1, n_head=1, n_embd=8)).double()
    x, y = torch.randint(5, (2, 4, 4))
    model(x, y)[1].backward()
    weight = model.blocks[0].attention.output.weight
    rows, halves = weight.detach()[:, 0], weight.grad[:, 0].chunk(2)
    *both, first, second = vectors("processes", "chosen")
    for bars, vector in zip((*both, first, second), (*[weight.grad[:, 0]] * 2, *halves), strict=True):
        assert torch.allclose(bars, (vector / vector.abs().max()).float(), atol=0.01)
    plain = list(vectors("processes", "plain"))
    for place, vector in ((0, rows), (1, rows), (4, rows[:4]), (5, rows[4:]), (6, rows), (7, rows)):
        assert torch.allclose(plain[place], (vector / vector.abs().max()).float(), atol=0.01)


def test_a_name_that_there_is_not_is_refused():
    with pytest.raises(SystemExit, match="there is no schematic 'nothing': choose one of merges"):
        tool.main(["nothing"])
