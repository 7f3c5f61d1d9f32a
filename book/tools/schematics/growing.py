"""Chapter 16: text as a stream, large batches on small machines, short numbers, and several processes."""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt_core import GPT, GPTConfig, get_batch, load_corpus
from minigpt_core.beyond.documents import read_documents
from minigpt_core.beyond.large import recomputed_blocks
from minigpt_core.beyond.shards import SHARD, Described, Writer, fingerprint_of
from minigpt_core.beyond.stored import StoredIds
from minigpt_core.tokenizer import END_OF_TEXT

from .drawing import Drawing, shipped

FILES = {"one.txt": ("A wren.", "An owl."), "two.txt": ("A wren.", "A fox.")}
FULL = 10  # ids, after which the small shards of the picture are full
BEGIN, T = 6, 4  # the window


@dataclass
class Prepared:
    """What the picture shows of text on disk: for each document its file, its text and whether it is dropped; the ids of each
    shard, data.json, and a window of T ids with the id behind it."""

    documents: list[tuple[str, str, bool]]
    shards: list[list[int]]
    described: Described
    window: list[int]


def prepared() -> Prepared:
    _, tokenizer = shipped()
    documents, seen = [], set()
    described = Described({}, [], tokenizer=fingerprint_of(tokenizer), vocab_size=tokenizer.vocab_size)
    width = described.dtype.itemsize
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = Writer(folder / "train", [], ("ids",), FULL * width)
        for file, texts in FILES.items():
            (folder / file).write_text(END_OF_TEXT.join(texts), encoding="utf-8")
            for document in read_documents(folder / file):
                text = document.text.decode()
                documents.append((file, text, document.digest in seen))
                if document.digest in seen:
                    described.repeated += 1
                    continue
                seen.add(document.digest)
                writer.append(ids=np.array(tokenizer.encode(text + END_OF_TEXT), described.dtype).tobytes())
        described.parts["train"] = writer.commit()
        writer.close()
        shards = [np.fromfile(path, described.dtype) for path in sorted((folder / "train").iterdir())]
    window = StoredIds(shards)[BEGIN : BEGIN + T + 1].tolist()
    return Prepared(documents, [shard.tolist() for shard in shards], described, window)


