"""Data brought from one form into another: streamlined, as CELLxGENE has them, as sfaira has them.

CELLxGENE's names are the middle: each form is brought there and from there. What a form cannot say is carried along
(`cellzoo.converters.cellxgene.carried`), so that the way back gives what was there before, to the last category.
Matrices are not read, but for a pass over the counts, which must be such that CELLxGENE takes them, and an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.cellxgene import sfaira, streamlined
from cellzoo.converters.cellxgene.carried import (
    as_type,
    attach,
    carried_names,
    carry,
    detach,
    difference,
    restore,
)
from cellzoo.converters.cellxgene.embedding import pca
from cellzoo.converters.cellxgene.fields import OBS
from cellzoo.converters.cellxgene.migrate import migrate
from cellzoo.converters.cellxgene.portal import is_labelled, labelled, unlabelled
from cellzoo.converters.cellxgene.rules import conform, empty_and_repeated, fill, refuse
from cellzoo.converters.cellxgene.streamlined import MEASURED
from cellzoo.errors import InputError
from cellzoo.registry.fields import id_column
from cellzoo.registry.pins import SCHEMA, schema_version

Form = Literal["streamlined", "cellxgene", "sfaira"]
FORMS = ("streamlined", "cellxgene", "sfaira")
CONFORMED, GENES, NATIVE = "conformed", "genes", "native"
"""Names in ``uns["cellzoo"]["carried"]`` beside those of forms: what CELLxGENE demanded, genes that were not measured,
and that the data came as a CELLxGENE file, which is not to be made to conform when it comes back."""
COMPUTED = "X_pca"
LEAVE_OUT = ("empty", "repeated")

_TO: dict[str, Callable[[CellData], CellData]] = {
    "streamlined": streamlined.to_cellxgene,
    "sfaira": sfaira.to_cellxgene,
    "cellxgene": lambda data: data,
}
_FROM: dict[str, Callable[[CellData], CellData]] = {
    "streamlined": streamlined.from_cellxgene,
    "sfaira": sfaira.from_cellxgene,
    "cellxgene": lambda data: data,
}


@dataclass
class Report:
    """What a conversion did; nothing is left out that is not named here."""

    source: str = ""
    """The form that was found."""
    target: str = ""
    """The form that was written."""
    version: str = ""
    """The CELLxGENE schema, where that was written."""
    cells: int = 0
    """Cells that were written."""
    genes: int = 0
    """Genes that were written."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Columns of cells by their new name."""
    carried: dict[str, list[str]] = field(default_factory=dict)
    """Part of the data -> what the new form has no place or other values for; it returns on the way back."""
    restored: dict[str, list[str]] = field(default_factory=dict)
    """Part of the data -> what had been carried and is back."""
    not_restored: dict[str, str] = field(default_factory=dict)
    """Part of the data -> what had been carried and is not back, and why."""
    migrated: dict[str, Any] = field(default_factory=dict)
    """What was done to bring an older CELLxGENE file to the newest schema."""
    set: dict[str, int] = field(default_factory=dict)
    """Field -> cells of which it was unknown and that were given the value asked for."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Why -> the cells that were left out because that was asked for."""
    genes_not_measured: int = 0
    """Genes of the gene space that were not measured and are not written; the way back has them again."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Field and label of sfaira's that mean no term today -> why; they are carried, and the cells unknown."""
    computed: list[str] = field(default_factory=list)
    """What was computed because the schema asks for it."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)


def form(data: CellData) -> Form:
    """Return which form data have; `InputError` where it is none of the three."""
    names = set(data.obs)
    cellxgene = names & {id_column("assay"), id_column("tissue")}
    if names & {id_column("assay_sc"), id_column("organ"), "assay_sc", "organ"} and len(cellxgene) < 2:
        return "sfaira"
    if cellxgene and id_column("organism") in names and MEASURED in data.var and "schema_version" not in data.uns:
        return "streamlined"
    if cellxgene:
        return "cellxgene"
    shown = ", ".join(sorted(map(str, names))[:8]) or "none"
    raise InputError(
        f"neither a CELLxGENE, a sfaira nor a streamlined file: obs has no column {id_column('assay')}, "
        f"{id_column('tissue')} (CELLxGENE), assay_sc or organ (sfaira); found {shown}. For other files write a card"
        " (`cellzoo new dataset`), which says what their columns mean."
    )


def to_cellxgene(data: CellData, version: str = SCHEMA) -> CellData:
    """Return data as CELLxGENE 7.1 (or 7.0) has them; `InputError` lists all that keeps them from being valid."""
    return converted(data, "cellxgene", version)[0]


def to_sfaira(data: CellData) -> CellData:
    """Return data as sfaira has them: counts in X, processed values in ``layers["processed_counts"]``, its names."""
    return converted(data, "sfaira")[0]


def to_streamlined(data: CellData) -> CellData:
    """Return data as streamlined data are named; those that were streamlined once have their gene space again."""
    return converted(data, "streamlined")[0]


def converted(  # noqa: PLR0913, PLR0917
    data: CellData,
    target: str,
    version: str = SCHEMA,
    said: Mapping[str, str] | None = None,
    labels: bool | None = None,
    leave_out: tuple[str, ...] = (),
    check: bool = True,
) -> tuple[CellData, Report]:
    """Return data in another form, and what was done.

    ``version`` is the CELLxGENE schema to write, "7.1.0" or "7.0.0". ``said`` gives a field a value in the cells of
    which it is unknown ({"disease": "PATO:0000461"}). ``labels`` says whether a CELLxGENE file has what the portal
    writes into it; by default what comes from elsewhere has, a CELLxGENE file stays what it is. ``leave_out`` names
    cells that are not written: "empty" without counts, "repeated" with the counts of a cell before. ``check`` refuses
    what cannot be valid. Raises `InputError`, and `NotFoundError` for an unknown term in ``said``.
    """
    version = schema_version(version)
    if target not in FORMS:
        raise InputError(f"schema {target!r}: expected one of {', '.join(FORMS)}.")
    source = form(data)
    report = Report(source, target, version if target == "cellxgene" else "")
    native = source == target
    if source != target:
        data, native = _translated(data, source, target, report)
    elif target == "cellxgene":
        data = migrate(data, report.migrated)
    if said or leave_out:
        data = _as_asked(data, target, said or {}, leave_out, report)
    if target == "cellxgene":
        if not native:
            data = _conformed(data, version, check, report)
        elif said and check:
            refuse(data, version)
        data = _with_labels(data, version, labels if native else labels is not False, bool(said) or not native)
    report.cells, report.genes = data.n_obs, data.n_vars
    return data, report


def _translate(data: CellData, source: str, target: str) -> CellData:
    return _FROM[target](_TO[source](data))


def _bare(data: CellData, undone: dict[str, Any], report: Report) -> CellData:
    """Return a CELLxGENE file as it was before it was made to conform."""
    data = restore(data, undone.get(CONFORMED, {}))
    if GENES in undone and streamlined.has_its_genes(data, undone[GENES]):
        data = streamlined.put_back(data, undone[GENES])
    elif GENES in undone:
        number = len(undone[GENES]["position"])
        report.not_restored["genes"] = (
            f"{number} genes that were not measured: the others were picked or reordered since"
        )
        data = streamlined.as_measured(data)
    return labelled(data)


def _translated(data: CellData, source: str, target: str, report: Report) -> tuple[CellData, bool]:
    """Return data by the names of another form, and whether they once came as a file of that form."""
    native = False
    if source == "cellxgene":
        data, undone = detach(data, CONFORMED, GENES)
        data = _bare(data, undone, report) if undone else data
        native = not undone
    data, carried = detach(data)
    came_back = target == "cellxgene" and bool(carried.pop(NATIVE, False))
    if source == "cellxgene":
        data = migrate(data, report.migrated)
        carried |= {NATIVE: True} if native else {}
    report.unknown = sfaira.unclear(data) if source == "sfaira" else {}
    found = _translate(data, source, target)
    if loads := carried.pop(target, None):
        found = restore(found, loads)
        report.restored = carried_names(loads)
    loads = difference(_translate(found, target, source), data)
    report.carried = carried_names(loads)
    names = OBS if source == "sfaira" else {new: old for old, new in OBS.items()} if target == "sfaira" else {}
    report.renamed = {old: new for old, new in names.items() if old != new and old in data.obs and new in found.obs}
    return _attached(found, {source: loads, **carried}), came_back


def _attached(data: CellData, carried: Mapping[str, Any]) -> CellData:
    for name, value in carried.items():
        data = carry(data, name, value) if name == NATIVE else attach(data, name, value) if value else data
    return data


def _as_asked(
    data: CellData, target: str, said: Mapping[str, str], leave_out: tuple[str, ...], report: Report
) -> CellData:
    if target != "cellxgene":
        raise InputError("fields are set and cells left out where CELLxGENE is written; sfaira knows unknown.")
    if strange := sorted(set(leave_out) - set(LEAVE_OUT)):
        raise InputError(f"cells {strange[0]!r} to leave out: expected {' or '.join(LEAVE_OUT)}.")
    if leave_out:
        empty, repeated = empty_and_repeated(data)
        for name, cells in (("empty", empty), ("repeated", repeated)):
            if name in leave_out:
                report.left_out[name] = list(map(str, data.obs.index[cells]))
        gone = np.concatenate(
            [cells for name, cells in (("empty", empty), ("repeated", repeated)) if name in leave_out]
        )
        data = data.pick(np.setdiff1d(np.arange(data.n_obs), gone))
    data, report.set = fill(data, said)
    return data


def _conformed(data: CellData, version: str, check: bool, report: Report) -> CellData:
    """Return data as the schema demands them; what that changes is carried, and undone on the way back."""
    before, genes = streamlined.take_out(data)
    found = conform(before)
    if found.X is not None:
        raw = found.raw and Raw(as_type(found.raw.X, np.float32), found.raw.var, found.raw.varm)
        found = found.with_(X=as_type(found.X, np.float32), raw=raw)
    if check:
        refuse(found, version)
    counts = found.X if found.raw is None else found.raw.X
    if counts is not None and not any(name.startswith("X_") for name in found.obsm):
        report.computed.append(f"obsm[{COMPUTED!r}]: principal components of log-normalized counts")
        found = found.with_(obsm=dict(found.obsm) | {COMPUTED: pca(counts, found.var.index.to_numpy())})
    found = attach(found, CONFORMED, difference(found, before))
    if genes:
        report.genes_not_measured = len(genes["position"])
        found = carry(found, GENES, genes)
    return found


def _with_labels(data: CellData, version: str, wanted: bool | None, changed: bool) -> CellData:
    """Return data with or without what the portal writes; None leaves it as it is, but for what changed."""
    if wanted is False:
        return unlabelled(data)
    there = is_labelled(data)
    stale = there and (changed or data.uns.get("schema_version") != version)
    return labelled(data, version) if stale or (wanted and not there) else data
