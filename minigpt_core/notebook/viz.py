"""Figures of the book: arrays in, a closed matplotlib Figure out, in one look. Nothing here ever sees a model.

A colour means the same on every page (Okabe and Ito's palette, safe for colour-blind readers), and never stands alone:
every line carries its label. Figures have a transparent ground and mid-grey axes, so that they sit on light and dark pages.
They are narrow, with letters to match: on a telephone, 336 px wide, 10 points are still 11 px.
"""

import functools
import itertools
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox
from matplotlib_inline.config import InlineBackend

TRAINING = "#0072B2"
VALIDATION = "#D55E00"
CHOSEN = "#009E73"
REFERENCE = "#767676"  # and axes: legible on white and on black
GRADIENT = "#AA4499"  # what flows back from the loss

CHINESE_FONT = Path(__file__).parent / "fonts" / "NotoSansSC-subset.otf"
font_manager.fontManager.addfont(CHINESE_FONT)

# A notebook stores twice the pixels that it shows: sharp on any screen.
InlineBackend.instance().figure_formats = {"retina"}

WIDTH = 4.2  # inches
TITLE_LETTERS = 46  # letters of a title that fit into it

# Of grey curves, one after the other: a dash and a mark.
LOOKS: tuple[tuple[Any, str], ...] = (
    ("--", "s"),
    (":", "^"),
    ("-.", "D"),
    ((0, (1, 3)), "v"),
    ((0, (6, 2, 1, 2)), "X"),
)

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans", "MiniGPT Noto Sans SC"],
    "font.size": 10,
    "figure.dpi": 110,  # about 470 px wide
    "figure.facecolor": "none",
    "figure.constrained_layout.h_pad": 0.07,
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": REFERENCE,
    "axes.labelcolor": REFERENCE,
    "axes.titlecolor": REFERENCE,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": REFERENCE,
    "text.parse_math": False,  # a dollar is a dollar
    "xtick.color": REFERENCE,
    "ytick.color": REFERENCE,
}

BLANKS = {"\n": "\u21b5", "\t": "\u21e5"}  # how they look in a label, as in a tokenizer's `tokens`


@functools.cache
def _drawable() -> frozenset[int]:
    """The characters that the fonts of all figures have."""
    found = [font_manager.findfont(name) for name in ("DejaVu Sans", "DejaVu Sans Mono", "MiniGPT Noto Sans SC")]
    letters, mono, chinese = (set(FT2Font(path).get_charmap()) for path in found)
    return frozenset(letters & mono | chinese)


def plain(text: str) -> str:
    """Text as it is drawn, all of it and in one line: line breaks and tabs are made visible, and a character that has no
    picture, in these fonts or at all, is written by its number.

    >>> plain("a\\tb\\n\\U0001f3f4")
    'a⇥b↵\\\\U0001f3f4'
    """
    drawn = (BLANKS.get(c) or (c if c.isprintable() and ord(c) in _drawable() else ascii(c)[1:-1]) for c in text)
    return "".join(drawn)


