"""Parts of today's models that can stand in the place of the plain ones."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention import CausalSelfAttention, KVCache, attention_weights, causal_mask
from ..layers import FeedForward


def rotate(x: Tensor, start: int) -> Tensor:
    """Rotary position embedding, RoPE (Su et al. 2021, arXiv:2104.09864), of x (B, H, T, D), whose first position is `start`:
    neighbouring numbers as points of a plane, turned by an angle that grows with the position, for the first pair fast,
    for the last one slowly. The product of two vectors then depends on the distance of their positions alone.

    >>> rotate(torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]]), start=0)[0, 0, 1]
    tensor([0.5403, 0.8415])
    """
    T, D = x.shape[-2:]
    speed = 10_000 ** (-torch.arange(0, D, 2, device=x.device) / D)  # (D / 2,)
    angle = torch.arange(start, start + T, device=x.device)[:, None] * speed  # (T, D / 2)
    points = torch.view_as_complex(x.float().view(*x.shape[:-1], D // 2, 2))  # (B, H, T, D / 2)
    return torch.view_as_real(points * torch.polar(torch.ones_like(angle), angle)).flatten(-2).type_as(x)


class RotaryAttention(CausalSelfAttention):
    """Causal attention whose queries and keys turn with their position. (B, T, C) -> (B, T, C)."""

    def queries_and_keys(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        q, k = self.split_heads(self.query(x)), self.split_heads(self.key(x))  # (B, H, T, D)
        return rotate(q, start), rotate(k, start)

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        q, k = self.queries_and_keys(x, cache.length if cache is not None else 0)
        v = self.split_heads(self.value(x))
        if cache is not None:
            k, v = cache.extend(layer, k, v)  # (B, H, S, D)
        T, S = q.shape[2], k.shape[2]
        mask = causal_mask(q, k) if 1 < T < S else None
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=T == S)
        return self.dropout(self.output(y.transpose(1, 2).reshape(x.shape)))  # (B, T, C)

    def weights(self, x: Tensor) -> Tensor:
        return attention_weights(*self.queries_and_keys(x))


class SquaredReLU(FeedForward):
    """The feed-forward network with the square of ReLU (So et al. 2021, arXiv:2109.08668). (B, T, C) -> (B, T, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.widen(x).relu().square()))
