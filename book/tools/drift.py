"""Remake book/records/drift.json: how rounding grows in a run, whoever adds the numbers up.

    make drift                         every way, three seeds each, about three minutes on two cores
    python book/tools/drift.py --check  is the record stale?

The recipe of chapter 08 is computed for a hundred steps in several ways. Exactly computed, all would give one curve. In float32
each adds in another order: one thread or two, a batch whole or in two groups, one process or two. The record has, for each way
and seed, how far its training loss is from that of one thread at each step; and the same in float64, where next to nothing is
rounded. `factor` is by how much a difference grows from one step to the next: the slope of its logarithm over the steps of
`GROWS`, after the first rise of the learning rate and before the losses are so far apart that they cannot part further.
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
from remake import remake, settings_on_tales, tales
from tqdm import tqdm

from minigpt_core import GPT, GPTConfig, TrainConfig, train
from minigpt_core.beyond.large import Large
from minigpt_core.beyond.many import Many, processes
from minigpt_core.training import Run

RECORD = Path(__file__).parents[1] / "records" / "drift.json"
SEEDS, STEPS = 3, 100
FIRST, NEAR = 5, 1e-3  # the first steps are run again by the check, and may differ by so many nats on another machine
GROWS = (10, 60)
LAYERS = 2
RECIPE = {"steps": 900, "warmup_steps": 50, "eval_every": 900, "checkpoint_every": 900}
WAYS: dict[str, dict[str, Any]] = {
    "one thread": {},
    "two threads": {"threads": 2},
    "two groups": {"engine": Large(micro_batch=8)},
    "two processes": {"engine": Many()},
    "two processes, sharded": {"engine": Many(shard=True)},
    "float64": {"dtype": torch.float64},
    "float64, two processes": {"dtype": torch.float64, "engine": Many()},
}


def run(name: str, seed: int, steps: int = STEPS) -> list[float]:
    """The training losses, computed in this way; of several processes all call it."""
    way = WAYS[name]
    train_ids, val_ids, vocab_size = tales()
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size, n_layer=LAYERS)).to(way.get("dtype", torch.float32))
    config = TrainConfig(**RECIPE, seed=seed, device="cpu", precision="float32")  # float64 stays float64
    before = torch.get_num_threads()
    torch.set_num_threads(way.get("threads", 1))
    try:
        found = train(model, train_ids, val_ids, config, engine=way.get("engine", Run))
        return [record.train_loss for record in itertools.islice(found, steps)]
    finally:
        torch.set_num_threads(before)


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


def factor(differences: list[list[float]]) -> float:
    """By how much they grow from one step to the next, in the mean over the seeds."""
    steps = np.arange(GROWS[0], GROWS[1] + 1)
    rows = np.array(differences)[:, steps - 1]  # (seeds, steps)
    slopes = [np.polyfit(steps[row > 0], np.log(row[row > 0]), 1)[0] for row in rows]
    return round(math.exp(np.mean(slopes)), 3)


def settings() -> dict:
    ways = {name: {key: str(value) for key, value in way.items()} for name, way in WAYS.items()}
    return settings_on_tales({"n_layer": LAYERS, **RECIPE, "computed": STEPS, "grows": list(GROWS), "ways": ways})


def stale() -> str | None:
    """Why the record has to be remade, or None."""
    if not RECORD.is_file():
        return "it is missing"
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if record["settings"] != settings():
        return "its settings, its corpus or its ways have changed"
    if {len(runs) for runs in (record["losses"], *record["differences"].values())} != {SEEDS}:
        return "it has another number of seeds"
    for name in ("one thread", "two threads", "float64"):
        now, then = run(name, 0, FIRST), record["losses"][0][:FIRST]
        if max(abs(a - b) for a, b in zip(now, then, strict=True)) > NEAR:
            return f"the first losses of {name!r} are {now}, those of one thread were {then}"
    return None


def make() -> dict:
    alone = [name for name in WAYS if not isinstance(WAYS[name].get("engine"), Many)]
    runs = list(itertools.product(alone, range(SEEDS)))
    found: dict[str, list[list[float]]] = {name: [] for name in WAYS}
    for name, seed in tqdm(runs, unit="run"):
        found[name].append(run(name, seed))
    found |= run_in_processes([name for name in WAYS if name not in alone])
    differences = {}
    for name in list(WAYS)[1:]:
        first = "float64" if name.startswith("float64,") else "one thread"
        pairs = zip(found[name], found[first], strict=True)
        differences[name] = [[float(f"{abs(a - b):.3g}") for a, b in zip(*pair, strict=True)] for pair in pairs]
    losses = [[round(loss, 4) for loss in each] for each in found["one thread"]]
    factors = {name: factor(rows) for name, rows in differences.items()}
    return {"settings": settings(), "losses": losses, "differences": differences, "factor": factors}


def main() -> int:
    if sys.argv[1:2] == ["--process"]:
        process(Path(sys.argv[2]), sys.argv[3:])
        return 0
    return remake(__doc__, RECORD, stale, make)


if __name__ == "__main__":
    sys.exit(main())
