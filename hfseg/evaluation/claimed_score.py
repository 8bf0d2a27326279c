"""The score that a model card claims."""

from pathlib import Path

from huggingface_hub import ModelCard

from hfseg.errors import UserError

TOLERANCE = 0.0005
"""Cards give four digits, and half precision or another device changes the last one."""
_NAMES = ("mean_iou", "miou")


def claimed_mean_iou(name_or_path: str, split: str, token: str | None = None) -> float:
    """The mean IoU (0-1) in the `model-index` of the card of a folder or Hub model.

    Raises:
        UserError: there is no card, or it claims no mean IoU, or only that of another split.
    """
    readme = Path(name_or_path, "README.md")
    if Path(name_or_path).is_dir() and not readme.is_file():
        raise UserError(
            f"--check_card: {name_or_path} has no model card (README.md); leave the flag out"
        )
    try:
        card = ModelCard.load(readme if readme.is_file() else name_or_path, token=token)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--check_card: the model card of {name_or_path} can't be read "
            f"({' '.join(str(error).split())[:200]})"
        ) from None
    results = [
        result
        for result in card.data.eval_results or []
        if result.metric_type.lower().replace(" ", "_") in _NAMES
    ]
    if not results:
        raise UserError(
            f"--check_card: the model card of {name_or_path} claims no mean_iou; leave the flag out"
        )
    same = [result for result in results if result.dataset_split in (split, None)]
    if not same:
        claimed = " and ".join(sorted({str(result.dataset_split) for result in results}))
        raise UserError(
            f"--check_card: the card of {name_or_path} claims a mean_iou on {claimed}, not on "
            f"{split}; give --split {results[0].dataset_split}"
        )
    same.sort(key=lambda result: result.dataset_split is None)
    value = float(same[0].metric_value)
    return value / 100 if value > 1 else value
