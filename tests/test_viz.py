"""Figures: closed, of a stated size, readable on light and dark, without empty boxes."""

import itertools
import warnings

import matplotlib.pyplot as plt
import pytest
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from minigpt_core import load_corpus
from minigpt_core.notebook import viz


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast ratio of two colours."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_loss_curve_draws_what_it_is_given_and_is_closed():
    figure = viz.loss_curve([4.0, 3.0, 2.5], {3: 2.7}, title="Both fall", references={"ln V": 4.2})
    training, validation, reference = figure.axes[0].lines
    assert list(training.get_ydata()) == [4.0, 3.0, 2.5] and list(validation.get_xdata()) == [3]
    assert set(reference.get_ydata()) == {4.2} and reference.get_linestyle() == "--"
    words = {text.get_text() for text in figure.axes[0].texts}
    assert words == {"training", "validation", "ln V 4.20"}
    assert tuple(figure.get_size_inches()) == (4.2, 3.0) and not plt.get_fignums()


def test_losses_side_by_side_share_their_scale():
    runs = {"a": ([4.0, 3.0], {2: 3.1}), "b": ([4.0, 1.0], {2: 5.0})}
    figure = viz.losses_side_by_side(runs, title="They part", references={"ln V": 4.2})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert [list(axes.lines[0].get_ydata()) for axes in figure.axes] == [[4.0, 3.0], [4.0, 1.0]]
    assert [len(axes.texts) for axes in figure.axes] == [2, 1]  # lines are named in the first, references in the last


def test_rate_and_gradient_share_their_steps():
    figure = viz.rate_and_gradient([1e-3, 2e-3, 0.0], [5.0, 0.5, 0.4], clip=1.0, title="It falls")
    above, below = figure.axes
    assert list(above.lines[0].get_xdata()) == list(below.lines[0].get_xdata()) == [1, 2, 3]
    assert set(below.lines[1].get_ydata()) == {1.0}
    assert len(viz.rate_and_gradient([1.0], [1.0], clip=None, title="").axes[1].lines) == 1


def test_compared_curves_are_told_apart_without_colour():
    curves = {"with": {1: 4.0, 9: 3.0}, "a": {1: 4.0, 9: 3.001}, "b": {1: 4.0, 9: 3.5}}
    axes = viz.compare_curves(curves, chosen="with", title="It helps").axes[0]
    chosen, *others = axes.lines
    assert chosen.get_color() == viz.CHOSEN and {line.get_color() for line in others} == {viz.REFERENCE}
    assert len({line.get_linestyle() for line in axes.lines}) == len({line.get_marker() for line in axes.lines}) == 3
    heights = sorted(text.xyann[1] for text in axes.texts)
    assert min(b - a for a, b in itertools.pairwise(heights)) > 0.08  # names do not lie on one another
    assert {text.xy for text in axes.texts} == {
        (9, 3.0),
        (9, 3.001),
        (9, 3.5),
    }  # and each is led to the end of its curve


def test_walks_lie_on_their_valley_in_their_order():
    walks = {"short steps": [-3.0, -2.0, -1.5], "long steps": [-3.0, 4.0, 0.5]}
    figure = viz.valley(lambda z: z * z, walks, chosen="long steps", title="It jumps", xlabel="z")
    assert len({axes.get_ylim() for axes in figure.axes}) == 1 == len({axes.get_xlim() for axes in figure.axes})
    for axes, (name, places) in zip(figure.axes, walks.items(), strict=True):
        ground, walk, begin, end = axes.lines
        assert list(walk.get_xdata()) == places and list(walk.get_ydata()) == [z * z for z in places]
        assert all(y == pytest.approx(z * z) for z, y in zip(*ground.get_data(), strict=True))
        assert (begin.get_xdata()[0], end.get_xdata()[0]) == (places[0], places[-1])
        assert len({begin.get_marker(), walk.get_marker(), end.get_marker()}) == 3
        assert axes.get_title(loc="right") == name
        assert walk.get_color() == (viz.CHOSEN if name == "long steps" else viz.REFERENCE)
        assert [(text.get_text(), text.xy[0]) for text in axes.texts] == [
            (str(step), places[step]) for step in (1, 2) if abs(places[step] - places[step - 1]) > 0.06 * 7
        ]


