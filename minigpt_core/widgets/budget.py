"""A budget to spend: which size and how much text to choose, the loss to expect, and what known runs would cost."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import check_number
from ..study.scaling import Law
from . import live_module
from .base import Widget

LEAST, MOST = 0.01, 10_000  # hours, as in budget.js
SLOWEST, FASTEST = 0.1, 1e9  # GFLOP/s of a machine of the reader's own
AROUND, POINTS = 30, 61  # the valley, as in scaling.js: from a thirtieth of the best size to thirty times it
BYTES = 16  # a parameter in training: weight, gradient and AdamW's two moments, each of four bytes
COEFFICIENTS = ("E", "A", "alpha", "B", "beta")
NEEDED = {
    "law": ("name", "unit", *COEFFICIENTS, "sizes", "tokens", "aspect", "alice"),
    "device": ("name", "flops", "share", "note"),
    "run": ("name", "parameters", "source"),
}
LEFT, RIGHT, TOP, WIDTH, HEIGHT = 44, 12, 10, 640, 190  # pixels

Entry = Mapping[str, Any]  # a law, a device or a run, as the page reads it


class Budget(Widget):
    """Hours on a device, and what they buy: the size and the text of lowest loss by a law of the loss, the loss to expect,
    the valley of the other sizes, and what known runs would cost there. All numbers come from the caller:

    - a law has a `name`, a `unit` ("nats per character"), the coefficients `E`, `A`, `alpha`, `B`, `beta` of
      `study.scaling.Law`, the ranges `sizes` and `tokens` where it was measured, `aspect`, the width for each layer of a
      model, `alice`, the tokens of Alice in Wonderland; and, where they are known, `miss`, by how much it missed a run that
      it had not seen, and `batch`, the tokens of a step;
    - a device has a `name`, its `flops` each second, the `share` of them that a training uses, and a `note` that says where
      these come from;
    - a run has a `name`, `parameters`, `tokens` (None where unknown: then `flops`), a `source`, and, where they are published,
      its `hours` and the machine that they were spent `on`.

    `law` and `device` name those that are shown first; the device "" is a machine of the reader's own, of `own` GFLOP/s. What
    is not there, or is no such number, is a `ValueError`.

    >>> books = dict(name="books", unit="nats per character", E=1.0, A=9.0, alpha=0.3, B=30.0, beta=0.3,
    ...              sizes=(1e4, 5e6), tokens=(1e6, 3e7), aspect=32, alice=150_000, miss=0.01)
    >>> laptop = dict(name="laptop", flops=2e11, share=0.5, note="measured")
    >>> gpt3 = dict(name="GPT-3", parameters=175e9, tokens=300e9, source="Brown and others 2020")
    >>> Budget([books], [laptop], [gpt3], hours=2)
    Budget(books; laptop; GPT-3)
    """

    NAME = "budget"
    _esm = live_module(NAME)

    def __init__(
        self,
        laws: Sequence[Entry],
        devices: Sequence[Entry],
        runs: Sequence[Entry],
        *,
        hours: float = 1,
        device: str | None = None,
        law: str | None = None,
        own: float = 100,
    ):
        super().__init__()
        for kind, entries in (("law", laws), ("device", devices), ("run", runs)):
            for entry in entries:
                if missing := [name for name in NEEDED[kind] if name not in entry]:
                    raise ValueError(f"the {kind} {entry.get('name', '')!r} lacks {', '.join(missing)}")
            if len({entry["name"] for entry in entries if entry["name"]}) < max(1, len(entries)):
                raise ValueError(f"a budget needs at least one {kind}, and each {kind} a name of its own")
            for entry in entries:
                CHECKS[kind](entry)
        check_number("hours", hours, LEAST, MOST, high_included=True)
        check_number("own", own, SLOWEST, FASTEST, high_included=True)
        law = laws[0]["name"] if law is None else law
        device = devices[0]["name"] if device is None else device
        for name, chosen, names in (
            ("law", law, [entry["name"] for entry in laws]),
            ("device", device, [*(entry["name"] for entry in devices), ""]),
        ):
            if chosen not in names:
                raise ValueError(f"there is no {name} {chosen!r}: choose one of {', '.join(map(repr, names))}")
        self.state = {
            "laws": list(map(dict, laws)),
            "devices": list(map(dict, devices)),
            "runs": list(map(dict, runs)),
            "hours": hours,
            "law": law,
            "device": device,
            "own": own,
        }

    def picture(self) -> str:
        """What the budget buys and what runs cost, as tables, and the valley between them."""
        state = self.state
        law = next(entry for entry in state["laws"] if entry["name"] == state["law"])
        own = {"name": "a machine of your own", "flops": 1e9 * state["own"], "share": 1, "note": "as you typed it"}
        device = next((entry for entry in state["devices"] if entry["name"] == state["device"]), own)
        found = report(law, device, state["hours"])
        E, size, text = found["terms"]
        split = f"{E:.2f} floor + {size:.2f} size + {text:.2f} text"
        bought = _table(
            f"What {duration(state['hours'])} on {device['name']} can buy, by the law of {law['name']}.",
            ("", "", ""),
            [*found["facts"], ("loss", f"{E + size + text:.2f} {law['unit']}", split)],
            "mg-facts",
        )
        prices = _table(
            f"What known runs would cost on {device['name']}, in time alone, whether or not they fit into its memory.",
            ("run", "parameters", "tokens", "here", "published"),
            costs(state["runs"], device),
            "mg-runs",
        )
        trust = f'<p class="mg-status">{html.escape(found["trust"])}</p>'
        return bought + trust + _draw_valley(law, found) + prices

    def __repr__(self) -> str:
        kinds = (self.state[kind] for kind in ("laws", "devices", "runs"))
        return f"Budget({'; '.join(', '.join(entry['name'] for entry in entries) for entries in kinds)})"


def _check_law(entry: Entry) -> None:
    Law(*(entry[name] for name in COEFFICIENTS))
    for name in ("sizes", "tokens"):
        least, most = entry[name]
        check_number(f"the end of {name}", most, 0, math.inf, low_included=False)
        check_number(f"the beginning of {name}", least, 0, most, low_included=False)
    for name in ("aspect", "alice", *(name for name in ("miss", "batch") if entry.get(name) is not None)):
        check_number(name, entry[name], 0, math.inf, low_included=False)
    if not entry["unit"].count(" per ") == 1:
        raise ValueError(f"unit={entry['unit']!r} must say per what, such as 'nats per character'")


def _check_device(entry: Entry) -> None:
    check_number(f"flops of {entry['name']}", entry["flops"], 0, math.inf, low_included=False)
    check_number(f"share of {entry['name']}", entry["share"], 0, 1, low_included=False, high_included=True)


def _check_run(entry: Entry) -> None:
    work = "tokens" if entry.get("flops") is None else "flops"
    given = [name for name in ("tokens", "flops", "hours") if entry.get(name) is not None]
    for name in ("parameters", work, *given):
        check_number(f"{name} of {entry['name']}", entry.get(name), 0, math.inf, low_included=False)
    if "hours" in given and not entry.get("on"):
        raise ValueError(f"the run {entry['name']!r} has hours: say by `on` what machine they were spent on")


CHECKS = {"law": _check_law, "device": _check_device, "run": _check_run}


def report(law: Entry, device: Entry, hours: float) -> dict[str, Any]:
    """FLOPs, size and text, the terms of the loss, facts in words, and how far the law can be trusted, as in scaling.js.

    >>> law = dict(unit="nats per token", E=1, A=10, alpha=0.5, B=10, beta=0.5, sizes=(1e5, 1e7), tokens=(1e5, 1e7), aspect=32,
    ...            alice=4e4)
    >>> report(law, dict(flops=6e12 / 3600, share=1, note="measured"), hours=1)["best"]
    (1000000.0, 1000000.0)
    """
    form = Law(*(law[name] for name in COEFFICIENTS))
    flops = 3600 * hours * (device["flops"] * device["share"])
    N, D = form.best(flops)
    token = law["unit"].split(" per ")[1]
    layers, width = shape(N, law["aspect"])
    (least, most), (shortest, longest) = law["sizes"], law["tokens"]
    measured = (
        f"This law was measured from {amount(least)} to {amount(most)} parameters and from "
        f"{amount(shortest)} to {amount(longest)} {token}s"
    )
    far = [
        *_outside(N, law["sizes"], "model", "smallest", "largest"),
        *_outside(D, law["tokens"], "text", "shortest", "longest"),
    ]
    steps = f", in {amount(D / law['batch'])} steps" if law.get("batch") else ""
    held = (
        f" It missed a run that it had not seen by {rounded(law['miss'], 2)} {law['unit']}." if law.get("miss") else ""
    )
    used = f"{power(device['flops'])} FLOP/s ({device['note']}), {math.floor(100 * device['share'] + 0.5)}% used"
    return {
        "flops": flops,
        "best": (N, D),
        "terms": (form.E, form.A / N**form.alpha, form.B / D**form.beta),
        "facts": [
            ("compute", f"{power(flops)} FLOPs", used),
            ("model", f"{amount(N)} parameters", f"about {layers} layer{'' if layers == 1 else 's'}, {width} wide"),
            ("text", f"{amount(D)} {token}s", f"{rounded(D / law['alice'], 2)} times Alice, read once{steps}"),
            ("memory", memory(BYTES * N), "weights, gradients and AdamW's moments, without activations"),
        ],
        "trust": (f"Extrapolated. {measured}: {', and '.join(far)}." if far else f"{measured}: this lies within.")
        + held,
    }


def _outside(value: float, limits: Sequence[float], name: str, lowest: str, highest: str) -> list[str]:
    """That a value lies outside what was measured, in words; nothing where it lies inside."""
    least, most = limits
    if value > most:
        return [f"this {name} is {rounded(value / most, 3)} times the {highest} there"]
    return [f"the {lowest} there is {rounded(least / value, 3)} times this {name}"] if value < least else []


def valley(law: Entry, flops: float) -> list[tuple[float, float, bool]]:
    """All sizes near the best one: size, loss, and whether size and text lie where the law was measured.

    >>> law = dict(E=1, A=10, alpha=0.5, B=10, beta=0.5, sizes=(1e5, 1e7), tokens=(1e5, 1e7))
    >>> [(round(N), round(loss, 2), inside) for N, loss, inside in valley(law, 6e12)[::30]]
    [(33333, 1.06, False), (1000000, 1.02, True), (30000000, 1.06, False)]
    """
    form = Law(*(law[name] for name in COEFFICIENTS))
    (least, most), (shortest, longest) = law["sizes"], law["tokens"]
    points = []
    for i in range(POINTS):
        N = form.best(flops)[0] * AROUND ** (2 * i / (POINTS - 1) - 1)
        D = flops / 6 / N
        points.append((N, form.loss(N, D), least <= N <= most and shortest <= D <= longest))
    return points


def costs(runs: Sequence[Entry], device: Entry) -> list[tuple[str, ...]]:
    """Of each run its name, size and text, the time that it would take here, and what is published, and where.

    >>> gpt2 = dict(name="GPT-2", parameters=1558e6, tokens=33.6e9, hours=24, on="eight H100", source="llm.c")
    >>> costs([gpt2], dict(flops=312e12, share=0.4))
    [('GPT-2', '1.56 billion', '33.6 billion', '29 days', '24 h on eight H100; llm.c')]
    """
    rows: list[tuple[str, ...]] = []
    for run in runs:
        tokens, hours = run.get("tokens"), run.get("hours")
        flops = run.get("flops") or 6 * run["parameters"] * run["tokens"]
        here = duration(flops / (device["flops"] * device["share"]) / 3600)
        spent = f"{duration(hours)} on {run['on']}" if hours else ""
        published = "; ".join(filter(None, (spent, run["source"])))
        rows.append((run["name"], amount(run["parameters"]), amount(tokens) if tokens else "", here, published))
    return rows


def shape(n_parameters: float, aspect: float) -> tuple[int, int]:
    """Layers and width of about so many parameters, 12 layers width², with `aspect` numbers of width for each layer.

    >>> shape(85e6, aspect=64)  # GPT-2 small, without its embeddings
    (12, 768)
    """
    layers = max(1, math.floor((n_parameters / 12 / aspect**2) ** (1 / 3) + 0.5))
    return layers, 8 * max(1, math.floor(math.sqrt(n_parameters / 12 / layers) / 8 + 0.5))


def rounded(value: float, digits: int) -> str:
    """A number to so many digits, at most 4.

    >>> rounded(12345.6, 3), rounded(0.01234, 2)
    ('12,300', '0.012')
    """
    number = float(f"{value:.{digits}g}")
    return f"{number:,.0f}" if number >= 1000 else f"{number:g}"


def amount(value: float) -> str:
    """A number in words.

    >>> amount(124_439_808), amount(1234.5)
    ('124 million', '1,230')
    """
    units = ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"))
    unit, name = next((unit for unit in units if float(f"{value:.3g}") >= unit[0]), (1, ""))
    return rounded(value / unit, 3) + name


def power(value: float) -> str:
    """A number as a power of ten.

    >>> power(3.14e23)
    '3.1 × 10²³'
    """
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits} × 10{str(int(exponent)).translate(str.maketrans('0123456789-', '⁰¹²³⁴⁵⁶⁷⁸⁹⁻'))}"


def duration(hours: float) -> str:
    """A time in its usual unit.

    >>> [duration(hours) for hours in (0.01, 1.5, 24, 1e6)]
    ['36 s', '1.5 h', '24 h', '110 years']
    """
    seconds = 3600 * hours
    if seconds < 0.01:
        return "under 0.01 s"
    units = ((100, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h"), (730 * 24 * 3600, 24 * 3600, "days"))
    _, unit, name = next((unit for unit in units if seconds < unit[0]), (math.inf, 365.25 * 24 * 3600, "years"))
    return f"{rounded(seconds / unit, 2)} {name}"


def memory(n_bytes: float) -> str:
    """So many bytes, in their usual unit.

    >>> memory(16 * 124e6)
    '2 GB'
    """
    units = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))
    unit, name = next((unit for unit in units if n_bytes >= unit[0]), (1e3, "kB"))
    return f"{rounded(n_bytes / unit, 2)} {name}"


def _table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>{"".join(f"<td>{html.escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        f'<table class="mg-bars {kind}"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _draw_valley(law: Entry, found: dict[str, Any]) -> str:
    """The loss of every size at this budget; solid where the law was measured, dashed beyond."""
    points = valley(law, found["flops"])
    (first, left, _), (last, right, _) = points[0], points[-1]
    (N, _), loss, low, high = found["best"], sum(found["terms"]), law["E"], max(left, right)

    def x(size: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(size / first) / math.log(last / first)

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - (value - low) / (high - low))

    def line(some: list[tuple[float, float, bool]], style: str) -> str:
        at = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value, _ in some)
        return f'<polyline points="{at}" fill="none" {style}/>'

    def text(at: float, height: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{at:.1f}" y="{height + 4:.1f}" font-size="12" text-anchor="{anchor}" fill="currentColor">{words}</text>'

    sizes = [10.0**i for i in range(40) if first <= 10**i <= last]
    losses = [low + (high - low) * i / 4 for i in range(5)]
    said = f"loss against size at {power(found['flops'])} FLOPs: lowest, {loss:.2f}, at {amount(N)} parameters"
    note = (
        "The valley: a smaller model holds too little, a larger one reads too little. "
        f"Loss in {law['unit']}, from the floor up; solid where the law was measured, dashed beyond."
    )
    return (
        f'<p class="mg-caption">{html.escape(note)}</p><div class="mg-chart">'
        f'<svg viewBox="0 0 {WIDTH} {TOP + HEIGHT + 40}" width="{WIDTH}" role="img" aria-label="{html.escape(said)}">'
        + "".join(text(LEFT - 6, y(value), f"{value:.2f}", "end") for value in losses)
        + "".join(text(x(size), TOP + HEIGHT + 14, amount(size)) for size in sizes)
        + text((LEFT + WIDTH - RIGHT) / 2, TOP + HEIGHT + 32, "parameters")
        + line(points, 'stroke="#0072b2" stroke-dasharray="3 4"')
        + line([point for point in points if point[2]], 'stroke="#0072b2" stroke-width="2.5"')
        + f'<circle cx="{x(N):.1f}" cy="{y(loss):.1f}" r="5" fill="#009e73"/>'
        + text(x(N), y(loss) + 17, f"{amount(N)}, loss {loss:.2f}")
        + "</svg></div>"
    )
