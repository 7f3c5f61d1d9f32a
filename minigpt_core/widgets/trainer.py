"""The trainer: a model that learns in the page, from one of the book's texts or from the reader's own."""

import base64
import html
import io
import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib import image

from ..notebook.lesson import load_record
from . import live_module, source
from .attention import BLUE as PIXEL
from .base import Widget
from .records import levels

TEXTS = {"tales": "the tales of this book", "tales_zh": "the Chinese tales"}
RECIPES = ("fast", "plain")
BLUE, VERMILION = "var(--mg-accent)", "#d55e00"
LINES = {
    "ln V": "guessing blindly",
    "1-gram": "counting letters",
    "2-gram": "counting pairs",
    "best count": "best count",
}
GUIDE = (
    "The loss says how badly it guesses the next letter: lower is better. It is told for the text that it learns from (training) and "
    "for a part that is hidden from it (held out). The grey lines are what counting alone reaches."
)  # as in trainer.js
BEFORE = (0, 1, 3, 7)  # of the texts on the way, those that are shown, as in learning.js
TOP, FOOT = 26, 26  # pixels above and below the curves, as in learning.js
HIGH, LOW = 236, 150  # pixels: the chart, and the one of the small panel, as in trainer.js
NEAR = 10  # pixels, half the height of a name, as in learning.js


class Trainer(Widget):
    """A GPT that learns while the reader watches: the loss beside what counting reaches, what the model writes, and where
    one head looks. Then it writes, and can be kept as a file. `own` opens the field for a text of the reader's own, and with
    `compare` the learning rate, the warm-up and the batch can be set, and two settings trained side by side; `small` is for a
    front page, with one button. A text or a recipe that is not there is a `ValueError`.

    >>> Trainer(recipe="plain", compare=True)
    Trainer(tales, plain)
    """

    NAME = "trainer"
    _esm = live_module(NAME)
    _css = source("widgets.css") + source("trainer.css")

    def __init__(
        self,
        *,
        text: str = "tales",
        recipe: str = "fast",
        own: bool = False,
        compare: bool = False,
        small: bool = False,
    ):
        if text not in TEXTS:
            raise ValueError(
                f"there is no text {text!r} to learn: choose one of {', '.join(TEXTS)}, or paste yours in the panel"
            )
        if recipe not in RECIPES:
            raise ValueError(f"there is no recipe {recipe!r}: choose one of {', '.join(RECIPES)}")
        super().__init__()
        self.state = {
            "texts": TEXTS,
            "text": text,
            "recipe": recipe,
            "seed": 1,
            "small": small,
            "own": own,
            "compare": compare,
            "knobs": {},
        }

    def picture(self) -> str:
        """A recorded run on the tales: its losses, what it wrote, and the last map of a head."""
        small = self.state["small"]
        try:
            record = load_record("film") | {"references": levels()}
        except ValueError:  # no book is near: the panel that lives needs none of its records
            return "<p>A GPT learns here while you watch, as soon as the notebook runs.</p>"
        *before, (_, last) = [(look["step"], re.sub(r"\n+", "\n", look["text"].strip())) for look in record["says"]]
        trail = "".join(
            f"<li><b>step {step} </b>{html.escape(text)}</li>"
            for step, text in (before[place] for place in BEFORE if place < len(before))
        )
        whole = "where one attention head looks, the darker the more: from the letter of each row to those before it"
        words = "where one attention head looks, among letters" if small else whole
        return (
            f'<div class="mg-learning{" mg-small" * small}">'
            f'<div class="mg-chart mg-recorded">{_chart(record, LOW if small else HIGH)}</div>'
            f'<p class="mg-note">{GUIDE}</p>'
            '<div class="mg-beside"><div class="mg-writes"><p class="mg-caption">A recorded run wrote:</p>'
            f'<p class="mg-says">{html.escape(last)}</p><ol class="mg-trail">{trail}</ol></div>'
            f'<div class="mg-looks">{_map(record)}<p class="mg-note">{words}</p></div></div></div>'
        )

    def __repr__(self) -> str:
        return f"Trainer({self.state['text']}, {self.state['recipe']})"


