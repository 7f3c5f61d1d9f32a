"""Chapter 14."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def previous_by_loop(ids, back, none):
    return [ids[i - back] if i >= back else none for i in range(len(ids))]


def previous_by_tensor(ids, back, none):
    out = torch.full((len(ids),), none)
    if back < len(ids):
        out[back:] = torch.tensor(ids[:-back])
    return out


def squared_by_autograd(x):
    x = x.clone().requires_grad_()
    y = F.relu(x).square()
    y.sum().backward()
    return [y.detach(), x.grad]


def squared_by_numpy(x):
    x = x.numpy().astype(np.float64)
    return np.where(x > 0, x * x, 0), np.where(x > 0, 2 * x, 0)


def by_singular_values(G, rounds):
    U, s, V = torch.linalg.svd(G.double(), full_matrices=False)
    s = s / s.square().sum().sqrt()
    for _ in range(rounds):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return U @ torch.diag(s) @ V


def from_the_other_side(G, rounds):
    X = (G / math.sqrt((G**2).sum())).T
    for _ in range(rounds):
        B = X @ X.T
        X = (3.4445 * torch.eye(len(B)) - 4.7750 * B + 2.0315 * B @ B) @ X
    return X.T


def gain_by_numpy(before, after):
    gains = np.subtract(before, after)
    return gains.mean(), bool(gains.mean() / (gains.std(ddof=1) / len(gains) ** 0.5 + 1e-300) > 2)


def gain_by_hand(before, after):
    n, gains = len(before), [b - a for b, a in zip(before, after, strict=True)]
    mean = sum(gains) / n
    variance = sum((gain - mean) ** 2 for gain in gains) / (n - 1)
    return [mean, mean > 2 * (variance / n) ** 0.5]


def gain_by_spread_of_all(before, after):
    gains = torch.tensor(before, dtype=torch.float64) - torch.tensor(after, dtype=torch.float64)
    error = gains.std(correction=0) / (len(gains) - 1) ** 0.5
    return gains.mean(), (gains.mean() - 2 * error > 0).item()


def starts_by_slices(step, batch, window, order):
    long = order * (step * batch // len(order) + batch + 2)
    return [w * window for w in long[step * batch : (step + 1) * batch]]


def starts_by_tensor(step, batch, window, order):
    places = torch.arange(step * batch, step * batch + batch).remainder(len(order))
    return torch.tensor(order)[places].mul(window)


RIGHT = {
    "previous_ids": [previous_by_loop, previous_by_tensor],
    "squared_relu": [squared_by_autograd, squared_by_numpy],
    "same_length": [by_singular_values, from_the_other_side],
    "clear_gain": [gain_by_numpy, gain_by_hand, gain_by_spread_of_all],
    "batch_starts": [starts_by_slices, starts_by_tensor],
}
