"""Sphinx extension: the widgets' scripts, the shipped models and the records go into the built book, and pages that hold a
widget load the host script, which loads the rest when the reader comes near. The directives `playground`, `trainer` and `quiz`
put one of these into a page that is no notebook; `progress` puts there how far the reader has come with quizzes and predictions.
"""

import html
import json
import re
from pathlib import Path
from typing import Any, ClassVar

import nbformat
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from minigpt_core import load_pretrained
from minigpt_core.notebook.rich import short_id
from minigpt_core.pretrained import FOLDER, PRETRAINED
from minigpt_core.widgets import WIDGETS, engine_source, host_source, source, training_source, widget_source
from minigpt_core.widgets.export import as_script, model_file
from minigpt_core.widgets.playground import Playground
from minigpt_core.widgets.quiz import Quiz, load_quiz
from minigpt_core.widgets.records import RECORDS, record_file
from minigpt_core.widgets.trainer import Trainer


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


class TrainerDirective(SphinxDirective):
    """The panel that trains a model in the page, in its small form: one button.

    ```{trainer}
    ```
    """

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency("book/records/film.json")
        return [nodes.raw("", Trainer(small=True).still(), format="html")]


class QuizDirective(SphinxDirective):
    """A quiz in a page that is no notebook.

    ```{quiz} last
    ```
    """

    required_arguments = 1  # the name of its file in notebooks/quizzes

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(f"notebooks/quizzes/{self.arguments[0]}.json")
        try:
            return [nodes.raw("", Quiz(self.arguments[0]).still(), format="html")]
        except ValueError as error:
            raise self.error(str(error)) from None


def predictions(notebook: nbformat.NotebookNode) -> list[str]:
    """The ids of the predictions that a notebook's stored outputs hold."""
    shown = [
        output.get("data", {}).get("text/html", "") for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    states = re.findall(r'data-minigpt="predict" data-state="([^"]*)"', "\n".join(shown))
    return [json.loads(html.unescape(state))["id"] for state in states]


def chapter(path: Path) -> dict[str, Any]:
    """What a chapter asks: the ids of its quiz's questions, and those of its predictions."""
    notebook = nbformat.read(path, as_version=4)
    folder = path.parent / "quizzes"
    asked = load_quiz(path.stem, folder) if (folder / f"{path.stem}.json").is_file() else []
    return {
        "name": path.stem,
        "title": notebook.cells[0].source.splitlines()[0].removeprefix("# "),
        "questions": [short_id(question["question"]) for question in asked],
        "predictions": predictions(notebook),
    }


def progress(chapters: list[dict[str, Any]]) -> str:
    """The panel: how much each chapter asks; in the page, how much of it is answered."""
    rows = "".join(
        f'<tr><th scope="row"><a href="{html.escape(each["href"])}">{html.escape(each["title"])}</a></th>'
        f"<td>{len(each['questions']) or '–'}</td><td>{len(each['predictions']) or '–'}</td></tr>"
        for each in chapters
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("chapter", "questions", "predictions"))
    state = html.escape(json.dumps({"chapters": chapters}, ensure_ascii=False))
    return (
        f'<div class="mg" data-minigpt="progress" data-state="{state}"><table class="mg-bars mg-way">'
        f"<caption>What the chapters ask.</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


class ProgressDirective(SphinxDirective):
    """How many questions and predictions each chapter has, and how many of them this reader has answered.

    ```{progress}
    ```
    """

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # quizzes may come and go
        chapters = []
        for name in sorted(self.env.found_docs):
            path = Path(self.env.doc2path(name))
            if path.suffix == ".ipynb":
                try:
                    found = chapter(path)
                except ValueError as error:
                    raise self.error(str(error)) from None
                if found["questions"] or found["predictions"]:
                    chapters.append(found | {"href": self.env.app.builder.get_relative_uri(self.env.docname, name)})
        return [nodes.raw("", progress(chapters), format="html")] if chapters else []


def load_host(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Only pages that hold a widget load anything of it."""
    if "data-minigpt=" in context.get("body", ""):
        app.add_css_file("minigpt/widgets.css")
        app.add_js_file("minigpt/host.js", loading_method="defer")
    if 'data-minigpt="trainer"' in context.get("body", ""):
        app.add_css_file("minigpt/trainer.css")
    if 'data-minigpt="predict"' in context.get("body", ""):  # at once: it folds what nobody should see before
        app.add_js_file("minigpt/predict.js", loading_method="defer")


def lean(text: str) -> str:
    """A script or a style sheet without indentation, and without the lines that are comments alone: a page has a limit to its
    weight, and the sources keep them.

    >>> lean("// why\\n  let x = 1; // what\\n"), lean("/* why,\\n   again */\\n.mg { }\\n")
    ('let x = 1; // what\\n', '.mg { }\\n')
    """
    return re.sub(r"(?m)^[ \t]*(//.*\n|/\*[^*]*\*/\n)?", "", text)


def write_files(app: Sphinx, failure: Exception | None) -> None:
    """What the host script loads, into _static/minigpt."""
    if failure or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "minigpt"
    (target / "data").mkdir(parents=True, exist_ok=True)
    for name in WIDGETS:
        (target / f"{name}.js").write_text(lean(widget_source(name)), encoding="utf-8")
    for name in ("widgets.css", "trainer.css"):
        (target / name).write_text(lean(source(name)), encoding="utf-8")
    (target / "host.js").write_text(lean(host_source()), encoding="utf-8")
    for name, script in (("engine", engine_source()), ("training", training_source())):
        (target / f"{name}.js").write_text(f"minigpt.{name}Source = {json.dumps(lean(script))};", encoding="utf-8")
    data = {name: model_file(*load_pretrained(name)) for name in PRETRAINED}
    data |= {name: record_file(name) for name in RECORDS}
    for name, raw in data.items():
        (target / "data" / f"{name}.js").write_text(as_script(name, raw), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("playground", PlaygroundDirective)
    app.add_directive("quiz", QuizDirective)
    app.add_directive("trainer", TrainerDirective)
    app.add_directive("progress", ProgressDirective)
    app.connect("html-page-context", load_host)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
