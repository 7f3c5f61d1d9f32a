"""Chapter 06."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def shares_by_loop(scores):
    rows = []
    for t, row in enumerate(scores.tolist()):
        powers = [math.exp(score) for score in row[: t + 1]]
        rows.append([power / sum(powers) for power in powers] + [0.0] * (len(row) - t - 1))
    return rows


def shares_in_place(scores):
    T = len(scores)
    scores += torch.full((T, T), -math.inf).triu(1)
    scores -= scores.max(-1, keepdim=True).values
    scores.exp_()
    scores /= scores.sum(-1, keepdim=True)


def head_in_numpy(x, W_q, W_k, W_v):
    x, W_q, W_k, W_v = (part.numpy().astype(np.float64) for part in (x, W_q, W_k, W_v))
    out = np.zeros((len(x), W_v.shape[1]))
    for t in range(len(x)):
        scores = [x[t] @ W_q @ W_k.T @ x[s] / math.sqrt(W_q.shape[1]) for s in range(t + 1)]
        powers = np.exp(np.array(scores) - max(scores))
        out[t] = sum(p * (x[s] @ W_v) for s, p in enumerate(powers / powers.sum()))
    return out


def head_by_pytorch(x, W_q, W_k, W_v):
    return F.scaled_dot_product_attention((x @ W_q)[None], (x @ W_k)[None], (x @ W_v)[None], is_causal=True)[0]


def heads_by_pytorch(x, W_q, W_k, W_v, n_head):
    q, k, v = (torch.stack((x @ W).chunk(n_head, dim=-1))[None] for W in (W_q, W_k, W_v))  # (1, H, T, D)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)[0].transpose(0, 1).reshape(x.shape)


def heads_by_loop(x, W_q, W_k, W_v, n_head):
    D = x.shape[1] // n_head
    return torch.hstack(
        [
            torch.from_numpy(head_in_numpy(x, *(W[:, h * D : (h + 1) * D] for W in (W_q, W_k, W_v))))
            for h in range(n_head)
        ]
    )


def split_by_slices(q, n_head):
    D = q.shape[1] // n_head
    return [q[:, h * D : (h + 1) * D] for h in range(n_head)]


def split_by_permuting(q, n_head):
    return q.double().reshape(q.shape[0], n_head, -1).permute(1, 0, 2)


RIGHT = {
    "causal_shares": [shares_by_loop, shares_in_place],
    "one_head": [head_in_numpy, head_by_pytorch],
    "many_heads": [heads_by_pytorch, heads_by_loop],
    "split_heads": [split_by_slices, split_by_permuting],
}
