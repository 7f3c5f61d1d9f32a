"""What all widgets have in common: two faces, and the files that travel to the page on request."""

import html
import json
from typing import Any

import anywidget
import traitlets

from ..model import GPT
from ..pretrained import PRETRAINED, load_pretrained
from ..tokenizer import Tokenizer, check_sizes
from . import source
from .export import model_file
from .records import RECORDS, record_file

LABELS = dict(
    zip(
        PRETRAINED,
        ("English tales, letters", "English tales, pieces of words", "Chinese tales", "Shakespeare, letters"),
        strict=True,
    )
)


class Widget(anywidget.AnyWidget):
    """A picture that comes to life. What its controls say is in `state`, in both directions.

    A widget of its own gives `NAME`, `_esm` and `picture`.
    """

    NAME = ""
    _css = source("widgets.css")
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, model: GPT | None = None, tokenizer: Tokenizer | None = None, **state: Any):
        if (model is None) != (tokenizer is None):
            raise ValueError(
                "a model needs its tokenizer, and a tokenizer its model: give both, or none for the shipped ones"
            )
        if model is not None and tokenizer is not None:
            check_sizes(tokenizer, model.config.vocab_size)
        self._own = None if model is None or tokenizer is None else (model, tokenizer)
        models = LABELS if self._own is None else {"yours": "your model"}
        super().__init__(state={"models": models, "model": next(iter(models))} | state)
        self.on_msg(self._send_file)

    def model_and_tokenizer(self) -> tuple[GPT, Tokenizer]:
        """Those that the picture shows."""
        return self._own or load_pretrained(self.state["model"])

    def file(self, name: str) -> bytes:
        """A model or a record that the page asks for by its name."""
        if name in RECORDS:
            return record_file(name)
        return model_file(*(self._own or load_pretrained(name)))

    def picture(self) -> str:
        """What print, GitHub, and pages without scripts show, as HTML."""
        raise NotImplementedError

    def still(self) -> str:
        """The picture; in the book, whose pages know the shipped models, with what brings it to life."""
        if self._own:
            return f'<div class="mg">{self.picture()}</div>'
        state = html.escape(json.dumps(self.state, ensure_ascii=False))
        return f'<div class="mg" data-minigpt="{self.NAME}" data-state="{state}">{self.picture()}</div>'

    def _send_file(self, _: Any, message: dict[str, str], __: Any) -> None:
        name = message.get("want", "")
        try:
            raw = self.file(name)
        except ValueError as error:
            self.send({"name": name, "refused": str(error)}, [b""])
        else:
            self.send({"name": name}, [raw])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.state['models'])})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The live face, and beside it the still one, which the book shows and brings to life."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle:
            data = bundle[0] if isinstance(bundle, tuple) else bundle
            data |= {"text/plain": repr(self), "text/html": self.still()}
        return bundle
