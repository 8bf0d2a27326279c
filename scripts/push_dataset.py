"""`hfseg push dataset`, from a clone; see `--help`."""

import sys

from hfseg.cli import run

if __name__ == "__main__":
    run("push", ["dataset", *sys.argv[1:]])
