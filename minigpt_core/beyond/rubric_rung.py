"""The rubric of the project "rung": an idea on top of the fast recipe of chapter 14, with five seeds, beside the recipe without it.

An entry is a .json file with changed settings, {"model": {"n_embd": 96}, "training": {"learning_rate": 0.004}}, or a .py file
that defines `model(vocab_size, train_ids)`, which gives a model, and where it likes a dict `training`. The budget is that of
the fast recipe: the same tokens, read from the same text, and hardly more seconds. Both are trained by turns, seed by seed.

The text is split as in chapter 14, and its last tenth is the test part, for the final measurement alone. To choose settings,
`tune` measures on the end of the training part. What is measured is kept seed by seed, so that it may be interrupted.
"""

import hashlib
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..config import TrainConfig
from ..data import split_text
from ..files import write_atomic
from ..model import GPT, evaluating
from ..study.apart import load, read_source, told
from ..study.projects import Criterion, Result, check_name, now
from ..tokenizer import CharTokenizer
from ..training import train
from .fast import FastConfig, FastGPT, fast_recipe

SEEDS = range(5)
SLOWER = 1.2  # times the seconds of the fast recipe
ERRORS = 2  # standard errors that a gain must be more than
GIVEN = ("vocab_size", "end_id")  # of the model, by the text
FIXED = ("seed", "device", "eval_every", "eval_windows", "checkpoint_every")  # of the training, by the rules
SEEN = 1e-4  # of a logit: as much may rounding move what stands before a changed letter


@dataclass(frozen=True)
class Rung:
    """A recipe: how its model is made, how it is trained, and a number that only this recipe has."""

    make: Callable[[int, Tensor], GPT]
    config: TrainConfig
    digest: str


@dataclass(frozen=True)
class Text:
    """What all runs read: both parts as ids, how many kinds of letter, and a number that only this text has."""

    train_ids: Tensor
    val_ids: Tensor
    vocab_size: int
    digest: str


def parts_of(text: str, tune: bool = False) -> Text:
    """The parts of a text by the rules of chapter 14; to `tune`, the end of the training part stands in for the test part.

    >>> parts_of("abcdefghij" * 100).vocab_size
    11
    """
    tokenizer = CharTokenizer.train(text)
    learned, held = split_text(text, "tail")
    if tune:
        learned, held = split_text(learned, "tail", fraction=0.05)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in (learned, held))
    return Text(train_ids, val_ids, tokenizer.vocab_size, _digest(text + str(tune)))


def plain() -> Rung:
    """The fast recipe, without any change."""
    return _rung({}, {}, "")


def read(path: str | Path) -> Rung:
    """The recipe in a .json or a .py file. What breaks a rule is a `ValueError` of one sentence.

    >>> read("rung.json").config.steps                                                  # doctest: +SKIP
    260
    """
    path = Path(path)
    try:
        if path.suffix == ".py":
            return _from_python(path)
        text = path.read_text(encoding="utf-8")
        found = json.loads(text)
        if not isinstance(found, dict) or not found or found.keys() - {"model", "training"}:
            raise ValueError('it must be {"model": {...}, "training": {...}}, or one of the two')
        model, training = (found.get(name, {}) for name in ("model", "training"))
        if not isinstance(model, dict) or not isinstance(training, dict):
            raise ValueError("its model and its training must hold settings under their names")
        return _rung(model, training, json.dumps(found, sort_keys=True))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8: save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON, line {error.lineno}: {error.msg}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        said = str(error)
        raise ValueError(said if said.startswith(str(path)) else f"{path} is no rung: {said}") from None


def _from_python(path: Path) -> Rung:
    source = read_source(path)
    try:
        module = load(path)
    except Exception as error:  # whatever a reader's file can raise
        raise ValueError(f"{path} cannot be run: {told(error, path)}") from None
    if not callable(getattr(module, "model", None)):
        raise ValueError("it defines no function model")
    training = getattr(module, "training", {})
    if not isinstance(training, dict):
        raise ValueError("its training must be a dict of settings")

    def make(vocab_size: int, train_ids: Tensor) -> GPT:
        try:
            model: GPT = module.model(vocab_size, train_ids)
            _ = model.config.block_size
            return model
        except Exception as error:  # whatever a reader's file can raise
            raise ValueError(f"{path}: model(vocab_size, train_ids) failed: {told(error, path)}") from None

    return replace(_rung({}, training, source), make=make)


def _rung(model: dict[str, Any], training: dict[str, Any], text: str) -> Rung:
    for what, given, kind, kept in (
        ("model", model, FastConfig, GIVEN),
        ("training", training, TrainConfig, FIXED),
    ):
        known = {each.name for each in fields(kind)} - set(kept)
        for name in given:
            if name in kept:
                raise ValueError(f"{name} is given by the rules, and no setting of a rung: leave it out")
            if name not in known:
                paths = ", ".join(f"{what}.{each}" for each in sorted(known))  # so they are not taken for options
                raise ValueError(f"{str(name)[:30]!r} is no setting of its {what}: take {paths}")
    config = fast_recipe(device="cpu", **training)
    config = replace(config, eval_every=config.steps, checkpoint_every=config.steps)
    FastConfig(11, end_id=0, **model)  # what cannot be is told before anything is trained
    digest = _digest(json.dumps([text, asdict(config)], sort_keys=True))
    return Rung(lambda V, train_ids: FastGPT(FastConfig(V, end_id=0, **model)), config, digest)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def measure(rung: Rung, text: Text, seed: int, told: Callable[[], object]) -> dict[str, Any]:
    """One run: its loss on the held-out part, its seconds of training, its tokens, and whether a letter that comes later moves
    what was said before. `told` is called after each step."""
    torch.manual_seed(seed)
    model = rung.make(text.vocab_size, text.train_ids)
    config = replace(rung.config, seed=seed)
    tokens = config.steps * config.batch_size * model.config.block_size
    if tokens > budget():
        raise ValueError(
            f"the rung reads {tokens:,} tokens, and may read {budget():,}: fewer steps, or a smaller batch"
        )
    records = []
    for record in train(model, text.train_ids, text.val_ids, config):
        records.append(record)
        told()
    seconds = sum(config.batch_size * model.config.block_size / record.tokens_per_second for record in records)
    return {
        "seed": seed,
        "loss": round(records[-1].val_loss or 0.0, 5),
        "seconds": round(seconds, 3),
        "tokens": tokens,
        "sees the future": sees_the_future(model, text.train_ids),
    }


