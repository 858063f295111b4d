"""What a dataset card may say: pydantic types, one sentence per field.

A card says where the bytes are, how to read them and what the columns mean in ontology terms. Nothing in a card is
code. Fields of cells follow CELLxGENE schema 7.1; what a card leaves out is unknown, never guessed.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, model_validator

SCHEMA_VERSION = 1

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*$", max_length=128)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+/\S*$")]
TermId = Annotated[str, StringConstraints(pattern=r"^([A-Za-z]+:[A-Za-z0-9]+|unknown|na)$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Strict(BaseModel):
    """A part of a card: unknown keys are errors, values are never changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Study(Strict):
    """The publication the data come from; data sets of one study share cells and are never split apart."""

    doi: Annotated[str, StringConstraints(pattern=r"^10\.\d{4,9}/\S+$")] | None = None
    """DOI of the study, without a resolver; left out where there is no paper."""
    name: Text | None = None
    """Name of the study where there is no DOI."""
    authors: Text
    """First author et al., as cited."""
    year: Annotated[int, Field(ge=1990, le=2100, strict=True)]
    """Year of first publication, preprint included."""

    @model_validator(mode="after")
    def _identified(self) -> Self:
        if not (self.doi or self.name):
            raise ValueError("a study needs a doi, or a name where there is no paper")
        return self

    @property
    def id(self) -> str:
        """Return what identifies the study: its DOI, else its name."""
        return self.doi or self.name or ""


class PackagedSource(Strict):
    """A file that an installed Python distribution carries."""

    distribution: Text
    """Name on PyPI, for example ``scanpy``."""
    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/+-]*$")]
    """Path inside the distribution."""


class Bytes(Strict):
    """Pinned bytes: their digest and size."""

    sha256: Sha256
    """sha256 of the file."""
    bytes: Annotated[int, Field(gt=0, strict=True)]
    """Size of the file in bytes."""
    url: Url | None = None
    """Where these bytes can be downloaded."""


class File(Bytes):
    """One file of a data set: what it is called, what it must hash to, where it can be had."""

    name: FileName
    """Name that the rest of the card refers to."""
    package: PackagedSource | None = None
    """An installed distribution that carries the file."""
    equivalents: tuple[Bytes, ...] = ()
    """Other bytes with the same content, for example the same table packed by a newer library."""

    @property
    def pins(self) -> tuple[Bytes, ...]:
        """Return every accepted digest, the main one first."""
        return (self, *self.equivalents)


class Matrix(Strict):
    """Where the expression matrix is."""

    file: FileName
    """Which file holds it."""
    object: Text | None = None
    """Path of the object inside an R file, parts joined by ``/``."""
    orientation: Literal["genes_by_cells", "cells_by_genes"] = "cells_by_genes"
    """Which axis comes first in the file."""
    separator: Literal["comma", "tab", "space"] | None = None
    """Column separator of a delimited table; found from the file name where left out."""


class ObsTable(Strict):
    """A table of cells, joined to the matrix by the cell's name."""

    file: FileName
    """Which file holds it."""
    object: Text | None = None
    """Path of the data frame inside an R file, parts joined by ``/``."""
    separator: Literal["comma", "tab", "space"] | None = None
    """Column separator of a delimited table; found from the file name where left out."""
    index: Text | None = None
    """Column that holds the cell names; the row names where left out."""
    strip: Text | None = None
    """Suffix that the matrix adds to cell names and the table does not, for example ``-1``."""
    unmatched: Literal["error", "drop"] = "error"
    """What becomes of cells of the matrix that the table does not list."""


class ObsColumn(Strict):
    """A column of cells: a vector in an R file, or a part of the cell names."""

    file: FileName | None = None
    """File of a vector with one value per cell, in the order of the matrix."""
    object: Text | None = None
    """Path of the vector inside the R file."""
    extract: Text | None = None
    """Regular expression whose first group is taken from the cell's name."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.extract is None) == (self.object is None) or (self.object is None) != (self.file is None):
            raise ValueError("give either file and object of a vector, or extract: a pattern over the cell names")
        try:
            if self.extract and not re.compile(self.extract).groups:
                raise ValueError(f"extract: {self.extract!r} has no group in parentheses to take")
        except re.error as error:
            raise ValueError(f"extract: {self.extract!r} is not a regular expression: {error}") from error
        return self


class Obs(Strict):
    """Where the columns of cells come from."""

    table: ObsTable | None = None
    """A table joined by cell name."""
    columns: dict[Text, ObsColumn] = Field(default_factory=dict)
    """Further columns by name."""


class Read(Strict):
    """How the files are read; declarative, no code."""

    format: Literal["h5ad", "rdata", "table"]
    """h5ad: AnnData; rdata: R's .rda, .RData, .rds; table: delimited text, gzip allowed."""
    matrix: Matrix
    """The expression matrix."""
    obs: Obs = Obs()
    """The columns of cells."""


