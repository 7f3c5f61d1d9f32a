"""What all tests share: where the downloaded corpora may lie already, and a nbval that numbers its cells."""

import os
from pathlib import Path

import nbval.kernel
import nbval.plugin
import pytest

ROOT = Path(__file__).parent
SHARED = ROOT.parent / "shared" / "corpora"  # beside the checkout on the project's own machines
if SHARED.is_dir():
    os.environ.setdefault("MINIGPT_CORPORA", str(SHARED))
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


@pytest.fixture(scope="session")
def alice() -> str:
    from minigpt_core import load_corpus

    try:
        return load_corpus("alice")
    except ValueError as error:
        pytest.skip(f"corpus not available: {error}")
