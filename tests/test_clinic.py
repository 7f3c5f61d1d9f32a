"""Verdicts on runs made up for the purpose, one limit at a time, and on the book's own."""

import functools
import json
import math
from pathlib import Path

import numpy
import pytest
import torch

from minigpt_core import CharTokenizer, load_corpus, ngram_loss, split_text
from minigpt_core.study import clinic

RECORDS = Path(__file__).parents[1] / "book" / "records"
V = 20
BLIND = math.log(V)


def noisy_cycle(n: int, seed: int) -> torch.Tensor:
    """0, 1, 2 and so on, over and over, with one token in seven drawn at random: something to learn, and something not."""
    generator = torch.Generator().manual_seed(seed)
    noise, wild = torch.randint(V, (n,), generator=generator), torch.rand(n, generator=generator) < 0.15
    return torch.where(wild, noise, torch.arange(n) % V)


TRAIN, VAL = noisy_cycle(4000, seed=0), noisy_cycle(800, seed=1)
LINES, ORDER = clinic._references(TRAIN, VAL, V)
BEST, GAIN = LINES["best count"], LINES["1-gram"] - LINES["best count"]
QUARTER, HALF = BEST + GAIN / 4, BEST + GAIN / 2  # where underfitting begins, and where being undertrained does


def falling(begin: float, end: float, steps: int = 200) -> list[float]:
    """Straight down, so that it is still falling at the end."""
    return [begin + (end - begin) * i / (steps - 1) for i in range(steps)]


