"""A sfaira loader as it lies on disk: one YAML file, its label tables, and where in the file each value stands.

The sections of the YAML are headings only: keys are read wherever they stand, older spellings under today's name. The
`.py` beside it is code and is never read.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cellzoo.errors import CardError, Finding, Severity
from cellzoo.registry.document import MAX_BYTES, Document, Location, read_yaml

TERMS = {
    "organism": "organism",
    "organ": "tissue",
    "assay_sc": "assay",
    "cell_type": "cell_type",
    "disease": "disease",
    "development_stage": "development_stage",
    "sex": "sex",
    "ethnicity": "self_reported_ethnicity",
    "cell_line": "cell_line",
}
"""sfaira's keys that hold ontology labels -> field of a card."""
VALUES = {
    "individual": "donor_id",
    "suspension_type": "suspension_type",
    "sample_source": "sample_source",
    "bio_sample": "bio_sample",
    "tech_sample": "tech_sample",
    "assay_differentiation": "assay_differentiation",
    "assay_type_differentiation": "assay_type_differentiation",
    "gm": "genetic_modification",
    "treatment": "treatment",
    "state_exact": "condition",
    "source_doi": "source_doi",
}
"""sfaira's keys in plain words -> field of a card."""
LAYERS = {
    f"layer_{name}": name
    for name in (
        *("counts", "processed", "spliced_counts", "spliced_processed", "unspliced_counts", "unspliced_processed"),
        "velocity",
    )
}
VDJ_PREFIXES = {f"vdj_{name}_obs_key_prefix": name for name in ("vj_1", "vj_2", "vdj_1", "vdj_2")}
VDJ_SUFFIXES = {
    f"vdj_{name}_obs_key_suffix": name
    for name in (
        *("c_call", "consensus_count", "d_call", "duplicate_count", "j_call", "junction", "junction_aa", "locus"),
        *("productive", "v_call"),
    )
}
SPATIAL = {f"spatial_{axis}_coord_obs_key": axis for axis in "xyz"}
GENES = {
    "feature_symbol_var_key": "symbol",
    "feature_id_var_key": "ensembl",
    "feature_reference": "reference",
    "feature_reference_var_key": "reference_column",
    "feature_type": "feature_type",
    "feature_type_var_key": "feature_type_column",
}
KNOWN = {
    *("dataset_index", "sample_fns", "author", "default_embedding", "doi", "doi_journal", "doi_preprint", "year"),
    *("download_url_data", "download_url_meta", "primary_data", "normalization", "healthy", "version"),
    *(name for key in (*TERMS, *VALUES) for name in (key, f"{key}_obs_key")),
    *(*LAYERS, *GENES, *SPATIAL, *VDJ_PREFIXES, *VDJ_SUFFIXES),
}
OLDER = {
    "age": "development_stage",
    "assay": "assay_sc",
    "cell_ontology_class": "cell_type",
    "cell_types": "cell_type",
    "cell_types_original": "cell_type",
    "cellontology_original": "cell_type",
    "dev_stage": "development_stage",
    "donor": "individual",
    "donor_id": "individual",
    "download": "download_url_data",
    "download_url": "download_url_data",
    "download_website": "download_url_data",
    "download_website_meta": "download_url_meta",
    "ensembl_col_var_key": "feature_id_var_key",
    "gene_ens_col": "feature_id_var_key",
    "gene_id_ensembl_var_key": "feature_id_var_key",
    "gene_id_symbols_var_key": "feature_symbol_var_key",
    "gene_symbol_col": "feature_symbol_var_key",
    "id": "dataset_index",
    "protocol": "assay_sc",
    "self_reported_ethnicity": "ethnicity",
    "species": "organism",
    "state_healthy": "healthy",
    "symbol_col_var_key": "feature_symbol_var_key",
    "tissue": "organ",
    "var_ensembl_col": "feature_id_var_key",
    "var_symbol_col": "feature_symbol_var_key",
}
"""Keys of older sfaira versions, and what other tools call them -> today's key."""


