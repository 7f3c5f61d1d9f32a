"""Remake book/records/real.json: what only long runs of a real model can say, beside our own small ones.

    make real                          about forty minutes on two cores
    python book/tools/real.py --check   is the record stale?

Measured are the parts whose settings have changed: a long run that is stopped keeps what it has, and goes on from there. Without
the record all are measured. Where SmolLM2 cannot be had, the check compares the settings, and what our own model says.

- "bits": bits per byte of SmolLM2 and of the shipped models on the tales, on Alice, on Shakespeare's plays: of each text the part
  that our models have not seen, as they are split for training; of Alice, which none of ours has read, all. None where a tokenizer
  cannot write the text. SmolLM2 may have read Alice and Shakespeare: they lie open in the web.
- "examples": how the loss of an answer falls with the number of examples that stand before it, of SmolLM2 and of tales-bpe: for
  examples that follow a rule ("true"), and for the same words with answers that belong to others ("shuffled"), drawn anew each time:
  a fixed exchange would be a rule too. The window of tales-bpe holds four to eight examples: of more it sees the last ones.
- "induction": the induction score of each head, and what copying costs without the best heads, and without as many others.
"""

import hashlib
import json
import math
import random
import statistics
import sys
from pathlib import Path

import torch
from remake import remake
from tqdm import tqdm

from minigpt_core import GPT, load_corpus, load_pretrained, split_text
from minigpt_core.beyond.real import SMOLLM2, load_real
from minigpt_core.corpus import DOWNLOADS
from minigpt_core.files import write_atomic
from minigpt_core.pretrained import FOLDER
from minigpt_core.study.ablation import knocked_out
from minigpt_core.study.lens import bits_per_byte, induction_scores
from minigpt_core.tokenizer import Coder

RECORD = Path(__file__).parents[1] / "records" / "real.json"
OURS = ("tales-char", "tales-bpe", "tales-zh", "shakespeare-char")
WINDOW, STRIDE = 512, 256  # of the real model: behind each token stand at least 256 others
RULES = {
    "capitals": "France Paris, Germany Berlin, Italy Rome, Spain Madrid, Japan Tokyo, China Beijing, Russia Moscow, Egypt Cairo, "
    "Greece Athens, Poland Warsaw, Austria Vienna, Cuba Havana, Peru Lima, Norway Oslo, Iran Tehran, Kenya Nairobi",
    "opposites": "hot cold, big small, up down, old young, good bad, left right, day night, wet dry, high low, long short, fast slow, "
    "open closed, hard soft, rich poor, dark light, full empty",
    "plurals": "cat cats, dog dogs, tree trees, boat boats, lamp lamps, king kings, bird birds, hand hands, door doors, ship ships, "
    "road roads, hill hills, bell bells, song songs, stone stones, river rivers",
}
SHOWN = (0, 1, 2, 4, 8, 12)
DRAWS, PERIOD, TEXTS, KNOCKED, OTHERS = 24, 32, 8, 8, 5
REMOVED = (1, 2, 4, 8, 16, 32)
NEAR = 0.01  # how far a score, or a loss in bits, may be from the recorded one on another machine
Models = dict[str, tuple[GPT, Coder]]


def texts() -> dict[str, str]:
    return {
        "tales": split_text(load_corpus("tales"), parts=3)[1],
        "tales_zh": split_text(load_corpus("tales_zh"), parts=3)[1],
        "alice": load_corpus("alice"),
        "shakespeare": split_text(load_corpus("shakespeare"), "tail")[1],
    }


def bits(models: Models) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for (name, (model, tokenizer)), (text_name, text) in tqdm(
        [(m, t) for m in models.items() for t in texts().items()], unit="text"
    ):
        small = {} if name in OURS else {"window": WINDOW, "stride": STRIDE}
        try:
            value = round(bits_per_byte(model, tokenizer, text, **small), 4)
        except ValueError:  # a letter that the tokenizer does not know
            value = None
        found.setdefault(name, {})[text_name] = value
    return found


@torch.no_grad()
def answer_loss(model: GPT, tokenizer: Coder, shown: list[tuple[str, str]], asked: tuple[str, str]) -> float:
    """In bits for the whole answer, so that tokenizers can be compared: -log2 P(answer, end of line | examples, question)."""
    prompt = "".join(f"{question}: {answer}\n" for question, answer in shown) + f"{asked[0]}:"
    before, whole = tokenizer.encode(prompt), tokenizer.encode(f"{prompt} {asked[1]}\n")
    assert whole[: len(before)] == before
    logits = model(torch.tensor([whole[-model.config.block_size - 1 : -1]]))[0][0]  # (T, V)
    log_p = logits.double().log_softmax(-1).gather(1, torch.tensor(whole)[-len(logits) :, None])[:, 0]
    return -log_p[len(before) - len(whole) :].sum().item() / math.log(2)


def deranged(answers: list[str], rng: random.Random) -> list[str]:
    """The same answers, two or more, in an order drawn at random, in which none is where it was."""
    while True:
        drawn = rng.sample(answers, len(answers))
        if all(a != b for a, b in zip(answers, drawn, strict=True)):
            return drawn


def questions(rule: str, kind: str, k: int) -> list[tuple[list[tuple[str, str]], tuple[str, str]]]:
    """The k pairs that are shown and the one that is asked, of each draw: the same ones, true and shuffled."""
    pairs = [(question, answer) for question, answer in (pair.split() for pair in RULES[rule].split(", "))]
    found = []
    for draw in range(DRAWS):
        rng = random.Random(draw)
        asked, *shown = rng.sample(pairs, k + 1)
        if kind == "shuffled" and k > 0:
            answers = [answer for _, answer in shown]
            if k == 1:  # there is no other to exchange it with
                answers = [
                    rng.choice([answer for question, answer in pairs if (question, answer) not in (asked, *shown)])
                ]
            else:
                answers = deranged(answers, rng)
            shown = [(question, answer) for (question, _), answer in zip(shown, answers, strict=True)]
        found.append((shown, asked))
    return found


