"""Draw the schematics of the chapters, book/assets/schematic-NAME.svg: how attention, a block, a window and so on work.
Where they hold numbers, these are computed here, by a model that ships with the book or from the chapter's own example.

    make schematics                   all of them, and a table of their alt texts, which the chapters' cells need
    make schematics NAME=attention    one

One hand for all: 400 units wide, legible at 360 pixels. Ground and text are the page's own (currentColor), so that they
serve light and dark. A vector is a row of bars, up for positive numbers and down for negative ones.
"""

import cmath
import functools
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import Tensor

from minigpt_core import GPT, CharTokenizer, GPTConfig, get_batch, load_corpus, load_pretrained, split_text
from minigpt_core.attention import attention_weights
from minigpt_core.data import step_seed
from minigpt_core.files import write_atomic
from minigpt_core.sampling import Mulberry32, keep_min_p, keep_top_k, keep_top_p
from minigpt_core.sampling import draw as draw_token
from minigpt_core.tokenizer import Tokenizer

ASSETS = Path(__file__).parents[1] / "assets"
WIDTH = 400
SHOWN = 480  # pixels, where there is room

# Okabe and Ito's colours. Blue, vermilion and green have their meanings on all pages; these three are named here, once.
QUERY, KEY, VALUE = "#E69F00", "#56B4E9", "#CC79A7"
SHARE, CHOSEN = "#0072B2", "#009E73"

SIZES = {"name": 15, "note": 13, "small": 12}  # of letters
FONTS = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'PingFang SC', 'Microsoft YaHei', "
    "'Noto Sans CJK SC', sans-serif"
)
LOOKS = {
    "text": "fill: currentColor",
    **{f".{name}": f"font-size: {size}px" for name, size in SIZES.items()},
    ".name": f"font-size: {SIZES['name']}px; font-weight: 600",
    ".box": "fill: none; stroke: currentColor; stroke-width: 1.5",
    ".thin": "fill: none; stroke: currentColor; stroke-opacity: 0.4",
    ".flow": "fill: none; stroke: currentColor; stroke-width: 1.5",
    ".stream": "fill: none; stroke: currentColor; stroke-width: 5; stroke-opacity: 0.55",
    ".head": "fill: currentColor",
    ".plain": "fill: currentColor; fill-opacity: 0.5",
    ".pale": "fill: currentColor; fill-opacity: 0.1",
    ".share": f"fill: {SHARE}",
    ".chosen": f"fill: {CHOSEN}",
    ".chosen-line": f"fill: none; stroke: {CHOSEN}; stroke-width: 2",
    ".query": f"fill: {QUERY}",
    ".key": f"fill: {KEY}",
    ".value": f"fill: {VALUE}",
}


def number(x: float) -> str:
    """A coordinate, as short as can be.

    >>> number(3.0), number(-0.004), number(2.345)
    ('3', '0', '2.35')
    """
    return f"{round(x + 1e-9, 2) or 0:.2f}".rstrip("0").rstrip(".")


def signed(x: float) -> str:
    """A number as it stands in a picture, with one decimal and a real minus sign.

    >>> signed(-1.26), signed(-0.01)
    ('−1.3', '0.0')
    """
    return f"{round(x, 1) or 0.0:.1f}".replace("-", "−")


