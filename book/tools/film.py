"""Make book/assets/film.webp and its still, film.png: a recorded run from noise to words, while its curve and the map of
one head move, in less than five seconds, once. Both come from book/records/film.json; what they were made of is written
into the film, so that a test can tell.

    make film
"""

import base64
import hashlib
import io
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from minigpt_core import load_corpus
from minigpt_core.files import write_atomic
from minigpt_core.notebook import viz
from minigpt_core.notebook.lesson import load_record
from minigpt_core.tokenizer import CharTokenizer
from minigpt_core.widgets.records import levels

ASSETS = Path(__file__).parents[1] / "assets"
RECORD = Path(__file__).parents[1] / "records" / "film.json"
HEAD = 1  # of the first layer: the one in which a line appears
STEPS = (1, *range(10, 100, 10), *range(100, 901, 100))
HOLD = 250  # milliseconds a frame
WIDE, HIGH, DENSITY = 420, 404, 2  # of the picture in a page, and its pixels to each of the page's
MAP = 310, 276, 406, 372  # where the map stands in it
LINES = {  # what the lines of the ladder are, to a reader who has not met it
    "ln V": "guessing\nblindly",
    "1-gram": "counting\nletters",
    "2-gram": "counting\npairs",
    "best count": "best\ncounting",
}
LEVELS = [round(value / 51) * 51 for value in range(256)] * 3  # six of each colour: half the weight, edges still smooth


def fingerprint() -> str:
    """What the film was made of: the record and this file."""
    return hashlib.sha256(RECORD.read_bytes() + Path(__file__).read_bytes()).hexdigest()


def frame(record: dict, step: int) -> Image.Image:
    """The run after so many steps: its losses so far, and the last map and words that were recorded."""
    curve, look = record["curve"], [look for look in record["film"]["at"] if look["step"] <= step][-1]
    said = [said["text"] for said in record["says"] if said["step"] <= step][-1]
    T = len(record["film"]["text"])
    pairs = T * (T + 1) // 2
    shares = np.zeros((T, T))
    shares[np.tril_indices(T)] = list(base64.b64decode(look["percent"]))[HEAD * pairs : (HEAD + 1) * pairs]
    left, top, right, bottom = MAP
    place = left / WIDE, 1 - bottom / HIGH, (right - left) / WIDE, (bottom - top) / HIGH
    with plt.rc_context(viz.STYLE | {"savefig.facecolor": "white", "font.size": 10, "axes.titlesize": 10}):
        figure = plt.figure(figsize=(WIDE / 100, HIGH / 100), dpi=100 * DENSITY)
        curves, shown = figure.add_axes((0.06, 0.47, 0.72, 0.45)), figure.add_axes(place)
        for name, loss in levels().items():
            curves.axhline(loss, color=viz.REFERENCE, linestyle="--", linewidth=0.8)
            curves.annotate(LINES[name], (910, loss), va="center", annotation_clip=False)
        curves.plot(range(1, step + 1), curve["train_loss"][:step], color=viz.TRAINING, linewidth=1)
        held = [(at, loss) for at, loss in zip(curve["val_step"], curve["val_loss"], strict=True) if at <= step]
        curves.plot(*zip(*held, strict=True) if held else ((), ()), color=viz.VALIDATION, marker="o", markersize=3)
        curves.set(xlim=(0, 900), ylim=(1, 4.4), xticks=(0, 300, 600, 900), yticks=(1, 2, 3, 4))
        curves.set_title(f"loss (nats per letter) after {step} steps", loc="left")
        curves.annotate("training", (880, 3.7), color=viz.TRAINING, ha="right")
        curves.annotate("validation", (880, 3.35), color=viz.VALIDATION, ha="right")
        shown.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        shown.set(xticks=[], yticks=[])
        shown.set_xlabel("letter looked at", size=8, labelpad=3)
        shown.set_ylabel("letter that looks", size=8, labelpad=3)
        shown.set_title("what one head\nlooks at", loc="left")
        figure.text(0.01, 0.315, "it writes")
        lines = "\n".join(textwrap.wrap(said, 31)[:5])
        figure.text(0.01, 0.29, lines, family="monospace", size=10, color="#111111", va="top", linespacing=1.3)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        plt.close(figure)
    drawn = Image.open(file).convert("RGB")
    light = drawn.point(LEVELS)
    box = tuple(edge * DENSITY for edge in MAP)
    light.paste(drawn.crop(box), box)  # its shades stay as they are
    return light


def main() -> None:
    record = load_record("film")
    known = CharTokenizer.train(load_corpus("tales")).vocab_size
    assert known == record["settings"]["model"]["vocab_size"], "the record is stale: make records NAME=film"
    frames = [frame(record, step) for step in STEPS]
    film, still = io.BytesIO(), io.BytesIO()
    frames[0].save(
        film,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=HOLD,
        loop=1,
        lossless=True,
        method=6,
        xmp=fingerprint().encode(),
    )
    frames[-1].save(still, "PNG", optimize=True)
    write_atomic(ASSETS / "film.webp", film.getvalue())
    write_atomic(ASSETS / "film.png", still.getvalue())
    print(f"{len(frames)} frames, {len(film.getvalue()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
