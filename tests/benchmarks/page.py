"""The engine in the page beside PyTorch on the same machine, and how soon a widget answers.

    python tests/benchmarks/page.py BOOK          the folder of a built book, such as _build/html

Tokens a second of the shipped model with every knob on, inside the window and over 500 tokens, taking turns; milliseconds
from the click to the first token, once the model is loaded; and from the movement of a slider to the next frame.
"""

import statistics
import sys
import time
from pathlib import Path

import torch
from playwright.sync_api import Locator, sync_playwright

from minigpt_core import generate, load_pretrained

ROUNDS = 5
KNOBS = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.01,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
}
LABELS = {name: name.replace("top_", "top-").replace("min_", "min-").replace("_", " ") for name in KNOBS}


def in_python(count: int) -> float:
    """Tokens a second."""
    model, tokenizer = load_pretrained("tales-char")
    began = time.perf_counter()
    written = len(list(generate(model, tokenizer.encode("Wren "), count, seed=3, **KNOBS)))
    return written / (time.perf_counter() - began)


# In the page: press Write; the times of the first token and of the last, and how many there were.
WRITE = """async () => {
  const root = document.querySelector('[data-minigpt=playground]'), text = root.querySelector('.mg-text');
  const button = root.querySelector('.mg-main'), began = performance.now();
  let first = 0;
  const watch = new MutationObserver(() => (first ||= text.querySelector('.mg-token') ? performance.now() : 0));
  watch.observe(text, { childList: true });
  button.click();
  while (button.textContent !== 'Write') await new Promise((resolve) => setTimeout(resolve, 1));
  watch.disconnect();
  return [first - began, performance.now() - began, text.querySelectorAll('.mg-token').length];
}"""

# In the page: move the sampler's temperature; milliseconds until the bars are computed, and until they are painted.
SLIDE = """async () => {
  const slider = document.querySelector('[data-minigpt=sampler] input[type=range]'), times = [];
  for (let n = 0; n < 40; n++) {
    const began = performance.now();
    slider.value = 0.5 + n / 40;
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    const computed = performance.now() - began;
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    times.push([computed, performance.now() - began]);
  }
  return times;
}"""


def in_page(panel: Locator, count: int) -> tuple[float, float]:
    """Tokens a second, and milliseconds to the first one."""
    panel.get_by_label("length", exact=True).first.fill(str(count))
    first, whole, written = panel.page.evaluate(WRITE)
    return 1000 * written / whole, first


def main() -> None:
    book = Path(sys.argv[1])
    torch.set_num_threads(1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        page.goto((book / "book/index.html").absolute().as_uri())
        panel = page.locator("[data-minigpt=playground]")
        panel.scroll_into_view_if_needed()
        page.wait_for_selector("[data-minigpt=playground].mg-alive")
        panel.get_by_text("Knobs", exact=True).click()
        panel.get_by_label("model", exact=True).select_option("tales-char")
        panel.get_by_label("prompt").fill("Wren ")
        panel.get_by_label("seed").first.fill("3")
        for name, value in KNOBS.items():
            panel.get_by_label(LABELS[name], exact=True).first.fill(str(value))
        in_page(panel, 20)  # the model is loaded now
        for count in (120, 500):
            rows = [(in_python(count), *in_page(panel, count)) for _ in range(ROUNDS)]
            python, ours, first = (statistics.median(column) for column in zip(*rows, strict=True))
            print(
                f"{count} tokens: page {ours:.0f} a second, PyTorch on one thread {python:.0f}, first after {first:.0f} ms"
            )
        page.goto((book / "notebooks/10_sampling.html").absolute().as_uri())
        page.locator("[data-minigpt=sampler]").scroll_into_view_if_needed()
        page.wait_for_selector("[data-minigpt=sampler] tbody tr")
        times = page.evaluate(SLIDE)
        computed, painted = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"slider: computed after {computed:.1f} ms, painted after {painted:.1f} ms")
        browser.close()


if __name__ == "__main__":
    main()
