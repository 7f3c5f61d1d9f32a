"""The engine of the page, run under Node, against PyTorch and the package's own sampling and tokenizers."""

import itertools
import json
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import torch
from chapter_01 import learning, pairs_of

from minigpt_core import (
    GPT,
    BPETokenizer,
    CharTokenizer,
    GPTConfig,
    attention_maps,
    generate,
    load_corpus,
    load_model,
    load_pretrained,
    save_model,
    split_text,
    stream,
)
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.pretrained import PRETRAINED, load_card
from minigpt_core.sampling import Mulberry32, draw, shape_logits
from minigpt_core.study.ablation import knocked_out
from minigpt_core.study.lens import inner_values
from minigpt_core.widgets.export import VERSION, as_script, describe, load_model_file, model_file

RUNNER = Path(__file__).parent / "engine.js"
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None, reason="Node is not installed: the page's engine is NOT tested"
)


def engine(task: str, **question):
    """The engine's answer."""
    done = subprocess.run(
        ["node", str(RUNNER)], input=json.dumps({"task": task, **question}), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """A file for each shipped model."""
    folder = tmp_path_factory.mktemp("models")
    for name in PRETRAINED:
        (folder / f"{name}.bin").write_bytes(model_file(*load_pretrained(name)))
    return {name: str(folder / f"{name}.bin") for name in PRETRAINED}


def random_knobs(dice: random.Random) -> dict:
    knobs = {
        "temperature": dice.choice([0, 0.3, 0.7, 1, 1.5]),
        "top_p": dice.choice([1, 0.95, 0.7, 0.3]),
        "min_p": dice.choice([0, 0.02, 0.2]),
        "frequency_penalty": dice.choice([0, 0.3, -0.2]),
        "presence_penalty": dice.choice([0, 0.5]),
    }
    return knobs | ({"top_k": dice.choice([1, 5, 40])} if dice.random() < 0.5 else {})


@pytest.mark.parametrize("name", PRETRAINED)
def test_logits_are_pytorchs(name, files):
    model, _ = load_pretrained(name)  # the same dequantised weights
    dice = random.Random(0)
    lengths = [dice.randint(1, model.config.block_size) for _ in range(25)]  # 100 prompts over the four models
    prompts = [[dice.randrange(model.config.vocab_size) for _ in range(n)] for n in lengths]
    with torch.no_grad():
        for ids, logits in zip(prompts, engine("logits", model=files[name], prompts=prompts), strict=True):
            assert torch.allclose(model(torch.tensor([ids]))[0][0, -1], torch.tensor(logits), atol=1e-4)


@pytest.mark.parametrize("name", ["tales-char", "tales-zh"])
def test_its_loss_is_that_of_the_model_before_it_was_narrowed(name, files):
    model, tokenizer = load_pretrained(name)
    card = load_card(name)
    assert abs(card["losses"]["validation"] - card["losses"]["validation, narrowed"]) < 0.005
    ids = tokenizer.encode(split_text(load_corpus(card["corpus"]))[1])
    T = model.config.block_size + 1
    windows = [ids[i : i + T] for i in range(0, 20 * T, T)]
    with torch.no_grad():
        x = torch.tensor(windows)
        expected = model(x[:, :-1], x[:, 1:])[1].item()
    assert abs(engine("loss", model=files[name], windows=windows) - expected) < 1e-4


def test_from_the_same_logits_it_draws_the_same_ids():
    dice, cases, expected = random.Random(1), [], []
    for seed in range(1000):  # ten draws each
        V = dice.choice([2, 60, 512])
        # as floats of JSON, with ties, and with tokens that cannot be drawn
        logits = [dice.choice([round(dice.gauss(0, 3), 1), dice.gauss(0, 3)]) for _ in range(V)]
        generated = [dice.randrange(V) for _ in range(dice.choice([0, 3, 100]))]
        knobs = random_knobs(dice)
        cases.append({"logits": logits, "generated": generated, "knobs": knobs, "seed": seed})
        shaped = shape_logits(
            torch.tensor([logits], dtype=torch.float64), torch.tensor([generated], dtype=torch.long), **knobs
        )
        numbers = Mulberry32(seed)
        expected.append([draw(shaped[0], numbers.uniform()) for _ in range(10)])
    assert engine("draws", cases=cases) == expected


def test_where_a_result_overflows_it_draws_the_same_ids():
    dice, cases, expected = random.Random(5), [], []
    for seed in range(300):
        logits = [dice.gauss(0, 3) for _ in range(9)]
        generated = [dice.randrange(9) for _ in range(dice.choice([0, 3, 30]))]
        knobs = {
            "temperature": dice.choice([0, 1e-300, 2e-6, 0.01, 1, 1e308]),
            "frequency_penalty": dice.choice([0, -1e308, 1e308, 1e300, -1e307]),
            "presence_penalty": dice.choice([0, -1e308, 1e308]),
            "top_p": dice.choice([1, 0.5, 5e-324]),
            "min_p": dice.choice([0, 0.3, 5e-324]),
        }
        cases.append({"logits": logits, "generated": generated, "knobs": knobs, "seed": seed})
        said = torch.tensor([generated], dtype=torch.long)
        shaped = shape_logits(torch.tensor([logits], dtype=torch.float64), said, **knobs)
        numbers = Mulberry32(seed)
        expected.append([draw(shaped[0], numbers.uniform()) for _ in range(10)])
    assert engine("draws", cases=cases) == expected


def nearness(model, prompt: list[int], said: list[int], knobs: dict, seed: int) -> float:
    """How near the draw after `said`, or the boundary of a filter, was to falling out otherwise, as a probability."""
    window = prompt[-model.config.block_size :]
    for token in said:  # as generate slides
        window = [*window, token]
        if len(window) > model.config.block_size:
            window = window[-(model.config.block_size // 2) :]
    with torch.no_grad():
        logits = model(torch.tensor([window]))[0][:, -1].double()
    spoken, numbers = torch.tensor([said], dtype=torch.long), Mulberry32(seed)
    u = [numbers.uniform() for _ in range(len(said) + 1)][-1]
    cumulated = shape_logits(logits, spoken, **knobs)[0].softmax(0).cumsum(0)
    before = {name: value for name, value in knobs.items() if name not in ("top_k", "top_p", "min_p")}
    p = shape_logits(logits, spoken, **before)[0].softmax(0).sort(descending=True).values
    k = knobs.get("top_k", len(p))
    return min(
        (cumulated - u).abs().min().item(),
        (p[:-1] - p[1:]).abs()[k - 1].item() if k < len(p) else 1.0,
        (p.cumsum(0) - knobs["top_p"]).abs().min().item() if knobs["top_p"] < 1 else 1.0,
        (p - knobs["min_p"] * p[0]).abs().min().item() if knobs["min_p"] else 1.0,
        (p[0] - p[1]).item() if knobs["temperature"] == 0 else 1.0,
    )


def test_nearness_finds_the_draw_that_nearly_fell_otherwise():
    model, _ = load_pretrained("tales-char")
    knobs = {"temperature": 1, "top_p": 1, "min_p": 0, "frequency_penalty": 0, "presence_penalty": 0}
    with torch.no_grad():
        cumulated = model(torch.tensor([[5, 6]]))[0][0, -1].double().softmax(0).cumsum(0)
    u = Mulberry32(9).uniform()
    assert nearness(model, [5, 6], [], knobs, 9) == pytest.approx((cumulated - u).abs().min().item())
    with torch.no_grad():
        p = model(torch.tensor([[5, 6]]))[0][0, -1].double().softmax(0).sort(descending=True).values
    assert nearness(model, [5, 6], [], knobs | {"top_p": p[:3].sum().item()}, 9) < 1e-9  # ends exactly at a token


def test_it_writes_what_python_writes(files):
    far, told = [], []
    for name, prompts in (("tales-char", 40), ("tales-bpe", 30), ("tales-zh", 30)):
        model, _ = load_pretrained(name)
        dice, cases, expected = random.Random(2), [], []
        for seed in range(prompts):
            ids = [dice.randrange(1, model.config.vocab_size) for _ in range(dice.randint(1, 20))]
            knobs = random_knobs(dice)
            cases.append({"ids": ids, "count": 200, "knobs": knobs, "seed": seed})
            expected.append(list(generate(model, ids, 200, seed=seed, **knobs)))
        found = engine("generate", model=files[name], cases=cases)
        for case, ours, theirs in zip(cases, found, expected, strict=True):
            if ours == theirs:
                continue
            at = next(
                (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
            )
            near = nearness(model, case["ids"], theirs[:at], case["knobs"], case["seed"])
            told.append(f"{name}, seed {case['seed']}: token {at} differs, {near:.1e} from a boundary")
            if near >= 1e-5:
                far.append(told[-1])
    print(f"{len(told)} of 100 prompts differ", *told, sep="\n")
    assert far == [] and len(told) <= 2


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_thousand_strings_are_cut_as_python_cuts_them(name, files):
    _, tokenizer = load_pretrained(name)
    dice, texts = random.Random(3), []
    pools = [
        "abcdefghijklmnop qrstuvwxyzTHE.,!?\"'\n ",
        "灯塔船长问说的我们“”。，\n",
        "😀🎉éüß\t  ▁▅\u00a0\u200b\u0301\x00\x85\ufeff",
    ]
    for i in range(1000):
        pool = "".join(pools) if i % 2 else dice.choice(pools)
        texts.append("".join(dice.choice(pool) for _ in range(dice.randrange(40))))
    texts += [load_corpus("tales")[i : i + 300] for i in range(0, 30_000, 1500)]
    texts += ["", "<|endoftext|>", "a<|endoftext|>\nb<|endof"]
    cut = []
    for text in texts:
        try:
            cut.append(tokenizer.encode(text))
        except ValueError:
            cut.append(None)
    found = engine("encode", model=files[name], texts=texts)
    assert [None if isinstance(ids, dict) else ids for ids in found] == cut
    assert engine("names", model=files[name]) == tokenizer.tokens
    known = [ids for ids in cut if ids is not None]
    assert engine("decode", model=files[name], ids=known) == [tokenizer.decode(ids) for ids in known]


@pytest.mark.parametrize(
    "text, size",
    [("你好世界\n" * 9, 8), ("the <unk> and <0x41> cat\n" * 9, 30), (load_corpus("sample"), 100)],
    ids=["no spaces", "names of SentencePiece's own pieces", "a real text"],
)
@pytest.mark.parametrize("byte_fallback", [True, False], ids=["bytes", "no bytes"])
def test_whatever_was_learned_from_it_cuts_as_python_does(text, size, byte_fallback):
    tokenizer = BPETokenizer.train(text, vocab_size=size + 256 * byte_fallback, byte_fallback=byte_fallback)
    dice = random.Random(4)
    letters = "你好世界 the<unk>0x41\u2581\t\n\0😀"
    texts = ["".join(dice.choice(letters) for _ in range(dice.randrange(30))) for _ in range(300)]
    texts += ["a b", " ", "<unk>", "<0x41>", "你 好", text]
    cut, about = [tokenizer.encode(each) for each in texts], describe(tokenizer)
    decoded = engine("decode", about=about, ids=cut)
    assert engine("encode", about=about, texts=texts) == cut
    assert decoded == [tokenizer.decode(ids) for ids in cut] and (decoded == texts) == byte_fallback


LEARNED_FROM = {
    "the words of the chapter": "the then the other",
    "its first exercise": "abab abab",
    "pairs that overlap": "aaaa aaa aaaaaaa",
    "two ways to one piece": "abc bc ab abc xbc aby",
    "Chinese": "“这是谁的椅子？”露丝船长问。船长没有说话，船长没有椅子。\n船长 船长",
    "above U+FFFF": "😀！😀！ ！😀！😀 \uffff😀\uffff😀 a😀a😀",
    "spaces, breaks, tabs": "  a  a \t\ta\n\n a\u2581a<|endoftext|> a<|endoftext|>\r\n a\r\n",
    "nothing twice": "abcdefg",
    "nothing": "",
    "a real text": load_corpus("tales")[:3000],
    "a real Chinese text": load_corpus("tales_zh")[:3000],
}


@pytest.mark.parametrize("kind", LEARNED_FROM)
def test_it_learns_the_merges_of_chapter_01_from_the_same_counts(kind):
    text, code = LEARNED_FROM[kind], learning()
    (states,) = engine("learned", texts=[text])
    counted, words = code["words_of"](text), code["words_of"](text)
    merges = code["learn_bpe"](words, len(states) - 1)
    spoken = text.replace("<|endoftext|>", "\n").replace(" ", "\u2581")
    for at, state in enumerate(states):
        table = pairs_of(words)
        assert state["pairs"] == [[*pair, count] for pair, count in table]
        assert Counter(tuple(word) for word in state["words"] if word != ["\n"]) == words
        assert "".join(piece for word in state["words"] for piece in word) == spoken
        if at + 1 < len(states):
            piece, times, words = next(merges)
            assert state["pairs"][0][2] == times >= 2 and "".join(state["pairs"][0][:2]) == piece
    assert not table or table[0][1] < 2  # it stops where no pair occurs twice
    assert len(states) > 1 or kind.startswith("nothing") or not counted


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_the_ids_of_a_chat_have_their_names_and_come_from_no_text(kind):
    text = "<|user|>Hello.<|endofturn|>\n" * 9
    if kind == "char":
        tokenizer = CharTokenizer.train(text, chat=True)
    else:
        tokenizer = BPETokenizer.train(text, vocab_size=300, chat=True)
    about, texts = describe(tokenizer), [text, "<|user|>", "<|endoftext|><|endofturn|>"]
    assert engine("names", about=about) == tokenizer.tokens
    assert engine("encode", about=about, texts=texts) == [tokenizer.encode(each) for each in texts]
    reserved = list(tokenizer.chat_ids.values())
    assert engine("decode", about=about, ids=[reserved]) == ["<|system|><|user|><|assistant|><|endofturn|>"]


def model_of_bytes() -> tuple[GPT, dict[bytes, int]]:
    """A model for the tokenizer of tales-bpe that always expects one of a few tokens, most of them bytes of 好 and 😀; and
    their ids, the likeliest first."""
    _, tokenizer = load_pretrained("tales-bpe")
    named = [*(bytes([b]) for b in "好😀".encode()), b" the", b"\xe5"]
    ids = {piece: i for i, piece in enumerate(tokenizer.token_bytes) if piece in named}
    gpt = GPT(GPTConfig(tokenizer.vocab_size, block_size=64, n_layer=1, n_head=1, n_embd=8, end_id=tokenizer.end_id))
    with torch.no_grad():
        gpt.norm.weight.zero_()
        gpt.norm.bias.zero_()[0] = 1
        gpt.head.weight.zero_()[:, 0] = -20
        for place, piece in enumerate(ids):
            gpt.head.weight[ids[piece], 0] = -place / 16
    return gpt.eval(), ids


@pytest.fixture
def bytes_file(tmp_path) -> str:
    (tmp_path / "bytes.bin").write_bytes(model_file(model_of_bytes()[0], load_pretrained("tales-bpe")[1]))
    return str(tmp_path / "bytes.bin")


def message(**changed) -> dict:
    """What the page asks the worker for when the reader presses Write."""
    return {"action": "generate", "prompt": "", "kept": [], "knobs": {}, "seed": 1, "count": 9, "stop": ""} | changed


def texts(answer: list[dict]) -> list[str]:
    """The text of each token that the worker sent."""
    return [sent["part"]["text"] for sent in answer if "part" in sent]


def test_its_text_is_that_of_pythons_stream_where_bytes_make_no_character_and_where_it_ends_within_one(bytes_file):
    gpt, _ = model_of_bytes()
    tokenizer = load_pretrained("tales-bpe")[1]
    cases = [(seed, count) for seed in range(100) for count in (1, 2, 30)]
    expected = ["".join(stream(gpt, tokenizer, "", count, seed=seed)) for seed, count in cases]
    answers = engine("work", model=bytes_file, messages=[message(seed=seed, count=count) for seed, count in cases])
    assert ["".join(texts(answer)) for answer in answers] == expected
    assert [len(texts(answer)) for answer in answers] == [
        count for _, count in cases
    ]  # a byte without a text is a token too
    assert any("好" in text for text in expected) and sum(text.endswith("\ufffd") for text in expected) > 100


def test_tokens_that_are_kept_are_joined_as_bytes_and_what_follows_joins_them(bytes_file):
    gpt, ids = model_of_bytes()
    tokenizer = load_pretrained("tales-bpe")[1]
    kept = [[b" the"], [b"\xe5"], [b"\xe5", b"\xa5"], [b"\xe5", b"\xa5", b"\xbd"], [b" the", b"\xf0", b"\x9f", b"\xe5"]]
    chosen = [[ids[piece] for piece in pieces] for pieces in kept]
    for count in (0, 1, 2, 9):
        messages = [message(kept=[{"id": i, "text": "<0x8F>"} for i in each], count=count) for each in chosen]
        for each, answer in zip(chosen, engine("work", model=bytes_file, messages=messages), strict=True):
            new = list(generate(gpt, [tokenizer.end_id, *each], count, seed=1)) if count else []
            assert "".join(texts(answer)) == tokenizer.decode(each + new)
            assert [sent["part"]["id"] for sent in answer[:-1]] == each + new


def test_the_end_among_the_alternatives_ends_the_text(bytes_file):
    _, ids = model_of_bytes()
    kept = [{"id": ids[b" the"]}, {"id": load_pretrained("tales-bpe")[0].config.end_id}]
    (answer,) = engine("work", model=bytes_file, messages=[message(kept=kept)])
    assert texts(answer) == [" the"] and answer[-1]["done"] == {"why": "end"}


def test_an_end_mark_ends_the_text_of_a_model_whose_settings_do_not_name_it(tmp_path):
    """As in Python's `stream`, where the tokenizer says which token that is; an empty prompt begins with it, too."""
    tokenizer = CharTokenizer.train("abc")
    torch.manual_seed(0)
    raw = model_file(GPT(GPTConfig(tokenizer.vocab_size, block_size=8, n_layer=1, n_head=1, n_embd=8)), tokenizer)
    (tmp_path / "endless.mgpt").write_bytes(raw)
    gpt = load_model_file(raw)[0].eval()
    asked = [message(seed=seed, count=20) for seed in range(20)]
    answers = engine("work", model=str(tmp_path / "endless.mgpt"), messages=asked)
    expected = ["".join(stream(gpt, tokenizer, "", 20, seed=seed)) for seed in range(20)]
    assert ["".join(texts(answer)) for answer in answers] == expected
    assert [answer[-1]["done"]["why"] == "end" for answer in answers] == [len(text) < 20 for text in expected]
    assert sum(len(text) < 20 for text in expected) > 5 and "" in expected


def test_it_tells_which_of_several_texts_a_model_can_read(files):
    readable = {"action": "readable", "texts": ["caf\u00e9 \u00e8", "\u00e8", "Wren", "", "Toby"]}
    (answer,) = engine("work", model=files["tales-char"], messages=[readable])
    assert answer[0]["done"] == {"place": 2, "stranger": "\u00e9"}
    (answer,) = engine("work", model=files["tales-bpe"], messages=[readable])
    assert answer[0]["done"]["place"] == 0  # it has the bytes


def test_its_maps_are_the_models(files):
    model, tokenizer = load_pretrained("tales-char")
    ids = tokenizer.encode('"Where is the Spoon?" asked Wren.')
    expected = attention_maps(model, torch.tensor([ids]))[:, 0]  # (n_layer, H, T, T)
    for layer, heads in enumerate(engine("maps", model=files["tales-char"], ids=ids)):
        for head, rows in enumerate(heads):
            for t, row in enumerate(rows):
                assert torch.allclose(
                    torch.tensor(row, dtype=torch.float), expected[layer, head, t, : t + 1], atol=1e-5
                )


@pytest.mark.parametrize("name", PRETRAINED)
def test_heads_that_are_muted_are_silent_as_in_python(name, files):
    model, tokenizer = load_pretrained(name)
    L, H = model.config.n_layer, model.config.n_head
    dice = random.Random(7)
    prompts = [[dice.randrange(model.config.vocab_size) for _ in range(n)] for n in (1, 9, model.config.block_size)]
    whole = engine("logits", model=files[name], prompts=prompts)
    text = "这是谁的椅子？" if name == "tales-zh" else "the ship, the sea"
    ids = torch.tensor([tokenizer.encode(text)])
    most = 0.0
    for muted in ([], [(0, 1)], [(L - 1, H - 1)], [(0, 1), (0, 2), (L - 1, 0)]):
        asked = {"action": "attend", "text": text, "muted": muted}
        (answer,) = engine("work", model=files[name], messages=[asked])
        found = engine("logits", model=files[name], prompts=prompts, muted=muted)
        with knocked_out(model, muted), torch.no_grad():
            expected = [model(torch.tensor([each]))[0][0, -1] for each in prompts]
            log_p = model(ids)[0][0].log_softmax(-1)  # (T, V)
            maps = attention_maps(model, ids)[:, 0]
        for ours, theirs in zip(found, expected, strict=True):
            most = max(most, (torch.tensor(ours) - theirs).abs().max().item())
        assert (found == whole) == (muted == [])
        losses = torch.tensor(answer[0]["done"]["losses"][1:])
        assert torch.allclose(losses, -log_p[:-1].gather(1, ids[0, 1:, None])[:, 0], atol=1e-4)
        last = torch.tensor(answer[0]["done"]["maps"][-1][0][-1])
        assert torch.allclose(last, maps[-1, 0, -1], atol=1e-5)
    print(f"{name}: the largest difference of a logit is {most:.1e}")
    assert most < 1e-4


@pytest.mark.parametrize("name", PRETRAINED)
@pytest.mark.parametrize("layer", [0, -1])
def test_the_inner_values_of_a_block_are_those_of_pytorchs_hooks(name, layer, files):
    model, _ = load_pretrained(name)
    layer %= model.config.n_layer
    dice, most = random.Random(6), 0.0
    for length in (1, 17, model.config.block_size):
        ids = [dice.randrange(model.config.vocab_size) for _ in range(length)]
        expected = inner_values(model, torch.tensor(ids), layer)
        found = engine("inside", model=files[name], ids=ids, layer=layer)
        assert set(found) == set(expected)
        padded = [[row + [0] * (length - len(row)) for row in head] for head in found.pop("weights")]
        assert torch.allclose(torch.tensor(padded, dtype=torch.float), expected.pop("weights"), atol=1e-5)
        for value, numbers in expected.items():
            ours = torch.tensor(found[value], dtype=torch.float).view(numbers.shape)
            assert torch.allclose(ours, numbers, atol=1e-4, rtol=1e-4), value
            most = max(most, ((ours - numbers).abs() / numbers.abs().clamp(min=1)).max().item())
    print(f"{name}, layer {layer}: the largest difference, relative to numbers above 1, is {most:.1e}")


def test_the_worker_tells_the_inner_values_of_the_end_of_a_text_that_is_too_long(files):
    model, tokenizer = load_pretrained("tales-char")
    T = model.config.block_size
    asked = [{"action": "inside", "text": text, "layer": 1} for text in ("The sea. " * 30, "")]
    (long,), (empty,) = engine("work", model=files["tales-char"], messages=asked)
    assert long["done"]["ids"] == tokenizer.encode("The sea. " * 30)[-T:]
    assert long["done"]["names"] == [tokenizer.tokens[i] for i in long["done"]["ids"]]
    assert len(long["done"]["inside"]["stream"]) == T * model.config.n_embd and empty["done"]["inside"] is None


SHAPE = {"vocab_size": 17, "block_size": 24, "n_layer": 2, "n_head": 4, "n_embd": 32, "end_id": 0}
CHOICES = {
    "plain": {},
    "rms": {"norm": "rms"},
    "another epsilon": {"norm_eps": 0.1},
    "odd heads": {"n_embd": 28},  # of 7 numbers
    "rotary": {"rope_base": 1_000.0},
    "grouped": {"n_kv_head": 2},
    "one key": {"n_kv_head": 1, "rope_base": 10_000.0},
    "qk norm": {"qk_norm": True, "norm_eps": 0.01},
    "gelu": {"feed_forward": "gelu"},
    "squared relu": {"feed_forward": "squared-relu", "n_hidden": 40},
    "swiglu": {"feed_forward": "swiglu", "n_hidden": 40},
    "no bias": {"bias": False},
    "tied": {"tied": True},
    "softcap, scale": {"softcap": 5.0, "logit_scale": 2.0},
    "norm of the input": {"norm_input": True},
    "previous tokens": {"previous_tokens": 2},
    "GPT-2": {"feed_forward": "gelu", "tied": True, "start": "scaled"},
    "Llama": {"norm": "rms", "norm_eps": 1e-6, "rope_base": 1e5, "n_kv_head": 2, "feed_forward": "swiglu", "n_hidden": 48, "bias": False, "tied": True},
    "Qwen": {"norm": "rms", "rope_base": 1e6, "n_kv_head": 1, "qk_norm": True, "feed_forward": "swiglu", "bias": False},
    "a longer window": {"rope_base": 10_000.0, "block_size": 700},
    "fast": None,
}  # fmt: skip


@pytest.fixture(scope="module", params=CHOICES)
def composed(request, tmp_path_factory) -> tuple[GPT, str]:
    """A model of these parts, each of which has a say, with the weights that its file holds; and the file."""
    folder, choice = tmp_path_factory.mktemp("composed"), CHOICES[request.param]
    torch.manual_seed(0)
    model = (
        FastGPT(FastConfig(17, block_size=24, end_id=0))
        if choice is None
        else ComposedGPT(ComposedConfig(**(SHAPE | choice)))
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    save_model(model, folder, narrow=True)
    model = load_model(folder)
    (folder / "model.bin").write_bytes(model_file(model, CharTokenizer(list("abcdefghijklmnop"))))
    return model, str(folder / "model.bin")


def test_a_model_of_other_parts_has_pytorchs_logits_with_and_without_a_cache(composed):
    model, file = composed
    T, dice, most = model.config.block_size, random.Random(0), 0.0
    prompts = [[dice.randrange(17) for _ in range(n)] for n in (1, 2, 5, T - 1, T)]
    with torch.no_grad():
        for ids, logits in zip(prompts, engine("logits", model=file, prompts=prompts), strict=True):
            most = max(most, (model(torch.tensor([ids]))[0][0, -1] - torch.tensor(logits)).abs().max().item())
        ids, whole = prompts[-1], model(torch.tensor(prompts[-1:]))[0][0]  # (T, V)
    ends = [1, 2, 9, 10, 15, T - 1, T]
    parts = [ids[start:end] for start, end in itertools.pairwise([0, *ends])]
    for end, logits in zip(ends, engine("parts", model=file, parts=parts), strict=True):
        most = max(most, (whole[end - 1] - torch.tensor(logits)).abs().max().item())
    print(f"the largest difference of a logit is {most:.1e}, of logits up to {whole.abs().max():.1f}")
    assert most < 1e-4


def test_a_model_of_other_parts_has_pytorchs_maps_and_losses_and_queries_that_meet_their_keys(composed):
    model, file = composed
    text = "abcdefghijklmnopponm"
    ids = torch.tensor([CharTokenizer(list("abcdefghijklmnop")).encode(text)])
    (answer,) = engine("work", model=file, messages=[{"action": "attend", "text": text, "muted": []}])
    (muted,) = engine("work", model=file, messages=[{"action": "attend", "text": text, "muted": [[0, 1]]}])
    with torch.no_grad():
        expected = attention_maps(model, ids)[:, 0]  # (n_layer, H, T, T)
        losses = -model(ids)[0][0].log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
        with knocked_out(model, [(0, 1)]):
            without = -model(ids)[0][0].log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
    done, (T, H) = answer[0]["done"], (len(text), model.config.n_head)
    for layer, heads in enumerate(done["maps"]):
        for head, rows in enumerate(heads):
            for t, row in enumerate(rows):
                torch.testing.assert_close(torch.Tensor(row), expected[layer, head, t, : t + 1], rtol=0, atol=1e-5)
        q, k = (
            torch.tensor(list(done[each][layer].values())).view(T, -1, model.config.n_embd // H)
            for each in ("queries", "keys")
        )
        scores = torch.einsum("thd,shd->hts", q, k.repeat_interleave(H // k.shape[1], 1)) / q.shape[-1] ** 0.5
        hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
        assert torch.allclose(scores.masked_fill(hidden, -torch.inf).softmax(-1), expected[layer], atol=1e-5)
    assert torch.allclose(torch.tensor(done["losses"][1:]), losses, atol=1e-4)
    assert torch.allclose(torch.tensor(muted[0]["done"]["losses"][1:]), without, atol=1e-4)


def test_a_model_of_other_parts_writes_what_python_writes(composed):
    model, file = composed
    dice, cases, expected = random.Random(2), [], []
    for seed in range(8):
        ids = [dice.randrange(1, 17) for _ in range(dice.randint(1, 20))]
        knobs = random_knobs(dice) if seed else {"temperature": 0}
        cases.append({"ids": ids, "count": 60, "knobs": knobs, "seed": seed})  # longer than the window
        expected.append(list(generate(model, ids, 60, seed=seed, **knobs)))
    assert engine("generate", model=file, cases=cases) == expected


def test_a_model_of_other_parts_is_not_taken_apart(composed):
    (answer,) = engine("work", model=composed[1], messages=[{"action": "inside", "text": "abc", "layer": 0}])
    assert answer[0]["failed"] == "only the plain GPT is taken apart here: choose another model"


def test_a_tied_head_travels_once():
    tokenizer = CharTokenizer(list("abcdefghijklmnop"))
    tied, free = (len(model_file(ComposedGPT(ComposedConfig(**SHAPE, tied=t)), tokenizer)) for t in (True, False))
    assert free - tied >= 17 * (32 + 4)  # int8, and a scale for each row


def test_a_character_it_does_not_know_and_half_a_character_are_refused_in_a_sentence(files):
    (unknown,) = engine("encode", model=files["tales-char"], texts=["caf\u00e9"])
    assert unknown["refused"] == "the model does not know the character “é”: take it out"


TRUNCATED = "the model file is truncated: load it again, or export it again"


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda raw: b"", "this is no model file of minigpt_core: take one that minigpt export or a page wrote"),
        (
            lambda raw: b"<html>not found</html>",
            "this is no model file of minigpt_core: take one that minigpt export or a page wrote",
        ),
        (lambda raw: raw[:-1], TRUNCATED),
        (lambda raw: raw[:40], TRUNCATED),
        (lambda raw: raw + b"\0", "the model file is damaged, its length is not what its header says: export it again"),
        (
            lambda raw: raw[:12] + b"]" + raw[13:],
            "the model file is damaged, its header cannot be read: export it again",
        ),
        (
            lambda raw: raw[:4] + (VERSION + 1).to_bytes(4, "little") + raw[8:],
            f"the model file has version {VERSION + 1}, this page reads {VERSION}: export it again",
        ),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused_in_a_sentence(damage, said, tmp_path):
    (tmp_path / "model.bin").write_bytes(damage(model_file(*load_pretrained("tales-zh"))))
    assert engine("open", model=str(tmp_path / "model.bin")) == {"refused": said}


def with_header(raw: bytes, change) -> bytes:
    """A model file with what `change` makes of its header."""
    begin = 12 + int.from_bytes(raw[8:12], "little")
    header = json.loads(raw[12:begin])
    changed = change(header)
    text = json.dumps(header if changed is None else changed).encode()
    return raw[:8] + len(text).to_bytes(4, "little") + text + raw[begin:]


def tensor(header: dict, name: str) -> dict:
    return next(each for each in header["tensors"] if each["name"] == name)


GATE, NORM = "blocks.1.feed_forward.gate.weight", "norm.weight"


@pytest.mark.parametrize(
    "change, what",
    [
        (lambda h: [], "its header cannot be read"),
        (lambda h: {**h, "tensors": [None]}, "its header cannot be read"),
        (lambda h: h.pop("bytes") and None, "its length is not what its header says"),
        (lambda h: h["tensors"].remove(tensor(h, NORM)), f"{NORM} is missing"),
        (lambda h: h["tensors"].remove(tensor(h, GATE)), f"{GATE} is missing"),
        (lambda h: tensor(h, GATE).update(shape=[32, 44]), f"{GATE} has the shape (32,44), expected (44,32)"),
        (lambda h: tensor(h, NORM).pop("shape") and None, f"{NORM} has the shape (undefined), expected (32)"),
        (lambda h: tensor(h, NORM).update(offset=h["bytes"] - 124), f"{NORM} lies outside of it"),
        (lambda h: tensor(h, NORM).update(offset=-4), f"{NORM} lies outside of it"),
        (lambda h: tensor(h, GATE).update(scale=10**12), f"{GATE} lies outside of it"),
        (lambda h: tensor(h, GATE).pop("offset") and None, f"{GATE} lies outside of it"),
        (lambda h: h["config"].update(n_layer=3), "blocks.2.norm1.weight is missing"),
        (lambda h: h["config"].update(n_head=5), "its settings are of no model that this page knows"),
        (lambda h: h["config"].update(n_kv_head=3), "its settings are of no model that this page knows"),
        (lambda h: h["config"].pop("n_embd") and None, "its settings are of no model that this page knows"),
        (lambda h: h["config"].update(feed_forward="experts"), "its settings are of no model that this page knows"),
        (lambda h: h["tokenizer"]["characters"].pop() and None, "its tokenizer has another size than the model"),
        (lambda h: h["tokenizer"].update(kind="bpe"), "its tokenizer has another size than the model"),
        (lambda h: h.pop("tokenizer") and None, "its tokenizer has another size than the model"),
        (lambda h: h["tokenizer"].update(characters=[{}] * 16), "its tokenizer holds what is no text"),
        *(
            (lambda h, change=change: h["config"].update(change), "its settings are of no model that this page knows")
            for change in (
                {"n_embd": "32"},
                {"n_head": 0.5},
                {"norm_eps": "x"},
                {"rope_base": -5},
                {"logit_scale": None},
                {"softcap": "a"},
                {"previous_tokens": -1},
                {"feed_forward": "constructor"},
            )
        ),
    ],
)
def test_a_file_with_a_damaged_header_is_refused_in_a_sentence(change, what, tmp_path):
    llama = {"norm": "rms", "rope_base": 1e4, "n_kv_head": 2, "feed_forward": "swiglu", "n_hidden": 44, "bias": False}
    model = ComposedGPT(ComposedConfig(17, n_layer=2, n_embd=32, **llama))
    raw = with_header(model_file(model, CharTokenizer(list("abcdefghijklmnop"))), change)
    (tmp_path / "model.bin").write_bytes(raw)
    assert engine("open", model=str(tmp_path / "model.bin")) == {
        "refused": f"the model file is damaged, {what}: export it again"
    }


def test_a_window_that_no_memory_holds_is_a_sentence(tmp_path):
    model = ComposedGPT(ComposedConfig(17, block_size=24, n_layer=1, n_embd=32, rope_base=1e4))
    raw = with_header(
        model_file(model, CharTokenizer(list("abcdefghijklmnop"))), lambda h: h["config"].update(block_size=10**9)
    )
    (tmp_path / "model.bin").write_bytes(raw)
    (answer,) = engine("work", model=str(tmp_path / "model.bin"), messages=[message()])
    assert answer[-1]["failed"].startswith("this browser gives no 256000 MB of memory, which this needs")


def test_a_model_for_the_page_is_small_and_its_script_holds_the_same_bytes():
    import base64
    import gzip

    raw = model_file(*load_pretrained("tales-char"))
    script = as_script("tales-char", raw)
    assert len(gzip.compress(script.encode(), 9)) < 0.85e6
    data = script.removeprefix('minigpt.receive("tales-char", "').removesuffix('");')
    assert gzip.decompress(base64.b64decode(data)) == raw
