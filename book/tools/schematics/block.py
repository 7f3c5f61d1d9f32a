"""Chapters 00 and 07: feed-forward, the residual stream, normalisation, the block, and every shape and parameter."""

from itertools import pairwise

import torch
from torch import Tensor

from minigpt_core import GPTConfig
from minigpt_core.study.lens import inner_values

from .drawing import WORD, Drawing, number, shipped, signed


def relu() -> Drawing:
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # as in the chapter
    widened = x @ torch.tensor([[1.0, 1.0], [1.0, 1.0]]) + torch.tensor([0.0, -1.0])
    planes = {"inputs": x, "widened": widened, "after ReLU": widened.relu()}
    draw = Drawing(
        "relu",
        "ReLU bends the plane, so that a line can part it",
        "Three planes with the four inputs of XOR; those with exactly one number on are green dots, the other two are empty "
        "circles. At the left, the corners of a square: the green ones lie across from each other, and no straight "
        "line parts them from the empty ones. In the middle, widened, all lie on one line, the green ones on one "
        "point between the empty ones. At the right ReLU has lifted the lowest point from −1 to 0. Now the line is bent, "
        "and a straight green line has the green point on one side and the empty ones on the other.",
        226,
    )
    unit = 38
    for i, (said, points) in enumerate(planes.items()):
        left, floor = 26 + 128 * i, 112
        draw.label(left + 42, 20, said, "name", "middle")
        draw.line((left - 8, floor), (left + 92, floor), look="thin")
        draw.line((left, 34), (left, floor + 52), look="thin")
        for value in (1, 2):
            draw.label(left + unit * value, floor + 15, str(value), "small", "middle")
        for value in (-1, 1):
            draw.label(left - 10, floor - unit * value + 4, signed(value)[:-2], "small", "end")
        corners = [(left + unit * a, floor - unit * b) for a, b in points.tolist()]
        if i:
            draw.line(*corners, look="dashes")
        if i == 2:  # where the answer, first - 2 second, is 1/2
            draw.line(*((left + unit * (0.5 + 2 * b), floor - unit * b) for b in (-0.6, 0.9)), look="chosen-line")
            draw.arrow((left, floor + unit), (left, floor + 8))
        for (a, b), (cx, cy) in zip(x.tolist(), corners, strict=True):
            draw.add("circle", "chosen" if a != b else "empty", cx=cx, cy=cy, r=6)
    for i, said in enumerate(("no line parts", "still one line", "a line parts")):
        draw.label(68 + 128 * i, 192, said, "note", "middle")
    for i, said in enumerate(("green from empty", "", "green from empty")):
        draw.label(68 + 128 * i, 210, said, "small", "middle")
    return draw


@torch.no_grad()
def stream_parts() -> tuple[list[Tensor], list[Tensor]]:
    """For the last letter of WORD: the stream (C,) at the entrance and after each addition, and what each part added."""
    model, tokenizer = shipped()
    ids = torch.tensor(tokenizer.encode(WORD))
    found = [inner_values(model, ids, layer) for layer in range(model.config.n_layer)]
    stream = [values[name][-1] for values in found for name in ("entering", "between")]
    added = [values[name][-1] for values in found for name in ("attention", "feed_forward")]
    return [*stream, found[-1]["leaving"][-1]], added


