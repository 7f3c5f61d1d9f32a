"""The wheel holds all that the package needs, and works in an environment that has nothing but what it declares."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import minigpt_core

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, since building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "minigpt_core", folder / "minigpt_core", ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        folder,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_every_file_of_the_package_and_nothing_else(wheel):
    listed = subprocess.run(["git", "ls-files", "minigpt_core"], cwd=ROOT, capture_output=True, text=True)
    tree = {path.relative_to(ROOT).as_posix() for path in (ROOT / "minigpt_core").rglob("*") if path.is_file()}
    tree = {name for name in tree if "__pycache__" not in name}
    inside = set(zipfile.ZipFile(wheel).namelist())
    metadata_of_it = {name for name in inside if name.startswith(f"minigpt_core-{minigpt_core.__version__}.dist-info/")}
    assert inside - metadata_of_it == tree >= set(listed.stdout.split())
    kinds = {Path(name).suffix for name in tree}
    assert {".py", ".txt", ".safetensors", ".json", ".model", ".js", ".css", ".otf", ".typed"} <= kinds
    assert any(name.endswith("licenses/minigpt_core/notebook/fonts/OFL.txt") for name in metadata_of_it)


def borrow(requirements: list[str], extra: str, folder: Path) -> None:
    """Link to what these requirements, and theirs in turn, have installed here: torch alone would be a gigabyte to fetch."""
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            try:
                distribution = metadata.distribution(requirement.name)
            except metadata.PackageNotFoundError:  # what is really missing shows as the package runs
                continue
            new = {file.parts[0] for file in distribution.files} - {"..", "__pycache__", *os.listdir(folder)}
            for name in new:
                (folder / name).symlink_to(distribution.locate_file(name))
            if new:
                borrow(distribution.requires or [], "", folder)


def test_installed_into_an_empty_environment_it_trains_writes_and_shows_a_widget(wheel, tmp_path):
    venv.create(tmp_path / "empty")
    python = tmp_path / "empty" / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(command, env=environment, check=True, timeout=120)

    def run(*command: str | Path) -> str:
        """What it prints, run where the repository is not seen."""
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    (site,) = (tmp_path / "empty" / "lib").glob("python*/site-packages")
    (installed,) = metadata.distributions(path=[str(site)])
    seen = "import importlib.util as u; print([n for n in ('minigpt_core', 'torch', 'matplotlib') if u.find_spec(n)])"
    assert run(python, "-c", seen) == "['minigpt_core']\n"
    borrow(installed.requires, "", site)
    assert run(python, "-c", seen) == "['minigpt_core', 'torch']\n"
    minigpt = tmp_path / "empty" / "bin" / "minigpt"
    run(minigpt, "train", "--corpus", "tales", "--steps", "5", "--n-layer", "1", "--device", "cpu")
    assert re.match(
        "The .", run(minigpt, "generate", "--model", "runs/tales", "--max-new-tokens", "50", "--prompt", "The ")
    )
    assert "Wren" in run(minigpt, "generate", "--model", "tales-char", "--max-new-tokens", "20", "--prompt", "Wren ")
    borrow(installed.requires, "notebooks", site)
    show = """
import minigpt_core
from minigpt_core.notebook import viz
from minigpt_core.widgets.sampler import Sampler
print(minigpt_core.__file__)
print(Sampler(prompt="Wren ", top_k=5)._repr_mimebundle_()[0]["text/html"])
viz.bars({"水": 1.0}, title="水", xlabel="x")
"""
    file, html = run(python, "-c", show).split("\n", 1)
    assert Path(file).is_relative_to(tmp_path)
    assert 'data-minigpt="sampler"' in html and html.count("<tr") >= 5
