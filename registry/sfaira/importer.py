"""sfaira loaders as dataset cards: the YAML and its label tables in, the text of a card and its label maps out.

Pure: nothing is downloaded and nothing of the loader's `.py` is run or read. So a card says how its files are read only
where that follows from their names, and says in `status_reason` what keeps it from being verified. What sfaira does not
say stays unknown. A study is one card; what differs between its samples is said by each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cellzoo.errors import Finding
from cellzoo.registry.document import dotted
from cellzoo.registry.parts import SCHEMA_VERSION
from cellzoo.registry.reading import Genes as GenesPart
from cellzoo.registry.schema import DatasetCard
from cellzoo.registry.sfaira.cells import Cells
from cellzoo.registry.sfaira.files import FileDict, read_files
from cellzoo.registry.sfaira.loader import (
    GENES,
    LAYERS,
    SPATIAL,
    VDJ_PREFIXES,
    VDJ_SUFFIXES,
    Loader,
    open_loaders,
    word,
)
from cellzoo.registry.sfaira.names import distinct, identifier, title
from cellzoo.registry.sfaira.text import written

READS = {"Smart-seq", "Smart-seq2", "Smart-like", "Quartz-seq"}
"""Assays that count reads."""
MOLECULES = {
    *(
        "10x technology",
        "10x transcription profiling",
        "10x 3' transcription profiling",
        "10x 5' transcription profiling",
    ),
    *(
        "10x 3' v1",
        "10x 3' v2",
        "10x 3' v3",
        "10x 5' v1",
        "10x 5' v2",
        "10x multiome",
        "Drop-seq",
        "DroNc-seq",
        "inDrop",
    ),
    *("CEL-seq", "CEL-seq2", "MARS-seq", "microwell-seq", "Seq-Well", "Seq-Well S3", "sci-RNA-seq", "sci-RNA-seq3"),
    *("SPLiT-seq", "BD Rhapsody Whole Transcriptome Analysis", "BD Rhapsody Targeted mRNA", "Smart-seq3", "STRT-seq"),
    *("CITE-seq (cell surface protein profiling)", "CITE-seq (sample multiplexing)"),
    "droplet-based single-cell RNA library preparation",
}
"""Assays that count unique molecular identifiers."""
FORMATS = {
    "h5ad": re.compile(r".+\.h5ad"),
    "10x_h5": re.compile(r".*(filtered|raw)_(feature|gene)_bc_matri(x|ces)(_h5)?\.h5"),
    "loom": re.compile(r".+\.loom"),
}
MADE = re.compile(r"processed|normali[sz]ed|scaled|log1p", re.IGNORECASE)
"""Words in the name of a file whose X is no counts, so that the loader's code had to make them of it."""
NO_DOI = re.compile(r"d?(no_doi_\w+)")


@dataclass(frozen=True)
class Imported:
    """What became of one loader."""

    loader: Path
    """Its YAML file, or the folder where there is none."""
    id: str
    """Id of the card, "" where there is none."""
    card_text: str
    """The card as YAML, "" where there is none."""
    maps: dict[str, str]
    """File name -> text of its label maps."""
    findings: tuple[Finding, ...]
    """What could not be carried over, and why there is no card."""


def import_loader(folder: Path) -> list[Imported]:
    """Return what becomes of the loaders in a folder, one for each YAML file; never raises for what it finds there."""
    loaders, findings = open_loaders(folder)
    imported = [_imported(loader) for loader in loaders]
    return [*([Imported(folder, "", "", {}, tuple(findings))] if findings else []), *imported]


