"""`--push_to_hub` and the other Hub options of `TrainingArguments`, with our own push.

`Trainer` would also push `training_args.bin`, and replace the card by one without numbers.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfseg.errors import UserError
from hfseg.hub.commit import check_token, prepare_repository
from hfseg.hub.model import push_checkpoint, push_run

logger = logging.getLogger("hfseg")


@dataclass
class Destination:
    """Where a run is pushed to.

    Attributes:
        repo_id: as given; `prepare` adds the owner.
        private: visibility of a new repository.
        strategy: `--hub_strategy`: end, every_save, checkpoint or all_checkpoints.
        token, revision: as in `TrainingArguments`.
    """

    repo_id: str
    private: bool
    strategy: str
    token: str | None
    revision: str | None

    def prepare(self) -> None:
        """Create the repository if it does not exist.

        Raises:
            UserError: it can't be created or written to.
        """
        self.repo_id = prepare_repository(self.repo_id, private=self.private, token=self.token)

    def push(self, folder: str | Path) -> str:
        """Push the finished run and return the URL of the commit.

        Raises:
            UserError: it failed; the message says how to repeat it.
        """
        try:
            return push_run(folder, self.repo_id, token=self.token, revision=self.revision)
        except UserError as error:
            revision = f" --revision {self.revision}" if self.revision else ""
            raise UserError(
                f"{error}; the run is complete in {folder}, push it again with "
                f"hfseg push model {folder} --repo_id {self.repo_id}{revision}"
            ) from error


def destination(training: TrainingArguments) -> Destination | None:
    """Where `--push_to_hub` pushes the run; None without that flag.

    Nothing is created on the Hub yet (`Destination.prepare`), so that invalid data leaves no empty
    repository there.

    Raises:
        UserError: the id is not valid, the Hub rejects the token, or the Hub can't be reached.
    """
    if not training.push_to_hub:
        return None
    requested = Destination(
        training.hub_model_id or Path(training.output_dir).resolve().name,
        training.hub_private_repo is not False,
        str(getattr(training.hub_strategy, "value", training.hub_strategy)),
        training.hub_token,
        training.hub_revision,
    )
    if training.process_index == 0:
        check_token(requested.repo_id, requested.token)
    return requested


class PushCheckpoints(TrainerCallback):
    """Pushes during training, for every strategy but `end`.

    A failed push is logged and the run continues; the next push includes the same files.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        if not state.is_world_process_zero:
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        folders = {"checkpoint": "last-checkpoint", "all_checkpoints": checkpoint.name}
        try:
            push_checkpoint(
                checkpoint,
                self.destination.repo_id,
                folder_in_repo=folders.get(self.destination.strategy),
                token=self.destination.token,
                revision=self.destination.revision,
            )
        except (UserError, OSError) as error:
            logger.warning("%s was not pushed: %s", checkpoint.name, error)
