"""`cellzoo genes`: add a genome, list them, map names."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from cellzoo.cli import main

LINES = "".join(
    f'1\tensembl\tgene\t1\t2\t.\t+\t.\tgene_id "{gene}"; gene_name "{name}"; gene_biotype "{kind}";\n'
    for gene, name, kind in [
        ("ENSMFAG00000040556", "CD3E", "protein_coding"),
        ("ENSMFAG00000005783", "U6", "snRNA"),
    ]
)


def run(*arguments: str, text: str = ""):
    return CliRunner().invoke(main, ["genes", *arguments], input=text)


@pytest.fixture
def gtf(tmp_path):
    path = tmp_path / "Macaca_fascicularis.Macaca_fascicularis_6.0.114.gtf"
    path.write_text(LINES)
    return str(path)


def test_a_genome_is_added_and_listed(gtf):
    added = run("add", gtf)
    assert (added.exit_code, added.stdout) == (0, "macaca_fascicularis-ensembl114-protein_coding\n")
    assert "2 genes of NCBITaxon:9541" in added.stderr
    listed = json.loads(run("list", "--json").stdout)
    assert [genome["id"] for genome in listed] == [
        "homo_sapiens-gencode48",
        "mus_musculus-gencodeM37",
        "macaca_fascicularis-ensembl114",
    ]
    assert [genome["protein_coding"] for genome in listed] == [20120, 21807, 1]
    assert listed[2] == json.loads(run("add", gtf, "--json").stdout)
    assert "macaca_fascicularis-ensembl114" in run("list").stdout


def test_names_are_mapped_from_stdin():
    result = run("map", text="TP53\n\nENSG00000112096.2\nMALAT1\n")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "name\tkind\tid\tsymbol\tnote",
        "TP53\tsymbol\tENSG00000141510\tTP53\t",
        "ENSG00000112096.2\tretired\tENSG00000291237\tSOD2\thomo_sapiens-gencode38",
        "MALAT1\toutside\t\t\tlncRNA",
    ]
    assert "2 of 3 names onto 2 genes" in result.stderr
    assert "1  retired" in result.stderr


def test_names_are_mapped_from_a_file_or_an_h5ad_onto_a_space_of_choice(tmp_path, gtf):
    run("add", gtf)
    (tmp_path / "names.txt").write_text("CD3E\nU6\n")
    adata = anndata.AnnData(np.ones((1, 2), np.float32), var=pd.DataFrame(index=["CD3E", "U6"]))
    adata.write_h5ad(tmp_path / "a.h5ad")
    for file in ("names.txt", "a.h5ad"):
        result = run("map", str(tmp_path / file), "--space", "macaca_fascicularis-ensembl114-all", "--json")
        document = json.loads(result.stdout)
        assert document["space"] == "macaca_fascicularis-ensembl114-all"
        assert document["summary"]["mapped"] == 2
        assert [row["id"] for row in document["names"]] == ["ENSMFAG00000040556", "ENSMFAG00000005783"]


@pytest.mark.parametrize(
    ("arguments", "text", "code", "says"),
    [
        (["map"], "CD3E\nCd3e\n", 1, "cannot be told"),
        (["map"], "", 1, "no gene names"),
        (["map", "--space", "x"], "TP53\n", 1, "no gene space 'x'"),
        (["map", "--organism", "Mus musculus", "--releases", "homo_sapiens-gencode48"], "a\n", 1, "another organism"),
        (["map", "nowhere.txt"], "", 2, "does not exist"),
        (["add", "nowhere.gtf"], "", 1, "no such file"),
        (["add", "https://example.org/x.gtf"], "", 3, "example.org"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, text, code, says):
    result = run(*arguments, text=text)
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in result.stderr


def test_a_file_of_another_kind_is_refused(tmp_path):
    for name in ("a.h5ad", "a.txt"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00\x01")
        result = run("map", str(tmp_path / name))
        assert (result.exit_code, result.stdout) == (1, "")
        assert "h5ad" in result.stderr
