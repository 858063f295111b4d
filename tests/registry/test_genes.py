"""Genes: what a gene space is and where the gene names of a file land in it."""

from collections import Counter

import numpy as np
import pytest
import rdata
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry.genes import GeneReport, GeneSpace, detect_kind, detect_organism, gene_space, map_genes
from cellzoo.registry.genetable import (
    BESIDE,
    MORE,
    PACKAGED,
    are_features,
    features,
    gene_table,
    organism_of_id,
)

HUMAN, MOUSE = "NCBITaxon:9606", "NCBITaxon:10090"
TP53 = "ENSG00000141510"
PBMC3K = "d8f27cd6e0f1dc848a58ba1cbde9a7824c0e8271205c3682a54b56213961dac0"


def land(names: list[str], organism: str = HUMAN) -> tuple[list[tuple[str, str] | None], GeneReport]:
    """Return (symbol in the space, how) of each name, None where not mapped; and the report."""
    space = gene_space(organism)
    mapping = map_genes(names, organism, space)
    places = zip(mapping.position.tolist(), mapping.how.tolist(), strict=True)
    return [(str(space.symbols[at]), how) if at >= 0 else None for at, how in places], mapping.report


@pytest.mark.parametrize(
    ("organism", "name", "size", "sha256"),
    [
        (
            HUMAN,
            "homo_sapiens-gencode48-protein_coding",
            20120,
            "f5afdc2a602c9792e1268642a3d59e005973eeb135b8c88a7bf02d86a9f8a8d3",
        ),
        (
            MOUSE,
            "mus_musculus-gencodeM37-protein_coding",
            21807,
            "81c8f5b988b79c2d5270f8c43955c2341e4043ddadfd29727a88d9ea5a4de58a",
        ),
    ],
)
def test_gene_spaces_never_change(organism, name, size, sha256):
    space = gene_space(organism)
    assert (space.name, space.organism, len(space), space.sha256) == (name, organism, size, sha256)
    assert space.ids.tolist() == sorted(set(space.ids.tolist()))
    assert gene_space(name) is space


def test_a_gene_space_can_hold_other_biotypes():
    assert len(gene_space("homo_sapiens-gencode48-all")) == 78894
    assert len(gene_space("mus_musculus-gencodeM37-lncRNA")) == 32897
    assert land(["MALAT1"])[0] == [None]
    assert map_genes(["MALAT1"], HUMAN, gene_space("homo_sapiens-gencode48-lncRNA")).how.tolist() == ["symbol"]


@pytest.mark.parametrize(
    "name", ["homo_sapiens-gencode44-protein_coding", "homo_sapiens-gencode48-genes", "NCBITaxon:9615"]
)
def test_an_unknown_gene_space_is_refused_with_the_known_names(name):
    with pytest.raises(
        NotFoundError, match="or a name like homo_sapiens-gencode48-protein_coding, mus_musculus-gencode"
    ):
        gene_space(name)


