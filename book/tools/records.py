"""Remake the recorded training runs in book/records that chapters read, or check that they are not stale.

    make records                    all of them, about an hour on two cores (NAME=tales for one)
    python book/tools/records.py --check

A record is a small JSON file: settings (corpus, split, model, training), the curve, samples and attention maps at a few
steps; of a watched run also what it says on the way, of a filmed one the maps of the travelling sentence with it; and the
validation losses of the same run with other seeds, where a sentence of a chapter rests on a difference. It is stale when its
settings or its corpus are no longer those of the table below, or when the first steps, run again, give other losses.
corpora.json, made first, holds the statistics of each corpus and its losses by counting.
"""

import argparse
import base64
import hashlib
import itertools
import json
import math
import re
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from remake import FIRST, apart
from torch import Tensor
from tqdm import tqdm

from minigpt_core import (
    GPT,
    CharTokenizer,
    GPTConfig,
    TrainConfig,
    attention_maps,
    load_corpus,
    split_text,
    stream,
    train,
)
from minigpt_core.attention import CausalSelfAttention, KVCache
from minigpt_core.files import write_atomic
from minigpt_core.study.ablation import PARTS, knocked_out, remove
from minigpt_core.study.counting import ngram_probabilities, repeated_share
from minigpt_core.study.lens import induction_scores, repeat_probability
from minigpt_core.tokenizer import END_OF_TEXT

FOLDER = Path(__file__).parents[1] / "records"
SENTENCES = {"tales": '"Where is the Spoon?" asked Wren.', "tales_zh": "“这是谁的椅子？”露丝船长问。"}
SENTENCE = SENTENCES["tales"]
BEGINNINGS = {"tales": "Wren ", "tales_zh": "露丝"}  # what a watched run continues
WATCHED = (1, 10, 25, 50, 75, 100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 900)  # the steps at which it does

NO_CLIP = 1e9  # a limit that no gradient reaches; JSON has no infinity
LAB = (50, 100, 200, 900)  # steps at which greedy writing is measured
PROMPTS = ("Wren said ", "The sea was ", "Once there ", "Toby said ", "She looked ", "A boat was ")
_STANDARD = {"steps": 900, "warmup_steps": 50, "eval_every": 100, "checkpoint_every": 900}
LONG_MODEL = {"n_layer": 4, "block_size": 128, "dropout": 0.2}
LONG = {"steps": 4000, "weight_decay": 1.0, "warmup_steps": 100, "checkpoint_every": 4000}

