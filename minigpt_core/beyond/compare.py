"""Where two models part: the tool for everybody who loads weights into their own code."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..attention import causal_mask
from ..model import evaluating
from .composed import ComposedGPT
from .formats import GPT2, GPT2_QKV, GPT2_QKV_THEIRS, LLAMA, halves_from_pairs, pairs_from_halves
from .parts import GroupedAttention, rotate

NEAR = 1e-4  # of the largest number at that place: what float32 and another order of sums may bring


@dataclass(frozen=True)
class Difference:
    """The first place where two models part, by how much (of the largest number there), and how, where that was recognised."""

    place: str
    size: float
    how: str

    def __str__(self) -> str:
        return f"{self.place}: {self.how} (they differ by {self.size:.1%} of the largest number there)"


def first_difference(ours: ComposedGPT, theirs: nn.Module, ids: Tensor) -> Difference | None:
    """Run both models on ids (B, T) and walk through them, layer by layer: the first place where their numbers part, or None.
    `theirs` is a GPT-2 or a Llama of transformers, or a `ComposedGPT` of the same shape.

    What comes before that place agrees, so the fault lies there. If it is a linear layer, a norm or the mixing of values, it is
    tried whether one is the other transposed, scaled, permuted, with another epsilon, or turned another way.

    >>> first_difference(model, LlamaForCausalLM.from_pretrained(folder), ids)          # doctest: +SKIP
    Difference(place='blocks.1.attention.output', size=0.83, how='our matrix is theirs transposed')
    """
    names = _places(ours, theirs)
    mine, others = _run(ours, list(names), ids), _run(theirs, list(names.values()), ids)
    for own, other in names.items():
        a, b = mine[own], _in_our_order(own, other, others[other], ours)
        if a.shape != b.shape:
            return Difference(own, math.inf, f"our numbers have the shape {tuple(a.shape)}, theirs {tuple(b.shape)}")
        size = ((a - b).abs().max() / b.abs().max().clamp(min=1e-12)).item()
        if not size <= NEAR:  # NaN parts too
            return Difference(own, size, _how(own, ours, theirs, other, mine, a, b))
    return None
