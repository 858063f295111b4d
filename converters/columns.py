"""Which column of cells says what: by its name, as labs, sfaira and CELLxGENE write it, and by what it holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pandas as pd

from cellzoo.registry.fields import FIELD_ROOTS, id_column

MOST_LABELS = 400  # distinct values of a column of labels; more are names of cells or measurements

NAMES = {
    "cell_type": (
        *("celltype", "celltypes", "cellontologyclass", "celltypeoriginal", "authorcelltype", "cellannotation"),
        *("annotation", "annotations", "annotated", "cellidentity", "cellsubtype", "subtype", "subclass", "classified"),
        *("bulklabels", "labels", "label", "truelabel", "clustername", "clusterlabel", "clustassign", "cellclass"),
        *("class", "identity", "ident", "cluster", "clusters", "seuratclusters", "leiden", "louvain"),
    ),
    "tissue": ("tissue", "organ", "tissueoriginal", "tissuename", "organname", "location", "anatomicalsite", "site"),
    "assay": ("assay", "assaysc", "protocol", "technology", "tech", "method", "platform", "chemistry", "kit"),
    "disease": ("disease", "diagnosis", "diseasestate", "diseasestatus", "health", "healthstatus", "stateexact"),
    "sex": ("sex", "gender", "donorsex", "donorgender"),
    "development_stage": ("developmentstage", "developmentalstage", "devstage", "stage", "age", "donorage", "agegroup"),
    "self_reported_ethnicity": ("selfreportedethnicity", "ethnicity", "ancestry", "race"),
    "donor_id": (
        *("donorid", "donor", "individual", "indiv", "patient", "patientid", "subject", "subjectid", "participant"),
        *("person", "mouse", "mouseid", "animal", "animalid"),
    ),
    "bio_sample": ("biosample", "sample", "sampleid", "samplename", "specimen", "biosampleid", "origident"),
    "tech_sample": ("techsample", "batch", "library", "libraryid", "libraryuuid", "channel", "lane", "run", "plate"),
    "suspension_type": ("suspensiontype",),
    "tissue_type": ("tissuetype",),
    "treatment": ("treatment", "treated", "stimulation", "stim", "drug"),
    "condition": ("condition", "group", "status", "genotype"),
}
"""Field -> names of its columns without punctuation and case, the likeliest first."""
VALUES = {
    **dict.fromkeys(("tissue", "assay", "disease"), "[a-z]"),
    "sex": "^[fmu]",
    "suspension_type": "^(cell|nucleus|na)$",
    "tissue_type": "^(tissue|organoid|primary cell culture|cell line)$",
    "development_stage": r"\d|adult|embryo|fetal|foetal|child|old|young|week|stage",
}
"""What every value of a column of the field matches, in lower case."""


@dataclass(frozen=True)
class Column:
    """A column that says what a field is."""

    name: str
    """Name in the file."""
    labels: dict[str, int]
    """Value -> number of cells, the most frequent first."""
    missing: int
    """Number of cells without a value."""
    words: dict[str, str] | None = None
    """Where the values are term ids: id -> label in the column beside it."""

    @property
    def constant(self) -> bool:
        """Return whether every cell has the same value."""
        return len(self.labels) == 1 and not self.missing


Fits = Callable[[str, str], float]
"""How well a label fits a field in ontology terms, from 0 to 1."""


def match_columns(obs: pd.DataFrame, fits: Fits) -> dict[str, Column]:
    """Return the column of each field that has one.

    Term ids (``<field>_ontology_term_id``) come first, then names, the better the earlier; what is left is told by
    what it holds. A column of cluster numbers is no cell type, a column in which nearly every cell differs is none of
    labels, and no column is used twice.
    """
    plain = {re.sub(r"[^a-z0-9]", "", str(name).lower()): str(name) for name in obs}
    left_out = unusable(obs)
    columns = {str(name): one for name in obs if str(name) not in left_out and (one := column_of(obs, str(name)))}
    found: dict[str, Column] = {}
    for field in FIELD_ROOTS:
        if ids := columns.pop(id_column(field), None):
            beside = columns.pop(field, None)
            pairs = obs[[ids.name, beside.name]].astype(str) if beside else pd.DataFrame({0: [], 1: []})
            found[field] = replace(ids, words=dict(pairs.drop_duplicates().itertuples(index=False, name=None)))
    for field, names in NAMES.items():
        named = [plain[name] for name in names if plain.get(name) in columns]
        named += [plain[key] for key in plain if plain[key] in columns and _contains(key, names)]
        for name in dict.fromkeys(named):
            if field not in found and _possible(field, columns[name]):
                found[field] = columns.pop(name)
    for left, column in list(columns.items()):
        told = [field for field in ("cell_type", "tissue", "assay", "disease") if field not in found]
        scores = {field: _share(column, field, fits) for field in told} if _is_words(column) else {}
        best = max(scores, key=lambda field: scores[field], default="")
        if best and scores[best] > 0.6:
            found[best] = columns.pop(left)
    return found


def column_of(obs: pd.DataFrame, name: str) -> Column | None:
    """Return a column as labels; None where it holds measurements or names of cells."""
    values = obs[name]
    if pd.api.types.is_float_dtype(values) and not (values.dropna() % 1 == 0).all():
        return None
    if pd.api.types.is_float_dtype(values):
        values = values.astype("Int64")
    texts = values.dropna().astype(str)
    known = texts[texts.str.strip() != ""]
    counted = known.value_counts()
    labels = {str(label): int(number) for label, number in counted.items() if number}
    if not labels or len(labels) > MOST_LABELS or len(labels) > max(20, len(obs) // 2):
        return None
    return Column(str(name), labels, int(len(obs) - len(known)))


def unusable(obs: pd.DataFrame) -> dict[str, str]:
    """Return the columns of labels that a card cannot name, or a label map cannot list, and why."""
    found = {}
    for column in (column_of(obs, str(name)) for name in obs):
        bad = next((label for label in column.labels if re.search(r"[\t\n\r]", label)), None) if column else None
        if column and (column.name != column.name.strip() or not column.name.isprintable()):
            found[column.name] = "its name has blanks around it, or line ends or tabs in it"
        elif column and bad:
            found[column.name] = f"it holds line ends or tabs, as in {bad[:40]!r}"
    return found


def _contains(key: str, names: Iterable[str]) -> bool:
    return any(name in key for name in names if len(name) >= 7)


def _possible(field: str, column: Column) -> bool:
    """Return whether the values can be those of a field."""
    if field == "cell_type":
        return _is_words(column)
    if pattern := VALUES.get(field):
        return all(re.search(pattern, label.lower()) for label in column.labels)
    return field in FIELD_ROOTS or not column.missing


def _is_words(column: Column) -> bool:
    """Return whether most values hold letters: cluster numbers do not."""
    worded = sum(bool(re.search(r"[A-Za-z]{2}|[A-Za-z]$", label)) for label in column.labels)
    return 2 * worded > len(column.labels)


def _share(column: Column, field: str, fits: Fits) -> float:
    """Return the mean fit of up to twelve of the most frequent values."""
    labels = list(column.labels)[:12]
    return sum(fits(field, label) for label in labels) / len(labels)
