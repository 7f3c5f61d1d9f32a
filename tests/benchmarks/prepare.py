"""`minigpt prepare` on a large text of distinct documents: its speed beside SentencePiece's own on the same cores, and its memory.

    python tests/benchmarks/prepare.py [--megabytes 1000] [--folder FOLDER] [--near] [--record]

About ten minutes on two cores; Linux only. Chapter 16 shows what --record writes: run it when the machine is quiet.

Memory is the proportional set size (PSS) of all its processes together, which counts a page that n of them share as a nth for
each, looked at ten times a second. SentencePiece is called directly, on the same text, two hundred documents at a time, with one
thread for each core; only these calls are timed: neither reading nor writing counts against it. It learns nothing, since it
is given the pieces that prepare learned.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from minigpt_core import load_corpus
from minigpt_core.beyond.shards import PARTS, describe
from minigpt_core.files import write_atomic
from minigpt_core.tokenizer import END_OF_TEXT

RECORD = Path(__file__).parents[2] / "book" / "records" / "prepare.json"
PROCESSORS = len(os.sched_getaffinity(0))  # and as many workers

FILES, LINES = 4, 60  # lines of a document: about 2,500 characters
TARGETS = {"memory": 600, "speed": 0.5}  # MB; share of SentencePiece's


def make(folder: Path, megabytes: float) -> tuple[list[Path], int, int]:
    """Files of documents of lines drawn from the book's texts, each document with a number of its own; how many documents
    and how many bytes of text that are."""
    text = "".join(load_corpus(name).replace(END_OF_TEXT, "") for name in ("alice", "shakespeare", "tales"))
    lines, chosen = text.splitlines(keepends=True), random.Random(0)
    number, size, paths = 0, 0, []
    for part in range(FILES):
        paths.append(folder / f"{part}.jsonl")
        with open(paths[-1], "w", encoding="utf-8") as file:
            while file.tell() < megabytes * 1e6 / FILES:
                for _ in range(100):
                    number += 1
                    document = f"Number {number}.\n" + "".join(chosen.choices(lines, k=LINES))
                    size += len(document.encode())
                    file.write(json.dumps({"text": document}, ensure_ascii=False) + "\n")
    return paths, number, size


def pss(pid: int) -> int:
    """Bytes of a process and of all that it started."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has just ended
        return 0
    own = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return 1024 * own + sum(pss(int(child)) for child in children)


def prepared(paths: list[Path], out: Path, *options: str) -> tuple[float, int]:
    """Seconds that it took, and the most memory that was seen."""
    command = [sys.executable, "-m", "minigpt_core", "prepare", *map(str, paths), "--out", str(out), *options]
    began, most = time.perf_counter(), 0
    running = subprocess.Popen(command)
    while running.poll() is None:
        most = max(most, pss(running.pid))
        time.sleep(0.1)
    assert running.returncode == 0
    return time.perf_counter() - began, most


def sentencepiece_seconds(paths: list[Path], out: Path) -> float:
    import sentencepiece

    processor, seconds = sentencepiece.SentencePieceProcessor(model_file=str(out / "bpe.model")), 0.0
    for path in paths:
        with open(path, encoding="utf-8") as file:
            while lines := list(islice(file, 200)):
                documents = [json.loads(line)["text"] for line in lines]
                began = time.perf_counter()
                processor.encode(documents, num_threads=PROCESSORS)
                seconds += time.perf_counter() - began
    return seconds


OPEN = """
import sys, time
from minigpt_core.beyond.stored import load_data
from minigpt_core.data import check_ids
from minigpt_core.runs import fingerprint
began = time.perf_counter()
train_ids, val_ids, tokenizer = load_data(sys.argv[1])
for ids in (train_ids, val_ids):
    check_ids("ids", ids, tokenizer.vocab_size)
fingerprint(train_ids, val_ids)
print(time.perf_counter() - began)
"""


def open_seconds(out: Path) -> float:
    """What `train` does with a folder before its first step."""
    return float(subprocess.run([sys.executable, "-c", OPEN, str(out)], check=True, capture_output=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=1000)
    parser.add_argument(
        "--folder", default=tempfile.gettempdir(), help="where there is room for two and a half times as much"
    )
    parser.add_argument("--near", action="store_true", help="with the report on near duplicates")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name} for the chapter")
    a = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=a.folder))
    try:
        paths, documents, size = make(folder, a.megabytes)
        seconds, memory = prepared(paths, folder / "out", *(["--near"] if a.near else []))
        state = describe(folder / "out")
        assert sum(state.count(part)[0] for part in PARTS) == documents
        found = {
            "settings": {
                "bytes": size,
                "documents": documents,
                "files": FILES,
                "workers": PROCESSORS,
                "processors": PROCESSORS,
                "vocab_size": state.vocab_size,
                "near": a.near,
            },
            "seconds": round(seconds, 1),
            "mb_per_second": round(size / seconds / 1e6, 2),
            "sentencepiece_seconds": round(sentencepiece_seconds(paths, folder / "out"), 1),
            "peak_pss_mb": round(memory / 1e6),
            "open_seconds": round(open_seconds(folder / "out"), 2),
            "tokens": {part: state.count(part)[1] for part in PARTS},
        }
    finally:
        shutil.rmtree(folder)
    share = found["sentencepiece_seconds"] / found["seconds"]
    print(json.dumps(found, indent=1))
    print(f"speed: {share:.2f} of SentencePiece's (target {TARGETS['speed']}); memory target {TARGETS['memory']} MB")
    if a.record:
        write_atomic(RECORD, json.dumps(found, separators=(",", ":")).encode())


if __name__ == "__main__":
    main()
