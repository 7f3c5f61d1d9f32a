"""A trained model as one file for the page: settings, tokenizer and weights, which the engine's `Model` reads.

The file is "MGPT", the version and the length of the header (two little-endian 32-bit numbers), the header as JSON, and the
numbers: each matrix as int8 with one float32 scale a row, each vector as float32. A page that trains a model writes the same
kind of file, with its matrices in float32 too. `load_model_file` reads both.
"""

import base64
import gzip
import json
import math
import struct
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import narrow_weights
from ..decoding import unlike_settings
from ..model import GPT
from ..registry import build, config_of, settings_of
from ..tokenizer import CHAT, BPETokenizer, CharTokenizer, Coder, check_sizes

VERSION = 2
KINDS = ("gpt", "composed", "fast")  # that the engine knows


def model_file(model: GPT, tokenizer: Coder) -> bytes:
    """`model` and its tokenizer, a quarter of the size that they have in memory, and a little less exact. The page computes
    what a `GPT` or a `ComposedGPT` without experts computes in float32; any other model is a `ValueError` that names what is
    different.

    >>> model_file(model, tokenizer)[:4]                                                # doctest: +SKIP
    b'MGPT'
    """
    if different := unlike_settings(model) or _unknown(settings_of(model.config)):
        raise ValueError(f"the page computes a GPT or a ComposedGPT in float32 only, and {different}")
    check_sizes(tokenizer, model.config.vocab_size)
    about = describe(tokenizer)
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise ValueError("the model's weights are not all finite: its training may have diverged")
    narrow = narrow_weights(weights)
    numbers, tensors = bytearray(), []

    def append(tensor: Tensor) -> int:
        numbers.extend(bytes(-len(numbers) % 4))  # a float begins at a multiple of four
        offset = len(numbers)
        numbers.extend(tensor.contiguous().numpy().tobytes())
        return offset

    for name, tensor in narrow.items():
        if not name.endswith(".scale"):
            entry: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "offset": append(tensor)}
            if f"{name}.scale" in narrow:
                entry["scale"] = append(narrow[f"{name}.scale"])
            tensors.append(entry)
    header = {
        "config": settings_of(model.config),
        "tokenizer": about,
        "tensors": tensors,
        "bytes": len(numbers),
    }
    raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    return b"MGPT" + struct.pack("<II", VERSION, len(raw)) + raw + bytes(numbers)


def _unknown(settings: dict[str, Any]) -> str:
    """What of these settings the engine does not know; nothing ("") where it knows them all."""
    if settings["kind"] not in KINDS:
        return f"this one is of the kind {settings['kind']!r}"
    return "this one has experts" if settings.get("feed_forward") == "experts" else ""


def load_model_file(source: str | Path | bytes) -> tuple[GPT, CharTokenizer | BPETokenizer]:
    """The model of a file that `model_file` or a page wrote, in evaluation mode, and its tokenizer; `source` is the path of the
    file, or its bytes. What is no such file, damaged, or of another version is a `ValueError`. To keep both as a folder:

    >>> model, tokenizer = load_model_file("alice.mgpt")                                # doctest: +SKIP
    >>> save_model(model, "saved/alice"); tokenizer.save("saved/alice")                 # doctest: +SKIP
    """
    raw = source if isinstance(source, bytes) else _content(Path(source))
    file = "the model file" if isinstance(source, bytes) else f"the model file {source}"
    if len(raw) < 12 or raw[:4] != b"MGPT":
        which = "this" if isinstance(source, bytes) else source
        raise ValueError(f"{which} is no model file of minigpt_core: take one that minigpt export or a page wrote")
    version, length = struct.unpack_from("<II", raw, 4)
    if version != VERSION:
        raise ValueError(f"{file} has version {version}, this program reads {VERSION}: export it again")
    begin, truncated = 12 + length, ValueError(f"{file} is truncated: load it again, or export it again")
    if len(raw) < begin:
        raise truncated

    def damaged(what: object) -> ValueError:
        return ValueError(f"{file} is damaged, {what}: export it again")

    try:
        header = json.loads(raw[12:begin].decode("utf-8"))
        settings, about, size = header["config"], dict(header["tokenizer"]), int(header["bytes"])
        places = {each["name"]: each for each in header["tensors"]}
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        raise damaged("its header cannot be read") from None
    if len(raw) < begin + size:
        raise truncated
    if len(raw) > begin + size:
        raise damaged("its length is not what its header says")
    if about.get("kind") == "bpe" and "sentencepiece" not in about:
        raise ValueError(
            f"{file} is an older one, in which pieces come without their SentencePiece model: export it again"
        )
    try:
        model, tokenizer = _empty_model(settings, len(places)), _tokenizer_of(about)
        if tokenizer.vocab_size != model.config.vocab_size:
            sizes = f"{tokenizer.vocab_size} tokens and not {model.config.vocab_size}"
            raise ValueError(f"its tokenizer has another size than the model, {sizes}")
        weights = _weights_of(model, places, bytearray(raw[begin:]))
    except ValueError as error:
        raise damaged(error) from None
    if spoilt := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise ValueError(
            f"{file} has weights that are not finite, in {spoilt[0]}, its training may have diverged: train or export it again"
        )
    model.load_state_dict(weights, assign=True)
    return model.eval(), tokenizer


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a model file: load_model reads the model in it")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"the model file {path} cannot be read, {error.strerror}: look for it elsewhere") from None


