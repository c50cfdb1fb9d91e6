from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from studio.engine import attention
from studio.engine.attention import rows_attention


def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None) -> torch.Tensor:
    length = q.shape[2]
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    mask = (distance >= 0) & (distance < (window or length))
    return functional.scaled_dot_product_attention(q, k, v, mask, scale=0.3, enable_gqa=True)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("short", [0, 256], ids=["by the kernel", "by products"])
def test_each_row_sees_only_itself_and_what_came_before(
    window: int | None, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_SHORT", short)
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
