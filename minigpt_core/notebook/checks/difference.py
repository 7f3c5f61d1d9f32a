"""In which way is a wrong answer wrong?"""

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from .compare import ROUNDING, as_numbers, as_set, close, same, shown

Array = np.ndarray[Any, Any]


def difference(got: Any, right: Any) -> str:
    """What sets apart two values that are not the same: what is measured, not what is guessed.

    >>> difference([2.0, 4.0], [1.0, 4.0])
    '1 of 2 numbers is wrong; the first is at [0]: 2, should be 1'
    """
    a, b = as_numbers(got), as_numbers(right)
    if a is not None and b is not None and not isinstance(right, bool):
        return _of_shapes(a, b) if a.shape != b.shape else _of_numbers(a, b)
    if got is None:
        return "it gives back None: does it end with return, on every way through it?"
    if isinstance(right, str) and isinstance(got, str) and got[:1] != right[:1]:
        return f"it gives {shown(got)}, and should give {shown(right)}"
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
        if got[at] is None or right[at] is None:
            return f"item {at} is {shown(got[at])}, and should be {shown(right[at])}"
        return f"in item {at}, {difference(got[at], right[at])}"
    if isinstance(right, Set) and isinstance(got, list | tuple | Set) and (found := as_set(got)) is not None:
        missing, extra = right - found, found - right
        return f"{f'{shown(missing)} is missing' if missing else f'{shown(extra)} should not be in it'}"
    if right is not None and type(got) is not type(right):
        return f"it gives back {_a(got)}, and should give {_a(right)}"
    return f"it gives {shown(got)}, and should give {shown(right)}"


def _a(value: Any) -> str:
    name = "dict" if isinstance(value, Mapping) else type(value).__name__
    return f"a{'n' * (name[0].lower() in 'aeiou')} {name}"


def _of_shapes(a: Array, b: Array) -> str:
    if a.shape == (1,) and b.ndim == 0:
        return "it gives a list of one number; the number itself is asked for"
    if a.ndim == b.ndim == 1:
        return f"it has {_counted(len(a))}, and should have {len(b)}"
    return f"its shape is {a.shape}, and should be {b.shape}"


def _of_numbers(a: Array, b: Array) -> str:
    """Of one shape."""
    for what, is_so in (("nan", np.isnan), ("infinite", np.isposinf), ("minus infinity", np.isneginf)):
        for found, said in ((is_so(a) & ~is_so(b), "is"), (is_so(b) & ~is_so(a), "should be")):
            if found.any():
                many = "are" if said == "is" and found.sum() > 1 else said
                not_so = "and should not be" if said == "is" else "and is not" if found.sum() == 1 else "and are not"
                return f"{found.sum()} of {_counted(a.size)} {many} {what}, {not_so}; {_first(a, b, found)}"
    finite = np.isfinite(b)
    wrong = np.zeros(a.shape, bool)
    wrong[finite] = np.abs(a[finite] - b[finite]) > ROUNDING * max(np.abs(b[finite]).max(initial=0), 1e-3)
    if a.ndim == 0:
        return f"it gives {a.item():.6g}, and should give {b.item():.6g}"
    if not wrong.any():  # whole numbers are not rounded
        wrong = a != b
    first = _first(a, b, wrong)
    share = f"{wrong.sum()} of {_counted(a.size)} {'is' if wrong.sum() == 1 else 'are'} wrong"
    if a.ndim > 1 and not wrong.all():
        rows = np.unique(np.argwhere(wrong)[:, 0])
        return f"{share}, in row{'s' * (len(rows) > 1)} {', '.join(map(str, rows[:5]))}; {first}"
    largest = np.abs(a[finite] - b[finite]).max(initial=0)
    if largest < 0.01 * np.abs(b[finite]).max(initial=0):
        return f"it is nearly right: the largest difference is {largest:.2g}, which is more than rounding; {first}"
    return f"{share}; {first}"


def _counted(size: int) -> str:
    return f"{size} number{'s' * (size != 1)}"


def _first(a: Array, b: Array, wrong: Array) -> str:
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f" at [{', '.join(map(str, at))}]" if at else ""
    return f"the first is{where}: {a[at]:.6g}, should be {b[at]:.6g}"


def relation(got: Any, right: Any) -> str:
    """What holds for all numbers of a wrong answer, with words that another case may have in common; "" where nothing does, and
    where there are too few numbers to say so.

    >>> relation([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    'every number is 2 times what it should be'
    """
    a, b = as_numbers(got), as_numbers(right)
    if (
        a is None
        or b is None
        or b.size < 3
        or not np.isfinite(a).all()
        or not np.isfinite(b).all()
        or len(np.unique(b)) < 2
    ):
        return ""
    return _of_all(a, b) if a.shape == b.shape else _of_other_shapes(a, b)


def _of_other_shapes(a: Array, b: Array) -> str:
    if a.ndim == b.ndim == 1 and 0 < len(a) < len(b):
        if close(a, b[: len(a)]):
            return "those at the end are missing"
        if close(a, b[len(b) - len(a) :]):
            return "those at the beginning are missing"
    if a.ndim == b.ndim == 2 and a.T.shape == b.shape and close(a.T, b):
        return "it is the right matrix, transposed"
    if a.size == b.size and close(a.ravel(), b.ravel()):
        return "the numbers are right, in another shape"
    return ""


def _of_all(a: Array, b: Array) -> str:
    """Of one shape."""
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
    if a.ndim == 2 and a.shape[0] == a.shape[1] and close(a.T, b):
        return "it is the right matrix, transposed"
    if close(a[::-1], b):
        return "it is right, but backwards"
    if a.ndim == 1 and len(a) > 3 and close(np.roll(a, -1)[:-1], b[:-1]):
        return "it is moved by one place to the right"
    if a.ndim == 1 and len(a) > 3 and close(np.roll(a, 1)[1:], b[1:]):
        return "it is moved by one place to the left"
    if close(np.sort(a.ravel()), np.sort(b.ravel())):
        return "the numbers are right, in another order"
    return ""
