"""Chapter 08: perplexity, AdamW, schedule, clipping, who decays; and a run that forgets when it is resumed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...config import TrainConfig
from ...optimizer import learning_rate_at
from .exercise import Exercise, numbers

perplexity_of_batches = Exercise(
    "08",
    "a minute",
    "perplexity_of_batches(losses, counts): losses has the mean loss (nats per token) of each batch, counts how many tokens each "
    "batch has; the perplexity over all tokens, a number.",
    hints=[
        "If one batch has 1 token and another 3, how much should each loss count?",
        "First the mean loss over all tokens; a batch's share in it is its count.",
        "The perplexity is e to the power of that mean, at the very end.",
    ],
)


@perplexity_of_batches.cases
def _() -> Iterator[tuple[list[float], list[int]]]:
    yield [math.log(4)], [6]
    yield [1.0, 3.0], [2, 2]
    yield [0.5, 2.5], [3, 1]
    yield [2.0, 1.0, 0.25], [64, 64, 16]


def _mean(losses: Sequence[float], counts: Sequence[int]) -> float:
    return sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)


@perplexity_of_batches.answer
def _(losses: Sequence[float], counts: Sequence[int]) -> float:
    return math.exp(_mean(losses, counts))


@perplexity_of_batches.mistake(
    "that is the mean loss itself. The perplexity is a number of equal choices: e to that power."
)
def only_the_loss(losses: Sequence[float], counts: Sequence[int]) -> float:
    return _mean(losses, counts)


@perplexity_of_batches.mistake(
    "that is a mean of means: a small batch counts as much as a large one. How often should each loss count?"
)
def mean_of_means(losses: Sequence[float], counts: Sequence[int]) -> float:
    return math.exp(sum(losses) / len(losses))


@perplexity_of_batches.mistake(
    "you average perplexities, and a bad batch then counts for far too much. Average the losses, and take the power of e once."
)
def mean_of_perplexities(losses: Sequence[float], counts: Sequence[int]) -> float:
    return _mean([math.exp(loss) for loss in losses], counts)


@perplexity_of_batches.mistake(
    "your base is 2, as for losses in bits. These losses are in nats: which number is their base?"
)
def of_bits(losses: Sequence[float], counts: Sequence[int]) -> float:
    return float(2 ** _mean(losses, counts))


@perplexity_of_batches.mistake(
    "the exponent is negative: what you give is the (geometric) mean probability of a token, below 1."
)
def upside_down(losses: Sequence[float], counts: Sequence[int]) -> float:
    return math.exp(-_mean(losses, counts))


adamw_steps = Exercise(
    "08",
    "ten minutes",
    "adamw_steps(w, gradients, rate, decay): the weights w (N,) after one step of AdamW for each row of gradients (steps, N). The running "
    "means begin at zero; beta1 is 0.9, beta2 is 0.99, epsilon 1e-8; (N,).",
    hints=[
        "What has to be carried from one step to the next? The weights are not all.",
        "The first row is step k = 1. With it, m / (1 - 0.9 ** k) is the gradient itself.",
        "Weight decay stands outside of the quotient: rate * decay * w is subtracted, whatever the gradient is.",
    ],
)


@adamw_steps.cases
def _() -> Iterator[tuple[Any, ...]]:
    yield torch.tensor([0.5]), torch.tensor([[2.0]]), 0.1, 0.0
    yield torch.tensor([1.0, -1.0]), torch.tensor([[100.0, 0.5]]), 0.1, 0.5
    yield torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 4.0], [-1.0, 3.0], [2.0, 0.0]]), 0.1, 0.0
    yield numbers(3, seed=1), numbers(4, 3, seed=2) + 0.25, 0.25, 0.5


def _adamw(
    w: Tensor,
    gradients: Tensor,
    rate: float,
    decay: float,
    *,
    betas: tuple[float, float] = (0.9, 0.99),
    corrected: bool = True,
    root: bool = True,
    forgets: bool = False,
    coupled: bool = False,
) -> Tensor:
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for k, g in enumerate(gradients, 1):
        if forgets:
            m, v, k = torch.zeros_like(w), torch.zeros_like(w), 1
        if coupled:
            g = g + decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        first, second = (m / (1 - betas[0] ** k), v / (1 - betas[1] ** k)) if corrected else (m, v)
        w = w - rate * (first / ((second.sqrt() if root else second) + 1e-8) + (0 if coupled else decay) * w)
    return w


@adamw_steps.answer
def _(w: Tensor, gradients: Tensor, rate: float, decay: float) -> Tensor:
    return _adamw(w, gradients, rate, decay)


@adamw_steps.mistake(
    "the running means are not corrected for their start at zero, or always as at step 1, since k never grows: with these betas "
    "both give the same, as 0.1 is the root of 0.01. Print by what m and v are divided at step 2."
)
def not_corrected(w: Tensor, gradients: Tensor, rate: float, decay: float) -> Tensor:
    return _adamw(w, gradients, rate, decay, corrected=False)


@adamw_steps.mistake(
    "the decay is added to the gradient, and then divided by its size like all of it: that is Adam with an L2 penalty. The W in "
    "AdamW says that decay is decoupled from the gradient."
)
def decay_in_the_gradient(w: Tensor, gradients: Tensor, rate: float, decay: float) -> Tensor:
    return _adamw(w, gradients, rate, decay, coupled=True)


@adamw_steps.mistake("you divide by v, a mean of squares. Only its root is as large as a gradient.")
def without_the_root(w: Tensor, gradients: Tensor, rate: float, decay: float) -> Tensor:
    return _adamw(w, gradients, rate, decay, root=False)


@adamw_steps.mistake("each step begins anew, with m and v at zero: only the signs of the gradients are left.")
def forgets_its_means(w: Tensor, gradients: Tensor, rate: float, decay: float) -> Tensor:
    return _adamw(w, gradients, rate, decay, forgets=True)


@adamw_steps.mistake("the decay isn't multiplied by the learning rate, so it pulls far too hard.")
def decay_without_rate(w: Tensor, gradients: Tensor, rate: float, decay: float) -> Tensor:
    return _adamw(w, gradients, rate, decay / rate)


@adamw_steps.mistake("nothing decays: a weight whose gradient is zero would stay where it is.")
def no_decay(w: Tensor, gradients: Tensor, rate: float, decay: float) -> Tensor:
    return _adamw(w, gradients, rate, 0)


@adamw_steps.mistake("the two betas have changed places: the mean of the squares is the one that forgets more slowly.")
def betas_exchanged(w: Tensor, gradients: Tensor, rate: float, decay: float) -> Tensor:
    return _adamw(w, gradients, rate, decay, betas=(0.99, 0.9))


rate_at = Exercise(
    "08",
    "ten minutes",
    "rate_at(step, steps, warmup, top, floor): the learning rate of a step (1 to steps): a straight rise from 0 at step 0 to top at step "
    "warmup; then half a cosine, from top at step warmup down to floor at step steps. There may be no warm-up (0).",
    hints=[
        "Two cases: is the step still in the warm-up, or behind it?",
        "Behind it: which share of the way from step warmup to step steps is done? It goes from 0 to 1.",
        "(1 + cos(pi * share)) / 2 falls from 1 to 0. Stretch it, so that it falls from top to floor.",
    ],
)


@rate_at.cases
def _() -> Iterator[tuple[int, int, int, float, float]]:
    yield 1, 4, 2, 1.0, 0.0
    yield 2, 4, 2, 1.0, 0.0
    yield 3, 4, 2, 1.0, 0.5
    yield 4, 4, 2, 1.0, 0.5
    yield 1, 10, 4, 8.0, 2.0
    yield 4, 10, 2, 8.0, 2.0
    yield 1, 4, 0, 1.0, 0.0


def _cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


@rate_at.answer
def _(step: int, steps: int, warmup: int, top: float, floor: float) -> float:
    config = TrainConfig(steps=steps, warmup_steps=warmup, learning_rate=top, min_learning_rate=floor)
    return learning_rate_at(step, config)


def _rate(step: int, steps: int, warmup: int, top: float, floor: float) -> float:
    if step <= warmup:
        return top * step / warmup
    return floor + (top - floor) * _cosine((step - warmup) / (steps - warmup))


@rate_at.mistake(
    "you count steps from 0, so the first step of a warm-up has a rate of 0 and does nothing. Here steps are counted from 1."
)
def from_zero(step: int, steps: int, warmup: int, top: float, floor: float) -> float:
    step -= 1
    if step < warmup:
        return top * step / warmup
    return floor + (top - floor) * _cosine((step - warmup) / (steps - warmup))


@rate_at.mistake(
    "your cosine begins at step 0, not at the end of the warm-up, so the rate drops suddenly where the warm-up ends."
)
def cosine_from_the_start(step: int, steps: int, warmup: int, top: float, floor: float) -> float:
    return top * step / warmup if step <= warmup else floor + (top - floor) * _cosine(step / steps)


@rate_at.mistake("the floor is added to a cosine of full height, so the fall begins above top.")
def floor_on_top(step: int, steps: int, warmup: int, top: float, floor: float) -> float:
    return top * step / warmup if step <= warmup else floor + top * _cosine((step - warmup) / (steps - warmup))


@rate_at.mistake(
    "the floor cuts the cosine off: the rate falls as if to 0, and then stays. It should fall more gently, and reach the floor at "
    "the last step."
)
def cut_off_at_the_floor(step: int, steps: int, warmup: int, top: float, floor: float) -> float:
    return top * step / warmup if step <= warmup else max(floor, top * _cosine((step - warmup) / (steps - warmup)))


@rate_at.mistake("the floor is not used: at the last step the rate is 0.")
def no_floor(step: int, steps: int, warmup: int, top: float, floor: float) -> float:
    return _rate(step, steps, warmup, top, 0)


@rate_at.mistake("your rate falls along a straight line; along half a cosine it falls slowly at both ends.")
def straight_down(step: int, steps: int, warmup: int, top: float, floor: float) -> float:
    return top * step / warmup if step <= warmup else top - (top - floor) * (step - warmup) / (steps - warmup)


@rate_at.mistake("that is a quarter of a cosine: it begins to fall slowly, but is steepest at the end.")
def a_quarter(step: int, steps: int, warmup: int, top: float, floor: float) -> float:
    if step <= warmup:
        return top * step / warmup
    return floor + (top - floor) * math.cos(math.pi / 2 * (step - warmup) / (steps - warmup))


@rate_at.mistake("the warm-up begins at the floor. Here it begins at 0: step 1 has top / warmup.")
def rises_from_the_floor(step: int, steps: int, warmup: int, top: float, floor: float) -> float:
    if step <= warmup:
        return floor + (top - floor) * step / warmup
    return _rate(step, steps, warmup, top, floor)


clip_gradients = Exercise(
    "08",
    "ten minutes",
    "clip_gradients(gradients, limit): from a list of tensors, the gradients of a model's parameters, to a list of the same shapes, "
    "given back also if nothing is clipped: where the norm of all slopes together exceeds limit, all are multiplied by one factor, "
    "so that this norm is limit.",
    hints=[
        "Gradients of (3,) and (4,): which norm do the two have together?",
        "Sum the squares of all numbers of all tensors first. The root comes once, at the end.",
        "The factor is limit / norm, the same for every tensor, and 1 where the norm is below the limit.",
    ],
)


@clip_gradients.cases
def _() -> Iterator[tuple[list[Tensor], float]]:
    yield [torch.tensor([3.0]), torch.tensor([4.0])], 1.0
    yield [torch.tensor([0.3]), torch.tensor([0.4])], 1.0
    yield [torch.tensor([[0.5, 0.0], [3.0, -2.0]]), torch.tensor([6.0, 0.0])], 2.0
    yield [torch.zeros(2), torch.zeros(1)], 1.0
    yield [numbers(2, 3, seed=1), numbers(3, seed=2)], 0.5


def _norm(gradients: Sequence[Tensor]) -> float:
    return math.sqrt(sum(g.pow(2).sum().item() for g in gradients))


@clip_gradients.answer
def _(gradients: list[Tensor], limit: float) -> list[Tensor]:
    factor = limit / max(limit, _norm(gradients))
    return [g * factor for g in gradients]


@clip_gradients.mistake(
    "each tensor is clipped by a norm of its own, so not all shrink by the same factor, and the direction of the step changes. "
    "Which norm belongs to all of them together?"
)
def each_by_its_own(gradients: list[Tensor], limit: float) -> list[Tensor]:
    return [g * (limit / max(limit, _norm([g]))) for g in gradients]


@clip_gradients.mistake(
    "every single slope is cut off at the limit. That changes the direction; clipping by the norm only shortens the step."
)
def each_slope(gradients: list[Tensor], limit: float) -> list[Tensor]:
    return [g.clamp(-limit, limit) for g in gradients]


STRETCHED = "gradients that are short enough are stretched to the limit. They should be left alone."
NORMS_ADDED_UP = (
    "the norms of the tensors are added up. A norm of all is the root of the sum of all squares, which is smaller."
)
NO_ROOT = "the root is missing: the sum of the squares is compared with the limit, and divided by."


@clip_gradients.mistake(STRETCHED)
def always_scaled(gradients: list[Tensor], limit: float) -> list[Tensor]:
    norm = _norm(gradients)
    return [g * (limit / norm if norm else 1) for g in gradients]


@clip_gradients.mistake(STRETCHED)
def always_scaled_and_nan(gradients: list[Tensor], limit: float) -> list[Tensor]:
    norm = torch.tensor(_norm(gradients))
    return [g * (limit / norm) for g in gradients]


@clip_gradients.mistake(STRETCHED)
def always_scaled_unguarded(gradients: list[Tensor], limit: float) -> list[Tensor]:
    norm = _norm(gradients)
    return [g * (limit / norm) for g in gradients]


@clip_gradients.mistake(NORMS_ADDED_UP)
def norms_added_up(gradients: list[Tensor], limit: float) -> list[Tensor]:
    factor = limit / max(limit, sum(_norm([g]) for g in gradients))
    return [g * factor for g in gradients]


@clip_gradients.mistake(NORMS_ADDED_UP)
def norms_added_up_unguarded(gradients: list[Tensor], limit: float) -> list[Tensor]:
    factor = min(1, limit / sum(_norm([g]) for g in gradients))
    return [g * factor for g in gradients]


@clip_gradients.mistake(NO_ROOT)
def without_root(gradients: list[Tensor], limit: float) -> list[Tensor]:
    factor = limit / max(limit, _norm(gradients) ** 2)
    return [g * factor for g in gradients]


@clip_gradients.mistake(NO_ROOT)
def without_root_unguarded(gradients: list[Tensor], limit: float) -> list[Tensor]:
    factor = min(1, limit / _norm(gradients) ** 2)
    return [g * factor for g in gradients]


@clip_gradients.mistake("everything is divided by the norm; what comes out has the norm 1, whatever the limit is.")
def to_norm_one(gradients: list[Tensor], limit: float) -> list[Tensor]:
    norm = _norm(gradients)
    return [g / norm if norm > limit else g for g in gradients]


decaying = Exercise(
    "08",
    "ten minutes",
    "decaying(shapes): from a dictionary, the name of each parameter with its shape (a tuple), to the list of the names that decay "
    "by section 12's rule, in the order given. An embedding's name has \"embedding\" in it; all other matrices belong to linear "
    "layers.",
    hints=[
        "Which of the kinds that section 12 spares can you tell by the shape alone?",
        "Biases, and the stretch and shift of LayerNorm, are rows of numbers: their shape has one entry. Which matrices are spared?",
        "A name decays if its shape has two entries, and it doesn't belong to an embedding.",
    ],
)


@decaying.cases
def _() -> Iterator[tuple[dict[str, tuple[int, ...]]]]:
    yield ({"norm.weight": (8,), "head.weight": (60, 8)},)
    yield ({"token_embedding.weight": (60, 8), "query.weight": (8, 8), "query.bias": (8,)},)
    yield (
        {
            "token_embedding.weight": (5, 2),
            "position_embedding.weight": (4, 2),
            "blocks.0.norm1.weight": (2,),
            "blocks.0.norm1.bias": (2,),
            "blocks.0.attention.output.weight": (2, 2),
            "blocks.0.attention.output.bias": (2,),
            "blocks.0.feed_forward.widen.weight": (8, 2),
            "norm.weight": (2,),
            "head.weight": (5, 2),
        },
    )
    yield ({"blocks.0.norm2.bias": (4,)},)
    yield ({"score.weight": (1, 4), "score.bias": (1,)},)


Shapes = Mapping[str, tuple[int, ...]]


@decaying.answer
def _(shapes: Shapes) -> list[str]:
    return [name for name, shape in shapes.items() if len(shape) == 2 and "embedding" not in name]


@decaying.mistake(
    "all matrices decay, the embeddings too. Some programs do that; section 12's rule spares the tables of tokens and places."
)
def embeddings_too(shapes: Shapes) -> list[str]:
    return [name for name, shape in shapes.items() if len(shape) == 2]


@decaying.mistake(
    "you go by the name alone: the stretch of a LayerNorm is called weight, too, and it decays in your list. What tells it from a "
    "matrix?"
)
def all_but_biases(shapes: Shapes) -> list[str]:
    return [name for name in shapes if "bias" not in name and "embedding" not in name]


@decaying.mistake("you list everything that is called weight: stretches of LayerNorm and embeddings are among it.")
def all_weights(shapes: Shapes) -> list[str]:
    return [name for name in shapes if name.endswith("weight")]


@decaying.mistake("these are those that are spared; asked for are those that decay.")
def the_spared(shapes: Shapes) -> list[str]:
    return [name for name, shape in shapes.items() if len(shape) < 2 or "embedding" in name]


@decaying.mistake("the head is missing. It is a matrix of a linear layer, not an embedding, and decays.")
def without_the_head(shapes: Shapes) -> list[str]:
    return [
        name for name, shape in shapes.items() if len(shape) == 2 and "embedding" not in name and "head" not in name
    ]


@decaying.mistake(
    "matrices with a single row are missing: the number of entries of a shape counts, not how large they are."
)
def no_single_rows(shapes: Shapes) -> list[str]:
    return [name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 1 and "embedding" not in name]


go_on = Exercise(
    "08",
    "ten minutes",
    'go_on(saved, gradients): from a checkpoint, a dictionary with the numbers "w", "m", "v" and "step" (how many steps were done), '
    "to the checkpoint after one more step of Adam for each of gradients (a list of at least one number): rate 0.1, beta1 0.9, "
    "beta2 0.99, epsilon 1e-8, no decay. To stop and go on must give what the run in one piece gives.",
    hints=[
        "Give it four gradients at once; then two, and with what it saved the other two. Which of the four entries differ?",
        "All four are saved. Which of them are read again?",
        "m and v go on from what was saved, and so does the number k by which they are corrected: the next step is step + 1.",
    ],
    planted=True,
)


@go_on.cases
def _() -> Iterator[tuple[dict[str, float], list[float]]]:
    yield {"w": 1.0, "m": 0.0, "v": 0.0, "step": 0}, [2.0]
    yield {"w": 1.0, "m": 0.0, "v": 0.0, "step": 0}, [2.0, -1.0, 3.0]
    yield {"w": 0.5, "m": 1.0, "v": 4.0, "step": 1}, [-1.0]
    yield {"w": 0.5, "m": -0.5, "v": 1.0, "step": 40}, [1.0, 2.0]


Saved = dict[str, float]


def _go_on(saved: Saved, gradients: Sequence[float], m: float, v: float, done: int, counted: int) -> Saved:
    """From these running means on; `done` steps for the correction, `counted` for what is saved."""
    w = saved["w"]
    for k, g in enumerate(gradients, done + 1):
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        w -= 0.1 * (m / (1 - 0.9**k)) / (math.sqrt(v / (1 - 0.99**k)) + 1e-8)
    return {"w": w, "m": m, "v": v, "step": counted + len(gradients)}


@go_on.answer
def _(saved: Saved, gradients: list[float]) -> Saved:
    return _go_on(saved, gradients, saved["m"], saved["v"], int(saved["step"]), int(saved["step"]))


@go_on.mistake(
    "a run in one piece is right, and one that was resumed is not. Compare four steps at once with two and two: is only the weight "
    "different, or more of what was saved?"
)
def as_planted(saved: Saved, gradients: list[float]) -> Saved:
    return _go_on(saved, gradients, 0, 0, 0, 0)


@go_on.mistake(
    "m and v go on, but the steps are counted from 1 again: the saved step is too small, and the correction too strong."
)
def step_forgotten(saved: Saved, gradients: list[float]) -> Saved:
    return _go_on(saved, gradients, saved["m"], saved["v"], 0, 0)


@go_on.mistake(
    "the step that you save is right, and the correction of m and v counts from 1 again. Which number do they need?"
)
def step_not_used(saved: Saved, gradients: list[float]) -> Saved:
    return _go_on(saved, gradients, saved["m"], saved["v"], 0, int(saved["step"]))


@go_on.mistake("the step goes on, and the running means begin at zero: m and v are saved, but not read.")
def means_forgotten(saved: Saved, gradients: list[float]) -> Saved:
    return _go_on(saved, gradients, 0, 0, int(saved["step"]), int(saved["step"]))


@go_on.mistake("m goes on, and v begins at zero, so the first steps after the break are too long.")
def squares_forgotten(saved: Saved, gradients: list[float]) -> Saved:
    return _go_on(saved, gradients, saved["m"], 0, int(saved["step"]), int(saved["step"]))
