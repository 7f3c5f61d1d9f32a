"""Execute notebooks in place and bring them into their normal form: the one way in which stored outputs change.

    python book/tools/notebooks.py              execute and normalise all
    python book/tools/notebooks.py 00 07        ... those whose names begin so
    python book/tools/notebooks.py --no-run     only normalise: after a change of the repository's address, say

The repository's address and the revision that Colab installs are stated in _config.yml; badge and set-up cell follow.
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
import yaml
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
LARGEST = 500_000  # bytes of a notebook
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
CELL_METADATA = {"tags", "mystnb"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def repository() -> tuple[str, str]:
    """The address of the repository and the revision that Colab installs, as _config.yml states them."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return config["url"], str(config["branch"])


def badge(name: str) -> str:
    """The link that opens a notebook in Colab."""
    url, revision = repository()
    place = url.removeprefix("https://github.com/")
    target = f"https://colab.research.google.com/github/{place}/blob/{revision}/notebooks/{name}"
    return f"[![Open in Colab](../book/assets/colab.svg)]({target})"


def setup_cell() -> str:
    """The first code cell of every notebook."""
    url, revision = repository()
    return f"""\
# In Colab: fetch the book, install its package. Elsewhere: do nothing.
import sys

if "google.colab" in sys.modules and not sys.path[0].endswith("book"):
    !git clone -q --depth 1 -b {revision} {url} /content/book
    %pip install -q /content/book
    sys.path.insert(0, "/content/book")
    %cd -q /content/book/notebooks"""


def lighter(png: str) -> str:
    """The same picture, in base64, with at most 256 colours, which takes less than half of the bytes: most of those of a
    figure differ by less than the eye can see, so they are rounded to every 2nd, 4th, ... level until so few are left."""
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if picture.mode == "P":
        return png
    pixels = np.asarray(picture.convert("RGBA")).astype(int)
    for step in (1, 2, 4, 8, 16, 32, 64, 128):  # at 128 each channel has three levels: 81 colours at most
        rounded = np.minimum((pixels + step // 2) // step * step, 255).reshape(-1, 4)
        colours, which = np.unique(rounded, axis=0, return_inverse=True)
        if len(colours) <= 256:
            break
    palette = Image.fromarray(which.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    palette.putpalette(colours.astype(np.uint8).tobytes(), "RGBA")
    file = io.BytesIO()
    palette.save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def normalise(notebook: nbformat.NotebookNode, name: str) -> None:
    """Bring the badge, the set-up cell, pictures and all metadata into their one form; drop progress bars and warnings."""
    notebook.metadata = nbformat.from_dict(METADATA)
    count = 0
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in CELL_METADATA and v})
        cell.source = cell.source.rstrip()
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)", lambda _: badge(name), cell.source)
            continue
        if "setup" in cell.metadata.get("tags", []):
            cell.source = setup_cell()
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
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of file names, such as 00 (default: all)")
    parser.add_argument("--no-run", action="store_true", help="do not execute, only normalise")
    arguments = parser.parse_args()
    paths = [p for p in sorted(FOLDER.glob("*.ipynb")) if p.name.startswith(tuple(arguments.names) or "")]
    if not paths:
        print(f"no notebook in {FOLDER} begins with {' or '.join(arguments.names)}", file=sys.stderr)
        return 2
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        began = time.perf_counter()
        if not arguments.no_run:
            for cell in notebook.cells:
                if cell.cell_type == "code" and "setup" in cell.metadata.get("tags", []):
                    cell.source = setup_cell()
            NotebookClient(
                notebook,
                timeout=600,
                kernel_name="python3",
                coalesce_streams=True,
                resources={"metadata": {"path": FOLDER}},
            ).execute()
        normalise(notebook, path.name)
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
