"""What a sfaira loader says about cells, as fields of a card: for all samples, and for each."""

from __future__ import annotations

from typing import Any

from cellzoo.errors import Finding
from cellzoo.registry.cells import SampleCells
from cellzoo.registry.fields import HUMAN, NOT_APPLICABLE, SUSPENSION_TYPES, UNKNOWN
from cellzoo.registry.sfaira.loader import TERMS, VALUES, Loader, clean, word
from cellzoo.registry.sfaira.terms import Term, by_label, label_map

SOURCES = {
    "primary_tissue": "tissue",
    "tumor": "tissue",
    "3d_culture": "organoid",
    "2d_culture": "primary cell culture",
}
"""sfaira's sample_source -> CELLxGENE's tissue_type; a culture of a known line is a cell line."""
TAKES = {
    "sample_source": tuple(SOURCES),
    "suspension_type": SUSPENSION_TYPES,
    "assay_type_differentiation": ("guided", "unguided"),
}
"""Keys that take some words only."""
ORDER = tuple(SampleCells.model_fields)

Statement = dict[str, Any]


class Cells:
    """The fields of cells of one loader; `maps` are the label maps they use."""

    def __init__(self, loader: Loader, card: str) -> None:
        self.loader, self.card = loader, card
        self.maps: dict[str, str] = {}
        """File name -> text of a label map."""
        self.doubtful: dict[str, tuple[int, int]] = {}
        """Field -> rows of its label map, and how many carry a note."""
        self._each = [self._of(sample) for sample in loader.samples or (None,)]
        for key, path in loader.tables.items():
            if TERMS[key] not in self.doubtful:
                loader.note("SFAIRA009", path, 0, f"no column {key}_obs_key that it maps; it is not carried over.")

    @property
    def mixed(self) -> bool:
        """Return whether the samples are of several organisms."""
        return len({str(cells.get("organism")) for cells in self._each}) > 1

    @property
    def cultured(self) -> bool:
        """Return whether organoids have a development stage."""
        organoids = [cells for cells in self._each if cells.get("tissue_type") == {"value": "organoid"}]
        return any("development_stage" in cells for cells in organoids)

    def split(self) -> tuple[Statement, list[Statement]]:
        """Return the fields that hold for all samples, and those of each sample."""
        each = [dict(cells) for cells in self._each]
        common: Statement = {}
        for name in ORDER:
            if all(cells.get(name) == each[0].get(name) for cells in each):
                if (same := each[0].get(name)) is not None:
                    common[name] = same
                for cells in each:
                    cells.pop(name, None)
        common.setdefault("organism", {"term": UNKNOWN})
        ordered = {name: common[name] for name in ORDER if name in common}
        return ordered, [
            {name: cells[name] for name in ORDER if name in cells} for cells in each if self.loader.samples
        ]

    def findings(self, loader: Loader) -> list[Finding]:
        """Return one finding for each label map with rows that carry a note."""
        found = []
        for name, (rows, number) in self.doubtful.items():
            if number:
                message = f"{number} of {rows} labels of {name} are doubtful or were replaced."
                remedy = f"Read the column note of {self.card}.{name}.tsv."
                found.append(Finding(str(loader.path), 0, 0, "SFAIRA007", message, remedy, "warning"))
        return found

    def _of(self, sample: str | None) -> Statement:
        found: Statement = {}
        organism = self._organism(sample)
        kind = self._tissue_type(sample)
        for key, name in TERMS.items():
            if (said := self._term(key, name, sample, organism, kind)) is not None:
                found[name] = said
        if organism not in {HUMAN, UNKNOWN} or (organism == UNKNOWN and "text" in found.get("organism", {})):
            found.setdefault("self_reported_ethnicity", {"term": NOT_APPLICABLE})
        for key, name in VALUES.items():
            if (said := self._value(key, sample)) is not None:
                found[name] = said
        found.setdefault("suspension_type", {"value": UNKNOWN})
        found["tissue_type"] = {"value": kind or UNKNOWN}
        if kind == "tissue":
            del found["tissue_type"]  # what a card says where it says nothing
        return found

    def _organism(self, sample: str | None) -> str:
        text = word(self.loader.said("organism").of(sample))
        return by_label("organism", text).id if text else UNKNOWN

    def _tissue_type(self, sample: str | None) -> str:
        source = self._value("sample_source", sample) or {}
        kind = SOURCES.get(source.get("value", ""), "")
        lines = (self.loader.said(key).of(sample) for key in ("cell_line", "cell_line_obs_key"))
        return "cell line" if kind == "primary cell culture" and any(lines) else kind

    def _term(self, key: str, name: str, sample: str | None, organism: str, kind: str) -> Statement | None:
        loader = self.loader
        said, columns = loader.said(key), loader.said(f"{key}_obs_key")
        context = organism, kind or "tissue"
        column = columns.of(sample)
        self._once(key, sample)
        if isinstance(column, str) and "*" not in column:
            if (path := loader.tables.get(key)) is None:
                return {"column": column, "holds": "labels"}
            file = f"{self.card}.{name}.tsv"
            if name not in self.doubtful:
                rows = loader.rows(path)
                content, number, doubtful = label_map(name, rows or [], *context)
                self.doubtful[name] = number, doubtful
                if rows is not None:
                    self.maps[file] = content
            return {"column": column, "map": file} if file in self.maps else {"column": column, "holds": "labels"}
        if column is not None:
            message = f"{key}_obs_key: {column!r} is not one column, which a field of terms needs."
            loader.warn("SFAIRA004", columns.at(sample), message, "It is not carried over.")
        value = said.of(sample)
        if value is None and key == "disease" and loader.said("healthy").of(sample) is True:
            said, value = loader.said("healthy"), "healthy"
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        text = "; ".join(filter(None, map(word, value))) if isinstance(value, list) else word(value)
        if text is None or text.lower() in {UNKNOWN, "nan"}:
            return None
        term = by_label(name, text, *context)
        if term.note:
            remedy = "It is kept as text." if term.id == UNKNOWN else f"{term.id} ({term.label}) is written."
            loader.warn("SFAIRA005", said.at(sample), f"{key}: {term.note.rstrip('.')}.", remedy)
        return {"term": term.id, **({"label": term.label} if term.id != UNKNOWN else {}), **_text(text, term)}

    def _once(self, key: str, sample: str | None) -> None:
        """Add a finding where both a value and a column are given."""
        said, column = self.loader.said(key), word(self.loader.said(f"{key}_obs_key").of(sample))
        if column is not None and (value := word(said.of(sample))) is not None:
            message = f"{key}: both {value!r} and the column {column!r} are given."
            self.loader.warn("SFAIRA004", said.at(sample), message, "The column is used.")

    def _value(self, key: str, sample: str | None) -> Statement | None:
        said, columns = self.loader.said(key), self.loader.said(f"{key}_obs_key")
        column = word(columns.of(sample))
        self._once(key, sample)
        if column is not None:
            parts = [part for one in column.split("*") if (part := one.strip())]
            return {"column": parts[0]} if len(parts) == 1 else {"columns": parts} if parts else None
        value = clean(said.of(sample))
        text = "; ".join(filter(None, map(word, value))) if isinstance(value, list) else word(value)
        if text is None or text == UNKNOWN:
            return None
        if key in TAKES and text not in TAKES[key]:
            message = f"{key}: {text!r} is not one of {', '.join(TAKES[key])}."
            self.loader.warn("SFAIRA004", said.at(sample), message, "It is not carried over.")
            return None
        return {"value": text}


def _text(text: str, term: Term) -> Statement:
    """Keep the words of the study where no term says the same."""
    return {"text": text} if term.note else {}
