"""The playground of the front page in a real browser: it does what Python does."""

import html as html_module
import itertools
import re

import pytest
import torch
from test_engine import model_of_bytes

from conftest import answered, drop, press, serious_faults
from minigpt_core import GPT, generate, load_model, load_pretrained, save_model, stream
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.sampling import shape_logits
from minigpt_core.widgets.export import VERSION, as_script, model_file


@pytest.fixture(scope="module", params=["http", "file"])
def playground(widget, request):
    """The front page, with the widget awake."""
    return widget("book/index.html", "playground", request.param).page


def knob(page, label: str, setting: str = "A"):
    """A slider, by its label; the knobs are unfolded first."""
    page.locator("[data-minigpt=playground] details").evaluate("details => { details.open = true; }")
    return page.get_by_role("group", name=f"knobs of setting {setting}").get_by_label(label, exact=True)


def model(page):
    """The playground's choice of a model: the panel beside it has one, too."""
    return page.locator("[data-minigpt=playground]").get_by_label("model", exact=True)


def choose(page, name: str) -> None:
    knob(page, "seed")
    model(page).select_option(name)
    answered(page.locator("[data-minigpt=playground]"))


def write(page, **values: str) -> str:
    """Turn the knobs by their labels, press Write, wait, and read what stands there after the prompt."""
    knob(page, "seed")
    for label in ("prompt", "stop at"):
        if label in values:
            page.get_by_label(label).fill(values.pop(label))
    if "model" in values:
        choose(page, values.pop("model"))
    for label, value in values.items():
        knob(page, label).fill(value)
    press(page, "Write")
    return ended(page)


def ended(page) -> str:
    """The text of the first setting, once all are written."""
    page.wait_for_function("document.querySelector('.mg-main').textContent === 'Write'")
    return page.locator(".mg-text").first.text_content()


@pytest.mark.parametrize(
    "model, prompt, knobs",
    [
        ("tales-bpe", "Wren ", {"temperature": 0.8}),
        ("tales-char", "The sea ", {"temperature": 1.2, "top_k": 5, "frequency_penalty": 0.3}),
        ("tales-char", "Toby ", {"temperature": 0}),
        ("tales-zh", "“我", {"temperature": 1, "top_p": 0.9, "presence_penalty": 0.5}),
        ("shakespeare-char", "KING:\n", {"temperature": 0.7, "min_p": 0.05}),
    ],
)
def test_it_writes_what_python_writes(playground, model, prompt, knobs):
    neutral = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "frequency_penalty": 0, "presence_penalty": 0}
    turned = {
        name.replace("top_", "top-").replace("min_", "min-").replace("_", " "): str(value)
        for name, value in (neutral | knobs).items()
    }
    found = write(playground, prompt=prompt, model=model, length="120", seed="3", **{"stop at": ""}, **turned)
    gpt, tokenizer = load_pretrained(model)
    assert found == prompt + "".join(stream(gpt, tokenizer, prompt, 120, seed=3, **knobs))


def test_a_slider_moves_by_the_keyboard_and_the_text_follows(playground):
    before = write(
        playground,
        prompt="Wren ",
        model="tales-char",
        temperature="0.8",
        length="60",
        seed="1",
        **{"frequency penalty": "0", "presence penalty": "0", "top-k": "0", "min-p": "0", "top-p": "1"},
    )
    slider = knob(playground, "temperature")
    slider.focus()
    for _ in range(4):
        playground.keyboard.press("ArrowRight")
    assert slider.input_value() == "1" and playground.locator(".mg-knob output").first.text_content() == "1"
    gpt, tokenizer = load_pretrained("tales-char")
    after = write(playground)
    assert after != before and after == "Wren " + "".join(stream(gpt, tokenizer, "Wren ", 60, seed=1))


def others_at(model: GPT, ids: list[int], knobs: dict) -> torch.Tensor:
    with torch.no_grad():
        logits = model(torch.tensor([ids]))[0][:, -1].double()
    return shape_logits(logits, torch.zeros(1, 0, dtype=torch.long), **knobs).softmax(1)[0]


def candidates(page) -> list[tuple[str, str, bool]]:
    """Names, probabilities, and which one is marked, as the list shows them."""
    return [
        (
            row.locator("button").text_content(),
            row.locator("span").last.text_content(),
            "drawn" in row.evaluate("row => getComputedStyle(row, '::after').content"),
        )
        for row in page.locator(".mg-others:visible li").all()
    ]


