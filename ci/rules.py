"""Every code a check can report: what it means, how grave it is, whether `--fix` mends it."""

from __future__ import annotations

from dataclasses import dataclass

from cellzoo.errors import InputError, Severity
from cellzoo.registry.ontology import nearest_of

DOCS = "docs/checks.md"


@dataclass(frozen=True)
class Rule:
    """One kind of finding."""

    severity: Severity
    """error fails a check, warning does not; LINK001 and MODEL001 are warnings where only the network failed."""
    title: str
    """A few words."""
    meaning: str
    """What is wrong, why it matters and what to do."""
    fixable: str = ""
    """What `--fix` does about it, "" where it takes a person."""
    asked: str = ""
    """The option that it takes to be looked for."""


RULES = {
    "CARD001": Rule(
        "error",
        "card cannot be read",
        "There is no such file, it is larger than 1 MB, it is a link, or it is not UTF-8 text.",
    ),
    "CARD002": Rule(
        "error",
        "not the YAML of a card",
        "Tabs, duplicate keys, anchors, tags and deep nesting are refused: the same text must mean the same to every "
        "reader, and no file may unfold into more than it is. `no` and `2024-01-01` are words, as in YAML 1.2.",
    ),
    "CARD003": Rule(
        "error",
        "not what the schema says",
        "A key is unknown or missing, or a value has another type or form. The JSON Schema in registry/schema/ lets an "
        "editor say the same while you type.",
        "a sha256 in capitals and a DOI with its resolver are written as the schema wants them",
    ),
    "CARD004": Rule(
        "error",
        "id and place differ",
        "The id of a card is its file name (of a model: folder and file name), and its folder says what kind it is.",
    ),
    "CARD005": Rule(
        "error",
        "word that the field does not take",
        "tissue_type, suspension_type, sample_source and assay_type_differentiation take some words only; donor_id is "
        "`na` for cell lines only.",
    ),
    "CARD006": Rule(
        "error",
        "parts of a card contradict each other",
        "For example a verified data set whose file has no sha256, a broken one that does not say why, or a matrix in "
        "a file that is not listed.",
    ),
    "CARD007": Rule(
        "warning",
        "older schema version",
        "The card is read, upgraded in memory. Upgrade the file, so that people read what cellzoo reads.",
        "the card is upgraded, comments and order kept",
    ),
    "CARD008": Rule(
        "warning",
        "no editor knows the schema",
        "The first line of a card names its JSON Schema, so that editors complete and check while you type.",
        "the line is written",
    ),
    "CARD009": Rule(
        "error",
        "nothing reads this file",
        "Cards are datasets/<id>.yaml, collections/<id>.yaml and models/<organization>/<name>.yaml, label maps "
        "datasets/*.tsv. A card named .yml, or in another folder, would be in no listing.",
    ),
    "TEXT001": Rule(
        "error",
        "byte order mark or line ends of Windows",
        "The digest of a label map is part of a model's data lock: the same map must have the same bytes everywhere.",
        "the file is written without",
    ),
    "TEXT002": Rule(
        "warning",
        "blanks at the end of a line or file",
        "They make differences where nothing differs.",
        "they are removed, where they are no part of a value",
    ),
    "MAP001": Rule(
        "error",
        "label map is missing or malformed",
        "A label map is a UTF-8 text of lines source, term, label and perhaps note, separated by tabs, with these "
        "words as first line; no field but the note is empty.",
    ),
    "MAP002": Rule("error", "label is mapped twice", "Which of the two rows holds nobody can know; keep one."),
    "MAP003": Rule(
        "error",
        "label of the data has no row",
        "A cell of the data has a label that the map does not know. Add the row, with term unknown if unsure.",
        asked="--data",
    ),
    "MAP004": Rule(
        "warning",
        "label map without a card",
        "No card uses it: it was left over, or the card misspells its name. Nothing is deleted by `--fix`.",
    ),
    "MAP005": Rule(
        "error", "blanks around a term", "A term and its label are compared to the letter.", "they are removed"
    ),
    "MAP006": Rule(
        "warning",
        "unknown without a note",
        "In a verified data set a label that is mapped to unknown says why in the column note, unless it says so "
        "itself (unassigned, doublet, …).",
    ),
    "MAP007": Rule(
        "warning",
        "suggestion that nobody looked at",
        "`cellzoo new dataset` filled the row in or left it unknown, and its note still says so. Keep or correct the "
        "term, then remove the note.",
    ),
    "TERM001": Rule(
        "error",
        "no such term, or an obsolete one",
        "The id is not in the pinned ontology, or was withdrawn.",
        "a term with exactly one current successor that the field takes is replaced, with its label",
    ),
    "TERM002": Rule(
        "error",
        "label is not that of the term",
        "Id and label are both written so that a slip in one shows. A label that names another term leaves open which "
        "of the two is wrong.",
        "a label that names no other term is written as the ontology has it",
    ),
    "TERM003": Rule(
        "error",
        "term is not allowed in the field",
        "It is of another ontology, above the terms that CELLxGENE takes, of another organism, or not for this kind of "
        "tissue.",
    ),
    "LICENSE001": Rule(
        "error",
        "licence is no SPDX expression",
        "Machines decide by it who may use what: an SPDX id (https://spdx.org/licenses), LicenseRef- and a name for "
        "own terms, or `unknown` where none is stated.",
        "NOASSERTION and its like become unknown",
    ),
    "LICENSE002": Rule("warning", "licence spelled otherwise", "SPDX ids have one spelling.", "it is written that way"),
    "FILE001": Rule(
        "error",
        "bytes are not those that are pinned",
        "A file in the cache or the mirror has another sha256 than the card pins.",
        asked="--data",
    ),
    "DATA001": Rule(
        "error",
        "data cannot be read as the card says",
        "A file is damaged, or the object or column that the card names is not in it.",
        asked="--data",
    ),
    "DATA002": Rule(
        "warning",
        "row for a label that no cell has",
        "The label is misspelled, or a left-over of another version of the data.",
        asked="--data",
    ),
    "DATA003": Rule(
        "error", "another number of cells", "cells_expected is not the number of cells in the data.", asked="--data"
    ),
    "DUP001": Rule(
        "error",
        "same data set twice",
        "Two cards read the same matrix of the same bytes and keep the same cells: one would be training data, the "
        "other test data.",
    ),
    "DUP002": Rule("warning", "one DOI, two stories", "Authors, year or preprint differ between cards of one study."),
    "DUP003": Rule("error", "id is given twice", "A data set and a collection have the same id."),
    "DUP004": Rule("warning", "alias is given twice", "An alias leads to one data set, or it leads astray."),
    "REF001": Rule(
        "error",
        "name leads nowhere",
        "A model card names a data set that is not in the registry, or a successor that does not exist.",
    ),
    "LINK001": Rule(
        "error", "link leads nowhere", "The server says that the file is gone, or cannot be reached.", asked="--links"
    ),
    "LINK002": Rule(
        "error",
        "link leads to other bytes",
        "The file behind the URL has another size than the card pins.",
        asked="--links",
    ),
    "MODEL001": Rule(
        "error",
        "release cannot be had",
        "The remote does not have the commit that the model card pins, or its tag was moved.",
        asked="--links, --data",
    ),
    "MODEL002": Rule(
        "error",
        "release has other bytes",
        "A file of the release has another sha256 or size than the model card pins.",
        asked="--links, --data",
    ),
    "MODEL003": Rule(
        "error",
        "release has other files",
        "A file is listed that is not in the release, or is in it and not listed.",
        asked="--links, --data",
    ),
    "MODEL004": Rule(
        "error",
        "published version was changed",
        "Versions of a model card are append-only: what was published stays, but for its status.",
        asked="--changed",
    ),
    "MODEL005": Rule(
        "error",
        "release says otherwise",
        "Gene space, label space, data lock or data sets in the release are not those of the model card.",
        asked="--links, --data",
    ),
}
"""Code -> rule; codes are never given to another rule."""


