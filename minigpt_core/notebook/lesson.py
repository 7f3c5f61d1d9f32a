"""What only the notebooks need: the map with a part lit, a source shown, a shape checked, a recorded run, a table, the
staircase."""

import html
import inspect
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from IPython.display import HTML, SVG, Markdown
from matplotlib.figure import Figure
from torch import Tensor

from . import viz


def _book() -> Path:
    """Its folder, seen from the notebooks' one, where they run, or from the repository's, where the book is built."""
    return Path("book") if Path("book/records").is_dir() else Path("../book")


def lit_map(*parts: str) -> SVG:
    """The parts of the machine in one row, a slim form of its map, with these lit, by their names in book/assets/strip.svg.

    >>> lit_map("loss", "optimizer")                                                    # doctest: +SKIP
    """
    drawing = (_book() / "assets" / "strip.svg").read_text(encoding="utf-8")
    known = re.findall(r'<g id="([^"]+)" class="part">', drawing)
    if unknown := set(parts) - set(known):
        raise ValueError(f"the map has no part {min(unknown)!r}: choose among {', '.join(known)}")
    lit = [part for part in known if part in parts]
    for part in lit:
        drawing = drawing.replace(f'<g id="{part}" class="part">', f'<g id="{part}" class="part lit">')
    if lit:
        drawing = drawing.replace("</title>", f". Lit: {', '.join(lit)}</title>")
    return SVG(drawing)  # type: ignore[no-untyped-call]


def schematic(name: str) -> SVG:
    """The drawing of a mechanism, book/assets/schematic-NAME.svg, which `make schematics` makes.

    >>> schematic("attention")                                                          # doctest: +SKIP
    """
    path = _book() / "assets" / f"schematic-{name}.svg"
    if not path.is_file():
        known = ", ".join(sorted(p.stem.removeprefix("schematic-") for p in path.parent.glob("schematic-*.svg")))
        raise ValueError(f"there is no schematic {name!r}: choose among {known}")
    return SVG(path.read_text(encoding="utf-8"))  # type: ignore[no-untyped-call]


def show_source(item: Any) -> Markdown:
    """The source of a function or class of the package, as it stands, without its docstring.

    >>> show_source(minigpt_core.training.learning_rate_at)                             # doctest: +SKIP
    """
    try:
        source = textwrap.dedent(inspect.getsource(item))
    except (TypeError, OSError):
        raise ValueError(
            f"there is no Python source of {item!r} to show: give a function or a class of the package"
        ) from None
    if item.__doc__:
        source = re.sub(r'\n *(r?"""(?:.|\n)*?""")', "", source, count=1)
    return Markdown(f"```python\n{source}```")  # type: ignore[no-untyped-call]


def check_shape(tensor: Tensor, *shape: int) -> Tensor:
    """`tensor` itself where it has this shape, else a `ValueError` that names both.

    >>> check_shape(torch.zeros(2, 3), 2, 3).sum()
    tensor(0.)
    """
    if not isinstance(tensor, Tensor):
        raise ValueError(f"a tensor of shape {shape} is expected, not a {type(tensor).__name__}")
    if tensor.shape != shape:
        raise ValueError(f"the shape is {tuple(tensor.shape)}, expected {shape}")
    return tensor


def load_record(name: str) -> dict[str, Any]:
    """A training run that was made before and kept in book/records: "settings", "curve", "samples" and "maps"; or one of the
    tables there: "corpora", "drift", "ladder", "memory", "neural", "parts", "prepare", "real", "scaling-books",
    "scaling-language" and "staircase".

    >>> load_record("tales")["curve"]["val_loss"][-1]                                   # doctest: +SKIP
    1.36
    """
    path = _book() / "records" / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json")))
        raise ValueError(f"there is no record {name!r}: choose one of {known}, or make it with make records")
    return json.loads(path.read_text(encoding="utf-8"))


def table(columns: Sequence[str], rows: Mapping[str, Sequence[object]], *, label: str) -> HTML:
    """A table with a header line and the rows under their names. On a page that is too narrow it scrolls in its own box, which
    screen readers call `label`.

    >>> table(["ours", "theirs"], {"heads": [4, 9]}, label="Two models").data.count('scope="col"')
    2
    """
    if wrong := [name for name, cells in rows.items() if len(cells) != len(columns)]:
        raise ValueError(f"the row {wrong[0]!r} has {len(rows[wrong[0]])} cells, but there are {len(columns)} columns")

    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = ""
    for name, cells in rows.items():
        shown = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells)
        body += f'<tr><th scope="row">{html.escape(name)}</th>{shown}</tr>'
    return HTML(  # type: ignore[no-untyped-call]
        f'<div class="pst-scrollable-table-container" role="region" tabindex="0" aria-label="{html.escape(label)}">'
        f'<table class="table"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def staircase(found: Mapping[str, float], *, title: str) -> Figure:
    """The growing model's steps: those of the chapters before from the record `staircase` (seed 0), then those that this chapter
    has `found`, losses by the record's names. Across them stand the two counting rivals.

    >>> staircase({"one head": 2.45}, title="One head, not yet below the bigram")       # doctest: +SKIP
    """
    record = load_record("staircase")
    names = list(record["steps"])
    if not found or found.keys() - set(names):
        wrong = ", ".join(sorted(found.keys() - set(names))) or "nothing"
        raise ValueError(f"found holds {wrong}: the staircase has the steps {', '.join(names)}")
    first = min(names.index(name) for name in found)
    before = {name: record["steps"][name][0]["val_loss"] for name in names[:first]}
    return viz.staircase(
        before | {name: found[name] for name in names if name in found}, rivals=record["rivals"], title=title
    )
