"""Byte-level BPE, the tokenizer of GPT-2 (Radford et al. 2019), SmolLM2 and many others.

It is byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) that starts from bytes, so that text in any script can
be written. The vocabulary is stored as text, though, and many bytes are no visible character. So each byte has a
visible letter: the visible characters of Latin-1 stand for themselves, those from U+0100 on for the other bytes, such
as `Ġ` for the space and `Ċ` for the line break. A Chinese character of three bytes becomes three such letters, `ä½ł`
for 你: the vocabulary looks like garbage, but is not.
"""

import json
import re
from functools import cache, lru_cache
from itertools import chain, count, pairwise
from pathlib import Path
from typing import Any

from ..tokenizer import END_OF_TEXT, ByteTable, check_encodable

_others = map(chr, count(256))
ALPHABET = [c if c.isprintable() and c != " " else next(_others) for c in map(chr, range(256))]  # byte -> letter
BYTES = {letter: byte for byte, letter in enumerate(ALPHABET)}

# GPT-2's pattern is 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ where \p{L} is any
# letter and \p{N} any number of Unicode, which Python's re cannot name. Here letters, numbers and spaces are those of
# ASCII: `_kind` replaces all others by these. In the second pattern a digit is a piece by itself, and ends the one before.
PATTERN = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII)
DIGITS = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+|\s+(?![^\s0-9])|\s+", re.ASCII)


def bytes_of(token: str) -> bytes:
    """The bytes that a token of the vocabulary stands for.

    >>> bytes_of("Ġcafé"), bytes_of("ä½ł")
    (b' caf\\xe9', b'\\xe4\\xbd\\xa0')
    """
    if not BYTES.keys() >= set(token):
        raise ValueError(f"the token {token!r} is not in the byte alphabet: if it is a special token, list it as one")
    return bytes(BYTES[letter] for letter in token)


def legible(token: str) -> str:
    """The text that a token of the vocabulary stands for. Bytes that form no whole character are written as numbers.

    >>> [legible(token) for token in ("Ġthe", "Ċ", "ä½ł", "ĠðŁĺ")]
    [' the', '\\n', '你', ' <0xF0><0x9F><0x98>']
    """
    text = bytes_of(token).decode("utf-8", errors="surrogateescape")  # such a byte becomes U+DC00 + byte
    return re.sub("[\udc80-\udcff]", lambda match: f"<0x{ord(match[0]) - 0xDC00:02X}>", text)


@cache
def _kind(c: str) -> str:
    """A character of ASCII that is of the same kind as `c`: a letter, a number, a space, or none of these."""
    return c if c.isascii() else "x" if c.isalpha() else "0" if c.isnumeric() else "\t" if c.isspace() else "!"


def pre_tokenize(text: str, *, digits: bool) -> list[str]:
    """Cut `text` into pieces that no merge crosses: words, numbers and other signs, each with the space before it, and
    what remains of spaces. With `digits` each digit is a piece of its own, as in SmolLM2; GPT-2 keeps numbers together.

    >>> pre_tokenize("They're 25!", digits=False), pre_tokenize("They're 25!", digits=True)
    (['They', "'re", ' 25', '!'], ['They', "'re", ' ', '2', '5', '!'])
    """
    found = (DIGITS if digits else PATTERN).finditer("".join(map(_kind, text)))
    return [text[match.start() : match.end()] for match in found]