def expected_candidates(tokenizer, p: torch.Tensor, drawn: int) -> list[tuple[str, str, bool]]:
    """The eight likeliest, and below them the one that was drawn, if it is none of these."""
    ids = p.topk(8).indices.tolist()
    ids += [] if drawn in ids else [drawn]
    return [(tokenizer.tokens[i], f"{p[i]:.2f}", i == drawn) for i in ids]


def test_a_token_shows_what_else_could_have_been_and_one_can_go_on_from_there(playground):
    gpt, tokenizer = load_pretrained("tales-char")
    write(playground, prompt="Wren ", model="tales-char", temperature="0.7", length="40", seed="5", **{"top-k": "0"})
    playground.locator(".mg-token").nth(0).focus()
    for _ in range(6):
        playground.keyboard.press("ArrowRight")
    playground.keyboard.press("Enter")  # the seventh token
    ids = tokenizer.encode("Wren ") + list(generate(gpt, tokenizer.encode("Wren "), 6, temperature=0.7, seed=5))
    p = others_at(gpt, ids, {"temperature": 0.7})
    (drawn,) = list(generate(gpt, tokenizer.encode("Wren "), 7, temperature=0.7, seed=5))[6:]
    assert candidates(playground) == expected_candidates(tokenizer, p, drawn)
    second = p.topk(2).indices[1].item()
    playground.locator(".mg-others button").nth(1).click()
    ended(playground)
    kept = tokenizer.decode([*ids, second])
    found = playground.locator(".mg-text").first.text_content()
    assert found == kept + tokenizer.decode(list(generate(gpt, [*ids, second], 40, temperature=0.7, seed=5)))


def go_on(page, place: int, choice: int) -> None:
    """Choose a token, and one of those that could have been there."""
    page.locator(".mg-token").nth(place).click()
    page.locator(".mg-others button").nth(choice).click()


SEED = 5
KNOBS = {"temperature": 0.7}
TURNED = {"temperature": "0.7", "seed": str(SEED), "top-k": "0", "top-p": "1", "min-p": "0"}
TURNED |= {"frequency penalty": "0", "presence penalty": "0", "stop at": ""}


def test_going_on_ends_the_text_that_is_being_written(playground):
    gpt, tokenizer = load_pretrained("tales-char")
    write(playground, prompt="Wren ", model="tales-char", length="10", **TURNED)
    knob(playground, "length").fill("500")
    press(playground, "Write")
    playground.wait_for_selector(".mg-token >> nth=12")
    assert playground.locator("[data-minigpt=playground] .mg-main").text_content() == "Stop"
    go_on(playground, 3, 1)
    kept = tokenizer.encode("Wren ") + list(generate(gpt, tokenizer.encode("Wren "), 3, seed=SEED, **KNOBS))
    kept.append(others_at(gpt, kept, KNOBS).topk(2).indices[1].item())
    found = ended(playground)
    playground.wait_for_timeout(200)
    expected = list(generate(gpt, kept, 500, seed=SEED, **KNOBS))
    assert found == playground.locator(".mg-text").first.text_content()
    assert found == tokenizer.decode(kept + [i for i in expected if i != tokenizer.end_id])


def test_a_text_goes_on_with_the_model_and_the_prompt_that_wrote_it(playground):
    gpt, tokenizer = load_pretrained("tales-bpe")
    write(playground, model="tales-bpe", prompt="Wren ", length="40", **TURNED)
    choose(playground, "tales-char")
    playground.get_by_label("prompt").fill("Other ")
    go_on(playground, 6, 2)
    kept = tokenizer.encode("Wren ") + list(generate(gpt, tokenizer.encode("Wren "), 6, seed=SEED, **KNOBS))
    kept.append(others_at(gpt, kept, KNOBS).topk(3).indices[2].item())
    expected = list(generate(gpt, kept, 40, seed=SEED, **KNOBS))
    assert ended(playground) == tokenizer.decode(kept + [i for i in expected if i != tokenizer.end_id])
    assert playground.get_by_label("prompt").input_value() == "Other "


