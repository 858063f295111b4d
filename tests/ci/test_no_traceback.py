"""Whatever bytes a pull request brings, a check answers with findings, never with a traceback."""

from __future__ import annotations

import contextlib
from pathlib import Path

from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellzoo.ci.check import check_registry
from cellzoo.ci.report import FORMATS, render
from cellzoo.ci.rules import RULES
from cellzoo.cli import main
from cellzoo.registry.catalogue import Registry

CARD, MAP = "datasets/blood.yaml", "datasets/blood.cell_type.tsv"
WORDS = st.sampled_from(
    [
        "schema_version",
        "id",
        "title",
        "study",
        "files",
        "read",
        "counts",
        "genes",
        "cells",
        "organism",
        "term",
        "label",
        "column",
        "map",
        "versions",
        "releases",
        "samples",
        "layers",
        "obs",
        "columns",
        "extract",
        "license",
        "status",
        "verified",
        "CL:0000236",
        "UBERON:0000178",
        "unknown",
        "na",
        "true",
        "no",
        "null",
        "~",
        "1",
        "2",
        "1e999",
        ".inf",
        "0x10",
        "'",
        '"',
        "{",
        "}",
        "[",
        "]",
        "&",
        "*",
        "!",
        "|",
        ">",
        "%",
        "@",
        "`",
        "#",
        ":",
        "-",
        ",",
        "?",
        "blood.cell_type.tsv",
        "../x",
        "\\",
    ]
) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
quick = settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])


def look(root: Path) -> None:
    """Check the registry and print it in every format; every finding must have a code of the table and a file."""
    findings = check_registry(Registry((root,)))
    for finding in findings:
        assert finding.code in RULES
        assert finding.line >= 0 <= finding.column
    for form in FORMATS:
        render(findings, form, root.parent).encode()


@quick
@given(st.binary(max_size=300))
def test_random_bytes(root, content):
    (root / CARD).write_bytes(content)
    (root / MAP).write_bytes(content)
    look(root)


@quick
@given(
    st.lists(st.tuples(WORDS, VALUES), max_size=6),
    st.sampled_from([CARD, "models/acme/mlp.yaml", "collections/census.yaml"]),
)
def test_random_structures_in_the_places_of_values(root, lines, name):
    kept = (root / name).read_text()
    (root / name).write_text(kept + "\n".join(f"{key}: {value!r}" for key, value in lines), errors="replace")
    try:
        look(root)
    finally:
        (root / name).write_text(kept)


@quick
@given(st.data())
def test_a_real_card_or_map_with_some_bytes_changed(root, data):
    name = data.draw(st.sampled_from([CARD, MAP, "models/acme/mlp.yaml", "collections/census.yaml"]))
    kept = content = (root / name).read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 6))
        content = content[:at] + data.draw(st.binary(max_size=4) | WORDS.map(str.encode)) + content[at + length :]
    (root / name).write_bytes(content)
    try:
        look(root)
    finally:
        (root / name).write_bytes(kept)


@quick
@given(st.data())
def test_a_real_card_or_map_with_lines_moved(root, data):
    name = data.draw(st.sampled_from([CARD, MAP, "models/acme/mlp.yaml"]))
    kept = (root / name).read_text()
    lines = kept.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        one, other = data.draw(st.integers(0, len(lines) - 1)), data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["swap", "twice", "without", "indent", "value"]))
        if change == "swap":
            lines[one], lines[other] = lines[other], lines[one]
        elif change == "twice":
            lines.insert(one, lines[other])
        elif change == "indent":
            lines[one] = "  " + lines[one]
        elif change == "value":
            lines[one] = lines[one].partition(":")[0] + f": {data.draw(VALUES)!r}\n"
        elif len(lines) > 1:
            del lines[one]
    (root / name).write_text("".join(lines), errors="replace")
    try:
        look(root)
    finally:
        (root / name).write_text(kept)


def test_a_file_name_that_is_no_text_is_named(root):
    with contextlib.suppress(OSError):
        (root / "datasets" / b"\xff.yaml".decode(errors="surrogateescape")).write_text("id: x\n")
    (root / "datasets" / "new\nline.yaml").write_text("id: x\n")
    result = CliRunner().invoke(main, ["check", "--registry", str(root), "--format", "github"])
    assert result.exit_code == 1 and result.exception.__class__ is SystemExit
    assert "new%0Aline.yaml" in result.stdout
