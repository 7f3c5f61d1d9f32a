"""Sampling: each function against another implementation, generation against a naive one, and text as it streams."""

import json
import math
import re
import shutil
import subprocess
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import nn

from minigpt_core import GPT, BPETokenizer, CharTokenizer, GPTConfig, generate, load_corpus, stream
from minigpt_core.decoding import choose
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

examples = settings(max_examples=200, deadline=None, derandomize=True, database=None)
inf, nan = math.inf, math.nan
NOTHING = torch.zeros(1, 0, dtype=torch.long)  # nothing generated yet


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads only slow models of this size, most of all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def kept(logits: torch.Tensor) -> list[int]:
    assert logits.shape[0] == 1
    return [i for i, x in enumerate(logits[0].tolist()) if x != -inf]


rows = st.lists(st.floats(-30, 30), min_size=1, max_size=20).map(lambda xs: row(*xs))


# Each function against transformers' on random rows


@pytest.fixture(scope="module")
def processors():
    return pytest.importorskip("transformers").generation.logits_process


def random_rows(n: int = 300, vocabulary: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, vocabulary, generator=generator, dtype=torch.float64) * 3
    assert all(len(set(r.tolist())) == vocabulary for r in logits), "no ties"
    return logits


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0, 1.7, 100.0])
def test_temperature_equals_transformers(temperature, processors):
    logits = random_rows()
    expected = processors.TemperatureLogitsWarper(temperature)(None, logits)
    assert torch.allclose(scale_temperature(logits, temperature), expected)


@pytest.mark.parametrize("k", [1, 2, 5, 39, 40, 41, 10**9])
def test_top_k_equals_transformers(k, processors):
    logits = random_rows()
    assert torch.equal(keep_top_k(logits, k), processors.TopKLogitsWarper(k)(None, logits))


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.9, 0.95, 0.999])
def test_top_p_equals_transformers(p, processors):
    """On rows where no cumulated probability lies within 1e-5 of p, from above or from below."""
    logits = random_rows()
    cumulated = logits.softmax(1).sort(descending=True).values.cumsum(1)
    logits = logits[(cumulated - p).abs().min(1).values > 1e-5]
    assert len(logits) > 200
    assert torch.equal(keep_top_p(logits, p), processors.TopPLogitsWarper(p)(None, logits))


@pytest.mark.parametrize("p", [0.001, 0.05, 0.1, 0.5, 0.9])
def test_min_p_equals_transformers(p, processors):
    logits = random_rows()
    probabilities = logits.softmax(1)
    ratio = probabilities / probabilities.max(1, keepdim=True).values
    logits = logits[(ratio - p).abs().min(1).values > 1e-5]
    assert len(logits) > 200
    assert torch.equal(keep_min_p(logits, p), processors.MinPLogitsWarper(p)(None, logits))


# Penalties


@examples
@given(
    st.lists(st.integers(0, 5), max_size=30),
    st.floats(-2, 2),
    st.floats(-2, 2),
)
def test_penalties_are_those_of_openais_definition(ids, frequency, presence):
    """mu[j] -> mu[j] - c[j] * alpha_frequency - float(c[j] > 0) * alpha_presence, in the precision of the logits."""
    logits = row(1, 2, 3, 4, 5, 6)
    counts = [ids.count(j) for j in range(6)]
    expected = [mu - c * frequency - (c > 0) * presence for mu, c in zip(logits[0].tolist(), counts, strict=True)]
    penalised = penalize(logits, torch.tensor([ids], dtype=torch.long), frequency, presence)
    assert penalised[0].tolist() == pytest.approx(expected, abs=1e-12)
    assert logits.tolist() == [[1, 2, 3, 4, 5, 6]], "the argument is left alone"


def test_penalties_count_each_text_of_a_batch_apart():
    ids = torch.tensor([[0, 0, 1], [2, 2, 2]])
    assert penalize(torch.zeros(2, 3), ids, frequency=1.0, presence=0.5).tolist() == [[-2.5, -1.5, 0], [0, 0, -3.5]]


# Ties, boundaries, the empty case


def test_top_k_keeps_exactly_k_and_ties_go_to_the_lower_id():
    assert kept(keep_top_k(row(1, 1, 1, 1, 1), 2)) == [0, 1]
    assert kept(keep_top_k(row(0, 2, 3, 2, 2), 3)) == [1, 2, 3]
    assert kept(keep_top_k(torch.zeros(1, 5000), 7)) == list(range(7))


@examples
@given(rows, st.integers(1, 25))
def test_top_k_keeps_exactly_k(logits, k):
    order = sorted(range(logits.shape[1]), key=lambda i: (-logits[0, i].item(), i))
    assert kept(keep_top_k(logits, k)) == sorted(order[:k])


