"""What stands behind the exercises: the reader's code is run and stopped, values are compared, what is solved is kept."""

import json
import math
import time
from fractions import Fraction

import numpy as np
import pytest
import torch

from minigpt_core.notebook import checks as check
from minigpt_core.notebook.checks import kept, outcome
from minigpt_core.notebook.checks.compare import same, shown
from minigpt_core.notebook.checks.difference import difference, relation
from minigpt_core.notebook.checks.exercise import Exercise


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check._told.clear()


@pytest.fixture
def double():
    exercise = Exercise("00", "a minute", "double(x): twice x.", hints=["How often is x in it?", "Add it to itself."])

    @exercise.cases
    def _():
        yield (1,)
        yield (3,)

    @exercise.answer
    def _(x):
        return 2 * x

    @exercise.mistake("you square it.")
    def squares(x):
        return x * x

    @exercise.mistake("odd numbers are refused.")
    def refuses(x):
        raise KeyError(x)

    return exercise


def swallows_all(x):
    while True:
        try:  # noqa: SIM105
            pass
        except:  # noqa: E722
            pass


def calls_itself(x):
    return calls_itself(x)


def counts_without_end(x):
    return sum(1 for _ in iter(int, 1))


@pytest.mark.parametrize("function", [swallows_all, counts_without_end])
def test_an_endless_loop_is_stopped_and_its_line_named(double, function, monkeypatch):
    monkeypatch.setattr("minigpt_core.notebook.checks.exercise.LIMIT", 0.3)
    began = time.perf_counter()
    verdict = double(function)
    assert time.perf_counter() - began < 5
    assert not verdict.right and "did not end within" in verdict.text and "double(1) does not end" in verdict.text
    line = {swallows_all: ("while True:", "try:", "pass"), counts_without_end: ("return sum(1",)}[function]
    assert any(part in verdict.text for part in line), verdict
    assert outcome.sys.gettrace() is None or "outcome" not in repr(outcome.sys.gettrace())


def test_while_modules_are_loaded_there_is_more_time(double, monkeypatch):
    monkeypatch.setattr("minigpt_core.notebook.checks.exercise.LIMIT", 0.2)
    monkeypatch.setattr(outcome, "LIMIT", 60)

    def loads(x):
        outcome.sys.modules[f"made up {x}"] = outcome
        time.sleep(0.3)
        return 2 * x

    try:
        assert double(loads).right
    finally:
        for x in (1, 3):
            outcome.sys.modules.pop(f"made up {x}", None)


def test_a_program_that_traces_is_left_as_it_was(double):
    seen = []

    def tracer(frame, event, argument):
        seen.append(event)

    outside = outcome.sys.gettrace()
    outcome.sys.settrace(tracer)
    try:
        double(lambda x: x + x)
        assert outcome.sys.gettrace() is tracer
    finally:
        outcome.sys.settrace(outside)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (calls_itself, "RecursionError: "),
        (lambda x: [][x], "IndexError: list index out of range, at your line `(lambda x: [][x]"),
        (lambda x: undefined, "NameError: "),  # noqa: F821
        (lambda x: exit(), "SystemExit"),
        (lambda x: torch.ones(2) @ torch.ones(3), "RuntimeError: "),
        (lambda x: None, "double is still empty. double(1) should give 2."),
        (
            lambda x: x or None if x > 1 else None,
            "it gives back None: does it end with return, on every way through it?\n",
        ),
        (lambda x: str(2 * x), "it gives back a str, and should give an int"),
        (lambda x: math.nan, "1 of 1 number is nan, and should not be"),
        (lambda x: [2 * x], "it gives a list of one number; the number itself is asked for"),
        (lambda x: x + 1, "(1 of 2 cases are right.)"),
        (lambda x, y: x, "your function takes (x, y), and will be called with 1 argument. The task: double(x)"),
        (lambda: 1, "your function takes (nothing)"),
        (3, "give the function itself, without brackets: check.double(double)"),
        (None, "give the function itself, without brackets"),
    ],
)
def test_whatever_the_reader_gives_the_notebook_runs_on_and_the_fault_is_told(double, function, told):
    verdict = double(function)
    assert not verdict.right and verdict.text.startswith("not yet: ") and told in verdict.text, verdict
    assert not kept.FILE.exists()


def test_a_mistake_is_named_only_if_it_gives_the_same_in_all_cases(double):
    assert double(lambda x: x * x).diagnosis == "squares"
    assert double(lambda x: x**2 if x == 1 else 0).diagnosis == ""

    def other(x):
        raise KeyError("something else")

    assert double(other).diagnosis == "refuses"


def not_implemented(x):
    """Twice x."""
    raise NotImplementedError


def test_a_body_that_is_not_there_is_a_stub(double):
    assert "is still empty" in double(not_implemented).text


def test_whoever_changes_the_first_argument_and_returns_nothing_is_right_too():
    fill = Exercise("00", "a minute", "fill(x): x with ones.", hints=["?", "?"])

    @fill.cases
    def _():
        yield ([0, 0],)
        yield (torch.zeros(200, 200),)
        yield ([1, 1],)

    @fill.answer
    def _(x):
        return torch.ones(torch.as_tensor(x).shape)

    def in_place(x):
        if isinstance(x, list):
            x[:] = [1, 1]
        else:
            x += 1

    assert fill(in_place).right


