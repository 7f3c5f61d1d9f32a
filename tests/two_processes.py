"""What test_many.py lets two processes do: runs, whose curves rank 0 writes down."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from test_large import EXACT, MODELS, composed
from test_training import TRAIN_IDS, VAL_IDS, curve, small_model

from minigpt_core import get_batch, resume, train
from minigpt_core.beyond.many import Many, processes, share_weights, shared_gradient

LONG = replace(EXACT, steps=50, eval_every=25)  # batches of 5, which two processes cannot share out evenly
WAYS = {
    "plain": Many(),
    "groups": Many(micro_batch=1, checkpoint_activations=True),
    "shard": Many(shard=True),
    "shard, groups": Many(shard=True, micro_batch=2, checkpoint_activations=True),
}
RUNS = {
    "plain": ("plain", "plain", LONG),
    "dropout, groups": ("dropout", "groups", LONG),
    "tied, groups": ("tied", "groups", LONG),
    "experts": ("experts", "plain", LONG),
    "muon": ("plain", "plain", replace(LONG, optimizer="muon")),
    "shard": ("plain", "shard", LONG),
    "shard, dropout, groups": ("dropout", "shard, groups", LONG),
    "shard, tied": ("tied", "shard", LONG),
    "one window": ("plain", "plain", replace(LONG, batch_size=1)),
    "float32": ("GELU", "plain", LONG),
    "float32, shard, groups": ("GELU", "shard, groups", LONG),
}


def model_of(name: str) -> torch.nn.Module:
    """In float64; the one without a ReLU, which rounding cannot switch, in float32."""
    return composed(feed_forward="gelu") if name == "GELU" else MODELS[name]().double()


def norm(model) -> float:
    return torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()


def main(folder: Path) -> None:
    with processes() as rank:
        curves = {}
        for name, (model, way, config) in RUNS.items():
            curves[name] = curve(train(model_of(model), TRAIN_IDS, VAL_IDS, config, engine=WAYS[way]))
        for way in ("groups", "shard"):  # resumed: from one process, and to one process
            for record in resume(model_of("plain"), TRAIN_IDS, VAL_IDS, folder / f"one {way}", engine=WAYS[way]):
                if record.step == 30:
                    break
            for record in train(model_of("plain"), TRAIN_IDS, VAL_IDS, LONG, folder / f"two {way}", engine=WAYS[way]):
                if record.step == 10:
                    break
        model = (
            small_model()
            if rank == 0
            else small_model(n_layer=2).apply(lambda m: [p.data.zero_() for p in m.parameters()])
        )
        share_weights(model)
        x, y = get_batch(TRAIN_IDS, 16, 5, seed=0, step=1)
        by_hand = shared_gradient(model, x, y).item(), norm(model)
        if rank == 0:
            (folder / "curves.json").write_text(json.dumps({"curves": curves, "by hand": by_hand}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
