"""The sampler of chapter 10 in a real browser: its line, its darts, its strips, its bars and draws are those of Python."""

import re

import pytest
import torch

from conftest import answered, serious_faults
from minigpt_core import generate, load_pretrained
from minigpt_core.sampling import (
    Mulberry32,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize,
    scale_temperature,
    shape_logits,
)

NEUTRAL = {"temperature": 1, "top_p": 1, "min_p": 0, "frequency_penalty": 0, "presence_penalty": 0}
LABELS = {name: name.replace("top_", "top-").replace("min_", "min-").replace("_", " ") for name in (*NEUTRAL, "top_k")}


@pytest.fixture(scope="module", params=["http", "file"])
def sampler(widget, request):
    return widget("notebooks/10_sampling.html", "sampler", request.param)


def turn(sampler, prompt: str, model: str, seed: int = 1, **knobs: float) -> None:
    """Start anew with this prompt, model and seed, and every knob where it is wanted."""
    sampler.get_by_label("model", exact=True).select_option(model)
    answered(sampler)  # the model may have brought a prompt that it can read
    sampler.get_by_label("prompt", exact=True).fill(prompt)
    answered(sampler)
    for name, value in ({"top_k": 0} | NEUTRAL | knobs).items():
        sampler.get_by_label(LABELS[name], exact=True).fill(str(value))
    sampler.get_by_label("seed", exact=True).fill(str(seed))


def table(sampler) -> dict[str, list[str]]:
    """Of each row: what is said of its removal, the model's probability, that after the knobs, and how often it was drawn."""
    rows = sampler.locator("tbody tr").all()
    return {
        row.locator("th").text_content(): [
            "".join(row.locator("em").all_text_contents()),
            *row.locator("td").all_text_contents()[1:],
        ]
        for row in rows
    }


def shaped(model: str, ids: list[int], said: list[int], knobs: dict) -> tuple[torch.Tensor, torch.Tensor]:
    gpt, _ = load_pretrained(model)
    with torch.no_grad():
        logits = gpt(torch.tensor([ids + said]))[0][:, -1].double()  # (1, V)
    return logits[0], shape_logits(logits, torch.tensor([said], dtype=torch.long), **knobs)[0]


@pytest.mark.parametrize(
    "model, prompt, knobs, by",
    [
        ("tales-char", '"Where is the ', {"temperature": 1.3, "top_k": 5}, "top-k"),
        ("tales-zh", "“这是", {"top_p": 0.5}, "top-p"),
        ("tales-bpe", "The sea ", {"temperature": 0.7, "min_p": 0.2}, "min-p"),
    ],
)
def test_its_bars_and_a_thousand_draws_are_pythons(sampler, model, prompt, knobs, by):
    turn(sampler, prompt, model, seed=3, **knobs)
    sampler.get_by_role("button", name="Draw a thousand").click()
    tokenizer = load_pretrained(model)[1]
    logits, after = shaped(model, tokenizer.encode(prompt), [], knobs)
    numbers = Mulberry32(3)
    counts = torch.bincount(torch.tensor([draw(after, numbers.uniform()) for _ in range(1000)]), minlength=len(after))
    found = table(sampler)
    p, q = logits.softmax(0), after.softmax(0)
    names = [tokenizer.tokens[i] for i in p.topk(16).indices]
    assert list(found)[:16] == names and list(found)[16] == f"{len(p) - 16:,} others"
    for i in p.topk(16).indices.tolist():
        why, own, shaped_p, drawn = found[tokenizer.tokens[i]]
        assert (own, shaped_p, drawn) == (f"{p[i]:.3f}", f"{q[i]:.3f}", str(counts[i].item()))
        assert why == ("" if q[i] > 0 else f"removed by {by}")
    assert sum(q[i] == 0 for i in p.topk(16).indices) > 0, "nothing was removed: the case tests too little"
    assert int(found[list(found)[16]][3]) == 1000 - counts[p.topk(16).indices].sum()
    shown = p.topk(16).indices
    shares = [[*each[shown].tolist(), 1 - each[shown].sum().item()] for each in (p, q, counts / 1000)]
    most = next(end for end in (0.2, 0.5, 1) if max(map(max, shares)) <= end)
    ticks = sampler.locator(".mg-axis span").all_text_contents()
    assert [float(tick) for tick in ticks] == [0, most / 2, most]
    long = sampler.locator("tbody .mg-track").first.evaluate("track => track.clientWidth")
    for row, i in zip(sampler.locator("tbody tr").all()[:4], p.topk(4).indices, strict=True):
        for bar, share in ((".mg-own", p[i]), (".mg-bar", q[i])):  # one axis for all
            width = row.locator(bar).evaluate("bar => bar.getBoundingClientRect().width")
            assert width / long == pytest.approx(share.item() / most, abs=0.003)


