"""Sphinx extension: the widgets' scripts, the shipped models and the records go into the built book, and pages that hold a
widget load the host script, which loads the rest when the reader comes near. The directive `playground` puts the playground
into a page that is no notebook.
"""

import json
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from minigpt_core import load_pretrained
from minigpt_core.pretrained import FOLDER, PRETRAINED
from minigpt_core.widgets import WIDGETS, engine_source, source, widget_source
from minigpt_core.widgets.export import as_script, model_file
from minigpt_core.widgets.playground import Playground
from minigpt_core.widgets.records import RECORDS, record_file


class PlaygroundDirective(SphinxDirective):
    """The playground, its knobs folded; the text that stands there is what the model writes when the book is built.

    ```{playground} Wren said
    :model: tales-bpe
    :length: 100
    ```
    """

    required_arguments = 1  # the prompt
    final_argument_whitespace = True
    option_spec: ClassVar = {"model": directives.unchanged_required, "length": directives.positive_int}

    def run(self) -> list[nodes.Node]:
        if not {"model", "length"} <= self.options.keys():
            raise self.error("playground needs :model:, a shipped model's name, and :length:, the number of its tokens")
        name = self.options["model"]
        self.env.note_dependency(str(FOLDER / name / "model.safetensors"))
        widget = Playground(prompt=self.arguments[0], length=self.options["length"])
        widget.state = widget.state | {"model": name, "folded": True}
        return [nodes.raw("", widget.still(), format="html")]


def load_host(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Only pages that hold a widget load anything of it."""
    if "data-minigpt=" in context.get("body", ""):
        app.add_css_file("minigpt/widgets.css")
        app.add_js_file("minigpt/host.js", loading_method="defer")


def write_files(app: Sphinx, failure: Exception | None) -> None:
    """What the host script loads, into _static/minigpt."""
    if failure or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "minigpt"
    (target / "data").mkdir(parents=True, exist_ok=True)
    for name in WIDGETS:
        (target / f"{name}.js").write_text(widget_source(name), encoding="utf-8")
    (target / "widgets.css").write_text(source("widgets.css"), encoding="utf-8")
    host = "\n".join(map(source, ("bridge.js", "parts.js", "host.js")))
    (target / "host.js").write_text(host, encoding="utf-8")
    (target / "engine.js").write_text(f"minigpt.engineSource = {json.dumps(engine_source())};", encoding="utf-8")
    data = {name: model_file(*load_pretrained(name)) for name in PRETRAINED}
    data |= {name: record_file(name) for name in RECORDS}
    for name, raw in data.items():
        (target / "data" / f"{name}.js").write_text(as_script(name, raw), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("playground", PlaygroundDirective)
    app.connect("html-page-context", load_host)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
