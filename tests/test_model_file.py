"""A model file on its way from Python to the page and back: the engine reads and writes it under Node."""

import base64
import json
import random
import re
import shutil
import struct

import pytest
import torch
from test_engine import engine, tensor, with_header

from conftest import called
from minigpt_core import (
    GPT,
    BPETokenizer,
    CharTokenizer,
    GPTConfig,
    generate,
    load_model,
    load_pretrained,
    load_tokenizer,
    save_model,
)
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.checkpoint import narrow_weights
from minigpt_core.pretrained import PRETRAINED
from minigpt_core.widgets.export import VERSION, describe, load_model_file, model_file

TEXT = "the cat and the hat\n<|user|>猫\u2028😀" * 9
LLAMA = {"norm": "rms", "norm_eps": 1e-6, "rope_base": 10_000.0, "n_kv_head": 2, "qk_norm": True, "feed_forward": "swiglu", "n_hidden": 44, "bias": False, "tied": True}  # fmt: skip
OTHER = {"feed_forward": "gelu", "previous_tokens": 2, "softcap": 5.0, "logit_scale": 2.0, "norm_input": True}
TOKENIZERS = {
    "characters": CharTokenizer.train(TEXT),
    "characters, chat": CharTokenizer.train(TEXT, chat=True),
    "pieces": BPETokenizer.train(TEXT, vocab_size=290),
    "pieces, chat": BPETokenizer.train(TEXT, vocab_size=290, chat=True),
    "pieces, no bytes": BPETokenizer.train(TEXT, vocab_size=30, byte_fallback=False),
}
MODELS = {
    "plain": lambda V: GPT(GPTConfig(V, block_size=16, n_layer=2, n_head=2, n_embd=16, dropout=0.1, end_id=0)),
    "fast": lambda V: FastGPT(FastConfig(V, block_size=16, n_embd=16, end_id=0)),
    "Llama": lambda V: ComposedGPT(ComposedConfig(V, block_size=16, n_layer=2, n_embd=32, end_id=0, **LLAMA)),
    "other parts": lambda V: ComposedGPT(ComposedConfig(V, block_size=16, n_layer=2, n_embd=16, **OTHER)),
}


def example(name: str, V: int) -> GPT:
    """A small model in which every weight has a say."""
    torch.manual_seed(0)
    model = MODELS[name](V)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def header_of(raw: bytes) -> dict:
    return json.loads(raw[12 : 12 + int.from_bytes(raw[8:12], "little")])


def wide_file(model: GPT, tokenizer) -> bytes:
    """The same model as `model_file` writes, all in float32: as a page writes one."""
    tensors, numbers = [], b""
    for name, weights in model.state_dict().items():
        tensors.append({"name": name, "shape": list(weights.shape), "offset": len(numbers)})
        numbers += weights.numpy().tobytes()
    header = header_of(model_file(model, tokenizer)) | {"tensors": tensors, "bytes": len(numbers)}
    raw = json.dumps(header).encode()
    return b"MGPT" + struct.pack("<II", VERSION, len(raw)) + raw + numbers


def same_weights(one: GPT, other: dict[str, torch.Tensor]) -> bool:
    weights = one.state_dict()
    return weights.keys() == other.keys() and all(torch.equal(weights[name], other[name]) for name in weights)


def widened(model: GPT) -> dict[str, torch.Tensor]:
    """The weights that are left of a model in eight bits."""
    narrow = narrow_weights(model.state_dict())
    return {
        name: numbers * narrow[f"{name}.scale"][:, None] if f"{name}.scale" in narrow else numbers
        for name, numbers in narrow.items()
        if not name.endswith(".scale")
    }


