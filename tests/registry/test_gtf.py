"""GTF: what becomes of a file of Ensembl or GENCODE, of any species, and how names are mapped onto it."""

import gzip
import hashlib
import json
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from cellzoo.errors import InputError, IntegrityError, NotFoundError
from cellzoo.registry.genes import detect_organism, gene_space, map_genes
from cellzoo.registry.genetable import PACKAGED, folder, gene_table, genomes, organism_id, successors
from cellzoo.registry.gtf import add_gtf

HUMAN, MOUSE, MACAQUE, DOG = "NCBITaxon:9606", "NCBITaxon:10090", "NCBITaxon:9541", "NCBITaxon:9615"
DATA = Path(__file__).parent / "data"
SLICES = {
    "Homo_sapiens.GRCh38.97.chr_patch_hapl_scaff.gtf": DATA / "ensembl97.patch.slice.gtf",
    "gencode.v29.annotation.gtf": DATA / "gencode.v29.slice.gtf",
    "Canis_lupus_familiaris.ROS_Cfam_1.0.116.gtf": DATA / "ensembl116.dog.slice.gtf",
}
"""Real lines, see NOTICE, by the name of the file they are from."""


def line(gene: str, name: str = "", biotype: str = "protein_coding", version: int = 1, feature: str = "gene") -> str:
    """A line as Ensembl writes it; ids and names in these tests are real, coordinates and versions are not."""
    named = f'gene_name "{name}"; ' if name else ""
    text = f'gene_id "{gene}"; gene_version "{version}"; {named}gene_source "ensembl"; gene_biotype "{biotype}";'
    return "\t".join(["1", "ensembl", feature, "100", "200", ".", "+", ".", text])


