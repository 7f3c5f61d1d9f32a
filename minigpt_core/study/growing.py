"""The model that grows from chapter to chapter: what chapter 06 writes by hand, for the chapters after it.

Its entrance, head and recipe stay the same; `mix`, the part in which positions learn of one another, is exchanged.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import get_batch

STEPS, BATCH, RATE, RISING = 900, 16, 3e-3, 50


class Average(nn.Module):
    """Each position gets the mean of itself and of all before it. (B, T, C) -> (B, T, C).

    >>> Average()(torch.tensor([[[1.0], [3.0], [8.0]]])).flatten()
    tensor([1., 2., 4.])
    """

    def forward(self, h: Tensor) -> Tensor:
        return h.cumsum(1) / torch.arange(1, h.shape[1] + 1, device=h.device)[:, None]


class Growing(nn.Module):
    """A vector for each letter and each place, a `mix` (B, T, C) -> (B, T, C), and a head. (B, T) -> (B, T, V). All weights begin
    as PyTorch draws them.

    >>> Growing(60, Average())(torch.zeros(2, 5, dtype=torch.long)).shape
    torch.Size([2, 5, 60])
    """

    def __init__(self, vocab_size: int, mix: nn.Module, block_size: int = 64, n_embd: int = 128):
        super().__init__()
        self.block_size = block_size
        self.letters = nn.Embedding(vocab_size, n_embd)
        self.places = nn.Embedding(block_size, n_embd)
        self.mix = mix
        self.head = nn.Linear(n_embd, vocab_size, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.letters(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))  # (B, T, C)
        return self.head(self.mix(h))


def start_small(model: nn.Module) -> None:
    """Draw all matrices and tables anew, from N(0, 0.02)."""
    for p in model.parameters():
        if p.ndim == 2:
            nn.init.normal_(p, std=0.02)


def fit(model: Growing, ids: Tensor, seed: int = 0) -> Iterator[float]:
    """Train for `STEPS` steps of AdamW on windows of ids (N,); yielded are the losses, each on its batch before its step. The
    rate rises for the first `RISING` steps, and falls to zero along a straight line."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99))
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / RISING) * (1 - step / STEPS)
        x, y = get_batch(ids, model.block_size, BATCH, seed=seed, step=step)  # (B, T)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield loss.item()


@torch.no_grad()
def mean_loss(model: Growing, ids: Tensor) -> float:
    """In nats per token, over windows of ids (N,) side by side; what is too short for a window is left out."""
    if len(ids) <= model.block_size:
        raise ValueError(f"one window needs block_size + 1 = {model.block_size + 1} tokens, but there are {len(ids)}")
    end = (len(ids) - 1) // model.block_size * model.block_size
    x, y = ids[:end].view(-1, model.block_size), ids[1 : end + 1].view(-1, model.block_size)  # (B, T)
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item()