def stream() -> Drawing:
    vectors, added = stream_parts()
    sizes = [vector.norm().item() for vector in vectors]
    draw = Drawing(
        "stream",
        "The residual stream, and what each part adds",
        f"From top to bottom the vector of the last letter of {WORD} on its way through the model of the tales, 128 numbers "
        f"as bars: {len(vectors)} times the stream, as it was and after each addition. Between them, at the right, what "
        "attention and feed-forward of the four blocks read from it and add to it. The length of the vector stands beside it: "
        f"it grows from {sizes[0]:.1f} to {sizes[-1]:.1f}"
        + (", though not in each step: what is added can also cancel." if sizes != sorted(sizes) else "."),
        24 + 80 * len(vectors),
    )
    most = max(vector.abs().max().item() for vector in (*vectors, *added))
    draw.label(92, 20, "the stream", "name", "middle")
    draw.label(310, 20, "a part, what it adds", "name", "middle")
    for i, vector in enumerate(vectors):
        y = 30 + 80 * i
        draw.bars(12, y, 160, 30, vector.tolist(), "plain", most)
        draw.label(178, y + 27, f"{sizes[i]:.1f}", "small")
        if i < len(added):
            said = f"block {i // 2}: {('attention', 'feed-forward')[i % 2]}"
            draw.arrow((172, y + 11), (228, y + 11))
            draw.named_box(230, y, 160, 22, said, "note")
            draw.arrow((310, y + 22), (310, y + 35))
            draw.bars(230, y + 36, 160, 30, added[i].tolist(), "chosen", most)
            draw.arrow((230, y + 53), (101, y + 53))
            draw.line((92, y + 30), (92, y + 44))
            draw.arrow((92, y + 62), (92, y + 80))
            draw.adder(92, y + 53)
    draw.label(12, draw.height - 24, "Numbers: the length of the vector.", "note")
    draw.label(12, draw.height - 6, "After the last come a norm and the head.", "note")
    return draw


def norms() -> Drawing:
    h = torch.tensor([1.0, 2.0, 3.0, 6.0])  # as in the chapter
    mean, deviation = h.mean(), h.std(unbiased=False)
    panels = {
        ("h",): h,
        ("h − mean",): h - mean,
        ("÷ standard", "deviation"): (h - mean) / deviation,
        ("RMSNorm",): h / h.pow(2).mean().sqrt(),
    }
    draw = Drawing(
        "norms",
        "A vector before and after LayerNorm",
        "The vector 1, 2, 3, 6 as bars, with a dashed line at its mean, 3, and a grey band that reaches its standard "
        f"deviation, {deviation:.2f}, up and down from there. Then the same with the mean taken away, so that the band lies "
        "around zero; and divided by the standard deviation, so that it reaches from −1 to 1. That is LayerNorm. "
        "Apart from these, RMSNorm of the same vector: nothing is taken away, and the four stay positive.",
        284,
    )
    unit, floor = 20, 168
    for i, (lines, vector) in enumerate(panels.items()):
        left = 16 + (98 * i if i < 3 else 300)
        for j, said in enumerate(lines):
            draw.label(left + 40, 20 + 18 * j, said, "name", "middle")
        if i < 3:
            middle, wide = vector.mean().item(), vector.std(unbiased=False).item()
            draw.box(left, floor - unit * (middle + wide), 80, 2 * unit * wide, "pale")
            draw.line((left, floor - unit * middle), (left + 80, floor - unit * middle), look="dashes")
        draw.line((left, floor), (left + 80, floor))
        for j, value in enumerate(vector.tolist()):
            x = left + 20 * j + 3
            draw.box(x, floor - unit * max(value, 0), 14, unit * abs(value), "share" if i < 3 else "plain")
    draw.line((298, 48), (298, 224), look="thin")
    for x, lines in (
        (56, (f"{mean:g} ± {deviation:.2f}",)),
        (154, (f"0 ± {deviation:.2f}",)),
        (252, ("0 ± 1:", "LayerNorm")),
        (356, ("no mean", "taken off")),
    ):
        for i, said in enumerate(lines):
            draw.label(x, 240 + 18 * i, said, "note", "middle")
    draw.line((12, 274), (36, 274), look="dashes")
    draw.label(42, 278, "mean", "note")
    draw.box(96, 267, 24, 14, "pale")
    draw.label(126, 278, "± standard deviation", "note")
    return draw


PARTS = "attention", "feed-forward"


