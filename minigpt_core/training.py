"""The training loop: a run yields a record after each step and never prints; whoever loops over it decides what to show."""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .checkpoint import load_training, training_tensors
from .config import TrainConfig, check_whole
from .data import check_ids, check_parts, get_batch
from .devices import autocast, pick_device, seeded_dropout
from .interrupts import close_at_exit, hold_signals
from .model import GPT, evaluating
from .optimizer import Optimizer, learning_rate_at, make_optimizer
from .registry import settings_of
from .runs import RunFolder, fingerprint, load_run
from .tokenizer import Tokenizer, check_sizes


@dataclass(frozen=True)
class Record:
    """What one step of training showed. Losses are in nats per token, `elapsed` is training time in seconds."""

    step: int
    learning_rate: float
    train_loss: float  # on the batch of this step, before the step
    val_loss: float | None  # after the step, where it was evaluated
    grad_norm: float  # before clipping
    tokens_per_second: float
    elapsed: float


@torch.no_grad()
def evaluate(model: GPT, ids: Tensor, *, windows: int | None = None, batch_size: int | None = None) -> float:
    """Mean loss in nats per token over `ids` (N,), cut into windows side by side, so that every token but the first is
    predicted exactly once; with `windows`, over that many of them, evenly spread. Dropout is off. The exponential of the result
    is the perplexity. `batch_size` windows are read at once: without it 64, or as many as hold 4,096 tokens.

    >>> evaluate(GPT(GPTConfig(vocab_size=65)), val_ids)                                # doctest: +SKIP
    4.17
    """
    T = model.config.block_size
    check_ids("ids", ids, model.config.vocab_size)
    if batch_size is None:
        batch_size = min(64, max(1, 4096 // T))
    check_whole("batch_size", batch_size, least=1)
    if windows is not None:
        check_whole("windows", windows, least=1)
    if len(ids) < 2:
        raise ValueError(
            f"ids must hold at least 2 tokens, one to predict from and one to predict, but hold {len(ids)}"
        )
    ids = ids.to(model.device)
    full = (len(ids) - 1) // T
    starts = torch.arange(full, device=ids.device) * T
    rest = ids[full * T :]  # the last window is shorter
    if windows is not None and windows < full:
        starts, rest = starts[torch.linspace(0, full - 1, windows, device=ids.device).round().long()], rest[:0]
    total, count, window = 0.0, 0, torch.arange(T + 1, device=ids.device)
    parts = (ids[begin[:, None] + window] for begin in torch.split(starts, batch_size) if len(begin))
    with evaluating(model):
        for part in itertools.chain(parts, [rest[None]] if len(rest) > 1 else []):  # (B, T + 1)
            logits, _ = model(part[:, :-1])  # (B, T, V)
            total += F.cross_entropy(logits.float().flatten(0, 1), part[:, 1:].flatten(), reduction="sum").item()
            count += part[:, 1:].numel()
    return total / count


class Run:
    """A training run, as `train` and `resume` return it: a loop over it takes the steps that are left and yields a `Record`
    after each. A second loop goes on where the first was left. `records` are all so far.

    Where it has a `folder`, the run is saved there every `checkpoint_every` steps, whenever the validation loss is the
    lowest so far (that model stays in the folder `best` inside), and when the loop ends, however it ends: at the last step,
    by `break`, by an exception in its body, or by Ctrl-C, SIGTERM or SIGHUP, which let a step end first; Ctrl-C then raises
    `KeyboardInterrupt` with a sentence on what is saved. Of `for record in run` and `for record in tqdm(run)` the end is
    seen at once; an iterator with a name, such as `pairs = zip(run, others)`, is only left when it is deleted, or the
    program ends.

    Weights that are not finite, or give a loss that is not, are never saved: they end the run with a
    `FloatingPointError` that says what to try, and the last checkpoint stays.
    """

    scales_loss = False  # as float16 needs it: see beyond.large

    def __init__(
        self,
        model: GPT,
        train_ids: Tensor,
        val_ids: Tensor,
        config: TrainConfig,
        optimizer: Optimizer,
        records: list[Record],
        folder: RunFolder | None,
    ):
        if config.precision == "float16" and not self.scales_loss:
            raise ValueError(
                "precision='float16' loses small gradients unless the loss is scaled: train with engine=Large()"
            )
        self.model, self.config, self.optimizer, self.records, self.folder = model, config, optimizer, records, folder
        self._train_ids, self._val_ids = train_ids.to(model.device), val_ids.to(model.device)
        self._whole = True  # the weights are those after the last record

    def __iter__(self) -> Iterator[Record]:
        if not self._whole:
            raise ValueError(
                f"this run broke off inside step {len(self.records) + 1}: begin anew, or resume what was saved"
            )
        steps = self._steps()  # new for each loop, which alone holds it: so it is closed when the loop is left
        close_at_exit(steps)
        return steps

    def _steps(self) -> Generator[Record, None, None]:
        with self.folder.locked() if self.folder else contextlib.nullcontext():
            if self.folder and self.folder.saved:
                self.folder.mend(self.model, self.best_step)
            try:
                while len(self.records) < self.config.steps:
                    with hold_signals(self._stop):
                        self._advance()
                    yield self.records[-1]
            finally:
                with hold_signals(self._stop):
                    self._save()

    @property
    def best_step(self) -> int | None:
        """The step with the lowest validation loss so far; None before any evaluation."""
        evaluated = [(record.val_loss, record.step) for record in self.records if record.val_loss is not None]
        return min(evaluated)[1] if evaluated else None

    def _advance(self) -> None:
        step = len(self.records) + 1
        self._whole = False
        record = self._take_step(step)
        if record.val_loss is not None and not math.isfinite(record.val_loss):
            raise _diverged(step, self.config, f"the validation loss is {record.val_loss}")
        elapsed = record.elapsed + (self.records[-1].elapsed if self.records else 0.0)
        self.records.append(replace(record, elapsed=elapsed))
        self._whole = True
        if step % self.config.checkpoint_every == 0 or (record.val_loss is not None and self.best_step == step):
            self._save()

    def _take_step(self, step: int) -> Record:
        return take_step(self.model, self.optimizer, self._train_ids, self._val_ids, self.config, step)

    def _save(self) -> None:
        if self.folder is None or not self._whole or self.folder.saved == len(self.records):
            return
        with autocast(self.model.device, self.config.precision):
            loss = evaluate(self.model, self._val_ids, windows=1)
        tensors = training_tensors(self.model, self.optimizer).values()
        if not math.isfinite(loss) or not all(tensor.isfinite().all() for tensor in tensors):
            self._whole = False
            raise _diverged(len(self.records), self.config, "the weights or what they give are no longer finite")
        rows = [list(asdict(record).values()) for record in self.records]
        self.folder.save(self.model, self.optimizer, self.config, rows, self.best_step)

    def _stop(self) -> str:
        self._save()
        go_on = "; go on with it by resume" if self.folder and self.folder.saved else ""
        return f"stopped after step {len(self.records)} of {self.config.steps}: {self.where}{go_on}"

    @property
    def where(self) -> str:
        """In words, what of the run is saved, and where."""
        if self.folder is None or not self.folder.saved:
            return "nothing was saved"
        return f"the run is saved in {self.folder.path} as of step {self.folder.saved}"


def train(
    model: GPT,
    train_ids: Tensor,
    val_ids: Tensor,
    config: TrainConfig,
    folder: str | Path | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    notes: dict[str, Any] | None = None,
    engine: Callable[..., Run] = Run,
) -> Run:
    """Train `model` in place: a loop over what is returned takes the steps and yields a `Record` after each.

    With a `folder` the run is saved there (see `Run`), with the `tokenizer` of its ids and `notes`, anything that JSON can
    hold. A folder that already holds a run or a model, or a tokenizer where one is given, is a `ValueError`; so is a
    tokenizer that has not as many tokens as the model. `engine` makes the run: `Run`, or what computes it in another way,
    such as a `beyond.large.Large`.

    On a CPU the same torch, threads and settings give the same records, timings aside.

    >>> for record in train(model, train_ids, val_ids, TrainConfig(steps=200)):         # doctest: +SKIP
    ...     print(record.step, record.train_loss)
    """
    _check_data(model, train_ids, val_ids)
    if tokenizer is not None:
        check_sizes(tokenizer, model.config.vocab_size)
    place = None if folder is None else RunFolder(folder, fingerprint(train_ids, val_ids), notes or {}, tokenizer)
    model.to(pick_device(config.device))
    return engine(model, train_ids, val_ids, config, make_optimizer(model, config), [], place)


def resume(
    model: GPT,
    train_ids: Tensor,
    val_ids: Tensor,
    folder: str | Path,
    *,
    device: str | None = None,
    steps: int | None = None,
    engine: Callable[..., Run] = Run,
) -> Run:
    """Go on with the run in `folder` where it was saved, with its own settings: the records that are left, the same as
    if it had never stopped. `model` must have the run's shape, the ids must be the run's own, else `ValueError`. The `engine`
    may be another than before, as for `train`.

    With `steps`, the run ends after so many in all, which must be more than it has done: so a finished run is trained
    further. From there on the learning rate is what it would be had the run been planned for `steps` from the
    beginning. After a run that had ended, it is therefore high again at once, without a warm-up, before it falls to its
    floor a second time, and the loss usually rises before it falls below what it was.

    >>> for record in resume(model, train_ids, val_ids, "runs/alice"): ...              # doctest: +SKIP
    """
    saved = load_run(folder)
    place = RunFolder(folder, saved.fingerprint, saved.notes, saved=len(saved.rows))
    theirs, own = settings_of(saved.model), settings_of(model.config)
    if theirs != own:
        changed = next(name for name, value in own.items() if theirs.get(name) != value)
        raise ValueError(
            f"the run in {folder} has {changed}={theirs.get(changed)!r}, this model {changed}={own[changed]!r}"
        )
    _check_data(model, train_ids, val_ids)
    if saved.fingerprint != fingerprint(train_ids, val_ids):
        raise ValueError(f"the run in {folder} was made with another text, split or tokenizer: give it the same ids")
    if steps is not None and steps <= place.saved:
        raise ValueError(f"the run in {folder} has done {place.saved} steps: steps={steps} in all must be more")
    config = saved.config if steps is None else replace(saved.config, steps=steps)
    model.to(pick_device(device or config.device))
    optimizer = make_optimizer(model, config)
    load_training(folder, model, optimizer)
    return engine(model, train_ids, val_ids, config, optimizer, saved_records(folder), place)


def saved_records(folder: str | Path) -> list[Record]:
    """The records of the run in `folder`, as far as it was saved.

    >>> saved_records("runs/alice")[-1].val_loss                                        # doctest: +SKIP
    1.58
    """
    try:
        return [Record(*row) for row in load_run(folder).rows]  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"the records of the run in {folder} are not those of this program") from None


def find_gradient(
    model: GPT, optimizer: Optimizer, x: Tensor, y: Tensor, config: TrainConfig, step: int
) -> tuple[float, float]:
    """The loss of a batch x, y (B, T), and the norm of its gradient, which is left in the weights, clipped."""
    optimizer.zero_grad(set_to_none=True)  # first, so that the old gradient makes room for what the forward pass keeps
    with seeded_dropout(config.seed, step, model.device), autocast(model.device, config.precision):
        _, loss = model(x, y)
    loss.backward()
    return loss.item(), torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip).item()


