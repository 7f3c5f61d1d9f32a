"""Run the unit tests with other versions of Python and of the packages than the book's own, and print a table.

    make matrix

One row for each Python that pyproject.toml allows and that is found here, with the pins of requirements.txt, and one for the
oldest Python with the lowest versions that pyproject.toml allows. Each row has an environment of its own under _build/matrix,
which goes when the row is done: with CUDA it takes 6 GB. Left out are the tests of the book (its pages, notebooks, scripts),
which do not depend on the reader's versions; those that need a browser, transformers or pyarrow, which are not installed, skip themselves.
What is given on the command line goes to pip as it installs torch.
"""

import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "_build" / "matrix"
PYTHONS = ("3.11", "3.12", "3.13")
TOOLS = ("pytest", "hypothesis", "nbval", "regex", "tokenizers")
OF_THE_BOOK = ["address", "book", "engine", "first_use", "jupyter", "notebooks", "pages", "wheel"]
VERSIONS = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"


def ranges() -> dict[str, str]:
    """The lowest version of each package that a reader's environment needs.

    >>> ranges()["torch"]
    '2.9'
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    return dict(requirement.split(">=") for requirement in needed)


def interpreter(version: str) -> str | None:
    """The program that is Python of this version: on the path, or among pyenv's."""
    found = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for program in map(str, filter(None, found)):
        if subprocess.run([program, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0:
            return program
    return None


def run(*command: str | Path) -> str:
    """What the command prints; a failure is a RuntimeError with its first line about an error."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        lines = (done.stderr or done.stdout or f"{command[0]} failed").strip().splitlines()
        raise RuntimeError(next((line for line in lines if line.startswith("ERROR")), lines[-1]))
    return done.stdout


def row(version: str, constraints: list[str], torch_options: list[str]) -> list[str]:
    """One line of the table: Python, the versions, what the tests say (all of it is in a log), their seconds."""
    names, program = list(ranges()), interpreter(version)
    unknown = ["-"] * len(names)
    if program is None:
        return [version, *unknown, f"NOT TESTED: there is no python{version} here", ""]
    environment = FOLDER / version
    python = environment / "bin" / "python"
    allowed = FOLDER / "constraints.txt"
    (torch,) = [line for line in constraints if line.startswith("torch==")]
    try:
        run(program, "-m", "venv", "--clear", environment)
        allowed.write_text("\n".join(constraints), encoding="utf-8")
        run(python, "-m", "pip", "install", "--quiet", torch, *torch_options)  # alone and first, as the Makefile does
        run(python, "-m", "pip", "install", "--quiet", "-c", allowed, "-e", ".[notebooks]", *TOOLS)
        versions = run(python, "-c", VERSIONS, *names).split()
    except RuntimeError as error:
        return [version, *unknown, f"NOT TESTED: {error}", ""]
    ignored = [f"--ignore=tests/test_{name}.py" for name in OF_THE_BOOK]
    log, began = FOLDER / f"python {version} torch {versions[0]}.log", time.perf_counter()
    with open(log, "w", encoding="utf-8") as file:
        subprocess.run([python, "-m", "pytest", "tests", *ignored], cwd=ROOT, stdout=file, stderr=file)
    seconds = time.perf_counter() - began
    shutil.rmtree(environment)
    said = re.findall(
        r"^(.*\d (?:passed|failed|errors?)\b.*) in [\d.]+s", log.read_text(encoding="utf-8"), re.MULTILINE
    )
    return [version, *versions, said[-1] if said else "failed: the tests did not end", f"{seconds:.0f}"]


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    tools = [line for line in pinned if line.split("==")[0] in TOOLS]
    lowest = [f"{name}=={version}" for name, version in ranges().items()] + tools
    kinds = [(version, pinned) for version in PYTHONS] + [(PYTHONS[0], lowest)]
    table = [["python", *ranges(), "tests", "seconds"]]
    for version, constraints in kinds:
        table.append(row(version, constraints, sys.argv[1:]))
        print(table[-1], file=sys.stderr)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return int(any("failed" in line[-2] or "error" in line[-2] for line in table))


if __name__ == "__main__":
    sys.exit(main())
