"""Chapter 16."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def starts_by_loop(lengths, T):
    found, begin = [], 0
    for n in lengths:
        found += range(begin, begin + n - T)
        begin += n
    return found


def starts_in_numpy(lengths, T):
    shard = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(shard) - T)
    return places[shard[places] == shard[places + T]]


def gradient_by_groups_in_place(W, x, y, size):
    W.requires_grad_()
    for rows in torch.arange(len(x)).split(size):
        losses = F.cross_entropy((x[rows] @ W).flatten(0, 1), y[rows].flatten(), reduction="none")
        (losses[y[rows].flatten() != -100].sum() / (y != -100).sum()).backward()
    return W.grad


def gradient_by_hand(W, x, y, size):
    total = 0
    for i in range(0, len(x), size):
        a, target = x[i : i + size].flatten(0, 1), y[i : i + size].flatten()
        a, target = a[target != -100], target[target != -100]
        total = total + a.T @ ((a @ W).softmax(-1) - F.one_hot(target, W.shape[1]))
    return total / (y != -100).sum()


def gradient_at_once(W, x, y, size):
    W = W.double().clone().requires_grad_()
    loss = F.cross_entropy((x.double() @ W).transpose(1, 2), y)
    return torch.autograd.grad(loss, W)[0]


def handed_in_by_loop(gradients, counts):
    total, P = sum(counts.tolist()), len(counts)
    return [[g * n / total * P for g in row] for row, n in zip(gradients.tolist(), counts.tolist(), strict=True)]


def handed_in_by_mean(gradients, counts):
    return torch.einsum("pc,p->pc", gradients.double(), counts / counts.double().mean())


def handed_in_in_place(gradients, counts):
    gradients *= (counts / counts.float().mean()).view(-1, 1)


def scaled_by_loop(w, g, scale, rate):
    if not all(math.isfinite(slope) for slope in g.tolist()):
        return [w.tolist(), scale / 2]
    return [[a - rate * slope / scale for a, slope in zip(w.tolist(), g.tolist(), strict=True)], scale]


def scaled_in_place(w, g, scale, rate):
    g /= scale
    if torch.isfinite(g).all():
        w -= rate * g
    else:
        scale *= 0.5
    return w, scale


def scaled_by_the_sum(w, g, scale, rate):
    if math.isfinite(g.norm().item()):
        return w.numpy() - rate * g.numpy() / scale, np.float32(scale)
    return w.numpy(), np.float32(scale / 2)


def kept_by_a_master_copy(w, updates):
    master = w.float()
    for update in updates:
        master = master - update.float()
        w = master.bfloat16()
    return w


def kept_in_float32(w, updates):
    for update in updates:
        w -= update
    return w


def kept_by_lists(w, updates):
    return [a - math.fsum(column) for a, column in zip(w.tolist(), updates.T.tolist(), strict=True)]


def kept_and_rounded_at_the_end(w, updates):
    return (w.double() - updates.double().cumsum(0)[-1]).bfloat16().float()


def kept_with_what_was_rounded_off(w, updates):
    w, rest = w.bfloat16(), torch.zeros_like(w)
    for update in updates:
        wanted = w.float() - update + rest
        w = wanted.bfloat16()
        rest = wanted - w.float()
    return w


def split_by_formula(operations, A, alpha, B, beta):
    N = (alpha * A / (beta * B) * (operations / 6) ** beta) ** (1 / (alpha + beta))
    return N, operations / (6 * N)


def split_by_halving(operations, A, alpha, B, beta):
    low, high = 0.0, math.log(operations / 6)
    for _ in range(80):
        middle = (low + high) / 2
        N, D = math.exp(middle), operations / 6 / math.exp(middle)
        if alpha * A / N**alpha > beta * B / D**beta:  # more size still gains more
            low = middle
        else:
            high = middle
    return [N, D]


def split_by_search(operations, A, alpha, B, beta):
    from scipy.optimize import minimize_scalar

    product = operations / 6

    def loss(log_N):
        return A * math.exp(-alpha * log_N) + B * (product / math.exp(log_N)) ** -beta

    N = math.exp(minimize_scalar(loss, bounds=(0, math.log(product)), method="bounded", options={"xatol": 1e-9}).x)
    return np.array([N, product / N])


def utilisation_by_pace(n_parameters, n_tokens, seconds, peak):
    pace = n_tokens / seconds
    return (2 + 4) * n_parameters * pace / peak


def utilisation_by_time(n_parameters, n_tokens, seconds, peak):
    return torch.tensor(6 * n_parameters * n_tokens / peak / seconds)


RIGHT = {
    "shard_starts": [starts_by_loop, starts_in_numpy],
    "accumulated_gradient": [gradient_by_groups_in_place, gradient_by_hand, gradient_at_once],
    "handed_in": [handed_in_by_loop, handed_in_by_mean, handed_in_in_place],
    "scaled_step": [scaled_by_loop, scaled_in_place, scaled_by_the_sum],
    "kept_updates": [
        kept_by_a_master_copy,
        kept_in_float32,
        kept_by_lists,
        kept_and_rounded_at_the_end,
        kept_with_what_was_rounded_off,
    ],
    "best_split": [split_by_formula, split_by_halving, split_by_search],
    "utilisation": [utilisation_by_pace, utilisation_by_time],
}
