"""The attention maps of chapter 12 in a real browser: the shares are those of Python, the recorded ones those of the record."""

import base64
import json
import re

import pytest
import torch

from conftest import answered
from minigpt_core import attention_maps, load_pretrained
from minigpt_core.widgets.records import record_file

SENTENCE = '"Where is the Spoon?" asked Wren.'
CHINESE = "“这是谁的椅子？”露丝船长问。"


@pytest.fixture(scope="module", params=["http", "file"])
def attention(widget, request):
    return widget("notebooks/12_inside_the_model.html", "attention", request.param)


def show(attention, text: str, model: str) -> None:
    attention.get_by_label("maps of").select_option(model)
    answered(attention)
    if attention.get_by_label("text", exact=True).is_editable():
        attention.get_by_label("text", exact=True).fill(text)
    names_become(attention, names(text, model))


def names(text: str, model: str) -> list[str]:
    """The tokens that belong on the page: those of the record, or of the text, if the model can read it."""
    if model.startswith("film"):
        return json.loads(record_file(model))["names"]
    gpt, tokenizer = load_pretrained(model)
    try:
        return [tokenizer.tokens[i] for i in tokenizer.encode(text)[-gpt.config.block_size :]]
    except ValueError:
        return []


def names_become(attention, names: list[str]) -> None:
    attention.page.wait_for_function(
        "names => JSON.stringify([...document.querySelectorAll('[data-minigpt=attention] .mg-tokens span')]"
        ".map(e => e.textContent)) === JSON.stringify(names)",
        arg=names,
    )


def chosen(attention) -> tuple[int, int, int, dict[int, float]]:
    """Layer, head and place, and the shares that the sentence below the maps tells."""
    said = attention.locator(".mg-status").text_content()
    layer, head, place = map(int, re.match(r"Layer (\d+), head (\d+): “.*?” \(place (\d+)\)", said, re.S).groups())
    shares = {int(s): float(p) for s, p in re.findall(r"\(place (\d+)\) (\d\.\d\d)", said)}
    return layer, head, place, shares


@pytest.mark.parametrize(
    "model, text", [("tales-char", SENTENCE), ("tales-zh", CHINESE), ("tales-bpe", "The sea, the sea")]
)
def test_the_maps_are_the_models(attention, model, text):
    show(attention, text, model)
    gpt, tokenizer = load_pretrained(model)
    ids = tokenizer.encode(text)
    maps = attention_maps(gpt, torch.tensor([ids]))[:, 0]  # (n_layer, H, T, T)
    assert attention.locator(".mg-tokens span").all_text_contents() == [tokenizer.tokens[i] for i in ids]
    assert attention.locator(".mg-heads button").count() == maps.shape[0] * maps.shape[1]
    for layer, head in ((0, 0), (1, 2), (maps.shape[0] - 1, 1)):
        attention.get_by_role("button", name=f"layer {layer}, head {head}").click()
        for place in (len(ids) - 1, 3):
            attention.locator(".mg-tokens span").nth(place).hover()
            at_layer, at_head, at_place, shares = chosen(attention)
            assert (at_layer, at_head, at_place) == (layer, head, place)
            row = maps[layer, head, place, : place + 1]
            assert len(shares) == min(3, place + 1)
            for s, p in shares.items():
                assert row[s].item() == pytest.approx(p, abs=0.0051)
            assert min(shares.values()) >= sorted(row.tolist())[-len(shares)] - 0.0051  # the largest ones
            light = attention.locator(".mg-tokens span").first.evaluate("e => e.style.getPropertyValue('--mg-share')")
            assert float(light) == pytest.approx(row[0].sqrt().item(), abs=0.001)


def test_the_arrow_keys_go_from_token_to_token(attention):
    show(attention, SENTENCE, "tales-char")
    attention.locator(".mg-tokens span").nth(20).hover()
    attention.locator(".mg-tokens span").nth(20).focus()
    attention.page.keyboard.press("ArrowLeft")
    attention.page.keyboard.press("ArrowLeft")
    assert chosen(attention)[2] == 18
    attention.page.keyboard.press("End")
    assert chosen(attention)[2] == len(SENTENCE) - 1
    assert attention.locator(".mg-tokens [tabindex='0']").count() == 1


@pytest.mark.parametrize("film", ["film", "film-zh"])
def test_the_slider_goes_through_the_recorded_run(attention, film):
    record = json.loads(record_file(film))
    show(attention, "", film)
    assert attention.get_by_label("text", exact=True).input_value() == record["text"]
    slider = attention.get_by_label("training step")
    T = len(record["names"])
    for place in (0, 7, len(record["steps"]) - 1):
        slider.fill(str(place))
        assert attention.locator(".mg-knob output").text_content() == str(record["steps"][place])
        attention.get_by_role("button", name="layer 1, head 2").click()
        attention.locator(".mg-tokens span").nth(5).hover()
        shares = list(base64.b64decode(record["at"][place]))
        begin = (record["heads"] + 2) * T * (T + 1) // 2 + 15  # layer 1, head 2, row 5
        row = shares[begin : begin + 6]
        assert chosen(attention)[:3] == (1, 2, 5)
        assert all(row[s] == round(100 * p) for s, p in chosen(attention)[3].items())
    slider.focus()
    attention.page.keyboard.press("ArrowLeft")
    assert attention.locator(".mg-knob output").text_content() == str(record["steps"][-2])


