"""The command line, run as a reader runs it: in a process of its own."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from minigpt_core import GPT, CharTokenizer, GPTConfig, TrainConfig, load_model, train
from minigpt_core.checkpoint import load_progress, step_of
from minigpt_core.optimizer import learning_rate_at
from minigpt_core.runs import load_run
from minigpt_core.training import saved_records

TINY = ["--corpus", "tales", "--n-layer", "1", "--n-embd", "32", "--block-size", "16", "--batch-size", "4"]


def minigpt(*arguments: str, cwd=None, stdin=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "minigpt_core", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, cwd=cwd)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small finished run, and what training printed."""
    folder = tmp_path_factory.mktemp("run") / "tales"
    return folder, minigpt("train", *TINY, "--steps", "200", "--learning-rate", "0.01", "--out", folder)


def test_train_shows_losses_and_samples_and_saves(run):
    folder, done = run
    assert done.returncode == 0, done.stderr
    losses = [float(x) for x in re.findall(r"validation loss (\d+\.\d+)", done.stdout)]
    assert len(losses) == 10 and losses[-1] < losses[0]
    assert "parameters, saved in" in done.stdout and "--steps 200 --seed 0" in done.stdout
    model = {"config.json", "model.safetensors", "tokenizer.json"}
    assert {p.name for p in folder.iterdir()} == {*model, "training.safetensors", "best", ".lock"}
    assert {p.name for p in (folder / "best").iterdir()} == model


