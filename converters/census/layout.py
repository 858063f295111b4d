"""What a Census looks like on disk: names, columns and types of census schema 2.4.0; the only place that spells them.

Source: the draft of census schema 2.4.0 and the arrays that the builder of CELLxGENE writes. Where the two differ (the
statistics of cells are float32 in the text) the types are those of the arrays.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cellzoo.registry import fields
from cellzoo.registry.fields import CELL_TERMS, OBSERVATION_JOINID, id_column

CENSUS_SCHEMA = "2.4.0"
DATASET_SCHEMA = "7.0.0"
"""Version of the CELLxGENE schema that census schema 2.4.0 is over."""
INFO, DATA, SPATIAL = "census_info", "census_data", "census_spatial_sequencing"
MEASUREMENT, PRESENCE = "RNA", "feature_dataset_presence_matrix"
LAYERS = ("raw", "normalized")
SIGNIFICANT = 15
"""Bits of the mantissa that normalized values keep."""

GENERAL = "tissue_general"
WORDS = (
    "dataset_id",
    *(column for field in (*CELL_TERMS, GENERAL) for column in (id_column(field), field)),
    *("donor_id", "suspension_type", "tissue_type"),
)
"""Columns of obs with few distinct values: dictionaries."""
STATISTICS = {
    "raw_sum": pa.float64(),
    "nnz": pa.int64(),
    "raw_mean_nnz": pa.float64(),
    "raw_variance_nnz": pa.float64(),
    "n_measured_vars": pa.int64(),
}
"""What obs says about the counts of each cell."""
TEXT = pa.large_string()
JOINID = "soma_joinid"
"""Key of every table: 0, 1, … without gaps."""
OBS: dict[str, pa.DataType] = {
    JOINID: pa.int64(),
    **{name: pa.dictionary(pa.int32(), TEXT) for name in WORDS},
    "is_primary_data": pa.bool_(),
    OBSERVATION_JOINID: TEXT,
    **STATISTICS,
}
VAR: dict[str, pa.DataType] = {
    JOINID: pa.int64(),
    **dict.fromkeys(("feature_id", "feature_name", "feature_type"), TEXT),
    **dict.fromkeys(("feature_length", "nnz", "n_measured_obs"), pa.int64()),
}
SUMMARY: dict[str, pa.DataType] = {JOINID: pa.int64(), "label": TEXT, "value": TEXT}
DATASETS: dict[str, pa.DataType] = {
    JOINID: pa.int64(),
    **dict.fromkeys(
        ("citation", "collection_id", "collection_name", "collection_doi", "collection_doi_label", "dataset_id"), TEXT
    ),
    **dict.fromkeys(("dataset_version_id", "dataset_title", "dataset_h5ad_path"), TEXT),
    "dataset_total_cell_count": pa.int64(),
}
ORGANISMS: dict[str, pa.DataType] = {
    JOINID: pa.int64(),
    **dict.fromkeys(("organism_ontology_term_id", "organism_label", "organism"), TEXT),
}
COUNTS: dict[str, pa.DataType] = {
    JOINID: pa.int64(),
    **dict.fromkeys(("organism", "category"), pa.dictionary(pa.int8(), TEXT)),
    **dict.fromkeys(("label", "ontology_term_id"), TEXT),
    **dict.fromkeys(("total_cell_count", "unique_cell_count"), pa.int64()),
}
INFO_TABLES = {"summary": SUMMARY, "datasets": DATASETS, "organisms": ORGANISMS, "summary_cell_counts": COUNTS}
FILLED = ("collection_id", "collection_name", "dataset_id", "dataset_version_id", "dataset_title")
"""Columns of the table of data sets that are never empty."""
CATEGORIES = ("cell_type", "assay", "tissue", "disease", "self_reported_ethnicity", "sex", GENERAL, "suspension_type")
"""What the cells of an organism are counted by."""
SAID = ("census_schema_version", "census_build_date", "dataset_schema_version", "total_cell_count", "unique_cell_count")
"""Rows of the summary, beside ``number_donors_<organism>`` of each organism."""
NO_DONOR = ("pooled", "unknown")
"""Donors that are not counted."""
TISSUE_TYPES = ("tissue", "organoid")
"""Kinds of sample that a Census takes."""


def experiment_of(organism: str) -> str:
    """Return the name that the experiment of an organism has in a Census.

    >>> experiment_of("NCBITaxon:9606")
    'homo_sapiens'
    """
    return fields.ORGANISMS[organism].lower().replace(" ", "_")


def _zstd(level: int, *before: str) -> list[Any]:
    return [*before, {"_type": "ZstdFilter", "level": level}]


def _frame(columns: dict[str, pa.DataType]) -> dict[str, Any]:
    filters = {
        name: _zstd(9, "ByteShuffleFilter") if pa.types.is_integer(kind) or pa.types.is_floating(kind) else _zstd(19)
        for name, kind in columns.items()
        if name != JOINID
    }
    return {
        "capacity": 2**16,
        "dims": {JOINID: {"filters": _zstd(19, "DoubleDeltaFilter")}},
        "attrs": {name: {"filters": steps} for name, steps in filters.items()},
        "offsets_filters": _zstd(19, "DoubleDeltaFilter"),
        "allows_duplicates": True,
    }


def _matrix(*values: Any) -> dict[str, Any]:
    return {
        "capacity": 2**16,
        "dims": {
            "soma_dim_0": {"tile": 2048, "filters": _zstd(9)},
            "soma_dim_1": {"tile": 2048, "filters": _zstd(9, "ByteShuffleFilter")},
        },
        "attrs": {"soma_data": {"filters": list(values)}},
        "cell_order": "row-major",
        "tile_order": "row-major",
        "allows_duplicates": True,
    }


OBS_CONFIG = {"tiledb": {"create": _frame(OBS)}}
VAR_CONFIG = {"tiledb": {"create": _frame(VAR)}}
LAYER_CONFIG = {
    "raw": {"tiledb": {"create": _matrix(*_zstd(9, "ByteShuffleFilter"))}},
    "normalized": {"tiledb": {"create": _matrix(*_zstd(13))}},
}


def _efo(numbers: str) -> frozenset[str]:
    return frozenset(f"EFO:{number}" for number in numbers.split())


ASSAYS = _efo(
    "0003755 0008640 0008641 0008643 0008661 0008669 0008673 0008675 0008679 0008694 0008697 0008703 0008708 0008710"
    " 0008718 0008720 0008722 0008735 0008747 0008748 0008752 0008753 0008756 0008763 0008780 0008796 0008797 0008824"
    " 0008825 0008826 0008850 0008859 0008863 0008868 0008869 0008877 0008896 0008897 0008898 0008903 0008919 0008929"
    " 0008930 0008931 0008937 0008941 0008945 0008953 0008954 0008956 0008962 0008966 0008967 0008972 0008974 0008975"
    " 0008978 0008980 0009309 0009899 0009900 0009901 0009919 0009922 0009991 0009999 0010003 0010004 0010005 0010006"
    " 0010007 0010010 0010022 0010034 0010041 0010058 0010184 0010550 0011025 0022396 0022488 0022490 0022600 0022601"
    " 0022602 0022604 0022605 0022606 0022839 0022845 0022846 0022962 0030001 0030002 0030003 0030004 0030019 0030021"
    " 0030026 0030028 0030030 0030031 0030059 0030060 0030061 0030074 0700003 0700004 0700010 0700011 0700016 0900000"
    " 0900001 0900002"
)
"""Assays of RNA that a Census takes."""
FULL_GENE = _efo(
    "0003755 0008441 0008747 0008763 0008797 0008877 0008930 0008931 0008956 0009810 0009999 0010004 0010006 0010022"
    " 0010058 0010184 0022396 0022488 0022839 0030031 0030060 0030061 0700016"
)
"""Assays that sequence whole transcripts: counts are divided by the length of the gene before they are normalized."""


def _uberon(numbers: str) -> tuple[str, ...]:
    return tuple(f"UBERON:{number}" for number in numbers.split())


TISSUES = _uberon(
    "0000178 0002048 0002106 0002371 0002107 0002113 0000955 0002240 0000310 0000948 0002097 0000970 0001264 0001043"
    " 0001155 0000059 0002108 0000160 0000945 0001836 0001723 0001013 0000473 0002367 0000057 0000056 0003889 0000995"
    " 0000992 0002110 0001255 0018707 0000922 0004023 0001987 0007106 0002369 0002368 0002365 0000030 0000029 0004536"
    " 0001015 0000004 0003688 0000977 0002370 0002049 0009472 0001087 0000344 0001434 0002228 0003129 0004537 0002405"
    " 0001009 0001007 0001017 0001008 0000990 0001004 0000010 0001032 0002046 0004535 0000949 0002330 0002390 0000383"
    " 0001465 0001016 0001348 0015143 0000175 0001416 0001868 0001511 0002190 0000014 0000916"
)
"""General tissues in the order in which CELLxGENE tries them; a tissue belongs to the first it lies in."""
