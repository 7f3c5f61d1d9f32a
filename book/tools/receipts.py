"""Sphinx extension: claims with receipts. A cell tagged `check` folds to one line of the page, a tick and what was checked,
and opens on a click, without a script. A tick in the prose, `[✓](#the-cell's-id)`, leads to the cell that holds the sentence.
The role `count` writes how much is run and asserted, counted in the notebooks when the book is built: "cells", "compared",
"asserts", "exercises", "answered" or "checked".

    python book/tools/receipts.py       print these numbers
"""

import ast
import functools
import re
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole
from sphinx.writers.html5 import HTML5Translator

FOLDER = Path(__file__).parents[2] / "notebooks"


def tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def asserts(cell: NotebookNode) -> int:
    """How many `assert` statements stand in a cell of code."""
    program = ast.parse(TransformerManager().transform_cell(cell.source))
    return sum(isinstance(node, ast.Assert) for node in ast.walk(program))


def what_was_checked(cell: NotebookNode) -> str:
    """The last line that the cell printed."""
    printed = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")
    return next((line.strip() for line in reversed(printed.splitlines()) if line.strip()), "")


def fault(cell: NotebookNode) -> str:
    """Why a cell must not fold; empty if it may."""
    if not asserts(cell):
        return "it asserts nothing"
    if not (line := what_was_checked(cell)):
        return "it prints no line that says what was checked"
    if line.endswith("."):
        return "its line is a sentence, and should be a fragment without a full stop"
    if any(output.output_type != "stream" for output in cell.outputs):
        return "it shows more than printed lines, which would be folded away"
    return ""


def compared(cell: NotebookNode) -> bool:
    """Whether a run compares something that the cell shows: text, a table or a panel, and not only a picture."""
    if tagged(cell, "nbval-ignore-output"):
        return False
    shown = [set(output.get("data", {"text/plain": ""})) for output in cell.outputs]
    return any(not {"image/png", "image/svg+xml"} & kinds for kinds in shown)


@functools.cache
def count(*paths: Path) -> dict[str, int]:
    """Cells that were run; those whose output is compared when they are run again; what the chapters assert, the set-up cells
    aside; exercises that have their solution below; those of them that a check answers; and solutions in which a tick leads to
    the cell that checks them.
    """
    cells = [cell for path in paths for cell in nbformat.read(path, as_version=4).cells]
    codes = [cell for cell in cells if cell.cell_type == "code" and cell.source]
    texts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    solutions = re.findall(r"<summary>Solution.*?</details>", texts, re.DOTALL)
    return {
        "cells": len(codes),
        "compared": sum(map(compared, codes)),
        "asserts": sum(asserts(cell) for cell in codes if not tagged(cell, "setup")),
        "exercises": len(solutions),
        "answered": sum(tagged(cell, "exercise") for cell in codes),
        "checked": sum("[✓](#" in solution for solution in solutions),
    }


class Receipt(nodes.Element):
    """A folded cell; `what` was checked in it."""


class FoldChecks(SphinxTransform):
    """Fold the cells tagged `check`, let links lead to them, and let each link to one say what was checked there."""

    default_priority = 840  # before Sphinx and MyST collect what links may lead to

    def apply(self, **_: Any) -> None:
        folded = {
            cell["cell_index"]: cell
            for cell in self.document.findall(nodes.container)
            if cell.get("nb_element") == "cell_code" and "tag_check" in cell["classes"]
        }
        if not folded:
            return
        sources = nbformat.read(self.env.doc2path(self.env.docname), as_version=4).cells
        checked = {}
        for index, container in folded.items():
            source = sources[index]
            if why := fault(source):
                logging.getLogger(__name__).warning(
                    "cell %s is tagged check, but %s", source.id, why, location=self.env.docname
                )
            container["names"].append(source.id)
            self.document.note_explicit_target(container)
            checked[f"#{source.id}"] = what_was_checked(source)
            receipt = Receipt(what=what_was_checked(source))
            container.parent.replace(container, receipt)
            receipt += container
        for link in self.document.findall(nodes.reference):
            if link.get("refuri") in checked:
                link["reftitle"] = f"Checked: {checked[link['refuri']]}"
                link["classes"].append("receipt-link")


def open_receipt(translator: HTML5Translator, node: Receipt) -> None:
    """The cell itself bears the link's target, within what is folded: so browsers unfold it where a link leads to it."""
    what = translator.encode(node["what"])
    translator.body.append(
        f'<details class="receipt"><summary><span class="tick" role="img" aria-label="Checked:">✓</span> {what}</summary>\n'
    )


def close_receipt(translator: HTML5Translator, node: Receipt) -> None:
    translator.body.append("</details>\n")


class Count(SphinxRole):
    """One of the numbers of `count`, over the notebooks of the book."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        paths = [Path(self.env.doc2path(name)) for name in sorted(self.env.found_docs)]
        notebooks = [path for path in paths if path.suffix == ".ipynb"]
        for path in notebooks:
            self.env.note_dependency(str(path))
        numbers = count(*notebooks)
        if self.text not in numbers:
            message = f"there is no count of {self.text!r}: choose among {', '.join(numbers)}"
            return [], [self.inliner.reporter.error(message, line=self.lineno)]
        return [nodes.Text(f"{numbers[self.text]:,}")], []


def load_script(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Only pages that hold a receipt load the few lines for browsers that do not unfold it by themselves."""
    if 'class="receipt"' in context.get("body", ""):
        app.add_js_file("receipts.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(Receipt, html=(open_receipt, close_receipt))
    app.add_transform(FoldChecks)
    app.add_role("count", Count())
    app.connect("html-page-context", load_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    for name, number in count(*sorted(FOLDER.glob("*.ipynb"))).items():
        print(f"{name:10} {number:6,}")
