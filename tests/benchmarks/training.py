"""Training in the page, in Chromium, beside PyTorch on one thread of the same machine.

    python tests/benchmarks/training.py [TEXT ...]          the tales, in English and in Chinese; and what MINIGPT_CORPORA holds

Of each text: what the plan chose; the speed of whole steps, in the page and in PyTorch by turns, in floating-point operations and in
tokens a second; and how many seconds after the first step what it writes consists of words of the text: four in five of
them, and nineteen in twenty of the share at the end. Chinese has no blanks: there pairs of neighbouring characters count as words.
"""

import re
import statistics
import sys
import time

import torch
from playwright.sync_api import Page, sync_playwright

from minigpt_core import CharTokenizer, load_corpus, split_text, train
from minigpt_core.beyond.fast import FastConfig, FastGPT, fast_recipe
from minigpt_core.study.planning import step_operations
from minigpt_core.widgets import engine_source, training_source

ROUNDS = 3
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
OPEN = """source => {
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  globalThis.ask = (question) => new Promise((resolve, reject) => {
    const parts = [], began = performance.now();
    worker.onmessage = ({ data }) => {
      if (data.part) parts.push({ ...data.part, at: (performance.now() - began) / 1000 });
      else if (data.failed) reject(new Error(data.failed));
      else resolve({ parts, done: data.done, seconds: (performance.now() - began) / 1000 });
    };
    worker.postMessage({ job: 1, ...question });
  });
}"""


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{2,}", text.lower()) if text.count(" ") > len(text) / 20 else pairs_of(text)


def pairs_of(text: str) -> list[str]:
    return [a + b for a, b in zip(text, text[1:], strict=False) if a.isalpha() and b.isalpha()]


def in_page(page: Page, text: str, **settings: float) -> dict:
    question = {"name": "run", "text": text, "recipe": "fast", "seed": 1, "seconds": 40, "settings": settings}
    prepared = page.evaluate("ask", {"action": "prepare", **question})
    learned = page.evaluate("ask", {"action": "train", "name": "run"})
    return {"prepared": prepared, "learned": learned}


def in_pytorch(text: str, steps: int) -> float:
    """Seconds of a step."""
    tokenizer = CharTokenizer.train(text)
    parts = (torch.tensor(tokenizer.encode(part)) for part in split_text(text))
    recipe = fast_recipe(steps=steps, eval_every=steps, eval_windows=1)
    model = FastGPT(FastConfig(tokenizer.vocab_size, end_id=0))
    seconds = [1024 / record.tokens_per_second for record in train(model, *parts, recipe)]
    return statistics.median(seconds)


def page_step(run: dict) -> float:
    """Seconds of a step that shows and evaluates nothing."""
    parts = run["learned"]["parts"]
    plain = [b["at"] - a["at"] for a, b in zip(parts, parts[1:], strict=False) if b["sample"] is None and b["val_loss"] is None]
    return statistics.median(plain)


def main() -> None:
    torch.set_num_threads(1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for name in sys.argv[1:] or ("tales", "tales_zh", "alice"):
            text = load_corpus(name)
            page = browser.new_page()
            page.goto("data:text/html,<title>training</title>")
            page.evaluate(OPEN, engine_source() + "\n" + training_source())
            run = in_page(page, text)
            plan, config = run["prepared"]["done"]["plan"], run["prepared"]["done"]["config"]
            size = FastConfig(config["vocab_size"], n_embd=config["n_embd"])
            known, shares = set(words_of(text)), []
            for part in run["learned"]["parts"]:
                if part["sample"] and part["step"] > 1:
                    words = words_of(part["sample"]) or [""]
                    shares.append((part["at"], sum(word in known for word in words) / len(words)))
            final = statistics.fmean(share for _, share in shares[-3:])
            smooth = [(at, statistics.fmean(s for _, s in shares[max(0, i - 1) : i + 2])) for i, (at, _) in enumerate(shares)]
            reached = [next((f"{at:.1f} s" for at, share in smooth if share >= goal), "never") for goal in (0.8, 0.95 * final)]
            steps, torchs = [page_step(run)], []
            for _ in range(ROUNDS):
                torchs.append(in_pytorch(text, 40))
                steps.append(page_step(in_page(page, text, steps=40)))
            step, theirs, operations = statistics.median(steps), statistics.median(torchs), step_operations(size, fast_recipe())
            last = run["learned"]["parts"][-1]
            print(
                f"{name}: {config['n_embd']} wide, {plan['steps']} steps, prepared in {run['prepared']['seconds']:.1f} s, "
                f"trained in {run['learned']['seconds']:.1f} s to {last['val_loss']:.3f} nats on the held-out part\n"
                f"  words: {final:.2f} at the end; 0.8 after {reached[0]}, 0.95 of the end after {reached[1]}\n"
                f"  a step: page {1000 * step:.0f} ms, {operations / step / 1e9:.1f} GFLOP/s, {1024 / step:,.0f} tokens/s; "
                f"PyTorch on one thread {1000 * theirs:.0f} ms, {operations / theirs / 1e9:.1f} GFLOP/s"
            )
            page.close()
        browser.close()


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:.0f} s")
