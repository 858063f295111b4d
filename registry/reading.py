"""How the files of a card are read: matrix, cells, genes, layers; declarative, no code."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cellzoo.registry.parts import FileName, Strict, Text


class Place(Strict):
    """A file of the card, or a member of an archive."""

    file: FileName
    """Which file of the card."""
    member: Text | None = None
    """Path inside a zip or tar file; ``*`` stands for any part of a name, each match is read and their cells joined."""


class Names(Place):
    """Names of the cells or features of a matrix that has none itself."""

    column: Annotated[int, Field(ge=0, strict=True)] | Text = 0
    """Column with the names: its position from 0, or its name where the file has a header."""


class Matrix(Place):
    """Where the expression matrix is."""

    object: Text | None = None
    """Path inside the file, parts joined by ``/``: an R object (a matrix, or one that holds cells), a modality of
    h5mu, a genome of 10x HDF5, the column of values of a table of triplets."""
    cells: Names | None = None
    """Names of the cells of an mtx; found beside the matrix where a 10x folder has its usual names. Of a table of
    triplets their column, of a loom their attribute."""
    features: Names | None = None
    """Names of the features, with the further columns that their file has; where they are, as for the cells."""
    orientation: Literal["genes_by_cells", "cells_by_genes"] = "cells_by_genes"
    """Which axis comes first in the file."""
    separator: Literal["comma", "tab", "space"] | None = None
    """Column separator of a delimited table; found from the file name where left out."""


class ObsTable(Place):
    """A table of cells, joined to the matrix by the cell's name: delimited text, an R data frame or an Excel sheet."""

    object: Text | None = None
    """Path of the data frame inside an R file, parts joined by ``/``."""
    sheet: Text | None = None
    """Sheet of an Excel file; the first where left out."""
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
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"extract: {self.extract!r} is not a regular expression: {error}") from error
        return self


class Obs(Strict):
    """Where the columns of cells come from."""

    table: ObsTable | None = None
    """A table joined by cell name."""
    columns: dict[Text, ObsColumn] = Field(default_factory=dict)
    """Further columns by name."""


class Keep(Strict):
    """Which cells of a file belong to the data set."""

    column: Text
    """Column of cells."""
    values: tuple[Text, ...] = Field(min_length=1)
    """Cells with one of these values are kept."""


Format = Literal["h5ad", "h5mu", "10x_h5", "10x_mtx", "mtx", "table", "loom", "rdata", "zarr"]


class Read(Strict):
    """How the files are read; declarative, no code."""

    format: Format
    """h5ad, h5mu, loom, zarr (AnnData in a zip or tar); 10x_h5 and 10x_mtx: Cell Ranger; mtx: Matrix Market with files
    of names; rdata: R's .rda, .RData, .rds; table: delimited text, gzip allowed."""
    matrix: Matrix
    """The expression matrix."""
    layers: dict[Text, Matrix] = Field(default_factory=dict)
    """Further matrices with the same cells and genes, by the name that `layers` of the card refers to."""
    modalities: dict[Literal["protein", "peak"], Matrix] = Field(default_factory=dict)
    """Further matrices with the same cells and features of another type; 10x files say it per feature."""
    obs: Obs = Obs()
    """The columns of cells."""
    keep: Keep | None = None
    """Which cells belong to the data set; all where left out."""


class Recover(Strict):
    """How exact integer counts are recovered from log-normalized values; refused where they are not integers."""

    undo: Literal["log1p", "log2p1"]
    """The logarithm: natural log(1 + x) or log2(1 + x)."""
    scale: Annotated[float, Field(gt=0)]
    """What each cell was scaled to before the logarithm, for example 10000."""
    depth: Text
    """Column with each cell's total count before scaling, or ``smallest`` (a cell's smallest value is one count), or
    ``unscaled`` (one count became ``scale`` in every cell)."""
    tolerance: Annotated[float, Field(gt=0, le=0.01)] = 1e-6
    """Largest allowed difference between a stored value and the value computed again from the counts."""


class Counts(Strict):
    """What the raw counts are."""

    kind: Literal["umi", "reads"]
    """What is counted: unique molecular identifiers, or reads of a full-length protocol."""
    recover: Recover | None = None
    """How counts are recovered where only log-normalized values were published."""


class Layers(Strict):
    """Which matrix of the file holds what: ``X``, ``raw`` or the name of a layer."""

    counts: Text | None = "X"
    """Raw counts; null where the file has none."""
    processed: Text | None = None
    """Normalized values."""
    spliced_counts: Text | None = None
    """Raw counts of spliced molecules."""
    spliced_processed: Text | None = None
    """Normalized values of spliced molecules."""
    unspliced_counts: Text | None = None
    """Raw counts of unspliced molecules."""
    unspliced_processed: Text | None = None
    """Normalized values of unspliced molecules."""
    velocity: Text | None = None
    """RNA velocity."""


class Genes(Strict):
    """Which columns name the features, and what they are."""

    symbol: Text | None = None
    """Column with gene symbols, or ``index``."""
    ensembl: Text | None = None
    """Column with Ensembl ids, or ``index``; preferred where both are there."""
    reference: Text | None = None
    """Annotation the reads were counted on, for example ``Homo_sapiens.GRCh38.93``."""
    reference_column: Text | None = None
    """Column with the annotation of each feature."""
    feature_type: Literal["rna", "protein", "peak"] = "rna"
    """What the features are."""
    feature_type_column: Text | None = None
    """Column with what each feature is."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not (self.symbol or self.ensembl):
            raise ValueError("name the column of gene symbols (symbol) or Ensembl ids (ensembl), or 'index'")
        return self


class Spatial(Strict):
    """Columns of cells with places in the tissue."""

    x: Text | None = None
    """Coordinate along the first axis."""
    y: Text | None = None
    """Coordinate along the second axis."""
    z: Text | None = None
    """Coordinate along the third axis."""
    array_row: Text | None = None
    """Row of a Visium spot."""
    array_col: Text | None = None
    """Column of a Visium spot."""
    in_tissue: Text | None = None
    """Whether a Visium spot lies under tissue, 1 or 0."""


class Vdj(Strict):
    """Columns of cells with immune receptors, in AIRR terms: a prefix for each chain, then a suffix for each value."""

    prefixes: dict[Literal["vj_1", "vj_2", "vdj_1", "vdj_2"], Text]
    """Chain -> prefix of its columns."""
    suffixes: dict[
        Literal[
            "c_call",
            "consensus_count",
            "d_call",
            "duplicate_count",
            "j_call",
            "junction",
            "junction_aa",
            "locus",
            "productive",
            "v_call",
        ],
        Text,
    ]
    """AIRR field -> suffix of its columns."""