def test_one_draw_after_the_other_writes_what_generate_writes(sampler):
    knobs = {"temperature": 0.8, "frequency_penalty": 0.4, "presence_penalty": 0.3}
    turn(sampler, "Wren ", "tales-char", seed=7, **knobs)
    gpt, tokenizer = load_pretrained("tales-char")
    written = list(generate(gpt, tokenizer.encode("Wren "), 8, seed=7, **knobs))
    for n in range(1, 9):
        sampler.get_by_role("button", name="Draw one").focus()
        sampler.page.keyboard.press("Enter")
        answered(sampler)
        assert sampler.locator(".mg-line").text_content() == "Wren " + tokenizer.decode(written[:n])
    # the last dart lies on the line that it was thrown at; the penalties count what was drawn before
    _, after = shaped("tales-char", tokenizer.encode("Wren "), written[:-1], knobs)
    for name, (_, _, q, _) in list(table(sampler).items())[:16]:
        assert q == f"{after.softmax(0)[tokenizer.tokens.index(name)]:.3f}"
    sampler.get_by_role("button", name="Start again").click()
    answered(sampler)
    assert sampler.locator(".mg-line").text_content() == "Wren "


def test_an_arrow_key_moves_the_bars_within_the_frame(sampler):
    turn(sampler, "Wren ", "tales-char")
    before = table(sampler)
    sampler.get_by_label("temperature", exact=True).focus()
    sampler.page.keyboard.press("ArrowRight")
    tokenizer = load_pretrained("tales-char")[1]
    _, after = shaped("tales-char", tokenizer.encode("Wren "), [], {"temperature": 1.05})
    name, (_, own, q, _) = next(iter(table(sampler).items()))
    assert own == before[name][1] and q == f"{after.softmax(0).max():.3f}" != before[name][2]


def test_bad_input_is_said_in_a_sentence_and_an_empty_prompt_begins_a_text(sampler):
    turn(sampler, "caf\u00e9", "tales-char")
    assert sampler.locator(".mg-status").text_content() == (
        "The model does not know the character “\u00e9”: take it out."
    )
    assert sampler.get_by_role("button", name="Draw one").is_disabled() and table(sampler) == {}
    turn(sampler, "", "tales-char")
    gpt, tokenizer = load_pretrained("tales-char")
    logits, _ = shaped("tales-char", [gpt.config.end_id], [], {})
    assert next(iter(table(sampler))) == tokenizer.tokens[logits.argmax()]
    turn(sampler, "The sea. " * 1100, "tales-char")
    assert len(table(sampler)) == 17


def test_the_prompt_follows_the_model_and_the_readers_own_comes_back(widget):
    sampler = widget("notebooks/10_sampling.html", "sampler")
    prompt = sampler.get_by_label("prompt", exact=True)
    offered = prompt.input_value()
    for model in ("tales-zh", "shakespeare-char", "tales-bpe", "tales-zh", "tales-char"):
        sampler.get_by_label("model", exact=True).select_option(model)
        answered(sampler)
        shown = prompt.input_value()
        assert sampler.locator(".mg-line").text_content() == shown
        own = model in ("tales-char", "tales-bpe")
        assert (shown == offered) is own and ("comes back" in sampler.locator(".mg-note").text_content()) is not own
        tokenizer = load_pretrained(model)[1]
        logits, _ = shaped(model, tokenizer.encode(shown), [], {})
        assert next(iter(table(sampler))) == tokenizer.tokens[logits.argmax()]
        assert sampler.get_by_role("button", name="Draw one").is_enabled()


