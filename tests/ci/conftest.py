"""A small registry in which everything is right, to break one thing at a time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cellzoo.registry.json_schema import FOLDER

CARD = f"""\
# yaml-language-server: $schema=../../schema/dataset-card.schema.json
schema_version: 2
id: blood
title: Blood of one donor
study: {{doi: 10.1000/blood, authors: Doe et al., year: 2020}}
license: CC-BY-4.0
status: verified
primary_data: true
files:
  - name: blood.h5ad
    url: https://example.org/blood.h5ad
    sha256: {"a" * 64}
    bytes: 1000
read:
  format: h5ad
  matrix: {{file: blood.h5ad}}
counts: {{kind: umi}}
genes: {{symbol: index}}
cells:
  organism: {{term: NCBITaxon:9606, label: Homo sapiens}}
  tissue: {{term: UBERON:0000178, label: blood}}
  assay: {{term: EFO:0009899, label: 10x 3' v2}}
  cell_type: {{column: label, map: blood.cell_type.tsv}}
  disease: {{term: PATO:0000461, label: normal}} # as the study says
  donor_id: {{value: d1}}
cells_expected: 10
"""
MAP = """\
source\tterm\tlabel\tnote
B\tCL:0000236\tB cell\t
T\tCL:0000084\tT cell\t
junk\tunknown\tunknown\tof three kinds
"""
COLLECTION = """\
# yaml-language-server: $schema=../../schema/collection-card.schema.json
schema_version: 2
id: census
title: A census
study: {doi: 10.1000/census, authors: Roe et al., year: 2023}
license: CC-BY-4.0
status: imported
homepage: https://example.org/census
organisms:
  - {term: NCBITaxon:9606, label: Homo sapiens}
releases:
  - {version: 2025-01-30, uri: s3://example/census, census_schema: 2.1.0, dataset_schema: 5.2.0}
"""
MODEL = f"""\
# yaml-language-server: $schema=../../../schema/model-card.schema.json
schema_version: 2
id: acme/mlp
title: Cell types of blood
license: CC-BY-4.0
intended_use: Blood of adults.
limits: Nothing but blood.
versions:
  - version: 1.0.0
    commit: {"1f" * 20}
    date: 2026-01-01
    files:
      - {{name: model.safetensors, sha256: {"b" * 64}, bytes: 10}}
    gene_space: {{name: g, sha256: {"c" * 64}, size: 3}}
    data_lock: {"d" * 64}
    datasets: [blood]
"""
FILES = {
    "datasets/blood.yaml": CARD,
    "datasets/blood.cell_type.tsv": MAP,
    "collections/census.yaml": COLLECTION,
    "models/acme/mlp.yaml": MODEL,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder of cards of a registry without a finding, its JSON Schema beside it."""
    folder = tmp_path / "zoo" / "cards"
    shutil.copytree(FOLDER, tmp_path / "zoo" / "schema")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def change(root: Path) -> Callable[[str, str, str], Path]:
    """Replace some text, which must be there once, in one file of the registry."""

    def change(name: str, old: str, new: str) -> Path:
        path = root / name
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {name}"
        path.write_bytes(text.replace(old, new).encode())
        return path

    return change
