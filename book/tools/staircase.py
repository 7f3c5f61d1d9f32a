"""Remake book/records/staircase.json: the growing model of the chapters, step by step, each trained with three seeds.

    make staircase                          every step, about five minutes on two cores
    python book/tools/staircase.py --check  is the record stale?

All steps read the tales letter by letter. Those from "average of the past" on are one model, in which what mixes the
positions is exchanged; they share their recipe. The chapters write the parts by hand and train them live; the record gives
each chapter the steps of the others, and says how far seeds lie apart.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from minigpt_core import GPT, CharTokenizer, GPTConfig, load_corpus, split_text
from minigpt_core.attention import CausalSelfAttention
from minigpt_core.files import write_atomic
from minigpt_core.layers import Block, FeedForward

RECORD = Path(__file__).parents[1] / "records" / "staircase.json"
T, C, SEEDS = 64, 128, 3
RECIPE = {"steps": 900, "batch": 16, "learning_rate": 3e-3, "warmup_steps": 50, "betas": [0.9, 0.99]}
STEPS, NEAR = 5, 1e-3  # the first steps are run again by the check, and may differ by so many nats on another machine


class Average(nn.Module):
    """Each position gets the mean of itself and all before it. (B, T, C) -> (B, T, C)."""

    def forward(self, h: Tensor) -> Tensor:
        return h.cumsum(1) / torch.arange(1, h.shape[1] + 1)[:, None]


class Growing(nn.Module):
    """A vector for each letter and each place, what mixes the positions, a head. (B, T) -> (B, T, V)."""

    def __init__(self, vocab_size: int, mix: nn.Module) -> None:
        super().__init__()
        self.letters = nn.Embedding(vocab_size, C)
        self.places = nn.Embedding(T, C)
        self.mix = mix
        self.head = nn.Linear(C, vocab_size, bias=False)
        self.apply(GPT._init_weights)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.letters(ids) + self.places(torch.arange(ids.shape[1]))  # (B, T, C)
        return self.head(self.mix(h))


def shape(n_head: int) -> GPTConfig:
    return GPTConfig(vocab_size=1, block_size=T, n_layer=1, n_head=n_head, n_embd=C)


def heads_and_network() -> list[nn.Module]:
    return [CausalSelfAttention(shape(4)), FeedForward(shape(4))]


def blocks(n: int) -> list[nn.Module]:
    return [*(Block(shape(4)) for _ in range(n)), nn.LayerNorm(C)]


MIXES: dict[str, Callable[[], nn.Module]] = {
    "average of the past": Average,
    "one head": lambda: CausalSelfAttention(shape(1)),
    "four heads": lambda: CausalSelfAttention(shape(4)),
    "+ feed-forward": lambda: nn.Sequential(*heads_and_network()),
    "+ residual, normalisation": lambda: nn.Sequential(*blocks(1)),
    "+ a second block": lambda: nn.Sequential(*blocks(2)),
}


def rate(step: int) -> float:
    """Of step 0 and on: up over the warm-up, and down to zero along a straight line."""
    return RECIPE["learning_rate"] * min(1, (step + 1) / RECIPE["warmup_steps"]) * (1 - step / RECIPE["steps"])


def fit(model: Growing, ids: Tensor, seed: int, steps: int) -> list[float]:
    """Train on windows of ids (N,) from random places; returned are the losses of all steps, each on its batch before it."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), betas=tuple(RECIPE["betas"]))
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate(step)
        starts = torch.randint(len(ids) - T, (RECIPE["batch"], 1), generator=generator)
        windows = ids[starts + torch.arange(T + 1)]  # (B, T + 1)
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def mean_loss(model: Growing, ids: Tensor) -> float:
    """Over windows of T tokens side by side; what is left over at the end is not read."""
    n = (len(ids) - 1) // T
    x, y = ids[: n * T].view(n, T), ids[1 : n * T + 1].view(n, T)
    total = sum(
        F.cross_entropy(model(a).flatten(0, 1), b.flatten(), reduction="sum").item()
        for a, b in zip(x.split(64), y.split(64), strict=True)
    )
    return total / (n * T)


def tales() -> tuple[Tensor, Tensor, int]:
    """The ids of the training and of the validation part, and V."""
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    train, val = (torch.tensor(tokenizer.encode(part)) for part in split_text(text, parts=3)[:2])
    return train, val, tokenizer.vocab_size


def run(name: str, seed: int, steps: int = RECIPE["steps"]) -> dict:
    train, val, vocab_size = tales()
    torch.manual_seed(seed)
    model = Growing(vocab_size, MIXES[name]())
    began = time.perf_counter()
    losses = fit(model, train, seed, steps)
    seconds = time.perf_counter() - began
    found = {"seed": seed, "first": [round(loss, 4) for loss in losses[:STEPS]]}
    if steps == RECIPE["steps"]:
        found |= {
            "train_loss": round(sum(losses[-50:]) / 50, 4),
            "val_loss": round(mean_loss(model, val), 4),
            "parameters": sum(p.numel() for p in model.parameters()),
            "seconds": round(seconds, 1),
        }
    return found


def settings() -> dict:
    sha256 = hashlib.sha256(load_corpus("tales").encode("utf-8")).hexdigest()
    return {"corpus": "tales", "corpus_sha256": sha256, "split": "documents", "window": T, "width": C, **RECIPE}


def stale() -> str | None:
    """Why the record has to be remade, or None."""
    if not RECORD.is_file():
        return "it is missing"
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if record["settings"] != settings() or list(record["steps"]) != list(MIXES):
        return "its settings, its corpus or its steps have changed"
    for name, runs in record["steps"].items():
        again = run(name, 0, STEPS)["first"]
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
