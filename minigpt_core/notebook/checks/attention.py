"""Chapter 06: the shares of the past, one head, several heads; and heads that are cut out of the wrong numbers."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .exercise import Exercise, numbers


def _sums(got: Any) -> str:
    """The rows' sums, of what the reader gave."""
    return ", ".join(f"{total:.2f}" for total in torch.as_tensor(got).sum(-1)[:4].tolist())


causal_shares = Exercise(
    "06",
    "a minute",
    "causal_shares(scores): from scores (T, T), row t those of the query at position t, to the shares (T, T) in which nobody looks "
    "ahead.",
    hints=[
        "Which entries of row t belong to later positions? Those right of the diagonal.",
        "The softmax must never see them. What must a score be, so that its exponential is 0?",
        "torch.tril or torch.triu tells the two sides apart, and masked_fill writes into one of them.",
    ],
)


@causal_shares.cases
def _() -> Iterator[tuple[Tensor]]:
    yield (torch.zeros(2, 2),)
    yield (torch.tensor([[1.0, 2.0], [3.0, 5.0]]),)
    yield (numbers(4, 4),)


@causal_shares.answer
def _(scores: Tensor) -> Tensor:
    future = torch.ones_like(scores).triu(1).bool()
    return scores.masked_fill(future, -math.inf).softmax(-1)


@causal_shares.mistake(
    lambda got: f"your rows sum to {_sums(got)}, and each must sum to 1: was the mask applied after the softmax?"
)
def masked_after_softmax(scores: Tensor) -> Tensor:
    return scores.softmax(-1).tril()


@causal_shares.mistake(
    "position 0 looks at position 1: nothing is masked. The future must be hidden before the softmax."
)
def no_mask(scores: Tensor) -> Tensor:
    return scores.softmax(-1)


@causal_shares.mistake(
    "a score of 0 is no mask: its exponential is 1, so the future still takes its share. What has an exponential of 0?"
)
def masked_with_zero(scores: Tensor) -> Tensor:
    return scores.tril().softmax(-1)


@causal_shares.mistake(
    "the first row is nan: position 0 may look at nobody. Does your mask hide the diagonal, too? A position may look at itself."
)
def hides_itself(scores: Tensor) -> Tensor:
    return scores.masked_fill(torch.ones_like(scores).triu(0).bool(), -math.inf).softmax(-1)


@causal_shares.mistake(
    "each position looks only at itself and at what comes after it: the mask hides the wrong side of the diagonal."
)
def hides_the_past(scores: Tensor) -> Tensor:
    return scores.masked_fill(torch.ones_like(scores).tril(-1).bool(), -math.inf).softmax(-1)


@causal_shares.mistake("your columns sum to 1, and the rows should: over which dimension does the softmax run?")
def over_the_columns(scores: Tensor) -> Tensor:
    return scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf).softmax(0)


one_head = Exercise(
    "06",
    "ten minutes",
    "one_head(x, W_q, W_k, W_v): from vectors x (T, C) and three matrices (C, D), each used as x @ W, to what the head gives at "
    "each position, (T, D).",
    hints=[
        "Three products first: a query, a key and a value for each position, each (T, D).",
        "The score of query t for key s is their product; all scores at once are q @ k.T, (T, T), divided by the root of D.",
        "Mask, softmax over the last dimension, and the shares times the values.",
    ],
)


@one_head.cases
def _() -> Iterator[tuple[Tensor, ...]]:
    one = torch.eye(2)
    yield torch.tensor([[1.0, 0.0], [0.0, 1.0]]), one, one, one
    yield numbers(3, 4), *(numbers(4, 2, seed=seed) for seed in (1, 2, 3))
    yield numbers(5, 6), *(numbers(6, 3, seed=seed) for seed in (4, 5, 6))