def test_the_name_of_a_curve_that_ends_early_stands_at_its_end_and_none_above_the_axes():
    curves = {"short": {1: 4.0, 2: 3.0}, "long": {1: 4.0, 9: 2.0}, "b": {1: 4.0, 9: 4.0}, "c": {1: 4.0, 9: 3.99}}
    axes = viz.compare_curves(curves, chosen="long", title="One stops").axes[0]
    short, *others = axes.texts
    assert short.xy == (2, 3.0) and short.anncoords == "offset points"
    assert (axes.lines[-1].get_xdata()[0], axes.lines[-1].get_markersize()) == (2, 7)  # where it ends, a larger mark
    assert max(text.xyann[1] for text in others) == 4.0


def test_a_thin_line_to_the_name_of_a_curve_runs_through_no_other_name():
    curves = {"plain": {1: 4.0, 9: 2.3}, "rmsprop": {1: 3.0, 9: 2.24}, "momentum": {1: 3.0, 9: 2.24}}
    figure = viz.compare_curves(curves | {"adam": {1: 3.0, 9: 2.239}}, chosen="adam", title="Near")
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    for text in texts:
        ends = text.arrow_patch.get_transform().transform(text.arrow_patch.get_path().vertices)[[0, -1], 0]
        for other in texts:
            box = Text.get_window_extent(other)
            assert text is other or box.x0 > ends.max() - 1, (text, other)


def test_curves_have_grey_dashes_at_what_they_are_measured_by():
    curve = {1: 3.0, 9: 2.0}
    axes = viz.compare_curves({"a": curve}, title="Down", references={"counted table": 2.239}).axes[0]
    assert [(*set(line.get_ydata()), line.get_linestyle()) for line in axes.lines[1:]] == [(2.239, "--")]
    assert "counted table 2.239" in [text.get_text() for text in axes.texts]


def test_several_runs_of_one_kind_look_alike_under_one_name():
    kind = [{1: 4.0, 9: 3.0}, {1: 4.0, 9: 2.0}, {1: 4.0, 9: 2.5}]
    axes = viz.compare_curves({"five": kind, "one": {1: 4.0, 9: 1.0}}, chosen="one", title="Apart").axes[0]
    assert len({(line.get_marker(), line.get_color()) for line in axes.lines[:3]}) == 1 and len(axes.lines) == 4
    assert [(text.get_text(), text.xy) for text in axes.texts] == [("five", (9, 2.5)), ("one", (9, 1.0))]


def test_places_that_double_stand_at_equal_distances_and_heights_near_zero_begin_there():
    axes = viz.compare_curves({"a": {4: 0.1, 16: 0.3, 64: 0.7, 256: 1.0}}, title="Up").axes[0]
    assert axes.get_xscale() == "log" and axes.get_ylim()[0] == 0
    assert list(axes.get_xticks()) == [4, 16, 64, 256] and not len(axes.get_xticks(minor=True))
    even = viz.compare_curves({"a": {1: 3.0, 2: 2.9, 3: 2.8, 4: 2.7}}, title="Down").axes[0]
    assert even.get_xscale() == "linear" and even.get_ylim()[0] > 2


def test_stacked_curves_share_their_scales():
    curves = {"fast": [1.0, -1.0, 1.0], "slow": [1.0, 0.5, 0.0]}
    figure = viz.stacked(curves, title="Two", xlabel="t", ylabel="cosine")
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    assert [list(axes.lines[0].get_ydata()) for axes in figure.axes] == list(curves.values())
    assert [axes.get_title(loc="right") for axes in figure.axes] == list(curves)
    assert figure.axes[0].get_ylabel() == "cosine" and figure.axes[1].get_xlabel() == "t"


