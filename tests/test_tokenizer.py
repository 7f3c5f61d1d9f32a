"""Tokenizers: nothing is lost, SentencePiece agrees, and every refusal says what to do."""

import json
import random
import re

import numpy as np
import pytest
import sentencepiece
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt_core import BPETokenizer, CharTokenizer, load_corpus, load_tokenizer
from minigpt_core.tokenizer import END_OF_TEXT

examples = settings(max_examples=300, deadline=None, derandomize=True, database=None)

SAMPLE = load_corpus("sample")
CHAR = CharTokenizer.train(SAMPLE)
BPE = BPETokenizer.train(SAMPLE, vocab_size=400)
BOTH = pytest.mark.parametrize("tokenizer", [CHAR, BPE], ids=["char", "bpe"])

# Strings that tokenizers are known to stumble over, alone and amid others.
AWKWARD = [
    "",
    " ",
    "  two  spaces  ",
    "\n\n",
    " \n ",
    "\r\n",
    "\t",
    "\0",
    "a\0b",
    "\u2581",
    "a\u2581 b",
    "\u2585",
    "e\u0301",
    "é",
    "ﬁ",
    "Ａ",
    "\ufeff",
    "\ufffd",
    "\uffff",
    "\U0010ffff",
    "😀",
    "👩‍👩‍👧",
    "<unk>",
    "<s>",
    "</s>",
    "<0xE2>",
    "<0x0A>",
    "<|endoftext",
    "<|endoftext|>",
    "<|endoftext|><|endoftext|>",
    "<|endoftext|>\u2581<|endoftext|>",
]
any_character = st.characters(exclude_categories=["Cs"])
any_text = st.lists(st.sampled_from(AWKWARD) | st.text(any_character, max_size=8), max_size=8).map("".join)
plain_text = any_text.filter(lambda s: "\u2581" not in s and END_OF_TEXT not in s)


def feasible_range(text: str, **settings) -> tuple[int, int]:
    """The range of vocabulary sizes that the error message of an impossible size names."""
    with pytest.raises(ValueError, match=r"between \d+ and \d+$") as caught:
        BPETokenizer.train(text, vocab_size=1, **settings)
    low, high = re.findall(r"\d+", str(caught.value))[-2:]
    return int(low), int(high)


# Nothing is lost


@examples
@given(any_text)
def test_bpe_loses_nothing(text):
    assert BPE.decode(BPE.encode(text)) == text


# Texts to learn from that lack a space, a line break, or hold what SentencePiece reserves, and options for each.
LEARNED_FROM = {
    "no spaces": ("你好世界\n" * 9, {}),
    "rare spaces": ("你好世界，灯塔船长\n" * 30 + "a b", {"character_coverage": 0.98}),
    "one letter": ("a", {}),
    "only spaces": ("   ", {}),
    "no line breaks": ("the cat and the hat " * 9, {}),
    "tabs": ("a\tb\tc\n" * 9, {}),
    "what SentencePiece reserves": ("x \u2581 y \u2585 z \0 a\n" * 9, {}),
    "its own names": ("the <unk> and <0x41> and <s> </s> <pad>\n" * 9, {}),
    "end marks": (f"one{END_OF_TEXT}two<|endof{END_OF_TEXT}text|>\n" * 9, {}),
    "a real text": (SAMPLE, {}),
}


