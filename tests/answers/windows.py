"""Chapter 02."""

import math
import re
from collections import defaultdict
from itertools import pairwise

import numpy as np
import torch

from minigpt_core.study.counting import ngram_probabilities

END = "<|endoftext|>"


def batch_in_lists(ids, starts, T):
    ids, x, y = ids.tolist(), [], []
    for start in starts.tolist():
        x.append(ids[start : start + T])
        y.append(ids[start + 1 : start + T + 1])
    return x, y


def batch_by_unfolding(ids, starts, T):
    windows = ids.unfold(0, T + 1, 1)[starts]
    return torch.stack([windows[:, :-1], windows[:, 1:]])


def documents_by_index(text, every):
    parts = ["", ""]
    for i, document in enumerate(re.findall(rf"(?s).*?{re.escape(END)}", text)):
        parts[(i + 1) % every == 0] += document
    return parts


def documents_by_slices(text, every):
    documents = text.split(END)[:-1]
    held = documents[every - 1 :: every]
    del documents[every - 1 :: every]
    return tuple("".join(document + END for document in part) for part in (documents, held))


def perplexity_in_numpy(losses, sizes):
    return np.exp(np.average(losses, weights=sizes))


def perplexity_as_a_product(losses, sizes):
    return math.prod(math.exp(loss) ** (size / sum(sizes)) for loss, size in zip(losses, sizes, strict=True))


def by_the_package(ids, before, V, smoothing):
    asked = [torch.tensor([before, w]) for w in range(V)]
    return [ngram_probabilities(torch.tensor(ids), pair, 2, V, smoothing)[-1, 1].item() for pair in asked]


def witten_bell_by_the_package(ids, before, V):
    return by_the_package(ids, before, V, "witten-bell")


def witten_bell_by_tables(ids, before, V):
    ids = torch.tensor(ids)
    one, pairs = torch.bincount(ids, minlength=V).double(), torch.zeros(V, V)
    for a, b in pairwise(ids):
        pairs[a, b] += 1
    k = (one > 0).sum()
    p = (one + k / V) / (one.sum() + k)
    row = pairs[before]
    k = (row > 0).sum()
    return (row + k * p) / (row.sum() + k) if k else p


def kneser_ney_by_the_package(ids, before, V, D):
    assert D == [0, 0.5, 1, 1.5]  # what the package falls back on for so short a text
    return by_the_package(ids, before, V, "kneser-ney")


def kneser_ney_by_tables(ids, before, V, D):
    pairs = np.zeros((V, V), dtype=int)
    for i in range(1, len(ids)):
        pairs[ids[i - 1], ids[i]] += 1

    def smoothed(counts, shorter):
        off = np.array(D)[counts.clip(max=3)]
        return (counts - off + off.sum() * shorter) / counts.sum() if counts.any() else shorter

    return smoothed(pairs[before], smoothed((pairs > 0).sum(0), 1 / V))


def windows_while_they_fit(ids, n_train, T):
    out, s = [], 0
    while s + T + 1 <= n_train:
        out.append(ids[s : s + T + 1])
        s += T
    return out


def windows_of_the_training_part(ids, n_train, T):
    return torch.tensor(ids[:n_train]).unfold(0, T + 1, T)


def windows_filtered(ids, n_train, T):
    found = defaultdict(list)
    for i, token in enumerate(ids[:n_train]):
        found[i // T].append(token)
        if i % T == 0 and i:
            found[i // T - 1].append(token)
    return [window for window in found.values() if len(window) == T + 1]


RIGHT = {
    "shifted_batch": [batch_in_lists, batch_by_unfolding],
    "split_documents": [documents_by_index, documents_by_slices],
    "perplexity_of": [perplexity_in_numpy, perplexity_as_a_product],
    "witten_bell": [witten_bell_by_the_package, witten_bell_by_tables],
    "kneser_ney": [kneser_ney_by_the_package, kneser_ney_by_tables],
    "training_windows": [windows_while_they_fit, windows_of_the_training_part, windows_filtered],
}
