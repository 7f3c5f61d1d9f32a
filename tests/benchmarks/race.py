"""How soon is a validation loss of 1.89 reached on Shakespeare? The fast recipe beside nanoGPT's recipe for a CPU.

    python tests/benchmarks/race.py              five seeds of the fast recipe, one of the slow one
    python tests/benchmarks/race.py --seeds 1

Loss: nats per character over the whole last tenth, in windows side by side of the model's own context, each character
predicted once. The rule was fixed before any run: both sides are evaluated after fixed steps (the fast one every 20, nanoGPT
every 250, as there), the first evaluation at 1.89 or below ends the race, and evaluating costs neither side time. nanoGPT's
model is the one of transformers' GPT-2 of that shape: 4 layers, 4 heads, 128 wide, context 64, embeddings and head tied, no
dropout; its recipe is 2,000 steps of 12 windows, AdamW with betas 0.9 and 0.99 and decay 0.1, a warm-up of 100 steps to 1e-3,
a cosine down to 1e-4, clipping at 1.
"""

import argparse
import statistics
import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from minigpt_core import CharTokenizer, TrainConfig, evaluate, get_batch, load_corpus, split_text, train
from minigpt_core.beyond.fast import FastConfig, FastGPT, fast_recipe
from minigpt_core.optimizer import learning_rate_at

GOAL = 1.89
SLOW = TrainConfig(
    steps=2000,
    batch_size=12,
    learning_rate=1e-3,
    min_learning_rate=1e-4,
    warmup_steps=100,
    betas=(0.9, 0.99),
    weight_decay=0.1,
    eval_every=250,
)


class NanoGPT(torch.nn.Module):
    """transformers' GPT-2 with the face that `evaluate` asks for."""

    def __init__(self, vocab_size: int):
        super().__init__()
        self.config = GPT2Config(
            vocab_size=vocab_size,
            n_positions=64,
            n_layer=4,
            n_head=4,
            n_embd=128,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            bos_token_id=0,
            eos_token_id=None,
        )
        self.config.block_size = 64
        self.gpt = GPT2LMHeadModel(self.config)
        self.device = torch.device("cpu")

    def forward(self, idx: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.gpt(input_ids=idx).logits, None


def slow_race(train_ids: torch.Tensor, val_ids: torch.Tensor, vocab_size: int, seed: int) -> list[tuple]:
    """Step, seconds and validation loss at each evaluation of nanoGPT's recipe, until the goal is reached."""
    torch.manual_seed(seed)
    model, config = NanoGPT(vocab_size), replace(SLOW, seed=seed)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() == n], "weight_decay": config.weight_decay * (n - 1)}
        for n in (2, 1)
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
    seconds, found = 0.0, []
    for step in range(1, config.steps + 1):
        began = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, config)
        x, y = get_batch(train_ids, 64, config.batch_size, seed=seed, step=step)
        loss = F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        seconds += time.perf_counter() - began
        if step % config.eval_every == 0:
            found.append((step, seconds, evaluate(model, val_ids)))
            if found[-1][2] <= GOAL:
                break
    return found


def fast_race(train_ids: torch.Tensor, val_ids: torch.Tensor, vocab_size: int, seed: int) -> list[tuple]:
    """The same of the fast recipe."""
    torch.manual_seed(seed)
    model, config = FastGPT(FastConfig(vocab_size, end_id=0)), fast_recipe(seed=seed, device="cpu")
    found, seconds = [], 0.0
    for record in train(model, train_ids, val_ids, config):
        seconds += config.batch_size * model.config.block_size / record.tokens_per_second
        if record.val_loss is not None:
            found.append((record.step, seconds, record.val_loss))
            if record.val_loss <= GOAL:
                break
    return found


def race(seeds: int) -> tuple[list[tuple], list[tuple]]:
    """The last evaluations, (step, seconds, loss), of the fast recipe for each seed and of nanoGPT's for one."""
    text = load_corpus("shakespeare")
    tokenizer = CharTokenizer.train(text)
    parts = [torch.tensor(tokenizer.encode(part)) for part in split_text(text, "tail")]
    fast = [fast_race(*parts, tokenizer.vocab_size, seed)[-1] for seed in range(seeds)]
    return fast, [slow_race(*parts, tokenizer.vocab_size, 0)[-1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    fast, slow = race(parser.parse_args().seeds)
    for name, ends in (("fast", fast), ("nanoGPT", slow)):
        for seed, (step, seconds, loss) in enumerate(ends):
            print(f"{name:8} seed {seed}: {loss:.3f} after {step:5,} steps and {seconds:5.1f} s")
    ours, theirs = (statistics.median(seconds for _, seconds, _ in ends) for ends in (fast, slow))
    print(f"median {ours:.1f} s against {theirs:.1f} s: {theirs / ours:.1f} times as fast")


if __name__ == "__main__":
    main()
