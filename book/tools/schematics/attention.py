"""Chapter 06: attention, from the average of the past to several heads."""

import torch
from torch import Tensor

from minigpt_core.attention import attention_weights
from minigpt_core.study.lens import inner_values

from .drawing import WORD, Drawing, shipped, signed

HEAD = 3  # of the first layer, which reads WORD


@torch.no_grad()
def attention_parts() -> dict[str, Tensor]:
    """What one head of the model computes for WORD: h (T, C), q, k, v and out (T, D), scores and shares (T, T)."""
    model, tokenizer = shipped()
    found, D = (
        inner_values(model, torch.tensor(tokenizer.encode(WORD)), layer=0),
        model.config.n_embd // model.config.n_head,
    )
    columns = slice(D * HEAD, D * (HEAD + 1))
    parts = {"q": "query", "k": "key", "v": "value", "out": "joined"}
    return {
        "h": found["norm1"],
        **{letter: found[name][:, columns] for letter, name in parts.items()},
        "scores": found["products"][HEAD] / D**0.5,
        "shares": found["weights"][HEAD],
    }


def fraction(share: float) -> str:
    """A share of an average: 1, 1/2, 1/3."""
    return "1" if share == 1 else f"1/{round(1 / share)}"


def triangle() -> Drawing:
    x = torch.tensor([[1.0, 0.0], [3.0, 2.0], [2.0, 4.0], [6.0, 2.0]])  # as in the chapter
    T = len(x)
    shares = torch.ones(T, T).tril()
    shares /= shares.sum(1, keepdim=True)
    draw = Drawing(
        "triangle",
        "The triangle of shares",
        "A table of four rows times four vectors of two numbers. Row 0 gives all to position 0; row 1 a half "
        "each to positions 0 and 1; row 2 a third each to three; row 3 a quarter each to four. Above the "
        "diagonal nothing: the future is not there. The product has the averages 1 and 0, 2 and 1, 2 and 2, 3 "
        "and 2.",
        242,
    )
    size, top = 38, 60
    draw.label(112, 20, "shares", "name", "middle")
    draw.label(262, 20, "x", "name", "middle")
    draw.label(350, 20, "averages", "name", "middle")
    draw.label(112, 37, "(T, T)", "note", "middle")
    draw.label(262, 37, "(T, C)", "note", "middle")
    draw.label(350, 37, "(T, C)", "note", "middle")
    draw.squares(36, top, size, [[s or None for s in row] for row in shares.tolist()], fraction)
    for left, rows in ((228, x), (316, shares @ x)):
        for i, row in enumerate(rows.tolist()):
            for j, value in enumerate(row):
                draw.box(left + 34 * j, top + size * i, 34, size, "thin")
                draw.label(left + 34 * (j + 0.5), top + size * (i + 0.5) + 5, f"{value:g}", "note", "middle")
    for i in range(T):
        draw.label(22, top + size * (i + 0.5) + 5, str(i), "note", "middle")
        draw.label(36 + size * (i + 0.5), top - 6, str(i), "small", "middle")
    draw.label(208, top + 2 * size + 6, "×", "name", "middle")
    draw.label(306, top + 2 * size + 6, "=", "name", "middle")
    draw.label(36, 232, "Empty above the diagonal: the future.", "note")
    return draw


