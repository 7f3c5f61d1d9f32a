"""Chapters 01 and 02: from a text to tokens, windows, batches and parts."""

import re
from itertools import pairwise

import torch

from minigpt_core import BPETokenizer, CharTokenizer, get_batch, load_corpus, split_text
from minigpt_core.data import step_seed
from minigpt_core.tokenizer import END_OF_TEXT

from .drawing import Drawing

MERGES = {"he": 4, "the": 4, "▁the": 2, "▁o": 1, "ther": 1}  # how often each pair occurred: the output of the chapter


def merges() -> Drawing:
    words = [list(word) for word in ("the", "▁then", "▁the", "▁other")]  # as in the chapter
    draw = Drawing(
        "merges",
        "Byte-pair encoding, merge by merge",
        "The words the, then, the and other, in six rows. In the first each letter is a piece of its own; ▁ "
        "stands for the space before a word. Each row below joins one pair, everywhere it occurs: "
        + ", ".join(f"{piece} ({count} times)" for piece, count in MERGES.items())
        + ". At the end the, ▁the, ▁the n and ▁o ther are left.",
        256,
    )
    cell, gap, left = 15.5, 7, 90
    draw.label(12, 20, "new", "note")
    draw.label(82, 20, "times", "note", "end")
    for row, (new, count) in enumerate([("", 0), *MERGES.items()]):
        y, x = 30 + 37 * row, float(left)
        if new:
            draw.label(12, y + 20, new, "name")
            draw.label(76, y + 20, str(count), "note", "end")
        for word in words:
            for i in range(len(word) - 1, 0, -1):
                if word[i - 1] + word[i] == new:
                    word[i - 1 : i + 1] = [new]
            for piece in word:
                width = cell * len(piece)
                draw.filled(x + 1, y, width - 2, 28, "chosen", 0.4 if piece == new else 0)
                for j, letter in enumerate(piece):
                    draw.label(x + cell * (j + 0.5), y + 19, letter, "note", "middle")
                x += width
            x += gap
    return draw


def utf8() -> Drawing:
    tokenizer = BPETokenizer.train(load_corpus("tales"), vocab_size=500)  # as in the chapter
    characters = "a", "é", "好", "😀"
    ids = {character: tokenizer.encode(character) for character in characters}
    draw = Drawing(
        "utf8",
        "From characters to bytes to tokens",
        f"Four rows. The letter a is one byte in UTF-8, {b'a'.hex().upper()}, and is one token, {ids['a'][0]}: a piece of the "
        "vocabulary that the tales have taught. The letter é is two bytes, the Chinese character 好 three, the emoji 😀 "
        "four. The tales have none of the three, so each of their bytes is a token: "
        + ", ".join(f"{character} is {' '.join(map(str, ids[character]))}" for character in characters[1:])
        + ".",
        250,
    )
    cell = 33
    draw.label(12, 20, "text", "name")
    draw.label(84, 20, "bytes (UTF-8)", "name")
    draw.label(256, 20, "ids of tokens", "name")
    for row, character in enumerate(characters):
        y = 34 + 44 * row
        draw.letter(12, y, character, 30)
        draw.arrow((46, y + 15), (78, y + 15))
        codes = [f"{byte:02X}" for byte in character.encode()]
        for left, said in ((84, codes), (256, list(map(str, ids[character])))):
            for i, number in enumerate(said):
                draw.filled(left + cell * i, y, cell, 30, "chosen", 0.35 if character == "a" and left == 256 else 0)
                draw.label(left + cell * (i + 0.5), y + 20, number, "note", "middle")
        draw.arrow((88 + cell * len(codes), y + 15), (250, y + 15))
    draw.label(12, 226, "Green: a piece that was learned.", "note")
    draw.label(12, 244, "The other tokens are single bytes, one token each.", "note")
    return draw


LETTERS = 12  # of each window of the batch that the picture has room for


