"""The clinic of the page, run under Node, says of each run what the package's own clinic says, word for word."""

import dataclasses
import math
import random
import shutil

import pytest
import torch
from test_clinic import EXPECTED, RUNS, recorded
from test_engine import engine

from minigpt_core.study import clinic

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None, reason="Node is not installed: the page's clinic is NOT tested"
)


def number(loss: float) -> float | str:
    """As JSON can carry it and JavaScript's `Number` reads it."""
    return loss if math.isfinite(loss) else str(loss).replace("inf", "Infinity")


def on_the_page(runs: list[dict], reports: list[clinic.Report]) -> list[list[dict]]:
    """What the page finds in these runs, each given as `clinic.examine` takes it; each text travels once."""
    texts = {(id(run["train_ids"]), id(run["val_ids"])): (run["train_ids"], run["val_ids"]) for run in runs}
    places = list(texts)
    questions = [
        {
            "text": places.index((id(run["train_ids"]), id(run["val_ids"]))),
            "training": [number(loss) for loss in run["training"]],
            "validation": [(step, number(loss)) for step, loss in run["validation"].items()],
            "references": report.references,
            "split": run["split"],
            "dropout": run["dropout"],
        }
        for run, report in zip(runs, reports, strict=True)
    ]
    ids = [(train_ids.tolist(), val_ids.tolist()) for train_ids, val_ids in texts.values()]
    return engine("examine", texts=ids, runs=questions)


def findings(report: clinic.Report) -> list[dict]:
    return [dataclasses.asdict(finding) for finding in report.findings]


def test_the_books_own_runs(monkeypatch):
    runs, counts = zip(*map(recorded, RUNS), strict=True)
    counted = iter(counts)
    monkeypatch.setattr(clinic, "_references", lambda *_: next(counted))  # not again for each of fifty runs
    reports = [clinic.examine(**run) for run in runs]
    assert [report.verdict for report in reports] == [EXPECTED[name] for name in RUNS]
    assert on_the_page(runs, reports) == [findings(report) for report in reports]


def random_text(dice: random.Random) -> tuple[torch.Tensor, torch.Tensor, int]:
    """A cycle with noise. Of some, the held-out part begins with a copy, or has tokens that training never saw."""
    kinds, noise = dice.choice([2, 9, 20]), dice.choice([0.02, 0.15, 0.6, 1])

    def part(length: int) -> list[int]:
        return [dice.randrange(kinds) if dice.random() < noise else i % kinds for i in range(length)]

    train_ids, val_ids = part(dice.randint(20, 1500)), part(dice.randint(10, 400))
    if dice.random() < 0.3:
        copied = dice.randrange(len(val_ids))
        val_ids[:copied] = train_ids[:copied]
    strange = dice.choice([0, 0, 0, 3])
    for _ in range(strange and dice.randint(1, 20)):
        val_ids[dice.randrange(len(val_ids))] = dice.randrange(kinds, kinds + strange)
    return torch.tensor(train_ids), torch.tensor(val_ids), kinds + strange


