"""What mere counting can do, the honest rival of a small GPT: n-gram models, and how much of a text is copied or repeated."""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor


def ngram_loss(train_ids: Tensor, val_ids: Tensor, n: int, vocab_size: int) -> float:
    """Mean loss in nats per token over `val_ids` of an interpolated n-gram model that has counted `train_ids`.

    With c the last n - 1 tokens, the model says

        p_n(token | c) = (count(c token) + kinds(c) * p_{n-1}(token | c without its first)) / (count(c) + kinds(c))

    where kinds(c) is how many different tokens were seen after c: after a context with many continuations, more weight
    goes to the shorter one. p_0 is 1/V for every token, and an unseen context passes the shorter one's answer on (Witten
    and Bell 1991; in this form Chen and Goodman 1999, section 2.4). n = 1 is the unigram, n = 2 the bigram model.

    The text "aab" holds a twice and b once; with V = 2 the unigram gives a (2 + 2 * 1/2) / (3 + 2) = 0.6:

    >>> round(ngram_loss(torch.tensor([0, 0, 1]), torch.tensor([0]), 1, 2), 4)          # -ln 0.6
    0.5108
    """
    if vocab_size**n >= 2**63:
        raise ValueError(f"vocab_size={vocab_size} to the power n={n} does not fit into 64 bits: take a smaller n")
    p = torch.full((len(val_ids),), 1 / vocab_size, dtype=torch.float64)
    for k in range(1, min(n, len(train_ids), len(val_ids)) + 1):
        seen, counts = torch.unique(_windows(train_ids, k, vocab_size), return_counts=True)
        contexts, context_of = torch.unique(seen // vocab_size, return_inverse=True)
        totals = torch.zeros(len(contexts), dtype=torch.int64).index_add_(0, context_of, counts)
        asked = _windows(val_ids, k, vocab_size)
        count = _look_up(asked, seen, counts)
        total = _look_up(asked // vocab_size, contexts, totals)
        kinds = _look_up(asked // vocab_size, contexts, torch.bincount(context_of))
        shorter = p[k - 1 :]
        p[k - 1 :] = torch.where(total > 0, (count + kinds * shorter) / (total + kinds), shorter)
    return -p.log().mean().item()


def _windows(ids: Tensor, k: int, vocab_size: int) -> Tensor:
    """Each run of k ids as one number, its digits to the base V."""
    digits = ids.cpu().long().unfold(0, k, 1)  # (N - k + 1, k)
    return (digits * vocab_size ** torch.arange(k - 1, -1, -1)).sum(1)


def _look_up(asked: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The value of each asked key among the sorted `keys`, 0 where it is not there."""
    place = torch.searchsorted(keys, asked).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == asked, values[place], 0)


def longest_copied(text: str, source: str) -> str:
    """The longest piece of `text` that stands word for word in `source`: how much a model has learned by heart.

    >>> longest_copied("the cat sat on a hat", "a cat sat on the mat")
    ' cat sat on '
    """
    best = start = 0
    for end in range(1, len(text) + 1):
        while text[start:end] not in source:
            start += 1
        if end - start > best:
            best, piece = end - start, text[start:end]
    return piece if best else ""


def repeated_share(items: Sequence[Hashable], n: int = 12) -> float:
    """How much a text repeats itself: the share of its runs of `n` items, such as letters, that stood in it before.

    >>> repeated_share("abcabcabc", n=3)                                                # abc bca cab, then four again
    0.5714285714285714
    """
    runs = [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
