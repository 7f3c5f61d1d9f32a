"""Which defaults? Validation losses of a few recipes on one corpus, each given the seconds that the article's recipe takes.

    python tests/benchmarks/recipes.py alice          one row a recipe
    python tests/benchmarks/recipes.py alice --final  article against default on the real validation part, the last tenth

Without --final the recipes are compared on blocks of the training part, so that choosing touches no validation text.
"""

import sys
import time
from dataclasses import replace

import torch

from minigpt_core import GPT, CharTokenizer, GPTConfig, TrainConfig, load_corpus, split_text, train

DEFAULT = TrainConfig()
RECIPES = {
    "default": ({}, {}),
    "learning rate 1e-3": ({}, {"learning_rate": 1e-3}),
    "learning rate 5e-3": ({}, {"learning_rate": 5e-3}),
    "batch 8": ({}, {"batch_size": 8}),
    "batch 12": ({}, {"batch_size": 12}),
    "batch 32": ({}, {"batch_size": 32}),
    "weight decay 0": ({}, {"weight_decay": 0.0}),
    "betas 0.9, 0.95": ({}, {"betas": (0.9, 0.95)}),
    "2 layers": ({"n_layer": 2}, {}),
    "dropout 0.1": ({"dropout": 0.1}, {}),
    "Muon": ({}, {"optimizer": "muon"}),
    "Muon, learning rate 6e-3": ({}, {"optimizer": "muon", "learning_rate": 6e-3}),
    "Muon, learning rate 1e-2": ({}, {"optimizer": "muon", "learning_rate": 1e-2}),
}


def run(
    train_text: str, val_text: str, tokenizer, shape: GPTConfig, config: TrainConfig, budget: float | None
) -> tuple:
    """Seconds, steps, training and validation loss; with a budget in seconds, as many steps as fit into it."""
    train_ids, val_ids = (torch.tensor(tokenizer.encode(text)) for text in (train_text, val_text))
    if budget is not None:
        torch.manual_seed(0)
        few = list(train(GPT(shape), train_ids, val_ids, replace(config, steps=30, warmup_steps=0, eval_every=30)))
        speed = sorted(record.tokens_per_second for record in few)[15]
        steps = int(budget * speed / (config.batch_size * shape.block_size))
        config = replace(config, steps=steps, warmup_steps=min(config.warmup_steps, steps // 10))
    config = replace(config, eval_every=config.steps)
    torch.manual_seed(0)
    record = list(train(GPT(shape), train_ids, val_ids, config))[-1]
    return record.elapsed, record.step, record.train_loss, record.val_loss


def main() -> None:
    text = load_corpus(sys.argv[1])
    tokenizer = CharTokenizer.train(text)
    train_text, val_text = split_text(text, "tail")
    if "--final" not in sys.argv:
        train_text, val_text = split_text(train_text, "blocks")
    V = tokenizer.vocab_size
    print(f"{sys.argv[1]}: recipe, seconds, steps, training loss, validation loss")
    article = run(train_text, val_text, tokenizer, GPTConfig.article(V), TrainConfig.article(), None)
    print("article            {:6.1f} {:6d} {:.3f} {:.3f}".format(*article), flush=True)
    for name, (shape, changes) in RECIPES.items() if "--final" not in sys.argv else [("default", ({}, {}))]:
        row = run(train_text, val_text, tokenizer, GPTConfig(V, **shape), replace(DEFAULT, **changes), article[0])
        print(f"{name:18s} " + "{:6.1f} {:6d} {:.3f} {:.3f}".format(*row), flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
