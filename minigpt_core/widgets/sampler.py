"""The sampler: the distribution of the next token, and what each knob makes of it."""

import html

import torch

from ..model import GPT, evaluating
from ..sampling import shape_logits
from ..tokenizer import Tokenizer
from . import live_module
from .base import Widget

SHOWN = 16
AXES = (0.2, 0.5, 1.0)  # where the axis of the bars may end


class Sampler(Widget):
    """The likeliest tokens after a prompt: their probabilities by the model and after the knobs of `generate`, what each filter
    removed, and draws from what is left. Without a model, the shipped ones; with yours and its tokenizer, yours.

    >>> Sampler(prompt="Wren ", top_k=5)
    Sampler(tales-char, tales-bpe, tales-zh, shakespeare-char)
    """

    NAME = "sampler"
    _esm = live_module(NAME)

    def __init__(
        self, model: GPT | None = None, tokenizer: Tokenizer | None = None, *, prompt: str = "", **knobs: float
    ):
        super().__init__(model, tokenizer, prompt=prompt, knobs=knobs)

    def picture(self) -> str:
        """The bars, as a table, all on one axis."""
        model, tokenizer = self.model_and_tokenizer()
        knobs = {"temperature": 0.8} | {name: value for name, value in self.state["knobs"].items() if name != "seed"}
        ids = tokenizer.encode(self.state["prompt"]) or [tokenizer.end_id]
        x = torch.tensor([ids[-model.config.block_size :]], device=model.device)  # (1, T)
        with torch.no_grad(), evaluating(model):
            logits = model(x)[0][:, -1].cpu().double()  # (1, V)
        names = tokenizer.tokens
        own, after = (
            logits.softmax(1)[0],
            shape_logits(logits, torch.zeros(1, 0, dtype=torch.long), **knobs).softmax(1)[0],
        )
        likeliest = own.topk(min(SHOWN, len(own))).indices.tolist()
        largest = max(own.max().item(), after.max().item())
        most = next((end for end in AXES if largest <= end), 1.0)
        rows = "".join(
            f'<tr><th scope="row">{html.escape(names[i])}</th>'
            f'<td class="mg-track"><span class="mg-own" style="width: {100 * own[i] / most:.2f}%"></span>'
            f'<span class="mg-bar" style="width: {100 * after[i] / most:.2f}%"></span></td>'
            f"<td>{own[i]:.3f}</td><td>{after[i]:.3f}</td></tr>"
            for i in likeliest
        )
        axis = "".join(f"<span>{share:g}</span>" for share in (0, most / 2, most))
        head = (
            f'<th scope="col">token</th><th scope="col" class="mg-axis" aria-label="shares, from 0 to {most:g}">'
            f'{axis}</th><th scope="col">model</th><th scope="col">knobs</th>'
        )
        return (
            f'<table class="mg-bars mg-shares"><caption>What comes next after “{html.escape(self.state["prompt"])}”. '
            f"Grey: the model's probability; blue: after the knobs.</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
