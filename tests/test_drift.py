"""The record of the drift: rounding grows where the ReLU makes a switch of it, no more between processes than between threads."""

import json
import sys
from statistics import mean

import drift as tool
import pytest

RECORD = json.loads(tool.RECORD.read_text(encoding="utf-8"))
APART = RECORD["differences"]
ROUNDED = ("two threads", "two groups", "two processes", "two processes, sharded", "float64")


def test_the_record_is_not_stale():
    assert tool.stale() is None


def test_the_check_sees_a_missing_record_a_changed_setting_and_other_first_losses(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "RECORD", tmp_path / "drift.json")
    monkeypatch.setattr(tool, "run", lambda name, seed, steps: RECORD["losses"][name][seed][:steps])
    monkeypatch.setattr(sys, "argv", ["drift.py", "--check"])
    assert tool.main() == 1 and "stale: it is missing; remake it with make drift" in capsys.readouterr().out
    record = json.loads(json.dumps(RECORD))

    def told() -> str | None:
        tool.RECORD.write_text(json.dumps(record), encoding="utf-8")
        return tool.stale()

    assert told() is None
    record["losses"]["GELU"][0][2] += 0.01
    assert told().startswith("the first losses of 'GELU' are ")
    record["losses"]["GELU"].pop()
    assert told() == "it has another number of seeds"
    record["settings"]["warmup_steps"] = 7
    assert told() == "its settings, its corpus or its ways have changed"


def late(name: str) -> float:
    """How far apart in the second half, in the mean over steps and seeds: there no way drifts further from step to step."""
    return mean(nats for row in APART[name] for nats in row[tool.STEPS // 2 :])


@pytest.mark.parametrize("name", ROUNDED)
def test_whoever_adds_up_in_float32_drifts_about_as_far(name):
    """A factor of three: three seeds each, whose first switched unit comes at another step."""
    assert max(row[0] for row in APART[name]) < 2e-6
    assert late("two threads") / 3 < late(name) < 3 * late("two threads")
    assert max(map(max, APART[name])) < 0.1


def test_without_a_switch_there_is_only_rounding():
    assert max(map(max, APART["float64, two processes"])) < 1e-14
    for name in ("GELU, two threads", "GELU, two processes"):
        assert max(map(max, APART[name])) < 5e-6


def test_weights_stand_together_until_the_first_unit_switches_and_then_part():
    for switched, weights in zip(RECORD["switched"], RECORD["weights"], strict=True):
        first = next(step for step, units in enumerate(switched) if units)
        assert 0 < first < 40 and max(weights[: first + 1]) < 1e-5
        assert weights[first + tool.RISE] > 100 * weights[first]
        assert switched[-1] > 1000
    assert all(1.2 < factor < 2 for factor in RECORD["factor"])
