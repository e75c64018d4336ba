"""RecBole's Config without what it does to a command line of its own."""

from __future__ import annotations

from typing import Any

from recbole.config import Config


class CommandConfig(Config):
    """Settings whose values are typed already: RecBole would ``eval`` every string, and read ``sys.argv``.

    It has a module of its own because RecBole's trainer pickles the Config into its checkpoints.
    """

    def _convert_config_dict(self, config_dict: Any) -> Any:
        return config_dict

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}
