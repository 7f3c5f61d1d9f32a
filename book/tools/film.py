"""Make book/assets/film.webp and its still, film.png: a recorded run from noise to words, while its curve and the map of one
head move. Both come from book/records/film.json; what they were made of is written into the film, so that a test can tell.

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
HOLD = 250, 4000  # milliseconds a frame, and the last one
MAP = 544, 0, 800, 256  # where the map stands, in pixels
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
    with plt.rc_context(viz.STYLE | {"savefig.facecolor": "white", "font.size": 11}):
        figure = plt.figure(figsize=(8, 4.1), dpi=100)
        left, right = figure.add_axes((0.07, 0.38, 0.5, 0.53)), figure.add_axes((0.68, 0.38, 0.29, 0.53))
        for name, loss in levels().items():
            left.axhline(loss, color=viz.REFERENCE, linestyle="--", linewidth=0.8)
            left.annotate(name, (905, loss), va="center", fontsize=9, annotation_clip=False)
        left.plot(range(1, step + 1), curve["train_loss"][:step], color=viz.TRAINING, linewidth=1)
        held = [(at, loss) for at, loss in zip(curve["val_step"], curve["val_loss"], strict=True) if at <= step]
        left.plot(*zip(*held, strict=True) if held else ((), ()), color=viz.VALIDATION, marker="o", markersize=4)
        left.set(xlim=(0, 900), ylim=(1, 4.4), xticks=(0, 300, 600, 900), title=f"loss (nats per token), step {step}")
        left.annotate("training", (880, 3.7), color=viz.TRAINING, ha="right")
        left.annotate("validation", (880, 3.4), color=viz.VALIDATION, ha="right")
        right.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        right.set(xticks=[], yticks=[], title="what one head looks at")
        figure.text(
            0.07, 0.25, "\n".join(textwrap.wrap(said, 62)[:3]), family="monospace", size=13, color="#111111", va="top"
        )
        file = io.BytesIO()
        figure.savefig(file, format="png")
        plt.close(figure)
    drawn = Image.open(file).convert("RGB")
    light = drawn.point(LEVELS)
    light.paste(drawn.crop(MAP), MAP)  # its shades stay as they are
    return light


def main() -> None:
    record = load_record("film")
    known = CharTokenizer.train(load_corpus("tales")).vocab_size
    assert known == record["settings"]["model"]["vocab_size"], "the record is stale: make records NAME=film"
    frames = [frame(record, step) for step in STEPS]
    durations = [HOLD[0]] * (len(frames) - 1) + [HOLD[1]]
    film, still = io.BytesIO(), io.BytesIO()
    frames[0].save(
        film,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
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
