"""Draw book/assets/layout.svg, which module of minigpt_core imports which, and write the tables of book/layout.md: both from
the source, so that they are true as long as tests/test_package.py finds them unchanged.

    make layout
"""

import ast
import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path

from minigpt_core.files import write_atomic

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "minigpt_core"
PICTURE = ROOT / "book" / "assets" / "layout.svg"
PAGE = ROOT / "book" / "layout.md"
ROOMS = ("", "study", "beyond", "notebook", "widgets")  # each imports only from itself and from those before it
TITLES = {"core": "the core", "cli": "program"}
Edges = dict[str, set[str]]


def module_of(path: Path) -> str:
    """The dotted name of a module inside the package, such as study.lens; of a room's __init__ the room's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


PATHS = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
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


def box_of(module: str) -> str:
    """Where the picture shows a module: in its room, or in a box of its own, the command line."""
    return "cli" if module in ("cli", "__main__") else room_of(module) or "core"


def modules_in(box: str) -> list[str]:
    """Without the rooms' own __init__, which are what their boxes stand for. A folder in a room stands for what is in it.

    >>> modules_in("notebook")[0]
    'notebook.checks'
    """
    return [name for name in PATHS if box_of(name) == box and name not in ("__init__", *ROOMS) and not is_inside(name)]


def is_inside(module: str) -> bool:
    """Whether it lies in a folder of a room, such as notebook.checks.attention."""
    return module.count(".") > 1


def without_detours(edges: Edges) -> Edges:
    """Only the edges that others do not imply.

    >>> without_detours({"a": set(), "b": {"a"}, "c": {"a", "b"}})["c"]
    {'b'}
    """

    def reached(name: str) -> set[str]:
        return edges[name].union(*map(reached, edges[name]))

    return {name: near - set().union(*map(reached, near)) for name, near in edges.items()}


@dataclass(eq=False)
class Node:
    """A box; without a name, a place where an arrow passes a row."""

    name: str
    width: float
    height: float
    above: list["Node"] = field(default_factory=list)
    below: list["Node"] = field(default_factory=list)
    x: float = 0  # of the middle
    y: float = 0  # of the upper edge


def ranks(needs: Edges, most: int) -> dict[str, int]:
    """The row of each name: below all that it needs, and no more than `most` in a row. A circle is a `ValueError`.

    >>> ranks({"a": set(), "b": {"a"}, "c": {"a"}}, most=1)
    {'a': 0, 'b': 1, 'c': 2}
    """
    rank: dict[str, int] = {}
    while len(rank) < len(needs):
        ready = [name for name in needs if name not in rank and needs[name] <= rank.keys()]
        if not ready:
            raise ValueError(
                f"some of these import one another in a circle: {', '.join(sorted(needs.keys() - rank.keys()))}"
            )
        for name in ready:
            row = 1 + max((rank[other] for other in needs[name]), default=-1)
            while list(rank.values()).count(row) == most:
                row += 1
            rank[name] = row
    return rank


def rows(sizes: dict[str, tuple[float, float]], edges: Edges, rank: dict[str, int]) -> list[list[Node]]:
    """The boxes row by row, with a place in each row that an arrow passes."""
    found: list[list[Node]] = [[] for _ in range(1 + max(rank.values()))]
    nodes = {name: Node(name, *sizes[name]) for name in sizes}
    for name in sorted(nodes, key=rank.__getitem__):
        found[rank[name]].append(nodes[name])
        for other in sorted(edges[name]):
            path = [nodes[other], *(Node("", 8, 0) for _ in range(rank[other] + 1, rank[name])), nodes[name]]
            for row, passing in enumerate(path[1:-1], start=rank[other] + 1):
                found[row].append(passing)
            for upper, lower in pairwise(path):
                upper.below.append(lower)
                lower.above.append(upper)
    return found


def crossings(found: list[list[Node]]) -> int:
    """How many pairs of arrows cross between neighbouring rows."""
    count = 0
    for upper, lower in pairwise(found):
        ends = [(i, lower.index(other)) for i, node in enumerate(upper) for other in node.below]
        count += sum(a < c and b > d for a, b in ends for c, d in ends)
    return count


def untangled(found: list[list[Node]]) -> list[list[Node]]:
    """The rows in an order in which few arrows cross: again and again each node goes to the mean place of its neighbours in
    the row above, or below (Sugiyama et al. 1981), and the best order is kept."""
    tried = [found]
    for sweep in range(24):
        found = [list(row) for row in found]
        down = sweep % 2 == 0
        for fixed, moved in pairwise(found if down else found[::-1]):
            places = {}
            for i, node in enumerate(moved):
                near = [fixed.index(other) for other in (node.above if down else node.below)]
                places[id(node)] = sum(near) / len(near) if near else i * len(fixed) / len(moved)
            moved.sort(key=lambda node: places[id(node)])
        tried.append(found)
    return min(tried, key=crossings)


def settle(found: list[list[Node]], left: float, width: float, y: float, gap: float) -> float:
    """Give each node its place, row below row from `y` on, near its neighbours; returned is the lower edge."""
    for row in found:
        x, height = left, max(node.height for node in row)
        free = (width - sum(node.width for node in row)) / (len(row) + 1)
        for node in row:
            node.x, node.y = x + free + node.width / 2, y
            x = node.x + node.width / 2
            node.height = node.height or height  # an arrow passes the whole row
        y += height + gap
    for row in found * 40:
        apart = min(14, (width - sum(node.width for node in row)) / len(row))
        for i, node in enumerate(row):
            near = [other.x for other in node.above + node.below]
            low, high = left + node.width / 2, left + width - node.width / 2
            if i:
                low = row[i - 1].x + (row[i - 1].width + node.width) / 2 + apart
            if i + 1 < len(row):
                high = row[i + 1].x - (row[i + 1].width + node.width) / 2 - apart
            node.x = min(max(sum(near) / len(near) if near else node.x, low), high)
    return y - gap


def port(node: Node, others: list[Node], other: Node) -> float:
    """Where on its edge a box's arrow to one of the others starts or ends: side by side, in their order."""
    order = sorted(others, key=lambda each: each.x)
    return node.x + (order.index(other) - (len(order) - 1) / 2) * min(18, (node.width - 20) / len(order))


