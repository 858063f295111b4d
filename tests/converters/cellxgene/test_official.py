"""The official validator takes what is exported, and would add the labels that are there already."""

import warnings

import anndata
import pytest

from cellzoo.converters.cellxgene import converted
from cellzoo.converters.cellxgene.portal import unlabelled
from cellzoo.converters.h5ad import write_h5ad
from cellzoo.converters.zoo import open_registry

NOT_STATED = {"disease": "PATO:0000461"}
"""What the tests say of cards that do not state a disease; whether it is so is for the curator of the card."""
CARDS = [record.id for record in open_registry().datasets(status="verified").records]


@pytest.mark.parametrize("card", CARDS)
def test_a_verified_card_passes_and_has_the_official_labels(card, oracle, mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    data = open_registry()[card].open()
    ours, _ = converted(data, "cellxgene", said=NOT_STATED)
    verdict = oracle.validate(write_h5ad(unlabelled(ours), tmp_path / "bare.h5ad"), tmp_path / "official.h5ad")
    assert (verdict.errors, verdict.ok) == ((), True)
    assert oracle.validate(write_h5ad(ours, tmp_path / "ours.h5ad"), ignore_labels=True).errors == ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        official, written = (anndata.read_h5ad(tmp_path / name) for name in ("official.h5ad", "ours.h5ad"))
    for name in ("obs", "var"):
        theirs, own = getattr(official, name), getattr(written, name)
        assert set(theirs) == set(own)
        for column in theirs:
            assert (theirs[column].astype(str) == own[column].astype(str)).all(), column
            assert theirs[column].dtype == own[column].dtype, column
    assert set(official.uns) == set(written.uns)
    assert {key: official.uns[key] for key in official.uns if key != "cellzoo"} == {
        key: written.uns[key] for key in written.uns if key != "cellzoo"
    }
