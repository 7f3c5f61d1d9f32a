"""Chapter 05: rows side by side and their slopes, weights to begin with, batches; and one never learned by heart."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .exercise import Exercise, numbers

side_by_side = Exercise(
    "05",
    "a minute",
    "side_by_side(ids, table): from contexts ids (B, k) and the table (V, C) to what goes into the hidden layer, (B, "
    "k * C): for each context the rows of its letters one after the other, the first letter's first.",
    hints=[
        "Which shape has table[ids], and which of its dimensions is the place of a letter?",
        "The last two dimensions become one; the first stays.",
    ],
)


@side_by_side.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.tensor([[1, 0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    yield torch.tensor([[2, 0, 2], [1, 1, 0]]), torch.tensor([[0.0, 0.5], [1.0, -1.0], [5.0, 7.0]])
    yield torch.tensor([[3, 1], [0, 2], [2, 2]]), numbers(4, 3)


@side_by_side.answer
def _(ids: Tensor, table: Tensor) -> Tensor:
    return F.embedding(ids, table).flatten(1)


@side_by_side.mistake(
    "the rows are averaged: a mean does not know which letter stood where. Section 3 lays them side by side."
)
def averaged(ids: Tensor, table: Tensor) -> Tensor:
    return table[ids].mean(1)


@side_by_side.mistake(
    "the rows are added: a sum does not know which letter stood where. Section 3 lays them side by side."
)
def added(ids: Tensor, table: Tensor) -> Tensor:
    return table[ids].sum(1)


@side_by_side.mistake(
    "the rows are right, and still one below the other: (B, k, C). The hidden layer takes one row of k * C numbers "
    "for each context."
)
def still_apart(ids: Tensor, table: Tensor) -> Tensor:
    return table[ids]


@side_by_side.mistake("all contexts stand in one long row. The first dimension, B, has to stay.")
def one_long_row(ids: Tensor, table: Tensor) -> Tensor:
    return table[ids].flatten()


@side_by_side.mistake(
    "the numbers are mixed: first those of the first column, then those of the second. A letter's row stays together."
)
def column_by_column(ids: Tensor, table: Tensor) -> Tensor:
    return table[ids].transpose(1, 2).flatten(1)


@side_by_side.mistake("the last letter stands first: each place has weights of its own, so the order counts.")
def last_first(ids: Tensor, table: Tensor) -> Tensor:
    return table[ids.flip(1)].flatten(1)


table_slopes = Exercise(
    "05",
    "ten minutes",
    "table_slopes(ids, d, V): from letters that were looked up, ids (k,), and the slopes d (k, C) along the rows that "
    "were handed out, to the slopes (V, C) along the whole table.",
    hints=[
        "Which rows of the table get no slope at all?",
        "A letter may be looked up twice. What happens to slopes where something is used several times?",
        "slopes[ids] += d adds only once for a letter that occurs twice. index_add adds each time, and so does a "
        "product with one-hot rows, transposed.",
    ],
)


@table_slopes.cases
def _() -> Iterator[tuple[Tensor, Tensor, int]]:
    yield torch.tensor([1]), torch.tensor([[3.0, 5.0]]), 2
    yield torch.tensor([2, 0, 2]), torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), 3
    yield torch.tensor([3, 3, 1, 3]), numbers(4, 3), 5


def _summed(ids: Tensor, d: Tensor, V: int) -> Tensor:
    return torch.zeros(V, d.shape[1]).index_add(0, ids, d)


table_slopes.answer(_summed)


@table_slopes.mistake(
    "a letter that occurs twice has the slope of its last place alone: the row is overwritten, not added to. "
    "(slopes[ids] += d, too, reaches each row only once.)"
)
def one_place_only(ids: Tensor, d: Tensor, V: int) -> Tensor:
    slopes = torch.zeros(V, d.shape[1])
    for i, slope in zip(ids.tolist(), d, strict=True):
        slopes[i] = slope
    return slopes


@table_slopes.mistake(
    "a letter that occurs twice has the mean of its slopes. It went two ways to the loss, and over ways slopes add up."
)
def mean_over_places(ids: Tensor, d: Tensor, V: int) -> Tensor:
    return _summed(ids, d, V) / torch.bincount(ids, minlength=V).clamp(min=1)[:, None]


@table_slopes.mistake(
    "each row has as its slope how many times it was looked up. That is so in section 2, where the loss is a sum and "
    "all d are 1."
)
def only_counted(ids: Tensor, d: Tensor, V: int) -> Tensor:
    return _summed(ids, torch.ones_like(d), V)


@table_slopes.mistake("all rows of the table have a slope, and letters that were not looked up cannot move the loss.")
def every_row(ids: Tensor, d: Tensor, V: int) -> Tensor:
    return d.sum(0).expand(V, -1)


@table_slopes.mistake(
    "these are the slopes place by place. The table has a row for each letter: the slopes have its shape, (V, C)."
)
def place_by_place(ids: Tensor, d: Tensor, V: int) -> Tensor:
    return d


@table_slopes.mistake("the slopes are divided by the number of letters. If the loss is a mean, that is in d already.")
def divided_by_k(ids: Tensor, d: Tensor, V: int) -> Tensor:
    return _summed(ids, d, V) / len(ids)


begin_weights = Exercise(
    "05",
    "a minute",
    "begin_weights(noise): from random numbers of spread 1, noise (H, n), to the weights of H units with n numbers "
    "coming in, used as W @ e: all numbers times one factor, which is such that each unit's input has spread 1 where "
    "the numbers coming in are independent and have spread 1.",
    hints=[
        "A unit adds up n products. Section 5 says which spread such a sum has, if nothing is done.",
        "Which of the two sizes of noise is the number of products in one sum, the rows or the columns?",
    ],
)


@begin_weights.cases
def _() -> Iterator[tuple[Tensor]]:
    yield (torch.tensor([[1.0, -1.0, 2.0, 0.0]]),)
    yield (numbers(2, 9),)
    yield (numbers(6, 4, seed=1),)


@begin_weights.answer
def _(noise: Tensor) -> Tensor:
    return noise / math.sqrt(noise.shape[1])


@begin_weights.mistake(
    "divided by n itself the units' inputs become too small: the spread of a sum of n products grows with the root of "
    "n."
)
def by_n(noise: Tensor) -> Tensor:
    return noise / noise.shape[1]


@begin_weights.mistake("H is how many units there are. What one unit adds up is as many products as numbers come in.")
def by_root_of_H(noise: Tensor) -> Tensor:
    return noise / math.sqrt(noise.shape[0])


@begin_weights.mistake("the factor makes the weights larger; the sum of n products is too large already.")
def multiplied(noise: Tensor) -> Tensor:
    return noise * math.sqrt(noise.shape[1])


@begin_weights.mistake(
    "nothing is done: each unit's input has as its spread the root of n, and with 160 numbers nearly all units are "
    "saturated."
)
def as_they_are(noise: Tensor) -> Tensor:
    return noise


@begin_weights.mistake(
    "that is the Xavier rule, which also counts the numbers that go out. It makes a compromise with the slopes on "
    "their way back; here the inputs alone are asked for."
)
def xavier(noise: Tensor) -> Tensor:
    return noise * math.sqrt(2 / sum(noise.shape))


@begin_weights.mistake(
    "the root of 2 is for ReLU units, which lose half of their inputs. Asked is the spread of what comes in."
)
def for_relu(noise: Tensor) -> Tensor:
    return noise * math.sqrt(2 / noise.shape[1])


whole_gradient = Exercise(
    "05",
    "a minute",
    "whole_gradient(means, sizes): from the gradients of n batches, means (n, P), each that of the batch's mean loss, "
    "and how many examples each batch has, sizes (n,), to the gradient (P,) of the mean loss of all examples.",
    hints=[
        "The last batch is often smaller. How much does one of its examples weigh in the mean over batches?",
        "A mean times its number is a sum. How does `noise` in section 7 come from batches of 8,192 to `full`?",
    ],
)


@whole_gradient.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.tensor([[1.0], [4.0]]), torch.tensor([2, 1])
    yield torch.tensor([[1.0, 2.0], [3.0, 0.0], [-1.0, 4.0]]), torch.tensor([4, 4, 2])
    yield numbers(3, 4), torch.tensor([1, 2, 5])


def _sum(means: Tensor, sizes: Tensor) -> Tensor:
    return (means * sizes[:, None]).sum(0)


@whole_gradient.answer
def _(means: Tensor, sizes: Tensor) -> Tensor:
    return _sum(means, sizes) / sizes.sum()


@whole_gradient.mistake(
    "it is the mean of the means. An example in a small batch then weighs more than one in a large batch."
)
def mean_of_means(means: Tensor, sizes: Tensor) -> Tensor:
    return means.mean(0)


@whole_gradient.mistake("the means are added up and not divided: with more batches the gradient would get longer.")
def sum_of_means(means: Tensor, sizes: Tensor) -> Tensor:
    return means.sum(0)


@whole_gradient.mistake("that is the gradient of the sum of all losses. Asked is that of their mean.")
def of_the_sum(means: Tensor, sizes: Tensor) -> Tensor:
    return _sum(means, sizes)


@whole_gradient.mistake(
    "each mean is weighted by its size, and then divided by the number of batches; the weights sum to the number of "
    "examples."
)
def divided_by_batches(means: Tensor, sizes: Tensor) -> Tensor:
    return _sum(means, sizes) / len(means)


@whole_gradient.mistake("the last batch is left out: its examples count as much as all others.")
def without_the_last(means: Tensor, sizes: Tensor) -> Tensor:
    return _sum(means[:-1], sizes[:-1]) / sizes[:-1].sum()


@whole_gradient.mistake("the weights are the wrong way round: here a batch counts less, the more examples it has.")
def small_ones_first(means: Tensor, sizes: Tensor) -> Tensor:
    return (means / sizes[:, None]).sum(0) / (1 / sizes).sum()


gradient_noise = Exercise(
    "05",
    "ten minutes",
    "gradient_noise(g, full): from the gradients g (n, P) of n batches and the full gradient (P,) to the error of a "
    "batch as section 7 measures it, one number: the root of the mean of the squared lengths of the n errors, in "
    "lengths of the full gradient.",
    hints=[
        "The error of a batch is a vector with P numbers. The square of its length is the sum of their squares.",
        "Three things in this order: the squared length of each error, their mean over the batches, the root.",
        "Divide by the length of the full gradient, one number.",
    ],
)


@gradient_noise.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.tensor([[3.0, 9.0]]), torch.tensor([3.0, 4.0])
    yield torch.tensor([[3.0, 4.0], [3.0, 14.0]]), torch.tensor([3.0, 4.0])
    yield numbers(4, 3), torch.tensor([1.0, -0.5, 1.0])


def _lengths(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1).sqrt()


def _noise(g: Tensor, full: Tensor) -> Tensor:
    return _lengths(g - full).square().mean().sqrt() / _lengths(full)


gradient_noise.answer(_noise)


@gradient_noise.mistake(
    "it is the mean of the lengths. Asked is the root of the mean of their squares, in which long errors count more."
)
def mean_of_lengths(g: Tensor, full: Tensor) -> Tensor:
    return _lengths(g - full).mean() / _lengths(full)


@gradient_noise.mistake(
    "the batches are averaged before the length is taken, so their errors cancel: that is how far one large batch of "
    "all of them is off."
)
def of_the_mean(g: Tensor, full: Tensor) -> Tensor:
    return _lengths(g.mean(0) - full) / _lengths(full)


@gradient_noise.mistake("the error is not yet measured in lengths of the full gradient.")
def not_in_lengths(g: Tensor, full: Tensor) -> Tensor:
    return _noise(g, full) * _lengths(full)


@gradient_noise.mistake(
    "the squares are averaged over all numbers of the gradients, too. A length is the root of their sum: it's the "
    "batches that are averaged."
)
def mean_over_numbers(g: Tensor, full: Tensor) -> Tensor:
    return (g - full).square().mean().sqrt() / _lengths(full)


@gradient_noise.mistake(
    "the errors are taken from the mean of these batches. With few batches that is not the full gradient, which is "
    "given."
)
def around_their_mean(g: Tensor, full: Tensor) -> Tensor:
    return _noise(g - g.mean(0) + full, full)


@gradient_noise.mistake("the root is missing: the error is squared, and the full gradient's length is not.")
def without_the_root(g: Tensor, full: Tensor) -> Tensor:
    return _lengths(g - full).square().mean() / _lengths(full)


@gradient_noise.mistake("the root is missing: a ratio of squares is the square of what is asked for.")
def ratio_of_squares(g: Tensor, full: Tensor) -> Tensor:
    return _noise(g, full).square()


batch_losses = Exercise(
    "05",
    "ten minutes",
    "batch_losses(table, x, y, rate, steps): trains a table of logits (V, V), row x those of what follows letter x, "
    "by plain gradient descent on one batch, the letters x (B,) and those that came y (B,), and gives the mean loss "
    "before each of the steps, a list.",
    hints=[
        "By hand: a table whose right logit is 1000 and whose other logits are 0 knows its letter. What should its "
        "loss be, and what does the function give as its first loss?",
        "Which two things does F.cross_entropy do with what it is given? Look at section 3: what does the network "
        "give back?",
        "Softmax makes numbers between 0 and 1. Taken as logits, how far can the largest of them be ahead of the "
        "others?",
    ],
    planted=True,
)


@batch_losses.cases
def _() -> Iterator[tuple[Tensor, Tensor, Tensor, float, int]]:
    yield torch.zeros(2, 2), torch.tensor([0]), torch.tensor([1]), 1.0, 1
    yield torch.zeros(3, 3), torch.tensor([0, 1]), torch.tensor([1, 2]), 4.0, 5
    yield numbers(3, 3), torch.tensor([0, 1, 0, 2]), torch.tensor([1, 2, 1, 0]), 6.0, 6


def _trained(
    table: Tensor,
    x: Tensor,
    y: Tensor,
    rate: float,
    steps: int,
    twice: bool = False,
    zeroing: bool = True,
    log: bool = True,
    reduction: str = "mean",
) -> list[float]:
    table, losses = table.clone().requires_grad_(), []
    for _ in range(steps):
        z = table[x].softmax(1) if twice else table[x]
        loss = F.cross_entropy(z, y, reduction=reduction) if log else -z.softmax(1)[torch.arange(len(y)), y].mean()
        losses.append(loss.item())
        if zeroing:
            table.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            assert table.grad is not None
            table -= rate * table.grad
    return losses


@batch_losses.answer
def _(table: Tensor, x: Tensor, y: Tensor, rate: float, steps: int) -> list[float]:
    return _trained(table, x, y, rate, steps)


@batch_losses.mistake(
    "no error, and the loss falls; but let it run for 1,000 steps: with three letters in the table it comes no lower "
    "than about 0.55, and a table that knows its batch by heart has a loss near 0. Measure the loss of a table that "
    "is sure and right."
)
def as_planted(table: Tensor, x: Tensor, y: Tensor, rate: float, steps: int) -> list[float]:
    return _trained(table, x, y, rate, steps, twice=True)


@batch_losses.mistake(
    "the first step is right, and the later ones follow the sum of all gradients so far: backward adds to what lies "
    "in grad. What has to happen between two steps?"
)
def not_zeroed(table: Tensor, x: Tensor, y: Tensor, rate: float, steps: int) -> list[float]:
    return _trained(table, x, y, rate, steps, zeroing=False)


@batch_losses.mistake(
    "the logarithm is missing: minus the probability is no surprise. Its slope is next to nothing where a wrong "
    "letter is believed in."
)
def no_logarithm(table: Tensor, x: Tensor, y: Tensor, rate: float, steps: int) -> list[float]:
    return _trained(table, x, y, rate, steps, log=False)


@batch_losses.mistake("the losses are right, and each comes a step late: asked is the loss before each step.")
def after_each_step(table: Tensor, x: Tensor, y: Tensor, rate: float, steps: int) -> list[float]:
    return _trained(table, x, y, rate, steps + 1)[1:]


@batch_losses.mistake(
    "the loss is the sum over the batch. Then its gradient, and so the step, grows with the size of the batch."
)
def summed_up(table: Tensor, x: Tensor, y: Tensor, rate: float, steps: int) -> list[float]:
    return _trained(table, x, y, rate, steps, reduction="sum")


@batch_losses.mistake("the loss rises from step to step: the table moves with its gradient and not against it.")
def uphill(table: Tensor, x: Tensor, y: Tensor, rate: float, steps: int) -> list[float]:
    return _trained(table, x, y, -rate, steps)


@batch_losses.mistake(
    "the loss is the same in each step, so the table that is read does not move: is it moved at all, is it another one "
    "that is moved, or is its gradient 0 by then?"
)
def never_moves(table: Tensor, x: Tensor, y: Tensor, rate: float, steps: int) -> list[float]:
    return _trained(table, x, y, 0.0, steps)