def windows() -> Drawing:
    numbers, T = list(range(100, 110)), 4  # as in the chapter
    draw = Drawing(
        "windows",
        "A window, and its copy, shifted by one",
        "The numbers 100 to 109 in a row. The window x holds 100 to 103, its copy y, shifted by one, 101 to 104. An "
        "arrow leads from each number of x to the one of y that comes next: four questions in one window.",
        176,
    )
    size = 36
    draw.label(12, 20, "A window x, and y, shifted by one", "name")
    for i, value in enumerate(numbers):
        draw.box(20 + size * i, 32, size, 26, "thin")
        draw.label(20 + size * (i + 0.5), 50, str(value), "note", "middle")
    draw.box(20, 32, size * T, 26)
    draw.line(
        (20 + size, 64), (20 + size, 68), (20 + size * (T + 1), 68), (20 + size * (T + 1), 64), look="chosen-line"
    )
    for i in range(T):
        x = 20 + size * (i + 1)
        draw.box(x - 36, 92, size, 26)
        draw.label(x - 18, 110, str(numbers[i]), "note", "middle")
        draw.arrow((x - 18, 119), (x - 18, 142))
        draw.box(x - 36, 144, size, 26, "chosen-line")
        draw.label(x - 18, 162, str(numbers[i + 1]), "note", "middle")
    for x, y, name in ((10, 50, "x"), (26 + size * (T + 1), 73, "y"), (10, 110, "x"), (10, 162, "y")):
        draw.label(x, y, name, "name", "middle" if x == 10 else "start")
    for i, said in enumerate(("after 100 comes 101,", "after 100, 101 comes 102,", "and so on: T questions")):
        draw.label(182, 112 + 22 * i, said, "note")
    return draw


def batch() -> Drawing:
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    ids = torch.tensor(tokenizer.encode(split_text(text, parts=3)[0]))
    N, B, T = len(ids), 16, 64  # the chapter's batch
    rows = get_batch(ids, T, B, seed=0, step=1)[0]
    starts = torch.randint(N - T, (B,), generator=torch.Generator().manual_seed(step_seed(0, 1))).tolist()
    shown = 4
    draw = Drawing(
        "batch",
        "A batch: stripes of a long ribbon",
        f"Above, the training text as a ribbon of {N:,} tokens with {B} marks, the places that were drawn. The first four "
        f"are green and numbered 0 to 3. From each a window of {T} letters is cut, and the windows lie one below the other: "
        f"a batch x of {B} rows, of which four are drawn, with their first {LETTERS} letters each. The batch y is the same, "
        "shifted by one.",
        270,
    )
    left, long, cell = 12, 376, 20
    draw.label(12, 20, "A batch: B windows from random places", "name")
    draw.box(left, 34, long, 18, "pale")
    draw.box(left, 34, long, 18, "thin")
    for i, start in enumerate(starts):
        x = left + long * start / N
        draw.box(x - 1, 34, 2, 18, "chosen" if i < shown else "plain")
    beside = -14.0  # where the last number stands: neighbours may lie close
    for start, i in sorted((start, i) for i, start in enumerate(starts[:shown])):
        beside = max(beside + 14, left + long * start / N)
        draw.label(beside, 68, str(i), "name", "middle")
    draw.label(left, 84, "start", "small", "start")
    draw.label(left + long, 84, "end", "small", "end")
    draw.label(200, 102, f"green: the {shown} rows below; grey: the other {B - shown}", "note", "middle")
    draw.label(240, 132, "x  (B, T)", "name", "middle")
    for i in range(shown):
        y = 140 + 26 * i
        draw.label(16, y + 15, str(i), "name", "middle")
        draw.label(112, y + 15, f"from {starts[i]:,}", "small", "end")
        for j, token in enumerate(rows[i, :LETTERS].tolist()):
            draw.box(120 + cell * j, y, cell, 20, "thin")
            draw.label(120 + cell * (j + 0.5), y + 15, tokenizer.tokens[token], "note", "middle")
        draw.label(126 + cell * LETTERS, y + 15, "…", "note")
    draw.label(240, 260, f"… {B} rows of {T}: {B * T:,} questions", "note", "middle")
    return draw


FIRST = 0x10000  # a character for each place of a text: the code points from here on


