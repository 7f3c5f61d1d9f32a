"""Remake book/records/ladder.json, which chapter 14 reads: from a slow recipe to a fast one, one idea at a time.

    make ladder                         every run with five seeds, about an hour on two cores (NAME="squared ReLU" for one)
    python book/tools/ladder.py --tune  on the end of the training part instead, where lengths and rates were chosen

The text is Shakespeare's, its last tenth is the test part. A run is evaluated at twenty fixed steps on the whole test part
(non-overlapping windows of 64, each letter predicted once), and that time is not counted.

    rungs      add one idea to the rung before; the first evaluation at the goal, 1.89, or below ends the run
    controls   tell what a rung owes to what; they go on to their end
    trials     change one thing in the last rung, and are evaluated at their end only

Seconds mean something only on a machine that does nothing else. So each run also has a yardstick, the milliseconds of a
fixed piece of work just before it. (The runs without one are older, and had a quiet machine.)
"""

import argparse
import hashlib
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from remake import FIRST, apart
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from minigpt_core import GPT, CharTokenizer, TrainConfig, evaluate, load_corpus, split_text, train
from minigpt_core.attention import KVCache
from minigpt_core.beyond.fast import FastConfig, FastGPT, fast_recipe
from minigpt_core.beyond.parts import GroupedAttention, SquaredReLU, rotate
from minigpt_core.files import write_atomic

RECORD = Path(__file__).parents[1] / "records" / "ladder.json"
GOAL = 1.89
SEEDS = range(5)
DISTURBED = 1.3  # how much longer than the shortest yardstick another one may be
IDEAS = ("previous-token embeddings", "zero-initialised outputs", "rotary positions", "squared ReLU", "logit scale")
SLOW = {  # the training settings of nanoGPT's recipe for a CPU, where they differ from the fast ones
    "steps": 2000,
    "batch_size": 12,
    "learning_rate": 1e-3,
    "min_learning_rate": 1e-4,
    "warmup_steps": 100,
}


