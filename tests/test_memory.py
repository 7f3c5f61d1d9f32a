"""What `minigpt info` says of memory, against the peak that the system saw: ten shapes, each in a process of its own."""

import inspect
import json
import os
import re
import sys

import memory as tool
import pytest
import torch

from minigpt_core import GPT, GPTConfig, TrainConfig
from minigpt_core.devices import autocast
from minigpt_core.study import planning
from minigpt_core.study.planning import training_memory

RECORD = json.loads(tool.RECORD.read_text(encoding="utf-8"))
SHAPES = list(tool.SHAPES)
linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc, which only Linux has")


@linux
@pytest.mark.parametrize("name", SHAPES)
def test_the_peak_is_predicted_within_15_percent(name):
    threads = 1 + SHAPES.index(name) % min(2, os.cpu_count() or 1)
    job = tool.job(tool.SHAPES[name], threads=threads)
    assert tool.predicted(job) == pytest.approx(tool.measured(job)["bytes"], rel=0.15)


TERMS = [
    "pattern",
    "block",
    "blocks",
    "logits",
    "loss",
    "passing",
    "weights",
    "gradients",
    "moments",
    "earlier",
    "evaluation",
]


@pytest.mark.parametrize("term", TERMS)
def test_without_a_term_the_peak_of_some_shape_is_missed(term):
    """So that what was measured can refute each of them. The smaller ones are counted below."""
    source = inspect.getsource(training_memory)
    source = source.replace("weights = gradients = ", "gradients = 4 * size.n_parameters\n    weights = ")
    without, count = re.subn(rf"^    {term} = .*$", f"    {term} = 0", source, flags=re.MULTILINE)
    assert count == 1
    names = dict(vars(planning))
    exec(without, names)
    missed = []
    for name, found in RECORD["shapes"].items():
        job = tool.job(tool.SHAPES[name])
        size, config = GPTConfig(**job["size"]), TrainConfig(**job["config"])
        if names["training_memory"](size, config, **job["large"]) != pytest.approx(found["measured"], rel=0.15):
            missed.append(name)
    assert missed


def saved_bytes(size: GPTConfig, config: TrainConfig) -> int:
    """What autograd saves in a forward pass, the model's own weights left out."""
    kept: dict[int, torch.Tensor] = {}  # by where they lie, so that what is saved twice counts once
    model = GPT(size)
    own = {p.data_ptr() for p in model.parameters()}
    x = torch.zeros(config.batch_size, size.block_size, dtype=torch.long)
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t)
    with hooks, autocast(model.device, config.precision):
        _ = model(x, x)
    return sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in own)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_layer_more_keeps_what_autograd_saves(fused, precision, dropout):
    config = TrainConfig(precision=precision, batch_size=50)
    one, two = (GPTConfig(65, block_size=32, n_layer=n, n_embd=32, fused=fused, dropout=dropout) for n in (1, 2))
    more = training_memory(two, config) - training_memory(one, config)
    more -= 12 * (two.n_parameters - one.n_parameters)  # weights and moments
    assert more == pytest.approx(saved_bytes(two, config) - saved_bytes(one, config), rel=0.005)


def test_the_record_is_not_stale():
    assert tool.stale() is None
    assert list(RECORD["shapes"]) == SHAPES and list(RECORD["ways"]) == list(tool.WAYS)


def test_a_change_of_settings_or_formula_makes_it_stale(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "RECORD", tmp_path / "memory.json")
    monkeypatch.setattr(sys, "argv", ["memory.py", "--check"])
    assert tool.main() == 1 and "stale: it is missing; remake it with make memory" in capsys.readouterr().out
    changed = json.loads(json.dumps(RECORD))
    changed["shapes"]["deep"]["predicted"] += 1
    tool.RECORD.write_text(json.dumps(changed), encoding="utf-8")
    assert "of 'deep' it predicts" in tool.stale()
    tool.RECORD.write_text(json.dumps(RECORD | {"settings": {}}), encoding="utf-8")
    assert tool.stale() == "its settings have changed"


def test_in_the_record_the_predictions_hold_and_the_losses_are_those_of_the_plain_way():
    for name, found in RECORD["shapes"].items():
        assert found["predicted"] == pytest.approx(found["measured"], rel=0.15), name
    plain = RECORD["ways"]["plain"]["losses"]
    for name, found in RECORD["ways"].items():
        rounding = 2e-2 if name in ("bfloat16", "float16") else 1e-4
        assert found["losses"] == pytest.approx(plain, rel=rounding), name
