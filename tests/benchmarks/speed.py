"""Tokens a second in training and in generation, beside a transformers GPT-2 of the same shape, in one run.

    python tests/benchmarks/speed.py

Medians of several rounds, the two sides taking turns, so that a noisy machine is noisy for both.
"""

import statistics
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from minigpt_core import GPT, GPTConfig, generate, get_batch

ROUNDS = 5
KNOBS = dict(temperature=0.8, top_k=40, top_p=0.95, min_p=0.01, frequency_penalty=0.1, presence_penalty=0.1)


def seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def transformers_model(config: GPTConfig, positions: int) -> GPT2LMHeadModel:
    """A GPT-2 of the same shape; with more positions than ours where it has to write on without a sliding window."""
    shape = dict(n_layer=config.n_layer, n_head=config.n_head, n_embd=config.n_embd, vocab_size=config.vocab_size)
    dropout = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    settings = GPT2Config(
        n_positions=positions, activation_function="relu", bos_token_id=0, eos_token_id=None, **shape, **dropout
    )
    return GPT2LMHeadModel(settings)


def training_rates() -> tuple[float, float]:
    """Tokens a second of ours and of theirs, in steps of 16 windows of 64."""
    config = GPTConfig(vocab_size=73)
    ids = torch.randint(73, (100_000,))
    models = GPT(config), transformers_model(config, config.block_size)
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-3, fused=True) for m in models]

    def steps(which: int) -> None:
        for step in range(10):
            x, y = get_batch(ids, config.block_size, 16, seed=0, step=step)
            loss = models[0](x, y)[1] if which == 0 else models[1](input_ids=x, labels=x).loss
            optimizers[which].zero_grad()
            loss.backward()
            optimizers[which].step()

    times = [[seconds(lambda w=w: steps(w)) for w in (0, 1)] for _ in range(ROUNDS + 1)][1:]
    return rates(10 * 16 * config.block_size, times)


def generation_rates(new: int, repeats: int) -> tuple[float, float]:
    """Tokens a second of ours and of theirs: `new` tokens after a prompt of three, with every knob on, on both sides."""
    config = GPTConfig(vocab_size=73)
    ours, theirs = GPT(config).eval(), transformers_model(config, 512).eval()
    prompt = torch.tensor([[1, 2, 3]])
    knobs = dict(do_sample=True, temperature=0.8, top_k=40, top_p=0.95, min_p=0.01, repetition_penalty=1.1)

    def write_ours() -> None:
        list(generate(ours, [1, 2, 3], new, **KNOBS))

    def write_theirs() -> None:
        theirs.generate(prompt, max_new_tokens=new, min_new_tokens=new, pad_token_id=0, **knobs)

    times = [[sum(seconds(w) for _ in range(repeats)) for w in (write_ours, write_theirs)] for _ in range(ROUNDS + 1)]
    return rates(new * repeats, times[1:])


def rates(tokens: int, times: list[list[float]]) -> tuple[float, float]:
    """The medians of both sides' times, as tokens a second."""
    ours, theirs = (tokens / statistics.median(column) for column in zip(*times, strict=True))
    return ours, theirs


def main() -> None:
    torch.manual_seed(0)
    print(
        f"{GPT(GPTConfig(73)).n_parameters:,} parameters, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for name, (ours, theirs) in (
        ("training, batch of 16 x 64", training_rates()),
        ("generation of 60 tokens, every knob on", generation_rates(60, 5)),
        ("generation of 500 tokens, every knob on", generation_rates(500, 1)),
    ):
        print(f"{name}: {ours:,.0f} tokens/s, transformers {theirs:,.0f}, ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
