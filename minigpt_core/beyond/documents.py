"""Files of text as a stream of documents, one at a time: .txt, .jsonl, .parquet, and the first two as .gz."""

import glob
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from ..tokenizer import END_OF_TEXT

LONGEST = 1_000_000  # characters; a longer document counts as several
BLOCK = 20_000  # characters; where there are too few documents to hold some out
KINDS = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz", ".parquet")


class Document(NamedTuple):
    """A document as UTF-8, which of its file it is, counted from 0, and how many bytes of the file were read by then."""

    text: bytes
    number: int
    read: int

    @property
    def digest(self) -> int:
        """64 bits of its BLAKE2b: two documents that differ have the same once in 10**19 pairs."""
        return int.from_bytes(hashlib.blake2b(self.text, digest_size=8).digest(), "little")


def held_out(digest: int, fraction: float) -> bool:
    """Whether a document is kept for validation. This follows from its text alone, so it does not change when files are added.

    >>> [held_out(digest, 0.1) for digest in (0, 2**60, 2**61)]
    [True, True, False]
    """
    return digest < fraction * 2**64


def find_files(patterns: Iterable[str | Path]) -> list[Path]:
    """The files that are named, in this order, those that match a pattern by name. What is not there, or of no kind that can
    be read, is a `ValueError`.

    >>> find_files(["texts/*.txt", "more.jsonl.gz"])                                    # doctest: +SKIP
    [PosixPath('texts/a.txt'), PosixPath('texts/b.txt'), PosixPath('more.jsonl.gz')]
    """
    found: dict[Path, None] = {}
    for pattern in map(str, patterns):
        named = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
        if not named:
            raise ValueError(f"there is no file {pattern}")
        for path in map(Path, named):
            if path.is_dir():
                raise ValueError(f"{path} is a folder: name the files in it, as {path / '*.txt'}")
            if not path.is_file():
                raise ValueError(f"{path} is no file, but a link to nothing, a pipe or a device: name a file")
            if not path.name.lower().endswith(KINDS):
                raise ValueError(f"{path} is of no kind that can be read: {', '.join(KINDS)}")
            found[path.resolve()] = None
    if not found:
        raise ValueError("no file is named: there is nothing to prepare")
    return list(found)


def read_documents(
    path: Path, *, field: str = "text", encoding: str | None = None, limit: int = LONGEST
) -> Iterator[Document]:
    """The documents of a file, in its order, those of white space alone left out. A document ends at `<|endoftext|>`, which is
    not part of it, at the end of a .txt file, and with each line of a .jsonl or row of a .parquet file, whose text is in
    `field`. Files are UTF-8, UTF-16 with a byte order mark, or in the `encoding` that is named. One of more than `limit` characters is cut, at a line break where there is one. Line ends become "\\n".

    In memory there is about one document at a time, or line of a .jsonl file, and of a .parquet file 256 rows. What is no
    text is a `ValueError` that names the file.

    >>> for document in read_documents(Path("tales.txt")): ...                          # doctest: +SKIP
    """
    number = 0
    try:
        with open(path, "rb") as raw:
            for text in _parts(_texts(path, raw, field, encoding), limit):
                if not text.strip():
                    continue
                if "\0" in text:
                    raise ValueError(f"document {number} holds a NUL character, so it is no text: leave it out")
                yield Document(text.encode(), number, raw.tell())
                number += 1
    except UnicodeEncodeError:  # a UnicodeError is a ValueError
        raise ValueError(f"{path}: document {number} holds half of a character (a lone surrogate): remove it") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged: {str(error).lower()}; fetch or compress it anew") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _texts(path: Path, raw: IO[bytes], field: str, encoding: str | None) -> Iterator[str]:
    """What a file holds, in pieces: END_OF_TEXT ends a document."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        yield from _rows(raw, field)
        return
    bytes_of = gzip.GzipFile(fileobj=raw) if name.endswith(".gz") else raw
    if encoding is None:
        start = bytes_of.read(2)
        bytes_of.seek(0)
        encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    lines = name.endswith((".jsonl", ".jsonl.gz"))
    try:
        file = io.TextIOWrapper(bytes_of, encoding, newline="\n" if lines else None)
    except LookupError:
        raise ValueError(f"encoding={encoding!r} is unknown: try 'utf-8', 'utf-16' or 'gb18030'") from None
    try:
        if not lines:
            while chunk := file.read(1 << 20):
                yield chunk
        for n, line in enumerate(file, start=1) if lines else ():
            if line.strip():
                yield _text_of(line, n, field)
                yield END_OF_TEXT
    except UnicodeError as error:
        where = ""
        if isinstance(error, UnicodeDecodeError):  # its object are the last bytes that were read
            place = bytes_of.tell() - len(error.object) + error.start
            where = f" (byte 0x{error.object[error.start]:02x} at position {place:,})"
        said = f"it is not text in {encoding.removesuffix('-sig')}{where}"
        raise ValueError(f"{said}: if it is text, name its encoding, such as encoding='gb18030'") from None
    finally:
        file.detach()  # whoever opened `raw` closes it


def _text_of(line: str, n: int, field: str) -> str:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"line {n} is no JSON object: mend it, or take it out")
    if field not in found:
        raise ValueError(f"line {n} has no field {field!r}, but {', '.join(found)[:100] or 'none'}: {_another(field)}")
    if not isinstance(found[field], str):
        raise ValueError(f"line {n} has in {field!r} no text, but {found[field]!r:.30}: {_another(field)}")
    return _with_plain_line_ends(found[field])


def _another(field: str) -> str:
    return f"name the one that holds the text (now field={field!r})"


def _rows(raw: IO[bytes], field: str) -> Iterator[str]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ValueError("pyarrow is needed to read it: pip install pyarrow") from None
    try:
        table = parquet.ParquetFile(raw)
        if field not in table.schema_arrow.names:
            there = ", ".join(table.schema_arrow.names)
            raise ValueError(f"it has no column {field!r}, but {there[:100] or 'none'}: {_another(field)}")
        for batch in table.iter_batches(batch_size=256, columns=[field], use_threads=False):
            for text in batch.column(0).to_pylist():
                if not isinstance(text, str):
                    raise ValueError(f"its column {field!r} holds no text, but {text!r:.30}: {_another(field)}")
                yield _with_plain_line_ends(text)
                yield END_OF_TEXT
    except (ArrowException, OSError) as error:
        raise ValueError(f"it is damaged, or no parquet file: {str(error).splitlines()[0].strip()}") from None


def _with_plain_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _parts(chunks: Iterable[str], limit: int) -> Iterator[str]:
    """The text of all chunks in a row, cut at end marks, which go, and so that no part is longer than `limit`. Where the chunks
    end makes no difference.

    >>> list(_parts(["one<|endof", "text|>a line\\nanother"], limit=10))
    ['one', 'a line\\n', 'another']
    """
    rest = ""
    for chunk in chunks:
        *documents, rest = (rest + chunk).split(END_OF_TEXT)
        for document in documents:
            yield from _short(document, limit)
        *parts, rest = _short(rest, limit, len(END_OF_TEXT))  # its end may be half an end mark
        yield from parts
    yield from _short(rest, limit)


def _short(text: str, limit: int, more: int = 0) -> Iterator[str]:
    """Parts of at most `limit` characters, the last of up to `more` above."""
    begin = 0
    while len(text) - begin > limit + more:
        end = text.rfind("\n", begin, begin + limit) + 1 or begin + limit
        yield text[begin:end]
        begin = end
    yield text[begin:]
