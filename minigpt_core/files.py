"""Writing a file whole or not at all."""

import os
from pathlib import Path


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
