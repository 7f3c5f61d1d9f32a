"""The law of size and text, the language of known entropy, and the study that brings both together."""

import itertools
import json
import math
import random

import numpy as np
import pytest
import scaling
import torch
from scipy.optimize import minimize_scalar

from minigpt_core.notebook import viz
from minigpt_core.study.counting import ngram_loss
from minigpt_core.study.language import LETTERS, Language, floor
from minigpt_core.study.scaling import Fit, Law, fit_law

HOFFMANN = Law(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28)
GRID = list(itertools.product((1e4, 3e4, 1e5, 4e5, 2e6, 5e6), (2e5, 8e5, 3.2e6)))
SMALL = Law(E=1.0, A=8.0, alpha=0.3, B=60.0, beta=0.35)  # in the study's range, each part is worth something


# The law


@pytest.mark.parametrize("law", [HOFFMANN, SMALL])
@pytest.mark.parametrize("flops", [1e13, 1e18, 5.76e23])
def test_the_best_division_of_a_budget_is_the_lowest_point_of_the_valley(law, flops):
    size, tokens = law.best(flops)
    assert 6 * size * tokens == pytest.approx(flops)
    found = minimize_scalar(lambda s: law.loss(math.exp(s), flops / 6 / math.exp(s)), (0, 50), tol=1e-10)
    assert math.log(size) == pytest.approx(found.x, abs=1e-3)


def test_a_law_is_found_again_in_losses_without_noise():
    fit = fit_law((n, d, SMALL.loss(n, d)) for n, d in GRID)
    for name in ("E", "A", "alpha", "B", "beta"):
        assert getattr(fit.law, name) == pytest.approx(getattr(SMALL, name), rel=1e-3), name
    assert fit.miss < 1e-6


def test_the_errors_of_a_fit_are_as_large_as_its_mistakes():
    """With noise of 0.01 nats, the truth lies within one standard error in about two of three fits, within two in nearly all."""
    within = {name: [] for name in ("E", "alpha", "beta", "prediction")}
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(0, 0.01, len(GRID))
        fit = fit_law((n, d, SMALL.loss(n, d) + e) for (n, d), e in zip(GRID, noise, strict=True))
        for name in ("E", "alpha", "beta"):
            within[name].append(abs(getattr(fit.law, name) - getattr(SMALL, name)) / fit.errors[name])
        expected, error = fit.predict(9e5, 3.2e6)
        within["prediction"].append(abs(expected - SMALL.loss(9e5, 3.2e6)) / error)
        assert 0.004 < fit.miss < 0.02
    for name in ("E", "alpha", "beta"):
        assert 0.5 < np.mean(np.array(within[name]) < 1) < 0.85, name
        assert np.mean(np.array(within[name]) < 2) > 0.85, name
    assert np.mean(np.array(within["prediction"]) < 1) > 0.9  # its error counts a new run's own noise as well


@pytest.mark.parametrize(
    "runs", [GRID[:5], [(1e4, d) for d in (1e5, 2e5, 3e5, 4e5, 5e5, 6e5)], [(n, 1e5) for n in range(1, 8)]]
)
def test_too_few_runs_for_a_law_are_refused(runs):
    with pytest.raises(ValueError, match="give more sizes and amounts"):
        fit_law((n, d, SMALL.loss(n, d)) for n, d in runs)


# The language


def test_the_entropy_is_the_surprise_of_a_long_text_at_the_true_probabilities():
    language = Language(order=2)
    text = language.draw(300_000, seed=1)
    ids = np.array([LETTERS.index(letter) for letter in text])
    contexts = ids[:-2] * 16 + ids[1:-1]
    assert -np.log(language.chain[contexts, ids[2:]]).mean() == pytest.approx(language.entropy, abs=0.01)
    assert np.bincount(contexts, minlength=256) / len(contexts) == pytest.approx(language.shares, abs=0.005)
    assert language.chain.sum(1) == pytest.approx(1) and language.chain.min() > 0


