"""What a model card of the registry may say: one published model, each of its versions pinned to the byte.

``versions`` is append-only: a version that was published never changes but in its status. The card lies at
``models/<organization>/<name>.yaml``, and the id is organization and name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from cellzoo.registry.parts import Commit, Count, Day, FileName, Identifier, Sha256, Strict, Text, Url, form
from cellzoo.registry.schema import Problem

ModelId = Annotated[
    str, form(r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$", "organization/name, as on the Hub", 193)
]
Version = Annotated[str, form(r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$", "a semantic version such as 1.0.0")]


class ReleasedFile(Strict):
    """One file of a release."""

    name: FileName
    """Name in the model repository."""
    sha256: Sha256
    """sha256 of the file."""
    bytes: Count
    """Size of the file in bytes."""


class Space(Strict):
    """A gene space or a label space by digest."""

    name: Text
    """Name of the space, for example ``homo_sapiens-gencode48-protein_coding`` or ``CL v2026-03-26``."""
    sha256: Sha256
    """Digest of the ordered list."""
    size: Count
    """Number of genes or labels."""


class ModelVersion(Strict):
    """One release of a model."""

    version: Version
    """Semantic version; the tag of the release is ``v`` and this."""
    commit: Commit
    """Commit of the release in the model repository."""
    date: Day
    """Day of the release."""
    files: tuple[ReleasedFile, ...] = Field(min_length=1)
    """Every file of the release, ``model.safetensors`` among them."""
    status: Literal["active", "deprecated", "yanked"] = "active"
    """deprecated: a better one exists; yanked: must not be used."""
    reason: Text | None = None
    """Why a version is deprecated or yanked."""
    superseded_by: Text | None = None
    """Version, or model id and version, to use instead."""
    gene_space: Space
    """The genes the model reads."""
    label_space: Space | None = None
    """The cell types it predicts; none for an embedding."""
    data_lock: Sha256
    """sha256 of ``data.lock.yaml``: cards, digests and split it was trained on."""
    datasets: tuple[Identifier, ...] = Field(min_length=1)
    """Data sets it was trained on."""
    metrics: dict[Text, dict[Text, float]] = Field(default_factory=dict)
    """Split -> metric -> value, for example ``test: {macro_f1: 0.79}``."""


class ModelCard(Strict):
    """One published model."""

    schema_version: Literal[2]
    """Version of this card schema."""
    id: ModelId
    """``organization/name``; equals folder and file name of the card."""
    title: Text
    """One line that a biologist understands."""
    remote: Url | None = None
    """Hub the model is published on; huggingface.co where left out."""
    license: Text
    """SPDX id of the weights' licence."""
    intended_use: Text
    """What the model is for."""
    limits: Text
    """What it must not be used for, and where it is known to fail."""
    versions: tuple[ModelVersion, ...] = Field(min_length=1)
    """Every release, the oldest first; append-only."""

    @property
    def newest(self) -> ModelVersion:
        """Return the newest version that is active, else the newest of all."""
        return next((one for one in reversed(self.versions) if one.status == "active"), self.versions[-1])

    def problems(self) -> Iterator[Problem]:
        """Yield what one part of the card says against another, with the place."""
        seen: dict[str, int] = {}
        for at, version in enumerate(self.versions):
            if version.version in seen:
                yield ("versions", at, "version"), f"{version.version} is listed twice; a version is published once"
            seen[version.version] = at
            if (version.status == "active") == (version.reason is not None):
                yield ("versions", at, "status"), "reason says why a version is deprecated or yanked, and only then"
            if "model.safetensors" not in {file.name for file in version.files}:
                yield ("versions", at, "files"), "model.safetensors is not among the files of the release"
