"""Figures of the book: arrays in, a closed matplotlib Figure out, in one look. Nothing here ever sees a model.

A colour means the same on every page (Okabe and Ito's palette, safe for colour-blind readers), and never stands alone:
every line carries its label. Figures have a transparent ground and mid-grey axes, so that they sit on light and dark pages.
"""

import itertools
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
    training: Sequence[float],
    validation: Mapping[int, float],
    *,
    title: str,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """The losses of a run in nats per token: `training` at steps 1, 2, 3 and so on, `validation` at some steps, and grey
    dashed lines at `references`, such as {"ln V": 4.17}. The title states what is seen.

    >>> loss_curve([4.2, 3.9, 3.5], {3: 3.6}, title="Both losses fall").get_size_inches()
    array([5.2, 3.2])
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
        _draw_losses(axes, training, validation, references or {})
        axes.set(title=title, xlabel="training step", ylabel="loss (nats per token)")
    plt.close(figure)
    return figure


def losses_side_by_side(
    runs: Mapping[str, tuple[Sequence[float], Mapping[int, float]]],
    *,
    title: str,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Several runs beside one another on one scale, each a pair of training and validation losses under its name.

    >>> run = [4.2, 3.9, 3.5], {3: 3.6}
    >>> len(losses_side_by_side({"one": run, "two": run}, title="They agree").axes)
    2
    """
    with plt.rc_context(STYLE | {"font.size": 9}):
        figure, row = plt.subplots(1, len(runs), figsize=(5.2, 3.0), sharey=True, layout="constrained", squeeze=False)
        for i, (axes, (name, (training, validation))) in enumerate(zip(row[0], runs.items(), strict=True)):
            _draw_losses(
                axes,
                training,
                validation,
                references or {},
                name_references=i == len(runs) - 1,
                names_at=0.45 if i == 0 else None,
            )
            axes.set_title(name, fontsize=10)
        row[0][0].set_ylabel("loss (nats per token)")
        figure.supxlabel("training step", color=REFERENCE, fontsize=10)
        figure.suptitle(title, color=REFERENCE, fontsize=11, x=0.01, ha="left")
    plt.close(figure)
    return figure


def rate_and_gradient(rates: Sequence[float], grad_norms: Sequence[float], *, clip: float | None, title: str) -> Figure:
    """The learning rate and the norm of the gradient at steps 1, 2, 3 and so on, one above the other, with the norm that
    clipping allows (None: no line).

    >>> len(rate_and_gradient([1e-3, 2e-3], [3.0, 0.7], clip=1.0, title="The norm falls").axes)
    2
    """
    with plt.rc_context(STYLE):
        figure, (above, below) = plt.subplots(2, 1, figsize=(5.2, 3.8), sharex=True, layout="constrained")
        steps = range(1, len(rates) + 1)
        above.plot(steps, rates, color=TRAINING, linewidth=1.5)
        above.set(ylabel="learning rate", title=title, ylim=(0, None))
        below.plot(steps, grad_norms, color=TRAINING, linewidth=0.8)
        below.set(ylabel="norm of the\ngradient", xlabel="training step", ylim=(0, None))
        if clip is not None:
            below.axhline(clip, color=REFERENCE, linestyle="--", linewidth=1)
            below.annotate("clipped\nabove", (1.01, clip), xycoords=("axes fraction", "data"), va="center")
    plt.close(figure)
    return figure


def compare_curves(
    curves: Mapping[str, Mapping[int, float]],
    *,
    chosen: str,
    title: str,
    ylabel: str = "validation loss (nats per token)",
) -> Figure:
    """Curves under their names: the `chosen` one in green with dots, the others in grey, each with a dash of its own.

    >>> curves = {"with": {1: 4.0, 2: 3.0}, "without": {1: 4.0, 2: 3.5}}
    >>> len(compare_curves(curves, chosen="with", title="It helps").axes[0].lines)
    2
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
        dashes = iter(["--", ":", "-.", (0, (1, 3))])
        heights = [height for curve in curves.values() for height in curve.values()]
        ends = _spread([list(curve.values())[-1] for curve in curves.values()], 0.06 * (max(heights) - min(heights)))
        for (name, curve), end in zip(curves.items(), ends, strict=True):
            look: dict[str, Any] = (
                {"color": CHOSEN, "marker": "o", "markersize": 4}
                if name == chosen
                else {"color": REFERENCE, "linestyle": next(dashes)}
            )
            axes.plot(list(curve), list(curve.values()), **look)
            axes.annotate(name, (1.01, end), xycoords=("axes fraction", "data"), color=look["color"], va="center")
        axes.set(title=title, xlabel="training step", ylabel=ylabel)
    plt.close(figure)
    return figure


def bars(values: Mapping[str, float], *, title: str, xlabel: str, chosen: str | None = None) -> Figure:
    """Horizontal bars with their names at the left and their values at the right; the `chosen` one in green, with a mark.

    >>> len(bars({"a": 0.7, "b": 0.3}, title="a leads", xlabel="share").axes[0].patches)
    2
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.2, 0.8 + 0.28 * len(values)), layout="constrained")
        colors = [CHOSEN if name == chosen else REFERENCE for name in values]
        drawn = axes.barh(list(values), list(values.values()), color=colors, height=0.6)
        labels = [f"{value:.2f}" + (" *" if name == chosen else "") for name, value in values.items()]
        axes.bar_label(drawn, labels, padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set(title=title, xlabel=xlabel)
    plt.close(figure)
    return figure


def _draw_losses(
    axes: Axes,
    training: Sequence[float],
    validation: Mapping[int, float],
    references: Mapping[str, float],
    name_references: bool = True,
    names_at: float | None = 0.3,
) -> None:
    """Both losses of a run; the lines are named inside the axes, at this part of the steps, the references outside."""
    axes.plot(range(1, len(training) + 1), training, color=TRAINING, linewidth=0.8)
    axes.plot(list(validation), list(validation.values()), color=VALIDATION, marker="o", markersize=4)
    if names_at is not None:
        place = max(1, int(names_at * len(training)))
        below: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "top", "color": TRAINING}
        axes.annotate("training", (place, training[place - 1]), (0, -10), **below)
        if validation:
            near = min(validation, key=lambda step: abs(step - 1.3 * place))
            above: dict[str, Any] = {"textcoords": "offset points", "va": "bottom", "color": VALIDATION}
            axes.annotate("validation", (near, validation[near]), (4, 8), **above)
    heights = [*training, *validation.values(), *references.values()]
    ends = _spread(list(references.values()), 0.06 * (max(heights) - min(heights)))
    for (name, loss), end in zip(references.items(), ends, strict=True):
        axes.axhline(loss, color=REFERENCE, linestyle="--", linewidth=1)
        if name_references:
            axes.annotate(f"{name} {loss:.2f}", (1.01, end), xycoords=("axes fraction", "data"), va="center")


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights of labels beside lines, pushed apart to `gap` where they would lie on one another."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    spread = list(heights)
    for lower, upper in itertools.pairwise(order):
        spread[upper] = max(spread[upper], spread[lower] + gap)
    return spread
