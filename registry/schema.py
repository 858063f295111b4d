"""What a dataset card may say: pydantic types, one sentence per field.

A card says where the bytes are, how to read them and what the columns mean in ontology terms. Nothing in a card is
code. Fields of cells follow CELLxGENE schema 7.1 and sfaira's loaders (v1.2); what a card leaves out is unknown, never
guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import StrictBool

from cellzoo.errors import InputError
from cellzoo.registry.cells import Cells, SampleCells, TermField
from cellzoo.registry.parts import Count, Day, File, FileName, Identifier, Strict, Study, Text
from cellzoo.registry.reading import Counts, Genes, Layers, Matrix, Read, Spatial, Vdj

Location = tuple[str | int, ...]
Problem = tuple[Location, str]
"""Where in a card something is wrong, and what."""


class Verified(Strict):
    """What `cellzoo verify` saw when it fetched, read and streamlined the data set."""

    date: Day
    """Day it was done."""
    cellzoo: Text
    """Version of cellzoo that did it."""
    cells: Count
    """Number of cells."""
    genes: Count
    """Number of genes of the source that are in the gene space."""
    gene_space: Text
    """Gene space they were mapped onto."""


class Sample(Strict):
    """One part of a data set that is read on its own, and what it says otherwise than the card."""

    name: Text
    """Name of the sample, unique in the card."""
    files: tuple[FileName, ...] = ()
    """Files of the card it is read from; the first holds the matrix."""
    primary_data: StrictBool | None = None
    """Whether this is the first publication of these cells."""
    read: Read | None = None
    """How it is read."""
    layers: Layers | None = None
    """Which matrix holds what."""
    counts: Counts | None = None
    """What its raw counts are."""
    genes: Genes | None = None
    """Which columns name the genes."""
    default_embedding: Text | None = None
    """Key of obsm to show first."""
    cells: SampleCells = SampleCells()
    """What is known about its cells."""


SAMPLE_SAYS = ("primary_data", "read", "layers", "counts", "genes", "default_embedding")
"""What a sample can say in place of its card, beside its cells."""


class DatasetCard(Strict):
    """One data set: its bytes, how to read them, and what they mean."""

    schema_version: Literal[2]
    """Version of this card schema."""
    id: Identifier
    """Name of the data set; equals the file name of the card."""
    aliases: tuple[Text, ...] = ()
    """Other names it is known by, for example the folder of its sfaira loader."""
    title: Text
    """One line that a biologist understands."""
    study: Study
    """The publication."""
    license: Text
    """SPDX id of the terms of the expression data, or ``unknown``."""
    status: Literal["imported", "verified", "broken"]
    """imported: described; verified: bytes pinned, read and streamlined; broken: cannot be used, with why."""
    status_reason: Text | None = None
    """Why a data set is broken, or what keeps an imported one from being verified."""
    verified: Verified | None = None
    """What was seen when it was verified."""
    notes: Text | None = None
    """What a user of the data should know."""
    primary_data: StrictBool
    """Whether this is the first publication of these cells."""
    files: tuple[File, ...]
    """Every file that is needed; at least the one that `read` names."""
    samples: tuple[Sample, ...] = ()
    """Parts that are read one by one and joined; left out where the files hold one matrix."""
    read: Read | None = None
    """How the files are read."""
    layers: Layers = Layers()
    """Which matrix holds what."""
    counts: Counts | None = None
    """What the raw counts are."""
    genes: Genes | None = None
    """Which columns name the genes."""
    cells: Cells
    """What is known about the cells."""
    spatial: Spatial | None = None
    """Places of the cells in the tissue."""
    vdj: Vdj | None = None
    """Immune receptors of the cells."""
    default_embedding: Text | None = None
    """Key of obsm to show first."""
    batch_condition: tuple[Text, ...] = ()
    """Columns of cells that say which cells were processed together."""
    cells_expected: Count | None = None
    """Number of cells after reading; any other number is an error."""

    def readable(self) -> ReadableCard:
        """Return the card as one that says how it is read; InputError where it does not."""
        parts = {"read": self.read, "counts": self.counts, "genes": self.genes}
        if missing := [name for name, part in parts.items() if part is None]:
            why = f" {self.status_reason}" if self.status_reason else ""
            raise InputError(f"{self.id} cannot be read: the card ({self.status}) has no {', '.join(missing)}.{why}")
        return ReadableCard.model_construct(self.model_fields_set, **dict(self))

    def of_sample(self, sample: Sample) -> DatasetCard:
        """Return the card of one sample: what the sample says stands in place of what the card says."""
        said = {name: getattr(sample, name) for name in SAMPLE_SAYS}
        changed = {name: value for name, value in said.items() if value is not None}
        read = sample.read or self.read
        if read and sample.files and not sample.read:
            matrix = read.matrix.model_copy(update={"file": sample.files[0]})
            changed["read"] = read.model_copy(update={"matrix": matrix})
        cells = self.cells.model_copy(
            update={name: getattr(sample.cells, name) for name in sample.cells.model_fields_set}
        )
        return self.model_copy(update={**changed, "cells": cells, "samples": (), "cells_expected": None})

    def fields(self, name: str) -> list[tuple[Location, TermField]]:
        """Return every statement of a field in ontology terms with its place, those of the samples too."""
        places: list[tuple[Location, SampleCells]] = [(("cells", name), self.cells)]
        places += [(("samples", at, "cells", name), sample.cells) for at, sample in enumerate(self.samples)]
        return [(place, field) for place, cells in places if (field := getattr(cells, name)) is not None]

    def problems(self) -> Iterator[Problem]:
        """Yield what one part of the card says against another, with the place."""
        yield from _twice(("files",), [file.name for file in self.files])
        yield from _twice(("samples",), [sample.name for sample in self.samples])
        known = {file.name for file in self.files}
        for place, name in self._file_uses():
            if name not in known:
                yield place, f"names the file {name!r}, which is not listed under files"
        if self.status == "broken" and not self.status_reason:
            yield ("status",), "broken needs status_reason: why the data set cannot be used"
        if self.status == "verified":
            yield from self._unverified()

    def _file_uses(self) -> Iterator[tuple[Location, str]]:
        reads: list[tuple[Location, Read | None]] = [(("read",), self.read)]
        for at, sample in enumerate(self.samples):
            reads.append((("samples", at, "read"), sample.read))
            yield from ((("samples", at, "files", i), name) for i, name in enumerate(sample.files))
        for place, read in reads:
            if read is None:
                continue
            matrices: dict[Location, Matrix] = {("matrix",): read.matrix}
            matrices |= {("layers", name): matrix for name, matrix in read.layers.items()}
            matrices |= {("modalities", name): matrix for name, matrix in read.modalities.items()}
            for part, matrix in matrices.items():
                yield (*place, *part, "file"), matrix.file
                for axis in ("cells", "features"):
                    if names := getattr(matrix, axis):
                        yield (*place, *part, axis, "file"), names.file
            if read.obs.table:
                yield (*place, "obs", "table", "file"), read.obs.table.file
            for name, column in read.obs.columns.items():
                if column.file:
                    yield (*place, "obs", "columns", name, "file"), column.file

    def _unverified(self) -> Iterator[Problem]:
        if self.status_reason:
            yield ("status_reason",), "is for imported and broken data sets, not for verified ones"
        for name in ("read", "counts", "genes", "cells_expected"):
            said = [getattr(sample, name, None) for sample in self.samples]
            if getattr(self, name) is None and (not said or None in said):
                yield ("status",), f"verified needs {name}"
        for at, file in enumerate(self.files):
            if not file.sha256:
                yield ("files", at), f"verified needs sha256 and bytes of {file.name}"
        for name in ("organism", "tissue", "assay"):
            for place, field in self.fields(name):
                if field.term in {"unknown", "na"} and (place[0] == "samples" or not self.overridden(name)):
                    yield place, f"verified needs {name}: CELLxGENE takes no unknown {name}"

    def overridden(self, name: str) -> bool:
        """Return whether every sample says a field in its own way."""
        return bool(self.samples) and all(getattr(sample.cells, name) is not None for sample in self.samples)


class ReadableCard(DatasetCard):
    """A dataset card that says how it is read."""

    read: Read
    """How the files are read."""
    counts: Counts
    """What the raw counts are."""
    genes: Genes
    """Which columns name the genes."""


def _twice(place: Location, names: list[str]) -> Iterator[Problem]:
    for at, name in enumerate(names):
        if name in names[:at]:
            yield (*place, at, "name"), f"the name {name!r} is given twice"