def _chart(record: dict[str, Any], height: int) -> str:
    """The losses of a run over its steps, and the lines that they are read against: as wide as there is place, with letters
    that keep their size. What is beside the curves stands in the margins of the place."""
    curve, references = record["curve"], record["references"]
    training, held_out = curve["train_loss"], list(zip(curve["val_step"], curve["val_loss"], strict=True))
    steps, below = len(training), height - FOOT
    low, high = math.floor(min(*references.values(), *training)), max(references["ln V"], *training)

    def y(loss: float) -> float:
        return round(TOP + (below - TOP) * (high - loss) / (high - low), 1)

    def text(x: object, y: float, words: str, more: str = "") -> str:
        return f'<text x="{x}" y="{y}" dominant-baseline="central" {more}>{words}</text>'

    def across(loss: float, more: str) -> str:
        return f'<line x1="0" x2="100%" y1="{y(loss)}" y2="{y(loss)}" {more}/>'

    def line(pairs: Iterable[tuple[int, float]], colour: str) -> str:
        points = " ".join(f"{step - 1},{y(loss)}" for step, loss in pairs)
        return f'<polyline points="{points}" fill="none" stroke-width="1.3" stroke="{colour}" vector-effect="non-scaling-stroke"/>'

    parts = [text(0, TOP - 14, "loss (nats per letter) of a recorded run", 'class="mg-title"')]
    for tick in range(low, math.floor(high) + 1):
        parts += [across(tick, 'class="mg-grid"'), text(-6, y(tick), str(tick), 'text-anchor="end"')]
    for key, name in LINES.items():
        parts.append(across(references[key], 'stroke="#8888" stroke-dasharray="4 4"'))
        parts.append(text("100%", y(references[key]), name, 'dx="6" class="mg-grey"'))
    curves = line(enumerate(training, 1), BLUE) + line(held_out, VERMILION)
    box = f'width="100%" height="{height}" viewBox="0 0 {steps - 1} {height}"'
    parts.append(f'<svg {box} preserveAspectRatio="none">{curves}</svg>')
    for step, loss in held_out:
        place = 100 * (step - 1) / (steps - 1)
        parts.append(f'<circle cx="{place:.2f}%" cy="{y(loss)}" r="2.5" fill="{VERMILION}"/>')
    ends = (
        f'<tspan fill="{BLUE}">training {training[-1]:.2f}</tspan>'
        f'<tspan fill="{VERMILION}" dx="8">held out {held_out[-1][1]:.2f}</tspan>'
    )
    above = min(map(y, training[steps // 5 :])) - 13
    for level in sorted(map(y, (references[key] for key in LINES)), reverse=True):
        above = level - NEAR if abs(above - level) < NEAR else above  # no dashed line goes through it
    parts.append(text("100%", above, ends, 'class="mg-name" text-anchor="end"'))
    parts.append(text(0, height - 12, "1") + text("100%", height - 12, f"step {steps}", 'text-anchor="end"'))
    said = (
        f"The loss of a recorded run: training ends at {training[-1]:.2f}, held out at {held_out[-1][1]:.2f} nats per letter; "
        f"counting reaches {references['2-gram']:.2f} with pairs and {references['best count']:.2f} at its best."
    )
    return f'<svg width="100%" height="{height}" role="img" aria-label="{said}">{"".join(parts)}</svg>'


def _map(record: dict[str, Any]) -> str:
    """The last recorded map of the last block's first head, which the panel shows too: a pixel for a pair of letters, as the maps
    of attention are drawn."""
    film, model = record["film"], record["settings"]["model"]
    T, heads = len(film["text"]), (model["n_layer"] - 1) * model["n_head"]  # of the blocks before the last
    pixels = np.zeros((T, T, 4), np.uint8)
    pixels[..., :3] = PIXEL
    pairs = T * (T + 1) // 2
    shares = list(base64.b64decode(film["at"][-1]["percent"]))[heads * pairs : (heads + 1) * pairs]
    pixels[(*np.tril_indices(T), 3)] = (255 * np.sqrt(np.array(shares) / 100)).round()
    file = io.BytesIO()
    image.imsave(file, pixels, format="png", metadata={"Software": ""})
    alt = html.escape(f"Where one head looks, from each letter of “{film['text']}” at itself and at those before it.")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return f'<img class="mg-pixels" src="{source}" width="{T}" height="{T}" alt="{alt}">'