def shards() -> Drawing:
    told, (_, tokenizer) = prepared(), shipped()
    described, files = told.described, told.described.parts["train"]
    first = files[0]["ids"]
    (dropped,) = (text for _, text, again in told.documents if again)
    ids = ", ".join(map(str, told.window))
    draw = Drawing(
        "shards",
        "Text as a stream: documents, shards, a window",
        f"Two files, {' and '.join(FILES)}, become {len(told.documents)} documents: "
        + ", ".join(f"“{text}”" for _, text, _ in told.documents)
        + f". The second “{dropped}” is crossed out: it is the same as an earlier one. The others stand on disk as token ids, "
        "uint16, an end mark behind each document: "
        + ", then ".join(f"{len(shard)} ids in train/{i:05}.ids" for i, shard in enumerate(told.shards))
        + f". A green frame marks a window in the middle of the first: {ids}. Only these are read, as x and y of {T} ids each. "
        f"Below, data.json says: repeated {described.repeated}; the tokenizer’s fingerprint, {described.tokenizer}; the "
        f"bytes and the SHA-256 of each shard, of the first {first[0]} and {first[1][:8]}….",
        462,
    )
    size, left = 23, 12

    def letter(token: int) -> str:
        return "end" if token == tokenizer.end_id else tokenizer.decode([token]).replace(" ", "▁")

    draw.label(left, 20, "Files become documents", "name")
    for i, (file, text, again) in enumerate(told.documents):
        y = 32 + 28 * i
        if i % 2 == 0:
            draw.named_box(left, y, 80, 50, file, "note")
        draw.arrow((92, y + 11), (122, y + 11))
        draw.box(124, y, 84, 22, "dashes" if again else "box", round_=4)
        draw.label(166, y + 16, text, "note", "middle")
        if again:
            draw.line((118, y + 20), (214, y + 2))
            draw.label(222, y + 16, "the same: dropped", "note")
    draw.label(left, 169, "Token ids on disk (uint16), in shards", "name")
    tops = 215, 282
    for number, (top, shard) in enumerate(zip(tops, told.shards, strict=True)):
        draw.label(left, top - 24, f"train/{number:05}.ids: {files[number]['ids'][0]} bytes", "small")
        for i, token in enumerate(shard):
            x = left + size * i
            draw.label(x + size / 2, top - 7, letter(token), "small", "middle")
            draw.filled(x, top, size, size, "chosen", 0.3 if not number and BEGIN <= i <= BEGIN + T else 0)
            draw.label(x + size / 2, top + 16, str(token), "small", "middle")
    draw.box(left + size * BEGIN, tops[0], size * (T + 1), size, "chosen-line")
    x = left + size * (BEGIN + T / 2 + 0.5)
    draw.arrow((x, tops[0] + size), (x, 265))
    draw.label(x + 10, 256, "a window", "note")
    for i, name in enumerate("xy"):
        y = 267 + 28 * i
        draw.label(190, y + 16, name, "name", "end")
        for j, token in enumerate(told.window[i : i + T]):
            draw.filled(198 + size * j, y, size, size, "chosen", 0.3)
            draw.label(198 + size * (j + 0.5), y + 16, str(token), "small", "middle")
    draw.label(298, 283, f"only {T + 1} ids", "note")
    draw.label(298, 300, "are read", "note")
    draw.box(left, 334, 376, 78, round_=4)
    draw.label(left + 8, 352, "data.json", "name")
    draw.label(380, 352, f"repeated: {described.repeated}", "small", "end")
    draw.label(left + 8, 370, f"tokenizer’s fingerprint: {described.tokenizer}", "small")
    for i, shard in enumerate(files):
        count, checksum = shard["ids"]
        draw.label(left + 8, 387 + 17 * i, f"{i:05}.ids: {count} bytes, SHA-256 {checksum[:8]}…", "small")
    draw.label(left, 434, "A shard ends with the document that fills it:", "note")
    draw.label(left, 452, f"here from {FULL} ids on, in prepare from {SHARD:,}.", "note")
    return draw


GROUPS = 2, 2, 1  # windows that are computed at once


def accumulated() -> tuple[Tensor, Tensor]:
    """The sums of the losses of five windows (5,), and eight numbers of each sum's gradient (5, 8)."""
    model, tokenizer = shipped()
    ids = torch.tensor(tokenizer.encode(load_corpus("tales")))
    x, y = get_batch(ids, 8, sum(GROUPS), seed=0, step=12)
    sums, gradients = [], []
    for row in range(len(x)):
        loss = F.cross_entropy(model(x[row : row + 1])[0][0], y[row], reduction="sum")
        sums.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, model.norm.weight)[0][:8])
    return torch.stack(sums), torch.stack(gradients)


