"""Verdicts on runs made up for the purpose, one limit at a time, and on the book's own."""

import json
import math
from pathlib import Path

import pytest
import torch

from minigpt_core import CharTokenizer, clinic, load_corpus, ngram_loss, split_text

RECORDS = Path(__file__).parents[1] / "book" / "records"
V = 20
GENERATOR = torch.Generator().manual_seed(0)
TRAIN, VAL = torch.randint(V, (4000,), generator=GENERATOR), torch.randint(V, (800,), generator=GENERATOR)
BLIND = math.log(V)  # random tokens: no count gets far below


def falling(begin: float, end: float, steps: int = 200) -> list[float]:
    """Straight down, so that it is still falling at the end."""
    return [begin + (end - begin) * i / (steps - 1) for i in range(steps)]


def levelled(begin: float, end: float, steps: int = 200) -> list[float]:
    """Down within the first tenth, then level."""
    return falling(begin, end, steps // 10) + [end] * (steps - steps // 10)


def verdict(training, validation, train_ids=TRAIN, val_ids=VAL) -> str:
    return clinic.examine(training, validation, train_ids, val_ids, V).verdict


def test_the_reference_lines_are_the_counts_of_the_same_text():
    report = clinic.examine([3.0, 2.9], {2: 2.9}, TRAIN, VAL, V)
    assert list(report.references) == ["ln V", "1-gram", "2-gram", "3-gram", "5-gram"]
    assert report.references["3-gram"] == ngram_loss(TRAIN, VAL, 3, V) and report.references["ln V"] == BLIND


@pytest.mark.parametrize(
    "training, validation, expected",
    [
        (falling(3.0, 2.0), {100: 2.6, 200: 2.1}, "healthy"),
        (falling(3.0, 2.0), {100: 2.6, 200: math.nan}, "diverged"),
        ([3.0, math.inf, 2.9], {3: 2.9}, "diverged"),
        (falling(BLIND + 0.6, 2.0), {100: 2.6, 200: 2.1}, "sure from the start"),
        (falling(BLIND + 0.4, 2.0), {100: 2.6, 200: 2.1}, "healthy"),
        (falling(3.0, 0.5), {200: 0.5}, "too good to be true"),
        (levelled(3.0, 0.4), {60: 2.2, 200: 2.9}, "learned by heart"),
        (levelled(3.0, 2.0), {60: 2.2, 200: 2.24}, "healthy"),  # a rise of four hundredths is none
        (levelled(3.0, 2.0), {60: 2.5, 200: 2.35}, "parting"),
        (levelled(3.0, 2.1), {60: 2.5, 200: 2.35}, "healthy"),
        (levelled(3.0, 2.3), {60: 2.5, 200: 2.1}, "dropout at work"),
        (levelled(3.0, 2.15), {60: 2.5, 200: 2.1}, "healthy"),
        (falling(3.1, 2.95), {200: 2.95}, "stuck"),
        (falling(4.0, 2.95), {200: 2.95}, "sure from the start"),
        (levelled(3.0, 2.95), {200: 2.95}, "stuck"),
        (falling(3.4, 2.95), {200: 2.95}, "too short"),
    ],
)
def test_one_limit_at_a_time(training, validation, expected):
    assert verdict(training, validation) == expected


def test_an_unsteady_validation_loss_is_told_from_a_steady_one():
    unsteady = {10 * i: 2.2 + 0.03 * (-1) ** i for i in range(1, 21)}
    steady = {10 * i: 2.2 + 0.003 * (-1) ** i for i in range(1, 21)}
    assert verdict(levelled(3.0, 2.2), unsteady) == "shaky measurement"
    assert verdict(levelled(3.0, 2.2), steady) == "healthy"


def test_tokens_that_training_never_saw_are_found_and_a_few_are_forgiven():
    strange = torch.cat([VAL, torch.full((200,), V - 1)])
    without = TRAIN[TRAIN != V - 1]
    rare = torch.cat([VAL[VAL != V - 1], torch.tensor([V - 1])])
    assert "strange validation part" in verdict(falling(3.0, 2.0), {200: 2.1}, without, strange)
    assert verdict(falling(3.0, 2.0), {200: 2.1}, without, rare) == "healthy"


def test_a_text_that_repeats_itself_is_never_called_healthy():
    """One line over and over, and a book that stands in its file twice: held back are copies of what was learned."""
    line, twice = TRAIN[:39].repeat(100), torch.cat([TRAIN, VAL, TRAIN])
    for train_ids, val_ids in ((line, line[:400]), (twice, TRAIN[1000:1400])):
        for training in (falling(3.0, 2.0), levelled(3.0, 0.01)):
            found = verdict(training, {100: 2.1, 200: training[-1]}, train_ids, val_ids)
            assert "copies held back" in found and "healthy" not in found
    a_fifth = torch.cat([VAL[:600], TRAIN[:200]])
    assert verdict(falling(3.0, 2.0), {200: 2.1}, TRAIN, a_fifth) == "healthy"
    assert verdict(falling(3.0, 2.0), {200: 2.1}, TRAIN, TRAIN[:40]) != "copies held back"  # shorter than a piece


@pytest.mark.parametrize("name", ["tales", "tales_zh"])
def test_no_text_of_the_book_holds_copies_back(name):
    text = load_corpus(name)
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in split_text(text))
    report = clinic.examine([7.0, 6.0], {2: 6.0}, train_ids, val_ids, tokenizer.vocab_size)
    assert "copies" not in report.verdict