def canonical(key: str) -> str:
    """Return today's name of a key of any sfaira version; the key itself where there is none.

    >>> canonical("obs_key_organ"), canonical("cell_types_original_obs_key"), canonical("gene_symbol_col")
    ('organ_obs_key', 'cell_type_obs_key', 'feature_symbol_var_key')
    """
    key = re.sub(r"^(obs|var)_key_(.+)$", r"\2_\1_key", key.strip())
    if key in KNOWN or key in OLDER:
        return OLDER.get(key, key)
    base, marker, rest = key.partition("_obs_key")
    return f"{OLDER.get(base, base)}{marker}{rest}"


@dataclass(frozen=True)
class Said:
    """What a loader says under one key: one value for all samples, or one for each that it names."""

    every: Any = None
    """The value for all samples."""
    each: dict[str, Any] = field(default_factory=dict)
    """Sample -> value."""
    location: Location = ()
    """Where in the YAML it stands."""

    def of(self, sample: str | None) -> Any:
        """Return the value for one sample."""
        return self.every if self.every is not None or sample is None else self.each.get(sample)

    def at(self, sample: str | None) -> Location:
        """Return where the value for one sample stands."""
        return self.location if sample is None or sample not in self.each else (*self.location, sample)


@dataclass(frozen=True)
class Row:
    """One row of a label table."""

    line: int
    """1-based line."""
    source: str
    """Label of the study."""
    target: str
    """Label of the term."""
    target_id: str
    """Id of the term, "" where the table has none."""


@dataclass
class Loader:
    """One YAML file with the label tables that belong to it; what is odd about them is added to `findings`."""

    document: Document
    """The YAML."""
    findings: list[Finding]
    """What was found so far."""

    @property
    def path(self) -> Path:
        """Return the YAML file."""
        return self.document.path

    @cached_property
    def _locations(self) -> dict[str, Location]:
        """Return today's key -> where it stands."""
        found: dict[str, Location] = {}
        for location, key in self._keys(self.document.data, ()):
            name = canonical(key)
            if name not in KNOWN:
                self.warn("SFAIRA003", location, f"unknown key {key!r}.", "It is not carried over.")
            elif name not in found or self.document_value(found[name]) is None:
                found[name] = location
            elif self.document_value(location) is not None:
                self.warn("SFAIRA004", location, f"{key!r} says {name!r} a second time.", "The first is used.")
        return found

    def _keys(self, data: dict[str, Any], above: Location) -> Iterator[tuple[Location, str]]:
        for key, value in data.items():
            if isinstance(value, dict) and canonical(key) not in KNOWN:  # a heading
                yield from self._keys(value, (*above, key))
            elif value is not None or canonical(key) in KNOWN or above:
                yield (*above, key), key

    def document_value(self, location: Location) -> Any:
        """Return the raw value at a location."""
        value = self.document.data
        for part in location:
            value = value[part]
        return value

    @cached_property
    def samples(self) -> tuple[str, ...]:
        """Return the names of the samples, none where the study is one."""
        location = self._locations.get("sample_fns", ())
        listed = self.document_value(location) if location else None
        names = [one for one in map(word, listed if isinstance(listed, list) else [listed]) if one]
        if isinstance(listed, dict):
            self.warn("SFAIRA004", location, "sample_fns is a mapping, expected a list.", "Write a list of names.")
        if len(set(names)) < len(names):
            self.warn("SFAIRA004", location, "sample_fns names a sample twice.", "The second is left out.")
        return tuple(dict.fromkeys(names))

    def said(self, key: str) -> Said:
        """Return what is said under a key; empty values are none, names of no sample are a finding."""
        if (location := self._locations.get(key)) is None:
            return Said()
        value = self.document_value(location)
        if not isinstance(value, dict):
            return Said(every=clean(value), location=location)
        each = {str(name): said for name, one in value.items() if (said := clean(one)) is not None}
        if strangers := [name for name in each if name.strip() not in self.samples]:
            message = f"{key}: {', '.join(strangers[:3])}{' …' if len(strangers) > 3 else ''}: not among sample_fns."
            self.warn("SFAIRA006", (*location, strangers[0]), message, "What is said of it is not carried over.")
        known = {name.strip(): one for name, one in each.items() if name.strip() in self.samples}
        return Said(each=known, location=location)

    def word(self, key: str) -> str | None:
        """Return the one word under a key; the first of a list, with a finding where samples differ."""
        said = self.said(key)
        different = list(dict.fromkeys(filter(None, map(word, said.each.values()))))
        if len(different) > 1:
            self.warn(
                "SFAIRA004", said.location, f"{key}: differs by sample, expected one value.", "The first is used."
            )
        return word(said.every) or next(iter(different), None)

    @cached_property
    def tables(self) -> dict[str, Path]:
        """Return today's key -> label table: ``<ID>_<field>.tsv``, and ``<ID>.tsv`` for the cell type."""
        found: dict[str, Path] = {}
        for path in sorted(self.path.parent.glob("*.tsv"), reverse=True):  # <ID>_cell_type.tsv before <ID>.tsv
            name = path.name.removesuffix(".tsv")
            if name != self.path.stem and not name.startswith(f"{self.path.stem}_"):
                continue
            key = "cell_type" if name == self.path.stem else canonical(name.removeprefix(f"{self.path.stem}_"))
            if key not in TERMS:
                self.note("SFAIRA009", path, 0, f"{name.removeprefix(self.path.stem)!r} is no field that takes labels.")
            elif key in found:
                self.note("SFAIRA009", path, 0, f"{found[key].name} maps the same field; this table is not used.")
            else:
                found[key] = path
        return found

    def rows(self, path: Path) -> list[Row] | None:
        """Return the rows of a label table; none, with a finding, where it is not one."""
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"is larger than {MAX_BYTES} bytes")
            lines = csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), delimiter="\t")
            header = [one.strip() for one in next(lines, [])]
            if header[:2] != ["source", "target"]:
                raise ValueError(f"starts with {header[:3]}, expected source, target, target_id, by tabs")
            found = []
            before = lines.line_num
            for fields in lines:
                line, before = before + 1, lines.line_num
                if not any(fields):
                    continue
                source, target, target_id = (*fields, "", "")[:3]
                if not source.strip() or re.search(r"[\t\n\r]", source) or not (target.strip() or target_id.strip()):
                    self.note("SFAIRA008", path, line, f"row {fields!r} has no label and target that a map can hold.")
                    continue
                found.append(Row(line, source, target.strip(), target_id.strip()))
            return found
        except (OSError, ValueError, csv.Error) as error:
            self.note("SFAIRA008", path, 1, f"is no label table: {error}.", "error")
            return None

    def warn(self, code: str, location: Location, message: str, remedy: str = "") -> None:
        """Add a warning at a place of the YAML, once."""
        found = self.document.finding(code, location, message, remedy)
        warned = Finding(found.path, found.line, found.column, code, message, remedy, "warning")
        if all((one.code, one.message) != (code, message) for one in self.findings):
            self.findings.append(warned)

    def note(self, code: str, path: Path, line: int, message: str, severity: Severity = "warning") -> None:
        """Add a finding in a label table."""
        self.findings.append(Finding(str(path), line, 1 if line else 0, code, message, "", severity))


