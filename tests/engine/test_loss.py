from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from studio.engine.loss import CHUNK, head_loss


@pytest.mark.parametrize("positions", [1, CHUNK, CHUNK + 3])
@pytest.mark.parametrize("trained_head", [False, True])
def test_loss_and_gradients_equal_cross_entropy_of_the_logits(positions: int, trained_head: bool) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(positions, 8, requires_grad=True)
    weight = torch.randn(50, 8, requires_grad=trained_head)
    labels = torch.randint(50, (positions,))
    inputs = (hidden, weight) if trained_head else (hidden,)
    ours = head_loss(hidden, weight, labels)
    theirs = functional.cross_entropy(hidden @ weight.T, labels, reduction="sum")
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(
        torch.autograd.grad(3 * ours, inputs), torch.autograd.grad(3 * theirs, inputs), strict=True
    ):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        torch.testing.assert_close(head_loss(hidden, weight, labels), theirs)