def block() -> Drawing:
    draw = Drawing(
        "block",
        "A block: two parts, each added to the stream",
        "From top to bottom the stream runs straight down through two adders. Before the first a branch leaves it, is "
        "normalised, goes through attention, by which positions talk to each other, and is added. Before the second a "
        "branch is normalised, goes through feed-forward, which works on each position alone, and is added.",
        352,
    )
    stream, middle = 46, 168
    for upper, lower in ((8, 136), (154, 288), (306, 326)):
        draw.line((stream, upper), (stream, lower), look="stream")
    draw.add("path", "plain", d=f"M{stream - 10} 326h20l-10 14z")
    draw.label(stream + 14, 20, "the stream, C numbers at each position", "note")
    for i, (part, said) in enumerate(zip(PARTS, ("positions talk", "each position alone"), strict=True)):
        top = 34 + 152 * i
        draw.arrow((stream, top), (middle, top), (middle, top + 14))
        draw.named_box(middle - 52, top + 14, 104, 26, "norm", "note")
        draw.arrow((middle, top + 40), (middle, top + 58))
        draw.named_box(middle - 66, top + 58, 132, 34, part)
        draw.label(middle + 74, top + 80, said, "note")
        joins = top + 111
        draw.arrow((middle, top + 92), (middle, joins), (stream + 9, joins))
        draw.adder(stream, joins)
        draw.label(middle + 10, joins + 6, "added to the stream", "note")
    draw.label(stream + 14, 344, "to the next block", "note")
    return draw


def pre_post() -> Drawing:
    draw = Drawing(
        "pre_post",
        "A block, with pre-norm and with post-norm",
        "Two blocks side by side, from top to bottom. At the left, pre-norm: the stream runs straight down "
        "through two adders. Before each adder a branch leaves the stream, is normalised, goes through "
        "attention, or through feed-forward, and is added. No norm stands on the stream. At the right, "
        "post-norm: the branch is not normalised; a norm stands on the stream itself, after each adder, so "
        "everything that runs on goes through it.",
        472,
    )
    for left, title, pre in ((0, "pre-norm", True), (204, "post-norm", False)):
        stream, middle = left + 30, left + 128
        draw.label(left + 98, 20, title, "name", "middle")
        stops = [(189, 207), (375, 393)] if pre else [(189, 241), (375, 427)]  # adders, and norms on the stream
        for upper, lower in pairwise([(0, 32), *stops, (436, 0)]):
            draw.line((stream, upper[1]), (stream, lower[0]), look="stream")
        draw.add("path", "plain", d=f"M{number(stream - 10)} 436h20l-10 14z")
        draw.label(stream + 12, 44, "the stream", "small")
        for i, part in enumerate(PARTS):
            top = 60 + 186 * i
            first = top + 26 if pre else top + 46
            draw.arrow((stream, top), (middle, top), (middle, first))
            if pre:
                draw.named_box(middle - 52, first, 104, 28, "norm", "note")
                draw.arrow((middle, first + 28), (middle, first + 50))
            under = first + (50 if pre else 0)
            draw.named_box(middle - 62, under, 124, 34, part)
            joins = top + 138
            draw.arrow((middle, under + 34), (middle, joins), (stream + 9, joins))
            draw.adder(stream, joins)
            if not pre:
                draw.line((stream, joins + 9), (stream, joins + 17))
                draw.named_box(stream - 26, joins + 17, 52, 26, "norm", "note")
    draw.label(98, 468, "the stream runs free", "note", "middle")
    draw.label(302, 468, "a norm on the stream", "note", "middle")
    return draw


