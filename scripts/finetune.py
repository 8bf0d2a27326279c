"""`hfseg finetune`, for `accelerate launch scripts/finetune.py`; see `--help`."""

from hfseg.cli import run

if __name__ == "__main__":
    run("finetune")