def accumulate() -> Drawing:
    sums, gradients = accumulated()
    by_group = sums.split(GROUPS)
    added = [group.sum().item() for group in by_group]
    running = torch.stack([group.sum(0) for group in gradients.split(GROUPS)])
    totals, tokens = running.cumsum(0), 8 * sum(GROUPS)
    mean = sums.sum().item() / tokens
    means = [group.sum().item() / (8 * len(group)) for group in by_group]
    other = sum(means) / len(means)
    each = ", ".join(f"{value:.2f}" for value in means)
    draw = Drawing(
        "accumulate",
        "Gradient accumulation: groups are added up",
        f"A batch of {sum(GROUPS)} windows of 8 tokens, in groups of {GROUPS[0]}, {GROUPS[1]} and {GROUPS[2]}, one after the "
        f"other. Each window’s loss, summed over its tokens: {', '.join(f'{loss:.2f}' for loss in sums.tolist())}; each "
        f"group’s sum: {', '.join(f'{loss:.2f}' for loss in added)}. Each group’s gradient, eight numbers as bars, is added to "
        f"one accumulator. At the end all is divided once, by {tokens} tokens: a loss of {mean:.2f} and the gradient of the "
        f"whole batch, in green. In a dashed frame, crossed out: the mean of the groups’ means {each} is {other:.2f}, another "
        "number.",
        446,
    )
    most = max(running.abs().max().item(), totals.abs().max().item())
    draw.label(12, 20, "windows", "name")
    draw.label(12, 37, "sum of 8 losses", "small")
    draw.label(178, 20, "gradient", "name", "middle")
    draw.label(178, 37, "of the group’s sum", "small", "middle")
    draw.label(332, 20, "accumulator", "name", "middle")
    draw.label(332, 37, "begins at 0", "small", "middle")
    window, above = 1, 42.0
    for i, group in enumerate(by_group):
        middle = 80 + 96 * i
        for j, loss in enumerate(group.tolist()):
            draw.named_box(12, middle - 14 * len(group) + 2 + 28 * j, 88, 24, f"{window}:  {loss:.2f}", "note")
            window += 1
        draw.arrow((102, middle), (128, middle))
        draw.bars(130, middle - 20, 96, 40, running[i].tolist(), "plain", most)
        draw.label(178, middle + 35, f"loss {added[i]:.2f}", "small", "middle")
        draw.arrow((228, middle), (323, middle))
        draw.arrow((332, above), (332, middle - 9))
        draw.adder(332, middle)
        draw.arrow((332, middle + 9), (332, middle + 23))
        draw.bars(284, middle + 24, 96, 40, totals[i].tolist(), "plain", most)
        draw.label(278, middle + 48, f"{sum(added[: i + 1]):.2f}", "small", "end")
        above = middle + 65
    draw.arrow((332, above), (332, above + 26))
    draw.label(322, above + 17, f"÷ {tokens} tokens, once", "note", "end")
    draw.bars(284, above + 27, 96, 40, totals[-1].tolist(), "chosen", totals[-1].abs().max().item())
    draw.label(332, above + 84, f"loss {mean:.2f}", "name", "middle")
    draw.box(12, above + 34, 236, 62, "dashes", round_=4)
    draw.label(130, above + 52, "mean of the groups’ means:", "note", "middle")
    draw.label(130, above + 70, f"({each.replace(', ', ' + ')}) / {len(means)}", "note", "middle")
    draw.label(130, above + 88, f"= {other:.2f}, another number", "note", "middle")
    draw.line((12, above + 96), (248, above + 34), look="thin")
    draw.line((12, above + 34), (248, above + 96), look="thin")
    return draw


BATCH = 16