def put(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!genome-build X", *lines, ""]))
    return path


def add(folder: Path, name: str, packed: bool = False, **options):
    """Add a real slice under the name of its file."""
    content = SLICES[name].read_bytes()
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    return add_gtf(path, **options)


@pytest.fixture
def macaque(tmp_path):
    lines = [
        line("ENSMFAG00000040556", "CD3E"),
        line("ENSMFAG00000040556", "CD3E", feature="transcript"),
        line("ENSMFAG00000031981", "ACTB"),
        line("ENSMFAG00000005783", "U6", "snRNA"),
        line("ENSMFAG00000034820", "U6", "snRNA"),
        line("ENSMFAG00000001539"),
    ]
    return add_gtf(put(tmp_path / "Macaca_fascicularis.Macaca_fascicularis_6.0.114.gtf", *lines))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize(
    ("file", "options", "name", "organism", "assembly", "genes"),
    [
        pytest.param(
            "Homo_sapiens.GRCh38.97.chr_patch_hapl_scaff.gtf",
            {},
            "homo_sapiens-ensembl97.chr_patch_hapl_scaff",
            HUMAN,
            "GRCh38",
            {
                "ENSG00000198727": ("MT-CYB", "protein_coding"),
                "ENSG00000211459": ("MT-RNR1", "Mt_rRNA"),
                "ENSG00000285395": ("XYLT1", "protein_coding"),
            },
            id="Ensembl says it by the file name",
        ),
        pytest.param(
            "gencode.v29.annotation.gtf",
            {},
            "homo_sapiens-gencode29",
            HUMAN,
            "GRCh38",
            {"ENSG00000223972": ("DDX11L1", "transcribed_unprocessed_pseudogene")},
            id="GENCODE says it in the header",
        ),
        pytest.param(
            "Canis_lupus_familiaris.ROS_Cfam_1.0.116.gtf",
            {"organism": DOG},
            "canis_lupus_familiaris-ensembl116",
            DOG,
            "ROS_Cfam_1.0",
            {
                "ENSCAFG00845015183": ("ENSCAFG00845015183", "protein_coding"),
                "ENSCAFG00845015195": ("snoU2-30", "snoRNA"),
            },
            id="a species that CELLxGENE does not have; a gene without a name",
        ),
    ],
)
def test_real_lines_become_a_table_with_its_origin(tmp_path, file, options, packed, name, organism, assembly, genes):
    genome = add(tmp_path, file, packed, **options)
    content = (tmp_path / (f"{file}.gz" if packed else file)).read_bytes()
    assert (genome.name, genome.organism, genome.assembly) == (name, organism, assembly)
    assert genome.source_sha256 == hashlib.sha256(content).hexdigest()
    assert genome.table_sha256 == hashlib.sha256((folder() / f"{name}.npz").read_bytes()).hexdigest()
    expected = {text.split('gene_id "')[1].split('"')[0].partition(".")[0] for text in gene_lines(SLICES[file])}
    table = gene_table(name)
    assert [gene for gene, _, _ in table.genes] == sorted(expected)
    assert genome.genes == len(expected)
    assert {gene: (symbol, kind) for gene, symbol, kind in table.genes}.items() >= genes.items()


def gene_lines(path: Path) -> list[str]:
    return [text for text in path.read_text().splitlines() if text.split("\t")[2:3] == ["gene"]]


def test_an_added_genome_is_found_by_name_and_listed_beside_the_packaged_ones(tmp_path):
    before = [genome.name for genome in genomes()]
    assert before == list(PACKAGED.values())
    genome = add(tmp_path, "gencode.v29.annotation.gtf")
    for path in tmp_path.iterdir():
        path.unlink()  # the GTF is not needed again
    assert [one.name for one in genomes()] == [*before, "homo_sapiens-gencode29"]
    assert genomes()[-1] == genome
    space = gene_space("homo_sapiens-gencode29-protein_coding")
    assert space is gene_space("homo_sapiens-gencode29-protein_coding")
    assert "OR4F5" in space.symbols
    assert len(gene_space("homo_sapiens-gencode29-all")) == genome.genes == 119
    assert gene_space("Homo sapiens").name == "homo_sapiens-gencode48-protein_coding"


def test_the_same_genes_give_the_same_table_plain_or_packed_in_any_order(tmp_path):
    one = put(
        tmp_path / "Homo_sapiens.GRCh38.102.gtf", line("ENSG00000141510", "TP53"), line("ENSG00000198851", "CD3E")
    )
    two = put(tmp_path / "again.gtf", line("ENSG00000198851", "CD3E"), line("ENSG00000141510", "TP53"))
    first, again = add_gtf(one), add_gtf(two, release="other")
    assert first.name == "homo_sapiens-ensembl102"
    assert (again.name, again.table_sha256) == ("homo_sapiens-other", first.table_sha256)
    assert add_gtf(one) == first


@pytest.mark.parametrize(
    ("header", "name", "assembly"),
    [
        (
            "##description: evidence-based annotation of the mouse genome (GRCm39), version M37 (Ensembl 114)",
            "mus_musculus-gencodeM37x",
            "GRCm39",
        ),
        (
            "##description: evidence-based annotation of the human genome, version 19 (Ensembl 74)",
            None,
            None,
        ),
        (
            "##description: evidence-based annotation of the human genome (GRCh37); version 18 (Ensembl 73)",
            "homo_sapiens-gencode18_GRCh37",
            "GRCh37",
        ),
        (
            "##description: evidence-based annotation of the human genome (GRCh38), version 43 (Ensembl 109) "
            "- mapped to GRCh37 with gencode-backmap",
            "homo_sapiens-gencode43_GRCh37",
            "GRCh37",
        ),
    ],
)
def test_a_release_of_gencode_is_told_by_its_header(tmp_path, header, name, assembly):
    gene = "ENSMUSG00000032093.12" if "mouse" in header else "ENSG00000198851.10_3"
    text = (
        f'chr1\tHAVANA\tgene\t1\t2\t.\t+\t.\tgene_id "{gene}"; gene_type "protein_coding"; gene_name "CD3E"; level 2;'
    )
    path = tmp_path / "annotation.gtf"
    path.write_text(f"{header}\n{text}\n")
    if name is None:
        with pytest.raises(InputError, match="the release cannot be told"):
            add_gtf(path)
        return
    genome = add_gtf(path, release="gencodeM37x" if "mouse" in header else None)
    assert (genome.name, genome.assembly) == (name, assembly)
    assert gene_table(name).genes[0][0] == gene.partition(".")[0]
    columns = np.load(folder() / f"{name}.npz")
    assert columns["version"].tolist() == [int(gene.partition(".")[2].partition("_")[0])]


def test_the_copy_on_y_is_the_gene_on_x_and_may_come_again(tmp_path):
    path = put(
        tmp_path / "Homo_sapiens.GRCh38.102.gtf",
        line("ENSG00000185291.12", "IL3RA"),
        line("ENSG00000185291.12_PAR_Y", "IL3RA"),
        line("ENSG00000185291.12", "IL3RA"),
    )
    assert add_gtf(path).genes == 1


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        pytest.param(["1\tensembl\tgene\t1\t2"], ":2: has 5 columns, a GTF has 9", id="columns"),
        pytest.param([line("ENSG00000141510", "TP53"), "chaff"], ":3: has 1 columns", id="a line of something else"),
        pytest.param([line("x").replace('gene_id "x"; ', "")], ":2: a gene without gene_id; it has gene_b", id="no id"),
        pytest.param(
            [line("x").replace("gene_biotype", "kind")], ":2: a gene without gene_biotype or gene_type", id="no biotype"
        ),
        pytest.param(
            [line("ENSG00000141510", "TP53"), line("ENSG00000141510", "TP54")],
            r":3: ENSG00000141510 is TP54 \(protein_coding\) here and TP53 \(protein_coding\) in line 2",
            id="one id, two genes",
        ),
        pytest.param([line("x", feature="exon")], "2 lines and no gene among them", id="no gene lines"),
        pytest.param([], "1 lines and no gene among them", id="nothing"),
        pytest.param([line("AT1G01010", "NAC001")], "its organism cannot be told .* AT1G01010", id="unknown organism"),
        pytest.param([line("ENSG00000141510", "TP53")], "the release cannot be told", id="unknown release"),
        pytest.param(
            [line("ENSG00000141510"), line("ENSMUSG00000059552")], "the release cannot|two organisms|9606", id="mixed"
        ),
    ],
)
def test_a_bad_file_is_refused_with_the_place(tmp_path, lines, says):
    with pytest.raises(InputError, match=says):
        add_gtf(put(tmp_path / "genes.gtf", *lines))
    assert not list(folder().glob("[!.]*")) if folder().exists() else True
    assert len(genomes()) == len(PACKAGED)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(lambda packed: packed[:-20], r"\.gz:\d+: damaged", id="cut"),
        pytest.param(lambda packed: packed[:40] + b"\0" * 40 + packed[80:], r"\.gz:\d+: damaged", id="overwritten"),
    ],
)
def test_a_damaged_gzip_is_refused_with_the_place(tmp_path, damage, says):
    path = tmp_path / "gencode.v29.annotation.gtf.gz"
    path.write_bytes(damage(gzip.compress(SLICES["gencode.v29.annotation.gtf"].read_bytes())))
    with pytest.raises(InputError, match=says):
        add_gtf(path)


