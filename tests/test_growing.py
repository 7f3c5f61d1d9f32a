"""The growing model: its numbers by hand, its training beside AdamW written out, and chapter 06's own beside it."""

import copy
import inspect
import itertools
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minigpt_core import CharTokenizer, get_batch, load_corpus
from minigpt_core.study import growing
from minigpt_core.study.growing import Average, Growing, fit, mean_loss, start_small

V, T, C = 7, 4, 5
IDS = torch.randint(V, (60,), generator=torch.manual_seed(3))


def small(mix: nn.Module | None = None, seed: int = 0) -> Growing:
    """A model whose every number has a say."""
    torch.manual_seed(seed)
    model = Growing(V, mix or nn.Identity(), block_size=T, n_embd=C)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


# The parts


def test_an_average_is_the_mean_of_itself_and_of_all_before():
    h = torch.randn(3, 6, C)
    averaged = Average()(h)
    assert averaged.shape == h.shape
    for b, t in itertools.product(range(3), range(6)):
        torch.testing.assert_close(averaged[b, t], sum(h[b, i] for i in range(t + 1)) / (t + 1))


@pytest.mark.parametrize("mix", [nn.Identity(), Average()], ids=["nothing mixed", "averaged"])
@pytest.mark.parametrize("length", [1, T - 1, T])
def test_the_scores_are_those_of_letters_and_places_by_hand(mix, length):
    model = small(mix)
    ids = torch.randint(V, (2, length))
    logits = model(ids)
    assert logits.shape == (2, length, V)
    letters, places, head = model.letters.weight, model.places.weight, model.head.weight
    for b in range(2):
        entrance = [letters[ids[b, t]] + places[t] for t in range(length)]
        for t in range(length):
            h = entrance[t] if isinstance(mix, nn.Identity) else sum(entrance[: t + 1]) / (t + 1)
            torch.testing.assert_close(logits[b, t], torch.stack([h @ row for row in head]))


def test_it_has_three_tables_and_what_its_mix_has():
    def count(model: nn.Module) -> int:
        return sum(p.numel() for p in model.parameters())

    assert count(small()) == V * C + T * C + C * V == 90
    assert count(small(nn.Linear(C, C))) == 90 + C * C + C
    assert count(Growing(60, Average())) == 60 * 128 + 64 * 128 + 128 * 60  # as the chapters make it


def test_it_begins_as_pytorch_draws_it():
    torch.manual_seed(0)
    model = Growing(60, Average())
    for table in (model.letters, model.places):
        assert table.weight.std().item() == pytest.approx(1, rel=0.05)
    most = 1 / math.sqrt(128)  # uniform between minus and plus this
    assert 0.99 * most < model.head.weight.abs().max() <= most


def test_a_small_start_draws_matrices_and_tables_and_leaves_the_rest():
    torch.manual_seed(0)
    model = Growing(60, nn.Sequential(nn.Linear(128, 128), nn.LayerNorm(128)))
    linear = model.mix[0]
    rest = {name: p.detach().clone() for name, p in model.named_parameters() if p.ndim == 1}
    start_small(model)
    for weight in (model.letters.weight, model.places.weight, model.head.weight, linear.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.05) and abs(weight.mean().item()) < 0.001
        assert 2.5 < (weight.abs().max() / weight.std()).item() < 6  # a normal distribution, no uniform one
    assert len(rest) == 3 and all(torch.equal(rest[name], dict(model.named_parameters())[name]) for name in rest)


# The training


def test_the_first_loss_is_that_of_blind_guessing_most_of_all_after_a_small_start():
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    ids = torch.tensor(tokenizer.encode(text[:20_000]))
    blind = math.log(tokenizer.vocab_size)
    torch.manual_seed(0)
    model = Growing(tokenizer.vocab_size, nn.Identity())
    assert 0.05 < abs(next(fit(model, ids)) - blind) < 0.5
    start_small(model)
    assert next(fit(model, ids)) == pytest.approx(blind, abs=0.01)


def test_a_loss_is_of_its_steps_batch_and_of_the_model_before_the_step():
    model = small()
    steps = fit(model, IDS, seed=5)
    for step in range(3):
        before = copy.deepcopy(model)
        x, y = get_batch(IDS, T, growing.BATCH, seed=5, step=step)
        assert next(steps) == F.cross_entropy(before(x).flatten(0, 1), y.flatten()).item()
        assert not torch.equal(model.head.weight, before.head.weight)