def levelled(begin: float, end: float, steps: int = 200) -> list[float]:
    """Down within the first tenth, then level."""
    return falling(begin, end, steps // 10) + [end] * (steps - steps // 10)


def examined(training, validation, train_ids=TRAIN, val_ids=VAL, **known) -> clinic.Report:
    return clinic.examine(training, validation, train_ids, val_ids, V, **known)


def verdict(*args, **known) -> str:
    return examined(*args, **known).verdict


def test_the_reference_lines_are_the_counts_of_the_same_text_and_the_last_is_the_best_of_all_orders():
    report = examined([3.0, 2.9], {2: 2.9})
    assert list(report.references) == ["ln V", "1-gram", "2-gram", "3-gram", "5-gram", "best count"]
    assert report.references["3-gram"] == pytest.approx(ngram_loss(TRAIN, VAL, 3, V, smoothing="kneser-ney"))
    losses = [ngram_loss(TRAIN, VAL, n, V) for n in range(1, 10)]
    assert report.references["best count"] == pytest.approx(min(losses))
    assert losses[report.best_order - 1] == min(losses)
    assert f"best count {min(losses):.2f} ({report.best_order}-gram)" in str(report)
    assert report.references["ln V"] == BLIND and 0.8 < BEST < 1.2 < GAIN < 2.3


def test_of_a_very_long_text_only_the_beginning_is_counted(monkeypatch):
    monkeypatch.setattr(clinic, "COUNTED", 500)
    counted = examined([3.0, 2.9], {2: 2.9}).references["2-gram"]
    assert counted == pytest.approx(ngram_loss(TRAIN[:500], VAL[:500], 2, V)) != LINES["2-gram"]


@pytest.mark.parametrize(
    "training, validation, expected",
    [
        (falling(3.0, 1.0), {100: 1.6, 200: 1.1}, "healthy"),
        (falling(3.0, 1.0), {100: 1.6, 200: math.nan}, "diverged"),
        (falling(BLIND + 9, math.nan), {200: math.nan}, "diverged"),  # and of numbers that are none, nothing else
        ([3.0, math.inf, 1.1], {3: 1.1}, "diverged"),
        (falling(BLIND + 0.6, 1.0), {100: 1.6, 200: 1.1}, "initial weights too large"),
        (falling(BLIND + 0.4, 1.0), {100: 1.6, 200: 1.1}, "healthy"),
        (levelled(3.0, 0.58 * BEST), {200: 0.58 * BEST}, "target leakage"),
        (levelled(3.0, 0.62 * BEST), {200: 0.62 * BEST}, "healthy"),
        (levelled(3.0, 0.2), {60: 1.1, 200: 1.6}, "overfitting"),
        (levelled(3.0, 1.0), {60: 1.1, 200: 1.12}, "healthy"),  # a rise of two hundredths is none
        (levelled(3.0, 1.0), {60: 1.1, 200: 1.14}, "overfitting"),
        (levelled(3.0, 0.75), {60: 1.2, 200: 1.1}, "overfitting begins"),
        (levelled(3.0, 0.8), {60: 1.2, 200: 1.1}, "healthy"),
        (levelled(3.0, 1.2), {60: 1.3, 200: 1.1}, "validation below training"),
        (levelled(3.0, 1.15), {60: 1.3, 200: 1.1}, "healthy"),
        (levelled(3.0, QUARTER - 0.02), {200: QUARTER - 0.02}, "healthy"),
        (levelled(3.0, QUARTER + 0.02), {200: QUARTER + 0.02}, "underfitting"),
        (levelled(3.0, HALF - 0.02), {200: HALF - 0.02}, "underfitting"),
        (levelled(3.0, HALF + 0.02), {200: HALF + 0.02}, "stalled"),
        (falling(3.0, HALF + 0.02), {200: HALF + 0.02}, "undertrained"),
        (falling(HALF + 0.2, HALF + 0.02), {200: HALF + 0.02}, "stalled"),
        (levelled(3.0, 1.3 * QUARTER), {200: 1.1 * QUARTER}, "underfitting"),  # more than that it lies below training
    ],
)
def test_one_limit_at_a_time(training, validation, expected):
    assert verdict(training, validation) == expected


@pytest.mark.parametrize(
    "held, fall, expected",
    [(2.3, 0.07, False), (2.3, 0.04, True), (2.5, 0.07, True), (2.5, 0.13, False), (2.0, 0.0, False)],
)
def test_a_run_past_the_pairs_may_learn_more_slowly_before_it_is_called_stalled(held, fall, expected):
    lines = {"ln V": 4.0, "1-gram": 3.0, "2-gram": 2.4, "best count": 1.2}  # so half is 2.1
    training = [held + fall * 1.8] * 100 + [held] * 100
    found = clinic.stalled(clinic.Run(training, {200: held}, TRAIN, VAL, lines, None, None))
    assert (found is not None) == expected


def test_the_lines_of_another_text_move_the_limits():
    """The same losses on a text that counting knows less of: what was a part of what can be learned is all of it."""
    random = torch.randint(V, (4000,), generator=torch.Generator().manual_seed(0))
    losses = levelled(3.0, BLIND - 0.01), {200: BLIND - 0.01}
    assert verdict(*losses) == "stalled"
    assert verdict(*losses, random[:3200], random[3200:]) == "healthy"


def test_a_healthy_run_says_what_it_beats_and_what_it_loses_to():
    (finding,) = examined(levelled(3.0, 1.0), {200: BEST + 0.2}).findings
    assert "and beats ln V, 1-gram, 2-gram, and loses to the best count by 0.20" in finding.symptom
    (finding,) = examined(levelled(3.0, 1.0), {200: BEST - 0.01}).findings
    assert finding.symptom.endswith("best count.") and "loses" not in finding.symptom


def test_an_unsteady_validation_loss_is_told_from_a_steady_one():
    unsteady = {10 * i: 1.1 + 0.015 * (-1) ** i for i in range(1, 21)}
    steady = {10 * i: 1.1 + 0.0015 * (-1) ** i for i in range(1, 21)}
    assert verdict(levelled(3.0, 1.1), unsteady) == "noisy validation loss"
    assert verdict(levelled(3.0, 1.1), steady) == "healthy"


def test_advice_looks_at_what_was_already_done():
    shifted = torch.cat([VAL, torch.full((200,), V - 1)])
    without = TRAIN[TRAIN != V - 1]
    for split, expected in (
        (None, 'how="documents"'),
        ("tail", 'how="documents"'),
        ("blocks", "more text of each kind"),
        ("documents", "more text of each kind"),
    ):
        report = examined(falling(3.0, 1.0), {200: 2.0}, without, shifted, split=split)
        assert report.findings[0].name == "distribution shift" and expected in report.findings[0].cure
    wide = levelled(3.0, 0.7), {60: 1.2, 200: 1.1}
    for split, advised in ((None, True), ("tail", True), ("blocks", False), ("documents", False)):
        assert ("another split" in examined(*wide, split=split).findings[0].cure) == advised
    for losses in (wide, (levelled(3.0, 0.2), {60: 1.1, 200: 1.6})):
        for dropout, advised in ((None, "; dropout"), (0.0, "; dropout"), (0.2, "; more dropout")):
            assert advised in examined(*losses, dropout=dropout).findings[0].cure
    above = levelled(3.0, 1.2), {60: 1.3, 200: 1.1}
    for dropout, cure in ((None, "nothing, if there is dropout"), (0.2, "nothing."), (0.0, "another split.")):
        assert examined(*above, dropout=dropout).findings[0].cure.startswith(cure)
    high = levelled(3.0, QUARTER + 0.1), {200: QUARTER + 0.1}
    assert [examined(*high, dropout=d).findings[0].cure.startswith("less dropout") for d in (None, 0.0, 0.2)] == [
        False,
        False,
        True,
    ]


def test_tokens_that_training_never_saw_are_found_and_a_few_are_forgiven():
    shifted = torch.cat([VAL, torch.full((200,), V - 1)])
    without = TRAIN[TRAIN != V - 1]
    rare = torch.cat([VAL[VAL != V - 1], torch.tensor([V - 1])])
    assert "distribution shift" in verdict(falling(3.0, 1.0), {200: 1.1}, without, shifted)
    assert verdict(falling(3.0, 1.0), {200: 1.1}, without, rare) == "healthy"


def zipf(n: int, kinds: int, seed: int) -> torch.Tensor:
    """A text with a long tail of rare tokens, as one in Chinese characters has, or one in words."""
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(1 / torch.arange(3, kinds + 3).double(), n, replacement=True, generator=generator)


def test_new_tokens_are_judged_by_what_the_text_itself_makes_usual():
    """Of 3,000 kinds, three in a hundred held-out tokens are new; where as many are new of 20 kinds, the parts differ."""
    kinds, falls = 3000, (falling(8.0, 5.0), {200: 5.5})
    train_ids, val_ids = zipf(26_000, kinds, seed=0), zipf(2900, kinds, seed=1)
    unseen = 1 - torch.isin(val_ids, train_ids).float().mean().item()
    assert 0.01 < unseen < 0.05
    assert "shift" not in clinic.examine(*falls, train_ids, val_ids, kinds).verdict
    strange = val_ids.clone()
    strange[:400] = kinds  # a token that the training part does not have
    assert "distribution shift" in clinic.examine(*falls, train_ids, strange, kinds + 1).verdict
    few = torch.cat([VAL, torch.full((round(1.5 * unseen * len(VAL)),), V - 1)])
    assert "distribution shift" in verdict(falling(3.0, 1.0), {200: 1.1}, TRAIN[TRAIN != V - 1], few)


@pytest.mark.parametrize(
    "how, pieces", [("documents", [(0, None)]), ("blocks", [(0, None), (0, 8000)]), ("tail", [(0, None), (0, 8000)])]
)
def test_no_split_of_the_chinese_tales_is_a_shift(how, pieces):
    text = load_corpus("tales_zh")
    tokenizer = CharTokenizer.train(text)
    for begin, end in pieces:
        train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in split_text(text[begin:end], how))
        report = clinic.examine([7.0, 5.0], {2: 5.0}, train_ids, val_ids, tokenizer.vocab_size, split=how)
        assert "shift" not in report.verdict