def _imported(loader: Loader) -> Imported:
    study = _study(loader)
    if study is None:
        return Imported(loader.path, "", "", {}, tuple(loader.findings))
    name = identifier(loader, study)
    cells = Cells(loader, name)
    files, of_sample, matrices = read_files(loader)
    common, samples = _split(loader, cells, of_sample)
    read = _recipe(common, samples, files, matrices)
    if read is None:
        for part in (common, *samples):
            part.pop("counts", None)
    data: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "id": name,
        "aliases": [loader.path.absolute().parent.name, loader.path.stem],
        "title": title(loader, cells),
        "study": study,
        "license": "unknown",
        "status": "imported",
        "status_reason": _reason(cells, common, samples, files, bool(read)),
        "notes": _notes(loader, cells),
        "primary_data": common.pop("primary_data"),
        "files": files,
        "samples": samples,
        "read": read,
        "layers": common.pop("layers", None),
        "counts": common.pop("counts", None),
        "genes": common.pop("genes", None),
        **common,
        "spatial": _columns(loader, SPATIAL),
        "vdj": _vdj(loader),
        "default_embedding": loader.word("default_embedding"),
    }
    data = {key: value for key, value in data.items() if value not in (None, [], {})}
    findings = loader.findings + cells.findings(loader)
    try:
        card = DatasetCard.model_validate(data)
        problems = [f"{dotted(place)}: {what}" for place, what in card.problems()]
    except ValidationError as error:
        problems = [f"{dotted(item['loc'])}: {item['msg']}" for item in error.errors()]
    if problems:
        findings += [loader.document.finding("SFAIRA010", (), f"gives no card: {problem}.") for problem in problems]
        return Imported(loader.path, "", "", {}, tuple(findings))
    return Imported(loader.path, name, written(data), cells.maps, tuple(findings))


def _study(loader: Loader) -> dict[str, Any] | None:
    """Return the publication; none, with findings, where what a card cannot do without is missing."""
    organism = loader.said("organism")
    author, year = loader.word("author"), loader.word("year") or ""
    right = {
        "author": author is not None,
        "year": re.fullmatch(r"(199|20\d)\d", year) is not None,
        "organism": bool(organism.every is not None or organism.each or loader.said("organism_obs_key").location),
    }
    for key in (key for key in right if not right[key]):
        location = loader.said(key).location
        remedy = f"Write {key}: and its value."
        loader.findings.append(loader.document.finding("SFAIRA002", location, f"{key}: is missing or wrong.", remedy))
    if author is None or not all(right.values()):
        return None
    journal, preprint = _dois(loader)
    author = author.split(",")[0].strip() or author
    study: dict[str, Any] = {"doi": journal or preprint, "preprint": preprint}
    if not study["doi"]:
        folder = loader.path.absolute().parent.name
        names = (folder, *(loader.word(key) or "" for key in ("doi_journal", "doi")))
        study["name"] = next((found[1] for name in names if (found := NO_DOI.fullmatch(name))), folder)
    study |= {"authors": f"{author} et al." if study["doi"] else author, "year": int(year)}
    return {key: value for key, value in study.items() if value is not None}


def _dois(loader: Loader) -> tuple[str | None, str | None]:
    found: dict[str, str | None] = {"doi_journal": None, "doi_preprint": None}
    for key in ("doi_journal", "doi_preprint", "doi"):
        said = loader.said(key)
        for one in said.every if isinstance(said.every, list) else [said.every]:
            if (text := word(one)) is None or NO_DOI.fullmatch(text):
                continue
            doi = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:\s*)", "", text, flags=re.IGNORECASE)
            if not re.fullmatch(r"10\.\d{4,9}/\S+", doi):
                loader.warn("SFAIRA004", said.location, f"{key}: {text!r} is no DOI.", "Write 10.…/….")
                continue
            into = key if key != "doi" else "doi_preprint" if doi.startswith("10.1101/") else "doi_journal"
            found[into] = found[into] or doi
    return found["doi_journal"], found["doi_preprint"]


