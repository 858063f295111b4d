"""What goes into a store comes out of it exactly, however often the writing is interrupted."""

import hashlib
import json
import multiprocessing
import random
import resource
import time
from contextlib import contextmanager
from functools import partial
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.commands.store import store as command
from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.h5ad import open_h5ad
from cellzoo.converters.rows import Memory, to_csr
from cellzoo.converters.store import Buffers, Store, StoreWriter, build, matrixwriter, twins
from cellzoo.converters.zoo import open_registry
from cellzoo.errors import CountsError, GenesError, InputError, IntegrityError, NotFoundError, WorldError

DIGEST = "0" * 64


def data_of(values, obs=None, genes=None, cells=None, **more):
    values = sp.csr_matrix(values)
    names = cells or [f"cell{n}" for n in range(values.shape[0])]
    var = pd.DataFrame(index=genes or [f"ENSG{n:03}" for n in range(values.shape[1])])
    return CellData(pd.DataFrame(obs or {}, index=names), var, Memory(values), **more)


def store_of(path, *datas, **options):
    return build(path, [(f"d{k}", DIGEST, partial(lambda data: data, data)) for k, data in enumerate(datas)], **options)


def counts(seed, cells=40, genes=30, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return sp.csr_matrix(
        (rng.poisson(0.5, (cells, genes)) * rng.choice([1, 1, 1, 300, 70_000], (cells, genes))).astype(dtype)
    )


def contents(path):
    files = [file for file in path.rglob("*") if file.is_file()]
    return {file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def same(found, expected):
    assert found.shape == expected.shape
    assert (found != expected).nnz == 0


# matrices


@pytest.mark.parametrize("encoding", ["hot", "packed"])
def test_a_real_data_set_comes_back_to_the_last_count(encoding, mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    one = open_registry()["segerstolpe2016-human"].open()  # Smart-seq2: many counts above 255
    made = build(tmp_path / "s", [("segerstolpe", DIGEST, lambda: one)], encoding=encoding)
    assert one.X
    expected = to_csr(one.X)
    assert expected.max() > 2**16
    same(to_csr(made.rows()), expected)
    back = made.celldata("segerstolpe")
    pd.testing.assert_frame_equal(back.obs, one.obs)
    pd.testing.assert_frame_equal(back.var, one.var)
    assert json.dumps(back.uns) == json.dumps(one.uns)
    assert made.verify() == []


@pytest.mark.parametrize("encoding", ["hot", "packed"])
@pytest.mark.parametrize(
    ("values", "dtype", "given_as"),
    [
        ([1, 254, 255, 256, 65_535, 65_536, 2**24], np.float32, np.float32),
        ([1, 2**24 + 1, 2**32 + 1, 2**53], np.int64, np.float64),
        ([1, 2**31 - 1], np.int32, np.float64),
        ([0.1, 0.25, 3.7, -2.5, 1e30], np.float32, np.float32),
        ([0.1, 0.25, 1 / 3, 1e300], np.float64, np.float64),
        ([0.5, 0.25, 300], np.float64, np.float32),
        ([-1, 1, 7], np.int32, np.float32),
        ([1, 1, 1], bool, np.float32),
    ],
)
def test_values_of_any_size_are_exact(tmp_path, values, dtype, given_as, encoding):
    expected = sp.csr_matrix(np.array([values, values[::-1]], dtype=dtype))
    made = store_of(tmp_path / "s", data_of(expected), encoding=encoding)
    found = made.gather(np.array([1, 0]))
    np.testing.assert_array_equal(found.toarray().astype(np.float64), expected.toarray()[::-1].astype(np.float64))
    assert found.dtype == made.matrix().dtype == given_as


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["hot", "packed"]),
    st.sampled_from([None, "u8", "u16", "f64"]),
    st.integers(1, 9),
)
@settings(max_examples=12)
def test_any_rows_of_several_data_sets_are_those_of_the_matrices_stacked(
    tmp_path_factory, seed, encoding, values, group
):
    rng = np.random.default_rng(seed)
    parts = [counts(seed + k, cells=int(rng.integers(1, 60))) for k in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrixwriter, "GROUP_VALUES", 10 * group)
        patch.setattr(matrixwriter, "GROUP_ROWS", group)
        made = store_of(tmp_path_factory.mktemp("s") / "s", *map(data_of, parts), encoding=encoding, values=values)
    whole = sp.vstack(parts, format="csr")
    rows = rng.integers(0, whole.shape[0], 70)
    same(made.gather(rows), whole[rows])
    same(to_csr(made.rows()), whole)
    columns = rng.permutation(30)[:7]
    found = made.gather(rows, normalize=1e4, log1p=True, genes=columns, out=Buffers())
    np.testing.assert_allclose(found.toarray(), twins.gather(whole, rows, 1e4, True, columns), rtol=1e-6)


@pytest.mark.parametrize(
    ("cells", "chosen"),
    [([1, 2, 300], "u8"), ([300, 400, 1], "u16"), ([0.5, 1.5, 2], "f32"), ([1 / 3, 1.5, 2], "f64")],
)
def test_the_type_of_values_is_chosen_by_looking_at_them(tmp_path, monkeypatch, cells, chosen):
    monkeypatch.setattr(matrixwriter, "MANY", 0.4)
    store_of(tmp_path / "s", data_of(np.array([cells])))
    assert (tmp_path / "s" / "matrices" / "0-X" / f"values.{chosen}").is_file()


def test_features_are_ordered_by_how_many_cells_have_them(tmp_path):
    made = store_of(tmp_path / "s", data_of(np.array([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 1, 9]])))
    assert made.matrix().order.tolist() == [2, 1, 3, 0]