def test_a_text_that_repeats_itself_is_never_called_healthy():
    """One line over and over, and a book that stands in its file twice: held out are copies of what was learned."""
    line, twice = TRAIN[:39].repeat(100), torch.cat([TRAIN, VAL, TRAIN])
    for train_ids, val_ids in ((line, line[:400]), (twice, TRAIN[1000:1400])):
        for training in (falling(3.0, 1.0), levelled(3.0, 0.01)):
            found = verdict(training, {100: 2.1, 200: training[-1]}, train_ids, val_ids)
            assert "data leakage" in found and "healthy" not in found
    a_fifth = torch.cat([VAL[:600], TRAIN[:200]])
    assert verdict(falling(3.0, 1.0), {200: 1.1}, TRAIN, a_fifth) == "healthy"
    assert "data leakage" not in verdict(falling(3.0, 1.0), {200: 1.1}, TRAIN, TRAIN[:40])  # shorter than a piece


@pytest.mark.parametrize("name", ["tales", "tales_zh"])
def test_no_text_of_the_book_holds_copies_out(name):
    text = load_corpus(name)
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in split_text(text))
    report = clinic.examine([7.0, 6.0], {2: 6.0}, train_ids, val_ids, tokenizer.vocab_size)
    assert "leakage" not in report.verdict and "shift" not in report.verdict


