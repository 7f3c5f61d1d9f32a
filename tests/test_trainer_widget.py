"""The panel that trains, in a real browser and with the real engine: what it shows is what the worker told, the model that it
gives is the one that learned, and whatever is brought to it, it answers in a sentence and goes on."""

import doctest
import html as html_module
import json
import math
import re
import time

import pytest
import torch
from test_playground import ended

from conftest import Visit, called, drop, press, serious_faults
from minigpt_core import (
    GPT,
    CharTokenizer,
    GPTConfig,
    TrainConfig,
    evaluate,
    load_corpus,
    load_pretrained,
    split_text,
    stream,
)
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.notebook.lesson import load_record
from minigpt_core.optimizer import learning_rate_at
from minigpt_core.study.counting import ngram_loss
from minigpt_core.tokenizer import END_OF_TEXT
from minigpt_core.widgets import trainer
from minigpt_core.widgets.export import load_model_file, model_file
from minigpt_core.widgets.trainer import TEXTS, Trainer

TALES = load_corpus("tales")
TEXT = TALES[:3000]
FORMS = {"whole": Trainer(), "own": Trainer(own=True), "compare": Trainer(compare=True)}
# What is asked of the worker and what it tells, and a device that may take so many seconds for a training: of few seconds the
# plan is 20 steps of a small model. `before` runs in the first worker before the engine does.
SPY = """([seconds, before]) => {
  const jobs = (action, name) => asked.filter((each) => each.action === action && (!name || each.name === name)).map(({ job }) => job);
  const steps = (run) => {
    const all = jobs("train", asked.filter(({ action }) => action === "train").at(run)?.name);
    return told.filter(({ job, part }) => part && all.includes(job)).map(({ part }) => part);
  };
  Object.assign(globalThis, { seconds, before, asked: [], told: [], jobs, steps });
  const { Worker, Blob } = globalThis;
  globalThis.Worker = class extends Worker {
    constructor(address) {
      super(address);
      this.addEventListener("message", ({ data }) => told.push(data));
    }
    postMessage(question) {
      asked.push(question);
      const { seconds } = Number.isFinite(question.seconds) ? globalThis : question;
      super.postMessage(question.action === "prepare" ? { ...question, seconds } : question);
    }
  };
  globalThis.Blob = class extends Blob {
    constructor(parts, options) {
      super(options?.type === "text/javascript" ? [globalThis.before, ...parts] : parts, options);
      globalThis.before = "";
    }
  };
}"""
SHORT, SOME, WHOLE = 0.01, 2, 1e6  # seconds
HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<style>:root { color-scheme: light dark; } body { margin: 0 1rem; font: 17px sans-serif; } * { box-sizing: border-box; }
html[data-theme="dark"] body { color: #ddd; background: #121212; }</style>
<script>document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";</script>"""


@pytest.fixture(scope="module")
def pages(html, tmp_path_factory):
    """The address of a page for each form of the panel, to be opened from a folder, and of the front page."""
    folder, scripts = tmp_path_factory.mktemp("trainer"), (html / "_static" / "minigpt").as_uri()
    styles = "".join(f'<link rel="stylesheet" href="{scripts}/{name}.css">' for name in ("widgets", "trainer"))
    for name, form in FORMS.items():
        body = f'<body><main><h1>It learns</h1>{form.still()}<p id="below">Below.</p></main></body></html>'
        text = f'{HEAD}{styles}<script defer src="{scripts}/host.js"></script></head>{body}'
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in FORMS} | {"front": (html / "book/index.html").as_uri()}


@pytest.fixture(scope="module")
def opened(browser, pages):
    """A function: the panel of that page, awake, in a context of its own."""
    seen = []

    def opened(page: str, seconds: float = SHORT, before: str = "", complaints: tuple[str, ...] = (), **options):
        context = browser.new_context(**options)
        context.add_init_script(f"({SPY})([{seconds}, `{before}`])")
        seen.append((Visit(context, pages.get(page, page)), complaints))
        return seen[-1][0].awake("trainer")

    yield opened
    for each, complaints in seen:
        assert each.outside == [] and [*map(str.strip, each.problems)] == [*complaints]
        each.page.context.close()


def reaches(panel, *modes: str) -> None:
    script = "([root, modes]) => modes.includes(root.dataset.mode)"
    panel.page.wait_for_function(script, arg=[panel.element_handle(), modes], timeout=180_000)


def learn(panel, button: str = "Train") -> None:
    press(panel, button)
    reaches(panel, "training")
    reaches(panel, "ended")


def says(panel) -> str:
    return panel.locator(".mg-now [role=status]").text_content()


def note(panel) -> str:
    """What is said of a text of the reader's own, as soon as something is."""
    place = panel.locator(".mg-paste [role=status]")
    place.filter(has_text=re.compile(r"[^…]$")).wait_for()
    return place.text_content()


def file(name: str, raw: bytes | str) -> dict:
    return {"name": name, "mimeType": "", "buffer": raw.encode() if isinstance(raw, str) else raw}


def bring(panel, text: str) -> None:
    """A text of the reader's own, typed in the field."""
    if not panel.locator("textarea").first.is_visible():
        panel.get_by_label("text", exact=True).select_option("own")
    panel.get_by_label("your own text: paste it here").fill(text)


def asked(panel, action: str) -> list[dict]:
    return panel.page.evaluate("action => asked.filter((each) => each.action === action)", action)


def parts(panel, run: int = -1) -> list[dict]:
    """What the worker told of each step of that run."""
    return panel.page.evaluate("steps", run)


def goes(panel, step: int) -> None:
    """Wait until the last run has come so far."""
    panel.page.wait_for_function("step => steps(-1).length >= step", arg=step)


def answers(panel, action: str) -> list[dict]:
    find = "action => told.filter(({ job, done }) => done && jobs(action).includes(job)).map(({ done }) => done)"
    return panel.page.evaluate(find, action)


