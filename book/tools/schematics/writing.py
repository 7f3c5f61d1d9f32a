"""Chapters 00, 10 and 11: how a text is written, what the knobs cut off, and why greedy writing goes in circles."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import cos, pi, sin

import torch
from torch import Tensor

from minigpt_core import load_corpus, split_text
from minigpt_core.sampling import Mulberry32, keep_min_p, keep_top_k, keep_top_p
from minigpt_core.sampling import draw as draw_token

from .drawing import WORD, Drawing, shipped


@torch.no_grad()
def writing() -> Drawing:
    model, tokenizer = shipped()
    text, darts, frames = "The ", Mulberry32(38), 4
    draw = Drawing("writing", "Writing: read, draw, append, repeat", "", 20 + 134 * frames)
    told = []
    draw.label(12, 20, "text so far", "note")
    draw.label(150, 20, "what may come next", "note")
    draw.label(392, 20, "drawn", "note", "end")
    for frame in range(frames):
        top = 30 + 134 * frame
        logits = model(torch.tensor([tokenizer.encode(text)]))[0][0, -1]
        p, drawn = logits.softmax(0), draw_token(logits, darts.uniform())
        likeliest = p.topk(4).indices.tolist()
        letter = tokenizer.tokens[drawn]
        draw.named_box(12, top + 20, 92, 32, text.replace(" ", "▁"), "note")
        draw.arrow((106, top + 36), (132, top + 36))
        shown = list(dict.fromkeys([*likeliest, drawn]))
        for i, token in enumerate(shown):
            y = top + 4 + 20 * i
            draw.label(152, y + 12, tokenizer.tokens[token], "name" if token == drawn else "note", "middle")
            draw.box(164, y, 150 * p[token].item(), 16, "chosen" if token == drawn else "plain")
            draw.label(170 + 150 * p[token].item(), y + 12.5, f"{p[token]:.2f}", "small")
        draw.label(164, top + 4 + 20 * len(shown) + 12, f"… and {len(p) - len(shown)} more", "small")
        told.append(f"after {text.strip()} it draws {letter}")
        level = top + 12 + 20 * shown.index(drawn)
        if frame < frames - 1:
            draw.arrow((378, level + 12), (378, top + 130), (58, top + 130), (58, top + 152))
        draw.letter(366, level - 12, letter)
        draw.arrow((200 + 150 * p[drawn].item(), level), (364, level))
        text += tokenizer.decode([drawn])
    draw.description = (
        "Four frames, one below the other. In each the model of the tales reads the text so far and gives each "
        "letter that may come a probability, drawn as a bar; one letter is drawn by chance, in green, and "
        f"appended to the text, which the next frame reads: {'; '.join(told)}."
    )
    return draw


@torch.no_grad()
def after_where() -> tuple[Tensor, list[str]]:
    """The logits (1, V) that the model of the tales gives for the letter after the chapter's beginning, and the letters."""
    model, tokenizer = shipped()
    return model(torch.tensor([tokenizer.encode('"Where is the ')]))[0][:, -1], tokenizer.tokens


def line_of(draw: Drawing, y: float, shares: Sequence[float], said: Sequence[str], green: bool = False) -> None:
    """The line from 0 to 1, cut into pieces as long as the shares, each with its name where there is room."""
    left, long = 16.0, 368.0
    edges = [left + long * edge for edge in accumulate(shares, initial=0.0)]
    for i, (a, b) in enumerate(pairwise(edges)):
        if green:
            draw.filled(a, y, b - a, 28, "chosen", 0.35)
        if b - a > 1.5:
            draw.box(a, y, b - a, 28, "thin")
        if b - a > 13:
            draw.label((a + b) / 2, y + 19, said[i], "note", "middle")
    draw.box(left, y, long, 28)
    for x in (0, 0.5, 1):
        draw.label(left + long * x, y + 44, f"{x:g}", "small", "middle")


