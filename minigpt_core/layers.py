"""What stands around attention in a block: the feed-forward network and the residual stream."""

from torch import Tensor, nn

from .attention import CausalSelfAttention, KVCache
from .config import GPTConfig


class FeedForward(nn.Module):
    """The MLP of a block, for each position alone: widen to 4 C, keep what is positive, return to C.
    (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.widen = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.narrow = nn.Linear(4 * config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.widen(x).relu()))


class Block(nn.Module):
    """Attention, then feed-forward, each reading a normalised copy of the stream and adding its result to it (pre-LN:
    Xiong et al. 2020, arXiv:2002.04745). (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.n_embd)
        self.attention = CausalSelfAttention(config)
        self.norm2 = nn.LayerNorm(config.n_embd)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        x = x + self.attention(self.norm1(x), cache, layer)
        return x + self.feed_forward(self.norm2(x))
