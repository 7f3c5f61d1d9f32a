"""minigpt_core: a GPT small enough to be read in an evening and to be trained on a laptop.

    from minigpt_core import CharTokenizer, GPT, GPTConfig, TrainConfig, load_corpus, stream, train

A name is imported from its module when it is first used, so that `import minigpt_core` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULE_OF = {
    "GPTConfig": "config",
    "TrainConfig": "config",
    "GPT": "model",
    "BPETokenizer": "tokenizer",
    "CharTokenizer": "tokenizer",
    "load_tokenizer": "tokenizer",
    "load_corpus": "corpus",
    "get_batch": "data",
    "split_text": "data",
    "evaluate": "training",
    "resume": "training",
    "train": "training",
    "generate": "sampling",
    "stream": "sampling",
    "load_model": "checkpoint",
    "save_model": "checkpoint",
    "load_pretrained": "pretrained",
    "attention_maps": "study.lens",
    "longest_copied": "study.counting",
    "ngram_loss": "study.counting",
}
__all__ = sorted(_MODULE_OF)

if TYPE_CHECKING:  # for editors and type checkers; at run time __getattr__ does it
    from .checkpoint import load_model, save_model
    from .config import GPTConfig, TrainConfig
    from .corpus import load_corpus
    from .data import get_batch, split_text
    from .model import GPT
    from .pretrained import load_pretrained
    from .sampling import generate, stream
    from .study.counting import longest_copied, ngram_loss
    from .study.lens import attention_maps
    from .tokenizer import BPETokenizer, CharTokenizer, load_tokenizer
    from .training import evaluate, resume, train


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value
