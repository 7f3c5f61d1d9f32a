"""A trained model as one file for the page: settings, tokenizer and weights, which the engine's `Model` reads.

The file is "MGPT", the version and the length of the header (two little-endian 32-bit numbers), the header as JSON, and the
numbers: each matrix as int8 with one float32 scale a row, each vector as float32.
"""

import base64
import gzip
import json
import struct
from typing import Any

from torch import Tensor

from ..checkpoint import narrow_weights
from ..decoding import unlike_settings
from ..model import GPT
from ..registry import settings_of
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
    "chat" the tokens that are reserved for one, where there are any.

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

    return {"kind": "bpe", "pieces": [piece(i) for i in range(p.vocab_size())], **chat}