def kept(how: contextlib.AbstractContextManager[None], model: GPT) -> dict[int, list[int]]:
    """The bytes of each tensor that a forward pass of `model` keeps for the backward pass, by the block that keeps them first;
    under -1 what is kept outside of the blocks. Weights are not counted: they are there anyway."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, list[int]] = {i: [] for i in (*range(len(model.blocks)), -1)}
    seen, where = set[int](), -1

    def move(i: int) -> None:
        nonlocal where
        where = i

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen | weights:
            seen.add(storage.data_ptr())
            found[where].append(storage.nbytes())
        return tensor

    hooks = [block.register_forward_pre_hook(lambda *_, i=i: move(i)) for i, block in enumerate(model.blocks)]
    hooks += [block.register_forward_hook(lambda *_: move(-1)) for block in model.blocks]
    ids = torch.zeros(BATCH, model.config.block_size, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), how:
        loss = model(ids, ids)[1]  # as long as there is a loss, all of it is kept
    for hook in hooks:
        hook.remove()
    del loss
    return found


def checkpointed() -> Drawing:
    config = GPTConfig(vocab_size=65)
    model = GPT(config)
    plain, short = kept(contextlib.nullcontext(), model), kept(recomputed_blocks(model), model)
    (given,) = short[0]
    block = sum(plain[0])
    totals = [sum(map(sum, found.values())) / 1e6 for found in (plain, short)]
    bars = {i: [size for size in plain[i] if size > block / 100] for i in range(config.n_layer)}
    rest = sum(plain[-1]) / 1e6
    n = config.n_layer
    draw = Drawing(
        "checkpointed",
        "Activation checkpointing: keep inputs, compute again",
        f"A GPT of {n} blocks, twice, after the forward pass of {BATCH} windows of {config.block_size} tokens in float32; a bar is "
        f"a tensor that is kept. At the left, the plain way: each block keeps {len(bars[0])} large tensors, its input in green and "
        f"{len(bars[0]) - 1} more, {block / 1e6:.1f} MB. At the right each block keeps its input only, {given / 1e6:.1f} MB; "
        f"the others are empty outlines. An arrow leads upwards, the backward pass: the last block, in a dashed frame, is computed "
        f"once more first, {(block - given) / 1e6:.1f} MB, then let go, and so each block before it. Outside of the blocks both "
        f"keep {rest:.1f} MB. In all: {totals[0]:.1f} MB against {totals[1]:.1f} MB and one block more.",
        566,
    )
    for column, (name, found) in enumerate({"plain": plain, "checkpointed": short}.items()):
        left = 12 + 192 * column
        draw.label(left, 20, name, "name")
        draw.label(left, 38, "keeps inputs only" if column else "keeps all", "note")
        for i in range(n):
            y, last = 48 + 104 * i, column == 1 and i == n - 1
            draw.box(left, y, 166, 92, "dashes" if last else "thin", round_=6)
            draw.label(left + 158, y + 18, f"block {i + 1}", "note", "end")
            draw.label(left + 48, y + 18, "input", "small")
            for j, size in enumerate(bars[i]):
                wide = 150 * size / max(bars[i])
                look = "chosen" if not j else "plain" if not column or last else "thin"
                draw.box(left + 8, y + 9 + 9 * j, wide, 7, look)
            if last:
                draw.label(left + 158, y + 40, "computed", "small", "end")
                draw.label(left + 158, y + 55, "once more", "small", "end")
                draw.label(left + 158, y + 72, f"+ {(block - given) / 1e6:.1f} MB", "note", "end")
            else:
                draw.label(left + 158, y + 72, f"{sum(found[i]) / 1e6:.1f} MB", "note", "end")
            if i < n - 1 and not column:
                draw.arrow((left + 83, y + 92), (left + 83, y + 104))
        draw.label(left, 484, f"outside of blocks: {rest:.1f} MB", "note")
        draw.label(left, 508, f"kept: {totals[column]:.1f} MB", "name")
    draw.arrow((386, 452), (386, 56))
    draw.label(204, 526, f"and {(block - given) / 1e6:.1f} MB for one block", "note")
    draw.label(12, 526, f"{BATCH} × {config.block_size} tokens, float32", "note")
    draw.label(12, 556, "Down: the forward pass. Up: the backward pass.", "note")
    return draw


NUMBER = 1 - 0.001
KINDS = torch.float32, torch.bfloat16, torch.float16


def parts_of(kind: torch.dtype) -> tuple[int, int]:
    """The bits of the exponent and of the fraction."""
    info = torch.finfo(kind)
    fraction = -round(np.log2(info.eps))
    return info.bits - 1 - fraction, fraction


def bits_of(x: float, kind: torch.dtype) -> str:
    """As they lie in memory, the sign first.

    >>> bits_of(1.0, torch.float16)
    '0011110000000000'
    """
    bits = torch.finfo(kind).bits
    whole = torch.tensor(x, dtype=kind).view(torch.int32 if bits == 32 else torch.int16).item()
    return f"{int(whole) % 2**bits:0{bits}b}"


def short(x: float) -> str:
    """A number as Python writes it, shorter.

    >>> short(65504.0), short(1.17549e-38), short(0.0078125), short(3.4e38)
    ('65,504', '1.2e−38', '7.8e−3', '3.4e38')
    """
    if 1 <= x < 1e6:
        return f"{x:,.0f}"
    digits, power = f"{x:.1e}".split("e")
    return f"{digits}e{int(power)}".replace("-", "−")


def short_numbers() -> Drawing:
    infos = [torch.finfo(kind) for kind in KINDS]
    names = [str(kind).removeprefix("torch.") for kind in KINDS]
    rows = {
        "largest": [short(info.max) for info in infos],
        "smallest normal": [short(info.smallest_normal) for info in infos],
        "smallest subnormal": [short(info.smallest_normal * info.eps) for info in infos],
        "step after 1": [short(info.eps) for info in infos],
    }
    shown = [f"{torch.tensor(NUMBER, dtype=kind).item():.7f}".rstrip("0").rstrip(".") for kind in KINDS]
    updated = {kind: (torch.tensor(1.0, dtype=kind) - 0.001).item() for kind in KINDS[1:]}
    lost, counted = updated.values()
    draw = Drawing(
        "short_numbers",
        "float32, bfloat16, float16: bits and steps",
        f"The bits of {NUMBER} in three kinds: a sign, filled; an exponent, lightly filled; a fraction, in outline. "
        + "; ".join(
            f"{name}: 1, {parts_of(kind)[0]} and {parts_of(kind)[1]} bits, read as {value}"
            for name, kind, value in zip(names, KINDS, shown, strict=True)
        )
        + ". A table of the three, in this order: "
        + "; ".join(f"{name} {', '.join(values)}" for name, values in rows.items())
        + f". Below, two lines around 1 with a tick for each number there is: few in bfloat16, many in float16. An arrow leads "
        f"from 1 − 0.001 to the nearest: in bfloat16 back to {lost:g}, the update is lost; in float16 to {counted:.5f}.",
        478,
    )
    draw.label(12, 20, f"The bits of {NUMBER}", "name")
    draw.label(388, 20, "sign + exponent + fraction", "note", "end")
    size = 11.6
    for i, (name, kind) in enumerate(zip(names, KINDS, strict=True)):
        y, bits, (exponent, fraction) = 46 + 56 * i, bits_of(NUMBER, kind), parts_of(kind)
        draw.label(12, y, name, "name")
        draw.label(388, y, f"1 + {exponent} + {fraction} bits, read as {shown[i]}", "note", "end")
        for j, bit in enumerate(bits):
            x = 12 + size * j
            look, strength = ("plain", 0.7) if not j else ("pale", 1.0) if j <= exponent else ("pale", 0.0)
            draw.filled(x, y + 7, size, 20, look, strength)
            draw.label(x + size / 2, y + 21.5, bit, "small", "middle")
    columns = 236, 316, 388
    for x, name in zip(columns, names, strict=True):
        draw.label(x, 216, name, "note", "end")
    for i, (name, values) in enumerate(rows.items()):
        draw.line((12, 222 + 20 * i), (388, 222 + 20 * i), look="thin")
        draw.label(12, 237 + 20 * i, name, "note")
        for x, value in zip(columns, values, strict=True):
            draw.label(x, 237 + 20 * i, value, "note", "end")

    def at(value: float) -> float:
        return 200 + 22_000 * (value - 1)

    draw.label(12, 332, "All numbers around 1", "name")
    for i, (kind, value) in enumerate(updated.items()):
        y, info = 378 + 68 * i, torch.finfo(kind)
        ticks = [1 - info.eps / 2 * j for j in range(100)] + [1 + info.eps * j for j in range(1, 100)]
        draw.line((12, y), (392, y), look="thin")
        for tick in ticks:
            if 12 <= at(tick) <= 392:
                draw.line((at(tick), y - 7), (at(tick), y + 7))
        draw.label(12, y - 18, names[1 + i], "name")
        draw.label(at(NUMBER) - 9, y - 18, "1 − 0.001", "note", "end")
        draw.add("circle", "head", cx=at(NUMBER), cy=y - 22, r=3)
        if value == 1:
            draw.arrow((at(NUMBER), y - 22), (at(1), y - 22), (at(1), y - 8))
            draw.label(at(1) + 8, y - 18, "back to 1: lost", "note")
        else:
            draw.arrow((at(NUMBER), y - 22), (at(value), y - 8))
            draw.label(at(1) + 8, y - 18, f"{value:.5f}: it counts", "note")
        for tick in ticks if kind == torch.bfloat16 else [1]:
            if 24 <= at(tick) <= 376:
                draw.label(at(tick), y + 20, f"{tick:.4f}".rstrip("0").rstrip("."), "small", "middle")
    return draw


RANKS = 0, 1


def halves() -> tuple[Tensor, Tensor]:
    """Eight numbers of a weight (8,), and of the gradient that each of two processes finds of its rows (2, 8)."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(5, block_size=4, n_layer=1, n_head=1, n_embd=8)).double()
    x, y = torch.randint(5, (2, 4, 4))
    weight, found = model.blocks[0].attention.output.weight, []
    for rank in RANKS:
        mine = slice(rank, None, len(RANKS))
        loss = F.cross_entropy(model(x[mine])[0].flatten(0, 1), y[mine].flatten(), reduction="sum")
        found.append(torch.autograd.grad(loss, weight)[0][:, 0])
    return weight[:, 0].detach(), torch.stack(found)


