"""Chapter 15: the parts of today's models, shared heads, rounding to eight bits, the place where two models part; and a tied head
that starts too loud."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ...beyond.parts import RMSNorm, rotate
from ...checkpoint import narrow_weights
from .exercise import Exercise, numbers

Places = list[tuple[str, Tensor]]

gelu = Exercise(
    "15",
    "a minute",
    "gelu(x): from numbers x (N,) to GELU of each, (N,), in the exact form: x times the share of a normal distribution that lies "
    "below x. Not the form with tanh.",
    hints=[
        "Which function of x gives the share of a normal distribution below x? At 0 it is a half.",
        "Section 2 takes torch.distributions.Normal(0, 1).cdf; with math.erf it is (1 + erf(x / sqrt(2))) / 2.",
        "That share is a switch between 0 and 1. What is it multiplied by?",
    ],
    exact=True,
)


@gelu.cases
def _() -> Iterator[tuple[Tensor]]:
    yield (torch.tensor([1.0]),)
    yield (torch.tensor([-2.0]),)
    yield (torch.tensor([0.0, 0.5, -0.5, 3.0, -3.0]),)
    yield (numbers(6, seed=1),)


@gelu.answer
def _(x: Tensor) -> Tensor:
    return F.gelu(x)


@gelu.mistake(
    "it is off by less than 0.001: that is GPT-2's formula with tanh, which is near the share of the normal distribution, and not it."
)
def by_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


@gelu.mistake("that is the share of the distribution below x, the switch alone. GELU multiplies something by it.")
def the_switch_alone(x: Tensor) -> Tensor:
    return (1 + torch.erf(x / math.sqrt(2))) / 2


@gelu.mistake("that is SiLU: its switch is the logistic function, and GELU's is the share of a normal distribution.")
def silu(x: Tensor) -> Tensor:
    return x * x.sigmoid()


@gelu.mistake(
    "that multiplies by the height of the bell curve at x, its density. Asked is how much of it lies below x."
)
def by_the_density(x: Tensor) -> Tensor:
    return x * (-x.square() / 2).exp() / math.sqrt(2 * math.pi)


@gelu.mistake(
    "the switch is too steep: erf counts in units of the root of 2 standard deviations. What must x be divided by first?"
)
def erf_without_the_root(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x)) / 2


@gelu.mistake(
    "that is x times the logistic function of 1.702 x, a rough stand-in for GELU that is off by up to 0.02. The exact form is asked."
)
def by_a_logistic(x: Tensor) -> Tensor:
    return x * (1.702 * x).sigmoid()


swiglu = Exercise(
    "15",
    "a minute",
    "swiglu(x, W_gate, W_widen, W_narrow): the gated network of section 3 for vectors x (T, C), with W_gate and W_widen (C, F) and "
    "W_narrow (F, C), each used as x @ W; it gives (T, C).",
    hints=[
        "Two projections of the same x are F wide. Which of the two goes through SiLU?",
        "They are multiplied number by number, *, and only then made narrow.",
    ],
)


@swiglu.cases
def _() -> Iterator[tuple[Tensor, ...]]:
    yield torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([[3.0]]), torch.tensor([[1.0]])
    yield numbers(2, 3), numbers(3, 4, seed=1), numbers(3, 4, seed=2), numbers(4, 3, seed=3)
    yield numbers(4, 2, seed=4), numbers(2, 6, seed=5), numbers(2, 6, seed=6), numbers(6, 2, seed=7)


@swiglu.answer
def _(x: Tensor, W_gate: Tensor, W_widen: Tensor, W_narrow: Tensor) -> Tensor:
    return (F.silu(x @ W_gate) * (x @ W_widen)) @ W_narrow


@swiglu.mistake("SiLU is applied to what is let through, x @ W_widen. The gate, x @ W_gate, is what goes through it.")
def silu_on_the_other(x: Tensor, W_gate: Tensor, W_widen: Tensor, W_narrow: Tensor) -> Tensor:
    return ((x @ W_gate) * F.silu(x @ W_widen)) @ W_narrow


@swiglu.mistake(
    "the gate is the logistic function alone, from 0 to 1: that is the older GLU. SiLU multiplies this by what came in once more."
)
def glu(x: Tensor, W_gate: Tensor, W_widen: Tensor, W_narrow: Tensor) -> Tensor:
    return ((x @ W_gate).sigmoid() * (x @ W_widen)) @ W_narrow


@swiglu.mistake("nothing bends here: the two projections are multiplied as they are. Where does SiLU belong?")
def no_silu(x: Tensor, W_gate: Tensor, W_widen: Tensor, W_narrow: Tensor) -> Tensor:
    return ((x @ W_gate) * (x @ W_widen)) @ W_narrow


@swiglu.mistake("SiLU is applied to the product of both. It is applied to the gate before the two are multiplied.")
def silu_of_the_product(x: Tensor, W_gate: Tensor, W_widen: Tensor, W_narrow: Tensor) -> Tensor:
    return F.silu((x @ W_gate) * (x @ W_widen)) @ W_narrow


@swiglu.mistake("gate and projection are added. A gate that is shut must let nothing through, so it multiplies.")
def added(x: Tensor, W_gate: Tensor, W_widen: Tensor, W_narrow: Tensor) -> Tensor:
    return (F.silu(x @ W_gate) + x @ W_widen) @ W_narrow


rms_normed = Exercise(
    "15",
    "a minute",
    "rms_normed(x, gain, eps): each row of x (T, C) divided by its root mean square, eps added to the mean of the squares before the "
    "root, then times gain (C,); it gives (T, C).",
    hints=[
        "The mean runs over the C numbers of one position. Which dimension is that?",
        "Keep this dimension (keepdim=True), so that each row is divided by its own size.",
        "Square, mean, plus eps, root: in this order. Then divide, and multiply by the gain.",
    ],
)


@rms_normed.cases
def _() -> Iterator[tuple[Tensor, Tensor, float]]:
    yield torch.tensor([[3.0, 4.0, 0.0, 0.0]]), torch.ones(4), 1e-5
    yield torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([1.0, 0.5]), 1e-5
    yield torch.tensor([[0.3, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), torch.tensor([1.0, 2.0, 3.0, 4.0]), 0.01
    yield numbers(3, 5), numbers(5, seed=1), 1e-5


@rms_normed.answer
def _(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    norm = RMSNorm(x.shape[-1], eps)
    norm.weight.data = gain
    normed: Tensor = norm(x)
    return normed


def _divided(x: Tensor, gain: Tensor, eps: float, dim: int | tuple[int, ...] = -1) -> Tensor:
    return x * (x.square().mean(dim, keepdim=True) + eps).rsqrt() * gain


@rms_normed.mistake(
    "each row has mean zero before the gain: that is LayerNorm. RMSNorm takes no mean away, it only divides."
)
def layer_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], gain, eps=eps)


@rms_normed.mistake("the gain is missing: after the division, each of the C numbers has a factor of its own.")
def no_gain(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return _divided(x, torch.ones_like(gain), eps)


@rms_normed.mistake(
    "the rows have length 1, so their numbers get smaller the wider the row is: the squares are summed, and their mean is asked."
)
def length_one(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return x * (x.square().sum(-1, keepdim=True) + eps).rsqrt() * gain


@rms_normed.mistake("eps is added after the root. Where the numbers are small, that makes another size.")
def eps_outside(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True).sqrt() + eps) * gain


@rms_normed.mistake("a row of zeros gives nan, 0 / 0: that is what eps is there for.")
def no_eps(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return x / x.square().mean(-1, keepdim=True).sqrt() * gain


@rms_normed.mistake("one size serves all positions, so a position sees the others. Each row is divided by its own.")
def one_size_for_all(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return _divided(x, gain, eps, (0, 1))


turned_pairs = Exercise(
    "15",
    "ten minutes",
    "turned_pairs(q, base): rotary positions for the queries q (T, D) of one head, row t at position t, from 0 on. Neighbours are a "
    "pair: numbers 2 i and 2 i + 1, call them a and b, become a cos - b sin and a sin + b cos of the angle t * base ** (-2 i / D). "
    "It gives (T, D).",
    hints=[
        "There are D / 2 speeds: base ** (-torch.arange(0, D, 2) / D). One angle for each position and pair makes (T, D / 2).",
        "The first numbers of all pairs are q[:, 0::2], the second q[:, 1::2]: both (T, D / 2).",
        "The two results go back to where they came from: every second place. Position 0 must come out unchanged.",
    ],
)


@turned_pairs.cases
def _() -> Iterator[tuple[Tensor, float]]:
    yield torch.tensor([[1.0, 0.0], [1.0, 0.0]]), 10_000.0
    yield torch.tensor([[1.0, 0.0, 2.0, 0.0], [1.0, 0.0, 2.0, 0.0]]), 100.0
    yield numbers(4, 4), 16.0
    yield numbers(5, 6, seed=1), 10_000.0


@turned_pairs.answer
def _(q: Tensor, base: float) -> Tensor:
    return rotate(q[None, None], 0, base)[0, 0]


def _turned(q: Tensor, angle: Tensor) -> Tensor:
    a, b = q[:, 0::2], q[:, 1::2]
    return torch.stack([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1).flatten(1)


def _angles(q: Tensor, base: float, start: int = 0) -> Tensor:
    T, D = q.shape
    return torch.arange(start, start + T)[:, None] * base ** (-torch.arange(0, D, 2) / D)


@turned_pairs.mistake(
    "position 0 is right, and with two numbers all is. With four, number i is paired with number i + D / 2, as transformers has it: "
    "weights that were trained on neighbouring pairs would give other scores."
)
def halves(q: Tensor, base: float) -> Tensor:
    angle = _angles(q, base)
    a, b = q.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


@turned_pairs.mistake(
    "the numbers are right, and in the wrong places: first all a, then all b. Even position 0, which does not turn, has changed."
)
def laid_in_halves(q: Tensor, base: float) -> Tensor:
    turned = _turned(q, _angles(q, base))
    return torch.cat([turned[:, 0::2], turned[:, 1::2]], -1)


@turned_pairs.mistake("the pairs turn the other way round: look at the signs of the two products with the sine.")
def the_other_way(q: Tensor, base: float) -> Tensor:
    return _turned(q, -_angles(q, base))


@turned_pairs.mistake("row 0 is turned already: positions are counted from 0, and there the angle is 0.")
def from_one(q: Tensor, base: float) -> Tensor:
    return _turned(q, _angles(q, base, 1))


@turned_pairs.mistake(
    "all pairs turn at the speed of the first. Pair i has a speed of its own, and the later ones are slower."
)
def one_speed(q: Tensor, base: float) -> Tensor:
    return _turned(q, torch.arange(len(q))[:, None].expand(len(q), q.shape[1] // 2))


@turned_pairs.mistake(
    "the first pair is right, and the others are too fast: pair i begins at number 2 i, and it is 2 i that is divided by D."
)
def half_the_exponent(q: Tensor, base: float) -> Tensor:
    T, D = q.shape
    return _turned(q, torch.arange(T)[:, None] * base ** (-torch.arange(D // 2) / D))


shared_heads = Exercise(
    "15",
    "a minute",
    "shared_heads(k, n_head): from the keys of the few heads that have some, k (H_kv, T, D), to keys for n_head heads of queries, "
    "(n_head, T, D): head i of the queries gets those of head floor(i * H_kv / n_head).",
    hints=[
        "With two heads of keys and four of queries: which heads of queries share key head 0? By the formula, 0 and 1.",
        "Each head is written n_head / H_kv times, one after the other: what does torch.repeat_interleave do, and what torch.repeat?",
    ],
)


@shared_heads.cases
def _() -> Iterator[tuple[Tensor, int]]:
    yield torch.tensor([[[1.0]], [[2.0]]]), 4
    yield torch.arange(8.0).view(2, 2, 2), 4
    yield numbers(3, 2, 2), 9
    yield numbers(1, 2, 3), 3
    yield numbers(2, 1, 3, seed=1), 6
    yield numbers(3, 1, 2, seed=2), 3


@shared_heads.answer
def _(k: Tensor, n_head: int) -> Tensor:
    return k.repeat_interleave(n_head // len(k), 0)


@shared_heads.mistake(
    "the heads are dealt out in turn, 0, 1, 0, 1, as repeat lays them. By the formula, neighbouring heads of queries share one. "
    "Loaded weights would give another text, and nothing would fail."
)
def in_turn(k: Tensor, n_head: int) -> Tensor:
    return k.repeat(n_head // len(k), 1, 1)


@shared_heads.mistake("all heads get the keys of head 0: that is multi-query attention. Here there are H_kv of them.")
def only_the_first(k: Tensor, n_head: int) -> Tensor:
    return k[:1].expand(n_head, -1, -1)


@shared_heads.mistake("the positions are repeated, not the heads: over which dimension of k do the heads run?")
def positions_repeated(k: Tensor, n_head: int) -> Tensor:
    return k.repeat_interleave(n_head // len(k), 1)


@shared_heads.mistake(
    "each head is repeated n_head times, so there are H_kv times too many. How many heads of queries share one?"
)
def too_often(k: Tensor, n_head: int) -> Tensor:
    return k.repeat_interleave(n_head, 0)


tied_logits = Exercise(
    "15",
    "ten minutes",
    "tied_logits(h, E): the logits (T, V) of last vectors h (T, C) by a head that is tied to the embeddings E (V, C). At the start the "
    "numbers of h and of E are independent with spread 1; the logits shall then have spread 1, by one factor that depends on C alone.",
    hints=[
        "Draw h and E with torch.randn for C = 16, 64 and 256, and print logits.std(). Which law do you see?",
        "A logit is a sum of C products. Section 5 tosses a hundred coins: how does the spread of such a sum grow with C?",
        "Chapter 06 had the same trouble with the scores of attention, and the same cure.",
    ],
    planted=True,
)


@tied_logits.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.ones(1, 4), torch.ones(2, 4)
    yield torch.tensor([[1.0, -1.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 1.0]])
    yield numbers(3, 8), numbers(5, 8, seed=1)
    yield numbers(4, 2, seed=2), numbers(6, 2, seed=3)
    yield (
        torch.tensor([[2.0, -1.0, 0.5, 1.0, 0.0]]),
        torch.tensor([[1.0, 1.0, 0.0, -2.0, 1.0], [0.0, 2.0, 1.0, 1.0, -1.0]]),
    )


@tied_logits.answer
def _(h: Tensor, E: Tensor) -> Tensor:
    return h @ E.T / math.sqrt(E.shape[1])


@tied_logits.mistake(
    "the logits start far too large, and with them the first loss: draw h (500, C) and E (65, C) from torch.randn, compare the loss on "
    "random targets with ln 65, and measure logits.std() for C = 16, 64 and 256."
)
def as_planted(h: Tensor, E: Tensor) -> Tensor:
    return h @ E.T


@tied_logits.mistake(
    "now they are too small: the first loss is at ln V, but the spread of the logits shrinks as C grows. It shall stay 1."
)
def divided_by_C(h: Tensor, E: Tensor) -> Tensor:
    return h @ E.T / E.shape[1]


@tied_logits.mistake(
    "the logits are divided by the root of V. How many tokens there are does not change the spread of one logit: what does?"
)
def by_the_root_of_V(h: Tensor, E: Tensor) -> Tensor:
    return h @ E.T / math.sqrt(len(E))


MEASURED = (
    "that divides by the spread that was measured in these very logits. Then it stays 1 in training as well, and the model can never "
    "become sure. A factor is asked that depends on C alone."
)


@tied_logits.mistake(MEASURED)
def by_what_was_measured(h: Tensor, E: Tensor) -> Tensor:
    logits = h @ E.T
    return logits / logits.std()


@tied_logits.mistake(MEASURED)
def by_what_was_measured_of_all(h: Tensor, E: Tensor) -> Tensor:
    logits = h @ E.T
    return logits / logits.std(correction=0)


@tied_logits.mistake("those are logarithms of probabilities, of the same large logits: the first loss has not moved.")
def log_probabilities(h: Tensor, E: Tensor) -> Tensor:
    return (h @ E.T).log_softmax(-1)


in_eight_bits = Exercise(
    "15",
    "ten minutes",
    "in_eight_bits(W): what is left of a matrix W (rows, C) after it was kept in eight bits. Each row is divided by its scale, its "
    "largest absolute value / 127, rounded to whole numbers, and multiplied by the scale again; a row of zeros stays zeros. It gives "
    "(rows, C), restored.",
    hints=[
        "The scale is one number a row: W.abs().amax(1). Which shape must it have to divide W row by row?",
        "What is divided for a row of zeros? clamp(min=...) keeps its scale off 0.",
        "The last step is times the scale: the result is near W again, not near 127.",
    ],
    exact=True,
)


@in_eight_bits.cases
def _() -> Iterator[tuple[Tensor]]:
    yield (torch.tensor([[0.5, -1.2, 0.3]]),)
    yield (torch.tensor([[0.5, -1.2, 0.3], [0.013, 0.004, -0.02]]),)
    yield (torch.tensor([[-3.1, 0.7, 2.2], [0.9, 0.4, -0.25]]),)
    yield (torch.tensor([[0.0, 0.0], [1.0, 0.3]]),)


@in_eight_bits.answer
def _(W: Tensor) -> Tensor:
    whole, scale = narrow_weights({"W": W}).values()
    return whole * scale[:, None]


def _restored(W: Tensor, scale: Tensor) -> Tensor:
    scale = scale.clamp(min=1e-12)
    return (W / scale).round() * scale


@in_eight_bits.mistake("there is one scale for the whole matrix: the row of small numbers loses most of what it says.")
def one_scale(W: Tensor) -> Tensor:
    return _restored(W, W.abs().max() / 127)


@in_eight_bits.mistake("each column has a scale; in section 16 each row has one.")
def a_scale_for_each_column(W: Tensor) -> Tensor:
    return _restored(W, W.abs().amax(0) / 127)


@in_eight_bits.mistake(
    "the scale comes from the largest number, not from the largest absolute value: where this is negative, whole numbers below -127 "
    "come out, which do not fit into eight bits."
)
def without_abs(W: Tensor) -> Tensor:
    return _restored(W, W.amax(1, keepdim=True) / 127)


@in_eight_bits.mistake("what is behind the point is cut off, so all numbers shrink. Round to the nearest.")
def cut_off(W: Tensor) -> Tensor:
    scale = W.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return (W / scale).trunc() * scale


@in_eight_bits.mistake(
    "those are the whole numbers that are kept. To use them, they are multiplied by the scale again."
)
def not_restored(W: Tensor) -> Tensor:
    return (W / (W.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127)).round()


@in_eight_bits.mistake("nothing is rounded: W comes back as it went in, and eight bits cannot hold it.")
def not_rounded(W: Tensor) -> Tensor:
    return W.clone()


@in_eight_bits.mistake(
    "those are the numbers of W in 16 bits, float16. Eight bits hold 255 whole numbers and no more: which one is each number rounded to?"
)
def in_sixteen_bits(W: Tensor) -> Tensor:
    return W.half()


@in_eight_bits.mistake("a row of zeros gives nan: its scale is 0, and 0 / 0 is no number.")
def zeros_divided(W: Tensor) -> Tensor:
    scale = W.abs().amax(1, keepdim=True) / 127
    return (W / scale).round() * scale


first_parting = Exercise(
    "15",
    "ten minutes",
    "first_parting(ours, theirs, tolerance): two lists of (name, numbers), in the order in which two models compute. The first name of "
    "ours whose numbers differ anywhere by more than tolerance, or that theirs lacks; if there is none, the first that only theirs has; "
    "else None. A nan differs from everything, also from a nan. The same name has the same shape in both.",
    hints=[
        "The two lists may have other orders and lengths: how do you find theirs of one name? dict(theirs) does it.",
        "Far apart anywhere: the largest absolute difference counts, not the sum and not the mean.",
        "Every comparison with nan is False. So do not ask whether the difference is too large, but whether it is not small enough.",
        "After the walk through ours, look for names in theirs that ours lacks.",
    ],
)


@first_parting.cases
def _() -> Iterator[tuple[Places, Places, float]]:
    embedding, query, key = ("embedding", numbers(2)), ("query", numbers(3, seed=1)), ("key", numbers(2, seed=2))
    yield [embedding], [("embedding", embedding[1] + 1)], 0.01
    yield [embedding], [embedding], 0.01
    yield [embedding, query, key], [embedding, ("query", query[1] + 0.5), ("key", key[1] - 9)], 0.01
    yield [embedding, ("query", query[1] - torch.tensor([0.0, 0.0, 0.8])), key], [embedding, query, key], 0.3
    yield [embedding, query, key], [embedding, ("key", key[1] + 1)], 0.01
    yield [embedding, query], [embedding, ("bias", torch.ones(2)), query], 0.01
    yield [embedding, query], [("query", query[1] + 0.008), embedding], 0.01
    yield [embedding, ("query", torch.tensor([1.0, math.nan])), key], [embedding, ("query", torch.ones(2)), key], 0.01
    yield [embedding], [("embedding", embedding[1] + 0.5)], 0.5
    yield [embedding, query], [("bias", torch.ones(2)), embedding, ("query", query[1] + 1)], 0.01
    yield [embedding], [embedding, ("scale", torch.ones(2)), ("bias", torch.ones(2))], 0.01
    yield [("embedding", torch.tensor([1.0, math.nan])), key], [("embedding", torch.tensor([1.0, math.nan])), key], 0.01


@first_parting.answer
def _(ours: Places, theirs: Places, tolerance: float) -> str | None:
    known = dict(theirs)
    for name, a in ours:
        if name not in known or not (a - known[name]).abs().max() <= tolerance:
            return name
    return next((name for name in known if name not in dict(ours)), None)


@first_parting.mistake(
    "the numbers are right where both are numbers, but a nan is not noticed: nan > tolerance is False, as is every comparison with it."
)
def blind_to_nan(ours: Places, theirs: Places, tolerance: float) -> str | None:
    known = dict(theirs)
    for name, a in ours:
        if name not in known or (a - known[name]).abs().max() > tolerance:
            return name
    return next((name for name in known if name not in dict(ours)), None)


@first_parting.mistake(
    "the lists are compared place by place: where one has a part more, or another order, parts of different names meet. Look for theirs by "
    "its name."
)
def by_place(ours: Places, theirs: Places, tolerance: float) -> str | None:
    for (name, a), (other, b) in zip(ours, theirs, strict=False):
        if name != other or not (a - b).abs().max() <= tolerance:
            return name
    return None


@first_parting.mistake(
    "a name that theirs lacks is passed over. A part that was never loaded is a difference, and often the one you look for."
)
def passes_over_what_is_missing(ours: Places, theirs: Places, tolerance: float) -> str | None:
    known = dict(theirs)
    for name, a in ours:
        if name in known and not (a - known[name]).abs().max() <= tolerance:
            return name
    return next((name for name in known if name not in dict(ours)), None)


@first_parting.mistake("what only theirs has is not found: ours may lack a part as well.")
def sees_ours_alone(ours: Places, theirs: Places, tolerance: float) -> str | None:
    known = dict(theirs)
    for name, a in ours:
        if name not in known or not (a - known[name]).abs().max() <= tolerance:
            return name
    return None


@first_parting.mistake(
    "where our numbers are the smaller ones, nothing is noticed: the difference needs its absolute value."
)
def without_its_sign(ours: Places, theirs: Places, tolerance: float) -> str | None:
    known = dict(theirs)
    for name, a in ours:
        if name not in known or not (a - known[name]).max() <= tolerance:
            return name
    return next((name for name in known if name not in dict(ours)), None)


@first_parting.mistake(
    "the differences of a part are added up: many small ones, each within the tolerance, then pass for one large difference."
)
def by_the_sum(ours: Places, theirs: Places, tolerance: float) -> str | None:
    known = dict(theirs)
    for name, a in ours:
        if name not in known or not (a - known[name]).abs().sum() <= tolerance:
            return name
    return next((name for name in known if name not in dict(ours)), None)


@first_parting.mistake("a difference of exactly the tolerance is reported. It has to be more than the tolerance.")
def the_tolerance_too(ours: Places, theirs: Places, tolerance: float) -> str | None:
    known = dict(theirs)
    for name, a in ours:
        if name not in known or not (a - known[name]).abs().max() < tolerance:
            return name
    return next((name for name in known if name not in dict(ours)), None)


@first_parting.mistake(
    "a name that only theirs has is given although a part of ours differs. Such names count only if ours show no difference."
)
def theirs_first(ours: Places, theirs: Places, tolerance: float) -> str | None:
    known = dict(theirs)
    for name in known:
        if name not in dict(ours):
            return name
    for name, a in ours:
        if name not in known or not (a - known[name]).abs().max() <= tolerance:
            return name
    return None


@first_parting.mistake(
    "two places that are both nan are taken for equal. A nan is no number that could agree: it says that both have gone wrong there."
)
def nan_as_equal(ours: Places, theirs: Places, tolerance: float) -> str | None:
    known = dict(theirs)
    for name, a in ours:
        if name not in known or not torch.allclose(a, known[name], rtol=0, atol=tolerance, equal_nan=True):
            return name
    return next((name for name in known if name not in dict(ours)), None)


@first_parting.mistake(
    "the mean of the differences is compared: one number that is far off hides among many that agree. It is the largest that counts."
)
def by_the_mean(ours: Places, theirs: Places, tolerance: float) -> str | None:
    known = dict(theirs)
    for name, a in ours:
        if name not in known or not (a - known[name]).abs().mean() <= tolerance:
            return name
    return next((name for name in known if name not in dict(ours)), None)
