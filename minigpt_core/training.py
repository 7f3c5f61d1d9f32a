"""The training loop as a generator of records: it never prints, and whoever runs it decides what to show."""

import contextlib
import hashlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .checkpoint import load_progress, load_training, save_model, save_training
from .config import TrainConfig
from .data import check_parts, get_batch, step_seed
from .fast import MuonAndAdamW
from .model import GPT


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


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of a step (1 to steps): a straight rise over the warm-up, then half a cosine down to the floor
    (Loshchilov and Hutter 2017, arXiv:1608.03983).

    >>> [learning_rate_at(s, TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0)) for s in (1, 10, 55, 100)]
    [0.1, 1.0, 0.5, 0.0]
    """
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    done = (step - config.warmup_steps) / (config.steps - config.warmup_steps)  # 0 to 1
    height = (1 + math.cos(math.pi * done)) / 2
    return config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * height


def make_optimizer(model: GPT, config: TrainConfig) -> torch.optim.AdamW | MuonAndAdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101). Only the matrices of linear layers decay towards zero:
    not embeddings, biases, or the gains of a LayerNorm, for which zero is no natural place."""
    if config.optimizer == "muon":
        return MuonAndAdamW(model, config)
    decay = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    chosen = {id(p) for p in decay}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    fused = model.device.type in ("cpu", "cuda")  # one kernel for the whole update, where all versions have it
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=fused)


@torch.no_grad()
def evaluate(model: GPT, ids: Tensor, *, windows: int | None = None, batch_size: int = 64) -> float:
    """Mean loss in nats per token over `ids` (N,), cut into windows side by side, so that every token but the first is
    predicted exactly once; with `windows`, over that many of them, evenly spread. Dropout is off.

    >>> evaluate(GPT(GPTConfig(vocab_size=65)), val_ids)                                # doctest: +SKIP
    4.17
    """
    T = model.config.block_size
    ids = ids.to(model.device)
    full = (len(ids) - 1) // T
    starts = torch.arange(full, device=ids.device) * T
    rest = ids[full * T :]  # the last window is shorter
    if windows is not None and windows < full:
        starts, rest = starts[torch.linspace(0, full - 1, windows, device=ids.device).round().long()], rest[:0]
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    parts = [ids[chunk[:, None] + torch.arange(T + 1, device=ids.device)] for chunk in torch.split(starts, batch_size)]
    for part in parts + ([rest[None]] if len(rest) > 1 else []):  # (B, T + 1)
        logits, _ = model(part[:, :-1])  # (B, T, V)
        total += F.cross_entropy(logits.float().flatten(0, 1), part[:, 1:].flatten(), reduction="sum").item()
        count += part[:, 1:].numel()
    model.train(was_training)
    return total / count


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name, or with "auto" the best there is: CUDA, then Apple's MPS, then the CPU.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, ValueError):
        raise ValueError(f"device={name!r} cannot be used on this machine: try 'auto' or 'cpu'") from None


def train(
    model: GPT, train_ids: Tensor, val_ids: Tensor, config: TrainConfig, folder: str | Path | None = None
) -> Iterator[Record]:
    """Train `model` in place, yielding a `Record` after each step.

    With a `folder`, the run is saved there every `checkpoint_every` steps, at the end, when the loop is left by `break`,
    and on Ctrl-C, which lets the step end and then raises `KeyboardInterrupt` with a line on how to go on. A loss that is
    not finite stops the run with a `FloatingPointError` that says what to try.

    On a CPU the same torch, threads and settings give the same records, timings aside.

    >>> for record in train(model, train_ids, val_ids, TrainConfig(steps=200)):         # doctest: +SKIP
    ...     print(record.step, record.train_loss)
    """
    check_parts(train_ids, val_ids, model.config.block_size)
    device = pick_device(config.device)
    return _run(model.to(device), train_ids, val_ids, config, folder, make_optimizer(model, config), [])


def resume(
    model: GPT, train_ids: Tensor, val_ids: Tensor, folder: str | Path, *, device: str | None = None
) -> Iterator[Record]:
    """Go on with the run in `folder` where it was saved, with its own settings: the records that are left, the same as
    if it had never stopped. `model` must have the run's shape, the ids must be the run's own, else `ValueError`.

    >>> for record in resume(model, train_ids, val_ids, "runs/alice"): ...              # doctest: +SKIP
    """
    progress = load_progress(folder)
    if progress["model"] != asdict(model.config):
        changed = next(name for name, value in asdict(model.config).items() if progress["model"].get(name) != value)
        raise ValueError(
            f"the run in {folder} has {changed}={progress['model'].get(changed)!r}, "
            f"this model {changed}={getattr(model.config, changed)!r}"
        )
    if progress["fingerprint"] != _fingerprint(train_ids, val_ids):
        raise ValueError(f"the run in {folder} was made with another text, split or tokenizer: give it the same ids")
    config = TrainConfig(**progress["config"])
    model.to(pick_device(device or config.device))
    optimizer = make_optimizer(model, config)
    load_training(folder, model, optimizer)
    return _run(model, train_ids, val_ids, config, folder, optimizer, saved_records(folder))


