"""One text, cut by several tokenizers, or one that learns from it."""

import html
import json
import re
from collections import Counter
from itertools import pairwise
from typing import Any

from ..tokenizer import Tokenizer
from . import live_module
from .base import Widget
from .export import describe
from .records import trained

CORPORA = {"tales": "English tales", "tales_zh": "Chinese tales"}
DRAWN = 400  # of a long text only so many tokens are drawn
PAIRS = 8  # rows of the table of pairs


class Tokenization(Widget):
    """A text cut by several tokenizers side by side: pieces, ids, counts and bytes; and the merges of byte-pair encoding, step
    by step. The tokenizers are those of a corpus, "tales" or "tales_zh", or yours by their names. `merging` names the one whose
    merges are shown, up to `step`. With `learn` the panel begins with byte-pair encoding that learns its merges from the text
    itself. Half of a character (a lone surrogate) becomes U+FFFD, since no page can hold it.

    >>> Tokenization("Hello world", corpus="tales")
    Tokenization(tales, tales_zh)
    """

    NAME = "tokenizer"
    _esm = live_module(NAME)

    def __init__(
        self,
        text: str = "",
        tokenizers: dict[str, Tokenizer] | None = None,
        *,
        corpus: str = "tales",
        merging: str = "",
        step: int = 0,
        learn: bool = False,
    ):
        if corpus not in CORPORA:
            raise ValueError(f"there is no corpus {corpus!r} to show: choose one of {', '.join(CORPORA)}")
        self._tokenizers = tokenizers
        corpora, corpus = (CORPORA, corpus) if tokenizers is None else ({"yours": "your text"}, "yours")
        super().__init__()
        text = re.sub("[\ud800-\udfff]", "\ufffd", text)
        self.state = {
            "corpora": corpora,
            "corpus": corpus,
            "text": text,
            "merging": merging,
            "step": step,
            "learn": learn,
        }

    def file(self, name: str) -> bytes:
        """The vocabularies: of the book's corpora, or yours."""
        if self._tokenizers is None:
            return super().file(name)
        rows: list[dict[str, Any]] = [{"label": label, **describe(t)} for label, t in self._tokenizers.items()]
        return json.dumps({"yours": {"rows": rows}}).encode("utf-8")

    def picture(self) -> str:
        """A row of pieces for each tokenizer; or the pairs of neighbours, of which the first will be joined."""
        text = self.state["text"]
        if self.state["learn"]:
            return _pairs(text)
        tokenizers = self._tokenizers or trained(self.state["corpus"])
        return "<p>The same text, cut in several ways. Each piece has its id.</p>" + "".join(
            f'<div class="mg-cut">{_row(name, tokenizer, text)}</div>' for name, tokenizer in tokenizers.items()
        )

    def still(self) -> str:
        """A page without a kernel does not have your tokenizers."""
        return super().still() if self._tokenizers is None else f'<div class="mg">{self.picture()}</div>'

    def __repr__(self) -> str:
        return f"Tokenization({', '.join(self.state['corpora'])})"


def _row(name: str, tokenizer: Tokenizer, text: str) -> str:
    name = html.escape(name)
    try:
        ids = tokenizer.encode(text)
    except ValueError as error:
        said = str(error)
        return f"<p><b>{name}</b></p><p>{html.escape(said[0].upper() + said[1:])}.</p>"
    tokens = tokenizer.tokens
    pieces = "".join(
        f'<span class="mg-piece"><code>{html.escape(tokens[i])}</code><sub>{i}</sub></span> '
        + ("<br>" if tokens[i].endswith("\u21b5") else "")
        for i in ids[:DRAWN]
    )
    each = f", {len(text) / len(ids):.2f} characters a token" if ids else ""
    more = "…" if len(ids) > DRAWN else ""
    count = "1 token" if len(ids) == 1 else f"{len(ids):,} tokens"
    return f'<p><b>{name}</b>: {count}{each}</p><p class="mg-pieces">{pieces}{more}</p>'


def _pairs(text: str) -> str:
    """How often each pair of characters stands within a word, as chapter 01 counts them, before the first merge."""
    words = re.findall("\u2581?[^\u2581\n]+", text.replace("<|endoftext|>", "\n").replace(" ", "\u2581"))
    counts = Counter(pair for word in words for pair in pairwise(word))
    table = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    piece = '<span class="mg-piece"><code>{}</code></span>'
    rows = "".join(
        f'<tr><th scope="row">{"".join(piece.format(html.escape(character)) for character in pair)}</th>'
        f'<td class="mg-track"><span class="mg-bar" style="width: {100 * count / table[0][1]:.1f}%"></span></td>'
        f"<td>{count}</td></tr>"
        for pair, count in table[:PAIRS]
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("pair", "", "count"))
    return (
        f'<p>Which pair of neighbours is the most frequent in this text? “{html.escape(text)}”</p><div class="mg-pairs">'
        f'<table class="mg-bars"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
