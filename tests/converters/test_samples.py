"""Data sets of several samples: each is read as its own card says, and all are one."""

import hashlib
import json

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from cellzoo.cli import main
from cellzoo.converters.zoo import open_registry
from cellzoo.errors import InputError

CARD = """\
schema_version: 2
id: two-organs
title: Lung and spleen of one donor, made up
study: {{name: made up, authors: nobody, year: 2020}}
license: CC0-1.0
status: imported
primary_data: true
files:
  - {{name: lung.h5ad, sha256: {lung}, bytes: {lung_bytes}}}
  - {{name: spleen.h5ad, sha256: {spleen}, bytes: {spleen_bytes}}}
samples:
  - name: lung
    files: [lung.h5ad]
    genes: {{ensembl: ids-lung}}
    cells:
      tissue: {{term: UBERON:0002048, label: lung}}
  - name: spleen
    files: [spleen.h5ad]
    layers: {{counts: counts}}
    counts: {{kind: reads}}
    cells:
      tissue: {{term: UBERON:0002106, label: spleen}}
      donor_id: {{columns: [batch, patient]}}
      sex: {{column: sex, holds: labels}}
read:
  format: h5ad
  matrix: {{file: lung.h5ad}}
counts: {{kind: umi}}
genes: {{symbol: index}}
cells:
  organism: {{term: NCBITaxon:9606, label: Homo sapiens}}
  assay: {{term: EFO:0009899, label: 10x 3' v2}}
  donor_id: {{value: D1}}
cells_expected: 5
"""


