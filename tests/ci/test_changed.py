"""`cellzoo check --changed BASE` in real repositories: a branch is judged by what it changed and what that touches."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import git
import pytest
from click.testing import CliRunner

from cellzoo.ci.check import Question, check_registry
from cellzoo.cli import main
from cellzoo.registry.catalogue import Registry, open_registry

Change = Callable[[str, str, str], Path]


def commit(repo: git.Repo, message: str) -> None:
    repo.git.add(all=True)
    repo.index.commit(message, author=git.Actor("a", "a@b"), committer=git.Actor("a", "a@b"))


@pytest.fixture
def fork(root: Path, tmp_path: Path) -> Path:
    """Return the cards in a clone, on a branch of its own, of a bare repository with cards and code."""
    (root.parent / "registry").mkdir()
    shutil.move(root, root.parent / "registry" / "cards")
    shutil.move(root.parent / "schema", root.parent / "registry" / "schema")
    (root.parent / "registry" / "schema.py").write_text("# the types\n")
    cards = root.parent / "registry" / "cards"
    text = (cards / "datasets/blood.yaml").read_text().replace("verified", "wrong").replace("blood.cell", "old.cell")
    (cards / "datasets/old.yaml").write_text(text)
    seed = git.Repo.init(root.parent, initial_branch="main")
    commit(seed, "seed")
    bare = git.Repo.init(tmp_path / "upstream.git", bare=True, initial_branch="main")
    seed.git.push(bare.git_dir, "main")
    clone = git.Repo.clone_from(bare.git_dir, tmp_path / "fork")
    clone.git.checkout("-b", "new-cards")
    for repo in (seed, bare, clone):
        repo.close()
    return tmp_path / "fork" / "registry" / "cards"


def save(fork: Path) -> None:
    with git.Repo(fork, search_parent_directories=True) as repo:
        commit(repo, "work")


def seen(fork: Path, base: str = "origin/main") -> list[str]:
    """Return file and code of what a check of the branch finds."""
    found = check_registry(open_registry(fork), Question(base=base))
    return [f"{Path(finding.path).relative_to(fork.resolve())} {finding.code}" for finding in found]


def another(fork: Path, name: str, *changes: str) -> Path:
    """Write a card like that of blood, of other bytes."""
    text = (fork / "datasets/blood.yaml").read_text().replace("id: blood", f"id: {name}").replace("a" * 64, "f" * 64)
    text = text.replace("https://example.org/b", "https://example.org/c")
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    path = fork / f"datasets/{name}.yaml"
    path.write_text(text)
    return path


def test_of_a_good_and_a_bad_card_exactly_the_bad_one_is_reported(fork):
    another(fork, "good")
    another(fork, "bad", "label: blood}", "label: lung}", "f" * 64, "e" * 64)
    save(fork)
    assert seen(fork) == ["datasets/bad.yaml TERM002"]
    result = CliRunner().invoke(
        main, ["check", "--registry", str(fork), "--changed", "origin/main", "--format", "github"]
    )
    assert result.exit_code == 1
    assert result.stdout.startswith(
        "::error file=registry/cards/datasets/bad.yaml,line=21,col=34,title=TERM002::tissue: "
    )
    assert result.stdout.count("\n") == 1


def test_a_branch_that_changed_nothing_has_no_findings_whatever_else_is_wrong(fork):
    assert seen(fork) == []
    assert [finding.code for finding in check_registry(open_registry(fork))] == ["CARD003"]


def test_work_that_is_not_committed_counts(fork):
    another(fork, "bad", "label: blood}", "label: lung}")
    assert seen(fork) == ["datasets/bad.yaml TERM002"]


def test_a_changed_map_is_checked_with_the_card_that_uses_it(fork):
    path = fork / "datasets/blood.cell_type.tsv"
    path.write_text(path.read_text().replace("\tB cell", "\tblood"))
    assert seen(fork) == ["datasets/blood.cell_type.tsv TERM002"]


def test_a_removed_map_is_missed_by_its_card(fork):
    (fork / "datasets/blood.cell_type.tsv").unlink()
    assert seen(fork) == ["datasets/blood.yaml MAP001"]


def test_a_removed_card_is_missed_by_models_and_leaves_its_map_over(fork):
    (fork / "datasets/blood.yaml").unlink()
    (fork / "datasets/old.yaml").unlink()
    assert seen(fork) == ["datasets/blood.cell_type.tsv MAP004", "models/acme/mlp.yaml REF001"]


def test_the_same_data_set_as_one_that_was_there_is_found(fork):
    another(fork, "twin", "f" * 64, "a" * 64)
    assert seen(fork) == ["datasets/twin.yaml DUP001"]


def test_a_study_that_is_told_in_another_way_is_found_however_its_doi_is_written(fork):
    another(fork, "later", "Doe", "Foe", "10.1000/blood", "10.1000/BLOOD")
    assert seen(fork) == ["datasets/later.yaml DUP002"]


def test_an_alias_that_another_card_has_is_found(fork):
    another(fork, "first", "title:", "aliases: [nick]\ntitle:", "10.1000/blood", "10.1000/one")
    save(fork)
    other = ("f" * 64, "e" * 64, "https://example.org/c", "https://example.org/d", "10.1000/blood", "10.1000/two")
    another(fork, "second", "title:", "aliases: [nick]\ntitle:", *other)
    assert seen(fork, "HEAD") == ["datasets/second.yaml DUP004"]


def test_a_file_that_nothing_reads_is_found(fork):
    another(fork, "good").rename(fork / "datasets/good.yml")
    assert seen(fork) == ["datasets/good.yml CARD009"]


@pytest.mark.parametrize("name", ["schema.py", "ontologies/CL-v1.npz"])
def test_a_change_of_the_schema_or_an_ontology_checks_everything(fork, name):
    (fork.parent / name).parent.mkdir(exist_ok=True)
    (fork.parent / name).write_text("# others\n")
    assert seen(fork) == ["datasets/old.yaml CARD003"]


def test_a_registry_that_is_reached_by_a_link_is_reported_as_it_was_named(fork, tmp_path):
    another(fork, "bad", "label: blood}", "label: lung}")
    (tmp_path / "link").symlink_to(fork.parents[1])
    cards = tmp_path / "link" / "registry" / "cards"
    [finding] = check_registry(open_registry(cards), Question(base="origin/main"))
    assert finding.path == str(cards / "datasets/bad.yaml")


def test_a_change_of_the_readme_checks_nothing(fork):
    (fork.parents[1] / "README.md").write_text("hello\n")
    assert seen(fork) == []


VERSIONS = {
    "a version is removed": ("version: 1.0.0", "version: 1.0.1", ["MODEL004 9:5"]),
    "a digest is changed": ("b" * 64, "a" * 64, ["MODEL004 12:5"]),
    "a commit is changed": ("1f1f", "1e1e", ["MODEL004 10:5"]),
    "a version is yanked": ("    date", "    status: yanked\n    reason: wrong labels\n    date", []),
    "the title is changed": ("title: Cell types", "title: All cell types", []),
}


@pytest.mark.parametrize(("old", "new", "expected"), VERSIONS.values(), ids=VERSIONS.keys())
def test_published_versions_only_change_their_status(fork, old, new, expected):
    path = fork / "models/acme/mlp.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = check_registry(open_registry(fork), Question(base="origin/main"))
    said = [f"{finding.code} {finding.line}:{finding.column}" for finding in found]
    assert said == expected


def test_a_new_version_comes_last(fork):
    path = fork / "models/acme/mlp.yaml"
    text = path.read_text()
    version = text[text.index("  - version") :].replace("1.0.0", "1.1.0")
    path.write_text(text + version)
    assert seen(fork) == []
    path.write_text(text.replace("versions:\n", f"versions:\n{version}"))
    assert seen(fork) == ["models/acme/mlp.yaml MODEL004"]


def test_a_model_card_that_is_removed_is_missed(fork):
    (fork / "models/acme/mlp.yaml").unlink()
    assert seen(fork) == ["models/acme/mlp.yaml MODEL004"]


def test_a_model_that_is_removed_is_missed_by_those_it_superseded(fork):
    card = fork / "models/acme/mlp.yaml"
    older = (
        card.read_text()
        .replace("acme/mlp", "acme/old")
        .replace("    date", "    superseded_by: acme/mlp@1.0.0\n    date")
    )
    (fork / "models/acme/old.yaml").write_text(older)
    assert seen(fork) == []
    save(fork)
    card.unlink()
    assert seen(fork, "HEAD") == ["models/acme/mlp.yaml MODEL004", "models/acme/old.yaml REF001"]


def test_paths_and_a_base_do_not_go_together_and_a_base_that_is_none_is_named(fork):
    runner = CliRunner()
    assert runner.invoke(main, ["check", str(fork / "datasets"), "--changed", "main"]).exit_code == 2
    result = runner.invoke(main, ["check", "--registry", str(fork), "--changed", "absent"])
    assert result.exit_code == 1 and "absent" in result.stderr


def test_a_folder_outside_of_git_has_no_changes_to_speak_of(root):
    result = CliRunner().invoke(main, ["check", "--registry", str(root), "--changed", "main"])
    assert result.exit_code == 1 and "is not in a Git repository" in result.stderr


def test_what_a_branch_finds_is_a_part_of_what_the_whole_finds(fork):
    another(fork, "one", "label: blood}", "label: lung}", "Doe", "Foe")
    another(fork, "two", "CC-BY-4.0", "cc-by-4.0")
    (fork / "datasets/old.yaml").unlink()
    registry = Registry((fork,))
    part, whole = check_registry(registry, Question(base="origin/main")), check_registry(registry)
    assert {finding.code for finding in part} >= {"TERM002", "DUP001", "DUP002", "LICENSE002"}
    assert {one for one in part if "blood.yaml" not in one.path} == {
        one for one in whole if "blood.yaml" not in one.path
    }
    assert set(part) <= set(whole)


def test_changed_looks_at_the_repository_one_stands_in(fork, monkeypatch):
    (fork / "datasets/blood.yaml").write_text((fork / "datasets/blood.yaml").read_text() + "nonsense: 1\n")
    monkeypatch.chdir(fork.parent)
    monkeypatch.delenv("CELLZOO_REGISTRY", raising=False)
    done = CliRunner().invoke(main, ["check", "--changed", "origin/main"])
    assert done.exit_code == 1 and "blood.yaml" in done.stdout and "nonsense: unknown key" in done.stdout
    monkeypatch.chdir("/")
    done = CliRunner().invoke(main, ["check", "--changed", "origin/main"])
    assert done.exit_code == 1 and "is not in a Git repository" in done.stderr
