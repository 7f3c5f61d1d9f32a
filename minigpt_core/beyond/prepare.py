"""More text than fits in memory: files are read document by document, cut into tokens by several processes, and written as the
shards that `train` draws its windows from (`minigpt prepare`). Nothing here imports torch."""

import itertools
import json
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..config import check_number, check_whole
from ..files import held_in, lock, write_atomic
from ..tokenizer import BPETokenizer, Tokenizer, load_tokenizer
from .cutting import Cutters, Refused
from .documents import BLOCK, LONGEST, Document, find_files, held_out, read_documents
from .near import HASHES, similar_pairs
from .shards import DOCUMENT, NAME, PARTS, SHARD, Described, Writer, describe, documents_of, files_of, fingerprint_of

PIECES = 2_000  # tokens of a vocabulary, as `train` has them for a text with many characters
SAMPLE = 10_000_000  # bytes of text from which they are learned
MANY = 20  # documents; where there are fewer, blocks are held out
JOB = 2**19  # bytes of text that a process cuts at a time
COMMIT = 32  # jobs after which what is done is made safe


def prepare(
    files: Iterable[str | Path],
    folder: str | Path,
    *,
    tokenizer: Tokenizer | None = None,
    vocab_size: int = PIECES,
    fraction: float = 0.1,
    field: str = "text",
    encoding: str | None = None,
    near: bool = False,
    workers: int | None = None,
) -> Described:
    """Cut the documents of all `files` into tokens and write them into `folder`, in shards (see `shards`), for `load_data`.

    `files` are paths or patterns, read as `read_documents` says. A document that is the same as an earlier one, byte for
    byte, is dropped and counted; with `near`, those that are almost the same are listed in near.jsonl and stay. About
    `fraction` of the documents are held out for validation: those whose hash is low (`held_out`). Where there are fewer than
    20 documents, each is cut into blocks of up to 20,000 characters, and each block counts as a document. The tokenizer
    is `tokenizer`, or BPE with `vocab_size` tokens, learned from a sample of what is not held out.

    The result follows from files and settings, whatever the number of `workers`: one for each processor, or where it is given
    at most so many. After a kill at any moment the same call goes on where it was: no document is lost or there twice. Another
    call for the folder, a folder with anything else in it, files that have changed, and what cannot be read, cut or written
    are a `ValueError`; a worker that ended is a `ChildProcessError`.

    >>> prepare(["web/*.jsonl.gz"], "data/web", vocab_size=8_000).count("train")        # doctest: +SKIP
    (351882, 281493371)
    """
    check_number("fraction", fraction, 0, 1, low_included=False)
    check_whole("vocab_size", vocab_size, least=1)
    check_whole("workers", 1 if workers is None else workers, least=1)
    count = min(workers or _processors(), _processors())
    folder, paths = Path(folder), find_files(files)
    by = {"tokenizer": tokenizer and fingerprint_of(tokenizer), "vocab_size": None if tokenizer else vocab_size}
    settings = {"field": field, "encoding": encoding, "fraction": fraction, "near": near, **by}
    _check_free(folder)
    try:
        with lock(folder):
            state = _begin(folder, settings, paths)
            size = sum(size for _, size, _ in state.inputs)
            with tqdm(total=size, unit="B", unit_scale=True, desc="looking at the text") as bar:
                if not state.tokenizer:
                    _settle(state, folder, tokenizer)
                elif fingerprint_of(load_tokenizer(folder)) != state.tokenizer:
                    raise ValueError(f"the tokenizer in {folder} has changed since it was begun: name another folder")
                bar.set_description("preparing")
                _cut_all(state, folder, count, bar)
            for part in PARTS:
                if not state.parts[part]:
                    raise ValueError(
                        f"of {sum(state.count(part)[0] for part in PARTS)} documents none is left for {part}: with another "
                        f"fraction (now {fraction}), or more documents, prepare another folder"
                    )
            if near:
                state.near = _list_near(state, folder)
            state.finished = True
            state.save(folder)
            return state
    except ChildProcessError:
        raise
    except OSError as error:
        raise ValueError(
            f"{error.filename or folder} cannot be written: {error.strerror}; when that is mended, the same call goes on where "
            "it was"
        ) from None


