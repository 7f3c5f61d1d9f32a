"""Text as a stream: what is on disk equals what the plain tokenizer gives of everything in memory, whatever happened on the way."""

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_cli import as_in_a_terminal

from minigpt_core import (
    GPT,
    BPETokenizer,
    CharTokenizer,
    GPTConfig,
    TrainConfig,
    evaluate,
    get_batch,
    load_corpus,
    load_pretrained,
    resume,
    train,
)
from minigpt_core.beyond import documents, prepare
from minigpt_core.beyond.cutting import LINES, Cutters, cut
from minigpt_core.beyond.documents import find_files, held_out, read_documents
from minigpt_core.beyond.near import SIMILAR, signature
from minigpt_core.beyond.shards import describe, documents_of, fingerprint_of
from minigpt_core.beyond.stored import load_data
from minigpt_core.cli import main
from minigpt_core.data import check_ids
from minigpt_core.files import lock
from minigpt_core.registry import build
from minigpt_core.runs import fingerprint, load_run
from minigpt_core.study.planning import MOST_KINDS
from minigpt_core.tokenizer import END_OF_TEXT
from minigpt_core.training import saved_records

ROOT = Path(__file__).parents[1]
TALES = load_corpus("tales")
LETTERS = CharTokenizer.train(TALES + "0123456789")
ENVIRONMENT = {"PYTHONPATH": str(ROOT), **os.environ}


def written(folder: Path, texts: list[str], kind: str = ".txt", field: str = "text") -> Path:
    """A file of these texts, of any kind that can be read."""
    folder.mkdir(exist_ok=True)
    path = folder / f"part{kind}"
    if kind == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: .parquet is NOT tested")
        parquet.write_table(
            sys.modules["pyarrow"].table({"id": range(len(texts)), field: texts}), path, row_group_size=7
        )
        return path
    lines = [json.dumps({"id": 1, field: text}, ensure_ascii=len(text) % 2 == 0) + "\n" for text in texts]
    raw = "".join(lines if "jsonl" in kind else [text + END_OF_TEXT for text in texts]).encode()
    path.write_bytes(gzip.compress(raw) if kind.endswith(".gz") else raw)
    return path


