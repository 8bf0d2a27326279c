"""Poor surroundings: each works, or one sentence says what is missing."""

from pathlib import Path

import pytest
from launch import run_script

TINY = (
    "--max_steps", 2, "--max_train_samples", 8, "--max_eval_samples", 2, "--mixed_precision", "no",
)  # fmt: skip


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the cache folder should be")
    output = tmp_path / "run"
    done = run_script(
        "finetune.py", *TINY, "--output_dir", output, check=False,
        HF_HOME=str(tmp_path / "home" / "cache"),
    )  # fmt: skip
    assert done.returncode == 2
    assert "set HF_HOME to a folder you can write to" in done.stderr
    assert "Traceback" not in done.stderr
    assert not output.exists()


@pytest.mark.slow
def test_no_home_an_ascii_locale_and_a_folder_with_spaces_and_umlauts(tmp_path: Path) -> None:
    folder = tmp_path / "Ärger mit Überlänge"
    folder.mkdir()
    bare = {"LC_ALL": "C", "HOME": "", "HF_HOME": str(folder / "cache")}
    run, data = folder / "läufe" / "a b", ("--dataset_name", "toyscapes")
    run_script("finetune.py", *TINY, "--output_dir", run, "--dataloader_num_workers", 2, **bare)
    model = ("--model_name_or_path", run)
    masks = folder / "masks"
    run_script("predict.py", *model, "--output_dir", masks, run / "report", **bare)
    assert len(list((masks / "masks").iterdir())) == 4
    scores = folder / "scores"
    run_script(
        "evaluate_model.py", *model, *data, "--max_eval_samples", 2, "--output_dir", scores, **bare
    )
    assert (scores / "results.json").is_file()
