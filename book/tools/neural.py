"""Remake book/records/neural.json, which the chapter on the first neural model reads: a network over the last k letters of
the tales, by k and by the number of its hidden units, with three seeds each; and the best of them in a longer run.

    make neural                             all runs, about eight minutes
    python book/tools/neural.py --check     is the record stale?

It is stale when its settings or its corpus are no longer those below, or when the first steps, run again, give other losses.
The network and its training are the chapter's, written out again here, since the reader writes them there; the chapter runs
one of these settings live and compares.
"""

import itertools
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from remake import FIRST, apart, remake, settings_on_tales, tales
from torch import Tensor, nn
from tqdm import tqdm

RECORD = Path(__file__).parents[1] / "records" / "neural.json"
SETTINGS = {"k": [2, 3, 5, 8], "hidden": [32, 128, 512], "seeds": 3}
RECIPE = {"embedding": 32, "steps": 2000, "batch": 256, "learning_rate": 1e-2, "betas": [0.9, 0.99]}
LONGER = {"k": 5, "hidden": 512, "steps": 8000}
END = 0  # the id of the end mark, which stands for what comes before the text


class Network(nn.Module):
    """Embeddings of k letters side by side, hidden units, logits. (B, k) -> (B, V)."""

    def __init__(self, vocab_size: int, k: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, embedding)
        self.hidden = nn.Linear(k * embedding, hidden)
        self.exit = nn.Linear(hidden, vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.exit(self.hidden(self.table(x).flatten(1)).tanh())


def examples(ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k tokens before each token (N, k), and the tokens (N,)."""
    padded = torch.cat([torch.full((k,), END), ids])
    return padded.unfold(0, k, 1)[:-1], ids


def fit(network: Network, x: Tensor, y: Tensor, steps: int, seed: int, stop_after: int | None = None) -> list[float]:
    """Train with a rate that falls to zero; returned are the losses of all steps, each on its batch before it."""
    generator = torch.Generator().manual_seed(seed)
    rate = RECIPE["learning_rate"]
    optimizer = torch.optim.AdamW(network.parameters(), rate, betas=tuple(RECIPE["betas"]), weight_decay=0)
    losses = []
    for step in range(stop_after or steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        rows = torch.randint(len(y), (RECIPE["batch"],), generator=generator)
        loss = F.cross_entropy(network(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def mean_loss(network: Network, x: Tensor, y: Tensor) -> float:
    parts = zip(x.split(8192), y.split(8192), strict=True)
    return sum(F.cross_entropy(network(a), b, reduction="sum").item() for a, b in parts) / len(y)


def run(k: int, hidden: int, seed: int, stop_after: int | None = None, steps: int = RECIPE["steps"]) -> dict:
    *ids, vocab_size = tales()
    train, val = (examples(part, k) for part in ids)
    torch.manual_seed(seed)
    network = Network(vocab_size, k, hidden, RECIPE["embedding"])
    losses = fit(network, *train, steps, seed, stop_after)
    found = {"k": k, "hidden": hidden, "seed": seed, "first": [round(loss, 4) for loss in losses[:FIRST]]}
    if stop_after is None:
        found["parameters"] = sum(p.numel() for p in network.parameters())
        found["train_loss"], found["val_loss"] = (round(mean_loss(network, *part), 4) for part in (train, val))
    return found


def settings() -> dict:
    return settings_on_tales({**SETTINGS, **RECIPE, "longer": LONGER})


def stale() -> str | None:
    """Why the record has to be remade, or None."""
    if not RECORD.is_file():
        return "it is missing"
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if record["settings"] != settings():
        return "its settings or its corpus have changed"
    for kept in (r for r in record["runs"] if r["seed"] == 0 and r["hidden"] == SETTINGS["hidden"][0]):
        again = run(kept["k"], kept["hidden"], kept["seed"], FIRST)["first"]
        if apart(again, kept["first"]):
            return f"its first losses at k = {kept['k']} are {kept['first']}, now they are {again}"
    return None


def make() -> dict:
    trials = list(itertools.product(SETTINGS["k"], SETTINGS["hidden"], range(SETTINGS["seeds"])))
    runs = [run(*trial) for trial in tqdm(trials, unit="run")]
    longer = [run(**LONGER, seed=seed) for seed in tqdm(range(SETTINGS["seeds"]), unit="longer run")]
    return {"settings": settings(), "runs": runs, "longer": longer}


def main() -> int:
    return remake(__doc__, RECORD, stale, make)


if __name__ == "__main__":
    sys.exit(main())
