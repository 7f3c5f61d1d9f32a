"""Parts of today's models, each of which can stand in the place of a plain one: positions that turn, heads that share their
keys, other norms and other feed-forward networks. `composed.ComposedGPT` puts them together."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import CausalSelfAttention, KVCache, attention_weights, causal_mask
from ..config import GPTConfig
from ..layers import FeedForward


class RMSNorm(nn.Module):
    """LayerNorm without the mean and without the shift: x divided by its root mean square, times a learned gain (Zhang and
    Sennrich 2019, arXiv:1910.07467). (..., C) -> (..., C).

    >>> RMSNorm(2)(torch.tensor([3.0, 4.0]))  # whose root mean square is 3.5355
    tensor([0.8485, 1.1314], grad_fn=<MulBackward0>)
    """

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight


def rotate(x: Tensor, start: int, base: float = 10_000) -> Tensor:
    """Rotary position embedding, RoPE (Su et al. 2021, arXiv:2104.09864), of x (B, H, T, D), whose first position is `start`:
    neighbouring numbers as points of a plane, turned by an angle that grows with the position, for the first pair fast,
    for the last one slowly, by nearly 1 / base. The product of two vectors then depends on the distance of their positions
    alone.

    >>> rotate(torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]]), start=0)[0, 0, 1]
    tensor([0.5403, 0.8415])
    """
    points = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))  # (B, H, T, D / 2)
    return torch.view_as_real(points * _turns(start, *x.shape[-2:], base, x.device)).flatten(-2).type_as(x)


@functools.lru_cache(maxsize=4)  # all layers of a model turn by the same angles
@torch.inference_mode(False)  # what is kept may be needed for training later
def _turns(start: int, T: int, D: int, base: float, device: torch.device) -> Tensor:
    """The turn of each pair at each position, as a complex number of size one: (T, D / 2)."""
    speed = base ** (-torch.arange(0, D, 2, device=device) / D)  # (D / 2,)
    angle = torch.arange(start, start + T, device=device)[:, None] * speed  # (T, D / 2)
    return torch.polar(torch.ones_like(angle), angle)


class GroupedAttention(CausalSelfAttention):
    """Causal attention as today's models have it. Queries and keys may turn with their position (`rope_base`), be normalised
    before they meet (`qk_norm`: Henry et al. 2020, arXiv:2010.04245), and G = H / n_kv_head heads may share one key and value
    (grouped-query attention: Ainslie et al. 2023, arXiv:2305.13245), so that the cache is G times smaller.
    (B, T, C) -> (B, T, C).
    """

    def __init__(
        self,
        config: GPTConfig,
        *,
        n_kv_head: int | None = None,
        rope_base: float | None = None,
        qk_norm: bool = False,
        bias: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__(config)
        C, D = config.n_embd, config.n_embd // config.n_head
        self.n_kv_head, self.rope_base, self.head_size = n_kv_head or config.n_head, rope_base, D
        if (self.n_kv_head, bias) != (config.n_head, True):
            self.query, self.output = nn.Linear(C, C, bias), nn.Linear(C, C, bias)
            self.key, self.value = (nn.Linear(C, self.n_kv_head * D, bias) for _ in range(2))
        if qk_norm:
            self.query_norm, self.key_norm = RMSNorm(D, eps), RMSNorm(D, eps)
        self.qk_norm = qk_norm

    def split_heads(self, x: Tensor) -> Tensor:
        B, T, _ = x.shape
        return x.view(B, T, -1, self.head_size).transpose(1, 2)  # (B, H or n_kv_head, T, D)

    def queries_and_keys(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        q, k = self.split_heads(self.query(x)), self.split_heads(self.key(x))
        if self.qk_norm:
            q, k = self.query_norm(q), self.key_norm(k)
        if self.rope_base is None:
            return q, k
        return rotate(q, start, self.rope_base), rotate(k, start, self.rope_base)

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        q, k = self.queries_and_keys(x, cache.length if cache is not None else 0)  # (B, H, T, D), (B, n_kv_head, T, D)
        v = self.split_heads(self.value(x))
        if cache is not None:
            k, v = cache.extend(layer, k, v)  # (B, n_kv_head, S, D)
        B, H, T, D = q.shape
        S = k.shape[2]
        if T == 1:  # the heads that share a key ask it together, as if they were positions: no key is copied
            y = F.scaled_dot_product_attention(q.reshape(B, self.n_kv_head, -1, D), k, v).reshape(B, H, 1, D)
        else:
            mask = causal_mask(q, k) if T < S else None
            y = F.scaled_dot_product_attention(q, self.share(k), self.share(v), attn_mask=mask, is_causal=T == S)
        return self.dropout(self.output(y.transpose(1, 2).reshape(x.shape)))  # (B, T, C)

    def share(self, keys: Tensor) -> Tensor:
        """Each head's own copy: (B, n_kv_head, S, D) -> (B, H, S, D)."""
        return keys.repeat_interleave(self.n_head // self.n_kv_head, dim=1) if self.n_kv_head < self.n_head else keys

    def weights(self, x: Tensor) -> Tensor:
        q, k = self.queries_and_keys(x)
        return attention_weights(q, self.share(k))


class Network(FeedForward):
    """The plain feed-forward network, of any width, with or without biases. (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig, n_hidden: int | None = None, bias: bool = True):
        super().__init__(config)
        C = config.n_embd
        self.n_hidden, self.bias = n_hidden or 4 * C, bias
        if (self.n_hidden, bias) != (4 * C, True):
            self.widen, self.narrow = nn.Linear(C, self.n_hidden, bias), nn.Linear(self.n_hidden, C, bias)


class SquaredReLU(Network):
    """The square of ReLU in its place (So et al. 2021, arXiv:2109.08668)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.widen(x).relu().square()))


class GELU(Network):
    """GPT-2's: x times the share of a normal distribution that lies below x, by the formula with tanh (Hendrycks and Gimpel
    2016, arXiv:1606.08415)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(F.gelu(self.widen(x), approximate="tanh")))


class SwiGLU(Network):
    """Llama's: a second matrix, the gate, says how much of each number passes (Shazeer 2020, arXiv:2002.05202). Two thirds of
    the width make it as large as a plain one."""

    def __init__(self, config: GPTConfig, n_hidden: int | None = None, bias: bool = True):
        super().__init__(config, n_hidden, bias)
        self.gate = nn.Linear(config.n_embd, self.n_hidden, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(F.silu(self.gate(x)) * self.widen(x)))


class Experts(nn.Module):
    """A small mixture of experts: E feed-forward networks, of which a router chooses `chosen` for each position, and mixes what
    they say by its softmax over those (Shazeer et al. 2017, arXiv:1701.06538; Jiang et al. 2024, arXiv:2401.04088).
    (B, T, C) -> (B, T, C)."""

    def __init__(
        self, config: GPTConfig, n_hidden: int | None = None, bias: bool = True, experts: int = 4, chosen: int = 2
    ):
        super().__init__()
        self.router = nn.Linear(config.n_embd, experts, bias=False)
        self.experts = nn.ModuleList(Network(config, n_hidden, bias) for _ in range(experts))
        self.chosen = chosen

    def forward(self, x: Tensor) -> Tensor:
        best = self.router(x).topk(self.chosen)  # (B, T, chosen)
        shares = best.values.softmax(-1)
        y = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            share = (shares * (best.indices == i)).sum(-1)  # (B, T): 0 where it was not chosen
            here = share > 0
            y[here] += share[here][:, None] * expert(x[here])
        return y
