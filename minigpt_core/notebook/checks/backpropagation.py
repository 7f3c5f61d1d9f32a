"""Chapter 04: slopes by hand, of a layer, past additions; a relative error; and a walk back in no order."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .exercise import Exercise, numbers

two_layer_slopes = Exercise(
    "04",
    "ten minutes",
    "two_layer_slopes(x, w, v, y): of the machine h = tanh(w * x), z = v * h, L = (z - y) ** 2, all of them single "
    "numbers, the slopes of L along the weights: two numbers, that along w first, then that along v.",
    hints=[
        "Compute h and z first, from left to right: the local derivatives need them.",
        "From the back: L moves by 2 * (z - y) for each unit of z. Hand that back to v and to h, crosswise as at "
        "every product.",
        "From h to w it is two factors more: that of tanh, which depends on h, and that of the product w * x.",
    ],
)


@two_layer_slopes.cases
def _() -> Iterator[tuple[float, float, float, float]]:
    yield 1.0, 0.0, 2.0, -1.0
    yield 2.0, 0.5, 3.0, 1.0
    yield -1.0, 0.5, -2.0, 0.5


def _two(x: float, w: float, v: float, y: float) -> tuple[float, float]:
    h = math.tanh(w * x)
    dz = 2 * (v * h - y)
    return dz * v * (1 - h * h) * x, dz * h


two_layer_slopes.answer(_two)


@two_layer_slopes.mistake(
    "the slope along w is handed back as if tanh were a straight line: its local derivative is missing. It is 1 only "
    "at zero."
)
def past_the_tanh(x: float, w: float, v: float, y: float) -> tuple[float, float]:
    h = math.tanh(w * x)
    dz = 2 * (v * h - y)
    return dz * v * x, dz * h


@two_layer_slopes.mistake(
    "tanh's local derivative is 1 minus the square of what comes out of it, and its output h went through a second "
    "tanh."
)
def tanh_twice(x: float, w: float, v: float, y: float) -> tuple[float, float]:
    h = math.tanh(w * x)
    dz = 2 * (v * h - y)
    return dz * v * (1 - math.tanh(h) ** 2) * x, dz * h


@two_layer_slopes.mistake("both slopes are half of what they should be: which local derivative does a square have?")
def half_a_square(x: float, w: float, v: float, y: float) -> tuple[float, float]:
    dw, dv = _two(x, w, v, y)
    return dw / 2, dv / 2


@two_layer_slopes.mistake("the slope along w is that along the product w * x: the last factor of the way is missing.")
def without_x(x: float, w: float, v: float, y: float) -> tuple[float, float]:
    h = math.tanh(w * x)
    dz = 2 * (v * h - y)
    return dz * v * (1 - h * h), dz * h


@two_layer_slopes.mistake("both slopes have the wrong sign: the loss grows with z where z is too large, z - y above 0.")
def wrong_way_round(x: float, w: float, v: float, y: float) -> tuple[float, float]:
    dw, dv = _two(x, w, v, y)
    return -dw, -dv


@two_layer_slopes.mistake("the two slopes have changed places: that along w is asked for first.")
def exchanged(x: float, w: float, v: float, y: float) -> tuple[float, float]:
    return _two(x, w, v, y)[::-1]


@two_layer_slopes.mistake(
    "the factors at the product v * h are not crosswise: each of the two is multiplied by the other, so v moves z by h."
)
def not_crosswise(x: float, w: float, v: float, y: float) -> tuple[float, float]:
    h = math.tanh(w * x)
    dz = 2 * (v * h - y)
    return dz * h * (1 - h * h) * x, dz * v


layer_slopes = Exercise(
    "04",
    "ten minutes",
    "layer_slopes(h, W, dz): of the layer z = h @ W + b, with h (N, C), W (C, V) and b (V,), from the slopes dz (N, "
    "V) of the loss along z to those along W (C, V), b (V,) and h (N, C), in this order.",
    hints=[
        "Let the shapes tell: which products of h, W and dz, with .T where it is needed, have the shape (C, V), and "
        "which (N, C)?",
        "b is added to each of the N rows, so N ways lead from each of its numbers to the loss. What is done over all "
        "ways?",
        "The mean over the N pairs, if there is one, is already in dz.",
    ],
)


@layer_slopes.cases
def _() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    yield torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0, 1.0], [0.0, 3.0, 1.0]]), torch.tensor([[1.0, -1.0, 2.0]])
    yield numbers(2, 2), numbers(2, 3, seed=1), numbers(2, 3, seed=2)
    yield numbers(4, 3, seed=3), numbers(3, 2, seed=4), numbers(4, 2, seed=5)


Slopes = tuple[Tensor, Tensor, Tensor]


def _layer(h: Tensor, W: Tensor, dz: Tensor) -> Slopes:
    return h.T @ dz, dz.sum(0), dz @ W.T


layer_slopes.answer(_layer)


@layer_slopes.mistake(
    "the slope along b is a mean over the rows. b is added in each row, and over all ways slopes add up: the mean of "
    "the loss is in dz already."
)
def mean_over_rows(h: Tensor, W: Tensor, dz: Tensor) -> Slopes:
    return h.T @ dz, dz.mean(0), dz @ W.T


@layer_slopes.mistake(
    "the slope along b has a row for each pair, and b has one row alone: broadcasting used its numbers in every row. "
    "What is done where a number is used several times?"
)
def one_for_each_row(h: Tensor, W: Tensor, dz: Tensor) -> Slopes:
    return h.T @ dz, dz, dz @ W.T


@layer_slopes.mistake("the slope along b is that of the last row alone: each row has overwritten the one before.")
def last_row_only(h: Tensor, W: Tensor, dz: Tensor) -> Slopes:
    return h.T @ dz, dz[-1], dz @ W.T


@layer_slopes.mistake(
    "the slope along b has a number for each pair: the sum runs along the rows. b has a number for each column."
)
def along_the_rows(h: Tensor, W: Tensor, dz: Tensor) -> Slopes:
    return h.T @ dz, dz.sum(1), dz @ W.T


@layer_slopes.mistake("the slope along W is transposed: slopes have the shape of that whose slopes they are.")
def transposed(h: Tensor, W: Tensor, dz: Tensor) -> Slopes:
    return dz.T @ h, dz.sum(0), dz @ W.T


@layer_slopes.mistake("all is divided by N once more: the mean over the pairs is in dz already.")
def mean_twice(h: Tensor, W: Tensor, dz: Tensor) -> Slopes:
    dW, db, dh = _layer(h, W, dz)
    return dW / len(h), db / len(h), dh / len(h)


slope_through = Exercise(
    "04",
    "ten minutes",
    "slope_through(x, weights): x, one number, goes through one step after the other, x = x + tanh(w * x), with a w "
    "from the list for each; the slope of the number at the end along the number at the start.",
    hints=[
        "Two ways lead through each step: straight past the tanh, and through it. What is the factor of each?",
        "Over both ways the factors add up; over the steps, one after the other, they are multiplied.",
        "The tanh's local derivative depends on the x that enters this step, which is not the x of the start.",
    ],
)


@slope_through.cases
def _() -> Iterator[tuple[float, list[float]]]:
    yield 0.0, [1.0]
    yield 1.0, [0.5]
    yield 0.5, []
    yield 0.5, [1.0, -2.0]
    yield -1.0, [0.5, -1.0, 0.25]


def _factors(x: float, weights: list[float]) -> Iterator[tuple[float, float, float]]:
    """For each step: what enters, its weight, and what tanh gives."""
    for w in weights:
        t = math.tanh(w * x)
        yield x, w, t
        x = x + t


@slope_through.answer
def _(x: float, weights: list[float]) -> float:
    return math.prod(1 + w * (1 - t * t) for _, w, t in _factors(x, weights))


@slope_through.mistake(
    "the way straight past the tanh is missing: the slope is handed back through the tanh alone, where it dies out."
)
def no_straight_way(x: float, weights: list[float]) -> float:
    return math.prod(w * (1 - t * t) for _, w, t in _factors(x, weights))


@slope_through.mistake(
    "only the straight way is there, so the slope is always 1: the number also goes through the tanh."
)
def straight_way_alone(x: float, weights: list[float]) -> float:
    return 1.0


@slope_through.mistake(
    "one step is right, and several are not: every step takes its local derivative at the x of the start. What enters "
    "the second step?"
)
def at_the_start(x: float, weights: list[float]) -> float:
    return math.prod(1 + w * (1 - math.tanh(w * x) ** 2) for w in weights)


@slope_through.mistake("the local derivative is taken at what leaves a step; it belongs to what enters it.")
def at_what_leaves(x: float, weights: list[float]) -> float:
    return math.prod(1 + w * (1 - math.tanh(w * (x + t)) ** 2) for x, w, t in _factors(x, weights))


@slope_through.mistake("the way through the tanh lacks a factor: before the tanh, x is multiplied by w.")
def without_the_weight(x: float, weights: list[float]) -> float:
    return math.prod(1 + (1 - t * t) for _, w, t in _factors(x, weights))


@slope_through.mistake(
    "the factors of the steps are added. Along a way they are multiplied; only over several ways they add up."
)
def added_along(x: float, weights: list[float]) -> float:
    return 1 + sum(w * (1 - t * t) for _, w, t in _factors(x, weights))


relative_error = Exercise(
    "04",
    "a minute",
    "relative_error(by_formula, by_turning): two ways to the same slopes, (n,) each, to the largest of their relative "
    "errors |a - b| / (|a| + |b|), one number; where both slopes are 0, the error is 0.",
    hints=[
        "Three absolute values: of the difference, and of each slope below the line.",
        "What is 0 / 0 in PyTorch, and what should it be here?",
        "Dividing by at least a very small number leaves all other errors as they are.",
    ],
)


@relative_error.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.tensor([3.0]), torch.tensor([1.0])
    yield torch.tensor([30.0, 0.02, 1.0]), torch.tensor([31.0, 0.04, 1.0])
    yield torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1.0])
    yield torch.tensor([1.0, -2.0, -1.0]), torch.tensor([1.0, -1.0, 2.0])
    yield torch.tensor([0.0, 2.0]), torch.tensor([0.5, 2.0])


@relative_error.answer
def _(a: Tensor, b: Tensor) -> Tensor:
    return _errors(a, b).max()


def _errors(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs() / (a.abs() + b.abs()).clamp(min=1e-12)


@relative_error.mistake(
    "that is the largest difference itself: a slope of 31 for 30 counts as a larger fault than 0.04 for 0.02, which "
    "is twice too large."
)
def absolute(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().max()


@relative_error.mistake(
    "two slopes of 0 give nan, 0 divided by 0, though they agree. And every comparison with nan is false: `error > "
    "1e-4` would find no fault."
)
def zero_by_zero(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b).abs() / (a.abs() + b.abs())).max()


@relative_error.mistake("the error is 0 as soon as one slope is 0; it is 0 only where both are.")
def none_beside_zero(a: Tensor, b: Tensor) -> Tensor:
    return torch.where((a == 0) | (b == 0), 0.0, _errors(a, b)).max()


SIGNED = (
    "the differences have kept their signs, so a slope that is off to one side has an error below 0, and passes every "
    "test."
)


@relative_error.mistake(SIGNED)
def signed(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) / (a.abs() + b.abs()).clamp(min=1e-12)).max()


@relative_error.mistake(SIGNED)
def signed_the_other_way(a: Tensor, b: Tensor) -> Tensor:
    return ((b - a) / (a.abs() + b.abs()).clamp(min=1e-12)).max()


@relative_error.mistake(
    "below the line the slopes are added with their signs, so -1 and 2 have an error of 3: each needs its own absolute "
    "value before they are added."
)
def signs_below(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b).abs() / (a + b + 1e-12)).max()


@relative_error.mistake(
    "it is the mean of the errors. One wrong slope among a million right ones is to be found: take the largest."
)
def mean_error(a: Tensor, b: Tensor) -> Tensor:
    return _errors(a, b).mean()


@relative_error.mistake(
    "the largest difference is divided by the largest slopes. A small slope that is wholly wrong then hides behind a "
    "large one: each slope has its own error."
)
def of_the_largest(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().max() / (a.abs().max() + b.abs().max())


graph_slopes = Exercise(
    "04",
    "ten minutes",
    "graph_slopes(parts, local): the slopes of a graph's result along each of its n numbers, a list of n. Number i "
    "was made of the numbers parts[i], which come before it in the list (none, if it was given), with the local "
    "derivatives local[i]; the result is the last.",
    hints=[
        "Take a short graph that ends in m * m: parts [[], [], [0, 1], [2, 2]], local [[], [], [3, 2], [6, 6]]. Which "
        "slope does m get, and what has it handed on?",
        "How many times does visit(2) run, and what does slopes[2] hold each time? A number that is used twice is "
        "handed on twice.",
        "A number may hand on its slope once, when all that use it have given their share. They all come after it in "
        "the list.",
    ],
    planted=True,
)


@graph_slopes.cases
def _() -> Iterator[tuple[list[list[int]], list[list[float]]]]:
    yield [[], [0]], [[], [3.0]]
    yield [[], [], [0, 1], [2, 2]], [[], [], [3.0, 2.0], [6.0, 6.0]]
    yield [[], [], [0, 1], [2, 2], [2, 3]], [[], [], [3.0, 2.0], [6.0, 6.0], [1.0, 1.0]]
    yield [[], [0], [1], [0, 1], [3, 2]], [[], [2.0], [3.0], [1.0, -1.0], [1.0, 2.0]]
    yield [[], [], [0], [0, 2]], [[], [], [2.0], [1.0, 3.0]]


Graph = list[list[int]]
Local = list[list[float]]


def _walked(parts: Graph, local: Local, order: Any, first: float = 1.0, adds: bool = True) -> list[float]:
    slopes = [0.0] * len(parts)
    slopes[-1] = first
    for i in order:
        for part, factor in zip(parts[i], local[i], strict=True):
            slopes[part] = slopes[i] * factor + (slopes[part] if adds else 0.0)
    return slopes


@graph_slopes.answer
def _(parts: Graph, local: Local) -> list[float]:
    return _walked(parts, local, reversed(range(len(parts))))


@graph_slopes.mistake(
    "graphs in which no number is used twice are right. Where m * m uses m twice, those before it get too much: count "
    "how many times each number hands on its slope, and what it holds each time."
)
def as_planted(parts: Graph, local: Local) -> list[float]:
    slopes = [0.0] * len(parts)

    def visit(i: int) -> None:
        for part, factor in zip(parts[i], local[i], strict=True):
            slopes[part] += slopes[i] * factor
            visit(part)

    slopes[-1] = 1.0
    visit(len(parts) - 1)
    return slopes


@graph_slopes.mistake("in m * m the number m is visited twice, and each time hands on all it holds.")
def all_shares_then_visits(parts: Graph, local: Local) -> list[float]:
    slopes = [0.0] * len(parts)

    def visit(i: int) -> None:
        for part, factor in zip(parts[i], local[i], strict=True):
            slopes[part] += slopes[i] * factor
        for part in parts[i]:
            visit(part)

    slopes[-1] = 1.0
    visit(len(parts) - 1)
    return slopes


@graph_slopes.mistake(
    "each number now hands on its slope once, and some of them too early: as soon as they are first met, before all "
    "that use them have given their share. In m * m look at what m holds at that moment."
)
def once_and_too_early(parts: Graph, local: Local) -> list[float]:
    slopes, seen = [0.0] * len(parts), set()

    def visit(i: int) -> None:
        seen.add(i)
        for part, factor in zip(parts[i], local[i], strict=True):
            slopes[part] += slopes[i] * factor
            if part not in seen:
                visit(part)

    slopes[-1] = 1.0
    visit(len(parts) - 1)
    return slopes


@graph_slopes.mistake(
    "all shares of a step are given before it goes on, so m * m is right now. But a number that is met early still "
    "hands on before later ones have given it theirs: compare the slopes in the graph of section 3, where m is used "
    "three times."
)
def in_layers(parts: Graph, local: Local) -> list[float]:
    order, seen = [len(parts) - 1], {len(parts) - 1}
    for i in order:
        for part in parts[i]:
            if part not in seen:
                order.append(part)
                seen.add(part)
    return _walked(parts, local, order)


@graph_slopes.mistake(
    "the last way that arrives overwrites the others: `=` where the slopes of several ways have to add up."
)
def overwrites(parts: Graph, local: Local) -> list[float]:
    return _walked(parts, local, reversed(range(len(parts))), adds=False)


@graph_slopes.mistake("all slopes are 0: nothing starts the walk. How far does the result move when the result moves?")
def no_start(parts: Graph, local: Local) -> list[float]:
    return _walked(parts, local, reversed(range(len(parts))), first=0.0)


@graph_slopes.mistake(
    "the walk goes from the front, where all slopes are still 0, so only the result's own parts get any. Slopes come "
    "from the back."
)
def from_the_front(parts: Graph, local: Local) -> list[float]:
    return _walked(parts, local, range(len(parts)))
