"""Looking into a model while it reads: what normal use computes and throws away."""

import torch
from torch import Tensor

from .attention import CausalSelfAttention
from .model import GPT


@torch.no_grad()
def attention_maps(model: GPT, idx: Tensor) -> Tensor:
    """The attention weights of every layer and head for ids (B, T): shape (n_layer, B, n_head, T, T), rows sum to 1.

    >>> attention_maps(model, torch.tensor([[5, 6, 7]])).shape                          # doctest: +SKIP
    torch.Size([4, 1, 4, 3, 3])
    """
    maps: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: maps.append(module.weights(inputs[0])))
        for module in model.modules()
        if isinstance(module, CausalSelfAttention)
    ]
    was_training = model.training
    try:
        model.eval()(idx)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return torch.stack(maps)
