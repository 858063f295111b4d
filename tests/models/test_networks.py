"""The transform and the networks: what they promise about any cell."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cellzoo.models.networks import Classifier, LinearEmbedding, Normalize
from cellzoo.models.topology import TOPOLOGIES, topology

COUNTS = arrays(np.float32, (4, 6), elements=st.integers(0, 500).map(float))


@given(COUNTS)
def test_the_transform_is_the_papers_and_scanpys(counts):
    import anndata
    import scanpy as sc

    adata = anndata.AnnData(counts.copy())
    keep = counts.sum(axis=1) > 0
    ours = Normalize(6)(torch.from_numpy(counts)).numpy()
    if keep.any():
        adata = adata[keep].copy()
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        assert np.allclose(ours[keep], adata.X, rtol=1e-5, atol=1e-5)
    assert (ours[~keep] == 0).all()


@given(COUNTS, st.permutations(range(4)))
def test_a_cell_does_not_depend_on_the_other_cells(counts, order):
    network = Classifier(6, 3, (5,)).eval()
    network.normalize.share.copy_(torch.tensor([0.3, 0.1, 0.2, 0.2, 0.1, 0.1]))
    x = torch.from_numpy(counts)
    assert torch.allclose(network(x)[list(order)], network(x[list(order)]), atol=1e-5)
    assert torch.allclose(network(x[:1]), network(x)[:1], atol=1e-5)


def test_an_unmeasured_gene_is_its_training_mean_and_not_a_zero():
    norm = Normalize(3)
    norm.share.copy_(torch.tensor([0.5, 0.25, 0.25]))
    norm.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    x = norm(torch.tensor([[2.0, 2.0, 100.0]]), torch.tensor([True, True, False]))
    assert x[0, 2] == 3.0  # its mean, whatever the column holds
    # the two measured genes had 0.75 of the counts in training, so they are scaled to 7,500 together
    assert x[0, :2].expm1().tolist() == pytest.approx([3750.0, 3750.0], rel=1e-5)


def test_a_gene_has_the_same_value_whatever_else_was_measured():
    norm = Normalize(4)
    norm.share.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    counts = torch.tensor([[40.0, 30.0, 20.0, 10.0]])  # a cell with the training composition
    full = norm(counts)
    some = norm(counts, torch.tensor([True, False, True, False]))
    assert torch.allclose(full[0, [0, 2]], some[0, [0, 2]], atol=1e-5)


def test_a_reconstruction_sums_to_the_cells_counts_when_it_is_the_mean_cell():
    network = LinearEmbedding(3, 2)
    share = torch.tensor([0.5, 0.3, 0.2])
    network.normalize.share.copy_(share)
    with torch.no_grad():
        network.decoder.weight.zero_()
        network.decoder.bias.copy_((share * 1e4).log())
    mean, dispersion = network(torch.tensor([[50.0, 30.0, 20.0]]))
    assert mean[0].tolist() == pytest.approx([50.0, 30.0, 20.0], rel=1e-4)
    assert (dispersion > 0).all()


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("celltype linear-0.0.1", {"layers.0.weight": (4, 10), "layers.0.bias": (4,)}),
        (
            "celltype mlp-0.1.1",
            {"layers.0.weight": (128, 10), "layers.0.bias": (128,), "layers.1.weight": (4, 128), "layers.1.bias": (4,)},
        ),
        (
            "embedding linear-0.1",
            {
                "encoder.weight": (64, 10),
                "encoder.bias": (64,),
                "decoder.weight": (10, 64),
                "decoder.bias": (10,),
                "log_dispersion": (10,),
            },
        ),
    ],
)
def test_topologies_have_the_sizes_of_sfaira(name, shapes):
    task, text = name.split(" ")
    network = topology(task, text).build(10, 4)
    assert {key: tuple(value.shape) for key, value in network.named_parameters()} == shapes


def test_a_name_without_a_version_is_the_newest_and_an_unknown_one_lists_what_there_is():
    assert str(topology("celltype", "mlp")) == "mlp-0.1.1"
    with pytest.raises(
        LookupError, match="no topology 'transformer-1' for task 'celltype'; there are: celltype linear"
    ):
        topology("celltype", "transformer-1")
    assert len({(one.task, str(one)) for one in TOPOLOGIES}) == len(TOPOLOGIES)
