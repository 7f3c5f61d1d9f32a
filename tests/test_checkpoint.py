"""Models on disk: they come back bit for bit, damage is told in one sentence, nothing is executed, no half file stays."""

import json
import os
import pickle
import struct
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from minigpt_core import GPT, CharTokenizer, GPTConfig, load_model, load_tokenizer, save_model
from minigpt_core.files import write_atomic

CONFIG = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8, dropout=0.1, end_id=0, fused=False)


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG)


@pytest.fixture
def folder(model, tmp_path) -> Path:
    save_model(model, tmp_path / "run")
    return tmp_path / "run"


def refused(folder: Path, match: str = ".") -> None:
    with pytest.raises(ValueError, match=match) as caught:
        load_model(folder)
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message and len(message) < 500


# There and back


def test_a_model_comes_back_bit_for_bit(model, folder):
    loaded = load_model(folder)
    assert loaded.config == model.config and not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor) and loaded.state_dict()[name].dtype == tensor.dtype
    ids = torch.arange(8)[None]
    assert torch.equal(loaded(ids)[0], model.eval()(ids)[0])


def test_weights_of_half_precision_are_widened(model, folder):
    (folder / "model.safetensors").write_bytes(save({name: t.half() for name, t in model.state_dict().items()}))
    loaded = load_model(folder)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert torch.equal(loaded.head.weight, model.head.weight.half().float())


def test_a_loaded_model_can_be_trained_further(folder):
    loaded = load_model(folder).train()
    loaded(torch.arange(8)[None], torch.arange(8)[None])[1].backward()
    assert all(p.requires_grad and p.grad is not None for p in loaded.parameters())


def test_saving_twice_writes_the_same_bytes_and_leaves_two_files(model, folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert set(before) == {"config.json", "model.safetensors"}
    save_model(model, str(folder), overwrite=True)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_saving_and_loading_leave_the_model_and_the_random_numbers_alone(model, tmp_path):
    model.train()
    before = torch.get_rng_state()
    save_model(model, tmp_path)
    load_model(tmp_path)
    assert model.training and torch.equal(torch.get_rng_state(), before)


def test_files_are_plain_json_and_safetensors(model, folder):
    """Any other program can read them."""
    assert json.loads((folder / "config.json").read_text()) == {
        "version": 1,
        "model": {"kind": "gpt", **asdict(CONFIG)},
    }
    assert load_file(folder / "model.safetensors").keys() == model.state_dict().keys()


@pytest.mark.parametrize("where", ["config.json", "header", "both"])
@pytest.mark.parametrize("setting", [field.name for field in fields(GPTConfig) if field.default is not MISSING])
def test_a_model_that_was_saved_before_a_setting_existed_has_its_default(setting, where, tmp_path):
    """In the files of today, made as they were then."""
    model = GPT(GPTConfig(vocab_size=11))
    save_model(model, tmp_path)
    description = {"version": 1, "model": {"kind": "gpt", **asdict(model.config)}}
    older = {"version": 1, "model": {k: v for k, v in description["model"].items() if k != setting}}
    assert setting in description["model"] and json.loads((tmp_path / "config.json").read_text()) == description
    if where != "header":
        (tmp_path / "config.json").write_text(json.dumps(older))
    if where != "config.json":
        path = tmp_path / "model.safetensors"
        path.write_bytes(save(load_file(path), {"minigpt": json.dumps(older)}))
    assert load_model(tmp_path).config == model.config
    older["model"]["vocab_size"] = 12  # and one that differs is still another model's
    (tmp_path / "config.json").write_text(json.dumps(older))
    refused(tmp_path, "those in config.json are of another model")


def test_a_tokenizer_may_lie_beside_the_weights(folder):
    CharTokenizer.train("abc").save(folder)
    assert load_model(folder).config == CONFIG and load_tokenizer(folder).vocab_size == 4


# Damage


def test_what_is_missing_is_named(folder, tmp_path):
    refused(tmp_path / "nowhere", "there is no model in .*config.json is missing")
    (folder / "model.safetensors").unlink()
    refused(folder, "model.safetensors is missing")
    (folder / "config.json").unlink()
    refused(folder, "config.json is missing")


def test_a_file_in_place_of_the_folder_and_folders_in_place_of_files_are_refused(folder):
    refused(folder / "config.json", "cannot be read")
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        (folder / name).mkdir()
        refused(folder, f"{name} cannot be read")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b"\xff\xfe\x00",
        b"\0" * 100,
        b"[" * 100_000,
        b"{}",
        b'{"version": 1}',
        b'{"version": 1, "model": []}',
        b'{"version": 1, "model": null}',
        b'{"version": 1, "model": {}}',
        b'{"version": 1, "model": {"vocab_size": 11, "nonsense": 1}}',
        b'{"version": 1, "model": {"vocab_size": "11"}}',
        b'{"version": 1, "model": {"vocab_size": NaN}}',
    ],
)
def test_a_config_that_is_garbage_is_refused(content, folder):
    (folder / "config.json").write_bytes(content)
    refused(folder, "config.json cannot be read")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused(version, folder):
    (folder / "config.json").write_text(json.dumps({"version": version, "model": asdict(CONFIG)}))
    refused(folder, f"format version is {version!r}, this program reads 1")


