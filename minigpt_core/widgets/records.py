"""What widgets show besides the models: records, as JSON, made here once for the book and for the kernel alike."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from ..corpus import load_corpus
from ..data import split_text
from ..notebook.lesson import load_record
from ..study import clinic
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
# Those whose name the curves hide, by the letter that stands for it.
PATIENTS = {
    "A": "small",
    "B": "film-zh",
    "C": "little-text",
    "D": "low-rate",
    "E": "high-rate",
    "F": "no-residual",
    "G": "short",
    "H": "high-rate-no-warmup",
}
# What sets apart each run that the curves show, by its name or without it.
DESCRIBED = RUNS | {
    "film-zh": "the usual run, on the Chinese tales",
    "no-residual": "without the residual connections",
    "short": "150 steps instead of 900",
}
# The sizes at which each corpus is cut, whether the vocabulary holds the bytes, and the share of the text whose characters it
# holds; the largest last.
SIZES = {
    "tales": (((200, False), (350, True), (500, True), (1000, True), (2000, True)), 1.0),
    "tales_zh": (((963, True), (1200, True), (2000, True)), 0.98),
}


LEVELS = ("ln V", "1-gram", "2-gram", "best count")


def levels() -> dict[str, float]:
    """The lines that a run on the tales is read against: guessing blindly, counting, and counting at its best order."""
    losses = load_record("corpora")["tales"]["losses"]
    losses["best count"] = min(losses.values())
    return {name: losses[name] for name in LEVELS}


def course(name: str) -> dict[str, Any]:
    """Loss, gradient norm and what the model says in a recorded run, step by step."""
    record = load_record(name)
    curve = record["curve"]
    return {
        "loss": curve["train_loss"],
        "norm": curve["grad_norm"],
        "val": list(zip(curve["val_step"], curve["val_loss"], strict=True)),
        "clip": record["settings"]["training"]["clip"],
        "says": [(look["step"], look["text"]) for look in record.get("says", ())],
    }


def curves() -> dict[str, Any]:
    """The courses of the runs above, and what counting reaches on their text."""
    return {"levels": levels(), "runs": {name: course(name) for name in RUNS}}


def examined(name: str) -> clinic.Report:
    """A recorded run as the clinic sees it, beside the text that it learned from.

    >>> examined("small").verdict                                                       # doctest: +SKIP
    'underfitting'
    """
    record = load_record(name)
    settings, curve = record["settings"], record["curve"]
    text = load_corpus(settings["corpus"])
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in split_text(text, parts=3)[:2])
    return clinic.examine(
        curve["train_loss"],
        dict(zip(curve["val_step"], curve["val_loss"], strict=True)),
        train_ids[: settings["characters"]],
        val_ids,
        tokenizer.vocab_size,
        split=settings["split"],
        dropout=settings["model"]["dropout"],
    )


def patient(name: str) -> dict[str, Any]:
    """The course of a run whose name is hidden, the lines that it is read against, and what the clinic finds."""
    report = examined(name)
    return course(name) | {
        "levels": {line: report.references[line] for line in LEVELS},
        "findings": [asdict(finding) for finding in report.findings],
        "was": DESCRIBED[name],
    }


def patients() -> dict[str, Any]:
    """All patients, by their letters, and all that the clinic may find."""
    return {"diagnoses": clinic.NAMES, "patients": {letter: patient(name) for letter, name in PATIENTS.items()}}


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


RECORDS: dict[str, Callable[[], dict[str, Any] | str]] = {
    "curves": curves,
    "patients": patients,
    "film": lambda: film("film"),
    "film-zh": lambda: film("film-zh"),
    "text-tales": lambda: load_corpus("tales"),
    "text-tales_zh": lambda: load_corpus("tales_zh"),
    "vocabularies": lambda: {corpus: vocabularies(corpus) for corpus in SIZES},
}


def record_file(name: str) -> bytes:
    """The record as the page reads it.

    >>> record_file("curves")[:10]                                                      # doctest: +SKIP
    """
    return json.dumps(RECORDS[name](), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
