"""Before a run: what a text is like, which model and recipe suit it, and what a step costs on this machine."""

import contextlib
import math
import os
import statistics
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor

from ..config import GPTConfig, TrainConfig, check_number
from ..data import check_ids, check_parts
from ..devices import pick_device
from ..registry import build
from ..tokenizer import BPETokenizer, CharTokenizer, Tokenizer
from ..training import Run, train
from .counting import repeated_share

LEAST = 2_000  # characters; of fewer, the held-out part is hardly a window long
MOST_KINDS = 2_000  # characters that get a token each; where there are more, BPE
LITTLE = 50_000  # tokens; for fewer, a narrow model
LONG = 300  # seconds; for as many, a deeper model
LETTERS = 256  # tokens; a vocabulary of more is of pieces, or of a script with many characters
PATIENCE = 5  # seconds that timing a model may take, besides one step
OPERATIONS = 5e11  # in a step: on two CPU cores, more take longer than PATIENCE


@dataclass(frozen=True)
class Look:
    """What a text is like, and what follows from it."""

    text: str
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
    """Look at a text before anything is learned from it. Whatever a text can be ends in advice; only what is no text is a
    `ValueError`.

    >>> look_at("Mina has a lamp. ").advice[0]
    '17 characters are too few: a model needs at least 2,000, and learns words from about 50,000'
    """
    if not isinstance(text, str):
        raise ValueError(f"a text is looked at, but this is {type(text).__name__}")
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
    elif len(text) < LITTLE:
        advice.append("short: it will be known by heart before its language is learned; add text of the same kind")
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
        text=text,
        characters=len(text),
        kinds=kinds,
        script=script.most_common(1)[0][0] if script else "none",
        repeated=repeated,
        usable=usable,
        advice=tuple(advice),
    )


def fitting_tokenizer(look: Look, train_text: str | None = None) -> Tokenizer:
    """Characters, or pieces where there are too many kinds of them, rare characters as their bytes. Pieces are learned from
    `train_text`, where it is given, so that they know nothing of the held-out part.

    >>> fitting_tokenizer(look_at("The lamp was lit. " * 200)).vocab_size
    14
    """
    if look.kinds > MOST_KINDS:
        with contextlib.suppress(ValueError):  # hardly a pair occurs twice: then characters after all
            return BPETokenizer.train(train_text or look.text, vocab_size=MOST_KINDS, character_coverage=0.98)
    return CharTokenizer.train(look.text)


