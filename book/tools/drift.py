"""Remake book/records/drift.json: how rounding grows in a run, whoever adds the numbers up.

    make drift                         every way, three seeds each, about five minutes on two cores
    python book/tools/drift.py --check  is the record stale?

The recipe of chapter 08 is computed for a hundred steps in several ways. Computed exactly, all would give one curve. In float32
each adds in another order: one thread or two, a batch whole or in two groups, one process or two. The record has, for each way
and seed, how far its training loss is from that of the way that it stands beside, at each step.

Why the difference grows is in it too. The ReLU is a switch: a hidden unit whose input is next to zero may be on in one run and
off in the other, and then the two take steps that differ by much more than rounding. `switched` counts these units at each step,
in one thread and in two groups side by side, `weights` is the largest difference between their weights before it, and `factor` by
how much that grows from one step to the next, in the `RISE` steps after the first switch. With GELU, which is no switch, nor in
float64, where no unit is that close to zero, nothing of the kind happens.
"""

import itertools
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from remake import FIRST, apart, remake, settings_on_tales, tales
from torch import Tensor
from tqdm import tqdm

from minigpt_core import GPT, GPTConfig, TrainConfig, get_batch, train
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.large import Large
from minigpt_core.beyond.many import Many, processes
from minigpt_core.training import Run

RECORD = Path(__file__).parents[1] / "records" / "drift.json"
SEEDS, STEPS = 3, 100
RISE = 20
LAYERS = 2
RECIPE = {"steps": 900, "warmup_steps": 50, "eval_every": 900, "checkpoint_every": 900}
GROUPS = Large(micro_batch=8)
WAYS: dict[str, dict[str, Any]] = {
    "one thread": {},
    "two threads": {"threads": 2, "beside": "one thread"},
    "two groups": {"engine": GROUPS, "beside": "one thread"},
    "two processes": {"engine": Many(), "beside": "one thread"},
    "two processes, sharded": {"engine": Many(shard=True), "beside": "one thread"},
    "float64": {"dtype": torch.float64, "beside": "one thread"},
    "float64, two processes": {"dtype": torch.float64, "engine": Many(), "beside": "float64"},
    "GELU": {"gelu": True},
    "GELU, two threads": {"gelu": True, "threads": 2, "beside": "GELU"},
    "GELU, two processes": {"gelu": True, "engine": Many(), "beside": "GELU"},
}


def begun(seed: int, gelu: bool = False, dtype: torch.dtype = torch.float32, engine: Any = Run) -> Run:
    """The run, before its first step. float64 stays float64."""
    train_ids, val_ids, vocab_size = tales()
    torch.manual_seed(seed)
    if gelu:
        model: GPT = ComposedGPT(ComposedConfig(vocab_size, n_layer=LAYERS, feed_forward="gelu"))
    else:
        model = GPT(GPTConfig(vocab_size, n_layer=LAYERS))
    config = TrainConfig(**RECIPE, seed=seed, device="cpu", precision="float32")
    return train(model.to(dtype), train_ids, val_ids, config, engine=engine)


def run(name: str, seed: int, steps: int = STEPS) -> list[float]:
    """The training losses, computed in this way; of several processes all call it."""
    way = WAYS[name]
    before = torch.get_num_threads()
    torch.set_num_threads(way.get("threads", 1))
    try:
        settings = {key: way[key] for key in ("gelu", "dtype", "engine") if key in way}
        return [record.train_loss for record in itertools.islice(begun(seed, **settings), steps)]
    finally:
        torch.set_num_threads(before)


