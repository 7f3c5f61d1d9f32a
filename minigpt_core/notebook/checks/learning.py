"""Chapter 03: softmax, slopes by formula and by turning, momentum, the lowest loss; and an infinite loss."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .exercise import Exercise, numbers

softmax = Exercise(
    "03",
    "a minute",
    "softmax(z): from logits z (V,) to probabilities (V,), also where logits are in the thousands.",
    hints=[
        "What is the exponential of 1000 in float32, and what is infinity divided by infinity?",
        "Section 1 adds 100 to all logits, and nothing changes. Which number could you take off all of them?",
        "With the largest logit taken off, the largest exponential is 1 and none overflows.",
    ],
)


@softmax.cases
def _() -> Iterator[tuple[Tensor]]:
    yield (torch.zeros(2),)
    yield (torch.tensor([2.0, 1.0, 0.0]),)
    yield (torch.tensor([-1000.0, -1001.0]),)
    yield (torch.tensor([3000.0, 0.0, 3001.0]),)


@softmax.answer
def _(z: Tensor) -> Tensor:
    return z.softmax(0)


@softmax.mistake(
    "small logits are right, and large ones give nan. Print the exponentials: what are they for -1000, and for 3000?"
)
def overflows(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum()


@softmax.mistake(
    "small logits are right, and large ones raise an error: the exponential of -1000 is rounded to 0, and that of "
    "3000 is too large for a Python number. Only differences of logits count."
)
def overflows_in_python(z: Tensor) -> list[float]:
    powers = [math.exp(logit) for logit in z.tolist()]
    return [power / sum(powers) for power in powers]


@softmax.mistake(
    "what is taken off is not the largest: with 3000, 0 and 3001 at least one number still stands a thousand or more "
    "above it, and overflows."
)
def takes_off_the_mean(z: Tensor) -> Tensor:
    powers = (z - z.mean()).exp()
    return powers / powers.sum()


@softmax.mistake(
    "the logits are cut at a limit, so two logits beyond it count as equal; their difference of 1 is lost."
)
def cut_at_80(z: Tensor) -> Tensor:
    return z.clamp(-80, 80).softmax(0)


@softmax.mistake(
    lambda got: f"the numbers sum to {torch.as_tensor(got).sum().item():.2f}, and probabilities sum to 1: divide them."
)
def not_divided(z: Tensor) -> Tensor:
    return (z - z.max()).exp()


@softmax.mistake("these are the logarithms of the probabilities.")
def logarithms(z: Tensor) -> Tensor:
    return z.log_softmax(0)


@softmax.mistake("the logits themselves are divided by their sum; softmax compares their exponentials.")
def no_exponential(z: Tensor) -> Tensor:
    return z / z.sum()


logit_slopes = Exercise(
    "03",
    "ten minutes",
    "logit_slopes(z, came): from the logits z (N, V) of N guesses and the tokens that came (N,) to the slopes (N, V) "
    "of the mean loss along each logit.",
    hints=[
        "For a single guess: what was predicted, minus what came. Which softmax is meant, along a row or along a "
        "column?",
        "The bracket of section 2 is 1 at one place of each row: row n, column came[n].",
        "The loss is a mean over N guesses. How far does a mean move, when one of its N terms moves by 1?",
    ],
)


@logit_slopes.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([2])
    yield torch.zeros(2, 2), torch.tensor([0, 1])
    yield numbers(3, 4), torch.tensor([1, 3, 1])


@logit_slopes.answer
def _(z: Tensor, came: Tensor) -> Tensor:
    return _difference(z, came) / len(z)


def _difference(z: Tensor, came: Tensor) -> Tensor:
    return z.softmax(1) - F.one_hot(came, z.shape[1])


@logit_slopes.mistake(
    "these are the slopes of each guess's own loss. The mean loss moves only a part as far when one of its terms moves."
)
def of_the_sum(z: Tensor, came: Tensor) -> Tensor:
    return _difference(z, came)


@logit_slopes.mistake("the sign is turned round: a step against these slopes would make the loss larger.")
def came_minus_predicted(z: Tensor, came: Tensor) -> Tensor:
    return -_difference(z, came) / len(z)


@logit_slopes.mistake(
    "only the token that came has a slope. The other logits are in the sum below the fraction, so they have slopes, "
    "too."
)
def true_token_only(z: Tensor, came: Tensor) -> Tensor:
    return _difference(z, came) * F.one_hot(came, z.shape[1]) / len(z)


@logit_slopes.mistake(
    "with one guess it is right; with several, 1 is taken off in each row at the tokens of all rows. Each row has "
    "only its own."
)
def in_every_row(z: Tensor, came: Tensor) -> Tensor:
    p = z.softmax(1)
    p[:, came] -= 1
    return p / len(z)


@logit_slopes.mistake("softmax runs down the columns, so it compares guesses with each other. A row is one guess.")
def down_the_columns(z: Tensor, came: Tensor) -> Tensor:
    return (z.softmax(0) - F.one_hot(came, z.shape[1])) / len(z)


@logit_slopes.mistake("it is divided by all N times V numbers. The mean loss is a mean over N guesses.")
def divided_by_all(z: Tensor, came: Tensor) -> Tensor:
    return _difference(z, came) / z.numel()


@logit_slopes.mistake("all slopes are positive: what was predicted is there, and what came is not yet taken off.")
def predicted_alone(z: Tensor, came: Tensor) -> Tensor:
    return z.softmax(1) / len(z)


finite_differences = Exercise(
    "03",
    "ten minutes",
    "finite_differences(f, z, h): the slopes (n,) of f along each of the numbers z (n,), by central differences: each "
    "number alone is turned by h up and by h down, f(z) is one number, and the turns may be large.",
    hints=[
        "How many times do you have to call f for a single slope, and with which two lists of numbers?",
        "Each slope needs a copy of z in which one number alone is other. What does up = z copy?",
        "From the lower point to the upper one, the number has moved by 2 * h.",
    ],
)


def square(z: Any) -> Any:
    return z[0] ** 2


def cube_and_product(z: Any) -> Any:
    return z[0] ** 3 + z[0] * z[1] ** 2


def sum_of_products(z: Any) -> Any:
    return z[0] * z[1] + z[1] ** 3 * z[2]


Curve = Callable[[Any], Any]


@finite_differences.cases
def _() -> Iterator[tuple[Curve, Tensor, float]]:
    yield square, torch.tensor([3.0]).double(), 0.5
    yield cube_and_product, torch.tensor([2.0, -1.0]).double(), 0.5
    yield sum_of_products, torch.tensor([1.0, 2.0, -1.0]).double(), 0.1


def _turned(z: Tensor, i: int, by: float) -> Tensor:
    z = z.clone()
    z[i] += by
    return z


@finite_differences.answer
def _(f: Curve, z: Tensor, h: float) -> list[Any]:
    return [(f(_turned(z, i, h)) - f(_turned(z, i, -h))) / (2 * h) for i in range(len(z))]


@finite_differences.mistake(
    "it looks at one side only, from z to z + h. Where f is curved, that slope is off by about h; with both sides "
    "most of the error cancels."
)
def one_sided(f: Curve, z: Tensor, h: float) -> list[Any]:
    return [(f(_turned(z, i, h)) - f(z)) / h for i in range(len(z))]


@finite_differences.mistake("the slopes are twice too large: how far is it from the lower point to the upper one?")
def divided_by_h(f: Curve, z: Tensor, h: float) -> list[Any]:
    return [(f(_turned(z, i, h)) - f(_turned(z, i, -h))) / h for i in range(len(z))]


@finite_differences.mistake(
    "all slopes are 0. Look at up and down before you call f: are these two lists, or two names of one?"
)
def not_copied(f: Curve, z: Tensor, h: float) -> list[Any]:
    slopes = []
    for i in range(len(z)):
        up, down = z, z
        up[i] += h
        down[i] -= h
        slopes.append((f(up) - f(down)) / (2 * h))
    return slopes


@finite_differences.mistake(
    "the first slope is right, and the next ones are not: the numbers before were turned and not turned back."
)
def not_turned_back(f: Curve, z: Tensor, h: float) -> list[Any]:
    slopes = []
    for i in range(len(z)):
        z[i] += h
        above = f(z)
        z[i] -= 2 * h
        slopes.append((above - f(z)) / (2 * h))
    return slopes


@finite_differences.mistake(
    "all slopes are the same number: all numbers of z are turned at once. A slope belongs to one of them alone."
)
def all_at_once(f: Curve, z: Tensor, h: float) -> list[Any]:
    return [(f(z + h) - f(z - h)) / (2 * h)] * len(z)


@finite_differences.mistake(
    "these are the slopes of a turn far smaller than h, or exact ones. Asked is what turning by this h measures; with "
    "a curved f that is a little different."
)
def exact(f: Curve, z: Tensor, h: float) -> Tensor:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(f(z), z, materialize_grads=True)[0]


momentum_walk = Exercise(
    "03",
    "ten minutes",
    "momentum_walk(z, slopes, rate): the numbers at which momentum stands after each of its steps, from the number z, "
    "with one step for each slope in the list; the fading sum m begins at 0 and keeps 0.9 of itself, as in section 5.",
    hints=[
        "Two things go from step to step: the number z and the sum m. In which order do they change?",
        "First the new slope goes into m, with 0.9 of the old m; the step then goes against m.",
        "Append z after each step, not before.",
    ],
)


@momentum_walk.cases
def _() -> Iterator[tuple[float, list[float], float]]:
    yield 1.0, [1.0], 0.5
    yield 0.0, [1.0, 1.0, 1.0], 0.1
    yield 2.0, [1.0, -1.0, 2.0, 0.0], 0.5


Step = Callable[[float, float], tuple[float, float]]


def _walk(z: float, slopes: list[float], rate: float, step: Step) -> list[float]:
    """`step` makes of the old m and a slope the step's direction and the new m."""
    m, path = 0.0, []
    for g in slopes:
        direction, m = step(m, g)
        z = z - rate * direction
        path.append(z)
    return path


