"""Taking parts out of a model, to see what each is there for: before training, or out of a trained model while it reads."""

import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ..attention import CausalSelfAttention, KVCache
from ..layers import Block
from ..model import GPT

PARTS = ("attention", "feed-forward", "residual", "norm", "positions", "pre-norm")


class _Silent(nn.Module):
    """Says nothing: zeros in the place of what a part would have added."""

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return torch.zeros_like(x)


class _NoPositions(nn.Module):
    """Adds nothing to any position."""

    def forward(self, positions: Tensor) -> Tensor:
        return torch.zeros_like(positions)[:, None]  # (T, 1)


class _NoResidual(Block):
    """A block that hands on what its parts compute, instead of adding it to what it was given."""

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        x = self.attention(self.norm1(x), cache, layer)  # (B, T, C)
        return self.feed_forward(self.norm2(x))


class _PostNorm(Block):
    """The block as it was first published (Vaswani et al. 2017): the stream itself is normalised, after each addition."""

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        x = self.norm1(x + self.attention(x, cache, layer))  # (B, T, C)
        return self.norm2(x + self.feed_forward(x))


def remove(model: GPT, part: str) -> GPT:
    """`model`, changed in place, without one of its parts: "attention", "feed-forward", "residual" (the additions),
    "norm" (every LayerNorm), "positions", or "pre-norm" (LayerNorm moves from before each part to after its addition). What
    is not the plain GPT, or has lost its residual or pre-norm already where one of these is to go, is a `ValueError`.

    >>> remove(GPT(GPTConfig(vocab_size=65, n_layer=2)), "feed-forward").n_parameters
    158208
    """
    if part not in PARTS:
        raise ValueError(f"there is no part {part!r} to remove: choose among {', '.join(PARTS)}")
    if type(model) is not GPT:
        raise ValueError(f"parts can be removed from the plain GPT only, not from a {type(model).__name__}")
    if part in ("residual", "pre-norm") and any(type(block) is not Block for block in model.blocks):
        raise ValueError(
            f"the blocks of this model are not those of the plain GPT any more: {part!r} cannot be removed"
        )
    for block in model.blocks:
        if part == "attention":
            _replace(block, "attention", _Silent())
        elif part == "feed-forward":
            _replace(block, "feed_forward", _Silent())
        elif part == "norm":
            _replace(block, "norm1", nn.Identity())
            _replace(block, "norm2", nn.Identity())
        elif part in ("residual", "pre-norm"):  # the same parts, put together otherwise
            block.__class__ = _NoResidual if part == "residual" else _PostNorm
    if part == "norm":
        _replace(model, "norm", nn.Identity())
    if part == "positions":
        _replace(model, "position_embedding", _NoPositions())
    return model


def _replace(whole: nn.Module, name: str, part: nn.Module) -> None:
    """Put `part`, in the same mode, in the place of the one of that name."""
    whole.add_module(name, part.train(whole.get_submodule(name).training))


@contextlib.contextmanager
def knocked_out(model: GPT, heads: Iterable[tuple[int, int]]) -> Iterator[GPT]:
    """While it lasts, the attention heads (layer, head) of `model` pass on nothing.

    >>> with knocked_out(model, [(0, 1), (1, 3)]):                                      # doctest: +SKIP
    ...     logits, _ = model(idx)
    """
    D = model.config.n_embd // model.config.n_head
    silenced: dict[int, list[int]] = {}
    for pair in heads:
        try:
            layer, head = map(operator.index, pair)
        except (TypeError, ValueError):
            raise ValueError(
                f"heads are pairs of whole numbers, layer and head, such as (0, 1), not {pair!r}"
            ) from None
        if not (0 <= layer < model.config.n_layer and 0 <= head < model.config.n_head):
            raise ValueError(
                f"there is no head {head} in layer {layer}: the model has {model.config.n_layer} layers "
                f"of {model.config.n_head} heads, counted from 0"
            )
        if not isinstance(model.get_submodule(f"blocks.{layer}.attention"), CausalSelfAttention):
            raise ValueError(f"layer {layer} has no attention any more: there is no head {head} to knock out")
        silenced.setdefault(layer, []).append(head)

    def silencer(out: list[int]) -> Callable[[nn.Module, tuple[Tensor]], Tensor]:
        def hook(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
            y = inputs[0].clone()  # (B, T, C), the heads side by side
            for head in out:
                y[..., head * D : (head + 1) * D] = 0
            return y

        return hook

    outputs = [model.get_submodule(f"blocks.{layer}.attention.output") for layer in silenced]
    hooks = [
        output.register_forward_pre_hook(silencer(out)) for output, out in zip(outputs, silenced.values(), strict=True)
    ]
    try:
        yield model
    finally:
        for hook in hooks:
            hook.remove()