def held_out(text: str, how: str) -> list[tuple[int, int]]:
    """Where the pieces that `split_text` holds out begin and end, by a text in which each character is its own place; end
    marks and blanks stay, and pieces with nothing else between them are one.

    >>> held_out("abcdefghij" * 3, "tail")
    [(27, 30)]
    """
    kept = rf"({re.escape(END_OF_TEXT)}|\s)|."
    numbered = re.sub(kept, lambda found: found[1] or chr(FIRST + found.start()), text)
    pieces: list[tuple[int, int]] = []
    for place in (ord(c) - FIRST for c in split_text(numbered, how)[1] if ord(c) >= FIRST):
        joined = pieces and not text[pieces[-1][1] : place].replace(END_OF_TEXT, "").strip()
        pieces[-1 if joined else len(pieces) :] = [(pieces[-1][0] if joined else place, place + 1)]
    return [(a, len(text) - len(text[b:].lstrip())) for a, b in pieces]  # with the blanks after them


def one_by_one(text: str, pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same pieces, parted where a document ends and another begins.

    >>> one_by_one(f"ab{END_OF_TEXT}cd", [(0, 17)])
    [(0, 15), (15, 17)]
    """
    ends = [found.end() for found in re.finditer(rf"{re.escape(END_OF_TEXT)}\s*", text)]
    edges = [[a, *(end for end in ends if a < end < b), b] for a, b in pieces]
    return [pair for edge in edges for pair in pairwise(edge)]


def split() -> Drawing:
    sample, tales = load_corpus("sample"), load_corpus("tales")
    cuts = {how: held_out(tales, how) for how in ("tail", "documents", "blocks")}
    cuts["documents"] = one_by_one(tales, cuts["documents"])
    whole = f"{split_text(tales, 'documents')[1].count(END_OF_TEXT)} of {tales.count(END_OF_TEXT)}"
    draw = Drawing(
        "split",
        "Where the held-out part lies in a text",
        "Four ribbons, training blue, validation vermilion and lower. The first is the small sample with its last tenth "
        "held out: nearly all of that is the Chinese at its end. The other three are the tales, each a ribbon in its true "
        f"proportions: the last tenth held out, in one piece; whole tales, {whole}, spread over the "
        f"text; and {len(cuts['blocks'])} short blocks, cut out of the middle of tales.",
        318,
    )
    left, long = 12.0, 376.0

    def ribbon(y: float, text: str, pieces: list[tuple[int, int]]) -> None:
        unit = long / len(text)
        edges = [0, *(edge for piece in pieces for edge in piece), len(text)]
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            if a < b:
                draw.box(left + unit * a, y, unit * (b - a), 20, "share")
        for a, b in pieces:
            gap = 1.5 if any(a == end for _, end in pieces) else 0  # neighbours
            draw.box(left + unit * a + gap, y + 6, unit * (b - a) - gap, 20, "validation")

    draw.label(12, 20, "The article’s split, on our sample", "name")
    (tail,) = held_out(sample, "tail")
    chinese = next(i for i, c in enumerate(sample) if ord(c) > 0x2E80)
    unit = long / len(sample)
    ribbon(32, sample, [tail])
    draw.line((left, 70), (left, 66), (left + unit * chinese - 2, 66), (left + unit * chinese - 2, 70), look="thin")
    draw.line((left + unit * chinese, 70), (left + unit * chinese, 66), (388, 66), (388, 70), look="thin")
    draw.label(left + unit * chinese / 2, 84, "English", "note", "middle")
    draw.label(388, 84, "Chinese", "note", "end")
    draw.label(12, 116, f"The tales, {len(tales):,} characters", "name")
    names = {
        "tail": "the last tenth",
        "documents": f"whole tales, as this book does: {whole}",
        "blocks": f"{len(cuts['blocks'])} blocks",
    }
    for i, (how, pieces) in enumerate(cuts.items()):
        y = 132 + 58 * i
        draw.label(12, y + 10, names[how], "note")
        ribbon(y + 16, tales, pieces)
    draw.box(12, 303, 12, 10, "share")
    draw.label(30, 313, "training", "note")
    draw.box(112, 303, 12, 10, "validation")
    draw.label(130, 313, "validation, drawn lower", "note")
    return draw
