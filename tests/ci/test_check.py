"""The packaged registry is clean, a check is quick, and nothing heavy is imported for it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cellzoo.ci.check import Question, check_registry
from cellzoo.cli import main
from cellzoo.registry.catalogue import PACKAGED, Registry, open_registry
from cellzoo.registry.ontology import load

CARDS, ROWS = 140, 36


def test_the_packaged_registry_has_no_findings():
    assert [str(finding) for finding in check_registry(Registry((PACKAGED,)))] == []


@pytest.fixture
def large(root: Path) -> Path:
    """Return a registry of 140 cards, each with a label map of its own: 5,040 rows."""
    text = (root / "datasets/blood.yaml").read_text()
    ontology, chosen = load("CL"), random.Random(0)
    terms = [term for term in ontology.descendants("CL:0000988") if not ontology.is_obsolete(term)]
    for number in range(CARDS):
        name = f"study{number}"
        card = (
            text.replace("blood.", f"{name}.").replace("id: blood", f"id: {name}").replace("a" * 64, f"{number:064x}")
        )
        (root / f"datasets/{name}.yaml").write_text(card.replace("10.1000/blood", f"10.1000/{number}"))
        rows = [f"{at}\t{term}\t{ontology.label(term)}" for at, term in enumerate(chosen.choices(terms, k=ROWS))]
        (root / f"datasets/{name}.cell_type.tsv").write_text("\n".join(["source\tterm\tlabel", *rows, ""]))
    return root


def test_a_whole_registry_takes_less_than_ten_seconds(large):
    begin = time.process_time()
    assert check_registry(Registry((large,))) == []
    assert time.process_time() - begin < 10  # measured: 1 s


def test_one_card_takes_less_than_a_second_and_a_half_from_the_shell(large):
    """Processor time, which does not depend on what else the machine does; heavy modules are not even imported."""
    program = (
        "import sys\nfrom cellzoo.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print(*sorted({'pandas', 'anndata', 'torch', 'scipy', 'git', 'ruamel.yaml'} & set(sys.modules)))"
    )
    before = os.times()
    command = [sys.executable, "-c", program, "check", str(large / "datasets/study7.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    after = os.times()
    assert (done.stdout, done.stderr) == ("\n", "0 errors, 0 warnings\n")
    assert after.children_user - before.children_user + after.children_system - before.children_system < 1.5


def test_a_folder_is_checked_where_it_holds_cards_and_nowhere_else(copy, tmp_path):
    (tmp_path / "recipe.yaml").write_text("organ: blood  \n")
    (tmp_path / "table.tsv").write_text("a\tb\r\n")
    (tmp_path / "cards" / "datasets" / "tenx-pbmc3k.yml").write_text("id: tenx-pbmc3k\n")
    for folder in (tmp_path, tmp_path / "cards", tmp_path / "cards" / "datasets"):
        found = check_registry(open_registry(copy), Question(paths=(folder,)))
        assert {(Path(finding.path).name, finding.code) for finding in found} == {("tenx-pbmc3k.yml", "CARD009")}
    done = CliRunner().invoke(main, ["check", "--fix", str(tmp_path)])
    assert "tenx-pbmc3k.yml" in done.output
    assert (tmp_path / "recipe.yaml").read_text() == "organ: blood  \n", "what is not a card is not ours to mend"


def test_a_folder_without_cards_is_refused(tmp_path):
    (tmp_path / "recipe.yaml").write_text("organ: blood\n")
    done = CliRunner().invoke(main, ["check", "--fix", str(tmp_path)])
    assert (done.exit_code, (tmp_path / "recipe.yaml").read_text()) == (1, "organ: blood\n")
    assert f"{tmp_path}: holds no registry" in done.stderr
