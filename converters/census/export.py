"""Writing a Census of one's own: any streamlined data, in constant memory, as the builder of CELLxGENE lays it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellzoo import __version__
from cellzoo.converters.celldata import CellData
from cellzoo.converters.census.cells import donors
from cellzoo.converters.census.check import check_census
from cellzoo.converters.census.experiment import Experiment, collect
from cellzoo.converters.census.layout import (
    CATEGORIES,
    CENSUS_SCHEMA,
    DATA,
    DATASET_SCHEMA,
    DATASETS,
    INFO,
    INFO_TABLES,
    JOINID,
    OBS,
    experiment_of,
)
from cellzoo.converters.census.soma import library, to_arrow, write_frame
from cellzoo.converters.fetch import Progress
from cellzoo.converters.write import new_folder
from cellzoo.errors import CellzooError, InputError, NotFoundError, WorldError
from cellzoo.registry.fields import ORGANISM_KEY, ORGANISMS, id_column
from cellzoo.registry.genetable import species

Given = tuple[str, Mapping[str, str], CellData]
"""Id of a data set, what the table of data sets says about it (any of its columns), and the data."""


@dataclass(frozen=True)
class Exported:
    """What became of the data sets that were given."""

    path: Path
    """The Census."""
    cells: dict[str, int]
    """Data set -> cells that are in it."""
    left_out: dict[str, Counter[str]] = field(default_factory=dict)
    """Data set -> what and why -> number of its cells, genes, columns or layers that are not."""


def export(
    path: Path,
    datasets: Iterable[Given],
    progress: Progress | None = None,
    failed: Callable[[str, CellzooError], None] | None = None,
) -> Exported:
    """Write data sets as a Census (census schema 2.4.0) that the clients of CELLxGENE open, and say what was left out.

    Data are streamlined, or a CELLxGENE file: counts in X, or in raw where there is one; genes are joined over the data
    sets of an organism. Each is read once, block by block, and one is held at a time; tables of cells stay in memory.
    Left out are cells of assays and kinds of sample that the schema does not take and cells without counts, and genes
    that are not the organism's. With ``failed`` a data set that cannot be used is told to it and left out; without, and
    where the disk fails, nothing is written at all: `InputError` (data, or none that can be used), `WorldError` (a path
    that is there already, a disk that is full, or a tiledbsoma that did not keep what was written).
    """
    soma = library()
    with new_folder(path) as folder:
        writer = _Writer(folder)
        for name, said, data in datasets:
            try:
                writer.add(name, said, data, progress)
            except (InputError, NotFoundError) as error:
                if failed is None:
                    raise
                failed(name, error)
        if not writer.experiments:
            reasons = dict(sum(writer.left_out.values(), Counter())) or "no data set was given that can be used"
            raise InputError(f"{path}: no cell is left for a Census: {reasons}.")
        writer.finish()
        with soma.open(str(folder), "w") as root:
            root.metadata.update(
                {"created_on": datetime.now(UTC).isoformat(), "git_commit_sha": f"cellzoo {__version__}"}
            )
        if findings := check_census(folder, counts=False):
            raise WorldError(f"{path}: what was written is no Census: {'; '.join(map(str, findings))}")
    return Exported(path, writer.cells, writer.left_out)


class _Writer:
    """The Census while it is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.experiments: dict[str, Experiment] = {}
        self.cells: dict[str, int] = {}
        self.left_out: dict[str, Counter[str]] = {}
        self._said: list[dict[str, Any]] = []

    def add(self, name: str, said: Mapping[str, str], data: CellData, progress: Progress | None) -> None:
        if name in self.left_out:
            raise InputError(f"{name}: is given twice. A data set has an id of its own in a Census.")
        taxon = str(data.uns.get(ORGANISM_KEY, ""))
        if not taxon:
            remedy = "Streamlined and CELLxGENE files have it: `cellzoo get`, `cellzoo convert`."
            raise InputError(f"{name}: uns has no {ORGANISM_KEY}. {remedy}")
        organism = experiment_of(species(taxon))
        experiment = self.experiments.get(organism) or Experiment(self.folder / DATA / organism, species(taxon))
        before = experiment.cells
        self.left_out[name] = experiment.add(len(self._said), name, data, progress) + _beside(data)
        cells = experiment.cells - before
        if cells:
            self.cells[name] = cells
            self.experiments[organism] = experiment
            self._said.append(_row(name, said, data, cells))

    def finish(self) -> None:
        """Write the tables of cells, genes and of the whole, and bind everything together."""
        soma = library()
        tables = {name: one.finish(len(self._said)) for name, one in self.experiments.items()}
        taxa = {name: one.organism for name, one in self.experiments.items()}
        (self.folder / INFO).mkdir()
        for name, rows in {
            "summary": _summary(tables),
            "datasets": pd.DataFrame(self._said),
            "organisms": _organisms(taxa),
            "summary_cell_counts": _counts(tables, taxa),
        }.items():
            rows.insert(0, JOINID, np.arange(len(rows)))
            write_frame(str(self.folder / INFO / name), to_arrow(rows, INFO_TABLES[name]))
        collect(self.folder / INFO, soma.Collection, tuple(INFO_TABLES))
        collect(self.folder / DATA, soma.Collection, tuple(tables))
        collect(self.folder, soma.Collection, (INFO, DATA))


