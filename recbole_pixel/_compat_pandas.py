"""RecBole's data loading on pandas 3, where a column taken from a frame is a copy and `agg` calls its function once.

The first two faults raise nothing: features are silently wrong. Hence a probe for each, not a version number.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pandas as pd

from recbole_pixel._replacing import Overlay, replace_once, surround, swapped


def pandas_warnings() -> list[type[Warning]]:
    """The categories in which this pandas tells of what a later one will change."""
    names = ("ChainedAssignmentError", "Pandas4Warning")
    return [getattr(pd.errors, name) for name in names if hasattr(pd.errors, name)]


def warn_of_untried_pandas() -> None:
    """RecBole's dataset.py drops rows in place and replaces columns, which pandas 4 announces to change."""
    if int(pd.__version__.split(".")[0]) >= 4:
        warnings.warn(
            f"pandas {pd.__version__} is newer than any that recbole_pixel was tried with, and RecBole's data loading "
            'may go wrong in silence on it; install an older one: pip install "pandas<4"',
            RuntimeWarning,
            stacklevel=2,
        )


def fill_missing_values() -> bool:
    """dataset.py `Dataset._fill_nan` fills columns in place, on what pandas >= 3 makes a copy.

    Item and user features then keep NaN in the padding row: a token of -2**63, or a loss of NaN.
    """
    is_needed = not _fills_a_column_in_place()
    if is_needed:
        from recbole.data.dataset import Dataset

        replace_once(Dataset, "_fill_nan", _filling_scalars_before(Dataset._fill_nan))
    return is_needed


def _fills_a_column_in_place() -> bool:
    frame = pd.DataFrame({"x": [np.nan]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame["x"].fillna(0, inplace=True)
    return not frame["x"].isna().any()


def _filling_scalars_before(fill_sequences: Callable[[Any], None]) -> Callable[[Any], None]:
    from recbole.utils import FeatureType

    @functools.wraps(fill_sequences)
    def _fill_nan(self: Any) -> None:
        for feat in (getattr(self, name) for name in self.feat_name_list):
            for field in feat:
                if self.field2type[field] == FeatureType.TOKEN:
                    feat[field] = feat[field].fillna(0)
                elif self.field2type[field] == FeatureType.FLOAT:
                    feat[field] = feat[field].fillna(feat[field].mean())
        fill_sequences(self)

    return _fill_nan


def fill_empty_sequences() -> None:
    """dataset.py `Dataset._load_feat` fills empty cells of sequence columns in place, as `_fill_nan` does."""
    from recbole.data.dataset import dataset

    if not isinstance(dataset.pd, Overlay):
        dataset.pd = Overlay(pd, read_csv=_read_atomic_file)


def _read_atomic_file(*args: Any, **kwargs: Any) -> pd.DataFrame:
    frame = pd.read_csv(*args, **kwargs)
    for column in frame.columns:
        if str(column).endswith("_seq"):
            frame[column] = frame[column].fillna("")
    return frame


def count_elements_of_sequences() -> bool:
    """dataset.py, kg_dataset.py, sequential_dataset.py count with `series.agg(len)`, one number in pandas >= 3."""
    if _counts_elements():
        return False
    from recbole.data.dataset import Dataset, KnowledgeBasedDataset, SequentialDataset

    for name in ("_remap", "_normalize", "_discretization"):
        surround(Dataset, name, _agg_elementwise)
    surround(KnowledgeBasedDataset, "_reset_ent_remapID", _agg_elementwise)
    surround(SequentialDataset, "_benchmark_presets", _agg_elementwise)
    return True


def _counts_elements() -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return isinstance(pd.Series([[0, 0]]).agg(len), pd.Series)


def _agg_elementwise(*_: Any, **__: Any) -> AbstractContextManager[None]:
    agg = pd.Series.agg

    def agg_or_map(series: pd.Series, func: Any = None, *args: Any, **kwargs: Any) -> Any:
        return series.map(len) if func is len else agg(series, func, *args, **kwargs)

    return swapped(pd.Series, "agg", agg_or_map)
