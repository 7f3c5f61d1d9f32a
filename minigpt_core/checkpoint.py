"""Models and training runs on disk: safetensors for numbers, JSON for settings, and no code in either.

A folder holds config.json and model.safetensors, the tokenizer's files where it was saved there too, and, for a run that
can be resumed, training.safetensors: weights, the optimizer's state and, as JSON in the header, everything else. One
file, replaced in one step, so that a run killed at any moment resumes from a whole checkpoint.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .fast import MuonAndAdamW, build, config_of
from .files import write_atomic
from .model import GPT

FORMAT_VERSION = 1


def save_model(model: GPT, folder: str | Path, *, narrow: bool = False) -> None:
    """Write config.json and model.safetensors into `folder`, which is made if need be. With `narrow` every matrix is stored
    as whole numbers from -127 to 127 and one scale a row: a quarter of the size, and a little less exact.

    >>> save_model(model, "runs/alice"); tokenizer.save("runs/alice")                   # doctest: +SKIP
    """
    folder = Path(folder)
    description = {"version": FORMAT_VERSION, "model": asdict(model.config)}
    write_atomic(folder / "config.json", json.dumps(description, indent=1).encode("utf-8"))
    tensors = _on_cpu(model.state_dict())
    raw = save(narrow_weights(tensors) if narrow else tensors, {"minigpt": json.dumps(description)})
    write_atomic(folder / "model.safetensors", raw)


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> GPT:
    """The model that `save_model` wrote, in evaluation mode. A folder that is missing, damaged, of another format
    version, or whose weights do not have the shapes that its config.json states, is a `ValueError`.

    >>> model = load_model("runs/alice")                                                # doctest: +SKIP
    """
    path = Path(folder) / "config.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        _check_version(description["version"])
        config = config_of(description["model"])
    except FileNotFoundError:
        raise ValueError(f"there is no model in {folder}: {path.name} is missing") from None
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    weights = path.with_name("model.safetensors")
    tensors, header = _read(weights)
    if header and header["model"] != asdict(config):
        raise ValueError(f"{weights} does not fit its settings: those in {path.name} are of another model")
    try:
        device = torch.device(device)
        with torch.device("meta"):  # shapes only: no memory, no random numbers
            model = build(config)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{path}: device or settings impossible: {str(error).splitlines()[0]}") from None
    _load_weights(model, _widen(tensors, weights), weights)
    return model.to(device).eval()


def save_training(
    folder: str | Path, model: GPT, optimizer: torch.optim.AdamW | MuonAndAdamW, progress: dict[str, Any]
) -> None:
    """Write training.safetensors: model, optimizer, and `progress`, any values that JSON can hold."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in state.items()}
    header = {"version": FORMAT_VERSION, "model": asdict(model.config), **progress}
    write_atomic(Path(folder) / "training.safetensors", save(_on_cpu(tensors), {"minigpt": json.dumps(header)}))


def load_progress(folder: str | Path) -> dict[str, Any]:
    """The `progress` of a saved training run, without its tensors, and under "model" the model's settings."""
    return _read(Path(folder) / "training.safetensors", names=())[1]


def load_training(folder: str | Path, model: GPT, optimizer: torch.optim.AdamW | MuonAndAdamW) -> None:
    """Fill `model` and `optimizer` with what `save_training` wrote."""
    path = Path(folder) / "training.safetensors"
    tensors, _ = _read(path)
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    _load_weights(model, weights, path)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".")
            state.setdefault(int(i), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _read(path: Path, names: tuple[str, ...] | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a safetensors file, all or those in `names`, and the JSON in its header."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("minigpt", "{}"))
            if not isinstance(header, dict):
                raise ValueError("its header is no description")
            if header:
                _check_version(header["version"])
            return {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}, header
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read, it may be damaged: {error}") from None


def narrow_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each matrix W as int8 numbers q and a scale for each row, so that W is about q * scale; vectors as they are."""
    narrow: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dim() == 2:
            scale = tensor.abs().amax(1).clamp(min=1e-12) / 127  # (rows,)
            narrow |= {name: (tensor / scale[:, None]).round().to(torch.int8), f"{name}.scale": scale}
        else:
            narrow[name] = tensor
    return narrow


def _widen(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """What `narrow_weights` was given, as nearly as it can be had; tensors that were never narrowed as they are."""
    wide = {name: tensor for name, tensor in tensors.items() if not name.endswith(".scale")}
    for name, scale in tensors.items():
        if name.endswith(".scale"):
            matrix = wide.get(name.removesuffix(".scale"))
            if matrix is None or matrix.dim() != 2 or matrix.shape[:1] != scale.shape:
                raise ValueError(f"{path} does not fit its settings: {name} has no matrix of as many rows")
            wide[name.removesuffix(".scale")] = matrix * scale[:, None]
    return wide


def _load_weights(model: GPT, tensors: dict[str, Tensor], path: Path) -> None:
    expected = model.state_dict()
    if missing := sorted(expected.keys() ^ tensors.keys()):
        raise ValueError(f"{path} does not fit its settings: {missing[0]} is in one of them only")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"{path} does not fit its settings: {name} has the shape {tuple(tensor.shape)}, "
                f"expected {tuple(expected[name].shape)}"
            )
    tensors = {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}
    model.load_state_dict(tensors, assign=model.head.weight.is_meta)


def _check_version(version: object) -> None:
    if version != FORMAT_VERSION:
        raise ValueError(f"its format version is {version!r}, this program reads {FORMAT_VERSION}")


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
