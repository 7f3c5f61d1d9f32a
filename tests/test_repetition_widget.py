"""The loop of chapter 11 in a real browser: texts, shares and probabilities are those of Python."""

import re
from itertools import count

import pytest
import torch

from conftest import answered, serious_faults
from minigpt_core import generate, load_pretrained
from minigpt_core.sampling import shape_logits
from minigpt_core.study.counting import repeated_share
from minigpt_core.study.lens import repeat_probability

LENGTH = 240


@pytest.fixture(scope="module", params=["http", "file"])
def loop(widget, request):
    return widget("notebooks/11_repetition.html", "repetition", request.param)


def begin(loop, prompt: str, model: str, knob: str) -> None:
    loop.get_by_label("model", exact=True).select_option(model)
    answered(loop)
    loop.get_by_label("prompt", exact=True).fill(prompt)
    loop.get_by_label("knob", exact=True).select_option(knob)
    answered(loop)


def turn(loop, label: str, strength: float, at: int) -> None:
    loop.get_by_label(label, exact=True).fill(str(strength))
    loop.get_by_label("on from token").fill(str(at))


def texts_become(loop, greedy: str, changed: str) -> None:
    loop.page.wait_for_function(
        "texts => JSON.stringify([...document.querySelectorAll('[data-minigpt=repetition] .mg-text')]"
        ".map(p => p.textContent)) === JSON.stringify(texts)",
        arg=[greedy, changed],
    )


@pytest.mark.parametrize(
    "model, prompt, temperature, at",
    [
        ("tales-char", "Wren said ", 0.7, 120),
        ("tales-bpe", "Mr Finch ", 0.7, 126),
        ("tales-bpe", "Toby said ", 0.4, 30),
        ("tales-zh", "“我", 1, 80),
    ],
)
def test_greedy_and_changed_text_are_what_python_writes(loop, model, prompt, temperature, at):
    begin(loop, prompt, model, "temperature")
    turn(loop, "temperature", temperature, at)
    gpt, tokenizer = load_pretrained(model)
    start = tokenizer.encode(prompt)
    greedy = list(generate(gpt, start, LENGTH, temperature=0))
    kept = greedy[:at]
    changed = kept + list(generate(gpt, start + kept, LENGTH - len(kept), temperature=temperature, seed=1))
    if changed[-1] == tokenizer.end_id:
        changed.pop()
    texts_become(loop, prompt + tokenizer.decode(greedy), prompt + tokenizer.decode(changed))
    said = loop.locator(".mg-status", has_text="of its pieces").text_content()
    shares = [int(number) for number in re.findall(r"(\d+) %", said)]
    assert shares[0] == pytest.approx(100 * repeated_share(greedy), abs=0.51)
    assert shares[1] == pytest.approx(100 * repeated_share(changed), abs=0.51)
    if prompt == "Mr Finch ":  # a loop: the end is one piece twice, and the sentence tells its length
        n = int(re.search(r"Greedy: repeats itself with period (\d+)", loop.text_content())[1])
        assert greedy[-n:] == greedy[-2 * n : -n] and all(greedy[-m:] != greedy[-2 * m : -m] for m in range(1, n))
        assert 2 * n > gpt.config.block_size  # too long to be said twice: the last twelve tokens instead
        assert loop.get_by_label("say again").input_value() == tokenizer.decode(greedy[-12:]).replace("\n", "↵")