@examples
@given(rows, st.floats(0.001, 1, exclude_max=True))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits, p):
    probabilities = logits.softmax(1)[0].tolist()
    order = sorted(range(len(probabilities)), key=lambda i: (-logits[0, i].item(), i))
    sums = [math.fsum(probabilities[i] for i in order[: n + 1]) for n in range(len(order))]
    assume(min(abs(s - p) for s in sums) > 1e-9)
    smallest = next((n + 1 for n, s in enumerate(sums) if s >= p), len(order))
    assert kept(keep_top_p(logits, p)) == sorted(order[:smallest])


def test_top_p_includes_the_token_that_crosses():
    halves = row(0.5, 0.25, 0.125, 0.125).log()  # exact in binary
    for p, tokens in [(1e-9, 1), (0.49, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.875, 3), (0.88, 4)]:
        assert kept(keep_top_p(halves, p)) == list(range(tokens)), p
    assert kept(keep_top_p(torch.zeros(1, 5000), 0.4999)) == list(range(2500)), "ties go to the lower id"


def test_top_p_of_one_and_min_p_of_zero_change_nothing():
    logits = row(100, 0, -1000, -inf)
    assert torch.equal(keep_top_p(logits, 1), logits) and torch.equal(keep_min_p(logits, 0), logits)


def test_min_p_keeps_what_reaches_the_share_of_the_likeliest():
    halves = row(0.5, 0.25, 0.125, 0.125).log()
    assert kept(keep_min_p(halves, 0.5)) == [0, 1] and kept(keep_min_p(halves, 0.51)) == [0]
    assert kept(keep_min_p(row(3, 1, 3), 1)) == [0, 2], "with p = 1 the likeliest stay, all of them"


def test_temperature_zero_keeps_the_likeliest_the_lower_id_of_two():
    assert kept(scale_temperature(row(1, 5, 5, 2), 0)) == [1]


@pytest.mark.parametrize("temperature", [1e-5, 1e-30, 1e-300, 1e-307, 1e-308, 5e-324])
def test_a_tiny_temperature_is_like_zero(temperature):
    shaped = shape_logits(row(1, 19, 3, 18, -20), NOTHING, temperature=temperature)
    assert {draw(shaped[0], u) for u in (0.0, 0.5, 1 - 2**-32)} == {1}


knobs = st.fixed_dictionaries(
    {
        "temperature": st.just(0) | st.floats(0.01, 100),
        "top_k": st.none() | st.integers(1, 25),
        "top_p": st.floats(1e-9, 1),
        "min_p": st.floats(0, 1),
        "frequency_penalty": st.floats(-2, 2),
        "presence_penalty": st.floats(-2, 2),
    }
)