def test_the_progress_bar_shows_loss_and_time_left(run, tmp_path, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    done = minigpt("train", *TINY, "--steps", "40", "--out", tmp_path / "run")
    assert re.search(r"training: .*40/40 .*<\d\d:\d\d.*loss=", done.stderr)


def test_generate_streams_repeats_with_its_seed_and_turns_with_every_knob(run):
    folder, _ = run
    arguments = ["generate", "--model", folder, "--prompt", "The ", "--max-new-tokens", "60"]
    text = minigpt(*arguments).stdout
    assert text.startswith("The ") and text == minigpt(*arguments, "--seed", "42").stdout
    greedy = minigpt(*arguments, "--temperature", "0").stdout
    assert greedy == minigpt(*arguments, "--temperature", "1", "--top-k", "1").stdout != text
    knobs = ("--seed=3", "--temperature=2", "--top-k=2", "--top-p=0.1", "--min-p=0.5")
    knobs += ("--frequency-penalty=1.5", "--presence-penalty=1.5")
    for knob in knobs:
        assert minigpt(*arguments, knob).stdout != text, knob
    stopped = minigpt(*arguments, "--stop", text[10:12]).stdout
    assert stopped == text[: text.index(text[10:12], 4)] + "\n"


def as_in_a_terminal():
    """What a script starts in the background ignores Ctrl-C; in a terminal it does not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_run_is_saved_and_resume_goes_on_with_its_own_settings(how, tmp_path):
    arguments = [sys.executable, "-m", "minigpt_core", "train", *TINY, "--steps", "3000", "--out", str(tmp_path / "r")]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=as_in_a_terminal
    )
    while "step 300" not in process.stdout.readline():
        pass
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + how
    last = errors.strip().splitlines()[-1]
    assert last.startswith("minigpt: stopped after step") and last.endswith(f"train --out {tmp_path / 'r'} --resume")
    assert "Traceback" not in errors
    stopped = int(re.search(r"step (\d+) of 3000: the run is saved in", last).group(1))
    assert stopped == len(saved_records(tmp_path / "r")) >= 300
    assert f"{stopped:,} steps" in minigpt("info", "--model", tmp_path / "r").stdout
    done = minigpt("train", "--out", tmp_path / "r", "--resume")
    assert done.returncode == 0 and "step 3,000" in done.stdout and "step 300:" not in done.stdout
    assert f"3,000 steps of 4 x 16 tokens; {stopped:,} are done" in done.stdout


@pytest.mark.parametrize(
    "options, least", [(["--steps", "260"], 60), (["--minutes", "0.02"], 1)], ids=["steps", "minutes"]
)
def test_a_finished_run_is_trained_further(run, options, least, tmp_path):
    folder = tmp_path / "further"
    shutil.copytree(run[0], folder)
    assert (
        "200 steps of 4 x 16 tokens are done; to train further" in minigpt("train", "--out", folder, "--resume").stdout
    )
    done = minigpt("train", "--out", folder, "--resume", *options)
    assert done.returncode == 0, done.stderr
    records, config = saved_records(folder), load_run(folder).config
    assert len(records) == config.steps >= 200 + least and (options[0] != "--steps" or config.steps == 260)
    for record in records[200:]:
        assert record.learning_rate == learning_rate_at(record.step, config)
    assert f"200 are done, the learning rate goes on at {records[200].learning_rate:.2g}" in done.stdout
    assert "to repeat this run" not in done.stdout  # no single command does
    assert minigpt("train", "--out", folder, "--resume", "--steps", "200").stderr.count("must be more") == 1


def test_the_best_model_is_told_where_it_is_not_the_last_and_used_by_its_folder(tmp_path):
    text = tmp_path / "short.txt"
    text.write_text("".join(chr(97 + (i * i * 7 + i // 3) % 26) for i in range(900)), encoding="utf-8")
    out = tmp_path / "r"
    done = minigpt("train", "--corpus", text, *TINY[2:], "--steps", 300, "--learning-rate", 0.02, "--out", out)
    assert done.returncode == 0, done.stderr
    validation = {r.step: r.val_loss for r in saved_records(out) if r.val_loss is not None}
    best = min(validation, key=validation.get)
    assert best < 300 and step_of(out / "best") == best
    assert f"the validation loss was lowest at step {best}, {validation[best]:.3f}" in done.stdout
    assert f"is kept in {out / 'best'}, to be used like any other" in done.stdout
    arguments = ["--prompt", "ab", "--max-new-tokens", "40"]
    written = [minigpt("generate", "--model", folder, *arguments) for folder in (out, out / "best")]
    assert all(w.returncode == 0 for w in written) and written[0].stdout != written[1].stdout


@pytest.mark.parametrize("lines", [1, 3])
def test_a_closed_pipe_stops_training_with_a_word_and_what_was_learned_is_saved(lines, tmp_path):
    out = tmp_path / "r"
    words = " ".join([*TINY, "--steps", "400", "--out", str(out)])
    command = f'"{sys.executable}" -m minigpt_core train {words} | head -{lines}; echo "code ${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "code 141" and len(done.stdout.splitlines()) == lines + 1
    said = re.search(r"the output is no longer read, so training stopped after step (\d+) of 400: (.*)", done.stderr)
    if int(said[1]) == 0:  # the reader had gone before the first step
        assert said[2] == "nothing was saved" and lines == 1 and not (out / "training.safetensors").exists()
    else:
        assert int(said[1]) == len(saved_records(out)) < 400
        assert said[2].endswith(f"--out {out} --resume") and minigpt("train", "--out", out, "--resume").returncode == 0
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("rate", ["1e3", "1e9"])
def test_training_that_diverges_says_what_is_kept_and_keeps_what_is_finite(rate, tmp_path):
    out = tmp_path / "r"
    done = minigpt("train", *TINY, "--steps", "9", "--learning-rate", rate, "--out", out)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    said = re.search(rf"; (nothing was saved|the run is saved in {out} as of step (\d+))$", done.stderr.strip())
    if said[1] == "nothing was saved":
        assert not list(out.glob("*.*s*"))
    else:
        assert len(saved_records(out)) == int(said[2])
        assert all(tensor.isfinite().all() for tensor in load_model(out).state_dict().values())
    assert rate == "1e3" or said[1] == "nothing was saved"  # after one step of 1e9 no loss is a number


def test_two_runs_in_one_folder_are_one_too_many(tmp_path):
    out = tmp_path / "r"
    command = [sys.executable, "-m", "minigpt_core", "train", *TINY, "--steps", "100000", "--out", str(out)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        while not (out / ".lock").exists() or not (out / ".lock").read_text():
            time.sleep(0.05)
        second = minigpt("train", *TINY, "--tokenizer", "bpe", "--vocab-size", 350, "--steps", 5, "--out", out)
        assert second.returncode == 2 and len(second.stderr.strip().splitlines()) == 1
        assert f"process {first.pid} is training in {out}" in second.stderr
        assert first.poll() is None and not (out / "bpe.model").exists()
    finally:
        first.kill()
        first.communicate()


def test_minutes_become_steps_that_can_be_repeated(tmp_path):
    began = time.perf_counter()
    done = minigpt("train", *TINY, "--minutes", "0.05", "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - began < 40
    steps = int(re.search(r"--steps (\d+) --seed 0", done.stdout).group(1))
    assert steps > 20
    again = minigpt("train", *TINY, "--steps", steps, "--seed", 0, "--out", tmp_path / "b")
    losses = re.compile(r"step [\d,]+: .*")
    assert losses.findall(done.stdout) == losses.findall(again.stdout)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_the_article_recipe_is_chosen_by_name(tmp_path):
    out = minigpt("info", "--recipe", "article", "--corpus", "tales").stdout
    assert "2 layers, 4 heads, 128 wide, context of 64 tokens" in out
    assert "for 1,000 steps of 32 x 64 tokens" in out


def test_the_muon_recipe_is_the_default_with_another_optimizer(tmp_path):
    chosen = {}
    for recipe in ("default", "muon"):
        out = tmp_path / recipe
        assert minigpt("train", *TINY, "--recipe", recipe, "--steps", 20, "--out", out).returncode == 0
        chosen[recipe] = load_progress(out)["config"]
    assert chosen["muon"]["optimizer"] == "muon" and chosen["default"]["optimizer"] == "adamw"
    assert chosen["muon"] == chosen["default"] | {"optimizer": "muon"}


def test_info_estimates_before_one_runs():
    out = minigpt("info", *TINY, "--steps", "500").stdout
    assert re.search(r"training memory +about \d+ MiB", out) and re.search(r"training time +about .*\d+ s on", out)
    assert "500 steps of 4 x 16 tokens" in out


def test_tokenize_shows_pieces_ids_and_counts(run):
    out = minigpt("tokenize", "the cat", "--tokenizer", "bpe", "--vocab-size", "400").stdout.splitlines()
    assert out[0].replace(" | ", "") == "the▁cat"
    assert len(out[0].split(" | ")) == len(out[1].split()) == int(out[2].split()[0]) < 7
    by_model = minigpt("tokenize", "the cat", "--model", run[0]).stdout.splitlines()
    assert by_model[0] == "t | h | e | ▁ | c | a | t"


def test_a_bpe_run_writes_too(tmp_path):
    done = minigpt("train", *TINY, "--tokenizer", "bpe", "--vocab-size", 350, "--steps", 5, "--out", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r/bpe.model").exists()
    assert minigpt("generate", "--model", tmp_path / "r", "--prompt", "猫", "--max-new-tokens", 5).stdout.startswith(
        "猫"
    )


def test_help_answers_without_torch():
    script = (
        "import sys\nfrom minigpt_core.cli import main\n"
        "try: main(['train', '--help'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'sentencepiece' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--minutes" in done.stdout


BAD = {
    "no command": ([], "required: COMMAND"),
    "unknown command": (["fly"], "invalid choice: 'fly'"),
    "not a number": (["train", "--steps", "many"], "invalid int value: 'many'"),
    "no such corpus": (["train", "--corpus", "nowhere.txt"], "there is no file nowhere.txt"),
    "a directory": (["train", "--corpus", "."], "is a directory"),
    "steps and minutes": (["train", "--steps", "5", "--minutes", "1"], "give one of them"),
    "no minutes": (["train", "--minutes", "0"], "must be above 0"),
    "no steps": (["train", "--steps", "0"], "steps=0 must be a whole number"),
    "heads": (["train", "--n-embd", "30"], "n_embd=30 is not divisible by n_head=4"),
    "too short a text": (["train", "--corpus", "sample", "--split", "tail"], "the validation part 38"),
    "char with a size": (["train", "--vocab-size", "400"], "--vocab-size is for --tokenizer bpe"),
    "impossible size": (["train", "--tokenizer", "bpe", "--vocab-size", "100"], "it must lie between"),
    "resume without folder": (["train", "--resume"], "name its folder with --out"),
    "resume with settings": (["train", "--resume", "--out", "x", "--n-layer", "9"], "leave out --n-layer"),
    "resume nothing": (["train", "--resume", "--out", "nowhere"], "nowhere/training.safetensors is missing"),
    "no model": (["generate", "--model", "nowhere"], "no tokenizer in nowhere"),
    "info of nothing": (["info", "--model", "nowhere"], "there is no model in nowhere"),
    "model and settings": (["info", "--model", "x", "--n-layer", "2"], "leave out --n-layer"),
    "unseen character": (["tokenize", "\u732b"], "character '\u732b' (U+732B) at position 0"),
    "device": (["train", "--device", "tpu9"], "device='tpu9' cannot be used"),
    "encoding": (["tokenize", "a", "--corpus", __file__, "--encoding", "klingon"], "encoding='klingon' is unknown"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_one_line_and_exit_code_2(name, tmp_path):
    arguments, expected = BAD[name]
    done = minigpt(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert expected in done.stderr
    assert list(tmp_path.iterdir()) == [], "an error left files behind"


@pytest.mark.parametrize(
    "knob",
    ["--temperature=-1", "--top-k=0", "--top-p=0", "--top-p=1.5", "--min-p=2", "--temperature=nan", "--seed=-1",
     "--max-new-tokens=-1", "--stop=", "--frequency-penalty=inf"],
)  # fmt: skip
def test_a_knob_out_of_range_is_one_line(run, knob):
    done = minigpt("generate", "--model", run[0], "--prompt", "The ", knob)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("kept", ["training.safetensors", "model.safetensors", "config.json", "tokenizer.json", "best"])
def test_nothing_of_a_run_or_a_model_is_overwritten(run, kept, tmp_path):
    """Each of the files alone is enough, as a model and a tokenizer that Python saved are."""
    folder = tmp_path / "kept"
    folder.mkdir()
    (shutil.copytree if kept == "best" else shutil.copy)(run[0] / kept, folder / kept)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    done = minigpt("train", *TINY, "--steps", "5", "--out", folder)
    assert done.returncode == 2 and re.search(
        r"already holds a (run|model|tokenizer): .*name another --out", done.stderr
    )
    assert ("--resume" in done.stderr) == (kept == "training.safetensors")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_resume_writes_anew_what_is_missing_beside_the_checkpoint(run, name, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run[0], folder)
    (folder / name).unlink()
    assert minigpt("train", "--out", folder, "--resume").returncode == 0
    assert (folder / name).read_bytes() == (run[0] / name).read_bytes()


def test_a_damaged_run_is_one_line(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run[0], folder)
    (folder / "config.json").write_text(json.dumps({"version": 99, "model": {}}))
    assert (
        minigpt("generate", "--model", folder, "--max-new-tokens", "5").returncode == 0
    )  # the checkpoint has all of it
    shutil.copy(folder / "model.safetensors", folder / "training.safetensors")
    for command in (["train", "--resume", "--out"], ["info", "--model"], ["examine"]):
        done = minigpt(*command, folder)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, command
    assert "training.safetensors is no checkpoint of a run" in done.stderr
    (folder / "training.safetensors").unlink()
    assert "format version is 99" in minigpt("generate", "--model", folder).stderr


def test_a_run_that_python_made_does_not_know_its_text(tmp_path):
    ids = torch.arange(300) % 5
    config = TrainConfig(steps=2, warmup_steps=0, device="cpu")
    tokenizer = CharTokenizer.train("abcd")
    model = GPT(GPTConfig(5, block_size=8, n_layer=1, n_embd=8))
    list(train(model, ids[:200], ids[200:], config, tmp_path / "r", tokenizer=tokenizer))
    for command in (["train", "--resume", "--out"], ["examine"]):
        assert "does not say where its text is" in minigpt(*command, tmp_path / "r").stderr
    assert minigpt("generate", "--model", tmp_path / "r", "--max-new-tokens", "5").returncode == 0


def test_a_closed_pipe_is_no_error(run):
    command = f'"{sys.executable}" -m minigpt_core generate --model "{run[0]}" --max-new-tokens 3000 | head -c 5'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""


def test_a_shipped_model_is_named_by_its_name(tmp_path):
    assert "tales-char" in re.sub(r"\s", "", minigpt("generate", "--help").stdout)
    assert "CharTokenizer" in minigpt("info", "--model", "tales-char", cwd=tmp_path).stdout
    out = minigpt(
        "generate", "--model", "tales-char", "--prompt", "Wren ", "--max-new-tokens", "5", cwd=tmp_path
    ).stdout
    assert out.startswith("Wren ") and len(out) > 6


def test_examine_tells_what_the_losses_of_a_run_mean(run):
    folder, _ = run
    done = minigpt("examine", folder)
    assert done.returncode == 0 and done.stdout.startswith("Verdict: "), done.stderr
    assert "ln V 4.09" in done.stdout and "  Try: " in done.stdout


def test_examine_refuses_what_is_no_run(tmp_path):
    done = minigpt("examine", tmp_path / "nothing")
    assert done.returncode != 0 and "Traceback" not in done.stderr and str(tmp_path / "nothing") in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
