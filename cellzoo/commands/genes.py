"""Commands on genomes and gene names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cellzoo.commands.shared import Group, json_option
from cellzoo.console import bars, say, table

ORGANISM = "Organism: a name or an NCBITaxon id; by default "


@click.group(cls=Group)
def genes() -> None:
    """Genomes, and where gene names belong in them."""


@genes.command()
@click.argument("source", metavar="FILE_OR_URL")
@click.option("--sha256", help="What the file must have; it is then looked for in CELLZOO_MIRROR too.")
@click.option("--release", help="What to call the release; by default as the file says it, for example ensembl102.")
@click.option("--organism", help=ORGANISM + "as the file says it.")
@json_option
def add(source: str, sha256: str | None, release: str | None, organism: str | None, as_json: bool) -> None:
    """Add the genes of an Ensembl or GENCODE GTF, such as Homo_sapiens.GRCh38.102.gtf.gz."""
    from cellzoo.converters.genome import add_genome

    with bars() as progress:
        genome = add_genome(source, organism, release, sha256, progress)
    if as_json:
        click.echo(json.dumps(_listed(genome), indent=1))
        return
    say(f"{genome.name}: {genome.genes} genes of {genome.organism}, sha256 of the GTF {genome.source_sha256}")
    click.echo(f"{genome.name}-protein_coding")


@genes.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the genomes that are here: packaged and added."""
    from cellzoo.registry.genetable import genomes

    found = [_listed(genome) for genome in genomes()]
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    columns = ["id", "organism", "assembly", "genes", "protein_coding", "source"]
    table(columns, [[str(genome[column]) for column in columns] for genome in found])


@genes.command("map")
@click.argument("file", default="-", type=click.Path(path_type=Path, allow_dash=True, exists=True, dir_okay=False))
@click.option("--organism", help=ORGANISM + "as the names tell.")
@click.option("--space", help="Gene space; by default the organism's protein-coding genes.")
@click.option("--releases", help="Further gene tables, by comma, in which to look up what the space does not know.")
@json_option
def map_(file: Path, organism: str | None, space: str | None, releases: str | None, as_json: bool) -> None:
    """Say where gene names belong: a table on stdout, the numbers on stderr.

    FILE has a name on each line, or is an h5ad whose var_names are taken; without FILE they are read from stdin.
    """
    from cellzoo.registry.genes import map_genes

    mapping = map_genes(_names(file), organism, space, releases.split(",") if releases else ())
    summary, rows = mapping.summary(), mapping.table()
    if as_json:
        click.echo(
            json.dumps({"space": mapping.space.name, "summary": summary, "names": rows.to_dict("records")}, indent=1)
        )
        return
    say(f"{mapping.space.name}: {summary['mapped']} of {summary['names']} names onto {summary['genes']} genes")
    for kind, number in rows["kind"].value_counts().items():
        say(f"{number:8d}  {kind}")
    click.echo(rows.to_csv(sep="\t", index=False), nl=False)


def _names(path: Path) -> list[str]:
    """Return the var_names of an h5ad, else the lines of a text that are not blank."""
    from cellzoo.errors import InputError

    if path.suffix == ".h5ad":
        import h5py
        from anndata.io import read_elem

        try:
            with h5py.File(path) as file:
                names = [str(name) for name in read_elem(file["var"]).index]
        except (OSError, KeyError) as error:
            raise InputError(f"{path}: no h5ad with genes in var: {error}") from error
    else:
        try:
            with click.open_file(str(path), encoding="utf-8") as stream:
                names = [line.strip() for line in stream if line.strip()]
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: neither a text of gene names nor an h5ad: {error}") from error
    if not names:
        raise InputError(f"{path}: no gene names.")
    return names


def _listed(genome: Any) -> dict[str, Any]:
    """Return a genome as plain JSON values, with the number of its protein-coding genes."""
    from dataclasses import asdict

    from cellzoo.registry.genes import DEFAULT_BIOTYPE
    from cellzoo.registry.genetable import gene_table

    kinds = [kind for _, _, kind in gene_table(genome.name).genes]
    values = asdict(genome)
    return {"id": values.pop("name"), **values, DEFAULT_BIOTYPE: kinds.count(DEFAULT_BIOTYPE)}
