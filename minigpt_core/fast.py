"""A GPT that learns faster: five changes to the plain one, and at the end of this file Muon, an optimizer for either. What
each is worth, chapter 13 shows and book/tools/ladder.py measures.

1. The letters just before come in at the door: the input is the sum of the embeddings of a token and of the three before it.
   A plain model has to learn first to look one step back, by attention, before it can learn anything from what it sees there.
2. Positions by rotation (Su et al. 2021, arXiv:2104.09864): queries and keys turn with their place, so that a score depends on
   how far apart two places are, and nothing has to be learned for each place anew.
3. The square of ReLU in the feed-forward network (So et al. 2021, arXiv:2109.08668).
4. A quiet start: each block begins by adding nothing, because the weights with which it writes are zero; what the blocks
   read is of size one from the first step on.
5. Scores three times as loud. AdamW moves every weight about as far in a step, whatever it is multiplied by afterwards: so the
   head learns three times as fast as the rest.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import CausalSelfAttention, KVCache, attention_weights, causal_mask
from .config import GPTConfig, TrainConfig
from .layers import Block, FeedForward
from .model import GPT


@dataclass(frozen=True)
class FastConfig(GPTConfig):
    """The shape of a `FastGPT`: one wide look at the letters before needs fewer blocks.

    >>> FastConfig(vocab_size=65).n_layer
    1
    """

    n_layer: int = 1
    n_head: int = 2
    before: int = 3  # K, how many tokens before each one are added to it

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.before, bool) or not isinstance(self.before, int) or self.before < 0:
            raise ValueError(f"before={self.before!r} must be a whole number of at least 0")
        if self.n_embd // self.n_head % 2:
            raise ValueError(
                f"n_embd={self.n_embd} over n_head={self.n_head} is odd, and numbers are turned in pairs: take an even width"
            )


def fast_recipe(**changes: Any) -> TrainConfig:
    """The settings that reach a loss soonest, with `changes`.

    >>> fast_recipe(seed=1).learning_rate
    0.006
    """
    return TrainConfig(
        **(
            {"steps": 260, "learning_rate": 6e-3, "warmup_steps": 10, "eval_every": 20, "checkpoint_every": 260}
            | changes
        )
    )


def turn(x: Tensor, start: int) -> Tensor:
    """x (B, H, T, D), whose first position is `start`: neighbouring numbers as points of a plane, turned by an angle that
    grows with the position, for the first pair fast, for the last one slowly.

    >>> turn(torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]]), start=0)[0, 0, 1]
    tensor([0.5403, 0.8415])
    """
    T, D = x.shape[-2:]
    speed = 10_000 ** (-torch.arange(0, D, 2, device=x.device) / D)  # (D / 2,)
    angle = torch.arange(start, start + T, device=x.device)[:, None] * speed  # (T, D / 2)
    points = torch.view_as_complex(x.float().view(*x.shape[:-1], D // 2, 2))  # (B, H, T, D / 2)
    return torch.view_as_real(points * torch.polar(torch.ones_like(angle), angle)).flatten(-2).type_as(x)


class TurnedAttention(CausalSelfAttention):
    """Causal attention whose queries and keys turn with their position. (B, T, C) -> (B, T, C)."""

    def queries_and_keys(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        q, k = self.split_heads(self.query(x)), self.split_heads(self.key(x))  # (B, H, T, D)
        return turn(q, start), turn(k, start)

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


class SquaredFeedForward(FeedForward):
    """The feed-forward network with the square of what is positive. (B, T, C) -> (B, T, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.widen(x).relu().square()))


