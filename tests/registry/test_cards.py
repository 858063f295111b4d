"""Cards: what is wrong with a card is said with its file, line and column, all of it at once."""

import textwrap

import pytest

from cellzoo.errors import CardError
from cellzoo.registry.cards import card_digest, load_card, load_map, map_names
from cellzoo.registry.document import MAX_BYTES, read_yaml

# line numbers of the tables below count in this card
CARD = """\
schema_version: 2
id: made-up
title: Made up, for tests
study: {doi: 10.1038/ncomms14049, authors: Zheng et al., year: 2017}
license: CC-BY-4.0
status: verified
primary_data: true
files:
  - name: counts.csv.gz
    url: https://example.org/counts.csv.gz
    sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    bytes: 100
read:
  format: table
  matrix: {file: counts.csv.gz, orientation: genes_by_cells}
  obs: {columns: {donor: {extract: '^(d[0-9])'}}}
counts: {kind: umi}
genes: {symbol: index}
cells:
  organism: {term: NCBITaxon:9606, label: Homo sapiens}
  tissue: {term: UBERON:0000178, label: blood}
  assay: {term: EFO:0009899, label: 10x 3' v2}
  cell_type: {column: label, map: made-up.cell_type.tsv}
  donor_id: {column: donor}
cells_expected: 10
"""
MAP = "source\tterm\tlabel\nB\tCL:0000236\tB cell\nT\tCL:0000084\tT cell\n"


@pytest.fixture
def write(tmp_path):
    """Write the card with some text replaced, and its label map beside it."""

    def write(*changes, name="made-up.yaml"):
        text = CARD
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the card"
            text = text.replace(old, new)
        (tmp_path / "made-up.cell_type.tsv").write_text(MAP)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def findings_of(path):
    with pytest.raises(CardError) as caught:
        load_card(path)
    return caught.value.findings


def test_the_card_of_these_tests_is_good(write):
    card = load_card(write())
    assert (card.id, card.cells_expected, card.study.id) == ("made-up", 10, "10.1038/ncomms14049")
    assert card.cells.disease.term == "unknown", "what a card leaves out is unknown, never healthy"
    assert map_names(card) == ["made-up.cell_type.tsv"]


# what it says; tests/ci/test_broken.py has a row for each thing that can be wrong, with its place
SAID = {
    "unknown key": (
        "{kind: umi}",
        "{kind: umi, lyaer: X}",
        "counts.lyaer: unknown key. Remove it or correct its spelling.",
    ),
    "missing key": ("license: CC-BY-4.0\n", "", "license: is missing. Add it."),
    "another value": (
        "cells_expected: 10",
        "cells_expected: 0",
        "cells_expected: Input should be greater than 0 (found 0).",
    ),
    "another type": ("license: CC-BY-4.0", "license: [MIT]", "license: Input should be a valid string."),
    "duplicate key": (
        "license:",
        "title: Again\nlicense:",
        "duplicate key 'title', first in line 3. Keep one of them.",
    ),
    "tab as indentation": (
        "  format:",
        "\tformat:",
        "is not valid YAML: found character that cannot start any token. Indent with spaces, YAML takes no tabs.",
    ),
    "anchor": ("license: CC", "license: &l CC", "YAML anchors and aliases are not allowed. Write the value out."),
    "tag": ("title: Made", "title: !!str Made", "the tag 'tag:yaml.org,2002:str' is not allowed. Remove it."),
    "control character": ("title: Made", "title: \x07Made", "is not valid YAML: control characters are not allowed."),
    "id unlike the file name": (
        "id: made-up",
        "id: made-down",
        "id 'made-down' does not equal the file name 'made-up.yaml': expected 'made-up'. Rename one of them.",
    ),
    "file that is not listed": (
        "{file: counts",
        "{file: other",
        "read.matrix.file: names the file 'other.csv.gz', which is not listed under files.",
    ),
    "verified without what it needs": ("counts: {kind: umi}", "counts:", "status: verified needs counts."),
    "unknown where CELLxGENE takes none": (
        "{term: UBERON:0000178, label: blood}",
        "{term: unknown}",
        "cells.tissue: verified needs tissue: CELLxGENE takes no unknown tissue.",
    ),
    "pattern without a group": (
        "'^(d[0-9])'",
        "'^d'",
        "read.obs.columns.donor: extract: '^d' has no group in parentheses to take.",
    ),
}


