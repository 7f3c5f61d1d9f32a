"""Splitting a text, drawing batches, and the message when a part is too short."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt_core import get_batch, load_corpus, split_text
from minigpt_core.data import check_parts
from minigpt_core.tokenizer import END_OF_TEXT

examples = settings(max_examples=200, deadline=None, derandomize=True, database=None)

any_text = st.text("aé猫\n", max_size=50) | st.integers(0, 30_000).map(lambda n: ("lamp 猫\n" * n)[:n])
UNIQUE = "".join(chr(c) for c in range(0x10000, 0x10000 + 200_000))  # no character occurs twice


# Splitting


@examples
@given(any_text, st.sampled_from(["blocks", "tail"]), st.floats(0.001, 0.999), st.integers(0, 2**32 - 1))
def test_every_character_lands_in_exactly_one_part(text, how, fraction, seed):
    train, val = (part.replace(END_OF_TEXT, "") for part in split_text(text, how, fraction=fraction, seed=seed))
    assert len(val) == int(len(text) * fraction)
    assert sorted(train + val) == sorted(text)


@examples
@given(st.integers(0, 4000), st.integers(1, 40), st.sampled_from(["blocks", "tail"]), st.floats(0.01, 0.99))
def test_no_end_of_text_mark_is_cut_in_two(n, gap, how, fraction):
    text = (("x" * gap + END_OF_TEXT) * 400)[:n]
    text = text[: text.rfind(">") + 1]
    train, val = split_text(text, how, fraction=fraction, seed=n)
    plain = [part.replace(END_OF_TEXT, "") for part in (train, val)]
    assert "".join(plain) == text.replace(END_OF_TEXT, "") and set("".join(plain)) <= {"x"}
    seams = train.count(END_OF_TEXT) + val.count(END_OF_TEXT) - text.count(END_OF_TEXT)
    assert 0 <= seams <= (39 if how == "blocks" else 0)


@pytest.mark.parametrize("seed", range(5))
def test_blocks_are_disjoint_complete_and_in_order(seed):
    train, val = (part.replace(END_OF_TEXT, "") for part in split_text(UNIQUE, seed=seed))
    assert not set(train) & set(val) and set(train) | set(val) == set(UNIQUE)
    assert list(train) == sorted(train) and list(val) == sorted(val)


def runs(part: str) -> int:
    """How many contiguous pieces of UNIQUE a part of it consists of."""
    return 1 + sum(ord(b) != ord(a) + 1 for a, b in itertools.pairwise(part.replace(END_OF_TEXT, "")))


@pytest.mark.parametrize("seed", range(5))
def test_there_are_20_blocks_one_in_each_twentieth(seed):
    _, val = split_text(UNIQUE, seed=seed)
    assert runs(val) == 20 and all(runs(block) == 1 for block in val.split(END_OF_TEXT))
    for start in range(0, 200_000, 10_000):
        assert len(set(UNIQUE[start : start + 10_000]) & set(val)) == 1_000


def test_a_short_text_has_fewer_blocks_none_below_500_characters():
    for size, blocks in ((1_000, 1), (9_990, 1), (20_000, 4), (30_000, 6)):
        assert runs(split_text(UNIQUE[:size])[1]) == blocks


@pytest.mark.parametrize("n, fraction", [(10_019, 0.999), (25_683, 0.99997), (14_697, 0.99993), (6_810, 0.9999999)])
def test_a_fraction_close_to_one_works(n, fraction):
    train, val = (part.replace(END_OF_TEXT, "") for part in split_text(UNIQUE[:n], fraction=fraction))
    assert len(val) == int(n * fraction) and sorted(train + val) == list(UNIQUE[:n])


def test_a_split_follows_from_its_seed():
    assert split_text(UNIQUE, seed=3) == split_text(UNIQUE, seed=3)
    assert len({split_text(UNIQUE, seed=s)[1] for s in range(20)}) == 20
    assert split_text(UNIQUE, "tail", seed=0) == split_text(UNIQUE, "tail", seed=1)


def test_a_block_falls_anywhere_in_its_twentieth():
    """Of 40,000 characters there are 8 blocks of 500, the first one below 5,000."""
    starts = [ord(split_text(UNIQUE[:40_000], seed=s)[1][0]) - 0x10000 for s in range(300)]
    assert 0 <= min(starts) < 100 and 4_400 < max(starts) <= 4_500
    assert 2_000 < sum(starts) / 300 < 2_500


def test_tail_is_the_last_tenth():
    assert split_text(UNIQUE, "tail") == (UNIQUE[:180_000], UNIQUE[180_000:])
    assert split_text("abcdefghij" * 3, "tail") == ("abcdefghijabcdefghijabcdefg", "hij")
    assert split_text("abcdefghij", "tail", fraction=0.3) == ("abcdefg", "hij")
    assert split_text("abc", "tail") == ("abc", "")


def test_blocks_resemble_a_text_that_changes_where_the_tail_does_not():
    """Half English, half Chinese: half the blocks are English; the tail is all Chinese."""
    text = "e" * 30_000 + "猫" * 30_000
    for seed in range(10):
        val = split_text(text, seed=seed)[1].replace(END_OF_TEXT, "")
        assert val.count("e") == val.count("猫") == 3_000
    assert "e" not in split_text(text, "tail")[1]


def test_the_tail_of_sample_is_too_short_for_the_articles_window():
    train, val = split_text(load_corpus("sample"), "tail")
    with pytest.raises(ValueError, match=f"65 tokens, .* has {len(train)} .* {len(val)}: "):
        check_parts(torch.arange(len(train)), torch.arange(len(val)), 64)


BOOKS = "".join(f"{chr(0x4E00 + i) * (50 + i % 7)}{END_OF_TEXT}" for i in range(45))


@pytest.mark.parametrize("seed", range(20))
def test_whole_documents_are_held_out_one_from_each_run_of_neighbours(seed):
    train, val = split_text(BOOKS, seed=seed)
    assert train.count(END_OF_TEXT) == 40 and val.count(END_OF_TEXT) == 5
    assert not set(train.replace(END_OF_TEXT, "")) & set(val.replace(END_OF_TEXT, ""))
    assert [(ord(book[0]) - 0x4E00) // 9 for book in val.split(END_OF_TEXT)[:-1]] == [0, 1, 2, 3, 4]
    assert len({split_text(BOOKS, seed=s)[1] for s in range(20)}) > 15


@pytest.mark.parametrize("how", ["documents", "blocks", "tail"])
def test_of_three_parts_none_shares_anything_with_another(how):
    text = BOOKS if how == "documents" else UNIQUE
    parts = [part.replace(END_OF_TEXT, "") for part in split_text(text, how, parts=3)]
    assert sorted("".join(parts)) == sorted(text.replace(END_OF_TEXT, ""))
    assert all(not set(a) & set(b) for a, b in itertools.combinations(parts, 2))
    assert [round(10 * len(part) / len(text.replace(END_OF_TEXT, ""))) for part in parts] == [8, 1, 1]
    if how == "tail":
        assert text.endswith(parts[2]) and parts[0] + parts[1] + parts[2] == text
    else:
        assert split_text(text, how, parts=3)[1] == split_text(text, how)[1]


def test_a_text_of_many_documents_is_split_by_documents_another_by_blocks():
    few = "".join(f"{'a' * 900}{END_OF_TEXT}" for _ in range(19))
    assert split_text(few) == split_text(few, "blocks") != split_text(few, "documents")
    assert split_text(BOOKS) == split_text(BOOKS, "documents")
    assert split_text(BOOKS + "\n")[0].count(END_OF_TEXT) == 40  # what follows the last mark is no document
    with pytest.raises(
        ValueError, match=r"no second document to hold out: documents end in <.endoftext.>; take how='bl"
    ):
        split_text("one tale", "documents")


def test_at_each_seam_stands_an_end_mark_and_nowhere_else():
    """Read around every seam: what stands on its two sides never stood side by side."""
    for part in split_text(UNIQUE):
        for a, b in itertools.pairwise(part.split(END_OF_TEXT)):
            assert ord(b[0]) != ord(a[-1]) + 1
        assert runs(part) == part.count(END_OF_TEXT) + 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"text": None}, "the text must be a string, not a NoneType"),
        ({"text": b"abc"}, "the text must be a string, not a bytes"),
        ({"fraction": "0.1"}, r"fraction='0.1' must be a number in \(0, 1\)"),
        ({"fraction": True}, "fraction=True must be a number"),
        ({"seed": "1"}, "seed='1' must be a whole number of at least 0"),
        ({"seed": -1}, "seed=-1 must be a whole number of at least 0"),
        ({"parts": 4}, "parts=4 must be 2 or 3"),
        ({"how": "halves"}, "how='halves' is none of"),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_sentence(arguments, said):
    with pytest.raises(ValueError, match=said):
        split_text(**{"text": UNIQUE} | arguments)


@pytest.mark.parametrize("wrong", [{"seed": "1"}, {"seed": 1.0}, {"step": -1}, {"step": None}, {"batch_size": 0}])
def test_a_batch_of_no_seed_or_step_is_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value!r} must be a whole number"):
        get_batch(torch.arange(100), **{"block_size": 8, "batch_size": 2, "seed": 0, "step": 1} | wrong)


QUOTED = ()  # passages of 60 characters that two tales share on purpose, such as a song


@pytest.mark.parametrize("name", ["tales", "tales_zh"])
def test_no_tale_held_out_shares_a_passage_of_60_characters_with_those_learned_from(name):
    train, *held_out = split_text(load_corpus(name), parts=3)
    for part in held_out:
        shared = {part[i : i + 60] for i in range(len(part) - 59) if part[i : i + 60] in train}
        assert not {passage for passage in shared if not any(passage in quoted for quoted in QUOTED)}


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.1, float("nan"), float("inf"), True])
@pytest.mark.parametrize("how", ["blocks", "tail"])
def test_a_fraction_that_leaves_a_part_empty_is_refused(fraction, how):
    with pytest.raises(ValueError, match=rf"fraction={fraction} must be a number in \(0, 1\)"):
        split_text(UNIQUE, how, fraction=fraction)
    with pytest.raises(ValueError, match=r"fraction=0.5 must be a number in \(0, 0.5\)"):
        split_text(UNIQUE, how, fraction=0.5, parts=3)
    with pytest.raises(ValueError, match="parts=4 must be 2 or 3"):
        split_text(UNIQUE, how, parts=4)


def test_an_unknown_way_to_split_is_refused():
    for how in ("head", "Blocks", ""):
        with pytest.raises(ValueError, match=f"how={how!r} is none of 'documents', 'blocks', 'tail'"):
            split_text(UNIQUE, how)


def test_no_text_gives_no_parts():
    assert split_text("") == split_text("", "tail") == ("", "")


# Batches

IDS = torch.arange(100)


def test_y_is_x_moved_on_by_one_token():
    ids = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    x, y = get_batch(ids, 8, 64, seed=0, step=1)
    assert x.shape == y.shape == (64, 8) and x.dtype == torch.int64
    assert (x[:, 1:] == y[:, :-1]).all()
    where = {int(i): n for n, i in enumerate(ids)}
    for row_x, row_y in zip(x, y, strict=True):
        start = where[int(row_x[0])]
        assert (row_x == ids[start : start + 8]).all() and (row_y == ids[start + 1 : start + 9]).all()


def test_every_start_is_reached_about_equally_often():
    """100 tokens and windows of 8 + 1: starts 0 to 91, the first token and the last included."""
    starts = torch.cat([get_batch(IDS, 8, 100, seed=0, step=s)[0][:, 0] for s in range(92)])
    counts = starts.bincount(minlength=92)
    assert len(counts) == 92 and counts.min() > 60 and counts.max() < 145  # 100 expected, deviation 10
    y = get_batch(IDS, 8, 5000, seed=0, step=0)[1]
    assert y.max() == 99


def test_a_part_of_exactly_one_window_is_enough():
    x, y = get_batch(torch.arange(9), 8, 3, seed=0, step=0)
    assert (x == torch.arange(8)).all() and (y == torch.arange(1, 9)).all()


@pytest.mark.parametrize("length", [0, 1, 7, 8])
def test_a_part_shorter_than_a_window_is_refused_with_both_numbers(length):
    """The article's get_batch("val") crashes here, with a message that names neither."""
    with pytest.raises(ValueError, match=f"9.* {length}"):
        get_batch(torch.arange(length), 8, 3, seed=0, step=0)


