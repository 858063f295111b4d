"""The README and the demo: every command that a newcomer would copy runs and shows what it promises."""

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import anndata
import click
import pytest
from click.testing import CliRunner

from cellzoo.cli import main
from cellzoo.registry.catalogue import open_registry
from cellzoo.registry.reading import Format

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for kind, text in BLOCKS
    if kind == "sh"
    for line in text.splitlines()
    if line.startswith("cellzoo ")
]


def run(command: list[str], folder: Path, mirror: Path) -> str:
    """Run a command as a user would, in a fresh process, and return what it prints; it must succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CELLZOO")}
    environment |= {"CELLZOO_MIRROR": str(mirror), "CELLZOO_HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> Path:
    """A folder as a reader of the README has it: the demo was run, their cells and the recipe lie there."""
    folder = tmp_path_factory.mktemp("desk")
    run([sys.executable, "-m", "cellzoo.cli", "demo", "-o", "demo"], folder, mirror)
    (folder / "demo" / "held-out.h5ad").rename(folder / "pbmc.h5ad")
    recipe = next(text for kind, text in BLOCKS if kind == "yaml" and text.startswith("# blood.yaml"))
    (folder / "blood.yaml").write_text(recipe)
    return folder


def test_the_first_commands_of_the_readme_are_the_two_that_do_everything():
    first = next(text for kind, text in BLOCKS if kind == "sh")
    assert [line.split("#")[0].strip() for line in first.strip().splitlines()] == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in ("demo", "test", "lint", "bench"))
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_readme_names_only_commands_that_exist():
    assert len(COMMANDS) > 5
    assert {command.split()[1] for command in COMMANDS} <= set(main.commands)


def test_every_command_of_the_readme_runs(desk, mirror):
    pushed = ""
    for command in COMMANDS:
        words = [sys.executable, "-m", "cellzoo.cli", *shlex.split(command)[1:]]
        if words[3] == "pull":
            words[4] = pushed  # the name in the README is an example: its digest is that of the cards of the day
        out = run(words, desk, mirror)
        if words[3] == "push":
            pushed = out.split()[0]
            assert re.fullmatch(r"my-lab/celltype-mlp-0\.1\.1_human-blood_zoo-[0-9a-f]{8}@v1\.0\.0", pushed)
    annotated = anndata.read_h5ad(desk / "annotated.h5ad")
    for promised in re.findall(r'`obs\["(\w+)"\]', README):
        assert promised in annotated.obs
    assert "X_cellzoo_celltype_mlp" in annotated.obsm
    assert (desk / "annotated.umap.png").read_bytes().startswith(b"\x89PNG")
    assert anndata.read_h5ad(desk / "data" / "pbmc68k-reduced.h5ad").shape == (700, 20120)


def test_the_python_of_the_readme_runs(desk, mirror):
    code = next(text for kind, text in BLOCKS if kind == "python")
    run([sys.executable, "-c", code + "\nassert 'cellzoo_cell_type' in annotated.obs"], desk, mirror)


def test_the_python_of_the_page_on_stores_runs(tmp_path, mirror):
    page = (ROOT / "docs" / "store.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    check = "\nassert batch.matrices['X'].shape[1] == 20_120 and part.to_anndata().n_obs == 500"
    run([sys.executable, "-c", "\n".join(blocks) + check], tmp_path, mirror)
    assert {path.name for path in tmp_path.iterdir()} >= {"blood.store", "part.h5ad", "part.zarr", "part"}


def test_what_the_pages_on_formats_and_the_census_name_exists():
    formats = (ROOT / "docs" / "formats.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", formats, re.MULTILINE)) - {"format"} == set(get_args(Format))
    page, group = (ROOT / "docs" / "census.md").read_text(), main.commands["census"]
    assert isinstance(group, click.Group)
    assert set(re.findall(r"^cellzoo census (\w+)", page, re.MULTILINE)) <= set(group.commands)
    options = {option for command in group.commands.values() for one in command.params for option in one.opts}
    assert set(re.findall(r"(?<!-)--[a-z-]+", page)) <= options


def test_the_page_of_the_demo_shows_pictures_numbers_and_the_model(desk):
    page = (desk / "demo" / "index.html").read_text()
    assert page.count('src="data:image/png;base64,') == 2
    assert re.search(r"<b>\d\d\.\d&nbsp;%</b>of 140 held-out cells called right", page)
    assert re.search(r"demo/celltype-mlp-0\.1\.1_human-blood_zoo-[0-9a-f]{8}", page)
    for step in ("check", "get", "train", "evaluate", "release", "pull", "annotate"):
        assert f"<b>{step}</b>" in page
    assert "dendritic cell" in page
    assert "10.1038/ncomms14049" in page


def test_the_demo_replaces_its_own_folder_and_refuses_any_other(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    done = CliRunner().invoke(main, ["demo", "-o", str(tmp_path)])
    assert done.exit_code == 1
    assert "is not empty and was not made by a demo. Choose another folder with -o." in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_the_study_split_of_the_demo_annotates_a_study_that_no_model_saw(tmp_path, mirror):
    run([sys.executable, "-m", "cellzoo.cli", "demo", "--study-split", "-o", "demo"], tmp_path, mirror)
    page = (tmp_path / "demo" / "index.html").read_text()
    accuracy = float(re.search(r"<b>(\d\d\.\d)&nbsp;%</b>of 7811 held-out cells", page)[1])  # type: ignore[index]
    assert accuracy > 96
    assert "<td>held out</td>" in page


def test_the_readme_counts_the_cards_there_are():
    records = open_registry().records()
    numbers = Counter(record.status for record in records if record.kind == "dataset")
    assert f"holds {len(records)} cards: {numbers['verified']} data sets are `verified`" in README
    assert (numbers["imported"], numbers["broken"]) == (116, 2)
    assert "the 116\nstudies of sfaira are `imported`" in README and "two are\n`broken`" in README


def test_every_command_of_the_page_on_registries_runs(copy, git, tmp_path, mirror):
    bare, zoo = tmp_path / "bare.git", tmp_path / "zoo"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(bare))
    git(tmp_path, "clone", "-q", str(bare), str(zoo))
    (zoo / "datasets").mkdir()
    for path in (copy / "datasets").glob("tenx-pbmc3k.*"):
        text = path.read_text().replace("tenx-pbmc3k", "our-pbmc")
        (zoo / "datasets" / path.name.replace("tenx-pbmc3k", "our-pbmc")).write_text(text)
    git(zoo, "add", ".")
    git(zoo, "commit", "-q", "-m", "Our first data set")
    git(zoo, "tag", "v1")
    git(zoo, "push", "-q", "origin", "HEAD:main", "v1")
    page = (
        (ROOT / "docs" / "registry.md").read_text().replace("https://git.institute.org/lab/zoo.git", f"file://{bare}")
    )
    commands = [line for line in page.splitlines() if line.startswith("cellzoo ")]
    assert len(commands) == 5
    for command in commands:
        run([sys.executable, "-m", "cellzoo.cli", *shlex.split(command)[1:]], tmp_path, mirror)


def test_the_changelog_speaks_of_this_version():
    import cellzoo

    assert f"## {cellzoo.__version__}" in (ROOT / "CHANGELOG.md").read_text()
