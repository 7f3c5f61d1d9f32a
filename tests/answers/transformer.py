"""Chapter 07."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from minigpt_core import GPT, GPTConfig


def feed_forward_in_numpy(h, W_1, b_1, W_2, b_2):
    h, W_1, b_1, W_2, b_2 = (part.numpy().astype(np.float64) for part in (h, W_1, b_1, W_2, b_2))
    return np.maximum(0, h @ W_1 + b_1) @ W_2 + b_2


def feed_forward_by_linear(h, W_1, b_1, W_2, b_2):
    return F.linear(F.relu(F.linear(h, W_1.T, b_1)), W_2.T, b_2)


def layer_norm_by_pytorch(h, gain, bias, eps):
    return F.layer_norm(h, (h.shape[1],), gain, bias, eps)


def layer_norm_by_loop(h, gain, bias, eps):
    rows = []
    for row in h.tolist():
        mean = sum(row) / len(row)
        root = math.sqrt(sum((x - mean) ** 2 for x in row) / len(row) + eps)
        rows.append([(x - mean) / root * g + b for x, g, b in zip(row, gain.tolist(), bias.tolist(), strict=True)])
    return rows


def layer_norm_in_place(h, gain, bias, eps):
    h -= h.mean(1, keepdim=True)
    h /= (h.pow(2).mean(1, keepdim=True) + eps).sqrt()
    h *= gain
    h += bias


def block_in_place(x, attention, feed_forward, norm1, norm2):
    x += attention(norm1(x))
    x += feed_forward(norm2(x))


def block_by_names(x, attention, feed_forward, norm1, norm2):
    gathered = attention(norm1(x.double()))
    return x.double() + gathered + feed_forward(norm2(x.double() + gathered))


def count_by_the_package(V, T, C, L, tied):
    return GPT(GPTConfig(V, T, L, 1, C)).n_parameters - V * C * tied


def count_by_powers(V, T, C, L, tied):
    return (V * (2 - tied) + T + 2) * C + L * (12 * C**2 + 13 * C)


def count_as_float(V, T, C, L, tied):
    return float(sum([V * C, T * C, 2 * C, (not tied) * V * C] + L * [12 * C * C + 13 * C]))


def sines_by_loop(T, C):
    rows = []
    for t in range(T):
        angles = [t / 10000 ** (j // 2 * 2 / C) for j in range(C)]
        rows.append([math.cos(angle) if j % 2 else math.sin(angle) for j, angle in enumerate(angles)])
    return rows


def sines_by_exponential(T, C):  # as in many programs
    table = torch.zeros(T, C)
    speeds = torch.exp(torch.arange(0, C, 2) * (-math.log(10000.0) / C))
    table[:, 0::2] = torch.sin(torch.arange(T)[:, None] * speeds)
    table[:, 1::2] = torch.cos(torch.arange(T)[:, None] * speeds)
    return table


def rms_by_pytorch(h, gain):
    return F.rms_norm(h, (h.shape[-1],), gain)


def rms_with_eps(h, gain):  # a tiny one does no harm
    return h * torch.rsqrt((h**2).sum(2)[:, :, None] / h.shape[2] + 1e-5) * gain


def rms_by_length(h, gain):
    return F.normalize(h, dim=2).numpy() * math.sqrt(h.shape[2]) * gain.numpy()


RIGHT = {
    "feed_forward": [feed_forward_in_numpy, feed_forward_by_linear],
    "layer_norm": [layer_norm_by_pytorch, layer_norm_by_loop, layer_norm_in_place],
    "pre_norm_block": [block_in_place, block_by_names],
    "count_parameters": [count_by_the_package, count_by_powers, count_as_float],
    "sine_places": [sines_by_loop, sines_by_exponential],
    "rms_norm": [rms_by_pytorch, rms_with_eps, rms_by_length],
}
