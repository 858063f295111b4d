"""Any Ensembl or GENCODE GTF as a gene table: read line by line, compiled, digested and kept in ``CELLZOO_HOME``."""

from __future__ import annotations

import gzip
import hashlib
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from cellzoo.errors import InputError, IntegrityError, NotFoundError, WorldError
from cellzoo.registry.compiled import write
from cellzoo.registry.fields import HUMAN, ORGANISMS
from cellzoo.registry.genetable import (
    ENSEMBL,
    NAME,
    PACKAGED,
    Genome,
    folder,
    genomes,
    organism_id,
    organism_of_id,
    record,
)

FILE_NAME = re.compile(r"([A-Z][a-z]+(?:_[a-z0-9]+)+)\.(.+)\.(\d+)(\.chr|\.chr_patch_hapl_scaff)?\.gtf(?:\.gz)?")
"""SPECIES.ASSEMBLY.RELEASE.gtf.gz: what Ensembl calls its files; those of fewer or more sequences say so."""
GENCODE = re.compile(rb"##description: .*the (human|mouse) genome \((\w+)[^)]*\)[,;]? version (M?\d+\w*)")
LIFTED = re.compile(rb"mapped to (GRCh\d+)")
ASSEMBLY = re.compile(rb"#!genome-(?:version|build) (\S+)")
ATTRIBUTE = re.compile(r'(?:^|;)\s*(\w+)\s+(?:"([^"]*)"|([^\s";]+))')
GENE_ID = re.compile(rf"({ENSEMBL.pattern})(?:_\d+)?(?:_PAR_Y)?")
"""As GENCODE writes it: with a version, that of a lift-over, and marked where it is the copy on Y of a gene of X."""
LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Gene:
    """A gene line of a GTF."""

    line: int
    """1-based line number."""
    id: str
    """Without version."""
    version: int
    """0 where there is none."""
    symbol: str
    """The id where there is no name."""
    biotype: str


def add_gtf(
    path: Path,
    organism: str | None = None,
    release: str | None = None,
    sha256: str | None = None,
    source: str | None = None,
) -> Genome:
    """Compile a GTF, plain or gzipped, keep its gene table under SPECIES-RELEASE, and return where it comes from.

    Organism and release are told by the file name of Ensembl, the header of GENCODE and the gene ids; what is given
    goes first. ``source`` is the name or URL that the file had, if not that of ``path``. A human table on GRCh37 has
    a release that ends in ``_GRCh37``. A copy on Y of a gene of X (``_PAR_Y``) is that gene, as for Ensembl.

    Raises `InputError` with the line where the file is no such GTF, where organism or release cannot be told, or
    where the name is taken by other genes; `IntegrityError` where ``sha256`` differs.
    """
    source = source or path.name
    digest = _sha256(path)
    if sha256 is not None and digest != sha256.lower():
        raise IntegrityError(f"{source}: has sha256 {digest}, expected {sha256.lower()}. It was not used.")
    header, genes = _read(path, source)
    species, told, assembly = _told(source, header)
    ids = sorted(genes)
    taxon = _organism(source, organism, species, ids)
    species = species or ORGANISMS.get(taxon, "").lower().replace(" ", "_")
    if taxon == HUMAN and "GRCh37" in assembly and told:
        told += "_GRCh37"
    name = f"{species}-{release or told}"
    if not species or not (release or told):
        missing = "species" if not species else "release"
        raise InputError(
            f"{source}: the {missing} cannot be told. Ensembl calls its files like Homo_sapiens.GRCh38.102.gtf.gz, "
            f"GENCODE says it in the first lines; {'rename the file' if not species else 'name the release'}."
        )
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name of a gene table: letters, digits, '_' and '.' after '{species}-'.")
    columns = _columns([genes[gene] for gene in ids])
    return _keep(name, columns, organism=taxon, assembly=assembly, source=source, source_sha256=digest, genes=len(ids))


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise WorldError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _read(path: Path, source: str) -> tuple[bytes, dict[str, Gene]]:
    """Return the first lines of a GTF that are comments, and its genes by id."""
    genes: dict[str, Gene] = {}
    header: list[bytes] = []
    number = 0
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            for number, line in _lines(gzip.GzipFile(fileobj=raw) if packed else raw):
                if line.startswith(b"#"):
                    header += [line] if number <= 100 else []
                elif (gene := _gene(line, number, source)) is not None:
                    _put(genes, gene, source)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{source}:{number + 1}: damaged: {error}. Get the file again.") from error
    if not genes:
        raise InputError(
            f"{source}: {number} lines and no gene among them; expected lines whose third column is 'gene', as in the "
            "GTF of Ensembl 75 and later and of GENCODE."
        )
    return b"".join(header), genes


def _lines(stream: IO[bytes] | gzip.GzipFile) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        yield number, line


