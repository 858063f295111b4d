"""The label space: leaves, leaf sets, and calls that back off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cellzoo.errors import InputError
from cellzoo.models.labels import LabelSpace

B, CD4, CD8, NK = "CL:0000236", "CL:0000624", "CL:0000625", "CL:0000623"
T, LYMPHOCYTE, NAIVE_T = "CL:0000084", "CL:0000542", "CL:0000898"
NAIVE_CD4, MEMORY_CD4, NAIVE_CD8, MEMORY_B = "CL:0000895", "CL:0000897", "CL:0000900", "CL:0000787"
MONOCYTE = "CL:0000576"


@pytest.mark.parametrize(
    ("seen", "leaves"),
    [
        pytest.param([B, CD4, CD8], [B, CD4, CD8], id="leaves as seen"),
        pytest.param([B, T, CD4, CD8], [B, CD4, CD8], id="a coarse type with finer types is no leaf"),
        pytest.param([LYMPHOCYTE, B, T, CD4, CD8], [B, CD4, CD8], id="nor is one further up"),
        pytest.param([B, CD4, NAIVE_CD4, MEMORY_CD4], [B, NAIVE_CD4, MEMORY_CD4], id="two finer types"),
        pytest.param([B, CD8, NAIVE_CD8], [B, CD8, NAIVE_CD8], id="one finer type leaves a rest"),
        pytest.param([B, T, CD8, NAIVE_CD8], [B, CD8, NAIVE_CD8], id="and the rest is a leaf for what is above"),
        pytest.param([B, CD4, "unknown"], [B, CD4], id="unknown is no label"),
    ],
)
def test_leaves_are_the_most_specific_types_seen(seen, leaves):
    assert list(LabelSpace.from_seen(seen).leaves) == sorted(leaves)


@pytest.mark.parametrize("seen", [[], ["unknown"], [B], [B, "unknown"]])
def test_fewer_than_two_types_are_refused(seen):
    with pytest.raises(InputError, match="cell type"):
        LabelSpace.from_seen(seen)


SPACE = LabelSpace.from_seen([B, NAIVE_CD4, MEMORY_CD4, CD8, NAIVE_CD8, NK])


@pytest.mark.parametrize(
    ("label", "leaves"),
    [
        (B, {B}),
        (CD4, {NAIVE_CD4, MEMORY_CD4}),
        (CD8, {CD8, NAIVE_CD8}),
        (T, {NAIVE_CD4, MEMORY_CD4, CD8, NAIVE_CD8}),
        (NAIVE_T, {NAIVE_CD4, NAIVE_CD8}),
        (LYMPHOCYTE, {B, NAIVE_CD4, MEMORY_CD4, CD8, NAIVE_CD8, NK}),
        pytest.param(MEMORY_B, {B}, id="finer than the space: the leaf above"),
        pytest.param(MONOCYTE, set(), id="outside the space: nothing"),
        ("unknown", set()),
    ],
)
def test_a_label_stands_for_its_leaves(label, leaves):
    assert {SPACE.leaves[index] for index in SPACE.members(label)} == leaves
    assert {SPACE.leaves[index] for index in np.flatnonzero(SPACE.targets([label])[0])} == leaves


def test_in_learning_a_label_that_is_a_leaf_stands_for_that_leaf_alone():
    row = SPACE.targets([CD8, CD4], learning=True)
    assert [SPACE.leaves[index] for index in np.flatnonzero(row[0])] == [CD8]
    assert row[1].sum() == 2


def over(**mass: float) -> np.ndarray:
    names = {"b": B, "naive4": NAIVE_CD4, "memory4": MEMORY_CD4, "cd8": CD8, "naive8": NAIVE_CD8, "nk": NK}
    row = np.zeros(len(SPACE))
    for name, value in mass.items():
        row[SPACE.leaves.index(names[name])] = value
    return row[None, :]


@pytest.mark.parametrize(
    ("probability", "threshold", "term"),
    [
        (over(b=0.9, nk=0.1), 0.5, B),
        pytest.param(over(naive4=0.45, memory4=0.45, b=0.1), 0.5, CD4, id="two subtypes: their type"),
        pytest.param(over(naive4=0.45, naive8=0.45, b=0.1), 0.5, NAIVE_T, id="naive, but CD4 or CD8: naive T cell"),
        pytest.param(over(naive4=0.3, memory4=0.3, cd8=0.3, b=0.1), 0.85, T, id="a higher threshold: further up"),
        pytest.param(over(b=0.25, naive4=0.25, cd8=0.25, nk=0.25), 0.95, "unknown", id="nothing fits: unknown"),
    ],
)
def test_a_call_is_the_deepest_term_that_is_likely_enough(probability, threshold, term):
    terms, score = SPACE.call(probability, threshold)
    assert terms[0] == term
    assert score[0] >= threshold


@given(arrays(np.float64, (6, len(SPACE)), elements=st.floats(1e-3, 1.0)), st.floats(0.05, 1.0))
def test_probabilities_of_nodes_are_sums_and_calls_reach_the_threshold(raw, threshold):
    probability = raw / raw.sum(axis=1, keepdims=True)
    mass = probability @ SPACE.matrix.T
    assert (mass <= 1 + 1e-9).all()
    assert np.allclose(mass[:, SPACE.terms.index(LYMPHOCYTE)], 1.0)
    assert (mass[:, SPACE.terms.index(T)] >= mass[:, SPACE.terms.index(CD4)]).all()
    terms, score = SPACE.call(probability, threshold)
    assert (score >= threshold - 1e-9).all()
    lower, _ = SPACE.call(probability, threshold / 2)
    wide = [len(SPACE.nodes.get(one, SPACE.leaves)) for one in terms]
    assert all(len(SPACE.nodes.get(one, SPACE.leaves)) <= size for one, size in zip(lower, wide, strict=True))


def test_a_label_space_survives_json():
    again = LabelSpace.from_dict(SPACE.as_dict())
    assert again == SPACE
    assert again.sha256 == SPACE.sha256
