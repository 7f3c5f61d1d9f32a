"""From one long text to its parts (training, validation, test), and from token ids to batches of shifted windows."""

import itertools
import math
import re

import torch
from torch import Tensor

from .config import check_number, check_whole
from .tokenizer import END_OF_TEXT

MASKED = -100  # the target of a token that is not to be learned, as in F.cross_entropy
MANY = 20  # documents: of fewer, one is too large a share of the text


def split_text(
    text: str, how: str | None = None, *, parts: int = 2, fraction: float = 0.1, seed: int = 0
) -> tuple[str, ...]:
    """Cut `text` into a training and a validation part; with `parts=3` also a test part. Recipes are chosen on the validation
    part; the test part is looked at once, when everything is settled. Each of the two has about `fraction` of the text.

    `how="documents"` holds out whole documents, one from each run of neighbours, so that they are spread over the text;
    documents end at end marks. It is the default where there are at least 20. `how="blocks"`, the default elsewhere, holds
    out up to 20 contiguous blocks, one at a random place in each twentieth of the text, so that they resemble the rest
    wherever the text changes. Where two pieces are joined that did not stand together, an end mark stands at the seam, so
    that no window passes for running text. `how="tail"` takes the last tenth, as most benchmarks do (of three parts the test
    part is the very end): simple, and misleading where a text ends differently from how it begins. A cut that would go
    through an end mark is made after it.

    >>> split_text("abcdefghij" * 3, "tail")
    ('abcdefghijabcdefghijabcdefg', 'hij')
    >>> split_text("".join(f"{i}<|endoftext|>" for i in range(20)))[1]
    '4<|endoftext|>19<|endoftext|>'
    """
    if not isinstance(text, str):
        raise ValueError(f"the text must be a string, not a {type(text).__name__}")
    check_whole("seed", seed, least=0)
    if parts not in (2, 3):
        raise ValueError(f"parts={parts!r} must be 2 or 3")
    check_number("fraction", fraction, 0, 1 if parts == 2 else 0.5, low_included=False)
    documents = _documents(text)
    if how is None:
        how = "documents" if len(documents) >= MANY else "blocks"
    if how not in ("documents", "blocks", "tail"):
        raise ValueError(f"how={how!r} is none of 'documents', 'blocks', 'tail'")
    if parts == 3:
        rest, first = split_text(text, how, fraction=fraction, seed=seed)
        train, second = split_text(rest, how, fraction=fraction / (1 - fraction), seed=seed)
        return (train, second, first) if how == "tail" else (train, first, second)
    if how == "documents":
        return _hold_out_documents(documents, fraction, seed)
    size = int(len(text) * fraction)
    if how == "tail":
        cut = _after_mark(text, len(text) - size)
        return text[:cut], text[cut:]
    return _hold_out_blocks(text, size, seed)


def _documents(text: str) -> list[str]:
    """The text cut after each end mark; white space after the last one belongs to the last document."""
    documents = re.split(f"(?<={re.escape(END_OF_TEXT)})", text)
    if len(documents) > 1 and not documents[-1].strip():
        documents[-2:] = ["".join(documents[-2:])]
    return documents