def test_what_counting_finds_in_much_text_is_what_the_language_says_of_short_contexts():
    language = Language(order=3)
    counted = torch.tensor([LETTERS.index(letter) for letter in language.draw(400_000, seed=1)])
    for n, expected in enumerate(language.entropies()[:3], start=1):  # an n-gram sees n - 1 letters
        assert ngram_loss(counted[:350_000], counted[350_000:], n, 16) == pytest.approx(expected, abs=0.02)
    assert language.entropies() == sorted(language.entropies(), reverse=True)


def test_the_reader_who_knows_the_language_finds_each_windows_probability():
    """By the definition: the share of the first letters, times the chain from there on."""
    language = Language(order=2, seed=3)
    text = language.draw(500, seed=1)
    windows = [text[i : i + 9] for i in range(0, 490, 7)]
    for window, losses in zip(windows, language.losses(windows).tolist(), strict=True):
        ids = [LETTERS.index(letter) for letter in window]
        likely = language.shares.reshape(16, 16)[ids[0], ids[1]]
        for place in range(2, len(ids)):
            likely *= language.chain[ids[place - 2] * 16 + ids[place - 1], ids[place]]
        assert sum(losses) == pytest.approx(-math.log(likely))
    every = [windows[0][:1] + letter for letter in LETTERS]
    assert (-language.losses(every)[:, -1]).exp().sum().item() == pytest.approx(1)  # all next letters together


def test_the_readers_loss_falls_to_the_entropy():
    language = Language(order=3)
    text = language.draw(200_000, seed=1)
    losses = language.losses([text[i : i + 50] for i in range(0, 200_000, 50)]).mean(0)
    assert losses[:4].tolist() == pytest.approx(language.entropies(), abs=0.05)
    assert losses[4:].mean().item() == pytest.approx(language.entropy, abs=0.01)
    assert floor(language, text, 16) > floor(language, text, 64) > language.entropy


def test_a_language_follows_from_its_seed_and_refuses_what_it_cannot_be():
    small = Language(order=1)
    assert small.draw(500, 1) == Language(order=1).draw(500, 1) != small.draw(500, 2)
    assert not np.array_equal(small.chain, Language(order=1, seed=1).chain)
    for order in (0, 6):
        with pytest.raises(ValueError, match="between 1 and 5"):
            Language(order=order)


# The study


def test_pieces_of_the_books_end_with_paragraphs_and_lose_nothing():
    random.seed(0)
    text = "".join("x" * random.randint(1, 900) + "\n" * random.randint(1, 4) for _ in range(200)) + "the end"
    pieces = scaling.cut(text)
    assert "".join(pieces) == text and len(pieces) > 10
    assert all(len(piece) >= 2000 and piece.endswith("\n\n") for piece in pieces[:-1])


def test_the_rate_of_a_width_lies_on_the_line_through_the_lowest_points():
    def loss(width, rate):  # lowest at 0.1 / width
        return 2 + (math.log(rate) - math.log(0.1 / width)) ** 2

    tuning = [{"width": w, "rate": r, "loss": loss(w, r)} for w in scaling.RATES for r in (0.03 / w, 0.1 / w, 0.4 / w)]
    for width in (16, 100, 448):
        assert scaling.rate_for(width, tuning) == pytest.approx(0.1 / width, rel=0.06)  # of two digits


class Killed(Exception):
    pass


