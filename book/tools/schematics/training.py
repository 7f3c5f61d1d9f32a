"""Chapters 08, 09 and 13: what a run keeps, why a loss is high, and the way from a text to a model of one's own."""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import nan
from pathlib import Path
from textwrap import wrap

import torch
from safetensors import safe_open

from minigpt_core import GPT, CharTokenizer, GPTConfig, TrainConfig, load_corpus, split_text, train
from minigpt_core.data import MANY
from minigpt_core.study import clinic, planning

from .drawing import Drawing

KEPT = {
    "training.safetensors": "the checkpoint",
    "model.safetensors": "its weights, to read",
    "config.json": "the model’s settings",
    "tokenizer.json": "the tokenizer",
    "best": "the model of lowest loss",
}


def saved_run() -> tuple[dict[str, int], Counter[str], list[str]]:
    """A run of the chapter's model, stopped after a step: the bytes of its files, the numbers in its checkpoint of each kind,
    and the names in the checkpoint's header."""
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids, _ = (torch.tensor(tokenizer.encode(part)) for part in split_text(text, parts=3))
    recipe = TrainConfig(steps=1, warmup_steps=0, eval_every=1, eval_windows=1, device="cpu")
    numbers: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = GPT(GPTConfig(tokenizer.vocab_size, n_layer=2, end_id=tokenizer.end_id))
        list(train(model, train_ids, val_ids, recipe, folder, tokenizer=tokenizer))
        files = {
            path.name: sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
            for path in Path(folder).iterdir()
            if not path.name.startswith(".")
        }
        with safe_open(Path(folder) / "training.safetensors", "pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                kind = "model" if name.startswith("model.") else name.rpartition(".")[2]
                numbers[kind] += file.get_tensor(name).numel()
            header = list(json.loads(file.metadata()["minigpt"]))
    return files, numbers, header


def checkpoint() -> Drawing:
    files, numbers, header = saved_run()
    n = numbers["model"]
    draw = Drawing(
        "checkpoint",
        "What the folder of a run holds",
        f"The folder of a run with {len(KEPT)} entries: "
        + ", ".join(f"{name}, {said}" for name, said in KEPT.items())
        + f". The checkpoint, {files['training.safetensors'] / 1e6:.1f} MB, is unfolded: three bars of the same length, the "
        f"weights w and AdamW's m and v, {n:,} numbers each; and its header: {', '.join(header)}. Batches and learning "
        "rates are not kept: they follow from the step.",
        390,
    )
    draw.label(12, 20, "The folder of a run", "name")
    draw.line((22, 30), (22, 362), look="thin")
    y = 38.0
    for name, said in KEPT.items():
        draw.line((22, y + 13), (34, y + 13), look="thin")
        draw.named_box(34, y, 166, 26, name + ("/" if name == "best" else ""), "note")
        draw.label(210, y + 18, said, "note")
        if name == "training.safetensors":
            draw.label(388, y + 18, f"{files[name] / 1e6:.1f} MB", "note", "end")
            for i, (letter, meaning) in enumerate(
                (("w", "weights"), ("m", "mean of slopes"), ("v", "mean of their squares"))
            ):
                draw.label(56, y + 50 + 30 * i, letter, "name", "middle")
                draw.filled(72, y + 34 + 30 * i, 316, 24, ("share", "pale", "pale")[i], 0.35 if i == 0 else 1)
                draw.label(80, y + 51 + 30 * i, f"{n:,}  {meaning}", "note")
            for i, line in enumerate(wrap(f"In its header: {', '.join(header)}.", 40)):
                draw.label(72, y + 142 + 18 * i, line, "note")
            y += 146
        y += 38
    draw.label(12, 382, "Not kept: batches and rates follow from the step.", "note")
    return draw


SYMPTOMS: dict[Callable[[clinic.Run], clinic.Finding | None], str] = {
    clinic.diverged: "A loss is infinite, or no number",
    clinic.distribution_shift: "Many held-out tokens never occur in training",
    clinic.data_leakage: "Held-out pieces stand word for word in training",
    clinic.target_leakage: "It ends far below the best count",
    clinic.initial_weights_too_large: "The first loss is well above ln V",
    clinic.overfitting: "Validation rises again, training still falls",
    clinic.overfitting_begins: "Training far below validation, without a rise",
    clinic.noisy_validation_loss: "Validation jumps up and down all the time",
    clinic.stalled: "Less than half, and training hardly falls",
    clinic.undertrained: "Less than half, and training still falls",
    clinic.underfitting: "Less than three quarters",
    clinic.validation_below_training: "More, but training lies above validation",
    clinic.healthy: "More, and nothing of the above",
}


def patients() -> dict[Callable[[clinic.Run], clinic.Finding | None], clinic.Run]:
    """For each rule of the clinic a run that it finds something in."""
    ladder = {"ln V": 4.1, "1-gram": 3.0, "2-gram": 2.2, "3-gram": 1.7, "5-gram": 1.3, clinic.BEST: 1.2}
    ids = torch.arange(200)

    def run(training: Sequence[float], held_out: Sequence[float]) -> clinic.Run:
        validation: Mapping[int, float] = {100 * i: loss for i, loss in enumerate(held_out, start=1)}
        return clinic.Run(training, validation, ids % 60, ids % 59, ladder, None, None)

    def falling(low: float) -> list[float]:
        return [4.1 - (4.1 - low) * i / 99 for i in range(100)]

    healthy = run(falling(1.4), [1.6, 1.5])
    return {
        clinic.diverged: run([4.1, nan], [nan]),
        clinic.distribution_shift: replace(healthy, val_ids=ids + 60),
        clinic.data_leakage: replace(healthy, train_ids=ids, val_ids=ids),
        clinic.target_leakage: run(falling(0.2), [0.3, 0.2]),
        clinic.initial_weights_too_large: run([11.0, *falling(1.4)], [1.6, 1.5]),
        clinic.overfitting: run(falling(1.4), [1.5, 1.9]),
        clinic.overfitting_begins: run(falling(0.8), [1.6, 1.5]),
        clinic.noisy_validation_loss: run(falling(1.4), [1.6, 1.5] * 4),
        clinic.stalled: run([4.1] + [2.4] * 99, [2.5, 2.4]),
        clinic.undertrained: run(falling(2.4), [2.5, 2.4]),
        clinic.underfitting: run(falling(1.9), [2.0, 1.9]),
        clinic.validation_below_training: run(falling(1.7), [1.5, 1.4]),
        clinic.healthy: healthy,
    }


def findings() -> dict[Callable[[clinic.Run], clinic.Finding | None], clinic.Finding]:
    """What each rule says of its patient, in the clinic's order and in its own words."""
    sick = patients()
    return {rule: found for rule in (*clinic.CAUSES, *clinic.LEVELS) if (found := rule(sick[rule]))}


def decision() -> Drawing:
    told = findings()
    causes, levels = ([told[rule] for rule in rules] for rules in (clinic.CAUSES, clinic.LEVELS))
    draw = Drawing(
        "decision",
        "From symptom to verdict: the clinic on one page",
        "A list of questions from top to bottom, each with an arrow to its verdict and to what to try. First what may be wrong, "
        f"of which more than one may hold: {', '.join(finding.name for finding in causes)}. If none of these holds, how much "
        "the run has learned of what counting gains, of which the first that holds is the verdict: "
        f"{', '.join(finding.name for finding in levels)}.",
        0,
    )
    y = 20.0

    def heading(left: float, *lines: str) -> None:
        nonlocal y
        for i, said in enumerate(lines):
            draw.label(left, y + 18 * i, said, "note" if i else "name")
        y += 18 * len(lines) + 14

    def question(rule: Callable[[clinic.Run], clinic.Finding | None], before: float) -> float:
        """A question with its verdict and advice; `before` and returned: where the way down leaves the last one, and this."""
        nonlocal y
        finding, top = told[rule], y
        draw.label(40, y, SYMPTOMS[rule], "note")
        if rule is clinic.LEVELS[-1]:  # what is left: nothing to ask
            draw.arrow((22, before), (22, y + 18), (82, y + 18))
        else:
            draw.arrow((22, before), (22, y - 14))
            draw.add("path", "box", d=f"M22 {y - 13:g}l8 8l-8 8l-8 -8z")
            draw.label(40, y + 22, "yes", "small")
            draw.arrow((63, y + 18), (82, y + 18))
        draw.label(87, y + 23, finding.name, "name")
        advice = re.sub(r"at step \d+", "at its lowest", f"Try: {finding.cure}")
        y += 23
        for line in wrap(advice, 50, break_on_hyphens=False):
            y += 17
            draw.label(40, y, line, "small")
        y += 30
        return top + 4

    heading(12, "1. Is something wrong?", "More than one may be found.")
    down = y - 26
    for rule in clinic.CAUSES:
        down = question(rule, down)
        if rule is clinic.CAUSES[0]:
            draw.label(19, down + 26, "no", "small", "end")
    y += 8
    heading(
        40,
        "2. If not: how much has it learned?",
        "Of what counting gains from the 1-gram",
        "to the best count. The first that holds.",
    )
    for rule in clinic.LEVELS:
        down = question(rule, down)
    draw.height = y - 16
    return draw


def flow() -> Drawing:
    often, most = planning.readings(planning.LETTERS)
    boxes: dict[str, tuple[str, ...]] = {
        "Your text": (),
        "A look at it": (f"at least {planning.LEAST:,} characters", "if not: the tales instead"),
        "Tokens": ("characters", f"above {planning.MOST_KINDS:,} kinds: BPE pieces"),
        "Held-out part": ("blocks from all over it", f"whole ones from {MANY} documents"),
        "A plan": (
            "width 64, or 128",
            f"from {planning.LITTLE:,} tokens",
            f"2 layers, 4 from {planning.LONG // 60} minutes on",
            f"dropout if read over {often} times",
            f"an end after {most} readings",
        ),
        "Training": ("as many steps as time allows",),
        "Examination": ("the curve beside the counts", "a verdict, and what to try"),
        "It writes": ("known words, copied pieces",),
        "Keep it": ("weights, settings, tokenizer",),
    }
    draw = Drawing(
        "flow",
        "From your text to a model of your own",
        "Boxes from top to bottom, joined by arrows, each with its rule. "
        + " ".join(f"{name}{': ' if rules else ''}{', '.join(rules)}." for name, rules in boxes.items())
        + " From the examination an arrow leads back to the plan: change what the verdict says, and train again.",
        0,
    )
    y, middles = 12.0, {}
    for name, rules in boxes.items():
        high = max(34, 18 * len(rules) + 8)
        middles[name] = y + high / 2
        draw.named_box(34, middles[name] - 17, 124, 34, name)
        for i, said in enumerate(rules):
            draw.label(166, middles[name] + 5 + 18 * (i - (len(rules) - 1) / 2), said, "note")
        y += high + (38 if name == "Training" else 18)
    for upper, lower in pairwise(middles.values()):
        draw.arrow((132, upper + 17), (132, lower - 18))
    back, plan = middles["Examination"], middles["A plan"]
    draw.label(20, back - 41, "not good:", "note")
    draw.label(20, back - 25, "another plan", "note")
    draw.arrow((34, back), (14, back), (14, plan), (33, plan))
    draw.height = y - 6
    return draw
