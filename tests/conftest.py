"""The book, built once for all tests that read it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def html(tmp_path_factory) -> Path:
    """The folder of the built book."""
    out = tmp_path_factory.mktemp("book")
    program = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", str(ROOT), "--path-output", str(out)]
    done = subprocess.run([*command, "-n", "-W", "--keep-going"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return out / "_build" / "html"
