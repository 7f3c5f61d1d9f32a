"""Remake book/records/ladder.json, which chapter 13 reads: from a slow recipe to a fast one, one idea at a time.

    make ladder                         every run with five seeds, about half an hour on two cores (NAME=rotation for one)
    python book/tools/ladder.py --tune  on the end of the training part instead, where lengths and rates were chosen

Each run learns Shakespeare's letters until the loss on the whole last tenth is 1.89 (windows of 64 side by side, each letter
predicted once). The rule was fixed before any run: twenty evaluations at fixed steps, the first one at the goal or below ends
the race, and evaluating costs no run any time. A rung adds one idea to the one before; a trial changes one thing in the last.
"""

import argparse
import hashlib
import itertools
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from minigpt_core import GPT, CharTokenizer, TrainConfig, evaluate, load_corpus, split_text, train
from minigpt_core.attention import KVCache
from minigpt_core.fast import FastConfig, FastGPT, SquaredFeedForward, TurnedAttention, fast_recipe, turn
from minigpt_core.files import write_atomic

RECORD = Path(__file__).parents[1] / "records" / "ladder.json"
GOAL = 1.89
SEEDS = range(5)
STEPS, NEAR = 5, 1e-3  # the first steps are run again by the test, and may differ by so many nats on another machine
IDEAS = ("letters before", "quiet start", "rotation", "squares", "louder scores")
SLOW = {  # nanoGPT's recipe for a CPU, where it differs from the fast one
    "steps": 2000,
    "batch_size": 12,
    "learning_rate": 1e-3,
    "min_learning_rate": 1e-4,
    "warmup_steps": 100,
}