@pytest.mark.parametrize(
    ("names", "places"),
    [
        pytest.param([TP53], [("TP53", "id")], id="an id"),
        pytest.param([f"{TP53}.18"], [("TP53", "id")], id="a versioned id loses its version"),
        pytest.param([f"{TP53}.18_PAR_Y"], [None], id="the copy on Y is not the gene on X"),
        pytest.param(["TP53"], [("TP53", "symbol")], id="a symbol"),
        pytest.param(["SEPT7", "C10orf118"], [("SEPTIN7", "previous"), ("CCDC186", "previous")], id="retired symbols"),
        pytest.param(["ENSG00000112096.19"], [("SOD2", "retired")], id="a retired id"),
        pytest.param(["ENSG00000112096", "SOD2"], [None, ("SOD2", "symbol")], id="a retired id yields to the symbol"),
        pytest.param(["PD-1", "p53"], [("PDCD1", "alias"), ("TP53", "alias")], id="aliases"),
        pytest.param(["HLA-A", "HLA-B", "HLA"], [("HLA-A", "symbol"), ("HLA-B", "symbol"), None], id="HLA stays apart"),
        pytest.param(["TP53.1", "TP53-1", "TBCE.1"], [None, None, None], id="no other suffix is taken off"),
        pytest.param(["tp53", "Tp53"], [None, None], id="case counts"),
        pytest.param(["IL3RA", "CD99"], [("IL3RA", "symbol"), ("CD99", "symbol")], id="X and Y copies: HGNC means X"),
        pytest.param(["TP53", "TP53"], [("TP53", "symbol")] * 2, id="a symbol twice is summed by the caller"),
        pytest.param(["p53", "TP53"], [None, ("TP53", "symbol")], id="an alias yields to the symbol"),
        pytest.param(["p53", f"{TP53}.3"], [None, ("TP53", "id")], id="an alias yields to the id"),
        pytest.param(["A1S9T", "UBE1"], [None, None], id="two retired symbols of one gene are not merged"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_names_land_where_they_belong(names, places):
    assert land(names)[0] == places


def test_a_current_symbol_wins_over_what_another_gene_was_called():
    space = gene_space(HUMAN)
    table = {str(symbol) for symbol in space.symbols}
    places, _ = land(sorted(table))
    assert all(place is None or place[0] == name for name, place in zip(sorted(table), places, strict=True))
    assert sum(place is not None for place in places) == len(table)


def test_the_report_says_what_became_of_every_name():
    names = ["TP53", TP53, "p53", "MALAT1", "XIST", "Cd3e", "ENSMUSG00000032093", "c1ORF220", "nonsense", "SEPT7"]
    _, report = land([*names, "SEPT7"])
    assert report.counts == {"id": 1, "symbol": 1, "previous": 1}
    assert report.duplicates == {"ENSG00000122545": ["SEPT7", "SEPT7"], TP53: [TP53, "TP53"]}
    assert report.outside == {"MALAT1": "lncRNA", "XIST": "lncRNA"}
    assert report.outside_biotypes == {"lncRNA": 2}
    assert report.conflicts == {"p53": TP53}
    assert report.other_organism == ["Cd3e", "ENSMUSG00000032093"]
    assert report.suggestions == {"c1ORF220": "C1orf220"}
    assert report.unmapped == ["nonsense"]
    assert report.ambiguous == {}


def test_a_symbol_of_several_genes_is_not_guessed():
    places, report = land(["Ddit3", "chop"], MOUSE)
    assert places == [None, None]
    assert report.ambiguous == {"Ddit3": ["ENSMUSG00000025408", "ENSMUSG00000116429"]}


def test_a_symbol_of_one_coding_and_other_genes_is_the_coding_one():
    space = gene_space(HUMAN)
    everything = gene_space("homo_sapiens-gencode48-all")
    once = {symbol for symbol, times in Counter(space.symbols.tolist()).items() if times == 1}
    shared = [symbol for symbol, times in Counter(everything.symbols.tolist()).items() if times > 1 and symbol in once]
    assert len(shared) == 9
    assert land(shared)[0] == [(symbol, "symbol") for symbol in shared]


def test_the_summary_is_plain_and_short():
    mapping = map_genes(["TP53", *(f"no{number}" for number in range(30))], HUMAN, gene_space(HUMAN))
    summary = mapping.summary(examples=2)
    assert (summary["names"], summary["mapped"], summary["genes"], summary["by"]) == (31, 1, 1, {"symbol": 1})
    assert summary["unmapped"] == {"number": 30, "examples": ["no0", "no1"]}
    assert summary["outside"] == {"number": 0, "examples": {}}


def test_retired_ids_are_reported_with_who_says_what_they_are():
    names = ["ENSG00000148362", "ENSG00000112096.3", "ENSG00000002079", "ENSG00000255507"]
    _, report = land(names)
    assert report.counts == {"retired": 3}
    assert report.outside == {"ENSG00000255507": "lncRNA"}
    assert report.retired == {
        "ENSG00000148362": "homo_sapiens-gencode44",
        "ENSG00000112096.3": "homo_sapiens-gencode38",
        "ENSG00000002079": "HGNC",
    }
    assert land(["ENSG00000112096", "SOD2"])[1].retired == {}
    assert land(["ENSMUSG00000116048"], MOUSE) == (
        [("Septin2", "retired")],
        GeneReport(counts={"retired": 1}, retired={"ENSMUSG00000116048": "MGI"}),
    )


@pytest.mark.parametrize(("table", "number"), [("homo_sapiens-gencode48", 20), ("mus_musculus-gencodeM37", 21)])
def test_a_retired_id_is_in_the_table_under_no_other_name(table, number):
    genes = gene_table(table)
    assert len(genes.retired) == len(genes.retired_in) == number
    assert not genes.retired.keys() & genes.row.keys()
    assert all(len(genes.of_symbol[genes.genes[row][1]]) == 1 for row in genes.retired.values())


def test_a_table_has_a_row_for_each_name_as_given():
    names = ["TP53", "p53", "MALAT1", "ENSG00000112096", "Cd3e", "zz", "c1ORF220", "TP53", "TP54"]
    table = map_genes(names, space=gene_space(HUMAN)).table()
    assert table.columns.tolist() == ["name", "kind", "id", "symbol", "note"]
    assert table.values.tolist() == [
        ["TP53", "symbol", TP53, "TP53", ""],
        ["p53", "conflict", "", "", TP53],
        ["MALAT1", "outside", "", "", "lncRNA"],
        ["ENSG00000112096", "retired", "ENSG00000291237", "SOD2", "homo_sapiens-gencode38"],
        ["Cd3e", "other_organism", "", "", ""],
        ["zz", "unmapped", "", "", ""],
        ["c1ORF220", "suggestion", "", "", "C1orf220"],
        ["TP53", "symbol", TP53, "TP53", ""],
        ["TP54", "unmapped", "", "", ""],
    ]
    shared = map_genes(["Ddit3"], MOUSE).table().values.tolist()
    assert shared == [["Ddit3", "ambiguous", "", "", "ENSMUSG00000025408 ENSMUSG00000116429"]]
    assert map_genes([], HUMAN).table().empty


@pytest.mark.parametrize(
    ("names", "options", "space"),
    [
        (["CD3E", "TP53"], {}, "homo_sapiens-gencode48-protein_coding"),
        (["Cd3e", "Trp53"], {}, "mus_musculus-gencodeM37-protein_coding"),
        (["Cd3e"], {"organism": "Homo sapiens"}, "homo_sapiens-gencode48-protein_coding"),
        (["zz"], {"space": "homo_sapiens-gencode48-lncRNA"}, "homo_sapiens-gencode48-lncRNA"),
    ],
)
def test_organism_and_space_are_told_by_the_names_or_given(names, options, space):
    assert map_genes(names, **options).space.name == space


def test_names_of_no_one_organism_are_refused():
    with pytest.raises(
        InputError, match=r"2 gene names .* \(50% Homo sapiens, 50% Mus musculus\), .* Name the organism"
    ):
        map_genes(["CD3E", "Cd3e"])
    with pytest.raises(NotFoundError, match="no gene space 'NCBITaxon:9615'; .* 'cellzoo genes add' adds any"):
        map_genes(["CD3E"], "NCBITaxon:9615")


def test_a_space_that_is_no_table_here_still_finds_its_genes_and_the_known_aliases():
    ids, symbols = np.array([TP53, "ENSG00009999999"]), np.array(["TP53", "NEWGENE"])
    space = GeneSpace("homo_sapiens-ensembl999-protein_coding", HUMAN, ids, symbols)
    mapping = map_genes(["p53", "NEWGENE", "CD3E"], space=space)
    assert mapping.position.tolist() == [0, 1, -1]
    assert mapping.how.tolist() == ["alias", "symbol", ""]
    assert mapping.report.outside == {"CD3E": "protein_coding of homo_sapiens-gencode48"}


def test_the_space_must_be_of_the_organism():
    with pytest.raises(
        InputError, match="names are of NCBITaxon:9606, the gene space mus_musculus-.+ of NCBITaxon:10090"
    ):
        map_genes(["TP53"], HUMAN, gene_space(MOUSE))


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["ENSG00000141510.3", "ENSMUSG00000032093", "x"], "ensembl"),
        (["TP53", "ENSG00000141510"], "symbol"),
        ([], "symbol"),
    ],
)
def test_kinds_of_names_are_told_apart(names, kind):
    assert detect_kind(names) == kind


