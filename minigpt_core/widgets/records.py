"""What widgets show besides the models: records, as JSON, made here once for the book and for the kernel alike."""

import json
from collections.abc import Callable
from typing import Any

from ..corpus import load_corpus
from ..notebook.lesson import load_record
from ..tokenizer import BPETokenizer, CharTokenizer, Tokenizer
from .export import describe

RUNS = {  # those that the curves show, by what sets them apart
    "film": "the usual run",
    "no-warmup": "without warm-up",
    "high-rate": "high rate, 0.01",
    "high-rate-no-warmup": "high rate without warm-up",
    "low-rate": "low rate, 0.0001",
    "small": "one layer, 16 wide",
    "little-text": "8,000 characters of text",
}
# The sizes at which each corpus is cut, whether the vocabulary holds the bytes, and the share of the text whose characters it
# holds; the largest last.
SIZES = {
    "tales": (((200, False), (350, True), (500, True), (1000, True), (2000, True)), 1.0),
    "tales_zh": (((963, True), (1200, True), (2000, True)), 0.98),
}


def levels() -> dict[str, float]:
    """The lines that a run on the tales is read against: guessing blindly, counting, and counting at its best order."""
    losses = load_record("corpora")["tales"]["losses"]
    return {name: losses[name] for name in ("ln V", "1-gram", "2-gram")} | {"best count": min(losses.values())}


def curves() -> dict[str, Any]:
    """Loss, gradient norm and what the model says, of the runs above; and what counting reaches on their text."""
    records = {name: load_record(name) for name in RUNS}
    return {
        "steps": len(records["film"]["curve"]["train_loss"]),
        "levels": levels(),
        "runs": {
            name: {
                "loss": record["curve"]["train_loss"],
                "norm": record["curve"]["grad_norm"],
                "val": list(zip(record["curve"]["val_step"], record["curve"]["val_loss"], strict=True)),
                "clip": record["settings"]["training"]["clip"],
                "says": [(look["step"], look["text"]) for look in record["says"]],
            }
            for name, record in records.items()
        },
    }


def film(name: str) -> dict[str, Any]:
    """The maps of a travelling sentence on the way through a training run."""
    record = load_record(name)
    tokenizer = CharTokenizer.train(load_corpus(record["settings"]["corpus"]))
    return {
        "text": record["film"]["text"],
        "names": [tokenizer.tokens[i] for i in tokenizer.encode(record["film"]["text"])],
        "layers": record["settings"]["model"]["n_layer"],
        "heads": record["settings"]["model"]["n_head"],
        "steps": [look["step"] for look in record["film"]["at"]],
        "at": [look["percent"] for look in record["film"]["at"]],
    }


def trained(corpus: str) -> dict[str, Tokenizer]:
    """The tokenizers of a corpus that stand side by side in the page, by their labels.

    >>> list(trained("tales_zh"))
    ['characters, V = 1,174', 'BPE, V = 963', 'BPE, V = 1,200', 'BPE, V = 2,000']
    """
    text = load_corpus(corpus)
    char = CharTokenizer.train(text)
    sizes, coverage = SIZES[corpus]
    return {f"characters, V = {char.vocab_size:,}": char} | {
        f"BPE, V = {V:,}" + ("" if byte_fallback else ", no bytes"): BPETokenizer.train(
            text, vocab_size=V, byte_fallback=byte_fallback, character_coverage=coverage
        )
        for V, byte_fallback in sizes
    }


def vocabularies(corpus: str) -> dict[str, Any]:
    """What the page needs to make the tokenizers of `trained`. A vocabulary is the end of text, the unknown piece, the line
    break, the bytes, the merges in the order in which they were learned, and the letters. A smaller one of the same text has
    the first merges of a larger one and the same letters, so those of the largest are enough for all.
    """
    (char_label, char), *rest = trained(corpus).items()
    _, largest = rest[-1]
    pieces = describe(largest)["pieces"][3 + 256 :]
    return {
        "merges": [piece for piece in pieces if len(piece) > 1],
        "letters": [piece for piece in pieces if len(piece) == 1],
        "rows": [
            {"label": char_label, **describe(char)},
            *({"label": label, "size": t.vocab_size, "bytes": "<0x00>" in t.tokens} for label, t in rest),
        ],
    }


RECORDS: dict[str, Callable[[], dict[str, Any]]] = {
    "curves": curves,
    "film": lambda: film("film"),
    "film-zh": lambda: film("film-zh"),
    "vocabularies": lambda: {corpus: vocabularies(corpus) for corpus in SIZES},
}


def record_file(name: str) -> bytes:
    """The record as the page reads it.

    >>> record_file("curves")[:10]                                                      # doctest: +SKIP
    """
    return json.dumps(RECORDS[name](), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