def test_a_batch_follows_from_seed_and_step_alone():
    def batch(seed, step):
        return get_batch(IDS, 8, 4, seed=seed, step=step)[0].tolist()

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = batch(0, 1)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"
    torch.manual_seed(2)
    assert batch(0, 1) == first


def test_different_seeds_and_steps_draw_different_batches():
    """PyTorch's CPU generator looks at the low 32 bits of its seed only."""
    pairs = [(seed, step) for seed in (*range(10), 1234, 2**31, 2**32 - 1) for step in range(50)]
    batches = {str(get_batch(torch.arange(10_000), 2, 4, seed=seed, step=step)[0].tolist()) for seed, step in pairs}
    assert len(batches) == len(pairs)


def test_the_message_for_short_parts_has_both_lengths_and_a_way_out():
    with pytest.raises(ValueError) as caught:
        check_parts(torch.arange(340), torch.arange(38), 64)
    message = str(caught.value)
    assert all(number in message for number in ("65", "340", "38", "at most block_size=37"))
    with pytest.raises(ValueError, match=r"training part has 20 and the validation part 100.* at most block_size=19"):
        check_parts(torch.arange(20), torch.arange(100), 64)
    with pytest.raises(ValueError, match="validation part 1: ") as caught:
        check_parts(torch.arange(20), torch.arange(1), 64)
    assert "at most" not in str(caught.value)


def test_parts_of_exactly_one_window_pass():
    check_parts(torch.arange(65), torch.arange(65), 64)
    check_parts(torch.arange(38), torch.arange(38), 37)  # what the message recommends
    with pytest.raises(ValueError):
        check_parts(torch.arange(65), torch.arange(64), 64)
    with pytest.raises(ValueError):
        check_parts(torch.arange(64), torch.arange(65), 64)
