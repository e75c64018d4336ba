"""Loads ``.inter`` files with Arrow into RecBole's datasets; what RecBole makes of them stays the same."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from recbole.data.dataset import KnowledgeBasedDataset
from recbole.utils import FeatureSource, FeatureType

from recbole_pixel.data.atomic_faults import AtomicFileError, named_faults, refuse_shifted
from recbole_pixel.data.id_columns import PADDING, refuse_other_types, refuse_padding
from recbole_pixel.data.inter_cache import InterCache, file_state
from recbole_pixel.data.inter_file import Column, Tokens, UnreadableError, read_inter
from recbole_pixel.data.sorting import counts_of, number_by_first, take

SMALLEST_CACHED = 2**23
"""Bytes: a smaller file is parsed in less time than its cache is worth."""


class FastLoading:
    """Put before a dataset of RecBole.

    Until RecBole numbers them, columns of tokens are pandas categories, which answer as strings do: RecBole's filters
    work on them unchanged. Where a step of RecBole's goes through Python's hands row by row, it is done with arrays
    here, and left to RecBole where other files of features take part. What Arrow may read in another way than pandas
    (quotes, numbers of many digits, sequences, other encodings, ...) is read by RecBole.
    """

    inter_feat: Any

    def _load_feat(self, filepath: str, source: Any) -> Any:
        dataset: Any = self
        path, config = Path(filepath), dataset.config
        with named_faults(path, config["field_separator"], config["seq_separator"], config["encoding"]):
            ids = self._loaded_ids(source)
            refuse_other_types(path, ids, config["field_separator"], config["encoding"])
            frame = self._loaded(filepath, source)
            if frame is not None:
                refuse_shifted(path, config["field_separator"], config["encoding"])
                refuse_padding(path, frame, ids)
        if source is FeatureSource.INTERACTION and frame is not None:
            self._check_interactions(path, frame)
        return frame

    def _loaded_ids(self, source: Any) -> set[str]:
        """The fields of users and items, if they are loaded from files of this kind."""
        dataset: Any = self
        load, unload = dataset._get_load_and_unload_col(source)
        ids = {field for field in (dataset.uid_field, dataset.iid_field) if field is not None}
        return (ids if load is None else ids & load) - (unload or set())

    def _loaded(self, filepath: str, source: Any) -> Any:
        dataset: Any = self
        is_plain = dataset.benchmark_filename_list is None and not isinstance(self, KnowledgeBasedDataset)
        if source is not FeatureSource.INTERACTION or not is_plain:
            return super()._load_feat(filepath, source)  # type: ignore[misc]
        path, config = Path(filepath), dataset.config
        try:
            kinds = wanted_columns(path, config, *dataset._get_load_and_unload_col(source))
            columns = self._read(path, kinds)
        except UnreadableError as reason:
            self._tell_of_recbole(path, str(reason))
            return super()._load_feat(filepath, source)  # type: ignore[misc]
        frame = self._frame_without_rows(path, source)
        values = {field: as_pandas(columns[name]) for field, name in zip(frame, kinds, strict=True)}
        return pd.DataFrame(values, copy=False)

    def _tell_of_recbole(self, path: Path, reason: str) -> None:
        dataset: Any = self
        dataset.logger.info(f"{path.name} is read by RecBole's own reader: {reason}")
        if odd := re.search(r"Row #\d+: Expected \d+ columns, got \d+", reason):
            dataset.logger.warning(
                f"{path.name}, {odd[0]}: RecBole leaves out the cells that a row has too many, and takes those that it "
                f"lacks for missing; see whether a tab stands in a value"
            )

    def _check_interactions(self, path: Path, frame: pd.DataFrame) -> None:
        dataset: Any = self
        for key, field in (("USER_ID_FIELD", dataset.uid_field), ("ITEM_ID_FIELD", dataset.iid_field)):
            if field is not None and field not in frame:
                raise AtomicFileError(
                    f"{path} has no column {field!r}, or load_col leaves it out; loaded were {', '.join(frame)}; "
                    f"name the one that holds it: {key}"
                )
        time = dataset.time_field
        if time in frame and dataset.field2type[time] == FeatureType.FLOAT:
            times = frame[time].to_numpy()
            if n_odd := len(times) - int(np.count_nonzero(np.isfinite(times))):
                dataset.logger.warning(
                    f"{path.name}: {n_odd:,} of {len(times):,} interactions have no finite {time}; for a missing one "
                    f"RecBole takes the mean of the others, which lies amid the histories; mend these rows or drop them"
                )

    def _read(self, path: Path, kinds: Mapping[str, str]) -> Mapping[str, Column]:
        dataset: Any = self
        config = dataset.config
        if path.stat().st_size < SMALLEST_CACHED:
            return read_inter(path, kinds, config["field_separator"]).columns
        folder = Path(config["cache_dir"] or path.parent / "cache")
        cache = InterCache(folder, path, kinds, config["field_separator"])
        cached = cache.load()
        if cached is not None:
            return cached
        state = file_state(path)
        inter = read_inter(path, kinds, config["field_separator"])
        try:
            cache.save(inter, state)
        except BlockingIOError:
            dataset.logger.debug(f"another process is writing the cache of {path.name}")
        except OSError as error:
            dataset.logger.warning(
                f"{path.name} is not cached in {folder} ({error}) and will be parsed anew each time; "
                f"set cache_dir to a folder that can be written"
            )
        return inter.columns

    def _frame_without_rows(self, path: Path, source: Any) -> pd.DataFrame:
        """RecBole's own reading of the header, which notes types and sources of fields."""
        with tempfile.TemporaryDirectory() as folder, open(path, encoding="utf-8") as stream:
            header = Path(folder) / path.name
            header.write_text(stream.readline().rstrip("\n") + "\n", encoding="utf-8")
            return super()._load_feat(str(header), source)  # type: ignore[misc]

    def _filter_inter_by_user_or_item(self) -> None:
        dataset: Any = self
        if dataset.user_feat is not None or dataset.item_feat is not None:
            super()._filter_inter_by_user_or_item()  # type: ignore[misc]

    def _filter_by_inter_num(self) -> None:
        dataset: Any = self
        fields = (dataset.uid_field, dataset.iid_field)
        is_plain = all(field is not None and _is_coded(self.inter_feat[field]) for field in fields)
        if not is_plain or dataset.user_feat is not None or dataset.item_feat is not None:
            super()._filter_by_inter_num()  # type: ignore[misc]
            return
        intervals = [
            dataset._parse_intervals_str(dataset.config[key])
            for key in ("user_inter_num_interval", "item_inter_num_interval")
        ]
        columns = [self.inter_feat[field].cat for field in fields]
        sizes = [len(column.categories) for column in columns]
        kept = self._within_counts([column.codes.to_numpy() for column in columns], sizes, intervals)
        if kept is not None:
            self.inter_feat = self.inter_feat.iloc[kept]

    def _within_counts(self, codes: list[np.ndarray], sizes: list[int], intervals: list[Any]) -> np.ndarray | None:
        """Positions of interactions that remain when users and items outside of the intervals went; None for all."""
        dataset: Any = self
        kept = None
        while True:
            is_banned = []
            for column, size, interval in zip(codes, sizes, intervals, strict=True):
                counts = counts_of(column, size)
                allowed = dataset._within_intervals(counts, interval) if interval else True
                is_banned.append((counts > 0) & ~np.broadcast_to(allowed, counts.shape))
            if not any(banned.any() for banned in is_banned):
                return kept
            drops = take(is_banned[0], codes[0]) | take(is_banned[1], codes[1])
            remaining = np.flatnonzero(~drops)
            kept = remaining if kept is None else kept[remaining]
            codes = [take(column, remaining) for column in codes]

    def _remap(self, remap_list: list[Any]) -> None:
        if len(remap_list) != 1 or not _is_coded(remap_list[0][0][remap_list[0][1]]):
            super()._remap(remap_list)  # type: ignore[misc]
            return
        dataset: Any = self
        ((feat, field, _),) = remap_list
        column = feat[field].cat
        names = pa.array(column.categories.array)
        ids, order = number_by_first(column.codes.to_numpy(), len(names))
        feat[field] = ids
        dataset.field2id_token[field] = token_array(names, order)
        dataset.field2token_id[field] = TokenIds(dataset.field2id_token[field])

    def _dataframe_to_interaction(self, data: pd.DataFrame) -> Any:
        dataset: Any = self
        narrow = {
            field: np.int64
            for field in data
            if dataset.field2type[field] == FeatureType.TOKEN and data[field].dtype == np.int32
        }
        return super()._dataframe_to_interaction(data.astype(narrow))  # type: ignore[misc]

    @property
    def avg_actions_of_users(self) -> Any:
        """Mean number of interactions of a user."""
        dataset: Any = self
        return self._mean_count(dataset.uid_field, dataset.user_num)

    @property
    def avg_actions_of_items(self) -> Any:
        """Mean number of interactions of an item."""
        dataset: Any = self
        return self._mean_count(dataset.iid_field, dataset.item_num)

    def _mean_count(self, field: str, n_ids: int) -> np.float64:
        ids = self.inter_feat[field]
        counts = counts_of(ids.numpy() if isinstance(ids, torch.Tensor) else ids.to_numpy(), n_ids)
        return np.float64(len(ids) / np.count_nonzero(counts))


