"""Pinned ontologies: labels, synonyms and typed links of each term, from the packaged files, never from the network.

`cellzoo.registry.build` compiles the files and says where each link comes from. Obsolete terms are kept, without links.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from itertools import chain, compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry.compiled import SAME, TEXTS, Term
from cellzoo.registry.pins import CONDITIONS, OTHER_ORGANISMS, PINS, SCHEMA

FOLDER = Path(__file__).parent / "ontologies"
RELATIONS = {"is_a": 1, "part_of": 2}
"""Bit of each relation in the column ``relation``; 0 is a link whose source merges the two."""
BOTH = tuple(RELATIONS)
ANY = sum(RELATIONS.values())
INDIRECT = 4
"""Bit of a link that leads through terms of other ontologies: part of the closure, no parent."""
FILED_UNDER = {"AfPO": "HANCESTRO", "ZFS": "ZFA", "uniprot": "UniProt"}
"""Prefixes of terms that live in the file of another ontology."""

Links = tuple["memoryview[int]", "memoryview[int]", "memoryview[int]"]
"""Compressed rows: where the links of each term start, the row at their other end, their relation bits."""


class Ontology:
    """One version of one ontology; every list it returns is sorted, every unknown term is a NotFoundError.

    A column is read from the file when it is first asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """The compiled file."""
        self._columns = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        self.prefix, self.version = self._texts("source")
        self.ids = self._texts("id")
        """All term ids, obsolete ones included, sorted."""

    def __contains__(self, term_id: object) -> bool:
        return isinstance(term_id, str) and self._row(term_id) is not None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Ontology {self.prefix} {self.version}: {len(self)} terms>"

    def label(self, term_id: str) -> str:
        """Return the label of a term, "" where the source has none."""
        return self._labels[self._at(term_id)]

    def synonyms(self, term_id: str) -> list[str]:
        """Return the exact synonyms of a term in the order of the source."""
        names = self._synonyms[self._at(term_id)]
        return names.split("\t") if names else []

    def description(self, term_id: str) -> str:
        """Return the definition of a term, "" where the source has none."""
        return self._descriptions[self._at(term_id)]

    def is_obsolete(self, term_id: str) -> bool:
        """Return whether the ontology has withdrawn a term."""
        return bool(self._obsolete[self._at(term_id)])

    def is_common(self, term_id: str) -> bool:
        """Return whether CELLxGENE groups cells by a term: "T cell" is one, "mature alpha-beta T cell" is not."""
        return bool(self._common[self._at(term_id)])

    def replaced_by(self, term_id: str) -> str | None:
        """Return the id that replaces an obsolete term (of any ontology), None where the source names none."""
        return self._replaced_by[self._at(term_id)] or None

    def find(self, text: str) -> str:
        """Return the id of the current term with this label, else of the only one with this synonym; case counts."""
        found = (self._by_label.get(text) or self._by_synonym.get(text, "")).split("\t")
        if len(found) > 1:
            raise InputError(f"{text!r} names several {self.prefix} terms: {', '.join(map(self._named, found))}")
        if found[0]:
            return found[0]
        raise NotFoundError(f"{text!r} is no {self.prefix} label or synonym{self._hint(text)}")

    def knows(self, text: str) -> bool:
        """Return whether the text is a term id, or the label or a synonym of a current term; case counts."""
        return text in self or text in self._by_label or text in self._by_synonym

    def nearest(self, text: str, n: int = 3) -> list[str]:
        """Return up to n ids of current terms whose label or synonym is most like the text, the best first."""
        if term_id := self._repaired(text):
            return [term_id]
        from rapidfuzz import fuzz, process

        close = process.extract(text.casefold(), self._folded.keys(), scorer=fuzz.ratio, score_cutoff=60, limit=3 * n)
        return list(dict.fromkeys(self._folded[name] for name, _, _ in close))[:n]

    def search(self, text: str, n: int = 10) -> list[str]:
        """Return up to n ids of current terms for words of their label or a synonym, in any order and case.

        Names with all the words come first, the shorter the earlier; then those that are most like the text.
        """
        if text in self:
            return [text]
        words = text.casefold().split()
        hits = sorted((len(name), name) for name in self._folded if all(word in name for word in words))
        return list(dict.fromkeys([*(self._folded[name] for _, name in hits), *self.nearest(text, n)]))[:n]

    def parents(self, term_id: str, relations: Iterable[str] = BOTH) -> list[str]:
        """Return the ids one link above a term; InputError where the relation asked for alone is not known."""
        return self._neighbours(self._up, term_id, relations)

    def children(self, term_id: str, relations: Iterable[str] = BOTH) -> list[str]:
        """Return the ids one link below a term; InputError where the relation asked for alone is not known."""
        return self._neighbours(self._down, term_id, relations)

    def ancestors(self, term_id: str, include_self: bool = False, relations: Iterable[str] = BOTH) -> list[str]:
        """Return all ids above a term; InputError where a relation asked for alone meets a link of unknown relation."""
        return self._closure(self._up, term_id, include_self, relations)

    def descendants(self, term_id: str, include_self: bool = False, relations: Iterable[str] = BOTH) -> list[str]:
        """Return all ids below a term; InputError where a relation asked for alone meets a link of unknown relation."""
        return self._closure(self._down, term_id, include_self, relations)

    def is_descendant(self, child: str, ancestor: str, include_self: bool = False) -> bool:
        """Return whether `child` lies below `ancestor` over is_a and part_of."""
        self._at(ancestor)
        return ancestor in self.ancestors(child, include_self)

    def leaves(self, below: str | None = None, relations: Iterable[str] = BOTH) -> list[str]:
        """Return the current terms that have none below them: of all terms, or of one term and those below it."""
        wanted = _bits(relations)
        rows = range(len(self)) if below is None else sorted(self._reached(self._down, self._at(below), wanted))
        return [self.ids[row] for row in rows if not self._obsolete[row] and not self._follow(self._down, row, wanted)]

    def common_ancestors(self, terms: Iterable[str], relations: Iterable[str] = BOTH) -> list[str]:
        """Return the deepest terms above all the terms, the one with the fewest terms below it first.

        A term counts as above itself; deepest means that no other common ancestor lies below it. With several parents
        there can be more than one, and none where the terms share no root; InputError for no terms.
        """
        wanted = _bits(relations)
        above = [self._reached(self._up, self._at(term), wanted) for term in terms]
        if not above:
            raise InputError("common ancestors of no terms: name at least one term")
        shared = set.intersection(*above)
        higher = {up for row in shared for up in self._reached(self._up, row, wanted) - {row}}
        deepest = {row: len(self._reached(self._down, row, wanted)) for row in shared - higher}
        return [self.ids[row] for row in sorted(deepest, key=lambda row: (deepest[row], row))]

    def links(self, term_id: str) -> dict[str, tuple[str, ...]]:
        """Return the relations to each parent of a term, () where the source merges them."""
        row = self._at(term_id)
        start, parents, relation = self._up
        return {
            self.ids[parents[link]]: tuple(name for name, bit in RELATIONS.items() if relation[link] & bit)
            for link in range(start[row], start[row + 1])
            if not relation[link] & INDIRECT
        }

    def terms(self) -> dict[str, Term]:
        """Return all that is known of every term."""
        start, parents, relation = self._up
        return {
            term_id: Term(
                self._labels[row],
                tuple(self.synonyms(term_id)),
                self._descriptions[row],
                self._replaced_by[row],
                bool(self._obsolete[row]),
                bool(self._common[row]),
                {self.ids[parents[link]]: relation[link] for link in range(start[row], start[row + 1])},
            )
            for row, term_id in enumerate(self.ids)
        }

    def _row(self, term_id: str) -> int | None:
        row = bisect_left(self.ids, term_id)
        return row if row < len(self.ids) and self.ids[row] == term_id else None

    def _at(self, term_id: str) -> int:
        row = self._row(term_id)
        if row is None:
            raise NotFoundError(f"{term_id!r} is no term of {self.prefix} {self.version}{self._hint(term_id)}")
        return row

    def _repaired(self, text: str) -> str | None:
        """Return the term that a text means if it is an id with another separator, case or number of zeros."""
        found = re.fullmatch(rf"{re.escape(self.prefix)}[\W_]*([0-9A-Z]+)", text.strip(), re.IGNORECASE)
        if not found:
            return None
        number = found[1].upper()
        width = len(self.ids[-1]) - len(self.prefix) - 1
        candidates = (f"{self.prefix}{mark}{text}" for mark in ":_" for text in (number, number.zfill(width)))
        return next((one for one in candidates if one in self), None)

    def _named(self, term_id: str) -> str:
        return f"{term_id} ({self.label(term_id)})"

    def _hint(self, text: str) -> str:
        found = self.nearest(text, 1)
        return f"; nearest {self.label(found[0])!r} ({found[0]})" if found else ""

    def _neighbours(self, links: Links, term_id: str, relations: Iterable[str]) -> list[str]:
        row, wanted = self._at(term_id), _bits(relations)
        return sorted(self.ids[other] for other in self._follow(links, row, wanted, direct=True))

    def _closure(self, links: Links, term_id: str, include_self: bool, relations: Iterable[str]) -> list[str]:
        first = self._at(term_id)
        rows = self._reached(links, first, _bits(relations))
        return [self.ids[row] for row in sorted(rows) if include_self or row != first]

    def _reached(self, links: Links, first: int, wanted: int) -> set[int]:
        seen, todo = {first}, [first]
        while todo:
            fresh = set(self._follow(links, todo.pop(), wanted)) - seen
            seen |= fresh
            todo.extend(fresh)
        return seen

    def _follow(self, links: Links, row: int, wanted: int, direct: bool = False) -> list[int]:
        start, other, relation = links
        ends = other[start[row] : start[row + 1]].tolist()
        bits = relation[start[row] : start[row + 1]].tolist()
        if direct:
            ends = [end for end, bit in zip(ends, bits, strict=True) if not bit & INDIRECT]
            bits = [bit for bit in bits if not bit & INDIRECT]
        if wanted == ANY:
            return ends
        for end, bit in zip(ends, bits, strict=True):
            if not bit & ANY:
                raise InputError(
                    f"the source of {self.prefix} {self.version} does not say whether {self._named(self.ids[row])} and"
                    f" {self._named(self.ids[end])} are linked by is_a or by part_of; ask for both relations"
                )
        return [end for end, bit in zip(ends, bits, strict=True) if bit & wanted]

    def _texts(self, name: str) -> list[str]:
        texts = bytes(self._columns[name]).decode().split("\n")
        if name in TEXTS and self._newer:
            newer = self._newer._texts(name)
            texts = [
                newer[self._newer._at(term_id)] if text == SAME else text
                for term_id, text in zip(self.ids, texts, strict=True)
            ]
        return texts

    @cached_property
    def _newer(self) -> Ontology | None:
        """The version that holds the texts which did not change since this one."""
        return load(self.prefix, *self._texts("newer")) if "newer" in self._columns else None

    @cached_property
    def _labels(self) -> list[str]:
        return self._texts("label")

    @cached_property
    def _synonyms(self) -> list[str]:
        return self._texts("synonyms")

    @cached_property
    def _descriptions(self) -> list[str]:
        return self._texts("description")

    @cached_property
    def _replaced_by(self) -> list[str]:
        return self._texts("replaced_by")

    @cached_property
    def _obsolete(self) -> NDArray[np.bool_]:
        return np.asarray(self._columns["obsolete"], dtype=np.bool_)

    @cached_property
    def _common(self) -> NDArray[np.bool_]:
        return np.asarray(self._columns["common"], dtype=np.bool_)

    @cached_property
    def _by_label(self) -> dict[str, str]:
        return _index(self._names(self._labels))

    @cached_property
    def _by_synonym(self) -> dict[str, str]:
        return _index(self._names(self._synonyms))

    @cached_property
    def _folded(self) -> dict[str, str]:
        """Return casefolded label or synonym -> id, labels first; a label comes before a synonym."""
        folded: dict[str, str] = {}
        for name, term_id in chain(self._names(self._labels), self._names(self._synonyms)):
            folded.setdefault(name.casefold(), term_id)
        return folded

    def _names(self, texts: list[str]) -> Iterator[tuple[str, str]]:
        """Yield each name and the id of its term; obsolete terms give none."""
        for text, term_id in compress(zip(texts, self.ids, strict=True), (~self._obsolete).tolist()):
            if text:
                for name in dict.fromkeys(text.split("\t")):
                    yield name, term_id

    @cached_property
    def _up(self) -> Links:
        return self._columns["start"].data, self._columns["parent"].data, self._columns["relation"].data

    @cached_property
    def _down(self) -> Links:
        start, parent, relation = (self._columns[name] for name in ("start", "parent", "relation"))
        order = np.argsort(parent, kind="stable")
        child = np.repeat(np.arange(len(self), dtype=np.uint32), np.diff(start))[order]
        begin = np.searchsorted(parent[order], np.arange(len(self) + 1, dtype=np.uint32)).astype(np.uint32)
        return begin.data, child.data, relation[order].data


