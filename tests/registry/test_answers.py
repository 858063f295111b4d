"""Questions to the packaged registry whose answers a biologist can check."""

import pytest

from cellzoo.registry.catalogue import facets, open_registry
from cellzoo.registry.ontology import load


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLZOO_HOME", str(tmp_path_factory.mktemp("home")))
        registry = open_registry()
        registry.records()
    return registry


def found(registry, **wanted):
    return {record.id for record in registry.find(**wanted)}


ANSWERS = [
    # question, some of what it finds, some of what it must not find
    ({"tissue": "lung"}, {"adams2020-lung", "habermann2020-lung-parenchyma", "braga2019-human"}, {"tenx-pbmc3k"}),
    ({"tissue": "lung parenchyma"}, {"habermann2020-lung-parenchyma", "madissoon2019-human"}, {"adams2020-lung"}),
    ({"tissue": "respiratory system"}, {"adams2020-lung", "braga2019-human"}, {"aizarani2019-liver"}),
    ({"tissue": "blood"}, {"tenx-pbmc3k"}, {"baccin2020-mouse-bone-marrow", "matsushita2023-mouse-bone-marrow"}),
    ({"tissue": "bone marrow"}, {"baccin2020-mouse-bone-marrow"}, {"tenx-pbmc3k", "zheng2017-pbmc14k"}),
    ({"tissue": "brain"}, {"zeisel2015-mouse-brain", "agoglia2021-cerebral-cortex"}, {"adams2020-lung"}),
    ({"tissue": "pancreas"}, {"baron2016-human", "baron2016-pancreas"}, {"tenx-pbmc3k"}),
    ({"cell_type": "T cell"}, {"tenx-pbmc3k", "zheng2017-pbmc14k", "madissoon2019-human"}, {"baron2016-human"}),
    ({"cell_type": "regulatory T cell"}, {"zheng2017-sorted-pbmc", "zheng2017-pbmc14k"}, {"tenx-pbmc3k"}),
    ({"cell_type": "neuron"}, {"zeisel2015-mouse-brain"}, {"tenx-pbmc3k"}),
    ({"organism": "Mus musculus"}, {"baron2016-mouse1", "han2018-mouse"}, {"baron2016-human", "han2020-human"}),
    ({"assay": "10x 3' transcription profiling"}, {"tenx-pbmc3k", "madissoon2019-human"}, {"baron2016-human"}),
    ({"disease": "diabetes mellitus"}, {"segerstolpe2016-human"}, {"baron2016-human"}),
    ({"cell_line": "HCC827"}, set(), {"tenx-pbmc3k"}),
    ({"tissue": "CVCL_2063"}, {"tian2019-celseq2", "tian2019-dropseq"}, {"adams2020-lung"}),
]


@pytest.mark.parametrize(("wanted", "some", "none"), ANSWERS, ids=[str(row[0]) for row in ANSWERS])
def test_a_question_finds_what_lies_below_its_term_and_nothing_else(registry, wanted, some, none):
    answer = found(registry, **wanted)
    assert some <= answer
    assert not none & answer


def test_t_cells_are_also_those_labelled_cd8_memory_or_regulatory(registry):
    cell_types = load("CL")
    below = set(cell_types.descendants("CL:0000084"))
    for label in ("CD8-positive, alpha-beta memory T cell", "regulatory T cell", "gamma-delta T cell"):
        assert cell_types.find(label) in below
    for label in ("B cell", "natural killer cell"):
        assert cell_types.find(label) not in below


def test_the_registry_holds_what_it_was_founded_with(registry):
    records = registry.records()
    assert registry.problems == []
    assert len(records) >= 132
    assert sum(record.status == "imported" and record.kind == "dataset" for record in records) >= 116
    assert sum(record.status == "verified" for record in records) >= 15
    assert "cellxgene-census" in {record.id for record in records}


def test_facets_count_every_data_set_once_a_term(registry):
    records = registry.records()
    organisms = facets(records, "organism")
    assert next(iter(organisms)) == "NCBITaxon:9606"
    assert organisms["NCBITaxon:9606"][0] == len(found(registry, organism="Homo sapiens"))
