"""The widgets' Python side, without a browser: traits, the still face, and the model that travels on request."""

import ast
import importlib.util
import json
import math
import re
from html.parser import HTMLParser

import pytest
import torch
from docutils.parsers.rst import DirectiveError
from schematics import drawing

from conftest import ROOT
from minigpt_core import GPT, CharTokenizer, GPTConfig, attention_maps, load_pretrained, stream
from minigpt_core.attention import causal_mask
from minigpt_core.pretrained import PRETRAINED
from minigpt_core.study.lens import inner_values
from minigpt_core.widgets import (
    ENGINE,
    FOLDER,
    TRAINERS,
    TRAINING,
    WIDGETS,
    anatomy,
    engine_source,
    live_module,
    source,
    training_source,
)
from minigpt_core.widgets.anatomy import STEPS, Anatomy
from minigpt_core.widgets.attention import AttentionMaps
from minigpt_core.widgets.export import model_file
from minigpt_core.widgets.playground import Playground
from minigpt_core.widgets.repetition import Repetition
from minigpt_core.widgets.sampler import Sampler
from minigpt_core.widgets.tokenizer import Tokenization

# What each module of minigpt_core.widgets may import of the package.
BASE = {"__init__", "base", "model", "tokenizer"}
GRAPH = {
    "__init__": set(),
    "export": {"checkpoint", "decoding", "model", "registry", "tokenizer"},
    "records": {"corpus", "data", "export", "notebook.lesson", "study", "tokenizer"},
    "base": {"__init__", "export", "model", "pretrained", "records", "tokenizer"},
    "playground": BASE | {"sampling"},
    "sampler": BASE | {"sampling"},
    "repetition": BASE | {"study.counting", "sampling"},
    "curves": {"__init__", "base", "records"},
    "budget": {"__init__", "base", "config", "study.scaling"},
    "quiz": {"__init__", "base", "notebook.rich"},
    "attention": BASE | {"study.lens"},
    "anatomy": BASE | {"study.lens"},
    "tokenizer": BASE | {"export", "records"},
    "trainer": {"__init__", "attention", "base", "notebook.lesson", "records"},
}


@pytest.mark.parametrize("module", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_each_module_imports_only_what_stands_below_it(module):
    tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
    own = {node.module or "__init__" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}
    assert own <= GRAPH[module]


def test_every_script_is_a_classic_one_and_attaches_to_one_name():
    for path in (*FOLDER.glob("*.js"), *(FOLDER / "engine").glob("*.js")):
        script = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE), path.name
        assert "globalThis" in script and '"use strict"' in script, path.name
    for names, script in ((ENGINE, engine_source()), (TRAINING, training_source())):
        assert all(source(f"engine/{name}.js") in script for name in names)
    assert sorted(path.stem for path in (FOLDER / "engine").glob("*.js")) == sorted(ENGINE + TRAINING)


def test_what_trains_is_brought_to_those_panels_alone_that_train():
    training = json.dumps(training_source())[1:-1]
    assert {name for name in WIDGETS if training in live_module(name)} == set(TRAINERS)


class Faces(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)
        self.divs = [attributes for tag, attributes in self.tags if tag == "div"]

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_its_still_face_is_what_python_writes_and_names_the_widget():
    widget = Playground(prompt='"Wren" ', temperature=0.5, seed=3)
    face = Faces(widget.still())
    model, tokenizer = load_pretrained("tales-char")
    written = "".join(stream(model, tokenizer, "Wren ", 200, temperature=0.5, seed=3))
    assert Faces(Playground(prompt="Wren ", temperature=0.5, seed=3).still()).text == "Wren " + written
    assert face.text.startswith('"Wren" ') and face.divs[0]["data-minigpt"] == "playground"
    assert '"temperature": 0.5' in face.divs[0]["data-state"]


def test_what_a_notebook_stores_is_the_same_every_time():
    first, second = (Playground(prompt="Wren ")._repr_mimebundle_()[0] for _ in range(2))
    for mime in ("text/plain", "text/html"):
        assert first[mime] == second[mime]
    assert repr(Playground()) == f"Playground({', '.join(PRETRAINED)})"


def own_model() -> tuple[GPT, CharTokenizer]:
    torch.manual_seed(0)
    tokenizer = CharTokenizer.train("a small text of one's own")
    return GPT(GPTConfig(tokenizer.vocab_size, block_size=8, n_layer=1, n_head=1, n_embd=8, end_id=0)).eval(), tokenizer


