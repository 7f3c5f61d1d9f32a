"""From one long text to a training and a validation part, and from token ids to batches of shifted windows."""

import torch
from torch import Tensor

from .tokenizer import END_OF_TEXT


def split_text(text: str, how: str = "blocks", *, fraction: float = 0.1, seed: int = 0) -> tuple[str, str]:
    """Cut `text` into a training and a validation part; every character lands in exactly one of them. A cut that would
    go through an end-of-text mark is made after it.

    `how="blocks"` takes the validation part as up to 20 contiguous blocks, one at a random place in each twentieth of
    the text, so that it resembles the rest wherever the text changes. `how="tail"` takes the last tenth, as most
    benchmarks do: simple, and misleading where a text ends differently from how it begins.

    >>> split_text("abcdefghij" * 3, "tail")
    ('abcdefghijabcdefghijabcdefg', 'hij')
    """
    if how not in ("blocks", "tail"):
        raise ValueError(f"how={how!r} is neither 'blocks' nor 'tail'")
    if not 0 < fraction < 1:
        raise ValueError(f"fraction={fraction} must lie between 0 and 1")
    size = int(len(text) * fraction)
    rest = len(text) - size
    if how == "tail":
        cut = _after_mark(text, rest)
        return text[:cut], text[cut:]
    count = min(20, max(1, size // 500))  # a block shorter than 500 characters is more seam than text
    generator = torch.Generator().manual_seed(seed)
    train, val, last = [], [], 0
    for i in range(count):
        low = size * i // count + rest * i // count
        length = size * (i + 1) // count - size * i // count
        room = rest * (i + 1) // count - rest * i // count
        start = low + int(torch.randint(room + 1, (1,), generator=generator))
        start = max(last, _after_mark(text, start))
        end = max(start, _after_mark(text, start + length))
        train.append(text[last:start])
        val.append(text[start:end])
        last = end
    return "".join([*train, text[last:]]), "".join(val)


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
    return (seed * 2_654_435_761 + step) % 2**32


def check_parts(train_ids: Tensor, val_ids: Tensor, block_size: int) -> None:
    """Refuse parts too short for one window of block_size tokens and the token after it.

    >>> check_parts(torch.arange(340), torch.arange(38), 64)
    Traceback (most recent call last):
    ValueError: one window needs block_size + 1 = 65 tokens, but the training part has 340 and the validation part 38: \
take a longer text or a larger validation fraction, or a block_size of at most 37
    """
    shortest = min(len(train_ids), len(val_ids))
    if shortest < block_size + 1:
        smaller = f", or a block_size of at most {shortest - 1}" if shortest > 1 else ""
        raise ValueError(
            f"one window needs block_size + 1 = {block_size + 1} tokens, but the training part has {len(train_ids)} and "
            f"the validation part {len(val_ids)}: take a longer text or a larger validation fraction{smaller}"
        )
