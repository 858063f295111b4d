"""Answer one JSON line for each one read: what cellxgene-schema says of a file. Run by `cellzoo.ci.oracle` alone.

Its interpreter is that of another environment, so that nothing of cellzoo is imported here. The argument is a JSON of
the few taxa that CELLxGENE allows: the guide's own has 1.3 million, which take half a minute and 3 GB to read.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Read requests until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the validator prints is no reply
    logging.disable(logging.CRITICAL)
    _fewer_taxa(Path(sys.argv[1]))
    for line in sys.stdin:
        replies.write(json.dumps(_answer(json.loads(line))) + "\n")
        replies.flush()


def _fewer_taxa(path: Path) -> None:
    import cellxgene_ontology_guide.supported_versions as guide

    whole = guide.load_ontology_file
    taxa = json.loads(path.read_text("utf-8"))
    guide.load_ontology_file = functools.cache(lambda name: taxa if name.startswith("NCBITaxon") else whole(name))


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    import dask
    from cellxgene_schema.validate import Validator
    from cellxgene_schema.write_labels import AnnDataLabelAppender

    validator = Validator(ignore_labels=asked["ignore_labels"], pre_analysis_check_flag=asked["pre_analysis"])
    try:
        with dask.config.set(scheduler="threads"):
            ok = validator.validate_adata(asked["path"])
            errors = list(validator.errors)
            if ok and asked["add_labels"]:
                writer = AnnDataLabelAppender(validator.adata, pre_analysis=asked["pre_analysis"])
                ok = writer.write_labels(asked["add_labels"])
                errors += writer.errors
        warnings = list(validator.warnings)
    except (SystemExit, Exception) as error:  # how it gives up on a file that it cannot read
        ok, errors, warnings = False, [f"the file cannot be read: {error}"], []
    return {"ok": bool(ok), "errors": errors, "warnings": warnings}


if __name__ == "__main__":
    main()
