"""The matrix products of the page, which training and writing stand on: the bytes are those of kernel.wat, the numbers numpy's."""

import random
import re

import numpy as np
import pytest
from test_engine import engine, pytestmark  # noqa: F401
from wasmtime import wat2wasm

from minigpt_core.widgets import source


def assembled() -> bytes:
    """What kernel.wat becomes, without the names of its locals, which come last: a section of the kind 0, its size, and "name"."""
    before, _, _ = bytes(wat2wasm(source("engine/kernel.wat"))).rpartition(b"\x04name")
    return before[: before.rindex(b"\0")]


def test_the_bytes_are_those_of_the_text():
    """To change the kernel: change kernel.wat, and put what this test prints into kernel.js."""
    digits = assembled().hex()
    [lines] = re.findall(r"const BYTES =\n(.*?);", source("engine/kernel.js"), re.DOTALL)
    assert "".join(re.findall('"(.*)"', lines)) == digits, "\n" + " +\n".join(
        f'    "{digits[i : i + 108]}"' for i in range(0, len(digits), 108)
    )


def test_the_kernel_is_small():
    assert len(assembled()) < 800


@pytest.mark.parametrize("kind, tolerance", [("wasm", 1e-5), ("float32", 1e-6), ("float64", 1e-12)])
def test_products_are_numpys(kind, tolerance):
    dice, numbers = random.Random(0), np.random.default_rng(0)
    shapes = [(1, 1, 1), (6, 5, 8), (7, 3, 9), (64, 64, 64), (5, 1, 16), (12, 128, 62), (13, 70, 7)]
    shapes += [(dice.randint(1, 30), dice.randint(1, 40), dice.randint(1, 30)) for _ in range(20)]
    cases, expected = [], []
    for m, k, n in shapes:
        A, B = numbers.standard_normal((m, k)), numbers.standard_normal((k, n))
        if kind != "float64":
            A, B = A.astype(np.float32).astype(float), B.astype(np.float32).astype(float)
        expected.append(A @ B)
        for turned_a in (False, True):
            for turned_b in (False, True):
                cases.append(
                    {"m": m, "k": k, "n": n, "turnedA": turned_a, "turnedB": turned_b}
                    | {"a": (A.T if turned_a else A).ravel().tolist(), "b": (B.T if turned_b else B).ravel().tolist()}
                )
    found = engine("products", cases=cases, kind=kind)
    for i, numbers_of in enumerate(found):
        product = expected[i // 4]
        assert np.allclose(np.reshape(numbers_of, product.shape), product, rtol=0, atol=tolerance * 10)