HUGE = 1e308
OVERFLOWING = [
    {"frequency_penalty": -HUGE},
    {"frequency_penalty": HUGE},
    {"presence_penalty": -HUGE, "frequency_penalty": -HUGE},
    {"presence_penalty": HUGE, "frequency_penalty": -HUGE, "temperature": 1e-5},
    {"frequency_penalty": HUGE, "temperature": 1e-5, "top_k": 3},
    {"frequency_penalty": -1e307, "temperature": 0.01, "top_p": 0.5},
    {"temperature": HUGE},
    {"temperature": 1e-5, "frequency_penalty": 1e300},
    {"temperature": 2e-6, "min_p": 5e-324},
    {"top_p": 5e-324},
    {"min_p": 5e-324, "temperature": 1e-5},
    {"temperature": 10**300, "top_k": 10**30},
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("knobs", OVERFLOWING, ids=lambda knobs: "-".join(knobs))
def test_where_a_result_overflows_a_token_is_left_and_it_is_the_right_one(knobs, dtype):
    """Each knob is finite; it is what they make that is not."""
    generated = [0, 0, 0, 1, 1, 4]
    logits = torch.tensor([[1.0, 3.0, 2.5, -4.0, 0.0]], dtype=dtype)
    shaped = shape_logits(logits, torch.tensor([generated]), **knobs)
    assert shaped.dtype == dtype and not shaped.isnan().any() and shaped[0].max().isfinite()
    drawn = {draw(shaped[0], u) for u in (0.0, 0.5, 1 - 2**-32)}
    assert drawn <= set(kept(shaped))
    likeliest = {-1: {0, 1, 4}, 0: {0, 1, 2, 3, 4}, 1: {2}}  # rewarded tokens, any, or the likeliest of those not said
    sign = (knobs.get("frequency_penalty", 0) > 0) - (knobs.get("frequency_penalty", 0) < 0)
    assert drawn <= likeliest[sign] | ({3} if sign > 0 and knobs.get("temperature", 1) == 1 else set())
    if dtype == torch.float64:
        counts = np.bincount(generated, minlength=5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for u in (0.0, 0.5, 1 - 2**-32):
                assert choose(logits[0].numpy(), counts, u, **knobs) == draw(shaped[0], u)


@pytest.mark.parametrize("knobs", OVERFLOWING, ids=lambda knobs: "-".join(knobs))
def test_whatever_overflows_a_text_is_written(knobs):
    assert len(list(generate(MODEL, [1], 12, **knobs))) == 12
    assert list(generate(MODEL, [1], 12, **knobs)) == list(generate(MODEL, [1], 12, **knobs, cache=False))


def test_logits_near_the_largest_number_are_divided_by_a_small_temperature():
    top = torch.finfo(torch.float32).max
    for logits in (torch.tensor([[top, 0.9 * top, -top]]), torch.tensor([[-top, -1.0, -0.9 * top]]).flip(1)):
        likeliest = logits.argmax().item()
        assert kept(scale_temperature(logits, 0.001)) == [likeliest]
    removed = torch.tensor([[-inf, top, -top]])
    assert scale_temperature(removed, 0.5)[0, 0] == -inf and penalize(removed, NOTHING, HUGE, 1.0)[0, 0] == -inf


@examples
@given(rows, knobs, st.lists(st.integers(0, 19), max_size=9), st.floats(0, 1, exclude_max=True))
def test_whatever_the_knobs_a_token_is_left_and_probabilities_sum_to_one(logits, settings, generated, u):
    size = logits.shape[1]
    shaped = shape_logits(logits, torch.tensor([[i % size for i in generated]], dtype=torch.long), **settings)
    left = kept(shaped)
    assert left and not shaped.isnan().any()
    assert shaped.softmax(1).sum().item() == pytest.approx(1)
    assert draw(shaped[0], u) in left
    if settings["top_k"]:
        assert len(left) <= settings["top_k"]


def test_the_order_is_penalties_temperature_top_k_top_p_min_p():
    """Each pair of neighbours is tried on a row where the other order would give another result."""
    logits, generated = row(4, 3, 2, 1), torch.tensor([[0, 0]])
    shaped = shape_logits(logits, generated, temperature=2, frequency_penalty=0.5, presence_penalty=0.5)
    assert shaped.tolist() == [[1.25, 1.5, 1, 0.5]], "penalties are divided by the temperature too"

    probabilities = row(0.5, 0.25, 0.15, 0.1).log()
    # A temperature of 0.5 squares: .25 .0625 .0225 .01, of which the first holds 0.725.
    assert kept(shape_logits(probabilities, NOTHING, temperature=0.5, top_p=0.7)) == [0]
    assert kept(keep_top_p(probabilities, 0.7)) == [0, 1]
    # After top-k 2 the first holds two thirds.
    assert kept(shape_logits(probabilities, NOTHING, top_k=2, top_p=0.6)) == [0]
    # A temperature changes what min-p compares.
    assert kept(shape_logits(probabilities, NOTHING, temperature=0.5, min_p=0.4)) == [0]
    assert kept(shape_logits(probabilities, NOTHING, temperature=2, min_p=0.5)) == [0, 1, 2]
    # Min-p would leave the first two, of which the first holds two thirds.
    assert kept(shape_logits(probabilities, NOTHING, top_p=0.6, min_p=0.4)) == [0, 1]
    # Penalties come before top-k: the first token falls out of the first two.
    assert kept(shape_logits(logits, generated, frequency_penalty=1.5, top_k=2)) == [1, 2]
    # And before temperature 0.
    assert kept(shape_logits(logits, generated, frequency_penalty=1.5, temperature=0)) == [1]


def test_default_knobs_change_nothing():
    assert torch.equal(shape_logits(random_rows(), torch.zeros(300, 5, dtype=torch.long)), random_rows())


@pytest.mark.parametrize(
    "name, wrong",
    [("temperature", v) for v in (-1, -1e-9, nan, inf, "1", None, True, 10**400)]
    + [("top_k", v) for v in (0, -1, 1.5, 2.0, "3", nan, True)]
    + [("top_p", v) for v in (0, -0.1, 1.0001, nan, inf, "1", None)]
    + [("min_p", v) for v in (-0.1, 1.1, nan, inf, "0", None)]
    + [("frequency_penalty", v) for v in (nan, inf, -inf, "1", None, -(10**400))]
    + [("presence_penalty", v) for v in (nan, inf, -inf, "1", None)]
    + [("seed", v) for v in (-1, 2**32, 1.5, "0", None, nan, True)]
    + [("max_new_tokens", v) for v in (-1, 1.5, "3", None, True)],
)
def test_a_knob_out_of_range_is_refused_by_name_and_value(name, wrong):
    settings = {"max_new_tokens": 3} | {name: wrong}
    with pytest.raises(ValueError, match=f"{name}={wrong!r}"):
        list(generate(MODEL, [1], **settings))


@pytest.mark.parametrize(
    "name, wrong, said",
    [
        ("temperature", inf, "temperature=inf must be a finite number, at least 0"),
        ("top_p", 0, "top_p=0 must be a finite number, above 0 and at most 1"),
        ("frequency_penalty", nan, "frequency_penalty=nan must be a finite number"),
    ],
)
def test_the_refusal_of_a_knob_names_the_bounds_that_there_are(name, wrong, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        list(generate(MODEL, [1], 1, **{name: wrong}))


@pytest.mark.parametrize(
    "logits, given_",
    [
        (torch.zeros(3), r"float32 of shape \(3,\)"),
        (torch.zeros(1, 2, 3), r"float32 of shape \(1, 2, 3\)"),
        (torch.zeros(1, 0), r"float32 of shape \(1, 0\)"),
        (torch.zeros(1, 3, dtype=torch.long), r"int64 of shape \(1, 3\)"),
        ([[1.0, 2.0]], "a list"),
    ],
)
def test_what_are_no_logits_is_refused_in_a_sentence(logits, given_):
    takers = [
        lambda z: penalize(z, NOTHING, 1.0, 1.0),
        lambda z: scale_temperature(z, 1.0),
        lambda z: keep_top_k(z, 1),
        lambda z: keep_top_p(z, 0.5),
        lambda z: keep_min_p(z, 0.5),
        lambda z: shape_logits(z, NOTHING),
    ]
    for take in takers:
        with pytest.raises(ValueError, match=rf"^logits must be .* of shape \(B, V\), not .*{given_}$"):
            take(logits)
    if not isinstance(logits, torch.Tensor) or logits.dim() != 1:
        with pytest.raises(ValueError, match=rf"^logits must be .* of shape \(V,\), not .*{given_}$"):
            draw(logits, 0.5)


@pytest.mark.parametrize(
    "ids",
    [torch.tensor([1]), torch.tensor([[3]]), torch.tensor([[-1]]), torch.tensor([[1.0]]), [[1]], torch.ones(2, 1)],
)
def test_what_were_no_generated_ids_is_refused_in_a_sentence(ids):
    with pytest.raises(
        ValueError, match=r"ids must be int64 of shape \(B, N\) for logits \(B, V\) = \(1, 3\), from 0 to 2"
    ):
        penalize(torch.zeros(1, 3), ids, 1.0, 0.0)


@pytest.mark.parametrize("logits", [torch.full((3,), -inf), torch.tensor([nan, 1.0]), torch.tensor([inf, 1.0])])
def test_logits_that_leave_nothing_to_draw_are_refused(logits):
    with pytest.raises(ValueError, match="there is no token to draw: the largest logit is"):
        draw(logits, 0.5)


# Random numbers

JAVASCRIPT = """
function mulberry32(a) {
  return function () {
    a |= 0; a = a + 0x6D2B79F5 | 0;
    let t = Math.imul(a ^ a >>> 15, 1 | a);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
}
console.log(JSON.stringify(SEEDS.map(s => { const r = mulberry32(s); return Array.from({length: 500}, r); })));
"""


@pytest.mark.parametrize(
    "seed, numbers",
    [
        (0, [0.26642920868471265, 0.0003297457005828619, 0.2232720274478197]),
        (42, [0.6011037519201636, 0.44829055899754167, 0.8524657934904099]),
        (4294967295, [0.8964226141106337, 0.189478256739676]),
    ],
)
def test_mulberry32_gives_the_numbers_that_javascript_gives(seed, numbers):
    random = Mulberry32(seed)
    assert [random.uniform() for _ in numbers] == numbers


def test_mulberry32_equals_javascript_on_many_seeds():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: only the stored numbers are compared")
    seeds = [0, 1, 2, 1234, 2**31 - 1, 2**31, 2**32 - 1, *(i * 2654435761 % 2**32 for i in range(20))]
    script = JAVASCRIPT.replace("SEEDS", json.dumps(seeds))
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    for seed, expected in zip(seeds, json.loads(done.stdout), strict=True):
        random = Mulberry32(seed)
        assert [random.uniform() for _ in range(500)] == expected


@pytest.mark.parametrize("place", [0, 1], ids=["first", "second"])
def test_small_seeds_begin_evenly_and_neighbours_have_nothing_in_common(place):
    """The numbers of seeds 0 to 9999 fill a hundred boxes evenly: chi-square with 99 degrees of freedom, mean 99 and spread
    14, is below 163 but once in 20,000 times, and above 53 as often. The correlation of neighbours has a spread of 0.01."""
    numbers = []
    for seed in range(10_000):
        random = Mulberry32(seed)
        numbers.append([random.uniform() for _ in range(place + 1)][-1])
    counts = np.bincount([int(100 * x) for x in numbers], minlength=100).tolist()
    assert 53 < chi_square(counts, [0.01] * 100) < 163
    for apart in (1, 2, 3, 10):
        assert abs(np.corrcoef(numbers[:-apart], numbers[apart:])[0, 1]) < 0.04


def test_the_first_and_the_second_number_of_a_seed_have_nothing_in_common():
    pairs = [(random.uniform(), random.uniform()) for random in map(Mulberry32, range(10_000))]
    assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 0.04


def test_mulberry32_is_even():
    random = Mulberry32(7)
    numbers = [random.uniform() for _ in range(20_000)]
    assert min(numbers) >= 0 and max(numbers) < 1
    counts = [sum(i / 10 <= x < (i + 1) / 10 for x in numbers) for i in range(10)]
    assert chi_square(counts, [0.1] * 10) < 30


def chi_square(counts: list[int], probabilities: list[float]) -> float:
    n = sum(counts)
    return sum((c - n * p) ** 2 / (n * p) for c, p in zip(counts, probabilities, strict=True))


# Drawing


def test_draws_are_as_frequent_as_they_are_probable():
    """Chi-square with six degrees of freedom is below 30 but once in 25,000 times."""
    logits = torch.tensor([2.0, 0.0, -inf, 1.0, -1.0, 1.5, 0.5, -2.0])
    random, counts = Mulberry32(0), [0] * 8
    for _ in range(20_000):
        counts[draw(logits, random.uniform())] += 1
    assert counts[2] == 0
    possible = [i for i in range(8) if i != 2]
    probabilities = logits.double().softmax(0)
    assert chi_square([counts[i] for i in possible], [probabilities[i].item() for i in possible]) < 30


def test_a_draw_is_the_first_token_whose_cumulated_probability_exceeds_u():
    quarters = row(0.25, 0.25, 0.5).log()[0]
    for u, token in [(0, 0), (0.2499, 0), (0.25, 1), (0.4999, 1), (0.5, 2), (0.9999, 2)]:
        assert draw(quarters, u) == token, u


@examples
@given(rows, st.sampled_from([0.0, 2**-32, 0.5, 1 - 2**-32, 1 - 2**-53]), st.data())
def test_a_removed_token_is_never_drawn(logits, u, data):
    size = logits.shape[1]
    removed = data.draw(st.sets(st.integers(0, size - 1), max_size=size - 1))
    logits[0, list(removed)] = -inf
    assert draw(logits[0], u) not in removed


def test_the_first_and_last_tokens_are_not_drawn_when_removed():
    for u in (0.0, 0.5, 1 - 2**-53, 1.0):  # 1 itself is outside the interval, and harmless
        assert draw(torch.tensor([-inf, 1.0, -inf]), u) == 1
        assert draw(torch.tensor([-inf] * 500 + [0.0] * 3 + [-inf] * 500), u) in (500, 501, 502)
    assert draw(torch.zeros(100_000), 1 - 2**-53) == 99_999


def test_logits_that_are_no_numbers_are_refused():
    """As those of a model whose training blew up."""
    for bad in (nan, inf):
        model = GPT(MODEL.config)
        nn.init.constant_(model.head.weight, bad)
        with pytest.raises(ValueError, match=r"nan|inf|finite|not a number"):
            list(generate(model, [1], 3))


# Generation


def random_gpt(block_size: int = 8, vocab_size: int = 11, **settings) -> GPT:
    """Weights large enough that what the model sees changes what it says."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size, block_size, n_layer=2, n_head=2, n_embd=8, **settings))
    for p in model.parameters():
        nn.init.normal_(p, std=0.7)
    return model.eval()


MODEL = random_gpt()
CHARACTERS = CharTokenizer(list("abcdefghij"))  # as many tokens as MODEL has


@pytest.mark.parametrize("block_size", [1, 2, 3, 4, 5, 8, 16])
@pytest.mark.parametrize("prompt", [[1], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2]])
def test_the_cache_changes_nothing(block_size, prompt):
    """300 tokens, past the window many times."""
    prompt = [i % 11 for i in prompt]
    model = random_gpt(block_size)
    knobs = dict(temperature=0.8, top_p=0.95, frequency_penalty=0.1, seed=5)
    with_cache = list(generate(model, prompt, 300, **knobs))
    assert with_cache == list(generate(model, prompt, 300, **knobs, cache=False))
    assert len(with_cache) == 300 and len(set(with_cache)) > 3


def naive(model: GPT, prompt: list[int], n: int, seed: int, frequency: float = 0.0, presence: float = 0.0) -> list[int]:
    """Without cache, without windows carried along: the start of what is seen, in the whole text, is counted anew."""
    size, random, text = model.config.block_size, Mulberry32(seed), list(prompt)
    start = max(0, len(prompt) - size)
    for _ in range(n):
        seen = torch.tensor([text[start:]])
        assert 1 <= seen.shape[1] <= size
        with torch.no_grad():
            logits = model(seen)[0][0, -1].double()
        new = text[len(prompt) :]
        for token in range(len(logits)):
            logits[token] -= new.count(token) * frequency + (token in new) * presence
        weights = (logits - logits.max()).exp()
        u, total, token = random.uniform() * weights.sum().item(), 0.0, -1
        while total <= u:
            token += 1
            total += weights[token].item()
        text.append(token)
        if len(text) - start > size:  # it was full
            start = len(text) - max(1, size // 2)
    return text[len(prompt) :]


@pytest.mark.parametrize("block_size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("prompt", [[1], [1, 2, 3, 4, 5, 6, 7, 8], list(range(11)) * 2])
def test_generation_equals_a_naive_one(block_size, prompt):
    model = random_gpt(block_size)
    assert list(generate(model, prompt, 60, seed=3)) == naive(model, prompt, 60, seed=3)


@pytest.mark.parametrize("cache", [True, False])
def test_penalties_count_all_that_was_generated_and_not_the_prompt(cache):
    """60 tokens on a window of 4: far beyond the window; the prompt's tokens begin without a penalty."""
    model = random_gpt(4)
    expected = naive(model, [1, 1, 1, 2], 60, seed=42, frequency=0.4, presence=0.9)
    assert list(generate(model, [1, 1, 1, 2], 60, frequency_penalty=0.4, presence_penalty=0.9, cache=cache)) == expected
    assert expected != naive(model, [1, 1, 1, 2], 60, seed=42)


class Parrot(nn.Module):
    """Says the given ids, one after the other, and notes what it was shown."""

    def __init__(self, ids: list[int], vocab_size: int, block_size: int = 10_000, end_id: int | None = None):
        super().__init__()
        self.config = GPTConfig(vocab_size, block_size, end_id=end_id)
        self.head = nn.Linear(1, 1)
        self.device = torch.device("cpu")
        self.ids, self.shown = iter(ids), []

    def forward(self, idx, targets=None, cache=None):
        self.shown.append(idx[0].tolist())
        logits = torch.zeros(1, idx.shape[1], self.config.vocab_size)
        logits[0, -1, next(self.ids)] = 1000.0
        return logits, None

    def new_cache(self, batch_size=1):
        return object()


@pytest.mark.parametrize(
    "block_size, prompt, shown",
    [
        (4, [9], [[9], [9, 0], [9, 0, 1], [9, 0, 1, 2], [2, 3], [2, 3, 4], [2, 3, 4, 5]]),
        (5, [9], [[9], [9, 0], [9, 0, 1], [9, 0, 1, 2], [9, 0, 1, 2, 3], [3, 4], [3, 4, 5]]),
        (3, [9], [[9], [9, 0], [9, 0, 1], [2], [2, 3], [2, 3, 4], [5]]),
        (2, [9], [[9], [9, 0], [1], [1, 2], [3], [3, 4], [5]]),
        (1, [9], [[9], [0], [1], [2], [3], [4], [5]]),
        (4, [6, 7, 8, 9], [[6, 7, 8, 9], [9, 0], [9, 0, 1], [9, 0, 1, 2], [2, 3]]),
        (4, [4, 5, 6, 7, 8, 9], [[6, 7, 8, 9], [9, 0], [9, 0, 1]]),
    ],
)
def test_a_full_window_goes_on_from_its_last_half(block_size, prompt, shown):
    parrot = Parrot([0, 1, 2, 3, 4, 5, 6], 10, block_size)
    list(generate(parrot, prompt, len(shown), cache=False))
    assert parrot.shown == shown


def test_with_a_cache_only_new_tokens_are_computed():
    parrot = Parrot([0, 1, 2, 3, 4, 5, 6], 10, block_size=4)
    list(generate(parrot, [8, 9], 7))
    assert parrot.shown == [[8, 9], [0], [1], [1, 2], [3], [4], [4, 5]]


def test_temperature_zero_always_takes_the_likeliest():
    text = [1]
    for token in generate(MODEL, text, 7, temperature=0):
        with torch.no_grad():
            assert token == MODEL(torch.tensor([text]))[0][0, -1].argmax()
        text.append(token)
    assert text[1:] == list(generate(MODEL, [1], 7, temperature=0, seed=99)), "the seed does not matter"


def test_a_seed_repeats_and_another_does_not():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = list(generate(MODEL, [1], 50, seed=1))
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"
    torch.manual_seed(2)
    assert first == list(generate(MODEL, [1], 50, seed=1))
    assert len({tuple(generate(MODEL, [1], 50, seed=s)) for s in range(10)}) == 10


def test_the_end_token_is_yielded_and_ends_the_text():
    assert list(generate(Parrot([5, 6, 3, 7], 10, end_id=3), [1], 10)) == [5, 6, 3]
    assert list(generate(Parrot([5, 6, 3, 7], 10), [1], 4)) == [5, 6, 3, 7]
    assert list(generate(Parrot([3], 10, end_id=3), [3], 10)) == [3], "one in the prompt ends nothing"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cache", [True, False])
def test_writing_is_without_dropout_and_the_models_mode_is_the_callers_own(training, cache):
    model = random_gpt(dropout=0.5).train(training)
    written = []
    for token in generate(model, [1], 5, cache=cache):
        written.append(token)
        assert model.training == training  # in the loop too, which may be left and never finished
    assert model.training == training
    assert written == list(generate(model.eval(), [1], 5, cache=cache))
    model.train(training)
    for _ in generate(model, [1], 5):
        break
    assert model.training == training
    with pytest.raises(ValueError):
        list(generate(model, [1], 5, top_p=7.0))
    assert model.training == training
    for _ in stream(model, CHARACTERS, "a", 5):
        break
    assert model.training == training and torch.is_grad_enabled()


def test_gradients_stay_on_for_the_one_who_listens():
    for _ in generate(MODEL, [1], 3):
        assert torch.is_grad_enabled()


def test_nothing_is_generated_when_nothing_is_asked_for():
    assert list(generate(MODEL, [1], 0)) == [] == list(stream(MODEL, CHARACTERS, "a", 0))


def test_a_prompt_may_be_a_tensor_or_a_tuple():
    for prompt in (torch.tensor([1, 2]), (1, 2)):
        assert list(generate(MODEL, prompt, 5)) == list(generate(MODEL, [1, 2], 5))


@pytest.mark.parametrize(
    "prompt, match",
    [
        ([], "prompt is empty"),
        ([11], "11 .*vocabulary of 11"),
        ([1, -1], "-1 .*vocabulary of 11"),
        ("ab", "must be token ids, as tokenizer.encode.* not 'ab'"),
        ([1.5], r"must be token ids, .* not \[1.5\]"),
        (torch.tensor([1.0]), r"must be token ids, .* not tensor"),
        (torch.tensor([[1, 2]]), r"must be token ids, .* not tensor"),
        (3, "must be token ids, .* not 3"),
    ],
)
def test_a_prompt_that_cannot_be_continued_is_refused(prompt, match):
    with pytest.raises(ValueError, match=match):
        list(generate(MODEL, prompt, 3))


# Text as it streams

SAMPLE = load_corpus("sample")
BPE = BPETokenizer.train(SAMPLE, vocab_size=400)
AB = BPETokenizer.train("aab abab aaab bbab aabb abba\n" * 9, vocab_size=275)  # tokens such as "aab" and "▁abab"


def pieces(ids: list[int], tokenizer=BPE, prompt: str = "", end_id: int | None = 0, **options) -> list[str]:
    """What `stream` shows of a model that says these ids."""
    parrot = Parrot(ids, tokenizer.vocab_size, end_id=end_id)
    return list(stream(parrot, tokenizer, prompt, len(ids), **options))


def shown(ids: list[int], **options) -> str:
    return "".join(pieces(ids, **options))


def up_to_first_stop(text: str, stops: list[str]) -> str:
    """Read letter by letter: the text before the stop string that is complete first, the longest one if two are."""
    for end in range(len(text) + 1):
        if found := [s for s in stops if text[:end].endswith(s)]:
            return text[: end - max(map(len, found))]
    return text


@examples
@given(st.lists(st.integers(1, BPE.vocab_size - 1), max_size=40))
def test_the_pieces_joined_are_the_text_of_the_ids(ids):
    """Any ids, so bytes that form no character too."""
    assert shown(ids) == BPE.decode(ids)
    assert "" not in pieces(ids)


@examples
@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("小猫😀é"), max_size=15))
def test_half_characters_are_held_back(text):
    ids = BPE.encode(text.replace("<|endoftext|>", ""))
    parts = pieces(ids)
    assert "".join(parts) == text and ("\ufffd" in text or not any("\ufffd" in part for part in parts))


def test_a_character_is_shown_with_its_last_byte():
    ids = BPE.encode("龍a😀")
    assert len(ids) == 3 + 1 + 4
    assert pieces(ids) == ["龍", "a", "😀"]
    assert pieces(ids[:-1]) == ["龍", "a", "\ufffd"], "what stays half at the end is shown as such"


def test_without_a_stop_each_token_is_shown_at_once():
    ids = BPE.encode("The cat looks.")
    assert pieces(ids) == [BPE.decode([i]) for i in ids]


@pytest.mark.parametrize(
    "text, stop, expected",
    [
        ("aaab", ["aab"], "a"),
        ("aaaab", ["aab"], "aa"),
        ("abababb", ["ababb"], "ab"),
        ("abaabaab", ["abaab"], ""),
        ("aabb", ["bb", "ab"], "a"),
        ("abab", ["b", "ab"], ""),
        ("aaaa", ["b"], "aaaa"),
        ("aaaa", ["aaaab"], "aaaa"),
        ("abaa", ["aab"], "abaa"),
        ("ab ab", [" "], "ab"),
        ("ab\nab", ["\n"], "ab"),
        ("a", "a", ""),
        ("aab", "ab", "a"),
    ],
)
def test_a_stop_string_is_never_shown(text, stop, expected):
    """Letter by letter, and in the tokenizer's own tokens; a single string is one stop string."""
    assert shown(AB.encode(text), tokenizer=AB, stop=stop) == expected
    letters = [i for letter in text for i in AB.encode(letter)]
    assert len(letters) == len(text) and shown(letters, tokenizer=AB, stop=stop) == expected


AB_IDS = [i for i in range(AB.vocab_size) if AB.token_bytes[i].strip(b"ab") == b""]


@examples
@example([AB.token_bytes.index(b"aabb")], ["aabb", "ab"])
@example([AB.token_bytes.index(b"aabb")], ["aabb", "bb"])
@given(
    st.lists(st.sampled_from(AB_IDS), max_size=9),
    st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=3),
)
def test_a_stop_does_not_depend_on_how_the_text_is_cut_into_tokens(ids, stops):
    assert shown(ids, tokenizer=AB, stop=stops) == up_to_first_stop(AB.decode(ids), stops)


