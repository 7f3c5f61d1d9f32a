"""The attention maps of chapter 12 in a real browser: the shares are those of Python, the recorded ones those of the
record; and what a head that is switched off changes is what it changes in Python."""

import base64
import json
import re

import pytest
import torch

from conftest import answered, number, serious_faults
from minigpt_core import attention_maps, load_pretrained
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.study.ablation import knocked_out
from minigpt_core.study.lens import inner_values
from minigpt_core.widgets.export import as_script, model_file
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
    """Layer, head and query position, and the shares that the sentence below the arcs tells."""
    said = attention.locator(".mg-status").text_content()
    layer, head, place = map(int, re.match(r"Layer (\d+), head (\d+): “.*?” \(position (\d+)\)", said, re.S).groups())
    shares = {int(s): float(p) for s, p in re.findall(r"\(position (\d+)\) (\d\.\d\d)", said)}
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
            attention.locator(".mg-tokens span").nth(place).click()
            at_layer, at_head, at_place, shares = chosen(attention)
            assert (at_layer, at_head, at_place) == (layer, head, place)
            row = maps[layer, head, place, : place + 1]
            first, *others = ((int(s), row[s].item()) for s in row.argsort(descending=True)[:3])
            told = dict([first, *((s, share) for s, share in others if share >= 0.005)])
            assert shares == pytest.approx(told, abs=0.0051)
            look = "arcs => arcs.map((arc) => ['width', 'opacity'].map((name) => +arc.getAttribute(`stroke-${name}`)))"
            arcs = attention.locator(".mg-strip path").evaluate_all(look)
            drawn = row[row >= 0.005]
            expected = torch.stack([0.5 + 7 * drawn, (drawn / row.max()).clamp(min=0.3)], 1)
            assert torch.allclose(torch.tensor(arcs), expected, atol=0.0051)
            assert attention.locator(".mg-strip text").text_content() == f"{row.max():.2f}"


def test_the_arrow_keys_go_from_token_to_token(attention):
    show(attention, SENTENCE, "tales-char")
    attention.locator(".mg-tokens span").nth(20).click()
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
        assert attention.locator(".mg-knob output").first.text_content() == str(record["steps"][place])
        attention.get_by_role("button", name="layer 1, head 2").click()
        attention.locator(".mg-tokens span").nth(5).click()
        shares = list(base64.b64decode(record["at"][place]))
        begin = (record["heads"] + 2) * T * (T + 1) // 2 + 15  # layer 1, head 2, row 5
        row = shares[begin : begin + 6]
        assert chosen(attention)[:3] == (1, 2, 5)
        assert all(row[s] == round(100 * p) for s, p in chosen(attention)[3].items())
    slider.focus()
    attention.page.keyboard.press("ArrowLeft")
    assert attention.locator(".mg-knob output").first.text_content() == str(record["steps"][-2])
    assert not attention.get_by_role("checkbox").is_visible() and attention.locator("table:visible").count() == 0


def rows(attention, title: str) -> dict[str, list[float]]:
    """The numbers in the rows of the table whose caption begins so."""
    table = attention.locator("table", has=attention.page.get_by_text(title)).first
    found = table.locator("tbody tr").all()
    return {
        row.locator("th").text_content(): [
            number(text) for text in row.locator("td:not(.mg-wide)").all_text_contents() if text
        ]
        for row in found
    }


@pytest.mark.parametrize("model, text, width", [("tales-char", SENTENCE, 1280), ("tales-zh", CHINESE, 360)])
def test_a_press_on_the_large_map_shows_how_the_share_of_that_pair_comes_about(attention, model, text, width):
    attention.page.set_viewport_size({"width": width, "height": 900})
    show(attention, text, model)
    attention.get_by_role("button", name="layer 2, head 1").click()
    gpt, tokenizer = load_pretrained(model)
    seen = inner_values(gpt, torch.tensor(tokenizer.encode(text)), layer=2)
    T, D = len(seen["stream"]), gpt.config.n_embd // gpt.config.n_head
    large = attention.locator(".mg-large canvas")
    large.scroll_into_view_if_needed()
    box = large.bounding_box()
    widest = attention.page.evaluate(
        """names => {
            const context = new OffscreenCanvas(1, 1).getContext("2d");
            context.font = "12px ui-monospace, monospace";
            return Math.max(...names.map((name) => context.measureText(name).width));
        }""",
        names(text, model),
    )
    cell = (box["width"] - 24 - widest) / T  # beside the axis, its names and its title
    corner = box["x"] + box["width"] - T * cell
    for query, key in ((10, 6), (T - 1, 3), (7, 7)):
        attention.page.mouse.click(corner + (key + 0.5) * cell, box["y"] + (query + 0.5) * cell)
        assert chosen(attention)[2] == query
        assert attention.get_by_label("key position").input_value() == str(key)
        product = seen["products"][1, query, key].item()
        pair = rows(attention, "Query times key")
        assert list(pair)[:3] == [f"query {names(text, model)[query]}", f"key {names(text, model)[key]}", "q · k"]
        found = [pair["q · k"][0], pair[f"÷ √{D}"][0], pair["share"][0]]
        expected = [product, product / D**0.5, seen["weights"][1, query, key].item()]
        assert found == pytest.approx(expected, abs=0.0052)
    attention.get_by_label("key position").fill("2")
    assert rows(attention, "Query times key")["q · k"] == pytest.approx([seen["products"][1, 7, 2].item()], abs=0.0052)
    attention.page.set_viewport_size({"width": 1280, "height": 720})


