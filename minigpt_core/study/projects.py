"""The result of a project: what a rubric found, written as one small file, and what a class's files say together.

A rubric (`rubric_tokenizer`, `rubric_rival`, `rubric_patient`, and `beyond.rubric_rung`) measures an entry, and gives a
`Result`. What a script cannot judge stands in the result as questions for a person. Nothing here runs what it reads.
"""

import json
import math
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..files import write_atomic

VERSION = 1
LONGEST_NAME = 60  # characters
LARGEST = 200_000  # bytes of a result; ours are a few thousand


@dataclass(frozen=True)
class Project:
    """What a figure of a class needs to know of a project: what is on the axis, and what is told at the line."""

    axis: str
    line: str
    title: str  # {met} of {count}
    person: tuple[str, ...]  # questions that a script cannot answer


PROJECTS = {
    "tokenizer": Project(
        "tokens, beside those of our BPE of the same size (less is better)",
        "limit",
        "{met} of {count} tokenizers do as well as our BPE",
        (
            "Is it a language that you can judge? Say where the text comes from, and that you may use it.",
            "Did the tokenizer learn from the training part alone?",
            "Read the longest pieces: are they words, stems and endings of the language, or names and boilerplate of this text?",
            "Where does it cut badly? Show one sentence, and say why.",
        ),
    ),
    "rival": Project(
        "model's loss less the best count's, nats per character (less is better)",
        "the best count",
        "{met} of {count} models beat the best count",
        (
            "Is the text your own choice, and may you use it?",
            "What did you change on the way, and which of it helped? One run of each is no proof.",
            "Read a page that the model writes: what does it know that the count cannot know?",
        ),
    ),
    "patient": Project(
        "gap between sick and healthy, in spreads of five seeds",
        "limit",
        "{met} of {count} patients are told from the healthy",
        (
            "Does `measure` look at the disease, or does it read a label that `sick` has left?",
            "Would a reader with this symptom find this patient?",
            "Is the cure true? Change the one thing that it names, and see.",
            "Has anybody met it outside of this class?",
        ),
    ),
    "rung": Project(
        "gain over the fast recipe, nats per letter (more is better)",
        "no gain",
        "{met} of {count} rungs gain more than chance",
        (
            "Where were the settings chosen? Only --tune, which reads the end of the training part, is fair.",
            "How many ideas were tried? Of seventeen that change nothing, about one passes by chance.",
            "Why does it help? Take one part of it away, and measure again.",
        ),
    ),
}


@dataclass(frozen=True)
class Criterion:
    """One line of a rubric. `met` is None where the script could not measure it, and a person has to judge."""

    name: str
    measured: float | str
    limit: str
    met: bool | None


@dataclass(frozen=True)
class Result:
    """What a rubric found. `score` is what a class compares: its number, the limit of it, and half of a bar where it has
    one; its criterion is the one whose name is `decides`."""

    project: str
    name: str
    criteria: tuple[Criterion, ...]
    decides: str
    score: float
    line: float
    error: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    date: str = ""
    version: int = VERSION

    @property
    def met(self) -> bool:
        """Whether the criterion that decides is met, and no other is missed: who breaks a rule has not won."""
        decided = any(c.met is True for c in self.criteria if c.name == self.decides)
        return decided and all(c.met is not False for c in self.criteria)

    def __str__(self) -> str:
        passed, undecided = (sum(c.met is kind for c in self.criteria) for kind in (True, None))
        head = f"project {self.project}, {self.name}: {passed} of {len(self.criteria)} criteria met"
        lines = [head + (f", {undecided} for a person to judge" if undecided else "")]
        words = {True: "met", False: "NOT met", None: "a person"}
        lines += [f"  {words[c.met]:9} {c.name}: {shown(c.measured)} ({c.limit})" for c in self.criteria]
        lines += ["measured besides"]
        lines += [f"  {name}: {shown(value)}" for name, value in self.figures.items()]
        lines += ["what a script cannot judge"]
        return "\n".join(lines + [f"  - {question}" for question in PROJECTS[self.project].person])


def shown(value: object) -> str:
    """A number as it is printed.

    >>> shown(12345), shown(0.98765), shown(["a", "b"])
    ('12,345', '0.988', 'a, b')
    """
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def check_name(name: str) -> str:
    """The name of who takes part, in one line; one that cannot stand in a figure is a `ValueError`.

    >>> check_name("  Ada   Lovelace ")
    'Ada Lovelace'
    """
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"name={name[:20]!r} must be a name of 1 to {LONGEST_NAME} characters that can be printed")
    return name


