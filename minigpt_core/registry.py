"""Which kinds of model there are: what a saved model is rebuilt by. The plain GPT is entered here, others enter themselves."""

import importlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from .config import GPTConfig
from .model import GPT

_KINDS: dict[str, tuple[type[GPTConfig], Callable[..., GPT]]] = {"gpt": (GPTConfig, GPT)}


def register(kind: str, config: type[GPTConfig], model: Callable[..., GPT]) -> None:
    """Enter a kind of model: its name in saved files, the class of its settings, and what makes a model of them.

    >>> register("gpt", GPTConfig, GPT)
    """
    _KINDS[kind] = config, model


def settings_of(config: GPTConfig) -> dict[str, Any]:
    """Settings as they are saved: the kind of model, and the numbers.

    >>> settings_of(GPTConfig(vocab_size=65))["kind"]
    'gpt'
    """
    return {"kind": _kind_of(config), **asdict(config)}


def config_of(settings: object) -> GPTConfig:
    """The settings that were saved with a model; those that came after it was saved have their defaults. A kind or a
    setting that is not known is a `ValueError`.

    >>> config_of({"vocab_size": 65}).block_size
    64
    """
    if not isinstance(settings, dict):
        raise ValueError(f"the settings of the model are {settings!r:.50}, not names and values")
    numbers = dict(settings)
    kind = str(numbers.pop("kind", "gpt"))  # files from before there were several kinds do not say
    if kind not in _KINDS:
        for name in importlib.import_module("minigpt_core.beyond").KINDS:  # modules that enter theirs
            importlib.import_module(f"minigpt_core.beyond.{name}")
    if kind not in _KINDS:
        raise ValueError(f"a model of the kind {kind!r} is not known: those known are {', '.join(_KINDS)}")
    try:
        return _KINDS[kind][0](**numbers)
    except TypeError as error:  # a name too many, or vocab_size missing
        raise ValueError(f"the settings of the model are not those of a {kind!r}: {error}") from None


def build(config: GPTConfig) -> GPT:
    """A new model of these settings.

    >>> build(GPTConfig(vocab_size=65)).n_parameters
    818176
    """
    return _KINDS[_kind_of(config)][1](config)


def _kind_of(config: GPTConfig) -> str:
    for kind, (settings, _) in _KINDS.items():
        if settings is type(config):
            return kind
    raise ValueError(f"{type(config).__name__} belongs to no kind of model that is known: enter it by register")
