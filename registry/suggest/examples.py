"""Labels that curators mapped before, and which terms are usual in which tissue by them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellzoo.errors import CardError, NotFoundError
from cellzoo.registry.cards import SUGGESTED, load_map
from cellzoo.registry.catalogue import Registry
from cellzoo.registry.ontology import term_ontology

EXPECTED, RARE = 4.0, 0.01
"""Studies of a tissue from which on it counts more than all studies; share of studies of a term that none has."""


@dataclass(frozen=True)
class Example:
    """A label that a curator mapped."""

    label: str
    """As the study writes it."""
    term: str
    """Term id, or unknown."""
    study: str
    """The study: it has one vote."""
    tissues: tuple[str, ...] = ()
    """Tissues of the study as term ids."""


def examples(registry: Registry, field: str) -> list[Example]:
    """Return the labels that the curators of a registry mapped, from the maps ``<id>.<field>.tsv`` beside its cards."""
    found = []
    for record in registry.records():
        path = registry.paths[record.id].with_name(f"{record.id}.{field}.tsv")
        if not path.is_file():
            continue
        try:
            label_map = load_map(path)
        except CardError:  # `cellzoo check` says what is wrong with it
            continue
        unseen = {label for label, note in label_map.notes.items() if note.startswith(SUGGESTED)}
        tissues = tuple(term for term in record.terms.get("tissue", ()) if term.startswith("UBERON:"))
        found += [
            Example(label, term, record.study, tissues)
            for label, term in label_map.terms.items()
            if label not in unseen
        ]
    return found


class Context:
    """Which terms are usual in which tissue, from the studies of the examples."""

    def __init__(self, examples: list[tuple[int, Example]], terms: int) -> None:
        tissues: dict[str, set[str]] = defaultdict(set)
        for _, example in examples:
            tissues[example.study].update(example.tissues)
        self._studies = list(tissues)
        self._above = [frozenset(above for term in tissues[study] for above in _above(term)) for study in tissues]
        self._spread = np.asarray([max(1, len(tissues[study])) ** -0.5 for study in tissues])
        number = Counter(above for one in self._above for above in one)
        whole = max(2, len(self._studies))
        self._tells = {above: np.log(whole / times) / np.log(whole) for above, times in number.items()}
        pairs = sorted({(self._studies.index(example.study), row) for row, example in examples})
        at, rows = zip(*pairs, strict=True) if pairs else ((), ())
        self._has = sp.csr_matrix((np.ones(len(pairs)), (at, rows)), shape=(len(self._studies), terms))

    def likeness(self, tissue: tuple[str, ...]) -> dict[str, float]:
        """Return how alike the tissue of each study is, 0 to 1: what the nearest tissue both lie in tells."""
        asked = {above: self._tells[above] for term in tissue for above in _above(term) if above in self._tells}
        most = max(asked.values(), default=0)
        if most == 0:
            return {}
        best = [max((asked[above] for above in one & asked.keys()), default=0) / most for one in self._above]
        return dict(zip(self._studies, (np.asarray(best) * self._spread).tolist(), strict=True))

    def usual(self, likeness: dict[str, float]) -> NDArray[np.float64]:
        """Return by how much more often each term is in studies of such tissue than in all, as a logarithm."""
        if not likeness:
            return np.zeros(self._has.shape[1])
        weight = np.asarray(list(likeness.values())) ** 2
        everywhere = np.asarray(self._has.sum(axis=0)).ravel() / len(self._studies)
        here = (self._has.T @ weight + EXPECTED * (everywhere + RARE)) / (weight.sum() + EXPECTED)
        return np.asarray(np.log(here / (everywhere + RARE)))


@cache
def _above(term: str) -> frozenset[str]:
    try:
        return frozenset(term_ontology(term).ancestors(term, include_self=True))
    except NotFoundError:
        return frozenset()