@pytest.mark.parametrize(
    ("names", "organism"),
    [
        (["Cd3e", "Actb", "ENSMUSG00000032093"], MOUSE),
        (["CD3E", "ACTB", "TP53"], HUMAN),
        (["CD3E", "Cd3e"], None),
        (["nonsense"], None),
        (["ENSMFAG00000040556", "ENSMFAG00000031981.2", "CD3E"], "NCBITaxon:9541"),
        (["ENSMFAG00000040556", "CD3E"], None),
        ([], None),
    ],
)
def test_organisms_are_told_apart(names, organism):
    assert detect_organism(names)[0] == organism


@pytest.mark.filterwarnings("ignore:Missing constructor for R class")
def test_most_coding_genes_of_an_hg19_matrix_are_found(mirror):
    names = [str(name) for name in rdata.read_rda(mirror / PBMC3K)["pbmc3k"].Dimnames[0]]
    mapping = map_genes(names, HUMAN, gene_space(HUMAN))
    assert len(names) == 32738
    assert mapping.report.counts == {"symbol": 17684, "previous": 1170, "alias": 18}
    assert len(set(mapping.position.tolist()) - {-1}) == 18872
    assert detect_organism(names)[0] == HUMAN


NAMES = [
    "ENSG00000112096",
    "SOD2",
    "TP53",
    TP53,
    f"{TP53}.1",
    "p53",
    "SEPT7",
    "SEPTIN7",
    "A1S9T",
    "UBE1",
    "UBA1",
    "HLA-A",
    "MALAT1",
    "Cd3e",
    "zz",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(NAMES), max_size=20).flatmap(lambda x: st.tuples(st.just(x), st.permutations(x))))