def shapes() -> Drawing:
    config, B = GPTConfig(60, n_layer=2), 16  # the chapter's model, and its batch
    V, T, C, L = config.vocab_size, config.block_size, config.n_embd, config.n_layer
    draw = Drawing(
        "shapes",
        "Shapes through the whole GPT",
        "From top to bottom, what each part gives, drawn as wide as it has numbers at a position: ids, 1; the "
        f"sum of token and position embedding, C = {C}, with which the stream begins, a thick line straight down. In a "
        f"block two branches leave it: a norm and attention, {C} each, are added; a norm, the hidden layer of "
        f"feed-forward, 4 C = {4 * C}, and its result, {C}, are added too. The block comes {L} times. Then the last norm, "
        f"{C}, and the head, V = {V} logits. No part changes B = {B} texts and T = {T} positions.",
        476,
    )
    unit, stream, middle = 0.25, 32, 146

    def part(x: float, y: float, said: str, shape: str, width: int) -> None:
        wide = max(2, unit * width)
        draw.box(x - wide / 2, y, wide, 18, "plain")
        draw.label(228, y + 7, said, "note")
        draw.label(228, y + 23, f"(B, T, {shape})" if shape else "(B, T)", "small")
        draw.label(392, y + 23, f"{B} × {T}" + (f" × {width}" if shape else ""), "small", "end")

    draw.label(12, 20, "Width = numbers at a position", "name")
    draw.box(4, 122, 392, 264, "thin", round_=8)
    draw.label(220, 380, f"a block, {L} times", "note", "end")
    for y, said, shape, width in (
        (36, "ids", "", 1),
        (80, "token + place", "C", C),
        (398, "last norm", "C", C),
        (444, "head: logits", "V", V),
    ):
        part(stream, y, said, shape, width)
    draw.arrow((stream, 54), (stream, 80))
    draw.arrow((stream, 416), (stream, 444))
    for upper, lower in ((98, 213), (231, 347), (365, 398)):
        draw.line((stream, upper), (stream, lower), look="stream")
    for branch, joins, parts in (
        (130, 222, (("norm", "C", C), ("attention", "C", C))),
        (240, 356, (("norm", "C", C), ("hidden, ReLU", "4C", 4 * C), ("feed-forward", "C", C))),
    ):
        draw.arrow((stream, branch), (middle, branch), (middle, branch + 12))
        for i, (said, shape, width) in enumerate(parts):
            y = branch + 12 + 36 * i
            part(middle, y, said, shape, width)
            if i + 1 < len(parts):
                draw.arrow((middle, y + 18), (middle, y + 36))
        draw.arrow((middle, y + 18), (middle, joins), (stream + 9, joins))
        draw.adder(stream, joins)
    return draw


def parameters() -> Drawing:
    config = GPTConfig(60, n_layer=2)  # the chapter's model
    V, T, C, L = config.vocab_size, config.block_size, config.n_embd, config.n_layer
    attention, feed_forward, norms = 4 * (C * C + C), 8 * C * C + 5 * C, (2 * L + 1) * 2 * C
    draw = Drawing(
        "parameters",
        "Every parameter, to scale",
        f"The {config.n_parameters:,} parameters of a GPT with {L} blocks as rectangles; each side is as long as "
        f"the matrix has rows or columns. Small ones: the table of {V} tokens, that of {T} places, and the head. "
        f"In each block four squares, for query, key, value and output, together {attention:,} with their biases; "
        f"and two four times as long, of feed-forward, together {feed_forward:,}: two thirds of the block. "
        f"Not drawn: the norms, {norms:,}.",
        424,
    )
    unit = 0.363  # of a row, or a column
    side = unit * C

    def matrix(x: float, y: float, rows: int, columns: int, look: str, said: str = "") -> None:
        draw.filled(x, y, unit * columns, unit * rows, look, 1 if look == "pale" else 0.45)
        if said:
            draw.label(x + unit * columns / 2, y + unit * rows / 2 + 5, said, "note", "middle")

    draw.label(12, 20, f"{config.n_parameters:,} parameters", "name")
    draw.label(388, 20, "area = how many", "note", "end")
    for x, y, rows, said in (
        (12, 34, V, f"tokens  {V * C:,}"),
        (202, 34, T, f"places  {T * C:,}"),
        (12, 376, V, f"head  {C * V:,}"),
    ):
        matrix(x, y, rows, C, "pale")
        draw.label(x + side + 8, y + 16, said, "note")
    for i in range(L):
        top = 88 + 144 * i
        draw.label(12, top, f"block {i}", "name")
        for j, (said, look) in enumerate((("W_q", "query"), ("W_k", "key"), ("W_v", "value"), ("W_o", "plain"))):
            matrix(12 + (side + 3) * j, top + 10, C, C, look, said)
        draw.label(218, top + 28, f"attention  {attention:,}", "note")
        draw.label(218, top + 48, f"feed-forward  {feed_forward:,}", "note")
        for j, said in enumerate(("widen", "narrow")):
            matrix(12 + (4 * side + 4) * j, top + 14 + side, C, 4 * C, "pale", said)
    draw.label(206, 391, f"norms  {norms:,}, not drawn;", "note")
    draw.label(206, 409, "biases are in the counts", "note")
    return draw