def write(path, adata):
    adata.write_h5ad(path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    (path.parent / digest).write_bytes(content)
    return {path.stem: digest, f"{path.stem}_bytes": len(content)}


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """Return a registry with a data set of two h5ad files that name genes and counts in ways of their own."""
    monkeypatch.setenv("CELLZOO_MIRROR", str(tmp_path))
    lung = anndata.AnnData(
        np.array([[1, 2], [0, 3]], dtype=np.float32),
        obs=pd.DataFrame(index=["a", "b"]),
        var=pd.DataFrame({"ids-lung": ["ENSG00000010610.12", "ENSG00000198851"]}, index=["x1", "x2"]),  # CD4, CD3E
    )
    spleen = anndata.AnnData(
        np.log1p(np.array([[4, 0], [5, 1], [0, 6]], dtype=np.float32)),
        obs=pd.DataFrame(
            {"batch": [1, 1, 2], "patient": list("pqp"), "sex": ["male", "female", "unknown"]}, list("abc")
        ),
        var=pd.DataFrame(index=["CD4", "MS4A1"]),
        layers={name: np.array([[4, 0], [5, 1], [0, 6]], dtype=np.float32) for name in ("counts", "spliced")},
    )
    pins = write(tmp_path / "lung.h5ad", lung) | write(tmp_path / "spleen.h5ad", spleen)
    (tmp_path / "cards" / "datasets").mkdir(parents=True)
    (tmp_path / "cards" / "datasets" / "two-organs.yaml").write_text(CARD.format(**pins))
    return open_registry(tmp_path / "cards")


def test_the_samples_of_a_card_are_one_data_set(zoo):
    adata = zoo["two-organs"].load()
    assert adata.n_obs == 5 and not adata.obs_names.has_duplicates
    counts = pd.DataFrame(adata.X.toarray(), adata.obs_names, adata.var["feature_name"])[["CD4", "CD3E", "MS4A1"]]
    assert counts.to_numpy().tolist() == [[1, 2, 0], [0, 3, 0], [4, 0, 0], [5, 0, 1], [0, 0, 6]]
    assert adata.X.sum() == counts.to_numpy().sum()


def test_each_cell_has_what_its_sample_says_else_what_the_card_says(zoo):
    obs = zoo["two-organs"].load().obs
    assert obs["sample"].tolist() == ["lung"] * 2 + ["spleen"] * 3
    assert obs["tissue"].tolist() == ["lung"] * 2 + ["spleen"] * 3
    assert obs["donor_id"].tolist() == ["D1", "D1", "1_p", "1_q", "2_p"]
    assert obs["sex_ontology_term_id"].tolist() == ["unknown"] * 2 + ["PATO:0000384", "PATO:0000383", "unknown"]
    assert set(obs["assay"]) == {"10x 3' v2"}


def test_a_column_that_one_sample_has_is_kept_and_empty_for_the_others(zoo):
    obs = zoo["two-organs"].load().obs
    assert obs["sex_original"].tolist()[2:] == ["male", "female", "unknown"]
    assert obs["sex_original"].isna().tolist() == [True, True, False, False, False]


def test_each_sample_has_a_report_and_a_layer_that_others_lack_is_named(zoo):
    path = zoo.registry.paths["two-organs"]
    path.write_text(
        path.read_text().replace("{counts: counts}", "{counts: counts, spliced_counts: spliced, processed: X}")
    )
    adata = open_registry(path.parents[1])["two-organs"].load()
    reports = json.loads(adata.uns["cellzoo"]["report"])["samples"]
    assert [(name, one["cells"], one["counts_kept"]) for name, one in reports.items()] == [
        ("lung", 2, 6),
        ("spleen", 3, 16),
    ]
    assert [one["layers_left_out"] for one in reports.values()] == [[], ["processed", "spliced_counts"]]
    assert list(adata.layers) == []
    assert reports["spleen"]["columns_left_out"] == []


def test_get_reports_each_sample(zoo, tmp_path):
    done = CliRunner().invoke(main, ["get", "two-organs", "-o", str(tmp_path), "--registry", str(zoo.registry.root)])
    assert done.exit_code == 0, done.output
    lung, spleen, layers = done.stderr.splitlines()
    assert [lung.split(":")[0], spleen.split(":")[0]] == ["two-organs lung", "two-organs spleen"]
    assert layers.startswith("two-organs spleen: layers that other samples lack, left out: ")
    assert anndata.read_h5ad(tmp_path / "two-organs.h5ad").n_obs == 5


def test_a_gene_counts_as_measured_where_every_sample_measured_it(zoo):
    var = zoo["two-organs"].load().var.set_index("feature_name")
    assert var.loc[["CD4", "CD3E", "MS4A1"], "measured"].tolist() == [True, False, False]


def test_the_catalogue_finds_the_data_set_by_the_organ_of_any_sample(zoo):
    assert list(zoo.datasets(tissue="spleen")) == list(zoo.datasets(tissue="lung")) == ["two-organs"]
    assert list(zoo.datasets(tissue="liver")) == []


def test_another_number_of_cells_in_all_is_refused(zoo):
    path = zoo.registry.paths["two-organs"]
    path.write_text(path.read_text().replace("cells_expected: 5", "cells_expected: 6"))
    with pytest.raises(InputError, match="two-organs: 5 cells after reading, expected 6"):
        open_registry(path.parents[1])["two-organs"].load()


def test_a_column_of_labels_that_are_no_labels_asks_for_a_label_map(zoo):
    path = zoo.registry.paths["two-organs"]
    path.write_text(path.read_text().replace("column: sex, holds: labels", "column: patient, holds: labels"))
    with pytest.raises(InputError, match=r"column 'patient' holds what is not among the labels .*Write a label map"):
        open_registry(path.parents[1])["two-organs"].load()


def test_organisms_that_are_mixed_have_no_gene_space(zoo):
    path = zoo.registry.paths["two-organs"]
    mouse = "      organism: {term: NCBITaxon:10090, label: Mus musculus}\n      tissue: {term: UBERON:0002106"
    path.write_text(path.read_text().replace("      tissue: {term: UBERON:0002106", mouse))
    with pytest.raises(InputError, match="a gene space belongs to one organism"):
        open_registry(path.parents[1])["two-organs"].load()
