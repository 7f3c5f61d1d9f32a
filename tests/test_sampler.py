"""The sampler of chapter 10 in a real browser: its bars and draws are those of Python."""

import pytest
import torch

from conftest import answered
from minigpt_core import generate, load_pretrained
from minigpt_core.sampling import Mulberry32, draw, shape_logits

NEUTRAL = {"temperature": 1, "top_p": 1, "min_p": 0, "frequency_penalty": 0, "presence_penalty": 0}
LABELS = {name: name.replace("top_", "top-").replace("min_", "min-").replace("_", " ") for name in (*NEUTRAL, "top_k")}


@pytest.fixture(scope="module", params=["http", "file"])
def sampler(widget, request):
    return widget("notebooks/10_sampling.html", "sampler", request.param)


def turn(sampler, prompt: str, model: str, seed: int = 1, **knobs: float) -> None:
    """Start anew with this prompt, model and seed, and every knob where it is wanted."""
    sampler.get_by_label("model").select_option(model)
    answered(sampler)  # the model may have brought a prompt that it can read
    sampler.get_by_label("prompt").fill(prompt)
    answered(sampler)
    for name, value in ({"top_k": 0} | NEUTRAL | knobs).items():
        sampler.get_by_label(LABELS[name], exact=True).fill(str(value))
    sampler.get_by_label("seed").fill(str(seed))


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
    wide = sampler.locator("tbody tr").first.locator(".mg-own").bounding_box()["width"]
    narrow = sampler.locator("tbody tr").nth(3).locator(".mg-own").bounding_box()["width"]
    assert narrow / wide == pytest.approx((p.topk(4).values[3] / p.max()).item(), abs=0.01)


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
    _, after = shaped("tales-char", tokenizer.encode("Wren "), written, knobs)
    for name, (_, _, q, _) in list(table(sampler).items())[:16]:
        assert q == f"{after.softmax(0)[tokenizer.tokens.index(name)]:.3f}"  # the penalties count what was drawn
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
    prompt = sampler.get_by_label("prompt")
    offered = prompt.input_value()
    for model in ("tales-zh", "shakespeare-char", "tales-bpe", "tales-zh", "tales-char"):
        sampler.get_by_label("model").select_option(model)
        answered(sampler)
        shown = prompt.input_value()
        assert sampler.locator(".mg-line").text_content() == shown
        own = model in ("tales-char", "tales-bpe")
        assert (shown == offered) is own and ("comes back" in sampler.locator(".mg-note").text_content()) is not own
        tokenizer = load_pretrained(model)[1]
        logits, _ = shaped(model, tokenizer.encode(shown), [], {})
        assert next(iter(table(sampler))) == tokenizer.tokens[logits.argmax()]
        assert sampler.get_by_role("button", name="Draw one").is_enabled()


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
