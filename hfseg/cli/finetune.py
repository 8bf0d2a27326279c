"""Fine-tune a semantic segmentation model.

    hfseg finetune
    hfseg finetune --config camseq-segformer-b0 --dataset_path CamSeq01
    hfseg finetune --dataset_name folder --dataset_path my-data
    hfseg finetune --num_processes 4 --config voc-segformer-b2

Without flags it runs the quickstart. With several GPUs or flags of `accelerate launch` it starts
several processes through accelerate. `accelerate launch scripts/finetune.py` works too.
"""

from hfseg.cli.launch import launch, split_launch_flags, use_all_cores, wants_launch
from hfseg.config.resolve import parse, training_parser


def main(argv: list[str]) -> None:
    launcher, ours = split_launch_flags(argv, training_parser().flags)
    if wants_launch(launcher):
        launch("finetune", launcher, ours)
        return
    use_all_cores()
    arguments = parse(ours)

    from hfseg.workflows.finetune import finetune

    finetune(arguments)
