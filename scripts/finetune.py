"""Fine-tune a semantic segmentation model.

    accelerate launch scripts/finetune.py
    accelerate launch scripts/finetune.py --config camseq-segformer-b0 --dataset_path CamSeq01
    accelerate launch scripts/finetune.py --dataset_name folder --dataset_path my-data

Without flags it runs the quickstart. `--help` lists the flags.
"""

from hfseg.cli import run_main


def main(argv: list[str]) -> None:
    from hfseg.training.parse import parse

    arguments = parse(argv)

    from hfseg.workflows.finetune import finetune

    finetune(arguments)


if __name__ == "__main__":
    run_main(main)