class FastBlock(Block):
    """A block of these parts, which begins by adding nothing. (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        self.attention = TurnedAttention(config)
        self.feed_forward = SquaredFeedForward(config)


class FastCache(KVCache):
    """The cache of a `FastGPT`, which also keeps the last tokens read: (B, K)."""

    def __init__(self, config: FastConfig, batch_size: int, like: Tensor):
        super().__init__(config, batch_size, like)
        self.before = torch.full((batch_size, config.before), config.vocab_size, device=like.device)


class FastGPT(GPT):
    """From ids (B, T) to logits (B, T, V), as `GPT`, which it can replace in training, sampling and saving.

    >>> FastGPT(FastConfig(vocab_size=65)).n_parameters
    240512
    """

    config: FastConfig

    def __init__(self, config: FastConfig):
        super().__init__(config)
        C, V = config.n_embd, config.vocab_size
        self.before = nn.ModuleList(nn.Embedding(V + 1, C) for _ in range(config.before))  # row V: the text begins here
        self.blocks = nn.ModuleList(FastBlock(config) for _ in range(config.n_layer))
        del self.position_embedding
        for name, parameter in self.named_parameters():
            if "embedding" in name or name.startswith("before"):
                nn.init.normal_(parameter, std=0.3)
            elif name == "head.weight" or name.endswith(("output.weight", "narrow.weight")):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.6 / math.sqrt(C))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(
        self, idx: Tensor, targets: Tensor | None = None, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As that of `GPT`; `cache` is one of `new_cache`."""
        T, K = idx.shape[1], self.config.before
        end = T + (cache.length if cache is not None else 0)
        if end > self.config.block_size:
            raise ValueError(f"{end} tokens do not fit into the context window of block_size={self.config.block_size}")
        before = cache.before if isinstance(cache, FastCache) else idx.new_full((len(idx), K), self.config.vocab_size)
        ids = torch.cat([before, idx], dim=1)  # (B, K + T)
        x = self.token_embedding(idx)  # (B, T, C)
        for back, embedding in enumerate(self.before, start=1):
            x = x + embedding(ids[:, K - back : K - back + T])
        x = self.dropout(F.layer_norm(x, x.shape[-1:]))
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)  # (B, T, C)
        if isinstance(cache, FastCache):
            cache.length, cache.before = end, ids[:, T:]
        logits = 3 * self.head(self.norm(x))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def new_cache(self, batch_size: int = 1) -> FastCache:
        """An empty cache for generating `batch_size` texts at once."""
        return FastCache(self.config, batch_size, like=self.head.weight)


def config_of(settings: dict[str, Any]) -> GPTConfig:
    """The settings that were saved with a model: a `FastConfig` where they say how many tokens before are added.

    >>> type(config_of({"vocab_size": 65, "before": 3})).__name__
    'FastConfig'
    """
    return FastConfig(**settings) if "before" in settings else GPTConfig(**settings)


def build(config: GPTConfig) -> GPT:
    """A new model of this shape.

    >>> type(build(FastConfig(vocab_size=65))).__name__
    'FastGPT'
    """
    return FastGPT(config) if isinstance(config, FastConfig) else GPT(config)


class MuonAndAdamW:
    """Muon (Jordan and others 2024) for the matrices of the blocks, AdamW for the rest, as one optimizer with one learning rate.

    A matrix of slopes says most about a few directions, those of its largest singular values. Muon takes the running mean
    of the slopes and makes its singular values equal, by a few matrix products, so that the step is as long in each
    direction; then it is scaled to the length that AdamW's usually has.

    >>> optimizer = MuonAndAdamW(GPT(GPTConfig(vocab_size=65)), TrainConfig())
    >>> len(optimizer.muon.param_groups[0]["params"])  # of each block: query, key, value, output, widen, narrow
    24
    """

    def __init__(self, model: GPT, config: TrainConfig):
        matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
        chosen = {id(p) for p in matrices}
        rest = [p for p in model.parameters() if id(p) not in chosen]
        rate, decay, fused = config.learning_rate, config.weight_decay, model.device.type in ("cpu", "cuda")
        self.muon: torch.optim.Optimizer = torch.optim.Muon(
            matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
        )
        self.adamw = torch.optim.AdamW(rest, lr=rate, betas=config.betas, weight_decay=0, fused=fused)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.muon.param_groups + self.adamw.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.muon.zero_grad(set_to_none)
        self.adamw.zero_grad(set_to_none)

    def step(self) -> None:
        for optimizer in (self.muon, self.adamw):
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of each weight by its number, those of Muon first."""
        muon, adamw = self.muon.state_dict(), self.adamw.state_dict()
        first = len(muon["param_groups"][0]["params"])
        moved = {first + i: state for i, state in adamw["state"].items()}
        return {"state": muon["state"] | moved, "param_groups": muon["param_groups"] + adamw["param_groups"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        muon_group, adamw_group = state["param_groups"]
        first = len(muon_group["params"])
        moved = {i - first: value for i, value in state["state"].items() if i >= first}
        kept = {i: value for i, value in state["state"].items() if i < first}
        self.muon.load_state_dict({"state": kept, "param_groups": [muon_group]})
        self.adamw.load_state_dict({"state": moved, "param_groups": [adamw_group]})
