"""Runs in their folders: nothing is lost unasked, nothing is half, and what is said to be saved is saved."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from tqdm import tqdm

from minigpt_core import (
    GPT,
    CharTokenizer,
    GPTConfig,
    TrainConfig,
    checkpoint,
    evaluate,
    load_model,
    load_tokenizer,
    resume,
    train,
)
from minigpt_core.checkpoint import save_model, step_of
from minigpt_core.files import lock
from minigpt_core.interrupts import SIGNALS, hold_signals
from minigpt_core.optimizer import learning_rate_at
from minigpt_core.runs import BEST, load_run
from minigpt_core.training import saved_records

IDS = torch.arange(4000) * 7 % 31
DATA = IDS[:3000], IDS[3000:]
CONFIG = TrainConfig(
    steps=20, batch_size=4, warmup_steps=5, eval_every=5, checkpoint_every=5, learning_rate=1e-2, device="cpu"
)
TOKENIZER = CharTokenizer([chr(97 + i) for i in range(30)])


def small_model() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(31, block_size=16, n_layer=2, n_head=2, n_embd=32))


def curve(records) -> list[tuple]:
    """Everything in the records but the timings."""
    return [(r.step, r.learning_rate, r.train_loss, r.val_loss, r.grad_norm) for r in records]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.fixture(scope="module")
def whole() -> list[tuple]:
    """The curve of the run of 20 steps that nothing disturbs."""
    return curve(train(small_model(), *DATA, CONFIG))


@pytest.fixture
def ctrl_c():
    """Ctrl-C as Python sets it up: tests that are started in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# Nothing is overwritten unasked


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "training.safetensors", "best/model.safetensors"])
def test_no_model_and_no_run_is_written_over_another(name, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"holds a (run|model).*name another folder"):
        save_model(small_model(), tmp_path)
    with pytest.raises(ValueError, match=r"already holds a (run|model): name another folder"):
        train(small_model(), *DATA, CONFIG, tmp_path)
    assert files(tmp_path) == {name: b"precious"}


@pytest.mark.parametrize("name", ["tokenizer.json", "bpe.model"])
def test_a_run_that_brings_a_tokenizer_is_not_begun_beside_another(name, tmp_path):
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(ValueError, match="already holds a tokenizer: name another folder"):
        train(small_model(), *DATA, CONFIG, tmp_path, tokenizer=TOKENIZER)
    assert files(tmp_path) == {name: b"precious"}
    list(train(small_model(), *DATA, CONFIG, tmp_path))  # one that brings none leaves it alone
    assert (tmp_path / name).read_bytes() == b"precious"