def _split(
    loader: Loader, cells: Cells, of_sample: dict[str, list[str]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what holds for all samples, and the samples with what each says otherwise."""
    parts: dict[str, Callable[[str | None], Any]] = {
        "primary_data": lambda sample: _primary(loader, sample),
        "layers": lambda sample: _layers(loader, sample),
        "counts": lambda sample: _counts(loader, cells, sample),
        "genes": lambda sample: _genes(loader, sample),
    }
    samples: list[dict[str, Any]] = [{"name": name, "files": of_sample.get(name, [])} for name in loader.samples]
    common: dict[str, Any] = {}
    for key, part in parts.items():
        values = [part(name) for name in loader.samples or (None,)]
        if all(value == values[0] for value in values):
            common[key] = values[0]
            continue
        if key == "primary_data":
            common[key] = all(values)
        elif (
            key == "genes" and all(values) and (shared := dict(set.intersection(*(set(one.items()) for one in values))))
        ):
            common[key] = _ordered(shared) if {"symbol", "ensembl"} & set(shared) else None
        for sample, value in zip(samples, values, strict=True):
            if value not in (None, common.get(key)):
                sample[key] = value
    common["cells"], of_each = cells.split()
    for sample, said in zip(samples, of_each, strict=True):
        sample["cells"] = said
    return common, [{key: value for key, value in sample.items() if value not in ([], {})} for sample in samples]


def _primary(loader: Loader, sample: str | None) -> bool:
    said = loader.said("primary_data")
    value = said.of(sample)
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in {"true", "yes", "false", "no"}:
        remedy = "Say true in the card where these cells were first published here."
        loader.warn("SFAIRA004", said.at(sample), "primary_data: is not said; false is written.", remedy)
    return text in {"true", "yes"}


def _layers(loader: Loader, sample: str | None) -> dict[str, str | None] | None:
    found = {name: text for key, name in LAYERS.items() if (text := word(loader.said(key).of(sample)))}
    normalization = loader.said("normalization")
    if not found and (text := word(normalization.of(sample))):
        found = {"counts" if text in {"raw", "counts"} else "processed": "X"}
    if not found:
        loader.warn(
            "SFAIRA004", loader.said("layer_counts").at(sample), "layer_counts: no matrix is named.", "Name it."
        )
    if found == {"counts": "X"}:
        return None
    return {"counts": None, **found}


def _genes(loader: Loader, sample: str | None) -> dict[str, str] | None:
    found = {name: text for key, name in GENES.items() if (text := word(loader.said(key).of(sample)))}
    if found.get("feature_type", "rna") not in {"rna", "protein", "peak"}:
        location = loader.said("feature_type").at(sample)
        loader.warn("SFAIRA004", location, f"feature_type: {found.pop('feature_type')!r} is not rna, protein or peak.")
    if found.get("feature_type") == "rna":
        del found["feature_type"]
    if found and not {"symbol", "ensembl"} & set(found):
        location = loader.said("feature_symbol_var_key").at(sample)
        loader.warn("SFAIRA004", location, "no column names the genes; what else is said of them is not carried over.")
        return None
    return _ordered(found)


def _ordered(genes: dict[str, str]) -> dict[str, str] | None:
    return {name: genes[name] for name in GenesPart.model_fields if name in genes} or None


def _columns(loader: Loader, keys: dict[str, str]) -> dict[str, str]:
    return {name: text for key, name in keys.items() if (text := loader.word(key))}


def _vdj(loader: Loader) -> dict[str, dict[str, str]] | None:
    prefixes, suffixes = _columns(loader, VDJ_PREFIXES), _columns(loader, VDJ_SUFFIXES)
    if bool(prefixes) != bool(suffixes):
        location = loader.said(next(iter(VDJ_PREFIXES if prefixes else VDJ_SUFFIXES))).location
        loader.warn("SFAIRA004", location, "vdj: prefixes and suffixes are columns only together; not carried over.")
        return None
    return {"prefixes": prefixes, "suffixes": suffixes} if prefixes else None


def _counts(loader: Loader, cells: Cells, sample: str | None) -> dict[str, str] | None:
    """Return what is counted: umi, or reads; none where assays differ in it or are not known."""
    assays = {str(loader.said("assay_sc").of(sample))}
    if distinct(loader, "assay_sc_obs_key"):
        rows = cells.maps.get(f"{cells.card}.assay.tsv", "").splitlines()[1:]
        assays = {row.split("\t")[2] for row in rows}
    kinds = {"reads" if assay in READS else "umi" if assay in MOLECULES else None for assay in assays}
    return {"kind": kind} if len(kinds) == 1 and (kind := kinds.pop()) else None


def _recipe(
    common: dict[str, Any], samples: list[dict[str, Any]], files: list[FileDict], matrices: int
) -> dict[str, Any] | None:
    """Return how the files are read, where each matrix is a file of its own that names cells, genes and counts."""
    if len(files) > matrices:
        return None
    if not all(_counted(common, sample) for sample in samples or [{}]):
        return None
    names = [sample.get("files", []) for sample in samples] or [[file["name"] for file in files]]
    if any(len(one) != 1 for one in names) or any(file.get("access") == "private" for file in files):
        return None
    if _made(common, samples, files):
        return None
    form = next((form for form, name in FORMATS.items() if all(name.fullmatch(one[0]) for one in names)), None)
    return {"format": form, "matrix": {"file": names[0][0]}} if form else None


def _counts_layer(common: dict[str, Any], sample: dict[str, Any]) -> str | None:
    layers: dict[str, str | None] = sample.get("layers", common.get("layers")) or {"counts": "X"}
    return layers["counts"]


def _counted(common: dict[str, Any], sample: dict[str, Any]) -> bool:
    """Return whether the card says where the counts and the names of the genes are, and what is counted."""
    return bool(
        _counts_layer(common, sample) and all(sample.get(part, common.get(part)) for part in ("genes", "counts"))
    )


def _made(common: dict[str, Any], samples: list[dict[str, Any]], files: list[FileDict]) -> str | None:
    """Return the first file that by its name holds no counts in X, where the counts are said to be there."""
    if all(_counts_layer(common, sample) != "X" for sample in samples or [{}]):
        return None
    matrices = [name for file in files if any(form.fullmatch(name := file["name"]) for form in FORMATS.values())]
    return next(filter(MADE.search, matrices), None)


def _reason(
    cells: Cells, common: dict[str, Any], samples: list[dict[str, Any]], files: list[FileDict], read: bool
) -> str:
    """Return what keeps the card from being verified."""
    said = []
    for access, how in (
        ("private", "can be had on request only"),
        ("registration", "can be had after a login only"),
        ("manual", "can be downloaded by hand only"),
    ):
        if names := [file["name"] for file in files if file.get("access") == access]:
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            said.append(f"{', '.join(names[:2])}{more} {how}.")
    if not files:
        said.append("No file is named.")
    without = [sample for sample in samples or [{}] if _counts_layer(common, sample) is None]
    if without:
        of = f" for {without[0]['name']}" if len(without) < len(samples) else ""
        more = f" and {len(without) - 1} more samples" if of and len(without) > 1 else ""
        said.append(f"sfaira names no matrix of raw counts{of}{more}.")
    if cells.mixed:
        said.append("The samples are of several organisms.")
    if made := _made(common, samples, files):
        said.append(f"By its name {made} holds processed values, so its X may be no counts.")
    if read:
        said.append(
            "How the files are read was inferred from their names; the code of sfaira's loader, which may have changed "
            "matrices or columns, is not carried over."
        )
    else:
        said.append("The code of sfaira's loader, which read the files, is not carried over.")
    return " ".join(said)


def _notes(loader: Loader, cells: Cells) -> str:
    folder = loader.path.absolute().parent.name
    text = f"Described as in the loader {folder}/{loader.path.name} of sfaira (theislab/sfaira, BSD-3-Clause)."
    doubtful = [f"{number} of {rows} in {name}" for name, (rows, number) in cells.doubtful.items() if number]
    if doubtful:
        text += f" Labels with a note, doubtful or replaced: {', '.join(doubtful)}."
    if cells.cultured:
        text += " Where cells are of an organoid, the development stage is the age of the culture, as loaders give it."
    return text
