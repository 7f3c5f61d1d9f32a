"""Where two models part: the tool for everybody who loads weights into their own code."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import causal_mask
from ..model import evaluating
from .composed import ComposedGPT
from .formats import GPT2, GPT2_QKV, GPT2_QKV_THEIRS, LLAMA, halves_from_pairs, pairs_from_halves
from .parts import GroupedAttention, rotate

NEAR = 1e-4  # of the largest number at a place: what float32 and another order of sums may bring
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": F.relu,
    "squared ReLU": lambda x: F.relu(x).square(),
    "GELU by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "exact GELU": F.gelu,
    "SiLU": F.silu,
}


@dataclass(frozen=True)
class Difference:
    """The first place where two models part; by how much, as a share of the largest number there; and how."""

    place: str
    size: float
    how: str


def first_difference(ours: ComposedGPT, theirs: nn.Module, ids: Tensor) -> Difference | None:
    """Run both models on ids (B, T) and walk through them, layer by layer: the first place where their numbers part, or None.
    `theirs` is a GPT-2 or a Llama of transformers, or a `ComposedGPT` of the same parts.

    All that comes before that place agrees, so the fault lies there. What may have happened is tried: a matrix transposed,
    scaled or in another order, a norm with another epsilon, scores that were not divided, pairs of another kind, another
    activation function, a head that should be tied.

    >>> first_difference(model, LlamaForCausalLM.from_pretrained("llama"), ids)         # doctest: +SKIP
    Difference(place='blocks.1.attention.output', size=0.83, how='our matrix is theirs transposed')
    """
    pair = _Pair(ours, theirs, ids)
    for place in pair.names:
        a, b = pair.ours_at(place), pair.theirs_at(place)
        if a.shape != b.shape:
            return Difference(place, math.inf, f"ours has the shape {tuple(a.shape)}, theirs {tuple(b.shape)}")
        if not _near(a, b):
            return Difference(place, ((a - b).abs().max() / b.abs().max()).item(), pair.how(place, a, b))
    return None


def _near(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same but for rounding. One with NaN is not."""
    return a.shape == b.shape and bool((a - b).abs().max() <= NEAR * b.abs().max())


