"""Remake book/records/real.json: what only long runs of a real model can say, beside our own small ones.

    make real                          about forty minutes on two cores

- "bits": bits per byte of SmolLM2 and of the shipped models on the tales, on Alice, on Shakespeare's plays: of each text the part
  that our models have not seen, as they are split for training; of Alice, which none of ours has read, all. None where a tokenizer
  cannot write the text. SmolLM2 may have read Alice and Shakespeare: they lie open in the web.
- "examples": how the loss of an answer falls with the number of examples that stand before it, of SmolLM2 and of tales-bpe: for
  examples that follow a rule, and for the same words in pairs drawn at random, which have none.
- "induction": the induction score of each head, and what copying costs without the best heads, and without as many others.
"""

import argparse
import json
import math
import random
import statistics
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from minigpt_core import GPT, load_corpus, load_pretrained, split_text
from minigpt_core.beyond.real import load_real
from minigpt_core.files import write_atomic
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


def texts() -> dict[str, str]:
    return {
        "tales": split_text(load_corpus("tales"), parts=3)[1],
        "tales_zh": split_text(load_corpus("tales_zh"), parts=3)[1],
        "alice": load_corpus("alice"),
        "shakespeare": split_text(load_corpus("shakespeare"), "tail")[1],
    }


def bits(models: dict[str, tuple[GPT, Coder]]) -> dict[str, dict[str, float | None]]:
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


def examples(models: dict[str, tuple[GPT, Coder]]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Mean losses by number of examples, of each rule, true and shuffled, of each model."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name, (model, tokenizer) in models.items():
        for rule, words in RULES.items():
            pairs = [tuple(pair.split()) for pair in words.split(", ")]
            for kind in ("true", "shuffled"):
                losses = []
                for k in SHOWN:
                    each = []
                    for draw in range(DRAWS):
                        rng = random.Random(draw)
                        asked, *others = rng.sample(pairs, k + 1)
                        answers = [answer for _, answer in others]
                        if kind == "shuffled":  # the last one's comes first, and of one alone another pair's
                            answers = (
                                [answers[-1], *answers[:-1]]
                                if k > 1
                                else [rng.choice(rest(pairs, asked, others))[1]] * k
                            )
                        shown = [(question, answer) for (question, _), answer in zip(others, answers, strict=True)]
                        each.append(answer_loss(model, tokenizer, shown, asked))
                    losses.append(round(statistics.mean(each), 3))
                found.setdefault(name, {}).setdefault(rule, {})[kind] = losses
    return found


def rest(pairs: list, asked: tuple[str, str], shown: list) -> list:
    return [pair for pair in pairs if pair != asked and pair not in shown]


@torch.no_grad()
def copy_loss(model: GPT, once: torch.Tensor) -> float:
    """Mean loss, in nats, of tokens drawn at random when they come a second time: (N, n) -> a number."""
    ids = torch.cat([once, once], dim=1)
    log_p = model(ids[:, :-1])[0].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]  # (N, 2 n - 1)
    return -log_p[:, once.shape[1] :].mean().item()


def without(model: GPT, heads: list[tuple[int, int]], once: torch.Tensor) -> float:
    with knocked_out(model, heads):
        return copy_loss(model, once)


def induction(model: GPT) -> dict:
    """Scores of all heads; the loss of copying with all of them, without the best, and without as many others of the same layers."""
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
        "period": PERIOD,
        "best": best,
        "loss": round(copy_loss(model, once), 4),
        "loss without the best": round(without(model, best, once), 4),
        "loss without others": [round(without(model, drawn, once), 4) for drawn in others],
        "loss by number removed": [round(without(model, heads[:n], once), 4) for n in (1, 2, 4, 8, 16, 32)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    real = {"smollm2": load_real("smollm2")}
    ours = {name: load_pretrained(name) for name in OURS}
    record: dict[str, object] = {}
    for name, make in (
        ("induction", lambda: induction(real["smollm2"][0])),
        ("examples", lambda: examples({**real, "tales-bpe": ours["tales-bpe"]})),
        ("bits", lambda: bits({**ours, **real})),
    ):
        record[name] = make()
        write_atomic(
            RECORD, json.dumps(record, separators=(",", ":")).encode("utf-8")
        )  # a long run that is stopped keeps what it has
    return 0


if __name__ == "__main__":
    sys.exit(main())