@pytest.mark.parametrize(
    "name, value",
    [("vocab_size", 12), ("block_size", 9), ("n_layer", 1), ("n_layer", 3), ("n_embd", 10), ("n_embd", 4)],
)
def test_weights_that_do_not_fit_the_config_are_refused(name, value, folder):
    (folder / "config.json").write_text(json.dumps({"version": 1, "model": asdict(CONFIG) | {name: value}}))
    refused(folder, "model.safetensors does not fit its settings: ")


@pytest.mark.parametrize("name", ["vocab_size", "block_size", "n_embd"])
@pytest.mark.parametrize("value", [10**13, 10**30])
def test_a_config_of_absurd_size_is_refused_before_memory_is_taken(name, value, folder):
    (folder / "config.json").write_text(json.dumps({"version": 1, "model": asdict(CONFIG) | {name: value}}))
    refused(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.5, 0.999])
def test_truncated_weights_are_refused(share, folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(folder, "model.safetensors cannot be read")


@pytest.mark.parametrize(
    "raw", [b"\xff" * 1000, b"hello", struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 2) + b"[]"]
)
def test_weights_that_are_garbage_are_refused(raw, folder):
    (folder / "model.safetensors").write_bytes(raw)
    refused(folder, "model.safetensors cannot be read")


def test_bytes_after_the_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"more")
    refused(folder, "model.safetensors cannot be read")


def test_a_missing_and_an_extra_tensor_are_named(model, folder):
    tensors = dict(model.state_dict())
    (folder / "model.safetensors").write_bytes(save(tensors | {"extra": torch.zeros(1)}))
    refused(folder, "extra")
    del tensors["norm.bias"]
    (folder / "model.safetensors").write_bytes(save(tensors))
    refused(folder, r"norm\.bias")


def test_a_tensor_of_the_wrong_shape_is_named_with_both_shapes(model, folder):
    tensors = dict(model.state_dict()) | {"head.weight": torch.zeros(8, 11)}
    (folder / "model.safetensors").write_bytes(save(tensors))
    refused(folder, r"head\.weight has the shape \(8, 11\), expected \(11, 8\)")


@pytest.mark.parametrize("header", ["{", "5", '"x"', "[1]", '{"version": 2}', '{"a": 1}', "[" * 10_000])
def test_a_header_that_is_garbage_is_refused(header, model, folder):
    (folder / "model.safetensors").write_bytes(save(dict(model.state_dict()), {"minigpt": header}))
    refused(folder, "model.safetensors cannot be read")


class Bomb:
    """Unpickling this writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


@pytest.mark.parametrize("dump", ["pickle", "torch"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_pickle_is_refused_and_never_executed(dump, name, folder, tmp_path):
    CharTokenizer.train("abc").save(folder)
    if dump == "pickle":
        (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    else:
        torch.save(Bomb(tmp_path / "trace"), folder / name)
    if name == "tokenizer.json":
        with pytest.raises(ValueError, match="cannot be read"):
            load_tokenizer(folder)
    else:
        refused(folder, f"{name} cannot be read")
    assert not (tmp_path / "trace").exists()


def test_the_bomb_would_have_gone_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


def test_a_device_that_does_not_exist_is_refused(folder):
    with pytest.raises(ValueError, match="device"):
        load_model(folder, device="abacus")


# Writing


def test_a_file_is_written_whole_and_folders_are_made(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "c.bin", b"content")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"content"
    write_atomic(tmp_path / "a" / "b" / "c.bin", b"")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b""
    assert os.listdir(tmp_path / "a" / "b") == ["c.bin"]


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["full", "interrupted"])
def test_when_writing_fails_the_old_file_stays_and_no_other(function, error, tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"old")

    def fail(*args):
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)):
        write_atomic(tmp_path / "a.bin", b"new")
    with pytest.raises(type(error)):
        write_atomic(tmp_path / "b.bin", b"new")
    assert os.listdir(tmp_path) == ["a.bin"] and (tmp_path / "a.bin").read_bytes() == b"old"


def test_the_file_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(Path(a).read_bytes()), replace(a, b)))
    write_atomic(tmp_path / "a.bin", b"new")
    assert calls == ["fsync", b"new"]


def test_a_failed_save_keeps_the_old_model(model, folder, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError):
        save_model(GPT(GPTConfig(vocab_size=5, n_embd=8)), folder, overwrite=True)
    monkeypatch.undo()
    assert torch.equal(load_model(folder).head.weight, model.head.weight)
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_save_that_fails_between_two_files_is_noticed_or_harmless(name, model, folder, monkeypatch):
    """The second of the two files fails: what lies there then is refused, or is the old model or the new one."""
    new, replace = GPT(GPTConfig(**asdict(CONFIG) | {"n_head": 4})), os.replace

    def fail_on_one(source, target):
        if Path(target).name == name:
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_on_one)
    with pytest.raises(OSError):
        save_model(new, folder, overwrite=True)
    monkeypatch.undo()
    try:
        loaded = load_model(folder)
    except ValueError:
        return
    weights = loaded.head.weight
    assert (loaded.config.n_head, torch.equal(weights, model.head.weight)) in ((2, True), (4, False))
