"""Chapter 12."""

import itertools
import math

import numpy as np
import torch


def nearest_by_sorting(table, row, k):
    def cosine(i):
        a, b = table[i].tolist(), table[row].tolist()
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    return sorted((i for i in range(len(table)) if i != row), key=cosine, reverse=True)[:k]


def nearest_by_topk(table, row, k):
    rows = table / table.norm(dim=1, keepdim=True)
    cosines = rows @ rows[row]
    cosines[row] = -math.inf
    return cosines.topk(k).indices


def nearest_by_distance_on_the_sphere(table, row, k):
    table /= table.norm(dim=1, keepdim=True)
    others = torch.cat([torch.arange(row), torch.arange(row + 1, len(table))])
    return others[(table[others] - table[row]).norm(dim=1).argsort()][:k].int()


def cosines_in_numpy(table):
    rows = table.numpy().astype(np.float64)
    rows = rows - rows.mean(1)[:, None] - rows.mean(0) + rows.mean()
    lengths = np.sqrt((rows**2).sum(1))
    return rows @ rows.T / np.outer(lengths, lengths)


def cosines_by_correlation(table):
    return torch.corrcoef(table - table.mean(0))


def shown_by_eigenvalues(table, k):
    spread = torch.linalg.eigvalsh(torch.cov(table.T))
    return (spread.flip(0)[:k].sum() / spread.sum()).item()


def shown_by_projecting(table, k):
    rows = table.numpy() - table.numpy().mean(0)
    axes = np.linalg.svd(rows)[2]
    flat = rows @ axes[:k].T
    return (flat**2).sum() / (rows**2).sum()


def step_back_by_loop(shares, d):
    found = [shares[t][t - d].item() for t in range(d, len(shares))]
    return sum(found) / len(found)


def step_back_by_places(shares, d):
    places = torch.arange(d, len(shares))
    return shares.half()[places, places - d].mean()


def lift_by_loop(shares, ids):
    T, found, even = len(ids), 0.0, 0.0
    for t, s in itertools.combinations(range(T), 2):
        if ids[t] == ids[s]:
            found += float(shares[s, t])
            even += 1 / (s + 1)
    return (found / T) / (even / T)


def lift_by_means(shares, ids):
    same = np.tril(np.equal.outer(ids.numpy(), ids.numpy()), -1)
    share = (shares.numpy() * same).sum(1).mean()
    chance = (same.sum(1) / np.arange(1, len(ids) + 1)).mean()
    return share / chance


def lift_by_pairs(shares, ids):
    pairs = (ids[:, None] == ids).tril(-1)
    even = 1 / torch.arange(1.0, len(ids) + 1)
    return shares[pairs].mean() / even[pairs.nonzero()[:, 0]].mean()


def silenced_by_mask(joined, n_head):
    D = joined.shape[1] // n_head
    keep = 1 - torch.eye(n_head).repeat_interleave(D, dim=1)
    return joined[None] * keep[:, None]


def silenced_by_pieces(joined, n_head):
    D = joined.shape[1] // n_head
    versions = []
    for h in range(n_head):
        rows = joined.tolist()
        versions.append([[0 if i // D == h else x for i, x in enumerate(row)] for row in rows])
    return versions


def sum_by_costs(whole, alone, together):
    costs = np.array(alone) - whole
    return (together - whole) - costs.sum()


def sum_by_counting(whole, alone, together):
    return together + (len(alone) - 1) * whole - math.fsum(alone)


RIGHT = {
    "nearest_rows": [nearest_by_sorting, nearest_by_topk, nearest_by_distance_on_the_sphere],
    "fair_cosines": [cosines_in_numpy, cosines_by_correlation],
    "shown_share": [shown_by_eigenvalues, shown_by_projecting],
    "step_back_share": [step_back_by_loop, step_back_by_places],
    "same_letter_lift": [lift_by_loop, lift_by_means, lift_by_pairs],
    "each_silenced": [silenced_by_mask, silenced_by_pieces],
    "beyond_the_sum": [sum_by_costs, sum_by_counting],
}