def pieces(group) -> list[tuple[float, float]]:
    """The shares of the line between which the wider pieces of a drawn line go."""
    width = float(group.locator("rect").get_attribute("width"))
    found = re.findall(r"M([\d.]+) [\d.]+H([\d.]+)V", group.locator(".mg-thin").get_attribute("d"))
    return [(float(a) / width, float(b) / width) for a, b in found]


def laid(shares: torch.Tensor, width: float) -> list[tuple[float, float]]:
    """The same, as Python adds them up: those that are wider than three pixels, in the order of the vocabulary."""
    ends = shares.cumsum(0)
    wide = [i for i in range(len(shares)) if shares[i] * width > 3]
    return [((ends[i] - shares[i]).item(), ends[i].item()) for i in wide]


def same(found: list[tuple[float, float]], expected: list[tuple[float, float]]) -> None:
    assert len(found) == len(expected) > 0
    for edges, true in zip(found, expected, strict=True):
        assert edges == pytest.approx(true, abs=0.0001)


def line_width(sampler) -> float:
    return float(sampler.locator("svg").first.locator("rect").get_attribute("width"))


@pytest.mark.parametrize(
    "model, prompt", [("tales-char", '"Where is the '), ("tales-bpe", "The sea "), ("tales-zh", "“这是")]
)
@pytest.mark.parametrize("seed", [1, 4, 30, 77])
def test_a_dart_hits_the_piece_that_python_draws(sampler, model, prompt, seed):
    knobs = {"temperature": 1.1, "top_k": 30}
    turn(sampler, prompt, model, seed=seed, **knobs)
    sampler.get_by_role("button", name="Draw one").click()
    answered(sampler)
    gpt, tokenizer = load_pretrained(model)
    _, after = shaped(model, tokenizer.encode(prompt), [], knobs)
    u, q = Mulberry32(seed).uniform(), after.softmax(0)
    hit = draw(after, u)
    assert hit == next(generate(gpt, tokenizer.encode(prompt), 1, seed=seed, **knobs))
    line, width = sampler.locator("svg").first, line_width(sampler)
    same(pieces(line.locator("g").first), laid(q, width))
    end = q.cumsum(0)[hit].item()
    begin = end - q[hit].item()
    assert begin <= u < end
    where = f"u = {u:.3f} falls between {begin:.3f} and {end:.3f}: “{tokenizer.tokens[hit]}”."
    said = f"Draw 1 of seed {seed}: {where}"
    assert sampler.locator(".mg-status").text_content() == said
    assert line.get_attribute("aria-label").endswith(said)
    (left,) = re.findall(r"M([\d.]+) ", line.locator(".mg-hit").get_attribute("d"))
    assert float(left) / width == pytest.approx(begin, abs=0.0001)
    (x,) = re.findall(r"M([\d.]+) ", line.locator(".mg-head").get_attribute("d"))
    assert float(x) / width == pytest.approx(u, abs=0.0001)
    marked = sampler.locator("tbody tr.mg-drew th").text_content()
    assert marked in (tokenizer.tokens[hit], f"{len(q) - 16:,} others")


