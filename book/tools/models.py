"""Train the small models that ship with the book, each by one command.

    make models NAME=tales-char        (that is: python book/tools/models.py tales-char)

Each is trained with the seeds of SEEDS; the first one ships. Into minigpt_core/models/NAME go its weights as int8 with one
scale a row, the tokenizer, and card.json: settings, log, losses before and after the narrowing, those of the other seeds,
what counting reaches on the same text, a sample, the longest copied span. Recipes were chosen on the validation part (of
Shakespeare: on the end of the training part); the test part was looked at when they were settled. On two cores the four
take about an hour and a half. A rerun on another machine comes within BAND of the card's validation loss.
"""

import argparse
import hashlib
import json
import math
import sys
from dataclasses import asdict, replace

import torch
from tqdm import tqdm

from minigpt_core import (
    GPT,
    BPETokenizer,
    CharTokenizer,
    GPTConfig,
    TrainConfig,
    evaluate,
    load_corpus,
    load_model,
    longest_copied,
    save_model,
    split_text,
    stream,
    train,
)
from minigpt_core.files import write_atomic
from minigpt_core.pretrained import FOLDER
from minigpt_core.study.counting import ngram_probabilities
from minigpt_core.study.lens import token_probabilities
from minigpt_core.study.planning import time_steps
from minigpt_core.tokenizer import END_OF_TEXT

BAND = 0.03  # nats per token between two machines, or two versions of torch
SAMPLING = {"temperature": 0.8, "top_p": 0.95, "seed": 42}
SAMPLED = 2000  # characters in which copied spans are looked for

SEEDS = (0, 1, 2)
ORDERS = 10  # of the counts that a model is compared with, by characters; by pieces fewer

# name: corpus, parts of its split, size of the vocabulary (None: characters), model, training
RECIPES: dict = {
    "tales-char": (  # read some fifty times: dropout and much decay, against overfitting
        "tales",
        3,
        None,
        {"block_size": 128, "dropout": 0.2},
        {"steps": 4000, "weight_decay": 1.0},
    ),
    "tales-bpe": ("tales", 3, 512, {"dropout": 0.2}, {"steps": 4000, "weight_decay": 1.0}),
    "tales-zh": ("tales_zh", 3, None, {"n_embd": 96, "dropout": 0.3}, {"steps": 4000, "weight_decay": 1.0}),
    "shakespeare-char": ("shakespeare", 2, None, {"block_size": 128}, {"steps": 5000, "batch_size": 24}),
}


def prepare(name: str) -> tuple:
    """Text, its parts, tokenizer, settings of model and training. A text in two parts is a benchmark, whose last tenth is
    the test part: recipes for it were chosen elsewhere."""
    corpus, parts, vocabulary, shape, recipe = RECIPES[name]
    text = load_corpus(corpus)
    split = split_text(text, "documents" if parts == 3 else "tail", parts=parts)
    if vocabulary:
        tokenizer: BPETokenizer | CharTokenizer = BPETokenizer.train(split[0], vocab_size=vocabulary, chat=True)
    else:
        tokenizer = CharTokenizer.train(text, chat=True)
    config = GPTConfig(tokenizer.vocab_size, end_id=tokenizer.end_id, **shape)
    steps = recipe["steps"]
    return text, split, tokenizer, config, TrainConfig(**recipe, eval_every=steps // 20, checkpoint_every=steps)


def losses_of(model: GPT, held_out: dict[str, torch.Tensor]) -> dict[str, float]:
    """Nats per token on each part: in windows side by side, whose first tokens have little past, and with a long past
    for each."""
    found = {name: round(evaluate(model, ids), 4) for name, ids in held_out.items()}
    return found | {
        f"{name}, long past": round(-token_probabilities(model, ids).log().mean().item(), 4)
        for name, ids in held_out.items()
    }


def train_seed(name: str, seed: int) -> tuple:
    """One model and the records of its run."""
    _, split, tokenizer, config, recipe = prepare(name)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in split[:2])
    torch.manual_seed(seed)
    model = GPT(config)
    records = train(model, train_ids, val_ids, replace(recipe, seed=seed))
    records = list(tqdm(records, total=recipe.steps, desc=f"{name}, seed {seed}", unit="step"))
    return model.to("cpu"), records