def _tokenizer_of(about: dict[str, Any]) -> CharTokenizer | BPETokenizer:
    """What `describe` described."""
    try:
        if about["kind"] == "char":
            tokenizer: CharTokenizer | BPETokenizer = CharTokenizer(about["characters"], bool(about.get("chat")))
        else:
            tokenizer = BPETokenizer(base64.b64decode(about["sentencepiece"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"its tokenizer cannot be read ({error})") from None
    for key, value in ({"chat": []} | describe(tokenizer)).items():
        if about.get(key, []) != value:
            raise ValueError(f"its tokenizer cannot be read ({key!r} is not what it should be)")
    return tokenizer


def _empty_model(settings: object, n_tensors: int) -> GPT:
    """The model of these settings without its weights, of which there are at most `n_tensors`: where damage asks for a
    million layers, none is made."""
    try:
        config = config_of(settings)
        for field in fields(config):
            if field.type is bool and not isinstance(value := getattr(config, field.name), bool):
                raise ValueError(f"{field.name}={value!r} must be true or false")
        if config.n_layer + getattr(config, "previous_tokens", 0) > n_tensors:
            raise ValueError(f"it has {n_tensors} tensors, too few for them")
        with torch.device("meta"):  # shapes only: no memory, no random numbers
            return build(config)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"its settings are of no model that this program knows ({str(error).splitlines()[0]})"
        ) from None


def _weights_of(model: GPT, places: dict[str, Any], numbers: bytearray) -> dict[str, Tensor]:
    """The weights of `model`, each cut out of the numbers of a file at its place."""

    def cut(name: str, offset: object, kind: torch.dtype, shape: list[int]) -> Tensor:
        count = math.prod(shape)
        if type(offset) is not int or not 0 <= offset <= len(numbers) - count * kind.itemsize:
            raise ValueError(f"{name} lies outside of it")
        return torch.frombuffer(numbers, dtype=kind, count=count, offset=offset).view(shape)

    weights = {}
    for name, tensor in model.state_dict().items():
        there, shape = places.get(name), list(tensor.shape)
        if there is None:
            raise ValueError(f"{name} is missing")
        if there.get("shape") != shape:
            raise ValueError(f"{name} has the shape {there.get('shape')!s:.40}, expected {shape}")
        if "scale" in there:
            scale = cut(name, there["scale"], torch.float32, shape[:1] + [1] * (len(shape) - 1))
            weights[name] = cut(name, there.get("offset"), torch.int8, shape) * scale
        else:
            weights[name] = cut(name, there.get("offset"), torch.float32, shape).clone()
    return weights


def as_script(name: str, raw: bytes) -> str:
    """A file as a classic script, which a page may load from a folder on disk, where it may not fetch. Compressed first: base64
    hides from a server that compresses what most of the bytes are.

    >>> as_script("tales-char", b"MGPT")[:35]  # gzip's first bytes
    'minigpt.receive("tales-char", "H4sI'
    """
    packed = base64.b64encode(gzip.compress(raw, mtime=0)).decode()
    return f"minigpt.receive({json.dumps(name)}, {json.dumps(packed)});"


def describe(tokenizer: Coder) -> dict[str, Any]:
    """What the engine's Tokenizer needs: characters; or pieces, a byte as its number and the unknown piece as null. Under
    "chat" the tokens that are reserved for one, where there are any; under "sentencepiece" what Python cuts into pieces by.

    >>> describe(CharTokenizer.train("hello"))
    {'kind': 'char', 'characters': ['e', 'h', 'l', 'o']}
    """
    if not isinstance(tokenizer, (CharTokenizer, BPETokenizer)):
        raise ValueError(f"the page knows CharTokenizer and BPETokenizer, not {type(tokenizer).__name__}")
    chat = {"chat": [CHAT[name] for name in tokenizer.chat_ids]} if tokenizer.chat_ids else {}
    if isinstance(tokenizer, CharTokenizer):
        return {"kind": "char", "characters": tokenizer.characters[1:], **chat}
    p = tokenizer.processor

    def piece(i: int) -> str | int | None:
        if p.is_byte(i):
            return int(p.id_to_piece(i)[3:5], 16)
        return None if p.is_unknown(i) else p.id_to_piece(i)

    pieces = [piece(i) for i in range(p.vocab_size())]
    return {"kind": "bpe", "pieces": pieces, **chat, "sentencepiece": base64.b64encode(tokenizer.model).decode()}