def propose(
    train_ids: Tensor, val_ids: Tensor, tokenizer: Tokenizer, seconds: float | None = None, **chosen: Any
) -> tuple[GPTConfig, TrainConfig]:
    """A model and a recipe for a text and a time: narrow for little text, deeper where there is time (chapter 07), dropout
    where the text is read many times (chapter 09), and as many steps as `seconds` allow here, or without them the usual
    number, but none that would only learn by heart. Settings of `GPTConfig` and `TrainConfig` that are already `chosen`
    stay as they are, and the others are fitted to them. `explain` says why.

    What cannot be planned is a `ValueError`: parts too short for a window, no time, a model too large for this machine.

    >>> model, training = propose(train_ids, val_ids, tokenizer, seconds=60)            # doctest: +SKIP
    >>> model.n_layer, training.steps                                                   # doctest: +SKIP
    (2, 1840)
    """
    if seconds is not None:
        check_number("seconds", seconds, 0, math.inf, low_included=False)
        if "steps" in chosen:
            raise ValueError("steps and seconds both say how long: give one of them")
    check_ids("train_ids", train_ids, tokenizer.vocab_size)
    check_ids("val_ids", val_ids, tokenizer.vocab_size)
    shapes, recipes = ({field.name for field in fields(kind)} for kind in (GPTConfig, TrainConfig))
    if unknown := chosen.keys() - shapes - recipes:
        raise ValueError(f"{min(unknown)!r} is no setting of GPTConfig or TrainConfig")
    planned: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size,
        "end_id": tokenizer.end_id,
        "n_layer": 4 if seconds is not None and seconds >= LONG else 2,
        "n_embd": 64 if len(train_ids) < LITTLE else 128,
    }
    size = GPTConfig(**planned | {name: value for name, value in chosen.items() if name in shapes})
    shortest = min(len(train_ids), len(val_ids))
    if shortest <= size.block_size + 1 and "block_size" not in chosen:
        size = replace(size, block_size=max(1, shortest - 2))
    check_parts(train_ids, val_ids, size.block_size)
    recipe = {name: value for name, value in chosen.items() if name in recipes}
    config = TrainConfig(**recipe | {"warmup_steps": 0})
    tokens = config.batch_size * size.block_size
    often, most = readings(size.vocab_size)

    def fitting_steps() -> int:
        if "steps" in chosen:
            return config.steps
        by_heart = most * len(train_ids) // tokens
        if seconds is None:
            return max(10, min(config.steps, by_heart))
        step, evaluation = time_steps(size, config, train_ids, val_ids)
        return max(10, min(int((seconds - 10 * evaluation) / step), by_heart))

    steps = fitting_steps()
    if steps * tokens > often * len(train_ids) and "dropout" not in chosen:
        size = replace(size, dropout=0.2)
        steps = fitting_steps()  # a step with dropout takes longer
    part = max(1, steps // 10)
    rhythm = {"warmup_steps": min(100, part), "eval_every": part, "checkpoint_every": part}
    return size, replace(config, **rhythm | recipe | {"steps": steps})


def explain(size: GPTConfig, config: TrainConfig, n_tokens: int, seconds: float | None = None, **chosen: Any) -> str:
    """Why `propose` chose what it chose for a training part of `n_tokens`, in one line; nothing of what was `chosen`.

    >>> explain(GPTConfig(60, n_layer=2, n_embd=64), TrainConfig(steps=100), 20_000)
    '2 layers, as no time was given; 64 wide, for fewer than 50,000 tokens; 100 steps, which read the text 5.1 times'
    """
    tokens = config.batch_size * size.block_size
    time = (
        "as no time was given"
        if seconds is None
        else "for five minutes or more"
        if seconds >= LONG
        else "for a short time"
    )
    often, most = readings(size.vocab_size)
    last = (config.steps + 1) * tokens > most * n_tokens
    said = {
        "n_layer": f"{size.n_layer} layers, {time}",
        "n_embd": f"{size.n_embd} wide, for {'fewer than' if n_tokens < LITTLE else 'at least'} {LITTLE:,} tokens",
        "steps": f"{config.steps:,} steps, which read the text {config.steps * tokens / n_tokens:.2g} times"
        + (": more would only learn it by heart" if last else ""),
    }
    if size.block_size < GPTConfig(1).block_size:
        said["block_size"] = f"a window of {size.block_size} tokens, as a part is short"
    if size.dropout:
        said["dropout"] = f"dropout {size.dropout}, as it is read more than {often} times"
    return "; ".join(reason for name, reason in said.items() if name not in chosen)


def readings(vocab_size: int) -> tuple[int, int]:
    """After how many readings of a text dropout helps, and after how many it would only be learned by heart. A token that is
    one of many kinds says more, and is known by heart sooner: without dropout the loss on 26,000 Chinese characters was
    lowest after 12 readings, on 68,000 BPE pieces after 11, on 8,000 letters after 42.

    >>> readings(60)
    (40, 60)
    """
    return (40, 60) if vocab_size <= LETTERS else (20, 30)


def step_operations(size: GPTConfig, config: TrainConfig) -> float:
    """Floating-point operations of a training step: for each token 6 a number in the matrices (2 forward, 4 backward), and
    12 C a position that attention looks at, in each block.

    >>> f"{step_operations(GPTConfig(60), TrainConfig()):.1e}"
    '5.3e+09'
    """
    matrices = size.n_block_parameters + size.vocab_size * size.n_embd
    return 6 * config.batch_size * size.block_size * (matrices + 2 * size.n_layer * size.n_embd * size.block_size)


def _takes_too_long(size: GPTConfig, config: TrainConfig) -> bool:
    return step_operations(size, config) > OPERATIONS and pick_device(config.device).type == "cpu"


def time_steps(
    size: GPTConfig, config: TrainConfig, train_ids: Tensor, val_ids: Tensor, engine: Callable[..., Run] = Run
) -> tuple[float, float]:
    """Seconds that a training step and an evaluation take here, on a new model of that size: 20 steps, the first 5 unused,
    or as many as fit into five seconds. What would take far longer, or in the plain way does not fit into memory, is a
    `ValueError`. `engine` is that of `train`.

    >>> time_steps(GPTConfig(60), TrainConfig(), train_ids, val_ids)                    # doctest: +SKIP
    (0.031, 0.42)
    """
    if engine is Run:
        check_memory(size, config)
    tokens = config.batch_size * size.block_size
    if _takes_too_long(size, config):
        raise ValueError(
            f"a step of this model takes about {step_operations(size, config):.0e} operations, which is too long to be timed on a CPU: say by "
            "steps how long to train, or take a smaller n_embd, n_layer, block_size or batch_size"
        )
    windows = max(1, (len(val_ids) - 1) // size.block_size)
    windows = min(windows, config.eval_windows or windows)
    timed = min(windows, 64)
    timing = replace(config, steps=20, warmup_steps=0, eval_every=20, eval_windows=timed)
    records = []
    for record in train(build(size), train_ids, val_ids, timing, engine=engine):
        records.append(record)
        if record.elapsed > PATIENCE and len(records) > 1:
            break
    used = records[5:] or records[1:]
    step = statistics.median(tokens / record.tokens_per_second for record in used)
    if len(records) < timing.steps:  # an evaluation was never made: it only goes forward, a third of the work of a step
        return step, step * windows / (3 * config.batch_size)
    last = records[-1].elapsed - records[-2].elapsed
    return step, max(0.0, last - step) * windows / timed


def estimate_steps(
    size: GPTConfig, config: TrainConfig, train_ids: Tensor, val_ids: Tensor, engine: Callable[..., Run] = Run
) -> tuple[float, float, str]:
    """Seconds of a step and of an evaluation, and how they were found: by `time_steps`, or where that takes too long by
    `steps_from_one_layer`.

    >>> estimate_steps(GPTConfig(60), TrainConfig(), train_ids, val_ids)                # doctest: +SKIP
    (0.031, 0.42, 'from steps of this model, timed now at 170 GFLOP/s')
    """
    if _takes_too_long(size, config):
        return steps_from_one_layer(size, config, train_ids, val_ids, engine)
    step, evaluation = time_steps(size, config, train_ids, val_ids, engine)
    speed = step_operations(size, config) / step
    return step, evaluation, f"from steps of this model, timed now at {speed / 1e9:,.0f} GFLOP/s"


def steps_from_one_layer(
    size: GPTConfig, config: TrainConfig, train_ids: Tensor, val_ids: Tensor, engine: Callable[..., Run] = Run
) -> tuple[float, float, str]:
    """The same without a step of the whole: it takes as many times as long as a step of one layer and few windows, which is
    timed now, as it has operations. Where even that takes too long, it is a `ValueError`.

    >>> steps_from_one_layer(GPTConfig(60), TrainConfig(), train_ids, val_ids)          # doctest: +SKIP
    (0.034, 0.45, 'from steps of one layer and 16 windows, timed now at 155 GFLOP/s')
    """
    layer, window = replace(size, n_layer=1), replace(config, batch_size=1)
    fitting = int(OPERATIONS / 10 / step_operations(layer, window))
    few = replace(config, batch_size=max(1, min(fitting, config.batch_size)))
    step, evaluation = time_steps(layer, few, train_ids, val_ids, engine)
    speed = step_operations(layer, few) / step
    longer = step_operations(size, window) / step_operations(layer, window)
    windows = f"{few.batch_size} window{'s' * (few.batch_size != 1)}"
    how = f"from steps of one layer and {windows}, timed now at {speed / 1e9:,.0f} GFLOP/s"
    return step_operations(size, config) / speed, evaluation * longer, how


def training_memory(
    size: GPTConfig, config: TrainConfig, *, micro_batch: int | None = None, checkpoint_activations: bool = False
) -> float:
    """The most bytes that the tensors of a run hold at once: its peak memory beyond that of a process that has imported torch
    and taken a step of a tiny model. The two settings are those of `beyond.large.Large`.

    Weights and the optimizer's moments are always there; to these comes the largest of four moments of a step. What a block
    keeps for the backward pass are, in numbers a token: the inputs of its two norms, 2 C; their results, query, key, value,
    and the heads' result, 6 C; what ReLU lets through, 4 C; the masks of dropout, 2 C; and where attention is not fused its
    weights, H T. Short precision keeps the inputs of the norms long, and copies what query, key and value read three times.

    The resident memory of a process follows after `beyond.large.return_freed_memory()`; without it the C library keeps what
    was freed, in the worst case measured over half as much again. Counted are the parts of `GPT`: of another architecture
    it is an estimate. The ids of the text are not counted.

    >>> round(training_memory(GPTConfig(60), TrainConfig()) / 2**20)                    # MiB
    39
    """
    C, V, T = size.n_embd, size.vocab_size, size.block_size
    is_short = config.precision in ("bfloat16", "float16")
    short = 2 if is_short else 4  # bytes of a number that a product takes or gives; others have 4
    windows = min(micro_batch or config.batch_size, config.batch_size)
    tokens = windows * T
    pattern = 0 if size.fused else size.n_head * T  # attention weights of a token
    masks = 2 * C if size.dropout else 0

    # Bytes of a token:
    sums = 4 + (size.n_head if size.fused else 0)  # mean and spread of two norms; of each row of scores, the sum
    block = 4 * (2 * C + sums) + short * ((12 if is_short else 10) * C + masks + pattern)
    ends = (4 + short) * C + 2 * masks  # input and result of the last norm; the mask of the embeddings
    blocks = size.n_layer * 4 * C + block if checkpoint_activations else size.n_layer * block
    logits = short * V
    loss = logits + 12 * V  # logits, log-probabilities, and the gradients of both
    passing = max(4 * C + short * 8 * C, short * (2 * pattern - 4 * C))  # gradients on their way through a block

    weights = gradients = 4 * size.n_parameters
    moments = 8 * size.n_parameters - (4 * size.n_block_parameters if config.optimizer == "muon" else 0)
    copies = 2 * (size.n_block_parameters + V * C) if is_short else 0  # of the weights, in short numbers
    earlier = gradients if windows < config.batch_size else 0  # of the groups before this one
    kept = earlier + copies + tokens * (blocks + ends)
    seen = min(micro_batch or max(1, 4096 // T), 64, config.eval_windows or 64) * T  # tokens of an evaluation
    evaluation = max(logits + 4 * V + 4 * V * is_short, 12 * C + short * 8 * C, 8 * C + short * 3 * (C + pattern))
    return (
        weights
        + moments
        + max(
            kept + tokens * loss,  # the backward pass begins at the loss,
            kept + tokens * (logits + passing),  # comes to the last block,
            gradients + tokens * (block + passing + logits),  # and to the first
            gradients + seen * evaluation,
        )
    )


def check_memory(
    size: GPTConfig, config: TrainConfig, *, micro_batch: int | None = None, checkpoint_activations: bool = False
) -> None:
    """Refuse a model that is to be trained on the CPU of a machine whose memory it exceeds, before it is built.

    >>> check_memory(GPTConfig(60, n_embd=40_000), TrainConfig())                       # doctest: +SKIP
    ValueError: a model of 76,809,520,000 parameters needs about 1,178,895 MiB to be trained, and this machine has 15,890
    """
    needed = training_memory(size, config, micro_batch=micro_batch, checkpoint_activations=checkpoint_activations)
    there = _memory_of_this_machine()
    if needed > there and pick_device(config.device).type == "cpu":
        raise ValueError(
            f"a model of {size.n_parameters:,} parameters needs about {needed / 2**20:,.0f} MiB to be trained, and this "
            f"machine has {there / 2**20:,.0f}: take a smaller n_embd, n_layer, block_size or batch_size"
        )


def _memory_of_this_machine() -> float:
    """Bytes; where the system does not tell, endlessly many."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return math.inf