def dart() -> Drawing:
    logits, tokens = after_where()
    p, order = logits[0].softmax(0).sort(descending=True)
    letters, u = [tokens[i] for i in order.tolist()], 0.72
    hit = letters[next(i for i, edge in enumerate(accumulate(p.tolist())) if u < edge)]
    draw = Drawing(
        "dart",
        "A dart on the line from 0 to 1",
        "Above, the line from 0 to 1 in three pieces, as long as the chances 0.5, 0.25 and 0.25. Four darts, "
        "0.1, 0.49, 0.6 and 0.99, hit the first, the first, the second and the third. Below, the same line for "
        "the letters that the model of the tales expects after “Where is the”, the likeliest first: "
        f"{', '.join(letters[:5])} and so on, ever shorter. A dart at {u:g} hits {hit}.",
        252,
    )
    draw.label(12, 20, "1. Four darts at chances 0.5, 0.25, 0.25", "name")
    line_of(draw, 70, (0.5, 0.25, 0.25), ("first", "second", "third"))
    for dart in (0.1, 0.49, 0.6, 0.99):
        x = 16 + 368 * dart
        draw.arrow((x, 46), (x, 68))
        draw.label(min(x, 380), 40, f"{dart:g}", "note", "middle")
    draw.label(16 + 368 * 0.75, 114, "0.75", "small", "middle")
    draw.label(12, 150, "2. After “Where is the ”, likeliest first", "name")
    draw.arrow((16 + 368 * u, 176), (16 + 368 * u, 198))
    draw.label(16 + 368 * u, 170, f"{u:g} hits {hit}", "note", "middle")
    line_of(draw, 200, p.tolist(), letters)
    named = sum(368 * share > 13 for share in p.tolist())
    begin = 16 + 368 * p[:named].sum().item()
    draw.line((begin, 196), (begin, 192), (384, 192), (384, 196), look="thin")
    draw.label(392, 186, f"{len(letters) - named} more", "small", "end")
    return draw


CUTS = {"top_k": 5, "top_p": 0.5, "min_p": 0.5}  # as in the chapter


def cuts() -> Drawing:
    logits, tokens = after_where()
    p, order = logits[0].softmax(0).sort(descending=True)
    letters, shown = [tokens[i] for i in order.tolist()], 21
    rules = zip(CUTS.items(), (keep_top_k, keep_top_p, keep_min_p), strict=True)
    kept = {
        f"{name.replace('_', '-')} = {value:g}": int(rule(logits, value).isfinite().sum())
        for (name, value), rule in rules
    }
    draw = Drawing(
        "cuts",
        "Three rules for where to cut the tail",
        f"The {shown} likeliest letters after “Where is the”, from {letters[0]} down, as bars that fall from {p[0]:.2f}. A dashed "
        f"line at half of the first bar is min-p's. Above the bars the sum so far climbs towards 1; a dashed line at 0.5 "
        "is top-p's. Green brackets show what each rule keeps: "
        + "; ".join(f"{name} keeps {n}, together {p[:n].sum():.2f}" for name, n in kept.items())
        + ". Last, what top-k has kept is stretched to the whole line from 0 to 1, for the dart.",
        486,
    )
    left, pitch, tall = 46, 16.0, 110
    draw.label(12, 20, "After “Where is the ”", "name")
    steps = [
        (left + pitch * (i + side), 150 - tall * edge)
        for i, edge in enumerate(p.cumsum(0)[:shown].tolist())
        for side in (0, 1)
    ]
    draw.line((left, 40), (left, 150), (left + pitch * shown, 150), look="thin")
    for value in (0, 0.5, 1):
        draw.label(left - 6, 154 - tall * value, f"{value:g}", "small", "end")
    draw.line((left, 150 - tall * CUTS["top_p"]), (left + pitch * shown, 150 - tall * CUTS["top_p"]), look="dashes")
    draw.line((left, 150), *steps, look="share-line")
    draw.label(388, 142, "sum so far", "note", "end")
    draw.label(388, 111, f"top-p = {CUTS['top_p']:g}", "note", "end")
    tall, floor = tall / 0.12, 290
    draw.line((left, floor - 0.12 * tall), (left, floor), (left + pitch * shown, floor), look="thin")
    for value in (0, 0.05, 0.1):
        draw.label(left - 6, floor + 4 - tall * value, f"{value:g}", "small", "end")
    for i, share in enumerate(p[:shown].tolist()):
        draw.box(left + pitch * i + 2, floor - tall * share, pitch - 4, tall * share, "share")
        draw.label(left + pitch * (i + 0.5), floor + 16, letters[i], "note", "middle")
    limit = floor - tall * CUTS["min_p"] * p[0].item()
    draw.line((left, limit), (left + pitch * shown, limit), look="dashes")
    draw.label(388, limit - 6, f"min-p = {CUTS['min_p']:g}: half of the first", "note", "end")
    for i, (name, n) in enumerate(kept.items()):
        y = 322 + 26 * i
        draw.line(
            (left + 2, y - 4),
            (left + 2, y + 2),
            (left + pitch * n - 2, y + 2),
            (left + pitch * n - 2, y - 4),
            look="chosen-line",
        )
        draw.label(left + pitch * n + 10, y + 5, f"{name}: {n} kept, {p[:n].sum():.2f}", "note")
    five = CUTS["top_k"]
    draw.label(12, 420, f"The {five} of top-k, stretched to the whole line", "name")
    line_of(draw, 432, (p[:five] / p[:five].sum()).tolist(), letters, green=True)
    return draw


