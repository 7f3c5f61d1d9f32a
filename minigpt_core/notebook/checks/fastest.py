"""Chapter 14: letters at the door, a square, a step in all directions, and whether a gain is one."""

import math
import statistics
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .exercise import Exercise, numbers

previous_ids = Exercise(
    "14",
    "a minute",
    "previous_ids(ids, back, none): for each position of a list of ids, the id that stands `back` places before it; `none` where the window has "
    "just begun. A list as long as ids; back is at least 1, and may be larger than the window.",
    hints=[
        "Write the ids of a window of four, and below them those of one place before. What stands below the first?",
        "The last ids of the window are before nobody: they fall off at the end.",
        "back times none, then the ids from the beginning, cut to the length of ids.",
    ],
)


@previous_ids.cases
def _() -> Iterator[tuple[list[int], int, int]]:
    yield [5, 6, 7], 1, 9
    yield [5, 6, 7, 8], 2, 9
    yield [4], 1, 0
    yield [5, 6], 3, 9


@previous_ids.answer
def _(ids: list[int], back: int, none: int) -> list[int]:
    return ([none] * back + ids)[: len(ids)]


@previous_ids.mistake(
    "position 0 is given the id of a later position: the ids are moved to the left, so the model would read what it has to predict."
)
def reads_the_future(ids: list[int], back: int, none: int) -> list[int]:
    return (ids + [none] * back)[-len(ids) :]


ROLLS = "the first positions are given the last ids of the window, as torch.roll does: these come later, and must not be seen."


@previous_ids.mistake(ROLLS)
def rolls_around(ids: list[int], back: int, none: int) -> list[int]:
    return [ids[(i - back) % len(ids)] for i in range(len(ids))]


@previous_ids.mistake(ROLLS)
def last_ids_first(ids: list[int], back: int, none: int) -> list[int]:
    return ids[-back:] + ids[:-back]


@previous_ids.mistake(
    "where the window begins stands 0, and 0 is the id of a token: only `none` says that nothing came before."
)
def zero_for_none(ids: list[int], back: int, none: int) -> list[int]:
    return ([0] * back + ids)[: len(ids)]


@previous_ids.mistake("the list has become shorter: each position needs an id, those at the beginning too.")
def too_short(ids: list[int], back: int, none: int) -> list[int]:
    return ids[:-back]


@previous_ids.mistake("where the window begins, the first id is repeated, as if it had stood there before.")
def repeats_the_first(ids: list[int], back: int, none: int) -> list[int]:
    return (ids[:1] * back + ids)[: len(ids)]


squared_relu = Exercise(
    "14",
    "a minute",
    "squared_relu(x): a pair of tensors of the shape of x: the squared ReLU of each number, and its slope there (the derivative).",
    hints=[
        "First ReLU, then the square. For a negative x both are 0.",
        "The chain rule: the slope of u * u is 2 * u, times the slope of u, which is ReLU's.",
        "Where x is positive, ReLU's slope is 1: what is left of 2 * u? And where it is negative?",
    ],
)


@squared_relu.cases
def _() -> Iterator[tuple[Tensor]]:
    yield (torch.tensor([3.0, -3.0]),)
    yield (torch.tensor([[0.5, 0.0], [-0.5, 2.0]]),)
    yield (numbers(5),)


@squared_relu.answer
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.relu() ** 2, 2 * x.relu()


@squared_relu.mistake(
    "the square of a negative number comes out: ReLU is missing, or it comes after the square, which is never negative. ReLU comes first."
)
def square_first(x: Tensor) -> tuple[Tensor, Tensor]:
    return (x**2).relu(), 2 * x