def test_the_count_of_pairs_is_the_least_that_a_network_owes():
    """A text in which pairs tell much: what would be fine on random tokens is too little here."""
    cycle = torch.arange(4000) % V
    noisy = torch.where(torch.rand(4000, generator=torch.Generator().manual_seed(1)) < 0.15, TRAIN, cycle)
    pairs = ngram_loss(noisy[:3200], noisy[3200:], 2, V)
    assert pairs < 2
    over, under = 0.97 * pairs, 0.9 * pairs
    assert verdict(falling(3.0, over), {200: over}, noisy[:3200], noisy[3200:]) == "too short"
    assert verdict(falling(3.0, under), {200: under}, noisy[:3200], noisy[3200:]) == "healthy"


def test_the_report_reads_as_a_file_with_every_cure():
    report = clinic.examine(levelled(3.0, 0.4), {60: 2.2, 200: 2.9}, TRAIN, VAL, V)
    text = str(report)
    assert text.startswith("Verdict: learned by heart") and "ended at 0.40 in training, 2.90 held back" in text
    for finding in report.findings:
        assert finding.symptom in text and finding.diagnosis in text and finding.cure in text
    assert "or stop at step 60" in text


def test_too_little_to_examine_is_refused():
    for training, validation in (([3.0], {1: 3.0}), ([3.0, 2.9], {})):
        with pytest.raises(ValueError, match="at least two training losses and one validation loss"):
            clinic.examine(training, validation, TRAIN, VAL, V)


@pytest.fixture(scope="module")
def tales() -> tuple[torch.Tensor, torch.Tensor, int]:
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in split_text(text))
    return train_ids, val_ids, tokenizer.vocab_size


@pytest.mark.parametrize(
    "name, expected",
    [
        ("tales", "healthy"),
        ("seed-3", "healthy"),
        ("window-32", "healthy"),
        ("little-text", "learned by heart"),
        ("short", "too short"),
        ("low-rate", "too short"),
        ("small", "too small or too short"),
        ("high-rate-no-warmup", "stuck"),
        ("no-attention", "stuck"),
    ],
)
def test_the_books_own_runs(name, expected, tales):
    record = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    curve, (train_ids, val_ids, size) = record["curve"], tales
    validation = dict(zip(curve["val_step"], curve["val_loss"], strict=True))
    report = clinic.examine(
        curve["train_loss"], validation, train_ids[: record["settings"]["characters"]], val_ids, size
    )
    assert report.verdict == expected