def cache() -> Drawing:
    draw = Drawing(
        "cache",
        "The key-value cache grows by one column a step",
        f"Four steps of writing, one below the other; the letters {', '.join(WORD)} are read one at a time. In "
        "each step only the new letter gets a query, a key and a value, drawn in a strong colour and a frame. "
        "The keys and values of the earlier letters are kept, drawn in a weak one. The query meets all keys so far. With "
        "the cache 4 keys and 4 values are computed, without it 1 + 2 + 3 + 4 of each.",
        424,
    )
    size = 30
    draw.label(12, 20, "Read one letter, add one key, one value", "name")
    for step, letter in enumerate(WORD):
        top = 40 + 92 * step
        draw.letter(12, top + 18, letter)
        draw.arrow((40, top + 30), (60, top + 30))
        draw.filled(64, top + 16, size, size, "query", 0.45)
        draw.box(64, top + 16, size, size)
        draw.label(64 + size / 2, top + 35, "q", "note", "middle")
        draw.arrow((98, top + 30), (138, top + 30))
        for row, name in enumerate(("key", "value")):
            draw.label(158, top + 20 + 32 * row, name[0], "note", "end")
            for j in range(len(WORD)):
                x, y = 166 + (size + 2) * j, top + 32 * row
                if j <= step:
                    draw.filled(x, y, size, size, name, 0.45 if j == step else 0.15)
                    draw.label(x + size / 2, y + 20, WORD[j], "note", "middle")
                draw.box(x, y, size, size, "box" if j == step else "thin")
        draw.label(306, top + 20, f"{step} kept,", "note")
        draw.label(306, top + 38, "1 computed", "note")
    draw.label(12, 414, "Without a cache: 1 + 2 + 3 + 4 of each, not 4.", "note")
    return draw


def most_frequent_next() -> dict[str, str]:
    """Which letter follows each letter most often in the tales that are learned from: the chapter's table for n = 2."""
    text, _, _ = split_text(load_corpus("tales"), parts=3)
    table: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for letter, after in pairwise(text):
        table[letter][after] += 1
    return {letter: max(sorted(counts), key=lambda after: counts[after]) for letter, counts in table.items()}


