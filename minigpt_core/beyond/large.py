"""Batches that the plain way cannot hold or takes too long for: gradient accumulation, activation checkpointing, float16,
compilation. None of them changes what is learned, but for rounding: each is tested against the plain way."""

import contextlib
import ctypes
import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..config import TrainConfig, check_whole
from ..data import MASKED
from ..devices import autocast, seeded_dropout
from ..model import GPT
from ..optimizer import Optimizer
from ..runs import load_run
from ..training import Record, Run, take_step
from .parts import Experts

M_MMAP_THRESHOLD = -3  # its number in malloc.h


@dataclass(frozen=True)
class Large:
    """How a run is computed: an `engine` for `train` and `resume`. A setting that cannot work is a `ValueError`.

    The settings are saved with the run, and `Large.of_run` finds them again. They may change when it is resumed, since
    they do not change its curve.

    >>> run = train(model, train_ids, val_ids, config, engine=Large(micro_batch=4))     # doctest: +SKIP
    >>> Large(micro_batch=0)
    Traceback (most recent call last):
    ValueError: micro_batch=0 must be a whole number of at least 1
    """

    micro_batch: int | None = None  # windows that are computed at once; None: the whole batch
    checkpoint_activations: bool = False  # keep of each block its input only, and compute the rest once more
    compile: bool = False  # by torch.compile: slow to begin, faster where the device waits for Python

    def __post_init__(self) -> None:
        if self.micro_batch is not None:
            check_whole("micro_batch", self.micro_batch, least=1)
        for field in fields(self):
            if field.name != "micro_batch" and not isinstance(getattr(self, field.name), bool):
                raise ValueError(f"{field.name}={getattr(self, field.name)!r} must be True or False")
        if self.compile and self.checkpoint_activations:
            raise ValueError("compile decides itself what to compute twice: leave out checkpoint_activations")

    def __call__(self, model: GPT, *run: Any) -> "LargeRun":
        """The run itself, as `train` and `resume` ask for it."""
        self.check(model)
        return LargeRun(self, model, *run)

    def check(self, model: GPT) -> None:
        """Refuse a model that cannot be computed so.

        >>> Large(compile=True).check(GPT(GPTConfig(vocab_size=65, dropout=0.1)))
        Traceback (most recent call last):
        ValueError: compile draws another dropout than the plain way: leave it out, or take dropout=0 (now 0.1)
        """
        if self.compile and dropouts(model):
            raise ValueError(
                f"compile draws another dropout than the plain way: leave it out, or take dropout=0 (now {model.config.dropout})"
            )
        if self.compile and model.device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
            raise ValueError("compile needs a C++ compiler, and this machine has none that is found: leave it out")
        if dropouts(model) and any(isinstance(module, Experts) for module in model.modules()):
            raise ValueError(
                f"experts drop among the tokens that came to them, not in rows of the batch: take dropout=0 "
                f"(now {model.config.dropout})"
            )

    @classmethod
    def of_run(cls, folder: str | Path, **changes: Any) -> "Large":
        """The settings that the run in `folder` was last computed by, with `changes`.

        >>> Large.of_run("runs/alice", micro_batch=2)                                   # doctest: +SKIP
        Large(micro_batch=2, checkpoint_activations=False, compile=False)
        """
        saved = load_run(folder).notes.get("large", {})
        return cls(**{field.name: saved[field.name] for field in fields(cls) if field.name in saved} | changes)