def test_what_is_not_utf8_is_refused_with_the_place(tmp_path):
    path = tmp_path / "Homo_sapiens.GRCh38.102.gtf"
    path.write_bytes(line("ENSG00000141510", "TP53").encode().replace(b"TP53", b"TP\xff3"))
    with pytest.raises(InputError, match=r"102.gtf:1: is not UTF-8"):
        add_gtf(path)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"sha256": "0" * 64}, IntegrityError, "expected 0000"),
        ({"organism": "Mus musculus"}, InputError, "of two organisms: what was given: NCBITaxon:10090; the file"),
        ({"organism": "unicorn"}, NotFoundError, "no organism 'unicorn'"),
        ({"release": "../../x"}, InputError, "is no name of a gene table"),
        ({"release": "gencode48"}, InputError, "homo_sapiens-gencode48 is packaged"),
    ],
)
def test_what_is_said_of_a_file_must_be_true(tmp_path, options, error, says):
    with pytest.raises(error, match=says):
        add(tmp_path, "gencode.v29.annotation.gtf", **options)
    assert len(genomes()) == len(PACKAGED)


def test_other_genes_do_not_take_the_name_of_an_added_genome(tmp_path):
    path = put(tmp_path / "Homo_sapiens.GRCh38.102.gtf", line("ENSG00000141510", "TP53"))
    genome = add_gtf(path)
    put(path, line("ENSG00000141510", "TP53"), line("ENSG00000198851", "CD3E"))
    with pytest.raises(InputError, match=r"homo_sapiens-ensembl102 was added from .* \(1, here 2\)"):
        add_gtf(path)
    assert genomes()[-1] == genome


