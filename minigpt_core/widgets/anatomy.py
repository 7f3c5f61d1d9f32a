"""The anatomy of one forward pass: from a token to the probabilities of the next one, step by step."""

import html
import math

import torch
from torch import Tensor

from ..model import GPT
from ..study.lens import inner_values
from ..tokenizer import Tokenizer
from . import live_module
from .base import Widget

QUERY, KEY = "#E69F00", "#56B4E9"  # as in the schematics
SHOWN = 12  # positions that the picture has rows for
STEPS = 15  # as many as anatomy.js has


def strip(values: Tensor, most: float, colour: str) -> str:
    """A vector: a bar for each number, from the middle, up if positive and down if negative; the whole half at
    `most`."""
    bars = "".join(f"M{i} 1v{-value / (most or 1):.2f}h.8V1z" for i, value in enumerate(values.tolist()))
    return (
        f'<svg class="mg-vector" viewBox="0 0 {len(values)} 2" width="128" height="20" preserveAspectRatio="none" '
        f'aria-hidden="true"><path fill="{colour}" d="{bars}"/></svg>'
    )


class Anatomy(Widget):
    """What exactly happens between a text and the probabilities of its next token, in one layer and one head, each step
    with its line of code, its formula and its numbers. Without a model, the shipped ones; with yours and its tokenizer,
    yours. It opens at `step`, which counts from 1 as in the page; `layer` and `head` count from 0. One that is not
    there is a `ValueError`, and so is a model without its tokenizer; a text that the model cannot read is one when it
    is drawn.

    >>> Anatomy(text="the ship, the sea", layer=1, head=2, step=8)
    Anatomy(tales-char, tales-bpe, tales-zh, shakespeare-char)
    """

    NAME = "anatomy"
    _esm = live_module(NAME)

    def __init__(
        self,
        model: GPT | None = None,
        tokenizer: Tokenizer | None = None,
        *,
        text: str = "",
        layer: int = 0,
        head: int = 0,
        step: int = 1,
    ):
        super().__init__(model, tokenizer, text=text, layer=layer, head=head, step=step)
        config = self.model_and_tokenizer()[0].config
        for name, value, first, last in (
            ("layer", layer, 0, config.n_layer - 1),
            ("head", head, 0, config.n_head - 1),
            ("step", step, 1, STEPS),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not first <= value <= last:
                raise ValueError(f"{name}={value!r} is not there: choose a whole number from {first} to {last}")

    def picture(self) -> str:
        """A table of what the last position does with itself and those before it: key, product, scaled, share."""
        model, tokenizer = self.model_and_tokenizer()
        text, layer, head = (self.state[name] for name in ("text", "layer", "head"))
        ids = tokenizer.encode(text)[-model.config.block_size :] or [tokenizer.end_id]
        inner = {name: numbers.float().cpu() for name, numbers in inner_values(model, torch.tensor(ids), layer).items()}
        D = model.config.n_embd // model.config.n_head
        query, keys = (inner[name][:, head * D : (head + 1) * D] for name in ("query", "key"))  # (T, D)
        products, weights = inner["products"][head, -1], inner["weights"][head, -1]  # (T,)
        most = max(query[-1].abs().max(), keys.abs().max()).item()
        names = [html.escape(tokenizer.tokens[i]) for i in ids]
        first = max(0, len(ids) - SHOWN)
        rows = "".join(
            f'<tr><th scope="row">{names[s]}</th><td>{strip(keys[s], most, KEY)}</td><td>{products[s]:.2f}</td>'
            f"<td>{products[s] / math.sqrt(D):.2f}</td><td>{weights[s]:.2f}</td></tr>"
            for s in range(first, len(ids))
        )
        top = (
            f'<tr><th scope="row">query of {names[-1]}</th><td>{strip(query[-1], most, QUERY)}</td>'
            "<td></td><td></td><td></td></tr>"
        )
        heads = ("token", "key", "q · k", f"÷ √{D}", "softmax")
        head_row = "".join(f'<th scope="col">{name}</th>' for name in heads)
        p = inner["logits"][-1].softmax(0)
        left = (
            ""
            if first == 0
            else f" Only the last {SHOWN} positions are shown; the earlier ones share {weights[:first].sum():.2f}."
        )
        return (
            f'<table class="mg-bars"><caption>“{html.escape(text)}” in layer {layer}, head {head}: '
            f"the query of the last position meets the keys.{left}</caption><thead><tr>{head_row}</tr></thead>"
            f"<tbody>{top}{rows}</tbody></table>"
            f"<p>Likeliest next token: {html.escape(tokenizer.tokens[int(p.argmax())])} ({p.max():.2f}).</p>"
        )
