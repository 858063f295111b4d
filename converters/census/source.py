"""A Census, opened by version, folder or address, and its data sets by filters in ontology terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from cellzoo import settings
from cellzoo.converters.census.dataset import CensusRecord
from cellzoo.converters.census.filters import both, check_field, condition, no_cells, one_of
from cellzoo.converters.census.layout import DATA, DATASETS, INFO, JOINID, MEASUREMENT, experiment_of
from cellzoo.converters.census.query import PRIMARY, CensusSelection, Query, Tally, tally
from cellzoo.converters.census.soma import REMOTE, library, open_soma, settings_of, tables, words_of
from cellzoo.converters.selection import refuse_changed, saved
from cellzoo.errors import CardError, InputError, MissingExtraError, NotFoundError, WorldError
from cellzoo.registry.catalogue import below, open_registry
from cellzoo.registry.collection import CollectionCard, CollectionRelease
from cellzoo.registry.fields import CELL_TERMS, ORGANISMS, id_column
from cellzoo.registry.genetable import organism_id
from cellzoo.registry.index import label_of

CARD = "cellxgene-census"
"""Collection card of the packaged registry that pins the releases."""
OLDEST = (1, 1)
"""Census schema that first said how many counts a cell has."""

Terms = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Census:
    """One release of a Census."""

    uri: str
    """Where it is."""
    version: str
    """Its release, else the date it was built."""
    config: Mapping[str, str] = field(repr=False)
    """TileDB settings to read it with."""

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return the data sets by dataset_id, one row each, as the Census lists them."""
        return self._frame(INFO, "datasets").set_index("dataset_id", drop=False)

    @cached_property
    def summary(self) -> dict[str, str]:
        """Return what the Census says about itself: schema versions, date and numbers of cells."""
        frame = self._frame(INFO, "summary")
        return dict(zip(frame["label"].astype(str), frame["value"].astype(str), strict=True))

    @cached_property
    def organisms(self) -> dict[str, str]:
        """Return name of the experiment -> NCBITaxon term of every organism with cells."""
        known = {experiment_of(taxon): taxon for taxon in ORGANISMS}
        return {name: known[name] for name in self._words if name in known}

    @cached_property
    def _words(self) -> dict[str, dict[str, list[str] | None]]:
        """Return for each organism with cells field -> words of its column, None where that is plain text."""
        with open_soma(self.uri_of(DATA), self.config) as collection:
            names = sorted(collection)
        found = {}
        for name in names:
            with open_soma(self.uri_of(DATA, name, "obs"), self.config) as frame:
                if frame.count:
                    found[name] = {field: words_of(frame, id_column(field)) for field in CELL_TERMS}
        return found

    def genes(self, organism: str) -> pd.DataFrame:
        """Return the genes of an experiment by Ensembl id, in the order of the matrix."""
        if organism not in self._genes:
            var = self._frame(DATA, organism, "ms", MEASUREMENT, "var").sort_values(JOINID)
            var.index = pd.Index(var["feature_id"].astype(str).to_numpy(dtype=object), name="ensembl_id")
            self._genes[organism] = var
        return self._genes[organism]

    @cached_property
    def _genes(self) -> dict[str, pd.DataFrame]:
        return {}

    def uri_of(self, *names: str) -> str:
        """Return the address of an object inside the Census."""
        return "/".join([self.uri.rstrip("/"), *names])

    def datasets(
        self, *, organism: str = "", text: str = "", primary: bool = True, **wanted: str | Sequence[str]
    ) -> CensusSelection:
        """Return the data sets with cells that match every ``field=term``, each with those cells only.

        Terms are ids or labels and stand for all their descendants; several terms of a field are alternatives. The
        words of the text are looked for in id, title, collection and citation. Only primary cells unless ``primary`` is
        False; what that left out is `CensusSelection.said`. One pass over the table of cells, in bounded memory; no
        count is read. NotFoundError where no cell matches, with the nearest terms that cells have.
        """
        terms = {name: [value] if isinstance(value, str) else list(value) for name, value in wanted.items() if value}
        for name in terms:
            check_field(name)
        chosen = self._organisms(organism)
        ids = self._ids(text)
        where = {
            name: both(*conditions) for name in chosen if (conditions := self._conditions(name, terms, ids)) is not None
        }
        if not where:
            raise self._no_words(chosen, terms)
        found = {name: self._tally(name, filter_, primary) for name, filter_ in where.items()}
        copies = sum(one.copies for tallies in found.values() for one in tallies.values())
        records = self._records(found)
        if not records:
            raise self._none(where, terms, text, copies)
        kept = {name: both(filter_, f"{PRIMARY} == True" if primary else "") for name, filter_ in where.items()}
        return CensusSelection(Query(self, kept, primary, copies, {one.id: one for one in records}), records)

    def selection(self, path: str | Path) -> CensusSelection:
        """Return a saved selection: its data sets with the cells that its filters give.

        `CardError` lists the data sets that are gone or have other cells now, and what is no selection of a Census.
        """
        document, said = saved(path, "census")
        filters = document.data.get("filters")
        if not isinstance(filters, dict) or not set(filters) <= set(self.organisms):
            message = f"filters: expected one for each organism, which can be {', '.join(self.organisms)}."
            raise CardError([document.finding("SEL005", ["filters"], message)])
        filters = {name: str(where) for name, where in filters.items()}
        found = self._records({name: self._tally(name, where, primary=False) for name, where in filters.items()})
        records = {one.id: one for one in found}
        primary, copies = bool(document.data.get("primary")), int(document.data.get("copies", 0))
        query = Query(self, filters, primary, copies, records)

        def digest(name: str) -> str:
            if name not in records:
                raise NotFoundError(f"{name}: {self.uri} has no such cells.")
            return query.dataset(name).digest

        refuse_changed(document, said, digest)
        return CensusSelection(query, [records[name] for name in said])

    def _records(self, found: Mapping[str, Mapping[str, Tally]]) -> list[CensusRecord]:
        """Return what is known of the data sets of each organism that have cells."""
        times = Counter(dataset for tallies in found.values() for dataset, one in tallies.items() if one.cells)
        return [
            self._record(dataset if times[dataset] == 1 else f"{dataset}-{name}", dataset, name, one)
            for name, tallies in found.items()
            for dataset, one in tallies.items()
            if one.cells
        ]

    def _frame(self, *names: str) -> pd.DataFrame:
        with open_soma(self.uri_of(*names), self.config) as frame:
            whole: pd.DataFrame = pd.concat(part.to_pandas() for part in tables(frame, frame.schema.names))
        return whole

    def _organisms(self, wanted: str) -> list[str]:
        if not wanted:
            return list(self.organisms)
        taxa = below("organism", organism_id(wanted) if "_" in wanted else wanted)
        if found := [name for name, taxon in self.organisms.items() if taxon in taxa]:
            return found
        have = ", ".join(f"{ORGANISMS[taxon]} ({taxon})" for taxon in self.organisms.values())
        raise NotFoundError(f"{self.uri}: there are no cells of {wanted!r} in this Census; there are cells of {have}.")

    def _ids(self, text: str) -> list[str] | None:
        words = text.casefold().split()
        if not words:
            return None
        columns = [name for name in DATASETS if name != "dataset_total_cell_count" and name in self.table]
        said = self.table[columns].astype(str).agg("\n".join, axis=1).str.casefold()
        if found := [str(name) for name, line in said.items() if all(word in line for word in words)]:
            return found
        raise NotFoundError(f"{self.uri}: no data set says {text!r} in its id, title, collection or citation.")

    def _conditions(self, organism: str, terms: Terms, ids: list[str] | None) -> list[str] | None:
        """Return a value filter for each field; None where no cell of the organism can have one of the terms."""
        found = [condition(name, wanted, self._words[organism][name]) for name, wanted in terms.items()]
        return None if "" in found else found + ([one_of("dataset_id", ids)] if ids is not None else [])

    def _no_words(self, organisms: list[str], terms: Terms) -> NotFoundError:
        for name, wanted in terms.items():
            words = {one: self._words[one][name] or [] for one in organisms}
            if not any(condition(name, wanted, found) for found in words.values()):
                return no_cells(name, wanted, sorted({one for found in words.values() for one in found}), self.uri)
        said = ", ".join(f"{name} {' or '.join(wanted)}" for name, wanted in terms.items())
        return NotFoundError(f"{self.uri}: no organism has cells for each of {said}.")

    def _none(self, where: Mapping[str, str], terms: Terms, text: str, copies: int) -> NotFoundError:
        """Return the error that no primary cell matches, or that filters match cells one by one, but none all."""
        if copies:
            message = f"{self.uri}: {copies:,} cells match, none of them primary: they are copies of cells elsewhere."
            return NotFoundError(f"{message} Ask with primary=False (--all-cells).")
        counted = [f"text {text!r}"] if text else []
        for name, wanted in terms.items():
            cells = sum(self._count(one, condition(name, wanted, self._words[one][name])) for one in where)
            counted.append(f"{name} {' or '.join(wanted)}: {cells:,} cells")
        return NotFoundError(f"{self.uri}: no cell matches all filters together ({'; '.join(counted)}).")

    def _count(self, organism: str, where: str) -> int:
        with open_soma(self.uri_of(DATA, organism, "obs"), self.config) as frame:
            return sum(part.num_rows for part in tables(frame, [JOINID], where))

    def _tally(self, organism: str, where: str, primary: bool) -> dict[str, Tally]:
        with open_soma(self.uri_of(DATA, organism, "obs"), self.config) as frame:
            found = tally(frame, where, primary)
        if strange := sorted(set(found) - set(self.table.index)):
            raise InputError(f"{self.uri}: cells of {strange[0]!r}, which the table of data sets does not list.")
        if unsafe := [name for name in found if Path(name).name != name or "\\" in name or "\0" in name]:
            raise InputError(f"{self.uri}: the data set {unsafe[0]!r} has no name that a file could have.")
        return found

    def _record(self, name: str, dataset: str, organism: str, found: Tally) -> CensusRecord:
        said = {name: str(value or "") for name, value in self.table.loc[dataset].items()}
        terms = {"organism": [self.organisms[organism]]} | {name: sorted(one) for name, one in found.terms.items()}
        study = said.get("collection_doi") or said["collection_name"]
        text = [dataset, said["dataset_title"], study, said["collection_name"], said.get("citation", "")]
        return CensusRecord(
            id=name,
            kind="dataset",
            status="verified",
            title=said["dataset_title"],
            study=study,
            authors=said.get("collection_doi_label", ""),
            year=0,
            license="unknown",
            cells=found.cells,
            files=0,
            terms=terms,
            labels={name: [label_of(term) for term in one] for name, one in terms.items()},
            aliases=[],
            text="\n".join(text).casefold(),
            dataset=dataset,
            organism=organism,
            nnz=found.nnz,
        )


