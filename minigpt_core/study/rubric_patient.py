"""The rubric of the project "patient": a disease of a program, its symptom, its cure, and a number that tells the sick from the
healthy.

The entry is a Python file of at most 30 lines that defines the texts `symptom` and `cure`, the functions `sick(seed)` and
`healthy(seed)`, which give a program of any kind, such as a trained model, and `measure(program)`, which gives a number.
Where it also defines `losses(program)`, which gives what `clinic.examine` takes, the clinic is asked: what it finds by the
loss alone is no new patient.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from .apart import Apart, code_lines
from .projects import Criterion, Result, check_name, now

SEEDS = range(5)
SECONDS = 60.0  # for one program, made and measured
LINES = 30
FAR = 10.0  # a gap of as many spreads, or more
NEEDED = ("symptom", "cure", "sick", "healthy", "measure")


def missing(module: ModuleType) -> list[str]:
    """Asked in the process of the file: what it does not define as it should."""
    texts, functions = NEEDED[:2], NEEDED[2:]
    return [name for name in texts if not isinstance(getattr(module, name, None), str)] + [
        name for name in functions if not callable(getattr(module, name, None))
    ]


def words(module: ModuleType) -> list[str]:
    """Asked in the process of the file: symptom and cure."""
    return [" ".join(module.symptom.split()), " ".join(module.cure.split())]


def value(module: ModuleType, which: str, seed: int) -> float:
    """Asked in the process of the file: what is measured of one program."""
    found = float(module.measure(getattr(module, which)(seed)))
    if not math.isfinite(found):
        raise ValueError(f"measure gives {found}, and no finite number")
    return found


def convicted(module: ModuleType) -> list[str] | None:
    """Asked in the process of the file: the diseases that the clinic finds in the sick and not in the healthy, by their
    losses. None: the file gives no losses."""
    if not callable(getattr(module, "losses", None)):
        return None
    from .clinic import CAUSES, examine  # only now: with torch, it would delay every other question

    known = [rule.__name__.replace("_", " ") for rule in CAUSES]
    sick, healthy = (
        [finding.name for finding in examine(*module.losses(getattr(module, which)(0))).findings]
        for which in ("sick", "healthy")
    )
    return [name for name in sick if name in known and name not in healthy]


def judge(path: str | Path, name: str, seconds: float = SECONDS) -> Result:
    """Measure the patient in a file with five seeds, each of its programs within `seconds`. What cannot be measured is a
    `ValueError`.

    >>> judge("patient.py", "Ada").met                                                  # doctest: +SKIP
    True
    """
    name = check_name(name)
    with Apart(path) as patient:
        here, lines = f"{__name__}:", code_lines(patient.source)
        if lacking := patient.ask(here + "missing", seconds=seconds, doing="reading it"):
            raise ValueError(f"{patient.path.name} must define {', '.join(NEEDED)}; missing: {', '.join(lacking)}")
        symptom, cure = patient.ask(here + "words", seconds=seconds)
        found: dict[str, list[float]] = {}
        longest = 0.0
        for which in ("sick", "healthy"):
            found[which] = []
            for seed in SEEDS:
                began = time.perf_counter()
                found[which].append(
                    patient.ask(here + "value", which, seed, seconds=seconds, doing=f"measure({which}({seed}))")
                )
                longest = max(longest, time.perf_counter() - began)
        again = patient.ask(here + "value", "sick", SEEDS[0], seconds=seconds, doing=f"measure(sick({SEEDS[0]}))")
        seen = patient.ask(here + "convicted", seconds=2 * seconds, doing="losses")
    gap, spread = apart(found["sick"], found["healthy"])
    score = round(max(-FAR, min(FAR, gap / spread)), 3) if spread else math.copysign(FAR, gap) if gap else 0.0
    same = math.isclose(again, found["sick"][0], rel_tol=1e-3, abs_tol=1e-6)
    clinic = "no losses given" if seen is None else ", ".join(seen) or "nothing"
    criteria = (
        Criterion("symptom and cure, characters", f"{len(symptom)} and {len(cure)}", "not empty", bool(symptom and cure)),
        Criterion("gap between sick and healthy", round(gap, 6), "above 0: they do not overlap", gap > 0),
        Criterion("gap, in spreads of five seeds", score, "at least 1", score >= 1),
        Criterion("the same seed again", again, f"{found['sick'][0]:.6g}", same),
        Criterion("lines of code", lines, f"at most {LINES}", lines <= LINES),
        Criterion("what the clinic finds by the loss", clinic, "nothing", None if seen is None else not seen),
    )  # fmt: skip
    figures = {
        "symptom": symptom,
        "cure": cure,
        "sick": [round(x, 6) for x in found["sick"]],
        "healthy": [round(x, 6) for x in found["healthy"]],
        "seconds of the longest": round(longest, 1),
    }
    return Result("patient", name, criteria, criteria[2].name, score, 1.0, figures=figures, date=now())


def apart(sick: Sequence[float], healthy: Sequence[float]) -> tuple[float, float]:
    """The gap between two groups of numbers, below 0 where they overlap, and the larger of their spreads.

    >>> apart([1.0, 2.0], [5.0, 5.5])
    (3.0, 1.0)
    """
    gap = max(min(healthy) - max(sick), min(sick) - max(healthy))
    return gap, max(max(group) - min(group) for group in (sick, healthy))
