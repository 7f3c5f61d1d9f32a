"""Talking with a model that was trained to answer: turns, each under its speaker's name, in the one text that it continues."""

from collections.abc import Iterator

from ..model import GPT
from ..sampling import stream
from .byte_level import ByteLevelBPETokenizer

TURN, TURN_END = "<|im_start|>", "<|im_end|>"  # of ChatML, the form of SmolLM2, Qwen and others
SYSTEM = (
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face"  # what SmolLM2 was trained to read first
)


class Conversation:
    """A talk with a model and its tokenizer. Who speaks is said by special tokens, which no message can spell: whoever writes
    "<|im_end|>" in a message writes ten letters.

    The model reads at most `window` tokens (its whole context unless you say less). When the talk has become longer, it loses its
    oldest question and answer, as often as need be; what the `system` says stays. `forgotten` counts them.

    >>> talk = Conversation(*load_real("smollm2"))                                      # doctest: +SKIP
    >>> "".join(talk.reply("What is the capital of France?", temperature=0))            # doctest: +SKIP
    'The capital of France is Paris.'
    """

    def __init__(
        self, model: GPT, tokenizer: ByteLevelBPETokenizer, *, system: str = SYSTEM, window: int | None = None
    ):
        if missing := [token for token in (TURN, TURN_END) if token not in tokenizer.special_ids]:
            raise ValueError(f"this model was not trained to talk: its tokenizer has no {missing[0]}")
        largest = model.config.block_size
        if window is not None and not 1 <= window <= largest:
            raise ValueError(f"window={window} must be a whole number from 1 to {largest}, the context of the model")
        self.model, self.tokenizer, self.window = model, tokenizer, window or largest
        self.system = self.turn("system", system)
        self.turns: list[list[int]] = []  # a question, its answer, a question, ...
        self.forgotten = 0

    def opening(self, speaker: str) -> list[int]:
        return [self.tokenizer.special_ids[TURN], *self.tokenizer.encode(f"{speaker}\n")]

    def turn(self, speaker: str, text: str) -> list[int]:
        """The ids of a whole turn."""
        end = [self.tokenizer.special_ids[TURN_END], *self.tokenizer.encode("\n")]
        return [*self.opening(speaker), *self.tokenizer.encode(text), *end]

    def reply(
        self, message: str, max_new_tokens: int = 500, *, stop: tuple[str, ...] = (), **knobs: float | int | None
    ) -> Iterator[str]:
        """The answer to a message, piece by piece. What was written when you stop reading is the answer that the talk keeps. A
        message that leaves no room for an answer in the window is a `ValueError`, and the talk goes on without it."""
        question, opening = self.turn("user", message), self.opening("assistant")
        least = len(self.system) + len(question) + len(opening)
        if least >= self.window:
            raise ValueError(f"the message and what stands before it take {least} tokens of {self.window}: shorten it")
        room = max(self.window - max_new_tokens, least)  # an answer may have to be shorter, the question is read whole
        while len(self.turns) > 1 and sum(map(len, self.turns)) + least > room:
            del self.turns[:2]
            self.forgotten += 1
        ids = [*self.system, *(i for turn in self.turns for i in turn), *question, *opening]
        written = ""
        try:
            for piece in stream(
                self.model, self.tokenizer, ids, min(max_new_tokens, self.window - len(ids)), stop=stop, **knobs
            ):
                written += piece
                yield piece
        finally:
            self.turns += [question, self.turn("assistant", written)]