def _head(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, scale: float | None = None) -> Tensor:
    q, k, v = x @ W_q, x @ W_k, x @ W_v  # (T, D)
    scores = q @ k.T / (math.sqrt(q.shape[-1]) if scale is None else scale)
    future = torch.ones_like(scores).triu(1).bool()
    return scores.masked_fill(future, -math.inf).softmax(-1) @ v


one_head.answer(_head)


@one_head.mistake("the scores are not divided by the root of D, so the softmax is sharper than it should be.")
def no_scale(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor) -> Tensor:
    return _head(x, W_q, W_k, W_v, scale=1)


@one_head.mistake("the scores are divided by D itself: it is its square root that keeps their spread near 1.")
def scaled_by_D(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor) -> Tensor:
    return _head(x, W_q, W_k, W_v, scale=W_q.shape[-1])


@one_head.mistake(
    "the scores are divided by the root of C, the width of x. A score is a sum of D products, so it is the root of D."
)
def scaled_by_root_of_C(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor) -> Tensor:
    return _head(x, W_q, W_k, W_v, scale=math.sqrt(x.shape[-1]))


@one_head.mistake("an earlier position changes when a later vector does: the future is not masked.")
def sees_the_future(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor) -> Tensor:
    q, k, v = x @ W_q, x @ W_k, x @ W_v
    return (q @ k.T / math.sqrt(q.shape[-1])).softmax(-1) @ v


@one_head.mistake("the softmax runs down the columns; each row must sum to 1.")
def down_the_columns(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor) -> Tensor:
    q, k, v = x @ W_q, x @ W_k, x @ W_v
    scores = q @ k.T / math.sqrt(q.shape[-1])
    return scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf).softmax(0) @ v


@one_head.mistake("query and key have changed places: row t of the scores belongs to the query of position t.")
def key_asks(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor) -> Tensor:
    return _head(x, W_k, W_q, W_v)


@one_head.mistake("the shares are applied to the keys; what a position hands over is its value, x @ W_v.")
def hands_over_keys(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor) -> Tensor:
    return _head(x, W_q, W_k, W_k)


many_heads = Exercise(
    "06",
    "ten minutes",
    "many_heads(x, W_q, W_k, W_v, n_head): from vectors x (T, C) and three matrices (C, C), each used as x @ W, to what n_head heads "
    "give, side by side, (T, C). Head h owns the columns from h * D to (h + 1) * D of each matrix, D = C / n_head.",
    hints=[
        "Head h is one_head with three narrow matrices: which columns of W_q are its own?",
        "The heads' results, each (T, D), are laid side by side: torch.cat along the last dimension.",
        "Divide by the root of D, the width of a head, not by that of C.",
    ],
)


@many_heads.cases
def _() -> Iterator[tuple[Any, ...]]:
    yield torch.tensor([[1.0, 2.0], [3.0, 1.0]]), *[torch.tensor([[1.0, 0.0], [0.0, 2.0]])] * 3, 2
    yield numbers(3, 4), *(numbers(4, 4, seed=seed) for seed in (1, 2, 3)), 2
    yield numbers(2, 3, seed=4), *(numbers(3, 3, seed=seed) for seed in (5, 6, 7)), 3


