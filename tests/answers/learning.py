"""Chapter 03."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def softmax_by_differences(z):
    z = z.tolist()
    powers = [math.exp(logit - max(z)) for logit in z]
    return [power / sum(powers) for power in powers]


def softmax_in_place(z):
    z -= z.max()
    z.exp_()
    z /= z.sum()


def softmax_by_logsumexp(z):
    return (z.double() - torch.logsumexp(z.double(), 0)).exp()


def slopes_by_backward(z, came):
    z = z.requires_grad_()
    F.cross_entropy(z, came).backward()
    return z.grad


def slopes_in_numpy(z, came):
    z = z.numpy().astype(np.float64)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(p)), came.numpy()] -= 1
    return p / len(p)


def slopes_by_loop(z, came):
    rows = []
    for row, c in zip(z, came, strict=True):
        p = row.softmax(0).tolist()
        p[c] -= 1
        rows.append([g / len(z) for g in p])
    return rows


def turned_in_lists(f, z, h):
    slopes = []
    for i in range(len(z)):
        up, down = z.tolist(), z.tolist()
        up[i] += h
        down[i] -= h
        slopes.append((f(up) - f(down)) / (2 * h))
    return slopes


def turned_by_unit_rows(f, z, h):
    return torch.stack([(f(z + row) - f(z - row)) / (2 * h) for row in h * torch.eye(len(z), dtype=z.dtype)])


def turned_in_place_and_back(f, z, h):
    slopes = np.zeros(len(z))
    for i in range(len(z)):
        z[i] += h
        above = float(f(z))
        z[i] -= 2 * h
        slopes[i] = (above - float(f(z))) / h / 2
        z[i] += h
    return slopes


def momentum_with_rate_inside(z, slopes, rate):
    m, path = 0.0, []
    for g in slopes:
        m = 0.9 * m - rate * g
        z += m
        path.append(z)
    return torch.tensor(path)


def momentum_by_powers(z, slopes, rate):
    """Slope j is in step k with 0.9 to the power of their distance."""
    n = len(slopes)
    fading = np.tril(0.9 ** np.maximum(np.arange(n)[:, None] - np.arange(n), 0))
    return z - rate * (fading @ np.array(slopes)).cumsum()


def lowest_by_loop(pairs):
    total = 0.0
    for row in pairs.tolist():
        total -= sum(count * math.log(count / sum(row)) for count in row if count)
    return total / pairs.sum()


def lowest_by_entropies(pairs):
    """Both tokens', less that of the first."""
    p = pairs.numpy().astype(np.float64) / pairs.sum().item()
    rows = p.sum(axis=1)
    return -(p[p > 0] * np.log(p[p > 0])).sum() + (rows[rows > 0] * np.log(rows[rows > 0])).sum()


def lowest_by_clamping(pairs):
    share = pairs / pairs.sum(1, keepdim=True).clamp(min=1)
    return (-(pairs * share.clamp(min=1e-30).log()).sum() / pairs.sum()).item()


def loss_by_largest(z, came):
    losses = []
    for row, c in zip(z.tolist(), came.tolist(), strict=True):
        largest = max(row)
        losses.append(largest + math.log(sum(math.exp(logit - largest) for logit in row)) - row[c])
    return sum(losses) / len(losses)


def loss_by_nll(z, came):
    return F.nll_loss(F.log_softmax(z.double(), dim=-1), came)


RIGHT = {
    "softmax": [softmax_by_differences, softmax_in_place, softmax_by_logsumexp],
    "logit_slopes": [slopes_by_backward, slopes_in_numpy, slopes_by_loop],
    "finite_differences": [turned_in_lists, turned_by_unit_rows, turned_in_place_and_back],
    "momentum_walk": [momentum_with_rate_inside, momentum_by_powers],
    "lowest_loss": [lowest_by_loop, lowest_by_entropies, lowest_by_clamping],
    "loss_of_logits": [loss_by_largest, loss_by_nll],
}
