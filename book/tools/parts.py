"""Remake book/records/parts.json: what each part of today's models brings to the growing model, on one budget.

    make parts                         every part, three seeds each, about twenty minutes on two cores
    python book/tools/parts.py --check  is the record stale?

The plain model has the shape and the recipe of the growing model that the chapters build: two blocks on the tales, letter by letter.
(Its biases begin at zero, so its losses are not quite those of the staircase.) Each part
is swapped in alone; then together, as in GPT-2 and as in a Llama. All runs read the same batches in the same order, seed by
seed, so that a part is compared with the plain model of its own seed. With four times the experts a step costs more: the
seconds are in the record too, measured in turn on one machine.
"""

import itertools
import json
import sys
import time
from pathlib import Path

import torch
from remake import FIRST, apart, remake, settings_on_tales, tales
from torch import Tensor, nn
from tqdm import tqdm

from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.study.growing import BATCH, RATE, RISING, STEPS, fit, mean_loss

RECORD = Path(__file__).parents[1] / "records" / "parts.json"
SEEDS = 3
GPT2 = {"feed_forward": "gelu", "tied": True, "start": "scaled"}
LLAMA = {"norm": "rms", "rope_base": 10_000, "feed_forward": "swiglu", "n_hidden": 341, "n_kv_head": 2, "bias": False}
PARTS: dict[str, dict] = {
    "plain": {},
    "GELU": {"feed_forward": "gelu"},
    "tied head": {"tied": True},
    "scaled start": {"start": "scaled"},
    "GPT-2": GPT2,
    "no biases": {"bias": False},
    "RMSNorm": {"norm": "rms"},
    "RoPE": {"rope_base": 10_000},
    "SwiGLU": {"feed_forward": "swiglu", "n_hidden": 341},  # two thirds of the width: as many numbers as before
    "two key heads": {"n_kv_head": 2},
    "one key head": {"n_kv_head": 1},
    "Llama": LLAMA,
    "squared ReLU": {"feed_forward": "squared-relu"},
    "QK-norm": {"qk_norm": True},
    "soft-cap 15": {"softcap": 15},
    "four experts": {"feed_forward": "experts", "n_hidden": 256},  # of half the width, of which two answer
}


class Logits(nn.Module):
    """A model as the growing model's recipe takes it: (B, T) -> (B, T, V)."""

    def __init__(self, model: ComposedGPT):
        super().__init__()
        self.model, self.block_size = model, model.config.block_size

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(ids)[0]


def run(name: str, seed: int, steps: int = STEPS) -> dict:
    train, val, vocab_size = tales()
    torch.manual_seed(seed)
    config = ComposedConfig(vocab_size, block_size=64, n_layer=2, n_head=4, n_embd=128, **PARTS[name])
    model = Logits(ComposedGPT(config))
    began = time.perf_counter()
    losses = list(itertools.islice(fit(model, train, seed), steps))
    seconds = time.perf_counter() - began
    found = {"seed": seed, "first": [round(loss, 4) for loss in losses[:FIRST]]}
    if steps < STEPS:
        return found
    return found | {
        "train_loss": round(sum(losses[-50:]) / 50, 4),
        "val_loss": round(mean_loss(model, val), 4),
        "parameters": config.n_parameters,
        "seconds": round(seconds, 1),
    }


def settings() -> dict:
    recipe = {"steps": STEPS, "batch": BATCH, "learning_rate": RATE, "warmup_steps": RISING}
    return settings_on_tales({**recipe, "parts": PARTS})


def stale() -> str | None:
    """Why the record has to be remade, or None."""
    if not RECORD.is_file():
        return "it is missing"
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if record["settings"] != settings() or list(record["runs"]) != list(PARTS):
        return "its settings, its corpus or its parts have changed"
    for name, runs in record["runs"].items():
        if [each["seed"] for each in runs] != list(range(SEEDS)):
            return f"{name!r} has another number of seeds"
        now, then = run(name, 0, FIRST)["first"], runs[0]["first"]
        if apart(now, then):
            return f"the first losses of {name!r} are {then}, now they are {now}"
    return None


def make() -> dict:
    runs: dict[str, list[dict]] = {name: [] for name in PARTS}
    for seed, name in tqdm(list(itertools.product(range(SEEDS), PARTS)), unit="run"):
        runs[name].append(run(name, seed))
    return {"settings": settings(), "runs": runs}


def main() -> int:
    return remake(__doc__, RECORD, stale, make)


if __name__ == "__main__":
    sys.exit(main())
