"""Measure speed and memory on this machine.

    hfseg benchmark reading [--dataset_name voc --dataset_path VOCdevkit]
    hfseg benchmark data [--dataset_name voc --dataset_path VOCdevkit]
    hfseg benchmark train --config camseq-segformer-b0 --dataset_path CamSeq01 [any finetune flag]
    hfseg benchmark evaluate --model_name_or_path MODEL --dataset_name voc --dataset_path VOCdevkit
    hfseg benchmark predict --model_name_or_path MODEL --images DIR [--compile]
    hfseg benchmark startup
    hfseg benchmark time-to-quality --target 0.3 --config camseq-deeplabv3plus-mobilenet-v2 ...
    hfseg benchmark memory
    hfseg benchmark formats [--models unet-resnet34 segformer-b0]
    hfseg benchmark scale --config voc-segformer-b2 --devices 1 8 64 --network_gigabits 100
    hfseg benchmark index

Each runs its contenders in turn, --repeats times, and prints the medians, how many times as fast
each one is as the baseline, and as the last line everything as JSON. `hfseg benchmark WHAT --help`
lists the flags. Measure on an otherwise idle machine.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from hfseg.config.data import AugmentedDataArguments, DatasetArguments
from hfseg.config.parser import OptionParser
from hfseg.config.resolve import training_parser
from hfseg.config.values import ImageSize
from hfseg.errors import UserError


def main(argv: list[str]) -> None:
    kinds = {
        "reading": _reading, "data": _data, "train": _train, "evaluate": _evaluate,
        "predict": _predict,
        "startup": _startup, "time-to-quality": _time_to_quality, "memory": _memory,
        "formats": _formats, "scale": _scale, "index": _index,
    }  # fmt: skip
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
    elif argv[0] in kinds:
        kinds[argv[0]](argv[1:])
    else:
        raise UserError(f"hfseg benchmark has no {argv[0]!r}; choose from {', '.join(kinds)}")


def _parser(what: str, groups: Any = (), repeats: int = 5) -> OptionParser:
    parser = OptionParser(groups, prog=f"hfseg benchmark {what}", description=__doc__)
    _add_repeats(parser, repeats)
    return parser


def _add_repeats(parser: OptionParser, repeats: int) -> None:
    parser.add_argument("--repeats", type=int, default=repeats, metavar="N", help="rounds measured")


def _model_flag(parser: OptionParser) -> None:
    parser.add_argument("--model_name_or_path", metavar="MODEL", help="a model folder or Hub id")


def _required(own: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(own, name) is None:
            raise UserError(f"--{name} is required; see --help")


def _reading(argv: list[str]) -> None:
    parser = OptionParser(DatasetArguments, prog="hfseg benchmark reading", description=__doc__)
    parser.add_argument(
        "--pairs", type=int, default=20000, metavar="N", help="images drawn without a dataset"
    )
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="numbers of workers"
    )
    wanted, own = parser.parse_groups(argv)

    from hfseg.workflows.benchmark.reading import benchmark_reading

    benchmark_reading(wanted, pairs=own.pairs, workers=own.workers)


def _data(argv: list[str]) -> None:
    parser = _parser("data", AugmentedDataArguments)
    parser.add_argument("--images", type=int, default=64, metavar="N", help="images per run")
    parser.add_argument("--batch_size", type=int, default=8, metavar="N", help="images per batch")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 1], metavar="N", help="numbers of workers"
    )
    wanted, own = parser.parse_groups(argv)

    from hfseg.workflows.benchmark.comparison import report
    from hfseg.workflows.benchmark.data import benchmark_data

    report(
        benchmark_data(
            wanted,
            images=own.images,
            batch_size=own.batch_size,
            workers=own.workers,
            repeats=own.repeats,
        )
    )


def _training_options(
    what: str, argv: list[str], repeats: int, flags: Mapping[str, tuple[type, Any, str]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The flags of `hfseg finetune`, and those of the sub-command."""
    parser = training_parser(f"hfseg benchmark {what}", __doc__)
    _add_repeats(parser, repeats)
    for name, (kind, default, text) in flags.items():
        parser.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=text)
    options = parser.parse(argv)
    defaults = {"repeats": repeats, **{name: default for name, (_, default, _) in flags.items()}}
    return options, {name: options.pop(name, default) for name, default in defaults.items()}


def _train(argv: list[str]) -> None:
    flags = {"steps": (int, 10, "steps that count, per run")}
    options, own = _training_options("train", argv, 3, flags)

    from hfseg.workflows.benchmark.comparison import report
    from hfseg.workflows.benchmark.train import benchmark_train

    report(benchmark_train(options, **own))


