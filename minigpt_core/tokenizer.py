"""Text to token ids and back: one token a character, or pieces found by byte-pair encoding (BPE).

Both tokenizers have the same face, and both keep id 0 for the end of a text, so that a model can learn to stop. Both can
reserve four more ids for a chat, trained with `chat=True`: who speaks, and where a turn ends. A program sets these, by
`chat_ids`; no text becomes one. If it did, whoever writes to the model could spell <|system|> and speak in another's name
(prompt injection). Such a text is encoded as the characters that it is; decoded, a reserved id is its string.
"""

import io
import json
import operator
import re
import reprlib
from pathlib import Path
from typing import Any, Protocol

import sentencepiece

from .files import held_in, write_atomic

END_OF_TEXT = "<|endoftext|>"
END_ID = 0
CHAT = {name: f"<|{name}|>" for name in ("system", "user", "assistant", "endofturn")}
FORMAT_VERSION = 1

SPACE_PIECE = "\u2581"  # how SentencePiece writes a space inside a piece
UNKNOWN = "\ufffd"  # what an unknown piece decodes to
VISIBLE = {" ": SPACE_PIECE, "\n": "\u21b5", "\t": "\u21e5"}  # how spaces and the like look in `tokens`


class Coder(Protocol):
    """What writing and measuring ask of a tokenizer. `token_bytes[i]` are the UTF-8 bytes that token i stands for;
    `chat_ids` are the reserved ids under "system", "user", "assistant" and "endofturn", none without `chat=True`."""

    end_id: int
    token_bytes: list[bytes]
    chat_ids: dict[str, int]

    @property
    def vocab_size(self) -> int: ...
    @property
    def tokens(self) -> list[str]: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: list[int]) -> str: ...


class Tokenizer(Coder, Protocol):
    """One of this package's own, which is saved with the model that learned with it."""

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None: ...


class ByteTable:
    """The half that all tokenizers share: decoding is joining the bytes of the tokens."""

    end_id = END_ID
    token_bytes: list[bytes]
    chat_ids: dict[str, int]

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the end of text and those reserved for a chat included."""
        return len(self.token_bytes)

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`. Bytes that form no character come out as U+FFFD; an id outside the vocabulary, or what is no
        id, is a `ValueError`.

        >>> CharTokenizer.train("hello").decode([2, 1, 3, 3, 4])
        'hello'
        """
        try:
            numbers = [operator.index(i) for i in ids]
        except TypeError:
            raise ValueError(f"ids must be a row of whole numbers, as encode gives them, not {ids!r}") from None
        for i in numbers:
            if not 0 <= i < self.vocab_size:
                raise ValueError(f"token id {i} is outside the vocabulary of {self.vocab_size} tokens")
        return b"".join(self.token_bytes[i] for i in numbers).decode("utf-8", errors="replace")


