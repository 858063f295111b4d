"""The sources of a store and of a Census: files, ids, filters; and what is said of those that cannot be had."""

import json
import shutil

import anndata
import numpy as np
import pytest
from click.testing import CliRunner

from cellzoo.cli import main
from cellzoo.converters.zoo import open_registry
from cellzoo.errors import InputError


@pytest.mark.parametrize("command", ["store build", "census export"])
def test_filters_that_no_data_set_matches_make_nothing(command, tmp_path):
    done = CliRunner().invoke(main, [*command.split(), "--tissue", "kidney", "-o", str(tmp_path / "x")])
    assert done.exit_code == 1
    assert "no verified data set matches every filter" in done.output
    assert list(tmp_path.iterdir()) == []


def run(*command):
    return CliRunner().invoke(main, [str(word) for word in command])


@pytest.fixture
def cells(tmp_path):
    """Return the path of a small h5ad."""
    adata = anndata.AnnData(np.eye(3, dtype=np.float32))
    adata.write_h5ad(tmp_path / "x.h5ad")
    return tmp_path / "x.h5ad"


def test_two_files_that_would_have_one_name_are_refused(cells, tmp_path):
    (tmp_path / "b").mkdir()
    shutil.copy(cells, tmp_path / "b" / "x.h5ad")
    done = run("store", "build", cells, tmp_path / "b" / "x.h5ad", "-o", tmp_path / "s")
    assert done.exit_code == 2
    assert "would both be called x; rename one of the files." in done.stderr


def test_a_filter_that_is_given_twice_is_refused():
    done = run("datasets", "--tissue", "blood", "--tissue", "kidney")
    assert done.exit_code == 2
    assert "is given twice; a term stands for all terms below it." in done.stderr


def test_a_build_of_which_nothing_came_leaves_no_store(cells, tmp_path):
    cells.write_bytes(b"no longer HDF5")
    done = run("store", "build", cells, "-o", tmp_path / "s")
    assert done.exit_code == 1
    assert "is not an h5ad file" in done.stderr
    assert not (tmp_path / "s").exists()


def test_what_is_there_stays_where_a_further_build_fails(cells, tmp_path):
    assert run("store", "build", cells, "-o", tmp_path / "s").exit_code == 0
    (tmp_path / "y.h5ad").write_text("no HDF5")
    assert run("store", "build", tmp_path / "y.h5ad", "-o", tmp_path / "s").exit_code == 1
    assert json.loads(run("store", "info", tmp_path / "s", "--json").stdout)["cells"] == 3


def test_a_store_of_two_organisms_is_refused_before_anything_is_read(tmp_path):
    both = open_registry().datasets(status="verified", tissue="islet of Langerhans")
    with pytest.raises(InputError, match="of Homo sapiens, Mus musculus: choose by organism"):
        both.to_store(tmp_path / "s")
    assert not (tmp_path / "s").exists()
