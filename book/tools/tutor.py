"""Write the map of TUTOR.md, chapters and their checks, from the checks themselves.

make tutor
"""

import re
from pathlib import Path

import nbformat

from minigpt_core.files import write_atomic
from minigpt_core.notebook import checks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "TUTOR.md"


def rows() -> str:
    """A line a chapter: its notebook with the title, and its checks by name."""
    lines = ["| chapter | checks |", "|---|---|"]
    for chapter, slug in checks.CHAPTERS.items():
        path = Path("notebooks") / f"{chapter}_{slug}.ipynb"
        title = nbformat.read(ROOT / path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
        own = [exercise for exercise in checks.exercises().values() if exercise.chapter == chapter]
        names = ", ".join(f"*{each.name}*" if each.planted else each.name for each in own)
        lines.append(f"| [{title}]({path.as_posix()}) | {names} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with its map remade.

    >>> page("<!-- map -->\\n<!-- end -->").count("| chapter |")
    1
    """
    start, end = re.split(r"(?<=<!-- map -->\n)(?:\|.*\n)*(?=<!-- end -->)", text)
    return start + rows() + end


if __name__ == "__main__":
    write_atomic(PAGE, page(PAGE.read_text(encoding="utf-8")).encode("utf-8"))
