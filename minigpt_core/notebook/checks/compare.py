"""Is what the reader's function gives right? Whatever holds the right numbers is: a list, a tuple, an array, a tensor, of any dtype."""

from collections.abc import Mapping, Set
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROUNDING = 1e-4  # of the largest number: what float32 may lose
SHORT = 2e-2  # what numbers of 16 bits may lose


def same(got: Any, right: Any, forgiving: bool = True) -> bool:
    """Whether both say the same: numbers of one shape up to rounding, texts letter by letter, collections item by item. Numbers of
    16 bits may be rounded more, where one is `forgiving`.

    >>> same([1, 2], torch.tensor([1.0, 2.0])), same("ab", "a b")
    (True, False)
    """
    a, b = as_numbers(got), as_numbers(right)
    if a is not None and b is not None:
        short = forgiving and _is_short(got)
        if a.shape == b.shape and _whole(a) and _whole(b) and not short:
            return bool((a == b).all())
        return a.shape == b.shape and close(a, b, SHORT if short else ROUNDING)
    if isinstance(right, Mapping):
        return (
            isinstance(got, Mapping)
            and got.keys() == right.keys()
            and all(same(got[k], right[k], forgiving) for k in right)
        )
    if isinstance(right, Set):
        return isinstance(got, list | tuple | Set | Tensor | np.ndarray) and as_set(got) == as_set(right)
    if isinstance(right, list | tuple):
        return (
            isinstance(got, list | tuple)
            and len(got) == len(right)
            and all(same(g, r, forgiving) for g, r in zip(got, right, strict=True))
        )
    if isinstance(right, str):
        return isinstance(got, str) and str(got) == right
    return type(got) is type(right) and bool(got == right)


def as_set(items: Any) -> set[Any] | None:
    """The items as a set, None where they can be in none.

    >>> as_set(torch.tensor([2, 2]))
    {2}
    """
    try:
        return {item.item() if hasattr(item, "item") else item for item in items}
    except (TypeError, ValueError, RuntimeError):
        return None


def as_numbers(value: Any) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """A number, or a list, tuple, array or tensor of numbers, as an array of 64-bit floats; anything else is None.

    >>> as_numbers([[1, 2]]).shape, as_numbers("12")
    ((1, 2), None)
    """
    if isinstance(value, Tensor):
        return value.detach().cpu().double().numpy()
    if isinstance(value, list | tuple) and len({isinstance(part, bool | np.bool_) for part in value}) == 2:
        return None  # a number and a truth value are two things
    if isinstance(value, list | tuple) and any(isinstance(part, Tensor) for part in value):
        parts = [as_numbers(part) for part in value]
        if any(part is None or part.shape != parts[0].shape for part in parts):  # type: ignore[union-attr]
            return None
        return np.stack(parts)  # type: ignore[arg-type]
    if isinstance(value, Real | np.ndarray | list | tuple):
        try:
            numbers = np.asarray(value)
        except ValueError:  # rows of different lengths
            return None
        if numbers.dtype.kind in "biuf" or all(isinstance(part, Real) for part in numbers.flat):
            return numbers.astype(np.float64)
    return None


def shown(value: Any) -> str:
    """A value as the reader would type it, cut where it is long.

    >>> shown(torch.tensor([[0.5, 1.0]]))
    '[[0.5, 1]]'
    """
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    if isinstance(value, str):
        return repr(value) if len(value) <= 200 else f"{value[:200]!r}... ({len(value)} characters)"
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    numbers = as_numbers(value)
    mixed = isinstance(value, list | tuple) and any(isinstance(part, bool) for part in value)
    if numbers is not None and not mixed:
        return _numbers(numbers)
    if isinstance(value, Set):
        return "{" + ", ".join(map(shown, sorted(value, key=repr))) + "}"
    if isinstance(value, list | tuple):
        inner = ", ".join(map(shown, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {shown(part)}" for key, part in value.items()) + "}"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _whole(a: np.ndarray[Any, Any]) -> bool:
    return bool((a == a.round()).all() and (np.abs(a) < 2**24).all())  # what float32 holds exactly


def _numbers(a: np.ndarray[Any, Any]) -> str:
    if a.size > 64:
        return f"numbers of shape {a.shape}, which begin {', '.join(f'{x:.4g}' for x in a.flat[:6])}"
    if a.ndim == 0:
        return f"{a.item():.6g}"
    return "[" + ", ".join(_numbers(part) for part in a) + "]"


def _is_short(got: Any) -> bool:
    """Whether these are numbers of 16 bits."""
    first = got[0] if isinstance(got, list | tuple) and got else got
    return getattr(first, "dtype", None) in (torch.float16, torch.bfloat16, np.float16)


def close(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], tolerance: float = ROUNDING) -> bool:
    """Whether arrays of one shape differ by no more than a share of the largest number, with nan and infinities in the same
    places.

    >>> close(np.array([1.0, 2.0]), np.array([1.0, 2.0001]))
    True
    """
    if any((is_so(a) != is_so(b)).any() for is_so in (np.isnan, np.isposinf, np.isneginf)):
        return False
    finite = np.isfinite(b)
    if not finite.any():
        return True
    return bool((np.abs(a[finite] - b[finite]) <= tolerance * max(np.abs(b[finite]).max(), 1e-3)).all())
