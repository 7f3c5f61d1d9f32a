"""The rubric of the project "tokenizer": is it exact, and how good is it beside our own BPE of the same size?

The text is split as for a run. The tokenizer is measured on the held-out part alone, in pieces of about a thousand characters
that end at line breaks; our BPE learns from the training part. End marks are left out, since not every tokenizer knows them.
"""

import contextlib
import math
import operator
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from ..tokenizer import END_OF_TEXT, UNKNOWN, VISIBLE, BPETokenizer, CharTokenizer, Tokenizer, load_tokenizer
from .apart import Apart
from .projects import Criterion, Result, check_name, now

PIECE = 1_000  # characters
MOST = 100_000  # held-out characters that are measured, so that slow code comes to its end
LEARNED = 300_000  # characters of the training part in which tokens are counted
LEAST = 5_000  # held-out characters; on fewer, a tokenizer of words is luck
SECONDS = 120  # for one question to a Python file
TOKENS = 1.05  # times the tokens of our BPE
USED = 0.9  # times the pieces that our BPE uses
BESIDE = "tokens, beside our BPE"

HARD = {
    "nothing": "",
    "one space": " ",
    "leading spaces": "    if x:",
    "spaces at the end": "the end   ",
    "line breaks": "\n\n one\n\ntwo\n",
    "a tab": "a\tb",
    "old line ends": "one\r\ntwo\r",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308",
    "Chinese": "你好，世界。",
    "Arabic": "مرحبا بالعالم",
    "Hindi": "नमस्ते दुनिया",
    "an accent in two characters": "cafe\u0301 café",
    "a ligature and a fraction": "ﬁne ½ Ⅷ",
    "a no-break space": "12\u00a0km",
    "SentencePiece's own space": "a\u2581b",
}


class Entry(Protocol):
    """A tokenizer as the rubric asks it: all texts at once, and of each the ids and what comes back, or why not."""

    vocab_size: int
    unknown_id: int | None

    def cut(self, texts: Sequence[str]) -> list[tuple[list[int], str] | str]: ...
    def pieces(self, ids: Sequence[int]) -> list[str]: ...


class Own:
    """A tokenizer that this package has saved."""

    unknown_id: int | None = None

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.vocab_size = tokenizer, tokenizer.vocab_size

    def cut(self, texts: Sequence[str]) -> list[tuple[list[int], str] | str]:
        found: list[tuple[list[int], str] | str] = []
        for text in texts:
            try:
                ids = self.tokenizer.encode(text)
                found.append((ids, self.tokenizer.decode(ids)))
            except ValueError as error:
                found.append(str(error))
        return found

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [self.tokenizer.decode([i]) for i in ids]


class Written:
    """A tokenizer that a Python file defines: `encode`, `decode` and `vocab_size`, and where there is one `unknown_id`."""

    def __init__(self, apart: Apart):
        self._apart = apart
        size, unknown = self._ask("sizes", "reading it")
        self.vocab_size: int = size
        self.unknown_id: int | None = unknown

    def _ask(self, function: str, doing: str, *arguments: Any) -> Any:
        return self._apart.ask(f"{__name__}:{function}", *arguments, seconds=SECONDS, doing=doing)

    def cut(self, texts: Sequence[str]) -> list[tuple[list[int], str] | str]:
        answers = self._ask("cut_there", "encoding", list(texts))
        return [answer if isinstance(answer, str) else (answer[0], answer[1]) for answer in answers]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return list(self._ask("decoded_there", "decoding", list(ids)))


def sizes(module: ModuleType) -> tuple[int, int | None]:
    """Asked in the process of the file: its vocabulary size, and the id of unknown characters."""
    for name in ("encode", "decode"):
        if not callable(getattr(module, name, None)):
            raise ValueError(f"it defines no function {name}")
    size, unknown = (getattr(module, name, None) for name in ("vocab_size", "unknown_id"))
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"its vocab_size is {size!r:.30}, and no whole number of at least 1")
    if unknown is not None and not isinstance(unknown, int):
        raise ValueError(f"its unknown_id is {unknown!r:.30}, and no whole number")
    return size, unknown


