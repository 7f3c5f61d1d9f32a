"""Sphinx extension: the widgets' scripts and the shipped models go into the built book, and pages that hold a widget load
the host script, which loads the rest when the reader comes near.
"""

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from minigpt_core import load_pretrained
from minigpt_core.pretrained import PRETRAINED
from minigpt_core.widgets import engine_source, source
from minigpt_core.widgets.export import model_script

WIDGETS = ("playground",)


def load_host(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Only pages that hold a widget load anything of it."""
    if "data-minigpt=" in context.get("body", ""):
        app.add_css_file("minigpt/playground.css")
        app.add_js_file("minigpt/host.js", loading_method="defer")


def write_files(app: Sphinx, failure: Exception | None) -> None:
    """What the host script loads, into _static/minigpt."""
    if failure or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "minigpt"
    (target / "models").mkdir(parents=True, exist_ok=True)
    for name in WIDGETS:
        for kind in ("js", "css"):
            (target / f"{name}.{kind}").write_text(source(f"{name}.{kind}"), encoding="utf-8")
    (target / "host.js").write_text(source("bridge.js") + source("host.js"), encoding="utf-8")
    (target / "engine.js").write_text(f"minigpt.engineSource = {json.dumps(engine_source())};", encoding="utf-8")
    for name in PRETRAINED:
        (target / "models" / f"{name}.js").write_text(model_script(name, *load_pretrained(name)), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", load_host)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