def budget() -> int:
    """Tokens that the fast recipe reads.

    >>> budget()
    266240
    """
    recipe = fast_recipe()
    return recipe.steps * recipe.batch_size * FastConfig(1).block_size


@torch.no_grad()
def sees_the_future(model: GPT, ids: Tensor) -> bool:
    """Whether another last letter moves the logits of the places before it. A model is asked after its training, since one
    that begins at zero says nothing at first."""
    window = ids[: min(model.config.block_size, len(ids))][None].clone()  # (1, T)
    with evaluating(model):
        before = model(window)[0][:, :-1]
        window[0, -1] = (window[0, -1] + 1) % model.config.vocab_size
        return bool((model(window)[0][:, :-1] - before).abs().max() > SEEN)


def runs(rung: Rung, text: Text, kept: Path | None = None) -> tuple[list[list[dict[str, Any]]], int]:
    """All runs of the fast recipe and of the rung, by turns, and how many recipes were measured on this text. With a file
    `kept`, what stands there already is not run again, and each run is written there as soon as it is done."""
    rows, base = _kept(kept), plain()
    asked = [(which, seed) for seed in SEEDS for which in (base, rung)]
    done = {(row["recipe"], row["seed"]): row for row in rows if row["text"] == text.digest}
    missing = [(which, seed) for which, seed in asked if (which.digest, seed) not in done]
    with tqdm(total=sum(which.config.steps for which, _ in missing), unit="step", desc="ten runs") as bar:
        for which, seed in missing:
            bar.set_postfix(seed=seed, refresh=False)
            row = {"recipe": which.digest, "text": text.digest} | measure(which, text, seed, bar.update)
            done[which.digest, seed] = row
            rows.append(row)
            if kept is not None:
                write_atomic(kept, "".join(json.dumps(each) + "\n" for each in rows).encode("utf-8"))
    found = [[done[which.digest, seed] for seed in SEEDS] for which in (base, rung)]
    return found, len({recipe for recipe, _ in done} - {base.digest})


def _kept(path: Path | None) -> list[dict[str, Any]]:
    """The runs that a file holds; a damaged line is a run that has to be done again."""
    if path is None or not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            if {"recipe", "text", "seed", "loss", "seconds", "tokens", "sees the future"} <= row.keys():
                rows.append(row)
        except (json.JSONDecodeError, AttributeError):
            continue
    return rows


def gain_of(found: list[list[dict[str, Any]]]) -> tuple[float, float]:
    """The mean of how much lower the rung ends, seed by seed, and its standard error.

    >>> gain_of([[{"loss": 2.0}, {"loss": 2.2}], [{"loss": 1.9}, {"loss": 2.0}]])
    (0.15, 0.05)
    """
    gains = [a["loss"] - b["loss"] for a, b in zip(*found, strict=True)]
    return round(statistics.mean(gains), 5), round(statistics.stdev(gains) / len(gains) ** 0.5, 5)


def judge(path: str | Path, text: str, name: str, kept: Path | None = None, *, tune: bool = False) -> Result:
    """Measure the rung in a file with five seeds beside the fast recipe. What breaks a rule is a `ValueError`.

    >>> judge("rung.json", load_corpus("shakespeare"), "Ada").met                       # doctest: +SKIP
    True
    """
    name, rung, parts = check_name(name), read(path), parts_of(text, tune)
    rows, recipes = runs(rung, parts, kept)
    base, own = rows
    (gain, error), allowed = gain_of(rows), budget()
    slower = statistics.median(b["seconds"] / a["seconds"] for a, b in zip(base, own, strict=True))
    tokens = max(row["tokens"] for row in own)
    seeing = any(row["sees the future"] for row in own)
    criteria = (
        Criterion("seeds", len(own), f"{len(SEEDS)}", len(own) == len(SEEDS)),
        Criterion("tokens learned from", tokens, f"at most {allowed:,}", tokens <= allowed),
        Criterion("seconds, beside the fast recipe's", round(slower, 3), f"at most {SLOWER}", slower <= SLOWER),
        Criterion("a later letter moves an earlier answer", "yes" if seeing else "no", "no", not seeing),
        Criterion("recipes measured on this test part", recipes, "1", recipes == 1)
        if not tune
        else Criterion("measured on the test part", "no, to tune", "yes", False),
        Criterion(
            f"mean gain, beside {ERRORS} standard errors", gain, f"above {ERRORS * error:.4f}", gain > ERRORS * error
        ),
    )
    figures = {
        "loss of the fast recipe": [row["loss"] for row in base],
        "loss of the rung": [row["loss"] for row in own],
        "standard error": error,
        "seeds that gain": sum(b["loss"] < a["loss"] for a, b in zip(base, own, strict=True)),
        "text": parts.digest,
    }
    return Result("rung", name, criteria, criteria[-1].name, gain, 0.0, round(ERRORS * error, 5), figures, now())
