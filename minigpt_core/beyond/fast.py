"""A GPT that learns faster: five changes to the plain one. What each is worth, chapter 14 shows and book/tools/ladder.py measures.

1. Previous-token embeddings: the input is the sum of the embeddings of a token and of the three before it. A plain model has
   to learn first to attend one step back before it can learn anything from what stands there.
2. Rotary positions (RoPE) in place of learned position embeddings (`parts.rotate`).
3. Squared ReLU in the feed-forward network (`parts.SquaredReLU`).
4. Zero initialisation of the output projections: each block begins by adding nothing, and the head by saying nothing;
   what the blocks read is normalised to size one from the first step on.
5. A logit scale of three. AdamW moves every weight about as far in a step, whatever it is multiplied by afterwards: so the
   logits move three times as far.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import KVCache
from ..config import GPTConfig, TrainConfig, check_whole
from ..layers import Block
from ..model import GPT
from ..registry import register
from .parts import RotaryAttention, SquaredReLU

LOGIT_SCALE = 3


@dataclass(frozen=True)
class FastConfig(GPTConfig):
    """The shape of a `FastGPT`: with previous-token embeddings, fewer blocks are needed.

    >>> FastConfig(vocab_size=65).n_layer
    1
    """

    n_layer: int = 1
    n_head: int = 2
    previous_tokens: int = 3  # K, how many tokens before each one have embeddings of their own

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("previous_tokens", self.previous_tokens, least=0)
        if self.n_embd // self.n_head % 2:
            raise ValueError(
                f"n_embd={self.n_embd} over n_head={self.n_head} is odd, and numbers are rotated in pairs: take an even width"
            )

    @property
    def n_parameters(self) -> int:
        """As of a GPT, but without embeddings of positions, and with K of previous tokens, which have one row more.

        >>> FastConfig(vocab_size=65).n_parameters
        240512
        """
        previous = self.previous_tokens * (self.vocab_size + 1)
        return super().n_parameters + (previous - self.block_size) * self.n_embd


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


class FastBlock(Block):
    """A block of these parts, which begins by adding nothing. (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        self.attention = RotaryAttention(config)
        self.feed_forward = SquaredReLU(config)


class FastCache(KVCache):
    """The cache of a `FastGPT`, which also keeps the last tokens read: (B, K)."""

    def __init__(self, config: FastConfig, batch_size: int, like: Tensor):
        super().__init__(config, batch_size, like)
        self.previous = torch.full((batch_size, config.previous_tokens), config.vocab_size, device=like.device)


class FastGPT(GPT):
    """From ids (B, T) to logits (B, T, V), as `GPT`, which it can replace in training, sampling and saving.

    >>> FastGPT(FastConfig(vocab_size=65)).n_parameters
    240512
    """

    config: FastConfig

    def __init__(self, config: FastConfig):
        super().__init__(config)
        C, V = config.n_embd, config.vocab_size
        self.previous_embeddings = nn.ModuleList(
            nn.Embedding(V + 1, C) for _ in range(config.previous_tokens)
        )  # row V: the text begins here
        self.blocks = nn.ModuleList(FastBlock(config) for _ in range(config.n_layer))
        del self.position_embedding
        for name, parameter in self.named_parameters():
            if "embedding" in name:
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
        T, K = idx.shape[1], self.config.previous_tokens
        end = T + (cache.length if cache is not None else 0)
        if end > self.config.block_size:
            raise ValueError(f"{end} tokens do not fit into the context window of block_size={self.config.block_size}")
        previous = (
            cache.previous if isinstance(cache, FastCache) else idx.new_full((len(idx), K), self.config.vocab_size)
        )
        ids = torch.cat([previous, idx], dim=1)  # (B, K + T)
        x = self.token_embedding(idx)  # (B, T, C)
        for back, embedding in enumerate(self.previous_embeddings, start=1):
            x = x + embedding(ids[:, K - back : K - back + T])
        x = self.dropout(F.layer_norm(x, x.shape[-1:]))
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)  # (B, T, C)
        if isinstance(cache, FastCache):
            cache.length, cache.previous = end, ids[:, T:]
        logits = LOGIT_SCALE * self.head(self.norm(x))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def new_cache(self, batch_size: int = 1) -> FastCache:
        """An empty cache for generating `batch_size` texts at once."""
        return FastCache(self.config, batch_size, like=self.head.weight)


register("fast", FastConfig, FastGPT)
