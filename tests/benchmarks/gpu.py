"""Tokens a second in training, and the share of the device's peak, for two shapes in four precisions: a table.

    python tests/benchmarks/gpu.py                 on a GPU that stands in PEAKS
    python tests/benchmarks/gpu.py --peak 71       on another one, which its maker says does 71 TFLOP/s in bfloat16
    python tests/benchmarks/gpu.py --tiny          a try of this program, on any machine, in a minute

A row is the package's own step, with its engine, on tokens drawn at random. The work of a step is counted as 6 N D, and
attention's 6 L T C a token, whose scores are computed for T / 2 positions on average; N leaves out the embeddings, which are
looked up. The peak is that of bfloat16 without sparsity, in all rows, so that a row says what is gained.
"""

import argparse
import re
import time
from dataclasses import replace

import torch

from minigpt_core import GPT, GPTConfig, TrainConfig, train
from minigpt_core.beyond.large import Large
from minigpt_core.devices import pick_device

# By words of the card's name, in TFLOP/s: what the makers' data sheets say of bfloat16, dense, on tensor cores.
PEAKS = {"H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "RTX 4090": 165, "A10": 125}
SHAPES = {
    "mini": (GPTConfig(60), 256),
    "GPT-2 small": (GPTConfig(50_304, block_size=1024, n_layer=12, n_head=12, n_embd=768), 8),
}
TINY = {"tiny": (GPTConfig(60, block_size=16, n_layer=1, n_embd=32), 4)}
WAYS = {
    "float32": ("float32", False),
    "TF32": ("float32", False),
    "bfloat16": ("bfloat16", False),
    "bfloat16, compiled": ("bfloat16", True),
}
WARM, TIMED = 10, 20  # steps


def flops_per_token(config: GPTConfig) -> int:
    """Of a forward and a backward pass.

    >>> flops_per_token(GPTConfig(50_304, block_size=1024, n_layer=12, n_head=12, n_embd=768)) / 1e9
    0.798...
    """
    looked_up = (config.vocab_size + config.block_size) * config.n_embd
    return 6 * (config.n_parameters - looked_up) + 6 * config.n_layer * config.block_size * config.n_embd


def tokens_per_second(config: GPTConfig, batch_size: int, way: str, device: str) -> float:
    precision, compiled = WAYS[way]
    torch.set_float32_matmul_precision("high" if way == "TF32" else "highest")
    ids = torch.randint(config.vocab_size, (100_000,))
    training = TrainConfig(
        steps=WARM + TIMED, warmup_steps=WARM, eval_every=10**6, eval_windows=1, batch_size=batch_size
    )
    run = train(
        GPT(config),
        ids,
        ids[: config.block_size + 1],
        replace(training, device=device, precision=precision),
        engine=Large(compile=compiled),
    )
    for record in run:
        if record.step == WARM:
            began = time.perf_counter()
        if record.step == WARM + TIMED - 1:  # the last one evaluates; the loss of each has been waited for
            return (TIMED - 1) * batch_size * config.block_size / (time.perf_counter() - began)
    raise AssertionError("the run ended early")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--peak", type=float, help="of the device in bfloat16, TFLOP/s")
    parser.add_argument("--tiny", action="store_true")
    a = parser.parse_args()
    device = pick_device(a.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    words = re.split("[ -]", name)
    peak = a.peak or next((tflops for card, tflops in PEAKS.items() if set(card.split()) <= set(words)), None)
    print(f"{name}, torch {torch.__version__}, peak {peak or 'unknown'} TFLOP/s\n")
    print(f"{'shape':<12} {'way':<19} {'batch':>5} {'tokens/s':>12} {'TFLOP/s':>8} {'of peak':>8}")
    for shape, (config, batch_size) in (TINY if a.tiny else SHAPES).items():
        for way in WAYS:
            try:
                rate = tokens_per_second(config, batch_size, way, str(device))
            except ValueError as error:
                print(f"{shape:<12} {way:<19} {error}")
                continue
            tflops = rate * flops_per_token(config) / 1e12
            share = f"{tflops / peak:8.1%}" if peak else f"{'?':>8}"
            print(f"{shape:<12} {way:<19} {batch_size:>5} {rate:>12,.0f} {tflops:>8.3g} {share}")


if __name__ == "__main__":
    main()