@pytest.mark.parametrize(("old", "new", "said"), SAID.values(), ids=SAID.keys())
def test_a_finding_says_what_was_found_and_what_to_do(write, old, new, said):
    [finding] = findings_of(write((old, new)))
    assert f"{finding.message} {finding.remedy}".strip() == said


WHOLE = {
    "empty": (b"", 1, "holds nothing, expected key: value."),
    "only a comment": (b"# later\n", 1, "holds nothing, expected key: value."),
    "a list": (b"- id: made-up\n", 1, "holds a list, expected key: value."),
    "a word": (b"made-up\n", 1, "holds 'made-up', expected key: value."),
    "not UTF-8": ("id: x\ntitle: Ärzte".encode("latin-1"), 2, "is not UTF-8 text: byte 0xc4 at offset 13."),
    "a gzip": (b"\x1f\x8b\x08\x00rest", 1, "is not UTF-8 text: byte 0x8b at offset 1."),
    "as large as a card may be": (b"#" * MAX_BYTES, 1, "holds nothing, expected key: value."),
    "larger than any card": (b"#" * (MAX_BYTES + 1), 0, "is 1000001 bytes; a card has at most 1000000."),
    "larger, cut inside a letter": (b"#" * (MAX_BYTES - 1) + "ä".encode(), 0, "is 1000001 bytes; a card has"),
}


@pytest.mark.parametrize(("content", "line", "message"), WHOLE.values(), ids=WHOLE.keys())
def test_a_file_that_is_no_card_is_one_finding(tmp_path, content, line, message):
    path = tmp_path / "made-up.yaml"
    path.write_bytes(content)
    [finding] = findings_of(path)
    assert finding.line == line
    assert finding.message.startswith(message)


