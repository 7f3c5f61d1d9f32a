"""What only the notebooks use."""

import pytest
import torch

from minigpt_core import training
from minigpt_core.notebook import lesson


@pytest.fixture(autouse=True)
def in_the_notebooks_folder(monkeypatch):
    monkeypatch.chdir(lesson.Path(__file__).parents[1] / "notebooks")


def test_the_lit_map_is_the_map_with_these_parts_lit():
    plain, lit = lesson.lit_map().data, lesson.lit_map("loss", "optimizer").data
    assert lit.replace("</style>", "").startswith(plain[: plain.index("</style>")])
    assert lit.count("fill: #d9efe6") == 2 and "#loss rect {" in lit and "fill: #d9efe6" not in plain


def test_a_part_that_the_map_lacks_is_refused_with_those_it_has():
    with pytest.raises(ValueError, match="no part 'sea': choose among text, tokenizer"):
        lesson.lit_map("loss", "sea")


def test_the_source_shown_is_the_packages_without_the_docstring():
    shown = lesson.show_source(training.learning_rate_at).data
    assert shown.startswith("```python\ndef learning_rate_at(step: int, config: TrainConfig) -> float:\n    if step")
    assert '"""' not in shown and shown.endswith("* height\n```")
    assert "class Record" in lesson.show_source(training.Record).data


def test_check_shape_returns_the_tensor_or_names_both_shapes():
    tensor = torch.zeros(2, 3)
    assert lesson.check_shape(tensor, 2, 3) is tensor
    with pytest.raises(ValueError, match=r"the shape is \(2, 3\), expected \(3, 2\)"):
        lesson.check_shape(tensor, 3, 2)


def test_what_has_no_shape_and_what_has_no_source_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"a tensor of shape \(2,\) is expected, not a list"):
        lesson.check_shape([1, 2], 2)
    for item in (len, 5, "train"):
        with pytest.raises(ValueError, match="there is no Python source of"):
            lesson.show_source(item)


def test_a_record_that_does_not_exist_is_refused_with_those_that_do():
    assert lesson.load_record("tales")["name"] == "tales"
    with pytest.raises(ValueError, match=r"no record 'alices': choose one of .*corpora, .*make records"):
        lesson.load_record("alices")


def test_the_staircase_has_the_recorded_steps_before_those_found_here():
    record = lesson.load_record("staircase")
    known = {name: runs[0]["val_loss"] for name, runs in record["steps"].items()}
    figure = lesson.staircase({"one head": 2.5, "four heads": 2.4}, title="Two heads")
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == list(known)[: list(known).index("four heads") + 1]
    drawn = [float(x) for x in axes.lines[0].get_xdata()]
    assert [x for x in drawn if x == x] == [known[name] for name in names[:-2]] + [2.5, 2.4]
    average = names.index("average of the past")  # higher than the network above it: there the pen is lifted
    assert [x != x for x in drawn].index(True) == average and sum(x != x for x in drawn) == 1
    rivals = {f"{name} {loss:.2f}" for name, loss in record["rivals"].items()}
    assert len(rivals) == 2 and rivals <= {text.get_text() for text in axes.texts}
    assert axes.get_title(loc="left") == "Two heads"


@pytest.mark.parametrize(
    "found, said", [({}, "nothing"), ({"one head": 2.5, "no head": 3.0, "a head": 3.0}, "a head, no head")]
)
def test_what_is_no_step_of_the_staircase_is_refused_with_those_that_are(found, said):
    with pytest.raises(
        ValueError, match=f"found holds {said}: the staircase has the steps uniform, unigram, .*one head"
    ):
        lesson.staircase(found, title="")
