"""The hand that draws all schematics: colours, letter sizes, and a picture that grows by its helpers' calls.

400 units wide, legible at 360 pixels. Ground and text are the page's own (currentColor), so that they serve light and dark.
A vector is a row of bars, up for positive numbers and down for negative ones.
"""

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape

from minigpt_core import GPT, load_pretrained
from minigpt_core.tokenizer import Tokenizer

WIDTH = 400
SHOWN = 480  # pixels, where there is room

# Okabe and Ito's colours. Blue, vermilion and green have their meanings on all pages; these three are named here, once.
QUERY, KEY, VALUE = "#E69F00", "#56B4E9", "#CC79A7"
SHARE, VALIDATION, CHOSEN = "#0072B2", "#D55E00", "#009E73"  # blue is also training

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
    ".empty": "fill: none; stroke: currentColor; stroke-width: 2",
    ".thin": "fill: none; stroke: currentColor; stroke-opacity: 0.4",
    ".flow": "fill: none; stroke: currentColor; stroke-width: 1.5",
    ".dashes": "fill: none; stroke: currentColor; stroke-width: 1.5; stroke-dasharray: 4 3",
    ".stream": "fill: none; stroke: currentColor; stroke-width: 5; stroke-opacity: 0.55",
    ".head": "fill: currentColor",
    ".plain": "fill: currentColor; fill-opacity: 0.5",
    ".pale": "fill: currentColor; fill-opacity: 0.1",
    ".share": f"fill: {SHARE}",
    ".share-line": f"fill: none; stroke: {SHARE}; stroke-width: 2",
    ".validation": f"fill: {VALIDATION}",
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

    def ray(self, x: float, y: float, tip: complex, look: str, wide: float = 1) -> None:
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
        corners = [foot + wide * side * ahead for foot, side in zip(feet, sides, strict=True)]
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


WORD = "Wren"  # what it reads in several pictures
