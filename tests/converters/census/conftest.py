"""A small Census as the builder of CELLxGENE lays it out, written with tiledbsoma alone, on disk and behind S3."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import tiledbsoma as soma

from cellzoo.registry.genes import gene_space

os.environ["TILEDB_SM_QUERY_SPARSE_GLOBAL_ORDER_PREPROCESS_TILE_MERGE"] = "0"  # for official clients, see soma.SAFE
SMALL = {"soma.init_buffer_bytes": str(64 * 2**20)}
TEXT = pa.large_string()
TERMS = {
    "assay": {"EFO:0009899": "10x 3' v2", "EFO:0009922": "10x 3' v3", "EFO:0008931": "Smart-seq2"},
    "cell_type": {
        "CL:0000084": "T cell",
        "CL:0000625": "CD8-positive, alpha-beta T cell",
        "CL:0000236": "B cell",
        "CL:0002062": "pulmonary alveolar type 1 cell",
        "unknown": "unknown",
    },
    "development_stage": {"HsapDv:0000087": "adult stage", "unknown": "unknown"},
    "disease": {
        "PATO:0000461": "normal",
        "MONDO:0100096": "COVID-19",
        "MONDO:0005812 || MONDO:0100096": "influenza || COVID-19",
        "MONDO:0005233": "non-small cell lung carcinoma",
    },
    "self_reported_ethnicity": {"unknown": "unknown"},
    "sex": {"PATO:0000383": "female", "PATO:0000384": "male"},
    "tissue": {
        "UBERON:0002048": "lung",
        "UBERON:0008952": "upper lobe of left lung",
        "UBERON:0002171": "lower lobe of right lung",
        "UBERON:0000178": "blood",
        "UBERON:0002107": "liver",
    },
}
GENERAL = {"UBERON:0000178": "blood", "UBERON:0002107": "liver"}
STUDIES = [  # data set, organism, cells, tissues, whether its cells are primary
    ("lung-a", "homo_sapiens", 300, ["UBERON:0002048", "UBERON:0008952", "UBERON:0002171"], True),
    ('it\'s "b"', "homo_sapiens", 250, ["UBERON:0000178", "UBERON:0002107"], True),
    ("copy-c", "homo_sapiens", 120, ["UBERON:0002048", "UBERON:0008952"], False),
    ("lung-d", "homo_sapiens", 200, ["UBERON:0002171"], True),
    ("mouse-e", "mus_musculus", 150, ["UBERON:0002048", "UBERON:0000178"], True),
]
ORGANISMS = {
    "homo_sapiens": ("NCBITaxon:9606", "Homo sapiens", "homo_sapiens-gencode48-protein_coding", 300),
    "mus_musculus": ("NCBITaxon:10090", "Mus musculus", "mus_musculus-gencodeM37-protein_coding", 120),
}


def obs_of(generator, study):
    """Return the cells of a data set with terms at random, each with its label."""
    name, _, cells, tissues, primary = study
    obs = pd.DataFrame({"dataset_id": [name] * cells})
    for field, terms in TERMS.items():
        chosen = generator.choice(tissues if field == "tissue" else list(terms), cells)
        obs[f"{field}_ontology_term_id"], obs[field] = chosen, [terms[term] for term in chosen]
    obs["tissue_general_ontology_term_id"] = [
        term if term in GENERAL else "UBERON:0002048" for term in obs["tissue_ontology_term_id"]
    ]
    obs["tissue_general"] = [GENERAL.get(term, "lung") for term in obs["tissue_ontology_term_id"]]
    obs["donor_id"] = generator.choice(["O'Brien", 'a "b"', "unknown"], cells)
    obs["suspension_type"], obs["tissue_type"] = "cell", "tissue"
    obs["is_primary_data"] = primary
    obs["observation_joinid"] = [f"{name[:4]}{cell:06d}" for cell in range(cells)]
    return obs


def statistics_of(counts):
    """Return what obs says about the counts of each cell, computed densely."""
    dense = counts.toarray().astype(float)
    filled = np.where(dense > 0, dense, np.nan)
    return pd.DataFrame(
        {
            "raw_sum": dense.sum(1),
            "nnz": (dense > 0).sum(1),
            "raw_mean_nnz": np.nanmean(filled, 1),
            "raw_variance_nnz": np.nanvar(filled, 1, ddof=1),
        }
    )


def write_frame(uri, frame, words=()):
    """Write a table, the columns in `words` as dictionaries; created, closed and opened again."""
    arrays = {}
    for name in frame:
        if name in words:
            column = pd.Categorical(frame[name])
            arrays[name] = pa.DictionaryArray.from_arrays(
                pa.array(column.codes, pa.int8()), pa.array(list(column.categories), TEXT)
            )
        else:
            kind = TEXT if frame[name].dtype == object else None
            arrays[name] = pa.array(frame[name].to_numpy(), kind)
    table = pa.table(arrays)
    soma.DataFrame.create(
        str(uri), schema=table.schema, index_column_names=["soma_joinid"], domain=[(0, int(frame["soma_joinid"].max()))]
    ).close()
    with soma.DataFrame.open(str(uri), "w") as stored:
        stored.write(table)


def write_matrix(uri, matrix, kind, tile=True):
    """Write a sparse matrix in the tiles of the builder."""
    create = {
        "capacity": 2**16,
        "dims": {
            "soma_dim_0": {"tile": 2048, "filters": [{"_type": "ZstdFilter", "level": 9}]},
            "soma_dim_1": {"tile": 2048, "filters": ["ByteShuffleFilter", {"_type": "ZstdFilter", "level": 9}]},
        },
        "attrs": {"soma_data": {"filters": ["ByteShuffleFilter", {"_type": "ZstdFilter", "level": 9}]}},
        "cell_order": "row-major",
        "tile_order": "row-major",
        "allows_duplicates": True,
    }
    config = {"tiledb": {"create": create}} if tile else None
    coo = matrix.tocoo()
    with soma.SparseNDArray.create(str(uri), type=kind, shape=matrix.shape, platform_config=config) as stored:
        stored.write(
            pa.table(
                {
                    "soma_dim_0": pa.array(coo.row, pa.int64()),
                    "soma_dim_1": pa.array(coo.col, pa.int64()),
                    "soma_data": pa.array(coo.data, kind),
                }
            )
        )


def collect(uri, kind, *names):
    """Make a collection of what lies in its folder."""
    with kind.create(str(uri)) as made:
        for name in names:
            made.set(name, soma.open(f"{uri}/{name}"), use_relative_uri=True)


def write_experiment(root, organism, generator):
    """Write the cells, genes and counts of one organism; return its cells."""
    _, _, space, genes = ORGANISMS[organism]
    studies = [study for study in STUDIES if study[1] == organism]
    obs = pd.concat([obs_of(generator, study) for study in studies], ignore_index=True)
    counts = sp.random(
        len(obs), genes, 0.2, "csr", random_state=generator, data_rvs=lambda n: generator.integers(1, 30, n)
    )
    counts = counts.tolil()
    counts[:, :2] = 1  # no cell without counts, and a variance for each
    counts[(obs["dataset_id"] == "lung-d").to_numpy(), 10:20] = 0  # genes that this data set does not count
    counts = counts.tocsr().astype(np.float32)
    present = sp.vstack(
        [
            sp.csr_matrix(counts[(obs["dataset_id"] == name).to_numpy()].getnnz(axis=0) > 0)
            if of == organism
            else sp.csr_matrix((1, genes), dtype=bool)
            for name, of, *_ in STUDIES
        ]
    )
    at = obs["dataset_id"].map({study[0]: row for row, study in enumerate(STUDIES)}).to_numpy()
    obs = pd.concat([obs, statistics_of(counts)], axis=1)
    obs["n_measured_vars"] = np.asarray(present.sum(axis=1)).ravel()[at].astype(np.int64)
    obs.insert(0, "soma_joinid", np.arange(len(obs)))
    ids = gene_space(space)
    var = pd.DataFrame(
        {
            "soma_joinid": np.arange(genes),
            "feature_id": ids.ids[:genes].astype(object),
            "feature_name": ids.symbols[:genes].astype(object),
            "feature_type": ["protein_coding"] * genes,
            "feature_length": np.arange(1000, 1000 + genes),
            "nnz": counts.getnnz(axis=0).astype(np.int64),
            "n_measured_obs": (present.T @ np.bincount(at, minlength=len(STUDIES))).astype(np.int64),
        }
    )
    base = root / "census_data" / organism
    (base / "ms" / "RNA" / "X").mkdir(parents=True)
    words = [name for name in obs if obs[name].dtype == object and name != "observation_joinid"]
    write_frame(base / "obs", obs, words)
    write_frame(base / "ms/RNA/var", var)
    write_matrix(base / "ms/RNA/X/raw", counts, pa.float32())
    totals = sp.diags(1 / np.asarray(counts.sum(axis=1)).ravel())
    write_matrix(base / "ms/RNA/X/normalized", (totals @ counts).astype(np.float32), pa.float32())
    write_matrix(base / "ms/RNA/feature_dataset_presence_matrix", present, pa.bool_(), tile=False)
    collect(base / "ms/RNA/X", soma.Collection, "raw", "normalized")
    collect(base / "ms/RNA", soma.Measurement, "var", "X", "feature_dataset_presence_matrix")
    collect(base / "ms", soma.Collection, "RNA")
    collect(base, soma.Experiment, "obs", "ms")
    return obs


def info_of(cells):
    """Return the tables of census_info for the cells of each organism."""
    every = pd.concat(cells.values())
    summary = {
        "census_schema_version": "2.4.0",
        "census_build_date": date(2026, 1, 2).isoformat(),
        "dataset_schema_version": "7.0.0",
        "total_cell_count": str(len(every)),
        "unique_cell_count": str(every["is_primary_data"].sum()),
    }
    for name, obs in cells.items():
        donors = obs[obs["donor_id"] != "unknown"].groupby("dataset_id")["donor_id"].nunique().sum()
        summary[f"number_donors_{name}"] = str(donors)
    names = [study[0] for study in STUDIES]
    datasets = pd.DataFrame(
        {
            "citation": [f"Publication: https://doi.org/10.1/{name}" for name in names],
            "collection_id": "c-1",
            "collection_name": "The collection",
            "collection_doi": [f"10.1/{number}" for number in range(len(names))],
            "collection_doi_label": "Nobody et al. (2026)",
            "dataset_id": names,
            "dataset_version_id": [f"v-{name}" for name in names],
            "dataset_title": [f"Data set {name}" for name in names],
            "dataset_h5ad_path": [f"{name}.h5ad" for name in names],
            "dataset_total_cell_count": [study[2] for study in STUDIES],
        }
    )
    counts = []
    for name, obs in cells.items():
        label = ORGANISMS[name][1]
        counts.append((label, "all", "na", "na", len(obs), obs["is_primary_data"].sum()))
        for field in ("assay", "cell_type", "disease", "self_reported_ethnicity", "sex", "tissue", "tissue_general"):
            for (term, words), group in obs.groupby([f"{field}_ontology_term_id", field]):
                counts.append((label, field, words, term, len(group), group["is_primary_data"].sum()))
        counts.append((label, "suspension_type", "cell", "na", len(obs), obs["is_primary_data"].sum()))
    columns = ["organism", "category", "label", "ontology_term_id", "total_cell_count", "unique_cell_count"]
    organisms = [(taxon, label, name) for name, (taxon, label, *_) in ORGANISMS.items()]
    return {
        "summary": pd.DataFrame({"label": list(summary), "value": list(summary.values())}),
        "datasets": datasets,
        "organisms": pd.DataFrame(organisms, columns=["organism_ontology_term_id", "organism_label", "organism"]),
        "summary_cell_counts": pd.DataFrame(counts, columns=columns),
    }


def write_census(root):
    """Write the whole Census into a new folder."""
    generator = np.random.default_rng(4)
    cells = {name: write_experiment(root, name, generator) for name in ORGANISMS}
    collect(root / "census_data", soma.Collection, *cells)
    (root / "census_info").mkdir()
    for name, table in info_of(cells).items():
        table.insert(0, "soma_joinid", np.arange(len(table)))
        write_frame(root / "census_info" / name, table, ("organism", "category") if "category" in table else ())
    collect(root / "census_info", soma.Collection, "summary", "datasets", "organisms", "summary_cell_counts")
    collect(root, soma.Collection, "census_info", "census_data")
    with soma.open(str(root), "w") as opened:
        opened.metadata.update({"created_on": "2026-01-02T03:04:05", "git_commit_sha": "0" * 40})
    return root


@pytest.fixture(scope="session")
def mini(tmp_path_factory):
    """The folder of a small Census: do not change it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return write_census(tmp_path_factory.mktemp("census") / "2026-01-02")


