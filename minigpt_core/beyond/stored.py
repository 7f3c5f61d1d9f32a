"""Token ids that stay on disk: what `prepare` wrote, for `train`, which draws its windows from there."""

import functools
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..tokenizer import Coder, Tokenizer, load_tokenizer
from .shards import PARTS, describe, files_of, fingerprint_of

CPU = torch.device("cpu")


class StoredIds:
    """The ids (N,) of one part, shard behind shard. They answer as a tensor of int64 on `device` does to what training,
    `get_batch` and `evaluate` ask of one. Files are mapped: what is read of them lies in the system's cache of files, which
    gives it back when memory is needed.

    >>> train_ids[1_000_000:1_000_004]                                                  # doctest: +SKIP
    tensor([ 17, 391,   8,  52])
    """

    dtype = torch.int64

    def __init__(self, shards: list[np.ndarray], device: torch.device = CPU):
        self.shards, self.device = shards, device
        self.begins = np.cumsum([0, *map(len, shards)])  # the first id of each shard, and behind the last

    def __len__(self) -> int:
        return int(self.begins[-1])

    def __getitem__(self, places: slice | Tensor) -> Tensor:
        """Those from one place to another, or those at `places`, int64 of any shape."""
        if isinstance(places, slice):
            start, stop, step = places.indices(len(self))
            parts = [
                shard[max(0, start - b) : max(0, stop - b)] for b, shard in zip(self.begins, self.shards, strict=False)
            ]
            return torch.from_numpy(np.concatenate(parts)[::step].astype(np.int64)).to(self.device)
        wanted = places.cpu().numpy()
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"places go from {wanted.min()} to {wanted.max()}, ids from 0 to {len(self) - 1}")
        found = np.empty(wanted.shape, np.int64)
        which = np.searchsorted(self.begins, wanted, side="right") - 1
        for number in np.unique(which):
            there = which == number
            found[there] = self.shards[number][wanted[there] - self.begins[number]]
        return torch.from_numpy(found).to(self.device)

    def dim(self) -> int:
        return 1

    def to(self, device: torch.device) -> "StoredIds":
        return StoredIds(self.shards, device)

    @functools.cached_property
    def _bounds(self) -> tuple[int, int]:
        return min(int(shard.min()) for shard in self.shards), max(int(shard.max()) for shard in self.shards)

    def min(self) -> int:
        """The smallest id. All are read for it, once."""
        return self._bounds[0]

    def max(self) -> int:
        return self._bounds[1]


def load_data(folder: str | Path, tokenizer: Coder | None = None) -> tuple[Tensor, Tensor, Tokenizer]:
    """Training and validation ids that `prepare` wrote into `folder`, and the tokenizer that cut them. All files are read
    once and compared with their checksums, about a second for each GB of text; none is loaded.

    A folder without prepared text or with half of it, a file that is cut off or has changed, and where a `tokenizer` is
    given, one that is another than that of the text, is a `ValueError`. The ids are `StoredIds`; to a type checker they are
    the tensors as which they answer.

    >>> train_ids, val_ids, tokenizer = load_data("data/web")                           # doctest: +SKIP
    >>> run = train(GPT(GPTConfig(tokenizer.vocab_size)), train_ids, val_ids, TrainConfig())  # doctest: +SKIP
    """
    described = describe(folder)
    if not described.finished:
        raise ValueError(
            f"the text in {folder} is not finished: prepare it by the command that began it, which will go on"
        )
    own = load_tokenizer(folder)
    if fingerprint_of(own) != described.tokenizer:
        raise ValueError(f"the tokenizer in {folder} is not the one that cut its text: prepare the text anew")
    if tokenizer is not None and fingerprint_of(tokenizer) != described.tokenizer:
        raise ValueError(f"the text in {folder} was cut by another tokenizer: prepare it with the one that is given")
    parts, width = [], described.dtype.itemsize
    for part in PARTS:
        files = files_of(folder, described, part, "ids")
        parts.append(StoredIds([np.memmap(path, described.dtype, "r", shape=(size // width,)) for path, size in files]))
    return cast(Tensor, parts[0]), cast(Tensor, parts[1]), own