def test_in_a_race_time_runs_to_the_right_and_no_line_crosses_a_name():
    runs = {"slow": {10.0: 3.0, 40.0: 2.0}, "nearly": {5.0: 3.0, 39.0: 2.0}, "fast": {1.0: 2.5, 2.0: 2.0}}
    figure = viz.race(runs, chosen="fast", title="The fast one wins")
    axes = figure.axes[0]
    curves = [line for line in axes.lines if line.get_marker() != "None"]
    assert [list(line.get_xdata()) for line in curves] == [list(runs[name]) for name in ("fast", "nearly", "slow")]
    assert axes.get_xscale() == "log" and not axes.xaxis_inverted() and min(axes.get_yticks()) >= 2.0
    assert [line.get_color() == viz.CHOSEN for line in curves] == [True, False, False]
    names = {text.get_text(): text.xy for text in axes.texts}
    assert list(names) == ["fast 2.0 s", "nearly 39.0 s", "slow 40.0 s"]
    heights = [height for _, height in names.values()]
    assert heights == sorted(heights, reverse=True) and max(heights) < 2.0  # below the ends, first come highest
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_bars_mark_the_chosen_one_without_colour_too():
    axes = viz.bars({"one": 0.25, "two": 0.75}, chosen="two", title="two leads", xlabel="share").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.25, 0.75]
    assert [text.get_text() for text in axes.texts] == ["0.25", "0.75 ◂"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["one", "two"] and axes.yaxis_inverted()
    for texts in (axes.texts, axes.get_yticklabels()):
        assert [text.get_color() for text in texts] == [viz.REFERENCE, viz.CHOSEN]


def test_references_cross_the_bars_and_no_number():
    figure = viz.bars({"one": 2.0, "two": 1.0}, title="", xlabel="loss", references={"pairs": 2.1, "triples": 1.2})
    axes = figure.axes[0]
    assert {set(line.get_xdata()).pop() for line in axes.lines} == {2.1, 1.2}
    figure.draw_without_rendering()
    texts = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert texts.keys() == {"2.00", "1.00", "pairs 2.10", "triples 1.20"}
    assert not any(a.overlaps(b) for a, b in itertools.combinations(texts.values(), 2))
    right = axes.transData.transform((2.1, 0))[0]
    assert min(texts["2.00"].x0, texts["1.00"].x0) > right


def test_effects_show_every_seed_and_their_mean_at_the_side_of_zero_where_they_lie():
    values = {"helps": [-0.06, -0.03, -0.03], "nothing": [-0.001, 0.001], "harms": [0.02]}
    figure = viz.effects(values, title="One helps", xlabel="difference", chosen="helps", band=0.01)
    axes = figure.axes[0]
    zero, *rows = axes.lines
    assert set(zero.get_xdata()) == {0} and not axes.xaxis_inverted() and axes.yaxis_inverted()
    for row, (name, seeds) in enumerate(values.items()):
        dots, mean = rows[2 * row : 2 * row + 2]
        assert list(dots.get_xdata()) == seeds and list(dots.get_ydata()) == [row] * len(seeds)
        assert mean.get_xdata()[0] == pytest.approx(sum(seeds) / len(seeds)) and mean.get_ydata()[0] == row
        assert mean.get_markersize() > dots.get_markersize() and mean.get_marker() != dots.get_marker()
        assert {line.get_color() for line in (dots, mean)} == {viz.CHOSEN if name == "helps" else viz.REFERENCE}
    assert [label.get_text() for label in axes.get_yticklabels()] == list(values)
    assert [text.get_text() for text in axes.texts] == ["−0.040 ◂", "+0.000", "+0.020", "chance: ±0.010"]
    (band,) = axes.patches
    assert (band.get_x(), band.get_width()) == (-0.01, 0.02)
    figure.draw_without_rendering()
    *_, above = axes.texts
    boxes = [text.get_window_extent() for text in (*axes.texts, figure._suptitle)]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert above.get_window_extent().y0 >= axes.bbox.y1
    assert not viz.effects(values, title="", xlabel="").axes[0].patches and not plt.get_fignums()


def test_a_staircase_marks_its_last_step_and_names_its_rivals_clear_of_one_another():
    steps = {"uniform": 4.1, "unigram": 3.0, "network": 1.32}
    figure = viz.staircase(steps, rivals={"simple": 1.32, "best": 1.21}, title="Down")
    axes = figure.axes[0]
    stairs, *marks = axes.lines[: 1 + len(steps)]
    assert list(stairs.get_xdata()) == list(steps.values()) and axes.yaxis_inverted()
    assert [mark.get_color() == viz.CHOSEN for mark in marks] == [False, False, True]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(steps)
    assert {set(line.get_xdata()).pop() for line in axes.lines[4:]} == {1.32, 1.21}
    figure.draw_without_rendering()
    names = [text.get_window_extent() for text in axes.texts if text.get_text() in ("simple 1.32", "best 1.21")]
    title = figure._suptitle.get_window_extent()
    assert len(names) == 2 and not names[0].overlaps(names[1]) and not any(title.overlaps(name) for name in names)
    assert len(viz.staircase(steps, rivals={}, title="Alone").axes[0].texts) == 3 and not plt.get_fignums()


def test_a_step_up_of_a_staircase_goes_down_and_then_back_so_that_it_crosses_no_number():
    line = viz.staircase({"a": 3.0, "b": 2.0, "c": 2.5}, rivals={}, title="Up").axes[0].lines[0]
    assert list(zip(*line.get_data(), strict=True)) == [(3.0, 0), (2.0, 1), (2.0, 2), (2.5, 2)]
    assert line.get_drawstyle() == "steps-post"


def test_chinese_words_show_no_empty_boxes(tmp_path):
    title = "训练损失 falls: 小猫看着灯，灯看着小猫。"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = viz.loss_curve([2.0, 1.0], {}, title=title)
        figure.savefig(tmp_path / "figure.png")
    assert figure.get_suptitle() == title


def test_the_font_has_every_chinese_character_of_the_bundled_texts():
    glyphs = FT2Font(str(viz.CHINESE_FONT)).get_charmap()
    texts = load_corpus("sample") + load_corpus("tales_zh")
    missing = {c for c in texts if ord(c) > 0x2E80 and ord(c) not in glyphs}
    assert not missing
    assert viz.CHINESE_FONT.stat().st_size < 1_000_000


# Text that matplotlib takes for markup, hides, breaks, or has no picture of.
AWKWARD = [
    "$$",
    "$x$",
    "a$b_c$",
    "_hidden",
    "a\nb\tc",
    "😀",
    "\\frac",
    "%d {x} #^&",
    "\U00020000龘",
    "\0\u200b",
    " ",
    "",
]


def awkward_figures() -> dict[str, object]:
    """Every figure, with such texts in every place that a text may have."""
    numbers = {name: 1.0 + i for i, name in enumerate(AWKWARD)}
    few = AWKWARD[:6]
    curves = {name: {1: 1.0 + i, 2: 2.0 + i} for i, name in enumerate(few)}
    run = [2.0, 1.0], {2: 1.5}
    square = [[1.0 * (s <= t) for s in range(len(AWKWARD))] for t in range(len(AWKWARD))]
    places = {name: (i * 1.0, i * i * 1.0) for i, name in enumerate(AWKWARD)}
    title = "$".join(AWKWARD)
    lines = {"title": title, "xlabel": title, "ylabel": title}
    return {
        "loss_curve": viz.loss_curve(*run, title=title, references=numbers),
        "losses_side_by_side": viz.losses_side_by_side(dict.fromkeys(few, run), title=title, references=numbers),
        "rate_and_gradient": viz.rate_and_gradient([1.0], [1.0], clip=1.0, title=title),
        "compare_curves": viz.compare_curves(curves, chosen=few[0], references={few[1]: 1.0}, **lines),
        "valley": viz.valley(abs, {name: [1.0, 2.0] for name in few}, chosen="$$", title=title, xlabel=title),
        "race": viz.race({name: {1.0 + i: 2.0, 20.0 + i: 1.0} for i, name in enumerate(few)}, chosen="$$", title=title),
        "bars": viz.bars(numbers, title=title, xlabel=title, chosen="$x$", references=numbers),
        "effects": viz.effects({name: [0.0, 1.0] for name in few}, title=title, xlabel=title, chosen="$x$", band=0.5),
        "stacked": viz.stacked({name: [0.0, 1.0] for name in few}, **lines),
        "staircase": viz.staircase(numbers, rivals={name: 1.0 for name in few}, title=title),
        "pieces": viz.pieces(dict.fromkeys(AWKWARD, AWKWARD), title=title),
        "distributions": viz.distributions(AWKWARD, {name: list(numbers.values()) for name in few[:2]}, title=title),
        "points": viz.points(places, groups={"$$": ["$$"], "_a": [], "\n": []}, **lines),
        "heatmaps": viz.heatmaps({"$x$": square}, title=title, labels=AWKWARD),
        "graph": viz.graph([(name, 1.0, 1.0) for name in few], [(i, 5, 1.0) for i in range(5)], title=title),
        "scaling": viz.scaling(curves, dict.fromkeys(few, abs), held_out=curves, floor=("$$", 1.0), **lines),
        "many heatmaps": viz.heatmaps(dict.fromkeys(AWKWARD, square), title=title),
    }


def test_all_figures_are_among_the_awkward_ones():
    public = {name for name, f in vars(viz).items() if getattr(f, "__module__", "") == viz.__name__ and name[0] != "_"}
    assert public - {"plain", "spaced"} == set(awkward_figures()) - {"many heatmaps"}


@pytest.mark.parametrize("name", list(awkward_figures()))
def test_text_is_drawn_as_it_is_and_never_as_markup(name, tmp_path):
    figure = awkward_figures()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "figure.png")
    drawn = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert [text.get_text() for text in drawn if text.get_parse_math() and "$" in text.get_text()] == []
    assert not any("mathdefault" in text.get_text() for text in drawn if not text.get_parse_math())
    written = "\n".join(
        "".join(text.get_text().split()) for text in drawn
    )  # a title may be broken, at blanks or within words
    assert "".join(viz.plain("$".join(AWKWARD)).split()) in written  # the title
    names = {"rate_and_gradient": [], "heatmaps": ["$x$", *AWKWARD], "points": AWKWARD}.get(name, AWKWARD[:6])
    rest = written.replace("".join(viz.plain("$".join(AWKWARD)).split()), "")
    assert [text for text in names if "".join(viz.plain(text).split()) not in rest] == []


