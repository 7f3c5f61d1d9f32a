"""The settings of a model and of a training run: plain values, checked once, never changed."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT. A setting that cannot work is a `ValueError` that names the numbers.

    >>> GPTConfig(vocab_size=65, n_embd=30)
    Traceback (most recent call last):
    ValueError: n_embd=30 is not divisible by n_head=4
    """

    vocab_size: int
    block_size: int = 64  # T, the context window: how many tokens the model sees at most
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128  # C, the width
    dropout: float = 0.0  # share set to zero in training: of the embeddings and of what each layer adds to the stream
    end_id: int | None = None  # the token that ends a text, where the tokenizer has one
    fused: bool = True  # attention by PyTorch's fused kernel; False: by the plain formula

    def __post_init__(self) -> None:
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            check_whole(name, getattr(self, name), least=1)
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} is not divisible by n_head={self.n_head}")
        check_number("dropout", self.dropout, 0, 1, high_included=False)
        if self.end_id is not None:
            check_whole("end_id", self.end_id, least=0)
            if self.end_id >= self.vocab_size:
                raise ValueError(f"end_id={self.end_id} is outside the vocabulary of vocab_size={self.vocab_size}")

    @property
    def n_block_parameters(self) -> int:
        """How many parameters all blocks have: a block has 12 C^2 in its matrices (attention 4, feed-forward 8) and 13 C in
        biases and norms.

        >>> GPTConfig(vocab_size=65, n_layer=1, n_embd=4).n_block_parameters
        244
        """
        return self.n_layer * (12 * self.n_embd**2 + 13 * self.n_embd)

    @property
    def n_parameters(self) -> int:
        """How many parameters a model of this shape has: embeddings of V tokens and T positions, blocks, last norm, head.

        >>> GPTConfig(vocab_size=65).n_parameters
        818176
        """
        return (self.vocab_size + self.block_size + 2 + self.vocab_size) * self.n_embd + self.n_block_parameters

    @classmethod
    def article(cls, vocab_size: int, end_id: int | None = None) -> "GPTConfig":
        """The model of the article that this book grew from."""
        return cls(vocab_size, block_size=64, n_layer=2, n_head=4, n_embd=128, end_id=end_id)


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults were chosen by measurement (tests/benchmarks/recipes.py).

    >>> TrainConfig(steps=100, warmup_steps=200)
    Traceback (most recent call last):
    ValueError: warmup_steps=200 is more than steps=100
    """

    steps: int = 1500
    batch_size: int = 16
    learning_rate: float = 3e-3  # at the peak, after the warm-up
    min_learning_rate: float = 0.0  # the floor at which the cosine ends
    warmup_steps: int = 100
    betas: tuple[float, float] = (0.9, 0.99)  # AdamW's memory of gradients, and of their squares
    weight_decay: float = 0.1
    optimizer: str = "adamw"  # or "muon": Muon for the matrices of the blocks, AdamW for the rest
    clip: float = 1.0  # the largest norm of the gradient
    eval_every: int = 150
    eval_windows: int | None = None  # None: the whole validation part
    checkpoint_every: int = 150
    seed: int = 0
    device: str = "auto"  # "cuda", "mps", "cpu", or the best of these
    precision: str = "auto"  # "float32", "bfloat16" or "float16" (autocast), or the better for the device

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "eval_every", "checkpoint_every"):
            check_whole(name, getattr(self, name), least=1)
        for name in ("warmup_steps", "seed"):
            check_whole(name, getattr(self, name), least=0)
        if self.seed >= 2**32:
            raise ValueError(f"seed={self.seed} must be below 2**32")
        if self.eval_windows is not None:
            check_whole("eval_windows", self.eval_windows, least=1)
        if self.warmup_steps > self.steps:
            raise ValueError(f"warmup_steps={self.warmup_steps} is more than steps={self.steps}")
        check_number("learning_rate", self.learning_rate, 0, math.inf, low_included=False)
        check_number("min_learning_rate", self.min_learning_rate, 0, math.inf)
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(f"min_learning_rate={self.min_learning_rate} is above learning_rate={self.learning_rate}")
        if isinstance(self.betas, list):  # JSON has lists only
            object.__setattr__(self, "betas", tuple(self.betas))
        if not isinstance(self.betas, tuple) or len(self.betas) != 2:
            raise ValueError(f"betas={self.betas} must be two numbers")
        for beta in self.betas:
            check_number("betas", beta, 0, 1, high_included=False)
        check_number("weight_decay", self.weight_decay, 0, math.inf)
        check_number("clip", self.clip, 0, math.inf, low_included=False, high_included=True)
        if self.optimizer not in ("adamw", "muon"):
            raise ValueError(f"optimizer={self.optimizer!r} is neither 'adamw' nor 'muon'")
        if self.precision not in ("auto", "float32", "bfloat16", "float16"):
            raise ValueError(f"precision={self.precision!r} is none of 'auto', 'float32', 'bfloat16', 'float16'")

    @classmethod
    def article(cls) -> "TrainConfig":
        """The recipe of the article, to the letter; its validation part is the last tenth of the text."""
        return cls(
            steps=1000,
            batch_size=32,
            learning_rate=3e-4,
            min_learning_rate=0.0,
            warmup_steps=100,
            betas=(0.9, 0.95),
            weight_decay=0.01,
            clip=1.0,
            eval_every=100,
        )


def check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {least}")


def check_number(
    name: str, value: object, low: float, high: float, *, low_included: bool = True, high_included: bool = False
) -> None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        inside = low < value < high
        if inside or (value == low and low_included) or (value == high and high_included):
            return
    left, right = "[" if low_included else "(", "]" if high_included else ")"
    raise ValueError(f"{name}={value!r} must be a number in {left}{low}, {high}{right}")