class Recover(Strict):
    """How exact integer counts are recovered from log-normalized values; refused where they are not integers."""

    undo: Literal["log1p", "log2p1"]
    """The logarithm: natural log(1 + x) or log2(1 + x)."""
    scale: Annotated[float, Field(gt=0)]
    """What each cell was scaled to before the logarithm, for example 10000."""
    depth: Text
    """Column with each cell's total count before scaling, or ``smallest``: a cell's smallest value is one count."""
    tolerance: Annotated[float, Field(gt=0, le=0.01)] = 1e-6
    """Largest allowed difference between a stored value and the value computed again from the counts."""


class Counts(Strict):
    """Which values are the raw counts."""

    layer: Text = "X"
    """``X``, ``raw`` or the name of a layer."""
    kind: Literal["umi", "reads"]
    """What is counted: unique molecular identifiers, or reads of a full-length protocol."""
    recover: Recover | None = None
    """How counts are recovered where only log-normalized values were published."""


class Genes(Strict):
    """Which column names the genes."""

    symbol: Text | None = None
    """Column with gene symbols, or ``index``."""
    ensembl: Text | None = None
    """Column with Ensembl ids, or ``index``; preferred where both are there."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not (self.symbol or self.ensembl):
            raise ValueError("name the column of gene symbols (symbol) or Ensembl ids (ensembl), or 'index'")
        return self


class TermField(Strict):
    """A field in ontology terms: one term for all cells, or a column with a label map."""

    term: TermId | None = None
    """Term id for all cells, or ``unknown``."""
    label: Text | None = None
    """Label of the term; checked against the ontology."""
    column: Text | None = None
    """Column whose values are mapped."""
    map: FileName | None = None
    """Label map beside the card: a TSV with the columns source, term, label."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.term is None) == (self.column is None):
            raise ValueError("give either term (one for all cells) or column with map")
        if (self.column is None) != (self.map is None):
            raise ValueError("column needs map: a TSV with source, term, label; map needs column")
        if (self.term in {None, "unknown", "na"}) != (self.label is None):
            raise ValueError("a term needs its label, and a label its term")
        return self


class ValueField(Strict):
    """A field in plain words: one value for all cells, or a column."""

    value: Text | None = None
    """Value for all cells."""
    column: Text | None = None
    """Column with the values."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.value is None) == (self.column is None):
            raise ValueError("give either value (one for all cells) or column")
        return self


UNKNOWN = TermField(term="unknown")


class Cells(Strict):
    """What is known about the cells, field by field as in CELLxGENE schema 7.1."""

    organism: TermField
    """NCBITaxon term."""
    tissue: TermField
    """UBERON term."""
    assay: TermField
    """EFO term."""
    cell_type: TermField = UNKNOWN
    """Cell Ontology term, the most specific that the labels support."""
    disease: TermField = UNKNOWN
    """MONDO term, or PATO:0000461 normal; unknown where not stated."""
    development_stage: TermField = UNKNOWN
    """HsapDv or MmusDv term."""
    sex: TermField = UNKNOWN
    """PATO term."""
    self_reported_ethnicity: TermField = UNKNOWN
    """HANCESTRO term; na for other organisms than human."""
    donor_id: ValueField = ValueField(value="unknown")
    """Donor of each cell."""
    suspension_type: ValueField = ValueField(value="cell")
    """cell, nucleus or na."""
    tissue_type: ValueField = ValueField(value="tissue")
    """tissue, organoid, primary cell culture or cell line."""

    @model_validator(mode="after")
    def _one_organism(self) -> Self:
        if self.organism.term in {None, "unknown", "na"}:
            raise ValueError("organism must be one term for all cells: a gene space belongs to one organism")
        return self


class DatasetCard(Strict):
    """One data set: its bytes, how to read them, and what they mean."""

    schema_version: Literal[1]
    """Version of this card schema."""
    id: Identifier
    """Name of the data set; equals the file name of the card."""
    title: Text
    """One line that a biologist understands."""
    study: Study
    """The publication."""
    license: Text
    """SPDX id of the terms of the expression data, or ``unknown``."""
    status: Literal["imported", "verified", "broken"]
    """imported: described; verified: bytes pinned, read and streamlined; broken: cannot be had, with why."""
    status_reason: Text | None = None
    """Why a data set is broken."""
    notes: Text | None = None
    """What a user of the data should know."""
    primary_data: StrictBool
    """Whether this is the first publication of these cells."""
    files: tuple[File, ...]
    """Every file that is needed; at least the one that `read` names."""
    read: Read
    """How the files are read."""
    counts: Counts
    """Which values are the raw counts."""
    genes: Genes
    """Which column names the genes."""
    cells: Cells
    """What is known about the cells."""
    cells_expected: Annotated[int, Field(gt=0, strict=True)]
    """Number of cells after reading; any other number is an error."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [file.name for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError(f"files: names must differ, found {names}")
        used = [self.read.matrix.file, *(column.file for column in self.read.obs.columns.values() if column.file)]
        used += [self.read.obs.table.file] if self.read.obs.table else []
        if missing := sorted(set(used) - set(names)):
            raise ValueError(f"read refers to files that are not listed under files: {missing}")
        if (self.status == "broken") != (self.status_reason is not None):
            raise ValueError("status_reason says why a data set is broken, and is given only then")
        return self
