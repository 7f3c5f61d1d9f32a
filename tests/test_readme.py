"""What the README tells a stranger to type works."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_python_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "steps=500" in code
    exec(code.replace("steps=500", "steps=2, warmup_steps=1"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("line", re.findall(r"^minigpt .*$", README, re.MULTILINE))
def test_its_commands_have_these_options(line):
    from minigpt_core.cli import _build_parser

    assert _build_parser().parse_args(shlex.split(line, comments=True)[1:]).command


def test_its_make_targets_exist_and_those_of_contributing():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`?make (\w+)", README)) - {"it"}
    assert {"book", "test", "help", "notebooks"} <= targets
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets |= set(re.findall(r"`make (\w+)", " ".join(contributing.split())))
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_its_files_and_folders_exist():
    for path in re.findall(r"\]\(([^)#:]+)\)|^\| `([\w/]+/)`", README, re.MULTILINE):
        assert (ROOT / (path[0] or path[1])).exists(), path


def test_it_names_every_chapter_in_order():
    named = re.findall(r"\]\(notebooks/(\w+)\.ipynb\)", README)
    assert named == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert [name[:2] for name in named] == [f"{number:02}" for number in range(17)]
    assert "Seventeen chapters, numbered 00 to 16:" in README


def test_it_names_what_remakes_every_record():
    """Each tool that writes to book/records has a target, and stands in the row of the folder."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `book/` \|.*$", README, re.MULTILINE)
    for tool in ("records", "ladder", "neural", "staircase", "parts", "drift", "memory", "real", "scaling"):
        assert re.search(rf"^{tool}:.*\n\t\$\(BIN\)/python book/tools/{tool}\.py", makefile, re.MULTILINE)
        assert f"`make {tool}`" in row
