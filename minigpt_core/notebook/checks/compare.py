"""Is what the reader's function gives right, and if not, in which way is it wrong? Whatever holds the right numbers is right: a list,
a tuple, an array, a tensor, of any dtype."""

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROUNDING = 1e-4  # of the largest number: what float32 may lose
SHORT = 2e-2  # what numbers of 16 bits may lose


def same(got: Any, right: Any) -> bool:
    """Whether both say the same: numbers of one shape up to rounding, texts letter by letter, collections item by item.

    >>> same([1, 2], torch.tensor([1.0, 2.0])), same("ab", "a b")
    (True, False)
    """
    a, b = as_numbers(got), as_numbers(right)
    if a is not None and b is not None:
        if a.shape == b.shape and _whole(a) and _whole(b) and _tolerance(got) == ROUNDING:
            return bool((a == b).all())
        return a.shape == b.shape and _close(a, b, _tolerance(got))
    if isinstance(right, Mapping):
        return isinstance(got, Mapping) and got.keys() == right.keys() and all(same(got[k], right[k]) for k in right)
    if isinstance(right, Set):
        return isinstance(got, list | tuple | Set) and set(got) == set(right)
    if isinstance(right, list | tuple):
        return (
            isinstance(got, list | tuple)
            and len(got) == len(right)
            and all(same(g, r) for g, r in zip(got, right, strict=True))
        )
    return type(got) is type(right) and got == right


def as_numbers(value: Any) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """A number, or a list, tuple, array or tensor of numbers, as an array of 64-bit floats; anything else is None.

    >>> as_numbers([[1, 2]]).shape, as_numbers("12")
    ((1, 2), None)
    """
    if isinstance(value, Tensor):
        return value.detach().cpu().double().numpy()
    if isinstance(value, list | tuple) and any(isinstance(part, Tensor) for part in value):
        parts = [as_numbers(part) for part in value]
        if any(part is None or part.shape != parts[0].shape for part in parts):  # type: ignore[union-attr]
            return None
        return np.stack(parts)  # type: ignore[arg-type]
    if isinstance(value, bool | int | float | np.number | np.ndarray | list | tuple):
        try:
            numbers = np.asarray(value)
        except ValueError:  # rows of different lengths
            return None
        if numbers.dtype.kind in "biuf":
            return numbers.astype(np.float64)
    return None


def difference(got: Any, right: Any) -> str:
    """What sets apart two values that are not the same: what is measured, not what is guessed.

    >>> difference([2.0, 4.0], [1.0, 2.0])
    'every number is 2 times what it should be'
    """
    a, b = as_numbers(got), as_numbers(right)
    if a is not None and b is not None:
        return _of_shapes(a, b) if a.shape != b.shape else _of_numbers(a, b)
    if got is None:
        return "it gives back None: does it end with return?"
    if isinstance(right, str) and isinstance(got, str):
        at = next((i for i, (g, r) in enumerate(zip(got, right, strict=False)) if g != r), min(len(got), len(right)))
        return f"the texts part at character {at}: {got[at : at + 12]!r}, should be {right[at : at + 12]!r}"
    if isinstance(right, Mapping) and isinstance(got, Mapping):
        for key in [*right, *got]:
            if key not in got:
                return f"the entry {key!r} is missing"
            if key not in right:
                return f"there is an entry {key!r} too many"
            if not same(got[key], right[key]):
                return f"the entry {key!r} is wrong: {difference(got[key], right[key])}"
    if isinstance(right, list | tuple) and isinstance(got, list | tuple):
        if len(got) != len(right):
            return f"it has {len(got)} items, and should have {len(right)}"
        at = next(i for i, (g, r) in enumerate(zip(got, right, strict=True)) if not same(g, r))
        return f"item {at} is the first that differs: {difference(got[at], right[at])}"
    if type(got) is not type(right):
        return f"it gives back a {type(got).__name__}, and should give a {type(right).__name__}"
    return f"it gives {shown(got)}, and should give {shown(right)}"


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
        return "{" + ", ".join(map(shown, sorted(value))) + "}"
    if isinstance(value, list | tuple):
        inner = ", ".join(map(shown, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {shown(part)}" for key, part in value.items()) + "}"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _whole(a: np.ndarray[Any, Any]) -> bool:
    return bool((a == a.round()).all())


def _numbers(a: np.ndarray[Any, Any]) -> str:
    if a.size > 64:
        return f"numbers of shape {a.shape}, which begin {', '.join(f'{x:.4g}' for x in a.flat[:6])}"
    if a.ndim == 0:
        return f"{a.item():.6g}"
    return "[" + ", ".join(_numbers(part) for part in a) + "]"


def _tolerance(got: Any) -> float:
    if isinstance(got, list | tuple) and got and isinstance(got[0], Tensor):
        got = got[0]
    short = isinstance(got, Tensor) and got.dtype in (torch.float16, torch.bfloat16)
    return SHORT if short or getattr(got, "dtype", None) == np.float16 else ROUNDING


def _close(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], tolerance: float) -> bool:
    if any((is_so(a) != is_so(b)).any() for is_so in (np.isnan, np.isposinf, np.isneginf)):
        return False
    finite = np.isfinite(b)
    if not finite.any():
        return True
    return bool((np.abs(a[finite] - b[finite]) <= tolerance * max(np.abs(b[finite]).max(), 1e-3)).all())