def _beside(data: CellData) -> Counter[str]:
    """Return what of data has no place in a Census, by kind."""
    columns = [column for column in data.obs if column not in OBS]
    features = {f"{kind} features: not in a Census": part.n_vars for kind, part in data.modalities.items()}
    others = {"columns of cells: not in a Census": len(columns), "layers: not in a Census": len(data.layers)}
    return Counter() + Counter(features | others)  # without zeros


def _row(name: str, said: Mapping[str, str], data: CellData, cells: int) -> dict[str, Any]:
    """Return what the table of data sets says about one; what nobody says is its study, else its id."""
    house = data.uns.get("cellzoo", {})
    study = str(house.get("study", "") or name)
    row = {column: "" for column in DATASETS if column != JOINID}
    row |= {"collection_id": study, "collection_name": study, "dataset_title": str(data.uns.get("title", "") or name)}
    row |= {"collection_doi": study if study.startswith("10.") else "", "dataset_version_id": name}
    row |= {key: str(value) for key, value in data.uns.items() if key in row and value}
    row |= {key: str(value) for key, value in said.items() if key in row and value}
    return row | {"dataset_id": name, "dataset_h5ad_path": f"{name}.h5ad", "dataset_total_cell_count": cells}


def _summary(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    primary = sum(int(obs["is_primary_data"].sum()) for obs in tables.values())
    said = {
        "census_schema_version": CENSUS_SCHEMA,
        "census_build_date": datetime.now(UTC).date().isoformat(),
        "dataset_schema_version": DATASET_SCHEMA,
        "total_cell_count": sum(map(len, tables.values())),
        "unique_cell_count": primary,
    } | {f"number_donors_{name}": donors(obs) for name, obs in tables.items()}
    return pd.DataFrame({"label": list(said), "value": [str(value) for value in said.values()]})


def _organisms(taxa: Mapping[str, str]) -> pd.DataFrame:
    rows = [(taxon, ORGANISMS[taxon], name) for name, taxon in taxa.items()]
    return pd.DataFrame(rows, columns=["organism_ontology_term_id", "organism_label", "organism"])


def _counts(tables: Mapping[str, pd.DataFrame], taxa: Mapping[str, str]) -> pd.DataFrame:
    """Return how many cells of each organism have each term of each category."""
    parts = []
    for name, obs in tables.items():
        frame = pd.DataFrame({"total_cell_count": 1, "unique_cell_count": obs["is_primary_data"].astype(np.int64)})
        for category in ("all", *CATEGORIES):
            ids = obs[id_column(category)].astype(str) if id_column(category) in obs else "na"
            named = obs[category].astype(str) if category in obs else "na"
            keyed = frame.assign(organism=ORGANISMS[taxa[name]], category=category, ontology_term_id=ids, label=named)
            keys = ["organism", "category", "ontology_term_id", "label"]
            parts.append(keyed.groupby(keys, as_index=False)[list(frame)].sum())
    return pd.concat(parts, ignore_index=True)