def test_the_order_of_names_plays_no_part(pair):
    names, shuffled = pair
    (places, report), (moved, again) = land(names), land(shuffled)
    assert report == again
    assert dict(zip(names, places, strict=True)) == dict(zip(shuffled, moved, strict=True))


TABLES = [*(PACKAGED | MORE).items(), *BESIDE.items()]


@pytest.mark.parametrize(("organism", "table"), TABLES, ids=[name for _, name in TABLES])
def test_every_organism_of_cellxgene_has_a_table(organism, table):
    genes = gene_table(table).genes
    assert [gene for gene, _, _ in genes] == sorted({gene for gene, _, _ in genes})
    known = {organism_of_id(gene) for gene, _, _ in genes[:: len(genes) // 10]}
    assert known <= ({organism, None} if organism not in BESIDE else {None})
    ids = [gene for gene, _, _ in genes[:: max(len(genes) // 50, 1)]]
    found = features(ids, HUMAN if organism in BESIDE else organism)
    assert set(found["feature_reference"]) == {organism}
    assert (found["feature_length"] > 0).all()
    assert found["feature_name"].tolist() == [symbol for gene, symbol, _ in genes if gene in set(ids)]
    assert found["feature_type"].tolist() == [kind for gene, _, kind in genes if gene in set(ids)]


def test_cells_of_the_other_organisms_can_be_streamlined():
    pig = gene_space("Sus scrofa")
    assert (pig.name, len(pig)) == ("sus_scrofa-ensembl114-protein_coding", 22_018)
    assert map_genes(["ENSSSCG00000005267", "ANXA1"], "Sus scrofa").report.counts == {"id": 1, "symbol": 1}


def test_features_are_told_as_cellxgene_writes_them():
    found = features(["ENSG00000141510", "ERCC-00002", "ENSSASG00005000002", "TP53", "ENSG00000141510.3"], HUMAN)
    assert found.to_numpy().tolist() == [
        ["TP53", HUMAN, "gene", 2426, "protein_coding"],
        ["ERCC-00002 (spike-in control)", "NCBITaxon:32630", "spike-in", 1061, "synthetic"],
        ["ORF1ab", "NCBITaxon:2697049", "gene", 21290, "protein_coding"],
        ["", "", "", 0, ""],
        ["", "", "", 0, ""],
    ]
    assert are_features(["ENSG00000141510", "ENSMUSG00000059552"], HUMAN).tolist() == [True, False]
    assert are_features(["ENSMUSG00000059552"], "NCBITaxon:39442").tolist() == [True]
    with pytest.raises(NotFoundError, match="NCBITaxon:9605 is none of the organisms of CELLxGENE"):
        features([], "NCBITaxon:9605")
