"""The record of the parts: each is one change to the growing model, and the record is of these runs, whole, and not stale."""

import json
import math
import statistics
import sys
from pathlib import Path

import parts as tool
import pytest
import torch

from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT

ROOT = Path(__file__).parents[1]
RECORD = json.loads(tool.RECORD.read_text(encoding="utf-8"))
RUNS = RECORD["runs"]
PLAIN = [run["val_loss"] for run in RUNS["plain"]]


def test_the_record_is_not_stale():
    assert tool.stale() is None


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A copy of the record, to be changed, and a function that writes it where the check looks."""
    monkeypatch.setattr(tool, "RECORD", tmp_path / "parts.json")
    monkeypatch.setattr(tool, "run", lambda name, seed, steps: RUNS[name][seed])  # not again for each change
    record = json.loads(json.dumps(RECORD))
    return record, lambda: tool.RECORD.write_text(json.dumps(record), encoding="utf-8")


def test_the_check_sees_a_missing_record(kept, monkeypatch, capsys):
    assert tool.stale() == "it is missing"
    monkeypatch.setattr(sys, "argv", ["parts.py", "--check"])
    assert tool.main() == 1 and "stale: it is missing; remake it with make parts" in capsys.readouterr().out


def test_the_check_sees_a_changed_setting_another_part_a_missing_seed_and_other_first_losses(kept):
    record, write = kept
    changed = "its settings, its corpus or its parts have changed"
    write()
    assert tool.stale() is None
    record["settings"]["parts"]["RoPE"]["rope_base"] = 500
    write()
    assert tool.stale() == changed
    record["settings"] = RECORD["settings"]
    record["runs"] = dict(reversed(RUNS.items()))
    write()
    assert tool.stale() == changed
    record["runs"] = {**RUNS, "GELU": RUNS["GELU"][:-1]}
    write()
    assert tool.stale() == "'GELU' has another number of seeds"
    record["runs"] = json.loads(json.dumps(RUNS))
    record["runs"]["one key head"][0]["first"][2] += 0.01
    write()
    assert tool.stale().startswith("the first losses of 'one key head' are ")


def test_every_part_has_all_seeds_and_learns():
    assert list(RUNS) == list(tool.PARTS)
    for name, runs in RUNS.items():
        assert [run["seed"] for run in runs] == list(range(tool.SEEDS))
        assert len({run["parameters"] for run in runs}) == 1 and all(run["seconds"] > 0 for run in runs)
        for run in runs:
            assert len(run["first"]) == tool.FIRST and run["first"][-1] < run["first"][0] < math.log(60) + 0.5, name
            assert 0 < run["val_loss"] - run["train_loss"] < 0.2, name


def test_no_two_parts_compute_the_same():
    """From weights in which every part has a say."""
    ids = torch.randint(60, (2, 16), generator=torch.Generator().manual_seed(0))
    found = {}
    for name, choice in tool.PARTS.items():
        torch.manual_seed(0)
        model = ComposedGPT(ComposedConfig(60, block_size=64, n_layer=2, n_head=4, n_embd=128, **choice)).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p) if choice.get("start") != "scaled" else 0)
            found[name] = model(ids)[0]
    names = list(found)
    for i, name in enumerate(names):
        assert not any(torch.allclose(found[name], found[other], atol=1e-3) for other in names[:i]), name


def effects(name: str) -> list[float]:
    """What a part changes in the validation loss, seed by seed."""
    return [run["val_loss"] - plain for run, plain in zip(RUNS[name], PLAIN, strict=True)]


def test_the_plain_model_is_the_last_step_of_the_staircase():
    steps = json.loads((ROOT / "book" / "records" / "staircase.json").read_text(encoding="utf-8"))["steps"]
    assert {run["parameters"] for run in RUNS["plain"]} == {run["parameters"] for run in steps["+ a small start"]}
    before = [run["val_loss"] for run in steps["+ a small start"]]
    assert statistics.mean(PLAIN) == pytest.approx(statistics.mean(before), abs=0.04)


def test_few_parts_help_on_this_budget_two_harm_and_most_do_nothing_that_seeds_do_not():
    help_, harm = {"SwiGLU", "squared ReLU", "four experts", "Llama"}, {"GELU", "GPT-2"}
    for name in set(tool.PARTS) - {"plain"}:
        found = effects(name)
        if name in help_:
            assert max(found) < 0 and -0.06 < statistics.mean(found) < -0.02, name
        elif name in harm:
            assert min(found) > 0 and 0.01 < statistics.mean(found) < 0.06, name
        else:
            assert min(found) <= 0 <= max(found) and abs(statistics.mean(found)) < 0.02, name