@examples
@given(
    st.lists(st.integers(1, BPE.vocab_size - 1), max_size=12),
    st.sampled_from(["\ufffd", "e\ufffd", "\ufffd\ufffd", "猫", "猫\n"]),
)
def test_a_stop_may_hold_any_character(ids, stop):
    assert shown(ids, stop=[stop]) == up_to_first_stop(BPE.decode(ids), [stop])


def test_what_may_become_a_stop_string_is_held_and_nothing_else():
    letters = [i for letter in "baab" for i in AB.encode(letter)]
    assert pieces(letters, tokenizer=AB, stop=["aac"]) == ["b", "aab"]
    assert pieces(letters, tokenizer=AB, stop=["aaab", "c"]) == ["b", "aab"]
    assert pieces(letters[:3], tokenizer=AB, stop=["aab"]) == ["b", "aa"], "what is held is shown at the end"
    assert pieces([*letters[:3], 0], tokenizer=AB, stop=["aab"]) == ["b", "aa"], "at the end token too"


def test_generation_ends_with_the_stop_string():
    parrot = Parrot(AB.encode("ab") + AB.encode("b") * 50, AB.vocab_size)
    assert "".join(stream(parrot, AB, "a", 50, stop=["bb"])) == "a" and len(parrot.shown) < 5