def test_more_than_65536_features_are_held(tmp_path):
    wide = sp.csr_matrix(([3.0, 400.0], ([0, 1], [5, 99_999])), shape=(2, 100_000))
    for encoding in ("hot", "packed"):
        same(store_of(tmp_path / encoding, data_of(wide), encoding=encoding).gather(np.array([0, 1])), wide)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[1, 0], [2, np.nan]]), r"d0: X: holds nan in cell 1, feature 1"),
        (np.array([[np.inf, 1]]), "holds inf in cell 0, feature 0"),
        (np.array([[2**53 + 1, 1]]), r"integers above 2\^53"),
    ],
)
def test_what_is_no_number_or_not_held_exactly_is_refused(tmp_path, values, said):
    with pytest.raises(CountsError, match=said):
        store_of(tmp_path / "s", data_of(values))


def test_a_float_type_that_does_not_hold_a_value_refuses_it(tmp_path):
    with pytest.raises(CountsError, match="Build the store with f64"):
        store_of(tmp_path / "s", data_of(np.array([[1 / 3]])), values="f32")


def test_layers_raw_and_modalities_are_rows_of_the_same_cells(tmp_path):
    x, spliced, raw, protein = counts(1), counts(2), counts(3, genes=50), counts(4, genes=3)
    genes = data_of(raw).var
    plain = data_of(x)
    more = data_of(
        x, layers={"spliced": Memory(spliced)}, modalities={"protein": data_of(protein, genes=["CD3", "CD4", "CD8"])}
    )
    more.raw = Raw(Memory(raw), genes)
    other = data_of(x, modalities={"protein": data_of(protein, genes=["CD8", "CD19", "CD3"])})
    made = store_of(tmp_path / "s", plain, more, other)
    assert made.matrices == ("X", "layers/spliced", "raw/X", "protein/X")
    empty = sp.csr_matrix(x.shape)
    same(to_csr(made.rows("spliced")), sp.vstack([empty, spliced, empty], format="csr"))
    assert made.feature_names("protein") == ["CD3", "CD4", "CD8", "CD19"]
    assert made.feature_type("protein") == "protein"
    same(to_csr(made.celldata("d2").modalities["protein"].X), protein)
    same(to_csr(made.celldata("d1").raw.X), raw)
    assert made.celldata("d0").raw is None
    same(to_csr(made.celldata("d1").modalities["protein"].X), protein)
    assert made.celldata("d2").modalities["protein"].var.index.tolist() == ["CD8", "CD19", "CD3"]
    assert made.celldata("d0").modalities == {}
    assert made.celldata().modalities["protein"].X.shape == (120, 4)