def test_a_penalty_counts_what_was_written_before_it_was_switched_on(loop):
    begin(loop, "Wren said ", "tales-char", "frequency_penalty")
    turn(loop, "strength", 0.5, 60)
    gpt, tokenizer = load_pretrained("tales-char")
    start = tokenizer.encode("Wren said ")
    greedy = list(generate(gpt, start, LENGTH, temperature=0))
    changed = greedy[:60]
    window = start + changed
    while len(changed) < LENGTH:
        with torch.no_grad():
            logits = gpt(torch.tensor([window]))[0][:, -1].double()
        token = shape_logits(logits, torch.tensor([changed]), temperature=0, frequency_penalty=0.5).argmax().item()
        if token == tokenizer.end_id:
            break
        changed.append(token)
        window.append(token)
        if len(window) > gpt.config.block_size:
            window = window[-(gpt.config.block_size // 2) :]
    texts_become(loop, "Wren said " + tokenizer.decode(greedy), "Wren said " + tokenizer.decode(changed))
    assert changed[:60] == greedy[:60] and changed != greedy


def test_the_line_is_the_models_own_probability(loop):
    begin(loop, "Wren said ", "tales-char", "temperature")
    turn(loop, "temperature", 0, 100)  # greedy throughout: both lines are the same
    gpt, tokenizer = load_pretrained("tales-char")
    start = tokenizer.encode("Wren said ")
    greedy = list(generate(gpt, start, LENGTH, temperature=0))
    text = "Wren said " + tokenizer.decode(greedy)
    texts_become(loop, text, text)
    with torch.no_grad():  # the first hundred stay within the window
        p = gpt(torch.tensor([start + greedy[:100]]))[0][0].softmax(-1)
    own = [p[len(start) - 1 + i, token].item() for i, token in enumerate(greedy[:100])]
    ticks = loop.locator("svg text[text-anchor=end]").all()
    zero, _, one = (float(tick.get_attribute("y")) for tick in ticks[:3])
    grey, blue = loop.locator("svg polyline").all()
    ys = [float(point.split(",")[1]) for point in grey.get_attribute("points").split()]
    for i in (0, 5, 11, 40, 99):
        mean = sum(own[max(0, i - 11) : i + 1]) / min(12, i + 1)
        assert (zero - ys[i]) / (zero - one) == pytest.approx(mean, abs=0.002)
    assert grey.get_attribute("points").endswith(blue.get_attribute("points"))


def test_a_phrase_said_again_has_pythons_probabilities(loop):
    begin(loop, "The sea was ", "tales-char", "temperature")
    turn(loop, "temperature", 0, 100)
    gpt, tokenizer = load_pretrained("tales-char")
    greedy = "The sea was " + tokenizer.decode(
        list(generate(gpt, tokenizer.encode("The sea was "), LENGTH, temperature=0))
    )
    texts_become(loop, greedy, greedy)  # the loop's own phrase stands there
    for phrase in ("Toby looked at ", "said Wren.\n\n"):
        loop.get_by_label("say again").fill(phrase.replace("\n", "↵"))
        answered(loop)
        expected = repeat_probability(gpt, torch.tensor([tokenizer.encode(phrase)]), 6)
        shown = [float(row.locator("td").last.text_content()) for row in loop.locator("tbody tr").all()]
        assert shown == pytest.approx(expected, abs=0.00051)
    loop.get_by_label("say again").fill("x")
    answered(loop)
    assert "it needs at least 2" in loop.locator(".mg-status").last.text_content()


def test_keys_move_the_place_and_bad_input_is_said_in_a_sentence(loop):
    begin(loop, "Wren said ", "tales-char", "temperature")
    slider = loop.get_by_label("on from token")
    slider.fill("50")
    slider.focus()
    loop.page.keyboard.press("ArrowRight")
    loop.page.wait_for_function(
        "/from token 51 on/.test(document.querySelector('[data-minigpt=repetition]').textContent)"
    )
    begin(loop, "caf\u00e9", "tales-char", "temperature")
    loop.page.wait_for_function(
        "/does not know the character “\u00e9”/.test(document.querySelector('[data-minigpt=repetition]').textContent)"
    )
    assert loop.locator(".mg-text").all_text_contents() == ["", ""]
    begin(loop, "", "tales-char", "temperature")
    gpt, tokenizer = load_pretrained("tales-char")
    ids = list(generate(gpt, [tokenizer.end_id], LENGTH, temperature=0))
    loop.page.wait_for_function(
        "text => document.querySelector('[data-minigpt=repetition] .mg-text').textContent === text",
        arg=tokenizer.decode(ids),
    )


def greedy_text(model: str, prompt: str) -> str:
    gpt, tokenizer = load_pretrained(model)
    return tokenizer.decode(list(generate(gpt, tokenizer.encode(prompt), LENGTH, temperature=0)))


def settled(loop, model: str, prompt: str) -> None:
    """The greedy text of this prompt stands there, and what is made of it."""
    loop.page.wait_for_function(
        "text => document.querySelector('[data-minigpt=repetition] .mg-text').textContent === text",
        arg=prompt + greedy_text(model, prompt),
    )
    loop.locator(".mg-status", has_text="of its pieces").wait_for()


def phrase_becomes(loop, phrase: str) -> None:
    loop.page.wait_for_function("phrase => document.querySelector('[id$=-phrase]').value === phrase", arg=phrase)


def probabilities_become(loop, model: str, phrase: str) -> None:
    gpt, tokenizer = load_pretrained(model)
    expected = [f"{p:.3f}" for p in repeat_probability(gpt, torch.tensor([tokenizer.encode(phrase)]), 6)]
    loop.page.wait_for_function(
        "expected => JSON.stringify([...document.querySelectorAll('[data-minigpt=repetition] tbody td:last-child')]"
        ".map(e => e.textContent)) === JSON.stringify(expected)",
        arg=expected,
    )


def test_prompt_and_phrase_follow_the_model(widget):
    loop = widget("notebooks/11_repetition.html", "repetition")
    prompt, model = loop.get_by_label("prompt", exact=True), loop.get_by_label("model", exact=True)
    offered = prompt.input_value()
    for name in ("tales-zh", "shakespeare-char", "tales-bpe"):
        model.select_option(name)
        answered(loop)
        strange = name == "tales-zh"  # Shakespeare's letters are enough for it
        assert (prompt.input_value() != offered) is strange
        assert ("comes back" in loop.locator(".mg-note").first.text_content()) is strange
        settled(loop, name, prompt.input_value())
        loops_own = loop.get_by_label("say again").input_value().replace("\u21b5", "\n")
        assert loops_own and greedy_text(name, prompt.input_value()).endswith(loops_own)


def test_the_readers_own_phrase_stays(loop):
    begin(loop, "Wren said ", "tales-char", "temperature")
    settled(loop, "tales-char", "Wren said ")
    loop.get_by_label("say again").fill("the old bell ")
    begin(loop, "Toby said ", "tales-bpe", "temperature")
    settled(loop, "tales-bpe", "Toby said ")
    phrase_becomes(loop, "the old bell ")
    probabilities_become(loop, "tales-bpe", "the old bell ")
    begin(loop, "“我", "tales-zh", "temperature")
    settled(loop, "tales-zh", "“我")
    shown = loop.get_by_label("say again").input_value().replace("\u21b5", "\n")
    assert greedy_text("tales-zh", "“我").endswith(shown)  # the loop's, since it cannot read mine
    begin(loop, "Toby said ", "tales-char", "temperature")
    settled(loop, "tales-char", "Toby said ")
    phrase_becomes(loop, "the old bell ")
    loop.get_by_label("say again").fill("")
    begin(loop, "Wren said ", "tales-char", "temperature")
    settled(loop, "tales-char", "Wren said ")
    shown = loop.get_by_label("say again").input_value().replace("\u21b5", "\n")
    assert shown and greedy_text("tales-char", "Wren said ").endswith(shown)


def test_it_says_that_it_computes_and_a_reason_stays(loop):
    begin(loop, "Wren said ", "tales-char", "temperature")
    settled(loop, "tales-char", "Wren said ")
    status, said = loop.locator(".mg-status").nth(1), loop.locator(".mg-status").last
    assert said.text_content().endswith("in the end. This is one phrase; section 4 takes two hundred.")
    for label in ("on from token", "temperature"):
        at_once = """(slider, status) => {
            slider.value = 1;
            slider.dispatchEvent(new Event("input"));
            return status.textContent;
        }"""
        slider = loop.get_by_label(label, exact=True)
        assert slider.evaluate(at_once, status.element_handle()) == "Computing…"
        loop.locator(".mg-status", has_text="of its pieces").wait_for()
    begin(loop, "caf\u00e9", "tales-char", "temperature")
    reason = "The model does not know the character “\u00e9”: take it out."
    loop.locator(".mg-status", has_text=reason).wait_for()
    assert said.text_content() == ""
    turn(loop, "temperature", 0.5, 40)
    answered(loop)
    assert status.text_content() == reason


def test_one_is_no_plural(loop):
    begin(loop, "Wren said ", "tales-char", "temperature")
    settled(loop, "tales-char", "Wren said ")
    loop.get_by_label("say again").fill("x")
    loop.locator(".mg-status", has_text="The phrase has 1 token: it needs at least 2").wait_for()


def twice(ids: list[int]) -> set[tuple[int, int]]:
    """The pairs of positions, the earlier one first, that lie in three tokens or more that are the same at both."""
    found = set()
    for i in range(len(ids) - 2):
        for j in range(i + 1, len(ids) - 2):
            if ids[i : i + 3] == ids[j : j + 3]:
                found |= {(i + k, j + k) for k in range(3)}
    return found


def marked(loop, half: str) -> set[tuple[int, int]]:
    """The same pairs, read off the marks in one half of the dot plot."""
    frame = loop.locator(".mg-dots .mg-frame").get_attribute("d")
    left, top, long = map(float, re.match(r"M([\d.]+) ([\d.]+)h([\d.]+)v", frame).groups())
    found = set()
    for path in loop.locator(f".mg-dots .mg-{half}").all():
        for mark in re.findall(r"M([\d.]+) ([\d.]+)l([\d.]+) ([\d.]+)", path.get_attribute("d")):
            x, y, width, height = map(float, mark)
            column, row, length = (round(value * LENGTH / long) for value in (x - left, y - top, width))
            assert width == height and (column < row) is (half == "lower")
            found |= {(min(column, row) + k, max(column, row) + k) for k in range(length)}
    return found


def told(ids: list[int]) -> str:
    """What the plot's sentence says of a text: its loop, or else the length of its longest repeat."""
    pairs = twice(ids)
    for n in range(1, len(ids)):
        same = 0
        while same + n < len(ids) and ids[-1 - same] == ids[-1 - same - n]:
            same += 1
        if same >= max(n, 12):
            return f"repeats itself with period {n} from token {len(ids) - same - n} on"
    runs = [next(k for k in count() if (i + k, j + k) not in pairs) for i, j in pairs]
    return f"no loop; the longest repeat, {max(runs)} tokens, at" if runs else "no run of 3 tokens occurs twice"


@pytest.mark.parametrize(
    "model, prompt, temperature, at",
    [("tales-bpe", "Mr Finch ", 0.7, 126), ("tales-bpe", "Mr Finch ", 0, 126), ("tales-char", "Wren said ", 0.7, 60)],
)
def test_the_dot_plot_marks_what_stands_twice(loop, model, prompt, temperature, at):
    begin(loop, prompt, model, "temperature")
    turn(loop, "temperature", temperature, at)
    gpt, tokenizer = load_pretrained(model)
    start = tokenizer.encode(prompt)
    greedy = list(generate(gpt, start, LENGTH, temperature=0))
    changed = greedy[:at] + list(generate(gpt, start + greedy[:at], LENGTH - at, temperature=temperature, seed=1))
    texts_become(loop, prompt + tokenizer.decode(greedy), prompt + tokenizer.decode(changed))
    assert marked(loop, "lower") == twice(greedy) and marked(loop, "upper") == twice(changed)
    plot = loop.locator(".mg-dots svg").get_attribute("aria-label")
    assert f"Greedy: {told(greedy)}" in plot and f"With the knob: {told(changed)}" in plot
    assert plot.endswith(loop.locator(".mg-status", has_text="With the knob: ").text_content())
    kept = {(i, j) for i, j in twice(greedy) if j < at}
    assert kept <= twice(changed), "up to the chosen token both halves are the same"
    assert ("repeats itself" in told(changed)) is (temperature == 0 and "repeats itself" in told(greedy))


PRESS = "(e, key) => !e.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }))"
FOCUS = "text => [...text.querySelectorAll('[role=button]')].indexOf(document.activeElement)"


def test_a_chosen_token_is_where_the_knob_goes_on(loop):
    begin(loop, "Wren said ", "tales-char", "temperature")
    turn(loop, "temperature", 0.7, 120)
    settled(loop, "tales-char", "Wren said ")
    greedy, changed = loop.locator(".mg-text").all()
    for text, place, key in ((greedy, 40, "Enter"), (changed, 55, " "), (greedy, 70, "Enter"), (changed, 80, " ")):
        token = text.locator("[role=button]").nth(place)
        if place < 60:
            token.click()
        else:
            token.focus()
            assert token.evaluate(PRESS, key), "the key would scroll the page, too"
        answered(loop)
        loop.locator(".mg-status", has_text=f"from token {place} on").wait_for()
        assert loop.get_by_label("on from token").input_value() == str(place)
        assert loop.locator(".mg-text [aria-pressed]").count() == 2
        for each in (greedy, changed):
            assert each.locator("[role=button]").nth(place).get_attribute("aria-pressed") == "true"
        assert text.evaluate(FOCUS) == place  # though the tokens are new ones
    loop.page.keyboard.press("ArrowRight")
    assert changed.evaluate(FOCUS) == 81 and changed.locator("[tabindex='0']").count() == 1


def test_a_token_and_a_mark_name_both_positions(loop):
    begin(loop, "Mr Finch ", "tales-bpe", "temperature")
    turn(loop, "temperature", 0.7, 126)
    answered(loop)
    settled(loop, "tales-bpe", "Mr Finch ")
    gpt, tokenizer = load_pretrained("tales-bpe")
    ids = list(generate(gpt, tokenizer.encode("Mr Finch "), LENGTH, temperature=0))
    period, first = map(int, re.search(r"period (\d+) from token (\d+) on", told(ids)).groups())
    same = f"the same {LENGTH - first - period} tokens begin at {first} and at {first + period}."
    loop.page.mouse.move(0, 0)
    loop.locator(".mg-text").first.locator("[role=button]").nth(first + 10).focus()
    said = loop.locator(".mg-notes p").last

    def names_both(place: int) -> None:
        name = tokenizer.decode([ids[place]]).replace("\n", "↵")
        assert said.text_content() == f"Token {place}, “{name}”, and token {place + period}, “{name}”: {same}"
        assert loop.locator(".mg-lit").count() == LENGTH - first  # the two runs lie over each other

    names_both(first + 10)
    frame = loop.locator(".mg-dots .mg-frame").get_attribute("d")
    left, top, long = map(float, re.match(r"M([\d.]+) ([\d.]+)h([\d.]+)v", frame).groups())
    cross = re.findall(r"[\d.]+", loop.locator(".mg-dots .mg-cursor").last.get_attribute("d"))
    middle = [long * (place + 0.5) / LENGTH for place in (first + 10, first + 10 + period)]
    assert [float(number) for number in cross[1:3]] == pytest.approx([top + middle[1], middle[0]])
    loop.locator(".mg-dots svg").scroll_into_view_if_needed()
    box = loop.locator(".mg-dots svg").bounding_box()
    place = first + 20
    column, row = (long * (each + 0.5) / LENGTH for each in (place, place + period))
    loop.page.mouse.move(box["x"] + left + column, box["y"] + top + row)
    names_both(place)
    loop.page.mouse.move(box["x"] + left + long * 0.99, box["y"] + top + long * 0.01)
    assert "no 3 tokens are the same there" in said.text_content()
    loop.page.mouse.move(box["x"] + left + long / 2, box["y"] + top + long + 60)
    assert loop.locator(".mg-lit").count() == 0 and said.text_content().startswith("Point at a mark")


def test_a_double_letter_at_the_end_is_no_loop(widget):
    loop = widget("notebooks/11_repetition.html", "repetition")
    for at in range(100, 140, 8):
        begin(loop, "Wren said ", "tales-char", "temperature")
        turn(loop, "temperature", 1.2, at)
        answered(loop)
        loop.locator(".mg-status", has_text=f"from token {at} on").wait_for()
        assert "With the knob: no loop" in loop.text_content()


@pytest.mark.parametrize("width", [1280, 360])
def test_the_plot_follows_the_theme_fits_the_page_and_axe_finds_nothing_serious(widget, width):
    loop = widget("notebooks/11_repetition.html", "repetition", viewport={"width": width, "height": 900})
    loop.locator(".mg-status", has_text="of its pieces").wait_for()
    answered(loop)
    box, inside = loop.locator(".mg-dots svg").bounding_box(), loop.bounding_box()
    assert box["x"] >= inside["x"] and box["x"] + box["width"] <= inside["x"] + inside["width"]
    titles = loop.locator(".mg-dots text", has_text="half").all()
    left, right = (title.bounding_box() for title in titles)
    assert left["x"] + left["width"] < right["x"]
    colours = []
    for theme in ("light", "dark"):
        loop.page.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
        colours.append(loop.locator(".mg-dots .mg-upper").first.evaluate("path => getComputedStyle(path).stroke"))
        loop.evaluate("root => root.id = 'tested'")
        assert serious_faults(loop.page, "#tested") == []
    assert colours == ["rgb(0, 114, 178)", "rgb(86, 180, 233)"]
