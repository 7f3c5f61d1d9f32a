"""The staircase: each step is one change to the growing model, and its record is of these runs, whole, and not stale."""

import itertools
import json
import math
import sys
from pathlib import Path

import pytest
import staircase as tool
import torch
from torch import nn

from minigpt_core import load_pretrained, ngram_loss

ROOT = Path(__file__).parents[1]
RECORD = json.loads(tool.RECORD.read_text(encoding="utf-8"))
TRAINED = {name: RECORD["steps"][name] for name in tool.MIXES if name in RECORD["steps"]}
V, T, C = 60, 64, 128


def test_the_record_is_not_stale():
    assert tool.stale() is None


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A copy of the record, to be changed, and a function that writes it where the check looks. What counting, neural.json
    and the card say is taken from the record as it is: not counted anew for each change."""
    names = list(RECORD["steps"])
    first, last = names.index(next(iter(TRAINED))), names.index(list(TRAINED)[-1])
    before, after = ({name: RECORD["steps"][name] for name in part} for part in (names[:first], names[last + 1 :]))
    monkeypatch.setattr(tool, "before_and_after", lambda: (before, after, RECORD["rivals"]))
    monkeypatch.setattr(tool, "RECORD", tmp_path / "staircase.json")
    record = json.loads(json.dumps(RECORD))
    return record, lambda: tool.RECORD.write_text(json.dumps(record), encoding="utf-8")


def test_the_check_sees_a_missing_record(kept, monkeypatch, capsys):
    assert tool.stale() == "it is missing"
    monkeypatch.setattr(sys, "argv", ["staircase.py", "--check"])
    assert tool.main() == 1 and "stale: it is missing; remake it with make staircase" in capsys.readouterr().out


def test_the_check_sees_a_changed_setting_and_a_step_that_is_missing_or_elsewhere(kept):
    record, write = kept
    changed = "its settings, its corpus or its steps have changed"
    record["settings"]["batch"] = 32
    write()
    assert tool.stale() == changed
    record["settings"]["batch"] = RECORD["settings"]["batch"]
    record["steps"] = dict(reversed(record["steps"].items()))
    write()
    assert tool.stale() == changed
    record["steps"] = dict(list(RECORD["steps"].items())[:-1])
    write()
    assert tool.stale() == changed


@pytest.mark.parametrize("name", [name for name in RECORD["steps"] if name not in TRAINED])
def test_the_check_sees_another_loss_of_a_step_that_is_not_trained_here(name, kept):
    record, write = kept
    record["steps"][name][-1]["val_loss"] += 0.01
    write()
    assert tool.stale().startswith(f"{name!r} has the loss ")


@pytest.mark.parametrize("name", RECORD["rivals"])
def test_the_check_sees_another_loss_of_a_rival(name, kept):
    record, write = kept
    record["rivals"][name] -= 0.01
    write()
    assert tool.stale().startswith(f"{name!r} has the loss ")


def test_the_check_sees_other_first_losses(kept, monkeypatch):
    record, write = kept
    known = RECORD["steps"] | RECORD["aside"]
    monkeypatch.setattr(tool, "run", lambda name, seed, steps: known[name][seed])  # not again for each step
    for name in TRAINED:
        write()
        assert tool.stale() is None
        record["steps"][name][0]["first"][2] += 0.01
        write()
        assert tool.stale().startswith(f"the first losses of {name!r} are ")
        record["steps"][name][0]["first"] = RECORD["steps"][name][0]["first"]


# What is recorded


def test_every_step_that_is_trained_has_all_seeds():
    for runs in TRAINED.values():
        assert [run["seed"] for run in runs] == list(range(tool.SEEDS))
        assert all(len(run["first"]) == tool.FIRST and run["seconds"] > 0 for run in runs)


def test_every_step_has_as_many_weights_as_its_parts():
    attention, network, norm = 4 * (C * C + C), (C + 1) * 4 * C + (4 * C + 1) * C, 2 * C
    mixes = {
        "average of the past": 0,
        "one head": 3 * (C * C + C),  # its output matrix is left out
        "four heads": attention,
        "+ feed-forward": attention + network,
        "+ residual, normalisation": attention + network + 3 * norm,
        "+ a second block": 2 * (attention + network + 2 * norm) + norm,
        "+ a small start": 2 * (attention + network + 2 * norm) + norm,
    }
    assert list(TRAINED) == list(mixes)
    for name, runs in TRAINED.items():
        assert {run["parameters"] for run in runs} == {V * C + T * C + mixes[name] + C * V}, name


def test_every_run_begins_near_blind_guessing_and_learns():
    for name, run in ((name, run) for name, runs in TRAINED.items() for run in runs):
        assert abs(run["first"][0] - math.log(V)) < 0.3 and run["first"][-1] < run["first"][0], name
        assert run["val_loss"] < math.log(V) - 1 and abs(run["val_loss"] - run["train_loss"]) < 0.15, name


def test_the_rivals_are_the_best_counts_of_any_length_on_the_same_tales():
    train, val, size = tool.tales()
    assert size == V
    for name, rule in (("simple count", "witten-bell"), ("best count", "kneser-ney")):
        losses = [ngram_loss(train, val, n, size, rule) for n in range(1, 13)]
        assert RECORD["rivals"][name] == pytest.approx(min(losses), abs=1e-3)
        assert losses[-1] > min(losses)  # longer ones would not help


def test_the_steps_before_are_blind_counted_and_learned():
    train, val, size = tool.tales()
    loss = {name: runs[0]["val_loss"] for name, runs in RECORD["steps"].items()}
    assert loss["uniform"] == pytest.approx(math.log(size), abs=1e-4)
    for n, name in ((1, "unigram"), (2, "bigram, counted")):
        counts: dict = {}
        for run in zip(*(train[i:].tolist() for i in range(n)), strict=False):
            seen = counts.setdefault(run[:-1], [0.01] * size)  # a plain count with next to nothing added
            seen[run[-1]] += 1
        past = zip(*(val[i:].tolist() for i in range(n)), strict=False)
        losses = [-math.log(counts[run[:-1]][run[-1]] / sum(counts[run[:-1]])) for run in past]
        assert loss[name] == pytest.approx(sum(losses) / len(losses), abs=0.01)
    assert loss["bigram, learned"] == pytest.approx(loss["bigram, counted"], abs=0.01)


def test_the_network_is_the_largest_of_its_record_and_the_last_step_the_model_that_ships():
    runs = json.loads((ROOT / "book" / "records" / "neural.json").read_text(encoding="utf-8"))["runs"]
    largest = max(run["hidden"] for run in runs)
    losses = [run["val_loss"] for run in runs if run["k"] == 5 and run["hidden"] == largest]
    assert [run["val_loss"] for run in RECORD["steps"]["network, 5 letters"]] == losses and len(losses) == tool.SEEDS
    model, _ = load_pretrained("tales-char")
    last = RECORD["steps"]["+ depth, a longer run"]
    assert last[0]["parameters"] == model.n_parameters and len(last) == tool.SEEDS


# What is trained


def started(name: str) -> nn.Module:
    torch.manual_seed(0)
    return tool.MIXES[name]()


@pytest.mark.parametrize("name", tool.MIXES)
def test_every_mix_hides_the_future_and_reads_the_past(name):
    mix, h = started(name), torch.randn(1, 8, C)
    changed = h.clone()
    changed[0, 4] += torch.randn(C)
    before, after = mix(h), mix(changed)
    assert before.shape == h.shape
    torch.testing.assert_close(before[0, :4], after[0, :4])
    assert all((before[0, t] - after[0, t]).abs().max() > 1e-3 for t in range(4, 8))


def test_no_two_steps_compute_the_same():
    h = torch.randn(1, 8, C, generator=torch.manual_seed(1))
    found = [started(name)(h) for name in tool.MIXES if name != "+ a small start"]
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in itertools.combinations(found, 2))


def test_each_step_adds_what_its_name_says():
    h = torch.randn(2, 8, C, generator=torch.manual_seed(1))
    one, four = started("one head"), started("four heads")
    assert (one.n_head, four.n_head) == (1, 4) and isinstance(one.output, nn.Identity)
    one.output = four.output  # without which it gives what its one head has found
    one.load_state_dict(four.state_dict())
    one.output = nn.Identity()
    shares = (one.query(h) @ one.key(h).mT / C**0.5).masked_fill(torch.ones(8, 8).triu(1) > 0, -math.inf).softmax(2)
    torch.testing.assert_close(one(h), shares @ one.value(h))
    joined = started("+ feed-forward")
    heads, network = joined
    torch.testing.assert_close(joined(h), network(heads(h)))
    block, norm = started("+ residual, normalisation")
    heads.load_state_dict(block.attention.state_dict())
    network.load_state_dict(block.feed_forward.state_dict())
    stream = h + heads(block.norm1(h))
    stream = stream + network(block.norm2(stream))
    torch.testing.assert_close(norm(block(h)), norm(stream))
    first, second, last = started("+ a second block")
    assert type(first) is type(second) is type(block) and type(last) is type(norm)
    assert heads.n_head == first.attention.n_head == second.attention.n_head == four.n_head
    before, small = tool.run("+ a second block", 0, 1), tool.run("+ a small start", 0, 1)
    assert abs(small["first"][0] - math.log(V)) < 0.15 < abs(before["first"][0] - math.log(V))
