"""Chapters 03, 05 and 08: slopes, the row of a table, and AdamW."""

import torch
from torch import Tensor

from .drawing import Drawing


def push() -> Drawing:
    z, came = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64), 2  # as in the chapter
    p = z.softmax(0).tolist()
    draw = Drawing(
        "push",
        "Predicted minus came: which way each logit has to go",
        f"Three tokens with the logits {', '.join(f'{x:g}' for x in z.tolist())}. Softmax gives them {p[0]:.2f}, "
        f"{p[1]:.2f} and {p[2]:.2f}, drawn as bars; the third has come, and a green mark stands at what came: 0, "
        "0 and 1. The slopes are the differences, bar minus mark. An arrow leads from each bar to its mark, against the "
        "slope: the first two logits have to go down, the third has to go up.",
        252,
    )
    floor, long = 160, 110
    draw.label(12, 20, "p, and what came", "name")
    draw.line((40, floor), (290, floor))
    draw.label(30, floor + 4, "0", "small", "end")
    draw.label(30, floor - long + 4, "1", "small", "end")
    draw.line((34, floor - long), (40, floor - long))
    for i, (logit, share) in enumerate(zip(z.tolist(), p, strict=True)):
        x, goal = 52 + 80 * i, floor - long * (i == came)
        draw.filled(x, floor - long * share, 40, long * share, "share", 0.6)
        draw.box(x - 3, goal - 2.5, 46, 5, "chosen")
        draw.arrow((x + 54, floor - long * share), (x + 54, goal))
        draw.label(x + 20, floor - long * share - 5, f"{share:.2f}", "note", "middle")
        draw.label(x + 20, floor + 20, f"token {i}", "note", "middle")
        draw.label(x + 20, floor + 38, f"z = {logit:g}", "note", "middle")
    draw.label(300, 74, "green: what", "note")
    draw.label(300, 91, "came", "note")
    draw.label(12, 226, "arrow: the way the logit has to go,", "note")
    draw.label(12, 243, "against the slope", "note")
    return draw


def one_hot() -> Drawing:
    table = torch.tensor([[0.1, 0.2], [1.0, -1.0], [5.0, 7.0]])  # as in the chapter
    ids = [2, 0, 2]
    draw = Drawing(
        "one_hot",
        "A one-hot row picks a row of the table",
        "The ids 2, 0, 2 as rows of three zeros with a single one, at place 2, 0 and 2. Times the table with the "
        "rows 0.1 0.2, 1 −1 and 5 7, that gives row 2, row 0, row 2 of the table: 5 7, 0.1 0.2, 5 7.",
        196,
    )
    size, top = 34, 56
    for x, said, shape in ((99, "one-hot", "(k, V)"), (232, "table", "(V, C)"), (354, "looked up", "(k, C)")):
        draw.label(x, 20, said, "name", "middle")
        draw.label(x, 38, shape, "note", "middle")
    for i, chosen in enumerate(ids):
        y = top + size * i
        draw.label(30, y + 22, str(chosen), "name", "middle")
        for j in range(len(table)):
            draw.filled(48 + size * j, y, size, size, "chosen", 0.5 if j == chosen else 0)
            draw.label(
                48 + size * (j + 0.5), y + 22, str(int(j == chosen)), "name" if j == chosen else "note", "middle"
            )
        draw.label(192, y + 22, str(i), "small", "middle")
    for left, rows, picked in ((200, table.tolist(), True), (322, table[ids].tolist(), False)):
        for i, row in enumerate(rows):
            if not picked or i in ids:
                draw.add("rect", "chosen", x=left, y=top + size * i, width=64, height=size, opacity="0.25")
            for j, value in enumerate(row):
                draw.box(left + 32 * j, top + size * i, 32, size, "thin")
                draw.label(left + 32 * (j + 0.5), top + size * i + 22, f"{value:g}".replace("-", "−"), "note", "middle")
    draw.label(170, top + size * 1.5 + 6, "×", "name", "middle")
    draw.label(293, top + size * 1.5 + 6, "=", "name", "middle")
    draw.label(12, 184, "Zeros add nothing: a product that is a look-up.", "note")
    return draw


