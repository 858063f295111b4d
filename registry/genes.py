"""Gene spaces, and how the gene names of any file find their place in one.

Tables: GENCODE 48 (human) and M37 (mouse), all biotypes, as CELLxGENE schema 7.1.0 pins them; other names: HGNC (CC0)
and MGI of July 2024. No source at hand lists retired Ensembl ids. `cellzoo.registry.build` compiles the files.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellzoo.errors import InputError, NotFoundError

FOLDER = Path(__file__).parent / "genomes"
ORGANISMS = {"NCBITaxon:9606": "homo_sapiens", "NCBITaxon:10090": "mus_musculus"}
"""Organisms with a packaged gene table: term id -> the name CELLxGENE gives the table."""
DEFAULT_BIOTYPE = "protein_coding"
ENSEMBL = re.compile(r"(ENS(?:[A-Z]{3})?G\d{11})(?:\.\d+)?")
"""A vertebrate Ensembl gene id, perhaps with its version: the only suffix that is ever taken off a name."""

How = Literal["id", "symbol", "previous", "alias"]
Hit = tuple[int, How]


@dataclass(frozen=True)
class GeneSpace:
    """An ordered list of genes: organism, annotation release and biotype."""

    name: str
    """For example ``homo_sapiens-gencode48-protein_coding``."""
    organism: str
    """NCBITaxon term id."""
    ids: NDArray[np.str_]
    """(genes,) Ensembl ids without version, sorted."""
    symbols: NDArray[np.str_]
    """(genes,) symbols in the order of `ids`; several genes can share one, an unnamed gene has its id."""

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<GeneSpace {self.name}: {len(self)} genes>"

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the newline-joined ids in hex."""
        return hashlib.sha256("\n".join(self.ids).encode()).hexdigest()


@dataclass(frozen=True)
class GeneReport:
    """What became of each distinct name; the fields except `counts` and `duplicates` exclude each other."""

    counts: dict[str, int] = field(default_factory=dict)
    """How it was found (id, symbol, previous, alias) -> number of names."""
    duplicates: dict[str, list[str]] = field(default_factory=dict)
    """Ensembl id -> names, where a gene is in the input more than once by id or symbol: sum these columns."""
    outside: dict[str, str] = field(default_factory=dict)
    """Name of a known gene -> its biotype, which the space does not hold."""
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    """Symbol -> the several genes of the space that share it; not mapped."""
    conflicts: dict[str, str] = field(default_factory=dict)
    """Other name -> Ensembl id of a gene that is in the input under a better or an equally good name; not mapped."""
    other_organism: list[str] = field(default_factory=list)
    """Unmapped names that are an id or a symbol of the other organism, as it writes them."""
    suggestions: dict[str, str] = field(default_factory=dict)
    """Unmapped name -> symbol that differs in case only; never applied."""
    unmapped: list[str] = field(default_factory=list)
    """The other names nothing is known of."""

    @property
    def outside_biotypes(self) -> dict[str, int]:
        """Return biotype -> number of names outside, the most frequent first."""
        return dict(Counter(self.outside.values()).most_common())


@dataclass(frozen=True)
class GeneMapping:
    """Where each of the given names stands in a gene space; columns at one position are to be summed."""

    space: GeneSpace
    position: NDArray[np.int64]
    """(names,) position in `space.ids`, -1 where not mapped."""
    how: NDArray[np.str_]
    """(names,) "id", "symbol", "previous", "alias", or "" where not mapped."""
    report: GeneReport

    def summary(self, examples: int = 10) -> dict[str, Any]:
        """Return plain JSON values: how many names went where, and the first few of each kind that was not mapped."""
        placed = self.position[self.position >= 0]
        numbers = {"names": len(self.position), "mapped": len(placed), "genes": len(np.unique(placed))}
        kinds = {key: value for key, value in vars(self.report).items() if key != "counts"}
        return numbers | {
            "by": self.report.counts,
            "outside_biotypes": self.report.outside_biotypes,
            **{key: {"number": len(value), "examples": _first(value, examples)} for key, value in kinds.items()},
        }