@squared_relu.mistake(
    "the slope is that of the square alone: where x is negative nothing is handed on, so the slope is 0 there."
)
def slope_of_the_square(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.relu() ** 2, 2 * x


@squared_relu.mistake(
    "that is ReLU's own slope, 0 or 1. The square has a slope, too: the chain rule multiplies the two."
)
def slope_of_relu(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.relu() ** 2, (x > 0).float()


@squared_relu.mistake("the factor 2 is missing: the slope of u * u is 2 * u.")
def without_the_two(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.relu() ** 2, x.relu()


same_length = Exercise(
    "14",
    "ten minutes",
    "same_length(G, rounds): Muon's way to make the directions of a matrix equally long (section 13): divide G by its norm (the root of the sum of all squares), "
    "then in each round replace X by 3.4445 X - 4.7750 (X X^T) X + 2.0315 (X X^T)(X X^T) X, products of matrices.",
    hints=[
        "Try G = torch.diag(torch.tensor([3.0, 4.0])): its norm is 5, so X begins with 0.6 and 0.8 on the diagonal.",
        "G.norm() is the root of the sum of all squares. A @ B is a product of matrices, A * B one of numbers.",
        "A = X @ X.T once a round; then A @ A @ X is the last term's product.",
    ],
)


@same_length.cases
def _() -> Iterator[tuple[Tensor, int]]:
    yield torch.diag(torch.tensor([3.0, 4.0])), 1
    yield torch.diag(torch.tensor([3.0, 4.0])), 0
    yield torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]) / 4, 2
    yield numbers(2, 4, seed=3) / 8, 5


def _rounds(X: Tensor, rounds: int) -> Tensor:
    for _ in range(rounds):
        A = X @ X.T
        X = 3.4445 * X - 4.7750 * A @ X + 2.0315 * A @ A @ X
    return X


@same_length.answer
def _(G: Tensor, rounds: int) -> Tensor:
    return _rounds(G / G.norm(), rounds)


@same_length.mistake("G is not divided by its norm first. A direction longer than 1 does not go to 1: it runs away.")
def not_divided(G: Tensor, rounds: int) -> Tensor:
    return _rounds(G, rounds)


@same_length.mistake(
    "each row is divided by its own norm. All of G is divided by one number, so that its directions stay what they are."
)
def rows_divided(G: Tensor, rounds: int) -> Tensor:
    return _rounds(G / G.norm(dim=1, keepdim=True), rounds)


@same_length.mistake(
    "the numbers are multiplied one by one, as * and ** do. Only products of matrices, @, act on whole directions."
)
def number_by_number(G: Tensor, rounds: int) -> Tensor:
    X = G / G.norm()
    for _ in range(rounds):
        X = 3.4445 * X - 4.7750 * X**3 + 2.0315 * X**5
    return X


@same_length.mistake("the second term is added, and it should be taken away: -4.7750.")
def wrong_sign(G: Tensor, rounds: int) -> Tensor:
    X = G / G.norm()
    for _ in range(rounds):
        A = X @ X.T
        X = 3.4445 * X + 4.7750 * A @ X + 2.0315 * A @ A @ X
    return X


@same_length.mistake(
    "it is divided by the largest number, not by the norm. The longest direction may still be longer than 1."
)
def by_the_largest(G: Tensor, rounds: int) -> Tensor:
    return _rounds(G / G.abs().max(), rounds)


clear_gain = Exercise(
    "14",
    "ten minutes",
    "clear_gain(before, after): from the final losses of the same seeds in the same order, two lists, a pair: the mean gain (before less after, seed by "
    "seed), and whether it is more than two standard errors of these differences. The standard error is their standard deviation, with n - 1, divided by the root of n.",
    hints=[
        "The same seed gives two runs much of their luck in common: take the difference seed by seed first.",
        "statistics.stdev divides by n - 1, statistics.pstdev by n. Which one estimates from a few seeds?",
        "A standard error is smaller than a standard deviation: divided by the root of the number of seeds.",
    ],
)


@clear_gain.cases
def _() -> Iterator[tuple[list[float], list[float]]]:
    yield [2.0, 2.5], [1.75, 1.95]
    yield [2.0, 2.5], [1.75, 1.5]
    yield [2.0, 2.1, 2.2, 2.0, 2.1], [1.9, 2.1, 2.15, 1.98, 2.02]
    yield [1.90, 2.10, 2.00, 1.80, 2.20], [1.85, 2.03, 1.96, 1.74, 2.12]
    yield [1.9, 1.8, 1.7], [2.0, 1.9, 1.8]
    yield [2.0, 2.0, 2.0, 2.0, 2.0], [1.9, 1.9, 2.0, 1.95, 2.05]
    yield [2.0, 2.2, 2.4], [2.2, 1.9, 1.8]
    yield [2.0] * 9, [1.9, 2.0, 1.95, 1.8, 2.1, 1.9, 1.9, 2.0, 1.95]
    yield [2.0] * 9, [1.9, 2.0, 1.95, 1.8, 2.05, 1.9, 1.9, 2.0, 1.95]


def _gains(before: Sequence[float], after: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(before, after, strict=True)]


@clear_gain.answer
def _(before: list[float], after: list[float]) -> tuple[float, bool]:
    gains = _gains(before, after)
    mean = statistics.fmean(gains)
    return mean, mean > 2 * statistics.stdev(gains) / math.sqrt(len(gains))


@clear_gain.mistake(
    "the two lists are taken as if their runs had nothing in common: their whole spread hides a gain that every seed has. Compare seed by seed."
)
def not_paired(before: list[float], after: list[float]) -> tuple[float, bool]:
    mean = statistics.fmean(_gains(before, after))
    error = math.sqrt((statistics.variance(before) + statistics.variance(after)) / len(before))
    return mean, mean > 2 * error


@clear_gain.mistake(
    "the gain is measured against the standard deviation of the differences. That of their mean, the standard error, is smaller by the root of n."
)
def against_the_deviation(before: list[float], after: list[float]) -> tuple[float, bool]:
    gains = _gains(before, after)
    return statistics.fmean(gains), statistics.fmean(gains) > 2 * statistics.stdev(gains)


@clear_gain.mistake(
    "the standard deviation is divided by n, not n - 1: with a few seeds that makes the error too small, and luck passes for a gain."
)
def divided_by_n(before: list[float], after: list[float]) -> tuple[float, bool]:
    gains = _gains(before, after)
    return statistics.fmean(gains), statistics.fmean(gains) > 2 * statistics.pstdev(gains) / math.sqrt(len(gains))


@clear_gain.mistake(
    "the standard deviation is divided by the root of n - 1. n - 1 belongs in the standard deviation alone."
)
def root_of_one_less(before: list[float], after: list[float]) -> tuple[float, bool]:
    gains = _gains(before, after)
    mean = statistics.fmean(gains)
    return mean, mean > 2 * statistics.stdev(gains) / math.sqrt(len(gains) - 1)


@clear_gain.mistake(
    "the standard deviation is divided by the root of 5, and there are not always five seeds: count them."
)
def always_five(before: list[float], after: list[float]) -> tuple[float, bool]:
    gains = _gains(before, after)
    return statistics.fmean(gains), statistics.fmean(gains) > 2 * statistics.stdev(gains) / math.sqrt(5)


@clear_gain.mistake(
    "the mean is right, but the lists have been sorted: then a loss is compared with that of another seed. The order says which two belong "
    "together."
)
def sorted_first(before: list[float], after: list[float]) -> tuple[float, bool]:
    gains = _gains(sorted(before), sorted(after))
    return statistics.fmean(gains), statistics.fmean(gains) > 2 * statistics.stdev(gains) / math.sqrt(len(gains))


@clear_gain.mistake("the sign is lost: a loss that has gone up, for every seed, is no gain.")
def without_sign(before: list[float], after: list[float]) -> tuple[float, bool]:
    gains = _gains(before, after)
    return statistics.fmean(gains), abs(statistics.fmean(gains)) > 2 * statistics.stdev(gains) / math.sqrt(len(gains))


@clear_gain.mistake("before and after have changed places: a gain is before less after, since a lower loss is better.")
def changed_places(before: list[float], after: list[float]) -> tuple[float, bool]:
    gains = _gains(after, before)
    return statistics.fmean(gains), statistics.fmean(gains) > 2 * statistics.stdev(gains) / math.sqrt(len(gains))


batch_starts = Exercise(
    "14",
    "ten minutes",
    "batch_starts(step, batch, window, order): where the windows of a step begin, a list of `batch` numbers. The text is cut into windows side by side, window w begins "
    "at w * window, and `order` is a shuffled list of all w. Step 0 takes the first `batch` of that list, step 1 the next ones, and at its end it begins anew.",
    hints=[
        "Take a text of six windows, the first three verse, the others prose. Which windows does step 0 get, and which should it?",
        "Is `order` used at all? order[i] is the number of the window that is read in place i.",
        "Place i of step s is s * batch + i; at the end of the list it goes on from its beginning: % len(order).",
    ],
    planted=True,
)
Plan = tuple[int, int, int, list[int]]


@batch_starts.cases
def _() -> Iterator[Plan]:
    yield 0, 2, 10, [3, 0, 2, 1]
    yield 1, 2, 8, [3, 0, 2, 5, 4, 1]
    yield 1, 3, 10, [3, 0, 2, 1]
    yield 5, 2, 4, [1, 2, 0]


@batch_starts.answer
def _(step: int, batch: int, window: int, order: list[int]) -> list[int]:
    return [order[(step * batch + i) % len(order)] * window for i in range(batch)]


@batch_starts.mistake(
    "a step's windows lie side by side in the text. Where a text is sorted by kind (first all verse, then all prose), what does a step see of it? Plot the loss of such a run: "
    "it has steps, one at each change of kind."
)
def as_planted(step: int, batch: int, window: int, order: list[int]) -> list[int]:
    return [(step * batch + i) % len(order) * window for i in range(batch)]


@batch_starts.mistake(
    "every step takes the same windows: the first of the list. The step's own place in it is step * batch."
)
def always_the_first(step: int, batch: int, window: int, order: list[int]) -> list[int]:
    return [order[i] * window for i in range(batch)]


@batch_starts.mistake(
    "neighbouring steps share windows: a step goes on by one window, and should go on by a whole batch."
)
def one_on(step: int, batch: int, window: int, order: list[int]) -> list[int]:
    return [order[(step + i) % len(order)] * window for i in range(batch)]


@batch_starts.mistake("the list has an end, and the run goes on: after its last window it begins anew.")
def runs_off_the_end(step: int, batch: int, window: int, order: list[int]) -> list[int]:
    return [order[step * batch + i] * window for i in range(batch)]


@batch_starts.mistake("these are the numbers of the windows; window w begins at w * window.")
def numbers_of_windows(step: int, batch: int, window: int, order: list[int]) -> list[int]:
    return [order[(step * batch + i) % len(order)] for i in range(batch)]