def cut_there(module: ModuleType, texts: list[str]) -> list[tuple[list[int], str] | str]:
    """Asked in the process of the file: the ids of each text and what comes back, or the error."""
    found: list[tuple[list[int], str] | str] = []
    for text in texts:
        try:
            ids = [operator.index(i) for i in module.encode(text)]
            back = module.decode(ids)
            found.append((ids, back) if isinstance(back, str) else f"decode gives a {type(back).__name__}")
        except Exception as error:  # whatever a reader's file can raise
            found.append(f"{type(error).__name__}: {error}")
    return found


def decoded_there(module: ModuleType, ids: list[int]) -> list[str]:
    """Asked in the process of the file: the text of each id alone."""
    return [str(module.decode([i])) for i in ids]


def judge(entry: str | Path, text: str, name: str) -> Result:
    """Measure the tokenizer in `entry`, a folder or a bpe.model of this package or a Python file, on the held-out part of
    `text`. What cannot be measured is a `ValueError`.

    >>> judge("mine", load_corpus("tales_zh"), "Ada").met                               # doctest: +SKIP
    True
    """
    from ..data import split_text  # only now: with torch, it would delay the process that runs a reader's file

    name, path = check_name(name), Path(entry)
    train_text, held = (part.replace(END_OF_TEXT, "\n") for part in split_text(text))
    held = held[:MOST]
    if len(held) < LEAST:
        raise ValueError(f"the text is too short: {len(held):,} characters are held out, and {LEAST:,} are needed")
    if path.suffix == ".py":
        with Apart(path) as apart:
            return _judge(Written(apart), train_text, held, name)
    if not path.exists():
        raise ValueError(f"there is no tokenizer {path}: name a folder, a bpe.model, or a Python file")
    tokenizer = BPETokenizer(path.read_bytes()) if path.is_file() else load_tokenizer(path)
    return _judge(Own(tokenizer), train_text, held, name)


def _judge(entry: Entry, train_text: str, held: str, name: str) -> Result:
    from .planning import look_at

    pieces = _pieces(held)
    cut = entry.cut(pieces)
    ids = _checked([c[0] for c in cut if not isinstance(c, str)], entry.vocab_size)
    if not ids:
        raise ValueError(f"it can cut no piece of the held-out text: {cut[0]}")
    kept = [piece for piece, c in zip(pieces, cut, strict=True) if not isinstance(c, str)]  # all are compared on these
    changed = sum(isinstance(c, str) or c[1] != piece for piece, c in zip(pieces, cut, strict=True))
    hard = dict(zip(HARD, entry.cut(list(HARD.values())), strict=True))
    lost = [which for which, c in hard.items() if isinstance(c, str) or c[1] != HARD[which]]
    tokens, characters = sum(map(len, ids)), sum(map(len, kept))
    unknown = sum(row.count(entry.unknown_id) for row in ids if entry.unknown_id is not None)
    unknown += sum(c[1].count(UNKNOWN) for c in cut if not isinstance(c, str))

    used = Counter(i for row in ids for i in row)
    to_learn = _pieces(train_text[:LEARNED])
    learned = [c[0] for c in entry.cut(to_learn) if not isinstance(c, str)]
    bits = _bits(learned, ids, entry.vocab_size) / characters
    letters = CharTokenizer.train(train_text + held)
    plain = _bits([letters.encode(train_text[:LEARNED])], [letters.encode(k) for k in kept], letters.vocab_size)
    ours = _ours(train_text, entry.vocab_size)
    figures: dict[str, Any] = {
        "vocabulary": entry.vocab_size,
        "script": look_at(held).script,
        "held-out characters": characters,
        "tokens": tokens,
        "tokens per character": round(tokens / characters, 4),
        "tokens per byte": round(tokens / len("".join(kept).encode()), 4),
        "bits per character": round(bits, 3),
        "bits per character, by characters": round(plain / characters, 3),
        "vocabulary used": round(len(used) / entry.vocab_size, 4),
        "hard inputs that fail": lost,
        "longest pieces": _longest(entry, used),
    }
    rows = [ours.encode(piece) for piece in kept]
    own_tokens, own_used = sum(map(len, rows)), len({i for row in rows for i in row})
    own_bits = _bits([ours.encode(p) for p in to_learn], rows, ours.vocab_size)
    times, share = round(tokens / own_tokens, 4), round(len(used) / own_used, 4)
    figures |= {
        "vocabulary of our BPE": ours.vocab_size,
        "tokens of our BPE": own_tokens,
        "bits per character, by our BPE": round(own_bits / characters, 3),
        "vocabulary used by our BPE": round(own_used / ours.vocab_size, 4),
    }
    same = ours.vocab_size == entry.vocab_size  # otherwise a person judges
    criteria = (
        Criterion("held-out pieces that come back changed", changed, f"0 of {len(pieces)}", changed == 0),
        Criterion("hard inputs that come back exactly", len(HARD) - len(lost), f"all {len(HARD)}", not lost),
        Criterion("unknown tokens", unknown, "0", unknown == 0),
        Criterion(BESIDE, times, f"at most {TOKENS}", times <= TOKENS if same else None),
        Criterion("pieces used, beside our BPE", share, f"at least {USED}", share >= USED if same else None),
        Criterion(
            "bits per character, each token alone",
            round(bits, 3),
            f"below characters' {plain / characters:.3f}",
            bits < plain / characters,
        ),
    )
    return Result("tokenizer", name, criteria, BESIDE, times, TOKENS, figures=figures, date=now())


