"""The playground: a model that writes, with every knob in hand."""

import html
import json
from typing import Any

import anywidget
import traitlets

from ..model import GPT
from ..pretrained import PRETRAINED, load_pretrained
from ..sampling import stream
from ..tokenizer import Tokenizer
from . import engine_source, source
from .export import model_file

LABELS = dict(
    zip(
        PRETRAINED,
        ("English tales, letters", "English tales, pieces of words", "Chinese tales", "Shakespeare, letters"),
        strict=True,
    )
)
# In Jupyter and Colab: the same scripts as in the book; a model's bytes come from the kernel when they are first needed.
LIVE = """
export default {
  render({ model, el }) {
    const waiting = new Map();
    model.on("msg:custom", (message, [bytes]) => {
      const { resolve, reject } = waiting.get(message.name);
      if (message.refused) reject(new Error(message.refused));
      else resolve(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    });
    const engine = globalThis.minigpt.bridge(
      async () => ENGINE,
      (name) =>
        new Promise((resolve, reject) => {
          waiting.set(name, { resolve, reject });
          model.send({ want: name });
        }),
    );
    const root = document.createElement("div");
    el.append(root);
    globalThis.minigpt.widgets.playground(root, model.get("state"), engine, (text) => {
      model.set("text", text);
      model.save_changes();
    });
  },
};
"""


class Playground(anywidget.AnyWidget):
    """A prompt, the knobs of `generate`, and the text, token by token in the tint of its surprise. Without a model, the
    shipped ones; with yours and its tokenizer, yours. What was written last is in `text`.

    >>> Playground(prompt="Wren ")
    Playground(tales-char, tales-bpe, tales-zh, shakespeare-char)
    """

    _esm = "\n".join(
        [source("bridge.js"), source("playground.js"), f"const ENGINE = {json.dumps(engine_source())};", LIVE]
    )
    _css = source("playground.css")
    state = traitlets.Dict().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)

    def __init__(
        self, model: GPT | None = None, tokenizer: Tokenizer | None = None, *, prompt: str = "", **knobs: float
    ):
        if (model is None) != (tokenizer is None):
            raise ValueError(
                "a model needs its tokenizer, and a tokenizer its model: give both, or none for the shipped ones"
            )
        self._own = None if model is None or tokenizer is None else (model, tokenizer)
        models = LABELS if self._own is None else {"yours": "your model"}
        super().__init__(state={"prompt": prompt, "models": models, "knobs": knobs})
        self.on_msg(self._send_model)

    def _send_model(self, _: Any, message: dict[str, str], __: Any) -> None:
        """The page asks for a model by its name, and gets its bytes."""
        name = message.get("want", "")
        try:
            raw = model_file(*(self._own or load_pretrained(name)))
        except ValueError as error:
            self.send({"name": name, "refused": str(error)}, [b""])
        else:
            self.send({"name": name}, [raw])

    def __repr__(self) -> str:
        return f"Playground({', '.join(self.state['models'])})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The live face, and beside it the still one, which the book shows and brings to life."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle:
            data = bundle[0] if isinstance(bundle, tuple) else bundle
            data |= {"text/plain": repr(self), "text/html": self.still()}
        return bundle

    def still(self) -> str:
        """The prompt and what the first model writes after it, for print, for GitHub, and for pages without scripts."""
        prompt = self.state["prompt"]
        model, tokenizer = self._own or load_pretrained(PRETRAINED[0])
        knobs = {"temperature": 0.8, "seed": 1} | self.state["knobs"]
        written = "".join(stream(model, tokenizer, prompt, knobs.pop("length", 200), **knobs))
        shown = f'<p class="mg-text"><b>{html.escape(prompt)}</b>{html.escape(written)}</p>'
        if self._own:  # the book knows only the shipped models
            return f'<div class="mg">{shown}</div>'
        state = html.escape(json.dumps(self.state, ensure_ascii=False))
        return f'<div class="mg" data-minigpt="playground" data-state="{state}">{shown}</div>'
