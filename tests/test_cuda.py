"""What only a machine with an NVIDIA GPU can test: `pytest -m cuda` there. Elsewhere all of it is skipped."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from test_large import composed
from test_training import TOKENIZER, TRAIN_IDS, VAL_IDS, curve, small_model

from minigpt_core import GPT, GPTConfig, TrainConfig, resume, train
from minigpt_core.beyond.large import Large
from minigpt_core.beyond.many import Many
from minigpt_core.study.selftest import check_device

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
DRIFT = json.loads((Path(__file__).parents[1] / "book" / "records" / "drift.json").read_text(encoding="utf-8"))
CONFIG = TrainConfig(
    steps=50, warmup_steps=10, eval_every=25, checkpoint_every=25, batch_size=8, learning_rate=1e-2, precision="float32"
)
GPU, CPU = replace(CONFIG, device="cuda"), replace(CONFIG, device="cpu")


@pytest.fixture(autouse=True)
def exact_products():
    """TF32 is off, as it is unless somebody asks for it."""
    assert torch.get_float32_matmul_precision() == "highest"


def losses(model, config, **options) -> list[float]:
    return [record.train_loss for record in train(model, TRAIN_IDS, VAL_IDS, config, **options)]


def apart(a: list[float], b: list[float]) -> float:
    return max(abs(p - q) for p, q in zip(a, b, strict=True))


def test_the_self_test_passes():
    report = check_device("cuda")
    assert report.ok, str(report)


def test_without_a_relu_the_curves_of_gpu_and_cpu_are_rounding_apart():
    assert apart(losses(composed(feed_forward="gelu"), GPU), losses(composed(feed_forward="gelu"), CPU)) < 1e-4


def test_with_the_mini_recipe_gpu_and_cpu_drift_no_further_than_two_numbers_of_threads():
    found = []
    for device in ("cuda", "cpu"):
        torch.manual_seed(0)
        model = GPT(GPTConfig(TOKENIZER.vocab_size))
        found.append(losses(model, TrainConfig(steps=50, warmup_steps=50, device=device, precision="float32")))
    band = max(max(row) for row in DRIFT["differences"]["two threads"])  # of a hundred steps: these are fifty
    assert apart(*found) < band


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("large", [Large(micro_batch=3), Large(compile=True)], ids=["groups", "compiled"])
def test_short_numbers_and_compilation_learn_as_the_cpu_does(precision, large):
    plain = list(train(small_model(), TRAIN_IDS, VAL_IDS, CPU))
    done = list(train(small_model(), TRAIN_IDS, VAL_IDS, replace(GPU, precision=precision), engine=large))
    assert done[-1].val_loss == pytest.approx(plain[-1].val_loss, abs=0.05)
    assert curve(done) != curve(plain)


@pytest.mark.parametrize("large", [Large(micro_batch=3, checkpoint_activations=True), Large(compile=True)], ids=str)
def test_groups_checkpointing_and_compilation_do_not_change_the_curve_of_the_gpu(large):
    plain = losses(composed(feed_forward="gelu"), GPU)
    assert apart(losses(composed(feed_forward="gelu"), GPU, engine=large), plain) < 1e-4


@pytest.mark.parametrize("way", [Many(), Many(shard=True)], ids=["ddp", "fsdp"])
def test_one_process_with_nccl_has_the_curve_of_the_plain_way(way):
    plain = losses(composed(feed_forward="gelu"), GPU)
    dist.init_process_group("cpu:gloo,cuda:nccl", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert apart(losses(composed(feed_forward="gelu"), GPU, engine=way), plain) < 1e-4
    finally:
        dist.destroy_process_group()


def test_a_run_begun_on_the_gpu_goes_on_on_the_cpu(tmp_path):
    whole = losses(composed(feed_forward="gelu"), CPU)
    for record in train(composed(feed_forward="gelu"), TRAIN_IDS, VAL_IDS, GPU, tmp_path):
        if record.step == 25:
            break
    rest = resume(composed(feed_forward="gelu"), TRAIN_IDS, VAL_IDS, tmp_path, device="cpu")
    assert apart([record.train_loss for record in rest], whole[25:]) < 1e-4