def test_the_strips_are_pythons_stages_in_their_order(sampler):
    knobs = {
        "temperature": 1.8, "top_k": 12, "top_p": 0.9, "min_p": 0.4, "frequency_penalty": 1.0, "presence_penalty": 0.5
    }  # fmt: skip
    turn(sampler, "Wren said ", "tales-char", seed=5, **knobs)
    for _ in range(4):
        sampler.get_by_role("button", name="Draw one").click()
        answered(sampler)
    gpt, tokenizer = load_pretrained("tales-char")
    start = tokenizer.encode("Wren said ")
    said = list(generate(gpt, start, 4, seed=5, **knobs))[:-1]
    z, after = shaped("tales-char", start, said, knobs)
    steps = {
        "penalties 1, 0.5": lambda z: penalize(z, torch.tensor([said]), 1.0, 0.5),
        "temperature 1.8": lambda z: scale_temperature(z, 1.8),
        "top-k 12": lambda z: keep_top_k(z, 12),
        "top-p 0.9": lambda z: keep_top_p(z, 0.9),
        "min-p 0.4": lambda z: keep_min_p(z, 0.4),
    }
    drawn, width = sampler.locator("svg").nth(1), line_width(sampler)
    titles, strips = drawn.locator("> text").all_text_contents(), drawn.locator("g").all()
    assert titles[0] == f"model: {len(z)} tokens, largest share {z.softmax(0).max():.2f}"
    same(pieces(strips[0]), laid(z.softmax(0), width))
    cuts = 0
    for (name, step), title, strip in zip(steps.items(), titles[1:], strips[1:], strict=True):
        came, z = z, step(z[None])[0]
        p, stays = came.softmax(0), z.isfinite()
        if stays.sum() < came.isfinite().sum():
            cuts += 1
            stay = "stays" if stays.sum() == 1 else "stay"
            does = f"{stays.sum()} of {came.isfinite().sum()} tokens {stay}, together {p[stays].sum():.2f}"
            same(pieces(strip), laid(p, width))  # what is removed leaves its place empty
            shapes = re.findall(r"M([\d.]+) [\d.]+H([\d.]+)V", strip.locator(".mg-stays").get_attribute("d"))
            coloured = sum(float(b) - float(a) for a, b in shapes) / width
            assert coloured == pytest.approx(p[stays].sum().item(), abs=0.0005)
        else:
            does = f"largest share {z.softmax(0).max():.2f}, was {p.max():.2f}"
            same(pieces(strip), laid(z.softmax(0), width))
        assert title == f"{name}: {does}"
    assert cuts == 3, "the case tests too little"
    assert torch.equal(z, after), "the package applies them in another order"
    assert all(f"{title}." in drawn.get_attribute("aria-label") for title in titles)
    turn(sampler, "Wren said ", "tales-char")
    assert drawn.locator("> text").all_text_contents()[1:] == [
        f"{name}: no change" for name in ("penalties 0, 0", "temperature 1", "top-k all", "top-p 1", "min-p 0")
    ]


def test_the_dart_stays_and_a_knob_moves_the_pieces_under_it(sampler):
    turn(sampler, '"Where is the ', "tales-char", seed=2)
    sampler.get_by_role("button", name="Draw one").click()
    answered(sampler)
    gpt, tokenizer = load_pretrained("tales-char")
    start, hits = tokenizer.encode('"Where is the '), set()
    for temperature in (1, 0.5, 0, 2, 1.5):
        sampler.get_by_label("temperature", exact=True).fill(str(temperature))
        answered(sampler)
        (hit,) = generate(gpt, start, 1, seed=2, temperature=temperature)
        hits.add(hit)
        assert sampler.locator(".mg-line").text_content() == '"Where is the ' + tokenizer.decode([hit])
        assert sampler.locator("mark").text_content() == tokenizer.decode([hit])
        assert f"u = {Mulberry32(2).uniform():.3f}" in sampler.locator(".mg-status").text_content()
    assert len(hits) > 1, "the case tests too little"
    sampler.get_by_label("seed", exact=True).fill("9")
    answered(sampler)
    written = list(generate(gpt, start, 2, seed=9, temperature=1.5))
    assert sampler.locator("mark").text_content() == tokenizer.decode(written[:1])
    sampler.get_by_role("button", name="Draw one").click()
    answered(sampler)
    assert sampler.locator(".mg-line").text_content() == '"Where is the ' + tokenizer.decode(written)


def test_a_thousand_darts_leave_a_thousand_ticks(sampler):
    turn(sampler, "Wren ", "tales-char", seed=3)
    sampler.get_by_role("button", name="Draw a thousand").click()
    numbers, width = Mulberry32(3), line_width(sampler)
    found = re.findall(r"M([\d.]+) ", sampler.locator(".mg-ticks").get_attribute("d"))
    expected = [numbers.uniform() * width for _ in range(1000)]
    assert [float(x) for x in found] == pytest.approx(expected, abs=0.051)
    sampler.get_by_label("temperature", exact=True).fill("1.3")
    assert sampler.locator(".mg-ticks").count() == 0