def saved_records(folder: str | Path) -> list[Record]:
    """The records of the run in `folder`, as far as it was saved.

    >>> saved_records("runs/alice")[-1].val_loss                                        # doctest: +SKIP
    1.58
    """
    return [Record(*values) for values in load_progress(folder)["records"]]


def _run(
    model: GPT,
    train_ids: Tensor,
    val_ids: Tensor,
    config: TrainConfig,
    folder: str | Path | None,
    optimizer: torch.optim.AdamW | MuonAndAdamW,
    records: list[Record],
) -> Iterator[Record]:
    fingerprint = _fingerprint(train_ids, val_ids)
    train_ids, val_ids = train_ids.to(model.device), val_ids.to(model.device)
    saved_at = len(records)

    def checkpoint() -> None:
        nonlocal saved_at
        if folder is not None and saved_at != len(records):
            rows = [list(asdict(record).values()) for record in records]
            progress = {"config": asdict(config), "fingerprint": fingerprint, "records": rows}
            save_training(folder, model, optimizer, progress)
            save_model(model, folder)
            saved_at = len(records)

    with _interrupt_flag() as interrupted:
        try:
            for step in range(len(records) + 1, config.steps + 1):
                record = _step(model, optimizer, train_ids, val_ids, config, step)
                elapsed = record.elapsed + (records[-1].elapsed if records else 0.0)
                records.append(Record(**{**asdict(record), "elapsed": elapsed}))
                if step % config.checkpoint_every == 0:
                    checkpoint()
                yield records[-1]
                if interrupted.is_set():
                    saved = f"the run is saved in {folder}, resume it from there" if folder else "nothing was saved"
                    raise KeyboardInterrupt(f"stopped after step {step} of {config.steps}: {saved}")
        except FloatingPointError:
            saved_at = len(records)  # the weights may be spoilt: keep the last checkpoint
            raise
        finally:
            checkpoint()


def _step(
    model: GPT,
    optimizer: torch.optim.AdamW | MuonAndAdamW,
    train_ids: Tensor,
    val_ids: Tensor,
    config: TrainConfig,
    step: int,
) -> Record:
    """One step: batch, loss, gradient, clipping, update, and where it is due the validation loss."""
    began = time.perf_counter()
    learning_rate = learning_rate_at(step, config)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    model.train()
    x, y = get_batch(train_ids, model.config.block_size, config.batch_size, seed=config.seed, step=step)  # (B, T) each
    with _seeded_dropout(config.seed, step, model.device), _autocast(model.device, config.precision):
        _, loss = model(x, y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip).item()
    train_loss = loss.item()
    if not math.isfinite(train_loss) or not math.isfinite(grad_norm):
        raise FloatingPointError(
            f"at step {step} the loss is {train_loss} and the gradient's norm {grad_norm}: try a lower learning_rate "
            f"(now {config.learning_rate}), more warmup_steps (now {config.warmup_steps}) or a smaller clip (now {config.clip})"
        )
    optimizer.step()
    step_seconds = time.perf_counter() - began
    val_loss = None
    if step % config.eval_every == 0 or step == config.steps:
        with _autocast(model.device, config.precision):
            val_loss = evaluate(model, val_ids, windows=config.eval_windows)
    elapsed = time.perf_counter() - began
    return Record(step, learning_rate, train_loss, val_loss, grad_norm, x.numel() / step_seconds, elapsed)


@contextlib.contextmanager
def _interrupt_flag() -> Iterator[threading.Event]:
    """While it lasts, the first Ctrl-C only sets the flag; a second one interrupts at once, as usual."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield flag
        return
    previous = signal.getsignal(signal.SIGINT)

    def handler(*_: Any) -> None:
        flag.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, handler)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def _seeded_dropout(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Dropout follows from seed and step alone; the caller's own random numbers are left as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(step_seed(seed, step))
        yield


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 where it pays: on CUDA devices that compute in it; elsewhere on request only."""
    pays = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    enabled = precision == "bfloat16" or (precision == "auto" and pays)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _fingerprint(train_ids: Tensor, val_ids: Tensor) -> str:
    """A short name of the data of a run, so that it is not resumed with another."""
    digest = hashlib.sha256()
    for ids in (train_ids, val_ids):
        digest.update(ids.cpu().to(torch.int64).numpy().tobytes() + b"|")
    return digest.hexdigest()[:16]