def test_pointing_at_a_row_of_the_large_map_chooses_its_token(attention):
    show(attention, SENTENCE, "tales-char")
    box = attention.locator(".mg-maps > canvas").bounding_box()
    margin = min(60, box["width"] / 8)
    cell = (box["width"] - margin) / len(SENTENCE)
    attention.page.mouse.move(box["x"] + margin + 5, box["y"] + 10.5 * cell)
    assert chosen(attention)[2] == 10


def test_bad_input_is_said_in_a_sentence(attention):
    show(attention, "", "tales-char")
    status_becomes(attention, "Type a text: its maps appear here.")
    show(attention, "caf\u00e9", "tales-char")
    status_becomes(attention, "does not know the character")
    show(attention, "The sea. " * 1100, "tales-char")
    assert attention.locator(".mg-tokens span").count() == load_pretrained("tales-char")[0].config.block_size


def status_becomes(attention, words: str) -> None:
    attention.page.wait_for_function(
        "words => document.querySelector('[data-minigpt=attention] .mg-status').textContent.includes(words)", arg=words
    )


def test_the_text_follows_the_model_and_the_readers_own_comes_back(widget):
    attention = widget("notebooks/12_inside_the_model.html", "attention")
    text, source = attention.get_by_label("text", exact=True), attention.get_by_label("maps of")
    status_becomes(attention, "looks at")
    offered = text.input_value()
    # to a model from another one, and from a recorded run in another language
    for model in ("tales-zh", "tales-bpe", "film-zh", "tales-char", "film", "tales-zh", "film-zh", "shakespeare-char"):
        source.select_option(model)
        answered(attention)
        if model in ("tales-char", "tales-bpe"):
            names_become(attention, names(offered, model))
            assert text.input_value() == offered
        elif model.startswith("film"):
            names_become(attention, names("", model))
        else:
            assert "comes back" in attention.locator(".mg-note").text_content()
            assert text.input_value() != offered and names(text.input_value(), model)
            names_become(attention, names(text.input_value(), model))
        status_becomes(attention, "looks at")
        assert text.is_editable() != model.startswith("film")
    text.fill("The sea")
    source.select_option("film-zh")
    names_become(attention, names("", "film-zh"))
    source.select_option("tales-char")
    names_become(attention, names("The sea", "tales-char"))
    assert text.input_value() == "The sea"


def test_a_reason_stays_until_what_it_tells_of_has_changed(attention):
    show(attention, SENTENCE + "9", "tales-char")
    reason = "The model does not know the character “9”: take it out."
    status_becomes(attention, reason)
    size = attention.page.viewport_size
    attention.page.set_viewport_size({"width": size["width"] - 100, "height": size["height"]})
    answered(attention)
    assert attention.locator(".mg-status").text_content() == reason
    attention.page.set_viewport_size(size)
    show(attention, SENTENCE, "tales-char")
    status_becomes(attention, "looks at")


def colours(attention) -> list[list[int]]:
    """The colour of the last row's most opaque pixel in the first small map, and that of the frame in the large one."""
    return attention.evaluate(
        """root => {
            const most = (canvas, x, y, w, h) => {
                const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
                copy.drawImage(canvas, 0, 0);
                const { data } = copy.getImageData(x, y, w, h);
                let best = 0;
                for (let i = 0; i < data.length; i += 4) if (data[i + 3] > data[best + 3]) best = i;
                return [...data.slice(best, best + 3)];
            };
            const small = root.querySelector(".mg-heads canvas"), large = root.querySelector(".mg-maps > canvas");
            return [most(small, 0, 0, small.width, 1), most(large, 0, 0, large.width / 8 - 8, large.height)];
        }"""
    )


def test_the_maps_take_the_colours_of_a_theme_that_changes(widget):
    attention = widget("notebooks/12_inside_the_model.html", "attention", color_scheme="light")
    show(attention, SENTENCE, "tales-char")

    def theme(name: str) -> list[list[int]]:
        attention.page.evaluate("name => { document.documentElement.dataset.theme = name; }", name)
        attention.page.wait_for_timeout(100)
        return colours(attention)

    light, dark = theme("light"), theme("dark")
    assert light[0] == [0x00, 0x72, 0xB2] and dark[0] == [0x56, 0xB4, 0xE9]  # of the maps
    assert max(light[1]) < 110 and min(dark[1]) > 145  # of the letters at their side
    assert theme("light") == light


def test_a_line_break_is_kept_in_a_field_of_one_line(attention):
    for typed in ("a\u21b5b", "a\\nb"):
        show(attention, "ab", "tales-char")
        attention.get_by_label("text", exact=True).fill(typed)
        names_become(attention, ["a", "\u21b5", "b"])
    kept = attention.evaluate(
        """async (root) => {
            const other = document.body.appendChild(document.createElement("div"));
            minigpt.widgets.attention(other, { models: { a: "a" }, text: "a\\nb" }, { load: () => new Promise(() => {}) }, () => {});
            const { value } = other.querySelector("input");
            other.remove();
            return value;
        }"""
    )
    assert kept == "a\u21b5b"
