"""One run, computed by several processes, each with its part of every batch: first by hand, then on PyTorch's own engine. The
curve is that of one process.

    torchrun --nproc-per-node=2 -m minigpt_core train --corpus alice

starts two processes with the same command. Each has a number, its rank, and only rank 0 writes and prints.
"""

import contextlib
import copy
import os
import signal
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from ..data import MASKED
from ..interrupts import SIGNALS
from ..model import GPT
from ..optimizer import MuonAndAdamW, Optimizer, make_optimizer
from ..training import Record, take_step
from .large import Large, LargeRun


def share_weights(model: nn.Module) -> None:
    """By hand: all processes begin with the weights of rank 0. Done once.

    >>> share_weights(model)  # in each process                                         # doctest: +SKIP
    """
    for p in model.parameters():
        dist.broadcast(p.detach(), src=0)


def shared_gradient(model: GPT, x: Tensor, y: Tensor) -> Tensor:
    """By hand: each process computes the gradient of its rows of a batch x, y (B, T), which all have whole, and all add up what
    they found. So each ends with the gradient of the mean loss of the whole batch in its weights' `grad`, and takes the
    same step. Returns that loss, a scalar. B must be at least the number of processes.

    >>> loss = shared_gradient(model, x, y)  # in each process                          # doctest: +SKIP
    """
    mine = slice(dist.get_rank(), None, dist.get_world_size())
    logits, _ = model(x[mine])
    loss = F.cross_entropy(logits.flatten(0, 1), y[mine].flatten(), reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    total = loss.detach()
    for tensor in [total, *(p.grad for p in model.parameters() if p.grad is not None)]:
        dist.all_reduce(tensor)  # the sum over all processes
        tensor /= y.numel()  # divided once, by all tokens
    return total


_store: list[Any] = []  # what the processes agree by, while they have not all ended


@contextlib.contextmanager
def processes() -> Iterator[int]:
    """While it lasts, this process and the others that torchrun has started can exchange tensors: by gloo between CPUs, by NCCL
    between GPUs, of which each process gets one. Gives this process's rank: 0 where it is the only one.

    >>> with processes():                                                               # doctest: +SKIP
    ...     for record in train(model, train_ids, val_ids, config, "runs/alice", engine=Many()): ...
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0
        return
    store, rank, size = next(rendezvous("env://"))
    _store[:] = [store]
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", store=store, rank=rank, world_size=size)
    try:
        yield rank
    finally:
        dist.destroy_process_group()


def first_to_tell() -> bool:
    """Whether this process is the first that asks: of several that fail, one says why. Before they have met, it is rank 0.

    >>> first_to_tell()
    True
    """
    if not _store:
        return os.environ.get("RANK", "0") == "0"
    with contextlib.suppress(RuntimeError):  # the store may have ended with the process that kept it
        return _store[0].add("told", 1) == 1
    return True


@dataclass(frozen=True)
class Many(Large):
    """How a run is computed by several processes: an `engine` for `train` and `resume`, inside of `processes()`. All call it
    with the same arguments and leave the loop after the same step.

    Each process has the whole model, and the gradients are added up (DistributedDataParallel: Li et al. 2020,
    arXiv:2006.15704). With `shard` each keeps a part of every weight and of the optimizer's numbers, and a block's weights
    are put together when its turn comes (fully sharded data parallel: Zhao et al. 2023, arXiv:2304.11277); for saving and
    at each evaluation the whole is gathered in the CPU's memory. Each process evaluates for itself.

    A checkpoint says nothing of processes, so a run may be resumed by any number of them.

    >>> Many(micro_batch=4, shard=True)
    Many(micro_batch=4, checkpoint_activations=False, compile=False, shard=True)
    """

    shard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compile:
            raise ValueError("compile is for one process: leave it out where several compute")

    def __call__(self, model: GPT, *run: Any) -> "ManyRun":
        self.check(model)
        if model.device.type not in ("cpu", "cuda"):
            raise ValueError(f"several processes compute on CPUs or NVIDIA's GPUs, not on device='{model.device}'")
        if self.shard and isinstance(run[3], MuonAndAdamW):
            raise ValueError("Muon needs each matrix whole: take optimizer='adamw', or leave out shard")
        return ManyRun(self, model, *run)


class ManyRun(LargeRun):
    """A `Run` of which this process computes a part. What ends one process ends all: a signal to one lets all end their step
    and save, and where one is gone the others stop with a `ConnectionError`.
    """

    large: Many

    def __init__(self, many: Many, *run: Any):
        super().__init__(many, *run)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._came: list[int] = []  # signals
        self._gathered = len(self.records)  # the step that self.model is of, where it is sharded
        self._place = f"the last checkpoint in {self.folder.path}" if self.folder else "the beginning"
        if self.folder:
            self._check_same(self.folder.fingerprint)
        if self.rank:
            self.folder = None
        share_weights(self.model)
        if many.shard:
            self._shards, self._shards_optimizer = self._sharded()
            self._forward = self._shards
            self.model.to("cpu")
        else:
            self._forward = self._ddp = DistributedDataParallel(self.model)

    def _check_same(self, fingerprint: str) -> None:
        mine = torch.tensor(list(bytes.fromhex(fingerprint)))
        first = mine.clone()
        dist.broadcast(first, src=0)
        if not torch.equal(first, mine):
            raise ValueError(f"process {self.rank} has another text, split or tokenizer than process 0")

    def _add_gradients(self, model: GPT, x: Tensor, y: Tensor, step: int, factor: float) -> float:
        part = super()._add_gradients(model, x, y, step, factor * self.size)  # since the engine takes the mean of all
        total = torch.tensor(part, dtype=torch.float64)
        dist.all_reduce(total)
        return total.item()

    def _share(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The batch and the rows of it for this process. Where they cannot be shared out evenly, masked rows are added, so that
        all processes meet as often: a row that no one learns from changes nothing."""
        more = -len(x) % self.size
        x = torch.cat([x, x[:1].expand(more, -1)])
        y = torch.cat([y, torch.full_like(y[:1], MASKED).expand(more, -1)])
        return x, y, torch.arange(self.rank, len(x), self.size, device=x.device)

    @contextlib.contextmanager
    def _around(self, model: GPT, rows: Tensor, n_rows: int, step: int, last: bool) -> Iterator[None]:
        waits = not last and not self.large.shard  # gradients are added up after the last group only
        apart = self._ddp.no_sync() if waits else contextlib.nullcontext()
        with apart, super()._around(model, rows, n_rows, step, last):
            yield

    # What the processes do together at each step, and how they end.

    def _steps(self) -> Generator[Record, None, None]:
        with _noted(self._came):
            yield from super()._steps()

    def _advance(self) -> None:
        with self._together():
            number = torch.tensor(max(self._came, default=0))
            dist.all_reduce(number, op=dist.ReduceOp.MAX)
            if number and self.large.shard:
                self._gather(len(self.records))
        if number == signal.SIGINT:
            raise KeyboardInterrupt(self._stop())
        if number:
            raise SystemExit(128 + int(number))
        super()._advance()

    def _take_step(self, step: int) -> Record:
        with self._together():
            if not self.large.shard:
                return super()._take_step(step)
            model, optimizer, ids = self._shards, self._shards_optimizer, (self._train_ids, self._val_ids)
            record = take_step(model, optimizer, *ids, self.config, step, self._find_gradient)
            if record.val_loss is not None or step % self.config.checkpoint_every == 0:
                self._gather(step)
            return record

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """Where another process cannot be reached, no step was taken: the weights are still those after the last record."""
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "gloo" not in str(error):
                raise
            self._whole = True
            raise ConnectionError(
                f"another process has ended or cannot be reached, so training stopped after step {len(self.records)} of "
                f"{self.config.steps}: start the processes again, to go on from {self._place} by resume"
            ) from None

    def _save(self) -> None:
        if not self.large.shard or self._gathered == len(self.records):
            super()._save()

    # Sharded: self.model and self.optimizer are whole, on the CPU, and filled when they are needed.

    def _sharded(self) -> tuple[GPT, Optimizer]:
        """This process's part of a copy of the model and of its optimizer."""
        model = copy.deepcopy(self.model)
        mesh = init_device_mesh(model.device.type, (self.size,))
        for module in [*model.blocks, model]:
            fully_shard(module, mesh=mesh)
        optimizer = make_optimizer(model, self.config)
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        state = {
            i: {name: distribute_tensor(v, mesh, weights[i].placements) if v.dim() else v for name, v in values.items()}
            for i, values in self.optimizer.state_dict()["state"].items()
        }
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return model, optimizer

    def _gather(self, step: int) -> None:
        """Fill the whole model and optimizer with what the processes have after this step."""

        def whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: (t.full_tensor() if isinstance(t, DTensor) else t).cpu() for name, t in tensors.items()}

        self.model.load_state_dict(whole(self._shards.state_dict()))
        state = {i: whole(values) for i, values in self._shards_optimizer.state_dict()["state"].items()}
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self._gathered = step


def leave_signals_to_the_run() -> None:
    """From now on a signal ends nothing but a `ManyRun`, so that where one process has failed and torchrun asks the others to
    end, they can still say why. For a program that owns its process, such as the command line."""
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, lambda *_: None)


@contextlib.contextmanager
def _noted(came: list[int]) -> Iterator[None]:
    """While it lasts, signals that would end the program are noted in `came`."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    held = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
    for number in held:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
