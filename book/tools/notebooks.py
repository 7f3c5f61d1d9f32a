"""Execute notebooks in place and bring them into their normal form: the one way in which stored outputs change.

    python book/tools/notebooks.py              execute and normalise all
    python book/tools/notebooks.py 00 07        ... those whose names begin so
    python book/tools/notebooks.py --no-run     only normalise
    python book/tools/notebooks.py --address    only write the repository's address into badges and set-up cells

A cell whose output tells how long something took is tagged `timing`: when other programs took more than a tenth of the
processors while it ran, the notebook is run again, and in the end refused.

Badge and set-up cell state the repository's address; where there is none (no github.com remote), the badge is absent. Only
`make address` changes it: whoever runs a notebook on a fork leaves it as it is.
"""

import argparse
import base64
import io
import re
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil
from address import GITHUB, address, revision
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
LARGEST = 500_000  # bytes of a notebook
DISTURBED = 0.1  # the share of the processors that others may take while a cell tagged `timing` runs
TRIES = 3  # a disturbed notebook is run again
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
CELL_METADATA = {"tags", "mystnb"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def badge(name: str, where: str) -> str:
    """The link that opens a notebook in Colab."""
    place = where.removeprefix(f"{GITHUB}/")
    target = f"https://colab.research.google.com/github/{place}/blob/{revision()}/notebooks/{name}"
    return f"[![Open in Colab](../book/assets/colab.svg)]({target})"


def setup_cell(where: str) -> str:
    """The first code cell of every notebook."""
    if where:
        fetch = f"!git clone -q --depth 1 -b {revision()} {where} /content/book"
    else:
        fetch = """\
address = ""  # write here where the book lies: https://github.com/...
    assert address, "write the book's address above, and run this cell again"
    !git clone -q --depth 1 {address} /content/book"""
    return f"""\
# In Colab: fetch the book, install its package. Elsewhere: do nothing.
import sys

if "google.colab" in sys.modules and not sys.path[0].endswith("book"):
    {fetch}
    %pip install -q "/content/book[real]"
    sys.path.insert(0, "/content/book")
    %cd -q /content/book/notebooks"""


def is_setup(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "code" and "setup" in cell.metadata.get("tags", [])


def stated_address(notebook: nbformat.NotebookNode) -> str:
    """The address that the notebook's set-up cell fetches the book from; empty if it states none."""
    source = "\n".join(cell.source for cell in notebook.cells if is_setup(cell))
    cloned = re.search(rf"git clone .* ({GITHUB}/\S+) ", source)
    return cloned[1] if cloned else ""


def state_address(notebook: nbformat.NotebookNode, name: str, where: str) -> None:
    """Rewrite the set-up cell and the badge, which stands before the budget line or nowhere. Nothing else is touched."""
    for cell in filter(is_setup, notebook.cells):
        cell.source = setup_cell(where)
    first = notebook.cells[0]
    first.source = re.sub(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)\s*", "", first.source)
    if where:
        first.source = first.source.replace("**Budget:**", f"{badge(name, where)}\n\n**Budget:**", 1)


def lighter(png: str) -> str:
    """The same picture, in base64, with at most 256 colours, which takes less than half of the bytes: most of those of a
    figure differ by less than the eye can see, so they are rounded to every 4th, 8th, ... level until so few are left; up to 64
    colours stay as they are. How opaque a pixel is may be rounded more: that varies only at the edges of lines and letters, and
    in maps; and of grey pixels, which no map has, most: five levels are enough for a letter's edge."""
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if picture.mode == "P":
        return png
    pixels = np.asarray(picture.convert("RGBA")).astype(int)
    for step in (1, 4, 8, 16, 32, 64, 128):  # at 128 each channel has three levels: 81 colours at most
        steps = np.array([step, step, step, min(4 * step, 128) if step > 1 else 1])
        rounded = np.minimum((pixels + steps // 2) // steps * steps, 255)
        if step > 1:
            grey = np.ptp(rounded[..., :3], axis=-1) < 12
            rounded[grey, 3] = np.minimum((rounded[grey, 3] + 32) // 64 * 64, 255)
            rounded[rounded[..., 3] == 0] = 0  # what cannot be seen has one colour
        # the four channels of a pixel as one number: of those the different ones are found much faster
        colours, which = np.unique(rounded.astype(np.uint8).view(np.uint32), return_inverse=True)
        if len(colours) <= (256 if step > 1 else 64):
            break
    palette = Image.fromarray(which.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    palette.putpalette(colours.tobytes(), "RGBA")
    file = io.BytesIO()
    palette.save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def normalise(notebook: nbformat.NotebookNode, name: str) -> None:
    """Bring the badge, the set-up cell, pictures and all metadata into their one form; drop progress bars and warnings."""
    notebook.metadata = nbformat.from_dict(METADATA)
    state_address(notebook, name, stated_address(notebook))
    count = 0
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in CELL_METADATA and v})
        cell.source = cell.source.rstrip()
        if cell.cell_type == "markdown":
            continue
        count += 1
        cell.execution_count = count if cell.execution_count else None
        for output in cell.outputs:  # of a widget only its still face is stored, if it has one
            if WIDGET_VIEW in output.get("data", {}):
                kept = ("text/html", "text/plain") if "text/html" in output.data else ()
                output.data = {mime: data for mime, data in output.data.items() if mime in kept}
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr" and o.get("data", True)]
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = lighter(output.data["image/png"])
            if "execution_count" in output:
                output.execution_count = count
            if "metadata" in output:  # of which only the size is kept that a picture is shown at
                output.metadata = nbformat.from_dict({k: v for k, v in output.metadata.items() if k == "image/png"})


def problems(path: Path) -> list[str]:
    """What keeps a stored notebook from being published: each a sentence. A cell that was never run is not compared by
    nbval, so it counts as a fault."""
    raw = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(raw, as_version=4)
    found = []
    if len(raw.encode("utf-8")) > LARGEST:
        found.append(f"it is larger than {LARGEST:,} bytes")
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in codes]
    if counts != list(range(1, len(codes) + 1)):
        found.append(f"its cells are numbered {counts}, not 1 to {len(codes)}: it was not run from top to bottom")
    ids = [cell.id for cell in notebook.cells]
    if len(set(ids)) < len(ids):
        found.append("two cells have the same id")
    for cell in codes:
        where = f"cell {cell.execution_count} ({cell.source.splitlines()[0][:40] if cell.source else 'empty'})"
        if any(output.output_type == "error" for output in cell.outputs):
            found.append(f"{where} ends in an error")
        images = [o for o in cell.outputs if {"image/png", "image/svg+xml"} & set(o.get("data", ()))]
        if images and not cell.metadata.get("mystnb", {}).get("image", {}).get("alt"):
            found.append(f"{where} shows a picture without alt text (metadata mystnb.image.alt)")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if re.search(r"^\s*(:::|```)\{", cell.source, re.MULTILINE):
                found.append(f"MyST directive, which Colab shows as raw code: {cell.source[:40]!r}")
            if re.search(r"!\[\s*\]\(", cell.source):
                found.append(f"picture without alt text: {cell.source[:40]!r}")
    before = nbformat.writes(notebook)
    normalise(notebook, path.name)
    if nbformat.writes(notebook) != before:
        found.append("it is not in its normal form: run make notebooks")
    return found


def clocks(client: NotebookClient) -> tuple[float, float, float]:
    """Seconds of processors that have passed, that were idle, and that the notebook's kernel and this program took."""
    system, kernel = psutil.cpu_times(), psutil.Process(client.km.provisioner.pid)
    own = sum(sum(process.cpu_times()[:4]) for process in (kernel, psutil.Process()))
    return time.perf_counter() * psutil.cpu_count(), system.idle + getattr(system, "iowait", 0), own


def taken_by_others(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    """The share of the processors that was neither idle nor the notebook's own between two readings of the clocks: other
    programs, or a pause of the whole machine.

    >>> taken_by_others((0, 0, 0), (80, 2, 4))  # 2 processors, 40 seconds: of 80, 6 are accounted for
    0.925
    """
    passed, idle, own = (end - start for start, end in zip(before, after, strict=True))
    return 1 - (idle + own) / passed


def execute(notebook: nbformat.NotebookNode) -> float:
    """Run all cells. Returned is the largest share of the processors that others took while a cell tagged `timing` ran."""
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": FOLDER}},
    )
    began: dict[int, tuple[float, float, float]] = {}
    shares = [0.0]

    def begin(cell: nbformat.NotebookNode, cell_index: int) -> None:
        if "timing" in cell.metadata.get("tags", []):
            began[cell_index] = clocks(client)

    def end(cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict) -> None:
        if cell_index in began:
            shares.append(taken_by_others(began[cell_index], clocks(client)))

    client.on_cell_execute, client.on_cell_executed = begin, end
    client.execute()
    return max(shares)


def execute_undisturbed(notebook: nbformat.NotebookNode, name: str) -> bool:
    """Run all cells, again if the machine was disturbed while seconds were measured; whether a run was undisturbed."""
    for _ in range(TRIES):
        share = execute(notebook)
        if share <= DISTURBED:
            return True
        print(f"{name}: others took {share:.0%} of the processors while a cell measured seconds", file=sys.stderr)
    print(f"{name}: NOT stored, its seconds would be false: run it again when the machine is quiet", file=sys.stderr)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of file names, such as 00 (default: all)")
    parser.add_argument("--no-run", action="store_true", help="do not execute, only normalise")
    parser.add_argument("--address", action="store_true", help="only write the repository's address into the notebooks")
    arguments = parser.parse_args()
    paths = [p for p in sorted(FOLDER.glob("*.ipynb")) if p.name.startswith(tuple(arguments.names) or "")]
    if not paths:
        print(f"no notebook in {FOLDER} begins with {' or '.join(arguments.names)}", file=sys.stderr)
        return 2
    if arguments.address:
        where = address()
        for path in paths:
            notebook = nbformat.read(path, as_version=4)
            state_address(notebook, path.name, where)
            nbformat.write(notebook, path)
        print(f"The notebooks state {where}" if where else "No github.com remote: the notebooks state no address")
        return 0
    refused = 0
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        began = time.perf_counter()
        if not arguments.no_run:
            state_address(notebook, path.name, stated_address(notebook))
            if not execute_undisturbed(notebook, path.name):
                refused = 1
                continue
        normalise(notebook, path.name)
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1000:.0f} kB")
    return refused


if __name__ == "__main__":
    sys.exit(main())