def wanted_columns(path: Path, config: Any, load: set[str] | None, unload: set[str] | None) -> dict[str, str]:
    """The columns that RecBole would load, by their names in the header, and their kinds.

    Args:
        path: an ``.inter`` file.
        config: RecBole's.
        load: fields to load; None for all.
        unload: fields not to load.

    Raises:
        UnreadableError: RecBole must read this file itself, or say what is wrong with it.
    """
    separator = config["field_separator"]
    if str(config["encoding"] or "utf-8").lower().replace("-", "") != "utf8" or len(separator) != 1:
        raise UnreadableError(f"encoding {config['encoding']!r}, field_separator {separator!r}")
    with open(path, encoding="utf-8", errors="replace") as stream:
        names = stream.readline().rstrip("\n").split(separator)
    if any(name.count(":") != 1 for name in names):
        raise UnreadableError(f"its header is {names}")
    kinds = dict(name.split(":") for name in names)
    if len(kinds) < len(names):
        raise UnreadableError(f"its header names a field twice: {names}")
    wanted = {
        f"{field}:{kind}": kind
        for field, kind in kinds.items()
        if (load is None or field in load) and (unload is None or field not in unload)
    }
    others = set(wanted.values()) - {"token", "float"}
    if others or not wanted:
        raise UnreadableError(f"columns of kind {', '.join(sorted(others)) or 'none'}")
    return wanted


