"""Chapter 07: feed-forward, norms, the residual stream, places by sines, and counting parameters; and a norm that sees too much."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .exercise import Exercise, numbers

Part = Callable[[Tensor], Tensor]

feed_forward = Exercise(
    "07",
    "a minute",
    "feed_forward(h, W_1, b_1, W_2, b_2): from vectors h (T, C), matrices W_1 (C, 4 * C) and W_2 (4 * C, C), each used as h @ W, and "
    "biases b_1 (4 * C,) and b_2 (C,), to what section 1's feed-forward network gives, (T, C). What it gives is not added to h.",
    hints=[
        "How wide is a position after the first matrix, and how wide after the second?",
        "Each matrix is followed by its bias. What stands between the two, so that they aren't one matrix?",
        "ReLU is applied once: to h @ W_1 + b_1.",
    ],
)


@feed_forward.cases
def _() -> Iterator[tuple[Tensor, ...]]:
    wide = torch.tensor([[1.0, -1.0, 2.0, -2.0]])
    yield torch.tensor([[1.0]]), wide, torch.zeros(4), torch.ones(4, 1), torch.zeros(1)
    yield (
        torch.tensor([[1.0], [-2.0]]),
        wide,
        torch.tensor([0.5, 2.0, -3.0, 1.0]),
        torch.tensor([[1.0], [-1.0], [2.0], [-3.0]]),
        torch.tensor([0.5]),
    )
    yield numbers(3, 2), numbers(2, 8, seed=1), numbers(8, seed=2), numbers(8, 2, seed=3), numbers(2, seed=4)


@feed_forward.answer
def _(h: Tensor, W_1: Tensor, b_1: Tensor, W_2: Tensor, b_2: Tensor) -> Tensor:
    return (h @ W_1 + b_1).relu() @ W_2 + b_2


@feed_forward.mistake("nothing is set to zero in the middle: two matrices in a row are only one matrix.")
def no_relu(h: Tensor, W_1: Tensor, b_1: Tensor, W_2: Tensor, b_2: Tensor) -> Tensor:
    return (h @ W_1 + b_1) @ W_2 + b_2


@feed_forward.mistake(
    "the first bias is added after ReLU. It should move the point at which ReLU cuts, so it must be there before."
)
def bias_after_relu(h: Tensor, W_1: Tensor, b_1: Tensor, W_2: Tensor, b_2: Tensor) -> Tensor:
    return ((h @ W_1).relu() + b_1) @ W_2 + b_2


@feed_forward.mistake(
    "nothing that you give back is negative: ReLU stands at the end, too. What a part adds to the stream may have either sign."
)
def relu_at_the_end(h: Tensor, W_1: Tensor, b_1: Tensor, W_2: Tensor, b_2: Tensor) -> Tensor:
    return ((h @ W_1 + b_1).relu() @ W_2 + b_2).relu()


@feed_forward.mistake(
    "ReLU is applied to h itself, so what is negative there is lost before the first matrix. Where is the network wide?"
)
def relu_at_the_entrance(h: Tensor, W_1: Tensor, b_1: Tensor, W_2: Tensor, b_2: Tensor) -> Tensor:
    return (h.relu() @ W_1 + b_1) @ W_2 + b_2


@feed_forward.mistake(
    "h is added to the result. That addition belongs to the block; the part itself gives what is added."
)
def with_the_stream(h: Tensor, W_1: Tensor, b_1: Tensor, W_2: Tensor, b_2: Tensor) -> Tensor:
    return h + (h @ W_1 + b_1).relu() @ W_2 + b_2


layer_norm = Exercise(
    "07",
    "ten minutes",
    "layer_norm(h, gain, bias, eps): LayerNorm of each position of h (T, C), with a gain and a bias (C,): eps is added to the "
    "variance, which is the mean of the squared distances from the mean (divided by C, not by C - 1); (T, C).",
    hints=[
        "Each position is normalised by itself. Over which dimension do mean and variance run?",
        "keepdim=True keeps both as columns (T, 1), so that each row is moved by its own mean. torch's var divides by C - 1 unless "
        "you say unbiased=False.",
        "The root is that of variance + eps, and the gain and the bias come last.",
    ],
)


@layer_norm.cases
def _() -> Iterator[tuple[Any, ...]]:
    yield torch.tensor([[1.0, 3.0]]), torch.ones(2), torch.zeros(2), 3.0
    yield torch.tensor([[1.0, 2.0, 3.0, 6.0]]), torch.ones(4), torch.zeros(4), 1e-5
    yield (
        torch.tensor([[1.0, 3.0, 8.0], [2.0, 2.0, 2.0]]),
        torch.tensor([1.0, 2.0, -1.0]),
        torch.tensor([0.0, 1.0, 4.0]),
        1e-5,
    )
    yield numbers(4, 4, seed=1), numbers(4, seed=2), numbers(4, seed=3), 0.25


def _normalised(h: Tensor, eps: float, dim: int | tuple[int, ...] = -1) -> Tensor:
    variance = h.var(dim, unbiased=False, keepdim=True)
    return (h - h.mean(dim, keepdim=True)) / (variance + eps).sqrt()


@layer_norm.answer
def _(h: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _normalised(h, eps) * gain + bias


@layer_norm.mistake(
    "each column is normalised over all positions, not each position over its own numbers: over which dimension does your mean run?"
)
def over_the_positions(h: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _normalised(h, eps, 0) * gain + bias


@layer_norm.mistake("one mean and one variance serve the whole table. Each position has its own.")
def over_everything(h: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _normalised(h, eps, (0, 1)) * gain + bias


@layer_norm.mistake(
    "your variance is divided by C - 1, as torch does unless told otherwise; here it is a mean over C numbers."
)
def unbiased_variance(h: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    return (h - h.mean(-1, keepdim=True)) / (h.var(-1, keepdim=True) + eps).sqrt() * gain + bias


@layer_norm.mistake("you divide by the variance. It is its root, the standard deviation, that has the unit of h.")
def without_the_root(h: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    variance = h.var(-1, unbiased=False, keepdim=True)
    return (h - h.mean(-1, keepdim=True)) / (variance + eps) * gain + bias


@layer_norm.mistake(
    "eps is added to the standard deviation, after the root; it belongs to the variance, under the root."
)
def eps_after_the_root(h: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    deviation = h.var(-1, unbiased=False, keepdim=True).sqrt()
    return (h - h.mean(-1, keepdim=True)) / (deviation + eps) * gain + bias


EPS_NOT_USED = "eps is not used as it is given. In the first case it is 3: what is the root of variance + eps there?"


@layer_norm.mistake(EPS_NOT_USED)
def without_eps(h: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _normalised(h, 0) * gain + bias


@layer_norm.mistake(EPS_NOT_USED)
def an_eps_of_its_own(h: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _normalised(h, 1e-5) * gain + bias


@layer_norm.mistake(
    "gain and bias are applied before the normalisation, which takes most of their work back. They come after it."
)
def gain_first(h: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _normalised(h * gain + bias, eps)


pre_norm_block = Exercise(
    "07",
    "ten minutes",
    "pre_norm_block(x, attention, feed_forward, norm1, norm2): the stream x (T, C) after a block with pre-norm, (T, C). The other "
    "four are functions from (T, C) to (T, C).",
    hints=[
        "What does a part read with pre-norm: the stream, or a normalised copy of it? And to what is its result added?",
        "The stream itself is never normalised. Give the normalised copy no name, or one of its own.",
        "The second part reads a normalised copy of the stream as it is after the first addition.",
    ],
)


def halve(x: Tensor) -> Tensor:
    return x / 2


def square(x: Tensor) -> Tensor:
    return x**2


def add_one(x: Tensor) -> Tensor:
    return x + 1


def times_three(x: Tensor) -> Tensor:
    return 3 * x


def mean_so_far(x: Tensor) -> Tensor:
    return x.cumsum(0) / torch.arange(1, len(x) + 1)[:, None]


@pre_norm_block.cases
def _() -> Iterator[tuple[Any, ...]]:
    yield torch.tensor([[2.0]]), add_one, square, halve, times_three
    yield torch.tensor([[1.0, 4.0]]), square, add_one, times_three, halve
    yield numbers(3, 2), mean_so_far, square, halve, add_one


@pre_norm_block.answer
def _(x: Tensor, attention: Part, feed_forward: Part, norm1: Part, norm2: Part) -> Tensor:
    x = x + attention(norm1(x))
    return x + feed_forward(norm2(x))


@pre_norm_block.mistake(
    "the stream itself is normalised: x is overwritten by norm1(x) or norm2(x), and the part's result is added to that copy. The "
    "plain stream is lost."
)
def stream_overwritten(x: Tensor, attention: Part, feed_forward: Part, norm1: Part, norm2: Part) -> Tensor:
    x = norm1(x)
    x = x + attention(x)
    x = norm2(x)
    return x + feed_forward(x)


@pre_norm_block.mistake(
    "that is post-norm: each norm is applied after an addition. With pre-norm a part reads a normalised copy."
)
def post_norm(x: Tensor, attention: Part, feed_forward: Part, norm1: Part, norm2: Part) -> Tensor:
    x = norm1(x + attention(x))
    return norm2(x + feed_forward(x))


@pre_norm_block.mistake("nothing is added: each part hands on only its own result, and what it drops is gone.")
def no_additions(x: Tensor, attention: Part, feed_forward: Part, norm1: Part, norm2: Part) -> Tensor:
    return feed_forward(norm2(attention(norm1(x))))


@pre_norm_block.mistake(
    "both parts read the stream as it came in, side by side. Some models do that; in section 4's block feed-forward reads what "
    "attention has added."
)
def side_by_side(x: Tensor, attention: Part, feed_forward: Part, norm1: Part, norm2: Part) -> Tensor:
    return x + attention(norm1(x)) + feed_forward(norm2(x))


@pre_norm_block.mistake("the parts read the plain stream: norm1 and norm2 aren't used.")
def no_norms(x: Tensor, attention: Part, feed_forward: Part, norm1: Part, norm2: Part) -> Tensor:
    x = x + attention(x)
    return x + feed_forward(x)


@pre_norm_block.mistake(
    "only what feed-forward gives is handed on: the second addition is missing, and with it what attention has gathered."
)
def last_addition_missing(x: Tensor, attention: Part, feed_forward: Part, norm1: Part, norm2: Part) -> Tensor:
    x = x + attention(norm1(x))
    return feed_forward(norm2(x))


count_parameters = Exercise(
    "07",
    "ten minutes",
    "count_parameters(V, T, C, L, tied): how many parameters section 5's GPT has, with V kinds of token, T places, width C and L "
    "blocks; where tied is True, one table serves at both ends. A whole number, in plain Python.",
    hints=[
        "Section 5 counts them for one shape. Which of its terms are counted once, and which once for each block?",
        "A matrix from m to n numbers with its biases has m * n + n. Attention has four, feed-forward two; a LayerNorm has a gain "
        "and a bias. The head has no bias.",
        "Outside of the blocks stand the two tables, the last LayerNorm, and the head, which is the table of tokens if tied.",
    ],
)


@count_parameters.cases
def _() -> Iterator[tuple[Any, ...]]:
    yield 5, 4, 2, 1, False
    yield 5, 4, 2, 3, True
    yield 7, 3, 4, 2, False
    yield 60, 64, 128, 2, False


def _count(V: int, T: int, C: int, L: int, tied: bool) -> int:
    attention = 4 * (C * C + C)
    wide = C * 4 * C + 4 * C + 4 * C * C + C
    head = 0 if tied else C * V
    return V * C + T * C + L * (attention + wide + 2 * 2 * C) + 2 * C + head


count_parameters.answer(_count)


@count_parameters.mistake(
    "the matrices in the blocks are counted without their biases: each of the six has one bias per column."
)
def without_biases(V: int, T: int, C: int, L: int, tied: bool) -> int:
    return _count(V, T, C, L, tied) - L * 9 * C


@count_parameters.mistake("the LayerNorms of the blocks are missing: each block has two, with a gain and a bias each.")
def without_norms_of_blocks(V: int, T: int, C: int, L: int, tied: bool) -> int:
    return _count(V, T, C, L, tied) - L * 4 * C


@count_parameters.mistake("2 C are missing: one LayerNorm stands outside of the blocks. Where?")
def without_last_norm(V: int, T: int, C: int, L: int, tied: bool) -> int:
    return _count(V, T, C, L, tied) - 2 * C


@count_parameters.mistake("you count V too many: the head of this model has no bias.")
def head_with_bias(V: int, T: int, C: int, L: int, tied: bool) -> int:
    return _count(V, T, C, L, tied) + V


@count_parameters.mistake("the table of the places is missing: T rows of C numbers.")
def without_places(V: int, T: int, C: int, L: int, tied: bool) -> int:
    return _count(V, T, C, L, tied) - T * C


@count_parameters.mistake("the head is counted even where it is tied. A table that serves at both ends is there once.")
def tying_ignored(V: int, T: int, C: int, L: int, tied: bool) -> int:
    return _count(V, T, C, L, False)


@count_parameters.mistake(
    "that is the rule of thumb, 12 L C²: only the matrices in the blocks. Tables, biases and norms count, too."
)
def rule_of_thumb(V: int, T: int, C: int, L: int, tied: bool) -> int:
    return 12 * L * C * C


sine_places = Exercise(
    "07",
    "ten minutes",
    "sine_places(T, C): the Transformer paper's table of places (T, C), C even: for each i from 0 to C / 2 - 1, row t has "
    "sin(t / 10000 ** (2 * i / C)) in column 2 * i, and the cosine of the same in column 2 * i + 1.",
    hints=[
        "Column 0 belongs to i = 0. Which i do columns 2 and 3 belong to?",
        "All angles are a table (T, C / 2): a column of the places t, divided by a row of C / 2 numbers.",
        "An empty table can be filled by steps of two: table[:, 0::2] are the even columns, table[:, 1::2] the odd ones.",
    ],
)


@sine_places.cases
def _() -> Iterator[tuple[int, int]]:
    yield 1, 2
    yield 2, 4
    yield 3, 2
    yield 5, 6


def _angles(T: int, C: int, first: int = 0, per_pair: float = 2, base: float = 10000.0) -> Tensor:
    t = torch.arange(first, T + first)[:, None]
    return t / torch.tensor(base) ** (per_pair * torch.arange(C // 2) / C)  # (T, C / 2)


def _interleaved(even: Tensor, odd: Tensor) -> Tensor:
    return torch.stack([even, odd], 2).flatten(1)


@sine_places.answer
def _(T: int, C: int) -> Tensor:
    angles = _angles(T, C)
    return _interleaved(angles.sin(), angles.cos())


@sine_places.mistake(
    "all sines come first, and then all cosines. Some programs do that; in the paper's table they take turns, column by column."
)
def in_halves(T: int, C: int) -> Tensor:
    return torch.cat([_angles(T, C).sin(), _angles(T, C).cos()], 1)


@sine_places.mistake(
    "the exponent is i / C, so the slowest pair turns too fast: i numbers pairs, and there are only C / 2 of them."
)
def half_the_exponent(T: int, C: int) -> Tensor:
    angles = _angles(T, C, per_pair=1)
    return _interleaved(angles.sin(), angles.cos())


@sine_places.mistake("sine and cosine have changed places: row 0 should begin with sin(0) = 0.")
def cosine_first(T: int, C: int) -> Tensor:
    return _interleaved(_angles(T, C).cos(), _angles(T, C).sin())


@sine_places.mistake("your places begin at 1; the first place is t = 0.")
def from_one(T: int, C: int) -> Tensor:
    angles = _angles(T, C, first=1)
    return _interleaved(angles.sin(), angles.cos())


@sine_places.mistake(
    "each column has a speed of its own. A sine and the cosine beside it share one angle: the exponent depends on their pair."
)
def each_column_its_own(T: int, C: int) -> Tensor:
    angles = torch.arange(T)[:, None] / 10000 ** (torch.arange(C) / C)
    return torch.where(torch.arange(C) % 2 == 0, angles.sin(), angles.cos())


@sine_places.mistake(
    "t is multiplied by the power of 10,000, so the later pairs turn faster. They should turn more slowly."
)
def ever_faster(T: int, C: int) -> Tensor:
    angles = _angles(T, C, base=1 / 10000)
    return _interleaved(angles.sin(), angles.cos())


rms_norm = Exercise(
    "07",
    "ten minutes",
    "rms_norm(h, gain): each position of the texts h (B, T, C) divided by the root of the mean square of its own C numbers, times a "
    "gain (C,); (B, T, C). No position is all zeros, and no eps is needed.",
    hints=[
        "Change the last position of one text: which positions of the result move? With a good norm, how many may?",
        "The dimensions of h are 0, 1 and 2: texts, positions, columns. Over which of them does the mean run in the stub, and over "
        "which should it?",
        "A position's own numbers lie along the last dimension only.",
    ],
    planted=True,
)


@rms_norm.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.tensor([[[1.0, 7.0]]]), torch.ones(2)
    yield torch.tensor([[[1.0, 7.0], [3.0, 3.0]]]), torch.ones(2)
    yield torch.tensor([[[1.0, 7.0], [3.0, 3.0]], [[2.0, 14.0], [-1.0, 1.0]]]), torch.tensor([1.0, 2.0])
    yield numbers(2, 3, 4) + 0.25, numbers(4, seed=1)


def _by_rms(h: Tensor, gain: Tensor, dims: int | tuple[int, ...]) -> Tensor:
    return h / h.pow(2).mean(dims, keepdim=True).sqrt() * gain


@rms_norm.answer
def _(h: Tensor, gain: Tensor) -> Tensor:
    return _by_rms(h, gain, -1)


@rms_norm.mistake(
    "with one position in a text all is right; with two, both are wrong. Change the last position of a text, and look whether the "
    "first one moves: a part that works on each position alone can't let it."
)
def as_planted(h: Tensor, gain: Tensor) -> Tensor:
    return _by_rms(h, gain, (1, 2))


@rms_norm.mistake(
    "each column is now normalised over the positions of its text, so a later position still changes an earlier one."
)
def over_positions(h: Tensor, gain: Tensor) -> Tensor:
    return _by_rms(h, gain, 1)


@rms_norm.mistake(
    "the mean runs over the texts of the batch: what another text says changes this one. Measure that, too."
)
def over_texts(h: Tensor, gain: Tensor) -> Tensor:
    return _by_rms(h, gain, 0)


@rms_norm.mistake("texts and columns share one mean: change a number of the first text, and the second text moves.")
def over_texts_and_columns(h: Tensor, gain: Tensor) -> Tensor:
    return _by_rms(h, gain, (0, 2))


@rms_norm.mistake("the root is missing: you divide by the mean square.")
def no_root(h: Tensor, gain: Tensor) -> Tensor:
    return h / h.pow(2).mean(-1, keepdim=True) * gain


@rms_norm.mistake(
    "you divide by the length of the vector, the root of the sum of squares. It is the root of their mean."
)
def by_length(h: Tensor, gain: Tensor) -> Tensor:
    length: Tensor = h.norm(dim=-1, keepdim=True)
    return h / length * gain


MEAN_SUBTRACTED = "the mean is subtracted. RMSNorm subtracts nothing: that would be LayerNorm."


@rms_norm.mistake(MEAN_SUBTRACTED)
def mean_subtracted(h: Tensor, gain: Tensor) -> Tensor:
    return _normalised(h, 1e-12) * gain


@rms_norm.mistake(MEAN_SUBTRACTED)
def mean_subtracted_without_eps(h: Tensor, gain: Tensor) -> Tensor:
    return _normalised(h, 0) * gain