def test_the_report_reads_as_a_file_with_every_cure():
    report = examined(levelled(3.0, 0.2), {60: 1.1, 200: 1.6})
    text = str(report)
    assert text.startswith("Verdict: overfitting")
    assert "ended at a training loss of 0.20, a validation loss of 1.60" in text
    for finding in report.findings:
        assert finding.symptom in text and finding.diagnosis in text and finding.cure in text
    assert "or stop at step 60" in text


def test_every_cause_and_every_level_can_be_found_and_each_reads_alone():
    """By the functions' own names: none is dead, and each answers without the others."""
    names = {}
    for training, validation in (
        ([3.0, math.nan], {2: 1.0}),
        ([9.0, 1.0], {2: 1.1}),
        (levelled(3.0, 0.2), {60: 1.1, 200: 1.6}),
        (levelled(3.0, 0.75), {60: 1.2, 200: 1.1}),
        (levelled(3.0, 0.2), {200: 0.2}),
        (levelled(3.0, 1.1), {10 * i: 1.1 + 0.015 * (-1) ** i for i in range(1, 21)}),
        (levelled(3.0, HALF + 0.02), {200: HALF + 0.02}),
        (falling(3.0, HALF + 0.02), {200: HALF + 0.02}),
        (levelled(3.0, QUARTER + 0.02), {200: QUARTER + 0.02}),
        (levelled(3.0, 1.2), {200: 1.1}),
        (levelled(3.0, 1.1), {200: 1.1}),
    ):
        run = clinic.Run(training, validation, TRAIN, VAL, LINES, None, None)
        for function in (*clinic.CAUSES, *clinic.LEVELS):
            if finding := function(run):
                names.setdefault(function.__name__, set()).add(finding.name)
                assert all((finding.symptom, finding.diagnosis, finding.cure))
    assert len(names) == len(clinic.CAUSES) + len(clinic.LEVELS) - 2  # the two that look at the text alone
    assert all(found == {rule.replace("_", " ")} for rule, found in names.items())  # as clinic.NAMES has them


@pytest.mark.parametrize(
    "change, message",
    [
        ({"training": [3.0]}, "at least two training losses and one validation loss"),
        ({"validation": {}}, "at least two training losses and one validation loss"),
        ({"validation": {3: 2.9}}, "validation loss of step 3, but training losses of steps 1 to 2"),
        ({"validation": {0: 2.9}}, "validation loss of step 0, but"),
        ({"validation": {"2": 2.9}}, "validation loss of step '2', but"),
        ({"validation": {2: None}}, "a loss is None"),
        ({"training": [3.0, "2.9"]}, "a loss is '2.9'"),
        ({"train_ids": TRAIN[:0]}, "nothing to count: 0 training and 800 validation tokens"),
        ({"train_ids": [1, 2, 3]}, "train_ids must be a tensor .* but is a list"),
        ({"val_ids": VAL.float()}, "val_ids must be a tensor of int64 .* but is torch.float32"),
        ({"val_ids": VAL[None]}, r"val_ids must be a tensor .* of shape \(1, 800\)"),
        ({"val_ids": VAL + 1}, "val_ids must lie from 0 to 19, .* but go from 1 to 20"),
        ({"train_ids": TRAIN - 1}, "train_ids must lie from 0 to 19, .* but go from -1 to 18"),
    ],
)
def test_what_cannot_be_examined_is_refused_in_one_sentence(change, message):
    arguments = {"training": [3.0, 2.9], "validation": {2: 2.9}, "train_ids": TRAIN, "val_ids": VAL} | change
    with pytest.raises(ValueError, match=message) as caught:
        clinic.examine(**arguments, vocab_size=V)
    assert "\n" not in str(caught.value)


