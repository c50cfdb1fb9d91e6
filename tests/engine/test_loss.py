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


def test_in_bfloat16_the_gradient_of_a_nearly_certain_token_is_no_rounding_error() -> None:
    torch.manual_seed(0)
    weight = torch.randn(50, 8).bfloat16()
    labels = torch.arange(6)
    hidden = (1.5 * weight[:6]).requires_grad_()
    (ours,) = torch.autograd.grad(head_loss(hidden, weight, labels), hidden)
    exact = hidden.detach().double().requires_grad_()
    loss = functional.cross_entropy(exact @ weight.double().T, labels, reduction="sum")
    (theirs,) = torch.autograd.grad(loss, exact)
    for one, other in zip(ours.double(), theirs, strict=True):
        assert float((one - other).abs().max()) < 0.05 * float(other.abs().max())
