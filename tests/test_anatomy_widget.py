"""The anatomy of chapters 06 and 07 in a real browser, over http and from a folder: the numbers of each step are those
of Python's hooks."""

import math
import re

import pytest
import torch

from conftest import answered, number, serious_faults
from minigpt_core import load_pretrained
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.study.lens import inner_values
from minigpt_core.widgets.anatomy import STEPS
from minigpt_core.widgets.export import as_script, model_file

TEXT = "the ship, the sea"


@pytest.fixture(scope="module", params=["http", "file"])
def anatomy(widget, request):
    return widget("notebooks/06_attention.html", "anatomy", request.param)


def show(anatomy, text: str, model: str = "tales-char", layer: int = 0, head: int = 0) -> None:
    anatomy.get_by_label("model").select_option(model)
    answered(anatomy)
    anatomy.get_by_label("text", exact=True).fill(text)
    for name, value in (("layer", layer), ("head", head)):
        anatomy.get_by_label(name, exact=True).fill(str(value))
    answered(anatomy)


def step(anatomy, place: int) -> list[list[str]]:
    """The rows of that step's table, counted from 1."""
    anatomy.locator(".mg-steps [role=option]").nth(place - 1).click()
    rows = anatomy.locator(".mg-stage tbody tr").all()
    return [row.locator("th, td").all_text_contents() for row in rows]


def said(anatomy) -> str:
    return anatomy.locator(".mg-status").text_content()


def close(found: list[str], expected: torch.Tensor) -> bool:
    return [number(each) for each in found] == pytest.approx(expected.tolist(), abs=0.0052)


def heights(anatomy) -> list[torch.Tensor]:
    """The bars of each vector that is shown, as parts of half the height."""
    paths = anatomy.locator(".mg-stage .mg-vector path").evaluate_all(
        "all => all.map((path) => path.getAttribute('d'))"
    )
    return [torch.tensor([-float(bar) for bar in re.findall(r"1v(-?[\d.]+)", path)]) for path in paths]