def _momentum(z: float, slopes: list[float], rate: float) -> list[float]:
    return _walk(z, slopes, rate, lambda m, g: (0.9 * m + g, 0.9 * m + g))


momentum_walk.answer(_momentum)


@momentum_walk.mistake("it remembers nothing: that is plain descent, whose step goes against the last slope alone.")
def no_memory(z: float, slopes: list[float], rate: float) -> list[float]:
    return _walk(z, slopes, rate, lambda m, g: (g, 0.0))


@momentum_walk.mistake(
    "m is a running mean, 0.9 of the old and 0.1 of the new. That is Adam's; momentum's m is a fading sum, so slopes "
    "that agree add up to 10."
)
def running_mean(z: float, slopes: list[float], rate: float) -> list[float]:
    return _walk(z, slopes, rate, lambda m, g: (0.9 * m + 0.1 * g, 0.9 * m + 0.1 * g))


@momentum_walk.mistake(
    "the list is one step behind: its first number is the start. Is z noted before it is moved, or does the step "
    "follow the m of before, without the newest slope?"
)
def one_step_late(z: float, slopes: list[float], rate: float) -> list[float]:
    return _walk(z, slopes, rate, lambda m, g: (m, 0.9 * m + g))


@momentum_walk.mistake("it walks uphill: a step goes against the slopes.")
def uphill(z: float, slopes: list[float], rate: float) -> list[float]:
    return _momentum(z, slopes, -rate)


