"""What sampling refuses, each in one sentence that names what was given and what is needed."""

import math

import numpy as np
from torch import Tensor

LARGEST = float(np.finfo(np.float64).max)


def check_finite(finite: bool) -> None:
    """Refuse logits that are not all finite.

    >>> check_finite(True)
    """
    if not finite:
        raise ValueError("the model's logits are not all finite: its training may have diverged")


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
