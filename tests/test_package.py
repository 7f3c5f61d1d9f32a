"""The package as a whole: what imports what, how long it is, and that its examples are true."""

import ast
import doctest
import importlib
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import layout
import pytest
from layout import PATHS, ROOMS, imports, room_of
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import minigpt_core

MODULES = list(PATHS)

# What each module of the core may import of the package. The command line is the outermost: it may import all but the
# notebooks' room and the widgets', and of these only what writes a model for the page, and what draws the figure of a class.
CORE = {
    "__init__": set(),  # lazily, the names it lists
    "__main__": {"cli"},
    "files": set(),
    "config": set(),
    "corpus": {"files"},
    "tokenizer": {"files"},
    "data": {"config", "tokenizer"},
    "devices": {"data"},
    "attention": {"config"},
    "layers": {"config", "attention"},
    "model": {"checks", "config", "attention", "layers"},
    "registry": {"config", "model"},
    "optimizer": {"config", "model"},
    "checkpoint": {"config", "files", "model", "optimizer", "registry"},
    "interrupts": set(),
    "runs": {"checkpoint", "config", "files", "model", "optimizer", "registry", "tokenizer"},
    "training": {
        "checkpoint",
        "config",
        "data",
        "devices",
        "interrupts",
        "model",
        "optimizer",
        "registry",
        "runs",
        "tokenizer",
    },
    "decoding": {"config", "attention", "layers", "model", "registry"},
    "checks": set(),
    "sampling": {"checks", "config", "decoding", "model", "tokenizer"},
    "pretrained": {"checkpoint", "model", "tokenizer"},
}
# Of other packages, only the standard library and these; what is optional only in what the notebooks and the page alone use, to fit power laws, and to read .parquet files.
ALLOWED = {"torch", "numpy", "safetensors", "sentencepiece", "tqdm"}
OPTIONAL = {
    "beyond": {"pyarrow"},
    "study": {"scipy"},
    "notebook": {"matplotlib", "matplotlib_inline", "IPython"},
    "widgets": {"anywidget", "traitlets", "matplotlib"},
}
MODEL_PATH = ("config", "attention", "layers", "model", "optimizer", "training", "sampling")


@pytest.mark.parametrize("module", MODULES)
def test_each_module_imports_only_from_its_own_room_and_those_before_it(module):
    own, other = imports(module)
    if module != "cli":
        open_to_it = ROOMS[: ROOMS.index(room_of(module)) + 1]
        assert {room_of(name) for name in own} <= set(open_to_it)
    assert "cli" not in own or module == "__main__"
    own = own - {"widgets.export", "notebook.class_figure"} if module == "cli" else own
    assert not {room_of(name) for name in own} & {"notebook", "widgets"} or room_of(module) in ("notebook", "widgets")
    assert other <= ALLOWED | OPTIONAL.get(room_of(module), set())


def test_of_the_commands_only_collect_loads_what_draws():
    tree = ast.parse(PATHS["cli"].read_text(encoding="utf-8"))
    drawing = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "notebook"]
    (collect,) = (node for node in tree.body if getattr(node, "name", None) == "collect_command")
    assert len(drawing) == 1 and drawing[0] in list(ast.walk(collect))


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) == "" and m != "cli"])
def test_each_module_of_the_core_imports_only_what_stands_below_it(module):
    assert imports(module)[0] <= CORE[module]


def test_the_picture_and_the_tables_of_the_page_are_those_of_the_source():
    assert Path(minigpt_core.__file__).parent == layout.PACKAGE
    assert layout.PICTURE.read_text(encoding="utf-8") == layout.draw(), "run make layout"
    text = layout.PAGE.read_text(encoding="utf-8")
    assert text == layout.page(text), "run make layout"
    for module in MODULES:
        assert layout.described(module), f"{module} has no docstring"
        assert (
            module in ROOMS
            or layout.is_inside(module)
            or f"| `{module.split('.')[-1]}` | {layout.described(module)} |" in text
        )


def test_the_picture_shows_every_module_once_and_an_arrow_where_one_imports_another(tmp_path, monkeypatch):
    paths = {name: tmp_path / f"{name}.py" for name in ("low", "middle", "high", "apart")}
    sources = {
        "low": "",
        "middle": "from . import low",
        "high": "from .middle import x\nfrom .low import y",
        "apart": "",
    }
    for name, path in paths.items():
        path.write_text(sources[name], encoding="utf-8")
    monkeypatch.setattr(layout, "PATHS", paths)
    monkeypatch.setattr(layout, "PACKAGE", tmp_path)
    layout.imports.cache_clear()
    picture = layout.draw()
    layout.imports.cache_clear()
    assert all(picture.count(f">{name}</text>") == 1 for name in paths)
    assert picture.count('class="flow"') == picture.count('class="head"') == 2  # high reaches low by middle