def test_a_model_is_replaced_when_asked_but_never_that_of_a_run(tmp_path):
    save_model(small_model(), tmp_path / "model")
    other = GPT(GPTConfig(31, n_layer=1))
    save_model(other, tmp_path / "model", overwrite=True)
    assert load_model(tmp_path / "model").config == other.config
    list(train(small_model(), *DATA, CONFIG, tmp_path / "run"))
    before = files(tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run, and its model is the run's"):
        save_model(other, tmp_path / "run", overwrite=True)
    assert files(tmp_path / "run") == before


def test_a_run_that_came_while_this_one_waited_is_not_overwritten(tmp_path):
    waiting = train(small_model(), *DATA, CONFIG, tmp_path)
    list(train(small_model(), *DATA, CONFIG, tmp_path))
    before = files(tmp_path)
    with pytest.raises(ValueError, match="already holds a run"):
        list(waiting)
    assert files(tmp_path) == before


def test_the_tokenizer_is_written_when_there_is_something_to_save(tmp_path):
    model = small_model()
    with torch.no_grad():
        model.head.weight.fill_(math.inf)
    with pytest.raises(FloatingPointError, match="at step 1 "):
        list(train(model, *DATA, CONFIG, tmp_path / "a", tokenizer=TOKENIZER))
    assert files(tmp_path / "a") == {}
    for _ in train(small_model(), *DATA, CONFIG, tmp_path / "b", tokenizer=TOKENIZER, notes={"from": "a test"}):
        break
    assert load_tokenizer(tmp_path / "b").tokens == TOKENIZER.tokens
    assert load_run(tmp_path / "b").notes == {"from": "a test"}


def test_a_tokenizer_of_another_size_than_the_model_is_refused_before_any_step(tmp_path):
    with pytest.raises(ValueError, match="the tokenizer has 4 tokens and the model 31: they belong to different runs"):
        train(small_model(), *DATA, CONFIG, tmp_path / "r", tokenizer=CharTokenizer.train("abc"))
    assert not (tmp_path / "r").exists()


def test_notes_that_json_cannot_hold_are_refused_before_any_step(tmp_path):
    with pytest.raises(TypeError, match="JSON"):
        train(small_model(), *DATA, CONFIG, tmp_path, notes={"ids": IDS})


# One file holds the run, the others follow from it


@pytest.mark.parametrize("how", ["missing weights", "missing settings", "missing both", "older", "garbage", "another"])
def test_a_model_that_is_missing_damaged_or_older_than_the_run_is_written_anew(how, tmp_path):
    weights, settings = tmp_path / "model.safetensors", tmp_path / "config.json"
    run = train(small_model(), *DATA, CONFIG, tmp_path)
    older = {}
    for record in run:
        if record.step == 12:
            older = {path: path.read_bytes() for path in (weights, settings)}
    before, ids = files(tmp_path), IDS[None, :16]
    expected = run.model.eval()(ids)[0]
    if how in ("missing weights", "missing both"):
        weights.unlink()
    if how in ("missing settings", "missing both"):
        settings.unlink()
    if how == "older":  # a kill between the two files
        for path, raw in older.items():
            path.write_bytes(raw)
    if how == "garbage":
        weights.write_bytes(b"garbage")
    if how == "another":
        save_model(GPT(GPTConfig(31, n_layer=1)), tmp_path / "other")
        weights.write_bytes((tmp_path / "other/model.safetensors").read_bytes())
        settings.write_bytes((tmp_path / "other/config.json").read_bytes())
    changed = files(tmp_path)
    assert torch.equal(load_model(tmp_path)(ids)[0], expected)  # whoever only reads is told the truth,
    assert files(tmp_path) == changed  # and writes nothing
    assert list(resume(small_model(), *DATA, tmp_path)) == []
    assert {name: raw for name, raw in files(tmp_path).items() if not name.startswith("other")} == before


@pytest.mark.parametrize("after", range(1, 8))
def test_a_stop_after_any_of_the_files_leaves_a_run_that_goes_on_to_the_same_files(after, tmp_path, monkeypatch):
    """The power fails after the first, second, ... file that the run writes."""
    list(train(small_model(), *DATA, replace(CONFIG, steps=10), tmp_path / "whole", tokenizer=TOKENIZER))
    folder, replace_file, written = tmp_path / "stopped", os.replace, []

    def fail(source, target):
        if len(written) >= after:
            raise OSError("power failure")
        written.append(target)
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="power failure"):
        list(train(small_model(), *DATA, replace(CONFIG, steps=10), folder, tokenizer=TOKENIZER))
    monkeypatch.undo()
    if not (folder / "training.safetensors").exists():
        assert set(files(folder)) <= {"tokenizer.json"}  # the first of all
        return
    model = load_model(folder)
    assert len(saved_records(folder)) in (5, 10) and evaluate(model, DATA[1]) == saved_records(folder)[-1].val_loss
    list(resume(small_model(), *DATA, folder))
    for name, raw in files(tmp_path / "whole").items():
        if name != "training.safetensors":  # which holds seconds
            assert files(folder)[name] == raw, name
    tensors = (load_file(path / "training.safetensors") for path in (folder, tmp_path / "whole"))
    assert all(torch.equal(a, b) for a, b in zip(*(t.values() for t in tensors), strict=True))


# The best model is kept beside the last


