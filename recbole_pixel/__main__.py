"""``python -m recbole_pixel``: the command line."""

import sys

from recbole_pixel.cli import main

if __name__ == "__main__":
    sys.exit(main())
