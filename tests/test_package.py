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
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))

# Each module may import only these of the package.
GRAPH = {
    "__init__": set(),  # lazily, the names it lists
    "__main__": {"cli"},
    "files": set(),
    "config": set(),
    "corpus": {"files"},
    "tokenizer": {"files"},
    "data": {"tokenizer"},
    "attention": {"config"},
    "layers": {"config", "attention"},
    "model": {"config", "attention", "layers"},
    "fast": {"attention", "config", "layers", "model"},
    "checkpoint": {"fast", "files", "model"},
    "training": {"checkpoint", "config", "data", "fast", "model"},
    "decoding": {"attention", "layers", "model"},
    "sampling": {"decoding", "model", "tokenizer"},
    "lens": {"attention", "model"},
    "ablation": {"attention", "layers", "model"},
    "counting": set(),
    "clinic": {"counting"},
    "planning": {"config", "counting", "model", "tokenizer", "training"},
    "pretrained": {"checkpoint", "model", "tokenizer"},
    "lesson": set(),
    "viz": set(),
    "cli": {
        "config",
        "files",
        "corpus",
        "tokenizer",
        "data",
        "model",
        "checkpoint",
        "training",
        "sampling",
        "pretrained",
        "clinic",
        "planning",
        "fast",
    },
}
# Of other packages, only the standard library and these; what is optional only in what the notebooks alone use.
ALLOWED = {"torch", "numpy", "safetensors", "sentencepiece", "tqdm"}
OPTIONAL = {"viz": {"matplotlib"}, "lesson": {"IPython"}}
MODEL_PATH = ("config", "attention", "layers", "model", "training", "sampling")


def imports(module: str) -> tuple[set[str], set[str]]:
    """The modules of the package and the other packages that a module imports, those for type checkers left out."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    own, other = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            own.add(node.module)
        elif isinstance(node, ast.ImportFrom):
            other.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            other |= {name.name.split(".")[0] for name in node.names}
    return own, other - set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", MODULES)
def test_each_module_imports_only_what_stands_below_it(module):
    own, other = imports(module)
    assert own <= GRAPH[module]
    assert other <= ALLOWED | OPTIONAL.get(module, set())


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


def test_the_models_path_stays_under_600_lines_of_code():
    lines = {name: code_lines(PACKAGE / f"{name}.py") for name in MODEL_PATH}
    assert sum(lines.values()) < 600, lines


@pytest.mark.parametrize("module", [m for m in MODULES if m not in ("__main__", "viz")])
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
    for path in PACKAGE.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "torch.load" not in source and "pickle" not in source, path.name