@pytest.fixture
def rewritten(tmp_path):
    """A function: what the page writes after it has read these bytes."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed: the page's way of writing model files is NOT tested")

    def rewrite(raw: bytes, **settings) -> bytes:
        (tmp_path / "in.mgpt").write_bytes(raw)
        engine("rewrite", model=str(tmp_path / "in.mgpt"), out=str(tmp_path / "out.mgpt"), **settings)
        return (tmp_path / "out.mgpt").read_bytes()

    return rewrite


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_python_reads_what_python_wrote(name, kind):
    model, tokenizer = example(name, TOKENIZERS[kind].vocab_size), TOKENIZERS[kind]
    for raw, weights in (
        (model_file(model, tokenizer), widened(model)),
        (wide_file(model, tokenizer), model.state_dict()),
    ):
        loaded, theirs = load_model_file(raw)
        assert type(loaded) is type(model) and loaded.config == model.config and not loaded.training
        assert same_weights(loaded, weights)
        assert type(theirs) is type(tokenizer) and describe(theirs) == describe(tokenizer)
        assert theirs.chat_ids == tokenizer.chat_ids and theirs.encode("the hat") == tokenizer.encode("the hat")
        assert all(parameter.requires_grad for parameter in loaded.parameters())  # it can learn further


PAIRS = [*((name, "characters") for name in MODELS if name != "fast"), *(("fast", kind) for kind in TOKENIZERS)]


@pytest.mark.parametrize("name, kind", PAIRS)
def test_what_the_page_writes_python_reads_to_the_bit(name, kind, rewritten, tmp_path):
    model, tokenizer = example(name, TOKENIZERS[kind].vocab_size).eval(), TOKENIZERS[kind]
    narrow = rewritten(model_file(model, tokenizer))
    assert same_weights(load_model_file(narrow)[0], widened(model))
    wide = rewritten(wide_file(model, tokenizer))
    assert wide == rewritten(wide), "the page does not write what it has read"
    assert wide == rewritten(wide, config=header_of(wide)["config"]), "the settings of a header are not enough"
    assert header_of(wide)["tokenizer"] == describe(tokenizer)
    assert header_of(wide)["config"] == header_of(model_file(model, tokenizer))["config"]
    loaded, theirs = load_model_file(wide)
    assert loaded.config == model.config and same_weights(loaded, model.state_dict())
    assert describe(theirs) == describe(tokenizer)
    (tmp_path / "wide.mgpt").write_bytes(wide)
    dice, V = random.Random(0), model.config.vocab_size
    prompts = [[dice.randrange(V) for _ in range(n)] for n in (1, 7, 16)]
    for ids, logits in zip(prompts, engine("logits", model=str(tmp_path / "wide.mgpt"), prompts=prompts), strict=True):
        with torch.no_grad():
            ours, before = (each(torch.tensor([ids]))[0][0, -1] for each in (loaded, model))
        assert torch.equal(ours, before)
        assert torch.allclose(ours, torch.tensor(logits), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_shipped_model_comes_back_from_the_page_as_it_was(name, rewritten):
    model, tokenizer = load_pretrained(name)
    raw = model_file(model, tokenizer)
    for back in (raw, rewritten(raw)):
        loaded, theirs = load_model_file(back)
        assert loaded.config == model.config
        assert list(generate(loaded, [1], 100)) == list(generate(model, [1], 100))
        assert describe(theirs) == describe(tokenizer)
        prompts = torch.randint(model.config.vocab_size, (4, model.config.block_size))
        with torch.no_grad():
            assert torch.allclose(loaded(prompts)[0], model(prompts)[0], rtol=0, atol=1e-6)


def test_a_file_becomes_a_folder_and_a_run_can_go_on_from_it(tmp_path):
    model, tokenizer = example("fast", 290), TOKENIZERS["pieces, chat"]
    (tmp_path / "own.mgpt").write_bytes(wide_file(model, tokenizer))
    loaded, theirs = load_model_file(tmp_path / "own.mgpt")
    save_model(loaded, tmp_path / "own")
    theirs.save(tmp_path / "own")
    assert same_weights(load_model(tmp_path / "own"), model.state_dict())
    assert describe(load_tokenizer(tmp_path / "own")) == describe(tokenizer)
    x = torch.randint(290, (2, 9))
    loaded.train()(x[:, :-1], x[:, 1:])[1].backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


def refused(raw: bytes, tmp_path) -> str:
    """The sentence in which a file is refused, from its path and from its bytes."""
    path = tmp_path / "own.mgpt"
    path.write_bytes(raw)
    with pytest.raises(ValueError) as named:
        load_model_file(path)
    with pytest.raises(ValueError) as bare:
        load_model_file(raw)
    said = str(named.value)
    assert str(path) in said and "\n" not in said and len(said) < 400
    assert str(bare.value) == said.replace(f"the model file {path}", "the model file").replace(str(path), "this")
    return said.replace(str(path), "own.mgpt")


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda raw: b"", "own.mgpt is no model file of minigpt_core: take one that minigpt export or a page wrote"),
        (
            lambda raw: b"<html>not found</html>",
            "own.mgpt is no model file of minigpt_core: take one that minigpt export or a page wrote",
        ),
        (lambda raw: raw[:-1], "the model file own.mgpt is truncated: load it again, or export it again"),
        (lambda raw: raw[:40], "the model file own.mgpt is truncated: load it again, or export it again"),
        (
            lambda raw: raw + b"\0",
            "the model file own.mgpt is damaged, its length is not what its header says: export it again",
        ),
        (
            lambda raw: raw[:12] + b"]" + raw[13:],
            "the model file own.mgpt is damaged, its header cannot be read: export it again",
        ),
        (
            lambda raw: raw[:4] + (VERSION + 1).to_bytes(4, "little") + raw[8:],
            f"the model file own.mgpt has version {VERSION + 1}, this program reads {VERSION}: export it again",
        ),
    ],
)
def test_what_is_no_whole_file_is_refused_in_a_sentence(damage, said, tmp_path):
    assert refused(damage(model_file(*load_pretrained("tales-char"))), tmp_path) == said


def change_setting(**settings):
    return lambda h: h["config"].update(settings)


def change_tokenizer(**about):
    return lambda h: h["tokenizer"].update(about)


GATE, NORM = "blocks.1.feed_forward.gate.weight", "norm.weight"
NO_MODEL = "its settings are of no model that this program knows"


@pytest.mark.parametrize(
    "change, what",
    [
        (lambda h: [], "its header cannot be read"),
        (lambda h: "config", "its header cannot be read"),
        (lambda h: {**h, "tensors": [None]}, "its header cannot be read"),
        (lambda h: {**h, "tensors": 7}, "its header cannot be read"),
        (lambda h: {**h, "tensors": [{"name": []}]}, "its header cannot be read"),
        (lambda h: {**h, "tokenizer": None}, "its header cannot be read"),
        (lambda h: {**h, "bytes": None}, "its header cannot be read"),
        (lambda h: {**h, "bytes": float("inf")}, "its header cannot be read"),
        (lambda h: h.pop("config") and None, "its header cannot be read"),
        (lambda h: {**h, "bytes": -5}, "its length is not what its header says"),
        (lambda h: h["tensors"].remove(tensor(h, NORM)), f"{NORM} is missing"),
        (lambda h: h["tensors"].remove(tensor(h, GATE)), f"{GATE} is missing"),
        (lambda h: h["tensors"].clear(), f"{NO_MODEL} (it has 0 tensors, too few for them)"),
        (lambda h: tensor(h, GATE).update(shape=[32, 44]), f"{GATE} has the shape [32, 44], expected [44, 32]"),
        (lambda h: tensor(h, NORM).pop("shape") and None, f"{NORM} has the shape None, expected [32]"),
        (lambda h: tensor(h, NORM).update(shape="x" * 999), f"{NORM} has the shape {'x' * 40}, expected [32]"),
        (lambda h: tensor(h, NORM).update(offset=h["bytes"] - 124), f"{NORM} lies outside of it"),
        (lambda h: tensor(h, NORM).update(offset=-4), f"{NORM} lies outside of it"),
        (lambda h: tensor(h, NORM).update(offset=0.5), f"{NORM} lies outside of it"),
        (lambda h: tensor(h, GATE).update(scale=10**12), f"{GATE} lies outside of it"),
        (lambda h: tensor(h, GATE).update(scale=None), f"{GATE} lies outside of it"),
        (lambda h: tensor(h, GATE).pop("offset") and None, f"{GATE} lies outside of it"),
        (lambda h: h.update(config=None), f"{NO_MODEL} (the settings of the model are None, not names and values)"),
        (change_setting(n_layer=3), "blocks.2.norm1.weight is missing"),
        (change_setting(n_layer=10**9), f"{NO_MODEL} (it has 20 tensors, too few for them)"),
        (change_setting(previous_tokens=10**9), f"{NO_MODEL} (it has 20 tensors, too few for them)"),
        (change_setting(n_head=5), f"{NO_MODEL} (n_embd=32 is not divisible by n_head=5)"),
        (change_setting(n_kv_head=3), f"{NO_MODEL} (n_head=4 is not divisible by n_kv_head=3)"),
        (change_setting(n_embd="32"), f"{NO_MODEL} (n_embd='32' must be a whole number of at least 1)"),
        (change_setting(tied="no"), f"{NO_MODEL} (tied='no' must be true or false)"),
        (change_setting(qk_norm=None), f"{NO_MODEL} (qk_norm=None must be true or false)"),
        (change_setting(kind="other"), "a model of the kind 'other' is not known: those known are"),
        (change_setting(kind=[]), "a model of the kind '[]' is not known: those known are"),
        (change_setting(kind="gpt"), "the settings of the model are not those of a 'gpt'"),
        (change_setting(depth=3), "the settings of the model are not those of a 'composed'"),
        (change_setting(feed_forward=[]), NO_MODEL),
        (change_setting(n_hidden=10**30), NO_MODEL),
        (change_setting(vocab_size=10**30), NO_MODEL),
        (change_setting(end_id=99), f"{NO_MODEL} (end_id=99 is outside the vocabulary of vocab_size=17)"),
        (change_setting(vocab_size=18), "its tokenizer has another size than the model, 17 tokens and not 18"),
        (
            lambda h: h["tokenizer"]["characters"].pop() and None,
            "its tokenizer has another size than the model, 16 tokens and not 17",
        ),
        (lambda h: h.update(tokenizer={}), "its tokenizer cannot be read ('kind')"),
        (change_tokenizer(kind=None), "its tokenizer cannot be read ('sentencepiece')"),
        (change_tokenizer(characters=None), "its tokenizer cannot be read ("),
        (change_tokenizer(characters=7), "its tokenizer cannot be read ("),
        (change_tokenizer(characters=["ab"]), "(characters must be single ones, but the one at 0 is 'ab')"),
        (change_tokenizer(characters=["a", "a"]), "(characters must be different, but 'a' stands there 2 times)"),
        (change_tokenizer(characters=["\ud800"]), "its tokenizer cannot be read ("),
        (change_tokenizer(characters="abcdefghijklmnop"), "('characters' is not what it should be)"),
        (change_tokenizer(chat=["<|user|>"]), "('chat' is not what it should be)"),
        (change_tokenizer(chat=7), "('chat' is not what it should be)"),
    ],
)
def test_a_damaged_header_is_refused_in_a_sentence(change, what, tmp_path):
    model = ComposedGPT(ComposedConfig(17, n_layer=2, n_embd=32, **(LLAMA | {"qk_norm": False})))
    said = refused(with_header(model_file(model, CharTokenizer(list("abcdefghijklmnop"))), change), tmp_path)
    assert said.startswith("the model file own.mgpt is damaged, ") and said.endswith(": export it again")
    assert what in said


@pytest.mark.parametrize(
    "change, what",
    [
        (change_tokenizer(sentencepiece=7), "its tokenizer cannot be read ("),
        (change_tokenizer(sentencepiece="猫"), "its tokenizer cannot be read ("),
        (change_tokenizer(sentencepiece="AAAA"), "(model must be the bytes of a SentencePiece model, not b'\\x00"),
        (change_tokenizer(sentencepiece=""), "(the SentencePiece model is empty or was not trained by this program)"),
        (change_tokenizer(kind="word"), "('kind' is not what it should be)"),
        (change_tokenizer(pieces=None), "('pieces' is not what it should be)"),
        (lambda h: h["tokenizer"]["pieces"].reverse(), "('pieces' is not what it should be)"),
        (change_tokenizer(chat=["<|system|>"]), "('chat' is not what it should be)"),
        (
            lambda h: h["tokenizer"].update(
                sentencepiece=base64.b64encode(TOKENIZERS["pieces, chat"].model).decode(),
            ),
            "is not what it should be)",
        ),
    ],
)
def test_a_damaged_vocabulary_of_pieces_is_refused_in_a_sentence(change, what, tmp_path):
    raw = with_header(model_file(example("plain", 290), TOKENIZERS["pieces"]), change)
    said = refused(raw, tmp_path)
    assert said.startswith("the model file own.mgpt is damaged, its tokenizer") and what in said


def test_pieces_of_an_older_file_without_their_sentencepiece_model_are_refused(tmp_path, rewritten):
    raw = with_header(
        model_file(example("plain", 290), TOKENIZERS["pieces"]), lambda h: h["tokenizer"].pop("sentencepiece") and None
    )
    for each in (raw, rewritten(raw)):
        assert refused(each, tmp_path) == (
            "the model file own.mgpt is an older one, in which pieces come without their SentencePiece model: export it again"
        )


@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf])
@pytest.mark.parametrize("narrow", [True, False])
def test_weights_that_are_not_finite_are_refused(spoilt, narrow, tmp_path):
    model, tokenizer = example("plain", TOKENIZERS["characters"].vocab_size), TOKENIZERS["characters"]
    raw = (model_file if narrow else wide_file)(model, tokenizer)
    there = tensor(header_of(raw), "head.weight")
    at = len(raw) - header_of(raw)["bytes"] + there["scale" if narrow else "offset"] + 8
    said = refused(raw[:at] + struct.pack("<f", spoilt) + raw[at + 4 :], tmp_path)
    assert said == (
        "the model file own.mgpt has weights that are not finite, in head.weight, its training may have diverged: "
        "train or export it again"
    )
    assert engine("open", model=str(tmp_path / "own.mgpt")) == {"refused": said.replace(" own.mgpt", "")}


@pytest.mark.parametrize("kind", ["characters, chat", "pieces"])
def test_whatever_is_damaged_it_is_a_model_or_a_sentence(kind):
    dice, tokenizer, read = random.Random(0), TOKENIZERS[kind], 0
    models = [example(name, tokenizer.vocab_size) for name in MODELS]
    files = [write(model, tokenizer) for model in models for write in (model_file, wide_file)]
    for case in range(600):
        raw = bytearray(dice.choice(files))
        begin = len(raw) - header_of(raw)["bytes"]
        for _ in range(dice.choice([1, 1, 3])):
            place = dice.randrange(dice.choice([12, begin, begin, len(raw)]))
            raw[place] = dice.choice([dice.randrange(256), *b'0159-.,:"[]{} eE'])
        if case % 10 == 0:
            del raw[dice.randrange(len(raw)) :]
        try:
            model, theirs = load_model_file(bytes(raw))
        except ValueError as error:
            assert re.fullmatch(
                r"(the model file|this is no model file) .*: .* again|this is no model file .*", str(error)
            )
        else:
            assert theirs.vocab_size == model.config.vocab_size
            read += 1
    assert 50 < read < 550, "the damage is too small, or too large, to show anything"


def test_a_file_may_begin_its_numbers_anywhere():
    """As one does in which a vector of bytes stands before others."""
    model, tokenizer = example("plain", 17), CharTokenizer(list("abcdefghijklmnop"))
    raw = wide_file(model, tokenizer)

    def shift(header: dict) -> None:
        header["bytes"] += 1
        for each in header["tensors"]:
            each["offset"] += 1

    begin = len(raw) - header_of(raw)["bytes"]
    loaded, _ = load_model_file(with_header(raw[:begin] + b"\0" + raw[begin:], shift))
    assert same_weights(loaded, model.state_dict())


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with own.mgpt, which a page may have written, and the same model as a folder."""
    folder = tmp_path_factory.mktemp("own")
    model, tokenizer = example("fast", 290), TOKENIZERS["pieces"]
    (folder / "own.mgpt").write_bytes(wide_file(model, tokenizer))
    save_model(model, folder / "own")
    tokenizer.save(folder / "own")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["generate", "--prompt", "the ", "--max-new-tokens", 20],
        ["generate", "--device", "cpu", "--max-new-tokens", 5],
        ["info"],
        ["tokenize", "the hat"],
    ],
)
def test_a_command_takes_a_file_as_it_takes_a_folder(command, own):
    file, folder = (called(*command, "--model", name, cwd=own) for name in ("own.mgpt", "own"))
    assert file.returncode == 0, file.stderr
    assert (file.stdout, file.stderr) == (folder.stdout, folder.stderr) and file.stdout


