"""The byte-pair encoding that chapter 01 writes by hand, run from its cells: what panels and schematics are held to."""

import functools
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

CHAPTER = Path(__file__).parents[1] / "notebooks" / "01_tokenization.ipynb"


@functools.cache
def learning() -> dict:
    """The names that the cells with `words_of` and `learn_bpe` define."""
    notebook = json.loads(CHAPTER.read_text(encoding="utf-8"))
    found = {"Counter": Counter, "re": re}
    for source in ("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"):
        if "def words_of(" in source or "def learn_bpe(" in source:
            exec(source, found)
    return found


def pairs_of(words) -> list[tuple[tuple[str, str], int]]:
    """Each pair of neighbours in the words with its count, in the chapter's order."""
    counts = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] += count
    return sorted(counts.items(), key=lambda item: (-item[1], len("".join(item[0])), "".join(item[0])))