def in_memory(texts: list[str], tokenizer, fraction: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and validation ids of all documents, by the plain tokenizer."""
    parts: tuple[list[str], list[str]] = ([], [])
    for text in dict.fromkeys(text for text in texts if text.strip()):
        digest = documents.Document(text.encode(), 0, 0).digest
        parts[digest < fraction * 2**64].append(text + END_OF_TEXT)
    return tuple(torch.tensor(tokenizer.encode("".join(part))) for part in parts)


def some_texts(count: int, seed: int = 0) -> list[str]:
    """Documents of one to forty lines of the tales, all different."""
    chosen, lines = random.Random(seed), TALES.replace(END_OF_TEXT, "").splitlines()
    return [f"Tale {i}.\n" + "\n".join(chosen.choices(lines, k=chosen.randint(1, 40))) for i in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    """All that was written, but for the lock and the times in data.json."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}
    found["data.json"] = re.sub(rb'"inputs": \[.*?\n \]', b"", found["data.json"], flags=re.DOTALL)
    return found


TEXTS = some_texts(150)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """150 documents in several shards, cut into letters."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "SHARD", 20_000)
        prepare.prepare([written(folder, TEXTS)], folder / "out", tokenizer=LETTERS, workers=1)
    return folder / "out"


# Documents


@pytest.mark.parametrize("kind", documents.KINDS)
def test_every_kind_of_file_gives_the_same_documents(kind, tmp_path):
    texts = [*TEXTS[:20], "", " \n", "a\r\nb\rc", "two" + END_OF_TEXT + "in one", "雨 \u2028 \u2581 \U0001f600"]
    found = list(read_documents(written(tmp_path, texts, kind)))
    assert [d.text.decode() for d in found] == [*TEXTS[:20], "a\nb\nc", "two", "in one", texts[-1]]
    assert [d.number for d in found] == list(range(24))
    reads = [d.read for d in found]
    assert reads == sorted(reads) and 0 < reads[-1] <= (tmp_path / f"part{kind}").stat().st_size


@pytest.mark.parametrize("encoding, given_as", [("utf-8-sig", None), ("utf-16", None), ("gb18030", "gb18030")])
def test_files_in_other_encodings_are_read(encoding, given_as, tmp_path):
    path = tmp_path / "old.txt"
    path.write_bytes(load_corpus("tales_zh")[:500].encode(encoding))
    assert "".join(d.text.decode() for d in read_documents(path, encoding=given_as)) == load_corpus("tales_zh")[:500]


@given(st.lists(st.sampled_from(["a", "bc", "\n", END_OF_TEXT, "<|endof"])), st.integers(1, 9), st.integers(1, 7))
def test_where_a_file_is_read_in_pieces_makes_no_difference(pieces, limit, size):
    text = "".join(pieces)
    chunks = [text[i : i + size] for i in range(0, len(text), size)]
    found = list(documents._parts(chunks, limit))
    assert found == list(documents._parts([text], limit))
    assert "".join(found) == text.replace(END_OF_TEXT, "") and all(len(part) <= limit for part in found)


def test_a_long_document_is_cut_at_line_breaks_and_what_has_none_anywhere():
    assert list(documents._parts(["one\ntwo\nthree" + "x" * 12], 10)) == ["one\ntwo\n", "threexxxxx", "xxxxxxx"]


def test_patterns_are_found_in_order_and_no_file_twice(tmp_path):
    for name in ("b.txt", "a.txt", "c.jsonl"):
        (tmp_path / name).write_text("x")
    found = find_files([tmp_path / "c.jsonl", tmp_path / "*.txt", tmp_path / "a.txt"])
    assert [path.name for path in found] == ["c.jsonl", "a.txt", "b.txt"]


def test_the_share_held_out_is_about_the_fraction_and_follows_from_the_text():
    digests = [documents.Document(text.encode(), i, 0).digest for i, text in enumerate(some_texts(2000))]
    assert 0.08 < sum(held_out(digest, 0.1) for digest in digests) / 2000 < 0.12
    assert all(held_out(digest, 0.2) for digest in digests if held_out(digest, 0.1))


@pytest.mark.parametrize(
    "name, raw, said",
    [
        (
            "a.txt",
            b"A lamp.\n" * 2000 + b"caf\xe9",
            "a.txt: it is not text in utf-8 (byte 0xe9 at position 16,003): if",
        ),
        (
            "a.txt",
            "雨".encode()[:-1],
            "a.txt: it is not text in utf-8 (byte 0xe9 at position 0): if it is text, name its",
        ),
        (
            "a.txt.gz",
            gzip.compress(b"x" * 9999 + b"\xe9"),
            "a.txt.gz: it is not text in utf-8 (byte 0xe9 at position 9,999)",
        ),
        ("a.txt", b"a<|endoftext|>a\0b", "a.txt: document 1 holds a NUL character"),
        ("a.txt", b" \n", "there is no text in "),
        ("a.txt.gz", b"", "there is no text in "),
        ("a.jsonl", b'{"text": "a"}\n{"body": "b"}\n', "a.jsonl: line 2 has no field 'text', but body: name the one"),
        ("a.jsonl", b'{"text": 3}', "a.jsonl: line 1 has in 'text' no text, but 3: name the one"),
        ("a.jsonl", b'["text"]', "a.jsonl: line 1 is no JSON object: mend it"),
        ("a.jsonl", b'{"text": ', "a.jsonl: line 1 is no JSON object"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl: line 1 is no JSON object"),
        ("a.jsonl", b'{"text": "\\ud800"}', "a.jsonl: document 0 holds half of a character (a lone surrogate)"),
        ("a.txt.gz", b"no gzip", "a.txt.gz is damaged: not a gzipped file"),
        ("a.txt.gz", gzip.compress(TALES.encode())[:-300], "a.txt.gz is damaged"),
        ("a.txt.gz", gzip.compress(TALES.encode()) + b"more", "a.txt.gz is damaged"),
        ("a.pdf", b"%PDF", "a.pdf is of no kind that can be read: .txt, .jsonl"),
        ("b/a.txt", b"", "there is no file"),
        ("b/*.txt", b"", "there is no file"),
        ("", b"", "is a folder: name the files in it, as "),
    ],
)
def test_what_cannot_be_read_is_named_in_a_sentence(name, raw, said, tmp_path):
    path = tmp_path / name
    if name and path.parent.is_dir():
        path.write_bytes(raw)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        prepare.prepare([path], tmp_path / "out", workers=1)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names: NOT tested on Windows")
def test_a_pipe_and_a_link_to_nothing_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "link.txt").symlink_to("nothing")
    for name in ("pipe.txt", "link.txt"):
        with pytest.raises(ValueError, match=f"{name} is no file, but a link to nothing, a pipe or a device"):
            find_files([tmp_path / name])


def test_names_may_have_spaces_brackets_capitals_and_any_script(tmp_path):
    for name in ("a b.txt", "c[1].txt", "雨 é.TXT"):
        (tmp_path / name).write_text(name, encoding="utf-8")
        assert [d.text.decode() for path in find_files([tmp_path / name]) for d in read_documents(path)] == [name]


def test_what_is_no_parquet_file_or_has_no_text_is_told(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: .parquet is NOT tested")
    path = written(tmp_path, TEXTS, ".parquet")
    raw = path.read_bytes()

    def told(raw: bytes) -> str:
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=r"part\.parquet: ") as caught:
            list(read_documents(path))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    for harmed in (b"", b"PAR1 no", raw[:-50], raw[:20] + b"\xff" * 200 + raw[220:]):
        assert "it is damaged, or no parquet file: " in told(harmed)
    for column, said in (
        ({"body": ["a"]}, "it has no column 'text', but body: name the one that holds the text (now field='text')"),
        ({"text": ["a", None]}, "its column 'text' holds no text, but None: name the one"),
        ({"text": [3]}, "its column 'text' holds no text, but 3: name the one"),
    ):
        sys.modules["pyarrow.parquet"].write_table(pyarrow.table(column), path)
        assert said in told(path.read_bytes())


def test_without_pyarrow_a_parquet_file_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"a\.parquet.*pip install pyarrow"):
        list(read_documents(tmp_path / "a.parquet"))


# Cutting


@pytest.mark.parametrize(
    "text", [TALES[:30_000], load_corpus("tales_zh"), "\n" * 9000, " \n\u2581\n" * 3000, "x" * 9000, ""]
)
def test_text_that_is_cut_line_by_line_has_the_ids_of_the_whole(text):
    for tokenizer in (BPETokenizer.train(TALES, vocab_size=600), CharTokenizer.train(text)):
        assert cut(tokenizer, text) == tokenizer.encode(text)
    assert len(TALES) > 2 * LINES


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc: the processes' memory is NOT looked at")
def test_no_process_that_cuts_has_torch(tmp_path):
    LETTERS.save(tmp_path)
    with Cutters(2, tmp_path, "<u2", ("ids", "near")) as cutters:
        assert [cutters.submit([b"the lamp"]).result()[0].keys() for _ in range(4)] == 4 * [{"ids", "near"}]
        maps = [Path(f"/proc/{process.pid}/maps").read_text() for process in cutters.processes]
    assert all("sentencepiece" in each and "torch" not in each for each in maps)
    assert all(process.poll() is not None for process in cutters.processes)


def test_neither_has_the_program_that_reads_and_writes(tmp_path):
    script = (
        "import sys; from minigpt_core.cli import main; sys.argv[0] = 'minigpt'; "
        "assert main(sys.argv[1:]) == 0; assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", script, "prepare", written(tmp_path, TEXTS), "--out", tmp_path / "out"]
    done = subprocess.run([*map(str, command), "--vocab-size", "500"], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "learn from it: minigpt train --data" in done.stdout


def test_a_refused_character_is_told_with_its_place_in_the_whole_text():
    text = "the lamp\n" * (2 * LINES) + "雨"
    with pytest.raises(ValueError, match=f"'雨' .* at position {len(text) - 1} "):
        cut(LETTERS, text)


def test_a_process_that_is_killed_ends_in_a_sentence(tmp_path):
    LETTERS.save(tmp_path)
    with Cutters(1, tmp_path, "<u2", ("ids",)) as cutters:
        cutters.processes[0].kill()
        with pytest.raises(
            ChildProcessError, match=r"ended .* perhaps for want of memory: give the same command again"
        ):
            cutters.submit([b"the lamp"]).result()
        half = [sys.executable, "-c", "input(); print('[{\"ids\": 9}]'); print('the')"]
        cutters._free.get()
        cutters._free.put(subprocess.Popen(half, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        with pytest.raises(ChildProcessError, match="exit code 0"):
            cutters.submit([b"the lamp"]).result()


def test_pieces_are_learned_from_what_is_not_held_out_with_a_fitting_coverage():
    assert prepare.PIECES == MOST_KINDS
    english = prepare.fitting_pieces(TALES + "雨" * 3, 600)
    assert "雨" in english.tokens
    many = "".join(chr(0x4E00 + i) for i in range(900)) + load_corpus("tales_zh") * 10
    tokenizer = prepare.fitting_pieces(many, 1500)
    assert chr(0x4E00 + 800) not in tokenizer.tokens and tokenizer.decode(tokenizer.encode(many)) == many


def test_the_sample_is_of_all_files_without_what_is_held_out(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "SAMPLE", 20_000)
    paths = [written(tmp_path / name, some_texts(100, seed)) for seed, name in enumerate("ab")]
    settings = {"field": "text", "encoding": None, "fraction": 0.5}
    state = prepare.Described(settings, [prepare._look(path) for path in paths], documents.LONGEST)
    sample = prepare._sample(state)
    assert 18_000 < len(sample) <= 20_100
    kept = [t for p in paths for t in p.read_text().split(END_OF_TEXT)[:-1] if t in sample]
    assert len(kept) > 5 and not any(held_out(documents.Document(t.encode(), 0, 0).digest, 0.5) for t in kept)


# The whole


@pytest.mark.parametrize("tokenizer", [LETTERS, BPETokenizer.train(TALES, vocab_size=500)], ids=["char", "bpe"])
def test_what_is_on_disk_is_what_memory_would_hold(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "JOB", 5_000)
    monkeypatch.setattr(prepare, "SHARD", 9_000)
    texts = [*TEXTS[:80], "", TEXTS[3], "Tale 4.", *TEXTS[70:], TEXTS[3]]
    kinds = {".txt": texts[:50], ".jsonl.gz": texts[50:120], ".jsonl": texts[120:]}
    paths = [written(tmp_path / kind[1:], part, kind) for kind, part in kinds.items()]
    out = tmp_path / "out"
    state = prepare.prepare(paths, out, tokenizer=tokenizer, workers=2)
    expected = in_memory(texts, tokenizer)
    train_ids, val_ids, own = load_data(out)
    assert own.tokens == tokenizer.tokens and state.repeated == 12 and len(state.parts["train"]) > 2
    for ids, whole, part in zip((train_ids, val_ids), expected, ("train", "val"), strict=True):
        assert torch.equal(ids[:], whole) and len(ids) == len(whole) == state.count(part)[1]
        starts = documents_of(out, part)["start"]
        ends = (whole == 0).nonzero().flatten()
        assert starts.tolist() == [0, *(ends[:-1] + 1).tolist()] and len(starts) == state.count(part)[0]
    row = documents_of(out, "train")[-1]  # a document can be found again
    found = next(d for d in read_documents(paths[row["file"]]) if d.number == row["number"])
    assert tokenizer.encode(found.text.decode()) == train_ids[int(row["start"]) :].tolist()[:-1]


def test_the_number_of_processes_and_the_size_of_jobs_make_no_difference(tmp_path, monkeypatch):
    path = written(tmp_path, TEXTS)
    found = []
    started = []
    monkeypatch.setattr(prepare, "_processors", lambda: 3)
    monkeypatch.setattr(prepare, "Cutters", lambda count, *a: started.append(count) or Cutters(count, *a))
    for workers, job in ((1, 2**19), (1000, 900)):
        monkeypatch.setattr(prepare, "JOB", job)
        prepare.prepare([path], tmp_path / str(workers), vocab_size=500, near=True, workers=workers)
        found.append(contents(tmp_path / str(workers)))
    assert found[0] == found[1] and len(found[0]) > 8 and started == [1, 3]  # no more than there are processors


def test_a_large_vocabulary_takes_four_bytes_a_token(tmp_path):
    characters = "".join(map(chr, range(0x20000, 0x20000 + 70_000)))
    texts = [characters[i : i + 500] for i in range(0, 70_000, 500)]
    state = prepare.prepare(
        [written(tmp_path, texts)], tmp_path / "out", tokenizer=CharTokenizer(list(characters)), workers=1
    )
    train_ids, _, tokenizer = load_data(tmp_path / "out")
    assert state.dtype.itemsize == 4 and train_ids.max() > 2**16
    assert torch.equal(train_ids[:], in_memory(texts, tokenizer)[0])


def test_few_documents_are_held_out_in_blocks(tmp_path):
    path = tmp_path / "one.txt"
    path.write_text(TALES.replace(END_OF_TEXT, "") * 3, encoding="utf-8")
    state = prepare.prepare([path], tmp_path / "out", tokenizer=LETTERS, fraction=0.3, workers=1)
    assert state.limit == documents.BLOCK and state.repeated == 0
    assert 20 < sum(state.count(part)[0] for part in ("train", "val")) < 40


def test_a_text_that_the_tokenizer_refuses_is_named(tmp_path):
    path = written(tmp_path, [*TEXTS[:30], "雨"])
    with pytest.raises(ValueError, match=r"part\.txt, document 30: character '雨'"):
        prepare.prepare([path], tmp_path / "out", tokenizer=LETTERS, workers=1)


KILLED = """
import os, signal, sys
from minigpt_core import load_tokenizer
from minigpt_core.beyond import prepare, shards
prepare.JOB, prepare.COMMIT, prepare.SHARD = 3000, 2, 9000
path, out, left = sys.argv[1], sys.argv[2], int(sys.argv[3])
def deadly(owner, name):
    inner = getattr(owner, name)
    def outer(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*arguments, **named)
    setattr(owner, name, outer)
for owner, name in ((os, "fsync"), (os, "replace"), (prepare.Writer, "append"), (prepare.Writer, "_open")):
    deadly(owner, name)
prepare.prepare([path], out, vocab_size=500, near=True, workers=2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL: NOT tested on Windows")
@pytest.mark.parametrize("seed", range(2))
def test_no_document_is_lost_or_doubled_however_often_it_is_killed(seed, tmp_path):
    path = written(tmp_path, [*TEXTS, TEXTS[0]], ".jsonl.gz")
    chosen, codes = random.Random(seed), []
    while 0 not in codes:
        left = chosen.randint(20, 150) if len(codes) < 12 else 0  # the first ones before there is a tokenizer
        command = [sys.executable, "-c", KILLED, path, tmp_path / "out", 1 + len(codes) if len(codes) < 3 else left]
        codes.append(subprocess.run([*map(str, command)], env=ENVIRONMENT, timeout=60).returncode)
    assert codes.count(-9) == len(codes) - 1 >= 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "SHARD", 9000)
        prepare.prepare([path], tmp_path / "at once", vocab_size=500, near=True, workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "at once")


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="needs /proc: processes left behind are NOT looked for"
)
def test_killed_at_any_time_it_leaves_no_process_and_goes_on(tmp_path):
    path = written(tmp_path, some_texts(2000))
    LETTERS.save(tmp_path / "letters")
    script = KILLED.replace("vocab_size=500, near=True", f"tokenizer=load_tokenizer({str(tmp_path / 'letters')!r})")
    chosen, killed, code, out = random.Random(0), 0, None, tmp_path / "out"

    def done() -> int:
        return describe(out).place[1] if (out / "data.json").exists() else 0

    while code is None:
        running = subprocess.Popen([sys.executable, "-c", script, path, out, "0"], env=ENVIRONMENT)
        wanted = done() + chosen.randint(1, 200) if killed < 4 else 10**9
        while (code := running.poll()) is None and done() < wanted:
            time.sleep(chosen.uniform(0, 0.02))
        if code is None:
            children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            running.kill()
            killed += 1
            running.wait()
            wait_for_the_end_of(children)
    assert code == 0 and killed > 0
    ids = [ids[:] for ids in load_data(out)[:2]]
    assert all(map(torch.equal, ids, in_memory(some_texts(2000), LETTERS)))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc and signals: an end by one is NOT tested")
