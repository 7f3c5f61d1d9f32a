"""Several processes: the curve of one, and what happens when one of them ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from test_cli import ROOT, TINY, called
from test_training import TRAIN_IDS, VAL_IDS, curve, small_model
from two_processes import LONG, RUNS, WAYS, model_of, norm

from minigpt_core import get_batch, load_model, resume, train
from minigpt_core.beyond.large import Large
from minigpt_core.beyond.many import Many, first_to_tell, processes
from minigpt_core.training import saved_records

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """What two processes did, in the folder of their runs."""
    folder = tmp_path_factory.mktemp("two")
    for way in ("groups", "shard"):
        for record in train(model_of("plain"), TRAIN_IDS, VAL_IDS, LONG, folder / f"one {way}"):
            if record.step == 10:
                break
    command = [*TORCHRUN, str(ROOT / "tests/two_processes.py"), str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder, json.loads((folder / "curves.json").read_text())


def difference(a, b) -> float:
    """The largest one of the losses, and of the gradients' norms relative to these."""
    assert [x[0] for x in a] == [x[0] for x in b]
    loss = max(abs(p[2] - q[2]) for p, q in zip(a, b, strict=True))
    return max(loss, *(abs(p[4] - q[4]) / q[4] for p, q in zip(a, b, strict=True)))


def of_one(model: str, config) -> list:
    return curve(train(model_of(model), TRAIN_IDS, VAL_IDS, config))


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_give_the_curve_of_one(name, done):
    """In float64; and in float32 where no ReLU makes a switch of a rounded number. Where one does, two processes drift as two
    numbers of threads do: test_drift.py."""
    model, _, config = RUNS[name]
    one, two = of_one(model, config), done[1]["curves"][name]
    band = 1e-5 if "float32" in name else 1e-9
    assert len(two) == 50 and difference(two, one) < band
    assert two[-1][3] == pytest.approx(one[-1][3], abs=max(band, 1e-6))  # logits are rounded to float32 for it


@pytest.mark.parametrize("way", ["groups", "shard"])
def test_a_run_goes_from_one_process_to_two_and_back_on_the_same_curve(way, done):
    one = of_one("plain", LONG)
    for start in ("one", "two"):  # one 10 two 30 one 50, and two 10 one 50
        folder = done[0] / f"{start} {way}"
        steps = 30 if start == "one" else 10
        assert len(saved_records(folder)) == steps
        assert Many.of_run(folder) == WAYS[way]  # Large.of_run is that of one process
        rest = curve(resume(model_of("plain"), TRAIN_IDS, VAL_IDS, folder, engine=Large.of_run(folder)))
        assert len(rest) == 50 - steps
        assert difference(curve(saved_records(folder)), one) < 1e-9


def test_by_hand_the_gradient_is_that_of_the_whole_batch_from_the_weights_of_rank_0(done):
    model = small_model()
    x, y = get_batch(TRAIN_IDS, 16, 5, seed=0, step=1)
    loss = model(x, y)[1]
    loss.backward()
    assert done[1]["by hand"] == pytest.approx([loss.item(), norm(model)], abs=1e-6)


def started(out: Path, *options: str) -> subprocess.Popen:
    command = [
        *TORCHRUN,
        "-m",
        "minigpt_core",
        "train",
        *TINY,
        "--steps",
        "100000",
        "--eval-every",
        "50",
        "--out",
        str(out),
    ]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )


def until(process: subprocess.Popen, text: str) -> str:
    """What it printed, up to the line that holds the text."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(process.stderr.read())


def workers(process: subprocess.Popen) -> dict[int, int]:
    """The processes that torchrun started, by their rank."""
    found = {}
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        ranks = [int(entry[5:]) for entry in environment if entry.startswith(b"RANK=")]
        found |= {rank: int(pid) for rank in ranks}
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("rank, options", [(1, ["--micro-batch", "1"]), (0, []), (1, ["--shard"])])
def test_a_killed_process_ends_the_run_with_one_sentence_and_it_resumes(rank, options, tmp_path):
    out = tmp_path / "r"
    process = started(out, *options)
    printed = until(process, "step 100:")
    assert printed.count("training tokens") == printed.count("step 50:") == 1  # only rank 0 prints
    began = time.perf_counter()
    os.kill(workers(process)[rank], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert time.perf_counter() - began < 30 and process.returncode != 0
    said = re.findall("minigpt: (.*)", errors)
    assert len(said) == 1 and "another process has ended or cannot be reached" in said[0]
    assert said[0].endswith(f"to go on from the last checkpoint in {out} by resume")
    assert not re.search(r'  File ".*minigpt_core/', errors)  # no traceback but torchrun's own
    kept = len(saved_records(out))
    assert kept >= 100
    again = called("train", "--out", out, "--resume", "--steps", kept + 2)
    assert again.returncode == 0 and len(saved_records(out)) == kept + 2


@pytest.mark.parametrize("options", [[], ["--shard"]], ids=["ddp", "fsdp"])
def test_sigterm_saves_and_two_runs_in_one_folder_are_refused(options, tmp_path):
    out = tmp_path / "r"
    process = started(out, *options)
    until(process, "step 50:")
    if not options:
        command = [*TORCHRUN, "-m", "minigpt_core", "train", "--out", str(out), "--resume"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
        said = re.findall("minigpt: (.*)", second.stderr)
        assert second.returncode != 0 and len(said) == 1 and f"is at work in {out}" in said[0]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    said = re.findall(
        r"minigpt: stopped after step (\d+) of 100000: the run is saved in (\S+) as of step (\d+)", errors
    )
    assert len(said) == 1 and said[0][0] == said[0][2] == str(len(saved_records(out)))
    assert load_model(out).n_parameters > 0


def test_one_process_alone_is_nothing_special(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert first_to_tell()
    with processes() as rank:
        assert rank == 0
    monkeypatch.setenv("RANK", "1")
    assert not first_to_tell()


def test_what_several_processes_cannot_do_is_named(tmp_path):
    with pytest.raises(ValueError, match="compile is for one process"):
        Many(compile=True)
    with pytest.raises(ValueError, match="Muon needs each matrix whole"):
        train(small_model(), TRAIN_IDS, VAL_IDS, replace(LONG, optimizer="muon"), engine=Many(shard=True))
    done = called("train", *TINY, "--steps", "5", "--shard", "--out", tmp_path / "r")
    assert done.returncode == 2 and "start them with torchrun" in done.stderr
