"""Which model of a registry fits a file: by its organism and its tissue, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cellzoo.errors import CardError, InputError, NotFoundError
from cellzoo.hub.names import parse, release_order
from cellzoo.hub.release import COMMON_NAMES
from cellzoo.registry.catalogue import Registry
from cellzoo.registry.genes import detect_organism
from cellzoo.registry.model_card import ModelCard
from cellzoo.registry.ontology import Ontology, load

if TYPE_CHECKING:
    import anndata


@dataclass(frozen=True)
class Choice:
    """A model that fits a file."""

    id: str
    """Organization and name of the model."""
    version: str
    """Its newest active version."""
    commit: str
    """Commit of that version."""
    remote: str | None
    """Where it is published, None for huggingface.co."""
    why: str
    """Why it was chosen, in words."""

    @property
    def pinned(self) -> str:
        """Return what `from_pretrained` takes: the model at the commit that the registry pins."""
        return f"{self.id}@{self.commit}"


def choose(registry: Registry, names: Iterable[str], tissue: str, task: str = "celltype") -> Choice:
    """Return the model of a registry for cells with these gene names and this tissue, a UBERON id or label.

    Its organism is that of the genes; its organ is the tissue, or the nearest that the tissue is part of, or else the
    nearest part of the tissue. Of several the one with the newest release is chosen. `NotFoundError` lists what there
    is where none fits, `InputError` says that the genes do not tell the organism.
    """
    organism = detect_organism(names)[0]
    if organism not in COMMON_NAMES:
        raise InputError(f"of which organism the genes are cannot be told ({organism or 'none'}). Give --model.")
    uberon = load("UBERON")
    wanted = tissue if tissue in uberon else uberon.find(tissue)
    found: list[tuple[int, str, Choice]] = []
    there = []
    cards, unread = _cards(registry)
    for card in cards:
        name = parse(card.id)
        active = [one for one in card.versions if one.status == "active"]
        if name.task != task or not active:
            continue
        there.append(f"{name.organism} {name.organ}")
        steps = _steps(uberon, wanted, name.organ.replace("-", " "))
        if name.organism != COMMON_NAMES[organism] or steps is None:
            continue
        newest = max(active, key=lambda one: release_order(f"v{one.version}"))
        why = f"{name.organism} by the genes, {name.organ} for {uberon.label(wanted)}"
        found.append((-steps, newest.date, Choice(card.id, newest.version, newest.commit, card.remote, why)))
    if not found:
        known = ", ".join(sorted(set(there))) or "none at all"
        known += f"; {unread} model cards cannot be read, see `cellzoo check`" if unread else ""
        raise NotFoundError(
            f"no {task} model for {COMMON_NAMES[organism]} {uberon.label(wanted)} in {registry}; there is {known}. "
            "Give --model."
        )
    return max(found, key=lambda item: (item[0], item[1], item[2].id))[2]


def choose_for(adata: anndata.AnnData, registry: Registry, tissue: str | None = None) -> Choice:
    """Return the model of a registry for these cells: their genes tell the organism, ``obs`` or ``tissue`` the tissue.

    `InputError` where neither ``tissue`` nor one tissue in ``obs["tissue_ontology_term_id"]`` or ``obs["tissue"]`` says
    what was sampled, and as `choose`.
    """
    column = next((name for name in ("tissue_ontology_term_id", "tissue") if name in adata.obs), None)
    if tissue is None and column is None:
        raise InputError("which model fits cannot be told: no column says the tissue. Give --tissue or --model.")
    found = [tissue] if tissue else sorted(set(adata.obs[column].astype(str)) - {"unknown"})
    if len(found) != 1:
        raise InputError(
            f"which model fits cannot be told: the cells are of {found or 'no known tissue'}. Give --tissue or --model."
        )
    return choose(registry, adata.var_names.astype(str), found[0])


def standing(registry: Registry, model: str, commit: str) -> str:
    """Return what a registry holds against this commit of a model, in a sentence; "" where it is active or unknown."""
    for card in _cards(registry)[0]:
        for version in card.versions if card.id == model else ():
            if version.commit == commit and version.status != "active":
                instead = f" Use {version.superseded_by}." if version.superseded_by else ""
                return f"{model} v{version.version} is {version.status}: {version.reason}.{instead}".replace("..", ".")
    return ""


def _cards(registry: Registry) -> tuple[list[ModelCard], int]:
    """Return the model cards, and how many cannot be read: one bad card never stops the others."""
    found, unread = [], 0
    for name in registry.model_paths:
        try:
            found.append(registry.model(name))
        except CardError:
            unread += 1
        except InputError:  # a card of another kind
            continue
    return found, unread


def _steps(uberon: Ontology, tissue: str, organ: str) -> int | None:
    """Return how far an organ is from a tissue: 0 the same, then what it is part of, then its parts; None otherwise."""
    term = next(iter(uberon.search(organ, 1)), "")
    if not term or organ.casefold() not in {name.casefold() for name in (uberon.label(term), *uberon.synonyms(term))}:
        return None
    if term == tissue:
        return 0
    if uberon.is_descendant(tissue, term):
        return 1 + len(uberon.ancestors(tissue)) - len(uberon.ancestors(term))
    if uberon.is_descendant(term, tissue):
        return 10_000 + len(uberon.ancestors(term)) - len(uberon.ancestors(tissue))
    return None
