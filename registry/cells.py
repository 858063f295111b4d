"""What is known about cells: a field in ontology terms or in plain words, for all cells or by column."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from cellzoo.registry.parts import FileName, Strict, TermId, Text


class TermField(Strict):
    """A field in ontology terms: one term for all cells, or a column."""

    term: TermId | None = None
    """Term id for all cells; ``unknown`` where it is not known, ``na`` where it does not apply."""
    label: Text | None = None
    """Label of the term; checked against the ontology."""
    text: Text | None = None
    """What the study says, where no term says the same."""
    column: Text | None = None
    """Column of cells with the values."""
    map: FileName | None = None
    """Label map beside the card, from the column's values to terms: a TSV with the columns source, term, label."""
    holds: Literal["ids", "labels"] | None = None
    """What a column without a map holds: term ids, or labels as the ontology writes them."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.term is None) == (self.column is None):
            raise ValueError("give either term (one for all cells) or column with map")
        if self.column is None and (self.map or self.holds):
            raise ValueError("map and holds say what a column means; name the column")
        if self.column is not None and (self.map is None) == (self.holds is None):
            raise ValueError("column needs map: a TSV with source, term, label; or holds: ids or labels")
        if (self.term in {None, "unknown", "na"}) != (self.label is None):
            raise ValueError("a term needs its label, and a label its term")
        return self


class ValueField(Strict):
    """A field in plain words: one value for all cells, a column, or several columns joined."""

    value: Text | None = None
    """Value for all cells."""
    column: Text | None = None
    """Column of cells with the values."""
    columns: tuple[Text, ...] | None = Field(default=None, min_length=2)
    """Columns of cells whose values, joined by ``_``, are the value: a donor may be known by batch and number."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.value, self.column, self.columns)) != 1:
            raise ValueError("give one of value (one for all cells), column, or columns (joined)")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the columns the value is made of."""
        return self.columns or ((self.column,) if self.column else ())


UNKNOWN = TermField(term="unknown")


class SampleCells(Strict):
    """Fields of cells, each of which may be left out: what one sample says otherwise than its card."""

    organism: TermField | None = None
    """NCBITaxon term."""
    tissue: TermField | None = None
    """UBERON term; CL for a primary cell culture, Cellosaurus for a cell line."""
    assay: TermField | None = None
    """EFO term."""
    cell_type: TermField | None = None
    """Cell Ontology term, the most specific that the labels support."""
    disease: TermField | None = None
    """MONDO term, or PATO:0000461 normal; unknown where not stated."""
    development_stage: TermField | None = None
    """HsapDv, MmusDv or UBERON term."""
    sex: TermField | None = None
    """PATO term."""
    self_reported_ethnicity: TermField | None = None
    """HANCESTRO term; na for other organisms than human."""
    donor_id: ValueField | None = None
    """Donor of each cell."""
    suspension_type: ValueField | None = None
    """cell, nucleus or na."""
    tissue_type: ValueField | None = None
    """tissue, organoid, primary cell culture or cell line."""
    cell_line: TermField | None = None
    """Cellosaurus term of the line the cells, or the organoids, were grown from."""
    sample_source: ValueField | None = None
    """primary_tissue, 2d_culture, 3d_culture or tumor, as sfaira says it."""
    bio_sample: ValueField | None = None
    """Biological sample."""
    tech_sample: ValueField | None = None
    """Technical sample or batch."""
    assay_differentiation: ValueField | None = None
    """Protocol that differentiated the cells in vitro."""
    assay_type_differentiation: ValueField | None = None
    """guided or unguided."""
    genetic_modification: ValueField | None = None
    """Genetic modification or guide, in words."""
    treatment: ValueField | None = None
    """Treatment, in words."""
    condition: ValueField | None = None
    """Condition of the sample, in words; quantities with their units."""
    source_doi: ValueField | None = None
    """DOI of the study that first published each cell."""
    experimental_condition: ValueField | None = None
    """CHEBI, EFO or UniProt ids of a chemical, diet, protein or temperature, joined by ``||`` (CELLxGENE 7.1)."""
    genetic_perturbation_id: ValueField | None = None
    """Key of the perturbation of each cell (CELLxGENE 7.1)."""
    genetic_perturbation_strategy: ValueField | None = None
    """How genes were perturbed (CELLxGENE 7.1)."""


class Cells(SampleCells):
    """What is known about the cells, as in CELLxGENE schema 7.1 and sfaira; what is left out is unknown."""

    organism: TermField
    """NCBITaxon term."""
    tissue: TermField = UNKNOWN
    """UBERON term; CL for a primary cell culture, Cellosaurus for a cell line."""
    assay: TermField = UNKNOWN
    """EFO term."""
    cell_type: TermField = UNKNOWN
    """Cell Ontology term, the most specific that the labels support."""
    disease: TermField = UNKNOWN
    """MONDO term, or PATO:0000461 normal; unknown where not stated."""
    development_stage: TermField = UNKNOWN
    """HsapDv, MmusDv or UBERON term."""
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


TERM_FIELDS = tuple(name for name, info in SampleCells.model_fields.items() if info.annotation == TermField | None)
"""The fields in ontology terms, in the order of the schema."""
