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


@torch.no_grad()
def induction_scores(model: GPT, period: int, texts: int = 64) -> Tensor:
    """How much each head copies what followed last time: shape (n_layer, n_head), from 0 to 1. The model reads random
    tokens that repeat after `period`; the score is the mean attention of a repeated token to the one that came after its
    first occurrence (Olsson et al. 2022, arXiv:2209.11895).

    >>> induction_scores(model, period=32).max()                                        # doctest: +SKIP
    tensor(0.01)
    """
    if not 2 <= period <= model.config.block_size // 2:
        raise ValueError(
            f"period={period} must be at least 2 and at most {model.config.block_size // 2}: two of them fill the window"
        )
    generator = torch.Generator().manual_seed(0)
    once = torch.randint(1, model.config.vocab_size, (texts, period), generator=generator)  # without id 0, the end
    maps = attention_maps(model, torch.cat([once, once], dim=1).to(model.device))  # (n_layer, B, H, T, T)
    return maps.diagonal(1 - period, 3, 4)[..., 1:].mean(dim=(1, 3))


@torch.no_grad()
def repeat_probability(model: GPT, phrases: Tensor, times: int) -> list[float]:
    """The mean probability per token (geometric) that `model` gives to the second half of phrases (N, n), the first,
    second, third time in a row, up to `times`. What stands before a second half is its first half, every time: if the
    numbers rise, having said it once makes saying it again likelier.

    >>> repeat_probability(model, phrases, 3)                                           # doctest: +SKIP
    [0.25, 0.25, 0.26]
    """
    n = phrases.shape[1]
    idx = phrases.repeat(1, times).to(model.device)  # (N, times * n)
    log_p = model(idx[:, :-1])[0].log_softmax(dim=-1)  # (N, times * n - 1, V)
    given = log_p.gather(2, idx[:, 1:, None])[..., 0]
    ends = [k * n + n - 1 for k in range(times)]  # in `given`, which begins at the second token
    return [given[:, end - n // 2 : end].mean().exp().item() for end in ends]