def test_the_prompt_follows_the_model(widget):
    page = widget("book/index.html", "playground").page
    offered = page.get_by_label("prompt").input_value()
    for model in ("tales-zh", "shakespeare-char", "tales-char", "tales-zh", "tales-bpe"):
        text = write(page, model=model, length="20")
        prompt, seed = page.get_by_label("prompt").input_value(), int(knob(page, "seed").input_value())
        gpt, tokenizer = load_pretrained(model)
        assert text == prompt + "".join(stream(gpt, tokenizer, prompt, 20, temperature=0.8, seed=seed))
        assert (prompt == offered) == (model in ("tales-char", "tales-bpe"))
        assert prompt and tokenizer.encode(prompt)
    assert prompt == offered


def test_the_readers_own_prompt_comes_back_with_a_model_that_reads_it(playground):
    prompt, note = playground.get_by_label("prompt"), playground.locator(".mg-shared .mg-note")

    def shows(name: str, text: str) -> None:
        choose(playground, name)
        assert prompt.input_value() == text

    choose(playground, "tales-char")
    prompt.fill("Wren said")
    choose(playground, "tales-zh")
    assert note.text_content() == (
        "The model does not know the character “W”: your text comes back with a model that does."
    )
    assert load_pretrained("tales-zh")[1].encode(prompt.input_value())
    prompt.fill("我们")
    assert note.text_content() == ""
    shows("shakespeare-char", "Wren said")
    shows("tales-bpe", "我们")  # it has the bytes
    shows("tales-char", "Wren said")
    prompt.fill("Toby")
    shows("tales-zh", "我们")
    shows("tales-char", "Toby")


def test_the_space_at_the_end_of_a_prompt_is_told(playground):
    note = playground.locator(".mg-shared .mg-note")
    for prompt, said in {"Wren ": "a space", "Wren": "", "Wren\n": "a line break"}.items():
        playground.get_by_label("prompt").fill(prompt)
        assert note.text_content() == (said and f"It ends with {said}, which the model reads too.")


@pytest.mark.parametrize("typed", ["\\n", "\u21b5", "\u21b5\\n"])
def test_a_stop_string_may_be_a_line_break(playground, typed):
    stop = typed.replace("\\n", "\n").replace("\u21b5", "\n")
    gpt, tokenizer = load_pretrained("tales-char")
    whole = (stream(gpt, tokenizer, "Wren ", 500, seed=seed, **KNOBS) for seed in itertools.count(SEED))
    seed, text = next((seed, text) for seed, text in enumerate(map("".join, whole), SEED) if stop in text)
    found = write(
        playground, model="tales-char", prompt="Wren ", length="500", **TURNED | {"seed": str(seed), "stop at": typed}
    )
    assert found == "Wren " + "".join(stream(gpt, tokenizer, "Wren ", 500, stop=[stop], seed=seed, **KNOBS))
    assert found == "Wren " + text.partition(stop)[0]


def test_each_further_text_has_a_seed_of_its_own_until_the_reader_sets_one(widget):
    page = widget("book/index.html", "playground").page
    gpt, tokenizer = load_pretrained("tales-char")
    seed = knob(page, "seed")

    def expected(number: int) -> str:
        return "Wren " + "".join(stream(gpt, tokenizer, "Wren ", 30, temperature=0.8, seed=number))

    for number in (1, 2, 3):
        assert write(page, model="tales-char", prompt="Wren ", length="30") == expected(number)
        assert (
            seed.input_value() == str(number) and f"Seed {number}." in page.locator(".mg-status").first.text_content()
        )
    seed.fill("100")
    assert [write(page), write(page)] == [expected(100)] * 2


def test_a_double_click_before_anything_is_loaded_stops_it_in_a_sentence(widget):
    page = widget("book/index.html", "playground").page  # the fixture asserts that no error was uncaught
    write_button = page.locator("[data-minigpt=playground] .mg-main")
    write_button.dblclick()
    status = page.locator(".mg-status").first
    assert status.text_content() == "Stopped. It has written nothing yet. Press Write to begin again."
    page.wait_for_timeout(1500)
    assert page.locator(".mg-token").count() == 0 and write_button.text_content() == "Write"
    assert len(write(page, length="30")) > 30
    knob(page, "length").fill("500")
    write_button.click()  # now it is loaded
    page.wait_for_function("document.querySelector('.mg-status').textContent === 'Writing…'")
    write_button.click()
    page.wait_for_timeout(300)
    stopped = r"Stopped\. It has written (\d+) tokens?\. Press Write to begin again\."
    assert int(re.fullmatch(stopped, status.text_content())[1]) == page.locator(".mg-token").count() < 300