def random_run(dice: random.Random, text: tuple[torch.Tensor, torch.Tensor, int], lines: dict[str, float]) -> dict:
    """Both losses fall, with noise, to near one of the clinic's limits; some validation losses rise at the end, some losses
    are no numbers, and some are whole eighths, which lie in the middle between two numbers of two digits."""
    low, blind = lines["best count"], lines["ln V"]
    goals = [0.6 * low, low - 0.1, low, *(low + share * (lines["1-gram"] - low) for share in (0, 1 / 4, 1 / 2, 1))]
    end = max(0.02, dice.choice([*goals, blind]) + dice.gauss(0, dice.choice([0.002, 0.05])))
    apart, begin = dice.choice([0.3, 0.65, 0.7, 0.9, 1, 1.07, 1.3]), blind + dice.choice([0, 0, 0, 0, 0.5, 5])
    rate, noise = dice.choice([0.05, 0.5, 2, 5, 30]), dice.choice([0, 0.01, 0.1])
    steps = dice.choice([2, 3, 15, 30, 60, 200])

    def loss(goal: float, step: int) -> float:
        return goal + (begin - goal) * math.exp(-rate * step / steps) + noise * dice.gauss(0, 1)

    training = [loss(apart * end, step) for step in range(steps)]
    measured = dice.sample(range(1, steps + 1), dice.randint(1, min(steps, 20)))  # in any order
    rise = dice.choice([0, 0, 0, 0.02, 0.5])
    validation = {step: loss(end, step) + rise * step / steps for step in measured}
    if dice.random() < 0.3:
        training = [round(8 * loss) / 8 for loss in training]
        validation = {step: round(8 * loss) / 8 for step, loss in validation.items()}
    if dice.random() < 0.05:
        wrong = dice.choice([math.nan, math.inf, -math.inf])
        if dice.random() < 0.5:
            training[dice.randrange(steps)] = wrong
        else:
            validation[dice.choice(measured)] = wrong
    known = {"split": dice.choice([None, "documents", "blocks", "tail"]), "dropout": dice.choice([None, 0, 0.0, 0.2])}
    names = ("training", "validation", "train_ids", "val_ids", "vocab_size")
    return dict(zip(names, (training, validation, *text), strict=True)) | known


@pytest.fixture(scope="module")
def made_up() -> tuple[list[clinic.Report], list[list[dict]]]:
    """What the package finds in three thousand runs that dice made up, and what the page finds."""
    dice = random.Random(0)
    texts = [random_text(dice) for _ in range(150)]
    runs, reports = [], []
    for text in texts:
        counted = clinic._references(*text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clinic, "_references", lambda *_, counted=counted: counted)  # once for each text
            for _ in range(20):
                runs.append(random_run(dice, text, counted[0]))
                reports.append(clinic.examine(**runs[-1]))
    return reports, on_the_page(runs, reports)


def test_of_runs_that_dice_made_up_it_finds_the_same(made_up):
    reports, found = made_up
    assert found == [findings(report) for report in reports]


def test_each_cause_and_each_level_is_among_them_and_more_than_one_at_a_time(made_up):
    _, found = made_up
    assert {finding["name"] for each in found for finding in each} == set(clinic.NAMES)
    assert max(map(len, found)) >= 3


@pytest.mark.parametrize(
    "train_ids, val_ids, symptom",
    [
        (torch.zeros(100_000).long(), torch.zeros(500).long(), "100% of the held-out pieces"),  # of one piece alone
        (torch.arange(52), torch.arange(59), "30% of the held-out pieces"),  # 3 of 10, in 32 bits more than 0.3
        (torch.arange(54), torch.arange(57), "62% of the held-out pieces"),  # 62.5
        (torch.arange(56), torch.arange(57), "88% of the held-out pieces"),  # 87.5
        # What stands at the end of the one part and the beginning of the other is no piece of the first.
        (torch.arange(52), torch.tensor([*range(52, 59), *range(3, 59)]), "Verdict: undertrained"),
        (torch.arange(15).repeat(9), torch.arange(16), "6.2% of the held-out tokens"),  # 6.25
    ],
)
def test_shares_at_a_limit_and_in_the_middle_of_two_numbers(train_ids, val_ids, symptom):
    known = {"vocab_size": 60, "split": None, "dropout": None}
    run = {"training": [4.0, 3.0], "validation": {2: 3.0}, "train_ids": train_ids, "val_ids": val_ids} | known
    report = clinic.examine(**run)
    assert symptom in str(report)
    assert on_the_page([run], [report]) == [findings(report)]


@pytest.mark.parametrize("training, validation", [([3.0], [(1, 3.0)]), ([3.0, 2.9], [])])
def test_what_cannot_be_examined_is_refused_in_the_same_sentence(training, validation):
    ids = torch.arange(5)
    with pytest.raises(ValueError) as caught:
        clinic.examine(training, dict(validation), ids, ids, 5)
    run = {"text": 0, "training": training, "validation": validation, "references": {}}
    (answer,) = engine("examine", texts=[[[0], [0]]], runs=[run])
    assert answer == {"refused": str(caught.value)}