def _index(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the tab-joined ids by name: texts, unlike lists, cost the garbage collector nothing."""
    index: dict[str, str] = {}
    for name, term_id in names:
        index[name] = f"{index[name]}\t{term_id}" if name in index else term_id
    return index


def _bits(relations: Iterable[str]) -> int:
    names = {relations} if isinstance(relations, str) else set(relations)
    if not names or names - set(RELATIONS):
        raise InputError(f"relations are one or both of {', '.join(RELATIONS)}, not {sorted(names)}")
    return sum(RELATIONS[name] for name in names)


def nearest_of(text: str, names: Iterable[str]) -> str:
    """Return "; nearest 'name'" for the end of an error message, "" where no name is like the text."""
    from rapidfuzz import fuzz, process

    close = process.extractOne(text, list(names), scorer=fuzz.ratio, score_cutoff=60)
    return f"; nearest {close[0]!r}" if close else ""


@cache
def _files() -> dict[str, dict[str, Path]]:
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(FOLDER.glob("*.npz")):
        prefix, _, version = path.stem.partition("-")
        files.setdefault(prefix, {})[version] = path
    return files


def packaged() -> dict[str, list[str]]:
    """Return the packaged versions of each ontology, sorted: {"CL": ["v2025-07-30", "v2026-03-26"], …}."""
    return {prefix: sorted(files) for prefix, files in _files().items()}


@cache
def load(prefix: str, version: str | None = None, schema: str = SCHEMA) -> Ontology:
    """Return a packaged ontology: this version, or the one that a CELLxGENE schema pins; the same object each time."""
    files = _files().get(prefix)
    if not files:
        raise NotFoundError(f"no ontology {prefix!r} is packaged; there are {', '.join(packaged())}")
    if schema not in PINS:
        raise NotFoundError(f"no versions are pinned for CELLxGENE schema {schema!r}; there are {', '.join(PINS)}")
    chosen = version or (PINS[schema] | OTHER_ORGANISMS[schema] | CONDITIONS[schema]).get(prefix, f"of {schema}")
    if chosen not in files:
        raise NotFoundError(f"{prefix} {chosen} is not packaged; there is {', '.join(packaged()[prefix])}")
    return _open(files[chosen])


_open = cache(Ontology)


def term_ontology(term_id: str, schema: str = SCHEMA) -> Ontology:
    """Return the ontology a term id belongs to by its prefix; whether it holds the term is not checked."""
    found = re.match(r"([A-Za-z]+)(?::|(?<=CVCL)_)", term_id)
    if not found:
        raise NotFoundError(f"{term_id!r} is no term id; expected PREFIX:NUMBER, for example CL:0000084")
    return load(FILED_UNDER.get(found[1], found[1]), schema=schema)


def current(term_id: str, schema: str = SCHEMA) -> str | None:
    """Return the term that a term id means today: itself, else what replaced it, were it in several steps.

    None where nothing replaced it, or a term of an ontology that is not packaged.
    """
    seen: set[str] = set()
    term: str | None = term_id
    while term and term not in seen:
        seen.add(term)
        try:
            ontology = term_ontology(term, schema)
            if not ontology.is_obsolete(term):
                return term
        except NotFoundError:
            return None
        term = ontology.replaced_by(term)
    return None
