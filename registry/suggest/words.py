"""Labels that people write, as words that can be compared: case, plurals, Greek, markers, numerals, abbreviations."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "κ": "kappa", "λ": "lambda", "μ": "mu",
    "φ": "phi", "ϕ": "phi", "ø": "phi",
}  # fmt: skip
ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "vi": "6"}
ABBREVIATIONS = {
    "ab": "alpha-beta", "asc": "plasma cell", "ast": "astrocyte", "astro": "astrocyte",
    "at1": "pulmonary alveolar type 1 cell", "at2": "pulmonary alveolar type 2 cell",
    "ati": "pulmonary alveolar type 1 cell", "atii": "pulmonary alveolar type 2 cell", "baso": "basophil",
    "bcell": "b cell", "bmem": "memory b cell", "cdc": "conventional dendritic cell",
    "clp": "common lymphoid progenitor", "cm": "cardiac muscle cell", "cmp": "common myeloid progenitor",
    "ctl": "cytotoxic t cell", "dc": "dendritic cell", "dn": "double negative", "dp": "double positive",
    "ec": "endothelial cell", "endo": "endothelial", "eos": "eosinophil", "epi": "epithelial", "ery": "erythroid",
    "evt": "extravillous trophoblast", "exc": "glutamatergic excitatory neuron",
    "excitatory": "glutamatergic excitatory", "exn": "glutamatergic excitatory neuron",
    "ext": "glutamatergic excitatory neuron", "fb": "fibroblast", "fib": "fibroblast", "fibro": "fibroblast",
    "gd": "gamma-delta", "gdt": "gamma-delta t cell", "gmp": "granulocyte monocyte progenitor", "hb": "hofbauer cell",
    "hsc": "hematopoietic stem cell", "hspc": "hematopoietic stem cell progenitor", "ilc": "innate lymphoid cell",
    "in": "interneuron", "inh": "gabaergic inhibitory neuron", "inhibitory": "gabaergic inhibitory",
    "inn": "gabaergic inhibitory neuron", "ipc": "intermediate neuroblast progenitor",
    "lec": "lymphatic endothelial cell", "lymph": "lymphatic", "mac": "macrophage", "macro": "macrophage",
    "macs": "macrophage", "mait": "mucosal-associated invariant t cell", "mdc": "myeloid dendritic cell",
    "mem": "memory", "mep": "megakaryocyte-erythroid progenitor", "mg": "microglial cell", "mgk": "megakaryocyte",
    "mk": "megakaryocyte", "mono": "monocyte", "mphi": "macrophage", "mpp": "multipotent progenitor",
    "msc": "mesenchymal stem cell", "neu": "neutrophil", "neutro": "neutrophil", "nk": "natural killer cell",
    "nkt": "nk t cell", "npc": "neural progenitor cell", "odc": "oligodendrocyte", "oligo": "oligodendrocyte",
    "opc": "oligodendrocyte precursor cell", "pb": "plasmablast", "pc": "plasma cell",
    "pdc": "plasmacytoid dendritic cell", "plasmocyte": "plasma cell", "plt": "platelet",
    "pneumocyte": "alveolar cell", "prog": "progenitor", "rbc": "erythrocyte", "reg": "regulatory",
    "rg": "radial glial cell", "sct": "syncytiotrophoblast", "sm": "smooth muscle cell", "smc": "smooth muscle cell",
    "tcell": "t cell", "tcm": "central memory t cell", "teff": "effector t cell", "tem": "effector memory t cell",
    "temra": "effector memory t cell terminally differentiated", "tex": "exhausted t cell",
    "tfh": "t follicular helper cell", "th": "t helper", "th1": "t helper 1 cell", "th17": "t helper 17 cell",
    "th2": "t helper 2 cell", "tm": "memory t cell", "tn": "naive t cell", "treg": "regulatory t cell",
    "trm": "memory t cell", "unk": "unknown", "vct": "villous cytotrophoblast", "vd": "gamma-delta t cell",
    "vd1": "gamma-delta t cell", "vd2": "gamma-delta t cell", "vsmc": "vascular smooth muscle cell",
}  # fmt: skip
"""Word -> what it stands for in most labels; names of ontologies seldom hold it."""
NUMBERED = {*ABBREVIATIONS, "seq"}
"""Short words that are numbered; other short words with a number are names of genes."""


_CAMEL = re.compile(r"(?<=[a-z]{2})(?=[A-Z][a-z])|(?<=[a-z]{3})(?=[A-Z])")
_POSITIVE = re.compile(r"(?<=\w)(?:[- ]?positive|pos)(?![a-z])|(?<=\w)\+")
_NEGATIVE = re.compile(r"(?<=[A-Z0-9])(?:[- ]?negative|neg)(?![a-z])|(?<=[A-Z0-9])[-\u2212](?![A-Za-z0-9])")
_FUSED = re.compile(r"(?<![a-z0-9])(cd\d{1,3}?)(?=t?[a-z]{3}|hi|lo)")
_WORD = re.compile(r"[a-z0-9]+-?")
_WITH_NUMBER = re.compile(r"([a-z]+)(\d+)")


def words(text: str) -> list[str]:
    """Return the words of a label in their order, each in the one spelling under which labels are compared.

    A marker that is present is its bare name, one that is absent ends in "-"; Roman numerals are digits.

    >>> words("CD4+/CD25 T Reg"), words("B_CD27neg"), words("AlveolarType2")
    (['cd4', 'cd25', 't', 'reg'], ['b', 'cd27-'], ['alveolar', 'type', '2'])
    """
    plain = text
    if not text.isascii():
        plain = re.sub("M[φΦϕø]", " macrophage ", unicodedata.normalize("NFKC", text))
        plain = "".join(f" {GREEK[low]} " if (low := letter.lower()) in GREEK else letter for letter in plain)
    plain = _CAMEL.sub(" ", plain)
    plain = _NEGATIVE.sub("\0", _POSITIVE.sub(" ", plain.replace("-", "-")))
    plain = plain.lower().replace("-", " ").replace("\0", "- ")
    plain = _FUSED.sub(r"\1 ", plain)
    found = []
    for word in _WORD.findall(plain):
        parts = _WITH_NUMBER.fullmatch(word)
        if parts and word not in ABBREVIATIONS and (len(parts[1]) > 3 or parts[1] in NUMBERED):
            found += [stem(parts[1]), parts[2]]
        else:
            found.append(ROMAN.get(word) or stem(word))
    return found


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return a word without the endings that differ between labels: plural, -ium, -ia, -ial, -ic, -al."""
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return re.sub(r"(?<=theli)(um|a|al)$|(?<=phil)ic$", "", re.sub("cytic$", "cyte", word))
