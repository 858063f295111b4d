"""Gene spaces, and how the gene names of any file find their place in one; the names are in `registry.genetable`."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry.fields import ORGANISMS
from cellzoo.registry.genetable import (
    ENSEMBL,
    PACKAGED,
    GeneTable,
    How,
    bare,
    default_table,
    gene_table,
    genomes,
    organism_id,
    organism_of_id,
    successors,
)

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_BIOTYPE = "protein_coding"

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

    @cached_property
    def table(self) -> GeneTable:
        """Return the table the space is of, else the packaged one; one of its own genes where neither has them all."""
        for name in (self.name.rpartition("-")[0], PACKAGED.get(self.organism, "")):
            try:
                table = gene_table(name)
            except NotFoundError:
                continue
            if table.organism == self.organism and all(gene in table.row for gene in self.ids.tolist()):
                return table
        kind = self.name.rpartition("-")[2]
        genes = ((gene, symbol, kind) for gene, symbol in zip(self.ids.tolist(), self.symbols.tolist(), strict=True))
        return GeneTable(self.name, self.organism, genes, {})


@dataclass(frozen=True)
class GeneReport:
    """What became of each distinct name; the fields after `duplicates` exclude each other."""

    counts: dict[str, int] = field(default_factory=dict)
    """How it was found (id, symbol, retired, previous, alias) -> number of names."""
    duplicates: dict[str, list[str]] = field(default_factory=dict)
    """Ensembl id -> names, where a gene is in the input more than once by id or symbol: sum these columns."""
    retired: dict[str, str] = field(default_factory=dict)
    """Ensembl id that was mapped to the id its gene has in this release -> the release or authority that says so."""
    outside: dict[str, str] = field(default_factory=dict)
    """Name of a known gene that the space does not hold -> its biotype, "BIOTYPE of RELEASE" where only that has it."""
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    """Symbol -> the several genes of the space that share it; not mapped."""
    conflicts: dict[str, str] = field(default_factory=dict)
    """Other name -> Ensembl id of a gene that is in the input under a better or an equally good name; not mapped."""
    other_organism: list[str] = field(default_factory=list)
    """Unmapped names that are an id of another organism, or a symbol of human or mouse, as these write it."""
    suggestions: dict[str, str] = field(default_factory=dict)
    """Unmapped name -> symbol that differs in case only; never applied."""
    unmapped: list[str] = field(default_factory=list)
    """The other names nothing is known of."""

    @property
    def outside_biotypes(self) -> dict[str, int]:
        """Return biotype -> number of names outside, the most frequent first."""
        return dict(Counter(self.outside.values()).most_common())

    def reasons(self) -> dict[str, tuple[str, str]]:
        """Return name -> (kind, note) of each name that was not mapped or was mapped by a retired id."""
        noted: dict[str, Mapping[str, str]] = {
            "retired": self.retired,
            "outside": self.outside,
            "ambiguous": {name: " ".join(genes) for name, genes in self.ambiguous.items()},
            "conflict": self.conflicts,
            "suggestion": self.suggestions,
            "other_organism": dict.fromkeys(self.other_organism, ""),
            "unmapped": dict.fromkeys(self.unmapped, ""),
        }
        return {name: (kind, note) for kind, names in noted.items() for name, note in names.items()}


@dataclass(frozen=True)
class GeneMapping:
    """Where each of the given names stands in a gene space; columns at one position are to be summed."""

    space: GeneSpace
    names: tuple[str, ...]
    """(names,) as they were given."""
    position: NDArray[np.int64]
    """(names,) position in `space.ids`, -1 where not mapped."""
    how: NDArray[np.str_]
    """(names,) "id", "symbol", "retired", "previous", "alias", or "" where not mapped."""
    report: GeneReport

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Return which genes of the space have a name (genes of the space)."""
        return self._of(np.ones(len(self.position), dtype=bool))

    def _of(self, names: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which genes of the space have one of some names."""
        found = np.zeros(len(self.space), dtype=bool)
        found[self.position[(self.position >= 0) & names]] = True
        return found

    def measured_of(self, var: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which genes of the space were measured (genes of the space), by the features that were named.

        Where they say so themselves, as streamlined data do in ``measured``, a gene that was only given a column of
        zeros was not.
        """
        said = var.get("measured")
        if said is None or str(said.dtype) not in {"bool", "boolean"}:
            return self.measured
        return self._of(said.eq(True).to_numpy(dtype=bool))

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

    def table(self) -> pd.DataFrame:
        """Return a row for each name: name, kind, id, symbol and note.

        The kind is how it was mapped, else outside, ambiguous, conflict, other_organism, suggestion or unmapped. Id and
        symbol are those of the gene, "" where not mapped. The note is the release that has a retired id, the biotype
        of a gene outside, the ids a symbol is shared by, the id that is in conflict, or the suggested symbol.
        """
        import pandas as pd

        at = np.where(self.position >= 0, self.position, len(self.space))
        ids, symbols = (np.append(column, "")[at] for column in (self.space.ids, self.space.symbols))
        reasons = self.report.reasons()
        notes = [reasons.get(name, ("", "")) for name in self.names]
        kinds = [how or kind for how, (kind, _) in zip(self.how.tolist(), notes, strict=True)]
        columns = {"name": self.names, "kind": kinds, "id": ids, "symbol": symbols, "note": [note for _, note in notes]}
        return pd.DataFrame(columns, dtype=object)


def _first(items: Mapping[str, Any] | Sequence[str], n: int) -> dict[str, Any] | list[str]:
    return dict(list(items.items())[:n]) if isinstance(items, Mapping) else list(items[:n])


@cache
def _space(table: GeneTable, biotype: str) -> GeneSpace:
    chosen = [(gene, symbol) for gene, symbol, kind in table.genes if biotype in ("all", kind)]
    ids, symbols = (np.array([pair[column] for pair in chosen]) for column in (0, 1))
    return GeneSpace(f"{table.name}-{biotype}", table.organism, ids, symbols)


def gene_space(name: str) -> GeneSpace:
    """Return a gene space by its name, or the protein-coding one of an organism; the same object each time.

    An organism without a packaged table has the only one that was added for it. NotFoundError where there is none.

    >>> gene_space("Homo sapiens") is gene_space("NCBITaxon:9606")
    True
    >>> gene_space("homo_sapiens-gencode48-protein_coding")
    <GeneSpace homo_sapiens-gencode48-protein_coding: 20120 genes>
    """
    release, _, biotype = name.rpartition("-")
    try:
        table = gene_table(release) if "-" in release else default_table(organism_id(name))
        biotype = biotype if "-" in release else DEFAULT_BIOTYPE
    except NotFoundError:
        table = None
    if table is not None and (biotype == "all" or biotype in table.biotypes):
        return _space(table, biotype)
    raise NotFoundError(
        f"no gene space {name!r}; expected an organism ({', '.join(PACKAGED)}) or a name like"
        f" {', '.join(f'{genome.name}-{DEFAULT_BIOTYPE}' for genome in genomes())};"
        " 'cellzoo genes add' adds any Ensembl or GENCODE GTF"
    )


def detect_kind(names: Iterable[str]) -> Literal["ensembl", "symbol"]:
    """Return "ensembl" if more than half of the names are Ensembl gene ids, else "symbol"."""
    matches = [ENSEMBL.fullmatch(name) is not None for name in names]
    return "ensembl" if sum(matches) * 2 > len(matches) else "symbol"


def detect_organism(names: Iterable[str]) -> tuple[str | None, dict[str, float]]:
    """Return the organism whose ids or symbols the names are, and for each organism the fraction it knows.

    Human and mouse by their packaged tables, the others of CELLxGENE by how their ids start; what was added plays no
    part. None where the best knows less than a tenth of the names or less than twice as many as the next.
    """
    distinct = set(names)
    number = dict.fromkeys(PACKAGED, 0) | Counter(filter(None, map(organism_of_id, distinct)))
    number |= {taxon: sum(map(gene_table(name).knows, distinct)) for taxon, name in PACKAGED.items()}
    known = {taxon: count / max(len(distinct), 1) for taxon, count in number.items()}
    best, other = sorted(known, key=known.__getitem__, reverse=True)[:2]
    return (best if known[best] >= max(0.1, 2 * known[other]) else None), known


def map_genes(
    names: Sequence[str],
    organism: str | None = None,
    space: GeneSpace | str | None = None,
    releases: Sequence[str] = (),
) -> GeneMapping:
    """Return the position of each name in a gene space; the order of the names plays no part.

    A name is an Ensembl id, else a symbol, else a retired id, else a retired symbol, else an alias; case counts, and
    nothing but the version of an Ensembl id is ever taken off. A symbol that several genes of the space share is the
    one HGNC or MGI means, and not mapped where they do not say. A retired id or symbol or an alias never joins a gene
    that has a better name.

    The organism is that of the space, else the one the names tell (`detect_organism`); the space is by default
    `gene_space` of the organism. A name that the release of the space does not know is looked up in the packaged
    table of the organism, then in the tables named in ``releases``: an id that the other release alone has means the
    gene of `genetable.successors`. InputError where the organism is undecidable or not that of the space.
    """
    names = [str(name) for name in names]
    space = _space_of(names, organism, space)
    look = _Lookup(space, releases)
    report = GeneReport()
    hits: dict[str, Hit] = {}
    for name in sorted(set(names)):
        if hit := look.place(name, report):
            hits[name] = hit
    _settle(hits, space, report)
    _count(hits, Counter(names), space, report)
    nowhere: tuple[int, str] = (-1, "")
    found = [hits.get(name, nowhere) for name in names]
    position = np.array([hit[0] for hit in found], dtype=np.int64)
    return GeneMapping(space, tuple(names), position, np.array([hit[1] for hit in found], dtype="<U8"), report)


def _space_of(names: Sequence[str], organism: str | None, space: GeneSpace | str | None) -> GeneSpace:
    """Return the space that names are to be mapped onto."""
    space = gene_space(space) if isinstance(space, str) else space
    taxon = organism_id(organism) if organism else space.organism if space else None
    if taxon is None:
        taxon, known = detect_organism(names)
        if taxon is None:
            shares = ", ".join(f"{share:.0%} {ORGANISMS[of]}" for of, share in known.items())
            raise InputError(
                f"of which organism {len(names)} gene names are cannot be told ({shares}), for example"
                f" {list(names[:3])}. Name the organism."
            )
    if space and space.organism != taxon:
        raise InputError(f"the names are of {taxon}, the gene space {space.name} is of {space.organism}")
    return space or gene_space(taxon)


class _Lookup:
    """The places of a gene space, the table that knows the names of its genes, and the tables asked after it."""

    def __init__(self, space: GeneSpace, releases: Sequence[str]) -> None:
        self.space = space
        self.positions = {gene: position for position, gene in enumerate(space.ids.tolist())}
        self.table = space.table
        names = dict.fromkeys([*filter(None, [PACKAGED.get(space.organism)]), *releases])
        self.others = [gene_table(name) for name in names if name != self.table.name]
        if foreign := [f"{table.name} ({table.organism})" for table in self.others if table.organism != space.organism]:
            raise InputError(f"{', '.join(foreign)}: another organism than {space.name} ({space.organism})")

    def place(self, name: str, report: GeneReport) -> Hit | None:
        """Return where a name stands and how it was found; where nowhere, the report says why."""
        table = self.table
        rows, how = table.find(name)
        release = table.retired_in.get(bare(name), "")
        if not rows:
            rows, how, release = self._elsewhere(name, report)
        genes = [table.genes[row][0] for row in rows]
        inside = [gene for gene in genes if gene in self.positions]
        if len(inside) > 1 and (meant := self._meant(name)):
            inside = [gene for gene in meant if gene in self.positions]
        if len(inside) == 1:
            if how == "retired":
                report.retired[name] = release
            return self.positions[inside[0]], how
        if inside:
            report.ambiguous[name] = inside
        elif rows:
            report.outside[name] = table.genes[rows[0]][2]
        elif name not in report.outside:
            _explain(name, table, report)
        return None

    def _meant(self, name: str) -> list[str]:
        """Return the gene that HGNC or MGI means by a symbol of several genes, nothing where they do not say."""
        for table in (self.table, *self.others[:1]):
            if name in table.official:
                return [table.genes[table.official[name]][0]]
        rows = self.others[0].of_symbol.get(name, []) if self.others else []
        return [self.others[0].genes[rows[0]][0]] if len(rows) == 1 else []

    def _elsewhere(self, name: str, report: GeneReport) -> tuple[list[int], How, str]:
        """Return the row of a name that only another release knows, how it was found and the release."""
        for other in self.others:
            rows, how = other.find(name)
            if len(rows) != 1:
                continue
            gene, _, biotype = other.genes[rows[0]]
            mine = gene if gene in self.table.row else _successors(other, self.table).get(gene)
            if mine is not None:
                renamed: How = "retired" if how in ("id", "retired") else "alias" if how == "alias" else "previous"
                return [self.table.row[mine]], renamed, other.retired_in.get(bare(name), other.name)
            report.outside[name] = f"{biotype} of {other.name}"
            break
        return [], "alias", ""


@cache
def _successors(old: GeneTable, new: GeneTable) -> dict[str, str]:
    return successors(old.genes, new.genes)


def _explain(name: str, table: GeneTable, report: GeneReport) -> None:
    others = (gene_table(other) for taxon, other in PACKAGED.items() if taxon != table.organism)
    if organism_of_id(name) not in (None, table.organism) or any(other.knows(name) for other in others):
        report.other_organism.append(name)
    elif symbol := table.folded.get(name.casefold()):
        report.suggestions[name] = symbol
    else:
        report.unmapped.append(name)


def _settle(hits: dict[str, Hit], space: GeneSpace, report: GeneReport) -> None:
    """Drop retired names and aliases of a gene that has a better name in the input, or another as good."""
    rank = {"id": 0, "symbol": 0, "retired": 1, "previous": 1, "alias": 2}
    ranks: dict[int, list[int]] = defaultdict(list)
    for position, how in hits.values():
        ranks[position].append(rank[how])
    for name, (position, how) in list(hits.items()):
        best = min(ranks[position])
        if rank[how] > best or (best > 0 and ranks[position].count(best) > 1):
            report.conflicts[name] = str(space.ids[position])
            report.retired.pop(name, None)
            del hits[name]


def _count(hits: dict[str, Hit], times: Counter[str], space: GeneSpace, report: GeneReport) -> None:
    by_gene: dict[int, list[str]] = defaultdict(list)
    for name, (position, how) in hits.items():
        report.counts[how] = report.counts.get(how, 0) + 1
        by_gene[position] += [name] * times[name]
    report.duplicates.update({str(space.ids[at]): same for at, same in sorted(by_gene.items()) if len(same) > 1})