@pytest.fixture(scope="module", params=list(LEARNED_FROM))
def learned(request) -> BPETokenizer:
    """A tokenizer of each of these texts, with about half of the merges that it allows."""
    text, options = LEARNED_FROM[request.param]
    low, high = feasible_range(text, **options)
    return BPETokenizer.train(text, vocab_size=(low + high) // 2, **options)


@settings(examples, max_examples=100)
@given(text=any_text | st.text(st.sampled_from(" \t\n\r\0\u2581\u2585<|>ax你\ufffd"), max_size=20))
def test_bpe_with_bytes_loses_nothing_whatever_it_learned_from(learned, text):
    ids = learned.encode(text)
    assert learned.decode(ids) == text
    assert b"".join(learned.token_bytes[i] for i in ids) == text.encode()


def test_a_space_that_the_text_lacks_is_the_byte_of_a_space():
    tokenizer = BPETokenizer.train("你好世界\n" * 99, vocab_size=265)
    assert [tokenizer.tokens[i] for i in tokenizer.encode("好 ")] == ["好", "<0x20>"]
    assert [tokenizer.tokens[i] for i in tokenizer.encode("\u2581")] == ["<0xE2>", "<0x96>", "<0x81>"]


@pytest.mark.parametrize("byte_fallback", [True, False])
@pytest.mark.parametrize("name", ["<unk>", "<s>", "</s>", "<pad>", "<0x41>", "<0xe2>", "<|endoftext", "<0x41><unk>"])
def test_sentencepieces_own_names_in_a_text_are_text(name, byte_fallback):
    text = f"the {name} cat\n" * 50
    _, high = feasible_range(text, byte_fallback=byte_fallback)
    tokenizer = BPETokenizer.train(text, vocab_size=high, byte_fallback=byte_fallback)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text and tokenizer.processor.unk_id() not in ids
    assert all(own_piece(tokenizer, character) for character in set(text)), "learned as any other character"


def test_bpe_loses_no_code_point():
    """All 1,112,064 characters that UTF-8 can write."""
    characters = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    for start in range(0, len(characters), 50_000):
        chunk = characters[start : start + 50_000]
        assert BPE.decode(BPE.encode(chunk)) == chunk


@examples
@given(st.text(st.sampled_from(SAMPLE)))
def test_char_loses_nothing_of_its_characters(text):
    assert CHAR.decode(CHAR.encode(text)) == text
    assert len(CHAR.encode(text)) == len(text)


def test_both_lose_nothing_of_alice(alice):
    for tokenizer in (CharTokenizer.train(alice), BPETokenizer.train(alice, vocab_size=512)):
        assert tokenizer.decode(tokenizer.encode(alice)) == alice


@BOTH
def test_decoding_is_joining_the_bytes_of_the_tokens(tokenizer):
    ids = tokenizer.encode(SAMPLE)
    assert b"".join(tokenizer.token_bytes[i] for i in ids) == SAMPLE.encode()
    assert len(tokenizer.token_bytes) == len(tokenizer.tokens) == tokenizer.vocab_size
    assert set(ids) <= set(range(tokenizer.vocab_size))


def test_half_a_character_decodes_to_the_replacement_character():
    first, *rest = BPE.encode("龍")  # not in the sample: three bytes
    assert len(rest) == 2 and BPE.decode([first]) == "\ufffd" and BPE.decode(rest[:1]) == "\ufffd"


@BOTH
@pytest.mark.parametrize("wrong", [-1, 10**9, "vocab_size"])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer, wrong):
    wrong = tokenizer.vocab_size if wrong == "vocab_size" else wrong
    with pytest.raises(ValueError, match=f"{wrong} is outside the vocabulary of {tokenizer.vocab_size}"):
        tokenizer.decode([1, wrong])


# The same as SentencePiece


@pytest.fixture(scope="module")
def sentencepiece_itself(tmp_path_factory) -> sentencepiece.SentencePieceProcessor:
    """The saved bpe.model, read by SentencePiece without this package."""
    folder = tmp_path_factory.mktemp("bpe")
    BPE.save(folder)
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "bpe.model"))


@examples
@given(text=plain_text | st.text(st.sampled_from(SAMPLE), max_size=80))
def test_bpe_encodes_and_decodes_as_sentencepiece_does(sentencepiece_itself, text):
    ids = sentencepiece_itself.encode(text)
    assert BPE.encode(text) == ids
    assert BPE.decode(ids) == sentencepiece_itself.decode(ids)


def test_bpe_agrees_with_sentencepiece_on_alice(alice):
    tokenizer = BPETokenizer.train(alice, vocab_size=1000)
    ids = tokenizer.processor.encode(alice)
    assert tokenizer.encode(alice) == ids and tokenizer.decode(ids) == tokenizer.processor.decode(ids)
    assert len(ids) < len(alice) / 2.5


# The end of a text


@BOTH
def test_end_of_text_is_token_0(tokenizer):
    assert tokenizer.end_id == 0 and tokenizer.tokens[0] == END_OF_TEXT
    assert tokenizer.encode(END_OF_TEXT) == [0] and tokenizer.decode([0]) == END_OF_TEXT


@BOTH
def test_end_of_text_is_found_amid_text(tokenizer):
    text = f"{END_OF_TEXT}Mina{END_OF_TEXT}{END_OF_TEXT} lamp\n"
    ids = tokenizer.encode(text)
    assert ids.count(0) == 3 and ids[0] == 0 and tokenizer.decode(ids) == text
    assert ids[1:-1].index(0) == len(tokenizer.encode("Mina"))