def overfitting() -> tuple[GPT, torch.Tensor, torch.Tensor, TrainConfig]:
    """Letters drawn at random, learned by heart: the loss on others rises."""
    ids = torch.randint(0, 31, (400,), generator=torch.Generator().manual_seed(0))
    return small_model(), ids[:200], ids[200:], replace(CONFIG, steps=120, eval_every=10, checkpoint_every=50)


def test_the_model_with_the_lowest_validation_loss_is_kept(tmp_path):
    model, train_ids, val_ids, config = overfitting()
    run = train(model, train_ids, val_ids, config, tmp_path, tokenizer=TOKENIZER)
    validation = {record.step: record.val_loss for record in run if record.val_loss is not None}
    best = min(validation, key=validation.get)
    assert run.best_step == best < 120 and validation[best] < validation[120] - 0.1
    assert evaluate(load_model(tmp_path / BEST), val_ids) == validation[best] and step_of(tmp_path / BEST) == best
    assert evaluate(load_model(tmp_path), val_ids) == validation[120] and step_of(tmp_path) == 120
    assert load_tokenizer(tmp_path / BEST).tokens == TOKENIZER.tokens


def test_the_best_model_survives_a_stop_and_is_only_replaced_by_a_better_one(tmp_path):
    model, train_ids, val_ids, config = overfitting()
    for record in train(model, train_ids, val_ids, config, tmp_path):
        if record.step == 95:
            break
    before = files(tmp_path / BEST)
    for _ in resume(small_model(), train_ids, val_ids, tmp_path):
        pass
    assert files(tmp_path / BEST) == before


def test_a_best_model_that_is_missing_is_written_anew_where_it_is_the_last(tmp_path):
    list(train(small_model(), *DATA, CONFIG, tmp_path))
    before = files(tmp_path)
    assert load_run(tmp_path).rows[-1][3] == min(row[3] for row in load_run(tmp_path).rows if row[3])
    (tmp_path / BEST / "model.safetensors").unlink()
    list(resume(small_model(), *DATA, tmp_path))
    assert files(tmp_path) == before


# Weights that are spoilt


def spoil_weights(run, value: float) -> None:
    with torch.no_grad():
        run.model.blocks[0].attention.query.weight[0, 0] = value


def spoil_unused_embedding(run) -> None:
    """No loss shows it: id 30 stands nowhere in this text."""
    with torch.no_grad():
        run.model.token_embedding.weight[30] = math.nan


def spoil_optimizer(run) -> None:
    next(iter(run.optimizer.state.values()))["exp_avg_sq"].fill_(math.inf)


def spoil_logits(run) -> None:
    """All weights are finite, what they give is not."""
    with torch.no_grad():
        run.model.norm.weight.fill_(1e30)
        run.model.head.weight.fill_(1e30)


SPOILERS = {
    "not a number": lambda run: spoil_weights(run, math.nan),
    "infinite": lambda run: spoil_weights(run, math.inf),
    "where no loss shows it": spoil_unused_embedding,
    "in the optimizer": spoil_optimizer,
    "in what they give": spoil_logits,
}


@pytest.mark.parametrize("leave", [True, False], ids=["left", "checkpoint"])
@pytest.mark.parametrize("name", SPOILERS)
def test_what_is_spoilt_never_replaces_the_last_good_checkpoint(name, leave, tmp_path, monkeypatch):
    ids = torch.arange(4000) * 7 % 30
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    run = train(small_model(), ids[:3000], ids[3000:], replace(CONFIG, eval_every=20), tmp_path)
    if leave:
        for record in run:
            if record.step == 7:
                SPOILERS[name](run)
                break
        assert "at step 7 the weights or what they give are no longer finite" in str(unraisable[0].exc_value)
    else:
        with pytest.raises(FloatingPointError, match=r"at step (8|10) .*try a lower learning_rate \(now 0.01\)"):
            for record in run:
                if record.step == 7:
                    SPOILERS[name](run)
    assert len(saved_records(tmp_path)) == 5
    assert all(torch.isfinite(t).all() for t in load_file(tmp_path / "training.safetensors").values())
    assert all(torch.isfinite(t).all() for t in load_model(tmp_path).state_dict().values())
    assert [r.step for r in resume(small_model(), ids[:3000], ids[3000:], tmp_path)] == list(range(6, 21))


