"""Chapter 16: windows of shards, gradients of groups and of processes, a scaled loss, a budget divided by a law; and weights too
short for their updates."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...data import MASKED
from ...study.scaling import Law
from .exercise import Exercise, numbers

shard_starts = Exercise(
    "16",
    "ten minutes",
    "shard_starts(lengths, T): a list of all places at which a training example may begin, T ids and the target of the last one, that "
    "lies whole in one shard. lengths has the number of ids in each shard; places are counted from 0 through all shards, in rising "
    "order.",
    hints=[
        "How many ids does an example need? x has T, and y is x moved on by one.",
        "A shard of 4 ids has one place for examples of T = 3, and none for T = 4.",
        "Where does the second shard begin, counted through all? Add that to the places within it.",
    ],
)


@shard_starts.cases
def _() -> Iterator[tuple[list[int], int]]:
    yield [6], 3
    yield [4, 5], 2
    yield [5, 3, 6], 3
    yield [2, 7, 1, 5], 4


def _starts(lengths: list[int], needed: int) -> list[int]:
    return [sum(lengths[:i]) + place for i, n in enumerate(lengths) for place in range(n - needed + 1)]


@shard_starts.answer
def _(lengths: list[int], T: int) -> list[int]:
    return _starts(lengths, T + 1)


@shard_starts.mistake(
    "the last place of each shard is one too many: its T ids are there, and the target of the last of them is not."
)
def no_target(lengths: list[int], T: int) -> list[int]:
    return _starts(lengths, T)


@shard_starts.mistake(
    "the last place of each shard is missing: T + 1 ids fit there exactly. Count the places of a shard with T + 1 ids: one."
)
def one_too_few(lengths: list[int], T: int) -> list[int]:
    return _starts(lengths, T + 2)


@shard_starts.mistake(
    "some examples begin in one shard and end in the next: the shards are treated as one long row of ids. Who maps one file at a time "
    "reads past its end there."
)
def across_the_ends(lengths: list[int], T: int) -> list[int]:
    return list(range(sum(lengths) - T))


@shard_starts.mistake("each shard is counted from 0 anew. Places run through all shards: where does each one begin?")
def counted_anew(lengths: list[int], T: int) -> list[int]:
    return [place for n in lengths for place in range(n - T)]


@shard_starts.mistake(
    "the examples lie side by side, one every T ids. That is how to measure a loss; in training an example may begin at every place."
)
def side_by_side(lengths: list[int], T: int) -> list[int]:
    return [sum(lengths[:i]) + place for i, n in enumerate(lengths) for place in range(0, n - T, T)]


accumulated_gradient = Exercise(
    "16",
    "ten minutes",
    "accumulated_gradient(W, x, y, size): the gradient (C, V), with respect to W (C, V), of the mean loss of a batch, computed in groups "
    "of `size` windows, of which the last may be shorter. The logits are x @ W, for x (B, T, C); the loss is the cross-entropy with "
    "y (B, T), its mean taken over all targets of the batch that are not -100.",
    hints=[
        "W.requires_grad_() lets PyTorch find slopes; each backward() adds to W.grad.",
        "Which numbers may be added up without knowing the group's size: means or sums? reduction='sum' gives one of them.",
        "Divide once, by the number of targets in the whole batch that are not -100.",
    ],
)


@accumulated_gradient.cases
def _() -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
    yield numbers(1, 2), numbers(2, 1, 1, seed=1), torch.tensor([[0], [1]]), 1
    yield numbers(2, 3), numbers(3, 2, 2, seed=1), torch.tensor([[0, 1], [2, 0], [1, 1]]), 2
    yield numbers(2, 3), numbers(4, 2, 2, seed=2), torch.tensor([[0, 1], [MASKED, 2], [1, 0], [MASKED, MASKED]]), 2
    yield numbers(2, 3), numbers(3, 3, 2, seed=3), torch.tensor([[MASKED] * 3, [1, 2, 0], [0, MASKED, 2]]), 1


def _of_groups(
    W: Tensor, x: Tensor, y: Tensor, size: int, reduction: str, share: Callable[[Tensor, int], float]
) -> Tensor:
    """The groups' gradients, added up: each of the loss so reduced, times a share that follows from its targets and the number of
    groups."""
    W = W.clone().requires_grad_()
    groups = list(zip(torch.split(x, size), torch.split(y, size), strict=True))
    for x_part, y_part in groups:
        loss = F.cross_entropy((x_part @ W).flatten(0, 1), y_part.flatten(), reduction=reduction)
        (loss * share(y_part, len(groups))).backward()  # type: ignore[no-untyped-call]
    assert W.grad is not None
    return W.grad


@accumulated_gradient.answer
def _(W: Tensor, x: Tensor, y: Tensor, size: int) -> Tensor:
    count = int((y != MASKED).sum())
    return _of_groups(W, x, y, size, "sum", lambda *_: 1 / count)


@accumulated_gradient.mistake(
    "that is the mean of the groups' means: where groups are alike it is right. Make the last one shorter, or mask some targets, and a "
    "token in the small group gets too much weight. (A group that is masked whole has no mean loss, 0 / 0.)"
)
def mean_of_means(W: Tensor, x: Tensor, y: Tensor, size: int) -> Tensor:
    return _of_groups(W, x, y, size, "mean", lambda _, n: 1 / n)


@accumulated_gradient.mistake(
    "the groups' means are added, and nothing divides by the number of groups: with more groups the step gets longer."
)
def sum_of_means(W: Tensor, x: Tensor, y: Tensor, size: int) -> Tensor:
    return _of_groups(W, x, y, size, "mean", lambda *_: 1)


@accumulated_gradient.mistake("that is the gradient of the sum of all losses. The mean is asked: divide once.")
def never_divided(W: Tensor, x: Tensor, y: Tensor, size: int) -> Tensor:
    return _of_groups(W, x, y, size, "sum", lambda *_: 1)


@accumulated_gradient.mistake(
    "it is right without masks. With them it is too small: the sum is divided by all positions, also by those that do not count."
)
def divided_by_all_positions(W: Tensor, x: Tensor, y: Tensor, size: int) -> Tensor:
    return _of_groups(W, x, y, size, "sum", lambda *_: 1 / y.numel())


@accumulated_gradient.mistake(
    "each group's mean is weighted by its windows. That mends the short last group; but where targets are masked, windows differ in "
    "how many tokens count."
)
def weighted_by_windows(W: Tensor, x: Tensor, y: Tensor, size: int) -> Tensor:
    return _of_groups(W, x, y, size, "mean", lambda part, _: len(part) / len(y))


@accumulated_gradient.mistake(
    "only the last group has left a gradient: is it set to zero for each group? Once for each step is right."
)
def only_the_last(W: Tensor, x: Tensor, y: Tensor, size: int) -> Tensor:
    count = int((y != MASKED).sum())
    return _of_groups(W, torch.split(x, size)[-1], torch.split(y, size)[-1], size, "sum", lambda *_: 1 / count)


handed_in = Exercise(
    "16",
    "ten minutes",
    "handed_in(gradients, counts): P processes have one batch. Process p has found gradients[p] (C,), the gradient of the mean loss of "
    "its own counts[p] tokens. DDP will take the plain mean of what the processes hand in. Give what they have to hand in, (P, C), row p "
    "being gradients[p] times a factor, so that this mean is the gradient of the mean loss of all tokens.",
    hints=[
        "The gradient of all tokens is the sum over p of counts[p] / total times gradients[p].",
        "DDP divides the sum of what is handed in by P. What must each factor contain, so that this division does no harm?",
        "Test it: does the mean over the rows change when one process gets all the tokens, and the others none?",
    ],
)


@handed_in.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.tensor([[2.0], [6.0]]), torch.tensor([3, 1])
    yield torch.tensor([[1.0, -1.0], [4.0, 2.0], [0.5, 3.0]]), torch.tensor([2, 4, 2])
    yield torch.tensor([[2.0, 1.0], [0.0, 0.0]]), torch.tensor([5, 0])
    yield torch.tensor([[1.0], [2.0], [-3.0], [2.0]]), torch.tensor([192, 128, 128, 64])


@handed_in.answer
def _(gradients: Tensor, counts: Tensor) -> Tensor:
    return gradients * (counts * len(counts) / counts.sum())[:, None]


@handed_in.mistake(
    "handed in as they are, the mean of these gradients is a mean of means: a process with few tokens counts as much as one with many."
)
def as_they_are(gradients: Tensor, counts: Tensor) -> Tensor:
    return gradients.clone()


@handed_in.mistake(
    "the weights of the processes are right, but the sum of what is handed in is the gradient, and DDP takes the mean: the step is P "
    "times too short."
)
def for_a_sum(gradients: Tensor, counts: Tensor) -> Tensor:
    return gradients * (counts / counts.sum())[:, None]


@handed_in.mistake("those are the gradients of the sums. Nothing has divided by the number of all tokens.")
def sums(gradients: Tensor, counts: Tensor) -> Tensor:
    return gradients * counts[:, None]


@handed_in.mistake("the weights are upside down: a process with few tokens counts for more than one with many.")
def the_wrong_way_round(gradients: Tensor, counts: Tensor) -> Tensor:
    share = 1 / counts.clamp(min=1)
    return gradients * (share * len(counts) / share.sum())[:, None]


@handed_in.mistake(
    "all rows are the gradient of the whole batch. Their mean is right, but no process could know it before the others have told theirs: "
    "row p is to be made from gradients[p] alone, times a factor."
)
def all_the_same(gradients: Tensor, counts: Tensor) -> Tensor:
    return (gradients * (counts / counts.sum())[:, None]).sum(0).expand(len(counts), -1)


scaled_step = Exercise(
    "16",
    "ten minutes",
    "scaled_step(w, g, scale, rate): one plain gradient step for the weights w (N,). The loss was multiplied by scale, and g (N,) is what "
    "came back. If all of g is finite, take the step with the true gradient, and keep the scale; if any of it is infinite or nan, leave "
    "all weights as they are, and halve the scale. Returns the pair (weights, scale).",
    hints=[
        "By the chain rule g is the true gradient times the scale. What has to be done before the step?",
        "torch.isfinite is False for infinite numbers and for nan.",
        "One infinite number spoils the whole step: the other numbers of g are not used either.",
    ],
)


@scaled_step.cases
def _() -> Iterator[tuple[Tensor, Tensor, float, float]]:
    yield torch.tensor([1.0, 2.0]), torch.tensor([8.0, -4.0]), 8.0, 0.5
    yield torch.tensor([1.0, 2.0]), torch.tensor([math.inf, 4.0]), 8.0, 0.5
    yield torch.tensor([1.0, 2.0]), torch.tensor([2.0, -math.inf]), 1024.0, 0.25
    yield torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1.0, math.nan, 2.0]), 4.0, 0.5
    yield torch.tensor([0.5, -1.0]), torch.tensor([0.0, 512.0]), 256.0, 0.1
    yield torch.tensor([1.0, 2.0]), torch.tensor([1e5, 1.0]), 1024.0, 0.25


def _step(w: Tensor, g: Tensor, scale: float, rate: float) -> tuple[Tensor, float]:
    return w - rate * g / scale, scale


@scaled_step.answer
def _(w: Tensor, g: Tensor, scale: float, rate: float) -> tuple[Tensor, float]:
    return _step(w, g, scale, rate) if g.isfinite().all() else (w, scale / 2)


@scaled_step.mistake(
    "the step is as many times too long as the scale says: g is the gradient of the loss times the scale, and not yet the true one."
)
def never_divided_again(w: Tensor, g: Tensor, scale: float, rate: float) -> tuple[Tensor, float]:
    return (w - rate * g, scale) if g.isfinite().all() else (w, scale / 2)


@scaled_step.mistake(
    "after an overflow the weights are infinite or nan, and stay so for the rest of the run: that step must not be taken."
)
def steps_all_the_same(w: Tensor, g: Tensor, scale: float, rate: float) -> tuple[Tensor, float]:
    return w - rate * g / scale, scale if g.isfinite().all() else scale / 2


@scaled_step.mistake("the step is skipped, but the scale stays, so the next gradient will overflow as well.")
def keeps_the_scale(w: Tensor, g: Tensor, scale: float, rate: float) -> tuple[Tensor, float]:
    return _step(w, g, scale, rate) if g.isfinite().all() else (w, scale)


@scaled_step.mistake(
    "a nan goes unseen: where two infinite numbers were subtracted, no infinite one is left. isinf does not find it."
)
def blind_to_nan(w: Tensor, g: Tensor, scale: float, rate: float) -> tuple[Tensor, float]:
    return (w, scale / 2) if g.isinf().any() else _step(w, g, scale, rate)


@scaled_step.mistake(
    "the weights whose gradient was finite have moved. What overflowed is a part of the same gradient: a step without it points another "
    "way. Skip it whole."
)
def moves_the_others(w: Tensor, g: Tensor, scale: float, rate: float) -> tuple[Tensor, float]:
    finite = g.isfinite()
    return w - rate * g.where(finite, torch.zeros(())) / scale, scale if finite.all() else scale / 2


@scaled_step.mistake(
    "a step whose gradient is finite was skipped: a number above 65504, which float16 cannot hold, is taken for an overflow, and g can hold it."
)
def as_in_float16(w: Tensor, g: Tensor, scale: float, rate: float) -> tuple[Tensor, float]:
    return _step(w, g, scale, rate) if g.half().isfinite().all() else (w, scale / 2)


@scaled_step.mistake("the scale is doubled after an overflow, and then even more overflows: it must get smaller.")
def doubles(w: Tensor, g: Tensor, scale: float, rate: float) -> tuple[Tensor, float]:
    return _step(w, g, scale, rate) if g.isfinite().all() else (w, 2 * scale)


def _told(w: Tensor, updates: Tensor) -> str:
    first = [round(update, 6) for update in updates[0].tolist()]
    alike = bool((updates == updates[0]).all())
    return f"{w.tolist()}, {f'{len(updates)} times {first}' if alike else updates.tolist()}"


kept_updates = Exercise(
    "16",
    "ten minutes",
    "kept_updates(w, updates): the weights w (N,) after all updates (S, N) were subtracted, one after the other, with nothing of w "
    "or of the updates lost to rounding on the way; (N,). (The result may be in bfloat16 for the model to compute with.)",
    hints=[
        "Run it on torch.ones(1) and a hundred updates of 0.001. Which number comes out? Print the weight after each step.",
        "The numbers of bfloat16 below 1 are 0.004 apart. What becomes of 1 - 0.001?",
        "Section 4 compares three ways. In which numbers does mixed precision keep the weights, and in which does it compute?",
    ],
    planted=True,
    gives=_told,
)


@kept_updates.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    # each comes to a number that bfloat16 has
    yield torch.ones(1), torch.full((64, 1), 1 / 1024)
    yield torch.ones(1), torch.full((1024, 1), 1 / 8192)
    yield torch.tensor([1.0, -2.0]), torch.tensor([[1 / 2048, -1 / 2048]]).repeat(1024, 1)
    yield torch.tensor([0.0, 4.0]), torch.tensor([[0.25, 0.5], [-0.5, 1.0]])
    yield torch.tensor([1 + 1 / 1024]), torch.full((65, 1), 1 / 1024)


@kept_updates.answer
def _(w: Tensor, updates: Tensor) -> Tensor:
    return w - updates.sum(0)


def _one_by_one(w: Tensor, updates: Tensor, kind: torch.dtype) -> Tensor:
    w = w.to(kind)
    for update in updates:
        w = w - update.to(kind)
    return w


@kept_updates.mistake(
    "large updates arrive, and small ones do not: as many as you like, and the weight stays where it was. Print it after each step, and "
    "find the smallest update that moves a weight of 1."
)
def as_planted(w: Tensor, updates: Tensor) -> Tensor:
    return _one_by_one(w, updates, torch.bfloat16)


@kept_updates.mistake(
    "float16 has more digits, so somewhat smaller updates arrive; those of 0.0001 are still lost, each of them. Its numbers below 1 are "
    "0.0005 apart."
)
def in_float16(w: Tensor, updates: Tensor) -> Tensor:
    return _one_by_one(w, updates, torch.float16)


@kept_updates.mistake(
    "the updates are added up first, but in bfloat16: when their sum has grown large enough, it loses further small ones just as the "
    "weight did."
)
def summed_in_bfloat16(w: Tensor, updates: Tensor) -> Tensor:
    total = _one_by_one(torch.zeros_like(w), updates, torch.bfloat16)
    return w + total.float()


@kept_updates.mistake(
    "all updates arrive, but w itself was rounded to bfloat16 before the first of them: what it lost then does not come back."
)
def rounded_at_the_start(w: Tensor, updates: Tensor) -> Tensor:
    return w.bfloat16().float() - updates.sum(0)


@kept_updates.mistake(
    "the updates are added to the weights. An update is subtracted, as in the program that was given."
)
def added(w: Tensor, updates: Tensor) -> Tensor:
    return w + updates.sum(0)


@kept_updates.mistake("only the last update has arrived: is the weight taken anew from the given w in each step?")
def the_last_alone(w: Tensor, updates: Tensor) -> Tensor:
    return w - updates[-1]


best_split = Exercise(
    "16",
    "ten minutes",
    "best_split(operations, A, alpha, B, beta): the pair (N, D) of lowest loss, by the law L = E + A / N ** alpha + B / D ** beta, of all "
    "with 6 N D = operations, to four digits.",
    hints=[
        "At the best pair one percent more parameters gains as much as one percent more text: alpha A / N ** alpha = beta B / D ** beta.",
        "D is operations / (6 N): put that in, and only N is left.",
        "N ** (alpha + beta) = alpha A / (beta B) * (operations / 6) ** beta. Then D follows.",
    ],
)


@best_split.cases
def _() -> Iterator[tuple[float, ...]]:
    yield 6e6, 10.0, 0.5, 10.0, 0.5
    yield 6e8, 4.0, 0.5, 5.0, 0.5
    yield 6e10, 10.0, 0.35, 20.0, 0.4
    yield 6e12, 40.0, 0.4, 15.0, 0.35


@best_split.answer
def _(operations: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    return Law(E=0, A=A, alpha=alpha, B=B, beta=beta).best(operations)


def _split(product: float, ratio: float, exponent: float) -> tuple[float, float]:
    """N and D with N D = product, where N = ratio * product ** exponent."""
    N = ratio * product**exponent
    return N, product / N


@best_split.mistake(
    "both get the same, the root of operations / 6, whatever the law says. A change in A must change the split."
)
def even_shares(operations: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    return _split(operations / 6, 1, 0.5)


@best_split.mistake(
    "N times D is six times too large: a parameter and a token cost six operations, two forward and four backward."
)
def without_the_six(operations: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    return Law(E=0, A=A, alpha=alpha, B=B, beta=beta).best(6 * operations)


@best_split.mistake(
    "N is right, and D is six times too large: of all operations, each pair of a parameter and a token takes six."
)
def six_missing_in_D(operations: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    N, D = Law(E=0, A=A, alpha=alpha, B=B, beta=beta).best(operations)
    return N, 6 * D


@best_split.mistake("alpha A / (beta B) stands upside down: the larger A is, the more a larger N gains.")
def ratio_upside_down(operations: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    ratio = (beta * B / (alpha * A)) ** (1 / (alpha + beta))
    return _split(operations / 6, ratio, beta / (alpha + beta))


@best_split.mistake(
    "there both terms of the law are equal. The loss is lowest where their *slopes* are: one percent more of each gains the same, and "
    "that brings alpha and beta in as factors."
)
def equal_terms(operations: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    return _split(operations / 6, (A / B) ** (1 / (alpha + beta)), beta / (alpha + beta))


@best_split.mistake(
    "the exponents have changed places. A large beta means that little more text is enough, so it is N that grows by the power with "
    "beta above."
)
def exponents_exchanged(operations: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    ratio = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    return _split(operations / 6, ratio, alpha / (alpha + beta))


@best_split.mistake("the numbers are those of the best split, in the other order: N comes first, then D.")
def tokens_first(operations: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    N, D = Law(E=0, A=A, alpha=alpha, B=B, beta=beta).best(operations)
    return D, N


utilisation = Exercise(
    "16",
    "a minute",
    "utilisation(n_parameters, n_tokens, seconds, peak): the share, 0 to 1, of the machine's peak operations a second that a training "
    "run has used: n_tokens were read in these seconds, and a parameter and token cost the usual six operations.",
    hints=[
        "How many operations were done in all? Section 10 has the rule, 6 N D.",
        "Divide by the seconds: that is what was reached. The share is what was reached of what is possible.",
    ],
)


@utilisation.cases
def _() -> Iterator[tuple[float, ...]]:
    yield 1_000_000, 10_000, 2.0, 100e9
    yield 100_000_000, 2e9, 86_400.0, 65e12
    yield 1558e6, 33.6e9, 86_400.0, 8 * 989e12


@utilisation.answer
def _(n_parameters: float, n_tokens: float, seconds: float, peak: float) -> float:
    return 6 * n_parameters * n_tokens / seconds / peak


def _reads(factor: float) -> Callable[..., Any]:
    return lambda n_parameters, n_tokens, seconds, peak: factor * n_parameters * n_tokens / seconds / peak


@utilisation.mistake("that counts the forward pass alone, two operations. The backward pass costs four more.")
def forward_alone(n_parameters: float, n_tokens: float, seconds: float, peak: float) -> Any:
    return _reads(2)(n_parameters, n_tokens, seconds, peak)


@utilisation.mistake(
    "eight operations count the second forward pass of checkpointing. It keeps the machine busy, but six are asked."
)
def with_a_second_forward(n_parameters: float, n_tokens: float, seconds: float, peak: float) -> Any:
    return _reads(8)(n_parameters, n_tokens, seconds, peak)


@utilisation.mistake("one operation for each parameter and token is too few: section 10 counts six.")
def one_operation(n_parameters: float, n_tokens: float, seconds: float, peak: float) -> Any:
    return _reads(1)(n_parameters, n_tokens, seconds, peak)


@utilisation.mistake("that is in percent. A share lies between 0 and 1.")
def in_percent(n_parameters: float, n_tokens: float, seconds: float, peak: float) -> Any:
    return _reads(600)(n_parameters, n_tokens, seconds, peak)


@utilisation.mistake("the fraction is upside down: it is what was reached, divided by the peak.")
def upside_down(n_parameters: float, n_tokens: float, seconds: float, peak: float) -> float:
    return seconds * peak / (6 * n_parameters * n_tokens)