def _hold_out_documents(documents: list[str], fraction: float, seed: int) -> tuple[str, str]:
    """One at random from each of as many runs of neighbours as documents are held out."""
    n, count = len(documents), math.ceil(round(len(documents) * fraction, 6))
    if n < 2:
        raise ValueError(f"there is no second document to hold out: documents end in {END_OF_TEXT}; take how='blocks'")
    generator = torch.Generator().manual_seed(seed)
    count = min(count, n - 1)
    bounds = [n * i // count for i in range(count + 1)]
    held_out = {a + int(torch.randint(b - a, (1,), generator=generator)) for a, b in itertools.pairwise(bounds)}
    train, val = ([documents[i] for i in range(n) if (i in held_out) == held] for held in (False, True))
    return _join(train), _join(val)


def _hold_out_blocks(text: str, size: int, seed: int) -> tuple[str, str]:
    """`size` characters, in blocks; one shorter than 500 characters would be more seam than text."""
    rest, count = len(text) - size, min(20, max(1, size // 500))
    generator = torch.Generator().manual_seed(seed)
    train, val, last = [], [], 0
    for i in range(count):
        low = size * i // count + rest * i // count
        length = size * (i + 1) // count - size * i // count
        room = rest * (i + 1) // count - rest * i // count
        start = low + int(torch.randint(room + 1, (1,), generator=generator))
        start = max(last, _after_mark(text, start))
        end = max(start, _after_mark(text, start + length))
        if end > start:
            train.append(text[last:start])
            val.append(text[start:end])
            last = end
    return _join([*train, text[last:]]), _join(val)


def _join(pieces: list[str]) -> str:
    """One text of pieces that did not stand together: each but the last ends in an end mark."""
    *first, last = [piece for piece in pieces if piece] or [""]
    return "".join(piece if piece.endswith(END_OF_TEXT) else piece + END_OF_TEXT for piece in first) + last


def _after_mark(text: str, cut: int) -> int:
    """`cut`, or where it lies inside an end-of-text mark, the end of the mark."""
    begin = text.rfind(END_OF_TEXT, max(0, cut - len(END_OF_TEXT) + 1), cut + len(END_OF_TEXT) - 1)
    return cut if begin in (-1, cut) else begin + len(END_OF_TEXT)


def get_batch(ids: Tensor, block_size: int, batch_size: int, *, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """`batch_size` windows of `ids` drawn at random, and the same windows moved on by one token: x, y of shape (B, T).

    The batch follows from `seed` and `step` alone, on every device, so a run that resumes at a step needs no other
    memory of what it has drawn. `ids`, shape (N,), must hold at least block_size + 1 tokens.

    >>> x, y = get_batch(torch.arange(100), block_size=4, batch_size=2, seed=0, step=1)
    >>> (y == x + 1).all()
    tensor(True)
    """
    check_ids("ids", ids)
    check_whole("block_size", block_size, least=1)
    check_whole("batch_size", batch_size, least=1)
    if len(ids) < block_size + 1:
        raise ValueError(f"one window needs block_size + 1 = {block_size + 1} tokens, but there are {len(ids)}")
    generator = torch.Generator().manual_seed(step_seed(seed, step))
    starts = torch.randint(len(ids) - block_size, (batch_size, 1), generator=generator)  # (B, 1)
    windows = ids[(starts + torch.arange(block_size + 1)).to(ids.device)]  # (B, T + 1)
    return windows[:, :-1], windows[:, 1:]


def step_seed(seed: int, step: int) -> int:
    """One number for a step of a seeded run. PyTorch's CPU generator reads only 32 bits of a seed, so the two are mixed
    by Knuth's multiplicative hash: neighbouring seeds share no step within any run of a few million.

    >>> step_seed(0, 7), step_seed(1, 7)
    (7, 2654435768)
    """
    check_whole("seed", seed, least=0)
    check_whole("step", step, least=0)
    return (seed * 2_654_435_761 + step) % 2**32


def check_ids(name: str, ids: Tensor, vocab_size: int | None = None) -> None:
    """Refuse what is no tensor of token ids (N,), and with a `vocab_size` ids that are not from 0 to vocab_size - 1. What
    answers as such a tensor does will do, as ids that stay on disk (`beyond.stored`).

    >>> check_ids("val_ids", torch.tensor([3, 65]), 65)
    Traceback (most recent call last):
    ValueError: val_ids must lie from 0 to 64, for a vocabulary of 65 tokens, but go from 3 to 65: use the model's own tokenizer
    """
    if getattr(ids, "dtype", None) != torch.int64 or ids.dim() != 1:
        shape = f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else f"a {type(ids).__name__}"
        raise ValueError(
            f"{name} must be a tensor of int64 of shape (N,), as torch.tensor(tokenizer.encode(text)) is, but is {shape}"
        )
    if vocab_size is not None and len(ids) and not 0 <= ids.min() <= ids.max() < vocab_size:
        raise ValueError(
            f"{name} must lie from 0 to {vocab_size - 1}, for a vocabulary of {vocab_size} tokens, but go from "
            f"{ids.min()} to {ids.max()}: use the model's own tokenizer"
        )


def check_parts(train_ids: Tensor, val_ids: Tensor, block_size: int) -> None:
    """Refuse parts too short for one window of block_size tokens and the token after it.

    >>> check_parts(torch.arange(340), torch.arange(38), 64)
    Traceback (most recent call last):
    ValueError: a window of block_size=64 and the token after it need 65 tokens, but the training part has 340 and the \
validation part 38: take a longer text, or at most block_size=37
    """
    shortest = min(len(train_ids), len(val_ids))
    if shortest < block_size + 1:
        smaller = f", or at most block_size={shortest - 1}" if shortest > 1 else ""
        raise ValueError(
            f"a window of block_size={block_size} and the token after it need {block_size + 1} tokens, but the training part "
            f"has {len(train_ids)} and the validation part {len(val_ids)}: take a longer text{smaller}"
        )
