"""A training run in its folder: what is kept there, in which order it is written, and whose it is."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .checkpoint import load_progress, save_training, step_of, write_model
from .config import GPTConfig, TrainConfig
from .files import CONTENTS, held_in, lock, write_atomic
from .model import GPT
from .optimizer import Optimizer
from .registry import config_of
from .tokenizer import Tokenizer

BEST = "best"  # folder, inside that of a run, of the model with the lowest validation loss


@dataclass(frozen=True)
class SavedRun:
    """What the checkpoint of a run says, its tensors left out."""

    model: GPTConfig
    config: TrainConfig
    fingerprint: str
    rows: list[list[float | None]]  # the values of its records
    notes: dict[str, Any]


def load_run(folder: str | Path) -> SavedRun:
    """What the checkpoint in `folder` says. One that is missing, damaged, or no checkpoint of a run is a `ValueError`.

    >>> load_run("runs/alice").config.steps                                             # doctest: +SKIP
    1500
    """
    progress = load_progress(folder)
    try:
        fields: list[Any] = [progress.get(name) for name in ("config", "fingerprint", "notes")]
        for value, kind in zip(fields, (dict, str, dict), strict=True):
            if not isinstance(value, kind):
                raise TypeError(f"{value!r:.50} stands where a {kind.__name__} is needed")
        for step, row in enumerate(progress["records"], start=1):
            if (
                not isinstance(row, list)
                or not all(x is None or type(x) in (int, float) for x in row)
                or row[0] != step
            ):
                raise TypeError(f"{row!r:.50} is no record of step {step}")
        return SavedRun(
            config_of(progress["model"]), TrainConfig(**fields[0]), fields[1], progress["records"], fields[2]
        )
    except (TypeError, ValueError, IndexError) as error:
        path = Path(folder) / "training.safetensors"
        raise ValueError(f"{path} is no checkpoint that this program can read: {error}") from None


def fingerprint(train_ids: Tensor, val_ids: Tensor) -> str:
    """A short name of the data of a run, so that it is not resumed or examined with another.

    >>> fingerprint(torch.arange(3), torch.arange(2))
    '9e5bf54760eae48e'
    """
    digest = hashlib.sha256()
    for ids in (train_ids, val_ids):
        for begin in range(0, len(ids), 2**20):
            digest.update(ids[begin : begin + 2**20].cpu().numpy().tobytes())
        digest.update(b"|")
    return digest.hexdigest()[:16]


class RunFolder:
    """The folder of one run. Its checkpoint, training.safetensors, is the run; all else is written after it, from what it
    holds: model.safetensors and config.json, and in `best` those of the step with the lowest validation loss. Only the
    tokenizer, which never changes, comes before it. So a kill at any moment leaves nothing that cannot be mended.

    `saved` is the number of steps in the checkpoint. A new run in a folder with a run, a model, or where it brings a
    `tokenizer` a tokenizer is a `ValueError`.
    """

    def __init__(
        self,
        path: str | Path,
        fingerprint: str,
        notes: dict[str, Any],
        tokenizer: Tokenizer | None = None,
        saved: int = 0,
    ):
        self.path, self.fingerprint, self.notes, self.tokenizer = Path(path), fingerprint, notes, tokenizer
        self.saved, self._stamp = saved, self._look()
        json.dumps(notes)  # what cannot be saved is refused now, not after the first steps
        if not saved:
            self._check_free()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """While it lasts, no other program trains in the folder; one that did since we looked last is a `ValueError`."""
        with lock(self.path):
            if not self.saved:
                self._check_free()
            elif self._look() != self._stamp:
                raise ValueError(f"the run in {self.path} was saved by another program meanwhile: resume it anew")
            yield

    def save(self, model: GPT, optimizer: Optimizer, config: TrainConfig, rows: list[Any], best: int | None) -> None:
        """Save the run after as many steps as there are `rows`; `best` is the step with the lowest validation loss."""
        if self.tokenizer is not None and not self.saved:
            self.tokenizer.save(self.path, overwrite=True)  # ours: the folder was found free, and is locked
        about = {"config": asdict(config), "fingerprint": self.fingerprint, "records": rows, "notes": self.notes}
        save_training(self.path, model, optimizer, about)
        self.saved, self._stamp = len(rows), self._look()
        self.mend(model, best)

    def mend(self, model: GPT, best: int | None) -> None:
        """Write anew what is missing beside the checkpoint or older than it, from the model that the checkpoint holds."""
        if step_of(self.path) != self.saved:
            write_model(model, self.path, step=self.saved)
        if best == self.saved and step_of(self.path / BEST) != best:
            for name in CONTENTS["a tokenizer"]:
                if (self.path / name).exists():
                    write_atomic(self.path / BEST / name, (self.path / name).read_bytes())
            write_model(model, self.path / BEST, step=best)

    def _check_free(self) -> None:
        kinds = ("a run", "a model") if self.tokenizer is None else ("a run", "a model", "a tokenizer")
        if found := held_in(self.path, *kinds):
            resume = ", or go on with the run by resume" if found == "a run" else ""
            raise ValueError(f"{self.path} already holds {found}: name another folder{resume}")

    def _look(self) -> tuple[int, int] | None:
        with contextlib.suppress(FileNotFoundError):
            status = (self.path / "training.safetensors").stat()
            return status.st_mtime_ns, status.st_size
        return None
