"""Remake book/records/memory.json: what training takes, predicted and measured, and what is gained where memory is short.

    make memory                         about ten minutes on two quiet cores, Linux only
    python book/tools/memory.py --check  is the record stale?

Each run is a process of its own, on one thread, with `return_freed_memory` as in `minigpt train`. Its memory is the peak of
its resident memory, less what it held after a step of a tiny model of its kind. The time of a shape is estimated as `minigpt
info` does it and then measured, in the same minute. The ways to compute one model are measured in turns. Seconds are of the
processor in the record, and may say nothing of another: some have units for bfloat16, and most have none.
"""

import json
import os
import statistics
import subprocess
import sys
from itertools import chain
from pathlib import Path

import torch
from remake import remake
from tqdm import tqdm

from minigpt_core import GPTConfig, TrainConfig
from minigpt_core.beyond.large import return_freed_memory
from minigpt_core.study.planning import steps_from_one_layer, training_memory

HERE = Path(__file__).parent
RECORD = HERE.parent / "records" / "memory.json"
RECIPE = {"steps": 2, "batch_size": 8, "warmup_steps": 0, "eval_windows": 64, "device": "cpu", "precision": "float32"}
SHAPES: dict[str, dict] = {
    "deep": {"size": {"block_size": 128, "n_layer": 8, "n_embd": 256}},
    "wide": {"size": {"n_layer": 3, "n_embd": 768}, "config": {"batch_size": 4}},
    "long window": {"size": {"block_size": 1024, "n_layer": 2}, "config": {"batch_size": 4}},
    "large batch": {"size": {"n_layer": 2}, "config": {"batch_size": 128}},
    "large vocabulary": {"size": {"vocab_size": 4000, "n_layer": 2}, "config": {"batch_size": 80}},
    "dropout": {"size": {"block_size": 128, "n_layer": 4, "n_embd": 256, "dropout": 0.1}},
    "unfused": {"size": {"block_size": 256, "n_layer": 3, "fused": False}},
    "micro batches": {"size": {"block_size": 128, "n_layer": 6, "n_embd": 256}, "large": {"micro_batch": 2}},
    "recomputed": {"size": {"block_size": 128, "n_layer": 8, "n_embd": 256}, "large": {"checkpoint_activations": True}},
    "short numbers": {"size": {"block_size": 128, "n_layer": 8, "n_embd": 256}, "config": {"precision": "bfloat16"}},
}  # fmt: skip
TIMED = ("deep", "wide", "large batch", "large vocabulary")
ROUNDS = 2
MODEL = {
    "size": {"block_size": 256, "n_layer": 6, "n_embd": 256},
    "config": {"batch_size": 16, "steps": 3, "eval_windows": 1},
}
WAYS: dict[str, dict] = {
    "plain, freed memory kept": {"returned": False},
    "plain": {},
    "4 groups": {"large": {"micro_batch": 4}},
    "16 groups": {"large": {"micro_batch": 1}},
    "checkpointed": {"large": {"checkpoint_activations": True}},
    "bfloat16": {"config": {"precision": "bfloat16"}},
    "float16": {"config": {"precision": "float16"}},
    "compiled": {"large": {"compile": True}},
}


def job(*given: dict, threads: int = 1) -> dict:
    """The whole settings of a run."""
    settings = {"size": {"vocab_size": 65}, "config": RECIPE, "large": {}, "returned": True, "threads": threads}
    for changes in given:
        for name, value in changes.items():
            settings[name] = settings[name] | value if isinstance(value, dict) else value
    return settings


def predicted(job: dict) -> int:
    """Bytes of its peak."""
    how = {name: value for name, value in job["large"].items() if name != "compile"}
    return round(training_memory(GPTConfig(**job["size"]), TrainConfig(**job["config"]), **how))


def measured(job: dict) -> dict:
    """What book/tools/one_run.py finds, in a new process."""
    environment = os.environ | {"OMP_NUM_THREADS": str(job["threads"])}
    command = [sys.executable, str(HERE / "one_run.py"), json.dumps(job)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the run of {job} failed: {done.stderr.strip()[-1000:]}")
    return json.loads(done.stdout)


def of_shape(name: str) -> dict:
    """Bytes of a shape, and of some the seconds of a step, as `minigpt info` estimates them where a model is too large to be
    timed: from one layer."""
    settings = job(SHAPES[name])
    found = {"predicted": predicted(settings), "measured": measured(settings)["bytes"]}
    if name not in TIMED:
        return found
    size, config = GPTConfig(**settings["size"]), TrainConfig(**settings["config"])
    ids = torch.arange(size.block_size * 20) % size.vocab_size
    estimated = steps_from_one_layer(size, config, ids, ids)[0]
    seconds = measured(job(SHAPES[name], {"config": {"steps": 5}}))["seconds"]
    return found | {"estimated_seconds": round(estimated, 3), "seconds": round(statistics.median(seconds[1:]), 3)}


def of_ways(progress: tqdm) -> dict[str, dict]:
    """What each way to compute one model takes. The first step, in which torch.compile works, stands apart."""
    rounds: list[dict] = []
    for _ in range(ROUNDS):
        rounds.append({})
        for name, way in WAYS.items():
            rounds[-1][name] = measured(job(MODEL, way))
            progress.update()
    return {
        name: {
            "predicted": predicted(job(MODEL, way)),
            "measured": max(each[name]["bytes"] for each in rounds),
            "first_seconds": round(min(each[name]["seconds"][0] for each in rounds), 3),
            "seconds": round(statistics.median(chain(*(each[name]["seconds"][1:] for each in rounds))), 3),
            "losses": [round(loss, 6) for loss in rounds[0][name]["losses"]],
        }
        for name, way in WAYS.items()
    }


def settings() -> dict:
    """Of all runs; the predictions stand beside what was measured."""
    runs = {name: job(shape) for name, shape in SHAPES.items()} | {name: job(MODEL, way) for name, way in WAYS.items()}
    return {"runs": runs, "timed": list(TIMED), "rounds": ROUNDS}


def stale() -> str | None:
    """Why the record has to be remade, or None."""
    if not RECORD.is_file():
        return "it is missing"
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if record["settings"] != settings():
        return "its settings have changed"
    for name, found in (record["shapes"] | record["ways"]).items():
        if found["predicted"] != (now := predicted(record["settings"]["runs"][name])):
            return f"of {name!r} it predicts {found['predicted']:,} bytes, today's formula {now:,}"
    return None


def make() -> dict:
    torch.set_num_threads(1)
    return_freed_memory()  # in this process one layer is timed
    with tqdm(total=len(SHAPES) + ROUNDS * len(WAYS), unit="run") as progress:
        shapes = {}
        for name in SHAPES:
            shapes[name] = of_shape(name)
            progress.update()
        ways = of_ways(progress)
    machine = {"processor": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}
    return {"settings": settings(), "machine": machine, "shapes": shapes, "ways": ways}


def main() -> int:
    return remake(__doc__, RECORD, stale, make)


if __name__ == "__main__":
    sys.exit(main())
