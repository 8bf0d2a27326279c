"""Make the runs of a plan, one after another, and write their cards and table.

    hfseg results --plan model_cards/results.yaml --data DIR --weights DIR
    hfseg results --plan model_cards/results.yaml --table_only

A plan lists commands by the name of their run:

    voc-unet-resnet34:
      command: hfseg finetune --config voc-unet-resnet34 --dataset_path data/VOCdevkit
      published: "none for this protocol"

The commands run in --output_dir, where `data` and `weights` are links to the given folders. A
finished run is skipped and an interrupted one is resumed, so the command can be repeated at any
time. The output of each run is appended to OUTPUT_DIR/NAME.log. Cards with small figures are
written to NAME/ beside the plan, and the table of all runs to README.md beside the plan.
"""

from pathlib import Path

from hfseg.config.parser import OptionParser


def main(argv: list[str]) -> None:
    parser = OptionParser(prog="hfseg results", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="RUN", help="only these runs of the plan")
    parser.add_argument(
        "--plan", metavar="FILE", required=True, help="YAML file that lists the runs"
    )
    parser.add_argument(
        "--output_dir", metavar="DIR", default="runs/results", help="where runs and logs go"
    )
    parser.add_argument("--data", metavar="DIR", help="the folder that is data/ in commands")
    parser.add_argument("--weights", metavar="DIR", help="the folder that is weights/ in commands")
    parser.add_argument(
        "--table_only", "--table-only", action="store_true",
        help="write the table from the cards that exist; run nothing",
    )  # fmt: skip
    (own,) = parser.parse_groups(argv)

    from hfseg.workflows.results import make_results, read_plan
    from hfseg.workflows.results_table import write_table

    plan_file = Path(own.plan)
    plan = read_plan(plan_file)
    try:
        if not own.table_only:
            folders = {"data": own.data, "weights": own.weights}
            make_results(plan, plan_file.parent, Path(own.output_dir), folders, own.names or [])
    finally:
        rows = write_table(plan, plan_file.parent)
        print(f"{rows} of {len(plan)} runs in {plan_file.parent / 'README.md'}", flush=True)
