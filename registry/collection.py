"""What a collection card may say: a source of many data sets that is read by query, such as the Census."""

from __future__ import annotations

from typing import Annotated, Literal

from cellzoo.registry.cells import TermField
from cellzoo.registry.parts import Count, Identifier, Strict, Study, Text, form

Uri = Annotated[str, form(r"^(s3|https?)://[^\s/]+/\S*$", "an address that starts with s3://, https:// or http://")]


class CollectionRelease(Strict):
    """One release of a collection; releases never change."""

    version: Text
    """Name of the release, for the Census a date."""
    uri: Uri
    """Where it is."""
    census_schema: Text
    """Version of the Census schema."""
    dataset_schema: Text
    """Version of the CELLxGENE schema of its data sets."""
    cells: Count | None = None
    """Number of cells, duplicates included."""
    status: Literal["active", "withdrawn"] = "active"
    """withdrawn: can no longer be had."""


class CollectionCard(Strict):
    """A source of many data sets, described once for all of them."""

    schema_version: Literal[2]
    """Version of this card schema."""
    id: Identifier
    """Name of the collection; equals the file name of the card."""
    title: Text
    """One line that a biologist understands."""
    study: Study
    """The publication."""
    license: Text
    """SPDX id of the terms of the data, or ``unknown``."""
    status: Literal["imported", "verified", "broken"]
    """imported: described; verified: was opened and read; broken: cannot be used, with why."""
    status_reason: Text | None = None
    """Why it is broken, or what keeps it from being verified."""
    notes: Text | None = None
    """What a user of the data should know."""
    homepage: Uri
    """Page about the collection."""
    organisms: tuple[TermField, ...]
    """NCBITaxon terms."""
    releases: tuple[CollectionRelease, ...]
    """Every release, the newest first."""
