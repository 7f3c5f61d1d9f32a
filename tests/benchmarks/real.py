"""Tokens a second and memory of a real model: SmolLM2 in our code, in float32 and in int8, beside transformers on the same file.

    python tests/benchmarks/real.py        about three minutes on two cores; Linux only

Cached greedy generation of 64 tokens after a prompt of 45, with two threads: medians of several rounds, the three taking turns,
so that a noisy machine is noisy for all. Loading and memory are measured with each alone in a process of its own: what it holds
when it has written, and the most that it held on the way, both beyond what the same imports hold.
"""

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from speed import seconds
from transformers import AutoModelForCausalLM

from minigpt_core import generate
from minigpt_core.beyond.quantized import quantize
from minigpt_core.beyond.real import SMOLLM2, fetch, load_real

NEW, ROUNDS, THREADS = 64, 5, 2
PROMPT = (
    "The lighthouse keeper had a daughter who knew every boat by the sound of its bell. One evening, when the fog lay thick "
    "on the water and no light could be seen, she heard a bell that she did not know."
)
Writer = Callable[[list[int]], list[int]]


def ours() -> Writer:
    model, _ = load_real("smollm2")
    return lambda ids: list(generate(model, ids, NEW, temperature=0))


def int8() -> Writer:
    model = quantize(load_real("smollm2")[0])
    return lambda ids: list(generate(model, ids, NEW, temperature=0))


def theirs() -> Writer:
    path = fetch(SMOLLM2)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()

    def write(ids: list[int]) -> list[int]:
        x = torch.tensor([ids])
        return model.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=NEW, do_sample=False)[
            0, len(ids) :
        ].tolist()

    return write


SIDES: dict[str, Callable[[], Writer]] = {"float32": ours, "int8": int8, "transformers": theirs}


def rates(ids: list[int]) -> dict[str, float]:
    """Tokens a second of each side, in the text after `ids`."""
    torch.set_num_threads(THREADS)
    writers = {name: load() for name, load in SIDES.items()}
    wrote = {name: write(ids) for name, write in writers.items()}  # once before it counts
    assert wrote["float32"] == wrote["transformers"] and all(len(each) == NEW for each in wrote.values())
    times = [[seconds(lambda w=write: w(ids)) for write in writers.values()] for _ in range(ROUNDS)]
    return {name: NEW / statistics.median(of_one) for name, of_one in zip(SIDES, zip(*times, strict=True), strict=True)}


def alone(name: str, ids: list[int]) -> dict[str, float]:
    """Seconds of loading, and the megabytes that are held at last and that were at most, of one side in a new process."""
    command = [sys.executable, __file__, name, json.dumps(ids)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def measured(name: str, ids: list[int]) -> dict[str, float]:
    """What `alone` tells, of this process."""

    def held() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    torch.set_num_threads(THREADS)
    before, writers = held(), []
    loading = seconds(lambda: writers.append(SIDES[name]()))
    writers[0](ids)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"loading": loading, "held": held() - before, "most": most - before}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1], json.loads(sys.argv[2]))))
        return
    ids = load_real("smollm2")[1].encode(PROMPT)
    for name in SIDES:
        one = alone(name, ids)
        print(f"{name}: loaded in {one['loading']:.1f} s, {one['held']:.0f} MB held, {one['most']:.0f} MB at most")
    found = rates(ids)
    for name, rate in found.items():
        print(f"{name}: {rate:.1f} tokens/s, {rate / found['transformers']:.2f} of transformers'")


if __name__ == "__main__":
    main()