@pytest.mark.parametrize(
    "model, text, layer, head, place",
    [
        ("tales-char", TEXT, 0, 0, 16),
        ("tales-char", TEXT, 3, 2, 7),
        ("tales-bpe", "The ship was on the sea.", 2, 1, 3),
        ("tales-zh", "这是谁的椅子？", 3, 3, 4),
        ("shakespeare-char", "O Romeo", 1, 0, 0),
    ],
)
def test_the_numbers_of_each_step_are_those_of_the_hooks(anatomy, model, text, layer, head, place):
    gpt, tokenizer = load_pretrained(model)
    ids = tokenizer.encode(text)
    T, D = len(ids), gpt.config.n_embd // gpt.config.n_head
    seen = inner_values(gpt, torch.tensor(ids), layer)
    own = slice(head * D, (head + 1) * D)
    rows = slice(max(0, place - 11), min(T, place + 4))
    show(anatomy, text, model, layer, head)
    tokens = anatomy.locator(".mg-tokens span")
    assert tokens.all_text_contents() == [tokenizer.tokens[i] for i in ids]
    tokens.nth(place).click()
    differences = []  # between a bar and what it ought to be, in half heights

    def two(at: int, *vectors: torch.Tensor) -> None:
        """The first two numbers of each vector of that step, from above."""
        found = [row[2].removesuffix(" …").split() for row in step(anatomy, at)]
        assert len(found) == len(vectors)
        assert all(close(numbers, vector[:2]) for numbers, vector in zip(found, vectors, strict=True))
        largest = [vector.abs().max() for vector in vectors]
        together = "own scale" not in anatomy.locator(".mg-stage caption").text_content()
        drawn(*(vector / (max(largest) if together else own) for vector, own in zip(vectors, largest, strict=True)))

    def drawn(*vectors: torch.Tensor) -> None:
        """Bars for all numbers of all vectors of the step, and none besides."""
        for bars, vector in zip(heights(anatomy), vectors, strict=True):
            differences.append((bars - vector).abs().max().item())
            assert len(bars) == len(vector)

    token, position = seen["token_embedding"][place], seen["position_embedding"][place]
    two(1, token, position, token + position)
    two(2, seen["entering"][place], seen["norm1"][place])
    two(3, seen["norm1"][place], seen["query"][place, own])
    assert [row[0] for row in step(anatomy, 4)] == ["query", *(tokenizer.tokens[i] for i in ids[rows])]
    query, keys = seen["query"][place, own], seen["key"][rows, own]
    drawn(*(torch.stack([query, *keys]) / max(query.abs().max(), keys.abs().max())))
    products = seen["products"][head, place]
    assert close([row[2] for row in step(anatomy, 5)[1:]], products[rows])
    assert close([row[3] for row in step(anatomy, 6)[1:]], products[rows] / math.sqrt(D))
    masked = (products / math.sqrt(D)).masked_fill(torch.arange(T) > place, -math.inf)
    assert close([row[3] for row in step(anatomy, 7)[1:]], masked[rows])
    shares = seen["weights"][head, place]
    assert close([row[3] for row in step(anatomy, 8)[1:]], shares[rows])
    best = int(shares.argmax())
    assert f"attends most to “{tokenizer.tokens[ids[best]]}” (position {best}): share {shares[best]:.2f}" in said(
        anatomy
    )
    *values, mixed = step(anatomy, 9)
    assert close([row[2] for row in values], shares[rows]) and mixed[0] == "mixed"
    mix = torch.stack([*seen["value"][rows, own], seen["joined"][place, own]])
    drawn(*(mix / mix.abs().max()))
    assert number(said(anatomy).split(" = ")[1].rstrip(".")) == pytest.approx(
        seen["joined"][place, own][0].item(), abs=0.0052
    )
    two(10, *seen["joined"][place].view(-1, D), seen["joined"][place])
    two(11, *(seen[name][place] for name in ("entering", "attention", "between")))
    wide = seen["widen"][place]
    two(12, seen["norm2"][place], wide, wide.relu(), seen["feed_forward"][place])
    assert f"Of {len(wide)} numbers {int((wide > 0).sum())} are positive" in said(anatomy)
    two(13, *(seen[name][place] for name in ("between", "feed_forward", "leaving")))
    logits = seen["logits"][place]
    likeliest = logits.topk(8)
    names = [tokenizer.tokens[i] for i in likeliest.indices]
    found = step(anatomy, 14)
    assert [row[0] for row in found] == names and close([row[2] for row in found], likeliest.values)
    found = step(anatomy, 15)
    assert [row[0] for row in found] == names
    assert close([row[2] for row in found], 100 * logits.softmax(0)[likeliest.indices])
    if place + 1 < T:
        assert f"The text goes on with “{tokenizer.tokens[ids[place + 1]]}”" in said(anatomy)
    print(f"{model}, layer {layer}, head {head}: the largest difference of a bar is {max(differences):.1e}")
    assert max(differences) < 1e-3


def lit(anatomy) -> int:
    """The step that is chosen, whose line of code is shown and whose part of the formula is marked, counted from 1."""
    chosen = anatomy.locator(".mg-steps [aria-selected=true]")
    assert chosen.count() == 1 and anatomy.locator(".mg-steps [tabindex='0']").count() == 1
    place, of, name = re.match(r"(\d+) of (\d+): (.*)", anatomy.locator(".mg-step").text_content()).groups()
    code = anatomy.locator(".mg-code").text_content()
    assert chosen.get_attribute("aria-label") == f"{place}, {name}: {code}" and int(of) == STEPS
    assert anatomy.locator(".mg-whole mark").text_content() in anatomy.locator(".mg-whole").text_content()
    return int(place)


def test_each_step_has_a_line_of_code_of_its_own_and_marks_a_part_of_the_formula(anatomy):
    show(anatomy, TEXT)
    found = []
    for place in range(1, STEPS + 1):
        step(anatomy, place)
        assert lit(anatomy) == place
        code, whole, part = (
            anatomy.locator(kind).text_content() for kind in (".mg-code", ".mg-whole", ".mg-whole mark")
        )
        found.append((code, (whole, part)))
    assert len({code for code, _ in found}) == len({formula for _, formula in found}) == STEPS


