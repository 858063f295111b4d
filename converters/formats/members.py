"""The members of an archive that belong to one data set, joined: cells after cells, every feature that any has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cellzoo.converters.celldata import CellData
from cellzoo.converters.rows import Stacked, placed
from cellzoo.errors import InputError

MEMBER = "member"
"""Column of cells: what the ``*`` of the card stands for in the name of the file they are from."""
IN_MEMBERS = "n_members"
"""Column of features, where not all members have the same: how many have it; in the others its counts are zero."""


def joined(parts: Mapping[str, CellData], where: str) -> CellData:
    """Return several matrices as one, ``obs["member"]`` says which a cell is of.

    Cell names get the member at their end where they would not be unique otherwise.
    """
    names = pd.Index([name for part in parts.values() for name in part.obs.index])
    frames = []
    for member, part in parts.items():
        frame = part.obs.assign(**{MEMBER: member})
        frames.append(frame.set_axis(frame.index + f"-{member}", axis=0) if names.has_duplicates else frame)
    obs = pd.concat(frames)
    obs[MEMBER] = pd.Categorical(obs[MEMBER], categories=list(parts))
    data = list(parts.values())
    found = _stacked(data, obs, where)
    for name in dict.fromkeys(name for part in data for name in part.modalities):
        if lacking := [member for member, part in parts.items() if name not in part.modalities]:
            raise InputError(f"{where}: {lacking[0]!r} has no {name} features, others have. Read them as samples.")
        found.modalities[name] = _stacked([part.modalities[name] for part in data], obs[[]], f"{where}: {name}")
    return found


def own_names(obs: pd.DataFrame) -> pd.Index:
    """Return the names that cells of joined members have in their own file."""
    ends = "-" + obs[MEMBER].astype(str)
    changed = all(name.endswith(end) for name, end in zip(obs.index, ends, strict=True))
    return (
        pd.Index([name.removesuffix(end) for name, end in zip(obs.index, ends, strict=True)]) if changed else obs.index
    )


def _stacked(parts: Sequence[CellData], obs: pd.DataFrame, where: str) -> CellData:
    keys = [_unique(part.var.index) for part in parts]
    every = pd.Index(list(dict.fromkeys(name for key in keys for name in key)))
    places = [every.get_indexer(key) for key in keys]
    var = pd.concat([part.var.set_axis(key, axis=0) for part, key in zip(parts, keys, strict=True)])
    var = var[~var.index.duplicated()].reindex(every)
    var.index = pd.Index([key.rpartition("\t")[0] for key in every], dtype=object)
    if any(len(key) != len(every) for key in keys):
        var[IN_MEMBERS] = np.bincount(np.concatenate(places), minlength=len(every))
    layers = [name for name in parts[0].layers if all(name in part.layers for part in parts)]
    if any(part.X is None for part in parts):
        raise InputError(f"{where}: a member has no matrix X.")
    return CellData(
        obs=obs,
        var=var,
        X=Stacked([placed(part.X, place, len(every)) for part, place in zip(parts, places, strict=True) if part.X]),
        layers={
            name: Stacked([placed(part.layers[name], at, len(every)) for part, at in zip(parts, places, strict=True)])
            for name in layers
        },
        obsm={
            name: np.concatenate([np.asarray(part.obsm[name]) for part in parts])
            for name in parts[0].obsm
            if len({part.obsm[name].shape[1] if name in part.obsm else -1 for part in parts}) == 1
        },
    )


def _unique(names: pd.Index) -> pd.Index:
    """Return names with how often each stood before, so that a feature that is listed twice meets its like."""
    seen = pd.Series(range(len(names))).groupby(np.asarray(names)).cumcount()
    return pd.Index([f"{name}\t{number}" for name, number in zip(names, seen, strict=True)])