@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        np.array,
        torch.tensor,
        np.float32,
        lambda x: torch.tensor(x).half(),
        lambda x: [*map(Fraction, x)],
        lambda x: [*map(np.float16, x)],
    ],
)
def test_numbers_are_the_same_in_whatever_they_are_kept(kind):
    assert same(kind([1.0, 2.0]), [1, 2]) and not same(kind([1.0, 2.5]), [1, 2]) and not same(kind([1.0]), [1, 2])


def test_whole_numbers_are_not_rounded():
    assert not same(2_000_000, 2_000_100) and same(2_000_000.5, 2_000_000.4) and same(torch.tensor([3]), [3.0])


def test_where_it_is_told_numbers_of_16_bits_are_not_forgiven():
    third = torch.tensor([1 / 3]).half()
    assert same(third, [1 / 3]) and not same(third, [1 / 3], forgiving=False)


def test_infinities_and_nan_are_the_same_only_in_the_same_places():
    assert same([-math.inf, 1], [-math.inf, 1]) and not same([math.inf, 1], [-math.inf, 1])
    assert (
        same([math.nan, 1], [math.nan, 1]) and not same([math.nan, 1], [1, 1]) and not same([-1e9, 1], [-math.inf, 1])
    )
    assert same([-math.inf, -math.inf], [-math.inf, -math.inf])


def test_what_is_no_number_is_compared_item_by_item():
    assert same({"a": [1, 2]}, {"a": torch.tensor([1, 2])}) and not same({"a": 1}, {"b": 1})
    assert (
        same(["ab", 1], ("ab", 1.0)) and not same(["ab"], ["ba"]) and not same("12", 12) and same(np.str_("ab"), "ab")
    )
    assert same(torch.tensor([1, 2]), {1, 2}) and same({torch.tensor(1)}, {1}) and not same([[1]], {1})
    assert same([1, 2, 2], {1, 2}) and not same([1], {1, 2})
    assert same([torch.ones(2), torch.ones(2)], torch.ones(2, 2)) and not same([[1], [1, 2]], [[1], [1, 3]])


@pytest.mark.parametrize(
    ("got", "right", "told"),
    [
        (
            [[1, 2], [3, 5]],
            [[1, 2], [3, 4]],
            "1 of 4 numbers is wrong, in row 1; the first is at [1, 1]: 5, should be 4",
        ),
        ([1.001, 2, 7], [1, 2, 7], "it is nearly right: the largest difference is 0.001"),
        ([2_000_100], [2_000_000], "it is nearly right"),
        ([2.0, 2.5], [2.0, 2.0], "1 of 2 numbers is wrong; the first is at [1]: 2.5, should be 2"),
        ([math.nan, 1], [1, 1], "1 of 2 numbers is nan, and should not be; the first is at [0]: nan, should be 1"),
        ([5.0, -math.inf], [-math.inf, -math.inf], "1 of 2 numbers should be minus infinity, and is not"),
        ([-1e9, 1.0], [-math.inf, 1.0], "1 of 2 numbers should be minus infinity, and is not"),
        ([-math.inf, 1.0], [0.0, 1.0], "1 of 2 numbers is minus infinity, and should not be"),
        ([[1.0], [2.0]], [[1.0, 2.0]], "its shape is (2, 1), and should be (1, 2)"),
        ([1, 2], [1, 2, 3], "it has 2 numbers, and should have 3"),
        ("abd", "abc", "the texts part at character 2: 'd', should be 'c'"),
        ({"a": 1}, {"a": 1, "b": 2}, "the entry 'b' is missing"),
        ({"a": 1, "b": 2}, {"a": 1}, "there is an entry 'b' too many"),
        ({"a": 1}, {"a": 3}, "the entry 'a' is wrong: it gives 1, and should give 3"),
        ([("a", 1)], {"a": 1}, "it gives back a list, and should give a dict"),
        (["a", "x"], ["a", "b"], "in item 1, it gives 'x', and should give 'b'"),
        (["a"], ["a", "b"], "it has 1 items, and should have 2"),
        ((0.5, True), (0.5, False), "in item 1, it gives True, and should give False"),
        ([None, 5], [9, 5], "item 0 is None, and should be 9"),
        ("query", None, "it gives 'query', and should give None"),
        ([[1, 2]], {1, 2}, "it gives back a list, and should give a set"),
        ([1, 3], {1, 2}, "{2} is missing"),
        ({None, 2}, {2}, "{None} should not be in it"),
    ],
)
def test_the_difference_is_told_as_it_was_measured(got, right, told):
    assert not same(got, right) and told in difference(got, right), difference(got, right)


