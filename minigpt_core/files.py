"""Files of models and runs: written whole or not at all, never over what is there unasked, one program at a time."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

CONTENTS = {
    "a run": ("training.safetensors",),
    "a model": ("config.json", "model.safetensors", "best/model.safetensors"),
    "a tokenizer": ("tokenizer.json", "bpe.model"),
}


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash leaves either the old file or the new one, never half of one.

    The bytes go to a temporary neighbour first, which then takes the name in one step. Missing folders are made.

    >>> write_atomic(Path("run/config.json"), b"{}")                                    # doctest: +SKIP
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def held_in(folder: str | Path, *kinds: str) -> str | None:
    """Which of these kinds `folder` holds already, the first that is found: "a run", "a model" or "a tokenizer".

    >>> held_in("runs/alice", "a run", "a model")                                       # doctest: +SKIP
    'a run'
    """
    return next((kind for kind in kinds for name in CONTENTS[kind] if (Path(folder) / name).exists()), None)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """While it lasts, no one else can lock `folder`, not even this program again: that is a `ValueError`.

    The file `.lock` holds the number of the process. The lock itself is the system's (flock), which takes it back when a
    process ends, however it ends: a file that is left by a killed process locks nothing. On Windows, and on file systems
    that have no locks, nothing is checked.
    """
    if sys.platform == "win32":
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with open(path, "a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"process {file.read() or 'unknown'} is at work in {folder}: wait until it ends, or name another folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
