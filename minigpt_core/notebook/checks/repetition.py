"""Chapter 11: loops, what breaks them, and what copies; and a penalty that makes what was said more likely."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ...sampling import penalize
from .exercise import Exercise, numbers

loop_at_end = Exercise(
    "11",
    "ten minutes",
    "loop_at_end(ids): from a list of ids to (period, times). The period is the smallest n for which ids ends with one "
    "and the same piece of n ids at least twice in a row; times is how often the whole piece stands there in a row. "
    "Without a loop both are 0.",
    hints=[
        "A loop of period n: the last n ids are the n before them. Which n is tried first?",
        "ids[-n:] and ids[-2 * n : -n] are two neighbours. How large may n be at most?",
        "When n is found, go back piece by piece, as long as the piece before is the same, and count.",
    ],
)


@loop_at_end.cases
def _() -> Iterator[tuple[list[int]]]:
    yield ([4, 1, 2, 1, 2],)
    yield ([7, 7, 1],)
    yield ([5, 9, 9, 5, 9, 9],)
    yield ([2, 1, 2, 8, 2, 1, 2, 1, 2],)
    yield ([1, 1, 2, 1, 1, 2, 1, 1, 2],)
    yield ([3, 7, 7],)
    yield ([5, 9, 9] * 3,)


def _in_a_row(ids: list[int], n: int) -> int:
    times = 1
    while len(ids) >= (times + 1) * n and ids[len(ids) - (times + 1) * n : len(ids) - times * n] == ids[-n:]:
        times += 1
    return times


def _periods(ids: list[int]) -> list[int]:
    return [n for n in range(1, len(ids) // 2 + 1) if ids[-n:] == ids[-2 * n : -n]]


@loop_at_end.answer
def _(ids: list[int]) -> tuple[int, int]:
    n = min(_periods(ids), default=0)
    return (n, _in_a_row(ids, n)) if n else (0, 0)


@loop_at_end.mistake(
    "a longer piece is found before a shorter one: several periods may fit, and the smallest is asked for. A loop of 1 "
    "is one of 2, too."
)
def the_longest(ids: list[int]) -> tuple[int, int]:
    n = max(_periods(ids), default=0)
    return (n, _in_a_row(ids, n)) if n else (0, 0)


@loop_at_end.mistake("the smallest piece that you try has 2 ids; a piece may be a single id: period 1.")
def from_two_ids_on(ids: list[int]) -> tuple[int, int]:
    n = min((n for n in _periods(ids) if n > 1), default=0)
    return (n, _in_a_row(ids, n)) if n else (0, 0)


@loop_at_end.mistake(
    "you take the period that has the most rounds. The smallest is asked for, if its piece stands there at least twice."
)
def most_rounds(ids: list[int]) -> tuple[int, int]:
    n = max(_periods(ids), key=lambda n: _in_a_row(ids, n), default=0)
    return (n, _in_a_row(ids, n)) if n else (0, 0)


@loop_at_end.mistake(
    "how often the piece came again is counted, and the first time is missing: two in a row are 2 times, as asked."
)
def the_first_not_counted(ids: list[int]) -> tuple[int, int]:
    n = min(_periods(ids), default=0)
    return (n, _in_a_row(ids, n) - 1) if n else (0, 0)


@loop_at_end.mistake(
    "the piece is counted wherever it stands in the list. Only those count that stand in a row at the end: what lies "
    "before a gap belongs to no loop."
)
def wherever_it_stands(ids: list[int]) -> tuple[int, int]:
    n = min(_periods(ids), default=0)
    at, times = len(ids), 0
    while n and at >= n:
        found = ids[at - n : at] == ids[-n:]
        times, at = times + found, at - (n if found else 1)
    return n, times


@loop_at_end.mistake(
    "a text without a loop is one piece, written once: you call that a loop. It takes at least two in a row."
)
def once_is_a_loop(ids: list[int]) -> tuple[int, int]:
    n = min(_periods(ids), default=len(ids))
    return n, _in_a_row(ids, n)


@loop_at_end.mistake("the times are always 2: the piece may stand there more often. Go on counting backwards.")
def always_twice(ids: list[int]) -> tuple[int, int]:
    n = min(_periods(ids), default=0)
    return (n, 2) if n else (0, 0)


@loop_at_end.mistake(
    "a loop in the middle of the list is found. Only the end counts: a text that has left its loop is in none."
)
def in_the_middle(ids: list[int]) -> tuple[int, int]:
    for end in range(len(ids), 0, -1):
        if found := _periods(ids[:end]):
            return min(found), _in_a_row(ids[:end], min(found))
    return 0, 0


in_sight = Exercise(
    "11",
    "a minute",
    "in_sight(length, n, window): a prompt of length tokens, of which the model reads at most the last window. It "
    "writes n more, one by one; whenever more than window tokens would be in sight, only the newest window // 2 stay. "
    "Returns a list of n numbers: how many tokens are in sight when each is written.",
    hints=[
        "How many tokens are in sight before the first new one?",
        "After each new token there is one more. What happens when there are window + 1 of them?",
    ],
)


@in_sight.cases
def _() -> Iterator[tuple[int, int, int]]:
    yield 2, 5, 4
    yield 9, 4, 4
    yield 1, 6, 2
    yield 3, 9, 5


def _seen(length: int, n: int, most: int, kept: int) -> list[int]:
    seen = []
    for _ in range(n):
        seen.append(length)
        length = length + 1 if length < most else kept
    return seen


@in_sight.answer
def _(length: int, n: int, window: int) -> list[int]:
    return _seen(min(length, window), n, window, window // 2)


@in_sight.mistake("that window slides: it stays full. This one drops its older half, and then fills again.")
def slides(length: int, n: int, window: int) -> list[int]:
    return [min(length + i, window) for i in range(n)]


@in_sight.mistake(
    "one token too many stays when the older half is dropped: the newest is one of the window // 2 that stay, not one "
    "more."
)
def the_newest_on_top(length: int, n: int, window: int) -> list[int]:
    return _seen(min(length, window), n, window, window // 2 + 1)


@in_sight.mistake(
    "with an odd window one token too many stays: half of 5 was rounded up to 3. -window // 2 does that, as it is "
    "(-window) // 2."
)
def the_half_rounded_up(length: int, n: int, window: int) -> list[int]:
    return _seen(min(length, window), n, window, (window + 1) // 2)


@in_sight.mistake(
    "the half is dropped as soon as the window is full. It may be full: one token is still written from all of it."
)
def when_it_is_full(length: int, n: int, window: int) -> list[int]:
    return _seen(min(length, window), n, window - 1, window // 2)


@in_sight.mistake(
    "the prompt is longer than the window, and all of it is in sight. The model reads no more than its end."
)
def the_whole_prompt(length: int, n: int, window: int) -> list[int]:
    return _seen(length, n, window, window // 2)


@in_sight.mistake("everything but the newest token is dropped. The newest half of the window stays.")
def all_dropped(length: int, n: int, window: int) -> list[int]:
    return _seen(min(length, window), n, window, 1)


copying_score = Exercise(
    "11",
    "ten minutes",
    "copying_score(shares, period): the shares (T, T) of one head, row t what position t gives to each, on random "
    "tokens that repeat after period. Returns one number: the mean share that the positions from period on give to the "
    "token that followed the last earlier copy of their own.",
    hints=[
        "Position t reads the same token as position t - period. Where does the token stand that followed it then?",
        "The entries are shares[t, t - period + 1]. From which t on is there an earlier copy?",
        "Or all at once: they lie on one diagonal, shares.diagonal(1 - period). Its first entry belongs to a position "
        "of the first round.",
    ],
)


@copying_score.cases
def _() -> Iterator[tuple[Tensor, int]]:
    yield torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.1, 0.6, 0.3, 0], [0.1, 0.2, 0.3, 0.4]]), 2
    yield _some_shares(6, seed=1), 3
    yield _some_shares(9, seed=2), 3
    yield _some_shares(9, seed=3), 3


def _some_shares(T: int, seed: int) -> Tensor:
    weights = (numbers(T, T, seed=seed) + 2.5).tril()
    return (weights / weights.sum(1, keepdim=True) * 100).round() / 100


@copying_score.answer
def _(shares: Tensor, period: int) -> Tensor:
    return shares.diagonal(1 - period)[1:].mean()


@copying_score.mistake(
    "you measure how much is given to the earlier copy itself. A head that copies looks one place further, at what "
    "followed it."
)
def at_the_copy_itself(shares: Tensor, period: int) -> Tensor:
    return shares.diagonal(-period).mean()


@copying_score.mistake(
    "you measure what came before the earlier copy. What the head must know is what came after it: one place further "
    "on, not back."
)
def before_the_copy(shares: Tensor, period: int) -> Tensor:
    return torch.stack([shares[t, max(t - period - 1, 0)] for t in range(period, len(shares))]).mean()


@copying_score.mistake(
    "one position of the first round is in your mean: its token has not come before, so it has no earlier copy."
)
def with_the_first_round(shares: Tensor, period: int) -> Tensor:
    return shares.diagonal(1 - period).mean()


@copying_score.mistake(
    "the shares are summed, and divided by all T positions. The mean is over those that have an earlier copy."
)
def over_all_positions(shares: Tensor, period: int) -> Tensor:
    return shares.diagonal(1 - period)[1:].sum() / len(shares)


@copying_score.mistake("only the second round is measured; all later rounds count.")
def only_the_second_round(shares: Tensor, period: int) -> Tensor:
    return shares.diagonal(1 - period)[1 : 1 + period].mean()


@copying_score.mistake("this is a sum: it grows with the length of the text. A mean is asked for.")
def a_sum(shares: Tensor, period: int) -> Tensor:
    return shares.diagonal(1 - period)[1:].sum()


@copying_score.mistake(
    "row and column are exchanged: you read what earlier positions give to later ones, and under the mask that is 0."
)
def rows_and_columns_exchanged(shares: Tensor, period: int) -> Tensor:
    return shares.diagonal(period - 1)[1:].mean()


copied_span = Exercise(
    "11",
    "ten minutes",
    "copied_span(ids, source): two lists of ids. Returns how many ids the longest piece of ids has that stands in "
    "source as it is, without a gap: 0 if no id does.",
    hints=[
        "For one place in ids and one in source: how far do both go on alike?",
        "Try all pairs of places, and keep the largest length. May a piece run up to the end of its list?",
        "Beware of turning ids into one text: 1 and 12 would read as 11 and 2 do.",
    ],
)


@copied_span.cases
def _() -> Iterator[tuple[list[int], list[int]]]:
    yield [1, 2, 3], [0, 2, 3, 4]
    yield [5, 1, 6, 3, 7, 2], [1, 2, 3]
    yield [1, 12], [11, 2]
    yield [9, 1, 2, 3, 8], [1, 5, 1, 2, 3]
    yield [4, 4, 4], [4, 4]
    yield [6, 7], []
    yield [1, 2, 3, 4], [1, 2, 9, 2, 3, 4]


def _pieces(ids: Sequence[int]) -> list[list[int]]:
    return [list(ids[i:j]) for i in range(len(ids)) for j in range(i + 1, len(ids) + 1)]


@copied_span.answer
def _(ids: list[int], source: list[int]) -> int:
    known = _pieces(source)
    return max((len(piece) for piece in _pieces(ids) if piece in known), default=0)


@copied_span.mistake("your ids stand in source in that order, but with gaps between them. A copied piece has none.")
def with_gaps(ids: list[int], source: list[int]) -> int:
    row = [0] * (len(source) + 1)
    for i in ids:
        before = row[:]
        for j, other in enumerate(source, 1):
            row[j] = before[j - 1] + 1 if i == other else max(before[j], row[j - 1])
    return row[-1]


@copied_span.mistake(
    "ids that occur in both lists are counted, in whatever order. A copied piece keeps the order, and has no gaps."
)
def in_any_order(ids: list[int], source: list[int]) -> int:
    return (Counter(ids) & Counter(source)).total()


@copied_span.mistake(
    "1 and 12 are taken for 11 and 2: joined as digits, different ids look alike. Compare the lists of numbers."
)
def joined_as_digits(ids: list[int], source: list[int]) -> int:
    known = "".join(map(str, source))
    return max((len(piece) for piece in _pieces(ids) if "".join(map(str, piece)) in known), default=0)


@copied_span.mistake("the last id is never part of your piece. Where does the slice, or the range, have to end?")
def never_the_last(ids: list[int], source: list[int]) -> int:
    known = _pieces(source)
    return max((len(piece) for piece in _pieces(ids[:-1]) if piece in known), default=0)


@copied_span.mistake(
    "an id may stand in source several times, and you try the first place only. A longer copy may begin at another one."
)
def from_the_first_place(ids: list[int], source: list[int]) -> int:
    best = 0
    for i, first in enumerate(ids):
        at = source.index(first) if first in source else len(source)
        length = 0
        while i + length < len(ids) and at + length < len(source) and ids[i + length] == source[at + length]:
            length += 1
        best = max(best, length)
    return best


@copied_span.mistake("after a piece you go on behind it; a longer one may begin inside it.")
def on_behind_each_piece(ids: list[int], source: list[int]) -> int:
    known, best, i = _pieces(source), 0, 0
    while i < len(ids):
        length = max((n for n in range(len(ids) - i + 1) if ids[i : i + n] in known), default=0)
        best, i = max(best, length), i + max(length, 1)
    return best


@copied_span.mistake(
    "ids and source are compared place by place. A copied piece may stand at different places in the two."
)
def place_by_place(ids: list[int], source: list[int]) -> int:
    best = run = 0
    for one, other in zip(ids, source, strict=False):
        run = run + 1 if one == other else 0
        best = max(best, run)
    return best


penalised = Exercise(
    "11",
    "a minute",
    "penalised(logits, written, frequency, presence): logits (V,) and the list of the ids generated so far. Returns "
    "logits (V,): the frequency penalty is subtracted once for each time that an id was written, the presence penalty "
    "once from each id that was written at all.",
    hints=[
        "How often was each id written? torch.bincount counts, with minlength for ids that never came.",
        "Which of the two penalties grows with the count, and which does not?",
    ],
)


@penalised.cases
def _() -> Iterator[tuple[Tensor, list[int], float, float]]:
    yield torch.tensor([5.0, 5.0, 5.0]), [0, 0, 1], 0.5, 1.0
    yield torch.tensor([1.0, -1.0]), [], 0.5, 1.0
    yield torch.tensor([2.0, 0.0, -1.0, 1.0]), [3, 3, 1, 3, 3], 0.25, 0.5
    yield torch.tensor([3.0, 2.0, 1.0]), [2, 0, 2], 0.0, 1.0


def _counts(logits: Tensor, written: list[int]) -> Tensor:
    return torch.bincount(torch.tensor(written, dtype=torch.long), minlength=len(logits))


@penalised.answer
def _(logits: Tensor, written: list[int], frequency: float, presence: float) -> Tensor:
    return penalize(logits[None], torch.tensor([written], dtype=torch.long), frequency, presence)[0]


@penalised.mistake("the presence penalty is subtracted each time. It is due once, however often the id was written.")
def presence_each_time(logits: Tensor, written: list[int], frequency: float, presence: float) -> Tensor:
    return logits - _counts(logits, written) * (frequency + presence)


@penalised.mistake(
    "the frequency penalty is subtracted once from an id that was written several times. (If you wrote logits[written] "
    "-= frequency: PyTorch changes each place once, however often it is named.)"
)
def frequency_once(logits: Tensor, written: list[int], frequency: float, presence: float) -> Tensor:
    return logits - _counts(logits, written).clamp(max=1) * (frequency + presence)


@penalised.mistake(
    "the presence penalty is subtracted from all ids, also from those that were never written: then no probability "
    "changes by it."
)
def presence_for_all(logits: Tensor, written: list[int], frequency: float, presence: float) -> Tensor:
    return logits - _counts(logits, written) * frequency - presence


@penalised.mistake("the penalties are added, so what was written becomes more probable. They are to be subtracted.")
def added(logits: Tensor, written: list[int], frequency: float, presence: float) -> Tensor:
    return logits + _counts(logits, written) * frequency + _counts(logits, written).clamp(max=1) * presence


@penalised.mistake("the two are exchanged: it is the frequency penalty that grows with the count.")
def exchanged(logits: Tensor, written: list[int], frequency: float, presence: float) -> Tensor:
    return logits - _counts(logits, written) * presence - _counts(logits, written).clamp(max=1) * frequency


forbidden_next = Exercise(
    "11",
    "ten minutes",
    "forbidden_next(ids, n): the list of the ids so far, and n of at least 1. Returns the set (or a list) of the ids "
    "that must not come next, since the last n ids would then be a run that stands in ids already.",
    hints=[
        "The last n - 1 ids are the beginning of the run that would come about. Where have they stood before?",
        "Go through all runs of n ids in the list, the very last one included: if its first n - 1 are the last n - 1 "
        "of the list, its last id is forbidden.",
        "For n = 1 the beginning is empty. What does ids[-(n - 1):] give then? ids[len(ids) - (n - 1):] is right for "
        "every n.",
    ],
)


@forbidden_next.cases
def _() -> Iterator[tuple[list[int], int]]:
    yield [1, 2, 1], 2
    yield [3, 3], 2
    yield [1, 2, 3, 1, 2, 4, 9, 2, 5, 1, 2], 3
    yield [5, 7, 5], 1
    yield [1, 1], 4
    yield [1, 2, 7, 2, 1], 3


def _runs(ids: list[int], n: int) -> list[list[int]]:
    return [ids[i : i + n] for i in range(len(ids) - n + 1)]


def _follow(ids: list[int], n: int, runs: list[list[int]]) -> set[int]:
    return {run[-1] for run in runs if run[:-1] == ids[len(ids) - (n - 1) :]}


@forbidden_next.answer
def _(ids: list[int], n: int) -> set[int]:
    return _follow(ids, n, _runs(ids, n))


@forbidden_next.mistake(
    "the last run of the list is missing among those that stand there already. Where does your range end?"
)
def the_last_run_missing(ids: list[int], n: int) -> set[int]:
    return _follow(ids, n, _runs(ids, n)[:-1])


@forbidden_next.mistake(
    "for n = 1 nothing is forbidden, and every id that was written should be: ids[-0:] is the whole list, not an empty "
    "one."
)
def a_slice_from_minus_0(ids: list[int], n: int) -> set[int]:
    return {run[-1] for run in _runs(ids, n) if run[:-1] == ids[-(n - 1) :]}


@forbidden_next.mistake("the last n ids are compared, so only runs of n + 1 are prevented. The new id is one of the n.")
def one_too_long(ids: list[int], n: int) -> set[int]:
    return _follow(ids, n + 1, _runs(ids, n + 1))


@forbidden_next.mistake(
    "only the last id is compared: whatever has followed it is forbidden. A run of n has n - 1 ids before the new one."
)
def only_the_last_id(ids: list[int], n: int) -> set[int]:
    return _follow(ids, 2, _runs(ids, 2))


@forbidden_next.mistake(
    "the ids before the new one are compared without their order, as sets are. A run has an order: 1, 2 is not 2, 1."
)
def in_any_order_before(ids: list[int], n: int) -> set[int]:
    return {run[-1] for run in _runs(ids, n) if sorted(run[:-1]) == sorted(ids[len(ids) - (n - 1) :])}


@forbidden_next.mistake("every id that was written is forbidden. Only those that complete a run are.")
def all_that_was_written(ids: list[int], n: int) -> set[int]:
    return set(ids)


@forbidden_next.mistake("all ids of the run are forbidden. Only its last one completes it.")
def the_whole_run(ids: list[int], n: int) -> set[int]:
    return {i for run in _runs(ids, n) if run[:-1] == ids[len(ids) - (n - 1) :] for i in run}


repetition_penalty = Exercise(
    "11",
    "ten minutes",
    "repetition_penalty(logits, written, penalty): logits (V,), the list of the ids written so far, and a penalty of "
    "at least 1. Returns logits (V,): those of ids that were written become lower by the factor, once, however often "
    "they came: positive ones are divided by it, negative ones multiplied. All others stay.",
    hints=[
        "Take the softmax before and after, for logits of both signs. Does every id that was written become less "
        "probable?",
        "What is -4 divided by 2: lower, or higher?",
        "torch.where(z > 0, one, other) chooses for each number.",
    ],
    planted=True,
)


@repetition_penalty.cases
def _() -> Iterator[tuple[Tensor, list[int], float]]:
    yield torch.tensor([2.0, -2.0, 1.0]), [0, 1], 2.0
    yield torch.tensor([-1.0, -2.0, -3.0]), [0], 2.0
    yield torch.tensor([3.0, -1.5, 0.0, 6.0]), [1, 1, 3, 1, 2], 1.5
    yield torch.tensor([1.0, -1.0]), [], 1.5


def _changed(logits: Tensor, written: list[int], new: Tensor) -> Tensor:
    return torch.where(_counts(logits, written) > 0, new, logits)


def _lowered(logits: Tensor, penalty: Any) -> Tensor:
    return torch.where(logits > 0, logits / penalty, logits * penalty)


@repetition_penalty.answer
def _(logits: Tensor, written: list[int], penalty: float) -> Tensor:
    return _changed(logits, written, _lowered(logits, penalty))


@repetition_penalty.mistake(
    "some of what was written becomes more probable by the penalty. Take the softmax before and after, for logits of "
    "both signs, and see which ids that are."
)
def as_planted(logits: Tensor, written: list[int], penalty: float) -> Tensor:
    return _changed(logits, written, logits / penalty)


@repetition_penalty.mistake(
    "now it is the positive logits that become larger. Each sign needs an operation of its own."
)
def all_multiplied(logits: Tensor, written: list[int], penalty: float) -> Tensor:
    return _changed(logits, written, logits * penalty)


@repetition_penalty.mistake(
    "an id that was written several times is penalised several times. This penalty is due once."
)
def each_time(logits: Tensor, written: list[int], penalty: float) -> Tensor:
    return _lowered(logits, penalty ** _counts(logits, written))


@repetition_penalty.mistake("every id is penalised, whether it was written or not.")
def whatever_was_written(logits: Tensor, written: list[int], penalty: float) -> Tensor:
    return _lowered(logits, penalty)


@repetition_penalty.mistake("negative logits stay as they are, so an id that has one is never penalised.")
def only_positive_ones(logits: Tensor, written: list[int], penalty: float) -> Tensor:
    return _changed(logits, written, torch.where(logits > 0, logits / penalty, logits))


@repetition_penalty.mistake("the penalty is subtracted. That is a presence penalty; this one is a factor.")
def subtracted(logits: Tensor, written: list[int], penalty: float) -> Tensor:
    return _changed(logits, written, logits - penalty)