def arrows(found: list[list[Node]]) -> Iterator[str]:
    for upper in chain(*found):
        for lower in upper.below:
            x0, y0 = port(upper, upper.below, lower), upper.y + upper.height
            x1, y1 = port(lower, lower.above, upper), lower.y - (8 if lower.name else 0)
            middle = (y0 + y1) / 2
            line = f"M{x0:.0f} {y0:.0f}C{x0:.0f} {middle:.0f} {x1:.0f} {middle:.0f} {x1:.0f} {y1:.0f}"
            yield f'<path class="flow" d="{line}{"" if lower.name else f"v{lower.height:.0f}"}"/>'
            if lower.name:
                yield f'<path class="head" d="M{x1 - 4:.0f} {y1 - 1:.0f}h8l-4 9z"/>'


def boxes(found: list[list[Node]], round_by: int) -> Iterator[str]:
    for node in (node for node in chain(*found) if node.name):
        size = f'width="{node.width:.0f}" height="{node.height:.0f}"'
        yield f'<rect class="box" x="{node.x - node.width / 2:.0f}" y="{node.y:.0f}" {size} rx="{round_by}"/>'


def draw() -> str:
    """The picture: the core with its modules and their arrows, below it the rooms with theirs."""
    core = modules_in("core")
    needs = {name: imports(name)[0] & set(core) for name in core}
    sizes = {name: (16 + 9 * len(name), 30) for name in core}
    rank = ranks(needs, most=4)
    inside = untangled(rows(sizes, without_detours(needs), rank))
    height = settle(inside, 18, 484, 104, 30) - 46

    names = [box for box in ("core", *ROOMS[1:], "cli") if modules_in(box)]
    between = {name: {box_of(other) for module in PATHS if box_of(module) == name and module != "__init__"
                      for other in imports(module)[0]} - {name} for name in names}  # fmt: skip
    sizes = {name: (156, 42 + 20 * len(modules_in(name))) for name in names} | {"core": (504, height)}
    rank = ranks({name: between[name] | {"core"} - {name} for name in names}, most=3)
    outside = untangled(rows(sizes, without_detours(between), rank))
    total = settle(outside, 8, 504, 60, 40) + 16

    parts = [*boxes(outside, 8), *arrows(outside), *boxes(inside, 5), *arrows(inside)]
    for node in chain(*inside):
        parts.append(
            f'<text class="note" x="{node.x:.0f}" y="{node.y + 20:.0f}" text-anchor="middle">{node.name}</text>'
        )
    for node in (node for node in chain(*outside) if node.name):
        x = node.x - node.width / 2 + 12
        title = TITLES.get(node.name, f"{node.name}/")
        parts.append(f'<text class="name" x="{x:.0f}" y="{node.y + 25:.0f}">{title}</text>')
        for i, name in enumerate(modules_in(node.name) if node.name != "core" else []):
            parts.append(f'<text class="note" x="{x:.0f}" y="{node.y + 48 + 20 * i:.0f}">{name.split(".")[-1]}</text>')
    told = "; ".join(f"{name} imports {' and '.join(sorted(others))}" for name, others in between.items() if others)
    return SVG.format(height=round(total), inner=round(total) - 1, told=told, parts="\n  ".join(parts))


SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 {height}" width="520" height="{height}" role="img" aria-labelledby="layout-title layout-desc" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif">
  <title id="layout-title">How minigpt_core is laid out</title>
  <desc id="layout-desc">Boxes for the rooms of the package with the names of their modules, and arrows from what is imported to what imports it: {told}.</desc>
  <style>
    .card {{ fill: #ffffff; stroke: #c8c8c8; }}
    .box {{ fill: #ffffff; stroke: #4a4a4a; stroke-width: 1.5; }}
    .name {{ font-size: 18px; font-weight: 600; fill: #1a1a1a; }}
    .note {{ font-size: 16px; fill: #1a1a1a; }}
    .flow {{ fill: none; stroke: #767676; stroke-width: 1.5; }}
    .head {{ fill: #767676; }}
  </style>
  <rect class="card" x="0.5" y="0.5" width="519" height="{inner}" rx="8"/>
  <text class="note" x="16" y="28">An arrow leads from a module to those that import it.</text>
  <text class="note" x="16" y="47">What other arrows imply is left out.</text>
  {parts}
</svg>
"""


def described(module: str) -> str:
    """The first paragraph of the module's docstring, as one line."""
    docstring = ast.get_docstring(ast.parse(PATHS[module].read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def table(room: str) -> str:
    """The rows of one room's table."""
    lines = [
        f"| `{name.split('.')[-1]}` | {described(name)} |"
        for name in PATHS
        if room_of(name) == room and name != room and not is_inside(name)
    ]
    return "\n".join(["| module | what |", "|---|---|", *lines, ""])


def page(text: str) -> str:
    """The page with its tables remade: each lies between two comments that name its room."""
    for room in ROOMS:
        start, _, end = re.split(rf"(?<=<!-- {room or 'core'} -->\n)((?:\|.*\n)*)(?=<!-- end -->)", text)
        text = start + table(room) + end
    return text


def main() -> None:
    write_atomic(PICTURE, draw().encode("utf-8"))
    write_atomic(PAGE, page(PAGE.read_text(encoding="utf-8")).encode("utf-8"))


if __name__ == "__main__":
    main()
