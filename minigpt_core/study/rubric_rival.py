"""The rubric of the project "rival": does a model beat the best count on a text of one's own?

Both are measured on the same held-out part, in nats per character. The count is the best of the n-grams of up to 9 tokens by
modified Kneser-Ney smoothing: over characters, and where the model reads pieces, over these too, the better of the two. Both
sides choose on that part: the model its step, the count its order. The model has a handicap, since its windows stand
side by side and begin without a past; the count has none.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..model import GPT
from ..tokenizer import CharTokenizer, Tokenizer
from ..training import evaluate
from .clinic import BEST, COUNTED, LONGEST, PIECE, examine, stands_in
from .counting import ngram_probabilities
from .projects import Criterion, Result, check_name, now

LEAST = 5_000  # held-out characters; on fewer, a difference of a few hundredths is chance
COPIES = 0.01  # share of held-out pieces that may stand in the training part; none of this book's texts has 0.001
SPREAD = "documents or blocks"  # from all over the text; of a tail, a person judges
WORTHLESS = ("diverged", "distribution shift", "data leakage", "target leakage")


def judge(
    model: GPT,
    tokenizer: Tokenizer,
    train_ids: Tensor,
    val_ids: Tensor,
    training: Sequence[float],
    validation: Mapping[int, float],
    name: str,
    *,
    split: str | None = None,
    dropout: float | None = None,
    seconds: float | None = None,
) -> Result:
    """Measure `model` beside the best count: the ids (N,) and (M,) of both parts of its text, and the losses of its run as
    `clinic.examine` takes them; `split=None` is what `split_text` does unasked. A text that is too short, or longer than what is counted, is a `ValueError`.

    >>> judge(model, tokenizer, train_ids, val_ids, losses, validation, "Ada").met      # doctest: +SKIP
    False
    """
    name = check_name(name)
    train_text, val_text = (tokenizer.decode(ids.tolist()) for ids in (train_ids, val_ids))
    letters = CharTokenizer.train(train_text + val_text)
    train_letters, val_letters = (torch.tensor(letters.encode(text)) for text in (train_text, val_text))
    if len(val_letters) < LEAST:
        raise ValueError(f"the text is too short: {len(val_letters):,} characters are held out, {LEAST:,} are needed")
    if len(train_letters) > COUNTED:
        raise ValueError(
            f"the training part has {len(train_letters):,} characters, and at most {COUNTED:,} are counted: take a part of the text"
        )
    report = examine(training, validation, train_ids, val_ids, tokenizer.vocab_size, split=split, dropout=dropout)
    characters = len(val_letters)
    unit = "characters" if isinstance(tokenizer, CharTokenizer) else "tokens"
    counts = {f"{report.best_order}-gram of {unit}": report.references[BEST] * len(val_ids) / characters}
    if not isinstance(tokenizer, CharTokenizer):
        found = -ngram_probabilities(train_letters, val_letters, LONGEST, letters.vocab_size).log().mean(dim=1)
        counts[f"{int(found.argmin()) + 1}-gram of characters"] = found.min().item()
    rival = min(counts, key=lambda which: counts[which])
    loss = evaluate(model, val_ids) * len(val_ids) / characters
    copies = stands_in(val_letters, train_letters)
    found_bad = [finding.name for finding in report.findings if finding.name in WORTHLESS]
    difference = round(loss - counts[rival], 4)
    criteria = (
        Criterion("loss less the best count's", difference, "below 0", difference < 0),
        Criterion(f"held-out pieces of {PIECE} characters that were learned", round(copies, 4), f"at most {COPIES}", copies <= COPIES),
        Criterion("what makes the loss worthless", ", ".join(found_bad) or "nothing", "nothing by the clinic", not found_bad),
        Criterion("split", split or SPREAD, SPREAD, True if split != "tail" else None),
    )  # fmt: skip
    figures = {
        "model, nats per character": round(loss, 4),
        f"best count, nats per character: {rival}": round(counts[rival], 4),
        "parameters": model.n_parameters,
        "steps": len(training),
        "minutes": round(seconds / 60, 1) if seconds is not None else "unknown",
        "training characters": len(train_letters),
        "held-out characters": characters,
        "clinic": report.verdict,
    }
    return Result("rival", name, criteria, criteria[0].name, difference, 0.0, figures=figures, date=now())