def test_end_of_text_adds_no_characters_to_a_vocabulary():
    assert CharTokenizer.train(f"ab{END_OF_TEXT}ba").tokens == [END_OF_TEXT, "a", "b"]
    tokenizer = BPETokenizer.train(f"abab{END_OF_TEXT}baba\n" * 5, vocab_size=263)
    assert not any("<|" in t or "endof" in t for t in tokenizer.tokens[1:])


# Ids reserved for a chat

CHAT_CHAR = CharTokenizer.train(SAMPLE + "<|>", chat=True)
CHAT_BPE = BPETokenizer.train(SAMPLE + "<|system|>\n" * 9, vocab_size=404, chat=True)
BOTH_CHATS = pytest.mark.parametrize("tokenizer", [CHAT_CHAR, CHAT_BPE], ids=["char", "bpe"])


@BOTH_CHATS
def test_four_ids_are_reserved_for_a_chat_and_none_without(tokenizer):
    assert list(tokenizer.chat_ids) == ["system", "user", "assistant", "endofturn"]
    ids = list(tokenizer.chat_ids.values())
    assert len({tokenizer.end_id, *ids}) == 5 and all(0 <= i < tokenizer.vocab_size for i in ids)
    assert [tokenizer.tokens[i] for i in ids] == ["<|system|>", "<|user|>", "<|assistant|>", "<|endofturn|>"]
    assert tokenizer.decode([ids[1], tokenizer.encode("a")[0], ids[3]]) == "<|user|>a<|endofturn|>"
    assert CHAR.chat_ids == BPE.chat_ids == {}


def test_characters_have_the_same_ids_with_a_chat_and_without():
    plain, chat = (CharTokenizer.train(SAMPLE, chat=chat) for chat in (False, True))
    assert chat.tokens == [*plain.tokens, "<|system|>", "<|user|>", "<|assistant|>", "<|endofturn|>"]
    assert chat.encode(SAMPLE) == plain.encode(SAMPLE)


def test_pieces_are_the_same_with_a_chat_and_without():
    plain = BPETokenizer.train(SAMPLE, vocab_size=400)
    chat = BPETokenizer.train(SAMPLE, vocab_size=404, chat=True)
    assert sorted(chat.tokens) == sorted([*plain.tokens, "<|system|>", "<|user|>", "<|assistant|>", "<|endofturn|>"])
    assert [chat.tokens[i] for i in chat.encode(SAMPLE)] == [plain.tokens[i] for i in plain.encode(SAMPLE)]
    low, _ = feasible_range(SAMPLE, chat=True)
    assert low == 4 + feasible_range(SAMPLE)[0]


spelled = st.sampled_from(
    ["<|system|>", "<|user|>", "<|assistant|>", "<|endofturn|>", "<|", "|>", "user", "<|endoftext|>", "<|user|", "cat "]
)


@examples
@given(st.lists(spelled, max_size=10).map("".join))
def test_no_text_becomes_an_id_of_a_chat_and_none_is_lost(text):
    """So that whoever writes to a model cannot write in another's name."""
    for tokenizer in (CHAT_CHAR, CHAT_BPE):
        ids = tokenizer.encode(text)
        assert not set(ids) & set(tokenizer.chat_ids.values()) and tokenizer.decode(ids) == text


def test_a_text_full_of_the_reserved_strings_teaches_their_characters_only():
    text = "".join(f"<|{name}|>Hello there.<|endofturn|>\n" for name in ("system", "user", "assistant")) * 20
    high = feasible_range(text, chat=True)[1]
    tokenizer = BPETokenizer.train(text, vocab_size=high, chat=True)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text and not set(ids) & set(tokenizer.chat_ids.values())
    assert all(own_piece(tokenizer, character) for character in set(text))