def test_the_end_token_ends_the_text_and_is_not_shown():
    ids = [*BPE.encode("The cat"), 0, *BPE.encode("looks")]
    assert shown(ids) == "The cat"
    assert shown(ids, end_id=None) == "The cat", "a model that does not know its end token stops too"


def test_an_empty_prompt_begins_a_text():
    parrot = Parrot(BPE.encode("The"), BPE.vocab_size)
    assert "".join(stream(parrot, BPE, "", len(BPE.encode("The")))) == "The"
    assert parrot.shown[0] == [0]


def test_the_prompt_is_not_shown_and_seen_as_it_is():
    parrot = Parrot(BPE.encode("looks"), BPE.vocab_size)
    assert "".join(stream(parrot, BPE, "The cat ", len(BPE.encode("looks")))) == "looks"
    assert parrot.shown[0] == BPE.encode("The cat ")


def test_a_stop_string_in_the_prompt_ends_nothing():
    assert shown(AB.encode("bab"), tokenizer=AB, prompt="a", stop=["ab"]) == "b"


def test_streaming_a_real_model_shows_the_text_of_its_ids():
    model = random_gpt(block_size=16, vocab_size=BPE.vocab_size)
    ids = list(generate(model, BPE.encode("The cat"), 60, temperature=0.9, seed=4))
    assert "".join(stream(model, BPE, "The cat", 60, temperature=0.9, seed=4)) == BPE.decode(ids)