# cells


COLUMNS: dict[str, pd.Series] = {
    "int8": pd.Series([1, -2, 3], dtype="int8"),
    "float32": pd.Series([1.5, np.nan, 3], dtype="float32"),
    "float64": pd.Series([0.5, 1, np.nan]),
    "int64": pd.Series([1, 2, 2**53]),
    "longer": pd.Series([1, 2, 2**53 + 1]),
    "bool": pd.Series([True, False, True]),
    "uint64": pd.Series([2**64 - 1, 0, 1], dtype="uint64"),
    "category": pd.Series(pd.Categorical(["b", None, "a"], categories=["b", "unused", "a"])),
    "ordered": pd.Series(pd.Categorical(["low", "high", "low"], categories=["low", "high"], ordered=True)),
    "numbers": pd.Series(pd.Categorical([3, 1, 3])),
    "truths": pd.Series(pd.Categorical([True, False, True])),
    "text": pd.Series(["a", "", "Zürich\n"], dtype=object),
    "gaps": pd.Series(["a", np.nan, "c"], dtype=object),
    "mixed": pd.Series(["a", True, 3], dtype=object),
    "string": pd.Series(["a", pd.NA, "c"], dtype="string"),
    "Int64": pd.Series([2**62 + 1, pd.NA, 3], dtype="Int64"),
    "boolean": pd.Series([True, pd.NA, False], dtype="boolean"),
    "time": pd.Series(["2020-01-01", "2021-01-01", None], dtype="datetime64[ns]"),
}


def three(**columns):
    obs = pd.DataFrame({name: column.array for name, column in columns.items()})
    data = data_of(np.eye(3))
    return data.with_(obs=obs.set_axis(data.obs.index))


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_cells_comes_back_as_what_it_was(tmp_path, kind):
    data = three(it=COLUMNS[kind])
    made = store_of(tmp_path / "s", data)
    pd.testing.assert_series_equal(made.obs_column("it"), data.obs["it"].reset_index(drop=True))
    pd.testing.assert_frame_equal(made.celldata("d0").obs, data.obs)
    picked = made.obs_column("it", np.array([2, 0]))
    pd.testing.assert_series_equal(picked, data.obs["it"].iloc[[2, 0]].reset_index(drop=True))


@pytest.mark.parametrize(
    ("first", "second", "kind", "values"),
    [
        ("category", "category", "category", ["b", None, "a"] * 2),
        ("category", None, "category", ["b", None, "a", None, None, None]),
        (None, "text", "object", [np.nan] * 3 + ["a", "", "Zürich\n"]),
        ("int8", None, "Int8", [1, -2, 3, pd.NA, pd.NA, pd.NA]),
        ("int8", "float32", "float32", [1, -2, 3, 1.5, np.nan, 3]),
        ("bool", None, "boolean", [True, False, True, pd.NA, pd.NA, pd.NA]),
        ("bool", "int8", "object", [True, False, True, 1, -2, 3]),
        ("float32", None, "float32", [1.5, np.nan, 3, np.nan, np.nan, np.nan]),
        ("int64", "float64", "float64", [1, 2, 2**53, 0.5, 1, np.nan]),
        ("longer", "float64", "object", [1, 2, 2**53 + 1, 0.5, 1, np.nan]),
    ],
)
def test_a_column_that_data_sets_have_differently_loses_nothing(tmp_path, first, second, kind, values):
    datas = [three(**({"it": COLUMNS[name]} if name else {"other": COLUMNS["bool"]})) for name in (first, second)]
    made = store_of(tmp_path / "s", *datas)
    found = made.obs_column("it")
    pd.testing.assert_series_equal(found, pd.Series(values, dtype=found.dtype, name="it"))
    assert str(found.dtype) == kind
    for name, data in zip(("d0", "d1"), datas, strict=True):
        pd.testing.assert_frame_equal(made.celldata(name).obs, data.obs)


