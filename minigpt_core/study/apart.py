"""A reader's Python file, run in a process of its own: it may fail, print, or never end, and whoever asks goes on.

This guards against mistakes, not against malice: what the file says is done, with all rights of who runs it.
"""

import ast
import importlib
import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any


class Apart:
    """The module that a file defines, in another process. `ask` calls a function of this package there, with the module as
    its first argument, and waits `seconds` at most. Whatever goes wrong is a `ValueError` of one sentence.

    >>> with Apart("patient.py") as patient:                                            # doctest: +SKIP
    ...     patient.ask("minigpt_core.study.rubric_patient:value", "sick", 0, seconds=60)
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.source = read_source(self.path)
        package = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self.path.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"},
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._answers.put(line)
        except ValueError:  # closed while it was read
            pass
        self._answers.put("")

    def ask(self, function: str, *arguments: Any, seconds: float, doing: str = "it") -> Any:
        """What `function`, written as "module:name", answers there; `doing` says in an error what was asked."""
        assert self._process.stdin is not None
        try:
            print(json.dumps([function, arguments]), file=self._process.stdin, flush=True)
        except OSError:
            raise ValueError(f"{self.path.name} ended the program before {doing}") from None
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self._process.kill()
            raise ValueError(f"{self.path.name}: {doing} did not end within {seconds:g} s") from None
        if not line:
            raise ValueError(f"{self.path.name}: {doing} ended the program")
        kind, answer = json.loads(line)
        if kind == "error":
            raise ValueError(f"{self.path.name}: {doing} failed: {answer}")
        return answer


def read_source(path: str | Path) -> str:
    """The text of a Python file. One that is missing, not UTF-8, empty, or no Python is a `ValueError`.

    >>> read_source("patient.py")                                                       # doctest: +SKIP
    """
    path = Path(path)
    try:
        source = path.read_text(encoding="utf-8-sig")
        body = ast.parse(source).body
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else error
        raise ValueError(f"{path} is no Python that can be read, {line}") from None
    if not body:
        raise ValueError(f"{path} is empty")
    return source


def code_lines(source: str) -> int:
    """Lines that hold code: blank lines, comments and docstrings are none.

    >>> code_lines('\"\"\"What it is.\"\"\"\\n\\n# a remark\\nx = 1\\ny = 2\\n')
    2
    """
    tree = ast.parse(source)
    lines = {number for number, line in enumerate(source.splitlines(), 1) if line.strip()[:1] not in ("", "#")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            first = node.body[0]
            lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


def load(path: str | Path) -> ModuleType:
    """The module of a file, in this process."""
    spec = importlib.util.spec_from_file_location("entry", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["entry"] = module
    spec.loader.exec_module(module)
    return module


def told(error: BaseException, path: Path) -> str:
    """An exception in one line, with the last line of the reader's file that it passed."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{where}"


def _main(path: Path) -> None:
    """Answer questions, one a line, until there are no more. What the file prints goes to stderr, not among the answers."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module = None
    for question in sys.stdin:
        name, arguments = json.loads(question)
        home, function = name.split(":")
        try:
            module = module or load(path)
            answer = ["answer", getattr(importlib.import_module(home), function)(module, *arguments)]
            text = json.dumps(answer)
        except Exception as error:  # whatever a reader's file can raise
            text = json.dumps(["error", told(error, path)])
        print(text, file=answers, flush=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