def loop() -> Drawing:
    follows = {a: b for a, b in most_frequent_next().items() if a == " " or "a" <= a <= "z"}
    circle = [" "]
    while (letter := follows[circle[-1]]) != " ":
        circle.append(letter)
    rest = [letter for letter in follows if letter not in circle]
    alone = [letter for letter in rest if follows[letter] == letter]
    named = ["the space" if letter == " " else letter for letter in circle]
    draw = Drawing(
        "loop",
        "Each letter leads to one letter: a circle",
        f"The letters a to z and the space, each with one arrow to the letter that follows it most often in the tales. "
        f"In the middle a circle in green: from {' to '.join(named)} and back to the space. From "
        f"{len(rest) - len(alone)} letters the arrows lead into it, straight or by way of another. "
        f"Only {alone[0]} leads to itself. A writer that always takes the arrow ends in a circle, wherever it begins.",
        450,
    )
    leads = {letter: [a for a in rest if follows[a] == letter != a] for letter in follows}  # what leads to each

    def leaves(letter: str) -> int:
        return sum(map(leaves, leads[letter])) or 1

    places: dict[str, tuple[float, float]] = {}

    def put(letter: str, begin: float, ring: int) -> None:
        """A letter in the middle of its part of a ring, as wide as it has leaves, and outside of it what leads to it."""
        turn = 2 * pi * (begin + leaves(letter) / 2) / sum(map(leaves, circle))
        out = 70 + 44 * ring
        places[letter] = 200 + out * cos(turn), 228 + out * sin(turn)
        for a in leads[letter]:
            put(a, begin, ring + 1)
            begin += leaves(a)

    begin = 0.0
    for letter in circle:
        put(letter, begin, 0)
        begin += leaves(letter)
    draw.label(12, 20, "Which letter comes most often next?", "name")
    for letter, (x, y) in places.items():
        a, b = places[follows[letter]]
        long = ((a - x) ** 2 + (b - y) ** 2) ** 0.5
        dx, dy = 15 * (a - x) / long, 15 * (b - y) / long
        draw.arrow((x + dx, y + dy), (a - dx, b - dy))
        draw.add("circle", "chosen", cx=x, cy=y, r=12, opacity="0.35" if letter in circle else "0")
        draw.add("circle", "box", cx=x, cy=y, r=12)
        draw.label(x, y + 5, letter.replace(" ", "▁"), "name", "middle")
    draw.add("circle", "box", cx=350, cy=60, r=12)
    draw.label(350, 65, alone[0], "name", "middle")
    draw.arrow((362, 60), (382, 60), (382, 34), (350, 34), (350, 46))
    draw.label(12, 42, f"After any space: {''.join(circle[1:])} {''.join(circle[1:])} {''.join(circle[1:])} …", "note")
    return draw


def induction() -> Drawing:
    letters, noted = "melome", 2
    draw = Drawing(
        "induction",
        "Two looks that copy what came last time",
        "The letters m, e, l, o, m, e in a row. In the first layer each letter looks at the one before it and "
        "notes it: the l now carries a note, after e. In the second layer the last e looks for the place that "
        "carries the note after e, finds the l, and takes over its letter: l is what came after e last time, and "
        "is the guess for what comes now.",
        288,
    )
    size, pitch, left = 34, 58, 34
    middles = [left + pitch * i + size / 2 for i in range(len(letters))]
    draw.label(12, 20, "1. Each letter notes the one before it", "name")
    for i, (x, letter) in enumerate(zip(middles, letters, strict=True)):
        draw.letter(x - size / 2, 34, letter, size)
        draw.arrow((x, 70), (x, 122))
        if i == noted:
            draw.filled(x - size / 2, 124, size, size, "chosen", 0.4)
        draw.letter(x - size / 2, 124, letter, size)
        if i:
            draw.arrow((middles[i - 1] + 6, 70), (x - 8, 122))
            draw.label(x, 174, f"after {letters[i - 1]}", "name" if i == noted else "small", "middle")
    draw.arrow((middles[-1], 182), (middles[-1], 214), (middles[noted], 214), (middles[noted], 182))
    draw.label((middles[-1] + middles[noted]) / 2, 207, "query fits key", "note", "middle")
    draw.label(12, 244, "2. The last e looks for “after e”,", "name")
    draw.label(12, 268, "finds the l, takes over its letter:", "name")
    draw.filled(320, 242, size, size, "chosen", 0.4)
    draw.letter(320, 242, letters[noted], size)
    return draw
