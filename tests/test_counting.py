"""Counting against a model in plain dictionaries, and by hand."""

import math
from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt_core import longest_copied, ngram_loss
from minigpt_core.counting import repeated_share

ids = st.lists(st.integers(0, 4), min_size=1, max_size=60)


def ngram_loss_by_dictionaries(train, val, n, vocab_size):
    """The definition in the docstring, one token at a time."""
    tables = []
    for k in range(1, n + 1):
        table = defaultdict(Counter)
        for i in range(len(train) - k + 1):
            table[tuple(train[i : i + k - 1])][train[i + k - 1]] += 1
        tables.append(table)

    def p(token, context):
        if context is None:
            return 1 / vocab_size
        shorter = p(token, context[1:] if context else None)
        seen = tables[len(context)].get(context)
        if not seen:
            return shorter
        return (seen[token] + len(seen) * shorter) / (seen.total() + len(seen))

    return -sum(math.log(p(t, tuple(val[max(0, i - n + 1) : i]))) for i, t in enumerate(val)) / len(val)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(ids, ids, st.integers(1, 6))
def test_ngram_loss_is_what_its_definition_says(train, val, n):
    ours = ngram_loss(torch.tensor(train), torch.tensor(val), n, 5)
    assert ours == pytest.approx(ngram_loss_by_dictionaries(train, val, n, 5), abs=1e-9)


def test_the_probabilities_of_all_tokens_sum_to_one():
    torch.manual_seed(0)
    train = torch.randint(5, (200,))
    for context in ([0, 1, 2], [4, 4, 4], [3, 0, 3]):
        losses = [ngram_loss(train, torch.tensor([*context, t]), 4, 5) * 4 for t in range(5)]
        before = ngram_loss(train, torch.tensor(context), 4, 5) * 3
        assert sum(math.exp(before - loss) for loss in losses) == pytest.approx(1)


def test_a_vocabulary_too_large_for_64_bits_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="vocab_size=50000 to the power n=5"):
        ngram_loss(torch.tensor([1]), torch.tensor([1]), 5, 50_000)


def copied_by_trying(text, source):
    return max(
        (text[i:j] for i in range(len(text)) for j in range(i, len(text) + 1) if text[i:j] in source),
        key=len,
        default="",
    )


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text("ab猫", max_size=25), st.text("ab猫", max_size=25))
def test_longest_copied_is_the_longest(text, source):
    ours = longest_copied(text, source)
    assert ours in text and ours in source and len(ours) == len(copied_by_trying(text, source))


@pytest.mark.parametrize(
    "items, n, share",
    [
        ("abcabcabc", 3, 4 / 7),
        ("abcdefgh", 3, 0),
        ("aaaa", 1, 3 / 4),
        ([5, 6, 5, 6], 2, 1 / 3),
        ("ab", 3, 0),
        ("", 12, 0),
    ],
)
def test_the_repeated_share_counts_runs_that_stood_before(items, n, share):
    assert repeated_share(items, n) == pytest.approx(share)


def test_the_repeated_share_is_that_of_a_count_one_by_one():
    text = "the cat sat on the mat and the cat sat on the hat"
    runs = [text[i : i + 5] for i in range(len(text) - 4)]
    assert repeated_share(text, 5) == pytest.approx(sum(run in runs[:i] for i, run in enumerate(runs)) / len(runs))
