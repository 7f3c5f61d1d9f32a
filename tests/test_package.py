"""The package as a whole: what imports what, how long it is, and that its examples are true."""

import ast
import doctest
import importlib
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import minigpt_core

PACKAGE = Path(minigpt_core.__file__).parent
ROOMS = ("", "study", "beyond", "notebook", "widgets")  # each imports only from itself and from those before it


def module_of(path: Path) -> str:
    """The dotted name of a module inside the package, such as study.lens; of a room's __init__ the room's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


PATHS = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = list(PATHS)

# What each module of the core may import of the package. The command line is the outermost: it may import all but the notebooks'.
CORE = {
    "__init__": set(),  # lazily, the names it lists
    "__main__": {"cli"},
    "files": set(),
    "config": set(),
    "corpus": {"files"},
    "tokenizer": {"files"},
    "data": {"config", "tokenizer"},
    "attention": {"config"},
    "layers": {"config", "attention"},
    "model": {"config", "attention", "layers"},
    "registry": {"config", "model"},
    "optimizer": {"config", "model"},
    "checkpoint": {"config", "files", "model", "optimizer", "registry"},
    "interrupts": set(),
    "runs": {"checkpoint", "config", "files", "model", "optimizer", "registry", "tokenizer"},
    "training": {
        "checkpoint",
        "config",
        "data",
        "interrupts",
        "model",
        "optimizer",
        "registry",
        "runs",
        "tokenizer",
    },
    "decoding": {"attention", "layers", "model"},
    "sampling": {"decoding", "model", "tokenizer"},
    "pretrained": {"checkpoint", "model", "tokenizer"},
}
# Of other packages, only the standard library and these; what is optional only in what the notebooks and the page alone use.
ALLOWED = {"torch", "numpy", "safetensors", "sentencepiece", "tqdm"}
OPTIONAL = {"notebook": {"matplotlib", "IPython"}, "widgets": {"anywidget", "traitlets", "matplotlib"}}
MODEL_PATH = ("config", "attention", "layers", "model", "optimizer", "training", "sampling")


def imports(module: str) -> tuple[set[str], set[str]]:
    """The modules of the package and the other packages that a module imports, those for type checkers left out."""
    tree = ast.parse(PATHS[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    package = PATHS[module].parent.relative_to(PACKAGE).parts
    own, other = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) + 1 - node.level], *([node.module] if node.module else [])]
            named = [".".join([*base, name.name]) for name in node.names]
            own |= {name if name in PATHS else ".".join(base) for name in named}
        elif isinstance(node, ast.ImportFrom):
            other.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            other |= {name.name.split(".")[0] for name in node.names}
    return own, other - set(sys.stdlib_module_names)


def room_of(module: str) -> str:
    room = module.split(".")[0]
    return room if room in ROOMS else ""


@pytest.mark.parametrize("module", MODULES)
def test_each_module_imports_only_from_its_own_room_and_those_before_it(module):
    own, other = imports(module)
    if module != "cli":
        open_to_it = ROOMS[: ROOMS.index(room_of(module)) + 1]
        assert {room_of(name) for name in own} <= set(open_to_it)
    assert "cli" not in own or module == "__main__"
    assert not {room_of(name) for name in own} & {"notebook", "widgets"} or room_of(module) in ("notebook", "widgets")
    assert other <= ALLOWED | OPTIONAL.get(room_of(module), set())


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) == "" and m != "cli"])
def test_each_module_of_the_core_imports_only_what_stands_below_it(module):
    assert imports(module)[0] <= CORE[module]


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
loaded = {'matplotlib', 'IPython', 'ipywidgets', 'transformers'} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "", done.stderr


def test_no_pickle_is_ever_loaded():
    for path in PATHS.values():
        source = path.read_text(encoding="utf-8")
        assert "torch.load" not in source and "pickle" not in source, path.name
