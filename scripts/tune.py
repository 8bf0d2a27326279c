"""Search hyper-parameters with optuna; the space stands in the recipe under `search`.

    python scripts/tune.py --config camseq-unet-resnet50 --dataset_path CamSeq01 --trials 20

Flags are those of `finetune.py`, and `--trials N`: how many trials the study shall have in the
end. Started again it goes on with the study in OUTPUT_DIR (runs/NAME-search); several processes
may work on one study. It writes study.db, history.png, importance.png and best-recipe.yaml:

    accelerate launch scripts/finetune.py --config runs/NAME-search/best-recipe.yaml
"""

import argparse

from hfseg.cli import run_main
from hfseg.errors import UserError


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--trials", default="20", metavar="N", help="trials of the study [20]")
    ours, rest = parser.parse_known_args(argv)
    if not ours.trials.isdigit() or int(ours.trials) < 1:
        raise UserError(f"--trials {ours.trials}: give a number of at least 1")

    from hfseg.training.parse import parse
    from hfseg.workflows.tune import tune

    if not any(word.split("=")[0] == "--output_dir" for word in rest):
        rest += ["--output_dir", f"{parse(rest).training.output_dir}-search"]
    tune(rest, int(ours.trials))


if __name__ == "__main__":
    run_main(main)
