"""Cards without files on disk, and the real data sets, each read once a session."""

import os
import warnings
from pathlib import Path

import pytest

from cellzoo.ci.oracle import Oracle
from cellzoo.converters.readers import read_source
from cellzoo.registry.catalogue import open_registry
from cellzoo.registry.schema import DatasetCard

ORACLE = Path(os.environ.get("CELLZOO_ORACLE") or Path(__file__).parents[2] / ".oracle")
"""Read before the tests clean the environment."""
HUMAN = {"term": "NCBITaxon:9606", "label": "Homo sapiens"}


@pytest.fixture(scope="session")
def make_card():
    """Return a card of which only what matters is given; files are named, never fetched."""

    def make(
        cells_expected, matrix, form="h5ad", *, read=None, layers=None, obs=None, counts=None, genes=None, **cells
    ):
        read = read or {}
        names = {matrix["file"], *(layer["file"] for layer in read.get("layers", {}).values())}
        obs = obs or {}
        names |= {column["file"] for column in obs.get("columns", {}).values() if "file" in column}
        names |= {obs["table"]["file"]} if "table" in obs else set()
        return DatasetCard.model_validate(
            {
                "schema_version": 2,
                "id": "made-up",
                "title": "Made up",
                "study": {"name": "made up", "authors": "nobody", "year": 2020},
                "license": "CC0-1.0",
                "status": "imported",
                "primary_data": True,
                "files": [{"name": name, "sha256": "0" * 64, "bytes": 1} for name in sorted(names)],
                "read": {"format": form, "matrix": matrix, "obs": obs} | read,
                "layers": layers or {},
                "counts": {"kind": "umi"} | (counts or {}),
                "genes": genes or {"symbol": "index"},
                "cells": {
                    "organism": HUMAN,
                    "tissue": {"term": "UBERON:0000178", "label": "blood"},
                    "assay": {"term": "EFO:0009899", "label": "10x 3' v2"},
                }
                | cells,
                "cells_expected": cells_expected,
            }
        ).readable()

    return make


@pytest.fixture(scope="session")
def packaged():
    """Return the packaged registry."""
    return open_registry()


@pytest.fixture(scope="session")
def files_of(mirror, packaged):
    """Return file name -> path in the mirror of a packaged card."""

    def files_of(dataset) -> dict[str, Path]:
        found = {}
        for file in packaged.card(dataset).files:
            [found[file.name]] = [mirror / pin.sha256 for pin in file.pins if (mirror / pin.sha256).is_file()]
        return found

    return files_of


@pytest.fixture(scope="session")
def real(packaged, files_of):
    """Return a packaged data set as its card reads it, once a session: do not change it."""
    known = {}

    def real(dataset):
        if dataset not in known:
            known[dataset] = read_source(packaged.card(dataset).readable(), files_of(dataset)).to_anndata()
        return known[dataset]

    return real


@pytest.fixture(scope="session")
def r_file():
    """Return the objects of an R file as the `rdata` package alone gives them, once a session."""
    import rdata

    known = {}

    def r_file(path):
        if path not in known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                known[path] = rdata.conversion.convert(rdata.parser.parse_file(path))
        return known[path]

    return r_file


@pytest.fixture(scope="session")
def oracle():
    """Return the official validator, warm; a test that needs it fails where it cannot be made."""
    with Oracle(ORACLE) as warm:
        yield warm