def explain(code: str) -> str:
    """Return what a code means, in Markdown; InputError for a code that there is not."""
    if (rule := RULES.get(code.upper())) is None:
        raise InputError(f"no code {code!r}{nearest_of(code.upper(), RULES)}; {DOCS} lists them all.")
    lines = [f"### {code.upper()}: {rule.title}", "", rule.meaning, "", f"Severity: {rule.severity}."]
    lines += [f"Looked for with: {rule.asked}."] if rule.asked else []
    lines += [f"`--fix`: {rule.fixable}."] if rule.fixable else []
    return "\n".join(lines)


def page() -> str:
    """Return docs/checks.md: every code."""
    return INTRODUCTION + "\n\n".join(explain(code) for code in RULES) + "\n"


INTRODUCTION = """# What `cellzoo check` looks for

```sh
cellzoo check                                  # the whole registry, or that of --registry
cellzoo check registry/cards/datasets/x.yaml   # some cards, label maps or folders
cellzoo check --changed origin/main            # what a branch changed, and what that touches
cellzoo check --fix                            # mend what is mechanical, then say what is left
cellzoo check --data                           # read the files too, as far as they are on this machine
cellzoo check --links                          # ask the network whether links and releases are still there
cellzoo check --explain CARD003                # one entry of this page
```

CI runs the same command. An error fails it (exit code 1), a warning does not. `--format` is `text`, `json`, `github`
(annotations and a summary of the step) or `sarif` (code scanning, editors). Rendered by
`python -m cellzoo.ci.rules > docs/checks.md`.

"""

if __name__ == "__main__":
    print(page(), end="")  # noqa: T201
