"""Suggestions of ontology terms for the labels of a study, with a score and a reason; nothing is ever applied by them.

A suggestion weighs a handful of signals (`WEIGHTS`): names and synonyms of terms, labels that curators mapped before,
and which terms are usual in the tissue. The score is the probability that a curator would choose the term: a softmax
over all candidates and one "none of these".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from cellzoo.errors import NotFoundError
from cellzoo.registry.catalogue import Registry, open_registry
from cellzoo.registry.fields import HUMAN, MOUSE, NORMAL, NOT_APPLICABLE, PREFIXES, UNKNOWN, rule
from cellzoo.registry.ontology import Ontology, current, load, term_ontology
from cellzoo.registry.suggest.examples import Context, Example, examples
from cellzoo.registry.suggest.index import Index, Match, Name
from cellzoo.registry.suggest.words import words

WEIGHTS = {
    "evidence": 1.92,
    "lead": 4.64,
    "named": 3.99,
    "mapped": 1.84,
    "its label": 0.96,
    "votes": 0.95,
    "usual here": 0.78,
    "of this tissue": 4.73,
    "initials": 1.8,
    "no cell": 1.6,
    "one atlas": -1.21,
    "none of these": 3.5,
}
"""Weight of each signal. Fitted by `benchmarks/suggest.py --fit`: maximum likelihood over the mapped labels of 9/10 of
sfaira's maps (seed 0), each predicted from other rows and, a second time, from other studies."""
SPECIAL = {
    UNKNOWN: [
        *("unassigned", "unannotated", "unclassified", "unidentified", "undefined", "unsure", "unclear", "ambiguous"),
        *("doublet", "multiplet", "debris", "contaminated", "contamination", "low quality", "ambient RNA", "artifact"),
        *("outlier", "mixed", "dying", "dead", "empty", "nan", "na", "none", "other", "not available", "not a cell"),
    ],
    NOT_APPLICABLE: ["na", "not applicable"],
    NORMAL: ["normal", "healthy", "control", "healthy control", "unaffected", "no disease"],
    "PATO:0000383": ["f", "woman", "girl"],
    "PATO:0000384": ["m", "man", "boy"],
}
"""What people write for terms and words whose ontology does not say so."""
NOT_TISSUE = frozenset(
    ("of", "cell", "the", "and", "tissue", "organ", "system", "body", "anatomical", "structure", "part", "region")
)
CANDIDATES, DOCUMENTS = 30, 400
"""Terms that are looked at closely by name and as many by curated labels; names that are compared letter by letter."""
MANY = 40
"""Terms from which on shared initials say nothing."""
SYNONYM = 0.98
"""Of a likeness that remains where it is to a synonym: of two terms the one with that label comes first."""
MAX_LETTERS = 500
"""Of a label that are read."""


@dataclass(frozen=True)
class Suggestion:
    """A term that a label may mean."""

    term: str
    """Term id, or unknown."""
    label: str
    """Label of the term."""
    score: float
    """Probability that a curator would choose it, 0 to 1; those of all terms sum to at most 1."""
    why: str
    """What speaks for it, in words."""