class Drawing:
    """A picture that grows by its helpers' calls. The title says what it is, the description is its alt text."""

    def __init__(self, name: str, title: str, description: str, height: float):
        self.name, self.title, self.description, self.height = name, title, description, height
        self.parts: list[str] = []

    def add(self, tag: str, look: str, **attributes: float | str) -> None:
        said = "".join(
            f' {key}="{value if isinstance(value, str) else number(value)}"' for key, value in attributes.items()
        )
        self.parts.append(f'<{tag} class="{look}"{said}/>')

    def label(self, x: float, y: float, said: str, look: str = "note", at: str = "start") -> None:
        """A line of text on the baseline y. What follows an underscore is a subscript: W_q."""
        first, *low = re.split(r"_(\w)", said)
        inner = escape(first, quote=False)
        for letter, rest in zip(low[::2], low[1::2], strict=True):
            inner += f'<tspan dy="3" font-size="11">{letter}</tspan>'
            inner += f'<tspan dy="-3">{escape(rest, quote=False)}</tspan>' if rest else ""
        anchor = "" if at == "start" else f' text-anchor="{at}"'
        self.parts.append(f'<text class="{look}" x="{number(x)}" y="{number(y)}"{anchor}>{inner}</text>')

    def box(self, x: float, y: float, width: float, height: float, look: str = "box", round_: float = 0) -> None:
        self.add("rect", look, x=x, y=y, width=width, height=height, **({"rx": round_} if round_ else {}))

    def filled(self, x: float, y: float, width: float, height: float, look: str, strength: float) -> None:
        """A box of a colour, in a thin frame; strong or faint: text on it has to stay legible, light or dark."""
        self.add("rect", look, x=x, y=y, width=width, height=height, opacity=f"{strength:.2f}")
        self.box(x, y, width, height, "thin")

    def named_box(self, x: float, y: float, width: float, height: float, said: str, look: str = "name") -> None:
        self.box(x, y, width, height, round_=4)
        self.label(x + width / 2, y + height / 2 + SIZES[look] * 0.36, said, look, "middle")

    def letter(self, x: float, y: float, said: str, size: float = 24) -> None:
        """A token: a letter in a box of its own."""
        self.named_box(x, y, size, size, said)

    def line(self, *points: tuple[float, float], look: str = "flow") -> None:
        self.add("path", look, d="M" + "L".join(f"{number(x)} {number(y)}" for x, y in points))

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line with a head at its last point."""
        (a, b), (x, y) = points[-2:]
        length = ((x - a) ** 2 + (y - b) ** 2) ** 0.5
        dx, dy = (x - a) / length, (y - b) / length
        self.line(*points[:-1], (x - 7 * dx, y - 7 * dy))
        corners = (x, y), (x - 9 * dx + 4.5 * dy, y - 9 * dy - 4.5 * dx), (x - 9 * dx - 4.5 * dy, y - 9 * dy + 4.5 * dx)
        self.add("path", "head", d="M" + "L".join(f"{number(x)} {number(y)}" for x, y in corners) + "z")

    def ray(self, x: float, y: float, tip: complex, look: str) -> None:
        """A vector of two numbers as a thick arrow from (x, y), its tip so far to the right and up."""
        ahead = tip / abs(tip)
        sides = (
            2j,
            2j - 9,
            7j - 9,
            0,
            -7j - 9,
            -2j - 9,
            -2j,
        )  # from the foot to the tip, where the shaft ends, and back
        feet = (0, tip, tip, tip, tip, tip, 0)
        corners = [foot + side * ahead for foot, side in zip(feet, sides, strict=True)]
        d = "M" + "L".join(f"{number(x + corner.real)} {number(y - corner.imag)}" for corner in corners) + "z"
        self.add("path", look, d=d)

    def adder(self, x: float, y: float) -> None:
        """A circle with a plus: what arrives is added."""
        self.add("circle", "box", cx=x, cy=y, r=9)
        self.line((x - 5, y), (x + 5, y))
        self.line((x, y - 5), (x, y + 5))

    def bars(
        self, x: float, y: float, width: float, height: float, values: Sequence[float], look: str, most: float
    ) -> None:
        """A vector: a bar for each number, from a line in the middle, up if positive and down if negative, and half the
        height at `most`."""
        self.add("rect", "thin", x=x, y=y, width=width, height=height, rx=3)
        step, middle = width / len(values), y + height / 2
        tops = [middle - value / most * (height / 2 - 1) for value in values]
        outline = "".join(f"V{number(top)}H{number(x + (i + 1) * step)}" for i, top in enumerate(tops))
        d = f"M{number(x)} {number(middle)}{outline}V{number(middle)}z"
        self.add("path", look, d=d)

    def squares(
        self, x: float, y: float, size: float, rows: Iterable[Sequence[float | None]], said: Callable[[float], str]
    ) -> None:
        """A matrix of shares: the larger, the stronger the colour. Nothing (None) is a pale square."""
        for i, row in enumerate(rows):
            for j, value in enumerate(row):
                left, top = x + j * size, y + i * size
                if value is None:
                    self.filled(left, top, size, size, "pale", 1)
                else:
                    self.filled(left, top, size, size, "share", 0.7 * value)
                    self.label(left + size / 2, top + size / 2 + 4.5, said(value), "small", "middle")

    def svg(self) -> str:
        name = f"schematic-{self.name}"
        style = "\n".join(
            f"    #{name} {selector} {{ {look}; }}" for selector, look in LOOKS.items() if self.uses(selector)
        )
        shown = f'width="{SHOWN}" height="{number(SHOWN / WIDTH * self.height)}"'
        box = f'viewBox="0 0 {WIDTH} {number(self.height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" id="{name}" {box} {shown} role="img" '
            f'aria-labelledby="{name}-title {name}-desc" font-family="{FONTS}">\n'
            f'  <title id="{name}-title">{escape(self.title)}</title>\n'
            f'  <desc id="{name}-desc">{escape(self.description)}</desc>\n'
            f"  <style>\n{style}\n  </style>\n" + "".join(f"  {part}\n" for part in self.parts) + "</svg>\n"
        )

    def uses(self, selector: str) -> bool:
        return selector == "text" or any(f'class="{selector[1:]}"' in part for part in self.parts)


@functools.cache
def shipped() -> tuple[GPT, Tokenizer]:
    """The model of the English tales, in double precision: so the pictures come out the same on every machine."""
    model, tokenizer = load_pretrained("tales-char")
    return model.double(), tokenizer


WORD, HEAD = "Wren", 3  # what attention reads, and which head of the first layer it is


@torch.no_grad()
def attention_parts() -> dict[str, Tensor]:
    """What one head of the model computes for WORD: h (T, C), q, k, v and out (T, D), scores and shares (T, T)."""
    model, tokenizer = shipped()
    ids = torch.tensor(tokenizer.encode(WORD))
    block = model.blocks[0]
    h = block.norm1(model.token_embedding(ids) + model.position_embedding(torch.arange(len(ids))))
    attention = block.attention
    q, k, v = (
        attention.split_heads(part(h[None]))[:, HEAD : HEAD + 1]
        for part in (attention.query, attention.key, attention.value)
    )
    shares = attention_weights(q, k)
    scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
    named = {"q": q, "k": k, "v": v, "scores": scores, "shares": shares, "out": shares @ v}
    return {"h": h, **{name: x[0, 0] for name, x in named.items()}}


def attention() -> Drawing:
    parts = attention_parts()
    shares = parts["shares"].tolist()
    T, last = len(WORD), WORD[-1]
    given = ", ".join(f"{share:.2f} of {letter}" for letter, share in zip(WORD, shares[-1], strict=True))
    draw = Drawing(
        "attention",
        "Attention, step by step",
        f"One head of the model of the tales reads {', '.join(WORD)}. Each letter's vector h, 128 numbers as "
        "bars, gives a query, a key and a value of 32 numbers each. A table of scores: row for the letter that "
        "asks, column for the letter that is asked; above the diagonal the mask forbids the letters to come. "
        f"Softmax makes shares of each row, which add up to 1. The last letter, {last}, takes {given}: each value "
        "is shrunk by its share, and their sum is what the head hands on.",
        680,
    )
    draw.label(12, 20, "1. Each h gives a query, a key and a value", "name")
    columns = {"q": (152, "query"), "k": (235, "key"), "v": (318, "value")}
    draw.label(84, 42, "h", "note", "middle")
    for name, (x, look) in columns.items():
        draw.box(x, 47, 72, 4, look)
        draw.label(x + 36, 42, f"{name} = h W_{name}", "note", "middle")
    for i, letter in enumerate(WORD):
        y = 57 + 36 * i
        draw.letter(12, y + 3, letter)
        draw.bars(44, y, 80, 30, parts["h"][i].tolist(), "plain", parts["h"].abs().max().item())
        draw.arrow((128, y + 15), (147, y + 15))
        for name, (x, look) in columns.items():
            draw.bars(x, y, 72, 30, parts[name][i].tolist(), look, parts[name].abs().max().item())
    draw.label(12, 230, "2. Scores  q · k / √D", "name")
    draw.label(224, 230, "3. Shares: softmax", "name")
    size = 34
    scores = parts["scores"].tolist()
    for left in (44, 256):
        for i, letter in enumerate(WORD):
            draw.label(left + size * (i + 0.5), 252, letter, "name", "middle")
            draw.box(left + size * i + 3, 257, size - 6, 4, "key")
            draw.label(left - 20, 265 + size * (i + 0.5) + 5, letter, "name", "middle")
            draw.box(left - 8, 265 + size * i + 3, 4, size - 6, "query")
    for i in range(T):
        for j in range(T):
            x, y = 44 + size * j, 265 + size * i
            if j > i:
                draw.box(x, y, size, size, "pale")
            draw.box(x, y, size, size, "thin")
            said = "−∞" if j > i else signed(scores[i][j])
            draw.label(x + size / 2, y + size / 2 + 4.5, said, "small", "middle")
    draw.squares(
        256,
        265,
        size,
        [[s if j <= i else None for j, s in enumerate(row)] for i, row in enumerate(shares)],
        "{:.2f}".format,
    )
    draw.arrow((188, 333), (218, 333))
    draw.label(12, 422, "The mask: −∞ for letters to come.", "note")
    draw.label(392, 422, "Each row adds up to 1.", "note", "end")
    draw.label(12, 456, f"4. {last} mixes the values by its shares", "name")
    most = parts["v"].abs().max().item()
    for i, letter in enumerate(WORD):
        y = 468 + 36 * i
        draw.letter(12, y + 3, letter)
        draw.bars(52, y, 110, 30, parts["v"][i].tolist(), "value", most)
        draw.label(200, y + 20, f"× {shares[-1][i]:.2f}", "note", "middle")
        draw.arrow((228, y + 15), (252, y + 15))
        draw.bars(260, y, 110, 30, (parts["v"][i] * shares[-1][i]).tolist(), "value", most / 2)
    draw.line((260, 614), (370, 614))
    draw.label(384, 598, "+", "name", "middle")
    draw.label(248, 641, f"their sum, handed on for {last}", "note", "end")
    draw.bars(260, 621, 110, 30, parts["out"][-1].tolist(), "value", most / 2)
    draw.label(392, 668, "The right column is drawn twice as tall.", "small", "end")
    return draw


def fraction(share: float) -> str:
    """A share of an average: 1, 1/2, 1/3."""
    return "1" if share == 1 else f"1/{round(1 / share)}"


def triangle() -> Drawing:
    x = torch.tensor([[1.0, 0.0], [3.0, 2.0], [2.0, 4.0], [6.0, 2.0]])  # as in the chapter
    T = len(x)
    shares = torch.ones(T, T).tril()
    shares /= shares.sum(1, keepdim=True)
    draw = Drawing(
        "triangle",
        "The triangle of shares",
        "A table of four rows times four vectors of two numbers. Row 0 gives all to position 0; row 1 a half "
        "each to positions 0 and 1; row 2 a third each to three; row 3 a quarter each to four. Above the "
        "diagonal nothing: the future is not there. The product has the averages 1 and 0, 2 and 1, 2 and 2, 3 "
        "and 2.",
        242,
    )
    size, top = 38, 60
    draw.label(112, 20, "shares", "name", "middle")
    draw.label(262, 20, "x", "name", "middle")
    draw.label(350, 20, "averages", "name", "middle")
    draw.label(112, 37, "(T, T)", "note", "middle")
    draw.label(262, 37, "(T, C)", "note", "middle")
    draw.label(350, 37, "(T, C)", "note", "middle")
    draw.squares(36, top, size, [[s or None for s in row] for row in shares.tolist()], fraction)
    for left, rows in ((228, x), (316, shares @ x)):
        for i, row in enumerate(rows.tolist()):
            for j, value in enumerate(row):
                draw.box(left + 34 * j, top + size * i, 34, size, "thin")
                draw.label(left + 34 * (j + 0.5), top + size * (i + 0.5) + 5, f"{value:g}", "note", "middle")
    for i in range(T):
        draw.label(22, top + size * (i + 0.5) + 5, str(i), "note", "middle")
        draw.label(36 + size * (i + 0.5), top - 6, str(i), "small", "middle")
    draw.label(208, top + 2 * size + 6, "×", "name", "middle")
    draw.label(306, top + 2 * size + 6, "=", "name", "middle")
    draw.label(36, 232, "Empty above the diagonal: the future.", "note")
    return draw


def heads() -> Drawing:
    torch.manual_seed(0)  # the numbers of the chapter's cell
    T, C, H = 6, 8, 2
    D = C // H
    h, W = torch.randn(T, C).double(), torch.randn(3, C, C).double()
    q, k, v = (part.view(T, H, D).transpose(0, 1)[None] for part in h @ W)  # (1, H, T, D)
    out = (attention_weights(q, k) @ v)[0]  # (H, T, D)
    draw = Drawing(
        "heads",
        "Every head reads all columns",
        "At the top h: six positions, eight numbers each. From its whole width an arrow leads to head 0, another "
        "to head 1. Each head has three matrices of its own, for query, key and value, with eight rows and four "
        "columns, and gives six rows of four numbers. Below, both results lie side by side: six rows of eight "
        "numbers again.",
        514,
    )
    width, row = 20, 20
    left = 200 - C * width / 2
    draw.label(200, 18, "h  (T, C)", "name", "middle")
    for t in range(T):
        draw.bars(left, 28 + row * t, C * width, row - 3, h[t].tolist(), "plain", h.abs().max().item())
    draw.label(292, 82, "all C columns", "note")
    draw.label(292, 99, "to each head", "note")
    bottom = 28 + row * T
    draw.line((left, bottom + 3), (left, bottom + 9), (left + C * width, bottom + 9), (left + C * width, bottom + 3))
    top = bottom + 220
    for i, x in enumerate((100, 300)):
        draw.arrow((200, bottom + 9), (200, bottom + 20), (x, bottom + 20), (x, bottom + 42))
        draw.box(x - 90, bottom + 44, 180, 126, round_=6)
        draw.label(x, bottom + 63, f"head {i}", "name", "middle")
        for j, name in enumerate(("query", "key", "value")):
            a, b = x - 77 + 57 * j, bottom + 72
            draw.box(a, b, 10 * D, 8 * C, name)
            for line in range(1, D):
                draw.line((a + 10 * line, b), (a + 10 * line, b + 8 * C), look="thin")
            for line in range(1, C):
                draw.line((a, b + 8 * line), (a + 10 * D, b + 8 * line), look="thin")
            draw.label(a + 20, b + 84, f"W_{name[0]}", "note", "middle")
        half = 118 + 84 * i
        draw.arrow((x, bottom + 170), (x, bottom + 190), (half + 40, bottom + 190), (half + 40, top - 2))
        for t in range(T):
            draw.bars(half, top + row * t, D * width, row - 3, out[i, t].tolist(), "value", out.abs().max().item())
    draw.label(12, bottom + 212, "each W: (C, D)", "note")
    draw.label(292, top + 54, "side by side:", "note")
    draw.label(292, top + 71, "(T, C) again", "note")
    draw.label(158, top + row * T + 15, "D columns", "small", "middle")
    draw.label(242, top + row * T + 15, "D columns", "small", "middle")
    return draw


def block() -> Drawing:
    draw = Drawing(
        "block",
        "A block, with pre-norm and with post-norm",
        "Two blocks side by side, from top to bottom. At the left, pre-norm: the stream runs straight down "
        "through two adders. Before each adder a branch leaves the stream, is normalised, goes through "
        "attention, or through feed-forward, and is added. No norm stands on the stream. At the right, "
        "post-norm: the branch is not normalised; a norm stands on the stream itself, after each adder, so "
        "everything that runs on goes through it.",
        472,
    )
    parts = "attention", "feed-forward"
    for left, title, pre in ((0, "pre-norm", True), (204, "post-norm", False)):
        stream, middle = left + 30, left + 128
        draw.label(left + 98, 20, title, "name", "middle")
        stops = [(189, 207), (375, 393)] if pre else [(189, 241), (375, 427)]  # adders, and norms on the stream
        for upper, lower in pairwise([(0, 32), *stops, (436, 0)]):
            draw.line((stream, upper[1]), (stream, lower[0]), look="stream")
        draw.add("path", "plain", d=f"M{number(stream - 10)} 436h20l-10 14z")
        draw.label(stream + 12, 44, "the stream", "small")
        for i, part in enumerate(parts):
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


LETTERS = 12  # of each window of the batch that the picture has room for


def windows() -> Drawing:
    numbers, T = list(range(100, 110)), 4
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    ids = torch.tensor(tokenizer.encode(split_text(text, parts=3)[0]))
    N, B, length = len(ids), 16, 64  # the chapter's batch
    rows = get_batch(ids, length, B, seed=0, step=1)[0]
    starts = torch.randint(N - length, (B,), generator=torch.Generator().manual_seed(step_seed(0, 1))).tolist()
    draw = Drawing(
        "windows",
        "A window, its shifted copy, and a batch",
        "Above, the numbers 100 to 109 in a row. The window x holds 100 to 103, its copy y, shifted by one, 101 "
        "to 104. An arrow leads from each number of x to the one of y that comes next: four questions in one "
        f"window. Below, the training text as a long ribbon of {N:,} letters with {B} marks, the places that were "
        f"drawn. The windows that begin at the first four are the first four rows of the batch, which has {B} "
        f"rows of {length} letters.",
        432,
    )
    size = 36
    draw.label(12, 20, "1. A window x, and y, shifted by one", "name")
    for i, value in enumerate(numbers):
        draw.box(20 + size * i, 32, size, 26, "thin")
        draw.label(20 + size * (i + 0.5), 50, str(value), "note", "middle")
    draw.box(20, 32, size * T, 26)
    draw.line(
        (20 + size, 64), (20 + size, 68), (20 + size * (T + 1), 68), (20 + size * (T + 1), 64), look="chosen-line"
    )
    for i in range(T):
        x = 20 + size * (i + 1)
        draw.box(x - 36, 92, size, 26)
        draw.label(x - 18, 110, str(numbers[i]), "note", "middle")
        draw.arrow((x - 18, 119), (x - 18, 142))
        draw.box(x - 36, 144, size, 26, "chosen-line")
        draw.label(x - 18, 162, str(numbers[i + 1]), "note", "middle")
    draw.label(10, 110, "x", "name", "middle")
    draw.label(10, 162, "y", "name", "middle")
    for i, said in enumerate(("after 100 comes 101,", "after 100, 101 comes 102,", "and so on: T questions")):
        draw.label(182, 112 + 22 * i, said, "note")
    draw.label(12, 208, "2. A batch: B windows from random places", "name")
    left, long = 12, 376
    draw.box(left, 222, long, 18, "pale")
    draw.box(left, 222, long, 18, "thin")
    for start in starts:
        draw.box(left + long * start / N - 1, 222, 2, 18, "share")
    draw.label(left, 256, "0", "small", "start")
    draw.label(left + long, 256, f"{N:,} letters", "small", "end")
    top, cell = 296, 20
    for i in range(4):
        y = top + 26 * i
        letters = [tokenizer.tokens[j] for j in rows[i, :LETTERS].tolist()]
        for j, letter in enumerate(letters):
            draw.box(120 + cell * j, y, cell, 20, "thin")
            draw.label(120 + cell * (j + 0.5), y + 15, letter, "note", "middle")
        draw.label(120 + cell * LETTERS + 6, y + 15, "…", "note")
        draw.label(112, y + 15, f"from {starts[i]:,}", "small", "end")
    draw.label(240, top - 10, "x  (B, T)", "name", "middle")
    draw.label(240, top + 26 * 4 + 12, f"… {B} rows of {length}", "note", "middle")
    return draw


def one_hot() -> Drawing:
    table = torch.tensor([[0.1, 0.2], [1.0, -1.0], [5.0, 7.0]])  # as in the chapter
    ids = [2, 0, 2]
    draw = Drawing(
        "one_hot",
        "A one-hot row picks a row of the table",
        "The ids 2, 0, 2 as rows of three zeros with a single one, at place 2, 0 and 2. Times the table with the "
        "rows 0.1 0.2, 1 −1 and 5 7, that gives row 2, row 0, row 2 of the table: 5 7, 0.1 0.2, 5 7.",
        196,
    )
    size, top = 34, 56
    for x, said, shape in ((99, "one-hot", "(k, V)"), (232, "table", "(V, C)"), (354, "looked up", "(k, C)")):
        draw.label(x, 20, said, "name", "middle")
        draw.label(x, 38, shape, "note", "middle")
    for i, chosen in enumerate(ids):
        y = top + size * i
        draw.label(30, y + 22, str(chosen), "name", "middle")
        for j in range(len(table)):
            draw.filled(48 + size * j, y, size, size, "chosen", 0.5 if j == chosen else 0)
            draw.label(
                48 + size * (j + 0.5), y + 22, str(int(j == chosen)), "name" if j == chosen else "note", "middle"
            )
        draw.label(192, y + 22, str(i), "small", "middle")
    for left, rows, picked in ((200, table.tolist(), True), (322, table[ids].tolist(), False)):
        for i, row in enumerate(rows):
            if not picked or i in ids:
                draw.add("rect", "chosen", x=left, y=top + size * i, width=64, height=size, opacity="0.25")
            for j, value in enumerate(row):
                draw.box(left + 32 * j, top + size * i, 32, size, "thin")
                draw.label(left + 32 * (j + 0.5), top + size * i + 22, f"{value:g}".replace("-", "−"), "note", "middle")
    draw.label(170, top + size * 1.5 + 6, "×", "name", "middle")
    draw.label(293, top + size * 1.5 + 6, "=", "name", "middle")
    draw.label(12, 184, "Zeros add nothing: a product that is a look-up.", "note")
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


def dart() -> Drawing:
    model, tokenizer = shipped()
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode('"Where is the ')]))[0][:, -1]  # (1, V), as in the chapter
    p, order = logits[0].softmax(0).sort(descending=True)
    cuts = {
        "top-k, k = 5": keep_top_k(logits, 5),
        "top-p, p = 0.5": keep_top_p(logits, 0.5),
        "min-p = 0.5": keep_min_p(logits, 0.5),
    }
    kept = {name: int(cut.isfinite().sum()) for name, cut in cuts.items()}
    letters = [tokenizer.tokens[i] for i in order.tolist()]
    draw = Drawing(
        "dart",
        "A dart on the line from 0 to 1",
        "Above, the line from 0 to 1 in three pieces, as long as the chances 0.5, 0.25 and 0.25. Four darts, "
        "0.1, 0.49, 0.6 and 0.99, hit the first, the first, the second and the third. Below, the same line for "
        "the letters that the model of the tales expects after “Where is the”, the likeliest first: "
        f"{', '.join(letters[:5])} and so on. Three cuts on it: "
        + "; ".join(f"{name} keeps {n} letters, together {p[:n].sum():.2f}" for name, n in kept.items())
        + ". Last, what top-k kept is stretched to the whole line, and a dart is thrown at that.",
        498,
    )
    left, long = 16.0, 368.0

    def line(y: float, shares: Sequence[float], said: Sequence[str], green: int) -> None:
        """The pieces of a line, the first of them green."""
        edges = [left + long * edge for edge in accumulate(shares, initial=0.0)]
        for i, (a, b) in enumerate(pairwise(edges)):
            if i < green:
                draw.filled(a, y, b - a, 28, "chosen", 0.35)
            if b - a > 1.5:
                draw.box(a, y, b - a, 28, "thin")
            if b - a > 13:
                draw.label((a + b) / 2, y + 19, said[i], "note", "middle")
        draw.box(left, y, long, 28)

    draw.label(12, 20, "1. Four darts at chances 0.5, 0.25, 0.25", "name")
    line(70, (0.5, 0.25, 0.25), ("first", "second", "third"), 0)
    for u in (0.1, 0.49, 0.6, 0.99):
        x = left + long * u
        draw.arrow((x, 46), (x, 68))
        draw.label(min(x, 380), 40, f"{u:g}", "note", "middle")
    for x in (0, 0.5, 0.75, 1):
        draw.label(left + long * x, 114, f"{x:g}", "small", "middle")
    draw.label(12, 150, "2. After “Where is the ”, likeliest first", "name")
    line(162, p.tolist(), letters, 0)
    draw.label(12, 222, "3. Three ways to cut, green is kept", "name")
    y = 246.0
    for name, n in kept.items():
        draw.label(12, y, f"{name}: {n} letters, {p[:n].sum():.2f}", "note")
        line(y + 7, p.tolist(), letters, n)
        y += 58
    five, u = (p[:5] / p[:5].sum()).tolist(), 0.7
    hit = letters[next(i for i, edge in enumerate(accumulate(five)) if u < edge)]
    draw.label(12, 428, f"4. The top 5, stretched: {u:g} hits {hit}", "name")
    draw.arrow((left + long * u, 436), (left + long * u, 454))
    line(456, five, letters, 5)
    return draw


def cache() -> Drawing:
    draw = Drawing(
        "cache",
        "The key-value cache grows by one column a step",
        f"Four steps of writing, one below the other; the letters {', '.join(WORD)} are read one at a time. In "
        "each step only the new letter gets a query, a key and a value, drawn in a strong colour and a frame. "
        "The keys and values of the earlier letters are kept, drawn pale. The query meets all keys so far. With "
        "the cache 4 keys and 4 values are computed, without it 1 + 2 + 3 + 4 of each.",
        424,
    )
    size = 30
    draw.label(12, 20, "Read one letter, add one key, one value", "name")
    for step, letter in enumerate(WORD):
        top = 40 + 92 * step
        draw.letter(12, top + 18, letter)
        draw.arrow((40, top + 30), (60, top + 30))
        draw.filled(64, top + 16, size, size, "query", 0.45)
        draw.box(64, top + 16, size, size)
        draw.label(64 + size / 2, top + 35, "q", "note", "middle")
        draw.arrow((98, top + 30), (138, top + 30))
        for row, name in enumerate(("key", "value")):
            draw.label(158, top + 20 + 32 * row, name[0], "note", "end")
            for j in range(len(WORD)):
                x, y = 166 + (size + 2) * j, top + 32 * row
                if j <= step:
                    draw.filled(x, y, size, size, name, 0.45 if j == step else 0.15)
                    draw.label(x + size / 2, y + 20, WORD[j], "note", "middle")
                draw.box(x, y, size, size, "box" if j == step else "thin")
        draw.label(306, top + 20, f"{step} kept,", "note")
        draw.label(306, top + 38, "1 computed", "note")
    draw.label(12, 414, "Without a cache: 1 + 2 + 3 + 4 of each, not 4.", "note")
    return draw


MERGES = {"he": 4, "the": 4, "▁the": 2, "▁o": 1, "ther": 1}  # how often each pair occurred: the output of the chapter


def merges() -> Drawing:
    words = [list(word) for word in ("the", "▁then", "▁the", "▁other")]  # as in the chapter
    draw = Drawing(
        "merges",
        "Byte-pair encoding, merge by merge",
        "The words the, then, the and other, in six rows. In the first each letter is a piece of its own; ▁ "
        "stands for the space before a word. Each row below joins one pair, everywhere it occurs: "
        + ", ".join(f"{piece} ({count} times)" for piece, count in MERGES.items())
        + ". At the end the, ▁the, ▁the n and ▁o ther are left.",
        256,
    )
    cell, gap, left = 15.5, 7, 90
    draw.label(12, 20, "new", "note")
    draw.label(82, 20, "times", "note", "end")
    for row, (new, count) in enumerate([("", 0), *MERGES.items()]):
        y, x = 30 + 37 * row, float(left)
        if new:
            draw.label(12, y + 20, new, "name")
            draw.label(76, y + 20, str(count), "note", "end")
        for word in words:
            for i in range(len(word) - 1, 0, -1):
                if word[i - 1] + word[i] == new:
                    word[i - 1 : i + 1] = [new]
            for piece in word:
                width = cell * len(piece)
                draw.filled(x + 1, y, width - 2, 28, "chosen", 0.4 if piece == new else 0)
                for j, letter in enumerate(piece):
                    draw.label(x + cell * (j + 0.5), y + 19, letter, "note", "middle")
                x += width
            x += gap
    return draw


@torch.no_grad()
def writing() -> Drawing:
    model, tokenizer = shipped()
    text, darts, frames = "The ", Mulberry32(38), 4
    draw = Drawing("writing", "Writing: read, draw, append, repeat", "", 8 + 112 * frames)
    told = []
    draw.label(12, 20, "text so far", "note")
    draw.label(150, 20, "what may come next", "note")
    draw.label(392, 20, "drawn", "note", "end")
    for frame in range(frames):
        top = 30 + 112 * frame
        logits = model(torch.tensor([tokenizer.encode(text)]))[0][0, -1]
        p, drawn = logits.softmax(0), draw_token(logits, darts.uniform())
        likeliest = p.topk(4).indices.tolist()
        letter = tokenizer.tokens[drawn]
        draw.named_box(12, top + 20, 92, 32, text.replace(" ", "▁"), "note")
        draw.arrow((106, top + 36), (132, top + 36))
        for i, token in enumerate(dict.fromkeys([*likeliest, drawn])):
            y = top + 4 + 20 * i
            draw.label(152, y + 12, tokenizer.tokens[token], "name" if token == drawn else "note", "middle")
            draw.box(164, y, 150 * p[token].item(), 16, "chosen" if token == drawn else "plain")
            draw.label(170 + 150 * p[token].item(), y + 12.5, f"{p[token]:.2f}", "small")
        told.append(f"after {text.strip()} it draws {letter}")
        if frame < frames - 1:
            draw.arrow((378, top + 48), (378, top + 111), (58, top + 111), (58, top + 130))
        draw.letter(366, top + 24, letter)
        draw.arrow((340, top + 36), (364, top + 36))
        text += tokenizer.decode([drawn])
    draw.description = (
        "Four frames, one below the other. In each the model of the tales reads the text so far and gives each "
        "letter that may come a probability, drawn as a bar; one letter is drawn by chance, in green, and "
        f"appended to the text, which the next frame reads: {'; '.join(told)}."
    )
    return draw


def induction() -> Drawing:
    letters, noted = "melome", 2
    draw = Drawing(
        "induction",
        "Two looks that copy what came last time",
        "The letters m, e, l, o, m, e in a row. In the first layer each letter looks at the one before it and "
        "notes it: the l now carries a note, after e. In the second layer the last e looks for the place that "
        "carries the note after e, finds the l, and takes over its letter: l is what came after e last time, and "
        "is the guess for what comes now.",
        288,
    )
    size, pitch, left = 34, 58, 34
    middles = [left + pitch * i + size / 2 for i in range(len(letters))]
    draw.label(12, 20, "1. Each letter notes the one before it", "name")
    for i, (x, letter) in enumerate(zip(middles, letters, strict=True)):
        draw.letter(x - size / 2, 34, letter, size)
        draw.arrow((x, 70), (x, 122))
        if i == noted:
            draw.filled(x - size / 2, 124, size, size, "chosen", 0.4)
        draw.letter(x - size / 2, 124, letter, size)
        if i:
            draw.arrow((middles[i - 1] + 6, 70), (x - 8, 122))
            draw.label(x, 174, f"after {letters[i - 1]}", "name" if i == noted else "small", "middle")
    draw.arrow((middles[-1], 182), (middles[-1], 214), (middles[noted], 214), (middles[noted], 182))
    draw.label((middles[-1] + middles[noted]) / 2, 207, "query fits key", "note", "middle")
    draw.label(12, 244, "2. The last e looks for “after e”,", "name")
    draw.label(12, 268, "finds the l, takes over its letter:", "name")
    draw.filled(320, 242, size, size, "chosen", 0.4)
    draw.letter(320, 242, letters[noted], size)
    return draw


def rotary() -> Drawing:
    q, k, theta = 1 + 0.5j, 0.3 + 1j, 0.4  # as in the chapter; a pair of numbers is a point, turned by a product
    places = (9, 5), (59, 55), (11, 5)
    scores = [(q * cmath.exp(1j * t * theta) * (k * cmath.exp(1j * j * theta)).conjugate()).real for t, j in places]
    draw = Drawing(
        "rotary",
        "Rotary positions: the score knows the distance",
        "Three circles, in each a query and a key as arrows from the middle. At places 9 and 5, and at 59 and "
        "55, the arrows point elsewhere, but the angle between them is the same, and so is the score, "
        f"{signed(scores[0])}. At places 11 and 5, farther apart, the angle is another, and so is the score, "
        f"{signed(scores[2])}.",
        214,
    )
    draw.label(12, 20, "Each place turns q and k a step further", "name")
    for x, (t, j), score in zip((70, 200, 330), places, scores, strict=True):
        y = 108
        draw.add("circle", "thin", cx=x, cy=y, r=61)
        for point, place, look in ((k, j, "key"), (q, t, "query")):
            tip = 40 * point * cmath.exp(1j * place * theta)
            draw.ray(x, y, tip, look)
            beyond = tip * (1 + 9 / abs(tip))
            draw.label(x + beyond.real, y - beyond.imag + 4, look[0], "note", "middle")
        draw.label(x, 192, f"places {t}, {j}", "note", "middle")
        draw.label(x, 209, f"score {signed(score)}", "name", "middle")
    return draw


def push() -> Drawing:
    z, came = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64), 2  # as in the chapter
    p = z.softmax(0).tolist()
    slopes = [share - (i == came) for i, share in enumerate(p)]
    draw = Drawing(
        "push",
        "Predicted minus came: which way each logit has to go",
        f"Three tokens with the logits {', '.join(f'{x:g}' for x in z.tolist())}. Softmax gives them {p[0]:.2f}, "
        f"{p[1]:.2f} and {p[2]:.2f}, drawn as bars; the third has come, and a green mark stands at what came: 0, "
        f"0 and 1. The slopes are the differences, {', '.join(f'{x:.2f}'.replace('-', '−') for x in slopes)}. An "
        "arrow leads from each bar to its mark: the first two have to come down, the third has to go up.",
        214,
    )
    floor, long = 160, 110
    draw.label(12, 20, "p, what came, and the slope p − came", "name")
    draw.line((40, floor), (290, floor))
    draw.label(30, floor + 4, "0", "small", "end")
    draw.label(30, floor - long + 4, "1", "small", "end")
    draw.line((34, floor - long), (40, floor - long))
    for i, (logit, share, slope) in enumerate(zip(z.tolist(), p, slopes, strict=True)):
        x, goal = 52 + 80 * i, floor - long * (i == came)
        draw.filled(x, floor - long * share, 40, long * share, "share", 0.6)
        draw.line((x - 3, goal), (x + 43, goal), look="chosen-line")
        draw.arrow((x + 54, floor - long * share), (x + 54, goal))
        draw.label(x + 20, floor - long * share - 5, f"{share:.2f}", "note", "middle")
        draw.label(x + 20, floor + 18, f"z = {logit:g}", "small", "middle")
        draw.label(x + 20, floor + 38, f"{slope:+.2f}".replace("-", "−"), "name", "middle")
    draw.label(300, 74, "green: what", "note")
    draw.label(300, 91, "came", "note")
    draw.label(300, floor + 38, "slope", "name")
    return draw


SCHEMATICS = {
    function.__name__: function
    for function in (
        *(writing, merges, windows, push, one_hot, triangle, attention, heads),
        *(block, shapes, parameters, induction, dart, cache, rotary),
    )
}


def path_of(name: str) -> Path:
    return ASSETS / f"schematic-{name}.svg"


def main(names: Sequence[str]) -> None:
    for name in names or SCHEMATICS:
        if name not in SCHEMATICS:
            sys.exit(f"there is no schematic {name!r}: choose one of {', '.join(SCHEMATICS)}")
        drawing = SCHEMATICS[name]()
        write_atomic(path_of(name), drawing.svg().encode())
        print(f"| {path_of(name).name} | {drawing.description} |")


if __name__ == "__main__":
    main(sys.argv[1:])
