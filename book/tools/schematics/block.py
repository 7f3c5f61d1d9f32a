"""Chapters 00 and 07: feed-forward, the residual stream, normalisation, the block, and every shape and parameter."""

from itertools import pairwise

import torch
from torch import Tensor

from minigpt_core import GPTConfig

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
    ids = torch.tensor([tokenizer.encode(WORD)])
    x = model.token_embedding(ids) + model.position_embedding(torch.arange(ids.shape[1]))
    stream, added = [x], []
    for block in model.blocks:
        for norm, part in ((block.norm1, block.attention), (block.norm2, block.feed_forward)):
            added.append(part(norm(stream[-1])))
            stream.append(stream[-1] + added[-1])
    return [x[0, -1] for x in stream], [x[0, -1] for x in added]


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
        44 + 60 * len(vectors),
    )
    most = max(vector.abs().max().item() for vector in (*vectors, *added))
    draw.label(92, 20, "the stream", "name", "middle")
    draw.label(310, 20, "what a part adds", "name", "middle")
    for i, vector in enumerate(vectors):
        y = 30 + 60 * i
        draw.bars(12, y, 160, 30, vector.tolist(), "plain", most)
        draw.label(178, y + 27, f"{sizes[i]:.1f}", "small")
        if i < len(added):
            said = f"block {i // 2}: {('attention', 'feed-forward')[i % 2]}"
            draw.arrow((172, y + 9), (226, y + 9))
            draw.label(310, y + 14, said, "note", "middle")
            draw.bars(230, y + 20, 160, 30, added[i].tolist(), "chosen", most)
            draw.arrow((230, y + 44), (101, y + 44))
            draw.line((92, y + 30), (92, y + 35))
            draw.arrow((92, y + 53), (92, y + 61))
            draw.adder(92, y + 44)
    draw.label(12, 60 * len(vectors) + 20, "Numbers: the length of the vector.", "note")
    draw.label(12, 60 * len(vectors) + 38, "After the last come a norm and the head.", "note")
    return draw


def norms() -> Drawing:
    h = torch.tensor([1.0, 2.0, 3.0, 6.0])  # as in the chapter
    mean, spread = h.mean(), h.std(unbiased=False)
    panels = {
        "h": h,
        "− mean": h - mean,
        "÷ spread": (h - mean) / spread,
        "RMSNorm": h / h.pow(2).mean().sqrt(),
    }
    draw = Drawing(
        "norms",
        "A vector before and after LayerNorm",
        "The vector 1, 2, 3, 6 as bars, with a dashed line at its mean, 3, and a grey band that reaches its standard "
        f"deviation, {spread:.2f}, up and down from there. Then the same with the mean taken away, so that the band lies "
        "around zero; and divided by the standard deviation, so that it reaches from −1 to 1. That is LayerNorm. "
        "Apart from these, RMSNorm of the same vector: nothing is taken away, and the four stay positive.",
        246,
    )
    unit, floor = 20, 150
    for i, (said, vector) in enumerate(panels.items()):
        left = 16 + (98 * i if i < 3 else 300)
        draw.label(left + 40, 20, said, "name", "middle")
        if i < 3:
            middle, wide = vector.mean().item(), vector.std(unbiased=False).item()
            draw.box(left, floor - unit * (middle + wide), 80, 2 * unit * wide, "pale")
            draw.line((left, floor - unit * middle), (left + 80, floor - unit * middle), look="dashes")
        draw.line((left, floor), (left + 80, floor))
        for j, value in enumerate(vector.tolist()):
            x = left + 20 * j + 3
            draw.box(x, floor - unit * max(value, 0), 14, unit * abs(value), "share" if i < 3 else "plain")
    draw.line((298, 30), (298, 206), look="thin")
    draw.label(56, 222, "mean 3", "note", "middle")
    draw.label(56, 240, f"spread {spread:.2f}", "note", "middle")
    draw.label(154, 222, "mean 0", "note", "middle")
    draw.label(252, 222, "LayerNorm", "note", "middle")
    draw.label(252, 240, "spread 1", "note", "middle")
    draw.label(356, 222, "no mean", "note", "middle")
    draw.label(356, 240, "taken off", "note", "middle")
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
        f"sum of token and position embedding, C = {C}; in a block attention, {C}, which is added to the stream, "
        f"then the hidden layer of feed-forward, 4 C = {4 * C}, and its result, {C}, which is added too; the "
        f"block comes {L} times; the last norm, {C}; the head, V = {V} logits. No part changes B = {B} texts and "
        f"T = {T} positions.",
        428,
    )
    unit, middle, past = 0.25, 212, 140

    def part(y: float, said: str, shape: str, width: int) -> None:
        wide = max(2, unit * width)
        draw.box(middle - wide / 2, y, wide, 18, "plain")
        draw.label(12, y + 14, said, "note")
        draw.label(290, y + 8, f"(B, T, {shape})" if shape else "(B, T)", "note")
        draw.label(290, y + 24, f"{B} × {T}" + (f" × {width}" if shape else ""), "small")

    draw.label(12, 20, "Width = numbers at a position", "name")
    draw.box(4, 126, 392, 204, "thin", round_=8)
    draw.label(388, 322, f"a block, {L} times", "note", "end")
    part(40, "ids", "", 1)
    part(84, "token + place", "C", C)
    part(152, "attention", "C", C)
    part(226, "hidden, ReLU", "4C", 4 * C)
    part(268, "feed-forward", "C", C)
    part(350, "last norm", "C", C)
    part(394, "head: logits", "V", V)
    for upper, lower in ((58, 84), (102, 152), (170, 184), (202, 226), (244, 268), (286, 298), (316, 350), (368, 394)):
        (draw.line if lower in (184, 298) else draw.arrow)((middle, upper), (middle, lower))
    for branch, joins in ((138, 193), (214, 307)):
        draw.arrow((middle, branch), (past, branch), (past, joins), (middle - 9, joins))
        draw.adder(middle, joins)
    return draw


def parameters() -> Drawing:
    config = GPTConfig(60, n_layer=2)  # the chapter's model
    V, T, C, L = config.vocab_size, config.block_size, config.n_embd, config.n_layer
    attention, feed_forward, norm = 4 * (C * C + C), 8 * C * C + 5 * C, 2 * C
    drawn = 2 * V * C + T * C + 12 * L * C * C
    draw = Drawing(
        "parameters",
        "Every parameter, to scale",
        f"The {config.n_parameters:,} parameters of a GPT with {L} blocks as rectangles; each side is as long as "
        f"the matrix has rows or columns. Small ones: the table of {V} tokens, that of {T} places, and the head. "
        f"In each block four squares, for query, key, value and output, together {attention:,} with their biases; "
        f"and two four times as long, of feed-forward, together {feed_forward:,}: two thirds of the block.",
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
    draw.label(206, 391, "biases, norms", "note")
    draw.label(206, 409, f"{config.n_parameters - drawn:,}, not drawn", "note")
    assert drawn + L * (attention + feed_forward - 12 * C * C + 2 * norm) + norm == config.n_parameters
    return draw