@pytest.mark.parametrize("width, height", [(1000, 600), (360, 640)])
def test_what_could_have_been_stands_at_the_token_and_a_key_leads_there_and_back(widget, width, height):
    page = widget("book/index.html", "playground", viewport={"width": width, "height": height}).page
    write(page, model="tales-char", prompt="Wren ", length="300")
    place = "[...document.querySelectorAll('.mg-token')].indexOf(document.activeElement)"
    others = page.locator(".mg-others").first

    def stands_at(number: int) -> None:
        box, token = others.bounding_box(), page.locator(".mg-token").nth(number).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert box["y"] >= 0 and box["y"] + box["height"] <= height
        gaps = box["y"] - (token["y"] + token["height"]), token["y"] - (box["y"] + box["height"])
        assert 0 <= max(gaps) <= 8  # below it, or above it

    for number in (0, 30, 31, 200, page.locator(".mg-token").count() - 1):
        page.locator(".mg-token").nth(number).click()
        stands_at(number)
        page.keyboard.press("Escape")
        assert page.evaluate(place) == number and others.is_hidden()
    page.locator(".mg-token").nth(2).focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(place) == 3 and page.locator(".mg-token[tabindex='0']").count() == 1
    page.keyboard.press("Space")
    stands_at(3)
    focused = "document.activeElement.parentElement.matches('.mg-drawn')"
    assert page.evaluate(focused)  # on the one that was drawn
    page.keyboard.press("ArrowDown" if page.locator(".mg-others li").last.locator(":focus").count() == 0 else "ArrowUp")
    assert not page.evaluate(focused) and page.evaluate("document.activeElement.closest('.mg-others') !== null")
    page.keyboard.press("Escape")
    assert page.evaluate(place) == 3
    page.keyboard.press("Space")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")  # go on with the likeliest
    ended(page)
    assert page.evaluate(place) == 3 and others.is_hidden()
    page.locator(".mg-token").nth(5).click()
    page.get_by_role("heading").first.click()
    assert others.is_hidden() and page.locator(".mg-read, [aria-pressed]").count() == 0
    page.locator(".mg-token").nth(5).focus()
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.textContent") == "One token"  # the keys lead out again


