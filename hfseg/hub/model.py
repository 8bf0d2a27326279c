"""Pushes a finished run to the Hub: the files a user of the model needs, and nothing else."""

import json
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from hfseg.cards.model_card import for_repository
from hfseg.cards.redaction import public_recipe, redacted_values
from hfseg.errors import UserError
from hfseg.hub.commit import commit_files

MODEL_FILES = (
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "configuration_*.py",
    "modeling_*.py",
)
"""What `from_pretrained` reads."""

RUN_FILES = (*MODEL_FILES, "README.md", "recipe.yaml", "*_results.json", "report/*.png",
             "examples/*")  # fmt: skip
"""The files that are pushed; not optimizer state, checkpoints, `training_args.bin` and logs."""

_LEFT_BY_OTHERS = ("model*.safetensors*", "pytorch_model*.bin", "tf_model.h5", "training_args.bin")
"""Weights that would be loaded instead of ours, and files that `Trainer` pushes."""

_REQUIRED = ("config.json", "preprocessor_config.json", "README.md")


def push_run(
    folder: str | Path,
    repo_id: str,
    *,
    token: str | None = None,
    revision: str | None = None,
    message: str = "Model, results and card",
) -> str:
    """Push the folder of a finished run in one commit, and return the URL of the commit.

    The usage in the pushed card names `repo_id`, and local paths in the pushed recipe are reduced
    to their last component; nothing in the folder is changed. Repeating the call completes a push
    that failed.

    Args:
        folder: `OUTPUT_DIR` of a run.
        repo_id: an existing repository (`prepare_repository`).

    Raises:
        UserError: the run is not finished, its weights are damaged, or the Hub refuses.
    """
    folder = Path(folder)
    check_run(folder)
    files: dict[str, Path | bytes] = {**files_of(folder, RUN_FILES)}
    card = (folder / "README.md").read_text(encoding="utf-8")
    files["README.md"] = for_repository(card, repo_id).encode()
    if "recipe.yaml" in files:
        text = (folder / "recipe.yaml").read_text(encoding="utf-8")
        files["recipe.yaml"] = public_recipe(text).encode()
    return commit_files(
        repo_id,
        files,
        message=message,
        delete=(*RUN_FILES, *_LEFT_BY_OTHERS),
        token=token,
        revision=revision,
    )


def push_checkpoint(
    checkpoint: Path,
    repo_id: str,
    *,
    folder_in_repo: str | None = None,
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Push the model of a checkpoint during training, as the repository's model.

    Args:
        folder_in_repo: also push the complete checkpoint to this folder, to resume from.

    Raises:
        UserError: the Hub refuses.
    """
    files: dict[str, Path | bytes] = {**files_of(checkpoint, MODEL_FILES)}
    if folder_in_repo is not None:
        for path in sorted(checkpoint.iterdir()):
            if path.is_file() and path.name != "training_args.bin":
                files[f"{folder_in_repo}/{path.name}"] = path
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        text = json.dumps(redacted_values(state), indent=2) + "\n"
        files[f"{folder_in_repo}/trainer_state.json"] = text.encode()
    step = checkpoint.name.rsplit("-", 1)[1]
    return commit_files(
        repo_id,
        files,
        message=f"Training in progress, step {step}",
        delete=(*MODEL_FILES, *_LEFT_BY_OTHERS),
        token=token,
        revision=revision,
    )


def files_of(folder: Path, patterns: tuple[str, ...]) -> dict[str, Path]:
    """Path in the repository -> file, of those that exist."""
    return {
        path.relative_to(folder).as_posix(): path
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }


def check_run(folder: Path) -> None:
    """Check that the folder is a finished run with intact weights.

    Raises:
        UserError: it is not.
    """
    if re.fullmatch(r"checkpoint-\d+", folder.resolve().name):
        raise UserError(f"{folder} is a checkpoint; give the folder of the run, {folder.parent}")
    missing = [name for name in _REQUIRED if not (folder / name).is_file()]
    weights = sorted(folder.glob("model*.safetensors"))
    if missing or not weights:
        raise UserError(
            f"{folder} is not a finished run ({(missing or ['model.safetensors'])[0]} is missing); "
            "give the --output_dir of a run that finished"
        )
    for path in weights:
        try:
            with safe_open(path, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}), so it was not pushed") from error