def test_the_last_step_is_looked_at_too(tmp_path):
    """Nothing follows that would show that this step was one too long."""
    config = replace(CONFIG, steps=5, checkpoint_every=4, warmup_steps=0, eval_every=5)
    run = train(small_model(), *DATA, config, tmp_path)
    with pytest.raises(FloatingPointError, match="at step 5 the validation loss is nan"):
        for record in run:
            if record.step == 4:
                run.optimizer.param_groups[0]["weight_decay"] = math.inf
    assert len(saved_records(tmp_path)) == 4 and math.isfinite(evaluate(load_model(tmp_path), DATA[1]))


# However a loop is left


def leave_by_break(run):
    for record in run:
        if record.step == 7:
            break


def leave_by_exception(run):
    for record in run:
        if record.step == 7:
            raise RuntimeError("in the body")


def leave_by_return(run):
    for record in run:
        if record.step == 7:
            return


def leave_tqdm(run):
    bar = tqdm(run)
    for record in bar:
        if record.step == 7:
            break


def leave_tqdm_by_exception(run):
    for record in tqdm(run):
        if record.step == 7:
            raise RuntimeError("in the body")


def leave_zip(run):
    for record, _ in zip(run, range(100), strict=False):
        if record.step == 7:
            break


def leave_shorter_zip(run):
    for _ in zip(range(7), run, strict=False):
        pass


def leave_enumerate(run):
    for i, _ in enumerate(run):
        if i == 6:
            break


def leave_by_ctrl_c(run):
    for record in run:
        if record.step == 7:
            signal.raise_signal(signal.SIGINT)


WAYS = [
    leave_by_break, leave_by_exception, leave_by_return, leave_tqdm, leave_tqdm_by_exception, leave_zip, leave_shorter_zip,
    leave_enumerate, leave_by_ctrl_c,
]  # fmt: skip


@pytest.mark.parametrize("leave", WAYS)
def test_a_run_that_is_left_is_saved_at_once_and_ctrl_c_is_free_again(leave, tmp_path, whole, ctrl_c):
    """The run has a name here, and a traceback is kept, as notebooks keep it."""
    run, caught = train(small_model(), *DATA, CONFIG, tmp_path), None
    try:
        leave(run)
    except (RuntimeError, KeyboardInterrupt) as error:
        caught = error
    assert curve(saved_records(tmp_path)) == whole[:7], caught
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with torch.no_grad():
        run.model.head.weight.fill_(9.0)  # what is done to the model now is not the run's
    del run, caught
    assert curve(resume(small_model(), *DATA, tmp_path)) == whole[7:]


def test_an_iterator_with_a_name_is_left_when_it_is_deleted_and_says_so_to_others(tmp_path, whole):
    pairs = zip(train(small_model(), *DATA, CONFIG, tmp_path), range(100), strict=False)
    for record, _ in pairs:
        if record.step == 7:
            break
    assert len(saved_records(tmp_path)) == 5
    with pytest.raises(ValueError, match=f"process {os.getpid()} is at work in {tmp_path}: wait"):
        list(resume(small_model(), *DATA, tmp_path))
    del pairs
    assert curve(resume(small_model(), *DATA, tmp_path)) == whole[7:]


def test_an_iterator_with_a_name_is_left_when_the_program_ends(tmp_path):
    script = SCRIPT.replace("for record in ", "records = iter(").replace(
        "sys.argv[1]):", "sys.argv[1]))\nfor record in records:"
    )
    script = script.replace("    time.sleep(float(sys.argv[2]))", "    if record.step == 7: break")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and len(saved_records(tmp_path)) == 7
    goes_on(tmp_path)