# name: settings that differ from chapter 08's run, and what it is for; with how many seeds it is run, if more than one
RUNS: dict[str, dict] = {
    "tales": {"looks": (1, 50, 200, 900), "lab": LAB},  # the run itself, with samples and maps
    "short": {"training": {"steps": 150}},  # stopped long before the end
    "small": {"model": {"n_layer": 1, "n_head": 2, "n_embd": 16}, "watched": True},  # too small a model: underfits
    "little-text": {"characters": 8000, "looks": (900,), "lab": LAB, "watched": True},  # too little text: overfits
    "no-warmup": {"training": {"warmup_steps": 0}, "watched": True, "seeds": 3},
    "no-clipping": {"training": {"clip": NO_CLIP}, "seeds": 3},
    "high-rate": {"training": {"learning_rate": 1e-2}, "watched": True, "seeds": 3},
    "high-rate-no-warmup": {"training": {"learning_rate": 1e-2, "warmup_steps": 0}, "watched": True, "seeds": 3},
    "high-rate-no-clipping": {"training": {"learning_rate": 1e-2, "clip": NO_CLIP}, "seeds": 3},
    "low-rate": {"training": {"learning_rate": 1e-4}, "watched": True},
    "dropout": {"model": {"dropout": 0.2}},
    "muon": {"training": {"optimizer": "muon"}, "seeds": 3},  # chapters 08 and 14
    # its lowest point counts, so it is evaluated often
    "muon-little-text": {"characters": 8000, "training": {"optimizer": "muon", "eval_every": 20}},
    **{f"muon-layers-{n}": {"model": {"n_layer": n}, "training": {"optimizer": "muon"}, "seeds": 3} for n in (1, 4)},
    # how far runs lie apart by chance; and chapter 11: how they repeat themselves, and whether a head copies
    **{f"seed-{seed}": {"training": {"seed": seed}, "lab": LAB} for seed in (1, 2, 3, 4)},
    **{f"no-{part}": {"removed": part, "seeds": 3} for part in PARTS},  # chapter 07: what each part is there for
    **{f"heads-{n}": {"model": {"n_head": n}, "seeds": 3} for n in (1, 2, 8)},
    **{f"layers-{n}": {"model": {"n_layer": n}, "seeds": 3} for n in (1, 4, 6)},
    # deeper models at lower rates, and with GPT-2's smaller start of what is added to the residual stream
    **{
        f"layers-{n}-{share}-rate": {"model": {"n_layer": n}, "training": {"learning_rate": rate}}
        for n in (1, 2, 4, 6)
        for share, rate in (("half", 1.5e-3), ("third", 1e-3))
    },
    **{f"layers-{n}-scaled": {"model": {"n_layer": n}, "residual scaling": True} for n in (4, 6)},
    **{
        f"layers-6-no-{part}": {"model": {"n_layer": 6}, "removed": part, "seeds": 3}
        for part in ("residual", "pre-norm")
    },
    "attention-dropout": {"model": {"dropout": 0.2}, "attention dropout": True},  # chapter 14: of the weights too
    # the shipped tales-char, with one layer instead of four, by Muon, and with attention dropout
    "long-layers-1": {"model": {**LONG_MODEL, "n_layer": 1}, "training": LONG, "seeds": 2},
    "long-muon": {"model": LONG_MODEL, "training": {**LONG, "optimizer": "muon"}},
    "long-attention-dropout": {"model": LONG_MODEL, "training": LONG, "attention dropout": True},
    # chapters 08, 09 and 12: the run again, filmed; and one on the Chinese tales
    "film": {"watched": True, "filmed": True},
    "film-zh": {"corpus": "tales_zh", "watched": True, "filmed": True},
    # as many tokens in a step with every window: how far back it pays to look; the longest with twice the steps too
    **{f"window-{T}": {"model": {"block_size": T}, "training": {"batch_size": 1024 // T}} for T in (4, 8, 16, 32, 128)},
    "window-128-longer": {"model": {"block_size": 128}, "training": {"batch_size": 8, "steps": 1800}},
}
CORPORA = {"tales": 3, "tales_zh": 3, "alice": 2, "shakespeare": 2}  # in how many parts; the last tenth of those in two
LONGEST = 10  # tokens that counting looks at, itself included


class AttentionDropout(CausalSelfAttention):
    """Attention with dropout of its weights too, as in GPT-2. (B, T, C) -> (B, T, C)."""

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        v = self.split_heads(self.value(x))  # (B, H, T, D)
        y = (self.dropout(self.weights(x)) @ v).transpose(1, 2).reshape(x.shape)  # (B, T, C)
        return self.dropout(self.output(y))


@torch.no_grad()
def scale_residuals(model: GPT) -> None:
    """GPT-2's start (Radford et al. 2019, section 2.3): the matrices that add to the residual stream, two in each of the L
    blocks, begin 1 / sqrt(2 L) as large."""
    for block in model.blocks:
        for matrix in (block.attention.output.weight, block.feed_forward.narrow.weight):
            matrix.mul_(1 / math.sqrt(2 * len(model.blocks)))


def settings_of(name: str) -> dict:
    """All that determines a run, as JSON keeps it."""
    run = RUNS[name]
    changed = {name: run[name] for name in ("removed", "residual scaling", "attention dropout") if name in run}
    corpus = run.get("corpus", "tales")
    text = load_corpus(corpus)
    V = CharTokenizer.train(text).vocab_size
    return json.loads(
        json.dumps(
            {
                "corpus": corpus,
                "corpus_sha256": hashlib.sha256(text.encode("utf-8")).hexdigest(),
                "split": "documents",
                "characters": run.get("characters"),  # how many of the training part, null for all
                "model": asdict(GPTConfig(V, end_id=0, **({"n_layer": 2} | run.get("model", {})))),
                **changed,
                "training": asdict(TrainConfig(device="cpu", **(_STANDARD | run.get("training", {})))),
            }
        )
    )


def start(settings: dict) -> tuple:
    """Model, tokenizer and the records of a run as they come. The test part of its corpus is left alone."""
    text = load_corpus(settings["corpus"])
    tokenizer = CharTokenizer.train(text)
    train_text, val_text, _ = split_text(text, settings["split"], parts=3)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in (train_text, val_text))
    config = TrainConfig(**settings["training"])
    torch.manual_seed(config.seed)
    model = GPT(GPTConfig(**settings["model"]))
    if "removed" in settings:
        remove(model, settings["removed"])
    if settings.get("attention dropout"):
        for block in model.blocks:
            block.attention.__class__ = AttentionDropout
    if settings.get("residual scaling"):
        scale_residuals(model)
    return model, tokenizer, train(model, train_ids[: settings["characters"]], val_ids, config)


def other_seeds(name: str) -> dict[str, list[float]]:
    """The validation losses of a run with the seeds from 1 on, by seed."""
    settings, found = settings_of(name), {}
    for seed in range(1, RUNS[name].get("seeds", 1)):
        again = settings | {"training": settings["training"] | {"seed": seed}}
        records = tqdm(start(again)[2], total=settings["training"]["steps"], desc=f"{name}, seed {seed}", unit="step")
        found[str(seed)] = [round(r.val_loss, 4) for r in records if r.val_loss is not None]
    return found


def make(name: str) -> None:
    """Run and write one record."""
    settings = settings_of(name)
    model, tokenizer, records = start(settings)
    looks = RUNS[name].get("looks", ())
    corpus = settings["corpus"]
    ids = torch.tensor([tokenizer.encode(SENTENCES[corpus])])
    samples, maps, curve, greedy, says, film = [], [], [], {}, [], []
    for record in tqdm(records, total=settings["training"]["steps"], desc=name, unit="step"):
        curve.append(record)
        if record.step in RUNS[name].get("lab", ()):
            texts = ("".join(stream(model, tokenizer, prompt, 300, temperature=0)) for prompt in PROMPTS)
            greedy[record.step] = round(sum(map(repeated_share, texts)) / len(PROMPTS), 3)
        if RUNS[name].get("watched") and record.step in WATCHED:
            text = "".join(stream(model, tokenizer, BEGINNINGS[corpus], 160, temperature=0.8))
            says.append({"step": record.step, "text": BEGINNINGS[corpus] + text})
            weights = (100 * attention_maps(model.eval(), ids)[:, 0]).round().to(torch.uint8)  # layers, heads, T, T
            film.append({"step": record.step, "percent": _lower_halves(weights)})
        if record.step in looks:
            model.eval()
            samples.append(
                {"step": record.step, "text": "".join(stream(model, tokenizer, "Wren ", 300, temperature=0.8))}
            )
            weights = (100 * attention_maps(model, ids)[:, 0]).round().int().tolist()  # layers, heads, T, T
            maps.append({"step": record.step, "percent": [[_triangle(head) for head in layer] for layer in weights]})
    evaluated = [r for r in curve if r.val_loss is not None]
    found = {
        "name": name,
        "settings": settings,
        "curve": {
            "train_loss": [round(r.train_loss, 4) for r in curve],  # of steps 1, 2, 3 and so on
            "grad_norm": [round(r.grad_norm, 3) for r in curve],
            "val_step": [r.step for r in evaluated],
            "val_loss": [round(r.val_loss, 4) for r in evaluated],
        },
        **({"val_loss of other seeds": other_seeds(name)} if "seeds" in RUNS[name] else {}),
        "samples": samples,
        "maps": {"text": SENTENCE, "at": maps} if maps else None,
        **({"says": says} if says else {}),
        **({"film": {"text": SENTENCES[corpus], "at": film}} if RUNS[name].get("filmed") else {}),
        "seconds": round(curve[-1].elapsed),
        **({"greedy": greedy, "heads": look_for_copying(model, tokenizer)} if greedy else {}),
    }
    write_atomic(FOLDER / f"{name}.json", json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))


def look_for_copying(model: GPT, tokenizer: CharTokenizer) -> dict:
    """How much each head (layer, head) attends to what followed last time, and how likely phrases of the tales held back
    are the first, second and third time in a row: with all heads, and with each one knocked out."""
    val_ids = torch.tensor(tokenizer.encode(split_text(load_corpus("tales"), parts=3)[1]))
    phrases = val_ids[: 200 * 16].view(200, 16)
    heads = list(itertools.product(range(model.config.n_layer), range(model.config.n_head)))
    without = {}
    for head in heads:
        with knocked_out(model, [head]):
            without[str(head)] = [round(p, 4) for p in repeat_probability(model, phrases, 3)]
    scores = induction_scores(model, period=32)
    return {
        "induction": {str(head): round(scores[head].item(), 4) for head in heads},
        "phrase": [round(p, 4) for p in repeat_probability(model, phrases, 3)],
        "phrase without": without,
    }


def _triangle(rows: list[list[int]]) -> list[list[int]]:
    """The weights on the past, row by row; those on the future are zero."""
    return [row[: i + 1] for i, row in enumerate(rows)]


def _lower_halves(weights: torch.Tensor) -> str:
    """Those weights in one byte each, layer by layer, head by head, row by row, as base64."""
    below = torch.ones(weights.shape[-2:]).tril().bool()
    return base64.b64encode(bytes(weights[..., below].flatten().tolist())).decode()


def make_corpora() -> None:
    """corpora.json: what each corpus is, and how far counting goes on it, in nats per character. Of the tales the whole
    ladder on the validation part, and on the test part as well; of the benchmarks on the last tenth."""
    found = {}
    for name, parts in CORPORA.items():
        text = load_corpus(name)
        tokenizer = CharTokenizer.train(text)
        split = "documents" if parts == 3 else "tail"
        train_ids, *held_out = (torch.tensor(tokenizer.encode(p)) for p in split_text(text, split, parts=parts))
        kind = r"[\u4e00-\u9fff]" if name == "tales_zh" else r"[a-z']+"  # of Chinese, which has no blanks: characters
        words = re.findall(kind, text.replace(END_OF_TEXT, "").lower())

        def counted(ids: Tensor, smoothing: str) -> dict[str, float]:
            p = ngram_probabilities(train_ids, ids, LONGEST, tokenizer.vocab_size, smoothing)  # noqa: B023 (used at once)
            return {f"{n}-gram": round(loss, 3) for n, loss in enumerate((-p.log().mean(1)).tolist(), start=1)}

        found[name] = {
            "sha256": hashlib.sha256(text.encode("utf-8")).hexdigest(),
            "characters": len(text),
            "tales": text.count(END_OF_TEXT),
            "words": len(words),
            "distinct words": len(set(words)),
            "longest repeated span in words": longest_repeat(words),
            "vocabulary": tokenizer.vocab_size,
            "split": split,
            "tokens": [len(train_ids), *map(len, held_out)],
            "losses": {"ln V": round(math.log(tokenizer.vocab_size), 3), **counted(held_out[0], "kneser-ney")},
            "losses, witten-bell": counted(held_out[0], "witten-bell"),
            **({"test losses": counted(held_out[1], "kneser-ney")} if parts == 3 else {}),
        }
    write_atomic(FOLDER / "corpora.json", json.dumps(found, indent=1).encode("utf-8"))


def longest_repeat(words: list[str]) -> int:
    """How many words the longest span has that occurs twice."""
    for n in itertools.count(1):
        seen: set[tuple[str, ...]] = set()
        for i in range(len(words) - n + 1):
            span = tuple(words[i : i + n])
            if span in seen:
                break
            seen.add(span)
        else:
            return n - 1
    raise AssertionError("a text is finite")


def stale(name: str) -> str | None:
    """Why a record has to be remade, or None."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        return "it is missing"
    record = json.loads(path.read_text(encoding="utf-8"))
    settings = record["settings"]
    settings["training"] = _completed(settings["training"])
    if settings != settings_of(name):
        return "its settings or its corpus have changed"
    losses = [r.train_loss for r in itertools.islice(start(record["settings"])[2], FIRST)]
    kept = record["curve"]["train_loss"][:FIRST]
    if apart(losses, kept):
        return f"its first losses are {kept}, now they are {[round(x, 4) for x in losses]}"
    return None


def _completed(training: dict) -> dict:
    """Settings of a training run, those that came after its record with their defaults."""
    return json.loads(json.dumps(asdict(TrainConfig(**training))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"corpora, {', '.join(RUNS)} (default: all)")
    parser.add_argument("--check", action="store_true", help="only tell which records are stale")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in ("corpora", *RUNS)]:
        parser.error(f"there is no record {unknown[0]}")
    if arguments.check:
        reasons = {name: reason for name in arguments.names or RUNS if (reason := stale(name))}
        for name, reason in reasons.items():
            print(f"book/records/{name}.json is stale: {reason}; remake it with make records NAME={name}")
        return 1 if reasons else 0
    for name in arguments.names or ["corpora", *RUNS]:
        make_corpora() if name == "corpora" else make(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
