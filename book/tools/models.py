"""Train the small models that ship with the book, each by one command.

    make models NAME=tales-char        (that is: python book/tools/models.py tales-char)

Into minigpt_core/models/NAME go the weights as int8 with one scale a row, the tokenizer, and card.json: settings, log,
losses before and after the narrowing, a sample, the longest copied span. On two cores the four take about an hour. A
rerun on another machine comes within BAND of the card's validation loss.
"""

import argparse
import hashlib
import json
import math
import sys
from dataclasses import asdict

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
from minigpt_core.tokenizer import END_OF_TEXT

BAND = 0.03  # nats per token between two machines, or two versions of torch
SAMPLING = {"temperature": 0.8, "top_p": 0.95, "seed": 42}
SAMPLED = 2000  # characters in which copied spans are looked for

# name: corpus, split, size of the vocabulary (None: characters), model, training
RECIPES: dict = {
    "tales-char": (  # read some fifty times: dropout and much decay, against learning by heart
        "tales",
        "blocks",
        None,
        {"block_size": 128, "dropout": 0.2},
        {"steps": 4000, "weight_decay": 1.0},
    ),
    "tales-bpe": ("tales", "blocks", 512, {"dropout": 0.2}, {"steps": 4000, "weight_decay": 1.0}),
    "tales-zh": (  # less text still: a smaller model
        "tales_zh",
        "blocks",
        None,
        {"n_layer": 2, "n_embd": 64, "dropout": 0.3},
        {"steps": 1500, "weight_decay": 1.0},
    ),
    "shakespeare-char": ("shakespeare", "tail", None, {"block_size": 128}, {"steps": 5000, "batch_size": 24}),
}


def prepare(name: str) -> tuple:
    """Text, its two parts, tokenizer, settings of model and training."""
    corpus, split, vocabulary, shape, recipe = RECIPES[name]
    text = load_corpus(corpus)
    train_text, val_text = split_text(text, split)
    tokenizer = BPETokenizer.train(train_text, vocab_size=vocabulary) if vocabulary else CharTokenizer.train(text)
    config = GPTConfig(tokenizer.vocab_size, end_id=tokenizer.end_id, **shape)
    steps = recipe["steps"]
    return (
        text,
        train_text,
        val_text,
        tokenizer,
        config,
        TrainConfig(**recipe, eval_every=steps // 20, checkpoint_every=steps),
    )


def make(name: str) -> None:
    """Train one model, narrow it, measure both, write everything."""
    text, train_text, val_text, tokenizer, config, recipe = prepare(name)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in (train_text, val_text))
    torch.manual_seed(recipe.seed)
    model = GPT(config)
    records = list(tqdm(train(model, train_ids, val_ids, recipe), total=recipe.steps, desc=name, unit="step"))
    model.to("cpu")
    exact = evaluate(model, val_ids)
    save_model(model, FOLDER / name, narrow=True, overwrite=True)
    tokenizer.save(FOLDER / name, overwrite=True)
    model = load_model(FOLDER / name)  # what a reader gets
    narrowed = evaluate(model, val_ids)
    sample = "".join(stream(model, tokenizer, "", 600, **SAMPLING))
    written = ""
    seed = 0
    while len(written) < SAMPLED:
        written += "".join(stream(model, tokenizer, "", 1000, temperature=0.8, top_p=0.95, seed=seed))
        seed += 1
    characters = len(val_text.replace(END_OF_TEXT, "\n"))  # the mark counts as one
    copied = longest_copied(written[:SAMPLED], train_text)
    card = {
        "command": f"make models NAME={name}",
        "corpus": RECIPES[name][0],
        "corpus_sha256": hashlib.sha256(text.encode("utf-8")).hexdigest(),
        "split": RECIPES[name][1],
        "training": asdict(recipe),
        "parameters": model.n_parameters,
        "bytes": (FOLDER / name / "model.safetensors").stat().st_size,
        "minutes": round(records[-1].elapsed / 60, 1),
        "threads": torch.get_num_threads(),
        "losses": {
            "ln V": round(math.log(config.vocab_size), 3),
            "training": round(evaluate(model, train_ids, windows=200), 3),
            "validation": round(exact, 4),
            "validation, narrowed": round(narrowed, 4),
            "validation, narrowed, per character": round(narrowed * len(val_ids) / characters, 4),
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
    print(
        f"{name}: {card['parameters']:,} parameters, {card['bytes']:,} bytes, {card['minutes']} min, {card['losses']}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=RECIPES, metavar="NAME", help=", ".join(RECIPES))
    for name in parser.parse_args().names:
        make(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
