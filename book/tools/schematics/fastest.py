"""Chapter 14: what makes a small GPT learn faster."""

import cmath

import torch
from torch import Tensor

from minigpt_core import GPT, CharTokenizer, GPTConfig, get_batch, load_corpus, split_text
from minigpt_core.beyond.fast import FastConfig, FastGPT

from .drawing import Drawing


@torch.no_grad()
def previous() -> Drawing:
    letters, shown = "with", 32  # of 128 numbers, as many as there is room for
    tokenizer = CharTokenizer.train(load_corpus("tales"))
    torch.manual_seed(0)
    model = FastGPT(FastConfig(tokenizer.vocab_size, end_id=tokenizer.end_id))
    tables = [model.token_embedding, *model.previous_embeddings]
    ids = tokenizer.encode(letters)[::-1]  # the last letter first
    rows = [table.weight[i, :shown] for table, i in zip(tables, ids, strict=True)]
    total = torch.stack(rows).sum(0)
    names = "the letter itself", "one before", "two before", "three before"
    draw = Drawing(
        "previous",
        "Previous tokens at the door: four rows, one sum",
        f"The letters {', '.join(letters)}. For the last of them four vectors as bars, each a row of a table of its own: that of "
        f"the {letters[-1]} itself from the first table, of the {letters[-2]} before it from the second, of the "
        f"{letters[-3]} from the third and of the {letters[-4]} from the fourth. Below a line their sum, which is what the "
        "block reads.",
        292,
    )
    most = max(row.abs().max().item() for row in (*rows, total))
    for i, letter in enumerate(letters):
        draw.letter(12 + 30 * i, 12, letter)
    draw.label(140, 30, f"What goes in at the {letters[-1]}:", "name")
    for back, (row, said) in enumerate(zip(rows, names, strict=True)):
        y = 50 + 46 * back
        letter = letters[-1 - back]
        draw.label(12, y + 16, f"E_{back}[{letter}]", "name")
        draw.label(12, y + 34, said, "small")
        draw.bars(140, y, 220, 38, row.tolist(), "plain", most)
        if back:
            draw.label(378, y + 24, "+", "name", "middle")
    draw.line((140, 236), (360, 236))
    draw.label(12, 262, "their sum", "name")
    draw.bars(140, 244, 220, 38, total.tolist(), "chosen", most)
    return draw


def rotary() -> Drawing:
    q, k, theta = 1 + 0.5j, 0.3 + 1j, 0.4  # as in the chapter; a pair of numbers is a point, turned by a product
    places = (7, 5), (57, 55), (11, 5)
    scores = [(q * cmath.exp(1j * t * theta) * (k * cmath.exp(1j * j * theta)).conjugate()).real for t, j in places]
    draw = Drawing(
        "rotary",
        "Rotary positions: the score knows the distance",
        "Three circles, in each a query and a key as arrows from the middle. At places 7 and 5, and at 57 and "
        "55, the arrows point elsewhere, but the angle between them is the same, and so is the score, "
        f"{scores[0]:.3f}. At places 11 and 5, farther apart, the angle is another, and so is the score, "
        f"{scores[2]:.3f}.".replace("-", "−"),
        214,
    )
    draw.label(12, 20, "Each place turns q and k a step further", "name")
    for x, (t, j), score in zip((70, 200, 330), places, scores, strict=True):
        y = 108
        draw.add("circle", "thin", cx=x, cy=y, r=61)
        for point, place, look, wide, side in ((k, j, "key", 1.8, 9j), (q, t, "query", 1, -9j)):
            tip = 40 * point * cmath.exp(1j * place * theta)
            draw.ray(x, y, tip, look, wide)  # the key broader: seen where both point the same way
            beyond = tip + (6 + side) * tip / abs(tip)
            draw.label(x + beyond.real, y - beyond.imag + 4, look[0], "note", "middle")
        draw.label(x, 192, f"places {t}, {j}", "note", "middle")
        draw.label(x, 209, f"score {score:.3f}".replace("-", "−"), "name", "middle")
    return draw


def gradient() -> Tensor:
    """The gradient of one matrix of a new model, as in the chapter, on a batch of the tales: (4 C, C)."""
    tokenizer = CharTokenizer.train(load_corpus("tales"))
    ids = torch.tensor(tokenizer.encode(split_text(load_corpus("tales"), parts=3)[0]))
    torch.manual_seed(0)
    model = GPT(GPTConfig(tokenizer.vocab_size, n_layer=2)).double()
    model(*get_batch(ids, 64, 16, seed=0, step=1))[1].backward()
    return model.blocks[1].feed_forward.widen.weight.grad


def equalised(G: Tensor) -> Tensor:
    """Muon's five rounds, as in the chapter: (R, C) -> (R, C), with singular values near 1."""
    X = G / G.norm()
    for _ in range(5):
        squares = X @ X.T
        X = 3.4445 * X + (-4.7750 * squares + 2.0315 * squares @ squares) @ X
    return X


def svd() -> Drawing:
    G = gradient().T  # (C, 4 C): the small side first
    s = torch.linalg.svdvals(G)  # falling
    first, other = 0, 3
    U, _, Vh = torch.linalg.svd(G, full_matrices=False)
    after = (U.T @ equalised(G) @ Vh.T).diagonal()  # what becomes of each direction
    axes = {
        "what comes in": (1.0, 1.0),
        "gradient": (1.0, (s[other] / s[first]).item()),
        "Muon’s step": (after[first].item(), after[other].item()),
    }
    before, step = axes["gradient"], axes["Muon’s step"]
    draw = Drawing(
        "svd",
        "Muon: as far in each direction",
        f"Three pictures of two of the {len(s)} directions of a gradient, the longest and the fourth. At the left a circle: what "
        "comes in, as far in both. In the middle the gradient has made a flat ellipse of it, "
        f"{before[1]:.2f} high for a width of {before[0]:.0f}. At the right, after Muon’s five rounds, nearly a "
        f"circle again: {step[0]:.1f} along the first, {step[1]:.1f} along the other. Dashes show the circle.",
        214,
    )
    unit = 52
    for i, (said, (wide, high)) in enumerate(axes.items()):
        x, y = 68 + 132 * i, 104
        draw.label(x, 22, said, "name", "middle")
        if i:
            draw.add("circle", "dashes", cx=x, cy=y, r=unit)
        draw.add("ellipse", "chosen" if i == 2 else "plain", cx=x, cy=y, rx=unit * wide, ry=unit * high, opacity="0.5")
        draw.ray(x, y, unit * wide, "head")
        if unit * high > 12:  # room for an arrow
            draw.ray(x, y, 1j * unit * high, "head")
        draw.label(x, 186, f"1st direction {wide:.2f}", "small", "middle")
        draw.label(x, 205, f"4th direction {high:.2f}", "small", "middle")
    return draw
