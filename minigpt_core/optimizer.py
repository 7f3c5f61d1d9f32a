"""The optimizers of a training run, and the learning rate that they are given at each step."""

import math
from typing import Any

import torch

from .config import TrainConfig
from .model import GPT


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of a step (1 to steps): a straight rise over the warm-up, then half a cosine down to the floor
    (Loshchilov and Hutter 2017, arXiv:1608.03983).

    >>> [learning_rate_at(s, TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0)) for s in (1, 10, 55, 100)]
    [0.1, 1.0, 0.5, 0.0]
    """
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    done = (step - config.warmup_steps) / (config.steps - config.warmup_steps)  # 0 to 1
    height = (1 + math.cos(math.pi * done)) / 2
    return config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * height


class MuonAndAdamW:
    """Muon (Jordan and others 2024) for the matrices of the blocks, AdamW for the rest, as one optimizer with one learning rate.

    The gradient of a matrix is large in a few directions, those of its largest singular values. Muon takes the gradient's
    running mean (momentum 0.95, Nesterov's form), makes its singular values about equal by a few matrix products, so that
    the step is as long in each direction, and scales the step to the root mean square that AdamW's usually has
    (`adjust_lr_fn="match_rms_adamw"`), so that both can have one rate. The head decays, as under AdamW alone.

    >>> optimizer = MuonAndAdamW(GPT(GPTConfig(vocab_size=65)), TrainConfig())
    >>> len(optimizer.muon.param_groups[0]["params"])  # of each block: query, key, value, output, widen, narrow
    24
    """

    def __init__(self, model: GPT, config: TrainConfig):
        matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
        chosen = {id(p) for p in [*matrices, model.head.weight]}
        rest = [p for p in model.parameters() if id(p) not in chosen]
        rate, decay, fused = config.learning_rate, config.weight_decay, model.device.type in ("cpu", "cuda")
        groups = [{"params": [model.head.weight], "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
        self.muon: torch.optim.Optimizer = torch.optim.Muon(
            matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
        )
        self.adamw = torch.optim.AdamW(groups, lr=rate, betas=config.betas, fused=fused)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.muon.param_groups + self.adamw.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.muon.zero_grad(set_to_none)
        self.adamw.zero_grad(set_to_none)

    def step(self) -> None:
        for optimizer in (self.muon, self.adamw):
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of each weight by its number, those of Muon first."""
        muon, adamw = self.muon.state_dict(), self.adamw.state_dict()
        first = len(muon["param_groups"][0]["params"])
        moved = {first + i: state for i, state in adamw["state"].items()}
        return {"state": muon["state"] | moved, "param_groups": muon["param_groups"] + adamw["param_groups"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        muon_group, *adamw_groups = state["param_groups"]
        first = len(muon_group["params"])
        moved = {i - first: value for i, value in state["state"].items() if i >= first}
        kept = {i: value for i, value in state["state"].items() if i < first}
        self.muon.load_state_dict({"state": kept, "param_groups": [muon_group]})
        self.adamw.load_state_dict({"state": moved, "param_groups": adamw_groups})


Optimizer = torch.optim.AdamW | MuonAndAdamW


def make_optimizer(model: GPT, config: TrainConfig) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101). Only the matrices of linear layers decay towards zero:
    not embeddings, biases, or the gains of a LayerNorm, for which zero is no natural place."""
    if config.optimizer == "muon":
        return MuonAndAdamW(model, config)
    decay = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    chosen = {id(p) for p in decay}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    fused = model.device.type in ("cpu", "cuda")  # one kernel for the whole update, where all versions have it
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=fused)
