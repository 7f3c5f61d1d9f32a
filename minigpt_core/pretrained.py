"""The small trained models that ship with the book. Each lies in models/NAME, with a card.json that says how it was made."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    import torch

    from .model import GPT

PRETRAINED = ("tales-char", "tales-bpe", "tales-zh", "shakespeare-char")
FOLDER = Path(__file__).parent / "models"


def load_pretrained(name: str, device: "str | torch.device" = "cpu") -> "tuple[GPT, Tokenizer]":
    """A model that ships with the book, in evaluation mode, and its tokenizer: "tales-char", "tales-bpe", "tales-zh" or
    "shakespeare-char". Where the code has changed so that the stored weights no longer fit: `ValueError` with what to do.

    Measure them on text that they have not seen: those of tales on the second part of `split_text(text, parts=3)` (or, once,
    on the third), Shakespeare's on the second of `split_text(text, "tail")`.

    >>> model, tokenizer = load_pretrained("tales-char")
    >>> "".join(stream(model, tokenizer, "Wren ", 4, temperature=0))                    # doctest: +SKIP
    'look'
    """
    from .checkpoint import load_model  # torch with it: who only asks for a name need not wait

    _check_name(name)
    try:
        return load_model(FOLDER / name, device), load_tokenizer(FOLDER / name)
    except ValueError as error:
        raise ValueError(
            f"the shipped model {name} does not fit this version of minigpt_core ({error}): install the package again, or "
            f"if you have changed its code, make the model anew with make models NAME={name}"
        ) from None


def load_card(name: str) -> dict[str, Any]:
    """How a shipped model was made, and how good it is: "training", "losses", "sample", "longest copied span" and more.

    >>> load_card("tales-char")["corpus"]
    'tales'
    """
    _check_name(name)
    return json.loads((FOLDER / name / "card.json").read_text(encoding="utf-8"))


def _check_name(name: str) -> None:
    if name not in PRETRAINED:
        raise ValueError(f"there is no shipped model {name!r}: choose one of {', '.join(PRETRAINED)}")