class _Pair:
    """Two models and what came out of each of their parts. A place "x<" is what went into the part x."""

    def __init__(self, ours: ComposedGPT, theirs: nn.Module, ids: Tensor):
        self.ours, self.theirs, self.config = ours, theirs, ours.config
        self.kind = "same" if isinstance(theirs, ComposedGPT) else "gpt2" if hasattr(theirs, "transformer") else "llama"
        self.names = self._places()
        wanted = [*self.names, *(f"{name}<" for name, part in ours.named_modules() if "norm" in name)]
        with torch.no_grad(), evaluating(ours), evaluating(theirs):
            with _caught(ours, wanted) as self.mine:
                self.mine["logits"] = ours(ids)[0]
            with _caught(theirs, list(self.names.values())) as self.others:
                logits = theirs(ids)
                self.others["logits"] = logits[0] if isinstance(logits, tuple) else logits.logits

    def _places(self) -> dict[str, str]:
        """Our places in the order of the computation, and the names that they have in the other model."""
        if self.kind == "same":
            table = {name: name for name, _ in self.ours.named_modules()}
        elif self.kind == "gpt2":
            table = {**GPT2, **dict.fromkeys(GPT2_QKV, GPT2_QKV_THEIRS), "blocks.*": "transformer.h.*"}
        else:
            table = {own.removesuffix(".weight"): names[0].removesuffix(".weight") for own, names in LLAMA.items()}
            table["blocks.*"] = "model.layers.*"
        attention = [f"attention.{part}" for part in ("query", "key", "value", "output<", "output")]
        network = [f"feed_forward.{part}" for part in ("gate", "widen", "narrow<", "narrow")]
        order = ["token_embedding", "position_embedding"]
        for i in range(self.config.n_layer):
            order += [f"blocks.{i}.{part}" for part in ("norm1", *attention, "norm2", *network)] + [f"blocks.{i}"]
            table |= {k.replace("*", str(i)): v.replace("*", str(i)) for k, v in table.items() if "*" in k}
        order += ["norm", "head", "logits"]
        table["logits"] = "logits"
        return {p: table[p.removesuffix("<")] + "<" * p.endswith("<") for p in order if p.removesuffix("<") in table}

    def ours_at(self, place: str) -> Tensor:
        return self.mine[place]

    def theirs_at(self, place: str) -> Tensor:
        """What came out there, in our order and shape."""
        x = self._in_our_order(place, self.others[self.names[place]])
        return x.reshape(self.mine[place].shape) if x.numel() == self.mine[place].numel() else x

    def _in_our_order(self, place: str, x: Tensor) -> Tensor:
        """Numbers (..., width) of the other model's part; of a GPT-2 one third, of a Llama's queries and keys as pairs."""
        part = place.rpartition(".")[2]
        if self.kind == "gpt2" and part in ("query", "key", "value"):
            return x.chunk(3, dim=-1)[("query", "key", "value").index(part)]
        if self.kind == "llama" and part in ("query", "key"):
            heads = self.config.n_head if part == "query" else self.config.key_heads
            return pairs_from_halves(x.flatten(0, -2).T, heads).T.reshape(x.shape)
        return x

    def _weights(self, place: str) -> Iterator[tuple[str, Tensor, Tensor]]:
        """The matrix and the bias of both, theirs in our order and orientation."""
        mine, other = self.ours.get_submodule(place), self.theirs.get_submodule(self.names[place])
        outputs_first = self.kind != "gpt2" or isinstance(
            other, (nn.Embedding, nn.Linear)
        )  # GPT-2's others are transposed
        for name, what in (("weight", "matrix"), ("bias", "bias")):
            a, b = getattr(mine, name, None), getattr(other, name, None)
            if a is None or b is None:
                continue
            if b.dim() == 2 and outputs_first and not isinstance(other, nn.Embedding):
                b = b.T
            b = self._in_our_order(place, b)
            yield what, a.detach(), (b.T if b.dim() == 2 and not isinstance(other, nn.Embedding) else b).detach()

    def how(self, place: str, a: Tensor, b: Tensor) -> str:
        """How ours, a, and theirs, b, part at the place, in words."""
        part = place.rpartition(".")[2]
        if part == "output<":
            return self._how_mixed(place, a, b)
        if part == "narrow<":
            return self._how_activated(place, a, b)
        if place == "logits" or part.isdigit():
            return relation(a, b, "result")
        if place == "head" and self._theirs_is_tied():
            return "their head is the token embedding, and ours is another matrix: tie it"
        for what, ours, theirs in self._weights(place):
            if not _near(ours, theirs):
                return relation(ours, theirs, "gain" if "norm" in part and what == "matrix" else what)
        return self._how_normed(place, a, b) if "norm" in part else relation(a, b, "result")

    def _theirs_is_tied(self) -> bool:
        head, embedding = (self.theirs.get_submodule(self.names[name]) for name in ("head", "token_embedding"))
        return bool(torch.equal(head.weight, embedding.weight)) and not self.config.tied  # type: ignore[arg-type]

    def _how_normed(self, place: str, a: Tensor, b: Tensor) -> str:
        """With the same gains: the epsilon of theirs follows from how much longer their vectors are."""
        x, norm = self.mine[f"{place}<"], self.ours.get_submodule(place)
        variance = x.square().mean(-1) if self.config.norm == "rms" else x.var(-1, correction=0)  # (B, T)
        shift = getattr(norm, "bias", None)
        if shift is not None:
            a, b = a - shift, b - shift
        shorter = (a.norm(dim=-1) / b.norm(dim=-1)).square()
        eps = float(norm.eps)  # type: ignore[arg-type]
        theirs = (shorter * (variance + eps) - variance).median().item()
        return f"another epsilon: ours is {eps:.1e}, theirs about {theirs:.1e}"

    def _how_activated(self, place: str, a: Tensor, b: Tensor) -> str:
        layer = place.removesuffix("narrow<")
        wide = self.mine[f"{layer}widen"]
        gate = self.mine.get(f"{layer}gate")
        tried = {name: f(wide) if gate is None else f(gate) * wide for name, f in ACTIVATIONS.items()}
        found = [next((name for name, y in tried.items() if _near(y, x)), "") for x in (a, b)]
        if all(found):
            return f"another activation function: ours is {found[0]}, theirs {found[1]}"
        return "another activation function"

    def _how_mixed(self, place: str, a: Tensor, b: Tensor) -> str:
        """The values are mixed anew from our queries, keys and values, in each of the ways that are often taken."""
        attention = self.ours.get_submodule(place.removesuffix(".output<"))
        assert isinstance(attention, GroupedAttention)
        q, k, v = (attention.split_heads(self.mine[place.replace("output<", p)]) for p in ("query", "key", "value"))
        found = []
        for mixed in (a, b):
            names = [name for name, y in _ways(attention, q, k, v) if _near(y, mixed)]
            found.append(names[0] if names else "")
        if not all(found):
            return "the values are mixed in another way: look at positions, mask and scale"
        return f"the values are mixed in another way: ours {found[0]}, theirs {found[1]}"