def _time_to_quality(argv: list[str]) -> None:
    flags = {
        "target": (float, 0.3, "mean IoU of the validation split to reach"),
        "every": (int, 25, "steps between evaluations"),
    }
    options, own = _training_options("time-to-quality", argv, 1, flags)

    from hfseg.workflows.benchmark.comparison import report
    from hfseg.workflows.benchmark.time_to_quality import benchmark_time_to_quality

    report([benchmark_time_to_quality(options, **own)])


def _evaluate(argv: list[str]) -> None:
    parser = _parser("evaluate", DatasetArguments)
    _model_flag(parser)
    parser.add_argument("--split", default="validation", help="split to score")
    wanted, own = parser.parse_groups(argv)
    _required(own, "model_name_or_path")

    from hfseg.workflows.benchmark.comparison import report
    from hfseg.workflows.benchmark.evaluate import benchmark_evaluate

    report(benchmark_evaluate(own.model_name_or_path, wanted, split=own.split, repeats=own.repeats))


def _predict(argv: list[str]) -> None:
    parser = _parser("predict")
    _model_flag(parser)
    parser.add_argument("--images", metavar="DIR", help="a folder of photos")
    parser.add_argument("--max_images", type=int, default=100, metavar="N", help="photos used")
    parser.add_argument("--compile", action="store_true", help="also measure compiled models")
    (own,) = parser.parse_groups(argv)
    _required(own, "model_name_or_path", "images")

    from hfseg.workflows.benchmark.comparison import report
    from hfseg.workflows.benchmark.predict import benchmark_predict

    report(
        benchmark_predict(
            own.model_name_or_path,
            own.images,
            count=own.max_images,
            compile=own.compile,
            repeats=own.repeats,
        )
    )


def _startup(argv: list[str]) -> None:
    (own,) = _parser("startup").parse_groups(argv)

    from hfseg.workflows.benchmark.comparison import report
    from hfseg.workflows.benchmark.startup import benchmark_startup

    report([benchmark_startup(own.repeats)])


def _memory(argv: list[str]) -> None:
    parser = OptionParser(prog="hfseg benchmark memory", description=__doc__)
    parser.add_argument(
        "--counts", type=int, nargs=2, default=(200, 2000), metavar="N", help="numbers of images"
    )
    parser.add_argument("--side", type=int, default=12000, metavar="N", help="side in pixels")
    (own,) = parser.parse_groups(argv)

    from hfseg.workflows.benchmark.memory import benchmark_memory

    few, many = own.counts
    benchmark_memory(few, many, own.side)


def _formats(argv: list[str]) -> None:
    parser = _parser("formats")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="default: some of each family")
    parser.add_argument("--batch_size", type=int, default=4, metavar="N", help="images per step")
    parser.add_argument(
        "--image_size",
        type=ImageSize,
        default=ImageSize("160x224"),
        metavar="HxW",
        help="in pixels",
    )
    (own,) = parser.parse_groups(argv)

    from hfseg.workflows.benchmark.comparison import report
    from hfseg.workflows.benchmark.formats import MODELS, benchmark_formats

    report(
        benchmark_formats(
            own.models or MODELS,
            batch_size=own.batch_size,
            size=own.image_size,
            repeats=own.repeats,
        )
    )


def _scale(argv: list[str]) -> None:
    parser = training_parser("hfseg benchmark scale", __doc__)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8, 16, 64], metavar="N")
    parser.add_argument(
        "--cores_per_device", type=float, default=8, metavar="N", help="cores that read images"
    )
    parser.add_argument(
        "--network_gigabits", type=float, default=25, metavar="N", help="per second, per device"
    )
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="steps measured")
    options = parser.parse(argv)
    own = {
        name: options.pop(name, parser.get_default(name))
        for name in ("devices", "cores_per_device", "network_gigabits", "steps")
    }

    from hfseg.workflows.benchmark.scale import benchmark_scale

    benchmark_scale(
        options,
        devices=own["devices"],
        cores=own["cores_per_device"],
        gigabits=own["network_gigabits"],
        steps=own["steps"],
    )


def _index(argv: list[str]) -> None:
    parser = OptionParser(prog="hfseg benchmark index", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 1_000_000], metavar="N")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2, 8], metavar="N")
    (own,) = parser.parse_groups(argv)

    from hfseg.workflows.benchmark.index import benchmark_index

    benchmark_index(own.rows, own.workers)
