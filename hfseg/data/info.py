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
    """What a card says about a dataset.

    Attributes:
        name: the `--dataset_name`.
        title: its full name.
        license: the Hub's license key (`other` where none fits).
        license_note: the terms in a sentence.
        homepage: where the official copy and its terms are.
        citation: authors, title and year of the paper.
        label_modes: values of `--label_mode`, the default first; empty where there is no choice.
        hub: copies on the Hub; the first is used when no `--dataset_path` is given.
        splits: how the splits come about, in a sentence.
        needs_data: False where the package makes the data itself.
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