def test_tokenizer_and_model_of_different_sizes_are_refused_with_both():
    with pytest.raises(ValueError, match=f"{BPE.vocab_size} tokens and the model 11"):
        list(stream(MODEL, BPE, "The"))


@pytest.mark.parametrize("stop", [5, None, [5], ["a", None], [b"a"]])
def test_a_stop_that_is_no_string_is_refused(stop):
    with pytest.raises(ValueError, match=re.escape(f"stop={stop!r} must be a string, or a list or tuple of strings")):
        list(stream(MODEL, CHARACTERS, "a", stop=stop))


@pytest.mark.parametrize("stop", ["", [""], ["a", ""]])
def test_an_empty_stop_string_is_refused(stop):
    with pytest.raises(ValueError, match="stop string is empty"):
        list(stream(MODEL, CHARACTERS, "a", stop=stop))


def test_the_errors_of_generate_and_of_the_tokenizer_come_through():
    for wrong in (dict(temperature=-1), dict(top_k=0), dict(top_p=0), dict(min_p=2), dict(seed=-1)):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            list(stream(MODEL, CHARACTERS, "a", **wrong))
    with pytest.raises(ValueError, match="max_new_tokens"):
        list(stream(MODEL, CHARACTERS, "a", -1))
    with pytest.raises(ValueError, match="'z'"):
        list(stream(MODEL, CHARACTERS, "z"))