def test_a_line_break_a_tab_and_what_has_no_picture_are_made_visible():
    assert viz.plain("a\nb\tc") == "a↵b⇥c" and viz.plain("▁猫 é $x$ _y") == "▁猫 é $x$ _y"
    assert viz.plain("😀") == "\\U0001f600" and viz.plain("\u200b\0") == "\\u200b\\x00"


def test_a_character_outside_the_fonts_would_warn(tmp_path, monkeypatch):
    """So that the tests above can fail."""
    monkeypatch.setattr(viz, "plain", str)
    figure = viz.loss_curve([2.0, 1.0], {}, title="\U00020000")
    with pytest.warns(UserWarning, match=r"missing from (current )?font"):
        figure.savefig(tmp_path / "figure.png")


square = [[1.0, 0.0], [0.5, 0.5]]


@pytest.mark.parametrize(
    "draw, said",
    [
        (lambda: viz.loss_curve([], {}, title=""), "at least one training loss"),
        (lambda: viz.losses_side_by_side({}, title=""), "no run"),
        (lambda: viz.losses_side_by_side({"a": ([], {})}, title=""), "the run 'a' needs at least one training loss"),
        (lambda: viz.rate_and_gradient([1.0], [1.0, 2.0], clip=None, title=""), "1 rates and 2 norms"),
        (lambda: viz.compare_curves({}, title=""), "nothing to draw"),
        (lambda: viz.compare_curves({"a": {}}, title=""), "the curve 'a' has no points"),
        (lambda: viz.compare_curves({"a": []}, title=""), "the curve 'a' has no points"),
        (lambda: viz.compare_curves({"a": {1: 2.0}}, chosen="b", title=""), "chosen='b' is none of a"),
        (lambda: viz.compare_curves({c: {1: 2.0} for c in "abcdef"}, title=""), "6 curves .* dashes for 5"),
        (lambda: viz.stacked({}, title="", xlabel="", ylabel=""), "nothing to draw"),
        (lambda: viz.valley(abs, {}, chosen="a", title="", xlabel=""), "nothing to draw"),
        (lambda: viz.valley(abs, {"a": []}, chosen="a", title="", xlabel=""), "at least the place where it begins"),
        (lambda: viz.race({"a": {0.0: 2.0}}, chosen="a", title=""), "seconds must be above 0, but one is 0.0"),
        (lambda: viz.race({"a": {1.0: 2.0}}, chosen="b", title=""), "chosen='b' is none of a"),
        (lambda: viz.bars({}, title="", xlabel=""), "nothing to draw"),
        (lambda: viz.bars({"a": 1.0}, title="", xlabel="", chosen="b"), "chosen='b' is none of a"),
        (lambda: viz.effects({}, title="", xlabel=""), "nothing to draw"),
        (lambda: viz.effects({"a": []}, title="", xlabel=""), "'a' has no value of any seed"),
        (lambda: viz.effects({"a": [1.0]}, title="", xlabel="", chosen="b"), "chosen='b' is none of a"),
        (lambda: viz.staircase({}, rivals={}, title=""), "no step"),
        (lambda: viz.pieces({}, title=""), "no row"),
        (lambda: viz.distributions(["a"], {"x": [0.5, 0.5]}, title=""), "'x' has 2 probabilities for 1 tokens"),
        (lambda: viz.distributions([], {"x": []}, title=""), "0 tokens under 1 settings"),
        (lambda: viz.points({}, title="", xlabel="", ylabel=""), "no point"),
        (
            lambda: viz.points({"a": (0, 0)}, title="", xlabel="", ylabel="", groups=dict.fromkeys("abcde", ())),
            "5 groups",
        ),
        (lambda: viz.graph([], [], title=""), "no node"),
        (lambda: viz.graph([("a", 1.0, None)] * 2, [(1, 0, 1.0)], title=""), "the edge from node 1 to node 0"),
        (lambda: viz.heatmaps({}, title=""), "no map"),
        (lambda: viz.heatmaps({"a": [[1.0, 0.0]]}, title=""), "'a' is not square: it has 1 rows of 2"),
        (lambda: viz.heatmaps({"a": square}, title="", labels=["x"]), "1 labels for the 2 rows of 'a'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence_and_leaves_no_figure_open(draw, said):
    with pytest.raises(ValueError, match=said):
        draw()
    assert not plt.get_fignums()


@pytest.mark.parametrize("ground", ["#ffffff", "#14181e"])
@pytest.mark.parametrize("color", [viz.TRAINING, viz.VALIDATION, viz.CHOSEN, viz.REFERENCE, viz.GRADIENT])
def test_colours_stand_out_on_light_and_dark(color, ground):
    assert contrast(color, ground) >= 3  # WCAG 2.2, 1.4.11, for lines and marks


def test_names_of_curves_lie_clear_of_the_curves():
    rising = {step: 2.0 + 0.01 * step for step in range(20, 101, 20)}
    axes = viz.loss_curve([4.0 - 0.035 * i for i in range(100)], rising, title="They part").axes[0]
    training, validation = axes.texts
    assert training.xy[1] <= min(4.0 - 0.035 * i for i in range(int(training.xy[0])))
    assert validation.xy[1] >= max(loss for step, loss in rising.items() if step <= validation.xy[0] + 14)
    low, high = axes.get_ylim()
    assert low < training.xy[1] and validation.xy[1] < high


def test_curves_may_be_compared_with_none_of_them_chosen():
    curves = {name: {1: 4.0, 9: 3.0 + i} for i, name in enumerate("abcde")}
    axes = viz.compare_curves(curves, title="Five", xlabel="times said", ylabel="probability").axes[0]
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in axes.lines}) == 5
    assert axes.get_xlabel() == "times said" and axes.get_ylabel() == "probability"


def test_pieces_stand_in_rows_under_their_names_and_break_where_the_line_ends():
    figure = viz.pieces({"short": ["▁a", "b"], "long": ["piece"] * 30}, title="Cut")
    axes = figure.axes[0]
    assert len(axes.patches) == 32 and not plt.get_fignums()
    assert {"short: 2", "long: 30"} <= {text.get_text() for text in axes.texts}
    heights = {patch.get_y() for patch in axes.patches[2:]}
    assert len(heights) > 1  # thirty pieces take more than a line
    neighbours = [patch.get_facecolor() for patch in axes.patches[2:4]]
    assert neighbours[0] != neighbours[1]


def test_a_line_of_pieces_ends_before_a_word_that_fits_into_the_next():
    words = [["▁abc", "def"]] * 9
    boxes = viz.pieces({"row": [piece for word in words for piece in word]}, title="Cut").axes[0].patches
    assert len({box.get_y() for box in boxes}) == 2
    assert all(boxes[i].get_y() == boxes[i + 1].get_y() for i in range(0, len(boxes), 2))


def test_a_distribution_marks_what_was_removed():
    figure = viz.distributions(["a", "b"], {"as it is": [0.7, 0.3], "top_k = 1": [1.0, 0.0]}, title="b is gone")
    left, right = figure.axes
    assert [bar.get_width() for bar in right.patches] == [1.0, 0.0]
    assert [text.get_text() for text in right.texts] == ["1.00", "×"]
    assert [text.get_text() for text in left.texts] == ["0.70", "0.30"]


def test_names_beside_marks_do_not_lie_on_one_another():
    places = {f"name {i}": (i / 10, (i % 2) / 50) for i in range(6)}
    figure = viz.points(places, title="Close", xlabel="x", ylabel="y", groups={"first": ["name 0"]})
    axes = figure.axes[0]
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text() in places]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    first = next(line for line in axes.lines if line.get_marker() == "s")
    assert first.get_color() == viz.CHOSEN  # blue and vermilion are training and validation
    marks = {line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1}
    assert marks == {"s", "o"} and "■ first" in {text.get_text() for text in axes.texts}