def steps_of_adamw(slopes: Tensor, rate: float = 0.003) -> tuple[Tensor, Tensor, Tensor]:
    """What PyTorch's AdamW makes of a weight's slopes (K,): m and the root of v, both corrected for their start at zero, and
    the step in units of the learning rate, each (K,)."""
    weight = torch.zeros(1, dtype=slopes.dtype, requires_grad=True)
    optimizer = torch.optim.AdamW([weight], lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
    rows = []
    for k, slope in enumerate(slopes, start=1):
        before, weight.grad = weight.item(), slope[None]
        optimizer.step()
        state = optimizer.state[weight]
        m, v = state["exp_avg"].item() / (1 - 0.9**k), state["exp_avg_sq"].item() / (1 - 0.99**k)
        rows.append((m, v**0.5, (before - weight.item()) / rate))
    m, spread, step = torch.tensor(rows, dtype=slopes.dtype).T
    return m, spread, step


def noisy_slopes() -> dict[str, Tensor]:
    """The slopes of two weights in 40 steps: of one kind, and as often up as down."""
    torch.manual_seed(0)
    noise = torch.randn(2, 40, dtype=torch.float64)
    return {"slopes that agree": 1 + 0.3 * noise[0], "slopes that contradict": noise[1]}


def adam() -> Drawing:
    weights = {said: (slopes, *steps_of_adamw(slopes)) for said, slopes in noisy_slopes().items()}
    long = [step[10:].abs().mean().item() for *_, step in weights.values()]
    draw = Drawing(
        "adam",
        "AdamW: long steps where slopes agree",
        "Two weights in 40 steps, one below the other. Grey bars are the slopes of each batch, the blue line is m, their "
        "running mean, the dashed lines are the root of v, up and down from zero. Below, in green, the steps, m over "
        "the root of v. The first weight has slopes that agree: m lies near the root of v, and the steps are about as long as "
        f"the learning rate, {long[0]:.2f} of it. The second has slopes as often up as down: m stays near zero, and the steps "
        f"are short, {long[1]:.2f} of it.",
        510,
    )
    left, pitch, unit = 34, 8.0, 26
    right = left + 40 * pitch
    for i, (said, (slopes, m, spread, step)) in enumerate(weights.items()):
        top = 20 + 254 * i
        zero, floor = top + 92, top + 202
        draw.label(12, top, f"{i + 1}. {said[0].upper()}{said[1:]}", "name")
        draw.line((left, zero), (right, zero), look="thin")
        for value in (-2, 0, 2):
            draw.label(left - 6, zero - unit * value + 4, str(value).replace("-", "−"), "small", "end")
        middles = [left + pitch * (k + 0.5) for k in range(len(slopes))]
        for x, slope in zip(middles, slopes.tolist(), strict=True):
            draw.box(x - 2.5, zero - unit * max(slope, 0), 5, unit * abs(slope), "plain")
        for sign in (-1, 1):
            draw.line(
                *((x, zero - sign * unit * y) for x, y in zip(middles, spread.tolist(), strict=True)), look="dashes"
            )
        draw.line(*((x, zero - unit * y) for x, y in zip(middles, m.tolist(), strict=True)), look="share-line")
        draw.label(388, top, "grey: slope g", "note", "end")
        level = zero - unit * m[-1].item() + (0 if i else 16)
        draw.line((right + 5, level), (right + 13, level), look="share-line")
        draw.label(right + 17, level + 4, "m", "name")
        draw.label(right + 6, zero - unit * spread[-1].item() + 4, "√v", "note")
        draw.line((left, floor), (right, floor), look="thin")
        for value in (0, 1):
            draw.label(left - 6, floor - 36 * value + 4, str(value), "small", "end")
        for x, y in zip(middles, step.tolist(), strict=True):
            draw.box(x - 2.5, floor - 36 * max(y, 0), 5, 36 * abs(y), "chosen")
        draw.label(right + 4, floor - 4, "m / √v", "small")
        draw.label(left, floor + 26, "step 1", "small")
        draw.label(right, floor + 26, str(len(slopes)), "small", "end")
    return draw