def now() -> str:
    """The time in UTC, as a result keeps it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def default_path(project: str, name: str) -> Path:
    """Where a result goes unless another file is named.

    >>> default_path("rival", "Ada Lovelace").as_posix()
    'results/ada-lovelace-rival.json'
    """
    letters = "".join(c if c.isalnum() else "-" for c in name.casefold())
    return Path("results") / f"{'-'.join(filter(None, letters.split('-'))) or 'entry'}-{project}.json"


def write(result: Result, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a result, whole or not at all. A file that is there already is a `ValueError`, unless `overwrite`.

    >>> write(result, "results/ada-rival.json")                                         # doctest: +SKIP
    """
    path = Path(path)
    check_free(path, overwrite)
    text = json.dumps(asdict(result), ensure_ascii=False, indent=1, allow_nan=False)
    write_atomic(path, (text + "\n").encode("utf-8"))


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse a place where a file is already, before anything is measured for it."""
    if path.is_dir():
        raise ValueError(f"{path} is a directory: name a file by --out")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already: name another --out, or replace it by --overwrite")


def read(path: str | Path) -> Result:
    """The result that `write` wrote. What is none is a `ValueError` that says why.

    >>> read("results/ada-rival.json").met                                              # doctest: +SKIP
    True
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it is too large, {path.stat().st_size:,} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not {"project", "name", "criteria", "score"} <= found.keys():
            raise ValueError("it has no project, name, criteria and score")
        if found.get("version") != VERSION:
            raise ValueError(f"its version is {found.get('version')!r}, this program reads {VERSION}")
        return _result(found)
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is no result of a project: it is not UTF-8") from None
    except json.JSONDecodeError:
        raise ValueError(f"{path.name} is no result of a project: it is damaged, or no JSON") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path.name} is no result of a project: {reason}") from None


def _result(found: dict[str, Any]) -> Result:
    if found["project"] not in PROJECTS:
        raise ValueError(f"its project is {str(found['project'])[:30]!r}, none of {', '.join(PROJECTS)}")
    for name in ("name", "decides", "date"):
        if not isinstance(found.get(name), str):
            raise ValueError(f"its {name} is no text")
    for name in ("score", "line", "error"):
        value = found.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"its {name} is {value!r:.30}, and no number")
    if found["date"]:
        datetime.fromisoformat(found["date"])
    rows = found["criteria"]
    if not isinstance(rows, list) or not rows:
        raise ValueError("its criteria are no list")
    for row in rows:
        if not isinstance(row, dict) or row.keys() != {"name", "measured", "limit", "met"}:
            raise ValueError("a criterion needs name, measured, limit and met")
        if not (row["met"] is None or isinstance(row["met"], bool)) or not isinstance(row["name"], str):
            raise ValueError("a criterion is neither met nor not met")
    if found["decides"] not in {row["name"] for row in rows}:
        raise ValueError("the criterion that decides is missing")
    figures = found.get("figures")
    return Result(
        found["project"],
        check_name(found["name"]),
        tuple(Criterion(**row) for row in rows),
        found["decides"],
        float(found["score"]),
        float(found["line"]),
        float(found["error"]),
        figures if isinstance(figures, dict) else {},
        found["date"],
    )


@dataclass(frozen=True)
class Class:
    """The results of a class, by project, best first, and what was said of files: what is none, and what came twice."""

    results: dict[str, list[Result]]
    notes: tuple[str, ...]


def gather(folder: str | Path) -> Class:
    """Read all results in a folder and in those inside it. A file that is no result is named and skipped. Of the same person
    in the same project the latest counts, as its date says, and without dates the one that was written last. A folder
    without a result is a `ValueError`.

    >>> gather("results").results["rival"][0].name                                      # doctest: +SKIP
    'Ada'
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    paths = sorted(path for path in folder.rglob("*.json") if path.is_file())
    notes: list[str] = []
    found: dict[tuple[str, str], list[tuple[str, float, str, Result]]] = {}
    for path in paths:
        try:
            result = read(path)
        except ValueError as error:
            notes.append(f"{error}; skipped")
            continue
        # One date may stand in another time zone than the other, so all are brought to UTC.
        date = datetime.fromisoformat(result.date).astimezone(UTC).isoformat() if result.date else ""
        entry = (date, path.stat().st_mtime, path.name, result)
        found.setdefault((result.project, result.name.casefold()), []).append(entry)
    if not found:
        raise ValueError(f"{folder} holds no result of a project: minigpt project writes them")
    latest: dict[str, list[Result]] = {name: [] for name in PROJECTS}
    for (project, _), entries in found.items():
        *older, last = sorted(entries, key=lambda entry: entry[:3])
        latest[project].append(last[-1])
        if older:
            notes.append(f"{last[-1].name} has {len(entries)} results of {project}: the latest counts, {last[2]}")
    return Class({name: _sorted(results) for name, results in latest.items() if results}, tuple(notes))


def _sorted(results: Iterable[Result]) -> list[Result]:
    """The best first: of a loss and of tokens less is better, of a gap and of a gain more."""
    return sorted(results, key=lambda r: (-r.score if r.project in ("patient", "rung") else r.score, r.name))


def summary(project: str, results: list[Result]) -> str:
    """One sentence on a project of a class, computed from its results.

    >>> summary("rival", [])
    '0 of 0 models beat the best count'
    """
    return PROJECTS[project].title.format(met=sum(result.met for result in results), count=len(results))