def _of_shapes(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> str:
    sizes = f"its shape is {a.shape}, and should be {b.shape}"
    if a.ndim == b.ndim == 1:
        sizes = f"it has {len(a)} numbers, and should have {len(b)}"
        if len(a) < len(b) and _close(a, b[: len(a)], ROUNDING):
            return f"{sizes}: those at the end are missing"
        if len(a) < len(b) and _close(a, b[len(b) - len(a) :], ROUNDING):
            return f"{sizes}: those at the beginning are missing"
    if a.ndim == b.ndim == 2 and a.T.shape == b.shape and _close(a.T, b, ROUNDING):
        return f"{sizes}: it is the right matrix, transposed"
    if a.size == b.size and _close(a.ravel(), b.ravel(), ROUNDING):
        return f"{sizes}: the numbers are right, in another shape"
    return sizes


def _of_numbers(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> str:
    """Of one shape."""
    broken = ~np.isfinite(a) & np.isfinite(b)
    if broken.any():
        what = "nan" if np.isnan(a[broken]).any() else "infinite"
        return f"{broken.sum()} of its {a.size} numbers {'is' if broken.sum() == 1 else 'are'} {what}"
    finite = np.isfinite(a) & np.isfinite(b)
    if a.size > 1 and finite.all() and (found := _of_all(a, b)):
        return found
    wrong = ~(
        np.isclose(a, b, rtol=ROUNDING, atol=ROUNDING * max(np.abs(b[finite]).max(initial=0), 1e-3), equal_nan=True)
    )
    if a.ndim == 0:
        return f"it gives {a.item():.6g}, and should give {b.item():.6g}"
    at = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.any() else (0,) * a.ndim
    where = f"[{', '.join(map(str, at))}]"
    first = f"the first is at {where}: {a[at]:.6g}, should be {b[at]:.6g}"
    if a.ndim > 1 and not wrong.all():
        rows = np.unique(np.argwhere(wrong)[:, 0])
        return f"{wrong.sum()} of {a.size} numbers are wrong, in row{'s' * (len(rows) > 1)} {', '.join(map(str, rows[:5]))}; {first}"
    largest = np.abs(a[finite] - b[finite]).max(initial=0)
    if largest < 0.01 * np.abs(b[finite]).max(initial=0):
        return f"it is nearly right: the largest difference is {largest:.2g}, which is more than rounding; {first}"
    return f"{wrong.sum()} of {a.size} numbers are wrong; {first}"


def _of_all(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> str:
    """A relation that holds for all numbers; "" where there is none."""
    if not b.any():
        return ""
    big = np.abs(b) > 1e-6
    ratios, moves = a[big] / b[big], a - b
    if np.allclose(a, -b, rtol=ROUNDING, atol=1e-6):
        return "every number has the wrong sign"
    if not a.any():
        return "all its numbers are zero"
    if a[~big].any() is np.False_ and len(ratios) > 1 and np.allclose(ratios, ratios[0], rtol=ROUNDING):
        return f"every number is {ratios[0]:.4g} times what it should be"
    if np.allclose(moves, moves.flat[0], atol=ROUNDING * np.abs(b).max()):
        return f"every number is {abs(moves.flat[0]):.4g} too {'large' if moves.flat[0] > 0 else 'small'}"
    if a.ndim == 2 and a.shape[0] == a.shape[1] and _close(a.T, b, ROUNDING):
        return "it is the right matrix, transposed"
    if _close(a[::-1], b, ROUNDING):
        return "it is right, but backwards"
    if a.ndim == 1 and _close(np.roll(a, -1)[:-1], b[:-1], ROUNDING):
        return "it is moved by one place to the right"
    if a.ndim == 1 and _close(np.roll(a, 1)[1:], b[1:], ROUNDING):
        return "it is moved by one place to the left"
    if _close(np.sort(a.ravel()), np.sort(b.ravel()), ROUNDING):
        return "the numbers are right, in another order"
    return ""
