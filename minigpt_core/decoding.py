"""One token at a time, fast: the arithmetic of `GPT` for one text on a CPU, in numpy.

A generated token is one row of numbers, (C,). At that size a processor computes for less time than PyTorch takes to be
called, so what counts is the number of calls. Two rewritings that change no result save most of them. Both rest on this:
each linear layer that reads the stream reads it through a LayerNorm, norm(x) = (x - mean) / spread * gain + shift.

- gain and shift go into the weights that read: W (n * gain + shift) + b = (W * gain) n + (W shift + b);
- a mean that every reader subtracts need never be written: the weights that write to the stream are centred once, so that
  its mean is always zero, and its spread is the root of x . x / C.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .attention import KVCache
from .config import GPTConfig
from .layers import Block
from .model import GPT
from .registry import build

Array = np.ndarray[Any, Any]


def can_decode(model: GPT) -> bool:
    """Whether a `Decoder` computes what `model` does: the plain GPT, on the CPU.

    >>> can_decode(GPT(GPTConfig(vocab_size=65))), can_decode(GPT(GPTConfig(vocab_size=65)).double())
    (True, False)
    """
    return not unlike_plain(model) and all(p.device.type == "cpu" for p in model.parameters())


def unlike_plain(model: GPT) -> str:
    """What sets `model` apart from the plain GPT of its settings in float32, in words. Nothing ("") where a `Decoder`, which
    knows that one only, computes the same.

    >>> unlike_plain(GPT(GPTConfig(vocab_size=65)).double())
    'token_embedding.weight is in torch.float64'
    """
    return unlike_settings(model) if type(model) is GPT else f"this one is a {type(model).__name__}"


def unlike_settings(model: GPT) -> str:
    """What sets `model` apart from one that is built anew of its settings, plain or of other parts, in float32: a part
    replaced, added or patched, or another number format. Nothing ("") where both compute the same from the same weights.

    >>> model = GPT(GPTConfig(vocab_size=65))
    >>> model.norm = nn.LayerNorm(128, eps=0.1)
    >>> unlike_settings(model)
    'norm is LayerNorm((128,), eps=0.1, elementwise_affine=True, bias=True)'
    """
    try:
        built = _built(model.config)
    except ValueError as error:  # of no kind that is known
        return str(error)
    if type(model) is not built[""][0][0]:
        return f"this one is a {type(model).__name__}"
    own = dict(model.named_modules(remove_duplicate=False))
    for name, part in own.items():
        look, shapes = built.get(name, (None, {}))
        if _look(part) != look:
            return f"{name} is {part!r}".splitlines()[0].removesuffix("(")  # of one with parts of its own, its kind
        if part._forward_hooks or part._forward_pre_hooks:
            return f"{name or 'the model'} has a hook"
        if patched := [x for x in vars(part) if not x.startswith("_") and callable(getattr(type(part), x, None))]:
            return f"{name or 'the model'} has another {patched[0]}"
        for which, parameter in part._parameters.items():
            if parameter is not None and parameter.shape != shapes.get(which):
                return f"{name}.{which} has the shape {tuple(parameter.shape)}"
            if parameter is not None and parameter.dtype != torch.float32:
                return f"{name}.{which} is in {parameter.dtype}"
    if getattr(model.config, "tied", False) and model.head.weight is not model.token_embedding.weight:
        return "its head is tied to another embedding"
    missing = built.keys() - own.keys()
    return f"{min(missing)} is missing" if missing else ""


@lru_cache(maxsize=8)
def _built(config: GPTConfig) -> dict[str, tuple[Any, dict[str, torch.Size]]]:
    """The look of each part of a model of these settings, and the shapes of its parameters."""
    with torch.device("meta"):  # no memory, no random numbers
        parts = build(config).named_modules()
    return {
        name: (_look(part), {which: p.shape for which, p in part.named_parameters(recurse=False)})
        for name, part in parts
    }


def _look(part: nn.Module) -> tuple[object, ...]:
    """What a part computes, weights aside. How much a dropout drops does not matter to a text."""
    settings = "" if isinstance(part, nn.Dropout) else part.extra_repr()
    own = (getattr(part, name, None) for name in ("n_head", "n_kv_head", "rope_base", "qk_norm", "eps"))
    return type(part), settings, *own


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
    with the tokens sorted once, each filter keeps the first ones. The knobs are taken as `shape_logits` allows them.

    >>> [choose(np.log([0.5, 0.25, 0.25]), np.zeros(3), u, top_k=2) for u in (0.0, 0.6, 0.7)]
    [0, 0, 1]
    """
    most = np.finfo(np.float64).max  # where a result would be larger, it is this one
    with np.errstate(over="ignore"):
        penalties = counts * float(frequency_penalty) + (counts > 0) * float(presence_penalty)
        logits = np.clip(logits.astype(np.float64) - penalties, -most, most)
    if temperature <= 1e-6:
        return int(logits.argmax())
    order = (-logits).argsort(kind="stable")[:top_k]  # the likeliest first, ties to the lower id
    with np.errstate(over="ignore"):
        weights = np.exp((logits[order] - logits[order[0]]) / float(temperature))
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
