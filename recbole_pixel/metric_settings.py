"""Whether the metrics that settings name are there, and whether early stopping watches one that is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_pixel.config_files import SettingError, nearest


def check_metrics(settings: Mapping[str, Any], where: str) -> None:
    """Refuses metrics that RecBole has not.

    Raises:
        SettingError: names the nearest.
    """
    from recbole.evaluator.register import metrics_dict

    named = [("metrics", name) for name in settings.get("metrics") or ()]
    if settings.get("valid_metric"):
        named.append(("valid_metric", str(settings["valid_metric"]).partition("@")[0]))
    for key, name in named:
        if str(name).lower() not in metrics_dict:
            raise SettingError(f"{where}: {key}: there is no metric {name!r}{nearest(str(name), metrics_dict)}")


def check_valid_metric(config: Any) -> None:
    """Refuses a ``valid_metric`` that no validation has: RecBole looks for it behind the first epoch's.

    Args:
        config: RecBole's, whole.

    Raises:
        SettingError: its metric is not among ``metrics``, or its cut-off not among ``topk``.
    """
    wanted, cuts = str(config["valid_metric"]), list(config["topk"])
    name, at, cut = wanted.partition("@")
    if name.lower() not in {str(metric).lower() for metric in config["metrics"]}:
        raise SettingError(
            f"valid_metric is {wanted}, and metrics are {', '.join(config['metrics'])}: no validation has it; add "
            f"{name} to metrics, or take one of these"
        )
    if not _has_cut_off(name):
        if at:
            raise SettingError(f"valid_metric is {wanted}, and {name} has no cut-off: set valid_metric to {name}")
    elif cut not in map(str, cuts):
        raise SettingError(
            f"valid_metric is {wanted}, and topk is {cuts}: no validation has it; set valid_metric to "
            f"{name}@{cuts[-1]}, or {f'add {cut} to topk' if cut.isdecimal() else 'to it at another cut-off'}"
        )


def _has_cut_off(name: str) -> bool:
    """Whether a metric is of the best items alone, and there is one of each ``topk``."""
    from recbole.evaluator.register import metrics_dict

    return bool({"rec.topk", "rec.items"} & set(metrics_dict[name.lower()].metric_need))