@pytest.mark.parametrize("by, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_whatever_signal_ends_it_the_same_command_goes_on(by, code, tmp_path):
    """Ctrl-C comes to all processes of a terminal's group, and may come while they start."""
    path = written(tmp_path, some_texts(1000))
    LETTERS.save(tmp_path / "letters")
    command = [sys.executable, "-m", "minigpt_core", "prepare", path, "--out", tmp_path / "out", "--workers", "2"]
    command = [*map(str, command), "--model", str(tmp_path / "letters")]
    pipes = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True, "env": ENVIRONMENT}
    running = subprocess.Popen(command, **pipes, preexec_fn=as_in_a_terminal)
    while not (children := Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()):
        assert running.poll() is None
    os.killpg(running.pid, by)
    said = running.communicate(timeout=120)[1]
    assert running.returncode == code and "Traceback" not in said
    assert said.splitlines()[-1] == "minigpt: stopped; the same command goes on where it was"
    wait_for_the_end_of(children)
    assert subprocess.run(command, env=ENVIRONMENT, capture_output=True).returncode == 0
    assert all(
        map(torch.equal, (ids[:] for ids in load_data(tmp_path / "out")[:2]), in_memory(some_texts(1000), LETTERS))
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on files: a full disk is NOT tested on Windows")
def test_where_the_disk_is_full_nothing_is_lost(tmp_path):
    import resource

    path = written(tmp_path, some_texts(600))
    prepare.prepare([path], tmp_path / "at once", vocab_size=500, workers=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(
            ValueError, match="out cannot be written: File too large; when that is mended, the same call"
        ):
            prepare.prepare([path], tmp_path / "out", vocab_size=500, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    prepare.prepare([path], tmp_path / "out", vocab_size=500, workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "at once")


def test_of_two_runs_in_one_folder_the_second_is_refused(tmp_path):
    with lock(tmp_path / "out"), pytest.raises(ValueError, match=f"process {os.getpid()} is at work in .*: wait until"):
        prepare.prepare([written(tmp_path, TEXTS)], tmp_path / "out", tokenizer=LETTERS)


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, monkeypatch):
    path = written(tmp_path, TEXTS)
    inner = prepare.fitting_pieces

    def later(*arguments):
        with open(path, "a") as file:
            file.write("And a last tale.")
        return inner(*arguments)

    monkeypatch.setattr(prepare, "fitting_pieces", later)
    with pytest.raises(ValueError, match=r"part\.txt has changed while it was read: prepare another folder"):
        prepare.prepare([path], tmp_path / "out", vocab_size=500, workers=1)


def wait_for_the_end_of(pids: list[str]) -> None:
    end = time.monotonic() + 20
    while any(alive(int(pid)) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


# What is refused


def test_a_folder_that_holds_something_is_not_touched(tmp_path, prepared):
    path = written(tmp_path, TEXTS)
    for name, held in (("config.json", "a model"), ("tokenizer.json", "a tokenizer"), ("notes.md", "other files")):
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(ValueError, match=f"already holds {held}: name another folder"):
            prepare.prepare([path], folder, tokenizer=LETTERS, workers=1)
        assert [p.name for p in folder.iterdir()] == [name]
    with pytest.raises(ValueError, match="already holds prepared text: name another folder"):
        prepare.prepare([path], prepared, tokenizer=LETTERS, workers=1)
    with pytest.raises(ValueError, match=r"part\.txt is a file: name a folder"):
        prepare.prepare([path], path, tokenizer=LETTERS, workers=1)
    with pytest.raises(ValueError, match=r"out cannot be written: Not a directory"):
        prepare.prepare([path], path / "out", tokenizer=LETTERS, workers=1)


def test_what_was_begun_goes_on_only_with_the_same_files_and_settings(tmp_path, monkeypatch):
    paths = [written(tmp_path / name, some_texts(40, seed)) for seed, name in enumerate("ab")]
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="vocab_size=90000 does not fit this text"):
        prepare.prepare(paths, out, vocab_size=90_000)  # nothing was written yet, so another call may begin anew

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "_cut_all", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare.prepare(paths, out, vocab_size=400)
    with pytest.raises(ValueError, match="is not finished: prepare it by the command that began it"):
        load_data(out)
    with pytest.raises(ValueError, match="was begun with other files: name those"):
        prepare.prepare(paths[:1], out, vocab_size=400)
    with pytest.raises(ValueError, match=r"was begun with fraction=0\.1: keep it"):
        prepare.prepare(paths, out, vocab_size=400, fraction=0.2)
    with pytest.raises(ValueError, match="was begun with another tokenizer: keep it"):
        prepare.prepare(paths, out, tokenizer=LETTERS)
    with pytest.raises(ValueError, match="was begun with vocab_size=400: keep it"):
        prepare.prepare(paths, out, vocab_size=401)
    before = (out / "bpe.model").read_bytes()
    BPETokenizer.train(TALES, vocab_size=400).save(out, overwrite=True)
    with pytest.raises(ValueError, match=r"the tokenizer in .* has changed since it was begun"):
        prepare.prepare(paths, out, vocab_size=400)
    (out / "bpe.model").write_bytes(before)
    os.utime(paths[1], (0, 0))
    with pytest.raises(ValueError, match=r"part\.txt has changed since .* was begun: name another folder"):
        prepare.prepare(paths, out, vocab_size=400)


def test_a_text_without_a_part_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"of 1 documents none is left for .*: with another fraction \(now 0\.5\)"):
        prepare.prepare(
            [written(tmp_path, ["The lamp was lit."])], tmp_path / "out", tokenizer=LETTERS, fraction=0.5, workers=1
        )
    with pytest.raises(ValueError, match=r"no document is left to learn from: take a lower fraction \(now 0\.999"):
        prepare.prepare([tmp_path / "part.txt"], tmp_path / "out2", fraction=0.999999, workers=1)


@pytest.mark.parametrize(
    "setting, said",
    [
        ({"fraction": 0}, "fraction=0"),
        ({"fraction": 1}, "fraction=1"),
        ({"fraction": -1}, "fraction=-1"),
        ({"fraction": float("nan")}, "fraction=nan"),
        ({"workers": 0}, "workers=0"),
        ({"workers": -1}, "workers=-1"),
        ({"vocab_size": "x"}, "vocab_size='x'"),
    ],
)
def test_settings_are_checked_before_anything_is_written(setting, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        prepare.prepare([written(tmp_path, TEXTS)], tmp_path / "out", **setting)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def copy(prepared, tmp_path) -> Path:
    """Of the prepared text, to be harmed."""
    for path in prepared.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(prepared)).parent.mkdir(exist_ok=True)
            (tmp_path / path.relative_to(prepared)).write_bytes(path.read_bytes())
    return tmp_path


def test_harm_is_told_in_a_sentence(copy):
    first, raw = copy / "train" / "00000.ids", (copy / "train" / "00000.ids").read_bytes()
    for harm, said in (
        (
            lambda: first.write_bytes(raw[:-2]),
            r"00000\.ids is cut off: it has [\d,]+ bytes of [\d,]+; prepare the text anew",
        ),
        (lambda: first.write_bytes(raw[:-2] + b"\1\1"), r"00000\.ids has changed since it was written"),
        (lambda: first.unlink(), r"00000\.ids cannot be read: No such file"),
    ):
        harm()
        with pytest.raises(ValueError, match=said):
            load_data(copy)
    first.write_bytes(raw)
    load_data(copy)
    (copy / "val" / "00000.documents").write_bytes(b"")
    with pytest.raises(ValueError, match=r"00000\.documents is cut off"):
        documents_of(copy, "val")
    CharTokenizer.train(TALES + "雨").save(copy, overwrite=True)
    with pytest.raises(ValueError, match=r"the tokenizer in .* is not the one that cut its text"):
        load_data(copy)
    LETTERS.save(copy, overwrite=True)
    with pytest.raises(ValueError, match="was cut by another tokenizer"):
        load_data(copy, CharTokenizer.train(TALES + "雨"))
    for raw, said in (
        (b"{", "cannot be read"),
        (b'{"version": 9}', "format version is 9"),
        (b'{"version": 1, "a": 2}', "cannot be read"),
        (b'{"version": 1, "settings": {}, "inputs": [], "parts": {"train": [{}]}}', "cannot be read: 'documents'"),
    ):
        (copy / "data.json").write_bytes(raw)
        with pytest.raises(ValueError, match=said):
            load_data(copy)
    (copy / "data.json").unlink()
    with pytest.raises(ValueError, match="holds no prepared text: make it by minigpt prepare FILES --out"):
        load_data(copy)


# Training from it


@pytest.fixture(scope="module")
def both(prepared):
    """Training and validation ids, on disk and in memory."""
    stored = load_data(prepared)[:2]
    assert len(stored[0].shards) > 2 and all(isinstance(shard, np.memmap) for shard in stored[0].shards)
    return stored, tuple(ids[:] for ids in stored)


def test_stored_ids_answer_as_a_tensor_does(both):
    (stored, _), (whole, _) = both
    ends = [
        0,
        1,
        *(int(end) + off for end in stored.begins[1:-1] for off in (-1, 0, 1)),
        len(whole) - 1,
        len(whole),
        10**9,
    ]
    for begin in ends:
        for end in ends:
            assert torch.equal(stored[begin:end], whole[begin:end])
    assert torch.equal(stored[-7:], whole[-7:]) and torch.equal(stored[::3], whole[::3])
    places = torch.randint(len(whole), (5, 7), generator=torch.Generator().manual_seed(0))
    assert torch.equal(stored[places], whole[places]) and stored[places].dtype == torch.int64
    with pytest.raises(IndexError, match=f"ids from 0 to {len(whole) - 1}"):
        stored[torch.tensor([len(whole)])]
    for step in range(5):
        assert all(map(torch.equal, *(get_batch(ids, 64, 8, seed=3, step=step) for ids in (stored, whole))))
    with pytest.raises(ValueError, match=f"from 0 to 9, for a vocabulary of 10 tokens, but go from 0 to {whole.max()}"):
        check_ids("ids", stored, 10)


def test_the_same_data_has_the_same_name_in_memory_and_on_disk(both):
    stored, whole = both
    assert fingerprint(*stored) == fingerprint(*whole)


def test_training_from_disk_is_training_from_memory_to_the_bit_and_resumes(both, tmp_path):
    config = TrainConfig(steps=8, batch_size=4, warmup_steps=2, eval_every=3, checkpoint_every=4, device="cpu")
    size = GPTConfig(LETTERS.vocab_size, block_size=16, n_layer=1, n_head=2, n_embd=16, dropout=0.1)

    def curve(run):
        return [(r.step, r.train_loss, r.val_loss, r.grad_norm) for r in run.records]

    def begun(ids, folder=None):
        torch.manual_seed(0)
        return train(GPT(size), *ids, config, folder, tokenizer=LETTERS)

    stored, whole = both
    runs = [begun(ids) for ids in (stored, whole)]
    for run in runs:
        assert len(list(run)) == 8
    assert curve(runs[0]) == curve(runs[1]) and runs[0].records[-1].val_loss is not None
    assert evaluate(runs[0].model, stored[1], windows=5) == evaluate(runs[0].model, whole[1], windows=5)
    for record in begun(stored, tmp_path / "run"):
        if record.step == 5:
            break
    again = resume(GPT(size), *whole, tmp_path / "run")  # begun on disk, ended in memory
    assert len(list(again)) == 3 and curve(again) == curve(runs[0])


# Almost the same


def edited(text: str, share: float, chosen: random.Random) -> str:
    letters = list(text)
    for i in chosen.sample(range(len(letters)), round(share * len(letters))):
        letters[i] = "#"
    return "".join(letters)


def common(a: bytes, b: bytes) -> float:
    pieces = [{each[i : i + 16] for i in range(len(each) - 15)} for each in (a, b)]
    return len(pieces[0] & pieces[1]) / len(pieces[0] | pieces[1])


def test_the_estimated_similarity_is_the_share_of_pieces_in_common():
    chosen, errors = random.Random(0), []
    for share in (0, 0.002, 0.005, 0.01, 0.03, 0.1):
        for begin in range(0, 100_000, 10_000):
            a, b = TALES[begin : begin + 3000], edited(TALES[begin : begin + 3000], share, chosen)
            errors.append(
                float((signature(a.encode()) == signature(b.encode())).mean()) - common(a.encode(), b.encode())
            )
    assert abs(np.mean(errors)) < 0.02 and np.std(errors) < 0.07
    assert signature(b"").shape == signature(b"ab" * 5000).shape == (64,)


def test_documents_that_are_almost_the_same_are_listed_with_their_places(tmp_path):
    chosen = random.Random(1)
    texts = [text for text in some_texts(200, 5) if len(text) > 400]
    twins = [edited(text, 0.002, chosen) for text in texts[:20]]
    paths = [written(tmp_path / "a", texts), written(tmp_path / "b", twins, ".jsonl")]
    state = prepare.prepare(
        paths, tmp_path / "out", tokenizer=CharTokenizer.train(TALES + "0123456789#"), near=True, workers=1
    )
    lines = [json.loads(line) for line in (tmp_path / "out" / "near.jsonl").read_text().splitlines()]
    found = {line["document"]: line["like"]["document"] for line in lines if line["file"] == str(paths[1].resolve())}
    assert len(found) >= 18 and all(a == b for a, b in found.items())
    assert state.near == [len(lines), sum(line["part"] != line["like"]["part"] for line in lines)] and len(lines) < 30
    assert all(line["similarity"] >= SIMILAR for line in lines)
    for line in lines:  # the parts are those that were written
        place = [str(path.resolve()) for path in paths].index(line["file"])
        assert (place, line["document"]) in documents_of(tmp_path / "out", line["part"])[["file", "number"]].tolist()


# The commands


def told(capsys, *arguments) -> tuple[int, str, str]:
    code = main([*map(str, arguments)])
    return code, *capsys.readouterr()


TINY = [
    "--n-layer",
    "1",
    "--n-embd",
    "16",
    "--n-head",
    "2",
    "--block-size",
    "16",
    "--batch-size",
    "4",
    "--device",
    "cpu",
]


def test_from_files_to_a_run_that_is_resumed_examined_and_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [written(tmp_path / name, some_texts(60, seed), ".jsonl", "body") for seed, name in enumerate("ab")]
    command = [
        "prepare",
        "*/part.jsonl",
        "--out",
        "out",
        "--field",
        "body",
        "--vocab-size",
        "400",
        "--workers",
        "1",
        "--near",
    ]
    code, out, err = told(capsys, *command)
    assert code == 0, err
    assert re.search(r"^1\d\d documents to learn from, \d+ held out; 0 repeated, and dropped$", out, re.MULTILINE)
    assert "0 documents almost like an earlier one" in out and "learn from it: minigpt train --data out" in out
    assert [path for path, *_ in describe("out").inputs] == [str(path.resolve()) for path in paths]
    assert told(capsys, *command)[2] == "minigpt: out already holds prepared text: name another folder\n"

    code, out, err = told(capsys, "train", "--data", "out", *TINY, "--steps", 6)
    assert code == 0, err
    train_ids, val_ids, tokenizer = load_data("out")
    assert f"{len(train_ids):,} training tokens, {len(val_ids):,} validation tokens; vocabulary of 400 tokens" in out
    run, records = load_run("runs/out"), saved_records("runs/out")
    assert run.config.eval_windows == 1000 and run.notes["data"] == str(tmp_path / "out")
    texts = [d.text.decode() for path in paths for d in read_documents(path, field="body")]
    torch.manual_seed(run.config.seed)
    same = list(train(build(run.model), *in_memory(texts, tokenizer), run.config))
    assert [(r.train_loss, r.val_loss) for r in same] == [(r.train_loss, r.val_loss) for r in records]

    assert told(capsys, "train", "--out", "runs/out", "--resume", "--steps", 8)[0] == 0
    assert len(saved_records("runs/out")) == 8
    assert "out, unchanged since" in told(capsys, "info", "--model", "runs/out")[1]
    assert "training memory" in told(capsys, "info", "--data", "out", *TINY)[1]
    examined = told(capsys, "examine", "runs/out")[1]
    assert f"counted in the first {len(train_ids):,} training" in examined and "Verdict: " in examined
    assert told(capsys, "tokenize", "The lamp", "--data", "out")[0] == 0

    code, _, err = told(capsys, "train", "--data", "out", "--corpus", "tales")
    assert code == 2 and err == "minigpt: --data brings its own text, split and tokenizer: leave out --corpus\n"
    other = ["prepare", *paths, "--field", "body", "--model", "tales-bpe", "--workers", "1"]
    assert told(capsys, *other, "--out", "other", "--vocab-size", "9")[2].endswith("leave out --vocab-size\n")
    assert told(capsys, *other, "--out", "other")[0] == 0
    assert fingerprint_of(load_data("other")[2]) == fingerprint_of(load_pretrained("tales-bpe")[1])
    (tmp_path / "out").rename("before")
    (tmp_path / "other").rename("out")
    code, _, err = told(capsys, "train", "--out", "runs/out", "--resume", "--steps", 9)
    assert code == 2 and "cannot be had as it was: the text in" in err and "was cut by another tokenizer" in err
    assert err.endswith("; if it has moved, say by --data where it is\n")
    moved = ("--data", "before")
    assert "Verdict: " in told(capsys, "examine", "runs/out", *moved)[1]
    assert "before, unchanged since" in told(capsys, "info", "--model", "runs/out", *moved)[1]
    assert told(capsys, "train", "--out", "runs/out", "--resume", "--steps", 9, "--data", "other")[0] == 2
    assert told(capsys, "train", "--out", "runs/out", "--resume", "--steps", 9, *moved)[0] == 0
    assert "before, unchanged since" in told(capsys, "info", "--model", "runs/out")[1]  # noted
    assert told(capsys, "info", "--model", "tales-char", *moved)[2].endswith("without a run: leave out --data\n")
    other = ("train", "--corpus", "tales", *TINY, "--steps", 1, "--out", "runs/tales")
    assert told(capsys, *other)[0] == 0
    assert told(capsys, "examine", "runs/tales", *moved)[2].endswith("not learn from prepared text: leave out --data\n")
    assert (
        "nowhere holds no prepared text: make it by minigpt prepare FILES"
        in told(capsys, "train", "--data", "nowhere")[2]
    )
