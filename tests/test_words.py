"""The field's words: whoever has read this book can search, read papers, and talk with others.

Each word of the list has a row in the glossary, with its Chinese, or is named in one ("also called ..."), and stands in the
prose of a chapter or of a page. That a chapter has a row's word in bold at its first use, and the Chinese page in its list, is
what test_first_use.py holds.
"""

import re

import pytest
from test_first_use import BOOK, NOT_PROSE, ROOT

# The word, and a regular expression where it has more than one form.
WORDS = {
    # the data, and what is measured on it
    "held-out": None,
    "validation set": None,
    "test set": None,
    "training set": None,
    "data leakage": None,
    "subword": None,
    "vocabulary size": None,
    "special token": None,
    "perplexity": r"perplexity|perplexities",
    "backoff": r"backoff|back-off|backing[- ]off",
    "interpolation": r"interpolation|interpolated",
    # learning
    "gradient": None,
    "stochastic gradient descent": r"(?:mini-?batch )?stochastic gradient descent(?: \(SGD\))?",
    "backpropagation": r"back-?propagation",
    "chain rule": None,
    "local derivative": None,
    "computational graph": None,
    "forward pass": r"forward pass(?:es)?",
    "backward pass": r"backward pass(?:es)?",
    "reverse-mode automatic differentiation": None,
    "autograd": None,
    "finite difference": None,
    "gradient check": r"gradient check(?:s|ing)?",
    "vanishing gradient": None,
    "exploding gradient": None,
    "saturation": r"saturation|saturated",
    "initialisation": r"initiali[sz]ation",
    "mini-batch": r"mini-?batch(?:es)?",
    "learning-rate search": r"learning[- ]rate search(?:es)?",
    "learning-rate decay": r"learning[- ]rate decay",
    "epoch": None,
    "momentum": None,
    "RMSProp": None,
    "hyperparameter": None,
    "standard deviation": None,
    "overfitting": r"overfit\w*",
    "memorisation": r"memori[sz]ation|memori[sz]ing",
    "early stopping": None,
    "generalisation": r"generali[sz]ation",
    "generalisation gap": r"generali[sz]ation gaps?",
    "mixed precision": None,
    "quantization": r"quanti[sz]ation|quanti[sz]ed",
    "weight averaging": None,
    "inference": None,
    "fine-tuning": r"fine-tun(?:e|ed|ing)",
    # the model
    "autoregressive": None,
    "decoder-only": None,
    "neural network": None,
    "hidden layer": None,
    "hidden unit": None,
    "activation function": None,
    "tanh": r"(?:hyperbolic tangent|tanh)",
    "one-hot": r"one-hot(?: vectors?)?",
    "input embedding": None,
    "unembedding": None,
    "LM head": None,
    "hidden state": None,
    "residual stream": None,
    "residual connection": None,
    "output matrix": r"output matri(?:x|ces)",
    "rank collapse": None,
    "MLP": r"MLPs?|multi-?layer perceptrons?",
    "self-attention": None,
    "multi-head": r"multi-head(?: attention)?",
    "attention pattern": None,
    "attention sink": None,
    "attention dropout": None,
    "previous-token head": None,
    "ablation": None,
    "RoPE": None,
    "RMSNorm": None,
    "QK-norm": None,
    "weight tying": r"weight tying|tied weights|weights are tied",
    "zero initialisation": r"zero[- ]initiali[sz](?:ation|ed)",
    "logit scale": None,
    # real models
    "GELU": None,
    "SiLU": None,
    "SwiGLU": None,
    "squared ReLU": None,
    "scaled initialisation": r"scaled initiali[sz]ation",
    "grouped-query attention": None,
    "multi-query attention": None,
    "sliding-window attention": None,
    "key-value cache": None,
    "KV cache": None,
    "logit soft-capping": None,
    "mixture of experts": r"mixtures? of experts",
    "router": None,
    "byte-level BPE": None,
    "GGUF": None,
    "safetensors": None,
    "chat template": None,
    "instruction tuning": r"instruction[- ]tun(?:ing|ed)",
    "bits per byte": None,
    "in-context learning": None,
    "few-shot": None,
    "induction head": None,
    # writing
    "nucleus sampling": None,
    "no-repeat n-gram": r"no-repeat[- ]n-grams?",
}
ROWS = re.findall(
    r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", (ROOT / "book" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE
)
PAGES = [path for path in sorted((ROOT / "book").glob("*.md")) if path.name not in ("glossary.md", "zh.md")]


def form(word: str) -> str:
    return rf"(?<![\w-])(?:{WORDS[word] or re.escape(word) + 's?'})(?![\w-])"


def read_aloud() -> str:
    """The prose of all chapters and pages: no code, no headings, no solutions, no addresses."""
    pages = [re.sub(NOT_PROSE, "", p.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE) for p in PAGES]
    return " ".join("\n".join([text for _, text in BOOK] + pages).replace("*", "").split())


PROSE = read_aloud()


@pytest.mark.parametrize("word", WORDS)
def test_the_glossary_has_the_word_and_its_chinese(word):
    alias = rf"\balso (?:called )?(?:an? |the )?{form(word)}"
    chinese = [
        chinese
        for term, chinese, meaning in ROWS
        if re.fullmatch(form(word), term, re.IGNORECASE) or re.search(alias, meaning, re.IGNORECASE)
    ]
    assert chinese, f"book/glossary.md has no row for {word!r}"
    assert re.search(r"[\u4e00-\u9fff]", chinese[0]), f"the row of {word!r} has no Chinese"


@pytest.mark.parametrize("word", WORDS)
def test_the_word_stands_in_a_chapter_or_on_a_page(word):
    assert re.search(form(word), PROSE, re.IGNORECASE), f"no chapter and no page uses {word!r}"


def test_a_word_is_not_found_in_a_longer_one():
    assert re.search(form("gradient"), "the gradients of")
    assert not re.search(form("gradient"), "nothing but gradient-free search")
    assert not re.search(form("RoPE"), "a ROPEWALK", re.IGNORECASE)
    assert re.fullmatch(form("multi-head"), "multi-head attention") and not re.search(form("MLP"), "MLPx")
