"""Sentences that hold `code` and *emphasis*, as those of quizzes and predictions do: checked, and written as HTML."""

import hashlib
import html
import re

MARKED = re.compile(r"`([^`]+)`|\*(\S(?:[^*]*\S)?)\*")  # as in widgets/reader.js
FOREIGN = re.compile(r"\$|</?[a-zA-Z]|&#?\w+;")  # formulas and HTML


def rich(text: str) -> str:
    """The sentence as HTML.

    >>> rich("`a < b` is *not* `b < a`")
    '<code>a &lt; b</code> is <em>not</em> <code>b &lt; a</code>'
    """
    return MARKED.sub(lambda found: f"<code>{found[1]}</code>" if found[1] else f"<em>{found[2]}</em>", _escaped(text))


def fault(text: object) -> str:
    """Why this is no sentence for the reader, and what to do; empty if it is one.

    >>> fault("softmax of $x$")
    'has $, HTML or an entity outside of `code`: write plain text, with Unicode for signs'
    """
    if not isinstance(text, str) or not text.strip():
        return "is missing or empty: write it as text"
    if text.count("`") % 2:
        return "has a ` without its partner: write code between two of them"
    if FOREIGN.search(re.sub("`[^`]*`", "", text)):
        return "has $, HTML or an entity outside of `code`: write plain text, with Unicode for signs"
    return ""


def short_id(text: str) -> str:
    """What the browser remembers a question by: the same as long as its words are.

    >>> short_id("How high is the loss?") == short_id("How high is the loss?")
    True
    """
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:8]


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)
