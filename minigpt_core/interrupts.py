"""What ends a program (Ctrl-C, other signals, its last line), made to wait for what must not be cut in two."""

import atexit
import contextlib
import signal
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any, NoReturn

# Ctrl-C, a request to end, and the end of the terminal or of the connection; Windows has not all of them.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextlib.contextmanager
def hold_signals(stop: Callable[[], str]) -> Iterator[None]:
    """While it lasts, a signal that would end the program is only noted. At the end, if one came, `stop` is called, which
    saves what there is and returns a sentence, and then the signal does what it always does: Ctrl-C raises a
    `KeyboardInterrupt` with the sentence. A second signal acts at once. Signals that are ignored stay ignored, and
    outside the main thread, where Python lets no one handle signals, nothing is held back.

    >>> with hold_signals(lambda: "saved"):
    ...     pass  # a step of training
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    held = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}

    def let_go() -> None:
        for number, handler in held.items():
            signal.signal(number, handler)

    def note(number: int, _: Any) -> None:
        came.append(number)
        let_go()

    for number in held:
        signal.signal(number, note)
    try:
        yield
    finally:
        let_go()
        if came:
            sentence = stop()
            if held[came[0]] is signal.default_int_handler:
                raise KeyboardInterrupt(sentence)
            signal.raise_signal(came[0])


def end_in_order() -> None:
    """From now on SIGTERM and SIGHUP raise `SystemExit`, as Ctrl-C raises `KeyboardInterrupt`, so that what runs can save.
    For a program that owns its process, such as the command line."""

    def end(number: int, _: Any) -> NoReturn:
        raise SystemExit(128 + number)

    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)


_open: "weakref.WeakSet[Generator[Any, None, None]]" = weakref.WeakSet()


def close_at_exit(generator: Generator[Any, None, None]) -> None:
    """Should `generator` still be open when the program ends, it is closed before Python takes its modules down."""
    _open.add(generator)


@atexit.register
def _close_all() -> None:
    for generator in list(_open):
        generator.close()