def _gene(line: bytes, number: int, source: str) -> Gene | None:
    """Return the gene of a line, None where the line is about something else."""
    columns = line.rstrip(b"\r\n").split(b"\t")
    if columns == [b""]:
        return None
    if len(columns) != 9:
        start = line[:40].decode(errors="replace").rstrip()
        raise InputError(f"{source}:{number}: has {len(columns)} columns, a GTF has 9 between tabs: {start!r}")
    if columns[2] != b"gene":
        return None
    try:
        text = columns[8].decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{source}:{number}: is not UTF-8: {error.reason} at column {error.start + 1}.") from error
    found = {key: (quoted or plain).strip() for key, quoted, plain in reversed(ATTRIBUTE.findall(text))}
    identifier, biotype = found.get("gene_id"), found.get("gene_biotype") or found.get("gene_type")
    if not identifier or not biotype:
        missing = "gene_biotype or gene_type" if identifier else "gene_id"
        raise InputError(
            f"{source}:{number}: a gene without {missing}; it has {', '.join(sorted(found)) or 'nothing'}."
        )
    match = GENE_ID.fullmatch(identifier)
    bare = match[2] if match else identifier
    version = match[1].partition(".")[2] if match else ""
    version = version or found.get("gene_version", "")
    symbol = " ".join(found.get("gene_name", "").split())
    return Gene(number, bare, int(version) if version.isdigit() else 0, symbol or bare, biotype)


def _put(genes: dict[str, Gene], gene: Gene, source: str) -> None:
    """Add a gene; the same one may come again (its copy on Y), with another name it may not."""
    first = genes.setdefault(gene.id, gene)
    if (first.symbol, first.biotype) != (gene.symbol, gene.biotype):
        raise InputError(
            f"{source}:{gene.line}: {gene.id} is {gene.symbol} ({gene.biotype}) here and {first.symbol} "
            f"({first.biotype}) in line {first.line}."
        )


def _told(source: str, header: bytes) -> tuple[str, str, str]:
    """Return species, release and assembly as the file name or the header say them, "" where they do not."""
    build = ASSEMBLY.search(header)
    assembly = build[1].decode(errors="replace") if build else ""
    if match := FILE_NAME.fullmatch(source.rpartition("/")[2]):
        return match[1].lower(), f"ensembl{match[3]}{match[4] or ''}", match[2]
    if described := GENCODE.search(header):
        species = "homo_sapiens" if described[1] == b"human" else "mus_musculus"
        lifted = LIFTED.search(header)
        return species, f"gencode{described[3].decode()}", (lifted[1] if lifted else described[2]).decode()
    return "", "", assembly


def _organism(source: str, given: str | None, species: str, ids: list[str]) -> str:
    """Return the organism of a GTF; InputError where nothing tells it or two things tell different ones."""
    told: dict[str, str] = {}
    if given:
        told["what was given"] = organism_id(given)
    if species:
        with suppress(NotFoundError):
            told["the file"] = organism_id(species)
    by_id = {taxon: gene for gene in reversed(ids) if (taxon := organism_of_id(gene))}
    told |= {f"ids like {gene}": taxon for taxon, gene in by_id.items()}
    if not told:
        raise InputError(
            f"{source}: its organism cannot be told by the file name, the header or ids like {ids[0]}. "
            "Give its NCBITaxon id."
        )
    if len(set(told.values())) > 1:
        raise InputError(f"{source}: of two organisms: {'; '.join(f'{by}: {taxon}' for by, taxon in told.items())}.")
    return next(iter(told.values()))


def _columns(genes: list[Gene]) -> dict[str, Any]:
    """Return the columns of a table, as the packaged ones have them."""
    kinds = sorted({gene.biotype for gene in genes})
    code = {kind: number for number, kind in enumerate(kinds)}
    return {
        "id": [gene.id for gene in genes],
        "symbol": [gene.symbol for gene in genes],
        "version": np.array([gene.version for gene in genes], np.uint32),
        "biotype": np.array([code[gene.biotype] for gene in genes], np.uint16),
        "biotypes": kinds,
    }


def _keep(name: str, columns: dict[str, Any], **facts: Any) -> Genome:
    """Write table and record; the record comes last and makes the table exist."""
    home = folder()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".") as temporary:
            table, note = Path(temporary, "table"), Path(temporary, "record")
            write(table, columns)
            genome = Genome(name=name, table_sha256=_sha256(table), **facts)
            if name in PACKAGED.values():
                raise InputError(f"{name} is packaged with cellzoo. Give another release to keep this one beside it.")
            for other in genomes():
                if other.name == name and other.table_sha256 != genome.table_sha256:
                    raise InputError(
                        f"{name} was added from {other.source} with other genes ({other.genes}, here {genome.genes}). "
                        "Give another release to keep both."
                    )
                if other.name == name:
                    return other
            note.write_text(record(genome), encoding="utf-8")
            table.replace(home / f"{name}.npz")
            note.replace(home / f"{name}.json")
    except OSError as error:
        raise WorldError(f"{home}: cannot be written: {error.strerror or error}. Set CELLZOO_HOME.") from error
    return genome