def test_the_readers_own_model_travels_when_it_is_asked_for():
    model, tokenizer = own_model()
    widget = Playground(model, tokenizer, prompt="a ")
    assert repr(widget) == "Playground(yours)"
    assert "data-minigpt" not in widget.still()  # a page without a kernel does not have it
    sent = []
    widget.send = lambda message, buffers: sent.append((message, buffers))
    widget._send_file(widget, {"want": "yours"}, [])
    assert sent == [({"name": "yours"}, [model_file(model, tokenizer)])]
    shipped = Playground()
    shipped.send = widget.send
    shipped._send_file(shipped, {"want": "tales-zh"}, [])
    assert sent[1][1] == [model_file(*load_pretrained("tales-zh"))]
    shipped._send_file(shipped, {"want": "nonsense"}, [])
    assert "there is no shipped model 'nonsense'" in sent[2][0]["refused"]


MARKUP = """<script>alert('1')</script><b>&amp;"q" &lt;img src=x onerror=alert(1)> $x$"""


@pytest.mark.parametrize("widget", [Playground, Sampler, AttentionMaps, Anatomy, Repetition, Tokenization])
def test_text_of_the_reader_is_text_in_every_still_face(widget):
    tokenizer = CharTokenizer.train(MARKUP)
    torch.manual_seed(0)
    model = GPT(GPTConfig(tokenizer.vocab_size, block_size=80, n_layer=1, n_head=1, n_embd=8, end_id=0)).eval()
    if widget is Tokenization:
        face = Faces(Tokenization(MARKUP, {MARKUP: tokenizer}).still())
        refused = Faces(Tokenization(MARKUP, {"none": CharTokenizer.train("a")}).still())
        assert "character '<'" in refused.text.replace("Character", "character")
    else:
        face = Faces(
            widget(model, tokenizer, **{"text" if widget in (AttentionMaps, Anatomy) else "prompt": MARKUP}).still()
        )
    assert MARKUP in face.text
    assert not {tag for tag, _ in face.tags} & {"script"} and len([tag for tag, _ in face.tags if tag == "b"]) <= 1
    images = [attributes for tag, attributes in face.tags if tag == "img"]
    assert len(images) == (widget is AttentionMaps) and all(MARKUP in image["alt"] for image in images)
    assert not [name for _, attributes in face.tags for name in attributes if name.startswith("on")]


def test_text_of_the_reader_is_text_in_the_state_that_the_page_reads():
    widget = Tokenization(MARKUP)
    ((_, attributes),) = [each for each in Faces(widget.still()).tags if "data-state" in each[1]]
    assert json.loads(attributes["data-state"]) == widget.state and widget.state["text"] == MARKUP


def test_a_text_that_ends_at_once_says_so():
    tokenizer = CharTokenizer.train("ab")
    model = GPT(GPTConfig(3, block_size=8, n_layer=1, n_head=1, n_embd=8, end_id=0))
    with torch.no_grad():
        model.norm.bias.fill_(1)
        model.head.weight[0] += 100  # the end, always
    assert Faces(Playground(model, tokenizer, prompt="ab").still()).text == "abThe text has ended."
    assert "stood in it before. The text has ended." in Faces(Repetition(model, tokenizer, prompt="ab").still()).text
    assert "endoftext" not in Repetition(model, tokenizer, prompt="ab").still()


@pytest.mark.parametrize("widget", [Playground, Sampler, AttentionMaps, Anatomy])
def test_showing_a_model_leaves_it_in_its_mode_and_shows_it_without_dropout(widget):
    """A model that is shown in the middle of its training goes on training with dropout."""
    model, tokenizer = own_model()
    still = widget(model, tokenizer).still()
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.5
    model.train()
    assert widget(model, tokenizer).still() == still and all(part.training for part in model.modules())


def test_the_anatomys_still_table_holds_the_models_numbers():
    model, tokenizer = load_pretrained("tales-char")
    text = "the ship"
    face = Faces(Anatomy(text=text, layer=1, head=2).still())
    x = torch.tensor([tokenizer.encode(text)])
    shares = attention_maps(model, x)[1, 0, 2, -1]  # (T,)
    with torch.no_grad():
        p = model(x)[0][0, -1].softmax(0)
    assert all(f"{share:.2f}" in face.text for share in shares)
    assert f"{tokenizer.tokens[int(p.argmax())]} ({p.max():.2f})" in face.text
    assert len([tag for tag, _ in face.tags if tag == "svg"]) == 1 + len(text)  # the query, and the keys
    long = Faces(Anatomy(text="the ship, the sea").still()).text
    assert "Only the last 12 positions are shown; the earlier ones share 0." in long


@pytest.mark.parametrize("name, first, last", [("layer", 0, 3), ("head", 0, 3), ("step", 1, STEPS)])
def test_the_anatomy_refuses_a_layer_a_head_or_a_step_that_is_not_there_at_once(name, first, last):
    for there in (first, last):
        assert Anatomy(text="the ship", **{name: there}).state[name] == there
    for value in (first - 1, last + 1, 1.0, "1", True, None):
        with pytest.raises(ValueError, match=f"{name}={value!r} is not there: choose .* from {first} to {last}"):
            Anatomy(text="the ship", **{name: value})


