"""The figure of a class: the results of all projects, gathered by `minigpt collect`. It is larger than the figures of a page,
for a wall or a screen, and in the same look (`viz`)."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import MaxNLocator

from .viz import CHOSEN, REFERENCE, STYLE, plain


@dataclass(frozen=True)
class Panel:
    """One part of the figure of a class: what is seen, the axis, the line and its name, what the marks stand for, and for each
    row a name, a value, half the length of its bar, whether it counts, and its marks (None: not measured)."""

    title: str
    axis: str
    line: float
    line_name: str
    kinds: Sequence[str]
    names: Sequence[str]
    values: Sequence[float]
    errors: Sequence[float]
    counted: Sequence[bool]
    marks: Sequence[Sequence[bool | None]]


ROW = 0.2  # inches; for a name of 9 points
NAME_LETTERS = 22
MARKS = {True: "\u25cf", False: "\u25cb", None: "\u2013"}


def class_results(panels: Sequence[Panel]) -> Figure:
    """The results of a class, a panel for each project, a row for each person: the name, a dot at the value, green where it
    counts, with a bar where it has an error, and at the right a mark for each criterion: full where it is met, a ring where
    not, a dash where nothing was measured. A grey dashed line shows what there was to reach.

    >>> panel = Panel("1 of 1 is below", "loss", 0.0, "goal", ["loss"], ["Ada"], [-0.1], [0.0], [True], [[True]])
    >>> [label.get_text() for label in class_results([panel]).axes[0].get_yticklabels()]
    ['Ada']
    """
    if not panels:
        raise ValueError("there is no project to draw")
    columns = min(2, len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [max(1.7 + 0.17 * len(p.kinds) + ROW * len(p.names) for p in row) for row in rows]
    fonts = _fonts_for("".join(name for panel in panels for name in panel.names))
    with plt.rc_context(
        STYLE
        | {"font.size": 9, "figure.constrained_layout.w_pad": 0.12, "font.family": [*STYLE["font.family"], *fonts]}
    ):
        size = 5.2 * columns, sum(heights)
        figure, grid = plt.subplots(
            len(rows), columns, figsize=size, layout="constrained", squeeze=False, height_ratios=heights
        )
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw_class(axes, panel, bool(fonts))
    plt.close(figure)
    return figure


def as_file(figure: Figure, kind: str) -> bytes:
    """The bytes of a figure as "png" or "svg"; the same figure gives the same bytes.

    >>> as_file(class_results([panel]), "png")[1:4]                                     # doctest: +SKIP
    b'PNG'
    """
    raw = io.BytesIO()
    with plt.rc_context(STYLE | {"svg.hashsalt": "minigpt"}):
        figure.savefig(raw, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return raw.getvalue()


def _draw_class(axes: Axes, panel: Panel, as_written: bool) -> None:
    count = len(panel.names)
    axes.axvline(panel.line, color=REFERENCE, linestyle="--", linewidth=1)
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "bottom", "annotation_clip": False}
    left = min([*panel.values, panel.line]) - max(panel.errors)
    for row in range(count):
        color = CHOSEN if panel.counted[row] else REFERENCE
        value, error = panel.values[row], panel.errors[row]
        axes.plot(
            [left, value], [row, row], color=REFERENCE, linewidth=0.4, linestyle=":"
        )  # leads from the name to the dot
        if error:
            axes.plot([value - error, value + error], [row, row], color=color, linewidth=1.5)
        axes.plot(value, row, "o", color=color, markersize=5, fillstyle="full" if panel.counted[row] else "none")
        for i, mark in enumerate(panel.marks[row]):
            place = (1.04 + 0.045 * i, row)
            axes.annotate(MARKS[mark], place, xycoords=("axes fraction", "data"), ha="center", va="center", color=color)
    for i in range(len(panel.kinds)):
        above = (1.04 + 0.045 * i, -0.7)
        axes.annotate(str(i + 1), above, xycoords=("axes fraction", "data"), ha="center", va="bottom", fontsize=8)
    names = [name if len(name) <= NAME_LETTERS else name[: NAME_LETTERS - 1] + "\u2026" for name in panel.names]
    axes.set_yticks(range(count), names if as_written else [plain(name) for name in names])
    for label, counted in zip(axes.get_yticklabels(), panel.counted, strict=True):
        label.set_color(CHOSEN if counted else REFERENCE)
    axes.set_ylim(count - 0.5, -0.7)
    axes.margins(x=0.06)
    low, high = axes.get_xlim()
    inwards = "left" if panel.line < (low + high) / 2 else "right"  # so that it stays off the marks' numbers
    axes.annotate(plain(panel.line_name), (panel.line, -0.7), (0, 1), ha=inwards, fontsize=8, **beside)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    kinds = [f"{i}  {plain(kind)}" for i, kind in enumerate(panel.kinds, 1)]
    axes.set_xlabel("\n".join([_wrapped(panel.axis, 44), "", *kinds]), loc="left")
    axes.xaxis.label.set_multialignment("left")
    axes.set_title(_wrapped(panel.title, 52), pad=18)


def _wrapped(text: str, letters: int) -> str:
    return "\n".join(textwrap.wrap(plain(text), letters))


def _fonts_for(text: str) -> list[str]:
    """Fonts of this machine for characters that the book's own fonts lack: the first that has them all, if there is one."""
    lacking = {ord(c) for c in text if c.isprintable() and plain(c) != c}
    if not lacking:
        return []
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: entry.name):
        try:
            if lacking <= set(FT2Font(entry.fname).get_charmap()):
                return [entry.name]
        except (OSError, RuntimeError):  # a font that matplotlib cannot read
            continue
    return []