def test_a_card_that_is_missing_or_a_folder_is_a_finding(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    assert "No such file" in findings_of(tmp_path / "absent.yaml")[0].message
    assert "Is a directory" in findings_of(tmp_path / "folder.yaml")[0].message


def test_aliases_that_unfold_into_gigabytes_are_refused_before_they_unfold(tmp_path):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    path = tmp_path / "made-up.yaml"
    path.write_text(bomb)
    [finding] = findings_of(path)
    assert str(finding) == (
        f"{path}:1:5: error CARD002: YAML anchors and aliases are not allowed. Write the value out."
    )


def test_brackets_deeper_than_python_can_follow_are_a_finding(tmp_path):
    path = tmp_path / "made-up.yaml"
    path.write_text("a: " + "[" * 5000 + "]" * 5000)
    [finding] = findings_of(path)
    assert str(finding) == f"{path}:1:23: error CARD002: is nested more than 20 levels deep."


def test_all_findings_of_a_card_come_at_once_in_the_order_of_the_file(write):
    found = findings_of(
        write(
            ("year: 2017", "year: 1066"),
            ("bytes: 100", "bytes: -1"),
            ("kind: umi", "kind: fpkm"),
            ("id: made-up", "name: x"),
        )
    )
    assert [(finding.line, finding.message.split(":")[0]) for finding in found] == [
        (1, "id"),
        (2, "name"),
        (4, "study.year"),
        (12, "files.0.bytes"),
        (17, "counts.kind"),
    ]
    assert str(CardError(found)).count("\n") == len(found) - 1


def test_words_of_yaml_1_1_stay_words(write):
    card = load_card(write(("license: CC-BY-4.0", "license: no"), ("Made up, for tests", "on")))
    assert (card.license, card.title) == ("no", "on")


def test_a_document_knows_where_each_value_stands(write):
    document = read_yaml(write())
    assert document.position(["files", 0, "sha256"]) == (11, 5)
    assert document.position(["cells", "tissue", "label"]) == (21, 34)
    assert document.position(["cells", "tissue", "no such key"]) == (21, 3), "the nearest thing above it"


BROKEN_MAPS = {
    "empty file": ("", [(1, "MAP001", "starts with [''], expected ['source', 'term', 'label']")]),
    "other header": ("from\tto\tname\n", [(1, "MAP001", "starts with ['from', 'to', 'name']")]),
    "commas": ("source,term,label\n", [(1, "MAP001", "separated by tabs")]),
    "columns in another order": ("term\tsource\tlabel\n", [(1, "MAP001", "starts with ['term', 'source', 'label']")]),
    "missing field": ("source\tterm\tlabel\nB\tCL:0000236\n", [(2, "MAP001", "found 2: 'B\\tCL:0000236'")]),
    "empty field": ("source\tterm\tlabel\nB\t\tB cell\n", [(2, "MAP001", "expected 3 fields")]),
    "one field too many": (MAP.replace("B cell", "B cell\tyes"), [(2, "MAP001", "found 4")]),
    "blank line": (MAP.replace("\nT", "\n\nT"), [(3, "MAP001", "found 1: ''")]),
    "label twice": (MAP + "B\tunknown\tunknown\n", [(4, "MAP002", "label 'B' is mapped twice, first in line 2.")]),
    "two things": (MAP + "B\tunknown\tunknown\nx\n", [(4, "MAP002", "twice"), (5, "MAP001", "found 1: 'x'")]),
}


@pytest.mark.parametrize(("text", "expected"), BROKEN_MAPS.values(), ids=BROKEN_MAPS.keys())
def test_a_broken_label_map_is_a_finding_for_each_line(tmp_path, text, expected):
    path = tmp_path / "made-up.cell_type.tsv"
    path.write_text(text)
    with pytest.raises(CardError) as caught:
        load_map(path)
    assert [(finding.line, finding.code) for finding in caught.value.findings] == [row[:2] for row in expected]
    for finding, (_, _, part) in zip(caught.value.findings, expected, strict=True):
        assert part in finding.message


def test_a_label_map_that_cannot_be_read_is_a_finding(tmp_path):
    (tmp_path / "latin.tsv").write_bytes("source\tterm\tlabel\nÄ\tunknown\tunknown\n".encode("latin-1"))
    for name in ("latin.tsv", "absent.tsv"):
        with pytest.raises(CardError, match="MAP001: label map cannot be read"):
            load_map(tmp_path / name)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_label_map_keeps_the_order_of_its_lines_and_the_spelling_of_its_labels(tmp_path, ending):
    rows = ["source\tterm\tlabel", "T\x0bcell \tCL:0000084\tT cell", "'B'\tCL:0000236\tB cell", "NA\tunknown\tunknown"]
    path = tmp_path / "made-up.tsv"
    path.write_bytes((ending.join(rows) + ending).encode())
    label_map = load_map(path)
    assert label_map.terms == {"T\x0bcell ": "CL:0000084", "'B'": "CL:0000236", "NA": "unknown"}
    assert list(label_map.terms) == ["T\x0bcell ", "'B'", "NA"]
    assert label_map.labels["'B'"] == "B cell"
    assert label_map.lines == {"T\x0bcell ": 2, "'B'": 3, "NA": 4}


def test_the_digest_of_a_card_is_that_of_what_it_says_not_of_how_it_is_written(write):
    first = card_digest(write())
    assert first == card_digest(write(("counts: {kind: umi}", "# a comment\ncounts:\n  kind: umi")))
    assert len(first) == 64
    assert first != card_digest(write(("year: 2017", "year: 2018")))
    assert first != card_digest(write(("UBERON:0000178", "UBERON:0000179")))


def test_the_digest_of_a_card_changes_with_its_label_map(write):
    path = write()
    first = card_digest(path)
    (path.parent / "made-up.cell_type.tsv").write_text(MAP.replace("CL:0000084", "CL:0000625"))
    assert card_digest(path) != first


def test_the_digest_of_a_card_needs_its_label_map(write):
    path = write()
    (path.parent / "made-up.cell_type.tsv").unlink()
    with pytest.raises(CardError, match="MAP001: label map cannot be read: .*No such file"):
        card_digest(path)


def test_findings_print_as_file_line_column_severity_code(write):
    path = write(("license:", "licence: MIT\nlicense:"))
    with pytest.raises(CardError) as caught:
        load_card(path)
    expected = f"""\
        {path}:5:1: error CARD003: licence: unknown key. Remove it or correct its spelling."""
    assert str(caught.value) == textwrap.dedent(expected)


def test_a_card_of_schema_version_1_is_read_as_today_s(write):
    old = load_card(write(("schema_version: 2", "schema_version: 1"), ("{kind: umi}", "{kind: umi, layer: raw}")))
    assert (old.schema_version, old.layers.counts) == (2, "raw")
    new = load_card(write(("counts: {kind: umi}", "layers: {counts: raw}\ncounts: {kind: umi}")))
    assert old == new


def test_the_digest_of_a_card_stays_when_the_card_is_verified_described_or_upgraded(write):
    first = card_digest(write())
    assert first == card_digest(write(("schema_version: 2", "schema_version: 1")))
    assert first == card_digest(write(("title: Made up, for tests", "title: Better\nnotes: said later")))
    block = "verified: {date: 2026-11-22, cellzoo: 0.1.0, cells: 10, genes: 5, gene_space: x}"
    assert first == card_digest(write(("license:", f"{block}\nlicense:")))


def test_what_a_sample_says_stands_in_place_of_what_the_card_says(write):
    lung = "{name: two, files: [counts.csv.gz], cells: {tissue: {term: UBERON:0002048, label: lung}}}"
    card = load_card(write(("read:", f"samples:\n  - {{name: one}}\n  - {lung}\nread:")))
    one, two = (card.of_sample(sample) for sample in card.samples)
    assert (one.cells.tissue.label, two.cells.tissue.label) == ("blood", "lung")
    assert one.cells.assay == two.cells.assay and two.samples == ()
    assert [field.label for _, field in card.fields("tissue")] == ["blood", "lung"]


def test_two_samples_of_one_name_are_a_finding_at_the_second(write):
    [finding] = findings_of(write(("read:", "samples: [{name: a}, {name: a}]\nread:")))
    assert (finding.code, finding.line, finding.column) == ("CARD006", 13, 23)
    assert "the name 'a' is given twice" in finding.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("off", "off"), ("2017-01-01", "2017-01-01"), ("0x10", "0x10"), ("1_000", "1_000"),
        ("0o17", "0o17"), ("1:30", "1:30"), ("~", None), ("", None), ("true", True), ("FALSE", False),
        ("-12", -12), ("1.5e3", 1500.0), (".5", 0.5), ("'12'", "12"), ("nan", "nan"), (".inf", ".inf"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(tmp_path, text, value):
    path = tmp_path / "x.yaml"
    path.write_text(f"key: {text}\n")
    data = read_yaml(path).data
    assert data == {"key": value} and type(data["key"]) is type(value)


FORMS = [
    ("sha256: a", "sha256: A", "expected the 64 lower-case hex digits that sha256sum prints (found 'Aaaa"),
    ("id: made-up", "id: Made_up", "expected lower-case letters and digits, joined by '-' (found 'Made_up')."),
    ("10.1038/ncomms14049", "https://doi.org/10.1038/x", "expected a DOI such as 10.1038/ncomms14049, without its"),
    ("https://example.org/", "example.org/", "expected an address that starts with https://, http:// or ftp://"),
    ("term: UBERON:0000178", "term: the blood", "expected a term id such as CL:0000084, or unknown or na (found"),
]


@pytest.mark.parametrize(("old", "new", "said"), FORMS, ids=[row[1] for row in FORMS])
def test_a_value_of_another_form_is_told_what_was_expected_in_words(write, old, new, said):
    [finding] = findings_of(write((old, new)))
    assert said in finding.message
