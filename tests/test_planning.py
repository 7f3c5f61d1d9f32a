"""What is said of a text before a run, and the plan that follows from text and time."""

import pytest
import torch

from minigpt_core import (
    GPT,
    BPETokenizer,
    CharTokenizer,
    GPTConfig,
    TrainConfig,
    load_corpus,
    planning,
    split_text,
    train,
)
from minigpt_core.planning import MOST, MOST_KINDS, fitting_tokenizer, look_at, propose, training_memory


def ids_of(text: str, tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    train_part, val_part = split_text(text)
    return torch.tensor(tokenizer.encode(train_part)), torch.tensor(tokenizer.encode(val_part))


@pytest.mark.parametrize(
    "text, usable, said",
    [
        ("", False, "0 characters are too few"),
        ("Mina has a lamp.", False, "16 characters are too few"),
        ("a" * 5000, False, "one character over and over"),
        ("The lamp was lit.\n" * 1000, True, "it repeats itself"),
        ("".join(str(n * n) + " " for n in range(3000)), True, "it holds no letters"),
        (load_corpus("tales")[:9000], True, "known by heart"),
        (load_corpus("tales") * 20, True, f"the first {MOST:,} characters are used"),
    ],
)
def test_whatever_a_text_can_be_ends_in_advice(text, usable, said):
    look = look_at(text)
    assert look.usable == usable
    assert any(said in sentence for sentence in look.advice), look.advice
    assert said in str(look)


def test_a_novel_needs_no_advice():
    look = look_at(load_corpus("tales"))
    assert look.usable and look.advice == () and look.script == "LATIN"
    assert look.characters == len(look.text) and look.kinds == len(set(look.text)) and look.repeated < 0.1


def test_the_script_is_that_of_most_letters():
    assert look_at(load_corpus("tales_zh")).script == "CJK"
    assert look_at("Привет, мир. OK! " * 200).script == "CYRILLIC"
    assert look_at("1 2 3").script == "none"


def test_too_many_kinds_of_character_are_cut_into_pieces():
    rare = "".join(chr(0x4E00 + i) for i in range(2500))
    look = look_at(load_corpus("tales_zh") * 10 + rare)
    assert look.kinds > MOST_KINDS and any("BPE" in sentence for sentence in look.advice)
    tokenizer = fitting_tokenizer(look)
    assert isinstance(tokenizer, BPETokenizer) and tokenizer.vocab_size == MOST_KINDS
    assert tokenizer.decode(tokenizer.encode(rare[:20])) == rare[:20]
    assert isinstance(fitting_tokenizer(look_at(load_corpus("tales_zh"))), CharTokenizer)
    assert isinstance(fitting_tokenizer(look_at(rare)), CharTokenizer)  # there is no pair to join


def test_little_text_gets_a_narrow_model_dropout_and_no_more_than_sixty_readings():
    text = load_corpus("tales")[:4000]
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids = ids_of(text, tokenizer)
    size, recipe = propose(train_ids, val_ids, tokenizer, seconds=600)
    assert (size.n_embd, size.n_layer, size.dropout) == (64, 4, 0.2)
    assert recipe.steps * recipe.batch_size * size.block_size <= 60 * len(train_ids)


def test_more_time_means_more_steps_and_the_plan_can_be_carried_out(monkeypatch):
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids = ids_of(text, tokenizer)
    cost = planning.time_steps(GPT(GPTConfig(tokenizer.vocab_size, n_layer=2)), TrainConfig(), train_ids, val_ids)
    monkeypatch.setattr(planning, "time_steps", lambda *_: cost)  # no busy moment of the machine between the two plans
    size, short = propose(train_ids, val_ids, tokenizer, seconds=3)
    assert (size.n_embd, size.n_layer, size.dropout, size.end_id) == (128, 2, 0.0, tokenizer.end_id)
    _, long = propose(train_ids, val_ids, tokenizer, seconds=60)
    assert long.steps > 4 * short.steps
    records = list(train(GPT(size), train_ids, val_ids, short))
    assert len(records) == short.steps and records[-1].train_loss < 3


def test_the_shortest_usable_text_can_be_learned_from():
    text = load_corpus("tales")[:2000]
    tokenizer = fitting_tokenizer(look_at(text))
    train_ids, val_ids = ids_of(text, tokenizer)
    size, recipe = propose(train_ids, val_ids, tokenizer, seconds=1)
    assert list(train(GPT(size), train_ids, val_ids, recipe))[-1].val_loss > 0


def test_no_time_is_refused():
    with pytest.raises(ValueError, match="seconds=0 must be above 0"):
        propose(torch.zeros(500, dtype=torch.long), torch.zeros(500, dtype=torch.long), CharTokenizer.train("ab"), 0)


def test_memory_counts_four_numbers_a_parameter_and_grows_with_the_batch():
    model = GPT(GPTConfig(60))
    assert round(training_memory(model, TrainConfig()) / 2**20) == 51  # as its docstring says
    with_no_text = training_memory(model, TrainConfig()) - 15 * (
        training_memory(model, TrainConfig(batch_size=2)) - training_memory(model, TrainConfig(batch_size=1))
    )
    per_window = training_memory(model, TrainConfig(batch_size=2)) - training_memory(model, TrainConfig(batch_size=1))
    assert with_no_text - per_window == 16 * model.n_parameters


def test_what_would_be_read_forty_times_gets_dropout_and_is_timed_with_it(monkeypatch):
    monkeypatch.setattr(planning, "time_steps", lambda model, *_: (0.02 if model.config.dropout else 0.01, 0.0))
    ids, tokenizer = torch.zeros(50_000, dtype=torch.long), CharTokenizer.train("ab")
    for seconds, dropout, steps in ((19, 0.0, 1900), (25, 0.2, 1250)):  # 1,953 steps read it forty times
        size, recipe = planning.propose(ids, ids, tokenizer, seconds)
        assert (size.dropout, recipe.steps) == (dropout, steps)
