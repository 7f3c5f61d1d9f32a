"""Sphinx extension: formulas become MathML when the book is built, so that no page fetches a script to draw them."""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def mathml(formula: str, display: str = "inline") -> str:
    """MathML for a formula in LaTeX, with the thin space after a function's name that the converter leaves out."""
    return re.sub(
        r"(<mi>(?:ln|exp|max|min)</mi>)(?!<mrow><mo|<mo|<msup)",
        r'\1<mspace width="0.17em"/>',
        convert(formula, display=display),
    )


def inline(translator: HTML5Translator, node: nodes.math) -> None:
    """A formula within a line."""
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """A formula on lines of its own, which scrolls where it is wider than the page."""
    translator.body.append(f'<div class="formula" tabindex="0">{mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
