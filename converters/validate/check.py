"""Hold an h5ad file against the CELLxGENE schema."""

from __future__ import annotations

from pathlib import Path

import h5py

from cellzoo.converters.validate.cells import check_cells
from cellzoo.converters.validate.context import Context
from cellzoo.converters.validate.damage import can_be_read
from cellzoo.converters.validate.file import ENCODINGS, strange
from cellzoo.converters.validate.findings import FileFinding, Report
from cellzoo.converters.validate.frames import check_features, check_frames
from cellzoo.converters.validate.matrices import check_matrices
from cellzoo.converters.validate.metadata import check_arrays, check_uns
from cellzoo.converters.validate.perturbation import check_perturbations
from cellzoo.converters.validate.spatial import check_spatial
from cellzoo.registry.fields import ORGANISM_KEY
from cellzoo.registry.pins import SCHEMA, schema_version

PARTS = ("X", "obs", "var", "raw", "layers", "obsm", "varm", "obsp", "varp", "uns")
RULES = (
    *(check_frames, check_cells, check_features, check_uns, check_arrays, check_spatial, check_perturbations),
    check_matrices,
)


def validate(
    path: Path, schema: str = SCHEMA, *, ignore_labels: bool | None = False, pre_analysis: bool = False
) -> list[FileFinding]:
    """Return all that is wrong with a file by one version of the schema; no error means that it is valid.

    The matrices are read once, a few megabytes at a time. With `ignore_labels` the columns may be there that the
    portal adds, with None in a file that says the schema version, as published ones do; with `pre_analysis` the file
    has no cell types and may have no embedding. InputError for a schema other than 7.1 and 7.0. What cannot be
    read is a finding.
    """
    schema = schema_version(schema)
    report = Report(path)
    if not path.is_file():
        message = "is a folder, expected a file." if path.is_dir() else "there is no such file."
        report.add("CXG006", "file", message)
        return report.findings
    try:
        with h5py.File(path) as file:
            if _check_form(file, report):
                ignored = "uns/schema_version" in file if ignore_labels is None else ignore_labels
                _hold(Context(file, report, schema, ignored, pre_analysis))
    except (OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError) as error:  # all of them by h5py
        report.add("CXG002", "file", f"cannot be read: {error}.")
    return report.findings


def _hold(context: Context) -> None:
    """Find what breaks a rule; in a file with columns that cannot be read, or of another schema, that alone."""
    if not can_be_read(context):
        return
    if older := _other_schema(context):
        context.report.add("CXG001", "uns.schema_version", f"this is schema {older}, expected {context.schema}.")
        return
    for rule in RULES:
        rule(context)


def _check_form(file: h5py.File, report: Report) -> bool:
    """Return whether there is enough to look at, having found what is missing or encoded in another way."""
    encoding = tuple(str(file.attrs.get(f"encoding-{name}", "")) for name in ("type", "version"))
    if encoding != ("anndata", "0.1.0") or encoding not in ENCODINGS:
        found = " ".join(encoding).strip() or "of a time before anndata 0.8"
        report.add("CXG003", "file", f"the encoding is {found}, expected anndata 0.1.0.")
    for part in PARTS:
        for message in strange(part, file[part]) if part in file else ():
            report.add("CXG003", part, f"{message}.")
    for part in ("obs", "var", "X"):
        if part not in file or file[part].attrs.get("encoding-type") == "null":
            report.add("CXG004", part, "is missing.")
    frames = [name for name in ("obs", "var", "raw/var") if name in file]
    other = [name for name in frames if file[name].attrs.get("encoding-type") != "dataframe"]
    for name in other:
        report.add("CXG003", name, "is no data frame.")
    return not other and {"obs", "var"} <= set(frames)


def _other_schema(context: Context) -> str | None:
    """Return the version of another schema the file was made for, None where it is the one it is held against."""
    said = context.uns.get("schema_version")
    if isinstance(said, str) and said != context.schema:
        return said
    return "before 6.0" if said is None and ORGANISM_KEY in context.obs and ORGANISM_KEY not in context.uns else None
