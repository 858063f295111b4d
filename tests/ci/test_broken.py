"""One broken card a line: what is wrong, and code, line and column of what `cellzoo check` says about it."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from cellzoo.ci.check import check_registry
from cellzoo.ci.rules import RULES
from cellzoo.registry.catalogue import open_registry
from cellzoo.registry.document import read_yaml
from cellzoo.registry.json_schema import schemas

SHA, OTHER = "a" * 64, "e" * 64
TISSUE = "{term: UBERON:0000178, label: blood}"
COPY = "study: {doi: 10.1000/blood, authors: Doe et al., year: 2020}"

CARDS = {
    # it is no card at all
    "byte that is not UTF-8": ("Blood of", b"Bl\xfcd of", "CARD001 4:10"),
    "larger than a card can be": ("notes", None, "CARD001 0:0"),
    "a link out of the registry": ("link", None, "CARD001 0:0"),
    "nothing": ("all", "", "CARD002 1:1"),
    "only a comment": ("all", "# to be done\n", "CARD002 1:1"),
    "a list": ("all", "- id: blood\n", "CARD002 1:1"),
    "a sentence": ("all", "no card\n", "CARD002 1:1"),
    "two documents": ("cells_expected: 10", "---\ncells_expected: 10", "CARD002 26:1"),
    "a tab that indents": ("  format: h5ad", "\tformat: h5ad", "CARD002 15:1"),
    "a tab after a dash": ("  - name: blood.h5ad", "  -\tname: blood.h5ad\n\t  x: 1", "CARD002 10:4"),
    "a brace that is not closed": ("umi}", "umi", "CARD002 18:6"),
    "a quote that is not closed": ("Blood of one donor", "'Blood of one donor", "CARD002 22:44"),
    "a colon in plain text": ("Blood of one donor", "Blood: of one donor", "CARD002 4:13"),
    "a level too far": ("  format: h5ad", "   format: h5ad", "CARD002 16:3"),
    "a control character": ("Blood of", "Blood\x07of", "CARD002 4:13"),
    "a key twice": ("license: CC-BY-4.0", "license: CC-BY-4.0\nlicense: MIT", "CARD002 7:1"),
    "a key twice in one line": ("{kind: umi}", "{kind: umi, kind: reads}", "CARD002 17:21"),
    "a mapping as key": ("{kind: umi}", "{{kind: umi}: 1}", "CARD002 17:10"),
    "an anchor": ("title: Blood", "title: &t Blood", "CARD002 4:8"),
    "an alias": ("title: Blood of one donor", "title: *t", "CARD002 4:8"),
    "a bomb of aliases": ("all", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "CARD002 1:4"),
    "a bomb of brackets": ("Blood of one donor", "[" * 10_000, "CARD002 4:27"),
    "a merge key": ("{kind: umi}", "{<<: *x}", "CARD002 17:14"),
    "a tag that builds Python": ("Blood of one donor", "!!python/name:os.system x", "CARD002 4:8"),
    "a tag of a type": ("year: 2020", "year: !!int 2020", "CARD002 5:56"),
    # the schema
    "an unknown key": ("license:", "licence: MIT\nlicense:", "CARD003 6:1"),
    "an unknown key deep down": ("{kind: umi}", "{kind: umi, king: no}", "CARD003 17:21"),
    "a missing key": ("primary_data: true\n", "", "CARD003 1:1"),
    "a missing key in a part": ("authors: Doe et al., ", "", "CARD003 5:1"),
    "no files": ("files:\n  - name", "files: []\nx:\n  - name", "CARD003 10:1"),
    "a list for a mapping": ("{kind: umi}", "[umi]", "CARD003 17:1"),
    "a word for a number": ("bytes: 1000", "bytes: '1000'", "CARD003 13:5"),
    "a fraction for a number": ("bytes: 1000", "bytes: 1000.5", "CARD003 13:5"),
    "a number with underscores, once an integer": ("bytes: 1000", "bytes: 1_000", "CARD003 13:5"),
    "a size of nothing": ("bytes: 1000", "bytes: 0", "CARD003 13:5"),
    "no, which is a word": ("primary_data: true", "primary_data: no", "CARD003 8:1"),
    "yes, which is a word": ("primary_data: true", "primary_data: yes", "CARD003 8:1"),
    "one as true": ("primary_data: true", "primary_data: 1", "CARD003 8:1"),
    "null for a title": ("title: Blood of one donor", "title:", "CARD003 4:1"),
    "a year as a word": ("year: 2020", "year: MMXX", "CARD003 5:50"),
    "a year before there were cells": ("year: 2020", "year: 1020", "CARD003 5:50"),
    "a status that there is not": ("status: verified", "status: checked", "CARD003 7:1"),
    "a schema of tomorrow": ("schema_version: 2", "schema_version: 3", "CARD003 2:1"),
    "a schema as a word": ("schema_version: 2", "schema_version: '2'", "CARD003 2:1"),
    "an id with capitals": ("id: blood", "id: Blood", "CARD003 3:1"),
    "a DOI with its resolver": ("doi: 10.1000", "doi: https://doi.org/10.1000", "CARD003 5:9"),
    "a study without a name": ("doi: 10.1000/blood, ", "", "CARD003 5:1"),
    "a path out of the folder": ("map: blood.cell_type.tsv", "map: ../blood.cell_type.tsv", "CARD003 23:30"),
    "an absolute path": ("map: blood.cell_type.tsv", "map: /etc/passwd", "CARD003 23:30"),
    "a path of Windows": ("{file: blood.h5ad}", r"{file: C:\blood.h5ad}", "CARD003 16:12"),
    "a file of this machine": ("https://example.org/blood.h5ad", "file:///etc/passwd", "CARD003 11:5"),
    "a digest too short": (SHA, "a" * 63, "CARD003 12:5"),
    "a digest in capitals": (SHA, "A" * 64, "CARD003 12:5"),
    "a digest that is a number": (SHA, "1" * 18, "CARD003 12:5"),
    "a digest of digits alone, which is a word": (SHA, "1" * 64, ""),
    "a digest without a size": ("    bytes: 1000\n", "", "CARD003 10:5"),
    "a format that nobody reads": ("format: h5ad", "format: xlsx", "CARD003 15:3"),
    "a term without its label": (TISSUE, "{term: UBERON:0000178}", "CARD003 21:3"),
    "a label without its term": (TISSUE, "{label: blood}", "CARD003 21:3"),
    "a column without a map": ("{column: label, map: blood.cell_type.tsv}", "{column: label}", "CARD003 23:3"),
    "words for a term": (TISSUE, "{term: blood, label: blood}", "CARD003 21:12"),
    "a value and a column": ("{value: d1}", "{value: d1, column: donor}", "CARD003 25:3"),
    "a pattern that is none": (
        "  matrix:",
        "  obs: {columns: {x: {extract: '('}}}\n  matrix:",
        "CARD003 16:19",
    ),
    "a pattern that overflows": (
        "  matrix:",
        "  obs: {columns: {x: {extract: '(a{99999999999999})'}}}\n  matrix:",
        "CARD003 16:19",
    ),
    "a pattern without a group": ("  matrix:", "  obs: {columns: {x: {extract: '^d'}}}\n  matrix:", "CARD003 16:19"),
    "a number for a title": ("title: Blood of one donor", "title: 12", "CARD003 4:1"),
    "a title of blanks": ("title: Blood of one donor", "title: ' '", "CARD003 4:1"),
    "a number as a key": ("license:", "12: x\nlicense:", "CARD003 6:1"),
    "true for a number": ("cells_expected: 10", "cells_expected: true", "CARD003 26:1"),
    "a hidden file": ("- name: blood.h5ad", "- name: .blood.h5ad", "CARD003 10:5"),
    "a file out of the folder": ("- name: blood.h5ad", "- name: ../blood.h5ad", "CARD003 10:5"),
    "a file without a scheme": ("https://example.org", "example.org", "CARD003 11:5"),
    "a term and a column": ("{column: label,", "{term: unknown, column: label,", "CARD003 23:3"),
    "genes without a column": ("{symbol: index}", "{}", "CARD003 18:1"),
    # the card against itself and its place
    "an id that is not the file name": ("id: blood", "id: bloods", "CARD004 3:1"),
    "a kind of tissue that there is not": (
        "  donor_id:",
        "  tissue_type: {value: culture}\n  donor_id:",
        "CARD005 25:17",
    ),
    "a suspension that there is not": (
        "  donor_id:",
        "  suspension_type: {value: nuclei}\n  donor_id:",
        "CARD005 25:21",
    ),
    "a sample source that there is not": (
        "  donor_id:",
        "  sample_source: {value: blood}\n  donor_id:",
        "CARD005 25:19",
    ),
    "no donor of a tissue": ("{value: d1}", "{value: na}", "CARD005 25:14"),
    "a matrix in no file": ("{file: blood.h5ad}", "{file: other.h5ad}", "CARD006 16:12"),
    "a file twice": (
        "    bytes: 1000\n",
        f"    bytes: 1000\n  - {{name: blood.h5ad, sha256: {OTHER}, bytes: 1}}\n",
        "CARD006 14:6",
    ),
    "verified without a digest": (f"    sha256: {SHA}\n    bytes: 1000\n", "", "CARD006 10:5"),
    "verified without a way to read": ("counts: {kind: umi}\n", "", "CARD006 7:1"),
    "verified without a number of cells": ("cells_expected: 10\n", "", "CARD006 7:1"),
    "verified of unknown tissue": (TISSUE, "{term: unknown}", "CARD006 21:3"),
    "broken without a reason": ("status: verified", "status: broken", "CARD006 7:1"),
    "an older schema": ("schema_version: 2", "schema_version: 1", "CARD007 2:1"),
    "no line for the editor": (
        "# yaml-language-server: $schema=../../schema/dataset-card.schema.json\n",
        "",
        "CARD008 1:1",
    ),
    "a line for the editor that leads elsewhere": ("schema/dataset-card", "schema/model-card", "CARD008 1:1"),
    "a byte order mark": ("# yaml", "\ufeff# yaml", "TEXT001 1:1"),
    "line ends of Windows": ("license: CC-BY-4.0\n", "license: CC-BY-4.0\r\n", "TEXT001 6:0"),
    "blanks at the end of a line": ("license: CC-BY-4.0\n", "license: CC-BY-4.0  \n", "TEXT002 6:0"),
    "no line end at the end": ("cells_expected: 10\n", "cells_expected: 10", "TEXT002 26:0"),
    "a licence that SPDX does not know": ("license: CC-BY-4.0", "license: free for all", "LICENSE001 6:1"),
    "no assertion of a licence": ("license: CC-BY-4.0", "license: NOASSERTION", "LICENSE001 6:1"),
    "a licence in small letters": ("license: CC-BY-4.0", "license: cc-by-4.0", "LICENSE002 6:1"),
    # the terms
    "a term that there is not": ("UBERON:0000178", "UBERON:9999999", "TERM001 21:12"),
    "an ontology that there is not": ("UBERON:0000178", "XYZ:0000178", "TERM001 21:12"),
    "an obsolete term": (TISSUE, "{term: UBERON:0000027, label: x}", "TERM001 21:12"),
    "a label of nothing": ("label: blood}", "label: Blut}", "TERM002 21:34"),
    "a label of another term": ("label: blood}", "label: lung}", "TERM002 21:34"),
    "a label in capitals": ("label: blood}", "label: Blood}", "TERM002 21:34"),
    "a label of the unknown": ("disease: {term: PATO:0000461, label: normal}", "disease: {term: na}", "TERM003 24:13"),
    "a cell for a tissue": (TISSUE, "{term: CL:0000236, label: B cell}", "TERM003 21:12"),
    "an assay above all assays": (
        "{term: EFO:0009899, label: 10x 3' v2}",
        "{term: EFO:0000001, label: experimental factor}",
        "TERM003 22:11",
    ),
    "a stage of mice in man": (
        "  donor_id:",
        "  development_stage: {term: MmusDv:0000134, label: late adult stage}\n  donor_id:",
        "TERM003 25:23",
    ),
    "an ethnicity of a mouse": (
        "{term: NCBITaxon:9606, label: Homo sapiens}",
        "{term: NCBITaxon:10090, label: Mus musculus}\n"
        "  self_reported_ethnicity: {term: HANCESTRO:0005, label: European ancestry}",
        "TERM003 21:29",
    ),
    "a tissue for a cell line": (
        "  donor_id:",
        "  tissue_type: {value: cell line}\n  donor_id:",
        "TERM003 21:12",
    ),
    "a stage of mice in a human sample": (
        "read:",
        "samples:\n  - name: s\n    cells:\n"
        "      development_stage: {term: MmusDv:0000134, label: late adult stage}\nread:",
        "TERM003 17:27",
    ),
    "a map that is not there": ("map: blood.cell_type.tsv", "map: absent.tsv", "MAP001 23:30 MAP004 0:0"),
}

MAPS = {
    "byte that is not UTF-8": ("B cell", b"B c\xe9ll", "MAP001 2:17"),
    "larger than a map can be": ("large", None, "MAP001 0:0"),
    "a link out of the registry": ("link", None, "MAP001 0:0"),
    "nothing": ("all", "", "MAP001 1:1"),
    "commas for tabs": ("source\tterm\tlabel\tnote", "source,term,label", "MAP001 1:1"),
    "columns in another order": ("source\tterm\tlabel\tnote", "term\tsource\tlabel\tnote", "MAP001 1:1"),
    "a row that is too short": ("\tB cell\t", "", "MAP001 2:1"),
    "a row that is too long": ("T cell\t", "T cell\ta\tb", "MAP001 3:1"),
    "an empty line": ("T\tCL", "\nT\tCL", "MAP001 3:1"),
    "a row for no label": ("T\tCL", "\tCL", "MAP001 3:1"),
    "a label twice": ("T\tCL", "B\tCL", "MAP002 3:1"),
    "a blank around a term": ("CL:0000084\t", "CL:0000084 \t", "MAP005 3:3"),
    "a suggestion that nobody looked at": ("T cell\t", "T cell\tsuggested 0.71", "MAP007 3:21"),
    "unknown without a note": ("of three kinds", "", "MAP006 4:6"),
    "a byte order mark": ("source", "\ufeffsource", "TEXT001 1:1"),
    "line ends of Windows": ("T cell\t\n", "T cell\t\r\n", "TEXT001 3:0"),
    "no line end at the end": ("kinds\n", "kinds", "TEXT002 4:0"),
    "a term that there is not": ("CL:0000084", "CL:84", "TERM001 3:3"),
    "words for a term": ("CL:0000084", "T cell", "TERM001 3:3"),
    "an obsolete term": ("CL:0000084\tT cell", "CL:0000003\tnative cell", "TERM001 3:3"),
    "a label of nothing": ("\tT cell", "\tthymocytes", "TERM002 3:14"),
    "a label of another term": ("\tT cell", "\tB cell", "TERM002 3:14"),
    "a label of the unknown": ("unknown\tunknown", "unknown\tB cell", "TERM002 4:14"),
    "a cell above all cells": ("CL:0000084\tT cell", "CL:0000255\teukaryotic cell", "TERM003 3:3"),
    "a tissue for a cell": ("CL:0000084\tT cell", "UBERON:0000178\tblood", "TERM003 3:3"),
}

MODELS = {
    "a commit by its short name": ("1f" * 20, "1f1f1f1", "CARD003 10:5"),
    "a version that is no number": ("version: 1.0.0", "version: v1", "CARD003 9:5"),
    "a digest of a file too short": ("b" * 64, "b" * 10, "CARD003 13:35"),
    "no weights": ("model.safetensors", "model.bin", "CARD006 12:5"),
    "yanked without a reason": ("    date", "    status: yanked\n    date", "CARD006 11:5"),
    "an id of another organization": ("id: acme/mlp", "id: other/mlp", "CARD004 3:1"),
    "a data set that there is not": ("[blood]", "[blood, bone]", "REF001 16:23"),
    "a successor that there is not": (
        "    date",
        "    superseded_by: 2.0.0\n    date",
        "REF001 11:5",
    ),
    "a successor that is the same": ("    date", "    superseded_by: 1.0.0\n    date", "REF001 11:5"),
    "a licence that SPDX does not know": ("CC-BY-4.0", "freeware", "LICENSE001 5:1"),
}

COLLECTIONS = {
    "no place": ("uri: s3://example/census, ", "", "CARD003 12:5"),
    "an organism by another name": ("Homo sapiens", "man", "TERM002 10:28"),
    "a licence in small letters": ("CC-BY-4.0", "cc-by-4.0", "LICENSE002 6:1"),
}

REGISTRIES = {
    "a card with another ending": ({"datasets/lost.yml": "id: lost\n"}, "datasets/lost.yml CARD009 0:0"),
    "a card in a folder too deep": ({"datasets/deep/lost.yaml": "id: lost\n"}, "datasets/deep/lost.yaml CARD009 0:0"),
    "a map that no card uses": ({"datasets/left.tsv": "source\tterm\tlabel\n"}, "datasets/left.tsv MAP004 0:0"),
    "a model among the data sets": (
        {"datasets/mlp.yaml": ("models/acme/mlp.yaml", "../../../", "../../../")},
        "datasets/mlp.yaml CARD004 3:1",
    ),
    "the same data set twice": (
        {"datasets/blood2.yaml": ("datasets/blood.yaml", "id: blood", "id: blood2")},
        "datasets/blood.yaml DUP001 10:5 datasets/blood2.yaml DUP001 10:5",
    ),
    "one study told in two ways": (
        {"datasets/blood2.yaml": ("datasets/blood.yaml", SHA, OTHER, "id: blood", "id: blood2", "Doe", "Foe")},
        "datasets/blood.yaml DUP002 5:29 datasets/blood2.yaml DUP002 5:29",
    ),
    "one study of which one card says more": (
        {
            "datasets/blood2.yaml": (
                "datasets/blood.yaml",
                *(SHA, OTHER, "id: blood", "id: blood2", "year: 2020", "year: 2020, preprint: 10.1101/1"),
            )
        },
        "",
    ),
    "an id of a data set and of a collection": (
        {"collections/blood.yaml": ("collections/census.yaml", "id: census", "id: blood")},
        "collections/blood.yaml DUP003 3:1 datasets/blood.yaml DUP003 3:1",
    ),
    "an alias that is the name of another": (
        {
            "datasets/blood2.yaml": (
                "datasets/blood.yaml",
                *(
                    SHA,
                    OTHER,
                    "id: blood",
                    "id: blood2\naliases: [blood]",
                    "https://example.org/b",
                    "https://example.org/c",
                ),
            )
        },
        "datasets/blood2.yaml DUP004 4:11",
    ),
}


def found(root: Path) -> dict[str, list[str]]:
    """Return file -> codes and places of what a check finds in a registry."""
    said: dict[str, list[str]] = {}
    for finding in check_registry(open_registry(root)):
        assert finding.code in RULES, finding
        assert finding.message[0].isprintable() and finding.message.endswith((".", "?")), finding
        name = Path(finding.path).relative_to(root).as_posix()
        said.setdefault(name, []).append(f"{finding.code} {finding.line}:{finding.column}")
    return said


def broken(root: Path, name: str, old: str, new: str | bytes | None) -> Path:
    path = root / name
    text = path.read_bytes()
    if old == "all":
        path.write_bytes(str(new).encode())
    elif old == "link":
        path.rename(root.parent / "outside")
        path.symlink_to(root.parent / "outside")
    elif new is None:
        path.write_bytes(text + b"# and so on\n" * 500_000)
    else:
        new = new.encode() if isinstance(new, str) else new
        assert text.count(old.encode()) == 1, f"{old!r} is {text.count(old.encode())} times in {name}"
        path.write_bytes(text.replace(old.encode(), new))
    return path


def test_nothing_is_found_where_everything_is_right(root: Path) -> None:
    assert found(root) == {}


@pytest.mark.parametrize(("old", "new", "expected"), CARDS.values(), ids=CARDS.keys())
def test_a_broken_dataset_card_is_found_at_its_place(root, old, new, expected):
    broken(root, "datasets/blood.yaml", old, new)
    (root / "models/acme/mlp.yaml").unlink()
    said = found(root)
    codes = " ".join(said.pop("datasets/blood.yaml", []) + said.pop("datasets/blood.cell_type.tsv", []))
    assert codes == expected
    assert not said


@pytest.mark.parametrize(("old", "new", "expected"), MAPS.values(), ids=MAPS.keys())
def test_a_broken_label_map_is_found_at_its_place(root, old, new, expected):
    broken(root, "datasets/blood.cell_type.tsv", old, new)
    assert found(root) == {"datasets/blood.cell_type.tsv": [expected]}


@pytest.mark.parametrize(("old", "new", "expected"), MODELS.values(), ids=MODELS.keys())
def test_a_broken_model_card_is_found_at_its_place(root, old, new, expected):
    broken(root, "models/acme/mlp.yaml", old, new)
    assert found(root) == {"models/acme/mlp.yaml": [expected]}


@pytest.mark.parametrize(("old", "new", "expected"), COLLECTIONS.values(), ids=COLLECTIONS.keys())
def test_a_broken_collection_card_is_found_at_its_place(root, old, new, expected):
    broken(root, "collections/census.yaml", old, new)
    assert found(root) == {"collections/census.yaml": [expected]}


@pytest.mark.parametrize(("files", "expected"), REGISTRIES.values(), ids=REGISTRIES.keys())
def test_a_broken_registry_is_found_at_its_place(root, files, expected):
    for name, content in files.items():
        if isinstance(content, tuple):
            text = (root / content[0]).read_text()
            for old, new in zip(content[1::2], content[2::2], strict=True):
                assert old in text
                text = text.replace(old, new)
            content = text  # noqa: PLW2901
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(content)
    said = " ".join(f"{name} {code}" for name, codes in sorted(found(root).items()) for code in codes)
    assert said == expected


def test_a_model_may_name_a_data_set_by_an_alias_and_a_successor_in_three_ways(root: Path) -> None:
    broken(root, "datasets/blood.yaml", "title:", "aliases: [nick]\ntitle:")
    path = broken(root, "models/acme/mlp.yaml", "[blood]", "[nick]")
    text = path.read_text()
    (root / "models/acme/next.yaml").write_text(text.replace("acme/mlp", "acme/next"))
    for name in ("acme/next", "acme/next@1.0.0", "acme/next 1.0.0"):
        path.write_text(text.replace("    date", f"    superseded_by: {name}\n    date"))
        assert found(root) == {}


def test_the_tables_hold_a_broken_card_for_every_code():
    tables = [*CARDS.values(), *MAPS.values(), *MODELS.values(), *COLLECTIONS.values(), *REGISTRIES.values()]
    codes = {code for row in tables for code in re.findall(r"[A-Z]+\d{3}", str(row[-1]))}
    beside = {code for code, rule in RULES.items() if rule.asked}  # tests/ci/test_data.py, _links, _releases
    assert codes == RULES.keys() - beside
    assert len(tables) >= 60


# What Python's types say beyond JSON Schema: validators over several keys, integers in words, YAML itself.
BEYOND = {
    "a study without a name",
    "a digest without a size",
    "a term without its label",
    "a label without its term",
    "a column without a map",
    "a value and a column",
    "a pattern that is none",
    "a pattern that overflows",
    "a pattern without a group",
    "a title of blanks",
    "a term and a column",
    "genes without a column",
}


@pytest.mark.parametrize("name", [name for name, row in CARDS.items() if row[2].startswith("CARD003")])
def test_json_schema_refuses_the_same_cards_in_an_editor(root, name):
    old, new, _ = CARDS[name]
    path = broken(root, "datasets/blood.yaml", old, new)
    schema = yaml.safe_load(schemas()["dataset-card.schema.json"])
    valid = jsonschema.Draft202012Validator(schema).is_valid(read_yaml(path).data)
    assert valid == (name in BEYOND)
