"""Texts to learn from: three that ship with the package, two that are downloaded on request, and any file of yours."""

import contextlib
import hashlib
import http.client
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from .files import write_atomic

BUNDLED = ("sample", "tales", "tales_zh")
FOLDER = Path(__file__).parent / "corpora"


@dataclass(frozen=True)
class Download:
    """A text that lies elsewhere: the file's name, the SHA-256 of its raw bytes, the addresses to try in turn."""

    file: str
    sha256: str
    addresses: tuple[str, ...]


DOWNLOADS = {
    "alice": Download(  # Lewis Carroll, Alice's Adventures in Wonderland, 1865; Canterbury corpus edition
        "alice.txt",
        "7467306ee0feed4971260f3c87421154a05be571d944e9cb021a5713700c38f0",
        (
            "https://raw.githubusercontent.com/google/snappy/6281a07b7e08629884ec93a89fea6e05c62e599c/testdata/alice29.txt",
            "https://cdn.jsdelivr.net/gh/google/snappy@6281a07b7e08629884ec93a89fea6e05c62e599c/testdata/alice29.txt",
        ),
    ),
    "shakespeare": Download(  # parts of the plays, known as tinyshakespeare
        "shakespeare.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        (
            "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            "https://cdn.jsdelivr.net/gh/karpathy/char-rnn@6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
        ),
    ),
}


def load_corpus(name_or_path: str | Path, *, encoding: str | None = None) -> str:
    """A text, by name or from a file.

    The names are `sample` (400 characters that show how a split can mislead), `tales` and `tales_zh` (written for this
    book, in English and in Chinese), all in the package, and `alice` and `shakespeare`, which are downloaded once,
    checked and kept in ~/.cache/minigpt; if the environment variable MINIGPT_CORPORA names a folder, that is looked into
    first. A name always means that text, also where a file is called so: the file is "./tales", or `Path("tales")`.
    Anything else is the path of a text file: UTF-8 with or without a byte order mark, UTF-16 with one, or the `encoding` that you name, such as
    "gb18030". Line ends become "\\n", and a final end-of-file mark of old systems (U+001A) goes.

    What is missing, empty, a directory, no text, or not the file that was promised is a `ValueError`; no half file is
    ever left behind.

    >>> load_corpus("sample")[:28]
    'Mina has a small lamp and a '
    """
    name = str(name_or_path)
    named = isinstance(name_or_path, str)  # a Path is always a file
    if named and name in BUNDLED:
        return _decode((FOLDER / f"{name}.txt").read_bytes(), name, None)
    if named and name in DOWNLOADS:
        return _decode(fetch(name, DOWNLOADS[name]), name, None)
    path = Path(name_or_path)
    try:
        raw = path.read_bytes()
    except IsADirectoryError:
        raise ValueError(f"{name} is a directory: give the path of one text file") from None
    except FileNotFoundError:
        known = ", ".join([*BUNDLED, *DOWNLOADS])
        raise ValueError(f"there is no file {name}, and it is none of the known corpora: {known}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{name[:200]} cannot be read: {reason}") from None
    return _decode(raw, name, encoding)


def _decode(raw: bytes, name: str, encoding: str | None) -> str:
    if encoding is None:
        encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise ValueError(f"encoding={encoding!r} is unknown: try 'utf-8', 'utf-16' or 'gb18030'") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is not text in {encoding} (byte 0x{raw[error.start]:02x} at position {error.start}): "
            f"if it is text, name its encoding, such as {_openings(raw, error.start)}"
        ) from None
    if "\0" in text:
        raise ValueError(f"{name} is not text: it holds a NUL character at position {text.index(chr(0))}")
    text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\x1a")
    if not text.strip():
        raise ValueError(f"{name} is empty: a model needs at least a few thousand characters to learn from")
    return text


def _openings(raw: bytes, place: int) -> str:
    """What the bytes around `place` are in a few encodings, for a reader to recognise the right one."""
    begin = max(0, place - place % 2 - 8)
    shown = []
    for encoding in ("gb18030", "big5", "shift_jis", "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            raw.decode(encoding)
            piece = raw[begin : begin + 40].decode(encoding, errors="ignore")
            shown.append(f"encoding={encoding!r} (there it reads {' '.join(piece.split())[:16]!r})")
    return ", ".join(shown) or "encoding='gb18030'"


def fetch(name: str, download: Download) -> bytes:
    """The checked raw bytes, from the reader's folder, the cache or the network, in this order."""
    cached = Path.home() / ".cache" / "minigpt" / download.file
    own_folder = os.environ.get("MINIGPT_CORPORA")
    for path in ([Path(own_folder) / download.file] if own_folder else []) + [cached]:
        if path.is_file():
            raw = path.read_bytes()
            if hashlib.sha256(raw).hexdigest() != download.sha256:
                raise ValueError(f"{path} is not the expected file (its SHA-256 differs): delete it and try again")
            return raw
    failures = []
    for address in download.addresses:
        try:
            raw = _download(address, name)
        except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            failures.append(f"{address}: {' '.join(str(getattr(error, 'reason', error)).split())}")
            continue
        if hashlib.sha256(raw).hexdigest() != download.sha256:
            failures.append(f"{address}: not the expected file (its SHA-256 differs)")
            continue
        with contextlib.suppress(OSError):  # a home that cannot be written costs another download, no more
            write_atomic(cached, raw)
        return raw
    raise ValueError(
        f"{name} could not be downloaded ({'; '.join(failures)}): check the network, or put the file into a folder as "
        f"{download.file} and name that folder in the environment variable MINIGPT_CORPORA"
    )


def _download(address: str, name: str) -> bytes:
    chunks = []
    with urllib.request.urlopen(address, timeout=20) as response:
        size = int(response.headers.get("Content-Length") or 0) or None
        with tqdm(total=size, unit="B", unit_scale=True, desc=f"downloading {name}") as bar:
            while chunk := response.read(1 << 16):
                chunks.append(chunk)
                bar.update(len(chunk))
    return b"".join(chunks)