def test_one_column_is_read_without_the_others(tmp_path):
    made = store_of(tmp_path / "s", three(a=COLUMNS["int8"], b=COLUMNS["text"]))
    for file in (tmp_path / "s" / "columns").glob("*-obs-b.*"):
        file.write_bytes(b"\xff" * file.stat().st_size)
    assert made.obs["a"].tolist() == [1, -2, 3]


@pytest.mark.parametrize(("kind", "codes"), [("category", [0, -1, 2]), ("text", [0, 1, 2]), ("gaps", [0, -1, 1])])
def test_any_column_is_given_as_codes(tmp_path, kind, codes):
    found, values = store_of(tmp_path / "s", three(it=COLUMNS[kind])).codes("it")
    assert found.tolist() == codes
    assert [values[code] for code in codes if code >= 0] == COLUMNS[kind].dropna().tolist()


@pytest.mark.parametrize(
    "column", [pd.Series([{"a": 1}] * 3), pd.Series([b"x"] * 3), pd.Series([1j, 2, 3]).astype(object)]
)
def test_a_column_that_a_store_cannot_keep_is_named(tmp_path, column):
    with pytest.raises(InputError, match=r"d0: obs\['it'\]"):
        store_of(tmp_path / "s", three(it=column))


def test_what_belongs_to_a_data_set_comes_back_with_it(tmp_path):
    rng = np.random.default_rng(0)
    records = np.array([("a", 1.5), ("b", 2.5)], dtype=[("name", "O"), ("score", "f4")])
    uns: dict[str, Any] = {
        "title": "T",
        "nested": {"n": 3, "list": [1, "a", None], "array": np.arange(6).reshape(2, 3)},
        "rank": records,
    }
    uns |= {"names": np.array(["a", "b"], dtype=object), "table": pd.DataFrame({"x": [1, 2]}, index=["p", "q"])}
    data = three(a=COLUMNS["int8"]).with_(
        uns=uns, obsm={"spatial": rng.random((3, 2)), "X_umap": rng.random((3, 2)).astype("f4")}
    )
    data.obsp["graph"] = sp.csr_matrix(np.eye(3))
    data.varm["PCs"] = rng.random((3, 4))
    data.var["feature_name"] = pd.Categorical(["a", "b", "a"])
    back = store_of(tmp_path / "s", data).celldata("d0")
    pd.testing.assert_frame_equal(back.var, data.var)
    for name, array in data.obsm.items():
        np.testing.assert_array_equal(back.obsm[name], array)
        assert back.obsm[name].dtype == array.dtype
    np.testing.assert_array_equal(back.varm["PCs"], data.varm["PCs"])
    same(back.obsp["graph"], data.obsp["graph"])
    assert back.uns["nested"]["list"] == [1, "a", None]
    np.testing.assert_array_equal(back.uns["nested"]["array"], uns["nested"]["array"])
    np.testing.assert_array_equal(back.uns["rank"], records)
    assert back.uns["names"].tolist() == ["a", "b"]
    pd.testing.assert_frame_equal(back.uns["table"], uns["table"])


def test_names_of_cells_of_several_data_sets_say_which(tmp_path):
    made = store_of(tmp_path / "s", data_of(np.eye(2)), data_of(np.eye(2)))
    assert made.obs_names().tolist() == ["cell0-d0", "cell1-d0", "cell0-d1", "cell1-d1"]
    assert made.obs_names(np.array([3, 0])).tolist() == ["cell1-d1", "cell0-d0"]


