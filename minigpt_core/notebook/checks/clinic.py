"""Chapter 09: a loss beside its ladder, the step to stop at, a verdict, the fair unit, the floor; and two parts that are not apart."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .exercise import Exercise

learned_share = Exercise(
    "09",
    "a minute",
    "learned_share(loss, unigram, best): the share that a run has learned of what counting gains, from the loss of the 1-gram to that of the "
    "best count: 0 at the 1-gram, 1 at the best count. A run above the 1-gram has a share below 0, and one that beats the best count a share "
    "above 1.",
    hints=[
        "How much does counting gain, from the 1-gram down to the best count? That is the whole.",
        "And how far has the run come down from the 1-gram? That is the part.",
        "The part divided by the whole; nothing is cut off below 0 or above 1.",
    ],
)


@learned_share.cases
def _() -> Iterator[tuple[float, float, float]]:
    yield 2.4, 3.0, 1.0
    yield 2.25, 3.0, 1.5
    yield 1.0, 3.0, 1.2
    yield 3.5, 3.0, 1.0


@learned_share.answer
def _(loss: float, unigram: float, best: float) -> float:
    return (unigram - loss) / (unigram - best)


@learned_share.mistake(
    "that is the share which the run still lacks: at the best count it must be 1, and yours is 0 there."
)
def still_lacking(loss: float, unigram: float, best: float) -> float:
    return (loss - best) / (unigram - best)


@learned_share.mistake(
    "you divide by the 1-gram's loss, as if the way led down to 0. At the best count your share is below 1."
)
def way_to_zero(loss: float, unigram: float, best: float) -> float:
    return (unigram - loss) / unigram


@learned_share.mistake("that is how far the run has come down, in nats. A share compares it with what counting gains.")
def in_nats(loss: float, unigram: float, best: float) -> float:
    return unigram - loss


@learned_share.mistake(
    "the share is cut off at 0 or 1, and so it hides that a run is above the 1-gram, or has beaten the best count."
)
def cut_off(loss: float, unigram: float, best: float) -> float:
    return min(1.0, max(0.0, (unigram - loss) / (unigram - best)))


@learned_share.mistake("that is a percentage, and a share is asked for: half of the way is 0.5.")
def in_percent(loss: float, unigram: float, best: float) -> float:
    return 100 * (unigram - loss) / (unigram - best)


best_step = Exercise(
    "09",
    "ten minutes",
    "best_step(validation, patience): from the validation losses by step, such as {100: 2.5, 200: 2.1}, in the order of the steps, to the step "
    "whose weights early stopping keeps. It stops after `patience` (at least 1) evaluations in a row that are not below the lowest loss before "
    "them. It keeps the first step with the lowest loss of all that it has seen; if it never stops, it has seen all.",
    hints=[
        "What must be remembered from one evaluation to the next? Three things: the lowest loss, its step, and how many since then were no better.",
        "A loss that is below the lowest: note it and its step, and the count begins again at 0. Any other loss: count one more.",
        "As soon as the count has reached patience, give the step that was noted. What comes later has not been seen.",
    ],
)


@best_step.cases
def _() -> Iterator[tuple[dict[int, float], int]]:
    yield {100: 2.0, 200: 1.5, 300: 1.6, 400: 1.7}, 2
    yield {100: 3.0, 200: 2.5, 300: 2.6, 400: 2.7, 500: 2.8, 600: 2.0}, 2
    yield {100: 3.0, 200: 3.1, 300: 2.8, 400: 2.9, 500: 2.5}, 2
    yield {100: 2.0, 200: 2.5, 300: 2.3, 400: 2.4, 500: 1.9}, 3
    yield {100: 1.5, 200: 1.5, 300: 1.4}, 1
    yield {100: 2.0, 200: 1.5, 300: 1.6}, 2


def _stop(
    validation: Mapping[int, float], patience: int, *, equal: bool = False, reset: bool = True, last: bool = False
) -> int:
    low, kept, since = math.inf, 0, 0
    for step, loss in validation.items():
        if loss < low or (equal and loss == low):
            low, kept, since = loss, step, 0 if reset else since
        else:
            since += 1
        if since == patience:
            return step if last else kept
    return step if last else kept


best_step.answer(_stop)


@best_step.mistake(
    "that is the lowest point of the whole curve. Early stopping has ended the run before, and never sees what comes after."
)
def looks_ahead(validation: Mapping[int, float], patience: int) -> int:
    return min(validation, key=lambda step: validation[step])


@best_step.mistake(
    "that is the step at which the run ends. The weights to keep are older: which step had the lowest loss?"
)
def last_seen(validation: Mapping[int, float], patience: int) -> int:
    return _stop(validation, patience, last=True)


@best_step.mistake(
    "the evaluations that were no better are counted over the whole run. Patience means so many in a row: what ends a row?"
)
def never_starts_again(validation: Mapping[int, float], patience: int) -> int:
    return _stop(validation, patience, reset=False)


@best_step.mistake(
    "each loss is compared with the one just before. A loss can be lower than that and still be above the lowest so far."
)
def beside_the_one_before(validation: Mapping[int, float], patience: int) -> int:
    steps, since = list(validation), 0
    seen = steps[:1]
    for before, step in pairwise(steps):
        since = 0 if validation[step] < validation[before] else since + 1
        seen.append(step)
        if since == patience:
            break
    return min(seen, key=lambda step: validation[step])


@best_step.mistake(
    "it waits for one evaluation more than patience allows: with a patience of 2 the second one in a row ends the run."
)
def one_too_patient(validation: Mapping[int, float], patience: int) -> int:
    return _stop(validation, patience + 1)


@best_step.mistake(
    "a loss equal to the lowest one is taken for better. Only a loss below it is, and only that starts the count again."
)
def equal_is_better(validation: Mapping[int, float], patience: int) -> int:
    return _stop(validation, patience, equal=True)


@best_step.mistake(
    "it ends the run too early: with a patience of 2 the first evaluation that is not below the lowest loss ends it, and only a second one "
    "in a row should."
)
def one_too_impatient(validation: Mapping[int, float], patience: int) -> int:
    return _stop(validation, max(1, patience - 1))


@best_step.mistake(
    "a run that never stops gives its last step. It has seen all losses, and the lowest of them need not be the last."
)
def last_of_an_unstopped_run(validation: Mapping[int, float], patience: int) -> int:
    kept, end = _stop(validation, patience), _stop(validation, patience, last=True)
    since = list(validation).index(end) - list(validation).index(kept)
    return kept if since == patience else end


verdict = Exercise(
    "09",
    "ten minutes",
    "verdict(training, validation, unigram, best): from two lists of losses and two reference lines to one of five texts, the first whose rule "
    'holds. "diverged": any loss is infinite or nan. "target leakage": the end of validation is below 0.6 times the best count. "overfitting": '
    "the end of validation is above 1.03 times its lowest loss, and the end of training is below that lowest loss. "
    '"underfitting": the end of validation lies more than a quarter of (unigram - best) above best. "healthy": none of these. '
    "The end of a list is its last number.",
    hints=[
        "Five rules in a fixed order: with return after each one that holds, no else is needed.",
        "A nan is neither above nor below any number, nor equal to itself. math.isfinite knows it, and infinity too.",
        "Whether validation has risen is seen beside its own lowest loss, min(validation), not beside the training loss.",
    ],
)


@verdict.cases
def _() -> Iterator[tuple[list[float], list[float], float, float]]:
    yield [4.1, 1.5], [2.0, 1.6], 3.0, 1.2
    yield [4.1, 1.0], [2.0, 1.15], 3.0, 1.2
    yield [4.1, 0.3], [2.1, 2.0, 2.8, 3.0], 3.0, 1.2
    yield [4.1, 0.9], [1.5, 1.4, 1.55, 1.54], 3.0, 1.2
    yield [4.1, 2.4], [2.2, 2.35], 3.0, 1.2
    yield [4.1, 0.1], [2.0, 0.06], 3.0, 1.2
    yield [4.1, math.inf, 2.0], [2.0], 3.0, 1.2
    yield [4.1, 3.0], [2.9, math.nan], 3.0, 1.2
    yield [4.1, math.inf], [2.0, 1.6], 3.0, 1.2
    yield [4.1, 1.5], [2.0, math.inf, 1.6], 3.0, 1.2
    yield [4.1, 0.6, 0.9], [2.0, 0.7, 0.75], 3.0, 1.2
    yield [4.1, 1.4], [2.0, 1.3, 1.45], 3.0, 1.2
    yield [4.1, 1.62], [2.0, 1.6, 1.7], 3.0, 1.2
    yield [4.1, 1.5], [2.0, 1.9], 3.0, 1.2
    yield [4.1, 0.1], [0.5, 0.4, 0.6], 3.0, 1.2
    yield [4.1, math.inf, 0.1], [2.0, 0.06], 3.0, 1.2
    yield [4.1, 1.2], [1.5, 1.25], 2.0, 1.0


def _verdict(
    training: Sequence[float],
    validation: Sequence[float],
    unigram: float,
    best: float,
    *,
    diverged: bool | None = None,
    leak: float = 0.6,
    low: float | None = None,
    owes: float | None = None,
    order: Sequence[str] = ("target leakage", "overfitting", "underfitting"),
    beside_training: bool = True,
) -> str:
    low = min(validation) if low is None else low
    holds = {
        "target leakage": validation[-1] < leak * best,
        "overfitting": validation[-1] > 1.03 * low and (not beside_training or training[-1] < low),
        "underfitting": validation[-1] > best + ((unigram - best) / 4 if owes is None else owes),
    }
    if diverged is None:
        diverged = not all(map(math.isfinite, [*training, *validation]))
    return "diverged" if diverged else next((name for name in order if holds[name]), "healthy")


@verdict.answer
def _(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best)


@verdict.mistake(
    "a nan gets past your first rule. It is equal to nothing, not even to itself, and every comparison with it is False."
)
def only_infinity(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best, diverged=math.inf in [*training, *validation])


@verdict.mistake("only the last losses are looked at. A run has diverged if any of its losses is infinite or nan.")
def only_the_end(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    ends = training[-1], validation[-1]
    return _verdict(training, validation, unigram, best, diverged=not all(map(math.isfinite, ends)))


@verdict.mistake(
    "a validation loss far above the training loss is called overfitting. That gap alone is none: validation has to rise again."
)
def by_the_gap(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best, low=training[-1], beside_training=False)


@verdict.mistake(
    "the last loss is compared with the one before it. A rise that is over for the moment stays a rise: compare with the lowest loss."
)
def beside_the_last_but_one(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best, low=validation[-2] if len(validation) > 1 else validation[-1])


@verdict.mistake(
    "any rise is called overfitting. A training loss that is high itself shows that nothing was learned by heart: the rule has a second half."
)
def any_rise(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best, beside_training=False)


@verdict.mistake(
    "underfitting is asked for before overfitting. A run that rises ends high, so it never gets to its own rule: mind the order."
)
def in_another_order(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    order = ("target leakage", "underfitting", "overfitting")
    return _verdict(training, validation, unigram, best, order=order)


@verdict.mistake(
    "a quarter of the best count's loss is allowed for. The quarter is one of what counting gains, from the 1-gram to the best count."
)
def quarter_of_the_best(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best, owes=best / 4)


@verdict.mistake(
    "each run that beats the best count is accused of leakage. A good model may do that; the rule wants it far below."
)
def too_suspicious(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best, leak=1.0)


def _any_not_finite(losses: Sequence[float]) -> bool:
    return not all(map(math.isfinite, losses))


@verdict.mistake(
    "an infinite loss gets past your first rule. A nan is found by it, and infinity is none: both are asked for."
)
def only_nan(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best, diverged=any(map(math.isnan, [*training, *validation])))


@verdict.mistake("the first rule looks at the training losses alone. It asks for all losses of both lists.")
def only_training(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best, diverged=_any_not_finite(training))


@verdict.mistake("the first rule looks at the validation losses alone. It asks for all losses of both lists.")
def only_validation(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best, diverged=_any_not_finite(validation))


@verdict.mistake(
    "a run is accused of leakage where its lowest validation loss is below the line. The rule looks at the end of validation."
)
def leak_by_the_lowest(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    if not _any_not_finite([*training, *validation]) and min(validation) < 0.6 * best:
        return "target leakage"
    return _verdict(training, validation, unigram, best)


@verdict.mistake(
    "the second half of the overfitting rule compares the two ends. It compares the end of training with the lowest validation loss."
)
def beside_the_end(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    return _verdict(training, validation, unigram, best, beside_training=training[-1] >= validation[-1])


@verdict.mistake(
    "overfitting is asked for before leakage. Where both rules hold, the verdict is the one that comes first in the list: mind the order."
)
def leakage_too_late(training: Sequence[float], validation: Sequence[float], unigram: float, best: float) -> str:
    order = ("overfitting", "target leakage", "underfitting")
    return _verdict(training, validation, unigram, best, order=order)


fair_gap = Exercise(
    "09",
    "ten minutes",
    "fair_gap(loss, pieces, other_loss, other_pieces): two models on the same text, which each cuts into tokens of its own, two lists of strings. "
    "From their mean losses in nats per token, over all these tokens, to how many bits per character the other model is worse (below 0 if it "
    "is better).",
    hints=[
        "How many nats does the whole text cost the first model, if each of its tokens costs `loss` in the mean?",
        "Both texts have the same number of characters: nats of the whole text, divided by its characters, is a fair unit.",
        "A bit is math.log(2) nats, about 0.69: are there more bits than nats, or fewer? The other model's figure comes first in the difference.",
    ],
)


@fair_gap.cases
def _() -> Iterator[tuple[float, list[str], float, list[str]]]:
    yield 1.0, ["a", "b"], 3.0, ["ab"]
    yield 1.2, list("the lamp"), 2.6, ["the", " ", "lamp"]
    yield 3.0, ["露", "丝", "船", "长"], 5.0, ["露丝", "船长"]
    yield 2.0, ["Wr", "en", " ", "saw"], 1.5, list("Wren saw")
    yield 2.0, ["ha", "ha", "ha"], 0.75, list("hahaha")


def _per_character(loss: float, pieces: Sequence[str]) -> float:
    return loss * len(pieces) / len("".join(pieces)) / math.log(2)


@fair_gap.answer
def _(loss: float, pieces: Sequence[str], other_loss: float, other_pieces: Sequence[str]) -> float:
    return _per_character(other_loss, other_pieces) - _per_character(loss, pieces)


@fair_gap.mistake("that is the difference in nats. A bit is smaller than a nat, so there are more of them.")
def left_in_nats(loss: float, pieces: Sequence[str], other_loss: float, other_pieces: Sequence[str]) -> float:
    return (_per_character(other_loss, other_pieces) - _per_character(loss, pieces)) * math.log(2)


@fair_gap.mistake(
    "that is the difference per token, and the two models' tokens differ in length: it is not a fair unit."
)
def per_token(loss: float, pieces: Sequence[str], other_loss: float, other_pieces: Sequence[str]) -> float:
    return (other_loss - loss) / math.log(2)


@fair_gap.mistake("the sign is wrong: where the other model is worse, the number must be above 0.")
def wrong_way_round(loss: float, pieces: Sequence[str], other_loss: float, other_pieces: Sequence[str]) -> float:
    return _per_character(loss, pieces) - _per_character(other_loss, other_pieces)


@fair_gap.mistake(
    "you multiply by ln 2 where you should divide: a bit is the smaller unit, so the number of bits is the larger one."
)
def bits_the_wrong_way(loss: float, pieces: Sequence[str], other_loss: float, other_pieces: Sequence[str]) -> float:
    return (_per_character(other_loss, other_pieces) - _per_character(loss, pieces)) * math.log(2) ** 2


@fair_gap.mistake(
    "that is a mean over the pieces of 1 / length. A long piece holds more of the text's characters than a short one, so the pieces "
    "don't count alike: take the sum over the whole text first."
)
def mean_of_ratios(loss: float, pieces: Sequence[str], other_loss: float, other_pieces: Sequence[str]) -> float:
    mine, others = (sum(1 / len(piece) for piece in cut) / len(cut) for cut in (pieces, other_pieces))
    return (other_loss * others - loss * mine) / math.log(2)


@fair_gap.mistake("you divide by bytes: a Chinese character has three of them in UTF-8, and characters are asked for.")
def per_byte(loss: float, pieces: Sequence[str], other_loss: float, other_pieces: Sequence[str]) -> float:
    nats = other_loss * len(other_pieces) - loss * len(pieces)
    return nats / len("".join(pieces).encode()) / math.log(2)


@fair_gap.mistake(
    "that is the difference of the two losses as they are, in nats per token. The two models' tokens differ in length, so this is no fair unit, "
    "and bits are asked for."
)
def as_they_are(loss: float, pieces: Sequence[str], other_loss: float, other_pieces: Sequence[str]) -> float:
    return other_loss - loss


@fair_gap.mistake(
    "a character that comes again is not counted again. The length of the text is the number of all its characters."
)
def each_character_once(loss: float, pieces: Sequence[str], other_loss: float, other_pieces: Sequence[str]) -> float:
    nats = other_loss * len(other_pieces) - loss * len(pieces)
    return nats / len(set("".join(pieces))) / math.log(2)


language_entropy = Exercise(
    "09",
    "ten minutes",
    "language_entropy(words, chances): the entropy in nats per character of a language that draws its words independently with these chances "
    "(each above 0, together 1). Each string holds a word with the space that ends it, such as 'tick ', and the space counts as a character.",
    hints=[
        "How surprising is a word of chance p, in nats? That is -math.log(p). And how surprising is a word in the mean, if likely words come more often?",
        "How many characters does a word bring in the mean? A long word that is seldom drawn adds little.",
        "In a long text both sums grow with the number of words: mean surprise of a word, divided by mean length of a word.",
    ],
)


@language_entropy.cases
def _() -> Iterator[tuple[list[str], list[float]]]:
    yield ["a ", "b "], [0.5, 0.5]
    yield ["tick ", "tock ", "bell ", "wind "], [0.5, 0.25, 0.125, 0.125]
    yield ["no ", "never "], [0.75, 0.25]
    yield ["tick "], [1.0]


@language_entropy.answer
def _(words: Sequence[str], chances: Sequence[float]) -> float:
    length = sum(p * len(word) for word, p in zip(words, chances, strict=True))
    return -sum(p * math.log(p) for p in chances) / length


def _surprise(chances: Sequence[float]) -> float:
    return -sum(p * math.log(p) for p in chances)


@language_entropy.mistake("that is the entropy of a word. It is spread over the characters of that word.")
def per_word(words: Sequence[str], chances: Sequence[float]) -> float:
    return _surprise(chances)


@language_entropy.mistake("that is in bits, and nats are asked for: the natural logarithm.")
def counted_in_bits(words: Sequence[str], chances: Sequence[float]) -> float:
    return _surprise(chances) / math.log(2) / sum(p * len(word) for word, p in zip(words, chances, strict=True))


@language_entropy.mistake(
    "the mean length takes all words alike. In a text the likely words come more often, so their lengths count more."
)
def plain_length(words: Sequence[str], chances: Sequence[float]) -> float:
    return _surprise(chances) * len(words) / sum(map(len, words))


@language_entropy.mistake(
    "the surprises are averaged as if all words came equally often. A likely word has little surprise, and comes often."
)
def plain_surprise(words: Sequence[str], chances: Sequence[float]) -> float:
    length = sum(p * len(word) for word, p in zip(words, chances, strict=True))
    return -sum(map(math.log, chances)) / len(chances) / length


@language_entropy.mistake(
    "that is a mean of each word's own surprise per character. Per character of the text, a long word counts more than a short one: "
    "divide the one mean by the other."
)
def mean_of_quotients(words: Sequence[str], chances: Sequence[float]) -> float:
    return -sum(p * math.log(p) / len(word) for word, p in zip(words, chances, strict=True))


@language_entropy.mistake(
    "the space is left out of the length. It is a character, and the model has to predict it too."
)
def without_the_space(words: Sequence[str], chances: Sequence[float]) -> float:
    return _surprise(chances) / sum(p * len(word.strip()) for word, p in zip(words, chances, strict=True))


@language_entropy.mistake(
    "the space is counted twice. Look at the strings that are given: each has its space at the end already."
)
def space_counted_twice(words: Sequence[str], chances: Sequence[float]) -> float:
    return _surprise(chances) / sum(p * (len(word) + 1) for word, p in zip(words, chances, strict=True))


@language_entropy.mistake(
    "you divide by 5, as section 10 does. There every word has five characters with its space; here the words differ in length."
)
def always_five(words: Sequence[str], chances: Sequence[float]) -> float:
    return _surprise(chances) / 5


two_parts = Exercise(
    "09",
    "ten minutes",
    "two_parts(ids, T, every): cut ids (N,) into windows of T ids, and give two tensors, the training windows (A, T) and the validation windows "
    "(B, T): the last window of each `every` windows is for validation, all others are for training, each in the order of the text. No place "
    "of ids may belong to two windows. The first window begins at the first id, no id is skipped, and what is too short for a window at the end "
    "is left out.",
    hints=[
        "Take ids = torch.arange(12), T = 3 and every = 2. Which numbers stand in a validation window, and which of them in a training window too?",
        "Print the first four windows. Where does the second one begin, and where has the first one ended?",
        "The third argument of unfold says how far it is from the beginning of one window to that of the next.",
    ],
    planted=True,
)


@two_parts.cases
def _() -> Iterator[tuple[Tensor, int, int]]:
    yield torch.arange(12), 3, 2
    yield torch.arange(10, 31), 4, 3
    yield torch.randint(60, (43,), generator=torch.Generator().manual_seed(0)), 5, 4
    yield torch.arange(20), 3, 4


def _parts(ids: Tensor, T: int, every: int, step: int | None = None) -> tuple[Tensor, Tensor]:
    windows = ids.unfold(0, T, T if step is None else step)
    held = torch.arange(len(windows)) % every == every - 1
    return windows[~held], windows[held]


two_parts.answer(_parts)


def _shared(got: Any) -> str:
    training, held = (set(torch.as_tensor(part).flatten().tolist()) for part in got)
    return f"{len(held & training)} of the {len(held)} different ids of the validation windows"


@two_parts.mistake(
    lambda got: (
        f"{_shared(got)} stand in the training windows too, and none should. "
        "Take the first validation window, and look for its ids in the windows beside it."
    )
)
def as_planted(ids: Tensor, T: int, every: int) -> tuple[Tensor, Tensor]:
    return _parts(ids, T, every, step=1)


@two_parts.mistake(
    lambda got: (
        "the validation windows are apart from each other now, but not from the training windows: "
        f"{_shared(got)} stand in these too."
    )
)
def only_validation_apart(ids: Tensor, T: int, every: int) -> tuple[Tensor, Tensor]:
    windows, held = ids.unfold(0, T, 1), _parts(ids, T, every)[1]
    starts = torch.arange(len(windows))
    return windows[(starts % T != 0) | (starts // T % every != every - 1)], held


@two_parts.mistake("neighbouring windows still share one id: the last of one is the first of the next.")
def shares_one(ids: Tensor, T: int, every: int) -> tuple[Tensor, Tensor]:
    return _parts(ids, T, every, step=T - 1)


@two_parts.mistake("now ids are lost: one between each window and the next stands in no window.")
def leaves_gaps(ids: Tensor, T: int, every: int) -> tuple[Tensor, Tensor]:
    return _parts(ids, T, every, step=T + 1)


@two_parts.mistake(
    "the parts are apart, but the validation windows all come from the end of the text. "
    "Section 2 shows what that can do: take the last window of each group."
)
def holds_out_the_tail(ids: Tensor, T: int, every: int) -> tuple[Tensor, Tensor]:
    windows = ids.unfold(0, T, T)
    kept = len(windows) - len(windows) // every
    return windows[:kept], windows[kept:]


@two_parts.mistake("the first window of each group is held out, and it should be the last one.")
def holds_out_the_first(ids: Tensor, T: int, every: int) -> tuple[Tensor, Tensor]:
    windows = ids.unfold(0, T, T)
    held = torch.arange(len(windows)) % every == 0
    return windows[~held], windows[held]


@two_parts.mistake(
    "a window begins each `every` ids. But `every` counts windows, and says which of them is held out: how many ids long is a window?"
)
def steps_by_every(ids: Tensor, T: int, every: int) -> tuple[Tensor, Tensor]:
    return _parts(ids, T, every, step=every)


@two_parts.mistake("the two parts are given in the wrong order: the training windows come first.")
def validation_first(ids: Tensor, T: int, every: int) -> tuple[Tensor, Tensor]:
    training, held = _parts(ids, T, every)
    return held, training
