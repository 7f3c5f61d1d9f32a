"""What widgets show besides the models: records, as JSON, made here once for the book and for the kernel alike."""

import json
from collections.abc import Callable
from typing import Any

from ..corpus import load_corpus
from ..lesson import load_record
from ..tokenizer import CharTokenizer

RUNS = {  # those that the curves show, by what sets them apart
    "film": "the usual run",
    "no-warmup": "without warm-up",
    "high-rate": "high rate, 0.01",
    "high-rate-no-warmup": "high rate without warm-up",
    "low-rate": "low rate, 0.0001",
    "small": "one layer, 16 wide",
    "little-text": "8,000 characters of text",
}
LEVELS = ("ln V", "1-gram", "2-gram", "5-gram")


def curves() -> dict[str, Any]:
    """Loss, gradient norm and what the model says, of the runs above; and what counting reaches on their text."""
    records = {name: load_record(name) for name in RUNS}
    counted = load_record("corpora")["tales"]["losses"]
    return {
        "steps": len(records["film"]["curve"]["train_loss"]),
        "levels": {name: counted[name] for name in LEVELS},
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


RECORDS: dict[str, Callable[[], dict[str, Any]]] = {
    "curves": curves,
    "film": lambda: film("film"),
    "film-zh": lambda: film("film-zh"),
}


def record_file(name: str) -> bytes:
    """The record as the page reads it.

    >>> record_file("curves")[:10]                                                      # doctest: +SKIP
    """
    return json.dumps(RECORDS[name](), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