def processes() -> Drawing:
    weight, gradients = halves()
    total = gradients.sum(0)
    most = torch.cat([gradients, total[None]]).abs().max().item()
    middles, wide, high = (106, 294), 112, 34
    draw = Drawing(
        "processes",
        "Two processes: the whole model in each, or half",
        "Two columns, process 0 and process 1; vectors of eight numbers are bars. Above, DDP: each has all weights, the same, and "
        "finds the gradient of its own rows of the batch, 0 and 2, or 1 and 3. All-reduce adds the two gradients and gives both "
        "the sum, in green; both divide by all tokens and take the same step. Below, FSDP: each keeps half of the weights, and of "
        "m and v; the other half is a dashed outline. When a block’s turn comes, forward and again backward, all-gather gives "
        "both the whole; it is used and let go. Each has again a gradient of its own rows. Reduce-scatter adds them and gives "
        "each half of the sum, in green, and each steps its half.",
        728,
    )

    def row(y: float, said: str, values: Tensor, look: str = "plain", most: float = most) -> None:
        for rank, middle in zip(RANKS, middles, strict=True):
            draw.label(middle, y - 6, said.format(*range(rank, 4, 2)), "note", "middle")
            own = values[rank] if values.dim() == 2 else values
            draw.bars(middle - wide / 2, y, wide, high, own.tolist(), look, most)

    def half(y: float, said: str, values: Tensor, look: str = "plain", most: float = most) -> None:
        for rank, middle in zip(RANKS, middles, strict=True):
            draw.label(middle, y - 6, said, "note", "middle")
            own, left = values.chunk(2)[rank].tolist(), middle - wide / 2
            draw.bars(left + rank * wide / 2, y, wide / 2, high, own, look, most)
            draw.box(left + (1 - rank) * wide / 2, y, wide / 2, high, "dashes", round_=3)

    def exchange(y: float, said: str, adds: bool) -> None:
        """From both, by way of the middle, to both."""
        for middle, side in zip(middles, (-1, 1), strict=True):
            draw.line((middle, y), (middle, y + 16), (200 + (9 * side if adds else 0), y + 16))
            draw.arrow((200, y + 36), (middle, y + 36), (middle, y + 52))
        if adds:
            draw.adder(200, y + 16)
        draw.line((200, y + (25 if adds else 16)), (200, y + 36))
        draw.label(200, y + 54, said, "note", "middle")

    def down(y: float, said: str = "") -> None:
        for middle in middles:
            draw.arrow((middle, y), (middle, y + 18))
            draw.label(middle + 8, y + 13, said, "note")

    size = weight.abs().max().item()
    draw.label(12, 20, "DDP: the whole model in each", "name")
    for rank, middle in zip(RANKS, middles, strict=True):
        draw.label(middle, 44, f"process {rank}", "name", "middle")
    row(70, "all weights", weight, most=size)
    down(105)
    row(144, "gradient of rows {}, {}", gradients)
    exchange(179, "all-reduce", adds=True)
    row(252, "the sum", total, "chosen")
    draw.label(200, 304, "÷ all tokens, and the same step in both", "note", "middle")
    draw.line((12, 318), (388, 318), look="thin")
    draw.label(12, 342, "FSDP: half of every weight in each", "name")
    half(372, "half of weights, m, v", weight, most=size)
    exchange(407, "all-gather", adds=False)
    row(480, "a block, whole", weight, most=size)
    down(515, "used, let go")
    row(554, "gradient of rows {}, {}", gradients)
    exchange(589, "reduce-scatter", adds=True)
    half(662, "half of the sum", total, "chosen")
    draw.label(200, 714, "÷ all tokens, and each steps its half", "note", "middle")
    return draw
