"""The exercises of the book: `check.NAME(your_function)` says whether it is right, and if not, what is wrong.

    from minigpt_core.notebook import checks as check

A module a chapter, under the chapter's name. The functions in them that begin with an underscore, or follow `@NAME.mistake`, are
the checks' own answers and mistakes: who wants to learn does not read them before solving.
"""

import functools
import importlib
from typing import Any

from . import kept as _kept
from .exercise import Exercise, Verdict

CHAPTERS = {
    "00": "first_light",
    "01": "tokenization",
    "02": "windows",
    "03": "learning",
    "04": "backpropagation",
    "05": "first_neural_model",
    "06": "attention",
    "07": "transformer",
    "08": "training",
    "09": "clinic",
    "10": "sampling",
    "11": "repetition",
    "12": "inside_the_model",
    "13": "your_own_text",
    "14": "fastest",
    "15": "real_models",
    "16": "growing",
}
_told: dict[str, int] = {}


@functools.cache
def exercises() -> dict[str, Exercise]:
    """All exercises of the book by their names, in its order.

    >>> exercises()["causal_shares"].chapter
    '06'
    """
    found: dict[str, Exercise] = {}
    for slug in CHAPTERS.values():
        module = importlib.import_module(f".{slug}", __name__)
        found |= {item.name: item for item in vars(module).values() if isinstance(item, Exercise)}
    return found


def hint(name: str) -> Verdict:
    """The next hint on an exercise: with each call one more, until there is none.

    >>> hint("causal_shares")                                                             # doctest: +ELLIPSIS
    hint 1 of ...
    """
    exercise = _named(name)
    stage = _told.get(name, 0)
    _told[name] = stage + 1
    if stage >= len(exercise.hints):
        _told[name] = 0
        return Verdict(False, "that was the last hint; the solution is folded below the exercise")
    return Verdict(False, f"hint {stage + 1} of {len(exercise.hints)}: {exercise.hints[stage]}")


def progress() -> Verdict:
    """The book at a glance: each chapter's exercises, those that are done with a tick."""
    try:
        done = _kept.done()
    except ValueError as error:
        return Verdict(False, str(error))
    rows = []
    known = exercises()
    for chapter in CHAPTERS:
        names = [name for name, exercise in known.items() if exercise.chapter == chapter]
        marked = "  ".join(f"{'✓' if name in done else '·'} {name}" for name in names)
        rows.append(f"{chapter}  {sum(name in done for name in names)}/{len(names)}  {marked}")
    total = sum(name in done for name in known)
    return Verdict(
        total == len(known), "\n".join([f"{total} of {len(known)} exercises done (kept in {_kept.FILE})", *rows])
    )


def _named(name: str) -> Exercise:
    known = exercises()
    if name not in known:
        raise ValueError(f"there is no exercise {name!r}: check.progress() lists all")
    return known[name]


def __getattr__(name: str) -> Any:
    if not name.startswith("_") and name in (known := exercises()):
        return known[name]
    raise AttributeError(f"there is no exercise {name!r}: check.progress() lists all")


def __dir__() -> list[str]:
    return [*exercises(), "hint", "progress"]