class Suggester:
    """Suggests terms of one field."""

    def __init__(self, field: str, examples: Iterable[Example] = (), organism: str = HUMAN) -> None:
        labels = _allowed(field, organism)
        self.terms = list(labels)
        self._labels = labels
        row = {term: number for number, term in enumerate(self.terms)}
        names = []
        for term, (label, synonyms) in labels.items():
            names.append(Name(label, row[term], "label"))
            names += [Name(text, row[term], "synonym") for text in [*synonyms, *SPECIAL.get(term, ())] if text != label]
        self._examples = [(new, one) for one in examples if (new := current(one.term) or one.term) in row]
        names += [Name(example.label, row[term], "curated", example.study) for term, example in self._examples]
        self.index = Index(names)
        self._no_cell = np.asarray([term == UNKNOWN for term in self.terms], dtype=np.float64)
        self._one_atlas = np.asarray([re.search(r"\((Mmus|Primate)\)", labels[term][0]) is not None for term in labels])
        self._context = Context([(row[term], example) for term, example in self._examples], len(self.terms))

    def suggest(self, text: str, tissue: Sequence[str] = (), n: int = 5) -> list[Suggestion]:
        """Return up to n terms for a label, the most probable first; none for a text without a letter or number."""
        text = text[:MAX_LETTERS]
        found = self.signals(text, tuple(tissue))
        if found is None:
            return []
        rows, signals, reasons = found
        weights = np.asarray(list(WEIGHTS.values()))
        logits = np.append(signals @ weights[:-1], weights[-1])
        chance = np.exp(logits - logits.max())
        chance /= chance.sum()
        best = np.argsort(-chance[:-1], kind="stable")[:n]
        terms = [self.terms[rows[at]] for at in best]
        return [
            Suggestion(term, self._labels[term][0], round(float(chance[at]), 4), reasons(int(at)))
            for term, at in zip(terms, best, strict=True)
        ]

    def signals(
        self, text: str, tissue: tuple[str, ...] = ()
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], Callable[[int], str]] | None:
        """Return the rows of the candidates, their signals in the order of `WEIGHTS`, and what to say of each."""
        query = " ".join(words(text))
        if not query:
            return None
        index, size = self.index, len(self.terms)
        match = index.match(text, self._tissue_words(tissue))
        own = ~index.curated

        def of_terms(values: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.float32]:
            best = np.zeros(size, np.float32)
            np.maximum.at(best, index.rows[where], values[where])
            return best

        named, mapped = of_terms(match.score, own), of_terms(match.score, index.curated)
        initials = self._initials(text)
        chosen = set(initials)
        for best in (named, mapped):
            chosen |= {int(at) for at in np.argsort(-best, kind="stable")[:CANDIDATES] if best[at] > 0.1}
        if not chosen:
            return None
        rows = np.asarray(sorted(chosen), dtype=np.int64)
        place = np.full(size, -1)
        place[rows] = np.arange(len(rows))
        close = self._close(query, match, place)
        likeness, votes = self._context.likeness(tissue), np.zeros((len(rows), 1))
        letters, evidence = np.zeros((2, len(rows))), np.maximum(named, mapped)[rows]
        labelled = np.zeros(len(rows), dtype=np.bool_)
        ballots: dict[tuple[int, str], float] = {}
        for document, ratio in close.items():
            at, name = place[index.rows[document]], index.names[document]
            own_or_mapped = int(name.kind == "curated")
            letters[own_or_mapped, at] = max(
                letters[own_or_mapped, at], ratio * (SYNONYM if name.kind == "synonym" else 1)
            )
            labelled[at] |= name.kind == "label" and self.index.text[document] in {query, f"{query} cell"}
            if name.kind == "curated":
                vote = ((match.score[document] + ratio) / 2) ** 6 * (0.5 + likeness.get(name.study, 0.0))
                ballots[at, name.study] = max(ballots.get((at, name.study), 0), vote)
        for (at, _), vote in ballots.items():
            votes[at] += vote
        whole = np.maximum(named[rows] + letters[0], mapped[rows] + letters[1]) / 2
        gain = np.where(own & (match.covered > 0.3), (match.around - match.filled) * match.covered, 0)
        columns = {
            "evidence": evidence,
            "lead": whole - whole.max(),
            "named": of_terms(np.where(match.covered > 0, match.filled, 0), own)[rows],
            "mapped": letters[1],
            "its label": labelled,
            "votes": votes[:, 0] / (votes.sum() + 1),
            "usual here": self._context.usual(likeness)[rows],
            "of this tissue": of_terms(gain, own)[rows],
            "initials": [initials.get(int(row), 0.0) for row in rows],
            "no cell": self._no_cell[rows],
            "one atlas": self._one_atlas[rows],
        }
        signals = np.stack([np.asarray(columns[name], dtype=np.float64) for name in list(WEIGHTS)[:-1]], axis=1)
        return rows, signals, partial(self._why, rows, close, match, columns, query)

    def _close(self, query: str, match: Match, place: NDArray[np.int64]) -> dict[int, float]:
        """Return the names of the candidates that share words with the query, and how alike they are by letter."""
        documents = np.flatnonzero((match.score > 0.35) & (place[self.index.rows] >= 0))
        documents = documents[np.argsort(-match.score[documents], kind="stable")][:DOCUMENTS]
        return {int(at): fuzz.ratio(query, self.index.text[at]) / 100 for at in documents}

    def _initials(self, text: str) -> dict[int, float]:
        """Return the terms whose initials stand in capitals in the text, and the share of its letters they are."""
        letters = max(3, sum(letter.isalpha() for letter in text))
        found: dict[int, float] = {}
        for short in re.findall(r"(?<![A-Za-z])[a-z]?[A-Z]{2,5}(?=s?(?![A-Za-z]))", text):
            rows = self.index.initials.get(short.lower(), [])
            for row in rows if len(rows) < MANY else []:
                found[row] = max(found.get(row, 0), len(short) / letters)
        return found

    def _why(  # noqa: PLR0913, PLR0917
        self,
        rows: NDArray[np.int64],
        close: dict[int, float],
        match: Match,
        columns: dict[str, Any],
        query: str,
        at: int,
    ) -> str:
        index, row = self.index, rows[at]
        mine = [document for document in close if index.rows[document] == row]
        same = [document for document in mine if index.text[document] == query]
        said = []
        if kinds := {index.names[document].kind for document in same} - {"curated"}:
            said.append("label" if "label" in kinds else "synonym")
        if studies := {index.names[document].study for document in same if index.curated[document]}:
            said.append(f"mapped so in {len(studies)} {'study' if len(studies) == 1 else 'studies'}")
        if mine and not said:
            likeness = {document: max(close[document], float(match.score[document])) for document in mine}
            best = index.names[max(mine, key=likeness.__getitem__)]
            kind = "mapped label" if best.kind == "curated" else best.kind
            said.append(f"similar to {kind} {best.text!r} {max(likeness.values()):.2f}")
        if columns["initials"][at] and not said:
            said.append("initials of its name")
        if columns["usual here"][at] > 0.7:
            said.append("usual in this tissue")
        if columns["of this tissue"][at] > 0.1:
            said.append("named after this tissue")
        return "; ".join(said) or "shares words with its names"

    @cache  # noqa: B019 - a suggester lives as long as the process
    def _tissue_words(self, tissue: tuple[str, ...]) -> tuple[str, ...]:
        found: set[str] = set()
        for term in tissue:
            uberon = term_ontology(term)
            texts = [uberon.label(term), *uberon.synonyms(term)]
            texts += [uberon.label(above) for above in uberon.ancestors(term) if uberon.is_common(above)]
            found.update(word for text in texts for word in words(text))
        return tuple(sorted(found - NOT_TISSUE))


