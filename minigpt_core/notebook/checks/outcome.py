"""The reader's code is run: what it gave, the exception that it raised, or that it did not end."""

import linecache
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from .compare import as_numbers

PACKAGE = str(Path(__file__).parents[2])
LIMIT = 5.0  # seconds that a case of an exercise may take
INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Value:
    """What a function gave back; or, `in_place`, what it made of its first argument."""

    value: Any
    in_place: bool = False


@dataclass(frozen=True)
class Raised:
    """An exception, and the line of the reader's code that it came from: "" where it came from none."""

    error: BaseException
    line: str


@dataclass(frozen=True)
class Endless:
    """It did not end, and was stopped at this line."""

    line: str


Outcome = Value | Raised | Endless


class _TooLong(BaseException):
    """Not an `Exception`, so that the reader's `except Exception` does not catch it."""


def run(function: Callable[..., Any], arguments: Sequence[Any], until: float) -> Outcome:
    """Call `function` with `arguments`, and stop it at `until` (`time.perf_counter()`).

    It is stopped by a trace function (`sys.settrace`), which Python calls before each line and which may raise. That needs
    no signal, no thread and no second process, so it works on Windows, in Colab and in Jupyter alike. What it cannot stop is
    a single call of compiled code that never comes back, such as `list(itertools.count())`.

    Where modules are being loaded, there is more time: the first optimizer of a program loads hundreds.

    A function that gives back None, but changes its first argument, gives that argument: whoever works in place is right too.

    >>> run(lambda x: 2 * x, [3], time.perf_counter() + 1)
    Value(value=6, in_place=False)
    """
    stuck, modules = "", len(sys.modules)
    before = _trace_of(arguments[0]) if arguments else b""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal stuck, until, modules
        if time.perf_counter() > until and len(sys.modules) > modules:
            until, modules = until + LIMIT, len(sys.modules)
        if time.perf_counter() > until:
            while not _is_readers(frame) and frame.f_back:
                frame = frame.f_back
            stuck = _line(frame.f_code.co_filename, frame.f_lineno)
            raise _TooLong
        return trace if _is_readers(frame) else None

    outside, value, raised = sys.gettrace(), None, None
    sys.settrace(trace)
    try:
        value = function(*arguments)
    except (Exception, SystemExit, _TooLong) as error:
        raised = error
    finally:
        sys.settrace(outside)
    if isinstance(raised, _TooLong):
        return Endless(stuck)
    if raised is not None:
        return Raised(raised, _line_of(raised))
    if value is None and arguments and _trace_of(arguments[0]) != before:
        return Value(arguments[0], in_place=True)
    return Value(value)


def _trace_of(argument: Any) -> bytes:
    """By which it is seen whether an argument was changed."""
    numbers = as_numbers(argument)
    return repr(argument).encode() if numbers is None else numbers.tobytes()


def _is_readers(frame: FrameType) -> bool:
    """Whether it is code of the reader, not of this package, of Python's own library or of an installed package."""
    name = frame.f_code.co_filename
    return not name.startswith((PACKAGE, sys.base_prefix, "<frozen")) and not any(part in name for part in INSTALLED)


def _line_of(error: BaseException) -> str:
    places = [
        (frame.f_code.co_filename, n) for frame, n in traceback.walk_tb(error.__traceback__) if _is_readers(frame)
    ]
    return _line(*places[-1]) if places else ""


def _line(file: str, number: int) -> str:
    return linecache.getline(file, number).strip()
