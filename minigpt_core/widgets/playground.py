"""The playground: a model that writes, with every knob in hand."""

import html

import traitlets

from ..model import GPT
from ..sampling import stream
from ..tokenizer import Tokenizer
from . import live_module
from .base import Widget


class Playground(Widget):
    """A prompt, the knobs of `generate`, and the text, token by token in the tint of its surprise. Without a model, the
    shipped ones; with yours and its tokenizer, yours. What was written last is in `text`.

    >>> Playground(prompt="Wren ")
    Playground(tales-char, tales-bpe, tales-zh, shakespeare-char)
    """

    NAME = "playground"
    _esm = live_module(NAME)
    text = traitlets.Unicode().tag(sync=True)

    def __init__(
        self, model: GPT | None = None, tokenizer: Tokenizer | None = None, *, prompt: str = "", **knobs: float
    ):
        super().__init__(model, tokenizer, prompt=prompt, knobs=knobs)

    def picture(self) -> str:
        """The prompt, and what the model writes after it."""
        prompt = self.state["prompt"]
        knobs = {"temperature": 0.8, "seed": 1} | self.state["knobs"]
        written = "".join(stream(*self.model_and_tokenizer(), prompt, knobs.pop("length", 200), **knobs))
        ended = "" if written else '<p class="mg-status">The text has ended.</p>'
        return f'<p class="mg-text"><b>{html.escape(prompt)}</b>{html.escape(written)}</p>{ended}'