@pytest.mark.parametrize(
    "model, text, heads",
    [
        ("tales-char", SENTENCE, [(0, 1), (2, 3)]),
        ("tales-zh", CHINESE, [(3, 0)]),
        ("tales-bpe", "The sea, the sea", [(0, 0)]),
    ],
)
def test_a_head_that_is_switched_off_changes_what_it_changes_in_python(attention, model, text, heads):
    show(attention, text, model)
    gpt, tokenizer = load_pretrained(model)
    ids, place = torch.tensor([tokenizer.encode(text)]), 5
    attention.locator(".mg-tokens span").nth(place).click()

    def measured(off: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad(), knocked_out(gpt, off):
            log_p = gpt(ids)[0][0].log_softmax(-1)  # (T, V)
        return -log_p[:-1].gather(1, ids[0, 1:, None])[:, 0], log_p[place].exp()

    def switch(layer: int, head: int) -> None:
        attention.get_by_role("button", name=f"layer {layer}, head {head}").click()
        attention.get_by_label(f"switch off layer {layer}, head {head}").click()
        answered(attention)

    (before, p), off = measured([]), []
    legend = attention.get_by_text("Bars below the tokens")
    assert legend.text_content() == f"Bars below the tokens: their losses, the highest {before.max():.2f} nats."
    assert rows(attention, "Mean loss") == {"loss": [pytest.approx(before.mean().item(), abs=0.0052)]}
    for pair in heads:
        switch(*pair)
        off.append(pair)
        after, q = measured(off)
        both = [before.mean().item(), after.mean().item()]
        assert rows(attention, "Mean loss")["loss"] == pytest.approx(both, abs=0.0052)
        best = torch.maximum(p, q).topk(6).indices
        expected = {tokenizer.tokens[i]: pytest.approx([p[i].item(), q[i].item()], abs=0.0052) for i in best}
        assert rows(attention, "What comes after") == expected
        heights = "bars => bars.map((bar) => +bar.getAttribute('height'))"
        for losses, role in ((before, "mg-own"), (after, "mg-bar")):
            found = torch.tensor(attention.locator(f".mg-strip .{role}").evaluate_all(heights))
            assert torch.allclose(found, 40 * losses / max(before.max(), after.max()), atol=0.01)
        most = int((after - before).abs().argmax())
        highest = f"the highest {max(before.max(), after.max()):.2f} nats. Grey: all heads on; blue: some off."
        assert legend.text_content().endswith(highest)
        told = f"(position {most + 1}) changes most, from {before[most]:.2f} to {after[most]:.2f}"
        assert told in attention.get_by_text("changes most").text_content()
        assert attention.locator(".mg-heads .mg-off").count() == len(off)
    for pair in heads:
        switch(*pair)
    assert attention.locator(".mg-off").count() == attention.locator(".mg-strip .mg-bar").count() == 0


def test_it_begins_with_the_head_whose_query_gives_most_to_one_key(widget):
    attention = widget("notebooks/12_inside_the_model.html", "attention")
    status_becomes(attention, "attends")
    gpt, tokenizer = load_pretrained("tales-char")
    most = attention_maps(gpt, torch.tensor([tokenizer.encode(SENTENCE)]))[:, 0, :, -1].amax(-1)  # (n_layer, H)
    layer, head, place, shares = chosen(attention)
    assert (layer, head) == divmod(int(most.argmax()), gpt.config.n_head) and place == len(SENTENCE) - 1
    assert max(shares.values()) == pytest.approx(most.max().item(), abs=0.0051)


def test_the_colour_scale_is_that_of_the_maps(widget):
    """At the end of the scale and in its middle stands what the map paints for a share of 1 and of a quarter."""
    attention = widget("notebooks/12_inside_the_model.html", "attention")
    status_becomes(attention, "attends")
    ticks = attention.locator(".mg-scale div span").evaluate_all(
        "all => all.map((tick) => [tick.textContent, tick.style.left])"
    )
    assert ticks == [["0", "0%"], ["0.04", "20%"], ["0.25", "50%"], ["0.5", "70.7107%"], ["1", "100%"]]
    assert "rgb(0, 114, 178)" in attention.locator(".mg-scale i").evaluate("e => getComputedStyle(e).backgroundImage")
    first = attention.locator(".mg-heads canvas").first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, 1, 1).data]"
    )
    assert first == [0, 114, 178, 255]  # the first token attends to itself alone


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
    status_becomes(attention, "attends")
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
            assert "comes back" in attention.locator(".mg-field .mg-note").text_content()
            assert text.input_value() != offered and names(text.input_value(), model)
            names_become(attention, names(text.input_value(), model))
        status_becomes(attention, "attends")
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
    status_becomes(attention, "attends")