@pytest.mark.parametrize(
    ("got", "told"),
    [
        ([-1.0, -2.0, -4.0], "every number has the wrong sign"),
        ([3.0, 6.0, 12.0], "every number is 3 times what it should be"),
        ([2.0, 3.0, 5.0], "every number is 1 too large"),
        ([0.0, 0.0, 0.0], "all its numbers are zero"),
        ([4.0, 2.0, 1.0], "it is right, but backwards"),
        ([2.0, 1.0, 4.0], "the numbers are right, in another order"),
        ([1.0, 2.0], "those at the end are missing"),
        ([2.0, 4.0], "those at the beginning are missing"),
        ([[1.0, 2.0, 4.0]], "the numbers are right, in another shape"),
        ([1.001, 2.0, 4.0], ""),
        ([1.0, 2.0, math.nan], ""),
    ],
)
def test_what_holds_for_all_numbers_is_told(got, told):
    assert relation(got, [1.0, 2.0, 4.0]) == told


def test_a_relation_needs_three_numbers_that_are_not_all_the_same():
    assert relation([2.0, 4.0], [1.0, 2.0]) == relation([2.0, 2.0, 2.0], [1.0, 1.0, 1.0]) == ""
    assert relation([0, 1, 2, 3], [1, 2, 3, 9]) == "it is moved by one place to the right"
    assert relation([[1.0, 2.0], [3.0, 4.0]], [[1.0, 3.0], [2.0, 4.0]]) == "it is the right matrix, transposed"


def test_a_relation_is_told_only_if_it_holds_in_every_wrong_case():
    scaled = Exercise("00", "a minute", "scaled(x): x.", hints=["?", "?"])

    @scaled.cases
    def _():
        yield (torch.tensor([1.0, 2.0, 4.0]),)
        yield (torch.tensor([1.0, 2.0, 5.0, 7.0]),)

    @scaled.answer
    def _(x):
        return 1 * x

    always = scaled(lambda x: 2 * x).text
    assert (
        "3 of 3 numbers are wrong; the first is at [0]: 2, should be 1: every number is 2 times what it should be."
        in always
    )
    assert "times" not in scaled(lambda x: 2 * x if len(x) == 3 else 3 * x).text


def test_a_changed_argument_does_not_hide_that_nothing_comes_back():
    soft = Exercise("00", "a minute", "soft(x): its exponentials.", hints=["?", "?"])

    @soft.cases
    def _():
        yield (torch.tensor([1.0, 2.0]),)

    @soft.answer
    def _(x):
        return x.exp()

    def changes(x):
        x -= 1

    assert "it gives back None: does it end with return? (And" in soft(changes).text


def test_long_values_are_cut_where_they_are_shown():
    assert shown(torch.zeros(10, 10)).startswith("numbers of shape (10, 10)") and len(shown("a" * 999)) < 250
    assert shown(True) == "True" and shown((1, False)) == "(1, False)" and shown({3, 1}) == "{1, 3}"
    assert shown([1, "a"]) == "[1, 'a']" and shown({"a": torch.ones(1)}) == "{'a': [1]}" and shown(math.sqrt) == "sqrt"


def test_what_is_solved_is_kept_in_a_file_that_the_output_names(monkeypatch):
    name = next(iter(check.exercises()))
    monkeypatch.setattr(check.exercises()[name], "mistakes", {})
    answer = check.exercises()[name]._answer
    assert "Kept in minigpt_progress.json: 1 done." in check.exercises()[name](answer).text
    assert list(json.loads(kept.FILE.read_text(encoding="utf-8"))["done"]) == [name]
    before = kept.FILE.read_text(encoding="utf-8")
    check.exercises()[name](answer)
    assert kept.FILE.read_text(encoding="utf-8") == before
    told = check.progress().text
    assert (
        told.startswith(f"1 of {len(check.exercises())} exercises done (kept in minigpt_progress.json)")
        and f"✓ {name}" in told
    )


@pytest.mark.parametrize("content", ["{", "[]", '{"done": []}', '{"mine": 1}'])
def test_a_file_of_something_else_is_not_overwritten(content):
    kept.FILE.write_text(content, encoding="utf-8")
    name = next(iter(check.exercises()))
    verdict = check.exercises()[name](check.exercises()[name]._answer)
    assert verdict.right and "It was not kept: minigpt_progress.json does not hold what the checks keep" in verdict.text
    assert kept.FILE.read_text(encoding="utf-8") == content and "move it away" in check.progress().text


def test_hints_come_one_by_one_and_end_at_the_solution():
    name, exercise = next(iter(check.exercises().items()))
    told = [check.hint(name).text for _ in range(len(exercise.hints) + 2)]
    assert told[0] == f"hint 1 of {len(exercise.hints)}: {exercise.hints[0]}"
    assert told[-2].startswith("that was the last hint") and told[-1] == told[0]


def test_an_exercise_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"there is no exercise 'nothing': check.progress\(\) lists all"):
        check.hint("nothing")
    with pytest.raises(AttributeError, match=r"there is no exercise 'nothing': check.progress\(\) lists all"):
        _ = check.nothing
    assert {"hint", "progress", "one_head"} <= set(dir(check))


def test_no_line_of_a_verdict_is_wider_than_a_page(double):
    assert max(map(len, str(double(lambda x: [x] * 60)).splitlines())) <= 72
