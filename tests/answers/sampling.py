"""Chapter 10."""

import heapq
import itertools
import math
import re

import numpy as np
import torch
import torch.nn.functional as F

from minigpt_core.sampling import draw, keep_min_p, keep_top_k, keep_top_p, scale_temperature


def heated_by_loop(logits, temperature):
    if temperature == 0:
        best = max(range(len(logits)), key=lambda i: logits[i])
        return [int(i == best) for i in range(len(logits))]
    powers = [math.exp(z / temperature) for z in logits.tolist()]
    return [power / sum(powers) for power in powers]


def heated_by_powers(logits, temperature):  # p to the power of 1 / temperature, and no temperature below a millionth
    p = logits.double().softmax(0) ** (1 / max(temperature, 1e-6))
    return np.eye(len(p))[logits.numpy().argmax()] if p.sum() == 0 else p / p.sum()


def heated_from_the_largest(logits, temperature):  # in place
    logits -= logits.max()
    if temperature == 0:
        first = logits.tolist().index(0)
        logits[:] = 0
        logits[first] = 1
    else:
        logits.div_(temperature).exp_()
        logits /= logits.sum()


def heated_by_the_package(logits, temperature):
    return scale_temperature(logits[None], temperature).softmax(1)[0]


def top_k_by_sorting(logits, k):
    numbers = logits.tolist()
    kept = sorted(range(len(numbers)), key=lambda i: -numbers[i])[:k]
    return [z if i in kept else -math.inf for i, z in enumerate(numbers)]


def top_k_in_place(logits, k):
    for _ in range(len(logits) - k):
        finite = logits.masked_fill(logits.isneginf(), math.inf)
        smallest = (finite == finite.min()).nonzero()[-1]
        logits[smallest] = -math.inf
    return logits


def top_k_by_the_package(logits, k):
    return keep_top_k(logits[None], k)[0]


def top_p_by_loop(p, top_p):
    p, kept, total = p.tolist(), {}, 0.0
    for i in sorted(range(len(p)), key=lambda i: -p[i]):
        kept[i] = p[i]
        total += p[i]
        if total >= top_p:
            break
    return [kept.get(i, 0) / total for i in range(len(p))]


def top_p_in_numpy(p, top_p):
    p = p.numpy()
    order = np.argsort(-p, kind="stable")
    n = np.searchsorted(np.cumsum(p[order]), top_p) + 1
    kept = np.zeros_like(p)
    kept[order[:n]] = p[order[:n]]
    return kept / kept.sum()


def top_p_by_the_package(p, top_p):
    return keep_top_p(p.log()[None], top_p).softmax(1)[0]


def min_p_by_list(p, min_p):
    kept = [q if q / max(p) >= min_p else 0.0 for q in p]
    return torch.tensor([q / sum(kept) for q in kept])


def min_p_by_the_package(p, min_p):
    return keep_min_p(p.log()[None], min_p).softmax(1)[0]


def draw_by_subtracting(p, u):
    for i, share in enumerate(p.tolist()):
        if u < share:
            return i
        u -= share
    return max(i for i, share in enumerate(p.tolist()) if share > 0)


def draw_by_counting(p, u):
    return torch.minimum((p.double().cumsum(0) <= u).sum(), p.nonzero().max())


def draw_in_32_bits(p, u):
    return np.minimum(np.searchsorted(np.cumsum(p.numpy()), np.float32(u), side="right"), np.flatnonzero(p)[-1])


def draw_by_the_package(p, u):
    return draw(p.log(), u)


def beams_by_heap(log_p, width, length):
    beams = {(): 0.0}
    for _ in range(length):
        longer = {(*ids, i): s + new for ids, s in beams.items() for i, new in enumerate(log_p(ids))}
        beams = dict(heapq.nsmallest(width, longer.items(), key=lambda item: (-item[1], item[0])))
    return list(beams)


def beams_by_matrix(log_p, width, length):
    ids, scores = torch.zeros(1, 0, dtype=torch.long), torch.zeros(1, dtype=torch.double)
    for _ in range(length):
        all_scores = scores[:, None] + torch.tensor([log_p(row.tolist()) for row in ids], dtype=torch.double)
        every = torch.arange(all_scores.shape[1]).repeat(len(ids))
        ids = torch.cat([ids.repeat_interleave(all_scores.shape[1], 0), every[:, None]], 1)
        order = sorted(range(len(ids)), key=lambda i: (-all_scores.flatten()[i].item(), ids[i].tolist()))[:width]
        ids, scores = ids[order], all_scores.flatten()[order]
    return ids


def beams_by_probabilities(log_p, width, length, ids=(), p=1.0):
    beams = [(p, list(ids))]
    for _ in range(length):
        beams = [(p * math.exp(z), [*ids, i]) for p, ids in beams for i, z in enumerate(log_p(ids))]
        beams.sort(key=lambda beam: beam[1])
        beams.sort(key=lambda beam: beam[0], reverse=True)
        del beams[width:]
    return [ids for _, ids in beams]


def shown_by_characters(pieces, stop):
    shown, screen, held, ended = [], "", "", False
    for piece in pieces:
        for character in piece:
            held += "" if ended else character
            while not stop.startswith(held):
                screen, held = screen + held[0], held[1:]
            if held == stop:
                ended, held = True, ""
        shown.append(screen)
    return shown


def shown_by_a_pattern(pieces, stop):
    begun = "|".join(re.escape(stop[:n]) for n in range(len(stop) - 1, 0, -1))
    pattern = re.compile(f"{re.escape(stop)}|(?:{begun})$" if begun else re.escape(stop), re.DOTALL)
    texts = itertools.accumulate(pieces)
    return tuple(text[: found.start()] if (found := pattern.search(text)) else text for text in texts)


def cached_by_rows(q, k, v, keys, values):
    out = []
    for t in range(len(q)):
        keys, values = torch.vstack([keys, k[t]]), torch.vstack([values, v[t]])
        shares = torch.softmax(keys @ q[t] / keys.shape[1] ** 0.5, 0)
        out.append(shares @ values)
    return torch.stack(out), keys, values


def cached_by_pytorch(q, k, v, keys, values):
    K, V = torch.cat([keys, k]), torch.cat([values, v])
    seen = torch.ones(len(q), len(K), dtype=torch.bool).tril(len(keys))
    return [F.scaled_dot_product_attention(q[None], K[None], V[None], attn_mask=seen)[0], K.numpy(), V.tolist()]


RIGHT = {
    "heated": [heated_by_loop, heated_by_powers, heated_from_the_largest, heated_by_the_package],
    "cut_top_k": [top_k_by_sorting, top_k_in_place, top_k_by_the_package],
    "cut_top_p": [top_p_by_loop, top_p_in_numpy, top_p_by_the_package],
    "cut_min_p": [min_p_by_list, min_p_by_the_package],
    "draw_from": [draw_by_subtracting, draw_by_counting, draw_in_32_bits, draw_by_the_package],
    "beam_search": [beams_by_heap, beams_by_matrix, beams_by_probabilities],
    "shown_so_far": [shown_by_characters, shown_by_a_pattern],
    "attend_cached": [cached_by_rows, cached_by_pytorch],
}