def test_export_makes_a_file_smaller_and_never_writes_over_it(own, tmp_path):
    for arguments, where in (
        (["--model", "own.mgpt"], own),
        (["--model", own / "own.mgpt", "--out", own / "own"], own),
    ):
        done = called("export", *arguments, cwd=where)
        assert done.returncode == 2 and done.stderr.endswith("is there already: name another --out\n")
    assert called("export", "--model", own / "own.mgpt", cwd=tmp_path).returncode == 0
    narrow, wide = ((folder / "own.mgpt").read_bytes() for folder in (tmp_path, own))
    assert len(narrow) < 0.6 * len(wide)
    assert same_weights(load_model_file(narrow)[0], widened(load_model_file(wide)[0]))


def test_text_is_prepared_with_the_tokenizer_of_a_file(own, tmp_path):
    for i in range(20):
        (tmp_path / f"{i}.txt").write_text(f"the cat and the hat {i}\n" * 99)
    arguments = ["prepare", tmp_path / "*.txt", "--workers", 1]
    for name in ("own.mgpt", "own"):
        done = called(*arguments, "--model", own / name, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert describe(load_tokenizer(tmp_path / "own.mgpt")) == describe(load_tokenizer(tmp_path / "own"))


NOTHING = "there is no model in nothing.mgpt: name a folder, a file, one of the shipped models tales-char, tales-bpe,"


@pytest.mark.parametrize("command", [["generate"], ["info"], ["tokenize", "a"], ["export", "--out", "x"], ["chat"]])
@pytest.mark.parametrize(
    "name, said",
    [
        ("nothing.mgpt", NOTHING),
        ("page.html", "page.html is no model file of minigpt_core: take one that minigpt export or a page wrote"),
        ("cut.mgpt", "the model file cut.mgpt is truncated: load it again, or export it again"),
        ("empty", "json is missing"),
    ],
)
def test_a_model_that_is_none_is_refused_in_a_sentence(command, name, said, own, tmp_path):
    (tmp_path / "page.html").write_text("<html></html>")
    (tmp_path / "cut.mgpt").write_bytes((own / "own.mgpt").read_bytes()[:99])
    (tmp_path / "empty").mkdir()
    done = called(*command, "--model", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr and done.stderr.count("\n") == 1


def test_python_refuses_a_folder_and_a_file_that_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder, not a model file: load_model reads the model in it$"):
        load_model_file(tmp_path)
    with pytest.raises(
        ValueError, match=r"^the model file .*none\.mgpt cannot be read, No such file or directory: look"
    ):
        load_model_file(tmp_path / "none.mgpt")


def test_talking_asks_for_a_model_that_was_trained_to(own):
    assert "own.mgpt was not trained to talk" in called("chat", "--model", own / "own.mgpt").stderr