# data sets


def test_features_in_another_order_are_the_same_features(tmp_path):
    values, turned = counts(1, genes=4), ["ENSG003", "ENSG001", "ENSG000", "ENSG002"]
    made = store_of(tmp_path / "s", data_of(values), data_of(values, genes=turned))
    same(made.gather(np.arange(40, 80)), values[:, [2, 1, 3, 0]])
    back = made.celldata("d1")
    same(to_csr(back.X), values)
    assert back.var.index.tolist() == turned


@pytest.mark.parametrize(
    ("genes", "said"),
    [(["ENSG000", "other"], "lacks 1 features of the store and has 1 others"), (["ENSG000"], "lacks 1")],
)
def test_other_features_are_refused(tmp_path, genes, said):
    with pytest.raises(GenesError, match=said):
        store_of(tmp_path / "s", data_of(np.ones((1, 2))), data_of(np.ones((1, len(genes))), genes=genes))


def test_what_all_measured_is_measured(tmp_path):
    datas = [data_of(np.ones((1, 3))) for _ in range(2)]
    for data, measured in zip(datas, ([True, True, False], [True, False, False]), strict=True):
        data.var["feature_name"], data.var["measured"] = ["a", "b", "c"], measured
    made = store_of(tmp_path / "s", *datas)
    assert made.var["measured"].tolist() == [True, False, False]
    assert made.var["feature_name"].tolist() == ["a", "b", "c"]
    assert made.celldata("d0").var["measured"].tolist() == [True, True, False]


def test_a_store_is_added_to_and_what_it_holds_is_not_opened_again(tmp_path):
    def never():
        raise AssertionError("opened again")

    first = store_of(tmp_path / "s", data_of(counts(1)))
    build(tmp_path / "s", [("d0", DIGEST, never), ("d1", DIGEST, lambda: data_of(counts(2)))])
    store_of(tmp_path / "at once", data_of(counts(1)), data_of(counts(2)))
    assert contents(tmp_path / "s") == contents(tmp_path / "at once")
    same(first.gather(np.arange(40)), counts(1))  # who read before reads on


def test_a_data_set_that_changed_is_not_mixed_with_what_it_was(tmp_path):
    store_of(tmp_path / "s", data_of(counts(1)))
    with pytest.raises(
        InputError, match="holds d0 with digest 000000000000, now it has 111111111111: the data set changed"
    ):
        build(tmp_path / "s", [("d0", "1" * 64, lambda: data_of(counts(2)))])


def test_a_data_set_that_cannot_be_used_leaves_nothing_in_the_store(tmp_path):
    bad = data_of(counts(1), obs={"it": [{}] * 40})
    told = {}
    items = [
        ("d0", DIGEST, lambda: data_of(counts(1))),
        ("bad", DIGEST, lambda: bad),
        ("d1", DIGEST, lambda: data_of(counts(2))),
    ]
    build(tmp_path / "s", items, failed=lambda name, error: told.update({name: str(error)}))
    store_of(tmp_path / "without", data_of(counts(1)), data_of(counts(2)))
    assert list(told) == ["bad"]
    assert contents(tmp_path / "s") == contents(tmp_path / "without")


@pytest.mark.parametrize("options", [{"encoding": "zip"}, {"codec": "gzip"}, {"values": "u32"}])
def test_an_encoding_that_there_is_not_is_refused(tmp_path, options):
    with pytest.raises(InputError, match="a store is hot or packed"):
        store_of(tmp_path / "s", data_of(np.eye(2)), **options)


def test_a_store_does_not_go_on_in_another_encoding(tmp_path):
    store_of(tmp_path / "s", data_of(np.eye(2)))
    with pytest.raises(InputError, match="is hot; it cannot go on as packed with zstd"):
        store_of(tmp_path / "s", data_of(np.eye(2)), encoding="packed")