def test_write_is_the_next_stop_after_the_prompt(widget):
    page = widget("book/index.html", "playground").page
    page.get_by_label("prompt").focus()
    for name in ("Write", "Another", "One token"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent.trim()") == name


def test_one_token_more_at_each_press_beside_its_candidates(widget):
    page = widget("book/index.html", "playground").page
    gpt, tokenizer = load_pretrained("tales-bpe")
    choose(page, "tales-bpe")
    for label, value in TURNED.items():
        (page.get_by_label(label) if label == "stop at" else knob(page, label)).fill(value)
    page.get_by_label("prompt").fill("Wren ")
    start = tokenizer.encode("Wren ")
    ids = start + list(generate(gpt, start, 100, seed=SEED, **KNOBS))
    button, last = page.get_by_role("button", name="One token", exact=True), 0
    for n in (1, 2, 3, 40, 62, 63, 64, 70):
        button.evaluate("(button, n) => { for (let i = 0; i < n; i++) button.click(); }", n - last)
        page.wait_for_function(f"document.querySelector('.mg-status').textContent.startsWith('Token {n}: ')")
        assert page.locator(".mg-token").count() == n
        last = n
        at = len(start) + n - 1
        read = page.locator(".mg-read").count()  # those underlined: all at first, then as many as the window has held
        assert read == at if at <= 64 else 32 <= read <= 64
        assert "".join(page.locator(".mg-read").all_text_contents()) == tokenizer.decode(ids[at - read : at])
        p = others_at(gpt, ids[at - read : at], KNOBS)
        assert candidates(page) == expected_candidates(tokenizer, p, ids[at])
        assert page.locator(".mg-status").first.text_content() == (
            f"Token {n}: probability {p[ids[at]]:.2f}. The model read the {read} underlined tokens."
        )
    page.locator(".mg-token").nth(3).click()
    page.keyboard.press("Escape")  # the list returns to the last token
    assert candidates(page) == expected_candidates(tokenizer, p, ids[at])
    press(page, "Write")  # the rest
    whole = "Wren " + "".join(stream(gpt, tokenizer, "Wren ", 100, seed=SEED, **KNOBS))
    page.wait_for_function("document.querySelector('.mg-status').textContent.includes('Seed')")
    assert ended(page) == whole and page.locator(".mg-others:visible").count() == 0
    press(page, "One token")
    page.wait_for_function("document.querySelectorAll('.mg-token').length === 1")  # a new text
    page.locator(".mg-others:visible button").nth(2).click()  # another token in its place, and no more
    page.wait_for_function("document.activeElement.matches('.mg-token')")
    second = others_at(gpt, start, KNOBS).topk(3).indices[2].item()
    assert page.locator(".mg-text").first.text_content() == tokenizer.decode([*start, second])


def test_another_text_has_another_seed(widget):
    page = widget("book/index.html", "playground").page
    write(page, model="tales-char", prompt="Wren ", length="30")
    gpt, tokenizer = load_pretrained("tales-char")
    seeds = [knob(page, "seed").input_value()]
    for _ in range(3):
        press(page, "Another")
        seeds.append(knob(page, "seed").input_value())
        said = "".join(stream(gpt, tokenizer, "Wren ", 30, temperature=0.8, seed=int(seeds[-1])))
        assert ended(page) == f"Wren {said}" and seeds[-1] != seeds[-2]


def test_the_text_of_the_still_picture_stands_until_another_is_written(visit, site, html):
    gpt, tokenizer = load_pretrained("tales-bpe")
    prompt = '"Where is the Spoon?" asked'

    def text(seed: int) -> str:
        return prompt + "".join(stream(gpt, tokenizer, prompt, 100, temperature=0.8, seed=seed))

    assert html_module.escape(text(1).removeprefix(prompt)) in (html / "book/index.html").read_text(encoding="utf-8")
    seen = visit(f"{site}/book/index.html")
    seen.awake("playground")
    assert seen.page.locator(".mg-text").first.text_content() == text(1)
    press(seen.page, "Write")  # it would tell nothing if it wrote the same
    seen.page.wait_for_selector(".mg-token")
    assert ended(seen.page) == text(2) and seen.problems == []
    seen.page.close()


@pytest.mark.parametrize("width, height", [(1280, 900), (360, 740)])
def test_what_stands_below_stays_where_it_is(browser, site, width, height):
    page = browser.new_page(viewport={"width": width, "height": height})
    page.add_init_script(
        "globalThis.moved = 0; new PerformanceObserver((list) => { for (const { value } of list.getEntries()) moved += value; })"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    page.goto(f"{site}/book/index.html")
    page.locator("[data-minigpt=playground].mg-alive").wait_for()
    assert page.get_by_role("button", name="Write", exact=True).bounding_box()["y"] < height - 100
    page.wait_for_timeout(300)
    assert page.evaluate("moved") < 0.01  # waking
    below = page.locator("[data-minigpt=playground] details")
    write(page, model="tales-char", prompt="Wren ", length="200")
    before = below.bounding_box()["y"] + page.evaluate("scrollY")
    for length in ("30", "200"):
        write(page, length=length)
        moved = below.bounding_box()["y"] + page.evaluate("scrollY") - before
        assert abs(moved) < 60  # two lines, if the text is longer
    page.close()


def test_the_space_bar_chooses_a_token_and_does_not_scroll(widget):
    page = widget("book/index.html", "playground").page
    write(page, model="tales-char", prompt="Wren ", length="20")
    page.locator(".mg-token").nth(2).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    before = page.evaluate("window.scrollY")
    page.keyboard.press("Space")
    page.wait_for_timeout(300)
    gpt, tokenizer = load_pretrained("tales-char")
    start, seed = tokenizer.encode("Wren "), int(knob(page, "seed").input_value())
    *said, drawn = generate(gpt, start, 3, temperature=0.8, seed=seed)
    p = others_at(gpt, start + said, {"temperature": 0.8})
    assert page.evaluate("window.scrollY") == before
    assert candidates(page) == expected_candidates(tokenizer, p, drawn)


def test_control_and_enter_write(playground):
    choose(playground, "tales-char")
    knob(playground, "length").fill("30")
    playground.get_by_label("stop at").fill("")
    playground.get_by_label("prompt").fill("Toby ")
    playground.get_by_label("prompt").press("Control+Enter")
    playground.wait_for_function("/^Toby .{25}/s.test(document.querySelector('.mg-text').textContent)")
    ended(playground)
    assert playground.get_by_label("prompt").input_value() == "Toby "


def test_an_alternative_that_is_one_byte_is_joined_to_its_character(browser, site):
    gpt, ids = model_of_bytes()
    tokenizer = load_pretrained("tales-bpe")[1]
    page = browser.new_page()
    script = as_script("tales-bpe", model_file(gpt, tokenizer))
    page.route("**/data/tales-bpe.js", lambda route: route.fulfill(body=script))
    page.goto(f"{site}/book/index.html")
    page.locator("[data-minigpt=playground]").scroll_into_view_if_needed()
    page.wait_for_selector(".mg-alive")
    write(page, prompt="Wren ", temperature="1", length="10")
    wanted, seed = list("好".encode()), int(knob(page, "seed").input_value())
    for place, byte in enumerate(wanted):
        page.locator(".mg-token").nth(place).focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name=f"go on with <0x{byte:02X}>").click()
        kept = [ids[bytes([each])] for each in wanted[: place + 1]]
        start = tokenizer.encode("Wren ")
        expected = start + kept + list(generate(gpt, start + kept, 10, seed=seed))
        assert ended(page) == tokenizer.decode(expected)
    assert "Wren 好" in ended(page)
    page.close()


def test_it_ends_before_the_stop_string_and_can_be_stopped(playground):
    text = write(playground, prompt="Wren ", model="tales-bpe", temperature="0.8", length="200", seed="1")
    stop = text[40:43]
    found = write(playground, **{"stop at": stop})
    assert found == text[: text.index(stop, 5)]
    write_button = playground.locator("[data-minigpt=playground] .mg-main")
    playground.get_by_label("stop at").fill("")
    knob(playground, "length").fill("500")
    write_button.click()
    playground.wait_for_selector(".mg-token >> nth=5")
    write_button.click()
    playground.wait_for_function("document.querySelector('.mg-status').textContent.startsWith('Stopped.')")
    assert playground.locator(".mg-token").count() < 500


def test_two_settings_side_by_side_have_one_write_and_show_where_they_differ(widget):
    page = widget("book/index.html", "playground").page
    gpt, tokenizer = load_pretrained("tales-char")
    write(page, model="tales-char", prompt="Wren ", length="30", **{"top-k": "5"})
    assert page.get_by_role("region", name="setting").count() == 1
    press(page, "Compare two settings")
    assert page.get_by_role("region", name="setting").count() == 2
    said = page.get_by_text("A and B differ in:")
    differing = page.locator(".mg-differs label")
    assert said.text_content() == "A and B differ in: temperature."
    assert differing.all_text_contents() == ["temperature"] * 2
    warmer = knob(page, "temperature", "B").input_value()
    knob(page, "temperature", "B").fill(knob(page, "temperature").input_value())
    assert page.get_by_text("A and B do not differ.").is_visible() and differing.count() == 0
    knob(page, "temperature", "B").fill(warmer)
    knob(page, "top-k", "B").fill("9")
    assert said.text_content() == "A and B differ in: temperature, top-k." and differing.count() == 4
    write(page)
    texts = page.locator(".mg-text").all_text_contents()
    seed = int(knob(page, "seed").input_value())
    for text, temperature, top_k in zip(texts, (0.8, 1.4), (5, 9), strict=True):
        knobs = {"temperature": temperature, "top_k": top_k, "seed": seed}
        assert text == "Wren " + "".join(stream(gpt, tokenizer, "Wren ", 30, **knobs))
    press(page, "Another")
    ended(page)
    assert len({knob(page, "seed", setting).input_value() for setting in "AB"} | {str(seed)}) == 2
    press(page, "One token")
    page.wait_for_function("document.querySelectorAll('.mg-token').length === 2")
    press(page, "Back to one setting")
    assert page.get_by_role("region", name="setting").count() == 1 and differing.count() == 0
    assert said.count() == 0


def test_what_it_cannot_read_is_said_in_a_sentence(playground):
    choose(playground, "tales-char")
    before = playground.locator(".mg-text").first.text_content()
    assert write(playground, prompt="café") == before  # the old text stays
    status = playground.locator(".mg-status").first
    assert status.text_content() == "The model does not know the character “é”: take it out."
    assert len(write(playground, prompt="", length="30")) == 30  # an empty prompt begins a text
    assert len(write(playground, prompt="The sea. " * 1100, length="10")) > 9_900


def test_a_model_that_is_missing_is_said_in_a_sentence_and_the_next_one_works(browser, site):
    page = browser.new_page()
    page.route("**/data/tales-bpe.js", lambda route: route.abort())
    page.goto(f"{site}/book/index.html")
    page.locator("[data-minigpt=playground]").scroll_into_view_if_needed()
    page.wait_for_selector(".mg-alive")
    write(page, model="tales-bpe", prompt="Wren ")
    assert "data/tales-bpe.js could not be loaded" in page.locator(".mg-status").first.text_content()
    assert len(write(page, model="tales-char", length="20")) > 20
    page.close()


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda raw: raw[:-1], "The model file is truncated: load it again, or export it again."),
        (
            lambda raw: raw[:4] + (VERSION + 1).to_bytes(4, "little") + raw[8:],
            f"The model file has version {VERSION + 1}, this page reads {VERSION}: export it again.",
        ),
        (
            lambda raw: b"<html>not found</html>",
            "This is no model file of minigpt_core: take one that minigpt export or a page wrote.",
        ),
    ],
)
def test_a_damaged_model_is_said_in_a_sentence_and_the_rest_of_the_page_lives(browser, site, damage, said):
    raw = damage(model_file(*load_pretrained("tales-bpe")))
    page = browser.new_page()
    page.route("**/data/tales-bpe.js", lambda route: route.fulfill(body=as_script("tales-bpe", raw)))
    page.goto(f"{site}/book/index.html")
    page.locator("[data-minigpt=playground]").scroll_into_view_if_needed()
    page.wait_for_selector(".mg-alive")
    write(page, model="tales-bpe", prompt="Wren ")
    assert page.locator(".mg-status").first.text_content() == said
    assert len(write(page, model="tales-char", length="20")) > 20
    page.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> GPT:
    """A fast model of the reader's, with the characters of tales-char and the weights that its file holds."""
    folder = tmp_path_factory.mktemp("own")
    torch.manual_seed(0)
    model = FastGPT(FastConfig(load_pretrained("tales-char")[1].vocab_size, n_embd=32, end_id=0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    save_model(model, folder, narrow=True)
    return load_model(folder)


OWN = "Your own model: choose a file"
STATUS = ".mg-status >> nth=0"


def let_go(page, name: str, raw: bytes, zeros: int = 0) -> None:
    """Let a file go over the text of the playground."""
    drop(page.locator(".mg-text").first, name, raw, zeros)
    answered(page.locator("[data-minigpt=playground]"))


def models(page) -> list[str]:
    return model(page).locator("option").all_text_contents()


@pytest.mark.parametrize("scheme", ["http", "file"])
@pytest.mark.parametrize("how", ["drop", "choose"])
def test_a_model_of_the_readers_own_writes_in_the_page(widget, own, how, scheme):
    page, tokenizer = widget("book/index.html", "playground", scheme).page, load_pretrained("tales-char")[1]
    shipped, raw = models(page), model_file(own, tokenizer)
    knob(page, "seed")
    page.get_by_label("prompt").fill("Wren ")
    if how == "drop":
        let_go(page, "my ship.mgpt", raw)
    else:  # by the keyboard alone
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Compare two settings").focus()
            page.keyboard.press("Tab")
            page.keyboard.press("Space")
        chooser.value.set_files({"name": "my ship.mgpt", "mimeType": "", "buffer": raw})
        answered(page.locator("[data-minigpt=playground]"))
    assert page.locator(STATUS).text_content() == "Your model “my ship” is here: press Write."
    assert models(page) == [*shipped, "my ship"]
    for seed in (3, 4):
        found = write(page, seed=str(seed), length="90", temperature="0.8")
        assert found == "Wren " + "".join(stream(own, tokenizer, "Wren ", 90, temperature=0.8, seed=seed))
    assert len(write(page, model="tales-bpe", length="20")) > 20  # and back
    found = write(page, model="file:my ship", seed="4", length="90")
    assert found == "Wren " + "".join(stream(own, tokenizer, "Wren ", 90, temperature=0.8, seed=4))
    let_go(page, "my ship.mgpt", model_file(*load_pretrained("tales-zh")))
    assert models(page) == [*shipped, "my ship", "my ship (2)"]
    assert load_pretrained("tales-zh")[1].encode(page.get_by_label("prompt").input_value()) == []  # it has no opening
    assert page.locator(".mg-shared .mg-note").first.text_content().startswith("The model does not know the character")
    assert len(write(page, length="30")) > 9


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda raw: raw[:-1], "The model file is truncated: load it again, or export it again."),
        (lambda raw: raw[:3000], "The model file is truncated: load it again, or export it again."),
        (
            lambda raw: b"PK\x03\x04" + bytes(99),
            "This is no model file of minigpt_core: take one that minigpt export or a page wrote.",
        ),
        (lambda raw: b"", "This is no model file of minigpt_core: take one that minigpt export or a page wrote."),
        (
            lambda raw: raw[:12] + b"]" + raw[13:],
            "The model file is damaged, its header cannot be read: export it again.",
        ),
        (
            lambda raw: raw.replace(b'"norm.weight"', b'"form.weight"'),
            "The model file is damaged, norm.weight is missing: export it again.",
        ),
        (
            lambda raw: raw[:4] + (VERSION + 1).to_bytes(4, "little") + raw[8:],
            f"The model file has version {VERSION + 1}, this page reads {VERSION}: export it again.",
        ),
    ],
)
def test_a_file_that_is_no_model_is_told_in_a_sentence_and_the_others_go_on(playground, own, damage, said):
    tokenizer = load_pretrained("tales-char")[1]
    choose(playground, "tales-char")
    listed = models(playground)
    let_go(playground, "x.mgpt", damage(model_file(own, tokenizer)))
    assert playground.locator(STATUS).text_content() == said
    let_go(playground, "x.mgpt", model_file(own, tokenizer), zeros=65_000_000)
    assert playground.locator(STATUS).text_content() == "The file has 65 MB, more than the 64 MB that this page reads."
    assert models(playground) == listed
    assert model(playground).input_value() == "tales-char"
    turned = {"temperature": "0.8", "length": "30", "seed": "5"}
    expected = "Wren " + "".join(stream(*load_pretrained("tales-char"), "Wren ", 30, temperature=0.8, seed=5))
    assert write(playground, prompt="Wren ", **TURNED | turned) == expected


