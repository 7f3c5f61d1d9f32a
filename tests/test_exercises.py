"""The exercises answer truly: what is right passes, of whatever kind; each known mistake is told by its own name; a stub says "not yet"
and breaks nothing; and the solutions that the chapters fold are run.
"""

import ast
import functools
import importlib
import re
import time
from pathlib import Path

import nbformat
import pytest
import tutor

from minigpt_core.notebook import checks as check
from minigpt_core.notebook.checks import kept
from minigpt_core.notebook.checks.exercise import Verdict

ROOT = Path(__file__).parents[1]
EXERCISES = check.exercises()
NOTEBOOKS = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
RIGHT = {}
for slug in check.CHAPTERS.values():
    RIGHT |= importlib.import_module(f"answers.{slug}").RIGHT


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@functools.cache
def cells(chapter, kind):
    notebook = nbformat.read(NOTEBOOKS[chapter], as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def stub(name):
    """The cell in which the reader is to write."""
    (cell,) = [c for c in cells(EXERCISES[name].chapter, "code") if f"check.{name}(" in c.source]
    return cell


def solutions(name):
    """The code that stands folded below the exercise, as functions of that name."""
    found = []
    for cell in cells(EXERCISES[name].chapter, "markdown"):
        for folded in re.findall(r"<details><summary>Solution</summary>(.*?)</details>", cell.source, re.DOTALL):
            for code in re.findall(r"```python\n(.*?)```", folded, re.DOTALL):
                if re.search(rf"^def {name}\(", code, re.MULTILINE):
                    found.append((code, folded.replace(code, "")))
    return found


def functions_in(chapter, code):
    """What a cell defines, run after all that the chapter's cells import."""
    names = {}
    for cell in cells(chapter, "code"):
        source = re.sub(r"^( *)[!%].*$", r"\1pass", cell.source, flags=re.MULTILINE)
        imports = [step for step in ast.parse(source).body if isinstance(step, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), "imports", "exec"), names)
    exec(code, names)
    return names


@pytest.mark.parametrize("name", EXERCISES)
def test_right_answers_of_every_kind_pass(name):
    assert len(RIGHT[name]) >= 2, "at least two right answers of different kinds"
    for function in RIGHT[name]:
        verdict = EXERCISES[name](function)
        assert verdict.right, f"{function.__name__}: {verdict}"


@pytest.mark.parametrize("name", EXERCISES)
def test_each_mistake_is_told_by_its_own_name(name):
    mistakes = EXERCISES[name].mistakes
    assert len(mistakes) >= 3, "at least three plausible mistakes"
    for mistake in mistakes:
        verdict = EXERCISES[name](mistakes[mistake].function)
        assert not verdict.right and verdict.diagnosis == mistake, verdict
        assert "right is" in verdict.text


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_is_in_its_chapter_with_stub_solution_and_hints(name):
    exercise = EXERCISES[name]
    assert 2 <= len(exercise.hints) <= 4 and all(hint.rstrip()[-1] in ".?:" for hint in exercise.hints)
    ((code, remark),) = solutions(name)
    assert len(remark.split()) >= 15, "the solution needs a remark on why"
    names = functions_in(exercise.chapter, code)
    verdict = exercise(names[name])
    assert verdict.right, verdict
    told = [c.source for c in cells(exercise.chapter, "markdown") if exercise.time in c.source]
    assert told, f"the chapter must say {exercise.time!r}"


@pytest.mark.parametrize("name", EXERCISES)
def test_the_stub_says_not_yet_and_lets_the_notebook_run_on(name):
    exercise, cell = EXERCISES[name], stub(name)
    assert "exercise" in cell.metadata.tags
    names = functions_in(exercise.chapter, cell.source.replace(f"check.{name}({name})", ""))
    verdict = exercise(names[name])
    assert isinstance(verdict, Verdict) and not verdict.right and str(verdict).startswith("not yet")
    assert cell.outputs[-1]["data"]["text/plain"] == str(verdict)
    assert exercise.planted or f"{name} is still empty" in verdict.text
    assert not exercise.planted or verdict.diagnosis, "the planted bug must be one of the mistakes"
    assert not kept.FILE.exists()


@pytest.mark.parametrize("chapter", check.CHAPTERS)
def test_a_chapter_has_four_exercises_one_of_them_a_planted_bug(chapter):
    own = [exercise for exercise in EXERCISES.values() if exercise.chapter == chapter]
    assert len(own) >= 4 and any(exercise.planted for exercise in own)
    assert NOTEBOOKS[chapter].stem == f"{chapter}_{check.CHAPTERS[chapter]}"
    assert not {exercise.name for exercise in own} & {*check.CHAPTERS.values(), "hint", "progress"}


def test_the_tutors_map_names_every_check_and_the_page_is_one():
    text = tutor.PAGE.read_text(encoding="utf-8")
    assert text == tutor.page(text), "run make tutor"
    assert len(text.splitlines()) < 80
    for page in ("README.md", "book/how-to-read.md"):
        assert "TUTOR.md" in (ROOT / page).read_text(encoding="utf-8")


def test_the_checks_take_little_time():
    began = time.perf_counter()
    for name, exercise in EXERCISES.items():
        exercise(RIGHT[name][0])
    assert time.perf_counter() - began < 0.5 * len(EXERCISES)
