"""What a model and sampling refuse, each in one sentence that names what was given and what is needed."""

import math
import operator
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

LARGEST = float(np.finfo(np.float64).max)


def check_finite(finite: bool) -> None:
    """Refuse logits that are not all finite.

    >>> check_finite(True)
    """
    if not finite:
        raise ValueError("the model's logits are not all finite: its training may have diverged")


def check_idx(name: str, idx: Tensor, shape: str, vocab_size: int) -> None:
    """Refuse what is no batch of token ids of a shape such as (B, T), each from 0 to vocab_size - 1. The ids are read on the CPU
    only: to read them, another device would have to be waited for.

    >>> check_idx("idx", torch.tensor([[1, 65]]), "(B, T)", 65)
    Traceback (most recent call last):
    ValueError: idx go from 1 to 65, the model's tokens from 0 to 64: use the model's own tokenizer
    """
    if not isinstance(idx, Tensor) or idx.dtype != torch.int64 or idx.dim() != 2 or not idx.numel():
        given = f"{idx.dtype} of shape {tuple(idx.shape)}" if isinstance(idx, Tensor) else f"a {type(idx).__name__}"
        raise ValueError(
            f"{name} must be token ids, int64 of shape {shape}, as torch.tensor([tokenizer.encode(text)]), not {given}"
        )
    if idx.device.type == "cpu" and not 0 <= idx.min() <= idx.max() < vocab_size:
        raise ValueError(
            f"{name} go from {idx.min()} to {idx.max()}, the model's tokens from 0 to {vocab_size - 1}: use the model's own "
            "tokenizer"
        )


def check_prompt(ids: Iterable[int], vocab_size: int) -> list[int]:
    """The token ids of a prompt as whole numbers; what is none, or nothing, is refused.

    >>> check_prompt(torch.tensor([3, 1]), 65)
    [3, 1]
    """
    try:
        prompt = [operator.index(i) for i in ids]
    except TypeError:
        raise ValueError(f"the prompt must be token ids, as tokenizer.encode(text) gives them, not {ids!r}") from None
    if not prompt:
        raise ValueError("the prompt is empty: generation needs at least one token to continue")
    for i in prompt:
        if not 0 <= i < vocab_size:
            raise ValueError(f"token id {i} is outside the model's vocabulary of {vocab_size} tokens")
    return prompt


def check_knob(name: str, value: float, low: float, high: float, low_included: bool = True) -> None:
    """Refuse what is no finite number from `low` to `high`. A whole number too large for a float is not finite here.

    >>> check_knob("top_p", 1.5, 0, 1, low_included=False)
    Traceback (most recent call last):
    ValueError: top_p=1.5 must be a finite number, above 0 and at most 1
    """
    number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool) and abs(value) <= LARGEST
    if number and low <= value <= high and (value != low or low_included):
        return
    bounds = [f"at least {low}" if low_included else f"above {low}"] * (low > -math.inf)
    bounds += [f"at most {high}"] * (high < math.inf)
    raise ValueError(f"{name}={value!r} must be a finite number{', ' * bool(bounds)}{' and '.join(bounds)}")


def check_logits(logits: Tensor, shape: str) -> None:
    """Refuse what are no logits of a shape such as (B, V).

    >>> check_logits(torch.zeros(1, 3), "(B, V)")
    """
    dims = len(shape.split())
    if isinstance(logits, Tensor) and logits.is_floating_point() and logits.dim() == dims and logits.numel():
        return
    given = (
        f"{logits.dtype} of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    )
    raise ValueError(f"logits must be floating-point numbers of shape {shape}, not {given}")
