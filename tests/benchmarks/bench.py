"""All that the book claims of its speed, in one run on this machine: a table and a figure in _build/bench.

    make bench          about six minutes on two cores

Ratios are of the two sides in the same run, taking turns where that is possible; the targets are those that the book set
itself. What is measured:

- race.py's seconds to a validation loss of 1.89 on Shakespeare, five seeds against one run of nanoGPT's recipe;
- the loss on Alice's last tenth after as many seconds as the article's recipe takes for its thousand steps;
- training of the chapters' model as a share of the rate at which this machine multiplies matrices of 1024 x 1024:
  6 operations a token for each weight of a linear layer, and 12 C T a token and layer for attention, both halves of it;
- speed.py's tokens a second in writing, and real.py's of SmolLM2, where that can be had;
- characters a second of both tokenizers on a megabyte of text, the BPE one against SentencePiece called directly;
- the time to import the package beyond torch's own, and that of `minigpt --help`.
"""

import statistics
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import race
import real
import speed
import torch
from speed import ROUNDS, seconds

from minigpt_core import GPT, BPETokenizer, CharTokenizer, GPTConfig, TrainConfig, load_corpus, split_text, train
from minigpt_core.beyond.fast import FastConfig, fast_recipe
from minigpt_core.beyond.real import load_real
from minigpt_core.notebook import viz
from minigpt_core.registry import build

FOLDER = Path(__file__).parents[2] / "_build" / "bench"


@dataclass(frozen=True)
class Row:
    """A line of the table; `reached` is the achieved value over the target, above 1 where the target is met."""

    what: str
    measured: str
    target: str
    reached: float


def shakespeare() -> list[Row]:
    fast, slow = race.race(5)
    times = sorted(seconds for _, seconds, _ in fast)
    ratio = slow[0][1] / statistics.median(times)
    measured = (
        f"{statistics.median(times):.1f} s ({times[0]:.1f} to {times[-1]:.1f}), nanoGPT's recipe {slow[0][1]:.1f} s"
    )
    return [Row("seconds to 1.89 on Shakespeare", measured, "a twentieth", ratio / 20)]


def alice() -> list[Row]:
    text = load_corpus("alice")
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in split_text(text, "tail"))

    def run(shape: GPTConfig, config: TrainConfig) -> tuple[float, float]:
        """Seconds of training without evaluation, and the loss at the end."""
        torch.manual_seed(0)
        config = replace(config, device="cpu", eval_every=config.steps, checkpoint_every=config.steps)
        records = list(train(build(shape), train_ids, val_ids, config))
        tokens = config.batch_size * shape.block_size
        return sum(tokens / record.tokens_per_second for record in records), records[-1].val_loss

    allowed, theirs = run(GPTConfig.article(tokenizer.vocab_size), TrainConfig.article())
    shape = FastConfig(tokenizer.vocab_size, block_size=128, n_layer=2, dropout=0.1)
    recipe = fast_recipe(batch_size=8, learning_rate=5e-3, warmup_steps=20)
    pace = run(shape, replace(recipe, steps=60))[0] / 60
    spent, ours = run(shape, replace(recipe, steps=int(allowed / pace)))
    measured = f"{ours:.3f} in {spent:.0f} s, the article's recipe {theirs:.3f} in {allowed:.0f} s"
    return [Row("loss on Alice in the article's seconds", measured, "1.40", 1.40 / ours)]


def matrix_rate(n: int = 1024) -> float:
    """Floating-point operations a second in products of n x n matrices."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    return 2 * n**3 / statistics.median([seconds(lambda: a @ b) for _ in range(20)][5:])


def training() -> list[Row]:
    config = GPTConfig(vocab_size=73)
    weights = sum(m.weight.numel() for m in GPT(config).modules() if isinstance(m, torch.nn.Linear))
    a_token = 6 * weights + 12 * config.n_layer * config.n_embd * config.block_size
    (ours, theirs), rate = speed.training_rates(), matrix_rate()
    measured = (
        f"{ours * a_token / rate:.2f} of {rate / 1e9:.0f} GFLOP/s ({ours:,.0f} tokens/s), "
        f"transformers {theirs * a_token / rate:.2f}"
    )
    return [Row("training, share of the matrix rate", measured, "0.6", ours * a_token / rate / 0.6)]


def writing() -> list[Row]:
    rows = []
    for new, repeats, target in ((60, 5, 5), (500, 1, 3)):
        ours, theirs = speed.generation_rates(new, repeats)
        measured = f"{ours:,.0f} tokens/s, transformers {theirs:,.0f}: {ours / theirs:.1f} times"
        rows.append(Row(f"writing {new} tokens, every knob on", measured, f"{target} times", ours / theirs / target))
    return rows


def real_writing() -> list[Row]:
    try:
        ids = load_real("smollm2")[1].encode(real.PROMPT)
    except ValueError as error:
        print(f"SmolLM2 is NOT measured: {error}")
        return []
    found = real.rates(ids)
    measured = ", ".join(f"{name} {rate:.1f}" for name, rate in found.items()) + " tokens/s"
    ratio = found["float32"] / found["transformers"]
    return [Row(f"SmolLM2 writes {real.NEW} tokens", measured, "as fast as transformers", ratio)]


def encoding() -> list[Row]:
    text = load_corpus("shakespeare")[:1_000_000]
    letters, pieces = CharTokenizer.train(text), BPETokenizer.train(text, vocab_size=500)
    times = [
        [seconds(lambda work=work: work(text)) for work in (letters.encode, pieces.encode, pieces.processor.encode)]
        for _ in range(ROUNDS)
    ]
    letter, piece, bare = (statistics.median(column) for column in zip(*times, strict=True))
    return [
        Row("letters encoded", f"{len(text) / letter / 1e6:.0f} MB/s", "20 MB/s", len(text) / letter / 20e6),
        Row("pieces encoded", f"{bare / piece:.0%} of SentencePiece's own rate", "90%", bare / piece / 0.9),
    ]


def starting() -> list[Row]:
    def of(*arguments: str) -> float:
        command = [sys.executable, *arguments]
        return statistics.median(
            seconds(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)) for _ in range(7)
        )

    of("-c", "import minigpt_core.model")  # once, so that all is in the file cache
    more = 1000 * (of("-c", "import minigpt_core; minigpt_core.GPT") - of("-c", "import torch"))
    help_text = of("-m", "minigpt_core", "--help")
    return [
        Row("import beyond torch's own", f"{more:.0f} ms", "50 ms", 50 / max(more, 1)),
        Row("minigpt --help", f"{help_text:.2f} s", "0.2 s", 0.2 / help_text),
    ]


def main() -> None:
    torch.manual_seed(0)
    rows: list[Row] = []
    for part in (starting, encoding, writing, real_writing, training, alice, shakespeare):
        for row in part():
            rows.append(row)
            print(f"{row.what}: {row.measured}; target {row.target}, reached {row.reached:.2f}", flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = [f"| {row.what} | {row.measured} | {row.target} |" for row in rows]
    table = "\n".join(["| what | measured | target |", "|---|---|---|", *lines]) + "\n"
    (FOLDER / "bench.md").write_text(table, encoding="utf-8")
    figure = viz.bars(
        {row.what: row.reached for row in rows}, title="What was reached", xlabel="times the target (1: just reached)"
    )
    figure.savefig(FOLDER / "bench.png", facecolor="white")
    print(f"written: {FOLDER / 'bench.md'} and bench.png")


if __name__ == "__main__":
    main()
