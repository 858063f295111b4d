"""Ontologies of one's own: any release as OBO, OWL or OBO-graph JSON, and extensions of a packaged one.

pronto reads the file; what comes out is compiled once and kept in the cache folder by the sha256 of the file.
Imports that a file names are not followed.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellzoo import settings
from cellzoo.errors import CardError, Finding, MissingExtraError, WorldError
from cellzoo.registry.compiled import Term, columns, tidy, write
from cellzoo.registry.ontology import RELATIONS, Ontology

FORMAT = 1
"""Raised when the compiled file or what is read into it changes, so that the cache forgets."""
PART_OF = ("part_of", "BFO:0000050")
READ = ("id", "name", "def", "synonym", "is_a", "is_obsolete", "replaced_by")
"""The tags of an OBO term that are read; what stands in others cannot break a file."""
QUOTED = re.compile(r'^((?:def|synonym): "(?:\\.|[^"\\])*")( EXACT| BROAD| NARROW| RELATED)?.*')

EXTERNAL = re.compile(r"<!(?:ENTITY|DOCTYPE)[^>\[]*\s(?:SYSTEM|PUBLIC)\s")
"""What would draw another file into an OWL file."""


@dataclass(frozen=True)
class Source:
    """What a file says."""

    path: Path
    """The file."""
    text: str
    """All of it."""
    prefix: str
    """The prefix that its header names, else the most frequent one of its ids."""
    version: str
    """Version from its header, else the first 12 digits of its sha256."""
    terms: dict[str, Term]
    """Each term by id; what is only named as a parent is a term without a label."""

    def finding(self, code: str, term_id: str, message: str, remedy: str) -> Finding:
        """Return a finding at the line where a term is defined."""
        mark = re.compile(rf"^id: *{re.escape(term_id)}\s*$|about=\"[^\"]*{re.escape(term_id.replace(':', '_'))}\"")
        line = next((number for number, line in enumerate(self.text.splitlines(), 1) if mark.search(line)), 0)
        return Finding(str(self.path), line, 0, code, message, remedy)


def compile_ontology(path: Path | str, prefix: str | None = None) -> Ontology:
    """Return the ontology of an OBO, OWL or OBO-graph JSON file, all of its terms, is_a and part_of kept apart.

    `prefix` is its name, by default the most frequent prefix of its ids. CardError with a finding for a file that
    cannot be read; MissingExtraError without pronto.
    """
    path = Path(path)
    content = _bytes(path)
    key = hashlib.sha256(content).hexdigest() + (f"-{_plain(prefix)}" if prefix else "")

    def compiled() -> dict[str, Any]:
        source = _read(path, content)
        return columns(source.terms, (prefix or source.prefix, source.version))

    return _cached(key, compiled)


def extend(base: Ontology, path: Path | str) -> Ontology:
    """Return an ontology with the terms of a file attached below its own, for example ZOO:0000001 is_a CL:0000084.

    CardError with a finding for each term that redefines an existing one, links existing ones anew, or has no parent
    among them.
    """
    path = Path(path)
    content = _bytes(path)
    key = hashlib.sha256(hashlib.sha256(base.path.read_bytes()).digest() + content).hexdigest()

    def compiled() -> dict[str, Any]:
        source = _read(path, content)
        if findings := list(_problems(base, source)):
            raise CardError(findings)
        added = {term_id: term for term_id, term in source.terms.items() if term_id not in base}
        return columns({**base.terms(), **added}, (base.prefix, f"{base.version} + {path.stem} {source.version}"))

    return _cached(key, compiled)


def _problems(base: Ontology, source: Source) -> Iterator[Finding]:
    """Yield what keeps a file from being an extension."""
    for term_id, term in source.terms.items():
        if term_id in base:
            yield from _changes(base, source, term_id, term)
            continue
        if unknown := [one for one in term.parents if one not in base and not source.terms[one].label]:
            message = f"{term_id} ({term.label}) lies below {', '.join(unknown)}, in neither {base!r} nor this file"
            yield source.finding("ONTO003", term_id, message + ".", "Name an existing term, or define it here.")
        elif withdrawn := [one for one in term.parents if one in base and base.is_obsolete(one)]:
            message = f"{term_id} ({term.label}) lies below {', '.join(withdrawn)}, obsolete in {base!r}."
            instead = [new for one in withdrawn if (new := base.replaced_by(one))]
            yield source.finding("ONTO003", term_id, message, f"Use {', '.join(instead) or 'another term'}.")
        elif term.label and not term.obsolete and not _attached(base, source, term_id):
            message = f"{term_id} ({term.label}) lies below no term of {base!r}."
            yield source.finding("ONTO004", term_id, message, "Give it an is_a or part_of to an existing term.")
        if term.label and not term.obsolete and base.knows(term.label):
            message = f"the label {term.label!r} of {term_id} already names {base.find(term.label)}."
            yield source.finding("ONTO001", term_id, message, "Use that term, or choose another label.")


def _changes(base: Ontology, source: Source, term_id: str, term: Term) -> Iterator[Finding]:
    """Yield what a file says about an existing term that the ontology does not say."""
    name = f"{term_id} ({base.label(term_id)})"
    changed = [
        what
        for what, differs in {
            "label": term.label and tidy(term.label) != base.label(term_id),
            "definition": term.description and tidy(term.description) != base.description(term_id),
            "synonyms": set(map(tidy, term.synonyms)) - set(base.synonyms(term_id)),
            "obsolescence": term.obsolete and not base.is_obsolete(term_id),
        }.items()
        if differs
    ]
    remedy = "An extension adds terms; leave existing ones as they are."
    if changed:
        message = f"{name} exists in {base!r} with another {', '.join(changed)}."
        yield source.finding("ONTO001", term_id, message, remedy)
    if new := [one for one in term.parents if one not in base.links(term_id)]:
        yield source.finding("ONTO002", term_id, f"{name} exists and is not below {', '.join(new)}.", remedy)


def _attached(base: Ontology, source: Source, term_id: str) -> bool:
    seen, todo = {term_id}, [term_id]
    while todo:
        for parent in source.terms[todo.pop()].parents:
            if parent in base:
                return True
            if parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return False


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WorldError(f"{path}: cannot be read: {error.strerror or error}") from error


def _cached(key: str, compiled: Callable[[], dict[str, Any]]) -> Ontology:
    path = settings.home() / "ontologies" / f"{FORMAT}-{key}.npz"
    if path.exists():
        return Ontology(path)
    found = compiled()
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(unfinished, found)
        unfinished.replace(path)
    except OSError as error:
        raise WorldError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return Ontology(path)


def _read(path: Path, content: bytes) -> Source:
    try:
        from pronto.ontology import Ontology as Pronto
    except ImportError as error:
        raise MissingExtraError("reading OBO and OWL files", "ontology") from error
    try:
        text = content.decode()
        kind = path.suffix.lower()
        if external := EXTERNAL.search(text):
            line = text.count("\n", 0, external.start()) + 1
            message = "declares an external entity."
            raise CardError([Finding(str(path), line, 0, "ONTO000", message, "Write out what it stands for.")])
        known = _owl(text) if text.lstrip().startswith("<") else text if kind == ".json" else _obo(text)
        with warnings.catch_warnings():  # pronto warns of every part of OWL it does not know
            warnings.simplefilter("ignore")
            parsed = Pronto(io.BytesIO(known.encode()), import_depth=0)
            terms = {str(term.id): _term(term) for term in parsed.terms()}
    except CardError:
        raise
    except SyntaxError as error:
        message = f"cannot be read: {error.msg}."
        raise CardError([Finding(str(path), error.lineno or 0, 0, "ONTO000", message)]) from error
    except KeyError as error:
        message = f"names {error}, which it does not define."
        raise CardError([Finding(str(path), 0, 0, "ONTO003", message)]) from error
    except (ValueError, TypeError, AttributeError) as error:
        message = f"is no OBO, OWL (RDF/XML) or OBO-graph JSON file that pronto can read: {error}."
        raise CardError([Finding(str(path), 0, 0, "ONTO000", message)]) from error
    named = {parent for term in terms.values() for parent in term.parents}
    terms = {term_id: term for term_id, term in terms.items() if term != Term() or term_id in named}
    if not terms:
        raise CardError([Finding(str(path), 0, 0, "ONTO000", "holds no terms.")])
    prefixes = Counter(term_id.partition(":")[0] for term_id in terms)
    header = (parsed.metadata.ontology or "").partition("/")[0].lower()
    prefix = next((one for one in prefixes if one.lower() == header), prefixes.most_common(1)[0][0])
    version = parsed.metadata.data_version or hashlib.sha256(content).hexdigest()[:12]
    date = re.search(r"\d{4}-\d\d-\d\d", version)
    return Source(path, text, prefix, date[0] if date else _plain(version), terms)


def _term(term: Any) -> Term:
    parents: dict[str, int] = {}
    for parent in term.superclasses(distance=1, with_self=False):
        parents[str(parent.id)] = RELATIONS["is_a"]
    for relation, others in term.relationships.items():
        if relation.id in PART_OF:
            for other in others:
                parents[str(other.id)] = parents.get(str(other.id), 0) | RELATIONS["part_of"]
    return Term(
        label=term.name or "",
        synonyms=tuple(sorted(synonym.description for synonym in term.synonyms if synonym.scope == "EXACT")),
        description=str(term.definition or ""),
        replaced_by=min((str(other.id) for other in term.replaced_by), default=""),
        obsolete=term.obsolete,
        parents=parents,
    )


def _obo(text: str) -> str:
    """Return what is read of an OBO file, line for line, with a stub of each term that it names and does not define.

    Cross-references and types of synonyms go: a malformed one, as in the slims of the Cell Ontology, stops pronto.
    """
    lines, stanza, defined, named = [], "", set(), set()
    for line in text.splitlines():
        if line.startswith("["):
            stanza = line.strip()
        tag, _, value = line.partition(": ")
        words = value.split() or [""]
        if stanza == "[Term]":
            relation = tag == "relationship" and words[0] in PART_OF
            keep = line.startswith("[") or tag in READ or relation
            if tag in {"is_a", "replaced_by"} or (relation and len(words) > 1):
                named.add(words[relation])
            elif tag == "id":
                defined.add(words[0])
        else:
            keep = not stanza and tag in {"format-version", "data-version", "ontology"}
        lines.append(QUOTED.sub(r"\1\2 []", line) if keep else "")
    stubs = [f"[Term]\nid: {term_id}\n" for term_id in sorted(named - defined)]
    return "\n".join([*lines, "", *stubs, *(f"[Typedef]\nid: {name}\n" for name in PART_OF)])


def _owl(text: str) -> str:
    """Return an OWL file with a stub of each class that it names as a parent and does not define."""
    named = set(re.findall(r'<(?:rdfs:subClassOf|owl:someValuesFrom) rdf:resource="([^"]+)"', text))
    defined = set(re.findall(r'<owl:Class rdf:about="([^"]+)"', text))
    stubs = "".join(f'<owl:Class rdf:about="{iri}"/>' for iri in sorted(named - defined))
    return text.replace("</rdf:RDF>", f"{stubs}</rdf:RDF>")


def _plain(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)