def test_numbers_of_other_programs_are_numbers():
    losses = numpy.array([3.0, 1.1], dtype=numpy.float32)
    assert verdict(list(losses), {numpy.int64(2): losses[1]}) == verdict([3.0, 1.1], {2: 1.1})


# What is known of each recorded run: those that end near the run of chapter 08 are healthy, by its own five seeds; those
# that miss a part, look back four letters only or are 16 wide fit less; and so on.
KNOWN = {
    "healthy": ["tales", "film", "no-warmup", "no-clipping", "high-rate", "high-rate-no-clipping", "dropout",
                "attention-dropout", "no-pre-norm", "muon", "muon-layers-1", "muon-layers-4", "layers-6-no-pre-norm",
                "long-layers-1", "long-muon", "long-attention-dropout", "window-128-longer", "film-zh",
                *(f"seed-{n}" for n in (1, 2, 3, 4)), *(f"heads-{n}" for n in (1, 2, 8)),
                *(f"layers-{n}" for n in (1, 4, 6)), *(f"layers-{n}-scaled" for n in (4, 6)),
                *(f"layers-{n}-{share}-rate" for n in (1, 2, 4, 6) for share in ("half", "third")),
                *(f"window-{n}" for n in (8, 16, 32, 128))],
    "overfitting": ["little-text", "muon-little-text"],
    "undertrained": ["short", "low-rate"],
    "underfitting": ["small", "no-feed-forward", "no-norm", "no-positions", "window-4"],
    "stalled": ["high-rate-no-warmup", "no-attention", "no-residual", "layers-6-no-residual"],
}  # fmt: skip
EXPECTED = {name: expected for expected, names in KNOWN.items() for name in names}


RUNS = sorted(
    {path.stem for path in RECORDS.glob("*.json")}
    - {"corpora", "drift", "ladder", "memory", "neural", "parts", "prepare", "real", "scaling-books"}
    - {"scaling-language", "staircase"}
)


@functools.cache
def parts(corpus: str, split: str, characters: int | None) -> tuple[torch.Tensor, torch.Tensor, int, tuple]:
    """The parts of a corpus as a record has them, the size of its vocabulary, and what counting reaches."""
    text = load_corpus(corpus)
    tokenizer = CharTokenizer.train(text)
    cut = split_text(text, split, parts=3 if split == "documents" else 2)  # by documents, a test part is left alone
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in cut[:2])
    train_ids = train_ids[:characters]
    return train_ids, val_ids, tokenizer.vocab_size, clinic._references(train_ids, val_ids, tokenizer.vocab_size)


def recorded(name: str) -> tuple[dict, tuple]:
    """What `examine` takes of a recorded run, and what counting reaches on its text."""
    record = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    curve, settings = record["curve"], record["settings"]
    train_ids, val_ids, size, counted = parts(settings["corpus"], settings["split"], settings["characters"])
    run = {
        "training": curve["train_loss"],
        "validation": dict(zip(curve["val_step"], curve["val_loss"], strict=True)),
        "train_ids": train_ids,
        "val_ids": val_ids,
        "vocab_size": size,
        "split": settings["split"],
        "dropout": settings["model"]["dropout"],
    }
    return run, counted


@pytest.mark.parametrize("name", RUNS)
def test_the_books_own_runs(name, monkeypatch):
    run, counted = recorded(name)
    monkeypatch.setattr(clinic, "_references", lambda *_: counted)  # not again for each of fifty runs
    assert clinic.examine(**run).verdict == EXPECTED[name]
