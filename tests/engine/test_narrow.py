"""Products of a few tokens: what a token gets does not depend on how many there are, nor on its place."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from studio.engine.narrow import Narrow, exact_from, filled, product

SHAPES = [(49_152, 576), (576, 1_536), (192, 576), (77, 33)]


def test_four_or_whole_eights_are_multiplied() -> None:
    assert [filled(tokens) for tokens in (1, 4, 5, 8, 9, 16, 17)] == [4, 4, 8, 8, 16, 16, 24]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_token_gets_the_same_alone_and_among_any_others(shape: tuple[int, int]) -> None:
    numbers = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(shape, generator=numbers), torch.randn(shape[0], generator=numbers)
    rows = torch.randn(19, shape[1], generator=numbers)
    narrow = Narrow(torch.nn.Sequential(_linear(weight, bias)))
    together = product(rows, weight, bias)
    assert torch.allclose(together, functional.linear(rows, weight, bias), rtol=1e-4, atol=1e-3)
    if not narrow.works:
        pytest.skip("This machine's products depend on how many tokens there are.")
    for first, last in ((0, 1), (3, 4), (18, 19), (5, 8), (2, 7), (0, 8), (7, 19)):
        assert torch.equal(product(rows[first:last], weight, bias), together[first:last])


def test_layers_are_narrow_only_while_rows_write() -> None:
    layer = _linear(torch.randn(64, 32), torch.randn(64))
    narrow, x = Narrow(torch.nn.Sequential(layer)), torch.randn(1, 4, 32)
    wide = functional.linear(x, layer.weight, layer.bias)
    assert torch.equal(layer(x), wide)
    with torch.inference_mode(), narrow.few():
        few = layer(x)
    assert few.shape == wide.shape
    assert torch.allclose(few, wide, atol=1e-5)
    assert torch.equal(layer(x), wide)


def test_other_numbers_than_float32_are_left_alone() -> None:
    assert not Narrow(torch.nn.Sequential(torch.nn.Linear(8, 8, dtype=torch.bfloat16))).works


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_bfloat16_a_token_gets_the_same_among_any_others(shape: tuple[int, int]) -> None:
    layer = torch.nn.Linear(shape[1], shape[0], dtype=torch.bfloat16)
    least = exact_from(torch.nn.Sequential(layer))
    if least == 16:
        pytest.skip("This machine's products depend on how many tokens there are.")
    assert least >= 2
    rows = torch.randn(300, shape[1], generator=torch.Generator().manual_seed(3)).bfloat16()
    with torch.inference_mode():
        together = layer(rows)
        for first, last in ((0, least), (7, 7 + least), (20, 59), (1, 300), (298 - least, 298)):
            assert torch.equal(layer(rows[first:last]), together[first:last])
        pairs = (layer(rows[place : place + least])[0] for place in range(200))
        assert torch.equal(torch.stack([*pairs]), together[:200])


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> torch.nn.Linear:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight, bias
    return layer


def test_a_model_that_also_multiplies_in_another_way_is_left_alone() -> None:
    from transformers.pytorch_utils import Conv1D

    assert not Narrow(torch.nn.Sequential(torch.nn.Linear(8, 8), Conv1D(8, 8))).works
    assert not Narrow(torch.nn.Sequential(torch.nn.LayerNorm(8))).works
