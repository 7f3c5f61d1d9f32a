"""Prepared text on disk: token ids in shards, and a description of them, data.json, that is always true of what it names.

A folder holds data.json, the tokenizer, and two folders, train and val, of the same form. Shard 0 of a part is

    train/00000.ids         token ids in a row, each document with an end mark behind it: uint16, or uint32 where a vocabulary
                            has more than 65,536 tokens
    train/00000.documents   for each document its first token in the shard, 64 bits of its hash, its file and its number there

Numbers are little-endian. Shards only grow at their end, and data.json, which is replaced in one step, says how much of each
counts: so what was written when a program was killed can be told from what was not.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomic
from ..tokenizer import Coder

PARTS = ("train", "val")
SHARD = 2**25  # tokens; a shard ends with the document that fills it
DOCUMENT = np.dtype([("start", "<u8"), ("digest", "<u8"), ("file", "<u4"), ("number", "<u4")])
FORMAT_VERSION = 1
NAME = "data.json"


@dataclass
class Described:
    """What data.json says. `settings` are those by which the documents were read and told apart; `inputs` are path, size and
    time of change of each file; `place` is the next document to be read, its file and its number there."""

    settings: dict[str, Any]
    inputs: list[list[Any]]
    limit: int = 0  # characters, of which a longer document is cut
    tokenizer: str = ""  # its fingerprint; none before there is one
    vocab_size: int = 0
    place: list[int] = field(default_factory=lambda: [0, 0])
    repeated: int = 0  # documents dropped, since the same was there before
    near: list[int] | None = (
        None  # documents that are like an earlier one; those held out that are like one to learn from
    )
    finished: bool = False
    parts: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {part: [] for part in PARTS})

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a token id on disk."""
        return np.dtype("<u2" if self.vocab_size <= 2**16 else "<u4")

    def count(self, part: str) -> tuple[int, int]:
        """Documents and tokens of a part."""
        shards = self.parts[part]
        return (
            sum(shard["documents"][0] for shard in shards) // DOCUMENT.itemsize,
            sum(shard["ids"][0] for shard in shards) // self.dtype.itemsize,
        )

    def save(self, folder: Path) -> None:
        text = json.dumps({"version": FORMAT_VERSION, **asdict(self)}, ensure_ascii=False, indent=1)
        write_atomic(folder / NAME, text.encode("utf-8", "surrogateescape"))


def describe(folder: str | Path) -> Described:
    """What data.json in `folder` says. One that is missing or cannot be read is a `ValueError`.

    >>> describe("data/web").count("train")                                             # doctest: +SKIP
    (351882, 281493371)
    """
    path = Path(folder) / NAME
    try:
        values = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
        version = values.pop("version")
        if version != FORMAT_VERSION:
            raise ValueError(f"its format version is {version!r}, this program reads {FORMAT_VERSION}")
        described = Described(**values)
        for part in PARTS:
            described.count(part)
        return described
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{folder} holds no prepared text: make it by minigpt prepare FILES --out {folder}") from None
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def fingerprint_of(tokenizer: Coder) -> str:
    """A short name of a tokenizer: one that has another cuts text in another way.

    >>> fingerprint_of(CharTokenizer.train("hello"))
    'cc54c03c3ff4d840'
    """
    told = [tokenizer.tokens, [token.hex() for token in tokenizer.token_bytes], tokenizer.chat_ids]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


class Writer:
    """Writes a part, shard by shard. It begins behind what `shards`, from data.json, say of it; anything behind that is from a
    program that was killed, and goes. A shard that is not as they say is a `ValueError`.

    Documents come by `append`, whole: for each kind of file what is to be written at its end. `commit` makes sure that all
    is on the disk, and returns the new `shards`."""

    def __init__(self, folder: Path, shards: list[dict[str, Any]], kinds: tuple[str, ...], full: int):
        self.folder, self.shards, self.kinds, self.full = folder, shards, kinds, full
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name.split(".")[0].isdigit() and int(path.name.split(".")[0]) >= len(shards):
                path.unlink()
        self._open(max(0, len(shards) - 1))

    def append(self, **contents: bytes) -> None:
        """At the end of the open shard, or where that is full, of a new one."""
        if self._sizes["ids"] >= self.full:
            self.commit()
            self.close()
            self._open(len(self.shards))
        for kind, content in contents.items():
            self._files[kind].write(content)
            self._sums[kind].update(content)
            self._sizes[kind] += len(content)

    def commit(self) -> list[dict[str, Any]]:
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        if self._sizes["ids"]:
            self.shards[self._number :] = [
                {kind: [self._sizes[kind], self._sums[kind].hexdigest()] for kind in self.kinds}
            ]
        return self.shards

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _open(self, number: int) -> None:
        self._number, there = number, self.shards[number] if number < len(self.shards) else None
        paths = {kind: self.folder / f"{number:05}.{kind}" for kind in self.kinds}
        self._sums = {kind: check(path, *there[kind]) if there else hashlib.sha256() for kind, path in paths.items()}
        self._sizes = {kind: there[kind][0] if there else 0 for kind in self.kinds}
        self._files = {kind: path.open("r+b" if there else "wb") for kind, path in paths.items()}
        for kind, file in self._files.items():
            file.truncate(self._sizes[kind])
            file.seek(0, os.SEEK_END)

    @property
    def begin(self) -> int:
        """Bytes of ids in the open shard: where the next document begins, if it is not full."""
        return 0 if self._sizes["ids"] >= self.full else self._sizes["ids"]


def check(path: Path, size: int, sha256: str) -> "hashlib._Hash":
    """Refuse a file whose first `size` bytes do not have that SHA-256; else the sum, to go on with.

    >>> check(Path("data/web/train/00000.ids"), 67_108_864, "5f3c...")                  # doctest: +SKIP
    """
    digest, left = hashlib.sha256(), size
    try:
        with open(path, "rb") as file:
            while left and (chunk := file.read(min(left, 1 << 20))):
                digest.update(chunk)
                left -= len(chunk)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if left:
        raise ValueError(f"{path} is cut off: it has {size - left:,} bytes of {size:,}; prepare the text anew")
    if digest.hexdigest() != sha256:
        raise ValueError(f"{path} has changed since it was written: prepare the text anew")
    return digest


def files_of(folder: str | Path, described: Described, part: str, kind: str) -> Iterator[tuple[Path, int]]:
    """The files of one kind of a part, in order, each when it has been compared with its checksum, and how many bytes of it
    count. A file that is cut off or has changed is a `ValueError`.

    >>> next(files_of("data/web", describe("data/web"), "train", "ids"))                # doctest: +SKIP
    (PosixPath('data/web/train/00000.ids'), 67108864)
    """
    for number, shard in enumerate(described.parts[part]):
        path = Path(folder) / part / f"{number:05}.{kind}"
        check(path, *shard[kind])
        yield path, shard[kind][0]


def documents_of(folder: str | Path, part: str) -> np.ndarray:
    """What the shards of a part say of its documents: rows of DOCUMENT, shape (n,), 24 bytes each in memory, with `start`
    counted from the first token of the part.

    >>> documents_of("data/web", "train")[1]["start"]                                   # doctest: +SKIP
    812
    """
    described, first = describe(folder), 0
    found = []
    files = files_of(folder, described, part, "documents")
    for shard, (path, size) in zip(described.parts[part], files, strict=True):
        rows = np.fromfile(path, DOCUMENT, size // DOCUMENT.itemsize)
        rows["start"] += np.uint64(first)
        first += shard["ids"][0] // described.dtype.itemsize
        found.append(rows)
    return np.concatenate(found) if found else np.empty(0, DOCUMENT)