@BOTH_CHATS
def test_ids_of_a_chat_are_saved_with_the_tokenizer(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.chat_ids == tokenizer.chat_ids and loaded.tokens == tokenizer.tokens
    CHAR.save(tmp_path, overwrite=True)
    assert load_tokenizer(tmp_path).chat_ids == {} and "chat" not in (tmp_path / "tokenizer.json").read_text()


# What a tokenizer refuses to encode


@pytest.mark.parametrize("wrong", [5, None, b"ab", ["a", "b"], 1.5])
@pytest.mark.parametrize(
    "take",
    [BPE.encode, CHAR.encode, CharTokenizer.train, lambda text: BPETokenizer.train(text, vocab_size=300)],
    ids=["bpe", "char", "train char", "train bpe"],
)
def test_what_is_no_text_is_refused(take, wrong):
    with pytest.raises(ValueError, match=f"^the text must be a string, not a {type(wrong).__name__}$"):
        take(wrong)


@BOTH
@pytest.mark.parametrize("wrong", [5, None, "ab", [1.0], ["1"], [[1, 2]]])
def test_what_are_no_ids_is_refused(tokenizer, wrong):
    with pytest.raises(ValueError, match=r"^ids must be a row of whole numbers, as encode gives them, not "):
        tokenizer.decode(wrong)


@BOTH
def test_ids_may_be_those_of_a_tensor_or_an_array(tokenizer):
    ids = tokenizer.encode("The cat")
    for given_ids in (torch.tensor(ids), np.array(ids), tuple(ids)):
        assert tokenizer.decode(given_ids) == "The cat"


@pytest.mark.parametrize(
    "characters, said",
    [
        (["a", "bc"], "the one at 1 is 'bc'"),
        (["a", 1], "the one at 1 is 1"),
        (["a", "b", "a"], "'a' stands there 2 times"),
    ],
)
def test_characters_that_are_no_different_single_ones_are_refused(characters, said):
    with pytest.raises(ValueError, match=said):
        CharTokenizer(characters)


@pytest.mark.parametrize("model", [b"garbage", b"", "text", None, 5])
def test_what_is_no_sentencepiece_model_is_refused(model):
    with pytest.raises(ValueError, match="SentencePiece model"):
        BPETokenizer(model)


@pytest.mark.parametrize("text, position", [("\ud800", 0), ("Mina\udfff", 4), ("a\ud83dx\ude00", 1)])
@pytest.mark.parametrize("take", [BPE.encode, CHAR.encode, CharTokenizer.train], ids=["bpe", "char", "train"])
def test_a_lone_surrogate_is_refused_with_its_position(take, text, position):
    with pytest.raises(ValueError, match=f"surrogate.* position {position}"):
        take(text)


def test_training_bpe_on_a_lone_surrogate_is_refused():
    with pytest.raises(ValueError, match=r"U\+D800, at position 2"):
        BPETokenizer.train("ab\ud800", vocab_size=300)


def test_an_unseen_character_is_named_with_its_position_and_both_ways_out():
    with pytest.raises(ValueError) as caught:
        CHAR.encode("Mina 猫 龍")
    message = str(caught.value)
    assert "'龍'" in message and "U+9F8D" in message and "position 7" in message
    assert "train it on a text that holds the character" in message and "BPETokenizer" in message


def test_the_position_of_an_unseen_character_counts_end_tokens_as_text():
    tokenizer = CharTokenizer.train("ab")
    text = f"a{END_OF_TEXT}b|"
    with pytest.raises(ValueError, match=f"position {text.rindex('|')} "):
        tokenizer.encode(text)


def test_without_bytes_an_unknown_character_becomes_the_unknown_piece():
    """The article's setting: 200 pieces and no byte fallback."""
    tokenizer = BPETokenizer.train(SAMPLE, vocab_size=200, byte_fallback=False)
    assert tokenizer.vocab_size == 200 and not any(t.startswith("<0x") for t in tokenizer.tokens)
    assert tokenizer.decode(tokenizer.encode(SAMPLE)) == SAMPLE
    unknown = tokenizer.processor.unk_id()
    assert tokenizer.encode("Z") == [unknown] and tokenizer.decode([unknown]) == "\ufffd"
    assert tokenizer.decode(ids := tokenizer.encode("Za Z")) == tokenizer.processor.decode(ids)
    lamp = tokenizer.encode("lamp")
    assert tokenizer.encode("lampZ") == [*lamp, unknown]


def test_without_bytes_the_space_mark_of_sentencepiece_is_one_unknown_character():
    tokenizer = BPETokenizer.train(SAMPLE, vocab_size=200, byte_fallback=False)
    assert tokenizer.encode("a\u2581c") == [
        *tokenizer.encode("a"),
        tokenizer.processor.unk_id(),
        *tokenizer.encode("c"),
    ]


# Training


def test_char_vocabulary_is_the_end_then_the_characters_in_order():
    tokenizer = CharTokenizer.train("猫banana\n")
    assert tokenizer.tokens == [END_OF_TEXT, "↵", "a", "b", "n", "猫"]
    assert tokenizer.encode("\nab猫") == [1, 2, 3, 5]


def test_bpe_pieces_are_frequent_strings():
    assert {"the", "▁c", "at"} <= set(BPETokenizer.train("the cat and the hat\n" * 9, vocab_size=275).tokens)


def test_tokens_are_printable():
    tokenizer = CharTokenizer.train("a \n\t\r\u0301\u200b")
    assert all(t.isprintable() and t for t in tokenizer.tokens + BPE.tokens)
    assert len(set(tokenizer.tokens)) == tokenizer.vocab_size


def own_piece(tokenizer: BPETokenizer, character: str) -> bool:
    return len(tokenizer.encode(character)) == 1


def test_long_lines_are_learned_from():
    """SentencePiece drops lines over 4,192 bytes unless it is told not to."""
    tokenizer = BPETokenizer.train("short line\n" + "zebra quagga " * 1000, vocab_size=290)
    assert own_piece(tokenizer, "z") and any("zebra" in t for t in tokenizer.tokens)


@pytest.mark.parametrize("mark", ["\u2581", "\u2585", END_OF_TEXT, "\r", "\t", "\0", "\u2028"])
def test_lines_with_a_mark_that_sentencepiece_reserves_are_learned_from(mark):
    """It drops lines that hold U+2585."""
    tokenizer = BPETokenizer.train("short line\n" + f"zebra {mark} quagga\n" * 20, vocab_size=290)
    assert own_piece(tokenizer, "z") and own_piece(tokenizer, "q")
    assert any("zeb" in t or "ebra" in t for t in tokenizer.tokens)


@pytest.mark.parametrize(
    "text, options",
    [
        (SAMPLE, {}),
        (SAMPLE, {"byte_fallback": False}),
        (SAMPLE, {"character_coverage": 0.98}),
        ("a", {}),
        ("😀e\u0301\n" * 9, {}),
        ("<unk> <0x41> \t\u2581\n" * 5, {}),
    ],
)
def test_the_range_in_the_message_is_exact(text, options):
    low, high = feasible_range(text, **options)
    assert BPETokenizer.train(text, vocab_size=low, **options).vocab_size == low
    assert BPETokenizer.train(text, vocab_size=high, **options).vocab_size == high
    for size in (low - 1, high + 1):
        with pytest.raises(ValueError, match=f"vocab_size={size} .* between {low} and {high}$"):
            BPETokenizer.train(text, vocab_size=size, **options)


def test_the_smallest_vocabulary_holds_no_merges():
    low, _ = feasible_range(SAMPLE)
    assert low == 256 + 3 + len(set(SAMPLE) - {"\n"})  # bytes; end, unknown, line break; characters


@pytest.mark.parametrize("size", [0, -1, 2**31, 10**30, 300.5, 300.0, "400", None, True, float("nan")])
def test_an_absurd_vocab_size_is_refused_with_the_range_or_as_no_whole_number(size):
    with pytest.raises(ValueError, match=r"vocab_size=.*(between 314 and 557|whole number)"):
        BPETokenizer.train(SAMPLE, vocab_size=size)


@pytest.mark.parametrize("coverage", [0, -1, 1.001, 2, 0.5, 1e-9, float("nan"), float("inf"), "1", None])
def test_an_impossible_coverage_is_refused(coverage):
    """SentencePiece allows 0.98 to 1."""
    with pytest.raises(ValueError, match=re.escape(f"character_coverage={coverage!r} must")):
        BPETokenizer.train(SAMPLE, vocab_size=400, character_coverage=coverage)


@pytest.mark.parametrize("text", ["", "\n\n", END_OF_TEXT, "\u2581\u2585", "\0"])
def test_a_text_without_anything_to_learn_is_refused(text):
    with pytest.raises(ValueError, match=r"empty|nothing to learn"):
        BPETokenizer.train(text, vocab_size=300)


def test_chinese_with_coverage_below_one_leaves_rare_characters_to_the_bytes():
    """A text in Chinese of a hundred frequent characters and ten that occur once."""
    frequent = [chr(0x4E00 + i) for i in range(100)]
    rare = [chr(0x6E00 + i) for i in range(10)]
    text = "".join(random.Random(0).choices(frequent, k=2000)) + "".join(rare)
    tokenizer = BPETokenizer.train(text, vocab_size=420, character_coverage=0.98)
    assert sum(own_piece(tokenizer, c) for c in frequent) >= 95
    assert not any(own_piece(tokenizer, c) for c in rare)
    assert tokenizer.encode(rare[0]) == [tokenizer.tokens.index(f"<0x{b:02X}>") for b in rare[0].encode()]
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_training_says_nothing(capfd):
    BPETokenizer.train(SAMPLE, vocab_size=350)
    feasible_range(SAMPLE)
    assert capfd.readouterr() == ("", "")


def test_training_is_repeatable():
    assert BPETokenizer.train(SAMPLE, vocab_size=400).model == BPE.model


# On disk


@BOTH
def test_a_saved_tokenizer_comes_back(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "new" / "folder")
    loaded = load_tokenizer(tmp_path / "new" / "folder")
    assert type(loaded) is type(tokenizer)
    assert loaded.tokens == tokenizer.tokens and loaded.token_bytes == tokenizer.token_bytes
    assert loaded.encode(SAMPLE + END_OF_TEXT) == tokenizer.encode(SAMPLE + END_OF_TEXT)


def test_awkward_characters_survive_saving(tmp_path):
    tokenizer = CharTokenizer.train('\0\r\u2028\u2581\ufeff"\\😀猫\x85')
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).characters == tokenizer.characters