def heights(panel) -> tuple[list[list[tuple[float, float]]], list[float]]:
    """The curves of the chart and its dashed lines, in the units of its axis."""
    ticks = {
        int(tick.text_content()): float(tick.get_attribute("y"))
        for tick in panel.locator(".mg-chart text[text-anchor=end]").all()
        if tick.text_content().isdigit()
    }
    low, high = min(ticks), max(ticks)
    scale = (ticks[low] - ticks[high]) / (high - low)
    curves = [
        [(float(x), low + (ticks[low] - float(y)) / scale) for x, y in re.findall(r"([\d.]+),([\d.]+)", points)]
        for points in panel.locator(".mg-chart polyline").evaluate_all(
            "all => all.map((l) => l.getAttribute('points'))"
        )
    ]
    dashed = panel.locator(".mg-chart line[stroke-dasharray]").evaluate_all(
        "all => all.map((l) => +l.getAttribute('y1'))"
    )
    return curves, [low + (ticks[low] - y) / scale for y in dashed]


def shows_what_was_told(panel) -> None:
    """The text and the curves of a run that has ended, beside what the worker told."""
    (plan, lines), steps, end = (
        map(answers(panel, "prepare")[-1].get, ("plan", "references")),
        parts(panel),
        answers(panel, "train")[-1],
    )
    losses, held = [part["train_loss"] for part in steps], [part["val_loss"] for part in steps]
    assert [part["step"] for part in steps] == [*range(1, plan["steps"] + 1)] and end["why"] == "end"
    last = losses[-max(2, len(losses) // 20) :]
    training, held_out = f"{sum(last) / len(last):.2f}", f"{held[-1]:.2f}"
    counted = [
        ("guessing blindly", "ln V"),
        ("counting letters", "1-gram"),
        ("counting pairs", "2-gram"),
        ("the best count", "best count"),
    ]
    better = [f"{name} ({lines[line]:.2f})" for name, line in counted if held[-1] < lines[line]]
    worse = [f"{name} ({lines[line]:.2f})" for name, line in counted if held[-1] >= lines[line]]
    name, diagnosis, cure = (end["verdict"][key] for key in ("name", "diagnosis", "cure"))
    text = f"{plan['steps']} steps in {math.ceil(end['seconds'])} s"
    compared = f"better than {better[-1]}{f', not as good as {worse[0]}' if worse else ''}. The clinic (chapter 09) says: {name}."
    if "mg-small" in panel.get_attribute("class").split():
        told = f"In the part that was hidden, the loss is {held_out} nats per letter: {compared} {diagnosis}"
        assert says(panel) == f"{text}. {told}"
    else:
        told = f"training loss {training}, held-out loss {held_out} nats per letter. Held out, this is {compared}"
        assert says(panel).startswith(f"{text}, {told}") and says(panel).endswith(
            f"{diagnosis} Try, with Python: {cure}"
        )
    (trained, checked), dashed = heights(panel)
    assert panel.locator(".mg-chart .mg-name").text_content() == f"training {training}held out {held_out}"
    assert [loss for _, loss in trained] == pytest.approx(losses, abs=0.01)
    assert [loss for _, loss in checked] == pytest.approx([loss for loss in held if loss is not None], abs=0.01)
    assert trained[-1][0] == checked[-1][0] == max(x for x, _ in trained)
    assert dashed == pytest.approx([lines[name] for name in ("ln V", "1-gram", "2-gram", "best count")], abs=0.01)


# The front page: one click


@pytest.fixture(scope="module")
def learned(opened, site):
    """The front page's panel after one click, and a run as long as it is planned."""
    panel = opened(f"{site}/book/index.html", WHOLE)
    learn(panel)
    return panel


def test_one_click_trains_to_the_end_and_what_is_shown_is_what_the_worker_told(learned):
    shows_what_was_told(learned)
    prepared = answers(learned, "prepare")[-1]
    assert prepared["plan"]["steps"] == 260 and prepared["plan"]["note"] == ""
    ids, V = (
        [torch.tensor(CharTokenizer.train(TALES).encode(part)) for part in split_text(TALES)],
        prepared["vocab_size"],
    )
    counted = [ngram_loss(*ids, n, V) for n in range(1, 10)]
    lines = {"ln V": math.log(V), "1-gram": counted[0], "2-gram": counted[1], "best count": min(counted)}
    assert {name: prepared["references"][name] for name in lines} == pytest.approx(lines, abs=1e-6)
    assert "; held out: below counting pairs" in learned.locator(".mg-chart .mg-title").text_content()
    said = learned.locator(".mg-chart svg").get_attribute("aria-label")
    assert learned.locator(".mg-learning > .mg-note").text_content() == trainer.GUIDE
    assert learned.locator(".mg-looks .mg-note").text_content() in Trainer(small=True).still()
    assert f"held-out loss {parts(learned)[-1]['val_loss']:.2f}; held out: below counting pairs." in said


def test_from_noise_to_words_and_the_map_of_a_head(learned):
    known = set(re.findall(r"[a-z]{2,}", TALES.lower()))

    def share(text: str) -> float:
        words = re.findall(r"[a-z]{2,}", text.lower())
        return sum(word in known for word in words) / max(1, len(words))

    last, (first, *_) = (
        learned.locator(".mg-says").first.text_content(),
        learned.locator(".mg-trail li").all_text_contents(),
    )
    assert first.startswith("step 1 ") and share(first.removeprefix("step 1 ")) < 0.3 and share(last) > 0.75
    maps = [part["map"] for part in parts(learned) if part["map"]]
    assert len(maps) >= 20 and [len(row) for row in maps[-1]["rows"]] == [*range(1, 25)]
    said = learned.locator("canvas").get_attribute("aria-label")
    assert said.startswith(
        f"The attention of one head. Of 24 tokens of “{''.join(maps[-1]['names']).replace('▁', ' ').strip()}”"
    )
    inked = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert learned.locator("canvas").evaluate(inked) > 50  # of many shades


def kept(panel) -> tuple[str, bytes]:
    """The file that Keep gives."""
    with panel.page.expect_download() as download:
        press(panel, "Save")
    return download.value.suggested_filename, download.value.path().read_bytes()


def writes_as_in_python(panel, model, tokenizer) -> None:
    """Until it has written in the panel."""
    writer = panel.get_by_role("region", name="Write with your model")
    writer.get_by_text("to see what else could have been").wait_for()
    prompt = writer.get_by_label("prompt").input_value()
    expected = prompt + "".join(stream(model, tokenizer, prompt, 200, temperature=0.8, seed=1))
    assert writer.locator(".mg-text").first.text_content() == expected


def test_what_is_kept_is_the_model_that_learned_for_python_for_the_command_and_for_the_playground(learned, tmp_path):
    name, raw = kept(learned)
    assert name == "tales.mgpt"
    model, tokenizer = load_model_file(raw)
    assert tokenizer.encode(TALES) == CharTokenizer.train(TALES).encode(TALES)
    loss = evaluate(model, torch.tensor(tokenizer.encode(split_text(TALES)[1])))
    assert loss == pytest.approx(parts(learned)[-1]["val_loss"], abs=1e-4)
    (tmp_path / name).write_bytes(raw)
    done = called("generate", "--model", name, "--prompt", "Wren ", "--max-new-tokens", 40, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("Wren ")
    page = learned.page
    page.locator("[data-minigpt=playground] details").evaluate("details => { details.open = true; }")
    page.get_by_label("Your own model: choose a file").set_input_files(file(name, raw))
    page.get_by_text("Your model “tales” is here: press Write.").wait_for()
    playground = page.locator("[data-minigpt=playground]")
    playground.get_by_label("prompt").fill("Wren ")
    press(playground, "Write")
    written = "Wren " + "".join(stream(model, tokenizer, "Wren ", 100, temperature=0.8, seed=1))
    assert ended(page) == written
    press(learned, "Write with it")
    writes_as_in_python(learned, model, tokenizer)


def test_a_tab_that_was_closed_has_lost_nothing_until_the_reader_deletes_it(learned):
    context, address = learned.page.context, learned.page.url
    second = Visit(context, address)
    panel = second.awake("trainer")
    panel.get_by_text("A model that you trained here (the tales of this book, step 260 of 260").wait_for()
    press(panel, "Open it")
    panel.get_by_text("1 layer of 2 heads, 128 wide, a window of 64 tokens.").wait_for()
    assert panel.get_by_role("button", name="Write with it").evaluate("button => button === document.activeElement")
    press(panel, "Write with it")
    panel.get_by_text("to see what else could have been").wait_for()
    assert not [
        name for name in panel.page.evaluate("asked.map(({ action }) => action)") if name in ("prepare", "train")
    ]
    second.page.reload()
    panel = second.awake("trainer")
    press(panel, "Delete it")
    panel.get_by_text("This browser keeps no model now.").and_(panel.locator("> p")).wait_for()
    assert panel.locator(".mg-main").evaluate("button => button === document.activeElement")
    second.page.reload()
    panel = second.awake("trainer")
    second.page.wait_for_timeout(300)
    assert not panel.get_by_text("A model that you trained here").is_visible()
    assert second.problems == [] and second.outside == []
    second.page.close()


# From a folder, in all forms


def test_from_a_folder_one_click_on_a_slow_device_trains_a_smaller_model(opened):
    panel = opened("front")
    learn(panel)
    shows_what_was_told(panel)
    assert len(parts(panel)[-1]["map"]["rows"]) == 24
    note = answers(panel, "prepare")[-1]["plan"]["note"]
    assert re.fullmatch(
        r"This device computes [\d.]+ GFLOP/s, so the model is 32 wide in place of 128 and the run has 20 .* of 260.",
        note,
    )


def test_it_is_paused_goes_on_and_begins_anew(opened):
    panel = opened("whole", SOME)
    bring(panel, TEXT)
    press(panel, "Train")
    goes(panel, 5)
    press(panel, "Pause")
    reaches(panel, "paused")
    here = parts(panel)
    last, steps = [part["train_loss"] for part in here][-2:], answers(panel, "prepare")[-1]["plan"]["steps"]
    assert says(panel).startswith(f"Step {len(here)} of {steps}: training loss {sum(last) / 2:.2f}")
    assert panel.locator(".mg-says").first.text_content() == re.sub(
        r"\n+", "\n", answers(panel, "train")[-1]["sample"].strip()
    )
    panel.page.wait_for_timeout(200)
    assert len(parts(panel)) == len(here) < steps
    press(panel, "Go on")
    reaches(panel, "ended")
    shows_what_was_told(panel)
    press(panel, "Train again")
    reaches(panel, "training")
    goes(panel, 2)
    first, second = ([part["train_loss"] for part in parts(panel, run)][:2] for run in (0, -1))
    assert first != second and [question["seed"] for question in asked(panel, "prepare")] == [1, 2]


OPEN = "Open a model: choose a file, or drop it on this panel"


def open_model(panel, name: str, raw: bytes) -> str:
    """What is said of a model in a file."""
    panel.locator("> details").evaluate("details => { details.open = true; }")
    place = panel.locator("> [role=status]")
    place.evaluate("place => { place.textContent = ''; }")
    panel.get_by_label(OPEN).set_input_files(file(name, raw))
    place.filter(has_text=".").wait_for()
    return place.text_content()


SHIPPED, TOKENIZER = load_pretrained("tales-char")
KINDS = {
    "plain": GPT(GPTConfig(TOKENIZER.vocab_size, n_layer=1, n_embd=32, end_id=0)),
    "fast": FastGPT(FastConfig(TOKENIZER.vocab_size, n_embd=32, end_id=0)),
}


def randomised(kind: str) -> GPT:
    torch.manual_seed(0)
    model = KINDS[kind].eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return model


def test_a_model_from_a_file_of_pythons_writes_and_learns_on(opened):
    panel = opened("whole")
    bring(panel, TEXT)
    for model, width in ((SHIPPED, 128), (randomised("plain"), 32), (randomised("fast"), 32)):
        raw = model_file(model, TOKENIZER)
        said = open_model(panel, "ship.mgpt", raw)
        assert (
            said.startswith(f"ship.mgpt: {math.ceil(len(raw) / 1000)} kB, ") and f", {width} wide, a window of " in said
        )
        press(panel.locator("> .mg-buttons").last, "Write with it")
        read, _ = load_model_file(raw)
        writes_as_in_python(panel, read, TOKENIZER)
        if model is SHIPPED:
            continue
        press(panel, "Train it further on the chosen text")
        reaches(panel, "training")
        reaches(panel, "ended")
        before = evaluate(read, torch.tensor(TOKENIZER.encode(split_text(TEXT)[0])))
        assert parts(panel)[0]["train_loss"] == pytest.approx(before, abs=0.2)
        assert parts(panel)[-1]["train_loss"] < before - 0.2
        shows_what_was_told(panel)
        assert type(load_model_file(kept(panel)[1])[0]) is type(model)


def test_a_model_that_the_page_does_not_train_is_refused_in_a_sentence_and_the_panel_goes_on(opened):
    panel = opened("whole")
    assert (
        open_model(panel, "x.mgpt", b"PK" + bytes(99))
        == "This is no model file of minigpt_core: take one that minigpt export or a page wrote."
    )
    drop(panel, "x.mgpt", b"", zeros=65_000_000)
    panel.get_by_text("The file x.mgpt has 65.0 MB, and this page reads up to 64.0 MB.").wait_for()
    other = ComposedGPT(ComposedConfig(TOKENIZER.vocab_size, n_layer=1, n_head=2, n_embd=16, norm="rms"))
    assert "1 layer of 2 heads, 16 wide" in open_model(panel, "today.mgpt", model_file(other, TOKENIZER))
    press(panel, "Train it further on the chosen text")
    panel.get_by_text(
        "The opened model has RMSNorm: the page trains the plain GPT and the fast one of chapter 14"
    ).wait_for()
    bring(panel, "Grüße aus Øst. " * 300)
    open_model(panel, "fast.mgpt", model_file(randomised("fast"), TOKENIZER))
    press(panel, "Train it further on the chosen text")
    panel.get_by_text(
        "The opened model does not know the character “ü”, which the text has: train a new one on it."
    ).wait_for()
    learn(panel)
    assert "nats per letter" in says(panel)


# A text of the reader's own

PASTE = """(area, text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    return area.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""
TALE = "Wren has a lamp, and Toby has none. It is late, and the sea is loud."


def test_what_cannot_be_learned_is_told_at_once_and_at_train_and_the_next_text_is_learned(opened):
    panel = opened("own")
    press(panel, "Train")
    assert says(panel) == "There is no text yet: paste one, or choose a file."
    area = panel.get_by_label("your own text: paste it here")
    for text, told in (
        (
            TALE[:50] * 2,
            "100 characters are too few: a model needs at least 2,000, and learns words from about 50,000.",
        ),
        ("a" * 5000, "It is one character over and over: there is nothing to learn."),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 12_000))) * 5, "12,000 kinds of character are too many: "),
    ):
        area.fill(text)
        panel.get_by_text(f"{len(text):,} characters, {len(set(text)):,} different. {told}").wait_for()
        press(panel, "Train")
        panel.locator(".mg-now [role=status]").filter(has_text=told).wait_for()
    choose = panel.get_by_label("or choose a text file, or drop it on this panel")
    for raw, told in (
        (b"", "The file is empty: a model needs at least a few thousand characters to learn from."),
        (bytes(range(256)) * 20, "The file is not text in utf-8: save it as plain text in UTF-8."),
    ):
        choose.set_input_files(file("x.txt", raw))
        panel.get_by_text(told).wait_for()
    drop(panel, "long.txt", b"", zeros=6_000_000)
    panel.get_by_text(
        "The file long.txt has 6,000,000 bytes, and this page reads up to 5,000,000 bytes: cut it, or train on it with Python"
    ).wait_for()
    documents = "".join(f"{TALE} {i}.{END_OF_TEXT}" for i in range(40))
    area.fill(documents)
    learn(panel)
    shows_what_was_told(panel)
    assert answers(panel, "prepare")[-1]["split"]["how"] == "documents"
    assert not any(END_OF_TEXT in (part["sample"] or "") for part in parts(panel))


def test_a_long_text_that_is_pasted_or_dropped_is_held_and_given_back(opened):
    panel = opened("whole")
    drop(panel, "my ship.txt", TEXT.encode())
    held = panel.locator(".mg-begins")
    held.filter(has_text=f"Text: my ship.txt. It begins: “{TEXT[:20]}").wait_for()
    learn(panel)
    assert kept(panel)[0] == "my ship.mgpt"
    press(panel, "Take another text")
    area = panel.get_by_label("your own text: paste it here")
    assert area.evaluate("area => area === document.activeElement")
    assert area.evaluate(PASTE, "short")  # the field takes it itself
    area.fill("before, after")
    area.evaluate("area => area.setSelectionRange(7, 7)")
    assert not area.evaluate(PASTE, TALES.replace("\n", "\r\n"))
    held.filter(has_text=f"Text: your own text. It begins: “before,{TALES[:20]}").wait_for()
    panel.get_by_text(f"{len(TALES) + 13:,} characters").wait_for()
    for name, raw in (("photo.png", bytes(range(256))), ("long.txt", bytes(6_000_000))):
        panel.get_by_label("or choose a text file, or drop it on this panel").set_input_files(file(name, raw))
        panel.get_by_text(re.compile("^The file .*(is not text in utf-8|has 6,000,000 bytes)")).wait_for()
        assert held.is_visible()  # it is not lost
    refused = "minigpt.parts.bytesOf({ name: 'folder', arrayBuffer: () => Promise.reject(0) }).catch(({ message }) => message)"
    assert panel.page.evaluate(refused) == "folder could not be read: choose one file, not a folder"


def test_a_file_in_another_encoding_is_read_as_the_reader_chooses(opened):
    panel, text = opened("own"), load_corpus("tales_zh")[:2500]
    panel.get_by_label("or choose a text file, or drop it on this panel").set_input_files(
        file("zh.txt", text.encode("gb18030"))
    )
    panel.get_by_text("The file is not text in utf-8: choose the encoding in which it reads well.").wait_for()
    guesses = panel.locator(".mg-paste .mg-buttons button")
    assert guesses.first.text_content().startswith("gb18030: “") and guesses.first.text_content()[10:14] in text
    guesses.first.press("Enter")
    panel.locator(".mg-begins").filter(has_text=text[:30].strip()).wait_for()
    assert panel.get_by_role("button", name="Take another text").evaluate("button => button === document.activeElement")
    assert guesses.count() == 0 and f"{len(text):,} characters, " in note(panel)
    learn(panel)
    assert asked(panel, "prepare")[-1]["text"] == text and "nats per character" in says(panel)


# One run, and the next


def test_a_run_outlives_a_next_one_that_is_stopped_and_an_empty_field_means_the_tales(opened, site):
    panel = opened(f"{site}/book/index.html", complaints=("Failed to load resource: net::ERR_FAILED",))
    held = []
    panel.page.route("**/data/text-tales.js", lambda route: held.append(route))
    drop(panel, "mine.txt", TEXT.encode())
    panel.get_by_text("3,000 characters").wait_for()
    press(panel, "Train")
    goes(panel, 3)
    press(panel, "Pause")
    reaches(panel, "paused")
    here = len(parts(panel))
    press(panel, "Take another text")
    panel.get_by_text("What you see belongs to the run before. Press Train again").wait_for()
    press(panel, "Train again")
    panel.page.wait_for_function("document.head.querySelector('script[src$=\"text-tales.js\"]')")
    press(panel, "Stop")
    panel.get_by_text(f"Stopped. The run before is still here. Step {here} of").wait_for()
    held[0].abort()
    press(panel, "Go on")
    reaches(panel, "ended")
    assert len(parts(panel)) == 20 and len(asked(panel, "prepare")) == 1
    panel.page.unroute("**/data/text-tales.js")
    learn(panel, "Train again")
    assert asked(panel, "prepare")[-1]["text"] == TALES


def test_what_is_shown_is_told_from_what_is_chosen_and_going_on_takes_the_run_s_own_settings(opened):
    panel, stale = opened("compare", SOME), "What you see belongs to the run before."
    bring(panel, TEXT)
    press(panel, "Compare two settings")
    press(panel, "Train")
    goes(panel, 3)
    press(panel, "Pause")
    reaches(panel, "paused")
    model, text = (panel.get_by_label(name, exact=True) for name in ("model", "text"))
    group = panel.get_by_role("group", name="settings of run A")
    group.get_by_label("batch (windows)").press("End")
    model.select_option("plain")
    text.select_option("tales_zh")
    press(panel, "Back to one setting")
    panel.get_by_text(stale).wait_for()
    press(panel, "Go on")
    reaches(panel, "ended")
    assert (model.input_value(), text.input_value()) == ("fast", "own")
    assert group.locator("output").nth(2).text_content() == "16" and panel.locator(".mg-knobs:visible").count() == 2
    assert [len(parts(panel, run)) for run in (-2, -1)] == [answers(panel, "prepare")[0]["plan"]["steps"]] * 2
    assert not panel.get_by_text(stale).is_visible()
    panel.get_by_label("your own text: paste it here").fill(TEXT + "More.")
    panel.get_by_text(stale).wait_for()
    panel.get_by_label("your own text: paste it here").fill(TEXT)
    panel.get_by_text(stale).wait_for(state="hidden")


def test_an_old_complaint_goes_with_the_next_text(opened):
    panel = opened("own")
    bring(panel, "Too short.")
    press(panel, "Train")
    panel.get_by_text("10 characters are too few").nth(1).wait_for()
    bring(panel, TEXT)
    assert says(panel).startswith("Press Train.")


def test_a_model_that_was_deleted_is_not_kept_again_by_its_own_run(opened):
    panel = opened("whole", SOME)
    bring(panel, TEXT)
    panel.locator("> details").evaluate("details => { details.open = true; }")
    press(panel, "Train")
    goes(panel, 3)
    press(panel, "Delete it")
    gone = "This browser keeps no model now, and does not keep this run's."
    panel.locator("> details").get_by_text(gone).wait_for()
    reaches(panel, "ended")
    kept = """new Promise((resolve) => {
        indexedDB.open("minigpt", 1).onsuccess = ({ target: { result } }) => {
            result.transaction("models").objectStore("models").get("last").onsuccess = ({ target }) => resolve(!!target.result);
        };
    })"""
    panel.page.wait_for_timeout(300)
    assert panel.page.evaluate(kept) is False
    learn(panel, "Train again")
    panel.page.wait_for_function(f"() => {kept}")
    assert panel.get_by_role("button", name="Delete it").is_visible()


@pytest.mark.parametrize("last", ["({})", "'text'", "({ label: 'x', step: 1, steps: 2, date: 0, bytes: 'none' })"])
def test_what_another_page_left_on_the_shelf_is_not_offered(opened, last):
    panel = opened("whole")
    put = f"""new Promise((resolve) => {{
        indexedDB.open("minigpt", 1).onsuccess = ({{ target: {{ result }} }}) => {{
            const change = result.transaction("models", "readwrite");
            change.objectStore("models").put({last}, "last");
            change.oncomplete = resolve;
        }};
    }})"""
    panel.page.wait_for_timeout(200)
    panel.page.evaluate(put)
    panel.page.reload()
    panel.page.locator(".mg-alive").wait_for()
    panel.page.wait_for_timeout(300)
    assert not panel.get_by_text("A model that you trained here").is_visible()
    bring(panel, TEXT)
    learn(panel)


@pytest.mark.parametrize(
    "text, prompt",
    [
        ("\n" * 6000 + TEXT, "The fog came in at"),
        (f"{END_OF_TEXT}" * 3 + TEXT, "The fog came in at"),
        (END_OF_TEXT.join(f"短句{i}。" for i in range(1000)), "短句0。"),
        (f"ab{END_OF_TEXT}" * 2000, "ab"),
    ],
)
def test_it_begins_to_write_with_words_of_the_text(opened, text, prompt):
    panel = opened("own")
    bring(panel, text)
    learn(panel)
    press(panel, "Write with it")
    writer = panel.get_by_role("region", name="Write with your model")
    writer.get_by_text("to see what else could have been").wait_for()
    assert writer.get_by_label("prompt").input_value() == prompt


def test_of_a_model_with_pieces_the_losses_are_those_of_tokens_and_a_model_that_another_follows_is_forgotten(opened):
    panel = opened("whole")
    bring(panel, TEXT)
    open_model(panel, "letters.mgpt", model_file(SHIPPED, TOKENIZER))
    open_model(panel, "pieces.MGPT", model_file(*load_pretrained("tales-bpe")))
    first, second = (question["name"] for question in asked(panel, "load"))
    assert [question["name"] for question in asked(panel, "forget")] == [first]
    learn(panel, "Train it further on the chosen text")
    assert asked(panel, "prepare")[-1]["from"] == second and " nats per token. " in says(panel)
    assert "(nats per token)" in panel.locator(".mg-chart .mg-title").text_content()
    assert "counting tokens" in panel.locator(".mg-chart").text_content()
    assert "from the token of each row" in panel.locator(".mg-looks").text_content()


# Two settings side by side


def test_two_settings_are_trained_side_by_side_and_the_rate_can_be_turned_on_the_way(opened):
    panel = opened("compare", SOME)
    press(panel, "Compare two settings")
    sliders = {letter: panel.get_by_role("group", name=f"settings of run {letter}") for letter in "AB"}
    shown = {letter: float(group.locator("output").first.text_content()) for letter, group in sliders.items()}
    press(panel, "Train")
    reaches(panel, "training")
    assert [question["settings"]["learning_rate"] for question in asked(panel, "prepare")] == list(shown.values())
    assert shown["A"] != shown["B"]
    goes(panel, 8)
    before = len(parts(panel, -2))
    told = "() => +/about (\\d+) s to go/.exec(document.querySelector('.mg-now p[aria-hidden]').textContent)?.[1]"
    left = panel.page.wait_for_function(told).json_value()
    assert left <= 1 + max(part["left"] for run in (-2, -1) for part in parts(panel, run))  # both go on at once
    rate = sliders["A"].get_by_label("learning rate")
    rate.focus()
    for _ in range(3):
        panel.page.keyboard.press("ArrowLeft")
    turned = float(sliders["A"].locator("output").first.text_content())
    assert sliders["A"].get_by_label("batch (windows)").is_disabled()
    reaches(panel, "ended")
    rates = [[part["learning_rate"] for part in parts(panel, run)] for run in (-2, -1)]
    assert len(rates[0]) == len(rates[1]) == answers(panel, "prepare")[0]["plan"]["steps"]
    plans = [plan["plan"] for plan in answers(panel, "prepare")]
    for each, (first, last) in zip(rates, ((shown["A"], turned), (shown["B"], shown["B"])), strict=True):
        assert each[:before] == pytest.approx(scheduled(plans[0], first)[:before])
        assert each[-3:] == pytest.approx(scheduled(plans[0], last)[-3:])
    curves, _ = heights(panel)
    assert [len(curve) for curve in curves[::2]] == [len(rates[0])] * 2
    for run, trained in zip((-2, -1), curves[::2], strict=True):
        assert [loss for _, loss in trained] == pytest.approx(
            [part["train_loss"] for part in parts(panel, run)], abs=0.02
        )
    names = panel.locator(".mg-chart .mg-name").all_text_contents()
    assert sorted(name[:10] for name in names) == ["A training", "B training"]
    script = "([name, line]) => [+name.getAttribute('y'), +line.getAttribute('points').split(',').at(-1)]"
    shown = sorted(
        panel.page.evaluate(script, [panel.locator(kind).nth(at).element_handle() for kind, at in pair])
        for pair in named_curves(panel, names)
    )
    (over, high), (under, low) = shown
    assert over < high < low < under  # pixels from above: neither name stands between the curves
    assert re.match(r"A: \d+ steps .*\nB: \d+ steps ", says(panel))
    assert not panel.locator("canvas").is_visible() and panel.locator(".mg-says:visible").count() == 2


def test_two_settings_differ_in_nothing_else_on_a_device_that_slows_down(opened):
    """The second run would be timed as a slower device's, and its large batches would read this short text too often."""
    slower = "let times = 0; performance.now = () => ++times ** 2;"
    panel = opened("compare", SOME, slower)
    bring(panel, TEXT)
    press(panel, "Compare two settings")
    group = panel.get_by_role("group", name="settings of run B")
    group.get_by_label("batch (windows)").press("End")
    press(panel, "Train")
    reaches(panel, "training")
    press(panel, "Pause")
    reaches(panel, "paused")
    a, b = answers(panel, "prepare")
    assert a["config"] == b["config"] and a["config"]["n_embd"] == 128
    assert a["plan"]["steps"] == b["plan"]["steps"] == 60 * a["split"]["train"] // (16 * 64) < 260
    assert (a["plan"]["batch_size"], b["plan"]["batch_size"]) == (16, 32)
    assert b["plan"]["seconds"] > SOME > a["plan"]["seconds"]


def named_curves(panel, names: list[str]) -> list[list[tuple[str, int]]]:
    """Of each of two runs, where its name and its training curve are found."""
    places = {name[0]: at for at, name in enumerate(names)}
    return [[(".mg-chart .mg-name", places[letter]), (".mg-chart polyline", at)] for letter, at in (("A", 0), ("B", 2))]


def scheduled(plan: dict, rate: float) -> list[float]:
    recipe = TrainConfig(steps=plan["steps"], warmup_steps=plan["warmup_steps"], learning_rate=rate)
    return [learning_rate_at(step, recipe) for step in range(1, plan["steps"] + 1)]


# By the keyboard, by ear, in print


def test_all_is_done_by_the_keyboard_and_the_focus_stays(opened):
    panel = opened("whole", SOME)
    page = panel.page

    def here() -> str:
        return page.evaluate("document.activeElement.labels?.[0]?.textContent || document.activeElement.textContent")

    def presses(*keys: str) -> str:
        for key in keys:
            page.keyboard.press(key)
        return here()

    panel.get_by_label("text", exact=True).focus()
    assert presses("Tab") == "model"
    page.keyboard.press("End")
    assert panel.get_by_label("model", exact=True).input_value() == "plain"
    assert presses("Tab") == "Train"
    page.keyboard.press("Enter")
    reaches(panel, "training")
    goes(panel, 3)
    assert here() == "Pause" and presses("Space")
    reaches(panel, "paused")
    assert here() == "Go on" and presses("Tab", "Tab", "Tab") == "Save"
    with page.expect_download():
        page.keyboard.press("Enter")
    assert here() == "Save" and presses(*["Shift+Tab"] * 3) == "Go on"
    page.keyboard.press("Enter")
    reaches(panel, "ended")
    assert here() == "Write with it"
    page.keyboard.press("Space")
    panel.get_by_text("to see what else could have been").wait_for()
    assert here() == "Write with it" and presses("Tab", "Tab", "Tab") == "prompt"
    assert presses("Tab") == "Write"


MUTATIONS = """root => {
    globalThis.spoken = [];
    globalThis.moves = 0;
    const status = root.querySelector(".mg-now [role=status]"), all = { childList: true, characterData: true, subtree: true };
    new MutationObserver(() => spoken.push(status.textContent)).observe(status, all);
    const moved = (changes) => (moves += changes.filter(({ target }) => target.matches?.(".mg-says")).length);
    new MutationObserver(moved).observe(root, all);
}"""


def test_few_lines_are_spoken_and_who_wants_less_motion_sees_few_texts(opened):
    seen = []
    for motion in ("no-preference", "reduce"):
        panel = opened("whole", SOME, reduced_motion=motion)
        bring(panel, TEXT)
        panel.evaluate(MUTATIONS)
        began = time.monotonic()
        learn(panel)
        seconds = time.monotonic() - began
        spoken, moves = panel.page.evaluate("[spoken, moves]")
        assert 4 <= len(spoken) <= 16 and spoken[-1] == says(panel)
        seen.append((moves, seconds))
    (often, _), (rarely, seconds) = seen
    assert rarely <= 3 + seconds / 2 < often  # at the beginning, at the end, and every two seconds


@pytest.mark.parametrize(
    "page, scheme, width",
    [("front", "light", 360), ("front", "dark", 1280), ("compare", "dark", 360), ("own", "light", 1280)],
)
def test_nothing_below_moves_nothing_is_too_wide_and_axe_finds_nothing_serious(opened, page, scheme, width):
    panel = opened(page, SOME / 2, color_scheme=scheme, viewport={"width": width, "height": 900})
    below = panel.page.locator("#below" if page != "front" else ".front + p")
    place = "p => Math.round(p.getBoundingClientRect().top + scrollY)"
    tops = [below.evaluate(place)]
    if page == "own":
        bring(panel, TEXT)
        note(panel)
        tops = [below.evaluate(place)]
    if page == "compare":
        press(panel, "Compare two settings")
        tops = [below.evaluate(place)]
    press(panel, "Train")
    for mode in ("preparing", "training"):
        reaches(panel, mode)
        tops.append(below.evaluate(place))
    goes(panel, 4)
    press(panel, "Pause")
    reaches(panel, "paused")
    tops.append(below.evaluate(place))
    faults = serious_faults(panel.page, "[data-minigpt=trainer]")
    press(panel, "Go on")
    reaches(panel, "ended")
    tops.append(below.evaluate(place))
    assert max(tops) - min(tops) <= 3, tops
    panel.locator("> details").evaluate("details => { details.open = true; }")
    press(panel, "Write with it")
    panel.get_by_text("to see what else could have been").first.wait_for()
    faults += serious_faults(panel.page, "[data-minigpt=trainer]")
    assert faults == []
    assert panel.page.evaluate("document.scrollingElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1280])
def test_the_still_picture_has_the_room_of_the_panel_that_wakes_there(browser, html, width):
    for path in sorted(html.glob("*/*.html")):
        if 'data-minigpt="trainer"' not in path.read_text("utf-8"):
            continue
        context = browser.new_context(viewport={"width": width, "height": 900})
        heights = []
        for scripts in (False, True):
            page = context.new_page()
            if not scripts:
                page.route("**/host.js", lambda route: route.abort())
            page.goto(path.as_uri())
            panel = page.locator("[data-minigpt=trainer]")
            panel.scroll_into_view_if_needed()
            if scripts:
                page.locator("[data-minigpt=trainer].mg-alive").wait_for()
            heights.append(panel.bounding_box()["height"])
        assert heights[1] == pytest.approx(heights[0], abs=3), path.name
        context.close()


@pytest.mark.parametrize("page", ["front", "whole"])
def test_on_paper_stands_what_was_learned_and_no_control(opened, page):
    panel = opened(page)
    panel.page.emulate_media(media="print")
    controls = panel.locator(":is(button, select, input, textarea, summary, progress):visible")
    picture = panel.locator(".mg-chart svg[role=img]:visible")
    assert controls.count() == 0 and "recorded run" in picture.get_attribute("aria-label")
    panel.page.emulate_media(media="screen")
    learn(panel)
    panel.page.emulate_media(media="print")
    assert controls.count() == 0 and "Step 20 of 20" in picture.get_attribute("aria-label")
    assert (
        panel.get_by_text("The clinic (chapter 09) says").is_visible()
        and panel.locator(".mg-says:visible").text_content()
    )


# Where something is missing


def test_without_webassembly_it_learns_all_the_same(opened):
    panel = opened("whole", before="delete globalThis.WebAssembly;")
    bring(panel, TEXT)
    learn(panel)
    shows_what_was_told(panel)


def test_a_text_that_does_not_come_is_waited_for_until_stop_and_one_that_is_missing_is_named(opened, site):
    panel = opened(f"{site}/book/index.html", complaints=2 * ("Failed to load resource: net::ERR_FAILED",))
    held = []
    panel.page.route("**/data/text-tales.js", lambda route: held.append(route))
    press(panel, "Train")
    panel.page.wait_for_function("document.head.querySelector('script[src$=\"text-tales.js\"]')")
    press(panel, "Stop")
    panel.get_by_text("Stopped: press Train to begin again.").wait_for()
    held[0].abort()
    panel.page.route("**/data/text-tales.js", lambda route: route.abort())
    press(panel, "Train")
    panel.get_by_text("The file data/text-tales.js could not be loaded: load the page again.").wait_for()
    panel.page.unroute("**/data/text-tales.js")
    learn(panel)
    assert len(parts(panel)) == 20


REFUSED = """const { Memory } = WebAssembly;
WebAssembly.Memory = class {
    constructor() {
        WebAssembly.Memory = Memory;
        throw new RangeError("could not allocate memory");
    }
};"""
BROKEN = """const post = postMessage;
globalThis.postMessage = (message) => {
    post(message);
    if (message.part?.step === 3) setTimeout(() => { throw new Error("out of memory"); });
};"""


@pytest.mark.parametrize(
    "before, told",
    [
        (
            REFUSED,
            r"This browser gives no \d+ MB of memory, which this needs: close other pages, or take a smaller model\.",
        ),
        (
            BROKEN,
            r"The computation broke off \(Uncaught Error: out of memory\): try again, .*\. Press Train to begin again\.",
        ),
        ("throw new Error('no engine');", r"The computation broke off \(Uncaught Error: no engine\): .*"),
    ],
)
def test_a_worker_that_cannot_go_on_says_so_and_the_next_one_learns(opened, before, told):
    panel = opened("whole", before=before)
    bring(panel, TEXT)
    press(panel, "Train")
    panel.locator(".mg-now [role=status]").filter(has_text=re.compile(told)).wait_for()
    assert panel.get_attribute("data-mode") == "idle"
    learn(panel)
    shows_what_was_told(panel)


ENDS = """const post = postMessage;
globalThis.postMessage = (message) => {
    post(message);
    if (message.done?.why === "end") setTimeout(() => { throw new Error("killed"); }, 500);
};"""


def test_a_model_that_is_gone_with_its_worker_is_a_sentence_and_no_file_is_asked_for(opened):
    panel = opened("whole", before=ENDS)
    bring(panel, TEXT)
    learn(panel)
    panel.page.wait_for_timeout(1000)
    press(panel, "Write with it")
    gone = "This model is not there any more: train it again, or open its file again."
    panel.locator(".mg-writer").get_by_text(gone).first.wait_for()
    press(panel, "Save")
    panel.get_by_text("This run is not there any more: train again.").wait_for()
    press(panel, "Train again")
    reaches(panel, "training")
    reaches(panel, "ended")
    press(panel, "Write with it")
    panel.get_by_text("to see what else could have been").wait_for()


# Its Python side


def test_its_examples_are_true_and_what_it_shows_is_the_same_every_time():
    assert doctest.testmod(trainer).failed == 0
    assert repr(Trainer(text="tales_zh", small=True)) == "Trainer(tales_zh, fast)"
    for options in ({}, {"small": True}, {"own": True, "recipe": "plain", "compare": True}):
        still = Trainer(**options).still()
        assert still == Trainer(**options).still() and 'data-minigpt="trainer"' in still
        assert still == Trainer(**options)._repr_mimebundle_()[0]["text/html"]


def test_the_still_picture_says_what_it_shows():
    record, still = load_record("film"), Trainer().still()
    curve = record["curve"]
    training, held_out = f"{curve['train_loss'][-1]:.2f}", f"{curve['val_loss'][-1]:.2f}"
    (label,) = re.findall(r'aria-label="([^"]*)"', still)
    assert f"training ends at {training}, held out at {held_out} nats per letter" in label
    assert f">training {training}<" in still and f">held out {held_out}<" in still
    (alt,) = re.findall(r'<img [^>]*alt="([^"]*)"', still)
    assert record["film"]["text"] in html_module.unescape(alt)


@pytest.mark.parametrize(
    "options, told",
    [
        (
            {"text": "moby"},
            "there is no text 'moby' to learn: choose one of tales, tales_zh, or paste yours in the panel",
        ),
        ({"recipe": "slow"}, "there is no recipe 'slow': choose one of fast, plain"),
    ],
)
def test_a_text_or_a_recipe_that_is_not_there_is_refused_in_a_sentence(options, told):
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        Trainer(**options)


def test_a_kernel_gives_the_panel_its_texts():
    for name in TEXTS:
        assert json.loads(Trainer().file(f"text-{name}")) == load_corpus(name)
