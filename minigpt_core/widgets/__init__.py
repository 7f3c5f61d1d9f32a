"""What runs in the page: the engine, which is the model in JavaScript, and the widgets that stand on it.

A widget has two faces. In Jupyter and in Colab it is alive through the kernel; in the book it is a picture that the page's own
scripts bring to life. Both run the same JavaScript.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
ENGINE = ("model", "sampling", "tokenizer", "worker")  # in this order


def source(name: str) -> str:
    """The text of a file of this folder.

    >>> source("bridge.js")[:10]
    '// Between'
    """
    return (FOLDER / name).read_text(encoding="utf-8")


def engine_source() -> str:
    """The whole engine as one script, for a worker."""
    return "\n".join(source(f"engine/{name}.js") for name in ENGINE)