class LadderGPT(GPT):
    """A `GPT` with some of the ideas of `FastGPT`: with none it is the one, with all the other. (B, T) -> (B, T, V)."""

    config: FastConfig

    def __init__(self, config: FastConfig, ideas: tuple[str, ...]):
        start = FastGPT(config).state_dict()
        super().__init__(config)
        self.ideas = ideas
        if "previous-token embeddings" in ideas:
            self.previous_embeddings = nn.ModuleList(
                nn.Embedding(config.vocab_size + 1, config.n_embd) for _ in range(config.previous_tokens)
            )
        if "rotary positions" in ideas:
            del self.position_embedding
        for block in self.blocks:
            block.attention = GroupedAttention(
                config, rope_base=config.rope_base if "rotary positions" in ideas else None
            )
            if "squared ReLU" in ideas:
                block.feed_forward = SquaredReLU(config)
        self.apply(self._init_weights)
        if "zero-initialised outputs" in ideas:
            self.load_state_dict(self.state_dict() | {name: start[name] for name in self.state_dict() if name in start})

    def forward(
        self, idx: Tensor, targets: Tensor | None = None, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        T, V = idx.shape[1], self.config.vocab_size
        x = self.token_embedding(idx)  # (B, T, C)
        if "previous-token embeddings" in self.ideas:
            K = len(self.previous_embeddings)
            ids = F.pad(idx, (K, 0), value=V)  # (B, K + T)
            for back, embedding in enumerate(self.previous_embeddings, start=1):
                x = x + embedding(ids[:, K - back : K - back + T])
        if "rotary positions" not in self.ideas:
            x = x + self.position_embedding.weight[:T]
        if "zero-initialised outputs" in self.ideas:
            x = F.layer_norm(x, x.shape[-1:])
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        logits = self.head(self.norm(x)) * (self.config.logit_scale if "logit scale" in self.ideas else 1)  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class QKNorm(GroupedAttention):
    """Attention whose queries and keys are normalised (Henry et al. 2020, arXiv:2010.04245). (B, T, C) -> (B, T, C)."""

    def queries_and_keys(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        q, k = self.split_heads(self.query(x)), self.split_heads(self.key(x))  # (B, H, T, D)
        return rotate(F.layer_norm(q, q.shape[-1:]), start), rotate(F.layer_norm(k, k.shape[-1:]), start)


def normalise_queries_and_keys(model: GPT, _: Tensor) -> None:
    for block in model.blocks:
        block.attention.__class__ = QKNorm


class TiedEmbedding(nn.Module):
    """The embedding of the token by the matrix of the head, times sqrt(C) (Vaswani et al. 2017, arXiv:1706.03762, section
    3.4). (B, T) -> (B, T, C)."""

    def __init__(self, head: nn.Linear):
        super().__init__()
        self.head = head

    def forward(self, idx: Tensor) -> Tensor:
        return F.embedding(idx, self.head.weight) * math.sqrt(self.head.in_features)


def tie(model: GPT, _: Tensor) -> None:
    """One matrix for the embedding of the token and for the head. At zero it would tell nothing of the token. The start is the
    best of three on the end of the training part: as large as the untied embedding's, a third of that, or 0.02 without
    sqrt(C)."""
    nn.init.normal_(model.head.weight, std=0.1 / math.sqrt(model.config.n_embd))
    model.token_embedding = TiedEmbedding(model.head)


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
    Run("higher learning rate", (), FOUR, {"steps": 1200, "learning_rate": 4e-3, "warmup_steps": 50}),
    Run("previous-token embeddings", IDEAS[:1], FOUR, {"steps": 480, "learning_rate": 4e-3, "warmup_steps": 50}),
    Run("one block instead of four", IDEAS[:1], {}, {"steps": 440, "warmup_steps": 50}),
    Run("zero-initialised outputs", IDEAS[:2], {}, {"steps": 380}),
    Run("rotary positions", IDEAS[:3], {}, {"steps": 320}),
    Run("squared ReLU", IDEAS[:4], {}, {"steps": 300}),
    Run("logit scale"),
]
CONTROLS = [
    Run("one plain block", (), {}, {"steps": 1200, "warmup_steps": 50}),
    Run("four blocks with previous tokens", IDEAS[:1], {"n_layer": 4}, {"steps": 440, "warmup_steps": 50}),
]
TRIALS = [
    Run("nothing changed"),
    *(Run(f"no {idea}", tuple(other for other in IDEAS if other != idea)) for idea in IDEAS),
    Run("one previous token", shape={"previous_tokens": 1}),
    Run("two previous tokens", shape={"previous_tokens": 2}),
    Run("five previous tokens", shape={"previous_tokens": 5}),
    Run("two blocks", shape={"n_layer": 2}),
    Run("width 192", shape={"n_embd": 192}),
    Run("one head", shape={"n_head": 1}),
    Run("four heads", shape={"n_head": 4}),
    Run("windows of 32", shape={"block_size": 32}, settings={"batch_size": 32}),
    Run("windows of 128", shape={"block_size": 128}, settings={"batch_size": 8}),
    Run("half the batch, twice the steps", settings={"batch_size": 8, "steps": 520}),
    Run("twice the batch, half the steps", settings={"batch_size": 32, "steps": 130}),
    Run("half the learning rate", settings={"learning_rate": 3e-3}),
    Run("twice the learning rate", settings={"learning_rate": 1.2e-2}),
    Run("no weight decay", settings={"weight_decay": 0.0}),
    Run("bfloat16", settings={"precision": "bfloat16"}),
    Run("QK-norm", change=normalise_queries_and_keys),
    Run("RMSNorm instead of LayerNorm", change=rms),
    Run("tied embedding and head", change=tie),
    Run("start from the counted bigram", change=BigramStart),
    Run("Muon for the matrices", settings={"optimizer": "muon", "learning_rate": 1e-2}),
    Run("weight averaging", average=True),
    Run("half more steps", settings={"steps": 390}),
]
SAME_STEP = (
    "nothing changed",
    "half the learning rate",
    "twice the learning rate",
    "no weight decay",
    "half more steps",
)
KINDS = {"rungs": RUNGS, "controls": CONTROLS, "trials": TRIALS}


def yardstick() -> float:
    """Milliseconds of the product of two matrices of 1024 by 1024, the median of forty: more while other programs run."""
    a, b = torch.randn(2, 1024, 1024, generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(40):
        began = time.perf_counter()
        a @ b
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def measure(run: Run, data: tuple, seed: int, kind: str) -> dict[str, Any]:
    """Step, seconds and loss at each evaluation; the first losses; and the yardstick."""
    found: dict[str, Any] = {"yardstick": round(yardstick(), 2), "first": [], "step": [], "seconds": [], "loss": []}
    model, records = run.start(*data, seed, whole=kind == "trials")
    averaged = AveragedModel(model)
    config, seconds = run.config, 0.0
    for record in records:
        seconds += config.batch_size * model.config.block_size / record.tokens_per_second
        if record.step <= FIRST:
            found["first"].append(round(record.train_loss, 4))
        if run.average and 2 * record.step >= config.steps and record.step % 5 == 0:
            averaged.update_parameters(model)
        if (loss := record.val_loss) is not None:
            if run.average and record.step == config.steps:
                loss = evaluate(averaged.module, data[1])
            for name, value in (("step", record.step), ("seconds", round(seconds, 3)), ("loss", round(loss, 4))):
                found[name].append(value)
            if loss <= GOAL and kind == "rungs":
                break
    return found


def data_of(text: str, tune: bool) -> tuple:
    """Training ids, the ids of the test part, and the vocabulary size; to tune, the end of the training part stands in for
    the test part, which is not looked at."""
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
    kept = {name: kept for kind in KINDS for name, kept in record[kind].items()}.get(run.name)
    if kept is None:
        return "it is missing"
    settings = kept["settings"] | {"training": _completed(kept["settings"]["training"])}
    if settings != settings_of(run):
        return "its settings have changed"
    losses = [r.train_loss for r in itertools.islice(run.start(*data, SEEDS[0])[1], FIRST)]
    first = kept["runs"][0]["first"]
    if apart(losses, first):
        return f"its first losses are {first}, now they are {[round(x, 4) for x in losses]}"
    return None


def disturbed(record: dict) -> list[str]:
    """The runs whose seconds are of a machine that did other things too: their yardstick is longer than the record's shortest,
    or a step takes longer than that of another run with the same computation in a step."""
    kept = {name: run for kind in KINDS for name, run in record[kind].items()}
    yardsticks = {name: [r["yardstick"] for r in run["runs"] if "yardstick" in r] for name, run in kept.items()}
    shortest = min((y for found in yardsticks.values() for y in found), default=0)
    paces = {
        name: max(r["seconds"][-1] / r["step"][-1] for r in kept[name]["runs"]) for name in SAME_STEP if name in kept
    }
    quickest = min(paces.values(), default=0)
    return [
        name
        for name, found in yardsticks.items()
        if (found and max(found) > DISTURBED * shortest) or paces.get(name, 0) > DISTURBED * quickest
    ]


def _completed(settings: dict) -> dict:
    """Settings of a training run, those that came after its record with their defaults."""
    complete = json.loads(json.dumps(asdict(TrainConfig(**settings))))
    return {name: value for name, value in complete.items() if name != "seed"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [run.name for runs in KINDS.values() for run in runs]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(known)} (default: all)")
    parser.add_argument(
        "--tune",
        action="store_true",
        help="write no record; print the loss on the end of the training part, at the end of each run",
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"there is no run {unknown[0]!r}")
    text = load_corpus("shakespeare")
    data = data_of(text, arguments.tune)
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {kind: {} for kind in KINDS}
    record |= {"corpus_sha256": hashlib.sha256(text.encode("utf-8")).hexdigest(), "goal": GOAL}
    for kind, runs in KINDS.items():
        for run in runs:
            if arguments.names and run.name not in arguments.names:
                continue
            seeds = tqdm(SEEDS, desc=run.name, unit="seed")
            found = [measure(run, data, seed, "trials" if arguments.tune else kind) for seed in seeds]
            print(_line(run, found), flush=True)
            if not arguments.tune:
                record[kind][run.name] = {"settings": settings_of(run), "runs": found}
                record[kind] = {r.name: record[kind][r.name] for r in runs if r.name in record[kind]}
                write_atomic(RECORD, json.dumps(record, separators=(",", ":")).encode("utf-8"))
    if names := disturbed(record):
        print(f"other programs ran beside {', '.join(names)}: run these again when the machine does nothing else")
    return 0


def _line(run: Run, found: list[dict[str, Any]]) -> str:
    steps, seconds, losses = ([f[name][-1] for f in found] for name in ("step", "seconds", "loss"))
    each = 1000 * statistics.median(s / n for s, n in zip(seconds, steps, strict=True))
    return (
        f"{run.name}: {min(losses):.3f} to {max(losses):.3f} after {min(steps)} to {max(steps)} steps of {each:.1f} ms, "
        f"median {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f}), "
        f"yardsticks {min(f['yardstick'] for f in found):.1f} to {max(f['yardstick'] for f in found):.1f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
