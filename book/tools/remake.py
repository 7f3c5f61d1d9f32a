"""What the tools share that remake records of many runs: the ids and settings of the tales, the check of first losses, the command."""

import argparse
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from minigpt_core import CharTokenizer, load_corpus, split_text
from minigpt_core.files import write_atomic

FIRST, NEAR = 5, 1e-3  # the first steps are run again by a check, and may differ by so many nats on another machine


@functools.cache
def tales() -> tuple[Tensor, Tensor, int]:
    """The ids of the training and of the validation part, and V."""
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    train, val = (torch.tensor(tokenizer.encode(part)) for part in split_text(text, parts=3)[:2])
    return train, val, tokenizer.vocab_size


def settings_on_tales(recipe: dict) -> dict:
    """The text that runs read and how it is split, and their recipe."""
    sha256 = hashlib.sha256(load_corpus("tales").encode("utf-8")).hexdigest()
    return {"corpus": "tales", "corpus_sha256": sha256, "split": "documents", **recipe}


def apart(now: Sequence[float], then: Sequence[float]) -> bool:
    """Whether the losses of the first steps are other ones than those that were recorded."""
    return max(abs(a - b) for a, b in zip(now, then, strict=True)) > NEAR


def remake(description: str | None, record: Path, stale: Callable[[], str | None], make: Callable[[], dict]) -> int:
    """Write what `make` finds as the record; with --check, only tell whether it is stale. Returned is the exit status."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only tell whether the record is stale")
    if parser.parse_args().check:
        if reason := stale():
            print(f"book/records/{record.name} is stale: {reason}; remake it with make {record.stem}")
        return 1 if reason else 0
    write_atomic(record, json.dumps(make(), separators=(",", ":")).encode("utf-8"))
    return 0
