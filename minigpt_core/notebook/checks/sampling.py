"""Chapter 10: every knob, beams, stop strings, the cache; and cut-off tokens that are drawn all the same."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .compare import shown
from .exercise import Exercise, numbers

Follows = Callable[[Sequence[int]], list[float]]


def _sum(got: Any) -> str:
    """The sum of what the reader gave."""
    return f"{torch.as_tensor(got).sum().item():.3g}"


heated = Exercise(
    "10",
    "a minute",
    "heated(logits, temperature): from logits (V,) and a temperature of at least 0 to the probabilities (V,) that are "
    "drawn from. At 0 the largest logit gets 1 and every other 0; of equal logits the first is the largest. A small "
    "temperature must not give nan.",
    hints=[
        "Which of the two is the temperature applied to: the logits, or the probabilities?",
        "Divide the logits by it, and then softmax.",
        "A division by 0 gives no number. What is left of the probabilities when the temperature falls towards 0?",
    ],
)


@heated.cases
def _() -> Iterator[tuple[Tensor, float]]:
    yield torch.tensor([2.0, 0.0]), 2.0
    yield torch.tensor([2.0, 0.0]), 0.5
    yield torch.tensor([1.0, -1.0, 2.5]), 1.5
    yield torch.tensor([0.5, 2.0, -1.0]), 0.0
    yield torch.tensor([1.0, 1.0, 0.0]), 0.0
    yield torch.tensor([0.5, 2.0, -1.0]), 0.01


def _greedy(logits: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(logits.argmax(), len(logits))


@heated.answer
def _(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(0) if temperature else _greedy(logits)


HEATS_BACKWARDS = (
    "above 1 your temperature makes the likely token more certain, and below 1 less: it works the wrong way round."
)


@heated.mistake(HEATS_BACKWARDS)
def multiplied(logits: Tensor, temperature: float) -> Tensor:
    return (logits * temperature).softmax(0)


@heated.mistake(HEATS_BACKWARDS)
def multiplied_but_greedy_at_0(logits: Tensor, temperature: float) -> Tensor:
    return (logits * temperature).softmax(0) if temperature else _greedy(logits)


@heated.mistake(
    "at a temperature of 0 all you give is nan: that is what a division by 0 leaves. This case needs a line of its own."
)
def divided_by_0(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(0)


@heated.mistake(
    "at a temperature of 0 equal logits share the 1 between them: what you take for 0 is a very small temperature. "
    "Greedy writing takes one token, the first of them."
)
def nearly_0(logits: Tensor, temperature: float) -> Tensor:
    return (logits / max(temperature, 1e-6)).softmax(0)


@heated.mistake(
    "at a temperature of 0 each logit that is as large as the largest gets 1, and the sum is then above 1. Of equal "
    "ones only the first is taken."
)
def all_the_largest(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(0) if temperature else (logits == logits.max()).float()


@heated.mistake("at a temperature of 0 you take the last of equal logits. It should be the first.")
def the_last_of_equal_ones(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(0) if temperature else _greedy(logits.flip(0)).flip(0)


def _by_hand(logits: Tensor, temperature: float) -> Tensor:
    powers = (logits / temperature).exp()
    return powers / powers.sum()


@heated.mistake(
    "at a small temperature you give nan: e to a large power is infinite. Subtract the largest logit first, or use "
    "softmax, which does."
)
def powers_without_the_largest(logits: Tensor, temperature: float) -> Tensor:
    return _by_hand(logits, temperature) if temperature else _greedy(logits)


@heated.mistake(
    "at a temperature of 0 you divide by 0, and nan is left: this case needs a line of its own. At a small temperature "
    "you give nan as well: e to a large power is infinite."
)
def powers_and_divided_by_0(logits: Tensor, temperature: float) -> Tensor:
    return _by_hand(logits, temperature)


def _sums_to(got: Any) -> str:
    return f"your numbers sum to {_sum(got)}: you divide the probabilities. They must sum to 1, whatever the heat."


@heated.mistake(_sums_to)
def probabilities_divided(logits: Tensor, temperature: float) -> Tensor:
    return logits.softmax(0) / temperature


@heated.mistake(_sums_to)
def probabilities_divided_but_greedy_at_0(logits: Tensor, temperature: float) -> Tensor:
    return logits.softmax(0) / temperature if temperature else _greedy(logits)


CHANGES_NOTHING = (
    "the temperature changes nothing: dividing all probabilities by one number, and then by their sum, gives the same "
    "ones again."
)


@heated.mistake(CHANGES_NOTHING)
def divided_and_brought_back(logits: Tensor, temperature: float) -> Tensor:
    p = logits.softmax(0) / temperature
    return p / p.sum()


@heated.mistake(CHANGES_NOTHING)
def divided_and_brought_back_but_greedy_at_0(logits: Tensor, temperature: float) -> Tensor:
    return logits.softmax(0) if temperature else _greedy(logits)


STILL_LOGITS = (
    "these are still logits: they may be negative, and they do not sum to 1. What makes probabilities of them?"
)


@heated.mistake(STILL_LOGITS)
def no_softmax(logits: Tensor, temperature: float) -> Tensor:
    return logits / temperature


@heated.mistake(STILL_LOGITS)
def no_softmax_but_greedy_at_0(logits: Tensor, temperature: float) -> Tensor:
    return logits / temperature if temperature else _greedy(logits)


cut_top_k = Exercise(
    "10",
    "ten minutes",
    "cut_top_k(logits, k): from logits (V,) to logits (V,): the k largest stay as they are, all others become minus "
    "infinity, so that they can never be drawn. Of equal logits the one with the lower id stays first. A k above V "
    "keeps all.",
    hints=[
        "Take the softmax of what the function gives. How probable are the tokens that were cut off, all together?",
        "Try logits that are all negative, too. Which token is the most probable one then?",
        "What is written for a cut-off token is a logit, not a probability. Which logit has an exponential of exactly "
        "0?",
    ],
    planted=True,
)


@cut_top_k.cases
def _() -> Iterator[tuple[Tensor, int]]:
    yield torch.tensor([1.0, 3.0, 2.0]), 2
    yield torch.tensor([-1.0, -3.0, -2.0, -5.0]), 1
    yield torch.tensor([2.0, 1.0, 2.0, 2.0, 0.5]), 2
    yield torch.tensor([0.5, -0.5]), 5


def _cut(logits: Tensor, order: Tensor, k: int, value: float = -math.inf) -> Tensor:
    cut = logits.clone()
    cut[order[k:]] = value
    return cut


@cut_top_k.answer
def _(logits: Tensor, k: int) -> Tensor:
    return _cut(logits, logits.argsort(descending=True, stable=True), k)


@cut_top_k.mistake(
    "what was cut off can still be drawn. Take the softmax of what your function gives, and add up the probabilities "
    "of the tokens that were cut off. Then do the same with logits that are all negative."
)
def as_planted(logits: Tensor, k: int) -> Tensor:
    return _cut(logits, logits.argsort(descending=True, stable=True), k, 1e-10)


FINITE = (
    "softmax makes 0 of that, so nothing wrong is drawn. Asked for is minus infinity all the same: this chapter counts "
    "what is left with isfinite, and a large negative number is finite."
)


@cut_top_k.mistake(FINITE)
def a_large_negative_number(logits: Tensor, k: int) -> Tensor:
    return _cut(logits, logits.argsort(descending=True, stable=True), k, -1e10)


@cut_top_k.mistake(FINITE)
def minus_a_billion(logits: Tensor, k: int) -> Tensor:
    return _cut(logits, logits.argsort(descending=True, stable=True), k, -1e9)


@cut_top_k.mistake(FINITE)
def the_smallest_number(logits: Tensor, k: int) -> Tensor:
    return _cut(logits, logits.argsort(descending=True, stable=True), k, torch.finfo(logits.dtype).min)


@cut_top_k.mistake("where several logits are as large as the k-th, more than k tokens stay. Exactly k should.")
def all_that_are_as_large(logits: Tensor, k: int) -> Tensor:
    least = logits.sort(descending=True).values[min(k, len(logits)) - 1]
    return logits.masked_fill(logits < least, -math.inf)


@cut_top_k.mistake("of equal logits the one with the higher id stays. It should be the one with the lower id.")
def the_higher_id_first(logits: Tensor, k: int) -> Tensor:
    return _cut(logits, logits.argsort(stable=True).flip(0), k)


@cut_top_k.mistake("the k smallest logits stay. In which direction is your order sorted?")
def the_smallest_stay(logits: Tensor, k: int) -> Tensor:
    return _cut(logits, logits.argsort(stable=True), k)


cut_top_p = Exercise(
    "10",
    "ten minutes",
    "cut_top_p(p, top_p): from probabilities p (V,) to those after the cut (V,). The smallest set of most probable "
    "tokens whose sum is at least top_p stays, in its places, divided by its sum; every other token gets 0. Of equal "
    "ones the lower id counts as more probable.",
    hints=[
        "In which order must the tokens be looked at, and how do you bring them back to their places?",
        "For each token of that order: what do the likelier ones before it hold together? Does it take this token to "
        "reach top_p?",
        "In falling order, a token stays where p.cumsum(0) - p is still below top_p.",
    ],
)


@cut_top_p.cases
def _() -> Iterator[tuple[Tensor, float]]:
    yield torch.tensor([0.5, 0.25, 0.15, 0.1]), 0.7
    yield torch.tensor([0.02, 0.98]), 0.9
    yield torch.tensor([0.125, 0.5, 0.125, 0.25]), 0.7
    yield torch.tensor([0.25, 0.25, 0.25, 0.25]), 0.5
    yield torch.tensor([0.125, 0.5, 0.125, 0.25]), 1.0


def _nucleus(p: Tensor, keep: Callable[[Tensor], Tensor]) -> Tensor:
    """`keep` says of probabilities in falling order which ones stay."""
    order = p.argsort(descending=True, stable=True)
    kept = torch.zeros_like(p)
    kept[order] = p[order] * keep(p[order])
    return kept


@cut_top_p.answer
def _(p: Tensor, top_p: float) -> Tensor:
    kept = _nucleus(p, lambda falling: falling.cumsum(0) - falling < top_p)
    return kept / kept.sum()


@cut_top_p.mistake(
    "tokens stay as long as their sum is at most top_p, so the one that reaches it is missing. If the first token "
    "alone holds more than top_p, nothing is left."
)
def at_most(p: Tensor, top_p: float) -> Tensor:
    kept = _nucleus(p, lambda falling: falling.cumsum(0) <= top_p)
    return kept / kept.sum()


@cut_top_p.mistake(lambda got: f"the right tokens stay, but they sum to {_sum(got)}: probabilities must sum to 1.")
def not_divided(p: Tensor, top_p: float) -> Tensor:
    return _nucleus(p, lambda falling: falling.cumsum(0) - falling < top_p)


@cut_top_p.mistake(
    "where the sum is exactly top_p, one token too many stays: the set has reached top_p already. Look at your "
    "comparison."
)
def one_too_many(p: Tensor, top_p: float) -> Tensor:
    kept = _nucleus(p, lambda falling: falling.cumsum(0) - falling <= top_p)
    return kept / kept.sum()


@cut_top_p.mistake("the tokens are taken in the order of their ids. The set must be made of the most probable ones.")
def in_the_order_of_ids(p: Tensor, top_p: float) -> Tensor:
    kept = p * (p.cumsum(0) - p < top_p)
    return kept / kept.sum()


@cut_top_p.mistake(
    "the numbers are right, but they stand in falling order: each token's probability must return to the token's own "
    "place."
)
def left_in_falling_order(p: Tensor, top_p: float) -> Tensor:
    falling = p.sort(descending=True, stable=True).values
    kept = falling * (falling.cumsum(0) - falling < top_p)
    return kept / kept.sum()


cut_min_p = Exercise(
    "10",
    "a minute",
    "cut_min_p(p, min_p): from probabilities p (V,) to those after the cut (V,). Each token that has at least min_p "
    "times the probability of the most probable token stays, in its place, and what stays is divided by its sum; every "
    "other token gets 0.",
    hints=[
        "What is min_p a part of: of 1, or of the largest probability?",
        "A token stays where p >= min_p * p.max(). Then the rest must sum to 1 again.",
    ],
)


@cut_min_p.cases
def _() -> Iterator[tuple[Tensor, float]]:
    yield torch.tensor([0.5, 0.25, 0.15, 0.1]), 0.4
    yield torch.tensor([0.125, 0.5, 0.125, 0.25]), 0.4
    yield torch.tensor([0.01, 0.97, 0.02]), 0.1
    yield torch.tensor([0.25, 0.25, 0.25, 0.25]), 1.0


@cut_min_p.answer
def _(p: Tensor, min_p: float) -> Tensor:
    kept = p * (p >= min_p * p.max())
    return kept / kept.sum()


@cut_min_p.mistake(
    "min_p is used as a probability of its own. It is a part of the largest one, so that the limit follows the model's "
    "certainty."
)
def a_fixed_limit(p: Tensor, min_p: float) -> Tensor:
    kept = p * (p >= min_p)
    return kept / kept.sum()


@cut_min_p.mistake(lambda got: f"the right tokens stay, but they sum to {_sum(got)}: probabilities must sum to 1.")
def cut_and_not_divided(p: Tensor, min_p: float) -> Tensor:
    return p * (p >= min_p * p.max())


@cut_min_p.mistake(
    'a token that has exactly min_p times the largest probability is cut off. "At least" means that it stays.'
)
def more_than_the_limit(p: Tensor, min_p: float) -> Tensor:
    kept = p * (p > min_p * p.max())
    return kept / kept.sum()


@cut_min_p.mistake("the limit is a part of the probability of id 0. The most probable token may have any id.")
def of_the_first_id(p: Tensor, min_p: float) -> Tensor:
    kept = p * (p >= min_p * p[0])
    return kept / kept.sum()


draw_from = Exercise(
    "10",
    "ten minutes",
    "draw_from(p, u): from probabilities p (V,) and a dart u, 0 <= u < 1, to the id that the dart hits: the first "
    "whose cumulated probability exceeds u. Rounding may leave even the whole sum at u or below: then it is the last "
    "id with a probability above 0.",
    hints=[
        "Lay the probabilities end to end. Where does the piece of token i begin, and where does it end?",
        "Go through the ids, and add up: the first id at which the sum is above u is the one. What if u is exactly an "
        "edge?",
        "Print sum(p.tolist()) of the last case beside u. What does your function give when its loop has passed all "
        "ids?",
    ],
    gives=lambda p, u: f"{shown(p)}, {u!r}",
)


@draw_from.cases
def _() -> Iterator[tuple[Tensor, float]]:
    yield torch.tensor([0.5, 0.25, 0.25]), 0.6
    yield torch.tensor([0.5, 0.5]), 0.5
    yield torch.tensor([0.0, 0.5, 0.5]), 0.0
    yield torch.tensor([0.1, 0.2, 0.3, 0.4]), 0.35
    yield torch.tensor([0.7, 0.2, 0.1, 0.0]), 1 - 2**-32  # in 32 bits these sum to 0.999999992


def _first_above(p: Tensor, u: float, end: int | None) -> int | None:
    total = 0.0
    for i, share in enumerate(p.tolist()):
        total += share
        if u < total:
            return i
    return end


def _last(p: Tensor) -> int:
    return int(p.nonzero()[-1])


@draw_from.answer
def _(p: Tensor, u: float) -> int | None:
    return _first_above(p, u, _last(p))


@draw_from.mistake(
    "where rounding leaves the sum of all at u or below, your loop passes every id and gives None. So does the loop of "
    "section 2. Such a dart is very rare, and it ends a long text in an error."
)
def nothing_behind_the_loop(p: Tensor, u: float) -> int | None:
    return _first_above(p, u, None)


@draw_from.mistake(
    "where rounding leaves the sum of all at u or below, you give an id behind the last one: there is no such token."
)
def behind_the_last(p: Tensor, u: float) -> int | None:
    return _first_above(p, u, len(p))


@draw_from.mistake(
    "where rounding leaves the sum of all at u or below, you give the last id. It has the probability 0 here: it was "
    "cut off, and must never come."
)
def the_last_id(p: Tensor, u: float) -> int | None:
    return _first_above(p, u, len(p) - 1)


ON_THE_EDGE = (
    "a dart exactly on an edge belongs to the piece that begins there, not to the one that ends there. With u = 0 you "
    "would draw id 0 even if its probability is 0."
)


def _first_at_or_above(p: Tensor, u: float, end: int | None) -> int | None:
    total = 0.0
    for i, share in enumerate(p.tolist()):
        total += share
        if u <= total:
            return i
    return end


@draw_from.mistake(ON_THE_EDGE)
def the_piece_that_ends_there(p: Tensor, u: float) -> int | None:
    return _first_at_or_above(p, u, _last(p))


@draw_from.mistake(ON_THE_EDGE)
def the_piece_that_ends_there_or_none(p: Tensor, u: float) -> int | None:
    return _first_at_or_above(p, u, None)


@draw_from.mistake("u plays no part: you always take the most probable token. That is greedy, not a draw.")
def greedy(p: Tensor, u: float) -> int:
    return int(p.argmax())


@draw_from.mistake("every id has the same chance: the probabilities play no part.")
def all_alike(p: Tensor, u: float) -> int:
    return int(u * len(p))


@draw_from.mistake(
    "u is compared with each probability alone. The pieces lie end to end, so what counts is where a piece ends."
)
def not_cumulated(p: Tensor, u: float) -> int | None:
    return next((i for i, share in enumerate(p.tolist()) if u < share), None)


class _Chain:
    """Log probabilities of the next id that depend on the last id only: `first` where there is none."""

    def __init__(self, first: list[float], rows: list[list[float]]):
        self.first, self.rows = first, rows

    def __call__(self, ids: Sequence[int]) -> list[float]:
        return [math.log(p) for p in (self.rows[int(ids[-1])] if len(ids) else self.first)]

    def __str__(self) -> str:
        after = "".join(f", after {i} {row}" for i, row in enumerate(self.rows))
        return f"log_p, with the probabilities {self.first} at first{after}"


beam_search = Exercise(
    "10",
    "an evening",
    "beam_search(log_p, width, length): log_p(ids) gives the log probabilities, a list of V numbers, of what may "
    "follow the list ids, at first []. After each step only the width most probable beginnings are kept. Returns those "
    "left at the end, lists of length ids, the most probable first; of equally probable ones, at each step and at the "
    "end, the one with the lower ids (compared as lists) first.",
    hints=[
        "What do you have to keep for each beginning, besides its ids, so that a step need not begin anew?",
        "Begin with one beam: no ids, log probability 0. A step makes V candidates of each beam: its ids and one more, "
        "its log probability plus that of the new id.",
        "Put the candidates of all beams into one list, sort it, and keep the first width: sorted(all, key=lambda c: "
        "(-c[0], c[1])) sorts pairs (log probability, ids) as asked.",
    ],
    gives=lambda log_p, width, length: f"{log_p}; {width}, {length}",
)


@beam_search.cases
def _() -> Iterator[tuple[Follows, int, int]]:
    two = _Chain([0.6, 0.4], [[0.55, 0.45], [0.9, 0.1]])
    three = _Chain([0.15, 0.25, 0.6], [[0.05, 0.75, 0.2], [0.2, 0.25, 0.55], [0.35, 0.2, 0.45]])
    yield two, 1, 2
    yield two, 2, 2
    yield _Chain([0.25, 0.5, 0.25], [[0.5, 0.25, 0.25]] * 3), 2, 1
    yield two, 7, 2
    yield three, 2, 4


Beam = tuple[float, list[int]]


def _beams(
    log_p: Follows,
    width: int,
    length: int,
    rank: Callable[[Beam], Any] = lambda beam: (-beam[0], beam[1]),
    score: Callable[[float, float], float] = lambda so_far, new: so_far + new,
) -> list[list[int]]:
    beams: list[Beam] = [(0.0, [])]
    for _ in range(length):
        beams = [(score(total, new), [*ids, i]) for total, ids in beams for i, new in enumerate(log_p(ids))]
        beams = sorted(beams, key=rank)[:width]
    return [ids for _, ids in beams]


@beam_search.answer
def _(log_p: Follows, width: int, length: int) -> list[list[int]]:
    return _beams(log_p, width, length)


@beam_search.mistake(
    "each beam goes on with its own best id only. Two of the candidates that are kept may come from one and the same "
    "beam, and none from another: all candidates compete."
)
def each_with_its_own_best(log_p: Follows, width: int, length: int) -> list[list[int]]:
    beams: list[Beam] = sorted(((new, [i]) for i, new in enumerate(log_p([]))), key=lambda beam: (-beam[0], beam[1]))[
        :width
    ]
    for _ in range(length - 1):
        followed = [(total, ids, log_p(ids)) for total, ids in beams]
        beams = [(total + max(new), [*ids, new.index(max(new))]) for total, ids, new in followed]
    return [ids for _, ids in sorted(beams, key=lambda beam: (-beam[0], beam[1]))]


@beam_search.mistake("that is greedy writing: one beginning only is kept, whatever the width.")
def one_beam(log_p: Follows, width: int, length: int) -> list[list[int]]:
    return _beams(log_p, 1, length)


@beam_search.mistake(
    "all your beams are the same text: they begin as copies of one another. At first there is one beginning only, the "
    "empty one."
)
def copies(log_p: Follows, width: int, length: int) -> list[list[int]]:
    return _beams(log_p, 1, length) * width


@beam_search.mistake(
    "the candidates are ranked by their last id alone. How probable a beginning is, is told by all of its ids together."
)
def by_the_last_step(log_p: Follows, width: int, length: int) -> list[list[int]]:
    return _beams(log_p, width, length, score=lambda so_far, new: new)


@beam_search.mistake(
    "the probabilities are added. The probability of a text is the product of them: it is the logarithms that are "
    "added."
)
def probabilities_added(log_p: Follows, width: int, length: int) -> list[list[int]]:
    return _beams(log_p, width, length, score=lambda so_far, new: so_far + math.exp(new))


@beam_search.mistake(
    "every beginning is kept until the end: that finds the most probable text, and takes V to the power of length of "
    "them. Beam search keeps width beginnings after each step."
)
def all_are_kept(log_p: Follows, width: int, length: int) -> list[list[int]]:
    return _beams(log_p, len(log_p([])) ** length, length)[:width]


@beam_search.mistake(
    "of equally probable beginnings the one with the higher ids comes first. It should be the one with the lower."
)
def higher_ids_first(log_p: Follows, width: int, length: int) -> list[list[int]]:
    return _beams(log_p, width, length, rank=lambda beam: (-beam[0], [-i for i in beam[1]]))


@beam_search.mistake(
    "the least probable beginnings are kept. Log probabilities are negative: the most probable is the nearest to 0."
)
def the_least_probable(log_p: Follows, width: int, length: int) -> list[list[int]]:
    return _beams(log_p, width, length, rank=lambda beam: beam)


shown_so_far = Exercise(
    "10",
    "ten minutes",
    "shown_so_far(pieces, stop): pieces is the list of the tokens' texts, in order, and stop is one stop string. "
    "Returns a list of as many texts: item i is all that may stand on the screen after token i. That is as much of the "
    "text as possible, but nothing that may yet become a part of the stop string; once the stop string has come, it "
    "is the text before it.",
    hints=[
        "Join the pieces so far. Is the stop string in the text? Then it is clear what may be shown.",
        "If not: which ends of the text are beginnings of the stop string? text.endswith(stop[:n]) tells, for each n.",
        "Hold back the longest such end, of at most len(stop) - 1 characters, and show the rest.",
    ],
)


@shown_so_far.cases
def _() -> Iterator[tuple[list[str], str]]:
    yield ["a ch", "ild"], "child"
    yield ["on a ", "ch", "i", "ld", "hood"], "child"
    yield ["a ch", "eese", "."], "child"
    yield ["a", "a", "a", "b", "a"], "aab"
    yield ["The end. Th", "e sea"], ". "
    yield ["a.", "b", ".c"], "."


def _after_each(pieces: list[str], shown: Callable[[str], str]) -> list[str]:
    return [shown("".join(pieces[: i + 1])) for i in range(len(pieces))]


def _held(text: str, stop: str) -> int:
    """How many characters at the end of `text` may begin the stop string."""
    return max((n for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)


@shown_so_far.answer
def _(pieces: list[str], stop: str) -> list[str]:
    def shown(text: str) -> str:
        return text[: text.index(stop) if stop in text else len(text) - _held(text, stop)]

    return _after_each(pieces, shown)


@shown_so_far.mistake(
    "the beginning of the stop string stands on the screen before the rest of it comes. What may yet become one must "
    "be held back."
)
def nothing_held(pieces: list[str], stop: str) -> list[str]:
    return _after_each(pieces, lambda text: text.partition(stop)[0])


@shown_so_far.mistake(
    "the stop string is looked for in each piece alone, and here it is spread over several. Look for it in what they "
    "give together."
)
def in_each_piece_alone(pieces: list[str], stop: str) -> list[str]:
    shown, text, ended = [], "", False
    for piece in pieces:
        if not ended:
            text += piece.partition(stop)[0]
        ended = ended or stop in piece
        shown.append(text)
    return shown


@shown_so_far.mistake(
    "you always hold back len(stop) - 1 characters, so the screen lags behind. Hold back only what is the beginning of "
    "the stop string."
)
def always_so_many(pieces: list[str], stop: str) -> list[str]:
    def shown(text: str) -> str:
        return text.partition(stop)[0] if stop in text else text[: max(0, len(text) - len(stop) + 1)]

    return _after_each(pieces, shown)


@shown_so_far.mistake(
    "an end is held back only if the last piece alone holds it: as soon as a second piece has come, the first is "
    "shown. Compare the end of the whole text with the stop string."
)
def by_the_last_piece(pieces: list[str], stop: str) -> list[str]:
    def shown(i: int) -> str:
        text = "".join(pieces[: i + 1])
        return text[: text.index(stop) if stop in text else len(text) - _held(pieces[i], stop)]

    return [shown(i) for i in range(len(pieces))]


@shown_so_far.mistake(
    "of several ends that may begin the stop string you hold back the shortest. The longer one may become the stop "
    "string as well."
)
def the_shortest_end(pieces: list[str], stop: str) -> list[str]:
    def shown(text: str) -> str:
        held = min((n for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        return text[: text.index(stop) if stop in text else len(text) - held]

    return _after_each(pieces, shown)


@shown_so_far.mistake("the stop string itself is shown when it is complete. The text ends before it.")
def with_the_stop_string(pieces: list[str], stop: str) -> list[str]:
    def shown(text: str) -> str:
        return text[: text.index(stop) + len(stop) if stop in text else len(text) - _held(text, stop)]

    return _after_each(pieces, shown)


@shown_so_far.mistake(
    "the last stop string counts, and what stands before it is shown; the text ends before the first."
)
def up_to_the_last(pieces: list[str], stop: str) -> list[str]:
    def shown(text: str) -> str:
        return text[: text.rindex(stop) if stop in text else len(text) - _held(text, stop)]

    return _after_each(pieces, shown)


@shown_so_far.mistake(
    "the stop string is taken out, and the text goes on behind it. It ends there: nothing that comes later is shown."
)
def goes_on_behind_it(pieces: list[str], stop: str) -> list[str]:
    def shown(text: str) -> str:
        rest = text.replace(stop, "")
        return rest[: len(rest) - _held(rest, stop)]

    return _after_each(pieces, shown)


attend_cached = Exercise(
    "10",
    "ten minutes",
    "attend_cached(q, k, v, keys, values): q, k and v (T, D) are those of T new tokens, keys and values (S, D) those "
    "kept of the S tokens before them. Returns three: what one head gives at the new positions (T, D), with scores "
    "divided by the root of D and nobody looking ahead; and all keys and all values so far, (S + T, D) each, the new "
    "ones at the end.",
    hints=[
        "torch.cat puts the new keys behind those kept. How many keys has each new query to look at then?",
        "The scores are (T, S + T). The first new token stands at place S, so its row may look at the first S + 1 "
        "columns.",
        "Compare: with S = 0 it must be the head of chapter 06, and its last row must be what comes out when the last "
        "token comes alone and the others are kept.",
        "The places that lie ahead are torch.ones(T, S + T).triu(S + 1).bool().",
    ],
)


@attend_cached.cases
def _() -> Iterator[tuple[Tensor, ...]]:
    yield tuple(torch.tensor([row]) for row in ([1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 4.0]))
    yield *(numbers(1, 4, seed=seed) for seed in (1, 2, 3)), numbers(3, 4, seed=4), numbers(3, 4, seed=5)
    yield *(numbers(3, 2, seed=seed) for seed in (6, 7, 8)), torch.zeros(0, 2), torch.zeros(0, 2)
    yield *(numbers(2, 4, seed=seed) for seed in (1, 2, 3)), numbers(3, 4, seed=4), numbers(3, 4, seed=5)


Three = tuple[Tensor, Tensor, Tensor]


def _attend(q: Tensor, k: Tensor, v: Tensor, ahead: int | None, scale: float | None = None) -> Tensor:
    """`ahead`: from which diagonal on nothing is seen; None: all is."""
    scores = q @ k.T / (math.sqrt(q.shape[1]) if scale is None else scale)
    if ahead is not None:
        scores = scores.masked_fill(torch.ones_like(scores).triu(ahead).bool(), -math.inf)
    return scores.softmax(-1) @ v


@attend_cached.answer
def _(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Three:
    K, V = torch.cat([keys, k]), torch.cat([values, v])
    return _attend(q, K, V, len(keys) + 1), K, V


@attend_cached.mistake(
    "one new token is right, and several at once are wrong: they see each other, the later ones too. That is a prefill "
    "without a mask: the training loss is as it should be, and only what is written from a prompt is bad."
)
def no_mask(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Three:
    K, V = torch.cat([keys, k]), torch.cat([values, v])
    return _attend(q, K, V, None), K, V


@attend_cached.mistake(
    "the mask begins at the first column, as if the new tokens stood at the start of the text. They stand behind those "
    "kept: with one new token, nothing at all may be hidden."
)
def mask_from_the_start(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Three:
    K, V = torch.cat([keys, k]), torch.cat([values, v])
    return _attend(q, K, V, 1), K, V


@attend_cached.mistake(
    "a new token does not look at itself: the mask hides one column too many. Its own key and value belong to what it "
    "attends to."
)
def not_at_itself(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Three:
    K, V = torch.cat([keys, k]), torch.cat([values, v])
    return _attend(q, K, V, len(keys)), K, V


@attend_cached.mistake("the new tokens look only at each other: what was kept is appended to, but never attended to.")
def the_cache_unused(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Three:
    return _attend(q, k, v, 1), torch.cat([keys, k]), torch.cat([values, v])


@attend_cached.mistake(
    "what attention gives is right, but the keys and values handed back lack the new ones: the next token would not "
    "see this one."
)
def nothing_appended(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Three:
    K, V = torch.cat([keys, k]), torch.cat([values, v])
    return _attend(q, K, V, len(keys) + 1), keys, values


@attend_cached.mistake("the scores are not divided by the root of D, so the softmax is sharper than it should be.")
def not_scaled(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor) -> Three:
    K, V = torch.cat([keys, k]), torch.cat([values, v])
    return _attend(q, K, V, len(keys) + 1, scale=1), K, V
