"""The JSON Schemas that editors use say what the types say, and are up to date."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cellzoo.registry.cards import KINDS
from cellzoo.registry.catalogue import PACKAGED
from cellzoo.registry.document import read_yaml
from cellzoo.registry.json_schema import FOLDER, file_name, schemas, write
from cellzoo.registry.parts import SCHEMA_VERSION

ROOT = Path(__file__).parents[2]
CARDS = sorted(path for kind in KINDS for path in (PACKAGED / kind).rglob("*.yaml"))


@pytest.mark.parametrize("name", schemas())
def test_the_committed_schema_is_the_one_that_the_types_make(name):
    message = "python -m cellzoo.registry.json_schema"
    assert (FOLDER / name).read_text() == schemas()[name], message


@pytest.mark.parametrize("name", schemas())
def test_a_schema_is_valid_itself_names_its_version_and_explains_every_key(name):
    schema = json.loads(schemas()[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(f":{SCHEMA_VERSION}")
    assert schema["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    parts: list[dict[str, Any]] = [schema, *schema["$defs"].values()]
    silent = [
        key for part in parts for key, value in part.get("properties", {}).items() if not value.get("description")
    ]
    assert silent == []
    assert all(part["additionalProperties"] is False for part in parts if part["type"] == "object")


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_every_packaged_card_is_valid_in_an_editor(path):
    room = next(part for part in path.parts[::-1] if part in KINDS)
    schema = json.loads(schemas()[file_name(room)])
    errors = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(read_yaml(path).data)]
    assert errors == []


def test_editors_find_the_schema_of_every_card():
    settings = json.loads((ROOT / ".vscode" / "settings.json").read_text())["yaml.schemas"]
    assert {Path(schema).name for schema in settings} == set(schemas())
    assert all((ROOT / schema).is_file() for schema in settings)
    for path in CARDS:
        name = f"registry/cards/{path.relative_to(PACKAGED).as_posix()}"
        [schema] = [schema for schema, pattern in settings.items() if fnmatch.fnmatch(name, pattern)]
        assert Path(schema).name == file_name(path.relative_to(PACKAGED).parts[0])


def test_the_command_writes_them(tmp_path):
    paths = write(tmp_path / "schema")
    assert {path.name: path.read_text() for path in paths} == schemas()
