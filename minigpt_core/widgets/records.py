"""What widgets show besides the models: records, as JSON, made here once for the book and for the kernel alike."""

import json
from collections.abc import Callable
from typing import Any

RECORDS: dict[str, Callable[[], dict[str, Any]]] = {}


def record_file(name: str) -> bytes:
    """The record as the page reads it.

    >>> record_file("curves")[:10]                                                      # doctest: +SKIP
    """
    return json.dumps(RECORDS[name](), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