def minutes(config: GPTConfig, recipe: TrainConfig, train_ids: torch.Tensor, val_ids: torch.Tensor) -> float:
    """How long the run takes at the speed of this moment, so that no hour in which the machine did other things counts."""
    step, evaluation = time_steps(config, recipe, train_ids, val_ids)
    return recipe.steps * (step + evaluation / recipe.eval_every) / 60


def make(name: str) -> None:
    """Train one model with each seed, narrow the first, measure all, write everything."""
    text, split, tokenizer, config, recipe = prepare(name)
    train_ids, *rest = (torch.tensor(tokenizer.encode(part)) for part in split)
    names = ("validation", "test") if len(rest) == 2 else ("test",)
    held_out = dict(zip(names, rest, strict=True))
    seeds, shipped, records = {}, None, []
    for seed in SEEDS:
        model, run = train_seed(name, seed)
        seeds[str(seed)] = losses_of(model, held_out)
        if shipped is None:
            shipped, records = model, run
    assert shipped is not None
    save_model(shipped, FOLDER / name, narrow=True, overwrite=True)
    tokenizer.save(FOLDER / name, overwrite=True)
    model = load_model(FOLDER / name)  # what a reader gets
    narrowed = losses_of(model, held_out)
    sample = "".join(stream(model, tokenizer, "", 600, **SAMPLING))
    written = ""
    seed = 0
    while len(written) < SAMPLED:
        written += "".join(stream(model, tokenizer, "", 1000, temperature=0.8, top_p=0.95, seed=seed))
        seed += 1
    orders = ORDERS if isinstance(tokenizer, CharTokenizer) else 6
    counting = {}
    for part, ids in held_out.items():
        p = ngram_probabilities(train_ids, ids, orders, tokenizer.vocab_size)
        counting[part] = [round(loss, 4) for loss in (-p.log().mean(1)).tolist()]
    best = min(range(orders), key=counting[names[0]].__getitem__)  # the order, too, is chosen on the validation part
    characters = {  # of a token on each part; the end mark counts as one
        part: len(piece.replace(END_OF_TEXT, "\n")) / len(held_out[part])
        for part, piece in zip(names, split[1:], strict=True)
    }
    copied = longest_copied(written[:SAMPLED], split[0])
    card = {
        "command": f"make models NAME={name}",
        "corpus": RECIPES[name][0],
        "corpus_sha256": hashlib.sha256(text.encode("utf-8")).hexdigest(),
        "split": "documents" if len(rest) == 2 else "tail",
        "training": asdict(recipe),
        "parameters": model.n_parameters,
        "bytes": (FOLDER / name / "model.safetensors").stat().st_size,
        "minutes": round(minutes(config, recipe, train_ids, rest[0]), 1),
        "threads": torch.get_num_threads(),
        "losses": {
            "ln V": round(math.log(config.vocab_size), 3),
            "training": round(evaluate(model, train_ids, windows=200), 3),
            **seeds["0"],
            **{f"{part}, narrowed": loss for part, loss in narrowed.items()},
            **{
                f"{part}, narrowed, per character": round(narrowed[part] / each, 4) for part, each in characters.items()
            },
        },
        "characters per token": {part: round(each, 4) for part, each in characters.items()},
        "seeds": seeds,
        "counting": {
            "smoothing": "kneser-ney",
            "order": best + 1,
            **{part: row[best] for part, row in counting.items()},
        },
        "sample": {"settings": SAMPLING, "text": sample},
        "longest copied span": {"characters": len(copied), "of": SAMPLED, "text": copied},
        "log": [
            {"step": r.step, "training": round(r.train_loss, 3), "validation": round(r.val_loss, 3)}
            for r in records
            if r.val_loss is not None
        ],
    }
    write_atomic(FOLDER / name / "card.json", json.dumps(card, indent=1, ensure_ascii=False).encode("utf-8"))
    print(f"{name}: {card['parameters']:,} parameters, {card['minutes']} min, {card['losses']}")
    print(f"seeds {seeds}, counting {card['counting']}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=RECIPES, metavar="NAME", help=", ".join(RECIPES))
    for name in parser.parse_args().names:
        make(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