def spaced(text: str) -> str:
    """The same where names stand below or beside one another: ▁, for a space, would be a bar over the next one.

    >>> spaced("▁said")
    '␣said'
    """
    return plain(text).replace("▁", "␣")


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
    array([4.2, 3. ])
    """
    _need(len(training) > 0, "a loss curve needs at least one training loss, but there is none")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 3.0), layout="constrained")
        _draw_losses(axes, training, validation, references or {})
        _entitle(figure, title, axes, "training step", "loss (nats per token)")
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
    _need(len(runs) > 0, "there is no run to draw")
    for name, (training, _) in runs.items():
        _need(len(training) > 0, f"the run {name!r} needs at least one training loss, but has none")
    with plt.rc_context(STYLE | {"font.size": 9}):
        figure, row = plt.subplots(1, len(runs), figsize=(WIDTH, 3.0), sharey=True, layout="constrained", squeeze=False)
        for i, (axes, (name, (training, validation))) in enumerate(zip(row[0], runs.items(), strict=True)):
            _draw_losses(
                axes,
                training,
                validation,
                references or {},
                name_references=i == len(runs) - 1,
                names_at=(0.45, 0.62) if i == 0 else None,
                reach=0.33,
            )
            axes.set_title(plain(name))
        row[0][0].set_ylabel("loss (nats per token)")
        figure.supxlabel("training step", color=REFERENCE, fontsize=9)
        _entitle(figure, title)
    plt.close(figure)
    return figure


def rate_and_gradient(rates: Sequence[float], grad_norms: Sequence[float], *, clip: float | None, title: str) -> Figure:
    """The learning rate and the norm of the gradient at steps 1, 2, 3 and so on, one above the other, with the norm that
    clipping allows (None: no line).

    >>> len(rate_and_gradient([1e-3, 2e-3], [3.0, 0.7], clip=1.0, title="The norm falls").axes)
    2
    """
    steps = range(1, len(rates) + 1)
    _need(
        len(rates) == len(grad_norms), f"there are {len(rates)} rates and {len(grad_norms)} norms: one of each a step"
    )
    with plt.rc_context(STYLE):
        figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 4.0), sharex=True, layout="constrained")
        above.plot(steps, rates, color=TRAINING, linewidth=1.5)
        above.set(ylim=(0, None))
        _entitle(figure, title, above, "", "learning rate")
        below.plot(steps, grad_norms, color=TRAINING, linewidth=0.8)
        below.set(ylim=(0, None))
        _entitle(figure, title, below, "training step", "norm of the gradient")
        if clip is not None:
            below.axhline(clip, color=REFERENCE, linestyle="--", linewidth=1)
            below.annotate("clipped\nabove", (1.01, clip), xycoords=("axes fraction", "data"), va="center")
    plt.close(figure)
    return figure


def compare_curves(
    curves: Mapping[str, Mapping[int, float] | Sequence[Mapping[int, float]]],
    *,
    chosen: str | None = None,
    title: str,
    ylabel: str = "validation loss (nats per token)",
    xlabel: str = "training step",
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Curves under their names: the `chosen` one in green with dots, up to five others in grey, each with a dash and a mark of
    its own; several runs of one kind, as a list, look alike. A thin line leads from the end of a curve, of several the middle
    one, to its name; that of a curve that ends early stands at its end.
    Grey dashed lines cross them at the `references`. Places of which each is as many times the one before stand at equal
    distances, and heights that come near to 0 begin there.

    >>> curves = {"with": {1: 4.0, 2: 3.0}, "without": {1: 4.0, 2: 3.5}}
    >>> [text.get_text() for text in compare_curves(curves, chosen="with", title="It helps").axes[0].texts]
    ['with', 'without']
    """
    kinds = {name: [kind] if isinstance(kind, Mapping) else list(kind) for name, kind in curves.items()}
    everything = [curve for kind in kinds.values() for curve in kind]
    _check_curves({name: min(kind, key=len, default={}) for name, kind in kinds.items()}, chosen)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 3.0), layout="constrained")
        looks = _looks(curves, chosen)
        for kind, look in zip(kinds.values(), looks, strict=True):
            for curve in kind:
                axes.plot(list(curve), list(curve.values()), **look, markevery=max(1, len(curve) // 12))
        places = [place for curve in everything for place in curve]
        early = min(places) + 0.8 * (max(places) - min(places))
        ended = {
            name: sorted((list(curve.items())[-1] for curve in kind), key=lambda last: last[1])
            for name, kind in kinds.items()
        }
        lasts = {name: last[len(last) // 2] for name, last in ended.items()}
        to_the_end = [name for name, (place, _) in lasts.items() if place > early or len(places) == len(everything)]
        heights = [height for curve in everything for height in curve.values()]
        name_height = 0.11 * (max(heights) - min(heights))
        ends = dict(
            zip(to_the_end, _spread([lasts[name][1] for name in to_the_end], name_height, max(heights)), strict=True)
        )
        for (name, last), look in zip(lasts.items(), looks, strict=True):
            told: dict[str, Any] = {"va": "center", "color": look["color"]}
            if name in ends:
                lead = {"arrowstyle": "-", "color": look["color"], "linewidth": 0.6, "shrinkA": 1, "shrinkB": 4}
                lead["relpos"] = (0, 0.5)  # a thin line ends left of its name, and runs through none
                beside: dict[str, Any] = {"textcoords": ("axes fraction", "data"), "arrowprops": lead}
                axes.annotate(plain(name), last, (1.05, ends[name]), **beside, **told)
            else:
                axes.plot(*last, **look | {"markersize": 7})
                told["va"], up = ("bottom", 4) if last[1] > max(heights) - name_height else ("top", -4)
                axes.annotate(plain(name), last, (4, up), textcoords="offset points", **told)
        for name, height in (references or {}).items():
            axes.axhline(height, color=REFERENCE, linestyle="--", linewidth=1)
            under: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "top"}
            axes.annotate(f"{plain(name)} {height:.4g}", (0.02, height), (0, -3), **under)
            axes.update_datalim([(min(places), height - name_height)])
            axes.autoscale_view()
        if _doubling(places):
            axes.set_xscale("log")
            ticks = sorted(set(places))
            axes.set_xticks(ticks[:: -(-len(ticks) // 6)], minor=False)
            axes.set_xticks([], minor=True)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:g}"))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if 0 <= min(heights) < 0.2 * max(heights):
            axes.set_ylim(bottom=0)
        _entitle(figure, title, axes, xlabel, ylabel)
    plt.close(figure)
    return figure


def valley(
    loss: Callable[[float], float], walks: Mapping[str, Sequence[float]], *, chosen: str, title: str, xlabel: str
) -> Figure:
    """The loss (nats) over a number that is turned, a grey valley, once for each of the `walks` down into it: the places of its
    steps, joined in their order, each under its name. A thick plus is where it begins, a star where it ends; the first steps
    are numbered where they are long, and the `chosen` one is green.

    >>> walks = {"short steps": [-2.0, -1.8], "long steps": [-2.0, 1.5]}
    >>> figure = valley(lambda z: z * z, walks, chosen="long steps", title="Farther down", xlabel="z")
    >>> [len(axes.lines) for axes in figure.axes]
    [4, 4]
    """
    _check_chosen(walks, chosen)
    _need(bool(walks) and all(map(len, walks.values())), "a walk needs at least the place where it begins")
    low, high = min(map(min, walks.values())), max(map(max, walks.values()))
    margin = 0.06 * (high - low)
    ground = [low - margin + i / 200 * (high - low + 2 * margin) for i in range(201)]
    with plt.rc_context(STYLE):
        figure, column = _column(len(walks))
        for axes, (name, walk), look in zip(column, walks.items(), _looks(walks, chosen), strict=True):
            color, heights = look["color"], [loss(z) for z in walk]
            axes.plot(ground, [loss(z) for z in ground], color=REFERENCE, linewidth=3, alpha=0.65)
            axes.plot(walk, heights, **look | {"linewidth": 1})
            axes.plot(walk[0], heights[0], color=color, marker="P", markersize=8)
            axes.plot(walk[-1], heights[-1], color=color, marker="*", markersize=10)
            for step, (z, before) in enumerate(zip(walk[1:4], walk, strict=False), 1):
                if abs(z - before) > margin:  # room for a number
                    axes.annotate(str(step), (z, heights[step]), (0, 5), textcoords="offset points", ha="center")
            axes.set_title(plain(name), color=color, loc="right")
        _entitle(figure, title, column[0], "", "loss (nats)")
        column[-1].set_xlabel(plain(xlabel))
    plt.close(figure)
    return figure


def stacked(curves: Mapping[str, Sequence[float]], *, title: str, xlabel: str, ylabel: str) -> Figure:
    """Curves that would tangle, one above the other on the same scales, each under its name: values at 0, 1, 2 and so on.

    >>> len(stacked({"fast": [1, -1, 1], "slow": [1, 0, -1]}, title="Two", xlabel="t", ylabel="cosine").axes)
    2
    """
    _check_chosen(curves, None)
    with plt.rc_context(STYLE):
        figure, column = _column(len(curves))
        for axes, (name, curve) in zip(column, curves.items(), strict=True):
            axes.plot(curve, color=REFERENCE, linewidth=0.9, marker="o", markersize=3)
            axes.set_title(plain(name), loc="right")
        _entitle(figure, title, column[0], "", ylabel)
        column[0].yaxis.set_label_coords(-0.1, 1.3)  # above the name of the first
        column[-1].set_xlabel(plain(xlabel))
    plt.close(figure)
    return figure


def race(runs: Mapping[str, Mapping[float, float]], *, chosen: str, title: str) -> Figure:
    """Runs to one loss, each as {seconds: validation loss} under its name, the `chosen` one in green with dots. Time runs to the
    right, each mark ten times the one before; who arrives sooner ends farther left. The names hang below the ends, the first to
    arrive highest, so that no line crosses a name.

    >>> runs = {"slow": {10.0: 3.0, 40.0: 2.0}, "fast": {1.0: 2.5, 2.0: 2.0}}
    >>> [text.get_text() for text in race(runs, chosen="fast", title="The fast one wins").axes[0].texts]
    ['fast 2.0 s', 'slow 40.0 s']
    """
    _check_curves(runs, chosen)
    seconds = [second for run in runs.values() for second in run]
    losses = [loss for run in runs.values() for loss in run.values()]
    _need(min(seconds) > 0, f"seconds must be above 0, but one is {min(seconds)}")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 3.0 + 0.2 * len(runs)), layout="constrained")
        name_height = 0.11 * (max(losses) - min(losses))
        looks = dict(zip(runs, _looks(runs, chosen), strict=True))
        for i, name in enumerate(sorted(runs, key=lambda name: max(runs[name])), 1):
            run, look = runs[name], looks[name]
            axes.plot(list(run), list(run.values()), **look, markevery=0.08)  # of the diagonal: equally far apart
            end, below = max(run), min(losses) - i * name_height
            axes.plot([end, end], [run[end], below], color=look["color"], linewidth=0.6)
            told: dict[str, Any] = {"ha": "right", "va": "center", "color": look["color"]}
            axes.annotate(
                f"{plain(name)} {end:.1f} s", (end, below), (-3, 0), textcoords="offset points", fontsize=9, **told
            )
        axes.set(xscale="log", ylim=(min(losses) - (len(runs) + 0.7) * name_height, None))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{second:g}"))
        axes.set_yticks([tick for tick in MaxNLocator(5).tick_values(min(losses), max(losses)) if tick >= min(losses)])
        _entitle(figure, title, axes, "seconds of training (logarithmic)", "validation loss (nats per token)")
    plt.close(figure)
    return figure


def scaling(
    amounts: Mapping[str, Mapping[float, float]],
    laws: Mapping[str, Callable[[float], float]],
    *,
    held_out: Mapping[str, Mapping[float, float]],
    floor: tuple[str, float] | None = None,
    title: str,
    xlabel: str = "parameters",
    ylabel: str = "validation loss (nats per character)",
) -> Figure:
    """Losses of models of several sizes, a kind of mark for each amount of text, and the fitted law as a line through them; both
    axes but the loss's are logarithmic. The last amount is green. Crosses are sizes that the law was not fitted to. A grey
    dashed line is the `floor`, with its name.

    >>> figure = scaling({"1 MB": {1e4: 2.0, 1e6: 1.5}}, {"1 MB": lambda n: 1 + n**-0.1}, held_out={}, title="More is better")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1 MB']
    """
    _check_curves(amounts, list(amounts)[-1])
    _need(list(laws) == list(amounts), "each amount needs a law, in the same order")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
        looks = _looks(amounts, list(amounts)[-1])
        everything = [place for curve in amounts.values() for place in curve]
        first, last = min(everything), max(everything)
        sizes = [first * (last / first) ** (i / 60) for i in range(61)]
        for (name, curve), look in zip(amounts.items(), looks, strict=True):
            axes.plot(list(curve), list(curve.values()), **look | {"linestyle": "none"})
            axes.plot(sizes, [laws[name](size) for size in sizes], **look | {"marker": "", "linewidth": 1})
            apart = held_out.get(name, {})
            axes.plot(list(apart), list(apart.values()), "x", color=look["color"], markersize=9, markeredgewidth=2)
        low, high = axes.get_ylim()
        heights = _spread([laws[name](last) for name in amounts], 0.075 * (high - low), high)
        for name, height, look in zip(amounts, heights, looks, strict=True):
            axes.annotate(
                plain(name), (1.02, height), xycoords=("axes fraction", "data"), va="center", color=look["color"]
            )
        if floor:
            axes.axhline(floor[1], color=REFERENCE, linestyle="--", linewidth=1)
            told: dict[str, Any] = {
                "xycoords": ("axes fraction", "data"),
                "textcoords": "offset points",
                "va": "bottom",
            }
            axes.annotate(f"{plain(floor[0])} {floor[1]:.3f}", (0.02, floor[1]), (0, 2), **told)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        _entitle(figure, title, axes, xlabel, ylabel)
    plt.close(figure)
    return figure


def bars(
    values: Mapping[str, float],
    *,
    title: str,
    xlabel: str,
    chosen: str | None = None,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Horizontal bars with their names at the left and their values at the right; the `chosen` one in green, pointed at. Grey
    dashed lines cross them at the `references`.

    >>> len(bars({"a": 0.7, "b": 0.3}, title="a leads", xlabel="share").axes[0].patches)
    2
    """
    _check_chosen(values, chosen)
    with plt.rc_context(STYLE):
        height = 0.9 + 0.27 * len(values) + 0.17 * len(references or {})
        figure, axes = plt.subplots(figsize=(WIDTH, height), layout="constrained")
        colors = [CHOSEN if name == chosen else REFERENCE for name in values]
        drawn = axes.barh(range(len(values)), list(values.values()), color=colors, height=0.6)
        axes.set_yticks(range(len(values)), [plain(name) for name in values])
        labels = [_signed(f"{value:.2f}") + (POINTER if name == chosen else "") for name, value in values.items()]
        if references:  # numbers beside the axes, where no line crosses them
            told: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
            numbers = [axes.annotate(label, (1.02, row), **told) for row, label in enumerate(labels)]
        else:
            numbers = axes.bar_label(drawn, labels, padding=3)
        for color, number, name in zip(colors, numbers, axes.get_yticklabels(), strict=True):
            number.set_color(color)
            name.set_color(color)
        axes.invert_yaxis()
        _draw_across(axes, references or {}, len(values))
        below = min(values.values()) < 0  # then labels need room at the left, too
        axes.margins(x=0.28 if below else 0.2)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if below:
            axes.axvline(0, color=REFERENCE, linewidth=0.8)
        _entitle(figure, title)
        axes.set_xlabel(plain(xlabel), loc="right")  # it may be longer than the axis, and has room at the left
    plt.close(figure)
    return figure


def effects(
    values: Mapping[str, Sequence[float]],
    *,
    title: str,
    xlabel: str,
    chosen: str | None = None,
    band: float | None = None,
) -> Figure:
    """What each change brings, a row for each under its name: a small circle for each seed, and a thick stroke at their mean,
    whose number stands at the right; the `chosen` one in green, pointed at. A value is the difference to the plain model of the
    same seed: of losses, what lies left of the line at 0 is better. A grey band reaches to `band` on both sides of 0: so much
    is chance alone.

    >>> figure = effects({"RoPE": [-0.05, -0.04], "no biases": [0.0, 0.01]}, title="RoPE helps", xlabel="loss", band=0.01)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['−0.045', '+0.005', 'chance: ±0.010']
    """
    _check_chosen(values, chosen)
    for name, seeds in values.items():
        _need(len(seeds) > 0, f"{name!r} has no value of any seed")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.27 * len(values)), layout="constrained")
        axes.axvline(0, color=REFERENCE, linewidth=0.8)
        axes.set_yticks(range(len(values)), [plain(name) for name in values])
        for row, ((name, seeds), label) in enumerate(zip(values.items(), axes.get_yticklabels(), strict=True)):
            color, mark = (CHOSEN, POINTER) if name == chosen else (REFERENCE, "")
            mean = sum(seeds) / len(seeds)
            axes.plot(seeds, [row] * len(seeds), "o", color=color, markersize=4.5, fillstyle="none")
            axes.plot(mean, row, "|", color=color, markersize=13, markeredgewidth=2.5)
            label.set_color(color)
            told: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "color": color}
            axes.annotate(_signed(f"{round(mean, 3) or 0.0:+.3f}") + mark, (1.02, row), **told)
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.margins(x=0.06)
        if band is not None:
            axes.axvspan(-band, band, color=REFERENCE, alpha=0.2, linewidth=0)
            above: dict[str, Any] = {
                "xycoords": ("data", "axes fraction"),
                "textcoords": "offset points",
                "ha": "center",
            }
            axes.annotate(f"chance: ±{band:.3f}", (0, 1), (0, 4), fontsize=9, **above)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _entitle(figure, title)
        axes.set_xlabel(_lines(xlabel, TITLE_LETTERS), loc="right")  # it may be longer than the axis
    plt.close(figure)
    return figure


def staircase(steps: Mapping[str, float], *, rivals: Mapping[str, float], title: str) -> Figure:
    """The growing model's validation loss, a step for each part that was added, from top to bottom; the last one in green,
    pointed at. Where a loss is higher than the one above it, the line goes down first, then back to the right. The `rivals`,
    such as the best count, are grey dashed lines across all steps.

    >>> figure = staircase({"uniform": 4.09, "unigram": 3.04}, rivals={"best count": 1.21}, title="A step down")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['4.09', '3.04 ◂', 'best count 1.21']
    """
    _need(len(steps) > 0, "there is no step to draw")
    last = list(steps)[-1]
    with plt.rc_context(STYLE):
        height = 1.1 + 0.27 * len(steps) + 0.17 * len(rivals)
        figure, axes = plt.subplots(figsize=(WIDTH, height), layout="constrained")
        losses, rows = list(steps.values()), range(len(steps))
        path: list[tuple[float, float]] = []
        for row, loss in enumerate(losses):
            if path and loss > losses[row - 1]:
                path.append((losses[row - 1], row))
            path.append((loss, row))
        axes.plot(*zip(*path, strict=True), color=REFERENCE, drawstyle="steps-post", linewidth=1)
        for row, (name, loss) in enumerate(steps.items()):
            color, mark = (CHOSEN, POINTER) if name == last else (REFERENCE, "")
            axes.plot(loss, row, "o", color=color, markersize=5)
            axes.annotate(
                f"{loss:.2f}{mark}", (loss, row), (7, 0), textcoords="offset points", va="center", color=color
            )
        _draw_across(axes, rivals, len(steps))
        axes.set_yticks(rows, [plain(name) for name in steps])
        axes.set_ylim(len(steps) - 0.5, -0.5)
        axes.set_xlim(min([*losses, *rivals.values()]) - 0.15, max(losses) + 0.8)
        axes.set_xlabel("validation loss (nats per token), less is better", loc="right")
        _entitle(figure, title)
    plt.close(figure)
    return figure


ROW_LETTERS = 46.0  # of a line of pieces


def pieces(rows: Mapping[str, Sequence[str]], *, title: str) -> Figure:
    """Texts cut into pieces, a row for each under its name; neighbours differ in tint, and a gap lies between them. A line ends
    before a space (▁), if the word fits into a line.

    >>> len(pieces({"words": ["the", "▁cat"]}, title="Two pieces").axes[0].patches)
    2
    """
    _need(len(rows) > 0, "there is no row of pieces to draw")
    widest = ROW_LETTERS
    boxes: list[tuple[float, float, float, str, int]] = []
    names: list[tuple[float, str]] = []
    y = 0.0
    for name, row in rows.items():
        names.append((y, f"{plain(name)}: {len(row)}"))
        x, y = 0.0, y + 1.1
        widths = [sum(1.9 if ord(c) > 0x2E80 else 1.0 for c in plain(piece)) + 0.3 for piece in row]
        begins = [i for i, piece in enumerate(row) if piece.startswith("▁")]
        for i, (piece, width) in enumerate(zip(map(plain, row), widths, strict=True)):
            end = next((begin for begin in begins if begin > i), len(row))
            word = sum(widths[i:end]) + 0.25 * (end - i - 1) if i in begins else 0
            if x + width > ROW_LETTERS or (x + word > ROW_LETTERS >= word):
                x, y = 0.0, y + 1.3
            boxes.append((x, y, width, piece, i))
            x += width + 0.25
            widest = max(widest, x)
        y += 1.7
    with plt.rc_context(STYLE | {"font.family": ["DejaVu Sans Mono", "MiniGPT Noto Sans SC"]}):
        figure, axes = plt.subplots(figsize=(WIDTH, 0.4 + 0.2 * y), layout="constrained")
        for x, y_box, width, piece, i in boxes:
            tint = (TRAINING, CHOSEN)[i % 2]
            axes.add_patch(Rectangle((x, y_box), width, 1.0, facecolor=tint, alpha=0.12, linewidth=0))
            axes.text(x + width / 2, y_box + 0.53, piece, ha="center", va="center", fontsize=9)
        for y_name, name in names:
            axes.text(0, y_name + 0.6, name, va="center", family=STYLE["font.family"])
        axes.set(xlim=(0, widest), ylim=(y - 0.6, 0))
        _entitle(figure, title)
        axes.axis("off")
    plt.close(figure)
    return figure


def distributions(tokens: Sequence[str], shaped: Mapping[str, Sequence[float]], *, title: str) -> Figure:
    """The probabilities of the same `tokens` under several settings, beside one another. What a setting removed (0) has a
    cross.

    >>> len(distributions(["a", "b"], {"as it is": [0.7, 0.3], "top_k=1": [1, 0]}, title="b is gone").axes)
    2
    """
    _need(
        len(shaped) > 0 and len(tokens) > 0,
        f"there are {len(tokens)} tokens under {len(shaped)} settings: none to draw",
    )
    for name, values in shaped.items():
        _need(len(values) == len(tokens), f"{name!r} has {len(values)} probabilities for {len(tokens)} tokens")
    with plt.rc_context(STYLE | {"font.size": 9}):
        figure, row = plt.subplots(
            1, len(shaped), figsize=(WIDTH, 1.0 + 0.21 * len(tokens)), sharex=True, layout="constrained", squeeze=False
        )
        for axes, (name, values) in zip(row[0], shaped.items(), strict=True):
            bars = axes.barh(range(len(tokens)), values, color=TRAINING, height=0.62)
            axes.bar_label(bars, [f"{value:.2f}" if value else "×" for value in values], padding=2, fontsize=9)
            axes.set_yticks(
                range(len(tokens)),
                [plain(token) for token in tokens],
                family=["DejaVu Sans Mono", "MiniGPT Noto Sans SC"],
            )
            axes.invert_yaxis()
            axes.set_title(plain(name))
        row[0][0].set_xlim(0, 1.7 * max(max(values) for values in shaped.values()))
        figure.supxlabel("probability", color=REFERENCE, fontsize=9)
        _entitle(figure, title)
    plt.close(figure)
    return figure


def points(
    places: Mapping[str, tuple[float, float]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Names beside marks on a plane. The names of a group share a colour and a mark, told above the axes; those of no group
    are grey dots.

    >>> len(points({"a": (0, 0), "b": (1, 1)}, title="Apart", xlabel="x", ylabel="y").axes[0].texts)
    2
    """
    groups = groups or {}
    _need(len(places) > 0, "there is no point to draw")
    _need(
        len(groups) <= 4,
        f"there are {len(groups)} groups, and marks and colours for four: {', '.join(map(str, groups))}",
    )
    few = {1: (CHOSEN,), 2: (REFERENCE, CHOSEN)}
    colors = few.get(len(groups), (VALIDATION, TRAINING, CHOSEN, GRADIENT))
    looks = list(zip(colors, "s^Dv", "■▲◆▼", strict=False))
    look_of = {name: look[:2] for group, look in zip(groups.values(), looks, strict=False) for name in group}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 4.2), layout="constrained")
        for name, (x, y) in places.items():
            color, mark = look_of.get(name, (REFERENCE, "o"))
            axes.plot(x, y, mark, color=color, markersize=4)
        told: dict[str, Any] = {"xy": (-0.1, 1.1), "xycoords": "axes fraction", "xytext": (0, 0), "va": "bottom"}
        for group, (color, _, sign) in zip(groups, looks, strict=False):
            text = axes.annotate(f"{sign} {plain(group)}", textcoords="offset points", color=color, **told)
            told |= {"xy": (1, 0), "xycoords": text, "xytext": (12, 0)}  # the next begins where this one ends
        _entitle(figure, title, axes, xlabel, ylabel)
        axes.margins(0.08)
        _name_marks(axes, places, {name: look_of.get(name, (REFERENCE, "o"))[0] for name in places})
    plt.close(figure)
    return figure


def heatmaps(
    maps: Mapping[str, Any],
    *,
    title: str,
    labels: Sequence[str] | None = None,
    xlabel: str = "key position",
    ylabel: str = "query position",
    scale: str | None = "share of attention",
) -> Figure:
    """Square maps of weights (T, T), each row a position that looks, each column one that is looked at, under their names. One
    colour that begins at the page's own, so that nothing is drawn where nothing is; its `scale` stands below, unless it is None.
    `labels` name the positions, where there is room: at no more than two maps. Elsewhere the first and the last are numbered,
    at the first map.

    >>> len(heatmaps({"head 0": [[1, 0], [0.5, 0.5]]}, title="Half and half").axes)  # the map and the scale
    2
    """
    _need(len(maps) > 0, "there is no map to draw")
    for name, weights in maps.items():
        sizes = {len(weights), *map(len, weights)}
        _need(len(sizes) == 1, f"the map {name!r} is not square: it has {len(weights)} rows of {len(weights[0])}")
        if labels is not None:
            _need(
                len(labels) == len(weights), f"there are {len(labels)} labels for the {len(weights)} rows of {name!r}"
            )
    columns = 2 if len(maps) == 4 else min(4, len(maps))
    rows = -(-len(maps) // columns)
    side = (WIDTH - 0.4) / columns
    ink = LinearSegmentedColormap.from_list("ink", [(0, 0.447, 0.698, 0.0), (0, 0.447, 0.698, 1.0)])
    with plt.rc_context(STYLE | {"font.size": 9}):
        height = (side + (0.15 if columns < 3 else 0.33)) * rows + 1.2
        figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, height), layout="compressed", squeeze=False)
        for axes in grid.flat[len(maps) :]:
            axes.axis("off")
        for i, (axes, (name, weights)) in enumerate(zip(grid.flat, maps.items(), strict=False)):
            image = axes.imshow(weights, cmap=ink, vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(_lines(name, 48 // columns), fontsize=9)
            if i >= len(maps) - columns:
                axes.set_xlabel(plain(xlabel))
            if i % columns == 0:
                axes.set_ylabel(plain(ylabel))
            T = len(weights)
            if labels is not None and len(maps) <= 2:
                axes.spines[:].set_visible(False)
                look: dict[str, Any] = {
                    "labels": [spaced(label) for label in labels],
                    "fontsize": min(9, 72 * side / T),
                }
                axes.set_xticks(range(T), **look)
                axes.set_yticks(range(T), **look)
                axes.tick_params(length=0, pad=1)
            else:
                axes.set_xticks([0, T - 1], ["0", f"{T - 1}"] if i == 0 else ["", ""])
                axes.set_yticks([0, T - 1], ["0", f"{T - 1}"] if i == 0 else ["", ""])
                axes.tick_params(length=2, pad=2)
        if scale is not None:
            bar = figure.colorbar(image, ax=grid, location="bottom", shrink=0.7, aspect=30, label=plain(scale))
            bar.outline.set_visible(False)
        _entitle(figure, title)
    plt.close(figure)
    return figure


def graph(
    nodes: Sequence[tuple[str, float, float | None]], edges: Sequence[tuple[int, int, float]], *, title: str
) -> Figure:
    """A computation, from left to right: each node a name, a value, and the slope of the result along it (None: not known
    yet), the result last; each edge the numbers of two nodes, the one used before the one that uses it, and the local slope.
    Values and arrows are grey; what flows back is purple, below a line in boxes and with a × at arrows.

    >>> nodes = [("w", 2.0, 6.0), ("3 w", 6.0, 1.0)]
    >>> [text.get_text() for text in graph(nodes, [(0, 1, 3.0)], title="A factor").axes[0].texts]
    ['w', '2', '6', '3 w', '6', '1', '×3']
    """
    _need(len(nodes) > 0, "there is no node to draw")
    for i, j, _ in edges:
        _need(0 <= i < j < len(nodes), f"the edge from node {i} to node {j}: a node comes before those that use it")
    places = _graph_places(len(nodes), [edge[:2] for edge in edges])
    arrows = [_graph_arrow(places, edges, number) for number in range(len(edges))]
    width, height = BOX
    corners = [(x + side * width / 2, y + side * height / 2) for x, y in places for side in (-1, 1)]
    corners += [label for _, _, _, label in arrows]
    (left, right), (low, high) = ((min(c) - 0.1, max(c) + 0.1) for c in zip(*corners, strict=True))
    inch = min(0.6, WIDTH / (right - left))  # of a unit
    text: dict[str, Any] = {"ha": "center", "va": "center"}
    with plt.rc_context(STYLE | {"font.size": 9}):
        figure, axes = plt.subplots(figsize=(WIDTH, inch * (high - low) + 0.6), layout="constrained")
        for (name, value, slope), (x, y) in zip(nodes, places, strict=True):
            corner = x - width / 2, y - height / 2
            axes.add_patch(Rectangle(corner, width, height, facecolor="none", edgecolor=REFERENCE))
            axes.text(x, y + 0.38, plain(name), **text)
            axes.text(x, y + 0.05, _signed(f"{value:.4g}"), **text)
            if slope is not None:
                axes.plot([x - width / 2, x + width / 2], [y - 0.17, y - 0.17], color=REFERENCE, linewidth=0.5)
                axes.text(x, y - 0.4, _signed(f"{slope:.3g}"), color=GRADIENT, **text)
        for (start, end, bend, label), (_, _, local) in zip(arrows, edges, strict=True):
            look: dict[str, Any] = {"arrowstyle": "-|>", "color": REFERENCE, "linewidth": 0.9, "mutation_scale": 8}
            curve: dict[str, Any] = {"connectionstyle": f"arc3,rad={bend}", "shrinkA": 1, "shrinkB": 1}
            axes.add_patch(FancyArrowPatch(start, end, **look, **curve))
            axes.text(*label, _signed(f"×{local:.3g}"), color=GRADIENT, **text)
        axes.set(xlim=(left, right), ylim=(low, high), aspect="equal")
        _entitle(figure, title)
        axes.set_title("each box: name, value; below the line: slope", fontsize=9)
        axes.axis("off")
    plt.close(figure)
    return figure


BOX = 1.6, 1.3  # of a graph, in units of its own
ACROSS, DOWN = 2.65, 1.65  # between the middles of neighbouring boxes


def _graph_places(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
    """A place for each node: as many columns before the last as its longest way to the end, at the mean height of those in
    the next column that use it, pushed apart where these are too close."""
    column, users = [0] * count, [[j for i, j in edges if i == node] for node in range(count)]
    for node in reversed(range(count)):
        column[node] = max((column[j] + 1 for j in users[node]), default=0)
    heights: dict[int, float] = {}
    for number in range(max(column) + 1):
        members = [node for node in range(count) if column[node] == number]
        near = {n: [heights[j] for j in users[n] if column[j] == number - 1] for n in members}
        wish = {n: sum(near[n]) / max(1, len(near[n])) for n in members}
        members.sort(key=lambda n: (-wish[n], n))
        middle = sum(wish.values()) / len(members)
        for k, node in enumerate(members):
            heights[node] = middle + DOWN * ((len(members) - 1) / 2 - k)
    return [(-ACROSS * column[node], heights[node]) for node in range(count)]


def _graph_arrow(
    places: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int, float]], number: int
) -> tuple[tuple[float, float], tuple[float, float], float, tuple[float, float]]:
    """Where an arrow begins and ends, how far it bends, and where its label lies. Two arrows between the same boxes bend
    apart; one that passes over a column goes around what lies there."""
    width, height = BOX
    i, j, _ = edges[number]
    (x, y), (x_to, y_to) = places[i], places[j]
    start, end, bend = (x + width / 2, y), (x_to - width / 2, y_to), 0.0
    if x_to - x > 1.5 * ACROSS:
        low, high = min(y for _, y in places), max(y for _, y in places)
        side = -1 if max(y, y_to) < low + DOWN / 2 < high else 1
        start, end, bend = (x, y + side * height / 2), (x_to, y_to + side * height / 2), -0.22 * side
    elif (i, j) in [edge[:2] for edge in edges[:number]]:
        bend = 0.25
    elif (i, j) in [edge[:2] for edge in edges[number + 1 :]]:
        bend = -0.25
    dx, dy = end[0] - start[0], end[1] - start[1]
    aside = (
        -1 if bend > 0 or dy > 0 == bend else 1
    )  # the label lies above the arrow; of one that bends or comes up, below
    off = 0.22 + 0.3 * abs(dy / dx)  # a label is about 0.6 wide
    return start, end, bend, (start[0] + dx / 2 + bend * dy / 2, start[1] + dy / 2 - bend * dx / 2 + aside * off)


POINTER = " ◂"  # beside the number of what was chosen


def _lines(text: str, letters: int) -> str:
    """The text as it is drawn, in lines of at most so many letters."""
    return "\n".join(textwrap.wrap(plain(text), letters))


def _entitle(figure: Figure, title: str, axes: Axes | None = None, xlabel: str = "", ylabel: str = "") -> None:
    """The title at the figure's left, and the names of axes: what goes up is named above, in the reading direction."""
    look: dict[str, Any] = {"color": REFERENCE, "fontsize": 11, "family": STYLE["font.family"]}
    figure.suptitle(_lines(title, TITLE_LETTERS), x=0.01, ha="left", **look)
    if axes is not None:
        axes.set_xlabel(_lines(xlabel, TITLE_LETTERS))
        axes.set_ylabel(_lines(ylabel, TITLE_LETTERS), rotation=0, ha="left", va="bottom")
        axes.yaxis.set_label_coords(-0.1, 1.03)


def _column(count: int) -> tuple[Figure, list[Axes]]:
    """Axes one above the other, on the same scales."""
    size = WIDTH, 0.9 + count
    shared: dict[str, Any] = {"sharex": True, "sharey": True, "layout": "constrained", "squeeze": False}
    figure, axes = plt.subplots(count, 1, figsize=size, **shared)
    return figure, list(axes[:, 0])


def _looks(curves: Mapping[str, object], chosen: str | None) -> list[dict[str, Any]]:
    """How each curve is drawn: the chosen one green with dots, each other one with the next dash and mark."""
    grey = ({"color": REFERENCE, "linestyle": dash, "marker": mark, "linewidth": 1.2} for dash, mark in LOOKS)
    look: list[dict[str, Any]] = [{"color": CHOSEN, "marker": "o"} if name == chosen else next(grey) for name in curves]
    return [{**one, "markersize": 4} for one in look]


def _doubling(places: Sequence[float]) -> bool:
    """Is each place as many times the one before, four of them or more?"""
    order = sorted(set(places))
    times = {later / before for before, later in itertools.pairwise(order)} if min(order) > 0 else set()
    return len(order) > 3 and len(times) == 1


def _signed(number: str) -> str:
    return number.replace("-", "−")


def _need(met: bool, said: str) -> None:
    if not met:
        raise ValueError(said)


def _check_chosen(values: Mapping[str, object], chosen: str | None) -> None:
    _need(len(values) > 0, "there is nothing to draw")
    _need(chosen is None or chosen in values, f"chosen={chosen!r} is none of {', '.join(map(str, values))}")


def _check_curves(curves: Mapping[str, Mapping[Any, float]], chosen: str | None) -> None:
    _check_chosen(curves, chosen)
    for name, curve in curves.items():
        _need(len(curve) > 0, f"the curve {name!r} has no points")
    others = len(curves) - (chosen is not None)
    _need(others <= len(LOOKS), f"there are {others} curves besides the chosen one, and dashes for {len(LOOKS)}")


def _draw_losses(
    axes: Axes,
    training: Sequence[float],
    validation: Mapping[int, float],
    references: Mapping[str, float],
    name_references: bool = True,
    names_at: tuple[float, float] | None = (0.24, 0.53),
    reach: float = 0.14,
) -> None:
    """Both losses of a run. They are named inside the axes, each around its part of the steps, and a name reaches so far to both
    sides; the references are named outside."""
    axes.plot(range(1, len(training) + 1), training, color=TRAINING, linewidth=0.8)
    axes.plot(list(validation), list(validation.values()), color=VALIDATION, marker="o", markersize=4)
    heights = [*training, *validation.values(), *references.values()]
    room = 0.14 * (max(heights) - min(heights))  # what a name takes, above or below a curve
    if names_at is not None:
        place, later, near = (max(1, int(share * len(training))) for share in (*names_at, reach))
        lowest = min(training[max(0, place - near) : place + near])
        below: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "top", "color": TRAINING}
        axes.annotate("training", (place, lowest), (0, -6), **below)
        axes.update_datalim([(place, lowest - room)])  # limits set here would not grow with the curves beside these
        if validation:
            at = min(validation, key=lambda step: abs(step - later))
            held = [loss for step, loss in validation.items() if abs(step - at) <= near]
            highest = max([*held, *training[max(0, at - near) : at + near]])
            above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom", "color": VALIDATION}
            axes.annotate("validation", (at, highest), (0, 6), **above)
            axes.update_datalim([(at, highest + room)])
        axes.autoscale_view()
    ends = _spread(list(references.values()), 0.09 * (max(heights) - min(heights)), max(heights))
    for (name, loss), end in zip(references.items(), ends, strict=True):
        axes.axhline(loss, color=REFERENCE, linestyle="--", linewidth=1)
        if name_references:
            told: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
            axes.annotate(_lines(f"{name} {loss:.2f}", 14), (1.01, end), **told)


def _draw_across(axes: Axes, references: Mapping[str, float], rows: int) -> None:
    """Grey dashed lines up through all rows, named above the axes; the name farthest left stands highest."""
    name_height = 0.17 / (0.27 * rows + 0.3)  # as a share of the axes
    for i, (name, place) in enumerate(sorted(references.items(), key=lambda reference: -reference[1]), 1):
        up = 1 + i * name_height
        line: dict[str, Any] = {"color": REFERENCE, "linestyle": "--", "linewidth": 1, "clip_on": False}
        axes.plot([place, place], [0, up], transform=axes.get_xaxis_transform(), **line)
        told: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top"}
        axes.annotate(f"{plain(name)} {place:.2f}", (place, up), (4, 2), fontsize=9, **told)


RINGS = 5, 11, 18, 26  # points from a mark to its name
TURNS = 0, 180, 90, 270, 45, 135, 315, 225  # degrees: right, left, above, below, then the corners


def _name_marks(axes: Axes, places: Mapping[str, tuple[float, float]], colors: Mapping[str, str]) -> None:
    """A name beside each mark: at its right, left, top, bottom or a corner, as near as it can lie within the figure and on
    nothing else, nor the way to it. From one that lies farther off a thin line leads to its mark."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # now it is known where the marks lie
    marks = axes.transData.transform(list(places.values()))
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in marks]
    for i, (name, place) in enumerate(places.items()):
        for ring, turn in itertools.product(RINGS, TURNS):
            right, up = round(math.cos(math.radians(turn)), 6), round(math.sin(math.radians(turn)), 6)
            look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9, "color": colors[name]}
            look |= {"ha": _side(right, "left", "right"), "va": _side(up, "bottom", "top")}
            label = axes.annotate(spaced(name), place, (ring * right, ring * up), **look)
            box = label.get_window_extent().padded(1)
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.figure.bbox.x1 and axes.bbox.y0 <= box.y0
            x, y = (box.p0 + box.p1) / 2
            way = Bbox([(min(x, marks[i][0]), min(y, marks[i][1])), (max(x, marks[i][0]), max(y, marks[i][1]))])
            lies_on = [
                other for j, other in enumerate(taken) if box.overlaps(other) or (j != i and way.overlaps(other))
            ]
            if (ring, turn) == (RINGS[-1], TURNS[-1]) or (inside and not lies_on):
                break  # the last place is taken whatever it lies on
            label.remove()
        if ring > RINGS[0]:
            lead = {"arrowstyle": "-", "color": colors[name], "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
            label.remove()
            axes.annotate(spaced(name), place, (ring * right, ring * up), arrowprops=lead, **look)
        taken.append(box)


def _side(along: float, ahead: str, behind: str) -> str:
    return ahead if along > 0 else behind if along < 0 else "center"


def _spread(heights: Sequence[float], gap: float, top: float) -> list[float]:
    """Heights of labels beside lines, pushed apart to `gap` where they would lie on one another, and down from the `top`."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    spread = list(heights)
    for lower, upper in itertools.pairwise(order):
        spread[upper] = max(spread[upper], spread[lower] + gap)
    for upper in reversed(order):
        spread[upper] = top = min(spread[upper], top)
        top -= gap
    return spread