def _owned(W_q: Tensor, W_k: Tensor, W_v: Tensor, n_head: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Of each head the columns that it owns of the three matrices."""
    return zip(W_q.chunk(n_head, 1), W_k.chunk(n_head, 1), W_v.chunk(n_head, 1), strict=True)


@many_heads.answer
def _(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, n_head: int) -> Tensor:
    return torch.cat([_head(x, *own) for own in _owned(W_q, W_k, W_v, n_head)], dim=1)


@many_heads.mistake(
    "that is one wide head: its one set of shares serves all columns. Each head has shares of its own, from its own columns."
)
def one_wide_head(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, n_head: int) -> Tensor:
    return _head(x, W_q, W_k, W_v)


@many_heads.mistake(
    "the scores are divided by the root of C. A head's scores are sums of D = C / n_head products: divide by the root of D."
)
def scaled_by_the_whole_width(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, n_head: int) -> Tensor:
    return torch.cat([_head(x, *own, scale=math.sqrt(x.shape[-1])) for own in _owned(W_q, W_k, W_v, n_head)], dim=1)


@many_heads.mistake(
    "the columns are dealt out in turn (head h takes h, h + n_head, ...). Head h owns neighbouring ones, from h * D on."
)
def columns_in_turn(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, n_head: int) -> Tensor:
    return torch.cat([_head(x, W_q[:, h::n_head], W_k[:, h::n_head], W_v[:, h::n_head]) for h in range(n_head)], dim=1)


CUT_BY_ROWS = "the queries are cut by rows, not by columns. Print those of head 0: of which positions, and of which columns, are its numbers?"


def _cut_by_rows(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, n_head: int) -> Tensor:
    """What each head gives, (n_head, T, D)."""
    q, k, v = ((x @ W).view(n_head, len(x), -1) for W in (W_q, W_k, W_v))
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    return scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf).softmax(-1) @ v


@many_heads.mistake(CUT_BY_ROWS)
def cut_by_rows(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, n_head: int) -> Tensor:
    return _cut_by_rows(x, W_q, W_k, W_v, n_head).transpose(0, 1).reshape(x.shape)


@many_heads.mistake(CUT_BY_ROWS)
def cut_by_rows_and_joined_so(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, n_head: int) -> Tensor:
    return _cut_by_rows(x, W_q, W_k, W_v, n_head).reshape(x.shape)


@many_heads.mistake("the heads' results are added up; they stand side by side, so that (T, C) comes out.")
def added_up(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, n_head: int) -> Tensor:
    return torch.stack([_head(x, *own) for own in _owned(W_q, W_k, W_v, n_head)]).sum(0)


split_heads = Exercise(
    "06",
    "ten minutes",
    "split_heads(q, n_head): from queries q (T, C) to those of each head, (n_head, T, D): head h, position t has the numbers "
    "q[t, h * D : (h + 1) * D].",
    hints=[
        "Number the entries: q = torch.arange(8).view(4, 2), two heads. Which numbers should head 0 have, and which has it?",
        "view never moves a number in memory: it only cuts the same row of numbers otherwise. Head 0 gets the first T * D of them.",
        "Cut each position's C numbers first, view(T, n_head, D). Then exchange the first two dimensions: transpose(0, 1).",
    ],
    planted=True,
)


@split_heads.cases
def _() -> Iterator[tuple[Tensor, int]]:
    yield torch.arange(8.0).view(4, 2), 2
    yield torch.arange(24.0).view(4, 6), 3
    yield numbers(5, 8), 4


@split_heads.answer
def _(q: Tensor, n_head: int) -> Tensor:
    return q.view(len(q), n_head, -1).transpose(0, 1)


@split_heads.mistake(
    "the shape is right, and the numbers are in the wrong places. Change the last row of q: which positions, of which heads, move? "
    "Only the last position of each should."
)
def as_planted(q: Tensor, n_head: int) -> Tensor:
    return q.view(n_head, len(q), -1)


@split_heads.mistake(
    "the heads are apart, but their dimension comes second: (T, n_head, D), and (n_head, T, D) is asked for."
)
def not_moved(q: Tensor, n_head: int) -> Tensor:
    return q.view(len(q), n_head, -1)


@split_heads.mistake("the columns are dealt out in turn. Head h owns neighbouring ones, from h * D on.")
def dealt_in_turn(q: Tensor, n_head: int) -> Tensor:
    return torch.stack([q[:, h::n_head] for h in range(n_head)])


@split_heads.mistake(
    "exchanging the dimensions before the cut takes whole columns in the wrong order: cut each position's numbers first."
)
def moved_before_the_cut(q: Tensor, n_head: int) -> Tensor:
    return q.T.reshape(n_head, len(q), -1)