def test_maps_share_one_scale_and_begin_at_the_pages_ground():
    maps = {f"head {i}": [[1, 0], [0.5, 0.5]] for i in range(5)}
    figure = viz.heatmaps(maps, title="Half and half")
    *shown, scale = figure.axes
    shown = [axes for axes in shown if axes.images]
    assert [axes.get_title(loc="left") for axes in shown] == list(maps)
    assert (
        scale.get_xlabel() == "share of attention"
        and [text.get_text() for text in scale.get_xticklabels()][-1] == "1.0"
    )
    assert {axes.get_xlabel() for axes in shown} == {"", "key position"}
    assert {axes.get_ylabel() for axes in shown} == {"", "query position"}
    assert {axes.images[0].get_clim() for axes in shown} == {(0, 1)}
    assert shown[0].images[0].get_cmap()(0.0)[3] == 0  # where nothing is, nothing is drawn
    labelled = viz.heatmaps({"one": [[1, 0], [0.5, 0.5]]}, title="Named", labels=["t", "h"]).axes[0]
    assert [label.get_text() for label in labelled.get_yticklabels()] == ["t", "h"]
    first, *others = shown
    for ticks in ("get_xticklabels", "get_yticklabels"):
        assert [text.get_text() for text in getattr(first, ticks)()] == ["0", "1"]
        assert not any(text.get_text() for axes in others for text in getattr(axes, ticks)())
    four = viz.heatmaps(dict(list(maps.items())[:4]), title="Two by two").axes[:4]
    assert [axes.get_subplotspec().colspan.start for axes in four] == [0, 1, 0, 1]