def test_a_table_that_was_changed_is_not_used(tmp_path):
    add(tmp_path, "gencode.v29.annotation.gtf")
    table = folder() / "homo_sapiens-gencode29.npz"
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="Remove it and add the genome again"):
        gene_space("homo_sapiens-gencode29-protein_coding")


def test_a_record_that_is_none_is_passed_over(tmp_path):
    add(tmp_path, "gencode.v29.annotation.gtf")
    (folder() / "homo_sapiens-broken.json").write_text("{")
    (folder() / "homo_sapiens-renamed.json").write_bytes((folder() / "homo_sapiens-gencode29.json").read_bytes())
    assert [genome.name for genome in genomes()][2:] == ["homo_sapiens-gencode29"]
    with pytest.raises(NotFoundError, match="no gene space"):
        gene_space("homo_sapiens-renamed-protein_coding")


def test_another_organism_works_without_aliases(macaque):
    assert (macaque.name, macaque.organism, macaque.genes) == ("macaca_fascicularis-ensembl114", MACAQUE, 5)
    assert organism_id("Macaca fascicularis") == MACAQUE
    names = ["CD3E", "ENSMFAG00000031981.2", "U6", "ENSMFAG00000001539", "Cd3e", "ENSG00000198851", "x", "cd3e"]
    mapping = map_genes(names, "Macaca fascicularis")
    assert mapping.space is gene_space("macaca_fascicularis-ensembl114-protein_coding")
    assert mapping.how.tolist() == ["symbol", "id", "", "id", "", "", "", ""]
    assert mapping.report.outside == {"U6": "snRNA"}
    assert mapping.report.other_organism == ["Cd3e", "ENSG00000198851"]
    assert mapping.report.suggestions == {"cd3e": "CD3E"}
    assert map_genes(["U6"], space="macaca_fascicularis-ensembl114-all").report.ambiguous == {
        "U6": ["ENSMFAG00000005783", "ENSMFAG00000034820"]
    }
    assert map_genes(["ENSMFAG00000031981"]).space is mapping.space


def test_an_added_genome_changes_nothing_for_others(macaque):
    names = ["CD3E", "ACTB", "TP53"]
    assert detect_organism(names)[0] == HUMAN
    assert map_genes(names).space.name == "homo_sapiens-gencode48-protein_coding"


def test_an_organism_of_several_added_genomes_needs_the_name_of_one(tmp_path, macaque):
    put(tmp_path / "again.gtf", line("ENSMFAG00000040556", "CD3E"))
    add_gtf(tmp_path / "again.gtf", release="mine")
    with pytest.raises(NotFoundError, match="macaca_fascicularis-mine-protein_coding"):
        gene_space("Macaca fascicularis")


def test_a_human_release_shares_the_aliases_and_the_ids_of_the_packaged_one(tmp_path):
    add(tmp_path, "gencode.v29.annotation.gtf")
    names = [
        "AL669831.5",
        "LINC01409",
        "NOC2L",
        "NIR",
        "ENSG00000187634.11",
        "TP53",
        "ENSG00000141510",
        "nonsense",
        "U6",
    ]
    mapping = map_genes(names, space="homo_sapiens-gencode29-all")
    assert mapping.how.tolist() == ["symbol", "", "symbol", "", "id", "", "", "", ""]
    assert mapping.report.conflicts == {"LINC01409": "ENSG00000237491", "NIR": "ENSG00000188976"}
    known = "protein_coding of homo_sapiens-gencode48"
    assert mapping.report.outside == {"TP53": known, "ENSG00000141510": known}
    assert mapping.report.unmapped == ["U6", "nonsense"]
    alone = map_genes(["LINC01409", "NIR"], space="homo_sapiens-gencode29-all")
    assert alone.how.tolist() == ["previous", "alias"]
    assert alone.space.symbols[alone.position].tolist() == ["AL669831.5", "NOC2L"]