def attention() -> Drawing:
    parts = attention_parts()
    shares = parts["shares"].tolist()
    T, last = len(WORD), WORD[-1]
    given = ", ".join(f"{share:.2f} of {letter}" for letter, share in zip(WORD, shares[-1], strict=True))
    draw = Drawing(
        "attention",
        "Attention, step by step",
        f"One head of the model of the tales reads {', '.join(WORD)}. Each letter's vector h, 128 numbers as "
        "bars, gives a query, a key and a value of 32 numbers each. A table of scores: row for the letter that "
        "asks, column for the letter that is asked; above the diagonal the mask forbids the letters to come. "
        f"Softmax makes shares of each row, which add up to 1. The last letter, {last}, takes {given}: each value "
        "is shrunk by its share, and their sum is what the head hands on.",
        680,
    )
    draw.label(12, 20, "1. Each h gives a query, a key and a value", "name")
    columns = {"q": (152, "query"), "k": (235, "key"), "v": (318, "value")}
    draw.label(84, 42, "h", "note", "middle")
    for name, (x, look) in columns.items():
        draw.box(x, 47, 72, 4, look)
        draw.label(x + 36, 42, f"{name} = h W_{name}", "note", "middle")
    for i, letter in enumerate(WORD):
        y = 57 + 36 * i
        draw.letter(12, y + 3, letter)
        draw.bars(44, y, 80, 30, parts["h"][i].tolist(), "plain", parts["h"].abs().max().item())
        draw.arrow((128, y + 15), (147, y + 15))
        for name, (x, look) in columns.items():
            draw.bars(x, y, 72, 30, parts[name][i].tolist(), look, parts[name].abs().max().item())
    draw.label(12, 230, "2. Scores  q · k / √D", "name")
    draw.label(224, 230, "3. Shares: softmax", "name")
    size = 34
    scores = parts["scores"].tolist()
    for left in (44, 256):
        for i, letter in enumerate(WORD):
            draw.label(left + size * (i + 0.5), 252, letter, "name", "middle")
            draw.box(left + size * i + 3, 257, size - 6, 4, "key")
            draw.label(left - 20, 265 + size * (i + 0.5) + 5, letter, "name", "middle")
            draw.box(left - 8, 265 + size * i + 3, 4, size - 6, "query")
    for i in range(T):
        for j in range(T):
            x, y = 44 + size * j, 265 + size * i
            if j > i:
                draw.box(x, y, size, size, "pale")
            draw.box(x, y, size, size, "thin")
            said = "−∞" if j > i else signed(scores[i][j])
            draw.label(x + size / 2, y + size / 2 + 4.5, said, "small", "middle")
    draw.squares(
        256,
        265,
        size,
        [[s if j <= i else None for j, s in enumerate(row)] for i, row in enumerate(shares)],
        "{:.2f}".format,
    )
    draw.arrow((188, 333), (218, 333))
    for left, lines in ((44, ("−∞: the mask, for", "letters to come")), (256, ("each row", "adds up to 1"))):
        for i, said in enumerate(lines):
            draw.label(left, 418 + 16 * i, said, "note")
    draw.label(12, 456, f"4. {last} mixes the values by its shares", "name")
    most = parts["v"].abs().max().item()
    for i, letter in enumerate(WORD):
        y = 468 + 36 * i
        draw.letter(12, y + 3, letter)
        draw.bars(52, y, 110, 30, parts["v"][i].tolist(), "value", most)
        draw.label(200, y + 20, f"× {shares[-1][i]:.2f}", "note", "middle")
        draw.arrow((228, y + 15), (252, y + 15))
        draw.bars(260, y, 110, 30, (parts["v"][i] * shares[-1][i]).tolist(), "value", most / 2)
    draw.line((260, 614), (370, 614))
    draw.label(384, 598, "+", "name", "middle")
    draw.label(248, 641, f"their sum, handed on for {last}", "note", "end")
    draw.bars(260, 621, 110, 30, parts["out"][-1].tolist(), "value", most / 2)
    draw.label(392, 668, "The right column is drawn twice as tall.", "small", "end")
    return draw


SENTENCE = '"Where is the Spoon?" asked Wren.'  # of the chapter
SEEN = 9  # letters of it


@torch.no_grad()
def moved() -> Tensor:
    """How far the logits of each position move (columns) when the letter at a place is another one (rows): (SEEN, SEEN)."""
    model, tokenizer = shipped()
    ids = torch.tensor([tokenizer.encode(SENTENCE[:SEEN])])
    changed = ids.repeat(SEEN, 1)
    changed.diagonal().copy_((ids[0] + 1) % tokenizer.vocab_size)  # as in the chapter
    far = (model(changed)[0] - model(ids)[0]).abs().amax(2)
    return far * (far > 1e-9)  # less than that is rounding, which is another on each machine


def mask() -> Drawing:
    far = moved()
    draw = Drawing(
        "mask",
        "The mask: a change moves nothing before it",
        f"A table for {', '.join(SENTENCE[:SEEN]).replace(' ,', ' the space,')}, read by the model of the tales. In "
        "column i the letter at place i was exchanged for another. Row t is the prediction at place t; the farther it moved, "
        "the stronger the blue. On the diagonal and below it all have moved. Above it, at places before the changed letter, "
        "the squares are empty: nothing has moved. It is the triangle of the mask.",
        392,
    )
    size, left, top = 28, 116, 64

    def moves(x: float, y: float, how_far: float) -> None:
        strength = 0.2 + 0.6 * how_far / far.max().item() if how_far else 0
        draw.filled(x, y, size, size, "share", strength)

    draw.label(12, 20, "Which predictions move?", "name")
    draw.label(left + size * SEEN / 2, 40, "changed letter", "note", "middle")
    draw.label(left - 6, top - 6, "prediction at", "note", "end")
    for t, letter in enumerate(SENTENCE[:SEEN].replace(" ", "▁")):
        middle = size * (t + 0.5)
        draw.label(left + middle, top - 6, letter, "name", "middle")
        draw.label(left - 14, top + middle + 5, letter, "name", "middle")
        for i in range(SEEN):
            moves(left + size * i, top + size * t, far[i, t].item())
    scale, y = far.max().item() * torch.linspace(0, 1, 5), top + size * SEEN + 14
    for i, how_far in enumerate(scale.tolist()):
        moves(left + size * i, y, how_far)
        draw.label(left + size * (i + 0.5), y + size + 16, f"{how_far:.1f}" if i else "0", "small", "middle")
    draw.label(left + size * 5 + 10, y + 12, "how far the", "note")
    draw.label(left + size * 5 + 10, y + 28, "logits moved", "note")
    return draw


