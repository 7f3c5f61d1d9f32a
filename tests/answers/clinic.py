"""Chapter 09."""

import math

import numpy as np
import torch


def share_by_numpy(loss, unigram, best):
    return np.float32(loss - unigram) / np.float32(best - unigram)


def share_from_below(loss, unigram, best):
    return 1 - (loss - best) / (unigram - best)


def step_by_loop(validation, patience):
    best, since = None, 0
    for step in sorted(validation):
        if best is None or validation[step] < validation[best]:
            best, since = step, 0
            continue
        since += 1
        if since >= patience:
            break
    return best


def step_by_slices(validation, patience):
    steps, losses = torch.tensor(list(validation)), torch.tensor(list(validation.values()))
    for end in range(patience, len(losses)):
        if min(losses[end - patience + 1 : end + 1]) >= min(losses[: end - patience + 1]):
            return steps[losses[: end + 1].argmin()]
    return steps[losses.argmin()]


def step_by_recursion(validation, patience):
    steps = list(validation)
    first = 0
    while True:
        lower = [i for i in range(first + 1, len(steps)) if validation[steps[i]] < validation[steps[first]]]
        if not lower or lower[0] - first > patience:
            return np.int64(steps[first])
        first = lower[0]


def verdict_by_torch(training, validation, unigram, best):
    held = torch.tensor(validation)
    if not torch.isfinite(torch.tensor(training + validation)).all():
        return "diverged"
    end, low = held[-1], held.min()
    if end / best < 0.6:
        return "target leakage"
    if low * 1.03 < end and training[-1] < low:
        return "overfitting"
    return "underfitting" if (end - best) / (unigram - best) > 0.25 else "healthy"


def verdict_by_nan(training, validation, unigram, best):
    for loss in [*training, *validation]:
        if loss != loss or loss in (math.inf, -math.inf):
            return "diverged"
    *_, end = validation
    low = sorted(validation)[0]
    rules = {
        "target leakage": end < 0.6 * best,
        "overfitting": end > 1.03 * low > 1.03 * training[-1],
        "underfitting": unigram - end < 0.75 * (unigram - best),
        "healthy": True,
    }
    return next(name for name, holds in rules.items() if holds)


def verdict_by_the_last_that_holds(training, validation, unigram, best):
    end, low = validation[-1], np.min(validation)
    verdicts = [("healthy", True), ("underfitting", 4 * (end - best) > unigram - best)]
    verdicts.append(("overfitting", end / low > 1.03 and training[-1] - low < 0))
    verdicts.append(("target leakage", end < best * 3 / 5))
    verdicts.append(("diverged", not np.isfinite(np.concatenate([training, validation])).all()))
    return [name for name, holds in verdicts if holds][-1]


def gap_of_sums(loss, pieces, other_loss, other_pieces):
    nats = other_loss * len(other_pieces) - loss * len(pieces)
    return nats / sum(len(piece) for piece in pieces) * math.log2(math.e)


def gap_by_mean_lengths(loss, pieces, other_loss, other_pieces):
    lengths, others = (np.array([len(piece) for piece in cut]) for cut in (pieces, other_pieces))
    return (other_loss / others.mean() - loss / lengths.mean()) / np.log(2)


def entropy_by_torch(words, chances):
    p, lengths = torch.tensor(chances), torch.tensor([float(len(word)) for word in words])
    return torch.distributions.Categorical(p).entropy() / (p @ lengths)


def entropy_in_bits_first(words, chances):
    bits = characters = 0
    for word, p in zip(words, chances, strict=True):
        bits += p * math.log2(1 / p)
        characters += p * len(word)
    return bits * math.log(2) / characters


def parts_by_loop(ids, T, every):
    training, held = [], []
    for w in range(len(ids) // T):
        (held if (w + 1) % every == 0 else training).append(ids[w * T : (w + 1) * T].tolist())
    return [training, held]


def parts_by_numpy(ids, T, every):
    windows = ids.numpy()[: len(ids) // T * T].reshape(-1, T)
    held = windows[every - 1 :: every]
    return np.delete(windows, slice(every - 1, None, every), axis=0), held


def parts_by_lists_of_tensors(ids, T, every):
    windows = [w for w in ids.split(T) if len(w) == T]
    return [w for i, w in enumerate(windows) if i % every != every - 1], windows[every - 1 :: every]


RIGHT = {
    "learned_share": [share_by_numpy, share_from_below],
    "best_step": [step_by_loop, step_by_slices, step_by_recursion],
    "verdict": [verdict_by_torch, verdict_by_nan, verdict_by_the_last_that_holds],
    "fair_gap": [gap_of_sums, gap_by_mean_lengths],
    "language_entropy": [entropy_by_torch, entropy_in_bits_first],
    "two_parts": [parts_by_loop, parts_by_numpy, parts_by_lists_of_tensors],
}