def side_by_side(seed: int) -> dict[str, list[float]]:
    """One thread and two groups, before each step: how many hidden units the batch switches otherwise, and the weights."""
    ids = tales()[0]
    runs = begun(seed), begun(seed, engine=GROUPS)
    loops = [iter(run) for run in runs]
    found: dict[str, list[float]] = {"switched": [], "weights": []}
    for step in range(1, STEPS + 1):
        x, _ = get_batch(ids, runs[0].model.config.block_size, runs[0].config.batch_size, seed=seed, step=step)
        first, second = (switches(run.model, x) for run in runs)
        found["switched"].append(int((first != second).sum()))
        pairs = zip(*(run.model.parameters() for run in runs), strict=True)
        found["weights"].append(float(f"{max((p - q).abs().max().item() for p, q in pairs):.3g}"))
        for loop in loops:
            next(loop)
    return found


def switches(model: GPT, x: Tensor) -> Tensor:
    """Which hidden units are on, for a batch x (B, T): (n_layer, B, T, 4 C)."""
    seen: list[Tensor] = []
    hooks = [b.feed_forward.widen.register_forward_hook(lambda _, __, h: seen.append(h > 0)) for b in model.blocks]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return torch.stack(seen)


def run_in_processes(names: list[str]) -> dict[str, list[list[float]]]:
    """The losses of these ways, seed by seed, from two processes that run this file."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "losses.json"
        subprocess.run([*torchrun, __file__, "--process", str(path), *names], check=True)
        return json.loads(path.read_text(encoding="utf-8"))


def process(path: Path, names: list[str]) -> None:
    with processes() as rank:
        losses = {name: [run(name, seed) for seed in range(SEEDS)] for name in names}
        if rank == 0:
            path.write_text(json.dumps(losses), encoding="utf-8")


def factor(switched: list[float], weights: list[float]) -> float:
    """By how much the difference between the weights grows from one step to the next, once a unit has switched."""
    first = next(step for step, units in enumerate(switched) if units)
    slope = np.polyfit(np.arange(RISE), np.log(weights[first : first + RISE]), 1)[0]
    return round(math.exp(slope), 2)


def settings() -> dict:
    ways = {name: {key: str(value) for key, value in way.items()} for name, way in WAYS.items()}
    return settings_on_tales({"n_layer": LAYERS, **RECIPE, "computed": STEPS, "rise": RISE, "ways": ways})


def stale() -> str | None:
    """Why the record has to be remade, or None."""
    if not RECORD.is_file():
        return "it is missing"
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if record["settings"] != settings():
        return "its settings, its corpus or its ways have changed"
    if {len(runs) for runs in (*record["losses"].values(), *record["differences"].values())} != {SEEDS}:
        return "it has another number of seeds"
    for name, runs in record["losses"].items():
        now, then = run(name, 0, FIRST), runs[0][:FIRST]
        if apart(now, then):
            return f"the first losses of {name!r} are {then}, now they are {now}"
    return None


def make() -> dict:
    alone = [name for name in WAYS if not isinstance(WAYS[name].get("engine"), Many)]
    found: dict[str, list[list[float]]] = {name: [] for name in WAYS}
    for name, seed in tqdm(list(itertools.product(alone, range(SEEDS))), unit="run"):
        found[name].append(run(name, seed))
    found |= run_in_processes([name for name in WAYS if name not in alone])
    losses, differences = {}, {}
    for name, way in WAYS.items():
        if "beside" not in way:
            losses[name] = [[round(loss, 4) for loss in each] for each in found[name]]
            continue
        pairs = zip(found[name], found[way["beside"]], strict=True)
        differences[name] = [[float(f"{abs(a - b):.3g}") for a, b in zip(*pair, strict=True)] for pair in pairs]
    torch.set_num_threads(1)
    watched = [side_by_side(seed) for seed in range(SEEDS)]
    kept = {name: [each[name] for each in watched] for name in ("switched", "weights")}
    factors = [factor(each["switched"], each["weights"]) for each in watched]
    return {"settings": settings(), "losses": losses, "differences": differences, **kept, "factor": factors}


def main() -> int:
    if sys.argv[1:2] == ["--process"]:
        process(Path(sys.argv[2]), sys.argv[3:])
        return 0
    return remake(__doc__, RECORD, stale, make)


if __name__ == "__main__":
    sys.exit(main())
