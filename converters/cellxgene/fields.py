"""What sfaira and CELLxGENE call the same thing: the one table that both directions read.

sfaira's keys are those of its loaders (`cellzoo.registry.sfaira.loader`), CELLxGENE's those of
`cellzoo.registry.fields`; what CELLxGENE has no name for bears the name of the field of a card. Everything that is not
listed keeps its name.

| what | sfaira | CELLxGENE |
|---|---|---|
| a field of terms | obs KEY, KEY_ontology_term_id, KEY_original | obs FIELD, FIELD_ontology_term_id, FIELD_original |
| organism | obs | uns: one per file |
| healthy cells | disease "healthy" | disease "normal"; both PATO:0000461 |
| kind of sample | obs sample_source | obs tissue_type |
| a cell line | obs cell_line, organ unknown | obs tissue, where tissue_type says so |
| first publication | uns primary_data | obs is_primary_data |
| no cell, no term | NOT_A_CELL, custom_… | unknown |
| genes | var ensembl, gene_symbol, feature_biotype | var index, feature_name, feature_type |
| values of each field | uns | (computed) |
| counts | X | X where there is nothing else, raw.X beside processed values |
| processed values | layers["processed_counts"] | X |
"""

from __future__ import annotations

from cellzoo.registry.fields import ORGANISM_KEY, PRE_ANALYSIS
from cellzoo.registry.sfaira.cells import SOURCES
from cellzoo.registry.sfaira.loader import TERMS, VALUES

SUFFIXES = ("", "_ontology_term_id", "_original")
OBS = {
    **{f"{key}{suffix}": f"{field}{suffix}" for key, field in TERMS.items() for suffix in SUFFIXES},
    **{f"{key}{suffix}": f"{field}{suffix}" for key, field in VALUES.items() for suffix in ("", "_original")},
    "id": "dataset_id",
}
"""sfaira's columns of cells -> CELLxGENE's, or those of streamlined data where CELLxGENE has none."""
VAR = {"gene_symbol": "feature_name", "feature_biotype": "feature_type"}
"""sfaira's columns of genes -> CELLxGENE's."""
IDS = "ensembl"
"""sfaira's column of genes that says again what their index says."""
PROCESSED = "processed_counts"
"""sfaira's layer of processed values."""
BATCHES = ("bio_sample", "individual", "tech_sample")
"""sfaira's columns whose values are not repeated in uns."""
UNIQUE = tuple(key for key in (*TERMS, *VALUES, "id") if key not in BATCHES)
"""sfaira's columns whose values uns repeats, each once."""
KINDS = {kind: source for source, kind in reversed(SOURCES.items())} | {"cell line": "2d_culture"}
"""CELLxGENE's tissue_type -> sfaira's sample_source."""
ORGANISM = ("organism", ORGANISM_KEY)
SCHEMA_KEYS = ("schema_version", "schema_reference", PRE_ANALYSIS)
"""What the portal writes about the file."""
