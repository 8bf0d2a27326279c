"""`hfseg push dataset`: any dataset as parquet files, on the Hub or in a folder."""

from pathlib import Path

import datasets

from hfseg.config.data import DatasetArguments
from hfseg.data import dataset_info, load_dataset
from hfseg.data.export import write_dataset
from hfseg.errors import UserError
from hfseg.hub.dataset import push_dataset
from hfseg.processes import Processes


def share_dataset(
    data: DatasetArguments, repo_id: str | None, output_dir: str | None, private: bool = True
) -> str:
    """Write `data` with the columns `image` and `label` (class ids), `labels.json`,
    `id2label.json` and a card; `hfseg.load_dataset(REPO_ID_OR_DIR)` reads it back. The processes of
    a launch share the files.

    Args:
        repo_id, output_dir: the target, exactly one of them.
        private: visibility of a new repository. Many licenses don't allow redistribution.

    Returns:
        A sentence with the location.

    Raises:
        UserError: the data can't be read, or the target can't be written to.
    """
    dataset_name = data.required_name()
    if data.streaming:
        raise UserError("--streaming: push reads the complete dataset; leave the flag out")
    processes = Processes()
    with processes.first_before_others():
        rows, labels = load_dataset(dataset_name, data.dataset_path, **data.dataset_options())
    info = dataset_info(dataset_name)
    counts = ", ".join(f"{split} {len(part)}" for split, part in rows.items())
    if processes.is_first:
        print(f"{dataset_name}: {counts}; {len(labels)} classes", flush=True)
    if output_dir is not None:
        write_dataset(output_dir, rows, labels, Path(output_dir).name, info, processes)
        return f"written to {output_dir}"
    cache = processes.agreed(lambda: datasets.config.HF_DATASETS_CACHE)
    folder = Path(cache, "hfseg-push", str(repo_id).replace("/", "--"))
    commit = push_dataset(str(repo_id), rows, labels, info, private=private, folder=folder)
    return f"pushed to {commit}"
