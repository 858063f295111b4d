"""Equations 1, 4 and 5 of the paper against numbers worked out by hand and by other libraries."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import nbinom

from cellzoo.models.losses import aggregated_accuracy, aggregated_cross_entropy, nb_nll

# Three cells over the leaves [B, CD4 T, CD8 T, NK]; the second is labelled "T cell", the third "lymphocyte" (all four).
PROBABILITY = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.4, 0.25, 0.2, 0.15], [0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
TARGETS = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]], dtype=torch.bool)


def test_equation_4_by_hand():
    # -(ln 0.7 + ln(0.25 + 0.2) + ln 1) / 3 = (0.356675 + 0.798508 + 0) / 3
    assert aggregated_cross_entropy(PROBABILITY.log(), TARGETS).item() == pytest.approx(0.385061, abs=1e-6)


def test_equation_5_by_hand():
    # 0.7 > 0.1 yes; 0.25 + 0.2 > 0.4 yes; nothing lies outside "lymphocyte": yes
    assert aggregated_accuracy(PROBABILITY, TARGETS).item() == 1.0
    # CD8 T for the second cell: 0.2 > 0.4 no; NK for the third: 0.4 > 0.3 yes
    single = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    assert aggregated_accuracy(PROBABILITY, single).item() == pytest.approx(2 / 3)


def test_two_right_cells_with_coarse_labels_are_two_right_cells():
    """What sfaira's own metric gets wrong (reference/sfaira.md, 1.15)."""
    probability = torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.1, 0.1, 0.3, 0.5]])
    targets = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=torch.bool)
    assert aggregated_accuracy(probability, targets).item() == 1.0


@given(
    arrays(np.float32, (5, 4), elements=st.floats(-30, 30, width=32)),
    st.lists(st.integers(0, 3), min_size=5, max_size=5),
)
def test_with_labels_at_leaf_level_it_is_torchs_cross_entropy(logits, leaves):
    logits, leaves = torch.from_numpy(logits), torch.tensor(leaves)
    targets = torch.nn.functional.one_hot(leaves, 4).bool()
    ours = aggregated_cross_entropy(logits, targets)
    assert ours.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, leaves).item(), rel=1e-6, abs=1e-6)


@given(arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)))
def test_it_is_finite_and_so_is_its_gradient_for_any_logits(logits):
    logits = torch.from_numpy(logits).requires_grad_()
    loss = aggregated_cross_entropy(logits, TARGETS)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_a_coarse_label_says_nothing_about_the_leaves_below_it():
    """The gradient leaves the odds between the leaves of a label alone: lymphocyte over T and B, paper p. 7."""
    logits = torch.tensor([[0.3, -0.2, 1.0]], requires_grad=True)
    aggregated_cross_entropy(logits, torch.tensor([[True, True, False]])).backward()
    inside = torch.softmax(logits.detach()[:, :2], dim=1)
    assert logits.grad is not None
    share = logits.grad[:, :2] / logits.grad[:, :2].sum()
    assert torch.allclose(share, inside, atol=1e-6)


def test_a_cell_whose_label_has_no_leaf_is_an_error():
    with pytest.raises(ValueError, match="at least one leaf"):
        aggregated_cross_entropy(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))


@pytest.mark.parametrize("count", [0, 1, 7, 300])
@pytest.mark.parametrize(("mean", "dispersion"), [(0.1, 0.5), (3.0, 2.0), (250.0, 10.0)])
def test_equation_1_is_scipys_negative_binomial(count, mean, dispersion):
    x, mu, theta = (torch.tensor([[value]], dtype=torch.float64) for value in (count, mean, dispersion))
    ours = nb_nll(x, mu, theta[0])
    scipys = -nbinom.logpmf(count, dispersion, dispersion / (dispersion + mean))
    assert ours.item() == pytest.approx(scipys, rel=1e-5)
