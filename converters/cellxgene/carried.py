"""What the form that data are brought into cannot say: it travels in ``uns["cellzoo"]["carried"]`` and returns.

Nothing here knows a schema. `attach` compares the data with what the way back would make of the converted ones and
notes the difference; `restore` applies it. So a way there and back is the identity whatever the two forms lack, and
what was changed in between stays changed. Columns of cells and genes travel as columns (``carried_FORM_NAME``), so that
they follow whoever picks cells; matrices and arrays likewise; the rest is in uns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.cellxgene.frames import alike, cast, columns_of, frame_of, same, type_of
from cellzoo.converters.rows import Mapped, Rows

HOUSE, CARRIED = "cellzoo", "carried"
INDEX = "index of genes"
HOMES = {
    **{"obs": "obs", "var": "var", "raw.var": "var"},
    **{"layers": "layers", "obsm": "obsm", "varm": "varm", "obsp": "obsp", "varp": "varp", "raw.varm": "varm"},
}
"""Part of the data -> the part of the converted data that what it lacks travels in."""
FRAMES = ("obs", "var", "raw.var")
SAMPLE = 64
"""Rows of an array that are looked at to tell whether it is still the one that was made."""


@dataclass
class Load:
    """What returns in one part: values by name, and how names, order and types differ."""

    note: dict[str, Any] = field(default_factory=dict)
    """``absent``, ``made``, ``order``, ``types``, ``over`` and ``index``; plain JSON values."""
    values: dict[str, Any] = field(default_factory=dict)
    """Columns, matrices, arrays or values of uns."""

    def __bool__(self) -> bool:
        return bool(self.note or self.values)


Loads = dict[str, Load]


def difference(have: CellData, want: CellData) -> Loads:
    """Return what turns the data that one has into those that one wants; {} where they are the same."""
    found: Loads = {}
    for name in FRAMES:
        one, other = _part(have, name), _part(want, name)
        found[name] = _frame_difference(one, other) if one is not None and other is not None else Load()
    for name in (name for name in HOMES if name not in FRAMES):
        mine, theirs = (_part(side, name) or {} for side in (have, want))
        found[name] = _missing(mine, theirs, lambda one, other: one is other, _axis(have, name))
    found["uns"] = _missing(_plain(have.uns), _plain(want.uns), alike)
    pairs = {"X": (have.X, want.X), "raw": (have.raw and have.raw.X, want.raw and want.raw.X)}
    types = {name: str(two.dtype) for name, (one, two) in pairs.items() if one and two and one.dtype != two.dtype}
    found["matrices"] = Load({"types": types} if types else {})
    return {name: load for name, load in found.items() if load}


def attach(data: CellData, name: str, loads: Loads) -> CellData:
    """Return data that carry what returns on the way back to a form."""
    note: dict[str, Any] = {}
    carried: dict[str, Any] = {}
    parts: dict[str, Any] = {home: dict(_columns(_part(data, home))) for home in set(HOMES.values())}
    for part, load in loads.items():
        note[part] = dict(load.note)
        if part == "uns":
            carried |= {"uns": load.values} if load.values else {}
        elif load.values:
            home = parts[HOMES[part]]
            note[part]["stored"] = {}
            for key, value in load.values.items():
                place = _free(f"carried_{name}_{part}_{key}".replace("/", "_"), home)
                home[place] = value
                note[part]["stored"][key] = place
    carried["note"] = json.dumps(note, sort_keys=True)
    changes = {home: values for home, values in parts.items() if home not in FRAMES}
    changes |= {home: frame_of(parts[home], _part(data, home).index) for home in ("obs", "var")}
    return carry(data.with_(**changes), name, carried)


def carry(data: CellData, name: str, value: Any) -> CellData:
    """Return data with a value among what is carried."""
    house = dict(data.uns.get(HOUSE, {}))
    house[CARRIED] = dict(house.get(CARRIED, {})) | {name: value}
    return data.with_(uns=dict(data.uns) | {HOUSE: house})


def detach(data: CellData, *names: str) -> tuple[CellData, dict[str, Any]]:
    """Return data without what they carry under some names, by default all; loads by name, other values as they are."""
    house = dict(data.uns.get(HOUSE, {}))
    kept = dict(house.pop(CARRIED, {}))
    carried = {name: kept.pop(name) for name in list(kept) if not names or name in names}
    if not carried:
        return data, {}
    if kept:
        house[CARRIED] = kept
    uns = {key: value for key, value in data.uns.items() if key != HOUSE} | ({HOUSE: house} if house else {})
    parts: dict[str, Any] = {home: dict(_columns(_part(data, home))) for home in set(HOMES.values())}
    found: dict[str, Any] = {}
    for name, value in carried.items():
        if not isinstance(value, Mapping) or "note" not in value:
            found[name] = value
            continue
        loads: Loads = {}
        for part, note in json.loads(value["note"]).items():
            home = parts.get(HOMES.get(part, ""), {})
            stored = note.pop("stored", {})
            values = {key: home.pop(place) for key, place in stored.items() if place in home}
            loads[part] = Load(note, dict(value.get("uns", {})) if part == "uns" else values)
        found[name] = loads
    changes = {home: values for home, values in parts.items() if home not in FRAMES}
    changes |= {home: frame_of(parts[home], _part(data, home).index) for home in ("obs", "var")}
    return data.with_(uns=uns, **changes), found


def restore(data: CellData, loads: Loads) -> CellData:
    """Return data with what was carried for them; what was changed since it was noted stays as it is."""
    changes: dict[str, Any] = {}
    raw = data.raw
    for part, load in loads.items():
        if part in {"obs", "var"}:
            changes[part] = _restored(getattr(data, part), load)
        elif part == "uns":
            house = {HOUSE: data.uns[HOUSE]} if HOUSE in data.uns else {}
            changes["uns"] = _without(_plain(data.uns), load, None) | load.values | house
        elif part in {"raw.var", "raw.varm"} and raw is not None:
            var = _restored(raw.var, load) if part == "raw.var" else raw.var
            varm = _without(raw.varm, load, raw.var.index) | load.values if part == "raw.varm" else raw.varm
            raw = Raw(raw.X, var, varm)
        elif part in HOMES and part not in {"raw.var", "raw.varm"}:
            changes[part] = _without(getattr(data, part), load, _axis(data, part)) | load.values
    types = loads["matrices"].note["types"] if "matrices" in loads else {}
    if "X" in types and data.X is not None:
        changes["X"] = as_type(data.X, types["X"])
    if "raw" in types and raw is not None:
        raw = Raw(as_type(raw.X, types["raw"]), raw.var, raw.varm)
    return data.with_(raw=raw, **changes)


def as_type(rows: Rows, dtype: Any) -> Rows:
    """Return a matrix with values of another type."""

    def typed(block: sp.csr_matrix, _: int) -> sp.csr_matrix:
        return block.astype(dtype)

    return rows if rows.dtype == np.dtype(dtype) else Mapped(rows, rows.shape[1], typed, dtype)


def carried_names(loads: Loads) -> dict[str, list[str]]:
    """Return part -> names of what is carried in it."""
    return {part: sorted(load.values) for part, load in loads.items() if load.values}


def _part(data: CellData, name: str) -> Any:
    if not name.startswith("raw."):
        return getattr(data, name)
    return None if data.raw is None else getattr(data.raw, name.removeprefix("raw."))


def _axis(data: CellData, part: str) -> pd.Index | None:
    """Return the names of the rows of the arrays in a part, None where it has others."""
    return {"obsm": data.obs.index, "varm": data.var.index}.get(part)


def _columns(part: Any) -> Mapping[str, Any]:
    return {name: part[name] for name in part}


def _plain(uns: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in uns.items() if key != HOUSE}


def _free(name: str, taken: Mapping[str, Any]) -> str:
    return next(one for one in chain([name], (f"{name}_{number}" for number in count(1))) if one not in taken)


def _missing(have: Mapping[str, Any], want: Mapping[str, Any], equal: Any, index: pd.Index | None = None) -> Load:
    values = {key: value for key, value in want.items() if key not in have or not equal(have[key], value)}
    return Load(_absent(have, want, index), values)


def _absent(have: Any, want: Any, index: pd.Index | None) -> dict[str, Any]:
    """Return what is to go again, with what tells whether it is still what was made: nobody's own work goes."""
    absent = sorted(str(name) for name in have if name not in want)
    made = {name: mark for name in absent if (mark := _mark(have[name], index)) is not None}
    return ({"absent": absent} if absent else {}) | ({"made": made} if made else {})


