"""Sphinx extension: leave out of every page what Jupyter Book adds and nothing in this book uses.

thebe's script names an address outside the book and is declared twice, which is an error in the browser's console;
sphinx-design and the toggle button are scripts and style sheets for parts that no page has.
"""

from typing import Any

from sphinx.application import Sphinx

UNUSED = ("thebe", "sphinx-design", "design-tabs", "togglebutton", "togglehint", "toggleopen")


def drop_unused(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Keep only the scripts and style sheets that have nothing to do with these."""
    for kind in ("script_files", "css_files"):
        context[kind] = [
            file for file in context[kind] if not any(name in f"{file.filename}{vars(file)}".lower() for name in UNUSED)
        ]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", drop_unused, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