@momentum_walk.mistake(
    "the newest slope fades already before its first step: 0.9 is for what is kept of the old m alone."
)
def fades_at_once(z: float, slopes: list[float], rate: float) -> list[float]:
    return _walk(z, slopes, rate, lambda m, g: (0.9 * (m + g), 0.9 * (m + g)))


@momentum_walk.mistake("the start is in the list. Asked is where it stands after each step.")
def start_too(z: float, slopes: list[float], rate: float) -> list[float]:
    return [z, *_momentum(z, slopes, rate)]


lowest_loss = Exercise(
    "03",
    "ten minutes",
    "lowest_loss(pairs): from counts (V, V), row x those of what followed token x, to the lowest mean loss in nats "
    "that a table of V rows can have on these pairs.",
    hints=[
        "Which table is the lowest? Section 4 says what each of its rows must say.",
        "The loss of that table is the mean of -ln p over all pairs: a pair that occurs often counts often.",
        "A pair that never occurs adds 0 times the logarithm of 0. What does Python make of that, and what should it "
        "be?",
    ],
)


@lowest_loss.cases
def _() -> Iterator[tuple[Tensor]]:
    yield (torch.tensor([[1.0, 1.0], [1.0, 1.0]]),)
    yield (torch.tensor([[2.0, 1.0], [1.0, 1.0]]),)
    yield (torch.tensor([[4.0, 0.0], [1.0, 1.0]]),)
    yield (torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, 2.0, 4.0]]),)


def _entropies(counts: Tensor) -> Tensor:
    """Of each row."""
    share = counts / counts.sum(-1, keepdim=True).clamp(min=1)
    return -torch.xlogy(share, share).sum(-1)


def _lowest(pairs: Tensor) -> Tensor:
    return (_entropies(pairs) * pairs.sum(1)).sum() / pairs.sum()


lowest_loss.answer(_lowest)


@lowest_loss.mistake(
    "it is nan as soon as one pair does not occur: 0 times the logarithm of 0. A pair that never came adds nothing to "
    "the loss."
)
def zero_times_infinity(pairs: Tensor) -> Tensor:
    share = pairs / pairs.sum(1, keepdim=True)
    return -(pairs * share.log()).sum() / pairs.sum()