def test_a_space_in_the_name_of_a_row_or_mark_is_no_bar_over_the_next_one():
    axes = viz.heatmaps({"one": [[1, 0], [0.5, 0.5]]}, title="Named", labels=["▁", "h"]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["␣", "h"]
    axes = viz.points({"▁said": (0, 0), "b": (1, 1)}, title="Apart", xlabel="x", ylabel="y").axes[0]
    assert [text.get_text() for text in axes.texts] == ["␣said", "b"]


def test_a_graph_flows_from_left_to_right_and_no_box_lies_on_another():
    nodes = [("w", 2.0, 39.0), ("x", 3.0, None), ("m", 6.0, 13.0), ("q", 36.0, 1.0), ("L", 42.0, 1.0)]
    edges = [(0, 2, 3.0), (1, 2, 2.0), (2, 3, 6.0), (2, 3, -6.0), (2, 4, 1.0), (3, 4, 1.0)]
    axes = viz.graph(nodes, edges, title="Back").axes[0]
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    arrows = [patch for patch in axes.patches if patch not in boxes]
    assert len(boxes) == len(nodes) and len(arrows) == len(edges) and not plt.get_fignums()
    assert all(boxes[i].get_x() < boxes[j].get_x() for i, j, _ in edges)
    extents = [box.get_window_extent() for box in boxes]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(extents, 2))
    factors = [text.get_window_extent() for text in axes.texts if "×" in text.get_text()]
    assert not any(a.overlaps(b) for a in factors for b in extents)  # a factor lies on no box
    assert not any(a.overlaps(b) for a, b in itertools.combinations(factors, 2))
    words = [text.get_text() for text in axes.texts]
    assert words.count("×6") == words.count("×−6") == 1 and "39" in words and "x" in words
    flowing = [text.get_text() for text in axes.texts if text.get_color() == viz.GRADIENT]
    assert sum("×" not in word for word in flowing) == 4  # x has none yet
    assert {word for word in words if "×" in word} <= set(flowing)


def test_bars_below_zero_have_a_line_to_stand_on_and_room_for_their_numbers():
    axes = viz.bars({"one": -0.6, "two": 0.3}, title="One below", xlabel="slope").axes[0]
    assert axes.lines[0].get_xdata()[0] == 0 and axes.get_xlim()[0] < -0.7
    assert not viz.bars({"one": 0.6}, title="None below", xlabel="slope").axes[0].lines


@pytest.mark.parametrize("name", list(awkward_figures()))
def test_letters_can_be_read_on_a_telephone(name):
    """Where a figure is 336 px wide, the smallest letters are about 10 px high, and no figure is wider than the others."""
    figure = awkward_figures()[name]
    assert figure.get_size_inches()[0] == viz.WIDTH
    figure.draw_without_rendering()
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_visible() and text.get_text()}
    assert min(sizes) * 336 / (72 * viz.WIDTH) >= 9.9


def test_a_notebook_stores_twice_the_pixels_that_it_shows():
    assert viz.InlineBackend.instance().figure_formats == {"retina"}