def clean(value: Any) -> Any:
    """Return a value without blanks around words; none for what is empty."""
    if isinstance(value, str):
        return " ".join(value.encode("utf-8", "replace").decode().split()) or None
    if isinstance(value, list):
        return [one for one in map(clean, value) if one is not None] or None
    return value


def word(value: Any) -> str | None:
    """Return a scalar as text, the first of a list; none for what is no scalar."""
    value = clean(value)
    if isinstance(value, list):
        value = value[0] if value else None
    return None if value is None or isinstance(value, dict | list) else str(value)


def open_loaders(folder: Path) -> tuple[list[Loader], list[Finding]]:
    """Return the loaders of a folder, one for each YAML file, and the findings in what is none."""
    findings: list[Finding] = []
    if not folder.is_dir():
        return [], [Finding(str(folder), 0, 0, "SFAIRA001", "is not a folder.", "Name the folder of a loader.")]
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".yml"} and path.is_file())
    if not paths:
        findings.append(Finding(str(folder), 0, 0, "SFAIRA001", "holds no YAML file.", "A loader is <ID>.yaml."))
    loaders = []
    for path in paths:
        try:
            loaders.append(Loader(read_yaml(path), []))
        except CardError as error:
            findings += error.findings
    for path in sorted(folder.glob("*.tsv")):
        if paths and not any(path.stem == one.stem or path.stem.startswith(f"{one.stem}_") for one in paths):
            message = f"belongs to no loader: expected {paths[0].stem}_<field>.tsv."
            findings.append(Finding(str(path), 0, 0, "SFAIRA009", message, "Rename it.", "warning"))
    return loaders, findings