@pytest.mark.parametrize("many", [1, 5, 9])
def test_no_box_of_the_picture_lies_on_another_however_many_there_are(many, tmp_path, monkeypatch):
    paths = {f"number_{i}": tmp_path / f"number_{i}.py" for i in range(4 * many)}
    for i, path in enumerate(paths.values()):
        path.write_text("".join(f"from .number_{j} import x\n" for j in range(i % 3, i, many)), encoding="utf-8")
    monkeypatch.setattr(layout, "PATHS", paths)
    monkeypatch.setattr(layout, "PACKAGE", tmp_path)
    layout.imports.cache_clear()
    picture = layout.draw()
    layout.imports.cache_clear()
    found = re.findall(r'class="box" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"', picture)
    (x, y, width, height), *boxes = [tuple(map(int, box)) for box in found]
    assert len(boxes) == 4 * many
    for a, b, w, h in boxes:
        assert x <= a and a + w <= x + width and y <= b and b + h <= y + height
        assert sum(a < c + v and c < a + w and b < d + u and d < b + h for c, d, v, u in boxes) == 1  # only itself


def test_a_circle_of_imports_is_told():
    with pytest.raises(ValueError, match=r"import one another in a circle: a, b$"):
        layout.ranks({"low": set(), "a": {"b", "low"}, "b": {"a"}}, most=4)


def code_lines(path: Path) -> int:
    """Lines that hold code: not blank, not comment, not docstring."""
    source = path.read_text(encoding="utf-8")
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = set()
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def test_what_the_chapters_build_stays_under_700_lines_of_code():
    lines = {name: code_lines(PATHS[name]) for name in MODEL_PATH}
    assert sum(lines.values()) <= 700, lines


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m not in ("__main__", "notebook.viz") and room_of(m) != "widgets"]
)
def test_the_examples_in_docstrings_are_true(module):
    """Those that need a file, a network or a trained model are marked and skipped."""
    found = importlib.import_module(f"minigpt_core.{module}") if module != "__init__" else minigpt_core
    names = {name: getattr(minigpt_core, name) for name in minigpt_core.__all__}
    import torch

    torch.set_printoptions(profile="default")
    result = doctest.testmod(found, extraglobs={"torch": torch, **names}, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_public_names_have_docstrings_and_are_what_they_say():
    for name in minigpt_core.__all__:
        assert getattr(minigpt_core, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = minigpt_core.nonsense


def test_importing_the_package_has_no_side_effects_and_loads_nothing_optional():
    script = """
import random, signal, sys
before = signal.getsignal(signal.SIGINT), random.getstate()
import minigpt_core
assert 'torch' not in sys.modules, 'torch is loaded before it is needed'
for name in minigpt_core.__all__: getattr(minigpt_core, name)
assert (signal.getsignal(signal.SIGINT), random.getstate()) == before
import torch
assert torch.initial_seed() == 2147483647 or torch.get_rng_state() is not None
loaded = {'matplotlib', 'IPython', 'ipywidgets', 'transformers', 'scipy', 'pyarrow'} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "", done.stderr


def test_files_that_comments_and_pages_name_are_there():
    """A module that moves takes its name along."""
    kinds = ("*.py", "*.js", "*.css", "*.md", "*.ipynb", "*.toml", "Makefile")
    listed = subprocess.run(["git", "ls-files", *kinds], cwd=layout.ROOT, capture_output=True, text=True).stdout.split()
    if not listed:
        pytest.skip("this is no git repository: names of files are NOT tested")
    named = {
        (name, path)
        for name in listed
        for path in re.findall(
            r"\b(?:minigpt_core|tests|book/tools)/[a-z_/]+\.(?:py|js|css)\b",
            (layout.ROOT / name).read_text(encoding="utf-8"),
        )
    }
    assert len(named) > 20
    assert [(name, path) for name, path in sorted(named) if not (layout.ROOT / path).is_file()] == []


def test_no_pickle_is_ever_loaded():
    for path in PATHS.values():
        source = path.read_text(encoding="utf-8")
        assert "torch.load" not in source and "pickle" not in source, path.name


# What Colab has late in 2026; the package must install there without changing anything.
COLAB = {
    "torch": "2.11.0",
    "numpy": "2.1.3",
    "matplotlib": "3.10.0",
    "sentencepiece": "0.2.2",
    "anywidget": "0.9.21",
    "ipywidgets": "7.7.1",
    "ipykernel": "6.17.1",
}


def test_the_ranges_hold_colabs_versions_and_the_books_own():
    """That the lowest versions work, `make matrix` finds out."""
    project = tomllib.loads((layout.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = map(Requirement, project["dependencies"] + extras["notebooks"] + extras["real"])
    ranges = {requirement.name: requirement.specifier for requirement in needed}
    pins = re.findall(r"^([\w-]+)==(\S+)", (layout.ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    held = [(name, version) for name, version in [*COLAB.items(), *pins] if name in ranges]
    assert {name for name, _ in held} == ranges.keys() and len(held) >= len(COLAB) + len(ranges)
    for name, version in held:
        assert ranges[name].contains(version), f"{name} {version} is outside {ranges[name]}"
    assert not ranges["torch"].contains("2.8.0")  # torch.optim.Muon came with 2.9
    assert all(SpecifierSet(project["requires-python"]).contains(version) for version in ("3.11", "3.13"))