def test_a_second_loop_goes_on_where_the_first_was_left(tmp_path, whole):
    for folder in (None, tmp_path):
        run = train(small_model(), *DATA, CONFIG, folder)
        leave_by_break(run)
        assert curve(run.records) == whole[:7]
        assert curve(run) == whole[7:] and curve(run.records) == whole


def test_a_run_that_broke_off_inside_a_step_does_not_go_on(tmp_path, monkeypatch):
    run = train(small_model(), *DATA, CONFIG, tmp_path)
    step = run.optimizer.step

    def half_a_step():
        step()
        raise MemoryError

    leave_by_break(run)
    run.optimizer.step = half_a_step
    with pytest.raises(MemoryError):
        list(run)
    assert len(saved_records(tmp_path)) == 7
    with pytest.raises(ValueError, match="this run broke off inside step 8: begin anew, or resume what was saved"):
        list(run)


# Signals


def test_a_held_signal_waits_and_then_does_what_it_always_does(ctrl_c):
    seen = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with pytest.raises(KeyboardInterrupt, match="all is saved"), hold_signals(lambda: seen.append(2) or "all is saved"):
        signal.raise_signal(signal.SIGINT)
        seen.append(1)
    assert seen == [1, 2] and {number: signal.getsignal(number) for number in SIGNALS} == before

    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))  # a program with a handler of its own
    with hold_signals(lambda: ""):
        signal.raise_signal(signal.SIGINT)
        assert seen == [1, 2]
    assert seen == [1, 2, signal.SIGINT]


def test_a_second_ctrl_c_interrupts_at_once(ctrl_c):
    reached = []
    with pytest.raises(KeyboardInterrupt), hold_signals(lambda: ""):
        signal.raise_signal(signal.SIGINT)
        reached.append(1)
        signal.raise_signal(signal.SIGINT)
        reached.append(2)
    assert reached == [1] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_ignored(ctrl_c):
    """As under nohup, and for what a script starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with hold_signals(lambda: pytest.fail("stopped")):
        signal.raise_signal(signal.SIGINT)


def test_outside_the_main_thread_training_handles_no_signals(whole):
    found = []
    thread = threading.Thread(target=lambda: found.extend(curve(train(small_model(), *DATA, CONFIG))))
    thread.start()
    thread.join()
    assert found == whole


SCRIPT = """
import signal, sys, time, torch
from minigpt_core import GPT, GPTConfig, TrainConfig, train
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
ids = torch.arange(4000) * 7 % 31
torch.manual_seed(0)
model = GPT(GPTConfig(31, block_size=16, n_layer=2, n_head=2, n_embd=32))
config = TrainConfig(steps=100_000, batch_size=4, warmup_steps=5, checkpoint_every=3, eval_every=10, device="cpu")
for record in train(model, ids[:3000], ids[3000:], config, sys.argv[1]):
    print(record.step, flush=True)
    time.sleep(float(sys.argv[2]))
"""
LONG = TrainConfig(steps=100_000, batch_size=4, warmup_steps=5, checkpoint_every=3, eval_every=10, device="cpu")


def start(folder: Path, after: int, pause: float = 0) -> subprocess.Popen:
    """A long run in a process of its own, once it has taken so many steps."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(pause)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.strip() == str(after):
            break
    return process


def end(process: subprocess.Popen, how: signal.Signals) -> tuple[int, str]:
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def goes_on(folder: Path) -> None:
    """What is saved are steps of the undisturbed run, and it goes on as that does."""
    records = saved_records(folder)
    undisturbed = iter(train(small_model(), *DATA, LONG))
    expected = [next(undisturbed) for _ in range(len(records) + 5)]
    rest = iter(resume(small_model(), *DATA, folder))
    assert curve(records) + curve(next(rest) for _ in range(5)) == curve(expected)