def test_axes_that_do_not_fit_are_all_named(tmp_path):
    data = data_of(np.eye(3), obsm={"X_pca": np.zeros((2, 2))}, layers={"spliced": Memory(np.eye(4))})
    with pytest.raises(
        InputError, match=r"layers/spliced has 4 cells and 4 features, expected 3 and 3; obsm\['X_pca'\] has 2 cells"
    ):
        store_of(tmp_path / "s", data)


# the world


def test_a_folder_with_other_things_is_not_written_to(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"other things in it \(thesis\.tex\)"):
        store_of(tmp_path, data_of(np.eye(2)))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="is a file"):
        store_of(tmp_path / "thesis.tex", data_of(np.eye(2)))
    with pytest.raises(WorldError, match="cannot be written"):
        store_of(tmp_path / "thesis.tex" / "s", data_of(np.eye(2)))


def test_two_writers_at_once_are_told_of_each_other(tmp_path):
    with StoreWriter(tmp_path / "s"), pytest.raises(WorldError, match="another process is writing"):
        StoreWriter(tmp_path / "s")
    StoreWriter(tmp_path / "s").__exit__(None, None, None)


@contextmanager
def no_file_beyond(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [100, 2_000, 20_000])
def test_a_full_disk_is_a_sentence_and_the_build_goes_on_afterwards(tmp_path, size):
    datas = [data_of(counts(k, cells=400)) for k in range(3)]
    with no_file_beyond(size), pytest.raises(WorldError, match="Make room or mend it and run the same command again"):
        store_of(tmp_path / "s", *datas, commit=5_000)
    store_of(tmp_path / "s", *datas, commit=5_000)
    store_of(tmp_path / "whole", *datas)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two data sets in h5ad files, of several commits and groups each."""
    folder = tmp_path_factory.mktemp("h5ad")
    for k in range(2):
        rng = np.random.default_rng(k)
        values = sp.csr_matrix(rng.poisson(1.5, (1500, 700)).astype(np.float32) * rng.choice([1, 1, 400], (1500, 700)))
        obs = pd.DataFrame({"cell_type": pd.Categorical(rng.choice([f"t{k}", "B"], 1500)), "age": rng.random(1500)})
        one = anndata.AnnData(values.astype(np.float32), obs=obs.set_axis([f"c{n}" for n in range(1500)]))
        one.layers["spliced"], one.uns["title"], one.obsm["spatial"] = one.X * 0.5, f"set {k}", rng.random((1500, 2))
        one.write_h5ad(folder / f"{k}.h5ad")
    return [(f"d{k}", DIGEST, partial(open_h5ad, folder / f"{k}.h5ad")) for k in range(2)]


@pytest.mark.parametrize("encoding", ["hot", "packed"])
def test_killed_at_twenty_moments_a_build_ends_in_the_same_bytes(tmp_path, sources, encoding):
    started = time.perf_counter()
    build(tmp_path / "whole", sources, encoding=encoding, commit=2**21)
    lasts, expected = time.perf_counter() - started, contents(tmp_path / "whole")
    processes, moment = multiprocessing.get_context("fork"), random.Random(encoding)
    unfinished = 0
    for kill in range(10):
        path = tmp_path / f"s{kill}"
        for _ in range(2):  # what went on after a kill is killed too
            process = processes.Process(
                target=build, args=(path, sources), kwargs={"encoding": encoding, "commit": 2**21}
            )
            process.start()
            process.join(moment.random() * lasts)
            process.kill()
            process.join()
            unfinished += not (path / "manifest.json").is_file()
        build(path, sources, encoding=encoding, commit=2**21)
        assert contents(path) == expected
    assert unfinished > 5


# damage


@pytest.fixture
def damaged(tmp_path):
    """Build a small store, do something to one of its files, and return the path."""

    def damaged(pattern, change, encoding="hot"):
        store_of(tmp_path / "s", data_of(counts(1), obs={"it": pd.Categorical(["a"] * 40)}), encoding=encoding)
        [file] = (tmp_path / "s").glob(pattern)
        content = bytearray(file.read_bytes())
        file.write_bytes(change(content) or content)
        return tmp_path / "s"

    return damaged


def flip(at):
    def change(content):
        content[at] ^= 0xFF

    return change


@pytest.mark.parametrize(
    "pattern", ["matrices/*/ids.u16", "matrices/*/ends.i64", "columns/*.codes.i32", "features/*", "blobs/*.json"]
)
def test_a_truncated_file_is_named_when_the_store_is_opened(damaged, pattern):
    path = damaged(pattern, lambda content: content[:-1])
    with pytest.raises(IntegrityError, match=r"has \d+ bytes, expected \d+"):
        Store(path)


@pytest.mark.parametrize(
    "pattern", ["matrices/*/ids.u16", "matrices/*/values.u*", "matrices/*/totals.f64", "columns/*.codes.i32"]
)
def test_one_altered_byte_is_found_by_verify(damaged, pattern):
    path = damaged(pattern, flip(0))
    findings = Store(path).verify()
    assert [finding.code for finding in findings] == ["STO001"]
    assert findings[0].path.startswith(str(path))


@pytest.mark.parametrize(
    ("pattern", "change", "encoding"),
    [
        ("matrices/*/ids.u16", flip(1), "hot"),
        ("matrices/*/ends.i64", flip(14), "hot"),
        ("matrices/*/ends.i64", flip(0), "hot"),
        ("matrices/*/escapes.i64", flip(0), "hot"),
        ("matrices/*/groups.bin", flip(0), "packed"),
        ("matrices/*/groups.bin", flip(-1), "packed"),
        ("matrices/*/groups.i64", flip(16), "packed"),
        ("matrices/*/groups.i64", flip(9), "packed"),
    ],
)
def test_altered_bytes_that_would_lead_astray_are_an_error_of_reading(damaged, pattern, change, encoding):
    made = Store(damaged(pattern, change, encoding))
    with pytest.raises(IntegrityError, match="altered"):
        made.gather(np.arange(40))


def test_altered_codes_of_cells_and_blobs_are_errors_of_reading(damaged):
    path = damaged("columns/*-it.codes.i32", flip(2))
    with pytest.raises(IntegrityError, match="codes of categories"):
        Store(path).obs_column("it")
    [blob] = (path / "blobs").glob("*.json")
    blob.write_bytes(blob.read_bytes().replace(b"{", b"[", 1))
    with pytest.raises(IntegrityError, match="altered"):
        Store(path).celldata("d0")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda s: s.gather(np.array([40])), InputError, "rows 40 to 40 were asked for; there are 40 cells"),
        (lambda s: s.gather(np.array([-1])), InputError, "rows -1"),
        (lambda s: s.gather(np.zeros(40, bool)), InputError, "expected one of integers"),
        (lambda s: s.gather(np.array([0]), layer="spliced"), NotFoundError, "no matrix 'spliced'; there are X"),
        (lambda s: s.gather(np.array([0]), genes=["ENSG000", "none"]), GenesError, "1 features are not there: none"),
        (lambda s: s.gather(np.array([0]), genes=[1, 1]), GenesError, "asked for twice"),
        (lambda s: s.gather(np.array([0]), genes=[30]), GenesError, "there are 30 features"),
        (lambda s: s.gather(np.array([0]), normalize=0), InputError, "is no sum"),
        (lambda s: s.obs_column("none"), NotFoundError, "no column 'none'"),
        (lambda s: s.celldata("none"), NotFoundError, "no data set 'none'; there are d0"),
    ],
)
def test_asking_for_what_is_not_there_is_a_clear_error(tmp_path, call, error, said):
    with pytest.raises(error, match=said):
        call(store_of(tmp_path / "s", data_of(counts(1))))


def test_many_processes_read_at_once(tmp_path):
    made = store_of(tmp_path / "s", data_of(counts(1)))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for found in pool.map(made.gather, [np.array([3, 1])] * 4):
            same(found, counts(1)[[3, 1]])


# the commands


def test_the_commands_build_describe_and_verify(tmp_path, sources):
    def run(*args):
        return CliRunner().invoke(command, [str(arg) for arg in args])

    file = sources[0][2].args[0]
    built = run("build", "-o", tmp_path / "s", file, tmp_path / "none.h5ad")
    assert (built.exit_code, built.stdout) == (1, f"{tmp_path / 's'}\n")
    assert "none: " in built.stderr
    said = json.loads(run("info", tmp_path / "s", "--json").stdout)
    assert said["cells"] == 1500
    assert [one["id"] for one in said["datasets"]] == ["0"]
    assert run("verify", tmp_path / "s").exit_code == 0
    with (tmp_path / "s/matrices/0-X/ids.u16").open("r+b") as stream:
        stream.write(b"\xff")
    altered = run("verify", tmp_path / "s", "--json")
    assert altered.exit_code == 1
    assert json.loads(altered.stdout)[0]["code"] == "STO001"
    assert run("build", "-o", tmp_path / "t").exit_code == 2
    assert run("info", tmp_path).exit_code == 1
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


def named(genes, **columns):
    """Return three cells with some features in raw, of which something is said."""
    data = data_of(np.eye(3))
    return data.with_(raw=Raw(data.X, pd.DataFrame(columns, index=list(genes))))


ALIKE = {
    "the same genes": (named("abc", n=[1, 2, 3]), named("abc", n=[1, 2, 3]), {"n": [1, 2, 3]}),
    "the same genes, other values": (named("abc", n=[1, 2, 3]), named("abc", n=[1, 2, 4]), {}),
    "another order": (named("abc", n=[1, 2, 3]), named("cba", n=[3, 2, 1]), {"n": [1, 2, 3]}),
    "another order, other values": (named("abc", n=[1, 2, 3]), named("cba", n=[1, 2, 3]), {}),
    "other genes": (named("abc", n=[1, 2, 3]), named("bcd", n=[2, 3, 4]), {"n": [1, 2, 3, 4]}),
    "other genes, other values": (
        named("abc", n=[1, 2, 3], m=list("xyz")),
        named("bcd", n=[9, 3, 4], m=list("yzw")),
        {"m": list("xyzw")},
    ),
    "gaps": (named("abc", n=["x", None, "z"]), named("bcd", n=[None, "z", "w"]), {"n": ["x", None, "z", "w"]}),
    "a gap and a value": (named("abc", n=["x", None, "z"]), named("bcd", n=["y", "z", "w"]), {}),
}


@pytest.mark.parametrize(("first", "second", "said"), ALIKE.values(), ids=ALIKE)
def test_of_genes_is_said_what_all_data_sets_say_alike(tmp_path, first, second, said):
    found = store_of(tmp_path / "s", first, second).celldata().raw.var
    assert list(found) == list(said)
    for name, values in said.items():
        assert found[name].where(found[name].notna(), None).tolist() == values


def test_arrays_of_several_widths_do_not_keep_the_rest_from_being_one(tmp_path):
    datas = [data_of(np.eye(3)).with_(obsm={"X_pca": np.ones((3, width)), "umap": np.ones((3, 2))}) for width in (5, 3)]
    made = store_of(tmp_path / "s", *datas)
    assert list(made.celldata().obsm) == ["umap"]
    assert made.obsm.differing() == ["X_pca"]
    assert made.celldata("d1").obsm["X_pca"].shape == (3, 3)
    with pytest.raises(InputError, match=r"obsm\['X_pca'\] has 3 and 5 columns; read it data set by data set"):
        made.obsm["X_pca"]