def as_pandas(column: Column) -> Any:
    """A column for a DataFrame: categories of strings, or numbers."""
    if not isinstance(column, Tokens):
        return np.asarray(column)
    names = pd.Index(pd.array(column.names, dtype="string[pyarrow]"))
    return pd.Categorical.from_codes(np.asarray(column.codes), dtype=_category_type(names), validate=False)


def _category_type(names: pd.Index) -> pd.CategoricalDtype:
    """Categories that are known to be distinct: to check it, pandas makes a Python string of each."""
    return getattr(pd.CategoricalDtype, "_from_fastpath", pd.CategoricalDtype)(names)


def _is_coded(column: Any) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def token_array(names: pa.Array, order: np.ndarray) -> np.ndarray:
    """RecBole's ``field2id_token``: the padding, then ``names[order]``, as strings of one width."""
    width = max(len(PADDING), int(pc.max(pc.utf8_length(names)).as_py() or 0))
    tokens = np.empty(len(order) + 1, f"<U{width}")
    tokens[0] = PADDING
    for first in range(0, len(order), 1 << 20):
        part = names.take(pa.array(order[first : first + (1 << 20)]))
        tokens[1 + first : 1 + first + len(part)] = part.to_numpy(zero_copy_only=False)
    return tokens


class TokenIds(Mapping[str, int]):
    """RecBole's ``field2token_id``, made when it is first asked for: for most models, nobody does.

    Args:
        tokens: the token of each id.
    """

    def __init__(self, tokens: np.ndarray) -> None:
        self.tokens = tokens
        self._ids: dict[str, int] | None = None

    @property
    def ids(self) -> dict[str, int]:
        """Ids by token."""
        if self._ids is None:
            self._ids = {token: place for place, token in enumerate(self.tokens.tolist())}
        return self._ids

    def __getitem__(self, token: str) -> int:
        return self.ids[token]

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.tokens)
