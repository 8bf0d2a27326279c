"""`hfseg push model`, from a clone; see `--help`."""

import sys

from hfseg.cli import run

if __name__ == "__main__":
    run("push", ["model", *sys.argv[1:]])
