"""What mere counting can do, the honest rival of a small GPT: n-gram models, and how much of a text is copied or repeated."""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from ..config import check_whole
from ..data import check_ids


def ngram_probabilities(
    train_ids: Tensor, val_ids: Tensor, n: int, vocab_size: int, smoothing: str = "kneser-ney"
) -> Tensor:
    """The probabilities (n, M) that n-gram models of orders 1 to n, which have counted `train_ids` (N,), give to each token of
    `val_ids` (M,). Order k predicts a token w from the k - 1 tokens before it, its context c, and interpolates with the
    next shorter context c':

        "witten-bell"    p(w|c) = (count(c w) + kinds(c) p(w|c')) / (count(c) + kinds(c))
        "kneser-ney"     p(w|c) = (count(c w) - D(count(c w)) + freed(c) p'(w|c')) / count(c)

    In the first, kinds(c) is how many different tokens were seen after c (Witten and Bell 1991). The second, interpolated
    modified Kneser-Ney (Chen and Goodman 1999, section 4.1.6), takes a discount D from each count: one for counts of 1, one
    for 2, one for 3 and more, all three from the training counts alone. freed(c) is the sum of what was taken after c. And
    p' counts differently: not how often c' w occurs but after how many different tokens, since a shorter context is asked
    only where the longer one says little. Both end in 1/V, and where c was never seen, the shorter context answers alone.

    The text "aab" holds a twice and b once; with V = 2 the Witten-Bell unigram gives a (2 + 2 * 1/2) / (3 + 2) = 0.6:

    >>> ngram_probabilities(torch.tensor([0, 0, 1]), torch.tensor([0]), 1, 2, "witten-bell")
    tensor([[0.6000]], dtype=torch.float64)
    """
    check_whole("n", n, least=1)
    check_whole("vocab_size", vocab_size, least=1)
    if not len(train_ids) or not len(val_ids):
        raise ValueError(f"there is nothing to count: {len(train_ids)} training and {len(val_ids)} validation tokens")
    check_ids("train_ids", train_ids, vocab_size)
    check_ids("val_ids", val_ids, vocab_size)
    if smoothing not in ("kneser-ney", "witten-bell"):
        raise ValueError(f"smoothing={smoothing!r} is neither 'kneser-ney' nor 'witten-bell'")
    mix = _kneser_ney if smoothing == "kneser-ney" else _witten_bell
    longest = min(n, len(train_ids), len(val_ids))
    runs = _number_runs(train_ids.cpu().long(), val_ids.cpu().long(), longest, vocab_size)
    p = torch.full((len(val_ids),), 1 / vocab_size, dtype=torch.float64)  # of each token, by the shorter context
    found = []
    for k in range(1, longest + 1):
        train, val = runs[k]  # (N - k + 1,), (M - k + 1,)
        context = torch.zeros(int(max(train.max(), val.max())) + 1, dtype=torch.long)  # of each run
        context[train], context[val] = (shorter[:-1] for shorter in runs[k - 1])
        counts = torch.bincount(train, minlength=len(context))
        answer = torch.cat([p[: k - 1], mix(counts, context, val, p[k - 1 :])])
        found.append(answer)
        if smoothing == "kneser-ney" and k < longest:  # for the longer contexts: after how many different tokens
            longer = runs[k + 1][0]  # (N - k,)
            last = torch.zeros(int(longer.max()) + 1, dtype=torch.long)  # of each longer run, all but its first token
            last[longer] = train[1:]
            counts = torch.bincount(last[torch.unique(longer)], minlength=len(context))
            answer = torch.cat([p[: k - 1], mix(counts, context, val, p[k - 1 :])])
        p = answer
    return torch.stack(found + (n - longest) * found[-1:])


def _number_runs(train: Tensor, val: Tensor, n: int, vocab_size: int) -> list[tuple[Tensor, Tensor]]:
    """For k = 0 to n, a number for each run of k tokens of both parts, in order: the same number for the same run."""
    runs = [(torch.zeros(len(train) + 1, dtype=torch.long), torch.zeros(len(val) + 1, dtype=torch.long)), (train, val)]
    for k in range(1, n):  # a run of k + 1 tokens is one of k and its last token
        pairs = [run[:-1] * vocab_size + ids[k:] for run, ids in zip(runs[k], (train, val), strict=True)]
        numbers = torch.unique(torch.cat(pairs), return_inverse=True)[1]
        runs.append((numbers[: len(pairs[0])], numbers[len(pairs[0]) :]))
    return runs


def ngram_loss(train_ids: Tensor, val_ids: Tensor, n: int, vocab_size: int, smoothing: str = "kneser-ney") -> float:
    """Mean loss in nats per token over `val_ids` (M,) of the n-gram model that has counted `train_ids` (N,); see
    `ngram_probabilities`. n = 1 is the unigram, n = 2 the bigram model.

    >>> ngram_loss(torch.tensor([0, 0, 1]), torch.tensor([0]), 1, 2, "witten-bell")     # -ln 0.6
    0.5108256237659907
    """
    return -ngram_probabilities(train_ids, val_ids, n, vocab_size, smoothing)[-1].log().mean().item()


def _witten_bell(counts: Tensor, context: Tensor, asked: Tensor, shorter: Tensor) -> Tensor:
    """p(w|c) of the grams `asked` (M,): of gram i, counts[i] were seen, and context[i] numbers its context c."""
    total, kinds = _per_context(context, counts), _per_context(context, counts > 0)
    c = context[asked]
    p = (counts[asked] + kinds[c] * shorter) / (total[c] + kinds[c])
    return torch.where(total[c] > 0, p, shorter)


def _kneser_ney(counts: Tensor, context: Tensor, asked: Tensor, shorter: Tensor) -> Tensor:
    """The same by discounts."""
    discount = _discounts(counts)[counts.clamp(max=3)]  # of each gram
    total, freed = _per_context(context, counts), _per_context(context, discount)
    c = context[asked]
    p = ((counts - discount)[asked] + freed[c] * shorter) / total[c]
    return torch.where(total[c] > 0, p, shorter)


def _per_context(context: Tensor, values: Tensor) -> Tensor:
    """The sum of the values of the grams of each context."""
    return torch.zeros(int(context.max()) + 1, dtype=torch.float64).index_add_(0, context, values.double())


def _discounts(counts: Tensor) -> Tensor:
    """What to take from counts of 0, 1, 2, and 3 or more (Chen and Goodman 1999, equation 17); where so little was counted
    that the estimate fails, 0.5, 1 and 1.5."""
    n1, n2, n3, n4 = ((counts == k).sum().item() for k in (1, 2, 3, 4))
    if min(n1, n2, n3) > 0:
        Y = n1 / (n1 + 2 * n2)
        D = [1 - 2 * Y * n2 / n1, 2 - 3 * Y * n3 / n2, 3 - 4 * Y * n4 / n3]
        if all(0 <= d <= k for k, d in enumerate(D, start=1)):
            return torch.tensor([0, *D], dtype=torch.float64)
    return torch.tensor([0, 0.5, 1, 1.5], dtype=torch.float64)


def longest_copied(text: str, source: str) -> str:
    """The longest piece of `text` that stands word for word in `source`: how much a model has memorised.

    >>> longest_copied("the cat sat on a hat", "a cat sat on the mat")
    ' cat sat on '
    """
    if not isinstance(text, str) or not isinstance(source, str):
        raise ValueError(f"two texts are compared, but these are {type(text).__name__} and {type(source).__name__}")
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
    check_whole("n", n, least=1)
    runs = [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
