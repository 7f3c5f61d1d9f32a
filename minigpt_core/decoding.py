"""One token at a time, fast: the arithmetic of `GPT` for one text on a CPU, in numpy.

A generated token is one row of numbers, (C,). At that size a processor computes for less time than PyTorch takes to be
called, so what counts is the number of calls. Two rewritings that change no result save most of them. Both rest on this:
each linear layer that reads the stream reads it through a LayerNorm, norm(x) = (x - mean) / spread * gain + shift.

- gain and shift go into the weights that read: W (n * gain + shift) + b = (W * gain) n + (W shift + b);
- a mean that every reader subtracts need never be written: the weights that write to the stream are centred once, so that
  its mean is always zero, and its spread is the root of x . x / C.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .attention import CausalSelfAttention, KVCache
from .layers import Block, FeedForward
from .model import GPT

Array = np.ndarray[Any, Any]
PARTS = {GPT, nn.ModuleList, Block, CausalSelfAttention, FeedForward, nn.LayerNorm, nn.Linear, nn.Embedding, nn.Dropout}


def can_decode(model: GPT) -> bool:
    """Whether a `Decoder` computes what `model` does: on the CPU, in float32, nothing replaced, nothing hooked on.

    >>> can_decode(GPT(GPTConfig(vocab_size=65))), can_decode(GPT(GPTConfig(vocab_size=65)).double())
    (True, False)
    """
    plain = all(
        type(m) in PARTS and not m._forward_hooks and not m._forward_pre_hooks and "forward" not in vars(m)
        for m in model.modules()
    )
    return plain and model.device.type == "cpu" and model.head.weight.dtype == torch.float32


class Decoder:
    """Reads one token after another into a `KVCache` that the model itself has begun.

    >>> model = GPT(GPTConfig(vocab_size=65)).eval()
    >>> cache = model.new_cache()
    >>> _ = model(torch.tensor([[1, 2]]), cache=cache)
    >>> Decoder(model).step(3, cache).shape
    (65,)
    """

    def __init__(self, model: GPT):
        self.H, self.C = H, C = model.config.n_head, model.config.n_embd
        self.eps = model.norm.eps
        self.tokens = _centred(_numbers(model.token_embedding.weight), 1)  # (V, C)
        self.positions = _centred(_numbers(model.position_embedding.weight), 1)  # (block_size, C)
        self.head, self.head_bias = _reader(model.norm, model.head)  # (V, C), (V,)
        self.blocks = []
        for block in model.blocks:
            assert isinstance(block, Block)
            attention, feed_forward = block.attention, block.feed_forward
            weight, bias = _reader(block.norm1, attention.query, attention.key, attention.value)  # (3 C, C), (3 C,)
            for array in (weight, bias):
                array[:C] /= (C / H) ** 0.5  # of the queries, so of the scores
            widen, widen_bias = _reader(block.norm2, feed_forward.widen)  # (4 C, C), (4 C,)
            output, narrow = _writer(attention.output), _writer(feed_forward.narrow)
            self.blocks.append((weight, bias, *output, widen, widen_bias, *narrow))

    def step(self, token: int, cache: KVCache) -> Array:
        """The logits (V,) after `token`, which follows what is in `cache` and is added to it."""
        C, H, n = self.C, self.H, cache.length
        keys, values = _numbers(cache.keys), _numbers(cache.values)  # (n_layer, 1, H, block_size, D)
        x = self.tokens[token] + self.positions[n]  # (C,)
        for layer, (weight, bias, output, output_bias, widen, widen_bias, narrow, narrow_bias) in enumerate(
            self.blocks
        ):
            qkv = weight.dot(x)  # (3 C,)
            qkv *= self._inverse_spread(x)
            qkv += bias
            qkv = qkv.reshape(3, H, C // H)
            K, U = keys[layer, 0, :, : n + 1], values[layer, 0, :, : n + 1]  # (H, S, D)
            K[:, n], U[:, n] = qkv[1], qkv[2]
            shares = K @ qkv[0][:, :, None]  # (H, S, 1)
            shares -= np.maximum.reduce(shares, axis=1, keepdims=True)
            np.exp(shares, out=shares)
            y = (shares.transpose(0, 2, 1) @ U)[:, 0]  # (H, D)
            y /= np.add.reduce(shares, axis=1)
            x += output.dot(y.reshape(C))
            x += output_bias
            wide = widen.dot(x)  # (4 C,)
            wide *= self._inverse_spread(x)
            wide += widen_bias
            np.maximum(wide, 0, out=wide)
            x += narrow.dot(wide)
            x += narrow_bias
        cache.length = n + 1
        return self.head.dot(x) * self._inverse_spread(x) + self.head_bias

    def _inverse_spread(self, x: Array) -> float:
        return float(x.dot(x) / self.C + self.eps) ** -0.5


def choose(
    logits: Array,
    counts: Array,
    u: float,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
) -> int:
    """The token that `shape_logits` and `draw` would choose from logits (V,), of which each has occurred `counts` (V,) times:
    with the tokens sorted once, each filter keeps the first ones.

    >>> [choose(np.log([0.5, 0.25, 0.25]), np.zeros(3), u, top_k=2) for u in (0.0, 0.6, 0.7)]
    [0, 0, 1]
    """
    logits = logits.astype(np.float64) - counts * frequency_penalty - (counts > 0) * presence_penalty
    if temperature <= 1e-6:
        return int(logits.argmax())
    order = (-logits).argsort(kind="stable")[:top_k]  # the likeliest first, ties to the lower id
    weights = np.exp((logits[order] - logits[order[0]]) / temperature)
    cumulated = weights.cumsum()
    kept = (cumulated - weights < top_p * cumulated[-1]) & (weights >= min_p)
    by_id = np.zeros(len(logits))
    by_id[order[kept]] = weights[kept]
    cumulated = by_id.cumsum()
    return min(int(cumulated.searchsorted(u * cumulated[-1], side="right")), int(by_id.nonzero()[0][-1]))


def _numbers(tensor: Tensor) -> Array:
    """The numbers of a parameter, where they are: not a copy."""
    return tensor.detach().numpy()


def _centred(array: Array, axis: int) -> Array:
    return array - array.mean(axis=axis, keepdims=True)


def _reader(norm: nn.LayerNorm, *linears: nn.Linear) -> tuple[Array, Array]:
    """Weight and bias of layers that read the stream through `norm`, which is then only a division, as one layer."""
    weight = np.concatenate([_numbers(linear.weight) for linear in linears])
    bias = weight.dot(_numbers(norm.bias))  # (rows,)
    if linears[0].bias is not None:
        bias += np.concatenate([_numbers(linear.bias) for linear in linears])
    weight *= _numbers(norm.weight)
    return weight, bias


def _writer(linear: nn.Linear) -> tuple[Array, Array]:
    """Weight and bias of a layer that writes to the stream, without the mean of what it writes."""
    return _centred(_numbers(linear.weight), 0), _centred(_numbers(linear.bias), 0)