def _allowed(field: str, organism: str) -> dict[str, tuple[str, list[str]]]:
    """Return the terms that a field takes -> label and synonyms; words such as unknown are their own label."""
    expected = rule(field, organism)
    below = [term for root in expected.roots for term in term_ontology(root).descendants(root)]
    found: dict[str, tuple[str, list[str]]] = {}
    for term in dict.fromkeys([*below, *expected.terms]):
        if ":" not in term:
            found[term] = term, []
            continue
        ontology = term_ontology(term)
        label = ontology.label(term)
        if term in expected.forbidden or ontology.is_obsolete(term) or not label:
            continue
        if not ("(Mmus)" in label and organism != MOUSE):
            found[term] = label, ontology.synonyms(term)
    return found


@cache
def _suggester(roots: tuple[Path, ...], field: str, organism: str) -> Suggester:
    return Suggester(field, examples(Registry(roots), field), organism)


def suggest(  # noqa: PLR0913
    text: str,
    field: str = "cell_type",
    *,
    tissue: str | Sequence[str] | None = None,
    organism: str = HUMAN,
    n: int = 5,
    registry: Registry | None = None,
) -> list[Suggestion]:
    """Return up to n terms that a label of a field may mean, the most probable first; they are for a person to judge.

    Tissue and organism are ids or labels, ``field`` one of `fields.PREFIXES`; what none knows is a NotFoundError.
    Labels that the curators of the registry mapped before count, by default those of `open_registry`.
    """
    if field == "cell_line":
        return _cell_lines(text, n)
    if field not in PREFIXES:
        raise NotFoundError(f"no field {field!r}; there are {', '.join(PREFIXES)}")
    where = [tissue] if isinstance(tissue, str) else list(tissue or ())
    tissues = [_named(load("UBERON"), text) for text in where]
    suggester = _suggester((registry or open_registry()).roots, field, _named(load("NCBITaxon"), organism))
    return suggester.suggest(text, tissues, n)


def _named(ontology: Ontology, text: str) -> str:
    return text if text in ontology else ontology.find(text)


@cache
def _lines() -> dict[str, list[str]]:
    lines = load("CVCL")
    found: dict[str, list[str]] = {}
    for term in lines.ids:
        for name in (lines.label(term), *lines.synonyms(term)):
            found.setdefault(_letters(name), []).append(term)
    return found


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _cell_lines(text: str, n: int) -> list[Suggestion]:
    """Return cell lines by name; the score of one that is not spelled so is the likeness, halved, not a probability."""
    lines, key = load("CVCL"), _letters(text[:MAX_LETTERS])
    if not key:
        return []
    found: dict[str, Suggestion] = {}
    for name, ratio, _ in process.extract(key, _lines().keys(), scorer=fuzz.ratio, score_cutoff=60, limit=n):
        for term in _lines()[name]:
            score = 1 / len(_lines()[name]) if name == key else ratio / 200
            label = lines.label(term)
            why = "name" if name == key else f"similar to {label!r} {ratio / 100:.2f}"
            found.setdefault(term, Suggestion(term, label, round(score, 4), why))
    return sorted(found.values(), key=lambda one: -one.score)[:n]
