"""Figures: closed, of a stated size, readable on light and dark, without empty boxes."""

import itertools
import warnings

import matplotlib.pyplot as plt
import pytest
from matplotlib.ft2font import FT2Font

from minigpt_core import load_corpus, viz


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
    assert tuple(figure.get_size_inches()) == (5.2, 3.2) and not plt.get_fignums()


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
    assert len({line.get_linestyle() for line in axes.lines}) == 3
    heights = sorted(text.xy[1] for text in axes.texts)
    assert min(b - a for a, b in itertools.pairwise(heights)) > 0.03  # names do not lie on one another


def test_bars_mark_the_chosen_one_without_colour_too():
    axes = viz.bars({"one": 0.25, "two": 0.75}, chosen="two", title="two leads", xlabel="share").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.25, 0.75]
    assert [text.get_text() for text in axes.texts] == ["0.25", "0.75 *"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["one", "two"] and axes.yaxis_inverted()


def test_chinese_words_show_no_empty_boxes(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = viz.loss_curve([2.0, 1.0], {}, title="训练损失 falls: 小猫看着灯，灯看着小猫。")
        figure.savefig(tmp_path / "figure.png")


def test_the_font_has_every_chinese_character_of_the_bundled_texts():
    glyphs = FT2Font(str(viz.CHINESE_FONT)).get_charmap()
    texts = load_corpus("sample") + load_corpus("tales_zh")
    missing = {c for c in texts if ord(c) > 0x2E80 and ord(c) not in glyphs}
    assert not missing
    assert viz.CHINESE_FONT.stat().st_size < 1_000_000


def test_a_character_outside_the_font_warns(tmp_path):
    """So that the test above can fail."""
    figure = viz.loss_curve([2.0, 1.0], {}, title="\U00020000")
    with pytest.warns(UserWarning, match="missing from font"):
        figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize("ground", ["#ffffff", "#14181e"])
@pytest.mark.parametrize("color", [viz.TRAINING, viz.VALIDATION, viz.CHOSEN, viz.REFERENCE])
def test_colours_stand_out_on_light_and_dark(color, ground):
    assert contrast(color, ground) >= 3  # WCAG 2.2, 1.4.11, for lines and marks