def test_the_end_of_a_text_can_be_drawn_and_a_knob_takes_it_back(sampler):
    gpt, tokenizer = load_pretrained("tales-char")
    prompt = "and Wren went home."
    turn(sampler, prompt, "tales-char", frequency_penalty=2)
    start = tokenizer.encode(prompt)
    written = list(generate(gpt, start, 200, temperature=0, frequency_penalty=2))
    assert written[-1] == gpt.config.end_id and len(written) < 200
    sampler.get_by_label("temperature", exact=True).fill("0")
    one = sampler.get_by_role("button", name="Draw one")
    for _ in written:
        one.click()
        answered(sampler)
    assert one.is_disabled() and "The text has ended." in sampler.locator(".mg-status").text_content()
    assert sampler.locator(".mg-line").text_content() == prompt + tokenizer.decode(written[:-1])
    sampler.get_by_label("frequency penalty", exact=True).fill("0")
    answered(sampler)
    assert one.is_enabled() and "ended" not in sampler.locator(".mg-status").text_content()


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_overlaps_or_is_cut_off_and_axe_finds_nothing_serious(widget, width):
    sampler = widget("notebooks/10_sampling.html", "sampler", viewport={"width": width, "height": 900})
    turn(sampler, "The sea ", "tales-bpe", top_p=0.5)
    sampler.get_by_role("button", name="Draw one").click()
    sampler.get_by_role("button", name="Draw a thousand").click()
    answered(sampler)
    inside = sampler.bounding_box()
    for row in sampler.locator("tbody tr").all():
        boxes = [part.bounding_box() for part in row.locator("th, td:not(.mg-track), em").all()]
        for i, a in enumerate(boxes):
            assert a["x"] >= inside["x"] - 1 and a["x"] + a["width"] <= inside["x"] + inside["width"] + 1
            for b in boxes[:i]:
                apart = (
                    a["x"] >= b["x"] + b["width"] - 1
                    or b["x"] >= a["x"] + a["width"] - 1
                    or a["y"] >= b["y"] + b["height"] - 1
                    or b["y"] >= a["y"] + a["height"] - 1
                )
                assert apart, row.text_content()
    sampler.evaluate("root => root.id = 'tested'")
    assert serious_faults(sampler.page, "#tested") == []


def test_a_sentence_goes_with_the_draws_that_it_tells_of(sampler):
    turn(sampler, "Wren ", "tales-char")
    status = sampler.locator(".mg-status")
    sampler.get_by_role("button", name="Draw a thousand").click()
    assert "1000 draws" in status.text_content() and next(iter(table(sampler).values()))[3] != ""
    sampler.get_by_label("temperature", exact=True).fill("1.3")
    assert status.text_content() == "" and next(iter(table(sampler).values()))[3] == ""


def test_nothing_is_drawn_from_a_model_that_is_no_longer_chosen(sampler):
    turn(sampler, "The sea ", "tales-bpe")
    sampler.evaluate(
        """root => {
            const model = root.querySelector("select"), [one] = root.querySelectorAll(".mg-buttons button");
            one.click();
            one.click();  // the first is not answered yet
            model.value = "tales-char";
            model.dispatchEvent(new Event("change"));
            one.click();
        }"""
    )
    answered(sampler)
    assert sampler.locator(".mg-line").text_content() == "The sea "
    ids = load_pretrained("tales-char")[1].encode("The sea ")
    logits, _ = shaped("tales-char", ids, [], {})
    assert next(iter(table(sampler).values()))[1] == f"{logits.softmax(0).max():.3f}"


def test_a_second_press_before_the_answer_draws_nothing(sampler):
    turn(sampler, "The sea ", "tales-bpe", seed=4)
    sampler.evaluate("root => { const [one] = root.querySelectorAll('.mg-buttons button'); one.click(); one.click(); }")
    gpt, tokenizer = load_pretrained("tales-bpe")
    start = tokenizer.encode("The sea ")
    written = list(generate(gpt, start, 2, seed=4))
    answered(sampler)
    assert sampler.locator(".mg-line").text_content() == tokenizer.decode(start + written[:1])
    sampler.get_by_role("button", name="Draw one").click()
    answered(sampler)
    assert sampler.locator(".mg-line").text_content() == tokenizer.decode(start + written)