def open_census(where: str | Path = "stable", **config: str) -> Census:
    """Return a Census: a release ("2025-11-08", "stable", "latest"), a folder, or an address such as ``s3://…``.

    Releases are those of the packaged card; "latest" and others are asked of the release directory of CELLxGENE.
    ``config`` are settings of TileDB; with keys of S3 among them requests are signed, else they are anonymous.
    NotFoundError where there is no such release or nothing at the place, InputError for what is no Census, WorldError
    where it cannot be reached, MissingExtraError without tiledbsoma.
    """
    library()
    uri, release = _place(str(where))
    census = Census(uri, release, settings_of(uri, config))
    with open_soma(uri, census.config) as collection:
        names = set(collection) if collection.soma_type == "SOMACollection" else set()
    if missing := sorted({INFO, DATA} - names):
        found = f"it has {', '.join(sorted(names))}" if names else "it is no collection"
        raise InputError(f"{uri}: is not a Census: {' and '.join(missing)} is missing, {found}.")
    said = census.summary
    if tuple(int(part) for part in said.get("census_schema_version", "0").split(".")[:2]) < OLDEST:
        raise InputError(
            f"{uri}: has census schema {said.get('census_schema_version', 'unknown')}; cellzoo reads 1.1 and newer."
        )
    return census if release else Census(uri, said.get("census_build_date", ""), census.config)