def colours(attention) -> list[list[int]]:
    """The colour of the last row's most opaque pixel in the first small map, and that of the frame in the large one."""
    return attention.evaluate(
        """root => {
            const most = (canvas, x, y, w, h) => {
                const often = { willReadFrequently: true };
                const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", often);
                copy.drawImage(canvas, 0, 0);
                const { data } = copy.getImageData(x, y, w, h);
                let best = 0;
                for (let i = 0; i < data.length; i += 4) if (data[i + 3] > data[best + 3]) best = i;
                return [...data.slice(best, best + 3)];
            };
            const small = root.querySelector(".mg-heads canvas"), large = root.querySelector(".mg-large > canvas");
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
            const engine = { load: () => new Promise(() => {}) };
            minigpt.widgets.attention(other, { models: { a: "a" }, text: "a\\nb" }, engine, () => {});
            const { value } = other.querySelector("input");
            other.remove();
            return value;
        }"""
    )
    assert kept == "a\u21b5b"


def test_heads_that_share_a_key_and_turn_with_their_position_show_how_their_shares_come_about(visit, site):
    tokenizer = load_pretrained("tales-char")[1]
    torch.manual_seed(0)
    parts = {"norm": "rms", "rope_base": 1e4, "n_kv_head": 2, "qk_norm": True, "feed_forward": "swiglu"}
    model = ComposedGPT(ComposedConfig(tokenizer.vocab_size, n_layer=2, n_head=4, n_embd=32, end_id=0, **parts)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
            if parameter.dim() == 2:  # as its file will hold it
                scale = parameter.abs().amax(1, keepdim=True) / 127
                parameter.copy_((parameter / scale).round() * scale)
    seen = visit("about:blank")
    script = as_script("tales-char", model_file(model, tokenizer))
    seen.page.route("**/data/tales-char.js", lambda route: route.fulfill(body=script))
    seen.page.goto(f"{site}/notebooks/12_inside_the_model.html")
    attention = seen.awake("attention")
    show(attention, SENTENCE, "tales-char")
    maps = attention_maps(model, torch.tensor([tokenizer.encode(SENTENCE)]))[:, 0]  # (n_layer, H, T, T)
    attention.locator(".mg-tokens span").nth(20).click()
    for layer, head in ((0, 0), (0, 1), (1, 2), (1, 3)):
        attention.get_by_role("button", name=f"layer {layer}, head {head}").click()
        scores = []
        for key in (3, 9, 20):
            attention.get_by_label("key position").fill(str(key))
            pair = rows(attention, "Query times key")
            scores.append(pair["÷ √8"][0])
            assert pair["share"][0] == pytest.approx(maps[layer, head, 20, key].item(), abs=0.0052)
            assert pair["q · k"][0] == pytest.approx(scores[-1] * 8**0.5, abs=0.02)
        share = maps[layer, head, 20, [3, 9, 20]].log()  # but for a constant, the scores
        assert [score - scores[0] for score in scores] == pytest.approx((share - share[0]).tolist(), abs=0.0105)
    assert seen.problems == []
    seen.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_has_no_serious_fault_of_access_and_fits_the_page(visit, site, width, scheme):
    viewport = {"width": width, "height": 900}
    seen = visit(f"{site}/notebooks/12_inside_the_model.html", color_scheme=scheme, viewport=viewport)
    attention = seen.awake("attention")
    status_becomes(attention, "attends")

    def in_view() -> bool:
        parts = (".mg-strip", ".mg-tokens [aria-selected=true]")
        strip, query = (attention.locator(part).bounding_box() for part in parts)
        return strip["x"] <= query["x"] and query["x"] + query["width"] <= strip["x"] + strip["width"]

    assert in_view() and attention.locator(".mg-strip").evaluate("strip => strip.scrollLeft") == 0
    attention.get_by_role("button", name="layer 0, head 0").click()
    attention.get_by_label("switch off layer 0, head 0").check()
    answered(attention)
    attention.locator(".mg-tokens span").last.evaluate("token => token.click()")  # from afar, as on the large map
    assert in_view()
    assert serious_faults(attention.page, "[data-minigpt=attention]") == []
    assert attention.page.evaluate("document.documentElement.scrollWidth") <= width
    seen.page.close()