def _ways(attention: GroupedAttention, q: Tensor, k: Tensor, v: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Each way to mix the values, by name, and its result (B, T, C)."""
    base = attention.rope_base
    turns: dict[str, Callable[[Tensor], Tensor]] = {"turns no positions": lambda x: x}
    if base is not None:
        turns = {
            "turns neighbouring pairs": lambda x: rotate(x, 0, base),
            "turns pairs of halves": lambda x: rotate_halves(x, base),
            **turns,
        }
    for turn, turned in turns.items():
        for scale, factor in (("", q.shape[-1] ** -0.5), (" and leaves the scores undivided", 1.0)):
            for mask, causal in (("", True), (" and sees the future", False)):
                scores = turned(q) @ attention.share(turned(k)).mT * factor  # (B, H, T, T)
                if causal:
                    scores = scores.masked_fill(~causal_mask(q, k), -math.inf)
                y = scores.softmax(-1) @ attention.share(v)  # (B, H, T, D)
                yield f"{turn}{scale}{mask}", y.transpose(1, 2).flatten(2)


def rotate_halves(x: Tensor, base: float) -> Tensor:
    """`rotate`, but number i of a head is paired with number i + D / 2, not with its neighbour."""
    D = x.shape[-1]
    order = torch.arange(D).view(2, -1).T.flatten()  # 0, D / 2, 1, D / 2 + 1, ...
    return rotate(x[..., order].contiguous(), 0, base)[..., order.argsort()]


def relation(a: Tensor, b: Tensor, what: str) -> str:
    """How `a`, ours, comes from `b`, theirs, in words: transposed, scaled, with rows or columns in another order.

    >>> relation(torch.tensor([[1.0, 3.0], [2.0, 4.0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "matrix")
    'our matrix is theirs transposed'
    """
    if a.dim() == 2 and _near(a, b.T):
        return f"our {what} is theirs transposed"
    if a.shape != b.shape:
        return f"our {what} has the shape {tuple(a.shape)}, theirs {tuple(b.shape)}"
    factor = ((a * b).sum() / b.square().sum()).item()
    if _near(a, factor * b):
        return f"our {what} is theirs times {factor:.4g}"
    if a.dim() == 2:
        for name, x, y in (("rows", a, b), ("columns", a.T, b.T)):
            order = torch.cdist(x.double(), y.double()).argmin(1)
            if _near(x, y[order]) and len(set(order.tolist())) == len(order):
                halves = any(
                    _near(x, halves_from_pairs(y, heads))
                    for heads in range(1, len(y) // 2)
                    if len(y) % (2 * heads) == 0
                )
                return f"our {what} has theirs' {name} in another order" + (
                    ": halves, not neighbouring pairs" if halves else ""
                )
    shares = ((a - b).abs() > NEAR * b.abs().max()).float().mean().item()
    return f"our {what} is another: {shares:.0%} of its numbers differ"


@contextlib.contextmanager
def _caught(model: nn.Module, places: list[str]) -> Iterator[dict[str, Any]]:
    """While it lasts, what comes out of each part of the model, or goes into it, is kept under its name."""
    kept: dict[str, Any] = {}

    def keep(place: str, value: Any) -> None:
        kept[place] = (value[0] if isinstance(value, tuple) else value).detach()

    handles = []
    for place in places:
        if place == "logits":
            continue
        part = model.get_submodule(place.removesuffix("<"))
        if place.endswith("<"):
            handles.append(part.register_forward_pre_hook(lambda _, args, place=place: keep(place, args)))
        else:
            handles.append(part.register_forward_hook(lambda _, __, result, place=place: keep(place, result)))
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
