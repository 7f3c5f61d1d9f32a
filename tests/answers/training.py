"""Chapter 08."""

import math

import numpy as np
import torch

torch.optim.AdamW([torch.zeros(1)])  # the first optimizer loads much of PyTorch: not in the time of a check


def perplexity_in_numpy(losses, counts):
    return np.exp(np.average(losses, weights=counts))


def perplexity_as_a_product(losses, counts):
    return math.prod(math.exp(loss) ** (count / sum(counts)) for loss, count in zip(losses, counts, strict=True))


def adamw_by_pytorch(w, gradients, rate, decay):
    weight = w.clone().requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=rate, betas=(0.9, 0.99), weight_decay=decay)
    for g in gradients:
        weight.grad = g
        optimizer.step()
    return weight


def adamw_by_numbers(w, gradients, rate, decay):
    out = []
    for weight, column in zip(w.tolist(), gradients.T.tolist(), strict=True):
        m = v = 0.0
        for k, g in enumerate(column):
            m += (g - m) * 0.1
            v += (g * g - v) * 0.01
            weight *= 1 - rate * decay
            weight -= rate * m / (1 - 0.9 ** (k + 1)) / (math.sqrt(v / (1 - 0.99 ** (k + 1))) + 1e-8)
        out.append(weight)
    return out


def adamw_in_place(w, gradients, rate, decay):
    m, v = torch.zeros(2, *w.shape, dtype=torch.float64)
    for k, g in enumerate(gradients, 1):
        m.mul_(0.9).add_(g, alpha=0.1)
        v.mul_(0.99).addcmul_(g, g, value=0.01)
        w -= rate * decay * w + rate * (m / (1 - 0.9**k)) / ((v / (1 - 0.99**k)).sqrt() + 1e-8)


def rate_by_one_formula(step, steps, warmup, top, floor):
    share = np.clip((step - warmup) / max(steps - warmup, 1), 0, 1)
    return min(1, step / max(1, warmup)) * (floor + (top - floor) * np.cos(np.pi / 2 * share) ** 2)


def rate_from_zero_on(step, steps, warmup, top, floor):  # steps from 0 inside
    done = step - 1
    if done < warmup:
        return top * (done + 1) / warmup
    share = torch.tensor((done + 1 - warmup) / (steps - warmup))
    return floor + 0.5 * (top - floor) * (1 + torch.cos(math.pi * share))


def clip_by_pytorch(gradients, limit):
    parameters = [torch.zeros_like(g).requires_grad_() for g in gradients]
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = g
    torch.nn.utils.clip_grad_norm_(parameters, limit)
    return [parameter.grad for parameter in parameters]


def clip_in_place(gradients, limit):
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    if norm > limit:
        for g in gradients:
            g *= limit / norm
    return gradients


def clip_as_lists(gradients, limit):
    norm = sum((g**2).sum() for g in gradients) ** 0.5
    return tuple((g * min(1, limit / (norm.item() + 1e-6))).tolist() for g in gradients)


def decaying_by_loop(shapes):
    names = []
    for name in shapes:
        is_table = name.split(".")[-2].endswith("_embedding")
        if torch.zeros(shapes[name]).dim() >= 2 and not is_table:
            names.append(name)
    return names


def decaying_by_kinds(shapes):
    spared = ("bias", "norm", "embedding")
    return tuple(filter(lambda name: not any(kind in name for kind in spared), shapes))


def go_on_in_place(saved, gradients):
    for g in gradients:
        saved["step"] += 1
        saved["m"] += 0.1 * (g - saved["m"])
        saved["v"] += 0.01 * (g**2 - saved["v"])
        size = math.sqrt(saved["v"] / (1 - 0.99 ** saved["step"])) + 1e-8
        saved["w"] -= 0.1 * saved["m"] / (1 - 0.9 ** saved["step"]) / size


def go_on_in_torch(saved, gradients):
    weight = torch.tensor([saved["w"]], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.9, 0.99))
    weight.grad = torch.zeros_like(weight)
    optimizer.state[weight] = {
        "step": torch.tensor(float(saved["step"])),
        "exp_avg": torch.tensor([saved["m"]], dtype=torch.float64),
        "exp_avg_sq": torch.tensor([saved["v"]], dtype=torch.float64),
    }
    for g in gradients:
        weight.grad.fill_(g)
        optimizer.step()
    state = optimizer.state[weight]
    return {
        "step": state["step"],
        "w": weight.item(),
        "m": state["exp_avg"].item(),
        "v": state["exp_avg_sq"].item(),
    }


RIGHT = {
    "perplexity_of_batches": [perplexity_in_numpy, perplexity_as_a_product],
    "adamw_steps": [adamw_by_pytorch, adamw_by_numbers, adamw_in_place],
    "rate_at": [rate_by_one_formula, rate_from_zero_on],
    "clip_gradients": [clip_by_pytorch, clip_in_place, clip_as_lists],
    "decaying": [decaying_by_loop, decaying_by_kinds],
    "go_on": [go_on_in_place, go_on_in_torch],
}
