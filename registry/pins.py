"""The ontology versions that each CELLxGENE schema pins; all of them are packaged, side by side."""

from cellzoo.errors import InputError

PINS = {
    "7.1.0": {
        "CL": "v2026-03-26",
        "UBERON": "v2026-04-01",
        "EFO": "v3.90.0",
        "MONDO": "v2026-05-05",
        "HsapDv": "v2025-01-23",
        "MmusDv": "v2025-01-23",
        "PATO": "v2025-05-14",
        "HANCESTRO": "v2025-10-14",
        "NCBITaxon": "v2026-05-13",
        "CVCL": "55.0",
    },
    "7.0.0": {
        "CL": "v2025-07-30",
        "UBERON": "v2025-08-15",
        "EFO": "v3.82.0",
        "MONDO": "v2025-09-02",
        "HsapDv": "v2025-01-23",
        "MmusDv": "v2025-01-23",
        "PATO": "v2025-05-14",
        "HANCESTRO": "v2025-04-01",
        "NCBITaxon": "v2025-09-11",
        "CVCL": "53.0",
    },
}
"""The ontology versions that each CELLxGENE schema pins (cellxgene-ontology-guide 1.11.1), the newest schema first."""
OTHER_ORGANISMS = {
    "7.1.0": {
        "FBbt": "v2026-04-03",
        "FBdv": "v2026-04-02",
        "ZFA": "v2026-03-31",
        "WBbt": "v2025-08-18",
        "WBls": "vWS298",
    },
    "7.0.0": {
        "FBbt": "v2025-08-07",
        "FBdv": "v2025-05-29",
        "ZFA": "v2025-09-05",
        "WBbt": "v2025-08-18",
        "WBls": "vWS298",
    },
}
"""Anatomy and stages of fly, fish and worm: packaged as well, searched only where they are asked for."""
CONDITIONS = {"7.1.0": {"CHEBI": "2026-05-01", "UniProt": "2026-01-28"}, "7.0.0": {}}
"""Substances and proteins that cells were treated with, new in 7.1: packaged with labels and links, no more."""
SCHEMA = next(iter(PINS))
"""The CELLxGENE schema that holds where none is named."""


def schema_version(text: str) -> str:
    """Return the version of a CELLxGENE schema, with or without its last number; InputError for others.

    >>> schema_version("7.1")
    '7.1.0'
    """
    short = {known.removesuffix(".0"): known for known in PINS}
    if text not in {*short, *PINS}:
        raise InputError(f"CELLxGENE schema {text!r}: expected one of {', '.join(short)}.")
    return short.get(text, text)