def test_a_study_that_is_killed_goes_on_and_predicts_before_it_runs(tmp_path, monkeypatch):
    ran = []

    def fake(name, width, amount, rate, seed, part="val", only=None):
        if len(ran) in (5, 12, 30, 43):
            ran.append("killed")
            raise Killed
        ran.append((width, amount, rate, seed, part))
        size = scaling.shape(30, width).n_parameters
        loss = SMALL.loss(size, amount) if part == "val" else (math.log(rate * width) - math.log(0.1)) ** 2
        return {"width": width, "amount": amount, "rate": rate, "seed": seed, "parameters": size, "loss": loss}

    monkeypatch.setattr(scaling, "RECORDS", tmp_path)
    monkeypatch.setattr(scaling, "run", fake)
    monkeypatch.setattr(scaling, "counted", lambda name, amount: {"1-gram": 2.0})
    monkeypatch.setattr(scaling, "texts", lambda name: (*3 * [torch.zeros(1)], 30))
    while True:
        try:
            scaling.make("books")
            break
        except Killed:
            record = json.loads(scaling.path_of("books").read_text())
            assert len(record["tuning"]) + len(record["runs"]) == len([r for r in ran if r != "killed"])
            if any(run["width"] == scaling.HELD_OUT for run in record["runs"]):
                assert "predicted" in record
    done = [run for run in ran if run != "killed"]
    assert len(done) == len(set(done)) == 9 + 18 + 18 + 3 and ran.count("killed") == 4
    record = json.loads(scaling.path_of("books").read_text())
    for run in record["runs"]:
        if run["width"] == scaling.HELD_OUT:
            assert record["predicted"][str(run["amount"])][0] == pytest.approx(run["loss"], abs=1e-3)


@pytest.mark.parametrize("name", scaling.TEXTS)
def test_the_records_of_the_study_are_whole_and_their_prediction_is_that_of_the_other_runs(name):
    record = json.loads(scaling.path_of(name).read_text(encoding="utf-8"))
    first = [run for run in record["runs"] if run["seed"] == 0 and run["width"] != scaling.HELD_OUT]
    assert len(first) == 18 and len(record["runs"]) == 39
    sizes = sorted({run["parameters"] for run in first})
    assert sizes[0] < 15_000 and sizes[-1] > 4.5e6 and len(sizes) == 6
    fit = fit_law((run["parameters"], run["amount"], run["loss"]) for run in first)
    size = next(run["parameters"] for run in record["runs"] if run["width"] == scaling.HELD_OUT)
    assert sizes[0] < size < sizes[-1]
    for amount, expected in record["predicted"].items():
        assert fit.predict(size, int(amount)) == pytest.approx(expected, abs=2e-4)
    assert {len(counts) for counts in record["counts"].values()} == {scaling.LONGEST}
    for run in record["runs"]:
        assert run["rate"] == scaling.rate_for(run["width"], record["tuning"])


@pytest.mark.parametrize("name", scaling.TEXTS)
def test_no_record_of_the_study_is_stale(name):
    try:
        scaling.texts(name)
    except ValueError as problem:
        pytest.skip(f"the record scaling-{name} is NOT checked: {problem}")
    assert scaling.stale(name) is None


def test_the_figure_of_a_study_draws_marks_lines_crosses_and_the_floor():
    amounts = {"few": {1e4: 2.0, 1e5: 1.8}, "many": {1e4: 1.7, 1e5: 1.2}}
    laws = {"few": lambda n: 2.0, "many": lambda n: 1.5}
    options = {"held_out": {"many": {3e4: 1.4}}, "floor": ("the floor", 1.0), "title": "t"}
    axes = viz.scaling(amounts, laws, **options).axes[0]
    assert [text.get_text() for text in axes.texts] == ["few", "many", "the floor 1.000"]
    assert [line.get_marker() for line in axes.lines].count("x") == 2 and axes.get_xscale() == "log"
    with pytest.raises(ValueError, match="each amount needs a law"):
        viz.scaling(amounts, {}, held_out={}, title="t")


def test_a_fit_predicts_what_its_law_says():
    fit = Fit(SMALL, {}, np.zeros((5, 5)).tolist(), 0.02)
    assert fit.predict(1e5, 1e6) == (SMALL.loss(1e5, 1e6), 0.02)