def test_its_steps_are_adamws_written_out():
    model = small().double()  # so that ten steps differ by nothing that rounding explains
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    m, v = ({name: torch.zeros_like(w) for name, w in weights.items()} for _ in range(2))
    steps = fit(model, IDS)
    for step in range(10):
        shadow = small().double()
        shadow.load_state_dict(weights)
        x, y = get_batch(IDS, T, 16, seed=0, step=step)
        F.cross_entropy(shadow(x).flatten(0, 1), y.flatten()).backward()
        rate = 3e-3 * (step + 1) / 50 * (900 - step) / 900
        for name, parameter in shadow.named_parameters():
            m[name] = 0.9 * m[name] + 0.1 * parameter.grad
            v[name] = 0.99 * v[name] + 0.01 * parameter.grad**2
            turn = (m[name] / (1 - 0.9 ** (step + 1))) / ((v[name] / (1 - 0.99 ** (step + 1))).sqrt() + 1e-8)
            weights[name] = weights[name] * (1 - rate * 0.01) - rate * turn
        next(steps)
    torch.testing.assert_close(dict(model.named_parameters()), weights, rtol=0, atol=1e-12)


def test_the_rate_rises_for_fifty_steps_and_falls_to_zero_at_the_end(monkeypatch):
    rates = []

    class Watched(torch.optim.AdamW):
        def step(self):
            rates.append(self.param_groups[0]["lr"])
            return super().step()

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    cycle = torch.arange(V).repeat(20)
    losses = list(fit(small(), cycle))
    assert len(losses) == len(rates) == 900
    known = {0: 6e-5, 24: 1.46e-3, 49: 2.83666667e-3, 450: 1.5e-3, 899: 3e-3 / 900}  # 24: half risen, 24/900 fallen
    assert {step: rates[step] for step in known} == pytest.approx(known)
    assert rates[:50] == sorted(rates[:50]) and max(rates) == rates[49]
    falls = [a - b for a, b in itertools.pairwise(rates[49:])]
    assert falls == pytest.approx([3e-3 / 900] * 850)  # one straight line, one more step of which would end at zero
    assert losses[-1] < 0.1 * losses[0]  # what follows each letter is certain, and it is learned


def test_a_run_is_repeated_by_its_seed_whatever_else_is_drawn():
    def losses(seed: int) -> list[float]:
        found = []
        for loss in itertools.islice(fit(small(), IDS, seed), 5):
            torch.rand(3)  # a program that draws between the steps
            found.append(loss)
        return found

    first = losses(1)
    torch.manual_seed(99)
    assert losses(1) == first
    assert losses(2) != first and losses(0) == list(itertools.islice(fit(small(), IDS), 5))


def test_a_text_shorter_than_a_window_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=rf"one window needs block_size \+ 1 = {T + 1} tokens, but there are {T}"):
        next(fit(small(), IDS[:T]))


# The loss


@pytest.mark.parametrize("length", [T + 1, 2 * T, 2 * T + 1, 41, len(IDS)])
def test_the_mean_loss_is_that_of_a_plain_loop_over_windows(length):
    model, ids = small(Average()), IDS[:length]
    losses = []
    start = 0
    while start + T + 1 <= length:
        x, y = ids[start : start + T], ids[start + 1 : start + T + 1]
        losses += [F.cross_entropy(model(x[None])[0, t], y[t]).item() for t in range(T)]
        start += T
    assert len(losses) == T * ((length - 1) // T) > 0
    assert mean_loss(model, ids) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_the_mean_loss_keeps_nothing_for_slopes():
    class Asked(nn.Identity):
        def forward(self, h):
            assert not torch.is_grad_enabled()
            return h

    assert mean_loss(small(Asked()), IDS) == mean_loss(small(), IDS)


# The chapter


def test_it_is_what_chapter_06_writes_by_hand(monkeypatch):
    path = Path(__file__).parents[1] / "notebooks" / "06_attention.ipynb"
    sources = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    names = {"V": V, "block_size": T, "n_embd": C, "train_ids": IDS, "val_ids": IDS, "torch": torch, "nn": nn}
    names |= {"F": F, "get_batch": get_batch, "tqdm": lambda steps, **_: steps}
    for kind, name in [("class", "Average"), ("class", "Growing"), ("class", "Placed"), ("def", "fit")]:
        (code,) = (
            s
            for source in sources
            for s in re.findall(rf"^{kind} {name}\b(?:.*\n)+?(?=\S|\Z)", source + "\n", re.MULTILINE)
        )
        exec(code, names)
    loss = next(source for source in sources if "def validation_loss" in source)
    exec(re.search(r"@torch.no_grad\(\)\ndef validation_loss(?:.*\n)+?(?=\S)", loss)[0], names)

    theirs, ours = names["Placed"](names["Average"]()), small(Average())
    theirs.load_state_dict(ours.state_dict())
    assert names["validation_loss"](theirs) == mean_loss(ours, IDS)
    assert inspect.signature(names["fit"]).parameters["steps"].default == growing.STEPS
    monkeypatch.setattr(growing, "STEPS", 60)
    names["fit"](theirs, 60)
    assert len(list(fit(ours, IDS))) == 60
    assert all(torch.equal(weight, theirs.state_dict()[name]) for name, weight in ours.state_dict().items())
