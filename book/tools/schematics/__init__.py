"""Draw the schematics of the chapters, book/assets/schematic-NAME.svg: how attention, a block, a window and so on work.
Where they hold numbers, these are computed here, by a model that ships with the book or from the chapter's own example.

    make schematics                   all of them, and a table of their alt texts, which the chapters' cells need
    make schematics NAME=attention    one
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from minigpt_core.files import write_atomic

from . import attention, block, fastest, growing, learning, real, tokens, training, writing

ASSETS = Path(__file__).parents[2] / "assets"

SCHEMATICS = {
    function.__name__: function
    for function in (
        *(tokens.merges, tokens.utf8, tokens.windows, tokens.batch, tokens.split),
        *(learning.push, learning.one_hot, learning.adam),
        *(attention.triangle, attention.attention, attention.mask, attention.places, attention.heads),
        *(block.relu, block.stream, block.norms, block.block, block.pre_post, block.shapes, block.parameters),
        *(training.checkpoint, training.decision, training.flow),
        *(writing.writing, writing.dart, writing.cuts, writing.cache, writing.loop, writing.induction),
        *(fastest.previous, fastest.rotary, fastest.svd),
        *(real.real_block, real.grouped, real.gate, real.experts, real.tied, real.rms, real.bytes, real.pairs),
        *(growing.shards, growing.accumulate, growing.checkpointed, growing.short_numbers, growing.processes),
    )
}


def path_of(name: str) -> Path:
    return ASSETS / f"schematic-{name}.svg"


def main(names: Sequence[str]) -> None:
    for name in names or SCHEMATICS:
        if name not in SCHEMATICS:
            sys.exit(f"there is no schematic {name!r}: choose one of {', '.join(SCHEMATICS)}")
        drawing = SCHEMATICS[name]()
        write_atomic(path_of(name), drawing.svg().encode())
        print(f"| {path_of(name).name} | {drawing.description} |")