@BOTH
def test_the_last_saved_tokenizer_counts(tokenizer, tmp_path):
    CHAR.save(tmp_path, overwrite=True)
    for each in (BPE, tokenizer):
        with pytest.raises(ValueError, match="already holds a tokenizer: name another folder, or replace it by over"):
            each.save(tmp_path)
        each.save(tmp_path, overwrite=True)
    assert load_tokenizer(tmp_path).tokens == tokenizer.tokens


def refused(folder, match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        load_tokenizer(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_tokenizer_is_refused(tmp_path):
    refused(tmp_path, "tokenizer.json is missing")
    refused(tmp_path / "nowhere", "tokenizer.json is missing")
    BPE.save(tmp_path)
    (tmp_path / "bpe.model").unlink()
    refused(tmp_path, "bpe.model is missing")
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").mkdir()
    refused(tmp_path, "cannot be read")


@BOTH
def test_a_tokenizer_of_another_version_is_refused(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    refused(tmp_path, "format version is 2, this program reads 1")


@BOTH
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_description_is_refused(tokenizer, share, tmp_path):
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    refused(tmp_path, "cannot be read")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_bpe_model_is_refused(share, tmp_path):
    BPE.save(tmp_path)
    (tmp_path / "bpe.model").write_bytes(BPE.model[: int(len(BPE.model) * share)])
    refused(tmp_path, "cannot be read")


def test_a_foreign_sentencepiece_model_is_refused(tmp_path):
    """Its id 0 is not the end of a text, and it may lose spaces and line breaks."""
    prefix = str(tmp_path / "bpe")
    text = iter(["the cat and the hat"] * 9)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=text, model_prefix=prefix, vocab_size=13, hard_vocab_limit=False, minloglevel=10
    )
    (tmp_path / "tokenizer.json").write_text('{"version": 1, "kind": "bpe"}')
    refused(tmp_path, "cannot be read")


def test_a_sentencepiece_model_that_has_lost_its_unknown_piece_is_refused(tmp_path):
    model = BPETokenizer.train(SAMPLE, vocab_size=400).model
    for kind in (1, 3, 4, 5, 6):  # a piece, control, user-defined, unused, a byte
        (tmp_path / "tokenizer.json").write_text('{"version": 1, "kind": "bpe"}')
        (tmp_path / "bpe.model").write_bytes(model.replace(b"\x18\x02", bytes([0x18, kind]), 1))
        refused(tmp_path, "cannot be read")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"\x80\x04K\x01.",
        b"[]",
        b"5",
        b"null",
        b"[" * 100_000,
        b'{"version": 1}',
        b'{"version": 1, "kind": "word"}',
        b'{"version": 1, "kind": "char"}',
        b'{"version": 1, "kind": "char", "characters": 5}',
        b'{"version": 1, "kind": "char", "characters": ["ab"]}',
        b'{"version": 1, "kind": "char", "characters": ["a", "a"]}',
        b'{"version": 1, "kind": "char", "characters": [1]}',
        b'{"version": 1, "kind": "char", "characters": ["\\ud800"]}',
        b'{"version": 1, "kind": "char", "characters": ["a"], "chat": 4}',
    ],
)
def test_a_description_that_is_garbage_is_refused(content, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(content)
    refused(tmp_path, "cannot be read")
