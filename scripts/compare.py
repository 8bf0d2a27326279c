"""Compare recipes and finished runs: one table and one figure.

    python scripts/compare.py camseq-segformer-b0 camseq-unet-resnet50 --dataset_path CamSeq01
    python scripts/compare.py runs/first runs/second --dataset_path my-data

A name is a recipe, which is run first (into OUTPUT_DIR/NAME; finished ones are kept), or the
folder of a finished run. All flags of `finetune.py` can follow; they hold for every recipe.
Writes comparison.md and comparison.png into OUTPUT_DIR (--output_dir, runs/comparison).
"""

from pathlib import Path

from hfseg.cli import run_main
from hfseg.errors import UserError


def main(argv: list[str]) -> None:
    if any(word in ("-h", "--help") for word in argv):
        print(__doc__)
        return
    first_flag = next((i for i, word in enumerate(argv) if word.startswith("--")), len(argv))
    names, flags = argv[:first_flag], argv[first_flag:]
    if len(names) < 2:
        raise UserError("give at least two recipes or folders of runs, before any flag; see --help")
    output = Path("runs/comparison")
    if "--output_dir" in flags[:-1]:
        at = flags.index("--output_dir")
        output = Path(flags[at + 1])
        del flags[at : at + 2]
    output.mkdir(parents=True, exist_ok=True)

    from hfseg.workflows.compare_runs import compare

    print(compare(names, flags, output, Path(__file__).with_name("finetune.py")))
    print(f"written: {output / 'comparison.md'} {output / 'comparison.png'}")


if __name__ == "__main__":
    run_main(main)
