"""The check finds each way in which a Census can fail to be one, and nothing in one that is."""

import pytest
import scipy.sparse as sp

from cellzoo.converters.census.check import check_census
from cellzoo.errors import NotFoundError

HUMAN = "census_data/homo_sapiens"
RNA = f"{HUMAN}/ms/RNA"
OBS, VAR = f"{HUMAN}/obs", f"{RNA}/var"


def set_(column, row, value):
    """Return what sets one value of a table."""

    def change(frame):
        frame.loc[row, column] = value
        return frame

    return change


def grown(matrix):
    return sp.vstack([matrix, matrix[:1]]).tocsr()


def first_row_empty(matrix):
    return sp.vstack([sp.csr_matrix((1, matrix.shape[1])), matrix[1:]]).tocsr()


RULES = [  # what is done to which place, the code of the finding there, words of it
    ("unsay", "", "created_on", "CEN003", "created_on"),
    ("unset", "census_info", "organisms", "CEN002", "is missing"),
    ("unset", f"{RNA}/X", "normalized", "CEN002", "is missing"),
    ("frame", OBS, lambda obs: obs.drop(columns="sex"), "CEN004", "sex: is missing"),
    ("frame", VAR, lambda var: var.assign(mine=1), "CEN004", "mine: no column"),
    ("frame", VAR, lambda var: var.assign(nnz=var["nnz"] * 1.0), "CEN005", "nnz: is double"),
    ("frame", VAR, lambda var: var.assign(soma_joinid=var["soma_joinid"] * 2), "CEN006", "soma_joinid"),
    ("frame", OBS, set_("assay_ontology_term_id", 0, "EFO:0008992"), "CEN007", "EFO:0008992"),
    ("frame", "census_info/organisms", lambda table: table[:1], "CEN008", "mus_musculus"),
    ("lose_words", OBS, None, "CEN009", "dictionary is empty"),
    ("frame", VAR, set_("feature_id", 1, "ENSG00000000003"), "CEN010", "listed twice"),
    ("frame", OBS, set_("nnz", 0, 0), "CEN011", "1 cells have no counts"),
    ("matrix", f"{RNA}/X/raw", grown, "CEN012", "871 x 300"),
    ("doubles", f"{RNA}/X/raw", None, "CEN012", "double"),
    ("doubles", f"{RNA}/feature_dataset_presence_matrix", None, "CEN013", "double"),
    ("frame", "census_info/datasets", set_("dataset_total_cell_count", 0, 7), "CEN014", "7 cells are listed, 300"),
    ("frame", OBS, set_("dataset_id", 0, "unlisted"), "CEN014", "cells of unlisted"),
    ("frame", OBS, set_("n_measured_vars", 0, 1), "CEN015", "n_measured_vars"),
    ("frame", VAR, set_("n_measured_obs", 0, 1), "CEN015", "n_measured_obs"),
    ("frame", OBS, set_("raw_variance_nnz", 5, 0.5), "CEN015", "raw_variance_nnz"),
    ("frame", VAR, set_("nnz", 0, 1), "CEN015", "nnz: is not"),
    ("matrix", f"{RNA}/X/raw", lambda raw: raw * 0.5, "CEN016", "no counts"),
    ("matrix", f"{RNA}/X/normalized", first_row_empty, "CEN016", "elsewhere"),
    ("frame", "census_info/summary", set_("value", 3, "7"), "CEN017", "total_cell_count: is 7"),
    ("frame", "census_info/summary", set_("value", 0, "2.1.0"), "CEN017", "census_schema_version: is 2.1.0"),
    ("frame", "census_info/summary_cell_counts", set_("total_cell_count", 0, 7), "CEN017", "expected"),
    ("frame", "census_info/datasets", set_("dataset_title", 0, ""), "CEN018", "dataset_title"),
]


@pytest.mark.parametrize(
    ("done", "place", "how", "code", "says"), RULES, ids=[f"{code} {says}" for *_, code, says in RULES]
)
def test_each_rule_that_is_broken_is_found_where_it_is_broken(spoiled, done, place, how, code, says):
    getattr(spoiled, done)(place, *([] if how is None else [how]))
    found = check_census(spoiled.path, counts=code in {"CEN015", "CEN016"})
    at = f"{spoiled.path}/{place}".rstrip("/")
    assert [one for one in found if one.code == code and says in one.message and one.path.startswith(at)], found


def test_a_census_as_the_builder_writes_it_has_no_findings(mini):
    assert check_census(mini) == []


def test_a_census_behind_s3_is_checked_as_it_stands_there(s3):
    uri, config = s3
    assert check_census(uri, counts=False, **config) == []


def test_without_the_counts_the_structure_alone_is_looked_at(spoiled):
    spoiled.frame(f"{HUMAN}/obs", set_("raw_sum", 0, 1.5))
    assert check_census(spoiled.path, counts=False) == []
    assert [one.code for one in check_census(spoiled.path)] == ["CEN015"]


def test_what_is_no_census(tmp_path, mini):
    with pytest.raises(NotFoundError):
        check_census(tmp_path / "gone")
    assert [one.code for one in check_census(mini / "census_info")].count("CEN002") == 2
    assert check_census(mini / "census_info" / "datasets")[0].code == "CEN001"