def test_ctrl_c_at_any_moment_ends_a_run_and_all_its_steps_are_saved(tmp_path):
    status, errors = end(start(tmp_path, after=7), signal.SIGINT)
    assert status != 0 and errors.strip().splitlines()[-1].startswith("KeyboardInterrupt")
    assert len(saved_records(tmp_path)) >= 7
    goes_on(tmp_path)


SENDING = """
step, taken = torch.optim.AdamW.step, []
def sending(optimizer):
    taken.append(1)
    if len(taken) == 8:
        signal.raise_signal(int(sys.argv[3]))
    step(optimizer)
torch.optim.AdamW.step = sending
"""


@pytest.mark.parametrize("how", SIGNALS)
def test_a_signal_inside_a_step_lets_it_end_saves_and_then_ends_the_program(how, tmp_path):
    script = SCRIPT.replace("for record", f"{SENDING}for record")
    command = [sys.executable, "-c", script, str(tmp_path), "0", str(int(how))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[-1] == "7" and len(saved_records(tmp_path)) == 8, done.stderr
    if how == signal.SIGINT:
        said = f"stopped after step 8 of 100000: the run is saved in {tmp_path} as of step 8; go on with it by resume"
        assert done.returncode != 0 and done.stderr.strip().splitlines()[-1] == f"KeyboardInterrupt: {said}"
    else:
        assert done.returncode == -how and done.stderr == ""
    goes_on(tmp_path)


@pytest.mark.parametrize("after", [4, 30])
def test_kill_9_leaves_a_whole_checkpoint_that_resumes_to_the_bit(tmp_path, after):
    status, _ = end(start(tmp_path, after), signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert len(saved_records(tmp_path)) >= after - after % 3
    goes_on(tmp_path)


# Two programs in one folder


def test_a_folder_in_which_a_run_is_going_on_is_refused_with_the_process(tmp_path):
    process = start(tmp_path, after=4, pause=0.2)
    try:
        with pytest.raises(ValueError, match=f"process {process.pid} is at work in {tmp_path}: wait until it ends"):
            list(resume(small_model(), *DATA, tmp_path))
        assert process.poll() is None
    finally:
        end(process, signal.SIGKILL)
    assert (tmp_path / ".lock").read_text() == str(process.pid)  # left behind, and locks nothing
    goes_on(tmp_path)


def test_a_new_run_where_another_has_just_begun_is_refused_though_nothing_is_saved_yet(tmp_path):
    first = iter(train(small_model(), *DATA, CONFIG, tmp_path))
    next(first)
    with pytest.raises(ValueError, match="is at work in"):
        list(train(small_model(), *DATA, CONFIG, tmp_path))
    first.close()
    assert len(saved_records(tmp_path)) == 1


def test_a_run_that_another_program_took_further_is_not_thrown_back(tmp_path):
    leave_by_break(train(small_model(), *DATA, CONFIG, tmp_path))
    waiting = resume(small_model(), *DATA, tmp_path)
    list(resume(small_model(), *DATA, tmp_path))
    with pytest.raises(ValueError, match="was saved by another program meanwhile: resume it anew"):
        list(waiting)
    assert len(saved_records(tmp_path)) == 20


def test_a_lock_is_given_back_whatever_happens(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError), lock(tmp_path / "new"):
            with pytest.raises(ValueError, match=f"process {os.getpid()} is at work"), lock(tmp_path / "new"):
                pass
            raise RuntimeError


# A finished run is trained further


def test_a_finished_run_goes_on_with_the_schedule_of_a_longer_one(tmp_path):
    list(train(small_model(), *DATA, CONFIG, tmp_path))
    further = resume(small_model(), *DATA, tmp_path, steps=30)
    records = list(further)
    assert [r.step for r in records] == list(range(21, 31))
    longer = replace(CONFIG, steps=30)
    assert [r.learning_rate for r in records] == [learning_rate_at(step, longer) for step in range(21, 31)]
    assert records[0].learning_rate > 2e-3 and records[-1].learning_rate == 0  # high again, then down to the floor
    assert load_run(tmp_path).config == longer and step_of(tmp_path) == 30
    assert list(resume(small_model(), *DATA, tmp_path)) == []


def test_a_run_that_is_not_finished_takes_another_length_too(tmp_path):
    leave_by_break(train(small_model(), *DATA, CONFIG, tmp_path))
    assert [r.step for r in resume(small_model(), *DATA, tmp_path, steps=10)] == [8, 9, 10]


@pytest.mark.parametrize("steps", [-1, 0, 19, 20])
def test_a_length_that_is_already_passed_is_refused(steps, tmp_path):
    list(train(small_model(), *DATA, CONFIG, tmp_path))
    with pytest.raises(ValueError, match=f"has done 20 steps: steps={steps} in all must be more"):
        resume(small_model(), *DATA, tmp_path, steps=steps)


# Files that are not what they say


def test_a_model_in_place_of_a_run_is_one_sentence(tmp_path):
    list(train(small_model(), *DATA, CONFIG, tmp_path))
    (tmp_path / "training.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    for call in (load_run, saved_records, lambda folder: resume(small_model(), *DATA, folder)):
        with pytest.raises(ValueError, match=r"training.safetensors is no checkpoint of a run"):
            call(tmp_path)
    assert load_model(tmp_path).config == small_model().config  # the model is what it says


GOOD = {
    "model": {"vocab_size": 31},
    "config": {},
    "fingerprint": "0",
    "records": [[1, 0.1, 2.0, None, 1.0, 9.0, 1]],
    "notes": {},
}
WRONG = [
    *(
        GOOD | {name: value}
        for name in GOOD
        for value in (None, 5, "x", [[]], [1], {"a": 1})
        if GOOD[name] is not value
    ),
    *({name: value for name, value in GOOD.items() if name != missing} for missing in GOOD),
    *(
        GOOD | {"records": [row]}
        for row in ([], [2, 0.1, 2.0, None, 1.0, 9.0, 1], [1, 0.1], [1, "0.1", 2, 1, 1, 1, 1], 7)
    ),
    GOOD | {"config": {"steps": "9"}},
    GOOD | {"config": {"betas": 7}},
    GOOD | {"model": {"vocab_size": "31"}},
    GOOD | {"model": {"kind": []}},
]


def is_fine(header: dict) -> bool:
    """The few of these changes that change nothing."""
    return header["notes"] == {"a": 1} or header["fingerprint"] == "x" if header.keys() == GOOD.keys() else False


@pytest.mark.parametrize("header", [h for h in WRONG if not is_fine(h)], ids=str)
def test_a_header_with_other_keys_or_types_is_one_sentence(header, tmp_path):
    path = tmp_path / "training.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, {"minigpt": json.dumps({"version": 1, **header})}))
    with pytest.raises(
        ValueError, match=r"training.safetensors is no checkpoint|are not those of this program"
    ) as caught:
        saved_records(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value) and len(str(caught.value)) < 400
    path.write_bytes(save({"a": torch.zeros(1)}, {"minigpt": json.dumps({"version": 1, **GOOD})}))
    assert saved_records(tmp_path)[0].train_loss == 2.0


@pytest.mark.parametrize("change", ["fewer", "shape", "more"])
def test_an_optimizers_state_that_is_another_ones_is_one_sentence(change, tmp_path):
    list(train(small_model(), *DATA, CONFIG, tmp_path))
    path = tmp_path / "training.safetensors"
    tensors = load_file(path)
    header = {"version": 1, **checkpoint.load_progress(tmp_path)}
    if change == "fewer":
        tensors = {name: t for name, t in tensors.items() if not name.startswith("optimizer.3.")}
    if change == "shape":
        tensors["optimizer.3.exp_avg"] = torch.zeros(3)
    if change == "more":
        tensors["optimizer.99.exp_avg"] = torch.zeros(3)
    path.write_bytes(save(tensors, {"minigpt": json.dumps(header)}))
    with pytest.raises(ValueError, match="does not fit its settings: the optimizer's state is not that of the weights"):
        resume(small_model(), *DATA, tmp_path)
