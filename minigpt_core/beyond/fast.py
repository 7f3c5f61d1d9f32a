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

from dataclasses import dataclass
from typing import Any

from ..config import TrainConfig
from ..registry import register
from .composed import ComposedConfig, ComposedGPT


@dataclass(frozen=True)
class FastConfig(ComposedConfig):
    """The shape of a `FastGPT`: with previous-token embeddings, fewer blocks are needed.

    >>> FastConfig(vocab_size=65).n_parameters
    240512
    """

    n_layer: int = 1
    n_head: int = 2
    previous_tokens: int = 3
    rope_base: float | None = 10_000
    feed_forward: str = "squared-relu"
    start: str = "zero"
    norm_input: bool = True
    logit_scale: float = 3.0


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


class FastGPT(ComposedGPT):
    """The `ComposedGPT` of these five choices.

    >>> FastGPT(FastConfig(vocab_size=65)).n_parameters
    240512
    """

    config: FastConfig


register("fast", FastConfig, FastGPT)
