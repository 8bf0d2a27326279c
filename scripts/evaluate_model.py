"""`hfseg evaluate`, from a clone; see `--help`."""

from hfseg.cli import run

if __name__ == "__main__":
    run("evaluate")