@torch.no_grad()
def places() -> Drawing:
    model, tokenizer = shipped()
    letter, at, shown = "h", (5, 6), 32  # as in the chapter; of 128 numbers, as many as there is room for
    row = model.token_embedding.weight[tokenizer.encode(letter)[0], :shown]
    spots = [model.position_embedding.weight[t, :shown] for t in at]
    numbers = 1, 2, 6
    mean = sum(numbers) / len(numbers)
    draw = Drawing(
        "places",
        "A mean forgets the order; a place vector keeps it",
        f"Above, the numbers 1, 2, 6 and the numbers 6, 1, 2: both rows have the mean {mean:g}. Below, vectors of the model of "
        f"the tales as bars: the row of the letter {letter}, the same twice, plus the row of place {at[0]}, or of place "
        f"{at[1]}. The two sums differ, so the same letter has another vector at another place.",
        300,
    )
    draw.label(12, 20, "1. A mean forgets the order", "name")
    for i, order in enumerate(((1, 2, 6), (6, 1, 2))):
        left = 12 + 200 * i
        for j, value in enumerate(order):
            draw.letter(left + 30 * j, 34, str(value))
        draw.arrow((left + 90, 46), (left + 118, 46))
        draw.label(left + 124, 51, f"mean {mean:g}", "note")
    draw.label(12, 100, "2. Letter + place = what goes in", "name")
    most = max((row + spot).abs().max().item() for spot in spots)
    for i, (t, spot) in enumerate(zip(at, spots, strict=True)):
        y = 112 + 84 * i
        for x, said, vector in ((12, f"row of {letter}", row), (148, f"row of place {t}", spot)):
            draw.label(x + 60, y + 12, said, "note", "middle")
            draw.bars(x, y + 20, 120, 40, vector.tolist(), "plain", most)
        draw.label(140, y + 46, "+", "name", "middle")
        draw.label(278, y + 46, "=", "name", "middle")
        draw.label(338, y + 12, f"{letter} at place {t}", "note", "middle")
        draw.bars(288, y + 20, 100, 40, (row + spot).tolist(), "chosen", most)
    draw.label(12, 288, f"Drawn: the first {shown} of {model.config.n_embd} numbers.", "note")
    return draw


def heads() -> Drawing:
    torch.manual_seed(0)  # the numbers of the chapter's cell
    T, C, H = 6, 8, 2
    D = C // H
    h, W = torch.randn(T, C).double(), torch.randn(3, C, C).double()
    q, k, v = (part.view(T, H, D).transpose(0, 1)[None] for part in h @ W)  # (1, H, T, D)
    out = (attention_weights(q, k) @ v)[0]  # (H, T, D)
    draw = Drawing(
        "heads",
        "Every head reads all columns",
        "At the top h: six positions, eight numbers each. From its whole width an arrow leads to head 0, another "
        "to head 1. Each head has three matrices of its own, for query, key and value, with eight rows and four "
        "columns, and gives six rows of four numbers. Below, both results lie side by side: six rows of eight "
        "numbers again.",
        532,
    )
    width, row = 20, 20
    left = 200 - C * width / 2
    draw.label(200, 18, "h  (T, C)", "name", "middle")
    for t in range(T):
        draw.bars(left, 28 + row * t, C * width, row - 3, h[t].tolist(), "plain", h.abs().max().item())
    draw.label(292, 82, "all C columns", "note")
    draw.label(292, 99, "to each head", "note")
    bottom = 28 + row * T
    draw.line((left, bottom + 3), (left, bottom + 9), (left + C * width, bottom + 9), (left + C * width, bottom + 3))
    top = bottom + 238
    for i, x in enumerate((100, 300)):
        draw.arrow((200, bottom + 9), (200, bottom + 20), (x, bottom + 20), (x, bottom + 42))
        draw.box(x - 90, bottom + 44, 180, 146, round_=6)
        draw.label(x, bottom + 63, f"head {i}", "name", "middle")
        for j, name in enumerate(("query", "key", "value")):
            a, b = x - 77 + 57 * j, bottom + 72
            draw.box(a, b, 10 * D, 8 * C, name)
            for line in range(1, D):
                draw.line((a + 10 * line, b), (a + 10 * line, b + 8 * C), look="thin")
            for line in range(1, C):
                draw.line((a, b + 8 * line), (a + 10 * D, b + 8 * line), look="thin")
            draw.label(a + 20, b + 84, f"W_{name[0]}", "note", "middle")
        draw.label(x, bottom + 180, "each W: (C, D)", "note", "middle")
        half = 118 + 84 * i
        draw.arrow((x, bottom + 190), (x, bottom + 208), (half + 40, bottom + 208), (half + 40, top - 2))
        for t in range(T):
            draw.bars(half, top + row * t, D * width, row - 3, out[i, t].tolist(), "value", out.abs().max().item())
    draw.label(292, top + 54, "side by side:", "note")
    draw.label(292, top + 71, "(T, C) again", "note")
    draw.label(158, top + row * T + 15, "D columns", "small", "middle")
    draw.label(242, top + row * T + 15, "D columns", "small", "middle")
    return draw