def _pieces(text: str) -> list[str]:
    """The text in pieces of about PIECE characters, each but the last with a line break at its end where one is near."""
    found, begin = [], 0
    while begin < len(text):
        end = text.rfind("\n", begin, begin + PIECE) + 1 or begin + PIECE
        found.append(text[begin:end])
        begin = end
    return found


def _checked(rows: list[list[int]], vocab_size: int) -> list[list[int]]:
    for row in rows:
        for i in row:
            if not 0 <= i < vocab_size:
                raise ValueError(f"it gives id {i}, which is outside its vocabulary of {vocab_size} tokens")
    return rows


def _bits(learned: list[list[int]], rows: list[list[int]], vocab_size: int) -> float:
    """What the tokens of `rows` cost one who knows how often each occurred in `learned`, and counts one more of each."""
    counts = Counter(i for row in learned for i in row)
    total = counts.total() + vocab_size
    return -sum(math.log2((counts[i] + 1) / total) for row in rows for i in row)


def _ours(train_text: str, vocab_size: int) -> BPETokenizer:
    """Our BPE of that size; where the characters alone need more, the rare ones are left to the bytes; and where that does
    not suffice, or the text does not fill so many pieces, the BPE of the nearest size that there is."""
    try:
        return BPETokenizer.train(train_text, vocab_size=vocab_size)
    except ValueError:
        pass
    try:
        return BPETokenizer.train(train_text, vocab_size=vocab_size, character_coverage=0.98)
    except ValueError as error:
        low, high = map(int, re.findall(r"between (\d+) and (\d+)", str(error))[0])
        nearest = min(max(vocab_size, low), high)
        return BPETokenizer.train(train_text, vocab_size=nearest, character_coverage=0.98)


def _longest(entry: Entry, used: Counter[int], most: int = 20) -> list[str]:
    """The longest pieces among those that the held-out text uses: they show what was learned."""
    ids = sorted(used)
    with contextlib.suppress(ValueError):  # one id alone need not be text
        pieces = ["".join(VISIBLE.get(c, c) for c in piece) for piece in entry.pieces(ids)]
        return [piece[:40] for piece in sorted(pieces, key=lambda piece: (-len(piece), piece))[:most]]
    return []
