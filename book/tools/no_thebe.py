"""Sphinx extension: leave out of every page what Jupyter Book adds for thebe, which this book does not use.

Its script names an address outside the book and is declared twice, which is an error in the browser's console.
"""

from typing import Any

from sphinx.application import Sphinx


def drop_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Keep only the scripts and style sheets that have nothing to do with thebe."""
    for kind in ("script_files", "css_files"):
        context[kind] = [f for f in context[kind] if "thebe" not in (str(f.filename) + str(vars(f))).lower()]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
