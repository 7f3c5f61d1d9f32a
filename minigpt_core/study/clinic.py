"""Why is my validation loss high? A run is examined beside what counting reaches on the same text.

The limits are rules of thumb, settled on the recorded runs of this book and on its shipped models, where each is at some
distance from every run whose state is known (tests/test_clinic.py lists them). Most are a share of a loss, or of what
counting gains on the same text, since a nat means one thing for letters and another for words. Three are in nats: a first
loss may lie half a nat above ln V; and two small differences count for nothing, a tenth of a nat below the best count and a
twentieth above a share of its gain.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral, Real

import torch
from torch import Tensor

from ..data import check_ids
from .counting import ngram_probabilities

PIECE = 50  # tokens: so long that in a story hardly two are the same
LONGEST = 9  # tokens: counting longer runs gains less than a hundredth of a nat on this book's texts
COUNTED = 2_000_000  # tokens of each part are counted at most: half a minute, and less than 2 GB
BEST = "best count"


@dataclass(frozen=True)
class Finding:
    """One thing that was found: what is seen, what it probably means, what to try."""

    name: str
    symptom: str
    diagnosis: str
    cure: str


@dataclass(frozen=True)
class Report:
    """The file of a run: the reference lines of its text, where the run ended, and the findings, gravest first."""

    references: dict[str, float]  # nats per token
    best_order: int  # of the best count: 9 for 9-grams
    training_end: float  # mean of the last twentieth of the steps
    validation_end: float
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """One line: the names of the findings."""
        return ", ".join(finding.name for finding in self.findings)

    def __str__(self) -> str:
        ladder = ", ".join(f"{name} {loss:.2f}" for name, loss in self.references.items())
        lines = [
            f"Verdict: {self.verdict}",
            f"Reference lines (nats per token): {ladder} ({self.best_order}-gram)",
            f"The run ended at a training loss of {self.training_end:.2f}, a validation loss of {self.validation_end:.2f}",
        ]
        for finding in self.findings:
            lines += ["", f"- {finding.symptom}", f"  It means: {finding.diagnosis}", f"  Try: {finding.cure}"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Run:
    """All that the examination looks at."""

    training: Sequence[float]  # of steps 1, 2, 3 and so on
    validation: Mapping[int, float]  # by step
    train_ids: Tensor
    val_ids: Tensor
    references: dict[str, float]
    split: str | None  # "documents", "blocks", "tail"; None: not known
    dropout: float | None  # None: not known

    @property
    def steps(self) -> list[int]:
        return sorted(self.validation)

    @property
    def held_out(self) -> list[float]:
        return [self.validation[step] for step in self.steps]

    @property
    def training_end(self) -> float:
        tail = self.training[-max(2, len(self.training) // 20) :]
        return sum(tail) / len(tail)

    @property
    def validation_end(self) -> float:
        return self.held_out[-1]

    @property
    def best(self) -> float:
        return min(self.references.values())

    @property
    def gain(self) -> float:
        """How much lower the best count is than the 1-gram: what there is to be learned by counting alone."""
        return max(0.0, self.references["1-gram"] - self.best)

    @property
    def spread(self) -> bool:
        """Whether the split is known to take its parts from all over the text."""
        return self.split in ("documents", "blocks")


def examine(
    training: Sequence[float],
    validation: Mapping[int, float],
    train_ids: Tensor,
    val_ids: Tensor,
    vocab_size: int,
    *,
    split: str | None = None,
    dropout: float | None = None,
) -> Report:
    """Examine a run from its losses in nats per token, `training` at steps 1, 2, 3 and so on, `validation` at some of these
    steps, and the ids (N,) of both parts of its text. Works for any program's run. `split` and `dropout` say what was
    already done, where that is known, so that it is not advised again.

    The last reference line is the best count: the best of the n-grams of up to 9 tokens by modified Kneser-Ney smoothing,
    on the first two million tokens of each part. What cannot be examined is a `ValueError`.

    >>> report = examine([4.1, 3.0, 2.4], {3: 2.5}, train_ids, val_ids, 60)             # doctest: +SKIP
    >>> report.verdict                                                                  # doctest: +SKIP
    'undertrained'
    """
    _check(training, validation, train_ids, val_ids, vocab_size)
    references, order = _references(train_ids, val_ids, vocab_size)
    run = Run(training, validation, train_ids, val_ids, references, split, dropout)
    found = [finding for cause in CAUSES if (finding := cause(run))]
    if found and found[0].name == "diverged":
        del found[1:]  # numbers that are none say nothing else
    elif not found:
        found = [next(finding for level in LEVELS if (finding := level(run)))]
    return Report(references, order, run.training_end, run.validation_end, tuple(found))


def _check(
    training: Sequence[float], validation: Mapping[int, float], train_ids: Tensor, val_ids: Tensor, vocab_size: int
) -> None:
    if len(training) < 2 or not validation:
        raise ValueError("a run needs at least two training losses and one validation loss to be examined")
    for loss in (*training, *validation.values()):
        if isinstance(loss, bool) or not isinstance(loss, Real):
            raise ValueError(f"a loss is {loss!r}: it must be a number, in nats per token")
    for step in validation:
        if isinstance(step, bool) or not isinstance(step, Integral) or not 1 <= step <= len(training):
            raise ValueError(
                f"there is a validation loss of step {step!r}, but training losses of steps 1 to {len(training)}: "
                "examine needs the training loss of each step, and validation losses of some of these steps"
            )
    check_ids("train_ids", train_ids, vocab_size)
    check_ids("val_ids", val_ids, vocab_size)


def _references(train_ids: Tensor, val_ids: Tensor, vocab_size: int) -> tuple[dict[str, float], int]:
    """The losses of blind guessing and of counting, the strongest count last, and its order."""
    probabilities = ngram_probabilities(train_ids[:COUNTED], val_ids[:COUNTED], LONGEST, vocab_size)
    losses = (-probabilities.log().mean(dim=1)).tolist()
    best = min(losses)
    shown = {f"{n}-gram": losses[n - 1] for n in (1, 2, 3, 5)}
    return {"ln V": math.log(vocab_size), **shown, BEST: best}, losses.index(best) + 1


# What may be wrong with a run, gravest first. More than one may be found.


def diverged(run: Run) -> Finding | None:
    if all(map(math.isfinite, [*run.training, *run.held_out])):
        return None
    return Finding(
        "diverged",
        "A loss is infinite or no number.",
        "The steps were so long that the weights ran away; or, if the losses before were sound, a batch had no target (0/0).",
        "a lower learning rate, a longer warm-up.",
    )


def distribution_shift(run: Run) -> Finding | None:
    """By the estimate of Good and Turing, new tokens have together about the share n1 / N of what comes next, n1 being how
    many tokens occur once among the N learned from (Good 1953, The population frequencies of species). New characters come
    in clusters, so that a part held out of this book's texts has up to 2.6 times as many."""
    unseen = 1 - torch.isin(run.val_ids, run.train_ids).float().mean().item()
    once = (torch.unique(run.train_ids, return_counts=True)[1] == 1).sum().item()
    expected = once / len(run.train_ids)
    if unseen <= 0.01 + 3 * expected:
        return None
    return Finding(
        "distribution shift",
        f"{unseen:.1%} of the held-out tokens never occur in the training part, where {expected:.1%} would be usual.",
        "The two parts are of different kinds, and no training can close that gap.",
        "more text of each kind that it holds: the parts already come from all over it."
        if run.spread
        else 'hold out pieces from all over the text: how="documents", or how="blocks" if it has no end marks.',
    )


