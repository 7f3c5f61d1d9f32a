"""The playground of the front page in a real browser: it does what Python does."""

import pytest
import torch

from minigpt_core import GPT, generate, load_pretrained, stream
from minigpt_core.sampling import shape_logits
from minigpt_core.widgets.export import VERSION, as_script, model_file


@pytest.fixture(scope="module", params=["http", "file"])
def playground(widget, request):
    """The front page, with the widget awake."""
    return widget("book/index.html", "playground", request.param).page


def setting(page):
    return page.get_by_role("region", name="setting").first


def write(page, **values: str) -> str:
    """Turn the knobs by their labels, press Write, wait, and read what stands there after the prompt."""
    for label in ("prompt", "stop at"):
        if label in values:
            page.get_by_label(label).fill(values.pop(label))
    if "model" in values:
        page.get_by_label("model").select_option(values.pop("model"))
    for label, value in values.items():
        setting(page).get_by_label(label, exact=True).fill(value)
    setting(page).get_by_role("button", name="Write", exact=True).click()
    page.wait_for_function(
        "/to see what else|\\.$/.test(document.querySelector('.mg-status').textContent)"
        " && document.querySelector('.mg-setting > button').textContent === 'Write'"
    )
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
    slider = setting(playground).get_by_label("temperature", exact=True)
    slider.focus()
    for _ in range(4):
        playground.keyboard.press("ArrowRight")
    assert slider.input_value() == "1" and setting(playground).locator("output").first.text_content() == "1"
    gpt, tokenizer = load_pretrained("tales-char")
    after = write(playground)
    assert after != before and after == "Wren " + "".join(stream(gpt, tokenizer, "Wren ", 60, seed=1))


def others_at(model: GPT, ids: list[int], knobs: dict) -> torch.Tensor:
    with torch.no_grad():
        logits = model(torch.tensor([ids]))[0][:, -1].double()
    return shape_logits(logits, torch.zeros(1, 0, dtype=torch.long), **knobs).softmax(1)[0]


def test_a_token_shows_what_else_could_have_been_and_one_can_go_on_from_there(playground):
    gpt, tokenizer = load_pretrained("tales-char")
    write(playground, prompt="Wren ", model="tales-char", temperature="0.7", length="40", seed="5", **{"top-k": "0"})
    playground.locator(".mg-token").nth(0).focus()
    for _ in range(6):
        playground.keyboard.press("ArrowRight")
    playground.keyboard.press("Enter")  # the seventh token
    ids = tokenizer.encode("Wren ") + list(generate(gpt, tokenizer.encode("Wren "), 6, temperature=0.7, seed=5))
    expected = others_at(gpt, ids, {"temperature": 0.7}).topk(8)
    rows = playground.locator(".mg-others li").all()
    shown = [(row.locator("button").text_content(), row.locator("span").last.text_content()) for row in rows]
    names = [tokenizer.tokens[i] for i in expected.indices]
    assert shown == [(name, f"{p:.2f}") for name, p in zip(names, expected.values.tolist(), strict=True)]
    second = expected.indices[1].item()
    rows[1].locator("button").click()
    playground.wait_for_function("document.querySelector('.mg-setting > button').textContent === 'Write'")
    kept = tokenizer.decode([*ids, second])
    found = playground.locator(".mg-text").first.text_content()
    assert found == kept + tokenizer.decode(list(generate(gpt, [*ids, second], 40, temperature=0.7, seed=5)))


def test_it_ends_before_the_stop_string_and_can_be_stopped(playground):
    text = write(playground, prompt="Wren ", model="tales-bpe", temperature="0.8", length="200", seed="1")
    stop = text[40:43]
    found = write(playground, **{"stop at": stop})
    assert found == text[: text.index(stop, 5)]
    write_button = setting(playground).get_by_role("button").first
    playground.get_by_label("stop at").fill("")
    setting(playground).get_by_label("length", exact=True).fill("500")
    write_button.click()
    playground.wait_for_selector(".mg-token >> nth=5")
    write_button.click()
    playground.wait_for_function("document.querySelector('.mg-status').textContent.startsWith('Stopped.')")
    assert playground.locator(".mg-token").count() < 500


def test_two_settings_stand_side_by_side(playground):
    button = playground.get_by_role("button", name="Compare two settings")
    button.click()
    assert (
        playground.get_by_role("region", name="setting").count() == 2
        and button.get_attribute("aria-expanded") == "true"
    )
    button.click()
    assert playground.get_by_role("region", name="setting").count() == 1


def test_what_it_cannot_read_is_said_in_a_sentence(playground):
    assert write(playground, prompt="café", model="tales-char") == "café"
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
        (lambda raw: raw[:-1], "The model file is truncated: load the page again."),
        (
            lambda raw: raw[:4] + (VERSION + 1).to_bytes(4, "little") + raw[8:],
            f"The model file has version {VERSION + 1}, this page reads {VERSION}: export it again.",
        ),
        (lambda raw: b"<html>not found</html>", "This is no model file of minigpt_core."),
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


@pytest.mark.parametrize("missing", ["Worker", "IntersectionObserver"])
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