class ByteLevelBPETokenizer(ByteTable):
    """Byte-level BPE with a vocabulary learned elsewhere: the `tokens` in the order of their ids; the `merges`, as
    "a b", in the order in which they were learned; the `special` ones among the tokens, and which token is the `end` of
    a text; whether `digits` are pieces of their own.

    >>> tokenizer = ByteLevelBPETokenizer([*ALPHABET, "he", "Ġt", "Ġthe", "<|endoftext|>"], ["h e", "Ġ t", "Ġt he"],
    ...     ["<|endoftext|>"], digits=False, end="<|endoftext|>")
    >>> tokenizer.encode("the the"), tokenizer.decode([116, 256, 258]), tokenizer.special_ids
    ([116, 256, 258], 'the the', {'<|endoftext|>': 259})
    """

    def __init__(self, tokens: list[str], merges: list[str], special: list[str], *, digits: bool, end: str):
        self.tokens, self.digits, self.chat_ids = tokens, digits, {}
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
        if missing := [token for token in (*special, end) if token not in self.ids]:
            raise ValueError(f"the special token {missing[0]!r} is not among the tokens: add it, or leave it out")
        if wrong := [pair for pair in self.ranks if len(pair) != 2 or not self.ids.keys() >= {*pair, "".join(pair)}]:
            raise ValueError(f"the merge {' '.join(wrong[0])!r} does not join two tokens to one: check their source")
        self.special_ids, self.end_id = {token: self.ids[token] for token in special}, self.ids[end]
        self.token_bytes = [t.encode("utf-8") if t in self.special_ids else bytes_of(t) for t in tokens]
        self._ids_of = lru_cache(maxsize=2**16)(self._merge)  # words come again and again

    def encode(self, text: str, *, allowed_special: list[str] | tuple[str, ...] = ()) -> list[int]:
        """The ids of `text`. A special token in it is plain text, unless `allowed_special` names it: whoever writes to
        a model can neither end a text nor speak in another's name (prompt injection).

        >>> tokenizer = ByteLevelBPETokenizer([*ALPHABET, "<e>"], [], ["<e>"], digits=False, end="<e>")
        >>> tokenizer.encode("<e>"), tokenizer.encode("<e>", allowed_special=["<e>"])
        ([60, 101, 62], [256])
        """
        check_encodable(text)
        if unknown := [token for token in allowed_special if token not in self.special_ids]:
            raise ValueError(f"{unknown[0]!r} is no special token here: choose from {', '.join(self.special_ids)}")
        names = "|".join(re.escape(token) for token in sorted(allowed_special, key=len, reverse=True))
        parts = re.split(f"({names})", text) if names else [text]
        ids = ([self.special_ids[part]] if part in allowed_special else self._encode_plain(part) for part in parts)
        return list(chain.from_iterable(ids))

    def _encode_plain(self, text: str) -> list[int]:
        return [i for piece in pre_tokenize(text, digits=self.digits) for i in self._ids_of(piece)]

    def _merge(self, piece: str) -> list[int]:
        """The ids of a piece: of the merges that are possible, always the one learned first is made, everywhere."""
        parts = [ALPHABET[byte] for byte in piece.encode("utf-8")]
        while possible := [pair for pair in pairwise(parts) if pair in self.ranks]:
            best = min(possible, key=self.ranks.__getitem__)
            for i in range(len(parts)):
                if tuple(parts[i : i + 2]) == best:
                    parts[i : i + 2] = ["".join(best)]
        if missing := [part for part in parts if part not in self.ids]:
            raise ValueError(f"{piece!r} cannot be encoded: no token of the vocabulary is {bytes_of(missing[0])!r}")
        return [self.ids[part] for part in parts]

    @classmethod
    def from_gpt2(cls, folder: str | Path) -> "ByteLevelBPETokenizer":
        """GPT-2's tokenizer, from its files encoder.json and vocab.bpe in `folder`.

        >>> ByteLevelBPETokenizer.from_gpt2("gpt2").encode("Hello world")                       # doctest: +SKIP
        [15496, 995]
        """
        ids, merges = ((Path(folder) / name).read_text(encoding="utf-8") for name in ("encoder.json", "vocab.bpe"))
        tokens = sorted(numbers := json.loads(ids), key=numbers.__getitem__)
        return cls(tokens, merges.strip().split("\n")[1:], [END_OF_TEXT], digits=False, end=END_OF_TEXT)

    @classmethod
    def from_gguf(cls, metadata: dict[str, Any]) -> "ByteLevelBPETokenizer":
        """The tokenizer in the metadata of a GGUF file, with GPT-2's pre-tokenization or SmolLM2's.

        >>> fields = gguf.GGUFReader("SmolLM2-135M-Instruct.Q4_1.gguf").fields                  # doctest: +SKIP
        >>> metadata = {name: field.contents() for name, field in fields.items()}               # doctest: +SKIP
        >>> ByteLevelBPETokenizer.from_gguf(metadata).encode("Hello world")                     # doctest: +SKIP
        [19556, 905]
        """
        own = {name.removeprefix("tokenizer.ggml."): value for name, value in metadata.items()}
        if (pre := own.get("pre")) not in ("gpt-2", "smollm"):
            raise ValueError(f"this file's pre-tokenization is {pre!r}, and only 'gpt-2' and 'smollm' are known here")
        tokens, types = own["tokens"], own["token_type"]  # 1 is a normal token
        special = [token for token, kind in zip(tokens, types, strict=True) if kind != 1]
        return cls(tokens, own.get("merges", []), special, digits=pre == "smollm", end=tokens[own["eos_token_id"]])
