"""Figures of the book: arrays in, a closed matplotlib Figure out, in one look. Nothing here ever sees a model.

A colour means the same on every page (Okabe and Ito's palette, safe for colour-blind readers), and never stands alone:
every line carries its label. Figures have a transparent ground and mid-grey axes, so that they sit on light and dark pages.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TRAINING = "#0072B2"
VALIDATION = "#D55E00"
CHOSEN = "#009E73"
REFERENCE = "#767676"  # and axes: legible on white and on black

CHINESE_FONT = Path(__file__).parent / "fonts" / "NotoSansSC-subset.otf"
font_manager.fontManager.addfont(CHINESE_FONT)

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans", "MiniGPT Noto Sans SC"],
    "font.size": 10,
    "figure.dpi": 140,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": REFERENCE,
    "axes.labelcolor": REFERENCE,
    "axes.titlecolor": REFERENCE,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": REFERENCE,
    "xtick.color": REFERENCE,
    "ytick.color": REFERENCE,
}


def loss_curve(
    steps: Sequence[int],
    training: Sequence[float],
    validation: Mapping[int, float],
    *,
    title: str,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """The losses of a run in nats per token: `training` at each of `steps`, `validation` at some of them, and grey dashed
    lines at `references`, such as {"ln V": 4.17}. The title states what is seen.

    >>> loss_curve([1, 2, 3], [4.2, 3.9, 3.5], {3: 3.6}, title="Both losses fall").get_size_inches()
    array([5.2, 3.2])
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
        axes.plot(steps, training, color=TRAINING, linewidth=1)
        axes.plot(list(validation), list(validation.values()), color=VALIDATION, marker="o", markersize=4)
        _label(axes, steps[-1], training[-1], "training", TRAINING, below=True)
        if validation:
            last = list(validation)[-1]
            _label(axes, last, validation[last], "validation", VALIDATION, below=False)
        for name, loss in (references or {}).items():
            axes.axhline(loss, color=REFERENCE, linestyle="--", linewidth=1)
            axes.annotate(f"{name} = {loss:.2f}", (steps[-1], loss), (0, 3), textcoords="offset points", ha="right")
        axes.set(title=title, xlabel="training step", ylabel="loss (nats per token)")
    plt.close(figure)
    return figure


def _label(axes: Axes, x: float, y: float, text: str, color: str, below: bool) -> None:
    """The name of a line at its end, in its colour."""
    offset = (6, -4 if below else 4)
    axes.annotate(text, (x, y), offset, textcoords="offset points", color=color, va="top" if below else "bottom")
