"""JSON Schema of the cards, generated from their types: what editors complete and check while one types.

``python -m cellzoo.registry.json_schema`` writes registry/schema/; a test holds that it is up to date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cellzoo.registry.cards import KINDS
from cellzoo.registry.parts import SCHEMA_VERSION

FOLDER = Path(__file__).parent / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def file_name(kind: str) -> str:
    """Return the file name of the schema of a folder of cards.

    >>> file_name("datasets")
    'dataset-card.schema.json'
    """
    return f"{kind.removesuffix('s')}-card.schema.json"


def schemas() -> dict[str, str]:
    """Return file name -> JSON Schema (draft 2020-12) of each kind of card, as text."""
    return {file_name(kind): json.dumps(_schema(kind), indent=1, ensure_ascii=False) + "\n" for kind in KINDS}


def _schema(kind: str) -> dict[str, Any]:
    body = _tidied(KINDS[kind].model_json_schema())
    return {"$schema": DIALECT, "$id": f"urn:cellzoo:{kind.removesuffix('s')}-card:{SCHEMA_VERSION}", **body}


def _tidied(node: Any) -> Any:
    """Return a schema without what only repeats: titles made of the names of fields, defaults that say nothing."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied = {}
    for name, value in node.items():
        if (name == "title" and isinstance(value, str)) or (name == "default" and value is None):
            continue
        if name == "default" and isinstance(value, dict):
            value = {key: item for key, item in value.items() if item is not None}  # noqa: PLW2901
        tidied[name] = {key: _tidied(item) for key, item in value.items()} if name in NAMED else _tidied(value)
    return tidied


NAMED = {"properties", "$defs"}
"""Keywords whose keys are names, not keywords."""


def write(folder: Path = FOLDER) -> list[Path]:
    """Write the schemas into a folder and return their paths."""
    folder.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in schemas()]


if __name__ == "__main__":
    print(*write(), sep="\n")  # noqa: T201