def fitting_pieces(sample: str, vocab_size: int = PIECES) -> BPETokenizer:
    """BPE for a text of which `sample` is a part, with as many of its characters as leave half of the vocabulary to longer
    pieces. All others, also those that the sample has not, are written as bytes. A `vocab_size` that does not fit the sample
    is a `ValueError` with the range.

    >>> fitting_pieces("the cat and the hat\\n" * 9, vocab_size=275).vocab_size
    275
    """
    counts = sorted(Counter(sample).values(), reverse=True)
    shares = np.cumsum(counts) / max(1, sum(counts))
    fitting = (share for share in (1.0, 0.9995) if np.searchsorted(shares, share) < vocab_size // 2)
    return BPETokenizer.train(sample, vocab_size=vocab_size, character_coverage=next(fitting, 0.98))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder")
    if folder.exists() and not (folder / NAME).exists() and any(p.name[0] != "." for p in folder.iterdir()):
        held = held_in(folder, "a run", "a model", "a tokenizer") or "other files"
        raise ValueError(f"{folder} already holds {held}: name another folder")


def _look(path: Path) -> list[Any]:
    """Path, size and time of change, as they stand in data.json."""
    try:
        return [str(path), path.stat().st_size, path.stat().st_mtime_ns]
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _begin(folder: Path, settings: dict[str, Any], paths: list[Path]) -> Described:
    """The state of a folder that is free, or was begun by the same call: what has no tokenizer yet has not begun."""
    inputs = [_look(path) for path in paths]
    state = describe(folder) if (folder / NAME).exists() else None
    if state and state.tokenizer:
        if state.finished:
            raise ValueError(f"{folder} already holds prepared text: name another folder")
        for there, given in zip(state.inputs, inputs, strict=False):
            if there[0] == given[0] and there != given:
                raise ValueError(f"{given[0]} has changed since {folder} was begun: name another folder")
        if state.inputs != inputs:
            raise ValueError(f"{folder} was begun with other files: name those, or another folder")
        for name, value in settings.items():
            if (before := state.settings.get(name)) != value:
                how = "another tokenizer" if name == "tokenizer" else f"{name}={before!r}"
                raise ValueError(f"{folder} was begun with {how}: keep it, or name another folder")
        for left in folder.glob(".*.tmp"):  # by a kill
            left.unlink()
        return state
    state = Described(settings, inputs, LONGEST)
    state.save(folder)
    return state


def _settle(state: Described, folder: Path, tokenizer: Tokenizer | None) -> None:
    """What a document is, and the tokenizer, which is written into the folder."""
    everything = itertools.chain.from_iterable(_read(state, i) for i in range(len(state.inputs)))
    count = sum(1 for _ in islice(everything, MANY))
    if not count:
        others = f" and {len(state.inputs) - 1:,} more" if len(state.inputs) > 1 else ""
        raise ValueError(f"there is no text in {state.inputs[0][0]}{others}: name files with text")
    if count < MANY:
        state.limit = BLOCK
    tokenizer = tokenizer or fitting_pieces(_sample(state), state.settings["vocab_size"])
    tokenizer.save(folder, overwrite=True)  # ours: the folder was found free, and is locked
    state.tokenizer, state.vocab_size = fingerprint_of(tokenizer), tokenizer.vocab_size
    state.save(folder)


def _read(state: Described, i: int) -> Iterator[Document]:
    """The documents of file number `i`."""
    path, how = Path(state.inputs[i][0]), {name: state.settings[name] for name in ("field", "encoding")}
    yield from read_documents(path, limit=state.limit, **how)
    if _look(path) != state.inputs[i]:
        raise ValueError(f"{path} has changed while it was read: prepare another folder")


def _sample(state: Described) -> str:
    """The beginning of each file, without what is held out, SAMPLE bytes in all: of each file as its share in all is."""
    total, texts = sum(size for _, size, _ in state.inputs), []
    for i, (_, size, _) in enumerate(state.inputs):
        left = SAMPLE * size // max(1, total)
        for document in _read(state, i):
            if left <= 0:
                break
            if not held_out(document.digest, state.settings["fraction"]):
                texts.append(document.text[:left].decode(errors="ignore"))
                left -= len(document.text)
    if not texts:
        fraction = state.settings["fraction"]
        raise ValueError(
            f"no document is left to learn from: take a lower fraction (now {fraction}), or more documents"
        )
    return "\n".join(texts)


class _Seen:
    """A set of 64-bit numbers that takes 8 bytes for most of them, where Python's own takes eighty."""

    def __init__(self, numbers: np.ndarray):
        self.old, self.new = np.sort(numbers), set[int]()

    def add(self, number: int) -> bool:
        """Whether it is new."""
        place = int(np.searchsorted(self.old, np.uint64(number)))
        if number in self.new or (place < len(self.old) and int(self.old[place]) == number):
            return False
        self.new.add(number)
        if len(self.new) >= 2**16:
            self.old = np.sort(np.concatenate([self.old, np.fromiter(self.new, np.uint64)]), kind="stable")
            self.new.clear()
        return True


@dataclass
class _Job:
    """Documents to be cut, and where reading stands behind them: the next document, how many were dropped, bytes read."""

    documents: list[tuple[int, Document, int]] = field(default_factory=list)  # file, document, digest
    size: int = 0
    place: list[int] = field(default_factory=lambda: [0, 0])
    repeated: int = 0
    read: int = 0


def _jobs(state: Described, seen: _Seen) -> Iterator[_Job]:
    """What is left to cut, without repetitions, in jobs of about JOB bytes."""
    before = np.cumsum([0, *(size for _, size, _ in state.inputs)]).tolist()
    job = _Job(repeated=state.repeated, place=state.place, read=before[state.place[0]])
    first = list(state.place)
    for i in range(first[0], len(state.inputs)):
        for document in _read(state, i):
            if [i, document.number] < first:
                continue
            digest = document.digest
            if seen.add(digest):
                job.documents.append((i, document, digest))
                job.size += len(document.text)
            else:
                job.repeated += 1
            job.place, job.read = [i, document.number + 1], before[i] + document.read
            if job.size >= JOB:
                yield job
                job = _Job(repeated=job.repeated, place=job.place, read=job.read)
    job.place, job.read = [len(state.inputs), 0], before[-1]
    yield job


def _cut_all(state: Described, folder: Path, workers: int, bar: "tqdm[Any]") -> None:
    """Cut what is left, and write it in the order in which it was read."""
    kinds = ("ids", "documents", *(["near"] if state.settings["near"] else []))
    seen = _Seen(np.concatenate([documents_of(folder, part)["digest"] for part in PARTS]))
    full = SHARD * state.dtype.itemsize
    writers = {part: Writer(folder / part, state.parts[part], kinds, full) for part in PARTS}
    jobs, waiting = _jobs(state, seen), deque[Any]()
    bar.reset()  # the time of learning pieces does not count
    bar.initial = bar.n = sum(size for _, size, _ in state.inputs[: state.place[0]])
    with ExitStack() as stack:
        for writer in writers.values():
            stack.callback(writer.close)
        cutters = stack.enter_context(Cutters(workers, folder, state.dtype.str, kinds))
        for n in itertools.count(1):
            for job in islice(jobs, 2 * workers - len(waiting)):
                waiting.append((job, cutters.submit([document.text for _, document, _ in job.documents])))
            if not waiting:
                break
            job, promise = waiting.popleft()
            try:
                found = promise.result()
            except Refused as error:
                file, document, _ = job.documents[error.place]
                raise ValueError(f"{state.inputs[file][0]}, document {document.number}: {error}") from None
            for (file, document, digest), contents in zip(job.documents, found, strict=True):
                writer = writers[PARTS[held_out(digest, state.settings["fraction"])]]
                row = (writer.begin // state.dtype.itemsize, digest, file, document.number)
                writer.append(documents=np.array(row, DOCUMENT).tobytes(), **contents)
            state.place, state.repeated = job.place, job.repeated
            bar.update(job.read - bar.n)
            if n % COMMIT == 0 or not waiting:
                state.parts = {part: writer.commit() for part, writer in writers.items()}
                state.save(folder)


def _list_near(state: Described, folder: Path) -> list[int]:
    """Write near.jsonl, a line for each document that is like an earlier one; how many there are, and how many of them are
    one held out and one to learn from."""
    rows = np.concatenate([documents_of(folder, part) for part in PARTS])
    order = np.lexsort((rows["number"], rows["file"]))  # as they were read
    rank, begin = np.argsort(order), 0
    signatures = np.empty((len(rows), HASHES), "<u4")
    for part in PARTS:
        for path, size in files_of(folder, state, part, "near"):
            end = begin + size // (4 * HASHES)
            signatures[rank[begin:end]] = np.fromfile(path, "<u4").reshape(-1, HASHES)
            begin = end
    learned = state.count(PARTS[0])[0]

    def about(place: int) -> dict[str, Any]:
        row = rows[order[place]]
        part = PARTS[int(order[place] >= learned)]
        return {"file": state.inputs[row["file"]][0], "document": int(row["number"]), "part": part}

    lines = [
        {**about(later), "like": about(earlier), "similarity": similarity}
        for later, earlier, similarity in similar_pairs(signatures)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomic(folder / "near.jsonl", text.encode("utf-8", "surrogateescape"))
    return [len(lines), sum(line["part"] != line["like"]["part"] for line in lines)]
