"""A GPT composed of chosen parts: the plain one, GPT-2, Llama and its relatives, and the fast mini-GPT are each one choice."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import KVCache
from ..config import GPTConfig, check_number, check_whole
from ..layers import Block
from ..model import GPT
from ..registry import register
from .parts import GELU, Experts, GroupedAttention, Network, RMSNorm, SquaredReLU, SwiGLU

NETWORKS = {"relu": Network, "gelu": GELU, "squared-relu": SquaredReLU, "swiglu": SwiGLU, "experts": Experts}
NORMS = ("layer", "rms")
STARTS = ("normal", "scaled", "zero")


@dataclass(frozen=True)
class ComposedConfig(GPTConfig):
    """The shape of a GPT and the choice of its parts, those of the plain GPT unless chosen otherwise.

    >>> ComposedConfig(vocab_size=65).n_parameters == GPTConfig(vocab_size=65).n_parameters
    True
    """

    norm: str = "layer"  # or "rms"
    norm_eps: float = 1e-5  # what is added to a variance before it divides
    rope_base: float | None = None  # rotary positions, in place of learned ones, of this base
    n_kv_head: int | None = None  # heads of keys and values; None: as many as of queries
    qk_norm: bool = False  # RMSNorm of queries and keys
    feed_forward: str = "relu"  # or "gelu", "squared-relu", "swiglu", "experts"
    n_hidden: int | None = None  # its width; None: 4 C
    bias: bool = True  # in linear layers and norms
    tied: bool = False  # the head is the token embedding
    softcap: float | None = None  # logits are squeezed between this and its negative
    start: str = "normal"  # all N(0, 0.02); "scaled": outputs smaller by sqrt(2 n_layer) (GPT-2); "zero": outputs zero
    previous_tokens: int = 0  # K, how many tokens before each one have embeddings of their own
    norm_input: bool = False  # the embeddings are normalised before the first block
    logit_scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("norm", NORMS), ("feed_forward", NETWORKS), ("start", STARTS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is none of {', '.join(map(repr, allowed))}")
        check_whole("previous_tokens", self.previous_tokens, least=0)
        check_number("norm_eps", self.norm_eps, 0, 1, low_included=False)
        for name in ("rope_base", "softcap", "logit_scale"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0, math.inf, low_included=False)
        for name in ("n_kv_head", "n_hidden"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), least=1)
        if self.n_head % self.key_heads:
            raise ValueError(f"n_head={self.n_head} is not divisible by n_kv_head={self.n_kv_head}")
        if self.rope_base is not None and self.n_embd // self.n_head % 2:
            raise ValueError(
                f"n_embd={self.n_embd} over n_head={self.n_head} is odd, and numbers are rotated in pairs: take an even width"
            )

    @property
    def key_heads(self) -> int:
        """How many heads of keys and values each layer has, and keeps in its cache."""
        return self.n_kv_head or self.n_head

    @property
    def n_block_parameters(self) -> int:
        with torch.device("meta"):  # shapes only: no memory, no random numbers
            return self.n_layer * sum(p.numel() for p in ComposedBlock(self).parameters())

    @property
    def n_parameters(self) -> int:
        embeddings = self.vocab_size + self.previous_tokens * (self.vocab_size + 1)
        positions = self.block_size if self.rope_base is None else 0
        head = 0 if self.tied else self.vocab_size
        norm = 2 if self.norm == "layer" and self.bias else 1
        return (embeddings + positions + head + norm) * self.n_embd + self.n_block_parameters


def make_norm(config: ComposedConfig) -> nn.LayerNorm | RMSNorm:
    if config.norm == "rms":
        return RMSNorm(config.n_embd, config.norm_eps)
    return nn.LayerNorm(config.n_embd, config.norm_eps, bias=config.bias)


class ComposedBlock(Block):
    """A block of the chosen parts. (B, T, C) -> (B, T, C)."""

    norm1: nn.LayerNorm | RMSNorm  # type: ignore[assignment]
    norm2: nn.LayerNorm | RMSNorm  # type: ignore[assignment]

    def __init__(self, config: ComposedConfig):
        super().__init__(config)
        self.norm1, self.norm2 = make_norm(config), make_norm(config)
        self.attention = GroupedAttention(
            config,
            n_kv_head=config.n_kv_head,
            rope_base=config.rope_base,
            qk_norm=config.qk_norm,
            bias=config.bias,
            eps=config.norm_eps,
        )
        self.feed_forward = NETWORKS[config.feed_forward](config, config.n_hidden, config.bias)


class TiedHead(nn.Module):
    """Scores each token by its embedding (Press and Wolf 2017, arXiv:1608.05859): a head without numbers of its own.
    (B, T, C) -> (B, T, V)."""

    def __init__(self, embedding: nn.Embedding):
        super().__init__()
        self._embedding = [embedding]  # in a list, so that it counts once as a part of the model

    @property
    def weight(self) -> Tensor:
        return self._embedding[0].weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


class ComposedCache(KVCache):
    """The cache of a `ComposedGPT`: keys and values of the heads that have some, and the last K tokens read, (B, K)."""

    def __init__(self, config: ComposedConfig, batch_size: int, like: Tensor):
        shape = (config.n_layer, batch_size, config.key_heads, config.block_size, config.n_embd // config.n_head)
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.length = 0
        self.previous = torch.full((batch_size, config.previous_tokens), config.vocab_size, device=like.device)


class ComposedGPT(GPT):
    """From ids (B, T) to logits (B, T, V), as `GPT`, which it can replace in training, sampling and saving.

    >>> ComposedGPT(ComposedConfig(vocab_size=65, tied=True)).n_parameters
    809856
    """

    config: ComposedConfig
    norm: nn.LayerNorm | RMSNorm  # type: ignore[assignment]
    head: nn.Module  # type: ignore[assignment]

    def __init__(self, config: ComposedConfig):
        super().__init__(config)
        C, V = config.n_embd, config.vocab_size
        self.previous_embeddings = nn.ModuleList(
            nn.Embedding(V + 1, C) for _ in range(config.previous_tokens)
        )  # row V: the text begins here
        self.blocks = nn.ModuleList(ComposedBlock(config) for _ in range(config.n_layer))
        self.norm = make_norm(config)
        if config.rope_base is not None:
            del self.position_embedding
        if config.tied:
            self.head = TiedHead(self.token_embedding)
        self.start()

    def start(self) -> None:
        """Draw all weights as `config.start` says."""
        config = self.config
        for name, p in self.named_parameters():
            writes = name.endswith(("output.weight", "narrow.weight"))  # to the stream
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() < 2:
                continue  # the gains of norms, which are one
            elif config.start != "zero":
                nn.init.normal_(
                    p, std=0.02 / math.sqrt(2 * config.n_layer) if writes and config.start == "scaled" else 0.02
                )
            elif "embedding" in name:
                nn.init.normal_(p, std=0.3)
            elif writes or name == "head.weight":
                nn.init.zeros_(p)
            else:
                nn.init.normal_(p, std=0.6 / math.sqrt(config.n_embd))

    def forward(
        self, idx: Tensor, targets: Tensor | None = None, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As that of `GPT`; `cache` is one of `new_cache`."""
        start = cache.length if cache is not None else 0
        end = start + idx.shape[1]
        if end > self.config.block_size:
            raise ValueError(f"{end} tokens do not fit into the context window of block_size={self.config.block_size}")
        x = self.dropout(self.embed(idx, start, cache))  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)  # (B, T, C)
        if cache is not None:
            cache.length = end
        logits = self.config.logit_scale * self.head(self.norm(x))  # (B, T, V)
        if self.config.softcap is not None:
            logits = self.config.softcap * torch.tanh(logits / self.config.softcap)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def embed(self, idx: Tensor, start: int, cache: KVCache | None) -> Tensor:
        """What the first block reads of ids (B, T), the first of which is at position `start`: (B, T, C)."""
        x = self.token_embedding(idx)
        if self.config.rope_base is None:
            x = x + self.position_embedding(torch.arange(start, start + idx.shape[1], device=idx.device))
        if K := self.config.previous_tokens:
            nothing = idx.new_full((len(idx), K), self.config.vocab_size)
            ids = torch.cat([cache.previous if isinstance(cache, ComposedCache) else nothing, idx], dim=1)  # (B, K + T)
            for back, embedding in enumerate(self.previous_embeddings, start=1):
                x = x + embedding(ids[:, K - back : ids.shape[1] - back])
            if isinstance(cache, ComposedCache):
                cache.previous = ids[:, -K:]
        return F.layer_norm(x, x.shape[-1:]) if self.config.norm_input else x

    def new_cache(self, batch_size: int = 1) -> ComposedCache:
        """An empty cache for generating `batch_size` texts at once."""
        return ComposedCache(self.config, batch_size, like=self.norm.weight)

    @property
    def device(self) -> torch.device:
        return self.norm.weight.device


register("composed", ComposedConfig, ComposedGPT)
