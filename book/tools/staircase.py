"""Remake book/records/staircase.json: the growing model of the chapters, step by step, each trained with three seeds.

    make staircase                          every step, about five minutes on two cores
    python book/tools/staircase.py --check  is the record stale?

All steps read the tales letter by letter. The first are counted; "bigram, learned" is the table of chapter 03, and "network, 5
letters" the largest of that length in the record of `make neural`. Those from "average of the past" on are one model, in which
what mixes the positions is exchanged; they share their recipe. The last is the model tales-char, from its card: deeper, with a
longer window, and trained for longer. The chapters write the parts by hand and train them live; the record gives each chapter
the steps of the others, and says how far seeds lie apart.
"""

import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from remake import FIRST, NEAR, apart, remake, settings_on_tales, tales
from torch import Tensor, nn
from tqdm import tqdm

from minigpt_core import GPTConfig
from minigpt_core.attention import CausalSelfAttention
from minigpt_core.layers import Block, FeedForward
from minigpt_core.pretrained import load_card
from minigpt_core.study.counting import ngram_probabilities
from minigpt_core.study.growing import BATCH, RATE, RISING, STEPS, Average, Growing, fit, mean_loss, start_small

RECORD = Path(__file__).parents[1] / "records" / "staircase.json"
SEEDS = 3


def shape(n_head: int) -> GPTConfig:
    return GPTConfig(vocab_size=1, n_layer=1, n_head=n_head)


def one_head() -> nn.Module:
    attention = CausalSelfAttention(shape(1))
    attention.output = nn.Identity()  # there is only one to take from
    return attention


def heads_and_network() -> list[nn.Module]:
    return [CausalSelfAttention(shape(4)), FeedForward(shape(4))]


def blocks(n: int) -> list[nn.Module]:
    return [*(Block(shape(4)) for _ in range(n)), nn.LayerNorm(shape(4).n_embd)]


MIXES: dict[str, Callable[[], nn.Module]] = {
    "average of the past": Average,
    "one head": one_head,
    "four heads": lambda: CausalSelfAttention(shape(4)),
    "+ feed-forward": lambda: nn.Sequential(*heads_and_network()),
    "+ residual, normalisation": lambda: nn.Sequential(*blocks(1)),
    "+ a second block": lambda: nn.Sequential(*blocks(2)),
    "+ a small start": lambda: nn.Sequential(*blocks(2)),
}
ASIDE = {"+ feed-forward, a small start": lambda: nn.Sequential(*heads_and_network())}  # a start without its stream


def learned_bigram(train: Tensor, val: Tensor, vocab_size: int) -> float:
    """The loss of a table of logits that Adam learned from all pairs at once, in 300 steps from zero, as in chapter 03."""
    pairs = torch.bincount(train[:-1] * vocab_size + train[1:], minlength=vocab_size**2).view(vocab_size, vocab_size)
    table = torch.zeros(vocab_size, vocab_size, requires_grad=True)
    optimizer = torch.optim.Adam([table], lr=0.3)
    for _ in range(300):
        loss = -(pairs * table.log_softmax(1)).sum() / pairs.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return F.cross_entropy(table[val[:-1]], val[1:]).item()


def before_and_after() -> tuple[dict, dict, dict]:
    """The steps before the average, those after the small start, and the rivals."""
    train, val, vocab_size = tales()
    orders = {
        rule: (-ngram_probabilities(train, val, 10, vocab_size, rule).log().mean(1)).tolist()
        for rule in ("witten-bell", "kneser-ney")
    }
    unigram, bigram = orders["kneser-ney"][:2]
    network = json.loads((RECORD.parent / "neural.json").read_text(encoding="utf-8"))["runs"]
    counted = {
        "uniform": math.log(vocab_size),
        "unigram": unigram,
        "bigram, counted": bigram,
        "bigram, learned": learned_bigram(train, val, vocab_size),
    }
    before = {name: [{"val_loss": round(loss, 4)}] for name, loss in counted.items()}
    before["network, 5 letters"] = [
        {name: run[name] for name in ("seed", "val_loss", "parameters")}
        for run in network
        if (run["k"], run["hidden"]) == (5, 512)
    ]
    card = load_card("tales-char")
    seeds = [{"seed": int(seed), "val_loss": losses["validation"]} for seed, losses in card["seeds"].items()]
    seeds[0] |= {"parameters": card["parameters"], "seconds": round(60 * card["minutes"])}
    rivals = {"simple count": min(orders["witten-bell"]), "best count": min(orders["kneser-ney"])}
    return before, {"+ depth, a longer run": seeds}, {name: round(loss, 4) for name, loss in rivals.items()}


def run(name: str, seed: int, steps: int = STEPS) -> dict:
    train, val, vocab_size = tales()
    torch.manual_seed(seed)
    model = Growing(vocab_size, (MIXES | ASIDE)[name]())
    if name.endswith("a small start"):
        start_small(model)
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
    return settings_on_tales({"steps": STEPS, "batch": BATCH, "learning_rate": RATE, "warmup_steps": RISING})


def stale() -> str | None:
    """Why the record has to be remade, or None."""
    if not RECORD.is_file():
        return "it is missing"
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    before, after, rivals = before_and_after()
    if record["settings"] != settings() or list(record["steps"]) != [*before, *MIXES, *after]:
        return "its settings, its corpus or its steps have changed"
    pairs = [(name, rivals[name], record["rivals"][name]) for name in rivals]
    for name, runs in (before | after).items():
        if len(runs) != len(record["steps"][name]):
            return f"{name!r} has another number of seeds"
        pairs += [(name, a["val_loss"], b["val_loss"]) for a, b in zip(runs, record["steps"][name], strict=True)]
    for name, now, then in pairs:
        if abs(now - then) > NEAR:
            return f"{name!r} has the loss {then}, now it is {now}"
    for name in MIXES | ASIDE:
        now, then = run(name, 0, FIRST)["first"], (record["steps"] | record["aside"])[name][0]["first"]
        if apart(now, then):
            return f"the first losses of {name!r} are {then}, now they are {now}"
    return None


def make() -> dict:
    before, after, rivals = before_and_after()
    trained = {name: [run(name, seed) for seed in range(SEEDS)] for name in tqdm(MIXES | ASIDE, unit="step")}
    aside = {name: trained.pop(name) for name in ASIDE}
    return {"settings": settings(), "steps": before | trained | after, "aside": aside, "rivals": rivals}


def main() -> int:
    return remake(__doc__, RECORD, stale, make)


if __name__ == "__main__":
    sys.exit(main())
