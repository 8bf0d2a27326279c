"""Does a model do what its card says?"""

from pathlib import Path

from hfseg.errors import UserError

TOLERANCE = 0.0005
"""Cards print four digits, and half precision or another device moves the last ones."""
_NAMES = ("mean_iou", "miou")


def claimed_mean_iou(name_or_path: str, split: str, token: str | bool | None = None) -> float:
    """The mean IoU (0-1) in the `model-index` of a folder's or Hub model's card.

    Of several results, one on `split` counts first.

    Raises:
        UserError: no card, or no mean IoU in it.
    """
    from huggingface_hub import ModelCard

    readme = Path(name_or_path, "README.md")
    if Path(name_or_path).is_dir() and not readme.is_file():
        raise UserError(f"--check_card: {name_or_path} has no model card (README.md)")
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
        raise UserError(f"--check_card: the model card of {name_or_path} claims no mean_iou")
    results.sort(key=lambda result: result.dataset_split != split)
    value = float(results[0].metric_value)
    return value / 100 if value > 1 else value
