"""Causal multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2), and the cache for generation.

Letters for shapes, in the whole package: B texts in a batch, T positions, C channels (n_embd), H heads,
D = C / H channels a head, S positions looked at (T, and those in the cache), V tokens in the vocabulary.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import GPTConfig


class KVCache:
    """The keys and values of the positions that a model has already seen, in memory allocated once.

    Keys and values of a position depend on nothing that comes after it, so a generated token needs only its own.
    """

    def __init__(self, config: GPTConfig, batch_size: int, like: Tensor):
        shape = (config.n_layer, batch_size, config.n_head, config.block_size, config.n_embd // config.n_head)
        self.keys = like.new_empty(shape)  # (n_layer, B, H, block_size, D)
        self.values = like.new_empty(shape)
        self.length = 0  # positions filled; the model moves it on after its last layer

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k and v (B, H, T, D) of one layer; return all so far, (B, H, S, D) each."""
        end = self.length + k.shape[2]
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """The attention pattern, how much each position attends to itself and to each earlier one: softmax(q k^T / sqrt(D)) under
    the causal mask.

    q (B, H, T, D) are the last T of the S positions of k (B, H, S, D); the result, (B, H, T, S), has rows that sum to 1.

    >>> attention_weights(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 2))[0, 0, 1]
    tensor([0.5000, 0.5000, 0.0000])
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, T, S)
    return scores.masked_fill(~causal_mask(q, k), -math.inf).softmax(dim=-1)


def causal_mask(q: Tensor, k: Tensor) -> Tensor:
    """True where the position of a row may attend to the position of a column: (T, S), the last row sees everything."""
    T, S = q.shape[2], k.shape[2]
    return torch.ones(T, S, dtype=torch.bool, device=q.device).tril(diagonal=S - T)


class CausalSelfAttention(nn.Module):
    """Each position gathers values from itself and the positions before it, weighted by how well its query fits their
    keys. (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        C = config.n_embd
        self.query, self.key, self.value = nn.Linear(C, C), nn.Linear(C, C), nn.Linear(C, C)
        self.output = nn.Linear(C, C)
        self.dropout = nn.Dropout(config.dropout)
        self.n_head, self.fused = config.n_head, config.fused

    def split_heads(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        return x.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)  # (B, H, T, D)

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        q = self.split_heads(self.query(x))  # (B, H, T, D)
        k = self.split_heads(self.key(x))
        v = self.split_heads(self.value(x))
        if cache is not None:
            k, v = cache.extend(layer, k, v)  # (B, H, S, D)
        if self.fused:
            T, S = q.shape[2], k.shape[2]
            mask = causal_mask(q, k) if 1 < T < S else None
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=T == S)
        else:
            y = attention_weights(q, k) @ v  # (B, H, T, D)
        y = y.transpose(1, 2).reshape(x.shape)  # (B, T, C): the heads side by side
        return self.dropout(self.output(y))

    def weights(self, x: Tensor) -> Tensor:
        """The attention weights (B, H, T, T) for the input x (B, T, C), computed apart from the normal path."""
        return attention_weights(self.split_heads(self.query(x)), self.split_heads(self.key(x)))
