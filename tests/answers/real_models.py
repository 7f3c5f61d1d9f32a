"""Chapter 15."""

import cmath
import math

import numpy as np
import torch
import torch.nn.functional as F


def gelu_by_loop(x):
    return [number * (1 + math.erf(number / math.sqrt(2))) / 2 for number in x.tolist()]


def gelu_by_pytorch(x):
    return x.double() * torch.special.ndtr(x.double())


def swiglu_by_linear(x, W_gate, W_widen, W_narrow):
    return F.linear(F.silu(F.linear(x, W_gate.T)).mul(F.linear(x, W_widen.T)), W_narrow.T)


def swiglu_in_numpy(x, W_gate, W_widen, W_narrow):
    x, W_gate, W_widen, W_narrow = (part.numpy().astype(np.float64) for part in (x, W_gate, W_widen, W_narrow))
    gate = x @ W_gate
    return (gate / (1 + np.exp(-gate)) * (x @ W_widen)) @ W_narrow


def rms_by_loop(x, gain, eps):
    rows = []
    for row in x.tolist():
        size = math.sqrt(sum(number**2 for number in row) / len(row) + eps)
        rows.append([number / size * g for number, g in zip(row, gain.tolist(), strict=True)])
    return rows


def rms_by_pytorch(x, gain, eps):
    return F.rms_norm(x, x.shape[1:], gain, eps)


def rms_in_place(x, gain, eps):
    x *= gain / (x.norm(dim=1, keepdim=True) ** 2 / x.shape[1] + eps).sqrt()


def turned_as_complex(q, base):
    D = q.shape[1]
    return [
        [
            part
            for i in range(D // 2)
            for turned in [complex(*row[2 * i : 2 * i + 2]) * cmath.exp(1j * t * base ** (-2 * i / D))]
            for part in (turned.real, turned.imag)
        ]
        for t, row in enumerate(q.tolist())
    ]


def turned_in_place(q, base):
    for t in range(len(q)):
        for i in range(0, q.shape[1], 2):
            angle = t / base ** (i / q.shape[1])
            turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            q[t, i : i + 2] = turn @ q[t, i : i + 2]


def turned_by_repeated_angles(q, base):
    T, D = q.shape
    angle = (torch.arange(T)[:, None] * base ** (-torch.arange(0, D, 2) / D)).repeat_interleave(2, 1)
    across = torch.stack([-q[:, 1::2], q[:, 0::2]], -1).flatten(1)
    return q * angle.cos() + across * angle.sin()


def shared_by_list(k, n_head):
    return [k[i * len(k) // n_head] for i in range(n_head)]


def shared_by_expanding(k, n_head):
    n, T, D = k.shape
    return k[:, None].expand(n, n_head // n, T, D).reshape(n_head, T, D)


def shared_by_index(k, n_head):
    return k.numpy()[np.arange(n_head) // (n_head // len(k))]


def tied_by_scaling_h(h, E):
    return torch.einsum("tc,vc->tv", h * h.shape[-1] ** -0.5, E)


def tied_by_loop(h, E):
    return [[sum(a * b for a, b in zip(x, e, strict=True)) / len(e) ** 0.5 for e in E.tolist()] for x in h.tolist()]


def eight_bits_by_loop(W):
    rows = []
    for row in W.tolist():
        scale = max(map(abs, row)) / 127
        rows.append([round(number / scale) * scale if scale else 0 for number in row])
    return rows


def eight_bits_in_numpy(W):
    W = W.numpy()
    scale = np.maximum(np.abs(W).max(1, keepdims=True), 1e-30)
    return np.rint(W * (127 / scale)).astype(np.int8) * (scale / 127)


def eight_bits_where(W):
    scale = W.abs().max(1, keepdim=True).values / 127
    return torch.where(scale > 0, torch.round(W / scale), 0).clamp(-127, 127).to(torch.int8).float().mul(scale)


def parting_by_allclose(ours, theirs, tolerance):
    for name, a in ours:
        found = [b for other, b in theirs if other == name]
        if not found or not torch.allclose(a, found[0], rtol=0, atol=tolerance):
            return name
    names = {name for name, _ in ours}
    for name, _ in theirs:
        if name not in names:
            return name
    return None


def parting_by_loop(ours, theirs, tolerance):
    of_ours, of_theirs = dict(ours), dict(theirs)
    for name in [*of_ours, *(name for name in of_theirs if name not in of_ours)]:
        if name not in of_ours or name not in of_theirs:
            return name
        pairs = zip(of_ours[name].tolist(), of_theirs[name].tolist(), strict=True)
        if not all(abs(a - b) <= tolerance for a, b in pairs):
            return name


def parting_by_difference(ours, theirs, tolerance):
    known = dict(theirs)
    parted = (n for n, a in ours if n not in known or not bool((torch.abs(a - known[n]) <= tolerance).all()))
    more = (n for n, _ in theirs if n not in [name for name, _ in ours])
    return next(parted, next(more, None))


RIGHT = {
    "gelu": [gelu_by_loop, gelu_by_pytorch],
    "swiglu": [swiglu_by_linear, swiglu_in_numpy],
    "rms_normed": [rms_by_loop, rms_by_pytorch, rms_in_place],
    "turned_pairs": [turned_as_complex, turned_in_place, turned_by_repeated_angles],
    "shared_heads": [shared_by_list, shared_by_expanding, shared_by_index],
    "tied_logits": [tied_by_scaling_h, tied_by_loop],
    "in_eight_bits": [eight_bits_by_loop, eight_bits_in_numpy, eight_bits_where],
    "first_parting": [parting_by_allclose, parting_by_loop, parting_by_difference],
}
