"""The repository's address is found and typed nowhere: from CI, from a remote, or not at all, and then nothing leads astray."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FORK = "https://github.com/a-teacher/minigpt.book"


def tool_named(name: str):
    spec = importlib.util.spec_from_file_location(f"{name}_tool", ROOT / "book" / "tools" / f"{name}.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


tool, notebooks = tool_named("address"), tool_named("notebooks")


@pytest.fixture(autouse=True)
def no_ci(monkeypatch):
    for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)


def repository(folder: Path, **remotes: str) -> Path:
    subprocess.run(["git", "init", "-q", folder], check=True)
    for name, where in remotes.items():
        subprocess.run(["git", "-C", folder, "remote", "add", name, where], check=True)
    return folder


@pytest.mark.parametrize(
    "remote",
    [
        FORK,
        f"{FORK}.git",
        f"{FORK}/",
        "https://a-teacher:secret@github.com/a-teacher/minigpt.book.git",
        "git@github.com:a-teacher/minigpt.book.git",
        "ssh://git@github.com/a-teacher/minigpt.book.git",
        "ssh://git@github.com:22/a-teacher/minigpt.book",
        "git://github.com/a-teacher/minigpt.book.git",
    ],
)
def test_the_address_comes_from_a_remote_however_it_is_written(remote, tmp_path):
    assert tool.address(repository(tmp_path, origin=remote)) == FORK


def test_a_forks_own_address_comes_before_the_one_that_it_was_made_from(tmp_path):
    upstream = "https://github.com/the-authors/minigpt-book"
    assert tool.address(repository(tmp_path, a_first=upstream, origin=FORK)) == FORK
    subprocess.run(["git", "-C", tmp_path, "remote", "set-url", "origin", "https://example.org/a/b"], check=True)
    assert tool.address(tmp_path) == upstream


@pytest.mark.parametrize(
    "remote", ["https://example.org/a/b", "https://github.com.example.org/a/b", "/home/me/github.com/a/b", "../book"]
)
def test_other_remotes_give_no_address(remote, tmp_path):
    assert tool.address(repository(tmp_path, origin=remote)) == ""


def test_a_folder_that_is_no_repository_has_no_address(tmp_path, monkeypatch):
    inside = repository(tmp_path, origin=FORK) / "book"
    inside.mkdir()
    assert tool.address(inside) == ""
    assert tool.address(repository(tmp_path / "without")) == ""
    monkeypatch.setenv("PATH", str(inside))  # no git
    assert tool.address(tmp_path) == ""


def test_in_ci_its_variables_tell(monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_REPOSITORY", "a-teacher/minigpt.book")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example.org")  # Colab cannot open that
    assert tool.address(tmp_path) == ""
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    assert tool.address(repository(tmp_path, origin="git@github.com:somebody/else")) == FORK


def test_the_notebooks_state_one_address_or_none_and_no_other_file_states_one():
    stated = {notebooks.stated_address(nbformat.read(path, as_version=4)) for path in NOTEBOOKS}
    assert len(stated) == 1
    others = [*map(ROOT.joinpath, ("README.md", "_config.yml", ".github/workflows/book.yml")), *ROOT.glob("book/*.md")]
    assert len(others) > 8
    for path in [*others, *NOTEBOOKS]:
        text = path.read_text(encoding="utf-8")
        assert "YOUR_ACCOUNT" not in text, path.name
        assert path in NOTEBOOKS or not re.search(r"github\.com/[\w.-]+/minigpt", text), path.name


def test_make_address_writes_badges_and_set_up_cells_and_nothing_else(tmp_path, monkeypatch):
    for path in NOTEBOOKS:
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebooks.py", "--address"])
    monkeypatch.setattr(notebooks, "address", lambda: "")
    assert notebooks.main() == 0
    without = {path.name: path.read_bytes() for path in tmp_path.glob("*.ipynb")}
    monkeypatch.setattr(notebooks, "address", lambda: FORK)
    assert notebooks.main() == 0
    for path in sorted(tmp_path.glob("*.ipynb")):
        there = f"https://colab.research.google.com/github/a-teacher/minigpt.book/blob/{tool.revision()}/notebooks/{path.name}"
        before, after = nbformat.reads(without[path.name].decode(), as_version=4), nbformat.read(path, as_version=4)
        changed = [i for i, cell in enumerate(before.cells) if cell.source != after.cells[i].source]
        assert len(changed) == 2 and changed[0] == 0 and notebooks.is_setup(after.cells[changed[1]])
        assert f"[![Open in Colab](../book/assets/colab.svg)]({there})\n\n**Budget:**" in after.cells[0].source
        assert f"git clone -q --depth 1 -b {tool.revision()} {FORK} /content/book\n" in after.cells[changed[1]].source
        for cell in changed:
            before.cells[cell].source = after.cells[cell].source
        assert before == after
        assert notebooks.problems(path) == []  # in its normal form, whatever the address is here
    monkeypatch.setattr(notebooks, "address", lambda: "")
    assert notebooks.main() == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.ipynb")} == without


def run_set_up(where: str, in_colab: bool) -> list[str]:
    """The lines for the shell that the set-up cell of a notebook runs."""
    ran = []
    source = re.sub(r"^( *)[!%](.*)$", r"\1run(f'\2')", notebooks.setup_cell(where), flags=re.MULTILINE)
    modules = {"google.colab": None} if in_colab else {}
    fake = type("sys", (), {"modules": modules, "path": ["/content"]})
    exec(source.replace("import sys\n", ""), {"sys": fake, "run": ran.append})
    return ran


def test_the_set_up_cell_does_nothing_at_home_and_tells_what_to_do_in_colab():
    assert run_set_up("", False) == run_set_up(FORK, False) == []
    assert run_set_up(FORK, True)[0] == f"git clone -q --depth 1 -b {tool.revision()} {FORK} /content/book"
    with pytest.raises(AssertionError, match=r"^write the book's address above, and run this cell again$"):
        run_set_up("", True)


def test_the_workflow_tags_notebooks_that_state_the_address_and_a_fork_gets_a_tag_of_its_own(tmp_path, monkeypatch):
    """The step's own script, with a `make` that writes the address and nothing else."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text(encoding="utf-8"))
    (script,) = (step["run"] for step in workflow["jobs"]["publish"]["steps"] if "Tag" in step.get("name", ""))
    make = tmp_path / "bin" / "make"
    make.parent.mkdir()
    make.write_text(
        '#!/bin/sh\necho "git clone $GITHUB_SERVER_URL/$GITHUB_REPOSITORY /content/book" > notebooks/a.ipynb\n'
    )
    make.chmod(0o755)
    monkeypatch.setenv("PATH", f"{make.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "remote"], check=True)
    here = repository(tmp_path / "here", origin=str(tmp_path / "remote"))
    shutil.copy(ROOT / "_config.yml", here)
    (here / "notebooks").mkdir()
    (here / "notebooks" / "a.ipynb").write_text("no address\n", encoding="utf-8")

    def git(*command: str, folder: Path = here) -> str:
        person = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
        return subprocess.run(["git", *person, *command], cwd=folder, check=True, capture_output=True, text=True).stdout

    git("add", "--all")
    git("commit", "--message", "a book")
    tagged = []
    for name in ("the-authors/minigpt", "the-authors/minigpt", "a-teacher/minigpt"):
        monkeypatch.setenv("GITHUB_REPOSITORY", name)
        head = git("rev-parse", "HEAD")
        subprocess.run(["bash", "-e", "-c", script], cwd=here, check=True)
        shown = git("show", f"{tool.revision()}:notebooks/a.ipynb", folder=tmp_path / "remote")
        assert shown == f"git clone https://github.com/{name} /content/book\n"
        tagged.append(git("rev-parse", tool.revision(), folder=tmp_path / "remote"))
        git("reset", "--hard", head.strip())  # each run of the workflow checks the branch out anew
    assert tagged[0] == tagged[1] != tagged[2]


@pytest.mark.parametrize("where", ["", FORK])
def test_a_page_has_buttons_that_lead_to_the_address_or_none(where, tmp_path):
    """A book of two pages, built in a repository of its own."""
    repository(tmp_path, **({"origin": f"{where}.git"} if where else {}))
    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "03_learning.ipynb", tmp_path / "notebooks")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    contents = {"format": "jb-book", "root": "book/glossary", "chapters": [{"file": "notebooks/03_learning"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(contents), encoding="utf-8")
    program = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    html = tmp_path / "_build" / "html"
    for page in ("book/glossary.html", "notebooks/03_learning.html"):
        source = (html / page).read_text(encoding="utf-8")
        links = re.findall(r'href="(https://(?:github\.com|colab\.[^"/]*)/[^"]*)"', source)
        colab = f"https://colab.research.google.com/github/a-teacher/minigpt.book/blob/{tool.revision()}/notebooks/03_learning.ipynb"
        expected = ({FORK, colab} if "notebooks" in page else {FORK}) if where else set()
        assert set(links) == expected
