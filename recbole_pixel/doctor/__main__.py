"""``python -m recbole_pixel.doctor``: the command where even the command line cannot start."""

from __future__ import annotations

import sys

from recbole_pixel.doctor.command import main

if __name__ == "__main__":
    sys.exit(main())