def test_the_arrow_keys_go_forward_and_back(anatomy):
    show(anatomy, TEXT)
    step(anatomy, 1)
    press = anatomy.page.keyboard.press
    for key, place in (
        ("ArrowRight", 2),
        ("ArrowDown", 3),
        ("ArrowLeft", 2),
        ("ArrowUp", 1),
        ("ArrowUp", 1),
        ("End", STEPS),
        ("ArrowDown", STEPS),
        ("Home", 1),
    ):
        press(key)
        assert lit(anatomy) == place, key
    anatomy.get_by_role("button", name="forward").click()
    press("ArrowRight")
    assert lit(anatomy) == 3
    anatomy.get_by_role("button", name="back").click()
    assert lit(anatomy) == 2
    anatomy.locator(".mg-tokens span").last.click()
    anatomy.locator(".mg-tokens span").last.focus()
    press("ArrowLeft")
    assert lit(anatomy) == 2 and anatomy.locator(".mg-tokens [aria-selected=true]").text_content() == "e"


def test_bad_input_is_said_in_a_sentence_and_the_last_position_follows_the_text(anatomy):
    show(anatomy, "caf\u00e9")
    assert "does not know the character “é”" in said(anatomy) and anatomy.locator(".mg-stage table").count() == 0
    show(anatomy, "")
    assert said(anatomy) == "Type a text: what the model computes with it appears here."
    show(anatomy, "the")
    assert "“e” (position 2)" in (step(anatomy, 15) and anatomy.locator(".mg-stage caption").text_content())
    show(anatomy, "the sh")
    assert "“h” (position 5)" in anatomy.locator(".mg-stage caption").text_content()
    show(anatomy, "The sea. " * 30)
    assert anatomy.locator(".mg-tokens span").count() == load_pretrained("tales-char")[0].config.block_size


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_has_no_serious_fault_of_access_and_fits_the_page(visit, site, width, scheme):
    seen = visit(f"{site}/notebooks/06_attention.html", color_scheme=scheme)
    anatomy = seen.awake("anatomy")
    anatomy.page.set_viewport_size({"width": width, "height": 900})
    show(anatomy, TEXT, layer=1, head=1)
    for at in (1, 8, 9, 14):
        step(anatomy, at)
        assert serious_faults(anatomy.page, "[data-minigpt=anatomy]") == [], at
        assert anatomy.page.evaluate("document.documentElement.scrollWidth") <= width, at
    seen.page.close()


def test_a_model_of_other_parts_is_refused_in_a_sentence_and_the_next_one_is_taken_apart(visit, site):
    tokenizer = load_pretrained("tales-char")[1]
    script = as_script("tales-char", model_file(FastGPT(FastConfig(tokenizer.vocab_size, n_embd=8)), tokenizer))
    seen = visit("about:blank")
    seen.page.route("**/data/tales-char.js", lambda route: route.fulfill(body=script))
    seen.page.goto(f"{site}/notebooks/06_attention.html")
    anatomy = seen.awake("anatomy")
    answered(anatomy)
    assert said(anatomy) == "Only the plain GPT is taken apart here: choose another model."
    show(anatomy, "The sea", "tales-bpe")
    assert anatomy.locator(".mg-stage table").count() == 1 and seen.problems == []
    seen.page.close()


@pytest.mark.parametrize("chapter, first, layer, head", [("06_attention", 1, 0, 2), ("07_transformer", 10, 3, 0)])
def test_it_opens_where_the_chapter_says(widget, chapter, first, layer, head):
    anatomy = widget(f"notebooks/{chapter}.html", "anatomy")
    answered(anatomy)
    assert lit(anatomy) == first and anatomy.locator(".mg-stage table").count() == 1
    found = [anatomy.get_by_label(name, exact=True).input_value() for name in ("text", "layer", "head")]
    assert found == [TEXT, str(layer), str(head)]
