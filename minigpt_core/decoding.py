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

    @torch.no_grad()
    def __init__(self, model: GPT):
        self.H, self.C = H, C = model.config.n_head, model.config.n_embd
        self.eps = model.norm.eps
        self.tokens = _centred(model.token_embedding.weight, 1)  # (V, C)
        self.positions = _centred(model.position_embedding.weight, 1)  # (block_size, C)
        self.head, self.head_bias = _reader(model.norm, model.head)  # (V, C), (V,)
        self.blocks = []
        for block in model.blocks:
            assert isinstance(block, Block)
            attention, feed_forward = block.attention, block.feed_forward
            read = [_reader(block.norm1, part) for part in (attention.query, attention.key, attention.value)]
            weight = np.concatenate([part[0] for part in read])  # (3 C, C)
            bias = np.concatenate([part[1] for part in read])  # (3 C,)
            for array in (weight, bias):
                array[:C] /= (C / H) ** 0.5  # of the queries, so of the scores
            widen, widen_bias = _reader(block.norm2, feed_forward.widen)  # (4 C, C), (4 C,)
            output, narrow = _writer(attention.output), _writer(feed_forward.narrow)
            self.blocks.append((weight, bias, *output, widen, widen_bias, *narrow))

    def step(self, token: int, cache: KVCache) -> Array:
        """The logits (V,) after `token`, which follows what is in `cache` and is added to it."""
        C, H, n = self.C, self.H, cache.length
        keys, values = cache.keys.detach().numpy(), cache.values.detach().numpy()  # (n_layer, 1, H, block_size, D)
        x = self.tokens[token] + self.positions[n]  # (C,)
        for layer, (weight, bias, output, output_bias, widen, widen_bias, narrow, narrow_bias) in enumerate(
            self.blocks
        ):
            qkv = weight @ x  # (3 C,)
            qkv *= self._inverse_spread(x)
            qkv += bias
            qkv = qkv.reshape(3, H, C // H)
            K, U = keys[layer, 0, :, : n + 1], values[layer, 0, :, : n + 1]  # (H, S, D)
            K[:, n], U[:, n] = qkv[1], qkv[2]
            shares = K @ qkv[0][:, :, None]  # (H, S, 1)
            shares -= shares.max(axis=1, keepdims=True)
            np.exp(shares, out=shares)
            y = (shares.transpose(0, 2, 1) @ U)[:, 0]  # (H, D)
            y /= shares.sum(axis=1)
            x += output @ y.reshape(C)
            x += output_bias
            wide = widen @ x  # (4 C,)
            wide *= self._inverse_spread(x)
            wide += widen_bias
            np.maximum(wide, 0, out=wide)
            x += narrow @ wide
            x += narrow_bias
        cache.length = n + 1
        with np.errstate(invalid="ignore"):  # who draws from logits refuses what is not finite
            return (self.head @ x) * self._inverse_spread(x) + self.head_bias

    def _inverse_spread(self, x: Array) -> float:
        return float(x.dot(x) / self.C + self.eps) ** -0.5


def _centred(weight: Tensor, dim: int) -> Array:
    return np.ascontiguousarray((weight - weight.mean(dim=dim, keepdim=True)).numpy())


def _reader(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Array, Array]:
    """Weight and bias of a layer that reads the stream through `norm`, which is then only a division."""
    bias = linear.weight @ norm.bias  # (rows,)
    if linear.bias is not None:
        bias = bias + linear.bias
    return np.ascontiguousarray((linear.weight * norm.weight).numpy()), bias.numpy()


def _writer(linear: nn.Linear) -> tuple[Array, Array]:
    """Weight and bias of a layer that writes to the stream, without the mean of what it writes."""
    return _centred(linear.weight, 0), _centred(linear.bias, 0)
