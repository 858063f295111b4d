"""Pinned ontologies: labels, synonyms and typed links of each term, from the packaged files, never from the network.

`cellzoo.registry.build` compiles the files and says where each link comes from. Obsolete terms are kept, without links.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellzoo.errors import InputError, NotFoundError

FOLDER = Path(__file__).parent / "ontologies"
RELATIONS = {"is_a": 1, "part_of": 2}
"""Bit of each relation in the column ``relation``; 0 is a link whose source merges the two."""
ANY = sum(RELATIONS.values())
INDIRECT = 4
"""Bit of a link that leads through terms of other ontologies: part of the closure, no parent."""
FILED_UNDER = {"AfPO": "HANCESTRO"}
"""Prefixes of terms that live in the file of another ontology."""

Links = tuple[list[int], list[int], list[int]]
"""Compressed rows: where the links of each term start, the row at their other end, their relation bits."""


class Ontology:
    """One version of one ontology; every list it returns is sorted, every unknown term is a NotFoundError."""

    def __init__(self, prefix: str, version: str, path: Path) -> None:
        self.prefix = prefix
        self.version = version
        self._columns = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        self.ids = self._texts("id")
        """All term ids, obsolete ones included, sorted."""
        self._row = {term_id: row for row, term_id in enumerate(self.ids)}

    def __contains__(self, term_id: object) -> bool:
        return term_id in self._row

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Ontology {self.prefix} {self.version}: {len(self)} terms>"

    def label(self, term_id: str) -> str:
        """Return the label of a term, "" where the source has none."""
        return self._labels[self._at(term_id)]

    def synonyms(self, term_id: str) -> list[str]:
        """Return the exact synonyms of a term in the order of the source."""
        return self._synonyms[self._at(term_id)]

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
        found = self._by_label.get(text) or self._by_synonym.get(text, [])
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"{text!r} names several {self.prefix} terms: {', '.join(map(self._named, found))}")
        raise NotFoundError(f"{text!r} is no {self.prefix} label or synonym{self._hint(text)}")

    def knows(self, text: str) -> bool:
        """Return whether the text is a term id, or the label or a synonym of a current term; case counts."""
        return text in self or text in self._by_label or text in self._by_synonym

    def nearest(self, text: str, n: int = 3) -> list[str]:
        """Return up to n ids of current terms whose label or synonym is most like the text, the best first."""
        if re.fullmatch(rf"{self.prefix}\W?_?\d+", text.strip(), re.IGNORECASE):
            number = re.sub(r"\D", "", text).zfill(len(self.ids[0].partition(":")[2]))
            return [term_id for term_id in (f"{self.prefix}:{number}",) if term_id in self]
        close = difflib.get_close_matches(text.casefold(), self._folded, n=3 * n, cutoff=0.6)
        return list(dict.fromkeys(self._folded[name] for name in close))[:n]

    def parents(self, term_id: str, relations: Iterable[str] = tuple(RELATIONS)) -> list[str]:
        """Return the ids one link above a term; InputError where the relation asked for alone is not known."""
        return self._neighbours(self._up, term_id, relations)

    def children(self, term_id: str, relations: Iterable[str] = tuple(RELATIONS)) -> list[str]:
        """Return the ids one link below a term; InputError where the relation asked for alone is not known."""
        return self._neighbours(self._down, term_id, relations)

    def ancestors(
        self, term_id: str, include_self: bool = False, relations: Iterable[str] = tuple(RELATIONS)
    ) -> list[str]:
        """Return all ids above a term; InputError where a relation asked for alone meets a link of unknown relation."""
        return self._reached(self._up, term_id, include_self, relations)

    def descendants(
        self, term_id: str, include_self: bool = False, relations: Iterable[str] = tuple(RELATIONS)
    ) -> list[str]:
        """Return all ids below a term; InputError where a relation asked for alone meets a link of unknown relation."""
        return self._reached(self._down, term_id, include_self, relations)

    def is_descendant(self, child: str, ancestor: str, include_self: bool = False) -> bool:
        """Return whether `child` lies below `ancestor` over is_a and part_of."""
        self._at(ancestor)
        return ancestor in self.ancestors(child, include_self)

    def leaves(self) -> list[str]:
        """Return the current terms that have none below them."""
        start = self._down[0]
        return [
            term_id for row, term_id in enumerate(self.ids) if start[row] == start[row + 1] and not self._obsolete[row]
        ]

    def _at(self, term_id: str) -> int:
        row = self._row.get(term_id)
        if row is None:
            raise NotFoundError(f"{term_id!r} is no term of {self.prefix} {self.version}{self._hint(term_id)}")
        return row

    def _named(self, term_id: str) -> str:
        return f"{term_id} ({self.label(term_id)})"

    def _hint(self, text: str) -> str:
        found = self.nearest(text, 1)
        return f"; nearest {self.label(found[0])!r} ({found[0]})" if found else ""

    def _neighbours(self, links: Links, term_id: str, relations: Iterable[str]) -> list[str]:
        row, wanted = self._at(term_id), _bits(relations)
        return sorted(self.ids[other] for other in self._follow(links, row, wanted, direct=True))

    def _reached(self, links: Links, term_id: str, include_self: bool, relations: Iterable[str]) -> list[str]:
        first, wanted = self._at(term_id), _bits(relations)
        seen, todo = {first}, [first]
        while todo:
            fresh = set(self._follow(links, todo.pop(), wanted)) - seen
            seen |= fresh
            todo.extend(fresh)
        return sorted(self.ids[row] for row in seen if include_self or row != first)

    def _follow(self, links: Links, row: int, wanted: int, direct: bool = False) -> list[int]:
        start, other, relation = links
        span = range(start[row], start[row + 1])
        if direct:
            span = [link for link in span if not relation[link] & INDIRECT]  # type: ignore[assignment]
        if wanted == ANY:
            return [other[link] for link in span]
        for link in span:
            if not relation[link] & ANY:
                ends = f"{self._named(self.ids[row])} and {self._named(self.ids[other[link]])}"
                raise InputError(
                    f"the source of {self.prefix} {self.version} does not say whether {ends} are linked by is_a or by"
                    " part_of; ask for both relations"
                )
        return [other[link] for link in span if relation[link] & wanted]

    def _texts(self, name: str) -> list[str]:
        return bytes(self._columns[name]).decode().split("\n")

    @cached_property
    def _labels(self) -> list[str]:
        return self._texts("label")

    @cached_property
    def _synonyms(self) -> list[list[str]]:
        return [text.split("\t") if text else [] for text in self._texts("synonyms")]

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
    def _by_label(self) -> dict[str, list[str]]:
        return self._index([[label] for label in self._labels])

    @cached_property
    def _by_synonym(self) -> dict[str, list[str]]:
        return self._index(self._synonyms)

    @cached_property
    def _folded(self) -> dict[str, str]:
        """Return casefolded label or synonym -> id; a label comes before a synonym."""
        return {name.casefold(): ids[0] for index in (self._by_synonym, self._by_label) for name, ids in index.items()}

    def _index(self, names: list[list[str]]) -> dict[str, list[str]]:
        index: dict[str, list[str]] = {}
        for term_id, obsolete, texts in zip(self.ids, self._obsolete, names, strict=True):
            for text in dict.fromkeys(texts):
                if text and not obsolete:
                    index.setdefault(text, []).append(term_id)
        return index

    @cached_property
    def _up(self) -> Links:
        start, other, relation = (self._columns[name] for name in ("start", "parent", "relation"))
        return start.tolist(), other.tolist(), relation.tolist()

    @cached_property
    def _down(self) -> Links:
        start, parent, relation = (self._columns[name] for name in ("start", "parent", "relation"))
        order = np.argsort(parent, kind="stable")
        child = np.repeat(np.arange(len(self), dtype=np.int64), np.diff(start))[order]
        begin = np.searchsorted(parent[order], np.arange(len(self) + 1))
        return begin.tolist(), child.tolist(), relation[order].tolist()


def _bits(relations: Iterable[str]) -> int:
    names = {relations} if isinstance(relations, str) else set(relations)
    if not names or names - set(RELATIONS):
        raise InputError(f"relations are one or both of {', '.join(RELATIONS)}, not {sorted(names)}")
    return sum(RELATIONS[name] for name in names)


def nearest_of(text: str, names: Iterable[str]) -> str:
    """Return "; nearest 'name'" for the end of an error message, "" where no name is like the text."""
    close = difflib.get_close_matches(text, list(names), n=1)
    return f"; nearest {close[0]!r}" if close else ""


def packaged() -> dict[str, list[str]]:
    """Return the packaged versions of each ontology, sorted: {"CL": ["v2026-03-26"], …}."""
    versions: dict[str, list[str]] = {}
    for path in sorted(FOLDER.glob("*.npz")):
        prefix, _, version = path.stem.partition("-")
        versions.setdefault(prefix, []).append(version)
    return versions


def load(prefix: str, version: str | None = None) -> Ontology:
    """Return a packaged ontology, the newest version by default; the same object each time."""
    versions = packaged().get(prefix)
    if not versions:
        raise NotFoundError(f"no ontology {prefix!r} is packaged; there are {', '.join(packaged())}")
    chosen = versions[-1] if version is None else version
    if chosen not in versions:
        raise NotFoundError(f"{prefix} {chosen} is not packaged; there is {', '.join(versions)}")
    return _open(prefix, chosen)


@cache
def _open(prefix: str, version: str) -> Ontology:
    return Ontology(prefix, version, FOLDER / f"{prefix}-{version}.npz")


def term_ontology(term_id: str) -> Ontology:
    """Return the ontology a term id belongs to by its prefix; whether it holds the term is not checked."""
    prefix, colon, _ = term_id.partition(":")
    if not colon:
        raise NotFoundError(f"{term_id!r} is no term id; expected PREFIX:NUMBER, for example CL:0000084")
    return load(FILED_UNDER.get(prefix, prefix))
