from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from studio.domain.encoded import Encoded
from studio.engine import attention
from studio.engine.attention import rows_attention
from studio.engine.batches import collate


def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None) -> torch.Tensor:
    length = q.shape[2]
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    mask = (distance >= 0) & (distance < (window or length))
    return functional.scaled_dot_product_attention(q, k, v, mask, scale=0.3, enable_gqa=True)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("kept", [0, 5, 512])
@pytest.mark.parametrize("block", [2, 256])
def test_each_row_sees_only_itself_and_what_came_before(
    window: int | None, block: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_BLOCK", block)
    monkeypatch.setattr(attention, "KEPT", kept)
    torch.manual_seed(0)
    lengths = (3, 7, 1)
    q = torch.randn(1, 4, 11, 8, requires_grad=True)
    k, v = (torch.randn(1, 2, 11, 8, requires_grad=True) for _ in range(2))
    found, _ = rows_attention(
        torch.nn.Module(), q, k, v, None, scaling=0.3, row_lengths=lengths, sliding_window=window
    )
    rows = zip(q.split(lengths, 2), k.split(lengths, 2), v.split(lengths, 2), strict=True)
    wanted = torch.cat([reference(*row, window) for row in rows], 2).transpose(1, 2)
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), (q, k, v), retain_graph=True),
        torch.autograd.grad((wanted * weights).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_short_rows_in_other_types_than_each_other_as_autocast_leaves_them() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(1, 4, 11, 8, requires_grad=True), torch.randn(1, 2, 11, 8, requires_grad=True)
    v = torch.randn(1, 2, 11, 8).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = rows_attention(torch.nn.Module(), q, k, v, None, scaling=0.3, row_lengths=(4, 7))
    assert found.dtype == torch.bfloat16
    rows = zip(q.split((4, 7), 2), k.split((4, 7), 2), v.float().split((4, 7), 2), strict=True)
    wanted = torch.cat([reference(*row, None) for row in rows], 2).transpose(1, 2)
    torch.testing.assert_close(found.float(), wanted, rtol=0.05, atol=0.05)
    weights = torch.randn(found.shape)
    ours = torch.autograd.grad((found.float() * weights).sum(), (q, k, v))
    theirs = torch.autograd.grad((wanted * weights).sum(), (q, k, v))
    assert [one.dtype for one in ours] == [torch.float32, torch.float32, torch.bfloat16]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=0.1, atol=0.1)


def test_values_narrower_than_queries_and_lengths_that_do_not_add_up() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 4, 11, 8), torch.randn(1, 4, 11, 8), torch.randn(1, 4, 11, 6)
    found, _ = rows_attention(torch.nn.Module(), q, k, v, None, scaling=0.3, row_lengths=(4, 7))
    rows = zip(q.split((4, 7), 2), k.split((4, 7), 2), v.split((4, 7), 2), strict=True)
    torch.testing.assert_close(found, torch.cat([reference(*row, None) for row in rows], 2).transpose(1, 2))
    with pytest.raises(ValueError, match="tokens in queries"):
        rows_attention(torch.nn.Module(), q, k, v, None, row_lengths=(4, 8))


@pytest.mark.parametrize("window", [None, 4])
def test_what_stands_behind_the_last_row_neither_sees_nor_is_seen(window: int | None) -> None:
    torch.manual_seed(0)
    q = torch.randn(1, 4, 11, 8, requires_grad=True)
    k, v = (torch.randn(1, 2, 11, 8, requires_grad=True) for _ in range(2))
    found, _ = rows_attention(
        torch.nn.Module(), q, k, v, None, scaling=0.3, row_lengths=(3, 5), sliding_window=window
    )
    alone, _ = rows_attention(
        torch.nn.Module(),
        *(x[:, :, :8] for x in (q, k, v)),
        None,
        scaling=0.3,
        row_lengths=(3, 5),
        sliding_window=window,
    )
    torch.testing.assert_close(found[:, :8], alone)
    assert not found[:, 8:].any()
    weights = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), (q, k, v)),
        torch.autograd.grad((alone * weights[:, :8]).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_what_fills_a_batch_up_has_no_position_beyond_its_rows() -> None:
    rows = [Encoded((*range(65),), (*range(65),), (), "", number) for number in range(64)]
    batch = collate(rows, packing=True, pad_id=0, device="cpu", fills=True)
    assert batch.input_ids.shape[1] > batch.tokens
    assert int(batch.position_ids.max()) == 64
    assert batch.row_lengths == (65,) * 64
