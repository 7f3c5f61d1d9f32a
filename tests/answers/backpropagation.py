"""Chapter 04."""

import math

import numpy as np
import torch


def two_by_backward(x, w, v, y):
    w, v = (torch.tensor(weight, dtype=torch.float64, requires_grad=True) for weight in (w, v))
    ((v * torch.tanh(w * x) - y) ** 2).backward()
    return [w.grad, v.grad]


def two_by_cosh(x, w, v, y):
    """The slope of tanh is one over the square of cosh."""
    z = v * math.tanh(w * x)
    return np.array([2 * (z - y) * v * x / math.cosh(w * x) ** 2, 2 * (z - y) * math.tanh(w * x)])


def layer_by_backward(h, W, dz):
    h, W, b = h.requires_grad_(), W.requires_grad_(), torch.zeros(W.shape[1], requires_grad=True)
    ((h @ W + b) * dz).sum().backward()
    return [W.grad, b.grad, h.grad]


def layer_by_loop(h, W, dz):
    (N, C), V = h.shape, W.shape[1]
    dW, db, dh = np.zeros((C, V)), np.zeros(V), np.zeros((N, C))
    for n in range(N):
        for j in range(V):
            db[j] += dz[n, j]
            for i in range(C):
                dW[i, j] += h[n, i] * dz[n, j]
                dh[n, i] += W[i, j] * dz[n, j]
    return dW, db, dh


def layer_by_einsum_in_lists(h, W, dz):
    return (
        torch.einsum("nc,nv->cv", h, dz).tolist(),
        (torch.ones(len(h)) @ dz).tolist(),
        torch.einsum("nv,cv->nc", dz, W).tolist(),
    )


def through_by_backward(x, weights):
    start = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    end = start * 1
    for w in weights:
        end = end + torch.tanh(w * end)
    end.backward()
    return start.grad


def through_from_the_back(x, weights):
    entered = []
    for w in weights:
        entered.append(x)
        x += math.tanh(w * x)
    slope = 1
    for x, w in zip(reversed(entered), reversed(weights), strict=True):
        slope += slope * w / math.cosh(w * x) ** 2
    return slope


def error_by_loop(by_formula, by_turning):
    largest = 0.0
    for a, b in zip(by_formula.tolist(), by_turning.tolist(), strict=True):
        if a != b:
            largest = max(largest, abs(a - b) / (abs(a) + abs(b)))
    return largest


def error_without_nan(by_formula, by_turning):
    return np.nan_to_num(np.abs(by_formula - by_turning) / (by_formula.abs() + by_turning.abs())).max()


def error_with_a_small_number(by_formula, by_turning):
    a, b = by_formula, by_turning
    return torch.max(torch.abs(a - b) / (torch.abs(a) + torch.abs(b) + 1e-8))


def graph_from_the_back(parts, local):
    slopes = np.zeros(len(parts))
    slopes[-1] = 1
    for i in range(len(parts) - 1, -1, -1):
        for part, factor in zip(parts[i], local[i], strict=True):
            slopes[part] += slopes[i] * factor
    return slopes


def graph_over_all_ways(parts, local):
    slopes = [0] * len(parts)

    def visit(i, slope):
        slopes[i] += slope
        for part, factor in zip(parts[i], local[i], strict=True):
            visit(part, slope * factor)

    visit(len(parts) - 1, 1)
    return slopes


def graph_in_topological_order(parts, local):
    order = []

    def visit(i):
        if i not in order:
            for part in parts[i]:
                visit(part)
            order.append(i)

    visit(len(parts) - 1)
    slopes = {i: 0.0 for i in range(len(parts))} | {len(parts) - 1: 1.0}
    for i in reversed(order):
        for k, part in enumerate(parts[i]):
            slopes[part] = slopes[part] + slopes[i] * local[i][k]
    return list(slopes.values())


def graph_by_matrix(parts, local):
    """The slopes of each number's ways are a geometric series of the matrix of factors."""
    n = len(parts)
    factors = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for part, factor in zip(parts[i], local[i], strict=True):
            factors[part, i] += factor
    return torch.linalg.inv(torch.eye(n, dtype=torch.float64) - factors)[:, -1]


RIGHT = {
    "two_layer_slopes": [two_by_backward, two_by_cosh],
    "layer_slopes": [layer_by_backward, layer_by_loop, layer_by_einsum_in_lists],
    "slope_through": [through_by_backward, through_from_the_back],
    "relative_error": [error_by_loop, error_without_nan, error_with_a_small_number],
    "graph_slopes": [graph_from_the_back, graph_over_all_ways, graph_in_topological_order, graph_by_matrix],
}