def mean_loss(model: GPT, tokenizer: Coder, rule: str, kind: str, k: int) -> float:
    return round(statistics.mean(answer_loss(model, tokenizer, *each) for each in questions(rule, kind, k)), 3)


def examples(models: Models) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Mean losses by number of examples, of each rule, true and shuffled, of each model."""
    return {
        name: {
            rule: {kind: [mean_loss(*models[name], rule, kind, k) for k in SHOWN] for kind in ("true", "shuffled")}
            for rule in RULES
        }
        for name in ("smollm2", "tales-bpe")
    }


@torch.no_grad()
def copy_loss(model: GPT, once: torch.Tensor) -> float:
    """Mean loss, in nats, of tokens drawn at random when they come a second time: (N, n) -> a number."""
    ids = torch.cat([once, once], dim=1)
    log_p = model(ids[:, :-1])[0].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]  # (N, 2 n - 1)
    return -log_p[:, once.shape[1] :].mean().item()


def without(model: GPT, heads: list[tuple[int, int]], once: torch.Tensor) -> float:
    with knocked_out(model, heads):
        return copy_loss(model, once)


def induction(models: Models) -> dict:
    """Scores of all heads; the loss of copying with all of them, without the best, and without as many others of the same layers."""
    model = models["smollm2"][0]
    scores = induction_scores(model, period=PERIOD, texts=TEXTS)
    order = scores.flatten().argsort(descending=True)
    H = scores.shape[1]
    heads = [(int(i) // H, int(i) % H) for i in order]
    once = torch.randint(1, model.config.vocab_size, (TEXTS, PERIOD), generator=torch.Generator().manual_seed(1))
    best, rng = heads[:KNOCKED], random.Random(0)
    rest = heads[KNOCKED:]
    others = []
    for _ in range(OTHERS):
        drawn: list[tuple[int, int]] = []
        for layer, _ in best:  # one of the same layer where one is left, none twice
            left = [head for head in rest if head not in drawn]
            drawn.append(rng.choice([head for head in left if head[0] == layer] or left))
        others.append(drawn)
    return {
        "scores": [[round(score, 4) for score in row] for row in scores.tolist()],
        "best": best,
        "loss": round(copy_loss(model, once), 4),
        "loss without the best": round(without(model, best, once), 4),
        "loss without others": [round(without(model, drawn, once), 4) for drawn in others],
        "loss by number removed": [round(without(model, heads[:n], once), 4) for n in REMOVED],
    }


PARTS = {"induction": induction, "examples": examples, "bits": bits}  # the shortest first


def settings() -> dict:
    """What each part rests on."""

    def sha256(raw: bytes) -> str:
        return hashlib.sha256(raw).hexdigest()

    weights = {name: sha256((FOLDER / name / "model.safetensors").read_bytes()) for name in OURS}
    weights["smollm2"] = SMOLLM2.sha256
    read = {name: sha256(load_corpus(name).encode("utf-8")) for name in ("tales", "tales_zh")}
    read |= {name: DOWNLOADS[name].sha256 for name in ("alice", "shakespeare")}
    heads = {"period": PERIOD, "texts": TEXTS, "knocked": KNOCKED, "others": OTHERS, "removed": list(REMOVED)}
    shown = {name: weights[name] for name in ("smollm2", "tales-bpe")}
    return {
        "induction": {"weights": {"smollm2": SMOLLM2.sha256}, **heads},
        "examples": {"weights": shown, "rules": RULES, "shown": list(SHOWN), "draws": DRAWS},
        "bits": {"weights": weights, "window": WINDOW, "stride": STRIDE, "texts_sha256": read},
    }


def recorded() -> dict:
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {"settings": {}}


def stale() -> str | None:
    """Why the record has to be remade, or None."""
    if not RECORD.is_file():
        return "it is missing"
    record, now = recorded(), settings()
    for part in PARTS:
        if part not in record or record["settings"].get(part) != now[part]:
            return f"the settings, the texts or the weights of {part!r} have changed"
    models = {"tales-bpe": load_pretrained("tales-bpe")}
    try:
        models["smollm2"] = load_real("smollm2")
    except ValueError as error:
        print(f"SmolLM2's numbers are not compared: {error}")
    for name, (model, tokenizer) in models.items():
        then, found = record["examples"][name]["plurals"]["true"][1], mean_loss(model, tokenizer, "plurals", "true", 1)
        if abs(found - then) > NEAR:
            return f"with one example {name} had the loss {then}, now it has {found}"
    if "smollm2" in models:
        scores = induction_scores(models["smollm2"][0], period=PERIOD, texts=TEXTS)
        if (scores - torch.tensor(record["induction"]["scores"])).abs().max() > NEAR:
            return "heads have other induction scores"
    return None


def make() -> dict:
    record, now = recorded(), settings()
    models = {name: load_pretrained(name) for name in OURS} | {"smollm2": load_real("smollm2")}
    for part, measure in PARTS.items():
        if record["settings"].get(part) != now[part]:
            record[part], record["settings"][part] = measure(models), now[part]
            write_atomic(RECORD, json.dumps(record, separators=(",", ":")).encode("utf-8"))
    return record


def main() -> int:
    return remake(__doc__, RECORD, stale, make)


if __name__ == "__main__":
    sys.exit(main())
