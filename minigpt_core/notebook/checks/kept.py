"""Which exercises are done: kept in one small file in the reader's own folder."""

import json
from datetime import date
from pathlib import Path

from ...files import write_atomic

FILE = Path("minigpt_progress.json")  # in the folder that the reader works in


def done() -> dict[str, str]:
    """The exercises that were solved, each with the day; {} where there is no file. A file that holds something else is a
    `ValueError`.

    >>> done()                                                                          # doctest: +SKIP
    {'causal_shares': '2026-11-27'}
    """
    if not FILE.exists():
        return {}
    try:
        kept = json.loads(FILE.read_text(encoding="utf-8"))
        return {str(name): str(day) for name, day in kept["done"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{FILE} does not hold what the checks keep: move it away, and solved exercises are kept again"
        ) from None


def note(name: str) -> str:
    """Keep that this exercise is done; a sentence that names the file."""
    try:
        kept = done()
        kept.setdefault(name, date.today().isoformat())
        write_atomic(FILE, (json.dumps({"done": kept}, indent=1) + "\n").encode())
    except (OSError, ValueError) as error:
        return f"(It was not kept: {error}.)"
    return f"Kept in {FILE}: {len(kept)} done."
