"""A card as YAML text: keys in the order of the schema, small mappings on one line."""

from __future__ import annotations

import io
import re
import textwrap
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import FoldedScalarString, SingleQuotedScalarString

HEADER = "# yaml-language-server: $schema=../../schema/dataset-card.schema.json\n"
WIDTH = 118
"""Characters in a line of prose; mappings and addresses are never broken."""
BLOCKS = {"files", "samples", "cells", "read", "vdj"}
"""Keys whose value is written over several lines."""
PROSE = {"status_reason", "notes"}
WORDS = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n|[0-9][-+.0-9eE_:]*)$)[A-Za-z0-9].*", re.IGNORECASE)
"""Texts that may stand without quotes: no YAML parser reads them as something else."""


class _Representer(RoundTripRepresenter):
    """Writes nothing as null, also where a blank would do."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def written(card: dict[str, Any]) -> str:
    """Return the text of a card."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 100_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(_block(card), out)
    return HEADER + out.getvalue()


def _block(value: Any) -> Any:
    if isinstance(value, dict):
        return CommentedMap((key, _value(key, one)) for key, one in value.items())
    if isinstance(value, list) and isinstance(value[0], dict):
        return CommentedSeq(_block(one) for one in value)
    return _flow(value)


def _value(key: str, value: Any) -> Any:
    if key in PROSE:
        return _folded(key, value)
    return _block(value) if key in BLOCKS else _flow(value)


def _folded(key: str, text: str) -> Any:
    """Return a text that is folded like this one; on one line where it fits there or cannot be folded back."""
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    if len(f"{key}: {text}") <= WIDTH + 2 or " ".join(lines) != text or not text.isprintable():
        return _flow(text)
    folded = FoldedScalarString(text)
    folded.fold_pos = [sum(len(line) + 1 for line in lines[:at]) - 1 for at in range(1, len(lines))]
    return folded


def _flow(value: Any) -> Any:
    if isinstance(value, dict):
        made = CommentedMap((key, _flow(one)) for key, one in value.items())
        made.fa.set_flow_style()
        return made
    if isinstance(value, list):
        items = CommentedSeq(map(_flow, value))
        items.fa.set_flow_style()
        return items
    return SingleQuotedScalarString(value) if isinstance(value, str) and not WORDS.fullmatch(value) else value
