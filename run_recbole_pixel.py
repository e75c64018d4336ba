"""Train and evaluate one model, as RecBole's run_recbole.py does: `--model=NAME --dataset=NAME [--key=value ...]`."""

import sys

from recbole_pixel.cli import train_main

if __name__ == "__main__":
    sys.exit(train_main())
