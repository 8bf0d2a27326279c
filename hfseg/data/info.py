"""Facts about the built-in datasets: where they come from and what their license says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HubSource:
    """A copy of a dataset on the Hub.

    Attributes:
        id: repository id.
        image, label: the columns.
        config: configuration name, or None for the default one.
        revision, data_dir: as in `datasets.load_dataset`.
    """

    id: str
    image: str = "image"
    label: str = "label"
    config: str | None = None
    revision: str | None = None
    data_dir: str | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """The facts about a dataset for its card.

    Attributes:
        name: the `--dataset_name`.
        title: its full name.
        license: the Hub's license key (`other` if none fits).
        license_note: the terms in a sentence.
        homepage: of the official copy and its terms.
        citation: authors, title and year of the paper.
        label_modes: values of `--label_mode`, the default first; empty without a choice.
        hub: copies on the Hub; the first is used when no `--dataset_path` is given.
        splits: where the splits come from, in a sentence.
        needs_data: False if hfseg draws the data itself.
        hidden_test: the labels of the test split are not public; copies hold blank ones.
        video: the images are frames of videos, so neighbors resemble each other.
    """

    name: str
    title: str
    license: str
    license_note: str
    homepage: str
    citation: str
    label_modes: tuple[str, ...] = ()
    hub: tuple[HubSource, ...] = ()
    splits: str = ""
    hidden_test: bool = False
    needs_data: bool = True
    video: bool = False

    @property
    def hub_id(self) -> str | None:
        return self.hub[0].id if self.hub else None
