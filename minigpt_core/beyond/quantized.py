"""Weights of one byte each: a quarter of the memory. What that costs in quality and in time, the chapter on real models measures."""

import contextlib
import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoint import narrow_weights
from .composed import ComposedGPT, TiedHead


class Int8Linear(nn.Module):
    """A linear layer whose matrix is kept as whole numbers from -127 to 127 and one scale a row. (..., C) -> (..., rows)."""

    numbers: Tensor  # (rows, C), int8
    scale: Tensor  # (rows,)
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        super().__init__()
        numbers, scale = narrow_weights({"weight": weight.detach()}).values()
        self.register_buffer("numbers", numbers)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        if (
            x.device.type == "cpu"
        ):  # PyTorch's product of both kinds reads a quarter of the bytes; plain torch would widen them all first
            rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16)  # (N, C)
            y = torch._weight_int8pack_mm(rows, self.numbers, torch.ones_like(self.scale, dtype=torch.bfloat16))
            y = y.view(*x.shape[:-1], -1).to(x.dtype) * self.scale
        else:
            y = F.linear(x, self.numbers.to(x.dtype)) * self.scale
        return y if self.bias is None else y + self.bias


class Int8Embedding(nn.Module):
    """A table of vectors kept in the same way, of which only those are widened that are looked up. (B, T) -> (B, T, C)."""

    def __init__(self, table: Int8Linear):
        super().__init__()
        self.table = table

    def forward(self, ids: Tensor) -> Tensor:
        return self.table.numbers[ids] * self.table.scale[ids][..., None]


def quantize(model: ComposedGPT) -> ComposedGPT:
    """`model`, changed in place, with every matrix in int8, for generation and measurement only: it cannot be trained on. A tied
    head and its embedding stay one matrix.

    >>> from minigpt_core.beyond.composed import ComposedConfig
    >>> quantize(ComposedGPT(ComposedConfig(vocab_size=65))).head.numbers.dtype
    torch.int8
    """
    if not isinstance(model, ComposedGPT):
        raise ValueError(f"only a ComposedGPT is quantized in place, and this is a {type(model).__name__}")
    table = Int8Linear(model.token_embedding.weight)
    model.token_embedding = Int8Embedding(table)  # type: ignore[assignment]
    if isinstance(model.head, TiedHead):
        model.head = table
    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Linear):
                part.add_module(name, Int8Linear(child.weight, child.bias))
            elif isinstance(child, nn.Embedding):
                part.add_module(name, Int8Embedding(Int8Linear(child.weight)))
    with contextlib.suppress(OSError, AttributeError):  # where Linux's C library keeps what was freed, it gives it back
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return model


def weight_bytes(model: nn.Module) -> int:
    """How much memory the weights take, each counted once.

    >>> weight_bytes(nn.Linear(10, 10))
    440
    """
    tensors = [*model.parameters(), *model.buffers()]
    return sum({t.data_ptr(): t.numel() * t.element_size() for t in tensors}.values())
