"""`minigpt prepare` on a large text of distinct documents: its speed beside SentencePiece's own on the same cores, and its memory.

    python tests/benchmarks/prepare.py [--megabytes 1000] [--folder FOLDER] [--near]    about five minutes on two cores; Linux only

Memory is the proportional set size (PSS) of all its processes together, which counts a page that n of them share as a nth for
each, looked at ten times a second. SentencePiece is called directly, on as many documents at a time as a process of ours takes,
with one thread for each core; only these calls are timed, on the first tenth of the text: neither reading nor writing counts
against it. It learns nothing, since it is given the pieces that prepare learned.
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
from minigpt_core.tokenizer import END_OF_TEXT

FILES, LINES = 4, 60  # lines of a document: about 2,500 characters
TARGETS = {"memory": 600, "speed": 0.5}  # MB; of SentencePiece's own


def make(folder: Path, megabytes: float) -> list[Path]:
    """Files of documents of lines drawn from the book's texts, each document with a number of its own."""
    text = "".join(load_corpus(name).replace(END_OF_TEXT, "") for name in ("alice", "shakespeare", "tales"))
    lines, chosen, number, paths = text.splitlines(keepends=True), random.Random(0), 0, []
    for part in range(FILES):
        paths.append(folder / f"{part}.jsonl")
        with open(paths[-1], "w", encoding="utf-8") as file:
            while file.tell() < megabytes * 1e6 / FILES:
                for _ in range(100):
                    number += 1
                    document = f"Number {number}.\n" + "".join(chosen.choices(lines, k=LINES))
                    file.write(json.dumps({"text": document}, ensure_ascii=False) + "\n")
    return paths


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


def sentencepiece_rate(paths: list[Path], out: Path, megabytes: float) -> float:
    """Bytes a second."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(out / "bpe.model"))
    seconds = size = 0.0
    with open(paths[0], encoding="utf-8") as file:
        while lines := list(islice(file, 200)):
            documents = [json.loads(line)["text"] for line in lines]
            began = time.perf_counter()
            processor.encode(documents, num_threads=len(os.sched_getaffinity(0)))
            seconds += time.perf_counter() - began
            size += sum(len(document.encode()) for document in documents)
            if size > 1e5 * megabytes:
                break
    return size / seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=1000)
    parser.add_argument(
        "--folder", default=tempfile.gettempdir(), help="where there is room for two and a half times as much"
    )
    parser.add_argument("--near", action="store_true", help="with the report on near duplicates")
    a = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=a.folder))
    try:
        paths = make(folder, a.megabytes)
        size = sum(path.stat().st_size for path in paths)
        print(f"{size / 1e6:,.0f} MB in {FILES} files")
        seconds, memory = prepared(paths, folder / "out", *(["--near"] if a.near else []))
        ours, theirs = size / seconds, sentencepiece_rate(paths, folder / "out", a.megabytes)
        print(
            f"prepare        {seconds:,.0f} s, {ours / 1e6:.2f} MB/s, memory {memory / 1e6:,.0f} MB (target {TARGETS['memory']})"
        )
        print(f"SentencePiece  {theirs / 1e6:.2f} MB/s; ours is {ours / theirs:.2f} of it (target {TARGETS['speed']})")
        opened = "import sys, time; from minigpt_core.beyond.stored import load_data; before = time.time(); "
        opened += "load_data(sys.argv[1]); print(f'opened by train in {time.time() - before:.1f} s')"
        subprocess.run([sys.executable, "-c", opened, str(folder / "out")], check=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