@pytest.fixture(scope="session")
def s3(mini):
    """The same Census behind a local S3 server: its address, and the TileDB settings to read it with."""
    import boto3

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="y",
        )
        client.create_bucket(Bucket="census")
        for path in mini.rglob("*"):
            if path.is_file():
                client.upload_file(str(path), "census", f"2026-01-02/soma/{path.relative_to(mini)}")
        yield (
            "s3://census/2026-01-02/soma/",
            {
                "vfs.s3.endpoint_override": f"127.0.0.1:{port}",
                "vfs.s3.scheme": "http",
                "vfs.s3.use_virtual_addressing": "false",
                "vfs.s3.region": "us-east-1",
                "vfs.s3.aws_access_key_id": "x",
                "vfs.s3.aws_secret_access_key": "y",
                "vfs.s3.no_sign_request": "false",
            },
        )
    finally:
        server.terminate()
        server.wait()


def without_words(table, folder):
    """Write a table in the order in which tiledbsoma 2 loses the words of dictionaries; return its place.

    Whether it loses them is decided by milliseconds: on a busy machine it may keep them.
    """
    words = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    for attempt in range(50):
        beside = folder / f"beside-{attempt}"
        parent: Any
        with soma.Collection.create(str(beside)) as parent:
            domain = [(0, table.num_rows - 1)]
            parent.add_new_dataframe("frame", schema=table.schema, domain=domain).write(table)
        with soma.DataFrame.open(str(beside / "frame")) as stored:
            if not any(len(kept) for kept in stored.get_enumeration_values(words).values()):
                return beside / "frame"
    raise AssertionError(f"tiledbsoma {soma.__version__} keeps all words: what guards against that may go")


