"""The attention maps of a text, of every layer and head."""

import base64
import html
import io

import numpy as np
import torch
from matplotlib import image

from ..model import GPT
from ..study.lens import attention_maps
from ..tokenizer import Tokenizer
from . import live_module
from .base import Widget

BLUE = (0, 114, 178)  # the colour of attention in the whole book
FILMS = {"film": "a training run, step by step", "film-zh": "a Chinese run, step by step"}


class AttentionMaps(Widget):
    """How the tokens of a text attend to each other: all heads small, one large, the numbers of one query and one key,
    and what the loss and the next token become when heads are switched off; for the travelling sentences also on the
    way through a training run. Without a model, the shipped ones; with yours and its tokenizer, yours.

    >>> AttentionMaps(text="the ship, the sea")
    AttentionMaps(tales-char, tales-bpe, tales-zh, shakespeare-char)
    """

    NAME = "attention"
    _esm = live_module(NAME)

    def __init__(
        self, model: GPT | None = None, tokenizer: Tokenizer | None = None, *, text: str = "", **state: object
    ):
        super().__init__(model, tokenizer, text=text, films=FILMS if model is None else {}, **state)

    def picture(self) -> str:
        """The maps as one image, a pixel for a pair of tokens: layers from above, heads from the left; a share is drawn
        as its square root, which lifts small ones, as in the page."""
        model, tokenizer = self.model_and_tokenizer()
        text = self.state["text"]
        ids = tokenizer.encode(text)[-model.config.block_size :] or [tokenizer.end_id]
        maps = attention_maps(model, torch.tensor([ids]))[:, 0].float().cpu()  # (n_layer, H, T, T)
        framed = torch.nn.functional.pad(maps.sqrt(), (0, 2, 0, 2))
        opacity = torch.cat([torch.cat(list(layer), 1) for layer in framed])  # (n_layer (T + 2), H (T + 2))
        pixels = np.empty((*opacity.shape, 4), np.uint8)
        pixels[..., :3], pixels[..., 3] = BLUE, (255 * opacity).round().numpy()
        file = io.BytesIO()
        image.imsave(file, pixels, format="png", metadata={"Software": ""})
        n_layer, H, T, _ = maps.shape
        alt = (
            f"Maps of {n_layer} layers, from above, and {H} heads each, from the left: how much each of the {T} tokens "
            f"of “{text}”, from above, looks at itself and at each one before it, from the left."
        )
        source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        told = (
            "Each row is a query, each column a key. The stronger the colour, the larger the share "
            "(its square root is drawn)."
        )
        return f'<p>{html.escape(text)}</p><img class="mg-pixels" src="{source}" alt="{html.escape(alt)}"><p>{told}</p>'
