"""Laws: a way there and back is the identity on every field, types and orders of categories included."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.cellxgene import converted, form
from cellzoo.converters.cellxgene.frames import alike, same
from cellzoo.converters.cellxgene.portal import labelled
from cellzoo.converters.h5ad import open_h5ad, write_h5ad
from cellzoo.converters.rows import Memory, to_csr
from cellzoo.registry.genes import gene_space

SPACE = gene_space("homo_sapiens-gencode48-protein_coding")
GENES = SPACE.ids[[3, 44, 555, 6006, 7007, 18018, 19019]].tolist()
ERCC = "ERCC-00002"
TERMS = {
    "assay": ["EFO:0009899", "EFO:0008722", "EFO:0010010"],
    "cell_type": ["CL:0000084", "CL:0000236", "CL:0000235", "unknown"],
    "development_stage": ["HsapDv:0000258", "HsapDv:0000087", "unknown"],
    "disease": ["PATO:0000461", "MONDO:0005061", "MONDO:0005148", "MONDO:0005061 || MONDO:0005148"],
    "self_reported_ethnicity": ["HANCESTRO:0022", "HANCESTRO:0021 || HANCESTRO:0022", "unknown"],
    "sex": ["PATO:0000383", "PATO:0000384", "unknown"],
    "tissue": ["UBERON:0000178", "UBERON:0002048", "UBERON:0002371"],
}
SFAIRA = {"assay": "assay_sc", "self_reported_ethnicity": "ethnicity", "tissue": "organ"}
NAMES = (
    *("organ", "individual", "assay_sc", "sample_source", "tech_sample", "bio_sample", "id", "gm", "treatment"),
    *("dataset_id", "condition", "cell_line", "cell_line_ontology_term_id", "carried_sfaira_obs_organ", "notes"),
    *("ethnicity_original", "cell_type_original", "tissue_original", "state_exact", "source_doi", "dose/day"),
)
"""Further columns of cells: of the other form, of the house, of nobody."""
KEYS = (
    *("author", "year", "organ", "cell_type", "annotated", "primary_data", "doi_journal", "mapped_features", "id"),
    *("citation", "notes", "download_url_data", "load_raw"),
)
"""Further keys of uns."""
texts = st.sampled_from(["a", "b", "unknown", "na", "x || y", "ä", ""])


def column(draw, cells, values=texts):
    """Return a column of cells of some type."""
    kind = draw(st.sampled_from(["category", "ordered", "object", "int", "float", "bool", "numbers"]))
    if kind in {"category", "ordered"}:
        return category(draw, draw(st.lists(values, min_size=cells, max_size=cells)), ordered=kind == "ordered")
    if kind == "object":
        return np.array(draw(st.lists(values, min_size=cells, max_size=cells)), dtype=object)
    if kind == "numbers":
        return pd.Categorical(draw(st.lists(st.integers(0, 3), min_size=cells, max_size=cells)))
    numbers = np.array(draw(st.lists(st.integers(0, 3), min_size=cells, max_size=cells)))
    if kind == "float":
        return np.where(numbers == 0, np.nan, numbers / 3)
    return numbers > 1 if kind == "bool" else numbers.astype(np.int32)


def category(draw, values, ordered=False, more=()):
    """Return values as categories in some order, perhaps with one that no cell has."""
    names = draw(st.permutations(sorted({*values, *more})))
    return pd.Categorical(values, categories=list(names), ordered=ordered)


def several(draw, names, make, most=4):
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=most))
    return {name: make() for name in chosen}


def matrix(draw, cells, genes, dtype=np.float32):
    """Return a sparse matrix of small integers, or of their quarters."""
    seed = draw(st.integers(0, 2**16))
    values = np.random.default_rng(seed).poisson(0.8, (cells, genes))
    return Memory(sp.csr_matrix(values.astype(dtype)))


def values_of_uns(draw):
    kind = draw(st.sampled_from(["text", "texts", "number", "flag", "array", "dict"]))
    return {
        "text": "some text",
        "texts": np.array(["b", "a"], dtype=object),
        "number": 2019,
        "flag": True,
        "array": np.array([1.5, np.nan]),
        "dict": {"inner": {"deeper": "one"}, "of": np.array([1, 2])},
    }[kind]


def arrays(draw, data):
    """Return data with embeddings, graphs and arrays of genes."""
    rng = np.random.default_rng(7)
    cells, genes = data.n_obs, data.n_vars
    obsm = {"X_umap": rng.random((cells, 2)).astype(np.float32), "spatial": rng.random((cells, 2))}
    kept = draw(st.sampled_from([("X_umap",), ("X_umap", "spatial")]))
    more = draw(st.booleans())
    return data.with_(
        obsm={name: obsm[name] for name in kept},
        varm={"PCs": rng.random((genes, 3))} if more else {},
        obsp={"distances": sp.csr_matrix(rng.random((cells, cells)))} if more else {},
        varp={"links": rng.random((genes, genes))} if more else {},
    )


@st.composite
def cellxgene(draw):
    """Draw a CELLxGENE file: labelled or not, raw or not, some of its cells of a cell line."""
    cells = draw(st.integers(1, 5))
    names = draw(st.permutations([*GENES, ERCC]))[: draw(st.integers(2, 8))]
    index = pd.Index([f"cell{number}" for number in range(cells)], name=draw(st.sampled_from([None, "barcode"])))
    lines = np.array(draw(st.lists(st.sampled_from([False, False, True]), min_size=cells, max_size=cells)))
    obs = pd.DataFrame(index=index)
    for field, terms in TERMS.items():
        values = draw(st.lists(st.sampled_from(terms), min_size=cells, max_size=cells))
        if field == "tissue":
            values = ["CVCL_0023" if line else one for one, line in zip(values, lines, strict=True)]
        elif field in {"development_stage", "self_reported_ethnicity", "sex"}:
            values = ["na" if line else one for one, line in zip(values, lines, strict=True)]
        obs[f"{field}_ontology_term_id"] = category(draw, values)
    obs["donor_id"] = category(draw, ["na" if line else f"d{number % 2}" for number, line in enumerate(lines)])
    kinds = draw(
        st.lists(st.sampled_from(["tissue", "organoid", "primary cell culture"]), min_size=cells, max_size=cells)
    )
    kinds = ["cell line" if line else kind for kind, line in zip(kinds, lines, strict=True)]
    obs["tissue_type"] = category(draw, kinds)
    obs["suspension_type"] = category(draw, ["cell"] * cells, more=("nucleus",))
    obs["is_primary_data"] = np.array(draw(st.lists(st.booleans(), min_size=cells, max_size=cells)))
    for name, values in several(draw, NAMES, lambda: column(draw, cells)).items():
        obs[name] = values
    var = pd.DataFrame(index=pd.Index(names, name=draw(st.sampled_from([None, "gene"]))))
    for name, values in several(
        draw, ("gene_symbol", "ensembl", "mean", "highly"), lambda: column(draw, len(names))
    ).items():
        var[name] = values
    raw = draw(st.booleans())
    data = CellData(
        obs=obs,
        var=var.assign(feature_is_filtered=draw(st.booleans()) if raw else False),
        X=matrix(draw, cells, len(names), draw(st.sampled_from([np.float32, np.float64]))),
        raw=Raw(matrix(draw, cells, len(names)), var[var.columns[: draw(st.integers(0, 2))]]) if raw else None,
        layers=several(draw, ("spliced", "processed_counts", "processed"), lambda: matrix(draw, cells, len(names))),
        uns={"title": "Some cells", "organism_ontology_term_id": "NCBITaxon:9606"}
        | several(draw, KEYS, lambda: values_of_uns(draw))
        | several(draw, ("batch_condition", "default_embedding"), lambda: np.array(["donor_id"], dtype=object)),
    )
    if "default_embedding" in data.uns:
        data.uns["default_embedding"] = "X_umap"
    if draw(st.booleans()):
        data.obs["experimental_condition_ontology_term_id"] = category(draw, ["CHEBI:15377"] * cells, more=("na",))
    if draw(st.booleans()):
        data = labelled(data)
        if draw(st.booleans()):  # labels of another year
            data.obs["cell_type"] = category(draw, ["T-zelle"] * cells)
    return arrays(draw, data)


@st.composite
def sfaira(draw):
    """Draw a sfaira file: with ids, names and originals, values that no other schema has, columns of any type."""
    cells = draw(st.integers(1, 5))
    names = draw(st.permutations([*GENES, ERCC]))[: draw(st.integers(2, 8))]
    obs = pd.DataFrame(index=pd.Index([f"cell{number}" for number in range(cells)]))
    organism = draw(st.sampled_from(["NCBITaxon:9606", "unknown"]))
    obs["organism"] = pd.Categorical(["Homo sapiens" if organism != "unknown" else "unknown"] * cells)
    obs["organism_ontology_term_id"] = pd.Categorical([organism] * cells)
    for field, terms in TERMS.items():
        key = SFAIRA.get(field, field)
        odd = ["NOT_A_CELL", "custom_thing"] if field == "cell_type" else ["unknown", "custom_organ"]
        values = draw(st.lists(st.sampled_from([*terms, *odd]), min_size=cells, max_size=cells))
        obs[f"{key}_ontology_term_id"] = category(draw, values)
        if draw(st.booleans()):
            obs[key] = column(draw, cells, st.sampled_from(["healthy", "T cell", "NOT_A_CELL", "unknown"]))
        if draw(st.booleans()):
            obs[f"{key}_original"] = column(draw, cells)
    sources = st.sampled_from(["primary_tissue", "tumor", "2d_culture", "3d_culture", "unknown"])
    if draw(st.booleans()):
        obs["sample_source"] = category(draw, draw(st.lists(sources, min_size=cells, max_size=cells)))
    if draw(st.booleans()):
        lines = st.sampled_from(["CVCL_0023", "unknown"])
        obs["cell_line_ontology_term_id"] = category(draw, draw(st.lists(lines, min_size=cells, max_size=cells)))
    more = (
        *("individual", "suspension_type", "bio_sample", "tech_sample", "gm", "treatment", "state_exact", "id"),
        *(
            "assay_differentiation",
            "source_doi",
            "tissue",
            "donor_id",
            "assay",
            "__x",
            "observation_joinid",
            "dose/day",
        ),
    )
    for name, values in several(draw, more, lambda: column(draw, cells), 5).items():
        obs[name] = values
    var = pd.DataFrame(index=pd.Index(names, name=draw(st.sampled_from([None, "ensembl"]))))
    if draw(st.booleans()):
        var["ensembl"] = names
    columns = ("gene_symbol", "feature_biotype", "feature_name", "feature_length", "mean")
    for name, values in several(draw, columns, lambda: column(draw, len(names))).items():
        var[name] = values
    layers = ("processed_counts", "spliced", "processed")
    more_keys = ("title", "X_normalization", "publication_doi", "organ_colors", "cell_type_colors", "default_embedding")
    data = CellData(
        obs=obs,
        var=var,
        X=matrix(draw, cells, len(names), draw(st.sampled_from([np.float32, np.int64]))),
        layers=several(draw, layers, lambda: matrix(draw, cells, len(names))),
        uns=several(draw, (*KEYS, *more_keys), lambda: values_of_uns(draw), 8),
    )
    return arrays(draw, data) if draw(st.booleans()) else data


@st.composite
def streamlined(draw):
    """Draw streamlined data over a small gene space, some genes of which were not measured."""
    data = draw(cellxgene())
    cells, genes = data.n_obs, len(GENES)
    measured = np.array(draw(st.lists(st.booleans(), min_size=genes, max_size=genes)))
    measured[0] = True
    counts = matrix(draw, cells, genes).csr.multiply(measured[None, :]).astype(np.float32)
    obs = data.obs.drop(columns=[name for name in data.obs if name in {"observation_joinid", "notes", "dose/day"}])
    obs.insert(0, "organism_ontology_term_id", pd.Categorical(["NCBITaxon:9606"] * cells))
    obs.insert(1, "organism", pd.Categorical(["Homo sapiens"] * cells))
    var = pd.DataFrame({"feature_name": [f"symbol{gene}" for gene in GENES], "measured": measured}, index=GENES)
    house = {"dataset_id": "made-up", "study": "x", "gene_space": "small", "gene_space_sha256": "0" * 64}
    return CellData(
        obs=obs,
        var=var.rename_axis("ensembl_id"),
        X=Memory(sp.csr_matrix(counts)),
        layers={"unspliced_counts": Memory(sp.csr_matrix(counts))} if draw(st.booleans()) else {},
        uns={"title": "Some cells", "organism_ontology_term_id": "NCBITaxon:9606", "cellzoo": house},
    )


def differences(one, other):
    """Return where two data differ: types, orders and categories count; the order of keys does not."""
    found = [name for name in ("obs", "var") if not _frames(getattr(one, name), getattr(other, name))]
    found += ["uns"] if not alike(dict(one.uns), dict(other.uns)) else []
    found += ["X"] if not _matrices(one.X, other.X) else []
    if (one.raw is None) != (other.raw is None):
        found.append("raw")
    elif one.raw is not None:
        found += ["raw.X"] if not _matrices(one.raw.X, other.raw.X) else []
        found += ["raw.var"] if not _frames(one.raw.var, other.raw.var) else []
    if one.layers.keys() != other.layers.keys():
        found.append("layers")
    else:
        found += [f"layers/{name}" for name in one.layers if not _matrices(one.layers[name], other.layers[name])]
    for name in ("obsm", "varm", "obsp", "varp"):
        found += [name] if not alike(dict(getattr(one, name)), dict(getattr(other, name))) else []
    return found


def _frames(one, other):
    return (
        list(one) == list(other)
        and one.index.equals(other.index)
        and one.index.name == other.index.name
        and all(same(one[name], other[name]) for name in one)
    )


def _matrices(one, other):
    if one is None or other is None:
        return one is other
    left, right = to_csr(one), to_csr(other)
    return left.dtype == right.dtype and left.shape == right.shape and (left != right).nnz == 0


many = settings(max_examples=500, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
some = settings(max_examples=60, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
few = settings(max_examples=15, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


def to(target, data):
    return converted(data, target, check=False)[0]


@many
@given(cellxgene())
def test_cellxgene_to_sfaira_and_back_is_the_identity(data):
    assert differences(data, to("cellxgene", to("sfaira", data))) == []


WAYS = (["streamlined"], ["sfaira"], ["streamlined", "sfaira", "streamlined"], ["sfaira", "streamlined", "sfaira"])


@some
@given(cellxgene(), st.sampled_from(WAYS))
def test_cellxgene_there_and_back_the_same_way_is_the_identity(data, way):
    found = data
    for target in way:
        found = to(target, found)
        assert form(found) == target
    assert differences(data, to("cellxgene", found)) == []


@many
@given(sfaira())
def test_sfaira_to_cellxgene_and_back_is_the_identity(data):
    assert differences(data, to("sfaira", to("cellxgene", data))) == []


@some
@given(streamlined(), st.sampled_from([["cellxgene"], ["sfaira"], ["cellxgene", "sfaira", "cellxgene"]]))
def test_streamlined_to_others_and_back_is_the_identity(data, way):
    found = data
    for target in way:
        found = to(target, found)
    assert differences(data, to("streamlined", found)) == []


@few
@given(st.one_of(cellxgene(), sfaira(), streamlined()), st.sampled_from(["cellxgene", "sfaira", "streamlined"]))
def test_converting_twice_is_converting_once(data, target):
    once = to(target, data)
    assert differences(once, to(target, once)) == []


@few
@given(cellxgene())
def test_a_way_over_files_is_the_identity(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("files")
    data = data.with_(obs=data.obs.drop(columns="dose/day", errors="ignore"))  # a slash cannot be in a file
    first = open_h5ad(write_h5ad(data, folder / "first.h5ad"))
    middle = open_h5ad(write_h5ad(to("sfaira", first), folder / "middle.h5ad"))
    last = open_h5ad(write_h5ad(to("cellxgene", middle), folder / "last.h5ad"))
    assert differences(first, last) == []


@few
@given(st.one_of(cellxgene(), sfaira(), streamlined()), st.sampled_from(["cellxgene", "sfaira"]), st.randoms())
def test_the_order_of_genes_and_cells_makes_no_difference(data, target, chance):
    cells, genes = list(range(data.n_obs)), list(range(data.n_vars))
    chance.shuffle(cells)
    chance.shuffle(genes)
    shuffled = ordered(data, data.obs.index[cells], data.var.index[genes])
    found, expected = to(target, shuffled), to(target, data)
    found = ordered(found, expected.obs.index, expected.var.index)
    for name in ("genes", "conformed"):  # where genes stood before is told by their place
        for one in (found, expected):
            one.uns.get("cellzoo", {}).get("carried", {}).pop(name, None)
    one, other = (data.obsm.pop("X_pca", np.zeros(0)) for data in (found, expected))
    assert np.allclose(one, other, atol=1e-4)
    assert set(differences(found, expected)) <= {"uns"}


def ordered(data, cells, genes):
    """Return data with cells and genes in another order."""
    rows, columns = data.obs.index.get_indexer(cells), data.var.index.get_indexer(genes)

    def matrix(one):
        return one if one is None else Memory(to_csr(one)[rows][:, columns])

    return data.with_(
        obs=data.obs.iloc[rows],
        var=data.var.iloc[columns],
        X=matrix(data.X),
        raw=data.raw and Raw(matrix(data.raw.X), data.raw.var.iloc[columns]),
        layers={name: matrix(one) for name, one in data.layers.items()},
        obsm={name: one[rows] for name, one in data.obsm.items()},
        varm={name: one[columns] for name, one in data.varm.items()},
        obsp={name: one[rows][:, rows] for name, one in data.obsp.items()},
        varp={name: one[columns][:, columns] for name, one in data.varp.items()},
    )
