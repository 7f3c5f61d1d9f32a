"""Models and training runs on disk: safetensors for numbers, JSON for settings, and no code in either.

A model is config.json and model.safetensors. A run is one file more, training.safetensors, which holds everything:
weights, the optimizer's state and, as JSON in its header, settings and records. It is replaced in one step, so that a
run killed at any moment goes on from a whole checkpoint. The model beside it is a copy for those who only want to read it.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .config import GPTConfig
from .files import held_in, write_atomic
from .model import GPT
from .optimizer import Optimizer
from .registry import build, config_of, settings_of

FORMAT_VERSION = 1


def save_model(model: GPT, folder: str | Path, *, narrow: bool = False, overwrite: bool = False) -> None:
    """Write config.json and model.safetensors into `folder`, which is made if need be. With `narrow` every matrix is
    quantized, stored as whole numbers from -127 to 127 and one scale a row: a quarter of the size, and a little less exact.

    A model that is there already is a `ValueError`, unless `overwrite`; so is the folder of a run, which keeps its own.

    >>> save_model(model, "saved/alice"); tokenizer.save("saved/alice")                 # doctest: +SKIP
    """
    if held_in(folder, "a run"):
        raise ValueError(f"{folder} holds a run, and its model is the run's: name another folder")
    if held_in(folder, "a model") and not overwrite:
        raise ValueError(f"{folder} already holds a model: name another folder, or replace it by overwrite=True")
    write_model(model, folder, narrow=narrow)


def write_model(model: GPT, folder: str | Path, *, narrow: bool = False, step: int | None = None) -> None:
    """What `save_model` does, whatever is there; with the `step` of the run that the model is from."""
    folder = Path(folder)
    description = {"version": FORMAT_VERSION, "model": settings_of(model.config)}
    write_atomic(folder / "config.json", json.dumps(description, indent=1).encode("utf-8"))
    tensors = _on_cpu(model.state_dict())
    header = json.dumps(description if step is None else {**description, "step": step})
    write_atomic(
        folder / "model.safetensors", save(narrow_weights(tensors) if narrow else tensors, {"minigpt": header})
    )


def step_of(folder: str | Path) -> int | None:
    """The step of the run that the model in `folder` is from; None where it does not say, or is missing or damaged.

    >>> step_of("runs/alice")                                                           # doctest: +SKIP
    1500
    """
    try:
        _read_config(Path(folder))
        return _read(Path(folder) / "model.safetensors", names=())[1].get("step")
    except ValueError:
        return None


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> GPT:
    """The model that `save_model` wrote, or that of a run's last checkpoint, in evaluation mode. A folder that is missing,
    damaged, of another format version, or whose weights do not have the shapes that its settings state, is a `ValueError`.

    >>> model = load_model("runs/alice")                                                # doctest: +SKIP
    """
    config, tensors, path = _read_model(Path(folder))
    try:
        device = torch.device(device)
        with torch.device("meta"):  # shapes only: no memory, no random numbers
            model = build(config)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{path}: device or settings impossible: {str(error).splitlines()[0]}") from None
    _load_weights(model, tensors, path)
    return model.to(device).eval()


def save_training(folder: str | Path, model: GPT, optimizer: Optimizer, progress: dict[str, Any]) -> None:
    """Write training.safetensors: model, optimizer, and `progress`, any values that JSON can hold, with its "records"."""
    header = {"version": FORMAT_VERSION, "model": settings_of(model.config), **progress}
    tensors = _on_cpu(training_tensors(model, optimizer))
    write_atomic(Path(folder) / "training.safetensors", save(tensors, {"minigpt": json.dumps(header)}))


def training_tensors(model: GPT, optimizer: Optimizer) -> dict[str, Tensor]:
    """What a run must keep: the weights, and the optimizer's state of each, by their names in the file."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in state.items()}
    return tensors


def load_progress(folder: str | Path) -> dict[str, Any]:
    """The `progress` of a saved training run, without its tensors, and under "model" the model's settings."""
    path = Path(folder) / "training.safetensors"
    progress = _read(path, names=())[1]
    if not isinstance(progress.get("model"), dict) or not isinstance(progress.get("records"), list):
        raise ValueError(f"{path} is no checkpoint of a run: its header has no settings or no records")
    return progress


def load_training(folder: str | Path, model: GPT, optimizer: Optimizer) -> None:
    """Fill `model` and `optimizer` with what `save_training` wrote."""
    path = Path(folder) / "training.safetensors"
    tensors, _ = _read(path)
    _load_weights(model, _part(tensors, "model."), path)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer.").items():
        i, _, key = name.partition(".")
        state.setdefault(int(i), {})[key] = tensor
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    if sorted(state) != list(range(len(weights))) or any(
        value.dim() and value.shape != weights[i].shape for i in state for value in state[i].values()
    ):
        raise ValueError(f"{path} does not fit its settings: the optimizer's state is not that of the weights")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _read_model(folder: Path) -> tuple[GPTConfig, dict[str, Tensor], Path]:
    """Settings and weights of the model in `folder`, and the file they are from: in the folder of a run whose model is
    missing, damaged, or of another step than the checkpoint (a kill came between the two), the checkpoint."""
    try:
        progress = load_progress(folder)
    except ValueError:  # no run, or a damaged one: then the model stands alone
        progress = None
    if progress is not None and step_of(folder) != len(progress["records"]):
        path = folder / "training.safetensors"
        return config_of(progress["model"]), _part(_read(path)[0], "model."), path
    config, path = _read_config(folder), folder / "model.safetensors"
    tensors, header = _read(path)
    if header and config_of(header.get("model")) != config:
        raise ValueError(f"{path} does not fit its settings: those in config.json are of another model")
    return config, _widen(tensors, path), path


def _read_config(folder: Path) -> GPTConfig:
    path = folder / "config.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(description, dict):
            raise ValueError("it is no description")
        _check_version(description.get("version"))
        return config_of(description.get("model"))
    except FileNotFoundError:
        raise ValueError(f"there is no model in {folder}: {path.name} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _read(path: Path, names: tuple[str, ...] | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a safetensors file, all or those in `names`, and the JSON in its header."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("minigpt", "{}"))
            if not isinstance(header, dict):
                raise ValueError("its header is no description")
            if header:
                _check_version(header.get("version"))
            return {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}, header
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read, it may be damaged: {error}") from None


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


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
