"""Chapter 02: shifted batches, a split by documents, perplexity, two ways to count; and windows that read across the split."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from .exercise import Exercise

END = "<|endoftext|>"

shifted_batch = Exercise(
    "02",
    "ten minutes",
    "shifted_batch(ids, starts, T): from the ids of a text (N,) and the places starts (B,) to the pair x, y, each (B, "
    "T): row b of x is the window of T ids that begins at starts[b], and row b of y is the same window shifted by one "
    "token.",
    hints=[
        "Which ids belong to row b of x? Those from starts[b] up to, but not with, starts[b] + T.",
        "And row b of y? Both ends of the slice are one place further on.",
        "Collect the rows of x and those of y in two lists; torch.stack makes a table of a list of rows.",
    ],
)


@shifted_batch.cases
def _() -> Iterator[tuple[Tensor, Tensor, int]]:
    yield torch.arange(100, 106), torch.tensor([0]), 3
    yield torch.tensor([7, 3, 3, 9, 1, 4]), torch.tensor([2, 0]), 2
    yield torch.tensor([5, 0, 8, 2, 2, 6, 1, 9, 4, 3, 7]), torch.tensor([5, 1, 4]), 3


def _rows(ids: Tensor, starts: Tensor, T: int) -> Tensor:
    return ids[starts[:, None] + torch.arange(T)]


@shifted_batch.answer
def _(ids: Tensor, starts: Tensor, T: int) -> tuple[Tensor, Tensor]:
    return _rows(ids, starts, T), _rows(ids, starts + 1, T)


@shifted_batch.mistake("y is the same as x: each question would hold its own answer. y is one token further on.")
def not_shifted(ids: Tensor, starts: Tensor, T: int) -> tuple[Tensor, Tensor]:
    return _rows(ids, starts, T), _rows(ids, starts, T)


@shifted_batch.mistake(
    "y is the window that follows, T tokens further on. The answer to each place of x is the very next token: one "
    "further on."
)
def next_window(ids: Tensor, starts: Tensor, T: int) -> tuple[Tensor, Tensor]:
    return _rows(ids, starts, T), _rows(ids, starts + T, T)


@shifted_batch.mistake("x and y have changed places: x is what is read, y what comes next.")
def exchanged(ids: Tensor, starts: Tensor, T: int) -> tuple[Tensor, Tensor]:
    return _rows(ids, starts + 1, T), _rows(ids, starts, T)


@shifted_batch.mistake(
    "y is x + 1: that adds one to the ids. It is the place in the text that moves by one, and ids do not stand there "
    "in order."
)
def adds_one_to_the_ids(ids: Tensor, starts: Tensor, T: int) -> tuple[Tensor, Tensor]:
    x = _rows(ids, starts, T)
    return x, x + 1


@shifted_batch.mistake(
    "the rows have T - 1 ids: a window of T was cut into x and y. To have T of each, take T + 1 ids from the text."
)
def cut_from_T(ids: Tensor, starts: Tensor, T: int) -> tuple[Tensor, Tensor]:
    rows = _rows(ids, starts, T)
    return rows[:, :-1], rows[:, 1:]


@shifted_batch.mistake("these are places in the text, not the ids that stand there.")
def places(ids: Tensor, starts: Tensor, T: int) -> tuple[Tensor, Tensor]:
    x = starts[:, None] + torch.arange(T)
    return x, x + 1


@shifted_batch.mistake("the windows begin at 0, 1, 2 and so on: starts says where each of them begins.")
def own_places(ids: Tensor, starts: Tensor, T: int) -> tuple[Tensor, Tensor]:
    first = torch.arange(len(starts))
    return _rows(ids, first, T), _rows(ids, first + 1, T)


split_documents = Exercise(
    "02",
    "ten minutes",
    f"split_documents(text, every): from a text, whose documents each end in {END}, to two texts: the training part and the validation "
    "part. The documents are counted from 0, and number i is held out if i % every == every - 1. In both parts the "
    "documents keep their order and their end marks.",
    hints=[
        f"text.split({END!r}) gives the documents without their marks, and one piece more. What is behind the last mark?",
        "Put the mark back to each document, and leave out the empty piece at the end.",
        "Go through them with enumerate, add each to the one part or to the other, and join with nothing in between.",
    ],
)


@split_documents.cases
def _() -> Iterator[tuple[str, int]]:
    yield f"a{END}b{END}", 2
    yield f"one{END}two{END}three{END}four{END}five{END}", 2
    yield "".join(f"{i}\n{END}" for i in range(5)), 3


def _documents(text: str) -> list[str]:
    return [document + END for document in text.split(END)[:-1]]


def _parted(documents: list[str], every: int, rest: int) -> tuple[str, str]:
    train, val = (
        "".join(document for i, document in enumerate(documents) if (i % every == rest) == held)
        for held in (False, True)
    )
    return train, val


@split_documents.answer
def _(text: str, every: int) -> tuple[str, str]:
    return _parted(_documents(text), every, every - 1)


@split_documents.mistake(
    "the held-out documents stand in the training part, too. A loss on text that was learned from does not tell how "
    "the model does on new text (data contamination)."
)
def stays_in_training(text: str, every: int) -> tuple[str, str]:
    return text, _parted(_documents(text), every, every - 1)[1]


@split_documents.mistake(
    "the end marks are lost, and with them the model loses the chance to learn where a document stops."
)
def marks_lost(text: str, every: int) -> tuple[str, str]:
    return _parted(text.split(END)[:-1], every, every - 1)


@split_documents.mistake("the mark stands between the documents; each has it at its end, the last one too.")
def marks_between(text: str, every: int) -> tuple[str, str]:
    documents = text.split(END)[:-1]
    held = documents[every - 1 :: every]
    return END.join(d for i, d in enumerate(documents) if i % every != every - 1), END.join(held)


@split_documents.mistake(
    "there is one end mark too many: behind the last mark nothing follows, and this empty piece is no document."
)
def empty_document(text: str, every: int) -> tuple[str, str]:
    return _parted([document + END for document in text.split(END)], every, every - 1)


@split_documents.mistake("the first document is held out. The first one held out has the number every - 1.")
def holds_out_the_first(text: str, every: int) -> tuple[str, str]:
    return _parted(_documents(text), every, 0)


@split_documents.mistake(
    "you hold out the end of the text. If it differs from the rest, its loss misleads; here the held-out documents are "
    "spread over the text."
)
def holds_out_the_end(text: str, every: int) -> tuple[str, str]:
    documents = _documents(text)
    count = len(documents) // every
    return "".join(documents[:-count]), "".join(documents[-count:])


@split_documents.mistake("the two parts have changed places: the training part comes first.")
def parts_exchanged(text: str, every: int) -> tuple[str, str]:
    return _parted(_documents(text), every, every - 1)[::-1]


perplexity_of = Exercise(
    "02",
    "a minute",
    "perplexity_of(losses, sizes): the perplexity on a text that was measured in pieces: losses[i] is the mean loss of "
    "piece i in nats per token, and sizes[i] how many tokens it has.",
    hints=[
        "Perplexity is e to the power of the loss on the whole text. How is that loss found from those of its pieces?",
        "Surprises add up: a piece of 3 tokens with a mean of 2 nats has 6 nats. Divide the sum of all nats by the number of all tokens.",
        "Only then math.exp.",
    ],
)


@perplexity_of.cases
def _() -> Iterator[tuple[list[float], list[int]]]:
    yield [math.log(4)], [10]
    yield [1.0, 3.0], [2, 2]
    yield [1.0, 3.0, 2.0], [6, 1, 3]


def _mean(values: list[float], sizes: list[int]) -> float:
    return sum(value * size for value, size in zip(values, sizes, strict=True)) / sum(sizes)


@perplexity_of.answer
def _(losses: list[float], sizes: list[int]) -> float:
    return math.exp(_mean(losses, sizes))


@perplexity_of.mistake(
    "you take the mean of the pieces' perplexities. That gives the pieces with a high loss too much weight: it is the "
    "losses that have a mean."
)
def mean_of_perplexities(losses: list[float], sizes: list[int]) -> float:
    return _mean([math.exp(loss) for loss in losses], sizes)


@perplexity_of.mistake(
    "all pieces have the same weight, whatever their size: that is a mean of means. Each token should count the same."
)
def every_piece_the_same(losses: list[float], sizes: list[int]) -> float:
    return math.exp(sum(losses) / len(losses))


@perplexity_of.mistake("that is the mean loss. Perplexity is e to the power of it.")
def loss_itself(losses: list[float], sizes: list[int]) -> float:
    return _mean(losses, sizes)


@perplexity_of.mistake("you raise 2 to a loss in nats. With natural logarithms the base is e.")
def base_two(losses: list[float], sizes: list[int]) -> float:
    return 2 ** _mean(losses, sizes)


@perplexity_of.mistake("the sum of the losses is raised, not their mean: the result grows with every piece.")
def sum_of_losses(losses: list[float], sizes: list[int]) -> float:
    return math.exp(sum(losses))


witten_bell = Exercise(
    "02",
    "ten minutes",
    "witten_bell(ids, before, V): from a list of N ids, each from 0 to V - 1, to the V probabilities of what comes "
    "after the token before: p(w | before) = (count(before w) + k(before) p(w)) / (count(before) + k(before)), with "
    "p(w) = (count(w) + k / V) / (N + k). Here count(before) is how many tokens follow before, k(before) how many "
    "different ones, and k how many different tokens ids holds. Where nothing follows before, p(w) answers alone.",
    hints=[
        "Two tables are enough: Counter(ids) counts the tokens, and a second Counter those that follow before. zip(ids, ids[1:]) gives the pairs.",
        "How many different tokens a Counter holds is its len, and how many in all the sum of its values.",
        "First the list of all p(w), then the formula of the bigram with it. All V probabilities must add up to 1.",
    ],
)


@witten_bell.cases
def _() -> Iterator[tuple[list[int], int, int]]:
    yield [0, 1, 0, 1], 0, 2
    yield [0, 1, 0, 2, 0, 1, 1, 0, 2, 1], 0, 4
    yield [0, 1, 0, 2, 0, 1, 1, 0, 2, 1], 1, 4
    yield [0, 1, 0, 2, 0, 1, 1, 0, 2, 1], 3, 4


def _followers(ids: list[int], before: int) -> Counter[int]:
    return Counter(b for a, b in pairwise(ids) if a == before)


def _unigram(ids: list[int], V: int) -> list[float]:
    seen = Counter(ids)
    return [(seen[w] + len(seen) / V) / (len(ids) + len(seen)) for w in range(V)]


def _mixed(seen: Counter[int], weight: float, shorter: list[float]) -> list[float]:
    if not seen:
        return shorter
    return [(seen[w] + weight * p) / (seen.total() + weight) for w, p in enumerate(shorter)]


@witten_bell.answer
def _(ids: list[int], before: int, V: int) -> list[float]:
    seen = _followers(ids, before)
    return _mixed(seen, len(seen), _unigram(ids, V))


@witten_bell.mistake(
    "a token that never followed gets a probability of 0, so its surprise would be infinite. The shorter context must "
    "be mixed in."
)
def not_mixed(ids: list[int], before: int, V: int) -> list[float]:
    return _mixed(_followers(ids, before), 0, _unigram(ids, V))


@witten_bell.mistake(
    "below the bigram you go to 1 / V at once. Its shorter context is the unigram, and only below that stands 1 / V."
)
def skips_the_unigram(ids: list[int], before: int, V: int) -> list[float]:
    seen = _followers(ids, before)
    return _mixed(seen, len(seen), [1 / V] * V)


@witten_bell.mistake(
    "the unigram is not mixed with 1 / V: a token that ids does not hold gets 0 from it, and k / V should give it "
    "something."
)
def bare_unigram(ids: list[int], before: int, V: int) -> list[float]:
    seen = _followers(ids, before)
    return _mixed(seen, len(seen), [ids.count(w) / len(ids) for w in range(V)])


@witten_bell.mistake(
    "k(before) is taken to be the number of all tokens that follow. It is the number of different ones: what follows "
    "twice counts once."
)
def all_that_follow(ids: list[int], before: int, V: int) -> list[float]:
    seen = _followers(ids, before)
    return _mixed(seen, seen.total(), _unigram(ids, V))


@witten_bell.mistake(
    "the weight of the shorter context is V. It should be how many different tokens were seen after before: this "
    "context may have few."
)
def weight_of_V(ids: list[int], before: int, V: int) -> list[float]:
    return _mixed(_followers(ids, before), V, _unigram(ids, V))


@witten_bell.mistake(
    lambda got: (
        f"your probabilities add up to {float(torch.as_tensor(got).sum()):.3f}: where before is the last token of ids, nothing follows it, "
        "and this place must not be counted."
    )
)
def counts_the_last(ids: list[int], before: int, V: int) -> list[float]:
    seen, shorter = _followers(ids, before), _unigram(ids, V)
    if not seen:
        return shorter
    return [(seen[w] + len(seen) * shorter[w]) / (ids.count(before) + len(seen)) for w in range(V)]


@witten_bell.mistake(
    "it divides by 0 where nothing follows before: count and k are 0 there. The shorter context answers alone."
)
def divides_by_zero(ids: list[int], before: int, V: int) -> list[float]:
    seen, shorter = _followers(ids, before), _unigram(ids, V)
    return [(seen[w] + len(seen) * shorter[w]) / (seen.total() + len(seen)) for w in range(V)]


@witten_bell.mistake("where nothing follows before, you answer 1 / V; the shorter context answers there.")
def equal_shares_alone(ids: list[int], before: int, V: int) -> list[float]:
    return (
        _mixed(_followers(ids, before), len(_followers(ids, before)), _unigram(ids, V))
        if _followers(ids, before)
        else [1 / V] * V
    )


kneser_ney = Exercise(
    "02",
    "an evening",
    "kneser_ney(ids, before, V, D): from a list of ids, each from 0 to V - 1, to the V probabilities of what comes "
    "after the token before: p(w | before) = (count(before w) - D[count(before w)] + freed p'(w)) / count(before). "
    "Counts above 3 take off D[3]; freed is the sum of what was taken off after before. For p'(w) the same formula "
    "holds, with how many different tokens stand before w in place of count(before w), the sum of these numbers in "
    "place of count(before), and 1 / V in place of p'(w). Where nothing follows before, p'(w) answers alone.",
    hints=[
        "The same formula stands there twice. Write it once: a function from a Counter and the list of the shorter context's probabilities.",
        "What was taken off, in all, is the sum of D[min(count, 3)] over the counts in the table: it goes to the shorter context.",
        "After how many different tokens does w come? set(zip(ids, ids[1:])) holds each pair once; count the second tokens in it.",
    ],
)
DISCOUNTS = [0, 0.5, 1, 1.5]


@kneser_ney.cases
def _() -> Iterator[tuple[list[int], int, int, list[float]]]:
    yield [0, 1, 0, 1], 0, 2, DISCOUNTS
    yield [0, 1, 0, 2, 0, 1, 1, 2, 2, 0], 0, 4, DISCOUNTS
    yield [1, 0, 1, 0, 1, 0, 1, 0, 2, 2], 1, 4, DISCOUNTS
    yield [0, 1, 0, 2, 0, 1, 1, 2, 2, 0], 3, 4, DISCOUNTS


def _before(ids: list[int]) -> Counter[int]:
    return Counter(b for _, b in set(pairwise(ids)))


def _discounted(seen: Counter[int], shorter: list[float], D: list[float]) -> list[float]:
    if not seen:
        return shorter
    freed = sum(D[min(count, 3)] for count in seen.values())
    return [(seen[w] - D[min(seen[w], 3)] + freed * p) / seen.total() for w, p in enumerate(shorter)]


@kneser_ney.answer
def _(ids: list[int], before: int, V: int, D: list[float]) -> list[float]:
    return _discounted(_followers(ids, before), _discounted(_before(ids), [1 / V] * V, D), D)


@kneser_ney.mistake(
    "the shorter context counts how often a token occurs. It should count after how many different tokens it comes: "
    "each pair once."
)
def counts_how_often(ids: list[int], before: int, V: int, D: list[float]) -> list[float]:
    return _discounted(_followers(ids, before), _discounted(Counter(ids), [1 / V] * V, D), D)


@kneser_ney.mistake(
    lambda got: (
        f"your probabilities add up to {float(torch.as_tensor(got).sum()):.3f}: what the discounts free must go to the shorter context."
    )
)
def freed_is_lost(ids: list[int], before: int, V: int, D: list[float]) -> list[float]:
    seen, shorter = _followers(ids, before), _discounted(_before(ids), [1 / V] * V, D)
    if not seen:
        return shorter
    return [(seen[w] - D[min(seen[w], 3)]) / seen.total() for w in range(V)]


@kneser_ney.mistake("the same discount is taken from every count, D[1]. A count of 2 has D[2], a larger one D[3].")
def one_discount(ids: list[int], before: int, V: int, D: list[float]) -> list[float]:
    D = [0, D[1], D[1], D[1]]
    return _discounted(_followers(ids, before), _discounted(_before(ids), [1 / V] * V, D), D)


@kneser_ney.mistake(
    "what is freed goes to 1 / V at once. The shorter context p' stands in between, with its own counts."
)
def no_shorter_context(ids: list[int], before: int, V: int, D: list[float]) -> list[float]:
    return _discounted(_followers(ids, before), [1 / V] * V, D)


@kneser_ney.mistake(
    "p' takes no discount, so a token that was never met gets nothing from it. The same formula holds one context "
    "shorter, with 1 / V below it."
)
def bare_shorter_context(ids: list[int], before: int, V: int, D: list[float]) -> list[float]:
    met = _before(ids)
    return _discounted(_followers(ids, before), [met[w] / met.total() for w in range(V)], D)


@kneser_ney.mistake("where nothing follows before, you answer 1 / V; the shorter context answers there.")
def equal_shares_below(ids: list[int], before: int, V: int, D: list[float]) -> list[float]:
    return (
        _discounted(_followers(ids, before), _discounted(_before(ids), [1 / V] * V, D), D)
        if _followers(ids, before)
        else [1 / V] * V
    )


@kneser_ney.mistake("a count of 4 is looked up in D, which ends with D[3]: counts above 3 take D[3].")
def beyond_the_discounts(ids: list[int], before: int, V: int, D: list[float]) -> list[float]:
    seen, shorter = _followers(ids, before), _discounted(_before(ids), [1 / V] * V, D)
    freed = sum(D[count] for count in seen.values())
    return [(seen[w] - D[seen[w]] + freed * p) / seen.total() for w, p in enumerate(shorter)] if seen else shorter


training_windows = Exercise(
    "02",
    "ten minutes",
    "training_windows(ids, n_train, T): the first n_train of the ids are the training part, the others are held out. "
    "To the list of windows of T + 1 ids (x is all but the last, y all but the first) that begin at 0, T, 2 T and so "
    "on: all of them that lie in the training part.",
    hints=[
        "Number the ids: ids = list(range(20)), n_train = 14, T = 4. Which numbers may not occur in any window?",
        "Where does the window end that begins at s? Its last id stands at s + T, and that one is read as an answer, too.",
        "So s + T must be below n_train. What is then the end of the range for s?",
    ],
    planted=True,
)


@training_windows.cases
def _() -> Iterator[tuple[list[int], int, int]]:
    yield list(range(8)), 5, 2
    yield list(range(20)), 12, 4
    yield list(range(20)), 13, 4
    yield list(range(20)), 14, 4
    yield [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7], 10, 3


@training_windows.answer
def _(ids: list[int], n_train: int, T: int) -> list[list[int]]:
    return [ids[s : s + T + 1] for s in range(0, n_train - T, T)]


@training_windows.mistake(
    "some windows hold ids of the held-out part. With ids = list(range(20)) and n_train = 14, collect all numbers that "
    "the windows hold: is any of them 14 or more?"
)
def as_planted(ids: list[int], n_train: int, T: int) -> list[list[int]]:
    return [ids[s : s + T + 1] for s in range(0, n_train, T)]


@training_windows.mistake(
    "x lies in the training part now, and y can still reach out of it by one: its last id stands T places after the "
    "first of x."
)
def answer_reaches_out(ids: list[int], n_train: int, T: int) -> list[list[int]]:
    return [ids[s : s + T + 1] for s in range(0, n_train - T + 1, T)]


@training_windows.mistake(
    "nothing reaches out any more, but a window that fits is left out, where the last one ends exactly with the "
    "training part."
)
def one_too_few(ids: list[int], n_train: int, T: int) -> list[list[int]]:
    return [ids[s : s + T + 1] for s in range(0, n_train - T - 1, T)]


@training_windows.mistake(
    "the last windows are cut off at the split, and shorter than the others. They can't stand in one batch: all "
    "windows have T + 1 ids."
)
def cut_at_the_split(ids: list[int], n_train: int, T: int) -> list[list[int]]:
    return [ids[s : min(s + T + 1, n_train)] for s in range(0, n_train, T)]


@training_windows.mistake(
    "the windows are T + 1 apart now: the last id of each is only an answer and never stands in x, so the question "
    "after it is lost. They begin at 0, T, 2 T and so on."
)
def too_far_apart(ids: list[int], n_train: int, T: int) -> list[list[int]]:
    return [ids[s : s + T + 1] for s in range(0, n_train - T, T + 1)]