def _first(items: Mapping[str, Any] | Sequence[str], n: int) -> dict[str, Any] | list[str]:
    return dict(list(items.items())[:n]) if isinstance(items, Mapping) else list(items[:n])


class _Table:
    """Every gene of one annotation release and the names it goes by."""

    def __init__(self, organism: str, path: Path) -> None:
        columns = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)

        def texts(name: str) -> list[str]:
            text = columns[name].tobytes().decode()
            return text.split("\n") if text else []

        self.organism = organism
        self.release = path.stem
        self.ids, self.symbols, self.biotypes = texts("id"), texts("symbol"), texts("biotypes")
        self.biotype: list[int] = columns["biotype"].tolist()
        self.row = {gene: row for row, gene in enumerate(self.ids)}
        self.of_symbol: dict[str, list[int]] = defaultdict(list)
        for row, symbol in enumerate(self.symbols):
            self.of_symbol[symbol].append(row)
        self.official, self.previous, self.alias = (
            dict(zip(texts(rank), columns[f"{rank}_row"].tolist(), strict=True))
            for rank in ("official", "previous", "alias")
        )

    def knows(self, name: str) -> bool:
        return _bare(name) in self.row or name in self.of_symbol

    @cached_property
    def folded(self) -> dict[str, str]:
        """Return casefolded symbol -> symbol."""
        return {symbol.casefold(): symbol for symbol in self.of_symbol}

    def space(self, biotype: str) -> GeneSpace:
        rows = [row for row, code in enumerate(self.biotype) if biotype in ("all", self.biotypes[code])]
        columns = (np.array([column[row] for row in rows]) for column in (self.ids, self.symbols))
        return GeneSpace(f"{self.release}-{biotype}", self.organism, *columns)


@cache
def _table(organism: str) -> _Table:
    if organism not in ORGANISMS:
        raise NotFoundError(f"no gene table for {organism!r}; there are {', '.join(ORGANISMS)}")
    return _Table(organism, next(FOLDER.glob(f"{ORGANISMS[organism]}-*.npz")))


def _bare(name: str) -> str:
    """Return an Ensembl id without its version, any other name as it is."""
    match = ENSEMBL.fullmatch(name)
    return match[1] if match else name


@cache
def gene_space(name: str) -> GeneSpace:
    """Return a gene space by its name, or the protein-coding one of an organism; the same object each time.

    >>> gene_space("Homo sapiens") is gene_space("NCBITaxon:9606")
    True
    >>> gene_space("homo_sapiens-gencode48-protein_coding")
    <GeneSpace homo_sapiens-gencode48-protein_coding: 20120 genes>
    """
    species, _, rest = name.replace(" ", "_").lower().partition("-")
    for organism, label in ORGANISMS.items():
        if name == organism or species == label:
            table = _table(organism)
            biotype = name.removeprefix(f"{table.release}-") if rest else DEFAULT_BIOTYPE
            if biotype in ("all", *table.biotypes):
                full = f"{table.release}-{biotype}"
                return table.space(biotype) if name == full else gene_space(full)
    raise NotFoundError(
        f"no gene space {name!r}; expected an organism ({', '.join(ORGANISMS)}) or a name like"
        f" {', '.join(f'{_table(organism).release}-{DEFAULT_BIOTYPE}' for organism in ORGANISMS)}"
    )


def detect_kind(names: Iterable[str]) -> Literal["ensembl", "symbol"]:
    """Return "ensembl" if more than half of the names are Ensembl gene ids, else "symbol"."""
    matches = [ENSEMBL.fullmatch(name) is not None for name in names]
    return "ensembl" if sum(matches) * 2 > len(matches) else "symbol"