def test_a_text_that_is_dropped_is_left_to_the_prompt_and_axe_finds_nothing_serious(widget):
    page = widget("book/index.html", "playground").page
    knob(page, "seed")
    text = page.evaluate_handle("() => { const t = new DataTransfer(); t.setData('text/plain', 'a'); return t; }")
    taken = """(node, dataTransfer) =>
        ["dragover", "drop"].map((kind) => !node.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true })))"""
    assert page.get_by_label("prompt").evaluate(taken, text) == [False, False]
    note = page.get_by_label(OWN).evaluate(
        "input => document.getElementById(input.getAttribute('aria-describedby')).textContent"
    )
    assert note.endswith("It is read here, in the page, and sent nowhere.")
    assert serious_faults(page, "[data-minigpt=playground]", preload=False) == []


@pytest.mark.parametrize("missing", ["Worker", "IntersectionObserver", "DecompressionStream"])
def test_a_browser_without_what_it_needs_keeps_its_page(browser, site, missing):
    page = browser.new_page()
    page.add_init_script(f"delete globalThis.{missing}")
    page.goto(f"{site}/book/index.html")
    root = page.locator("[data-minigpt=playground]")
    root.scroll_into_view_if_needed()
    if missing == "Worker":
        page.wait_for_selector(".mg-alive")
        write(page, prompt="Wren ")
    sentence = f"This browser lacks {missing}, which the widget needs: try a newer one."
    assert sentence in root.text_content()
    assert page.get_by_role("heading", name="A Mini-GPT from Scratch").count() == 1
    page.close()