@pytest.mark.parametrize("layer", range(4))
@torch.no_grad()
def test_the_anatomys_lines_of_code_run_and_compute_what_the_model_does(layer):
    """Run in their order, with the blocks before and after the chosen one at their places."""
    model, tokenizer = load_pretrained("tales-char")
    block, idx = model.blocks[layer], torch.tensor([tokenizer.encode("the ship, the sea")])  # (1, T)
    T, H, D = idx.shape[1], model.config.n_head, model.config.n_embd // model.config.n_head
    names = {"idx": idx, "positions": torch.arange(T), "D": D, "math": math, "causal_mask": causal_mask}
    names["split_heads"] = block.attention.split_heads
    for holder in (model, block, block.attention, block.feed_forward):
        names |= dict(holder.named_children())
    inner = inner_values(model, idx[0], layer)

    def heads(numbers: torch.Tensor) -> torch.Tensor:
        return numbers.view(T, H, D).transpose(0, 1)  # (H, T, D)

    scaled = inner["products"] / math.sqrt(D)
    expected = [
        inner["token_embedding"] + inner["position_embedding"],
        inner["norm1"],
        heads(inner["query"]),
        heads(inner["key"]),
        inner["products"],
        scaled,
        scaled.masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf),
        inner["weights"],
        heads(inner["joined"]),
        inner["joined"],
        inner["between"],
        inner["feed_forward"],
        inner["leaving"],
        inner["logits"],
        inner["logits"].softmax(-1),
    ]
    lines = re.findall(r'^      code: "(.*)",$', source("anatomy.js"), re.MULTILINE)
    assert len(lines) == STEPS
    for step, (line, numbers) in enumerate(zip(lines, expected, strict=True), 1):
        exec(line, names)
        (found,) = names[line.split(" = ")[0]]
        assert found.shape == numbers.shape and torch.allclose(found, numbers, atol=1e-4), f"step {step}: {line}"
        others = {1: model.blocks[:layer], 13: model.blocks[layer + 1 :]}.get(step, [])
        for other in others:
            names["x"] = other(names["x"])


def test_query_and_key_have_their_colours_in_pictures_and_panels():
    css = source("widgets.css")
    for name in ("query", "key", "value"):
        (fill,) = re.findall(rf"^\.mg-vector\.mg-{name} {{\s*fill: (#\w+);", css, re.MULTILINE)
        assert fill.upper() == getattr(drawing, name.upper())
    for name, role in (("query", '[aria-selected="true"]'), ("key", '.mg-attended:not([aria-selected="true"])')):
        (border,) = re.findall(rf"^\.mg-strip {re.escape(role)} {{\s*border-bottom-color: (#\w+);", css, re.MULTILINE)
        assert border.upper() == getattr(drawing, name.upper()) == getattr(anatomy, name.upper())


def test_a_model_without_its_tokenizer_is_refused():
    model, tokenizer = own_model()
    for given in ({"model": model}, {"tokenizer": tokenizer}):
        with pytest.raises(ValueError, match="a model needs its tokenizer"):
            Playground(**given)


def test_the_live_face_is_one_module_of_the_same_scripts():
    script = Playground._esm if isinstance(Playground._esm, str) else str(Playground._esm)
    assert all(source(f"{name}.js") in script for name in ("bridge", "parts", "live", "playground"))
    assert source("widgets.css") == str(Playground._css)
    assert len(re.findall(r"^export default", script, re.MULTILINE)) == 1


@pytest.fixture(scope="module")
def tool():
    """book/tools/widgets.py"""
    spec = importlib.util.spec_from_file_location("widgets_tool", ROOT / "book" / "tools" / "widgets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_published_has_no_lines_of_comments_and_no_indentation(tool):
    script = "(() => {\n  // Why.\n  const x = 1; // what\n\n    // Why\n    // again.\n})();\n"
    assert tool.lean(script) == "(() => {\nconst x = 1; // what\n\n})();\n"
    style = "/* Why. */\n\n.mg {\n  top: 0; /* what */\n}\n\n  /* Why,\n     again. */\n.mg p {\n}\n"
    assert tool.lean(style) == "\n.mg {\ntop: 0; /* what */\n}\n\n.mg p {\n}\n"


@pytest.mark.parametrize("options", [{}, {"model": "tales-bpe"}, {"length": 100}])
def test_a_playground_in_a_page_without_its_options_is_said_in_a_sentence(options, tool):
    directive = object.__new__(tool.PlaygroundDirective)
    directive.options = options
    with pytest.raises(DirectiveError) as error:
        directive.run()
    assert error.value.msg.startswith("playground needs :model:, a shipped model's name, and :length:")
