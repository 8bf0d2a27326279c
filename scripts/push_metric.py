"""`hfseg push metric`, from a clone; see `--help`."""

import sys

from hfseg.cli import run

if __name__ == "__main__":
    run("push", ["metric", *sys.argv[1:]])
