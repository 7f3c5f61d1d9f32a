"""Counting against a model in plain dictionaries, and by hand."""

from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt_core import CharTokenizer, load_corpus, longest_copied, ngram_loss, split_text
from minigpt_core.study.counting import ngram_probabilities, repeated_share

ids = st.lists(st.integers(0, 4), min_size=1, max_size=60)


class ByDictionaries:
    """The definitions in the docstring, one token at a time: `p(token, context)`."""

    def __init__(self, train, n, vocab_size):
        self.V = vocab_size
        self.tables = []  # by the length of the context: for each context, how often each token came after it
        for k in range(1, n + 1):
            table = defaultdict(Counter)
            for i in range(len(train) - k + 1):
                table[tuple(train[i : i + k - 1])][train[i + k - 1]] += 1
            self.tables.append(table)
        self.after = []  # the same, but after how many different tokens the context and the token came
        for k in range(1, n):
            table = defaultdict(Counter)
            for run in {tuple(train[i : i + k + 1]) for i in range(len(train) - k)}:
                table[run[1:-1]][run[-1]] += 1
            self.after.append(table)


class WittenBell(ByDictionaries):
    def p(self, token, context):
        if context is None:
            return 1 / self.V
        shorter = self.p(token, context[1:] if context else None)
        seen = self.tables[len(context)].get(context)
        if not seen:
            return shorter
        return (seen[token] + len(seen) * shorter) / (seen.total() + len(seen))


class KneserNey(ByDictionaries):
    def p(self, token, context, top=True):
        if context is None:
            return 1 / self.V
        table = (self.tables if top else self.after)[len(context)]
        shorter = self.p(token, context[1:] if context else None, top=False)
        seen = table.get(context)
        if not seen:
            return shorter
        D = self.discounts(table)
        freed = sum(D[min(count, 3)] for count in seen.values())
        return (seen[token] - D[min(seen[token], 3)] + freed * shorter) / seen.total()

    @staticmethod
    def discounts(table):
        all_counts = [count for seen in table.values() for count in seen.values()]
        n1, n2, n3, n4 = (all_counts.count(k) for k in (1, 2, 3, 4))
        if n1 and n2 and n3:
            Y = n1 / (n1 + 2 * n2)
            D = [0, 1 - 2 * Y * n2 / n1, 2 - 3 * Y * n3 / n2, 3 - 4 * Y * n4 / n3]
            if all(0 <= d <= k for k, d in enumerate(D)):
                return D
        return [0, 0.5, 1, 1.5]


SMOOTHINGS = {"witten-bell": WittenBell, "kneser-ney": KneserNey}


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(ids, ids, st.integers(1, 6), st.sampled_from(sorted(SMOOTHINGS)))
def test_each_order_says_what_its_definition_says(train, val, n, smoothing):
    ours = ngram_probabilities(torch.tensor(train), torch.tensor(val), n, 5, smoothing)
    longest = min(n, len(train), len(val))
    for k in range(1, longest + 1):
        model = SMOOTHINGS[smoothing](train, longest, 5)
        for i in range(k - 1, len(val)):
            expected = model.p(val[i], tuple(val[i - k + 1 : i]))
            assert ours[k - 1, i].item() == pytest.approx(expected, abs=1e-12), (k, i)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_a_text_long_enough_for_its_own_discounts_says_what_the_definition_says(smoothing, alice):
    train, val = ([ord(c) % 29 for c in part] for part in (alice[:3000], alice[90_000:90_300]))
    model = SMOOTHINGS[smoothing](train, 4, 29)
    ours = ngram_probabilities(torch.tensor(train), torch.tensor(val), 4, 29, smoothing)[3, 3:]
    expected = [model.p(val[i], tuple(val[i - 3 : i])) for i in range(3, len(val))]
    torch.testing.assert_close(ours, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-12)
    if smoothing == "kneser-ney":
        assert KneserNey.discounts(model.tables[3]) != [0, 0.5, 1, 1.5]


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("context", [[0, 1, 2], [4, 4, 4], [3, 0, 3]])
def test_the_probabilities_of_all_tokens_sum_to_one(context, smoothing):
    train = torch.randint(5, (2000,), generator=torch.manual_seed(0)) ** 2 % 5  # uneven: 2 and 3 never occur
    for n in range(1, 5):
        total = sum(ngram_probabilities(train, torch.tensor([*context, t]), n, 5, smoothing)[-1, -1] for t in range(5))
        assert total.item() == pytest.approx(1)


def test_on_real_texts_kneser_ney_is_ahead_and_memory_goes_on_helping():
    text = load_corpus("tales")[:44_000]
    tokenizer = CharTokenizer.train(text)
    train, val = (torch.tensor(tokenizer.encode(part)) for part in (text[:-4000], text[-4000:]))
    strong, weak = (
        -ngram_probabilities(train, val, 7, tokenizer.vocab_size, smoothing).log().mean(1)
        for smoothing in ("kneser-ney", "witten-bell")
    )
    assert (strong[3:] < weak[3:]).all() and weak.argmin() < strong.argmin()


@pytest.mark.parametrize(
    "name, orders",
    [
        ("alice", {4: 1.536, 5: 1.431, 6: 1.403, 7: 1.393, 8: 1.389}),
        ("shakespeare", {4: 1.719, 5: 1.561, 6: 1.523, 7: 1.517, 8: 1.519}),
    ],
)
def test_kneser_ney_reaches_what_another_program_reached(name, orders, request):
    """Figures of an independent implementation, on the last tenth."""
    text = request.getfixturevalue(name)
    tokenizer = CharTokenizer.train(text)
    train, val = (torch.tensor(tokenizer.encode(part)) for part in split_text(text, "tail"))
    losses = -ngram_probabilities(train, val, 8, tokenizer.vocab_size).log().mean(1)
    assert {n: round(losses[n - 1].item(), 3) for n in orders} == orders


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"n": 0}, "n=0 must be a whole number of at least 1"),
        ({"smoothing": "laplace"}, "smoothing='laplace' is neither 'kneser-ney' nor 'witten-bell'"),
        ({"val_ids": torch.tensor([])}, "nothing to count: 1 training and 0 validation tokens"),
        ({"n": True}, "n=True must be a whole number"),
        ({"vocab_size": 0}, "vocab_size=0 must be a whole number of at least 1"),
        ({"val_ids": torch.tensor([5])}, "val_ids must lie from 0 to 4, .* but go from 5 to 5"),
        ({"train_ids": torch.tensor([-1])}, "train_ids must lie from 0 to 4, .* but go from -1 to -1"),
        ({"train_ids": torch.tensor([0.5])}, "train_ids must be a tensor of int64"),
    ],
)
def test_what_cannot_be_counted_is_refused_in_one_sentence(changed, message):
    with pytest.raises(ValueError, match=message):
        ngram_loss(**{"train_ids": torch.tensor([1]), "val_ids": torch.tensor([1]), "n": 2, "vocab_size": 5} | changed)


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


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_runs_of_no_length_are_refused(n):
    with pytest.raises(ValueError, match=f"n={n} must be a whole number of at least 1"):
        repeated_share("abcabc", n)


@pytest.mark.parametrize("text, source", [(b"ab", "ab"), ("ab", None), (["a"], "a")])
def test_only_texts_are_searched_for_what_was_copied(text, source):
    with pytest.raises(ValueError, match="two texts are compared, but these are"):
        longest_copied(text, source)