def test_a_symbol_shared_with_a_patch_is_the_gene_that_hgnc_means(tmp_path):
    primary = line("ENSG00000103489", "XYLT1")
    path = tmp_path / "Homo_sapiens.GRCh38.97.chr_patch_hapl_scaff.gtf"
    path.write_text(SLICES[path.name].read_text() + primary + "\n")
    add_gtf(path)
    mapping = map_genes(["XYLT1"], space="homo_sapiens-ensembl97.chr_patch_hapl_scaff-protein_coding")
    assert mapping.space.ids[mapping.position].tolist() == ["ENSG00000103489"]


def test_an_id_of_another_release_is_followed_by_symbol_and_biotype_and_reported(tmp_path):
    add_gtf(put(tmp_path / "Homo_sapiens.GRCh38.102.gtf", line("ENSG00000112096", "SOD2")))
    newer = map_genes(["ENSG00000291237"], space="homo_sapiens-ensembl102-protein_coding")
    assert newer.how.tolist() == ["retired"]
    assert newer.report.retired == {"ENSG00000291237": "homo_sapiens-gencode48"}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        pytest.param([("a1", "A", "p")], [("a2", "A", "p")], {"a1": "a2"}, id="another id for the symbol"),
        pytest.param([("a1", "A", "")], [("a2", "A", "p")], {"a1": "a2"}, id="a release without biotypes"),
        pytest.param([("a1", "A", "q")], [("a2", "A", "p")], {}, id="another biotype"),
        pytest.param([("a1", "A", "p"), ("b1", "A", "p")], [("a2", "A", "p")], {}, id="two genes before"),
        pytest.param([("a1", "A", "p")], [("a2", "A", "p"), ("b2", "A", "p")], {}, id="two genes after"),
        pytest.param(
            [("a1", "A", "p"), ("a2", "B", "p")], [("a2", "A", "p")], {}, id="the symbol moved to an old gene"
        ),
        pytest.param([("a1", "A", "p")], [("a2", "A", "p"), ("a1", "B", "p")], {}, id="the id lives on"),
    ],
)
def test_only_a_sure_successor_is_followed(old, new, found):
    assert successors(old, new) == found


def test_further_releases_are_asked_only_where_they_are_named(tmp_path, macaque):
    older = put(
        tmp_path / "Macaca_fascicularis.Macaca_fascicularis_5.0.90.gtf",
        line("ENSMFAG00000099999", "CD3E"),
        line("ENSMFAG00000031981", "BACT"),
        line("ENSMFAG00000088888", "GONE"),
    )
    add_gtf(older)
    space = gene_space("macaca_fascicularis-ensembl114-protein_coding")
    names = ["ENSMFAG00000099999.3", "BACT", "GONE"]
    assert map_genes(names, space=space).report.unmapped == ["BACT", "ENSMFAG00000099999.3", "GONE"]
    mapping = map_genes(names, space=space, releases=["macaca_fascicularis-ensembl90"])
    assert mapping.how.tolist() == ["retired", "previous", ""]
    assert mapping.report.retired == {"ENSMFAG00000099999.3": "macaca_fascicularis-ensembl90"}
    assert mapping.report.outside == {"GONE": "protein_coding of macaca_fascicularis-ensembl90"}
    with pytest.raises(InputError, match=r"homo_sapiens-gencode48 \(NCBITaxon:9606\): another organism"):
        map_genes(names, space=space, releases=["homo_sapiens-gencode48"])


def test_a_long_file_is_read_in_constant_memory(tmp_path):
    chaff = "".join(line("ENSG00000141510", "TP53", feature="exon") + "\n" for _ in range(1000)).encode()
    path = tmp_path / "Homo_sapiens.GRCh38.102.gtf.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(line("ENSG00000141510", "TP53").encode() + b"\n")
        for _ in range(400):
            stream.write(chaff)  # 55 MB in all
    assert sys.platform == "linux"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert add_gtf(path).genes == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def test_the_record_says_where_a_table_comes_from(tmp_path):
    genome = add(tmp_path, "gencode.v29.annotation.gtf", source="https://example.org/v29.gtf")
    record = json.loads((folder() / f"{genome.name}.json").read_text())
    assert record["source"] == "https://example.org/v29.gtf"
    assert record["source_sha256"] == hashlib.sha256(SLICES["gencode.v29.annotation.gtf"].read_bytes()).hexdigest()
