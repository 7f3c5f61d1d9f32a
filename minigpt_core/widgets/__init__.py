"""What runs in the page: the engine, which is the model in JavaScript, and the widgets that stand on it.

A widget has two faces. In Jupyter and in Colab it is alive through the kernel; in the book it is a picture that the page's own
scripts bring to life. Both run the same JavaScript.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parent
ENGINE = ("kernel", "model", "sampling", "tokenizer", "worker")  # in this order
# What a worker needs besides, to train; and the widgets that do so.
TRAINING = ("random", "data", "counting", "clinic", "train", "file", "classroom")
TRAINERS = ("trainer",)
# What each widget runs on the page's own thread; the model always runs in a worker.
WIDGETS = {
    "playground": ("files.js", "playground.js"),
    "sampler": ("engine/sampling.js", "sampler.js"),
    "attention": ("attention.js",),
    "anatomy": ("engine/sampling.js", "anatomy.js"),
    "budget": ("scaling.js", "budget.js"),
    "curves": ("labels.js", "curves.js"),
    "predict": ("reader.js", "predict.js"),
    "progress": ("reader.js", "progress.js"),
    "quiz": ("reader.js", "quiz.js"),
    "repetition": ("repetition.js",),
    "tokenizer": ("engine/tokenizer.js", "tokenizer.js"),
    "trainer": ("files.js", "playground.js", "labels.js", "learning.js", "own.js", "trainer.js"),
}


def source(name: str) -> str:
    """The text of a file of this folder.

    >>> source("bridge.js")[:10]
    '// Between'
    """
    return (FOLDER / name).read_text(encoding="utf-8")


def engine_source() -> str:
    """The whole engine as one script, for a worker."""
    return "\n".join(source(f"engine/{name}.js") for name in ENGINE)


def training_source() -> str:
    """What is added to the engine for a worker that trains."""
    return "\n".join(source(f"engine/{name}.js") for name in TRAINING)


def widget_source(name: str) -> str:
    """The script of one widget."""
    return "\n".join(map(source, WIDGETS[name]))


def host_source() -> str:
    """The script that brings the widgets of a page to life."""
    return "\n".join(map(source, ("bridge.js", "parts.js", "host.js")))


def live_module(name: str) -> str:
    """The same scripts as a module for Jupyter and Colab."""
    engine = engine_source() + ("\n" + training_source() if name in TRAINERS else "")
    return "\n".join(
        [
            *map(source, ("bridge.js", "parts.js", "live.js")),
            widget_source(name),
            f"export default globalThis.minigpt.live({json.dumps(name)}, {json.dumps(engine)});",
        ]
    )
