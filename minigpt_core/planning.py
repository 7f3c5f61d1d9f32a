"""Before a run: what a text is like, which model and recipe suit it, and what a step costs on this machine."""

import contextlib
import copy
import statistics
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace

from torch import Tensor

from .config import GPTConfig, TrainConfig
from .counting import repeated_share
from .model import GPT
from .tokenizer import BPETokenizer, CharTokenizer, Tokenizer
from .training import train

LEAST = 2_000  # characters; of fewer, the part held back is hardly a window long
MOST = 3_000_000  # characters; more than a small model reads in an hour on two cores
MOST_KINDS = 2_000  # characters that get a token each; where there are more, BPE


@dataclass(frozen=True)
class Look:
    """What a text is like, and what follows from it."""

    text: str  # the part to be used
    characters: int
    kinds: int  # different characters
    script: str  # the script of most letters, by Unicode's names: LATIN, CJK, CYRILLIC, ...
    repeated: float  # share of its 12-character pieces that stood before, in the first 50,000 characters
    usable: bool
    advice: tuple[str, ...]

    def __str__(self) -> str:
        first = (
            f"{self.characters:,} characters, {self.kinds:,} different, script {self.script}, "
            f"{self.repeated:.0%} of its 12-character pieces repeated"
        )
        return "\n".join([first, *(f"- {sentence}" for sentence in self.advice)])


def look_at(text: str) -> Look:
    """Look at a text before anything is learned from it. Whatever a text can be ends in advice, never in an error.

    >>> look_at("Mina has a lamp. ").advice[0]
    '17 characters are too few: a model needs at least 2,000, and learns words from about 50,000'
    """
    letters = Counter(c for c in text[:50_000] if c.isalpha())
    script = Counter[str]()
    for letter, count in letters.items():
        script[unicodedata.name(letter, "UNKNOWN").split()[0]] += count
    kinds = len(set(text))
    repeated = repeated_share(text[:50_000])
    usable = len(text) >= LEAST and kinds > 1
    advice = []
    if len(text) < LEAST:
        advice.append(
            f"{len(text):,} characters are too few: a model needs at least {LEAST:,}, and learns words from about 50,000"
        )
    elif kinds == 1:
        advice.append("it is one character over and over: there is nothing to learn")
    elif len(text) < 50_000:
        advice.append("short: it will be known by heart before its language is learned; add text of the same kind")
    if len(text) > MOST:
        advice.append(f"long: the first {MOST:,} characters are used, more than a small model needs")
    if repeated > 0.5 and usable:
        advice.append(
            "it repeats itself: where what is held back stands in what is learned, a low validation loss means nothing"
        )
    if kinds > MOST_KINDS:
        advice.append(
            f"many kinds of character: it is cut into {MOST_KINDS:,} pieces by BPE, rare characters into bytes"
        )
    if not letters and usable:
        advice.append("it holds no letters: is it a text?")
    return Look(
        text=text[:MOST],
        characters=len(text),
        kinds=kinds,
        script=script.most_common(1)[0][0] if script else "none",
        repeated=repeated,
        usable=usable,
        advice=tuple(advice),
    )


def fitting_tokenizer(look: Look) -> Tokenizer:
    """Characters, or pieces where there are too many kinds of them, rare characters as their bytes."""
    if look.kinds > MOST_KINDS:
        with contextlib.suppress(ValueError):  # hardly a pair occurs twice: then characters after all
            return BPETokenizer.train(look.text, vocab_size=MOST_KINDS, character_coverage=0.98)
    return CharTokenizer.train(look.text)


def propose(train_ids: Tensor, val_ids: Tensor, tokenizer: Tokenizer, seconds: float) -> tuple[GPTConfig, TrainConfig]:
    """A model and a recipe for a text and a time: narrow for little text, deeper where there is time (chapter 06), dropout
    where the text is read many times (chapter 08), and as many steps as `seconds` allow here, but none that would only
    learn by heart.

    >>> model, training = propose(train_ids, val_ids, tokenizer, seconds=60)           # doctest: +SKIP
    >>> model.n_layer, training.steps                                                   # doctest: +SKIP
    (2, 1840)
    """
    if not seconds > 0:
        raise ValueError(f"seconds={seconds} must be above 0")
    size = GPTConfig(
        tokenizer.vocab_size,
        n_layer=2 if seconds < 300 else 4,
        n_embd=64 if len(train_ids) < 50_000 else 128,
        end_id=tokenizer.end_id,
    )
    if len(train_ids) <= size.block_size + 1 or len(val_ids) <= size.block_size + 1:
        size = replace(size, block_size=max(1, min(len(train_ids), len(val_ids)) - 2))
    config = TrainConfig()
    tokens = config.batch_size * size.block_size
    by_heart = 60 * len(train_ids) // tokens  # steps in which the text is read 60 times

    def fitting_steps() -> int:
        step, evaluation = time_steps(GPT(size), config, train_ids, val_ids)
        return max(10, min(int((seconds - 10 * evaluation) / step), by_heart))

    steps = fitting_steps()
    if steps * tokens > 40 * len(train_ids):
        size = replace(size, dropout=0.2)
        steps = fitting_steps()  # a step with dropout takes longer
    part = max(1, steps // 10)
    config = replace(config, steps=steps, warmup_steps=min(100, part), eval_every=part, checkpoint_every=part)
    return size, config


def time_steps(model: GPT, config: TrainConfig, train_ids: Tensor, val_ids: Tensor) -> tuple[float, float]:
    """Seconds that a training step and an evaluation take here, on a copy of the model: 20 steps, the first 5 unused.

    >>> time_steps(model, TrainConfig(), train_ids, val_ids)                            # doctest: +SKIP
    (0.031, 0.42)
    """
    timing = replace(config, steps=20, warmup_steps=0, eval_every=20)
    records = list(train(copy.deepcopy(model), train_ids, val_ids, timing))
    tokens = config.batch_size * model.config.block_size
    step = statistics.median(tokens / record.tokens_per_second for record in records[5:])
    last = records[-1].elapsed - records[-2].elapsed
    return step, max(0.0, last - step)


def training_memory(model: GPT, config: TrainConfig) -> float:
    """Bytes: weights, gradients and AdamW's two moments, and what the backward pass needs of each layer.

    >>> round(training_memory(GPT(GPTConfig(60)), TrainConfig()) / 2**20)               # MiB
    51
    """
    c = model.config
    tokens = config.batch_size * c.block_size
    per_layer = 18 * c.n_embd + (0 if c.fused else 2 * c.n_head * c.block_size)
    return 4 * (4 * model.n_parameters + tokens * (c.n_layer * per_layer + 4 * c.n_embd + 3 * c.vocab_size))
