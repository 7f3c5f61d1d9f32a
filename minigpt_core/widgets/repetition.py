"""The loop of greedy writing, and what breaks it."""

import html

from ..model import GPT
from ..sampling import generate
from ..study.counting import repeated_share
from ..tokenizer import Tokenizer
from . import live_module
from .base import Widget


class Repetition(Widget):
    """Greedy text and the model's probability of what it writes; a knob of `generate` switched on at some token; and a phrase
    said again and again. Without a model, the shipped ones; with yours and its tokenizer, yours.

    >>> Repetition(prompt="Wren said ")
    Repetition(tales-char, tales-bpe, tales-zh, shakespeare-char)
    """

    NAME = "repetition"
    _esm = live_module(NAME)

    def __init__(
        self,
        model: GPT | None = None,
        tokenizer: Tokenizer | None = None,
        *,
        prompt: str = "",
        length: int = 240,
        knob: str = "temperature",
        strength: float = 0.7,
        begin: int = 120,
        seed: int = 1,
    ):
        super().__init__(
            model, tokenizer, prompt=prompt, length=length, knob=knob, strength=strength, begin=begin, seed=seed
        )

    def picture(self) -> str:
        """The greedy text, and how much of it repeats itself."""
        model, tokenizer = self.model_and_tokenizer()
        prompt = self.state["prompt"]
        start = tokenizer.encode(prompt) or [tokenizer.end_id]
        ids = list(generate(model, start, self.state["length"], temperature=0))
        ended = ""
        if ids[-1:] == [tokenizer.end_id]:
            ids, ended = ids[:-1], " The text has ended."
        return (
            f'<p class="mg-text"><b>{html.escape(prompt)}</b>{html.escape(tokenizer.decode(ids))}</p>'
            f"<p>Written greedily: {repeated_share(ids):.0%} of its pieces of 12 tokens stood in it before.{ended}</p>"
        )