def take_step(
    model: GPT,
    optimizer: Optimizer,
    train_ids: Tensor,
    val_ids: Tensor,
    config: TrainConfig,
    step: int,
    gradient: Callable[..., tuple[float, float]] = find_gradient,
    eval_batch: int | None = None,
) -> Record:
    """One step: batch, gradient, update, and where it is due the validation loss, `eval_batch` windows at once. In the place of
    `find_gradient` may stand a `gradient` that finds the same in another way, as in beyond/large.py."""
    began = time.perf_counter()
    learning_rate = learning_rate_at(step, config)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    model.train()
    x, y = get_batch(train_ids, model.config.block_size, config.batch_size, seed=config.seed, step=step)  # (B, T) each
    train_loss, grad_norm = gradient(model, optimizer, x, y, config, step)
    if not math.isfinite(train_loss) or not math.isfinite(grad_norm):
        raise _diverged(step, config, f"the loss is {train_loss} and the gradient's norm {grad_norm}")
    optimizer.step()
    step_seconds = time.perf_counter() - began
    val_loss = None
    if step % config.eval_every == 0 or step == config.steps:
        with autocast(model.device, config.precision):
            val_loss = evaluate(model, val_ids, windows=config.eval_windows, batch_size=eval_batch)
    elapsed = time.perf_counter() - began
    return Record(step, learning_rate, train_loss, val_loss, grad_norm, x.numel() / step_seconds, elapsed)


def _diverged(step: int, config: TrainConfig, what: str) -> FloatingPointError:
    return FloatingPointError(
        f"at step {step} {what}: try a lower learning_rate (now {config.learning_rate}), more warmup_steps (now "
        f"{config.warmup_steps}) or a smaller clip (now {config.clip})"
    )


def _check_data(model: GPT, train_ids: Tensor, val_ids: Tensor) -> None:
    check_ids("train_ids", train_ids, model.config.vocab_size)
    check_ids("val_ids", val_ids, model.config.vocab_size)
    check_parts(train_ids, val_ids, model.config.block_size)