@pytest.fixture
def wordless(tmp_path):
    """What writes a table so that the words of its dictionaries are lost."""
    return lambda table: without_words(table, tmp_path)


@pytest.fixture
def spoiled(mini, tmp_path):
    """A copy of the small Census, with what rewrites its tables and matrices."""
    return Spoiled(shutil.copytree(mini, tmp_path / "census"))


class Spoiled:
    """A Census that is changed at one place."""

    def __init__(self, path):
        self.path = path

    def frame(self, place, change):
        """Rewrite a table as what a function makes of it; text columns that were dictionaries stay so."""
        uri = self.path / place
        with soma.DataFrame.open(str(uri)) as stored:
            table = stored.read().concat()
        frame = table.to_pandas()
        words = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
        frame = frame.assign(**{name: frame[name].astype(object) for name in words})
        frame = change(frame)
        shutil.rmtree(uri)
        write_frame(uri, frame, [name for name in words if name in frame])

    def doubles(self, place):
        """Rewrite a matrix with values of another type."""
        self.matrix(place, lambda matrix: matrix, pa.float64())

    def matrix(self, place, change, kind=None):
        """Rewrite a matrix as what a function makes of it."""
        uri = self.path / place
        kind = kind or pa.float32()
        with soma.SparseNDArray.open(str(uri)) as stored:
            matrix = stored.read().coos().concat().to_scipy().tocsr()
        shutil.rmtree(uri)
        write_matrix(uri, change(matrix), kind)

    def lose_words(self, place):
        """Rewrite a table in the order in which tiledbsoma 2 loses the words of dictionaries."""
        uri = self.path / place
        with soma.DataFrame.open(str(uri)) as stored:
            table = stored.read().concat()
        shutil.rmtree(uri)
        shutil.move(without_words(table, self.path.parent), uri)

    def unset(self, place, name):
        """Take a member out of a collection."""
        opened: Any
        with soma.Collection.open(str(self.path / place), "d") as opened:
            del opened[name]

    def unsay(self, place, name):
        """Take something out of the metadata of a collection."""
        opened: Any
        with soma.Collection.open(str(self.path / place), "w") as opened:
            del opened.metadata[name]