def add_gradients(
    model: Callable[..., Any],
    x: Tensor,
    y: Tensor,
    groups: Iterable[Tensor],
    *,
    around: Callable[[Tensor], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    precision: contextlib.AbstractContextManager[Any] | None = None,
    factor: float = 1.0,
) -> Tensor:
    """Gradient accumulation: the gradient of the mean loss of a batch x, y (B, T), times `factor`, is added to the weights'
    `grad`, one group of rows after the other. The sum of the losses over all tokens is divided once, by the number of tokens
    in the whole batch. Targets of -100 do not count.

    The mean of the groups' means would be another number wherever groups differ in their number of tokens: a last group
    that is shorter, or targets that are masked. Returns what the `groups` (row numbers) add to the mean loss, a scalar.
    `around(rows)` and `precision` are contexts of each group's two passes, and of its forward pass alone. A batch without a
    target is a `ValueError`.

    >>> model = GPT(GPTConfig(vocab_size=65))
    >>> x, y = get_batch(torch.arange(65), block_size=8, batch_size=5, seed=0, step=1)
    >>> loss = add_gradients(model, x, y, torch.arange(5).split(2))  # groups of 2, 2 and 1
    >>> torch.allclose(loss, model(x, y)[1])
    True
    """
    count = int((y != MASKED).sum())
    if not count:
        raise ValueError("the batch has no target to learn: all are masked")
    total = torch.zeros((), device=x.device)
    for rows in groups:
        with around(rows):
            with precision or contextlib.nullcontext():
                logits = model(x[rows])[0]
                loss = F.cross_entropy(logits.flatten(0, 1), y[rows].flatten(), reduction="sum", ignore_index=MASKED)
            torch.autograd.backward(loss * (factor / count))
        total = total + loss.detach() / count
    return total


def return_freed_memory() -> bool:
    """From now on, let the memory of each tensor of 128 KiB or more go back to the system when the tensor is freed. The C library
    of Linux (glibc) keeps it otherwise, in pieces that the next tensor may not fit into. Steps may take a little longer,
    since the system hands out memory anew. Returns whether there is such a library; for other systems nothing changes.

    >>> return_freed_memory()                                                           # doctest: +SKIP
    True
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 128 * 1024))
    except (AttributeError, OSError, TypeError):
        return False


@contextlib.contextmanager
def recomputed_blocks(model: GPT) -> Iterator[None]:
    """Activation checkpointing (Chen et al. 2016, arXiv:1604.06174): while it lasts, each block keeps only its input, (B, T, C),
    and computes the rest once more when the backward pass comes to it. Memory for one block's activations instead of all,
    for about a third more time; dropout is drawn the same both times.

    >>> with recomputed_blocks(model):                                                  # doctest: +SKIP
    ...     model(x, y)[1].backward()
    """

    def twice(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *inputs: checkpoint(forward, *inputs, use_reentrant=False)

    with _replaced({block: twice(block.forward) for block in model.blocks}):
        yield


@contextlib.contextmanager
def dropout_of_rows(model: nn.Module, rows: Tensor, n_rows: int) -> Iterator[None]:
    """While it lasts, dropout in a batch that holds only `rows` of one with `n_rows` drops what it would drop in the whole:
    the mask is drawn for all rows, and these are taken. Both must begin from the same seed.

    >>> layer = torch.nn.Dropout(0.5)
    >>> _ = torch.manual_seed(0); whole = layer(torch.ones(4, 3))
    >>> with dropout_of_rows(layer, torch.tensor([1, 3]), 4):
    ...     _ = torch.manual_seed(0); some = layer(torch.ones(2, 3))
    >>> torch.equal(some, whole[[1, 3]])
    True
    """

    def sliced(layer: nn.Dropout) -> Callable[[Tensor], Tensor]:
        return lambda x: x * F.dropout(x.new_ones(n_rows, *x.shape[1:]), layer.p, layer.training)[rows]

    with _replaced({layer: sliced(layer) for layer in dropouts(model)}):
        yield


def dropouts(model: nn.Module) -> list[nn.Dropout]:
    """The layers that drop anything.

    >>> len(dropouts(GPT(GPTConfig(65, n_layer=1, dropout=0.1))))  # of embeddings, attention and feed-forward
    3
    """
    return [layer for layer in model.modules() if isinstance(layer, nn.Dropout) and layer.p > 0]


@contextlib.contextmanager
def _replaced(forwards: dict[Any, Callable[..., Any]]) -> Iterator[None]:
    """While it lasts, modules have these functions as their `forward`."""
    for module, forward in forwards.items():
        module.forward = forward
    try:
        yield
    finally:
        for module in forwards:
            del module.forward  # that of its class comes back


class LargeRun(Run):
    """A `Run` that is computed as a `Large` says.

    With precision "float16" the loss is scaled (Micikevicius et al. 2018, arXiv:1710.03740). The smallest float16 above zero
    is 6e-8, so a smaller gradient would be lost: the loss is multiplied by a power of two, with it all gradients, and these
    are divided again in float32. Where one grows past the largest float16, 65,504, the step is computed again with half
    the scale; each 1,000 steps the scale is doubled.

    Only products are computed in short numbers, never the weights: the small update is lost where the weights are short.

    >>> torch.tensor(1.0, dtype=torch.bfloat16) - 0.001  # the step from 1 to the next smaller bfloat16 is 0.004
    tensor(1., dtype=torch.bfloat16)
    """

    scales_loss = True

    def __init__(self, large: Large, *run: Any):
        super().__init__(*run)
        self.large, self._scale = large, 2.0**16
        self._forward: Callable[..., Any] = self.model
        if large.compile:
            self._forward = torch.compile(self.model.forward)
        if self.folder:
            self._scale = self.folder.notes.get("large", {}).get("loss_scale", self._scale)

    def _take_step(self, step: int) -> Record:
        if step % 1000 == 0:
            self._scale *= 2
        ids = self._train_ids, self._val_ids
        return take_step(
            self.model, self.optimizer, *ids, self.config, step, self._find_gradient, eval_batch=self.large.micro_batch
        )

    def _save(self) -> None:
        if self.folder:
            noted = asdict(self.large) | {"loss_scale": self._scale}
            self.folder.notes = self.folder.notes | {"large": noted}
        super()._save()

    def _find_gradient(
        self, model: GPT, optimizer: Optimizer, x: Tensor, y: Tensor, config: TrainConfig, step: int
    ) -> tuple[float, float]:
        """The loss of a batch x, y (B, T), and the norm of its gradient, which is left in the weights, clipped."""
        scaled = config.precision == "float16"
        while True:
            optimizer.zero_grad(set_to_none=True)
            loss = self._add_gradients(model, x, y, step, self._scale if scaled else 1.0)
            for p in model.parameters():
                if scaled and p.grad is not None:
                    p.grad /= self._scale
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip).item()
            if not scaled or math.isfinite(norm) or not math.isfinite(loss) or self._scale <= 1:
                return loss, norm
            self._scale /= 2

    def _add_gradients(self, model: GPT, x: Tensor, y: Tensor, step: int, factor: float) -> float:
        """The loss of a batch; its gradient, times `factor`, is added to the weights' `grad`."""
        n_rows = len(x)
        x, y, rows = self._share(x, y)
        groups = torch.split(rows, self.large.micro_batch or len(rows))
        with recomputed_blocks(model) if self.large.checkpoint_activations else contextlib.nullcontext():
            return add_gradients(
                self._forward,
                x,
                y,
                groups,
                around=lambda group: self._around(model, group, n_rows, step, last=group is groups[-1]),
                precision=autocast(model.device, self.config.precision),
                factor=factor,
            ).item()

    def _share(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A batch, and the numbers of its rows that are to be computed."""
        return x, y, torch.arange(len(x), device=x.device)

    @contextlib.contextmanager
    def _around(self, model: GPT, rows: Tensor, n_rows: int, step: int, last: bool) -> Iterator[None]:
        """Each group drops what the whole batch would drop in its rows."""
        with seeded_dropout(self.config.seed, step, model.device), dropout_of_rows(model, rows % n_rows, n_rows):
            yield
