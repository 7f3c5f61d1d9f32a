"""Chapter 12: vectors and what is accident in them, where heads look, and what the model loses without them."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .exercise import Exercise, numbers

nearest_rows = Exercise(
    "12",
    "a minute",
    "nearest_rows(table, row, k): from a table (N, C), the number of one of its rows, and k, to the list of the "
    "numbers of the k other rows whose cosine with that row is the largest, the nearest first. The rows are taken as "
    "they are, no mean is taken off.",
    hints=[
        "A long row has large products with all others. What must the lengths be, so that a product is a cosine?",
        "F.normalize(table, dim=1) makes all lengths 1. The cosines of one row with all rows are then rows @ "
        "rows[row].",
        "Sort from the largest down, leave out the row's own number, and keep k.",
    ],
)


@nearest_rows.cases
def _() -> Iterator[tuple[Tensor, int, int]]:
    yield torch.tensor([[1.0, 0.0, 0.0], [4.0, 4.0, 0.0], [2.0, 1.0, 0.0]]), 0, 1
    yield torch.tensor([[1.0, 0.5, 2.0], [9.0, 0.0, 9.0], [-2.0, -1.5, -4.0], [0.0, 0.5, 0.5], [2.0, 1.5, 3.0]]), 0, 2
    yield torch.tensor([[3.0, 1.0, 2.0], [1.0, 3.0, 2.0], [8.0, 1.0, 9.0], [2.0, 1.0, 2.0], [4.0, 4.5, 4.0]]), 3, 3
    yield torch.tensor([[3.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]), 1, 2
    yield torch.tensor([[1.0, 0.0, 0.0], [-1.0, -1.0, 0.0], [-2.0, -1.0, 1.0], [-1.0, 2.0, 0.0]]), 0, 2


def _cosines(table: Tensor, row: int) -> Tensor:
    return F.cosine_similarity(table, table[row], dim=1)


def _largest(values: Tensor, row: int, k: int) -> list[int]:
    return [i for i in values.argsort(descending=True).tolist() if i != row][:k]


@nearest_rows.answer
def _(table: Tensor, row: int, k: int) -> list[int]:
    return _largest(_cosines(table, row), row, k)


@nearest_rows.mistake(
    "these are the rows with the largest products, and a long row has large products with everybody. A cosine does "
    "not depend on length."
)
def by_product(table: Tensor, row: int, k: int) -> list[int]:
    return _largest(table @ table[row], row, k)


@nearest_rows.mistake(
    "these are the rows with the smallest distance. Two rows may point the same way and lie far apart, because one "
    "is longer: what does a cosine measure?"
)
def by_distance(table: Tensor, row: int, k: int) -> list[int]:
    return _largest(-(table - table[row]).norm(dim=1), row, k)


@nearest_rows.mistake("the row itself stands in the list: its cosine with itself is 1, and it says nothing.")
def itself_in_the_list(table: Tensor, row: int, k: int) -> list[int]:
    values: list[int] = _cosines(table, row).argsort(descending=True, stable=True).tolist()
    return values[:k]


@nearest_rows.mistake("the row itself comes first: its cosine with itself is 1, and it says nothing.")
def itself_first(table: Tensor, row: int, k: int) -> list[int]:
    return [row, *_largest(_cosines(table, row), row, k)][
        :k
    ]  # before a row in the same direction too, as topk may put it


@nearest_rows.mistake(
    "these are the farthest rows: argsort begins with the smallest number, and near means a large cosine."
)
def farthest(table: Tensor, row: int, k: int) -> list[int]:
    return _largest(-_cosines(table, row), row, k)


@nearest_rows.mistake(
    "a row that points the opposite way counts as near: a cosine of -1 is the smallest, not the largest."
)
def either_way(table: Tensor, row: int, k: int) -> list[int]:
    return _largest(_cosines(table, row).abs(), row, k)


@nearest_rows.mistake(
    "the means were taken off before. That is a good habit with a model's table (section 2), and the next exercise; here "
    "the rows are taken as they are."
)
def centred_first(table: Tensor, row: int, k: int) -> list[int]:
    return _largest(_cosines(_without_means(table), row), row, k)


@nearest_rows.mistake(
    "the mean row was taken off before. That changes the directions; here the rows are taken as they are."
)
def mean_row_off_first(table: Tensor, row: int, k: int) -> list[int]:
    return _largest(_cosines(table - table.mean(0), row), row, k)


@nearest_rows.mistake(
    "the first in the order is left out, whichever it is. A row of another length in the same direction has a cosine of 1 too, and may come "
    "before the row itself."
)
def without_the_first(table: Tensor, row: int, k: int) -> list[int]:
    order: list[int] = _cosines(table, row).argsort(descending=True, stable=True).tolist()
    return order[1 : k + 1]


@nearest_rows.mistake(
    "the row itself counts as if its cosine were 0. Where the others point away, their cosines are below 0, and so it comes first."
)
def itself_as_zero(table: Tensor, row: int, k: int) -> list[int]:
    cosines = _cosines(table, row)
    cosines[row] = 0
    order: list[int] = cosines.argsort(descending=True, stable=True).tolist()
    return order[:k]


@nearest_rows.mistake(
    "these are numbers in a table without the row itself: there, all rows behind it have moved up by one."
)
def counted_without_it(table: Tensor, row: int, k: int) -> list[int]:
    found = _largest(_cosines(table, row), row, k)
    return [i - (i > row) for i in found]


fair_cosines = Exercise(
    "12",
    "ten minutes",
    "fair_cosines(table): from a table (N, C) to the cosines of all its rows with each other, (N, N), after what is "
    "accident is taken off: the mean of all rows, and from each row its own mean.",
    hints=[
        "Section 2 changes the tables of a model so that no probability changes. Which of its changes concern the "
        "table of the letters?",
        "Add torch.ones(C) * 3 to all rows, or another number to each row: do your cosines stay?",
        "What is the same in all rows is in their mean row, table.mean(0); what is the same in all numbers of a row, "
        "in that row's mean.",
    ],
    planted=True,
)


@fair_cosines.cases
def _() -> Iterator[tuple[Tensor]]:
    yield (torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]),)
    yield (torch.tensor([[4.0, 1.0, 2.0], [0.0, 1.0, 1.0], [1.0, 3.0, 0.0], [2.0, 2.0, 5.0]]),)
    yield (numbers(4, 5) + torch.tensor([3.0, 0.0, 1.0, 0.0, 2.0]),)


def _without_means(table: Tensor) -> Tensor:
    table = table - table.mean(0)
    return table - table.mean(1, keepdim=True)


def _all_cosines(table: Tensor) -> Tensor:
    rows = F.normalize(table, dim=1)
    return rows @ rows.T


@fair_cosines.answer
def _(table: Tensor) -> Tensor:
    return _all_cosines(_without_means(table))


@fair_cosines.mistake(
    "these are cosines, and they change where the model does not. Make a vector `aside` of large numbers, and "
    "compare fair_cosines(table) with fair_cosines(table + aside): taken off the rows of the places (section 2), "
    "`aside` changes no probability."
)
def as_planted(table: Tensor) -> Tensor:
    return _all_cosines(table)


@fair_cosines.mistake(
    "one vector added to all rows no longer matters. Now add to each row a number of its own: the cosines still change."
)
def only_the_mean_row(table: Tensor) -> Tensor:
    return _all_cosines(table - table.mean(0))


@fair_cosines.mistake(
    "a number added to a whole row no longer matters. Now add one vector to all rows: the cosines still change."
)
def only_the_rows_means(table: Tensor) -> Tensor:
    return _all_cosines(table - table.mean(1, keepdim=True))


@fair_cosines.mistake("the means are off, but these are products: the diagonal of a table of cosines is 1 everywhere.")
def products(table: Tensor) -> Tensor:
    rows = _without_means(table)
    return rows @ rows.T


@fair_cosines.mistake(
    "the rows were brought to length 1 before the means were taken off, and have other lengths now: the diagonal is "
    "not 1. Which comes first?"
)
def normalised_too_early(table: Tensor) -> Tensor:
    rows = _without_means(F.normalize(table, dim=1))
    return rows @ rows.T


@fair_cosines.mistake(
    "one number, the mean of the whole table, was taken off everywhere. The mean row is a vector, and each row has a "
    "mean of its own."
)
def one_mean_of_all(table: Tensor) -> Tensor:
    return _all_cosines(table - table.mean())


@fair_cosines.mistake(
    "both means were measured on the table as it came, so what they have in common was taken off twice: add the same number to the whole "
    "table, and the cosines change."
)
def both_from_the_same_table(table: Tensor) -> Tensor:
    return _all_cosines(table - table.mean(0) - table.mean(1, keepdim=True))


shown_share = Exercise(
    "12",
    "ten minutes",
    "shown_share(table, k): which share of the spread of a table (N, C) its principal component analysis shows in k "
    "directions, a number from 0 to 1. The spread is the sum of all squares, after the mean row is taken off; the k "
    "directions are those with the largest share.",
    hints=[
        "Take off the mean row. How is the sum of all squares, (rows ** 2).sum(), divided among the directions?",
        "torch.linalg.svdvals(rows) gives a number for each direction, the largest first. The square of each is the "
        "part of the sum of squares along it.",
        "Add the first k squares, and divide by the sum of all squares.",
    ],
)


@shown_share.cases
def _() -> Iterator[tuple[Tensor, int]]:
    yield torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 1
    yield torch.tensor([[1.0, 1.0, 0.0], [2.0, 2.5, 0.0], [3.0, 3.0, 1.0], [4.0, 5.0, 0.0]]), 1
    yield numbers(5, 4), 2
    yield numbers(3, 4, seed=1), 3


def _along(table: Tensor) -> Tensor:
    """The squares along the directions, the largest first; numbers of 64 bits."""
    rows = (table - table.mean(0)).double()
    return torch.linalg.svdvals(rows) ** 2


@shown_share.answer
def _(table: Tensor, k: int) -> Tensor:
    return _along(table)[:k].sum() / _along(table).sum()


@shown_share.mistake(
    "the singular values were added as they are. A spread is a sum of squares, and so is its part along a direction."
)
def not_squared(table: Tensor, k: int) -> Tensor:
    return _along(table).sqrt()[:k].sum() / _along(table).sqrt().sum()


@shown_share.mistake(
    "the mean row is still there: the first direction may then point from zero to the middle of all rows, and say "
    "little about how they differ."
)
def with_the_mean_row(table: Tensor, k: int) -> Tensor:
    squares = torch.linalg.svdvals(table.double()) ** 2
    return squares[:k].sum() / squares.sum()


@shown_share.mistake(
    "these are the k columns with the largest spread. A principal direction may lie between the columns, and then "
    "shows more than each of them."
)
def largest_columns(table: Tensor, k: int) -> Tensor:
    spread = table.var(0).sort(descending=True).values
    return spread[:k].sum() / spread.sum()


@shown_share.mistake("these are the directions along which the rows differ least: in which order do your numbers come?")
def smallest_first(table: Tensor, k: int) -> Tensor:
    rows = (table - table.mean(0)).double()
    spread = torch.linalg.eigvalsh(rows.T @ rows)
    return spread[:k].sum() / spread.sum()


@shown_share.mistake("that is the share of direction number k alone; a picture of k directions shows all of them.")
def the_last_alone(table: Tensor, k: int) -> Tensor:
    return _along(table)[k - 1] / _along(table).sum()


@shown_share.mistake("that is the share which the k directions do not show.")
def the_rest(table: Tensor, k: int) -> Tensor:
    return _along(table)[k:].sum() / _along(table).sum()


@shown_share.mistake(
    "each row's own mean was taken off too. The spread of this exercise is what is left without the mean row, and nothing else is taken off."
)
def both_means_off(table: Tensor, k: int) -> Tensor:
    rows = table - table.mean(0)
    squares = _along(rows - rows.mean(1, keepdim=True))
    return squares[:k].sum() / squares.sum()


step_back_share = Exercise(
    "12",
    "a minute",
    "step_back_share(shares, d): from a head's shares (T, T), row t those of position t, to the mean share that goes "
    "d positions back, as a number; d = 0 is the position itself. The mean is over the positions that have one d "
    "back.",
    hints=[
        "In row t, in which column stands the share of the position d back?",
        "Column t - d: a line parallel to the diagonal, below it. How many numbers are on it?",
        "shares.diagonal(-d) has all of them.",
    ],
)


@step_back_share.cases
def _() -> Iterator[tuple[Tensor, int]]:
    yield torch.tensor([[1.0, 0.0], [0.25, 0.75]]), 1
    yield torch.tensor([[1.0, 0.0, 0.0], [0.75, 0.25, 0.0], [0.5, 0.375, 0.125]]), 1
    yield torch.tensor([[1.0, 0.0, 0.0], [0.75, 0.25, 0.0], [0.5, 0.375, 0.125]]), 0
    yield numbers(5, 5).tril().softmax(-1).tril(), 2


@step_back_share.answer
def _(shares: Tensor, d: int) -> Tensor:
    return shares.diagonal(-d).mean()


@step_back_share.mistake(
    "it was divided by T. The first d positions have nobody d back, so there are only T - d such shares: a head that "
    "always looks back would not get 1."
)
def divided_by_T(shares: Tensor, d: int) -> Tensor:
    return shares.diagonal(-d).sum() / len(shares)


@step_back_share.mistake(
    "that is the line above the diagonal, the future, where a causal head has only zeros. The past is on the other "
    "side."
)
def the_future(shares: Tensor, d: int) -> Tensor:
    return shares.diagonal(d).mean()


@step_back_share.mistake("that is one position too near: the diagonal itself is d = 0.")
def one_too_near(shares: Tensor, d: int) -> Tensor:
    return shares.diagonal(1 - d).mean()


@step_back_share.mistake("that is the sum of these shares; their mean is asked for.")
def summed(shares: Tensor, d: int) -> Tensor:
    return shares.diagonal(-d).sum()


@step_back_share.mistake(
    "that is how often the largest share of a row lies d back. How large the share is gets lost, and an undecided "
    "head looks decided."
)
def counts_the_largest(shares: Tensor, d: int) -> Tensor:
    T = len(shares)
    return (shares.argmax(1)[d:] == torch.arange(T - d)).double().mean()


@step_back_share.mistake("that is one position too far back: the diagonal itself is d = 0.")
def one_too_far(shares: Tensor, d: int) -> Tensor:
    return shares.diagonal(-d - 1).mean()


same_letter_lift = Exercise(
    "12",
    "ten minutes",
    "same_letter_lift(shares, ids): from a head's shares (T, T) and the letters' ids (T,), to how many times as much "
    "goes to earlier occurrences of the same letter as an even average would give them. Both are means over all T "
    "positions; the even average gives each of the t + 1 positions that position t may look at the same share. (At "
    "least one letter occurs twice.)",
    hints=[
        "Which entries (t, s) of the shares count? Those with s before t and the same letter at both.",
        "ids[:, None] == ids[None, :] compares all with all, and tril(-1) keeps the earlier ones. Multiply with the "
        "shares, add up each row, take the mean.",
        "Do the same with even shares, row t having 1 / (t + 1) up to t. Divide the first mean by the second.",
    ],
)


@same_letter_lift.cases
def _() -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.tensor([[1.0, 0.0], [0.75, 0.25]]), torch.tensor([7, 7])
    yield (
        torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.375, 0.125]]),
        torch.tensor([4, 9, 4]),
    )
    ids = torch.tensor([5, 6, 5, 5, 6])
    yield _causal(numbers(5, 5)), ids
    yield _causal(numbers(6, 6, seed=1)), torch.tensor([1, 2, 3, 1, 2, 2])


def _causal(scores: Tensor) -> Tensor:
    return scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float("-inf")).softmax(-1)


def _even(T: int) -> Tensor:
    return _causal(torch.zeros(T, T))


def _earlier(ids: Tensor) -> Tensor:
    return (ids[:, None] == ids[None, :]).tril(-1).float()


@same_letter_lift.answer
def _(shares: Tensor, ids: Tensor) -> Tensor:
    return (shares * _earlier(ids)).sum() / (_even(len(ids)) * _earlier(ids)).sum()


@same_letter_lift.mistake(
    "the position itself was counted, and it always has the same letter. Only *earlier* occurrences count, in the "
    "head and in the average."
)
def with_itself(shares: Tensor, ids: Tensor) -> Tensor:
    same = (ids[:, None] == ids[None, :]).tril().float()
    return (shares * same).sum() / (_even(len(ids)) * same).sum()


@same_letter_lift.mistake(
    "that is the share itself. A frequent letter gets much of any head's attention: how much would an even average "
    "give?"
)
def without_comparison(shares: Tensor, ids: Tensor) -> Tensor:
    return (shares * _earlier(ids)).sum() / len(ids)


@same_letter_lift.mistake(
    "your even average leaves out the position itself. Position t may look at t + 1 positions, its own among them."
)
def even_over_earlier_ones(shares: Tensor, ids: Tensor) -> Tensor:
    T = len(ids)
    even = torch.ones(T, T) / torch.arange(T).clamp(min=1)[:, None]
    return (shares * _earlier(ids)).sum() / (even * _earlier(ids)).sum()


@same_letter_lift.mistake(
    "your even average gives 1 / T to each position, also where the mask hides most of them. Position t may look at "
    "t + 1."
)
def even_over_all(shares: Tensor, ids: Tensor) -> Tensor:
    return (shares * _earlier(ids)).sum() / (_earlier(ids) / len(ids)).sum()


@same_letter_lift.mistake(
    "that is the mean of the positions' ratios. Early positions, with a single chance, then count as much as all "
    "others: the two means come first, then one ratio."
)
def mean_of_ratios(shares: Tensor, ids: Tensor) -> Tensor:
    found, even = ((rows * _earlier(ids)).sum(1) for rows in (shares, _even(len(ids))))
    return (found[even > 0] / even[even > 0]).mean()


@same_letter_lift.mistake(
    "that is the share of what *followed* the same letter, as the copying heads of chapter 11 look. Here the "
    "occurrence itself is asked for."
)
def what_followed(shares: Tensor, ids: Tensor) -> Tensor:
    after = torch.zeros_like(shares)
    after[:, 1:] = _earlier(ids)[:, :-1]
    return (shares * after).sum() / (_even(len(ids)) * after).sum()


@same_letter_lift.mistake(
    "only the last earlier occurrence of each letter is counted. A letter may have come several times before, and all of these count."
)
def only_the_last_one(shares: Tensor, ids: Tensor) -> Tensor:
    same = _earlier(ids)
    last = same * (same.flip(1).cumsum(1).flip(1) == 1)
    return (shares * last).sum() / (_even(len(ids)) * last).sum()


each_silenced = Exercise(
    "12",
    "ten minutes",
    "each_silenced(joined, n_head): from what the heads found, side by side (T, C), to n_head versions of it, "
    "(n_head, T, C): in version h head h alone is silent, which means its columns, from h * D to (h + 1) * D with D "
    "= C / n_head, are 0, and all other numbers are as they were.",
    hints=[
        "Give it torch.arange(1., 9).view(2, 4) and two heads. How do version 0 and version 1 differ? And what is in "
        "`joined` after the call?",
        "An assignment such as silent = joined gives the tensor a second name. How many tensors are there?",
        "Each version needs numbers of its own, made inside the loop: clone().",
    ],
    planted=True,
)


@each_silenced.cases
def _() -> Iterator[tuple[Tensor, int]]:
    yield torch.arange(1.0, 5).view(1, 4), 2
    yield torch.arange(1.0, 13).view(2, 6), 3
    yield numbers(3, 8), 2


def _columns(joined: Tensor, n_head: int, h: int) -> slice:
    D = joined.shape[1] // n_head
    return slice(h * D, (h + 1) * D)


@each_silenced.answer
def _(joined: Tensor, n_head: int) -> Tensor:
    versions = joined.repeat(n_head, 1, 1)
    for h in range(n_head):
        versions[h, :, _columns(joined, n_head, h)] = 0
    return versions


@each_silenced.mistake(
    "all versions are the same, so every head would cost the same. Compare version 0 with version 1, and print "
    "`joined` and `silent` after each round."
)
def every_one_silent(joined: Tensor, n_head: int) -> Tensor:
    versions = []
    for h in range(n_head):
        silent = joined
        silent[:, _columns(joined, n_head, h)] = 0
        versions.append(silent)
    return torch.stack(versions)


@each_silenced.mistake(
    "the silence adds up: in version h all heads up to h are silent, because a head is never put back. Where does a "
    "version begin?"
)
def never_put_back(joined: Tensor, n_head: int) -> Tensor:
    versions = []
    for h in range(n_head):
        joined[:, _columns(joined, n_head, h)] = 0
        versions.append(joined.clone())
    return torch.stack(versions)


@each_silenced.mistake("head h alone is left, and all others are silent: it is the other way round.")
def only_one_speaks(joined: Tensor, n_head: int) -> Tensor:
    versions = torch.zeros(n_head, *joined.shape)
    for h in range(n_head):
        own = _columns(joined, n_head, h)
        versions[h, :, own] = joined[:, own]
    return versions


@each_silenced.mistake(
    "the columns are dealt out in turn (h, h + n_head, ...). Head h owns neighbouring ones, from h * D on."
)
def dealt_out_in_turn(joined: Tensor, n_head: int) -> Tensor:
    versions = joined.repeat(n_head, 1, 1)
    for h in range(n_head):
        versions[h, :, h::n_head] = 0
    return versions


@each_silenced.mistake(
    "the head passes on its mean over the positions. That is mean-ablation, of the third exercise; here a silent "
    "head passes on zeros."
)
def mean_instead_of_zero(joined: Tensor, n_head: int) -> Tensor:
    versions = joined.repeat(n_head, 1, 1)
    for h in range(n_head):
        own = _columns(joined, n_head, h)
        versions[h, :, own] = joined[:, own].mean(0)
    return versions


@each_silenced.mistake(
    "the head's columns are gone, and the next layer expects C of them. A silent head keeps its place, with zeros in "
    "it."
)
def cut_away(joined: Tensor, n_head: int) -> Tensor:
    parts = joined.chunk(n_head, 1)
    return torch.stack([torch.cat([p for g, p in enumerate(parts) if g != h], 1) for h in range(n_head)])


@each_silenced.mistake(
    "rows are silent, and a row is a position. What one head found stands in columns, at all positions."
)
def rows_for_columns(joined: Tensor, n_head: int) -> Tensor:
    versions = joined.repeat(n_head, 1, 1)
    for h in range(n_head):
        versions[h, _columns(joined, n_head, h)] = 0
    return versions


beyond_the_sum = Exercise(
    "12",
    "a minute",
    "beyond_the_sum(whole, alone, together): whole is the model's loss, alone a list of its losses when one head of "
    "a group is silent (one loss a head), together its loss when the whole group is silent. By how much is the cost "
    "of silencing all at once larger than the sum of the single costs? (Negative where it is smaller.)",
    hints=[
        "A cost is not a loss. What is the cost of silencing one head?",
        "The loss without it, less the loss of the whole model. Do that for each head, and for all together.",
        "The cost of all together, less the sum of the single costs.",
    ],
)


@beyond_the_sum.cases
def _() -> Iterator[tuple[float, list[float], float]]:
    yield 1.0, [1.25, 1.5], 2.0
    yield 1.2, [2.3, 1.7], 3.3
    yield 2.0, [2.5, 2.5, 2.25], 2.5
    yield 1.5, [1.75], 1.75
    yield 2.0, [1.75, 2.5], 2.5


@beyond_the_sum.answer
def _(whole: float, alone: list[float], together: float) -> float:
    return together - whole - sum(loss - whole for loss in alone)


@beyond_the_sum.mistake(
    "losses were added up. Each of them has the loss of the whole model in it, and what one head costs is the "
    "difference."
)
def adds_losses(whole: float, alone: list[float], together: float) -> float:
    return together - sum(alone)


@beyond_the_sum.mistake(
    "together is a loss, and the sum of the single costs is taken off it: what does silencing all of them cost?"
)
def a_loss_less_costs(whole: float, alone: list[float], together: float) -> float:
    return together - sum(loss - whole for loss in alone)


@beyond_the_sum.mistake(
    "the sign is the other way round: where all at once cost more than the sum, the answer is positive."
)
def the_other_way(whole: float, alone: list[float], together: float) -> float:
    return sum(loss - whole for loss in alone) - (together - whole)


@beyond_the_sum.mistake(
    "the cost of all is compared with the mean of the single costs. If the heads did not depend on each other, their "
    "costs would add up."
)
def against_the_mean(whole: float, alone: list[float], together: float) -> float:
    return together - whole - sum(loss - whole for loss in alone) / len(alone)


@beyond_the_sum.mistake(
    "a head without which the loss falls is counted as if it cost nothing. Its cost is below 0, and makes the sum smaller."
)
def no_cost_below_zero(whole: float, alone: list[float], together: float) -> float:
    return together - whole - sum(max(0.0, loss - whole) for loss in alone)


@beyond_the_sum.mistake(
    "a head without which the loss falls is counted as if the loss rose as much. Its cost is below 0, and makes the sum smaller."
)
def without_the_sign(whole: float, alone: list[float], together: float) -> float:
    return together - whole - sum(abs(loss - whole) for loss in alone)