def _mark(value: Any, index: pd.Index | None) -> Any:
    """Return the one value of a column or of uns, or sums of some rows of an array; None for anything else."""
    if isinstance(value, pd.Series):
        values = value.astype(str).unique()
        return values[0] if len(values) == 1 else None
    if isinstance(value, np.ndarray) and index is not None and index.is_unique:
        rows = np.linspace(0, len(value) - 1, min(SAMPLE, len(value))).astype(int)
        return {str(index[row]): _sum(value[row]) for row in rows}
    return str(value) if isinstance(value, str | bool | int | float | np.generic) else None


def _as_made(value: Any, mark: Any, index: pd.Index | None) -> bool:
    """Return whether a value is the one that a mark is of; picking cells or genes does not change an array."""
    if not isinstance(mark, Mapping):
        return mark is None or _mark(value, index) == mark
    if index is None or not index.is_unique:
        return True
    if not isinstance(value, np.ndarray):
        return False
    rows = index.get_indexer(pd.Index(list(mark), dtype=object))
    return all(_sum(value[row]) == sum_ for row, sum_ in zip(rows, mark.values(), strict=True) if row >= 0)


def _sum(row: np.ndarray) -> int:
    return crc32(np.ascontiguousarray(row).tobytes())


def _without(have: Mapping[str, Any], load: Load, index: pd.Index | None) -> dict[str, Any]:
    """Return a part without what was made for it alone and is still that."""
    absent, made = load.note.get("absent", ()), load.note.get("made", {})
    return {key: value for key, value in have.items() if key not in absent or not _as_made(value, made.get(key), index)}


