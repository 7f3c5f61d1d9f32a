"""GPT: a stack of blocks between token ids and the scores of the next token (Radford et al. 2019, GPT-2, but plainer)."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import KVCache
from .checks import check_idx
from .config import GPTConfig
from .layers import Block


class GPT(nn.Module):
    """A decoder-only Transformer, from ids (B, T) to logits (B, T, V): at each position, a score for each token that might
    come next.

    >>> model = GPT(GPTConfig(vocab_size=65))
    >>> logits, loss = model(torch.tensor([[1, 2, 3]]), targets=torch.tensor([[2, 3, 4]]))
    >>> logits.shape
    torch.Size([1, 3, 65])
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.apply(self._init_weights)

    @staticmethod
    def _init_weights(module: nn.Module) -> None:
        """N(0, 0.02) for weights, zero for biases: all tokens begin about equally likely, at a loss near ln V."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def __call__(self, idx: Tensor, targets: Tensor | None = None, cache: KVCache | None = None) -> Any:
        """What `forward` returns; what is no batch of the model's token ids is a `ValueError` before it."""
        check_idx("idx", idx, "(B, T)", self.config.vocab_size)
        if targets is not None and targets.shape != idx.shape:
            raise ValueError(f"targets must have the shape of idx, {tuple(idx.shape)}, not {tuple(targets.shape)}")
        return super().__call__(idx, targets, cache)

    def forward(
        self, idx: Tensor, targets: Tensor | None = None, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits (B, T, V), and with `targets` (B, T) the mean cross-entropy in nats, else None.

        With a `cache`, idx are the tokens that follow those already in it. More tokens than the context window holds
        are a `ValueError`.
        """
        start = cache.length if cache is not None else 0
        end = start + idx.shape[1]
        if end > self.config.block_size:
            raise ValueError(f"{end} tokens do not fit into the context window of block_size={self.config.block_size}")
        positions = torch.arange(start, end, device=idx.device)  # (T,)
        x = self.dropout(self.token_embedding(idx) + self.position_embedding(positions))  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)  # (B, T, C)
        if cache is not None:
            cache.length = end
        logits = self.head(self.norm(x))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def new_cache(self, batch_size: int = 1) -> KVCache:
        """An empty key-value cache for generating `batch_size` texts at once."""
        return KVCache(self.config, batch_size, like=self.head.weight)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    @property
    def n_parameters(self) -> int:
        """How many numbers training adjusts."""
        return sum(p.numel() for p in self.parameters())


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """While it lasts, `model` is in evaluation mode (no dropout); then each of its parts is as it was.

    >>> with evaluating(model):                                                         # doctest: +SKIP
    ...     logits, _ = model(idx)
    """
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
