"""What all tests share: a nbval that numbers its cells, the watch that keeps each chapter's budget line true, and the texts
that do not come with the book (from the folder that MINIGPT_CORPORA names, or by download)."""

import os
import re
import time
from pathlib import Path

import nbval.kernel
import nbval.plugin
import pytest

os.environ.setdefault("TQDM_DISABLE", "1")


def _execute_with_history(self, cell_input, allow_stdin=None):
    """nbval executes with store_history=False, under which a trailing semicolon no longer silences a cell's output."""
    return self.kc.execute(cell_input, allow_stdin=allow_stdin, stop_on_error=False, store_history=True)


nbval.kernel.RunningKernel.execute_cell_input = _execute_with_history

_set_up_file = nbval.plugin.IPyNbFile.__init__


def _compare_less(self, *args, **kwargs):
    """Progress bars and warnings go to stderr and are not stored; a map drawn as SVG is checked as a file."""
    _set_up_file(self, *args, **kwargs)
    self.skip_compare += ("stderr", "image/svg+xml")


nbval.plugin.IPyNbFile.__init__ = _compare_less


SLOWER = 1.5  # how much longer than its budget line a chapter may take, since machines differ
_spent: dict[str, tuple[float, float, int, int]] = {}  # seconds and MiB, as they were and as the chapter states them
_begin, _end = nbval.plugin.IPyNbFile.setup, nbval.plugin.IPyNbFile.teardown


def _start_watch(self):
    self.began = time.perf_counter()
    _begin(self)


def _stop_watch(self):
    """A chapter that takes more time or memory than its first cell says fails, in its last cell's teardown."""
    seconds, mebibytes = time.perf_counter() - self.began, _peak_memory(self.kernel)
    _end(self)
    promise = re.search(r"\*\*Budget:\*\* (\d+) s on two CPU cores, (\d+) GB", self.nb.cells[0].source)
    if promise:
        allowed, gigabytes = int(promise[1]), int(promise[2])
        _spent[self.path.name] = seconds, mebibytes, allowed, 1024 * gigabytes
        taken = f"{self.path.name} took {seconds:.0f} s and {mebibytes:.0f} MiB"
        assert seconds <= SLOWER * allowed, f"{taken}: its budget line says {allowed} s"
        assert mebibytes <= 1024 * gigabytes, f"{taken}: its budget line says {gigabytes} GB"


def _peak_memory(kernel) -> float:
    """MiB; 0 where the system does not tell, or the kernel is gone."""
    try:
        status = Path(f"/proc/{kernel.km.provisioner.pid}/status").read_text(encoding="ascii")
    except (AttributeError, OSError):
        return 0.0
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


nbval.plugin.IPyNbFile.setup, nbval.plugin.IPyNbFile.teardown = _start_watch, _stop_watch


def pytest_collection_modifyitems(items):
    """Chapter 14 learns from Shakespeare, which does not come with the book: where it cannot be had, the chapter is skipped. So
    are the cells of chapter 15 on SmolLM2, which are tagged `real`; its other cells run always."""
    from minigpt_core import load_corpus
    from minigpt_core.beyond.real import SMOLLM2, fetch

    chapter = [item for item in items if item.path.name == "14_fastest.ipynb"]
    cells = [item for item in items if "real" in getattr(item, "cell", {}).get("metadata", {}).get("tags", ())]
    for skipped, what, get in (
        (chapter, "chapter 14 is", lambda: load_corpus("shakespeare")),
        (cells, "the cells on SmolLM2 are", lambda: fetch(SMOLLM2)),
    ):
        try:
            if skipped:
                get()
        except ValueError as error:
            for item in skipped:
                item.add_marker(pytest.mark.skip(reason=f"{what} NOT tested: {error}"))


def pytest_terminal_summary(terminalreporter):
    if _spent:
        terminalreporter.section("chapters: seconds and MiB, and what their budget lines say")
        for name, (seconds, mebibytes, allowed, most) in _spent.items():
            terminalreporter.line(f"{name:28} {seconds:4.0f} of {allowed:3} s {mebibytes:6.0f} of {most} MiB")
        terminalreporter.line(f"{'all':28} {sum(row[0] for row in _spent.values()):4.0f} s")


def _corpus_or_skip(name: str) -> str:
    from minigpt_core import load_corpus

    try:
        return load_corpus(name)
    except ValueError as error:
        pytest.skip(f"corpus not available: {error}")


@pytest.fixture(scope="session")
def alice() -> str:
    return _corpus_or_skip("alice")


@pytest.fixture(scope="session")
def shakespeare() -> str:
    return _corpus_or_skip("shakespeare")
