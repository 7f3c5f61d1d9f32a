"""One training run in a process of its own, for book/tools/memory.py: its settings as JSON in the one argument; printed, as
JSON too, are its peak memory in bytes, the seconds of each step and its losses. Linux only.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from minigpt_core import GPT, GPTConfig, TrainConfig, train
from minigpt_core.beyond.large import Large, return_freed_memory
from minigpt_core.training import Run


def memory(name: str) -> int:
    """Bytes: VmRSS are resident now, VmHWM were at most."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def measure(job: dict) -> dict:
    torch.set_num_threads(job["threads"])
    if job["returned"]:
        return_freed_memory()
    size, config = GPTConfig(**job["size"]), TrainConfig(**job["config"])
    large = Large(**job["large"])
    engine = Run if large == Large() and config.precision != "float16" else large
    tiny = replace(size, n_layer=1, n_embd=4 * size.n_head, block_size=8)
    ids = torch.arange(size.block_size * 64 + 1) % size.vocab_size
    for _ in train(GPT(tiny), ids, ids[:100], replace(config, steps=1, batch_size=1), engine=engine):
        pass
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before = memory("VmRSS")
    torch.manual_seed(0)
    run = train(GPT(size), ids, ids, config, engine=engine)
    records = list(run)
    tokens = config.batch_size * size.block_size
    return {
        "bytes": memory("VmHWM") - before,
        "seconds": [tokens / record.tokens_per_second for record in records],
        "losses": [record.train_loss for record in records],
    }


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
