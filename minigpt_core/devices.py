"""Where a step is computed, and how precisely: the device, autocast, and the random numbers of dropout."""

import contextlib
from collections.abc import Iterator

import torch

from .data import step_seed


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


@contextlib.contextmanager
def seeded_dropout(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Dropout follows from seed and step alone; the caller's own random numbers are left as they were.

    >>> with seeded_dropout(0, 7, torch.device("cpu")):
    ...     torch.nn.functional.dropout(torch.ones(4))
    tensor([2., 2., 0., 0.])
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(step_seed(seed, step))
        yield


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """While it lasts, large products are computed in short numbers: bfloat16 or float16 on request, and with "auto" bfloat16
    where it pays, on CUDA devices that compute in it. "float32" leaves each number as it is, also float64.

    >>> with autocast(torch.device("cpu"), "bfloat16"):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    pays = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    enabled = precision in ("bfloat16", "float16") or (precision == "auto" and pays)
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=enabled)