def _place(where: str) -> tuple[str, str]:
    """Return the address and the release, "" where only the Census itself knows it."""
    path = Path(where).expanduser()
    if where.startswith(REMOTE):
        return where.rstrip("/"), ""
    if path.exists():
        return str(path.absolute()), ""
    card = open_registry("packaged").any_card(CARD)
    assert isinstance(card, CollectionCard)  # the packaged card
    releases = {one.version: one for one in card.releases}
    active = [one for one in card.releases if one.status == "active"]
    name = active[0].version if where == "stable" else where
    if name in releases and releases[name].status == "active":
        return releases[name].uri.rstrip("/"), name
    if name in releases:
        raise NotFoundError(
            f"the Census of {name} was withdrawn; there are {', '.join(one.version for one in active)}."
        )
    if "/" in where or "\\" in where:
        raise NotFoundError(f"{where}: there is no such folder.")
    return _listed(where, active)


def _listed(version: str, known: Sequence[CollectionRelease]) -> tuple[str, str]:
    """Return address and release of a version that the release directory of CELLxGENE lists."""
    there = f"cellzoo knows {', '.join(one.version for one in known)} and folders; others are listed online"
    if settings.offline():
        raise NotFoundError(f"no Census {version!r}: {there}, and CELLZOO_OFFLINE is set.")
    try:
        import cellxgene_census
        import requests
    except ImportError as error:
        raise MissingExtraError("The list of releases", "census") from error
    try:
        listed = cellxgene_census.get_census_version_description(version)
    except requests.RequestException as error:
        raise WorldError(
            f"no Census {version!r} is known offline: {there}. The list cannot be reached: {error}."
        ) from error
    except ValueError as error:
        raise NotFoundError(f"no Census {version!r}: {there}.") from error
    build = str(listed["release_build"])
    return str(listed["soma"].get("uri") or known[0].uri.replace(known[0].version, build)).rstrip("/"), build