class CharTokenizer(ByteTable):
    """One token a character. The vocabulary is the end of text, then the characters in the order of their code points, then
    the ids of a chat where there are any: a character has the same id with them and without.

    >>> tokenizer = CharTokenizer.train("hello")
    >>> tokenizer.tokens
    ['<|endoftext|>', 'e', 'h', 'l', 'o']
    >>> tokenizer.encode("hole")
    [2, 4, 3, 1]
    >>> CharTokenizer.train("hello", chat=True).chat_ids
    {'system': 5, 'user': 6, 'assistant': 7, 'endofturn': 8}
    """

    def __init__(self, characters: list[str], chat: bool = False):
        for i, c in enumerate(characters):
            if not isinstance(c, str) or len(c) != 1:
                raise ValueError(f"characters must be single ones, but the one at {i} is {c!r}")
        if len(set(characters)) < len(characters):
            twice = next(c for c in characters if characters.count(c) > 1)
            raise ValueError(
                f"characters must be different, but {twice!r} stands there {characters.count(twice)} times"
            )
        self.characters = [END_OF_TEXT, *characters]
        self.ids = {character: i for i, character in enumerate(self.characters)}
        self.chat_ids = {name: len(self.characters) + i for i, name in enumerate(CHAT)} if chat else {}
        self.token_bytes = [
            text.encode("utf-8") for text in (*self.characters, *(CHAT[name] for name in self.chat_ids))
        ]

    @classmethod
    def train(cls, text: str, *, chat: bool = False) -> "CharTokenizer":
        """Collect the characters of `text`. Give it the whole text, the validation part included: which characters
        exist is settled before any learning begins, and a character without an id could not be scored at all."""
        check_encodable(text)
        return cls(sorted(set(text.replace(END_OF_TEXT, ""))), chat)

    @property
    def tokens(self) -> list[str]:
        """A printable form of each token, in the order of the ids."""
        return [_printable(text.decode("utf-8")) for text in self.token_bytes]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`. A character that training never saw is a `ValueError` with its position."""
        if not isinstance(text, str):
            check_encodable(text)
        ids = self.ids
        try:
            if END_OF_TEXT not in text:
                return [ids[character] for character in text]
            return [ids[part] for part in re.findall(f"{re.escape(END_OF_TEXT)}|.", text, re.DOTALL)]
        except KeyError as error:
            check_encodable(text)
            character = error.args[0]
            masked = text.replace(END_OF_TEXT, " " * len(END_OF_TEXT)) if character != " " else text
            position = masked.index(character)
            raise ValueError(
                f"character {character!r} (U+{ord(character):04X}) at position {position} is not among the "
                f"{len(ids) - 1} characters of this tokenizer: train it on a text that holds the character, or use a "
                "BPETokenizer, which can write any character as bytes"
            ) from None

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write tokenizer.json into `folder`. A tokenizer that is there already is a `ValueError`, unless `overwrite`."""
        _check_free(folder, overwrite)
        chat = {"chat": True} if self.chat_ids else {}
        _write_description(folder, kind="char", characters=self.characters[1:], **chat)


class BPETokenizer(ByteTable):
    """Byte-pair encoding by SentencePiece: the pairs of pieces that occur most often are merged, one pair after the
    other, until the vocabulary is full (Sennrich, Haddow and Birch 2016, arXiv:1508.07909).

    With `byte_fallback` nothing is lost: a character outside the vocabulary becomes its UTF-8 bytes, and
    `decode(encode(s)) == s`. Without it such a character becomes the unknown piece.

    >>> tokenizer = BPETokenizer.train("the cat and the hat\\n" * 9, vocab_size=275)
    >>> [tokenizer.tokens[i] for i in tokenizer.encode("the cat")]
    ['the', '▁c', 'at']
    """

    def __init__(self, model: bytes):
        self.model = model
        try:
            self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, TypeError):
            raise ValueError(f"model must be the bytes of a SentencePiece model, not {reprlib.repr(model)}") from None
        p = self.processor
        if p.vocab_size() == 0 or p.id_to_piece(END_ID) != END_OF_TEXT or p.unk_id() < 0:
            raise ValueError("the SentencePiece model is empty or was not trained by this program")
        self.token_bytes = [self._bytes_of(i) for i in range(self.processor.vocab_size())]
        ids = {name: self.processor.piece_to_id(piece) for name, piece in CHAT.items()}
        self.chat_ids = {name: i for name, i in ids.items() if self.processor.is_control(i)}
        # What SentencePiece would write as U+2581 in bytes: that character itself, and a space where no piece has one.
        self._apart = [SPACE_PIECE]
        space, byte = (self.processor.piece_to_id(piece) for piece in (SPACE_PIECE, "<0x20>"))
        if self.processor.is_unknown(space) and self.processor.is_byte(byte):
            self._apart.append(" ")

    @classmethod
    def train(
        cls,
        text: str,
        *,
        vocab_size: int,
        byte_fallback: bool = True,
        character_coverage: float = 1.0,
        chat: bool = False,
    ) -> "BPETokenizer":
        """Learn `vocab_size` pieces from `text`, line by line; a piece never crosses a line break, which has a piece of
        its own. `character_coverage` is the share of the text whose characters get a piece of their own, the most
        frequent first (0.98 suits Chinese); the others are left to the bytes.

        A `vocab_size` that the text cannot fill, or too small for its characters, is a `ValueError` with the range.
        """
        check_encodable(text)
        if isinstance(vocab_size, bool) or not isinstance(vocab_size, int):
            raise ValueError(f"vocab_size={vocab_size!r} must be a whole number")
        if not isinstance(character_coverage, (int, float)) or not 0.98 <= character_coverage <= 1:
            raise ValueError(f"character_coverage={character_coverage!r} must be at least 0.98 and at most 1")
        # SentencePiece skips a line that holds U+2585, reads U+2581 as a space, and learns nothing from the name of one of its
        # own pieces, such as <unk>: the first two may not reach it, and names are cut after their <.
        reserved = list(CHAT.values()) if chat else []
        own = ["<unk>", *reserved, *(f"<0x{byte:02X}>" for byte in range(256) if byte_fallback)]
        inside_a_name = f"(?<=<)(?={'|'.join(re.escape(name[1:]) for name in own)})"
        cuts = f"\n|\u2581|\u2585|\0|{re.escape(END_OF_TEXT)}|{inside_a_name}"
        lines = [line for line in re.split(cuts, text) if line]
        if not lines:
            raise ValueError("the text is empty, there is nothing to learn pieces from")

        def learn(size: int, hard_limit: bool) -> bytes:
            model = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                model_type="bpe",
                vocab_size=size,
                hard_vocab_limit=hard_limit,
                byte_fallback=byte_fallback,
                character_coverage=character_coverage,
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                max_sentence_length=10**9,  # by default, longer lines than 4,192 bytes are dropped
                control_symbols=reserved,
                user_defined_symbols=["\n"],
                eos_id=END_ID,
                eos_piece=END_OF_TEXT,
                unk_id=1,
                unk_surface=UNKNOWN,
                bos_id=-1,
                pad_id=-1,
                num_threads=1,
                minloglevel=10,
            )
            return model.getvalue()

        try:
            if vocab_size > 300 + 2 * len(text):  # SentencePiece would try, for half a minute
                raise RuntimeError
            return cls(learn(vocab_size, hard_limit=True))
        except RuntimeError:
            full = cls(learn(len(text) + 300, hard_limit=False))  # every merge that the text allows
            merges = sum(1 for i in range(full.vocab_size) if full._is_merge(i))
            raise ValueError(
                f"vocab_size={vocab_size} does not fit this text: with character_coverage={character_coverage} and "
                f"byte_fallback={byte_fallback} it must lie between {full.vocab_size - merges} and {full.vocab_size}"
            ) from None

    @property
    def tokens(self) -> list[str]:
        """A printable form of each piece, in the order of the ids: `▁` is a space, `<0xE4>` a byte."""
        return [_printable(self.processor.id_to_piece(i)) for i in range(self.vocab_size)]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; `<|endoftext|>` in it becomes the end token. A lone surrogate is a `ValueError`."""
        check_encodable(text)
        apart = [END_OF_TEXT, *self._apart]
        if not any(part in text for part in apart):
            return self.processor.encode(text)
        ids: list[int] = []
        for part in re.split(f"({'|'.join(map(re.escape, apart))})", text):
            if part == END_OF_TEXT:
                ids.append(self.end_id)
            elif part in self._apart:
                pieces = [self.processor.piece_to_id(f"<0x{byte:02X}>") for byte in part.encode("utf-8")]
                ids += pieces if self.processor.is_byte(pieces[0]) else pieces[:1]
            else:
                ids += self.processor.encode(part)
        return ids

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write tokenizer.json and SentencePiece's own bpe.model into `folder`. A tokenizer that is there already is a
        `ValueError`, unless `overwrite`."""
        _check_free(folder, overwrite)
        write_atomic(Path(folder) / "bpe.model", self.model)
        _write_description(folder, kind="bpe")

    def _bytes_of(self, i: int) -> bytes:
        if self.processor.is_byte(i):
            return bytes([int(self.processor.id_to_piece(i)[3:5], 16)])
        if self.processor.is_unknown(i):
            return UNKNOWN.encode("utf-8")
        return self.processor.id_to_piece(i).replace(SPACE_PIECE, " ").encode("utf-8")

    def _is_merge(self, i: int) -> bool:
        p = self.processor
        return len(p.id_to_piece(i)) > 1 and not (p.is_byte(i) or p.is_unknown(i) or p.is_control(i))


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer that `save(folder)` wrote. A folder without one, or one that cannot be read, is a `ValueError`.

    >>> tokenizer = load_tokenizer("runs/alice")                                        # doctest: +SKIP
    """
    path = Path(folder) / "tokenizer.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(description, dict):
            raise ValueError("tokenizer.json is no description")
        version, kind = description.get("version"), description.get("kind")
        if version != FORMAT_VERSION:
            raise ValueError(f"its format version is {version!r}, this program reads {FORMAT_VERSION}")
        if kind == "char":
            characters: Any = description.get("characters")
            single = isinstance(characters, list) and all(isinstance(c, str) and len(c) == 1 for c in characters)
            if not single or len(set(characters)) < len(characters):
                raise ValueError("its characters are not a list of different single characters")
            chat = description.get("chat", False)
            if not isinstance(chat, bool):
                raise ValueError(f"its chat is {chat!r}, neither true nor false")
            return CharTokenizer(characters, chat)
        if kind == "bpe":
            return BPETokenizer((path.parent / "bpe.model").read_bytes())
        raise ValueError(f"its kind is {kind!r}, neither 'char' nor 'bpe'")
    except FileNotFoundError as error:
        raise ValueError(f"no tokenizer in {folder}: {Path(error.filename).name} is missing") from None
    except (OSError, RuntimeError, ValueError) as error:  # RecursionError is a RuntimeError
        raise ValueError(f"the tokenizer in {folder} cannot be read: {error}") from None


def check_sizes(tokenizer: Coder, vocab_size: int) -> None:
    """Refuse a tokenizer that has not as many tokens as the model.

    >>> check_sizes(CharTokenizer.train("hello"), 65)
    Traceback (most recent call last):
    ValueError: the tokenizer has 5 tokens and the model 65: they belong to different runs
    """
    if tokenizer.vocab_size != vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} tokens and the model {vocab_size}: they belong to different runs"
        )


def _check_free(folder: str | Path, overwrite: bool) -> None:
    if held_in(folder, "a tokenizer") and not overwrite:
        raise ValueError(f"{folder} already holds a tokenizer: name another folder, or replace it by overwrite=True")


def _write_description(folder: str | Path, **description: object) -> None:
    text = json.dumps({"version": FORMAT_VERSION, **description}, ensure_ascii=False, indent=1)
    write_atomic(Path(folder) / "tokenizer.json", text.encode("utf-8"))


def check_encodable(text: str) -> None:
    """Refuse what is no text, and half of a character (a lone surrogate), which no encoding can write.

    >>> check_encodable(b"hello")
    Traceback (most recent call last):
    ValueError: the text must be a string, not a bytes
    """
    if not isinstance(text, str):
        raise ValueError(f"the text must be a string, not a {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text holds a lone surrogate, U+{ord(text[error.start]):04X}, at position {error.start}: it is half of "
            "a character, and no encoding can write it; remove it"
        ) from None


def _printable(piece: str) -> str:
    return "".join(VISIBLE.get(c) or (c if c.isprintable() else ascii(c)[1:-1]) for c in piece)
