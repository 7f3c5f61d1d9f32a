"""What widgets show besides the models: records, as JSON, made here once for the book and for the kernel alike."""

import json
from collections.abc import Callable
from typing import Any

from ..corpus import load_corpus
from ..lesson import load_record
from ..tokenizer import CharTokenizer


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
    "film": lambda: film("film"),
    "film-zh": lambda: film("film-zh"),
}


def record_file(name: str) -> bytes:
    """The record as the page reads it.

    >>> record_file("curves")[:10]                                                      # doctest: +SKIP
    """
    return json.dumps(RECORDS[name](), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
