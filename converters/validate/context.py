"""What the rules of several columns look at together: organism, assays, whether it is one spatial section."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import h5py
import numpy as np

from cellzoo.converters.validate.file import Frame, value
from cellzoo.converters.validate.findings import Report
from cellzoo.errors import NotFoundError
from cellzoo.registry.fields import ORGANISM_KEY, VISIUM, allowed, id_column
from cellzoo.registry.ontology import load

BEADS, VISIUM_11MM = "EFO:0920001", "EFO:0022860"


@dataclass
class Context:
    """One file under validation."""

    file: h5py.File
    report: Report
    schema: str
    """The version of the schema, for example 7.1.0."""
    ignore_labels: bool
    """Whether labels that the portal adds may be there."""
    pre_analysis: bool
    """Whether the file is of before analysis."""

    @cached_property
    def obs(self) -> Frame:
        """Return the cells."""
        return Frame("obs", self.file["obs"])

    @cached_property
    def var(self) -> Frame:
        """Return the features."""
        return Frame("var", self.file["var"])

    @cached_property
    def raw_var(self) -> Frame | None:
        """Return the features of raw, None where there is no raw."""
        return Frame("raw.var", self.file["raw/var"]) if "raw" in self.file else None

    @property
    def frames(self) -> list[Frame]:
        """Return obs, var and, where there is one, raw.var."""
        return [self.obs, self.var, *([self.raw_var] if self.raw_var else [])]

    @cached_property
    def uns(self) -> dict[str, Any]:
        """Return what is said about all cells."""
        found = value(self.file["uns"]) if "uns" in self.file else {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def has_conditions(self) -> bool:
        """Return whether the schema knows perturbations and files of before analysis: since 7.1."""
        return self.schema >= "7.1"

    @cached_property
    def organism(self) -> str | None:
        """Return the organism, None where it is missing or not allowed."""
        organism = self.uns.get(ORGANISM_KEY)
        known = isinstance(organism, str) and allowed("organism", organism, schema=self.schema) is None
        return organism if known else None

    @cached_property
    def assays(self) -> list[str]:
        """Return the assays that occur."""
        column = self.obs.text(id_column("assay"))
        return column.used if column else []

    def any_assay(self, root: str, include_self: bool = True) -> bool:
        """Return whether an assay lies below a term."""
        return any(is_below(assay, root, include_self, self.schema) for assay in self.assays)

    @cached_property
    def is_visium(self) -> bool:
        """Return whether an assay is a kind of Visium."""
        return self.any_assay(VISIUM, include_self=False)

    @cached_property
    def is_spatial(self) -> bool:
        """Return whether an assay is a kind of Visium, or bead-based."""
        return self.is_visium or self.any_assay(BEADS, include_self=False)

    @cached_property
    def is_11mm(self) -> bool:
        """Return whether an assay is Visium on a slide of 11 mm."""
        return self.any_assay(VISIUM_11MM)

    @cached_property
    def is_single(self) -> bool | None:
        """Return whether uns says that it is one spatial section; None where it says nothing."""
        spatial = self.uns.get("spatial")
        said = spatial.get("is_single") if isinstance(spatial, dict) else None
        return bool(said) if isinstance(said, bool | np.bool_) else None

    @cached_property
    def is_section(self) -> bool:
        """Return whether it is one section of Visium, which has rules of its own."""
        return self.is_visium and bool(self.is_single)


def is_below(term: str, root: str, include_self: bool, schema: str) -> bool:
    """Return whether an assay lies below another; what is no term does not."""
    try:
        return load("EFO", schema=schema).is_descendant(term, root, include_self)
    except NotFoundError:
        return False