def detect_organism(names: Iterable[str]) -> tuple[str | None, dict[str, float]]:
    """Return the organism whose ids or symbols the names are, and for each organism the fraction it knows.

    None where the best knows less than a tenth of the names or less than twice as many as the other.
    """
    distinct = set(names)
    known = {taxon: sum(map(_table(taxon).knows, distinct)) / max(len(distinct), 1) for taxon in ORGANISMS}
    best, other = sorted(known, key=known.__getitem__, reverse=True)
    return (best if known[best] >= max(0.1, 2 * known[other]) else None), known


def map_genes(names: Sequence[str], organism: str, space: GeneSpace) -> GeneMapping:
    """Return the position of each name in a gene space; the order of the names plays no part.

    A name is an Ensembl id, else a symbol, else a retired symbol, else an alias; case counts, and nothing but the
    version of an Ensembl id is ever taken off. A symbol that several genes of the space share is the one HGNC or MGI
    means, and not mapped where they do not say. A retired symbol or alias never joins a gene that has a better name.
    InputError where the space is of another organism.
    """
    if space.organism != organism:
        raise InputError(f"the names are of {organism}, the gene space {space.name} is of {space.organism}")
    table, place = _table(organism), {gene: position for position, gene in enumerate(space.ids.tolist())}
    report = GeneReport()
    hits: dict[str, Hit] = {}
    for name in sorted(set(names)):
        rows, how = _candidates(table, name)
        inside = [place[table.ids[row]] for row in rows if table.ids[row] in place]
        if len(inside) > 1 and name in table.official:
            inside = [place[table.ids[row]] for row in (table.official[name],) if table.ids[row] in place]
        if len(inside) == 1:
            hits[name] = (inside[0], how)
        elif inside:
            report.ambiguous[name] = [str(space.ids[position]) for position in inside]
        elif rows:
            report.outside[name] = table.biotypes[table.biotype[rows[0]]]
        else:
            _explain(name, table, report)
    _settle(hits, space, report)
    _count(hits, Counter(names), space, report)
    nowhere: tuple[int, str] = (-1, "")
    found = [hits.get(name, nowhere) for name in names]
    position = np.array([hit[0] for hit in found], dtype=np.int64)
    return GeneMapping(space, position, np.array([hit[1] for hit in found], dtype="<U8"), report)


def _candidates(table: _Table, name: str) -> tuple[list[int], How]:
    """Return the rows of the best kind of name this is, none where it is unknown."""
    if (gene := _bare(name)) in table.row:
        return [table.row[gene]], "id"
    if name in table.of_symbol:
        return table.of_symbol[name], "symbol"
    if name in table.previous:
        return [table.previous[name]], "previous"
    return ([table.alias[name]] if name in table.alias else []), "alias"


def _explain(name: str, table: _Table, report: GeneReport) -> None:
    if any(_table(taxon).knows(name) for taxon in ORGANISMS if taxon != table.organism):
        report.other_organism.append(name)
    elif symbol := table.folded.get(name.casefold()):
        report.suggestions[name] = symbol
    else:
        report.unmapped.append(name)


def _settle(hits: dict[str, Hit], space: GeneSpace, report: GeneReport) -> None:
    """Drop retired symbols and aliases of a gene that has a better name in the input, or another as good."""
    rank = {"id": 0, "symbol": 0, "previous": 1, "alias": 2}
    ranks: dict[int, list[int]] = defaultdict(list)
    for position, how in hits.values():
        ranks[position].append(rank[how])
    for name, (position, how) in list(hits.items()):
        best = min(ranks[position])
        if rank[how] > best or (best > 0 and ranks[position].count(best) > 1):
            report.conflicts[name] = str(space.ids[position])
            del hits[name]


def _count(hits: dict[str, Hit], times: Counter[str], space: GeneSpace, report: GeneReport) -> None:
    by_gene: dict[int, list[str]] = defaultdict(list)
    for name, (position, how) in hits.items():
        report.counts[how] = report.counts.get(how, 0) + 1
        by_gene[position] += [name] * times[name]
    report.duplicates.update({str(space.ids[at]): same for at, same in sorted(by_gene.items()) if len(same) > 1})
