"""Cuts documents into tokens in processes of their own, which never import torch: it would cost each 240 MB.

    python -m minigpt_core.beyond.cutting FOLDER DTYPE KINDS

is such a process. It reads jobs and writes answers, each a line of JSON and raw bytes: a job has the lengths of its documents,
then the documents; an answer the lengths of what it found of each kind, document by document, then that.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..tokenizer import Tokenizer, load_tokenizer
from .near import signature

LINES = 4_000  # characters that are cut at a time: SentencePiece takes longer for each of a longer text


def cut(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of `text`, the same as of `tokenizer.encode(text)`, found line by line: no token crosses a line break.

    >>> cut(CharTokenizer.train("a\\nb"), "a\\nb")
    [2, 1, 3]
    """
    ids: list[int] = []
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin + LINES) + 1 or len(text)
        try:
            ids += tokenizer.encode(text[begin:end])
        except ValueError:
            tokenizer.encode(text)  # is refused too, with the place in the whole text
            raise
        begin = end
    return ids


class Refused(ValueError):
    """What the tokenizer said of a document that it cannot cut, and which of its job that is."""

    def __init__(self, place: int, why: str):
        super().__init__(why)
        self.place = place


class Cutters:
    """`count` processes that cut with the tokenizer in `folder`. They end with the block, or when this program does.

    >>> with Cutters(2, Path("data/web"), "<u2", ("ids",)) as cutters:                  # doctest: +SKIP
    ...     cutters.submit([b"The lamp was lit.", b"The sea was grey."]).result()
    [{'ids': b'...'}, {'ids': b'...'}]
    """

    def __init__(self, count: int, folder: Path, dtype: str, kinds: tuple[str, ...]):
        above = str(Path(__file__).parents[2])  # where the package lies, installed or not
        paths = os.pathsep.join(filter(None, (above, os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-P", "-m", __name__, str(folder.resolve()), dtype, *kinds]
        how: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        if sys.platform == "win32":  # a group of its own: Ctrl-C is for the program that starts them
            how["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
        else:
            how["process_group"] = 0
        self.processes = [
            subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, **how) for _ in range(count)
        ]
        self._free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        for process in self.processes:
            self._free.put(process)
        self._threads = ThreadPoolExecutor(count)  # each waits for one process

    def __enter__(self) -> "Cutters":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self.processes:
            process.communicate()

    def submit(self, documents: list[bytes]) -> "Future[list[dict[str, bytes]]]":
        """A promise of what there is of each document: "ids", and what else was asked for. A text that the tokenizer refuses
        is `Refused`; a process that ended is a `ChildProcessError`."""
        return self._threads.submit(self._cut, documents)

    def _cut(self, documents: list[bytes]) -> list[dict[str, bytes]]:
        process = self._free.get()
        assert process.stdin and process.stdout
        try:
            _send(process.stdin, [len(document) for document in documents], documents)
            answer = json.loads(process.stdout.readline())
            if isinstance(answer, dict):
                raise Refused(**answer)
            found = [{kind: process.stdout.read(n) for kind, n in lengths.items()} for lengths in answer]
            if answer != [{kind: len(content) for kind, content in each.items()} for each in found]:
                raise EOFError
            return found
        except (OSError, EOFError, json.JSONDecodeError):  # a broken pipe has another name on Windows
            how = process.wait()
            raise ChildProcessError(
                f"a process that cuts text ended ({f'by signal {-how}' if how < 0 else f'exit code {how}'}), perhaps for want of "
                "memory: give the same command again, with fewer workers, and it goes on where it was"
            ) from None
        finally:
            self._free.put(process)


def _send(stream: IO[bytes], line: object, contents: list[bytes]) -> None:
    stream.write(json.dumps(line).encode() + b"\n" + b"".join(contents))
    stream.flush()


def _jobs(stream: IO[bytes]) -> Iterator[list[bytes]]:
    while (line := stream.readline()).endswith(b"\n"):  # half a line is from a program that was killed
        yield [stream.read(n) for n in json.loads(line)]


def _work(folder: str, dtype: str, *kinds: str) -> None:
    tokenizer = load_tokenizer(folder)
    for documents in _jobs(sys.stdin.buffer):
        found: list[dict[str, bytes]] = []
        try:
            for document in documents:
                ids = [*cut(tokenizer, document.decode()), tokenizer.end_id]
                found.append({"ids": np.array(ids, dtype).tobytes()})
                if "near" in kinds:
                    found[-1]["near"] = signature(document).tobytes()
        except ValueError as error:
            _send(sys.stdout.buffer, {"place": len(found), "why": str(error)}, [])
            continue
        lengths = [{kind: len(content) for kind, content in each.items()} for each in found]
        _send(sys.stdout.buffer, lengths, [content for each in found for content in each.values()])


if __name__ == "__main__":
    with contextlib.suppress(OSError):  # the program that asked is gone
        _work(*sys.argv[1:])