def data_leakage(run: Run) -> Finding | None:
    copies = stands_in(run.val_ids, run.train_ids)
    if copies <= 0.3:  # none of this book's texts has 0.001
        return None
    return Finding(
        "data leakage",
        f"{copies:.0%} of the held-out pieces of {PIECE} tokens stand word for word in the training part.",
        "The text repeats itself. Who recites it does well on both parts, so a low validation loss means nothing.",
        "a text without the copies, or with all copies of a piece in the same part.",
    )


def initial_weights_too_large(run: Run) -> Finding | None:
    if run.training[0] <= run.references["ln V"] + 0.5:  # as if the logits had a standard deviation of 1
        return None
    return Finding(
        "initial weights too large",
        f"The first loss is {run.training[0]:.2f}, blind guessing is {run.references['ln V']:.2f}.",
        "The model is sure from the start, and wrong: it begins with strong opinions.",
        "smaller initial weights, such as N(0, 0.02).",
    )


def target_leakage(run: Run) -> Finding | None:
    if run.validation_end >= 0.6 * run.best or run.best - run.validation_end <= 0.1:
        return None
    return Finding(
        "target leakage",
        f"It ends at {run.validation_end:.2f}, the best count at {run.best:.2f}: too good to be true.",
        "The model probably sees the answer: a mask that leaks, targets that are not moved on, or text that is in both parts.",
        "change one late token and see whether an earlier prediction moves (chapter 06); compare x with y.",
    )