def _frame_difference(have: pd.DataFrame, want: pd.DataFrame) -> Load:
    load = Load()
    types: dict[str, Any] = {}
    over: dict[str, dict[str, str]] = {}
    for name, column in columns_of(want).items():
        if name not in have:
            load.values[name] = column
        elif not same(have[name], column):
            kind = type_of(column)
            if kind and same(cast(have[name], kind), column):
                types[name] = kind
            else:
                load.values[name] = column
                if mapping := _mapping(column, have[name]):
                    over[name] = mapping
    kept = [name for name in have if name in want]
    order = [*kept, *(name for name in load.values if name not in kept)]
    said = _absent(have, want, None) | {
        "order": list(want) if order != list(want) or len(load.values) > 1 else [],
        "types": types,
        "over": over,
        "names": [have.index.name, want.index.name] if have.index.name != want.index.name else [],
    }
    if not have.index.equals(want.index):
        load.values[INDEX] = want.index.to_series(index=have.index)
    load.note = {key: value for key, value in said.items() if value}
    return load


def _mapping(want: Any, have: Any) -> dict[str, str]:
    """Return what each value carried was shown as, {} where one was shown as several."""
    if not isinstance(want.dtype, pd.CategoricalDtype):
        return {}
    pairs = pd.DataFrame({"want": want.astype(str).to_numpy(), "have": have.astype(str).to_numpy()}).drop_duplicates()
    return {} if pairs["want"].duplicated().any() else dict(zip(pairs["want"], pairs["have"], strict=True))


def _restored(have: pd.DataFrame, load: Load) -> pd.DataFrame:
    note = load.note
    columns = _without(_columns(have), load, None)
    for name, kind in note.get("types", {}).items():
        if name in columns:
            columns[name] = cast(columns[name], kind)
    index = have.index
    for name, value in load.values.items():
        if name == INDEX:
            index = pd.Index(value.to_numpy(), name=index.name)
            continue
        columns[name] = _unless_changed(value, columns.get(name), note.get("over", {}).get(name))
    order = [name for name in note.get("order", ()) if name in columns]
    frame = frame_of({name: columns[name] for name in dict.fromkeys([*order, *columns])}, have.index)
    frame.index = index.rename(note["names"][1]) if "names" in note else index
    return frame


def _unless_changed(carried: Any, shown: Any, mapping: Mapping[str, str] | None) -> Any:
    """Return what was carried, but what is shown now in cells where it is no longer what was shown then."""
    if shown is None or not mapping:
        return carried
    then = carried.astype(str).map(mapping).to_numpy()
    changed = shown.astype(str).to_numpy() != then
    if not changed.any():
        return carried
    values = np.where(changed, shown.astype(object).to_numpy(), carried.astype(object).to_numpy())
    return pd.Series(pd.Categorical(values), index=carried.index)
