"""Chapter 11."""

from difflib import SequenceMatcher

import numpy as np
import torch

from minigpt_core import longest_copied
from minigpt_core.sampling import penalize


def loop_by_comparing(ids):
    for n in range(1, len(ids)):
        alike = 0
        while alike + n < len(ids) and ids[-1 - alike] == ids[-1 - alike - n]:
            alike += 1
        if alike >= n:
            return [n, alike // n + 1]
    return [0, 0]


def loop_by_multiplying(ids):
    for n in range(1, len(ids) // 2 + 1):
        times = max(k for k in range(1, len(ids) // n + 1) if ids[-k * n :] == ids[-n:] * k)
        if times > 1:
            return torch.tensor([n, times])
    return torch.zeros(2)


def sight_by_lists(length, n, window):
    seen, tokens = [], list(range(length))[-window:]
    for i in range(n):
        seen.append(len(tokens))
        tokens.append(length + i)
        if len(tokens) > window:
            tokens = tokens[-(window // 2) :]
    return seen


def sight_by_remainder(length, n, window):
    half, length = window // 2, min(length, window)
    return np.array(
        [i + length if i + length <= window else half + (i + length - half) % (window - half + 1) for i in range(n)]
    )


def score_by_loop(shares, period):
    found = [shares[t][t - period + 1].item() for t in range(period, len(shares))]
    return sum(found) / len(found)


def score_by_indices(shares, period):
    t = np.arange(period, len(shares))
    return shares.numpy()[t, t - period + 1].mean()


def score_by_mask(shares, period):
    t, s = torch.meshgrid(torch.arange(len(shares)), torch.arange(len(shares)), indexing="ij")
    return shares.double()[(s == t - period + 1) & (t >= period)].mean()


def span_by_table(ids, source):
    best, before = 0, [0] * (len(source) + 1)
    for i in ids:
        row = [0] + [before[j] + 1 if i == other else 0 for j, other in enumerate(source)]
        best, before = max(best, *row), row
    return best


def span_by_difflib(ids, source):
    return SequenceMatcher(None, ids, source, autojunk=False).find_longest_match().size


def span_by_the_package(ids, source):
    return len(longest_copied("".join(map(chr, ids)), "".join(map(chr, source))))


def penalised_by_loop(logits, written, frequency, presence):
    z = logits.tolist()
    for i in written:
        z[i] -= frequency
    return [value - presence if i in written else value for i, value in enumerate(z)]


def penalised_in_place(logits, written, frequency, presence):
    for i in range(len(logits)):
        if i in written:
            logits[i] -= written.count(i) * frequency + presence
    return logits


def penalised_by_the_package(logits, written, frequency, presence):
    return penalize(logits[None].double(), torch.tensor([written]).long(), frequency, presence)[0]


def forbidden_by_trying(ids, n):
    def stands(run):
        return any(ids[i : i + n] == run for i in range(len(ids) - n + 1))

    return [i for i in sorted(set(ids)) if stands([*ids, i][-n:])]


def forbidden_by_table(ids, n):
    followed = {}
    for *past, last in zip(*(ids[i:] for i in range(n)), strict=False):
        followed.setdefault(tuple(past), []).append(last)
    return followed.get(tuple(ids[len(ids) + 1 - n :]), [])


def repetition_by_loop(logits, written, penalty):
    return [z if i not in written else z / penalty if z > 0 else z * penalty for i, z in enumerate(logits.tolist())]


def repetition_by_the_smaller(logits, written, penalty):
    seen = sorted(set(written))
    logits[seen] = torch.minimum(logits[seen] / penalty, logits[seen] * penalty)
    return logits


def repetition_by_gathering(logits, written, penalty):  # as transformers does
    ids = torch.tensor(written, dtype=torch.long)
    z = logits.gather(0, ids)
    return logits.scatter(0, ids, torch.where(z < 0, z * penalty, z / penalty))


RIGHT = {
    "loop_at_end": [loop_by_comparing, loop_by_multiplying],
    "in_sight": [sight_by_lists, sight_by_remainder],
    "copying_score": [score_by_loop, score_by_indices, score_by_mask],
    "copied_span": [span_by_table, span_by_difflib, span_by_the_package],
    "penalised": [penalised_by_loop, penalised_in_place, penalised_by_the_package],
    "forbidden_next": [forbidden_by_trying, forbidden_by_table],
    "repetition_penalty": [repetition_by_loop, repetition_by_the_smaller, repetition_by_gathering],
}
