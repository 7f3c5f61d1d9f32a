"""Chapter 05."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def rows_in_lists(ids, table):
    return [[number for i in row for number in table[i].tolist()] for row in ids]


def rows_by_one_hot(ids, table):
    V, C = table.shape
    return (F.one_hot(ids, V).double() @ table.double()).reshape(len(ids), ids.shape[1] * C)


def rows_by_cat(ids, table):
    return torch.cat([table[ids[:, i]] for i in range(ids.shape[1])], dim=1)


def slopes_by_loop(ids, d, V):
    slopes = np.zeros((V, d.shape[1]))
    for i, slope in zip(ids, d.numpy(), strict=True):
        slopes[i] += slope
    return slopes


def slopes_by_one_hot(ids, d, V):
    return F.one_hot(ids, V).T.float() @ d


def slopes_by_backward(ids, d, V):
    layer = nn.Embedding(V, d.shape[1])
    (layer(ids) * d).sum().backward()
    return layer.weight.grad


def scaled_in_place(noise):
    noise *= noise.shape[1] ** -0.5


def scaled_in_lists(noise):
    return [[number / math.sqrt(len(row)) for number in row] for row in noise.tolist()]


def whole_by_product(means, sizes):
    return sizes.double() @ means.double() / sizes.sum()


def whole_by_loop(means, sizes):
    total = [0.0] * means.shape[1]
    for mean, size in zip(means.tolist(), sizes.tolist(), strict=True):
        total = [t + size * m for t, m in zip(total, mean, strict=True)]
    return [t / sum(sizes.tolist()) for t in total]


def whole_by_numpy(means, sizes):
    return np.average(means.numpy(), axis=0, weights=sizes.numpy())


def noise_by_loop(g, full):
    squares = [sum((a - b) ** 2 for a, b in zip(row, full.tolist(), strict=True)) for row in g.tolist()]
    return math.sqrt(sum(squares) / len(squares) / sum(b**2 for b in full.tolist()))


def noise_by_numpy(g, full):
    g, full = g.numpy(), full.numpy()
    return np.linalg.norm(g - full) / np.sqrt(len(g)) / np.linalg.norm(full)


def batch_by_formula(table, x, y, rate, steps):
    losses, rows = [], torch.arange(len(x))
    for _ in range(steps):
        p = table[x].softmax(1)
        losses.append(-p[rows, y].log().mean())
        p[rows, y] -= 1
        table = table.index_add(0, x, -rate * p / len(x))
    return losses


def batch_with_log_softmax_first(table, x, y, rate, steps):
    """A logarithm of probabilities is a row of logits, too: softmax gives these probabilities again."""
    losses, table = [], table.double().requires_grad_()
    for _ in range(steps):
        loss = F.cross_entropy(table[x].log_softmax(1), y)
        losses.append(loss.item())
        (slopes,) = torch.autograd.grad(loss, table)
        table = (table - rate * slopes).detach().requires_grad_()
    return losses


RIGHT = {
    "side_by_side": [rows_in_lists, rows_by_one_hot, rows_by_cat],
    "table_slopes": [slopes_by_loop, slopes_by_one_hot, slopes_by_backward],
    "begin_weights": [scaled_in_place, scaled_in_lists],
    "whole_gradient": [whole_by_product, whole_by_loop, whole_by_numpy],
    "gradient_noise": [noise_by_loop, noise_by_numpy],
    "batch_losses": [batch_by_formula, batch_with_log_softmax_first],
}