def overfitting(run: Run) -> Finding | None:
    low, end = min(run.held_out), run.training_end
    if run.validation_end <= 1.03 * low or end >= low:
        return None
    at = run.steps[run.held_out.index(low)]
    return Finding(
        "overfitting",
        f"Validation was lowest, {low:.2f}, at step {at} and rose to {run.validation_end:.2f}; training went down to {end:.2f}.",
        "The model is large for this text, and learns it by heart.",
        f"more text; a smaller model; {_dropout_advice(run)}; or stop at step {at}.",
    )


def overfitting_begins(run: Run) -> Finding | None:
    if run.training_end >= 0.7 * run.validation_end or overfitting(run):
        return None
    return Finding(
        "overfitting begins",
        f"Training ends at {run.training_end:.2f}, validation at {run.validation_end:.2f}: a wide gap, though no rise.",
        "The model begins to learn its text by heart" + ("." if run.spread else ", or the parts differ."),
        f"more text; {_dropout_advice(run)}; fewer steps"
        + ("." if run.spread else "; another split, to see whether the gap stays."),
    )


def noisy_validation_loss(run: Run) -> Finding | None:
    held = run.held_out
    jumps = sorted(abs(b - a) for a, b in pairwise(held))
    turns = sum((b - a) * (c - b) < 0 for a, b, c in zip(held, held[1:], held[2:], strict=False))
    if len(held) < 6 or turns <= len(held) / 2 or jumps[len(jumps) // 2] <= 0.015 * held[-1]:
        return None
    return Finding(
        "noisy validation loss",
        f"Validation goes up and down by about {jumps[len(jumps) // 2]:.2f} from one time to the next.",
        "It is measured on too little text, or the learning rate is too high.",
        "measure on the whole held-out part; if it was, a lower learning rate.",
    )


CAUSES = (
    diverged,
    distribution_shift,
    data_leakage,
    target_leakage,
    initial_weights_too_large,
    overfitting,
    overfitting_begins,
    noisy_validation_loss,
)


# How far a run has come in which none of that was found: the first that holds, and the last always does.


def stalled(run: Run) -> Finding | None:
    """A run that is no better than counting pairs has to fall faster than one that is past them and learns slowly."""
    past_pairs = run.validation_end < run.references["2-gram"]
    if not _owes(run, 1 / 2) or _fell(run) > (0.05 if past_pairs else 0.115) * run.gain:
        return None
    return Finding(
        "stalled",
        f"{_less_than('half', run)}, and training fell by no more than {_fell(run):.2f} in the last four fifths of the steps.",
        "The steps are too long or too short, the model is far too small, or something in it is broken.",
        "another learning rate first, tenfold up and down; then a batch learned by heart (chapter 08).",
    )


def undertrained(run: Run) -> Finding | None:
    if not _owes(run, 1 / 2) or stalled(run):
        return None
    return Finding(
        "undertrained",
        f"{_less_than('half', run)}, and training still fell by {_fell(run):.2f} in the last four fifths of the steps.",
        "The run was stopped too early, or each step was too small.",
        "more steps; a higher learning rate.",
    )


def underfitting(run: Run) -> Finding | None:
    if not _owes(run, 1 / 4) or _owes(run, 1 / 2):
        return None
    return Finding(
        "underfitting",
        f"{_less_than('three quarters', run)}.",
        "The model is too small and cannot hold more, or it has not had the time.",
        ("less dropout; " if run.dropout else "") + "more steps; then a wider or deeper model.",
    )


def validation_below_training(run: Run) -> Finding | None:
    if run.training_end <= 1.07 * run.validation_end:
        return None
    if run.dropout is None:
        diagnosis = "Usual with dropout, which is on in training only; without dropout the held-out part is easier."
        cure = "nothing, if there is dropout; otherwise another split."
    elif run.dropout:
        diagnosis, cure = "Usual: dropout is on in training only.", "nothing."
    else:
        diagnosis, cure = "There is no dropout, so the held-out part is easier than the rest.", "another split."
    return Finding(
        "validation below training",
        f"Training ends {run.training_end - run.validation_end:.2f} above validation.",
        diagnosis,
        cure,
    )


def healthy(run: Run) -> Finding:
    held = run.validation_end
    beats = [name for name, loss in run.references.items() if held < loss]
    loses = f", and loses to the best count by {held - run.best:.2f}" if BEST not in beats else ""
    return Finding(
        "healthy",
        f"It ends at {held:.2f}, and beats {', '.join(beats) or 'no reference line'}{loses}.",
        "A sound run that could go on." if loses else "It knows more of the text than counting can.",
        "more steps, a wider model, more text, in this order.",
    )


LEVELS = (stalled, undertrained, underfitting, validation_below_training, healthy)
NAMES = tuple(rule.__name__.replace("_", " ") for rule in (*CAUSES, *LEVELS))  # of all that may be found


def _owes(run: Run, share: float) -> bool:
    """Whether the run misses more than that share of what counting gains; a twentieth of a nat is no miss."""
    return run.validation_end > run.best + max(share * run.gain, 0.05)


def _less_than(share: str, run: Run) -> str:
    return (
        f"It ends at {run.validation_end:.2f}, and has learned less than {share} of what counting gains from the 1-gram "
        f"({run.references['1-gram']:.2f}) to the best count ({run.best:.2f})"
    )


def _fell(run: Run) -> float:
    """How far the training loss fell in the last four fifths of the steps; each end is a mean over a tenth of them."""
    n = len(run.training)
    part = max(1, n // 10)
    return sum(run.training[n // 5 : n // 5 + part]) / part - sum(run.training[-part:]) / part


def _dropout_advice(run: Run) -> str:
    return "more dropout" if run.dropout else "dropout"


def stands_in(ids: Tensor, source: Tensor) -> float:
    """The share of the pieces of `ids` (N,) that stand word for word in `source` (M,), each piece as one 64-bit number."""
    factors = torch.randint(2**62, (PIECE,), generator=torch.Generator().manual_seed(0))
    if len(ids) < PIECE or len(source) < PIECE:
        return 0.0
    pieces, known = (
        sum(part[i : len(part) - PIECE + 1 + i] * factor for i, factor in enumerate(factors))  # wraps around
        for part in (ids.cpu().long(), source.cpu().long())
    )
    return torch.isin(pieces, known).float().mean().item()