class LadderAttention(TurnedAttention):
    """The attention of `FastGPT` with only some of its ideas. (B, T, C) -> (B, T, C)."""

    def __init__(self, config: FastConfig, ideas: tuple[str, ...]):
        super().__init__(config)
        self.ideas = ideas

    def queries_and_keys(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        q, k = self.split_heads(self.query(x)), self.split_heads(self.key(x))  # (B, H, T, D)
        return (turn(q, start), turn(k, start)) if "rotation" in self.ideas else (q, k)


class LadderGPT(GPT):
    """A `GPT` with some of the ideas of `FastGPT`: with none it is the one, with all the other. (B, T) -> (B, T, V)."""

    def __init__(self, config: FastConfig, ideas: tuple[str, ...]):
        start = FastGPT(config).state_dict()
        super().__init__(config)
        self.ideas = ideas
        if "letters before" in ideas:
            self.before = nn.ModuleList(
                nn.Embedding(config.vocab_size + 1, config.n_embd) for _ in range(config.before)
            )
        if "rotation" in ideas:
            del self.position_embedding
        for block in self.blocks:
            block.attention = LadderAttention(config, ideas)
            if "squares" in ideas:
                block.feed_forward = SquaredFeedForward(config)
        self.apply(self._init_weights)
        if "quiet start" in ideas:
            self.load_state_dict(self.state_dict() | {name: start[name] for name in self.state_dict() if name in start})

    def forward(
        self, idx: Tensor, targets: Tensor | None = None, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        T, V = idx.shape[1], self.config.vocab_size
        x = self.token_embedding(idx)  # (B, T, C)
        if "letters before" in self.ideas:
            K = len(self.before)
            ids = F.pad(idx, (K, 0), value=V)  # (B, K + T)
            for back, embedding in enumerate(self.before, start=1):
                x = x + embedding(ids[:, K - back : K - back + T])
        if "rotation" not in self.ideas:
            x = x + self.position_embedding.weight[:T]
        if "quiet start" in self.ideas:
            x = F.layer_norm(x, x.shape[-1:])
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        logits = self.head(self.norm(x)) * (3 if "louder scores" in self.ideas else 1)  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class OneLength(LadderAttention):
    """Attention whose queries and keys have one length (Henry et al. 2020, arXiv:2010.04245). (B, T, C) -> (B, T, C)."""

    def queries_and_keys(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        q, k = self.split_heads(self.query(x)), self.split_heads(self.key(x))  # (B, H, T, D)
        return turn(F.layer_norm(q, q.shape[-1:]), start), turn(F.layer_norm(k, k.shape[-1:]), start)


def one_length(model: GPT, _: Tensor) -> None:
    for block in model.blocks:
        block.attention.__class__ = OneLength


def tie(model: GPT, _: Tensor) -> None:
    """One matrix for the embedding of the token and for the head."""
    model.head.weight = model.token_embedding.weight


def rms(model: GPT, _: Tensor) -> None:
    """Root mean square in place of LayerNorm: no mean is taken away, no bias added."""
    C = model.config.n_embd
    for block in model.blocks:
        block.norm1, block.norm2 = nn.RMSNorm(C), nn.RMSNorm(C)
    model.norm = nn.RMSNorm(C)


class BigramStart(nn.Module):
    """A model whose scores begin as those of counted pairs: a table that is added to them, and learned on."""

    def __init__(self, model: GPT, train_ids: Tensor):
        super().__init__()
        self.model, self.config, V = model, model.config, model.config.vocab_size
        pairs = torch.bincount(train_ids[:-1] * V + train_ids[1:], minlength=V * V).view(V, V)
        self.table = nn.Parameter(((pairs + 0.5) / (pairs + 0.5).sum(1, keepdim=True)).log())  # (V, V)

    @property
    def device(self) -> torch.device:
        return self.table.device

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        logits = self.model(idx)[0] + F.embedding(idx, self.table)  # (B, T, V)
        return logits, None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@dataclass(frozen=True)
class Run:
    """One recipe: which ideas, which shape, how trained, and what a trial changes in the model."""

    name: str
    ideas: tuple[str, ...] = IDEAS
    shape: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    change: Callable[[GPT, Tensor], Any] = lambda model, train_ids: None
    average: bool = False  # the weights at the end: the mean of those at every fifth step of the second half

    @property
    def config(self) -> TrainConfig:
        config = replace(fast_recipe(device="cpu"), **self.settings)
        return replace(config, eval_every=config.steps // 20, checkpoint_every=config.steps)

    def start(self, train_ids: Tensor, val_ids: Tensor, vocab_size: int, seed: int, whole: bool = False) -> tuple:
        """The model, and the records of its training as they come; a `whole` run is evaluated at its end only."""
        torch.manual_seed(seed)
        model = LadderGPT(FastConfig(vocab_size, end_id=0, **self.shape), self.ideas)
        model = self.change(model, train_ids) or model
        every = self.config.steps if whole else self.config.eval_every
        return model, train(model, train_ids, val_ids, replace(self.config, seed=seed, eval_every=every))


FOUR = {"n_layer": 4, "n_head": 4}
RUNGS = [
    Run("the slow recipe", (), FOUR, SLOW),
    Run("longer steps", (), FOUR, {"steps": 1200, "learning_rate": 4e-3, "warmup_steps": 50}),
    Run("letters before", IDEAS[:1], FOUR, {"steps": 480, "learning_rate": 4e-3, "warmup_steps": 50}),
    Run("one block for four", IDEAS[:1], {}, {"steps": 440, "warmup_steps": 50}),
    Run("quiet start", IDEAS[:2], {}, {"steps": 380}),
    Run("rotation", IDEAS[:3], {}, {"steps": 320}),
    Run("squares", IDEAS[:4], {}, {"steps": 300}),
    Run("louder scores"),
]
TRIALS = [
    Run("nothing changed"),
    *(Run(f"no {idea}", tuple(other for other in IDEAS if other != idea)) for idea in IDEAS),
    Run("one letter before", shape={"before": 1}),
    Run("two letters before", shape={"before": 2}),
    Run("five letters before", shape={"before": 5}),
    Run("two blocks", shape={"n_layer": 2}),
    Run("192 wide", shape={"n_embd": 192}),
    Run("one head", shape={"n_head": 1}),
    Run("four heads", shape={"n_head": 4}),
    Run("windows of 32", shape={"block_size": 32}, settings={"batch_size": 32}),
    Run("windows of 128", shape={"block_size": 128}, settings={"batch_size": 8}),
    Run("half the windows, twice the steps", settings={"batch_size": 8, "steps": 520}),
    Run("twice the windows, half the steps", settings={"batch_size": 32, "steps": 130}),
    Run("half the rate", settings={"learning_rate": 3e-3}),
    Run("twice the rate", settings={"learning_rate": 1.2e-2}),
    Run("no decay of weights", settings={"weight_decay": 0.0}),
    Run("bfloat16", settings={"precision": "bfloat16"}),
    Run("queries and keys of one length", change=one_length),
    Run("RMSNorm for LayerNorm", change=rms),
    Run("one matrix for embedding and head", change=tie),
    Run("a start from counted pairs", change=BigramStart),
    Run("Muon for the matrices", settings={"optimizer": "muon", "learning_rate": 1e-2}),
    Run("the mean of the last weights", average=True),
    Run("a third more steps", settings={"steps": 350}),
]


def measure(run: Run, data: tuple, seed: int, whole: bool) -> dict[str, list]:
    """Step, seconds and loss at each evaluation, up to the goal or, of a `whole` run, at the end; and the first losses."""
    model, records = run.start(*data, seed, whole)
    averaged = AveragedModel(model)
    found: dict[str, list] = {"first": [], "step": [], "seconds": [], "loss": []}
    config, seconds = run.config, 0.0
    for record in records:
        seconds += config.batch_size * model.config.block_size / record.tokens_per_second
        if record.step <= STEPS:
            found["first"].append(round(record.train_loss, 4))
        if run.average and 2 * record.step >= config.steps and record.step % 5 == 0:
            averaged.update_parameters(model)
        if (loss := record.val_loss) is not None:
            if run.average and record.step == config.steps:
                loss = evaluate(averaged.module, data[1])
            for name, value in (("step", record.step), ("seconds", round(seconds, 3)), ("loss", round(loss, 4))):
                found[name].append(value)
            if loss <= GOAL and not whole:
                break
    return found


def data_of(text: str, tune: bool) -> tuple:
    """Ids to learn from, ids held back, and how many kinds there are; to tune, the last tenth is not looked at."""
    tokenizer = CharTokenizer.train(text)
    train_text, val_text = split_text(text, "tail")
    if tune:
        train_text, val_text = split_text(train_text, "tail", fraction=0.05)
    return *(torch.tensor(tokenizer.encode(part)) for part in (train_text, val_text)), tokenizer.vocab_size


def settings_of(run: Run) -> dict:
    """All that determines a run but its seed, as JSON keeps it."""
    training_settings = {name: value for name, value in asdict(run.config).items() if name != "seed"}
    return json.loads(json.dumps({"ideas": run.ideas, "shape": run.shape, "training": training_settings}))


def stale(run: Run, record: dict, data: tuple) -> str | None:
    """Why the record of a run has to be remade, or None."""
    kept = {**record["rungs"], **record["trials"]}.get(run.name)
    if kept is None:
        return "it is missing"
    settings = kept["settings"] | {"training": _completed(kept["settings"]["training"])}
    if settings != settings_of(run):
        return "its settings have changed"
    losses = [r.train_loss for r in itertools.islice(run.start(*data, SEEDS[0])[1], STEPS)]
    first = kept["runs"][0]["first"]
    if max(abs(a - b) for a, b in zip(losses, first, strict=True)) > NEAR:
        return f"its first losses are {first}, now they are {[round(x, 4) for x in losses]}"
    return None


def _completed(settings: dict) -> dict:
    """Settings of a training run, those that came after its record with their defaults."""
    complete = json.loads(json.dumps(asdict(TrainConfig(**settings))))
    return {name: value for name, value in complete.items() if name != "seed"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [run.name for run in RUNGS + TRIALS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(known)} (default: all)")
    parser.add_argument(
        "--tune", action="store_true", help="write no record; print losses on the end of the training part"
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"there is no run {unknown[0]!r}")
    text = load_corpus("shakespeare")
    data = data_of(text, arguments.tune)
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {"rungs": {}, "trials": {}}
    record |= {"corpus_sha256": hashlib.sha256(text.encode("utf-8")).hexdigest(), "goal": GOAL}
    for kind, runs in (("rungs", RUNGS), ("trials", TRIALS)):
        for run in runs:
            if arguments.names and run.name not in arguments.names:
                continue
            seeds = tqdm(SEEDS, desc=run.name, unit="seed")
            found = [measure(run, data, seed, arguments.tune or kind == "trials") for seed in seeds]
            print(_line(run, found), flush=True)
            if not arguments.tune:
                record[kind][run.name] = {"settings": settings_of(run), "runs": found}
                record[kind] = {r.name: record[kind][r.name] for r in runs if r.name in record[kind]}
                write_atomic(RECORD, json.dumps(record, separators=(",", ":")).encode("utf-8"))
    return 0


def _line(run: Run, found: list[dict[str, list]]) -> str:
    steps, seconds, losses = ([f[name][-1] for f in found] for name in ("step", "seconds", "loss"))
    each = 1000 * statistics.median(s / n for s, n in zip(seconds, steps, strict=True))
    return (
        f"{run.name}: {min(losses):.3f} to {max(losses):.3f} after {min(steps)} to {max(steps)} steps of {each:.1f} ms, "
        f"median {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"
    )


if __name__ == "__main__":
    sys.exit(main())