@lowest_loss.mistake(
    "each row counts the same. The loss is a mean over pairs, so a token that is read often has more weight than a "
    "rare one."
)
def mean_of_rows(pairs: Tensor) -> Tensor:
    return _entropies(pairs).mean()


@lowest_loss.mistake(
    "the shares are of all pairs together, so it also pays for the token that is read. That token is given: each row "
    "sums to 1."
)
def both_tokens(pairs: Tensor) -> Tensor:
    return _entropies(pairs.flatten())


@lowest_loss.mistake(
    "that is the lowest loss of a machine that reads nothing: it has one row for all. The table has a row for each "
    "token read."
)
def reads_nothing(pairs: Tensor) -> Tensor:
    return _entropies(pairs.sum(0))


@lowest_loss.mistake("it is measured in bits, by the logarithm of base 2; nats take the natural one.")
def in_bits(pairs: Tensor) -> Tensor:
    return _lowest(pairs) / math.log(2)


@lowest_loss.mistake(
    "the shares run down the columns: they tell what came before a token, and the table tells what follows."
)
def down_the_counts(pairs: Tensor) -> Tensor:
    return _lowest(pairs.T)


loss_of_logits = Exercise(
    "03",
    "ten minutes",
    "loss_of_logits(z, came): the mean loss, one number, of N guesses with logits z (N, V) where the tokens came "
    "(N,), also where logits are in the hundreds or thousands.",
    hints=[
        "Take two tokens with the logits 200 and 0, and let the second come. What should the loss be, by hand?",
        "Its probability is about e to the power of -200. Which number is that in float32, and what is its logarithm?",
        "Write the logarithm of the quotient as a difference, as section 2 does: the logarithm and the exponential "
        "need not both be taken. PyTorch's log_softmax and logsumexp do so.",
    ],
    planted=True,
)


@loss_of_logits.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([2])
    yield torch.tensor([[200.0, 0.0]]), torch.tensor([1])
    yield torch.tensor([[1000.0, 0.0]]), torch.tensor([0])
    yield torch.tensor([[1000.0, 0.0], [2.0, 1.0]]), torch.tensor([1, 0])
    yield numbers(3, 4), torch.tensor([1, 3, 1])


@loss_of_logits.answer
def _(z: Tensor, came: Tensor) -> Tensor:
    return F.cross_entropy(z, came)


def _of_came(p: Tensor, came: Tensor) -> Tensor:
    return p[torch.arange(len(p)), came]


@loss_of_logits.mistake(
    "the loss is infinite where the logits are 200 and 0 and the second token came. Print the probability of that "
    "token before its logarithm is taken: is it what you would compute by hand?"
)
def as_planted(z: Tensor, came: Tensor) -> Tensor:
    return -_of_came(z.softmax(1), came).log().mean()


def _capped(digits: int) -> Callable[[Tensor, Tensor], Tensor]:
    def capped(z: Tensor, came: Tensor) -> Tensor:
        return -(_of_came(z.softmax(1), came) + 10.0**-digits).log().mean()

    capped.__name__ = f"capped_at_{digits}_places"
    return capped


for _digits in (6, 7, 8, 9, 10, 12, 20, 30):
    loss_of_logits.mistake(
        f"the loss is finite now, and never more than {_digits * math.log(10):.1f}: the small number in the "
        f"logarithm caps it. "
        "By hand it is 200, and where the probability is rounded to 0 no slope is left that could mend the guess."
    )(_capped(_digits))


@loss_of_logits.mistake(
    "more digits move the limit, and do not lift it: logits of 200 are right now, and those of 1000 give an infinite "
    "loss again."
)
def in_double(z: Tensor, came: Tensor) -> Tensor:
    return -_of_came(z.double().softmax(1), came).log().mean()


@loss_of_logits.mistake(
    "guesses whose loss is infinite now count as 0: the worst guesses cost nothing. By hand that loss is a usual "
    "number."
)
def infinite_ones_left_out(z: Tensor, came: Tensor) -> Tensor:
    losses = -_of_came(z.softmax(1), came).log()
    return torch.where(losses.isinf(), 0.0, losses).mean()


@loss_of_logits.mistake(
    "the quotient is a difference now, and the exponential inside still overflows: the loss is infinite even where "
    "the token with the logit 1000 came. Only differences of logits count."
)
def sum_overflows(z: Tensor, came: Tensor) -> Tensor:
    return (z.exp().sum(1).log() - _of_came(z, came)).mean()
