"""Sphinx extension: a page in another language than the book's says so, for screen readers and for hyphens and fonts."""

from typing import Any

from sphinx.application import Sphinx

LANGUAGES = {"book/zh": "zh-CN"}


def state_language(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """The `lang` of the page's html element."""
    context["language"] = LANGUAGES.get(page, context["language"])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", state_language)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
