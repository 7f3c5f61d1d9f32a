"""Why is my validation loss high? A run is examined beside what counting reaches on the same text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .counting import ngram_loss

PIECE = 50  # tokens: so long that in a story hardly two are the same


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
            f"Reference lines (nats per token): {ladder}",
            f"The run ended at {self.training_end:.2f} in training, {self.validation_end:.2f} held back",
        ]
        for finding in self.findings:
            lines += ["", f"- {finding.symptom}", f"  It means: {finding.diagnosis}", f"  Try: {finding.cure}"]
        return "\n".join(lines)


def examine(
    training: Sequence[float], validation: Mapping[int, float], train_ids: Tensor, val_ids: Tensor, vocab_size: int
) -> Report:
    """Examine a run from its losses in nats per token, `training` at steps 1, 2, 3 and so on, `validation` at some steps,
    and the ids (N,) of both parts of its text. Works for any program's run. The limits are rules of thumb, measured on
    the runs of this book (chapter 08).

    >>> report = examine([4.1, 3.0, 2.4], {3: 2.5}, train_ids, val_ids, 60)             # doctest: +SKIP
    >>> report.verdict                                                                  # doctest: +SKIP
    'too short'
    """
    if len(training) < 2 or not validation:
        raise ValueError("a run needs at least two training losses and one validation loss to be examined")
    orders = [n for n in (1, 2, 3, 5) if vocab_size**n < 2**63]
    references = {"ln V": math.log(vocab_size)}
    references |= {f"{n}-gram": ngram_loss(train_ids, val_ids, n, vocab_size) for n in orders}
    best = min(references.values())
    tail = training[-max(2, len(training) // 20) :]
    end = sum(tail) / len(tail)
    steps = sorted(validation)
    held = [validation[step] for step in steps]
    found = []

    def find(name: str, symptom: str, diagnosis: str, cure: str) -> None:
        found.append(Finding(name, symptom, diagnosis, cure))

    unseen = 1 - torch.isin(val_ids, train_ids).float().mean().item()
    if not all(map(math.isfinite, [*training, *held])):
        find(
            "diverged",
            "A loss is infinite or no number.",
            "The steps were so long that the weights ran away.",
            "a lower learning rate, a longer warm-up.",
        )
        return Report(references, end, held[-1], tuple(found))
    if unseen > 0.01:
        find(
            "strange validation part",
            f"{unseen:.0%} of the tokens held back never occur in the part learned from.",
            "The two parts are of different kinds, and no training can close that gap.",
            'a split by blocks from all over the text: split_text(text, "blocks").',
        )
    copies = _stands_in(val_ids, train_ids)
    if copies > 0.3:  # none of this book's texts has 0.001
        find(
            "copies held back",
            f"{copies:.0%} of the pieces of {PIECE} tokens held back stand word for word in the part learned from.",
            "The text repeats itself. Who recites it does well on both parts, so a low validation loss means nothing.",
            "a text without the copies, or with all copies of a piece in the same part.",
        )
    if training[0] > references["ln V"] + 0.5:
        find(
            "sure from the start",
            f"The first loss is {training[0]:.2f}, blind guessing is {references['ln V']:.2f}.",
            "The starting weights are too large: the model begins with strong and wrong opinions.",
            "smaller starting weights, such as N(0, 0.02).",
        )
    if held[-1] < 0.6 * best and best - held[-1] > 0.1:
        find(
            "too good to be true",
            f"It ends at {held[-1]:.2f}, the best count at {best:.2f}.",
            "The answer is probably visible: a mask that leaks, targets that are not moved on, or text that is in both parts.",
            "change one late token and see whether an earlier prediction moves (chapter 05); compare x with y.",
        )
    low = min(held)
    if held[-1] > low + 0.05 and end < low:
        at = steps[held.index(low)]
        find(
            "learned by heart",
            f"Validation was lowest, {low:.2f}, at step {at} and rose to {held[-1]:.2f}; training went down to {end:.2f}.",
            "The model is large for this text, and recites it.",
            f"more text; a smaller model; dropout; or stop at step {at}.",
        )
    elif held[-1] - end > 0.3:
        find(
            "parting",
            f"Validation ends {held[-1] - end:.2f} above training.",
            "It has begun to learn by heart, or the parts differ.",
            "more text, dropout, fewer steps; another split, to see whether the gap stays.",
        )
    jumps = [abs(b - a) for a, b in pairwise(held)]
    turns = sum((b - a) * (c - b) < 0 for a, b, c in zip(held, held[1:], held[2:], strict=False))
    if len(held) >= 6 and turns > len(held) / 2 and sorted(jumps)[len(jumps) // 2] > 0.02:
        find(
            "shaky measurement",
            f"Validation goes up and down by about {sorted(jumps)[len(jumps) // 2]:.2f} from one time to the next.",
            "It is measured on too little text, or the learning rate is too high.",
            "measure on all that is held back: evaluate(model, val_ids).",
        )
    if end - held[-1] > 0.1 and held[-1] >= 0.6 * best:
        find(
            "dropout at work",
            f"Training ends {end - held[-1]:.2f} above validation.",
            "Usual with dropout, which is on in training only; without dropout the part held back is easier.",
            "nothing, if there is dropout; otherwise another split.",
        )
    later = training[len(training) // 4 :]
    part = max(1, len(later) // 6)
    fell = sum(later[:part]) / part - sum(later[-part:]) / part  # after the first quarter of the run
    pairs = references.get("2-gram", best)
    if held[-1] > 0.95 * pairs and not found:
        if fell > 0.15:
            find(
                "too short",
                f"It ends at {held[-1]:.2f}, no better than counting pairs ({pairs:.2f}), after falling to the end.",
                "The run was stopped too early, or each step was too small.",
                "more steps; a higher learning rate.",
            )
        else:
            find(
                "stuck",
                f"It ends at {held[-1]:.2f}, no better than counting pairs ({pairs:.2f}), and hardly fell any more.",
                "The steps are too long or too short, the model is far too small, or something in it is broken.",
                "another learning rate first, tenfold up and down; then a batch learned by heart (chapter 07).",
            )
    elif held[-1] > best + 0.3 and not found:
        find(
            "too small or too short",
            f"Both lines end together, {held[-1] - best:.2f} above the best count.",
            "The model cannot hold more, or has not had the time.",
            "more steps; then a wider or deeper model.",
        )
    if not found:
        beats = [name for name, loss in references.items() if held[-1] < loss]
        find(
            "healthy",
            f"The lines stay together, and it beats {', '.join(beats)}.",
            "It has learned what is there to be learned at its size."
            if held[-1] < best
            else "A sound run that could go on.",
            "more steps, a wider model, more text, in this order.",
        )
    return Report(references, end, held[-1], tuple(found))


def _stands_in(ids: Tensor, source: Tensor) -> float:
    """The share of the pieces of `ids` (N,) that stand word for word in `source` (M,), each piece as one 64-bit number."""
    factors = torch.randint(2**62, (PIECE,), generator=torch.Generator().manual_seed(0))
    if len(ids) < PIECE or len(source) < PIECE:
        return 0.0
    pieces, known = (
        sum(part[i : len(part) - PIECE + 1 + i] * factor for i, factor in enumerate(factors))  # wraps around
        for part in (ids.cpu().long(), source.cpu().long())
    )
    return torch.isin(pieces, known).float().mean().item()
