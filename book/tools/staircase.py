"""Remake book/records/staircase.json: the growing model of the chapters, step by step, each trained with three seeds.

    make staircase                          every step, about five minutes on two cores
    python book/tools/staircase.py --check  is the record stale?

All steps read the tales letter by letter. Those from "average of the past" on are one model, in which what mixes the
positions is exchanged; they share their recipe. The chapters write the parts by hand and train them live; the record gives
each chapter the steps of the others, and says how far seeds lie apart.
"""

import argparse
import hashlib
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minigpt_core import CharTokenizer, GPTConfig, load_corpus, split_text
from minigpt_core.attention import CausalSelfAttention
from minigpt_core.files import write_atomic
from minigpt_core.layers import Block, FeedForward
from minigpt_core.study.growing import BATCH, RATE, RISING, STEPS, Average, Growing, fit, mean_loss

RECORD = Path(__file__).parents[1] / "records" / "staircase.json"
SEEDS = 3
FIRST, NEAR = 5, 1e-3  # the first steps are run again by the check, and may differ by so many nats on another machine


def shape(n_head: int) -> GPTConfig:
    return GPTConfig(vocab_size=1, n_layer=1, n_head=n_head)


def heads_and_network() -> list[nn.Module]:
    return [CausalSelfAttention(shape(4)), FeedForward(shape(4))]


def blocks(n: int) -> list[nn.Module]:
    return [*(Block(shape(4)) for _ in range(n)), nn.LayerNorm(shape(4).n_embd)]


MIXES: dict[str, Callable[[], nn.Module]] = {
    "average of the past": Average,
    "one head": lambda: CausalSelfAttention(shape(1)),
    "four heads": lambda: CausalSelfAttention(shape(4)),
    "+ feed-forward": lambda: nn.Sequential(*heads_and_network()),
    "+ residual, normalisation": lambda: nn.Sequential(*blocks(1)),
    "+ a second block": lambda: nn.Sequential(*blocks(2)),
}


def tales() -> tuple[Tensor, Tensor, int]:
    """The ids of the training and of the validation part, and V."""
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    train, val = (torch.tensor(tokenizer.encode(part)) for part in split_text(text, parts=3)[:2])
    return train, val, tokenizer.vocab_size


def run(name: str, seed: int, steps: int = STEPS) -> dict:
    train, val, vocab_size = tales()
    torch.manual_seed(seed)
    model = Growing(vocab_size, MIXES[name]())
    began = time.perf_counter()
    losses = list(itertools.islice(fit(model, train, seed), steps))
    seconds = time.perf_counter() - began
    found = {"seed": seed, "first": [round(loss, 4) for loss in losses[:FIRST]]}
    if steps < STEPS:
        return found
    return found | {
        "train_loss": round(sum(losses[-50:]) / 50, 4),
        "val_loss": round(mean_loss(model, val), 4),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(seconds, 1),
    }


def settings() -> dict:
    sha256 = hashlib.sha256(load_corpus("tales").encode("utf-8")).hexdigest()
    recipe = {"steps": STEPS, "batch": BATCH, "learning_rate": RATE, "warmup_steps": RISING}
    return {"corpus": "tales", "corpus_sha256": sha256, "split": "documents", **recipe}


def stale() -> str | None:
    """Why the record has to be remade, or None."""
    if not RECORD.is_file():
        return "it is missing"
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if record["settings"] != settings() or list(record["steps"]) != list(MIXES):
        return "its settings, its corpus or its steps have changed"
    for name, runs in record["steps"].items():
        again = run(name, 0, FIRST)["first"]
        if max(abs(a - b) for a, b in zip(again, runs[0]["first"], strict=True)) > NEAR:
            return f"the first losses of {name!r} are {runs[0]['first']}, now they are {again}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only tell whether the record is stale")
    if parser.parse_args().check:
        if reason := stale():
            print(f"book/records/staircase.json is stale: {reason}; remake it with make staircase")
        return 1 if reason else 0
    steps = {name: [run(name, seed) for seed in range(SEEDS)] for name in tqdm(MIXES, unit="step")}
    text = json.dumps({"settings": settings(), "steps": steps}, separators=(",", ":"))
    write_atomic(RECORD, text.encode("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
