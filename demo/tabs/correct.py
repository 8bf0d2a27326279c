"""Objects that SAM finds, and training pairs made of them."""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr
import numpy as np

from hfseg.errors import UserError
from hfseg.sam import refine_by_prompts, refine_by_votes
from hfseg.visualization.overlay import index_png

from ..files import encoded, new_file, save_png, stem, unique_names
from ..limits import (
    MAX_IMAGES,
    MAX_SAM_SIDE,
    check_count,
    check_number_of_points,
    open_mask,
    open_photo,
)
from ..masks import read_mask, resized_ids
from ..sam_work import everything, object_at, pictures_of_masks, timed
from ..tab import BESIDE, ON_DEVICE, Tab, figure, photo_answer

MAX_OBJECTS = 30


class Correct(Tab):
    name, label = "correct", "Correct"

    def settings(self) -> dict[str, Any]:
        return {"sam": self.models.sam_name is not None}

    def endpoints(self) -> dict[Callable[..., Any], Mapping[str, Any]]:
        return {
            self.objects: ON_DEVICE,
            self.everything: ON_DEVICE,
            self.given_mask: BESIDE,
            self.training_pairs: BESIDE,
        }

    def objects(self, image: gr.FileData, objects: list) -> dict:
        """SAM's mask of each object, which is a list of points (x, y, 1 on it or 0 beside it), x
        and y being fractions of the photo's size."""
        if len(objects) > MAX_OBJECTS:
            raise UserError(
                f"There are {len(objects)} objects, but only {MAX_OBJECTS} are allowed."
            )
        for points in objects:
            check_fractions(points)
        photo, _ = open_photo(image["path"], MAX_SAM_SIDE)
        found = []
        for points in objects:
            mask, score = self.models.device.run(object_at, self.models, photo, points)
            found.append({"mask": save_png(mask.astype(np.uint8), "object"), "score": score})
        return {"objects": found}

    def everything(
        self, image: gr.FileData, model: str = "", points_per_side: int = 16
    ) -> Iterator[dict]:
        """The model, SAM, and two methods that combine them."""
        run, path = self.models.device.run, image["path"]
        photo, note = open_photo(path, MAX_SAM_SIDE)
        yield {"doing": "Loading SAM", "part": 0.05}
        predictor = run(self.models.sam)
        yield {"doing": "Segmenting with the model", "part": 0.15}
        found, took = self.models.segment(model, path, photo)
        yield {"doing": "SAM is segmenting everything", "part": 0.25}
        masks, took_all = run(timed, lambda: everything(predictor, photo, points_per_side))
        yield {"doing": "Each mask gets a class by vote", "part": 0.7}
        voted, took_votes = run(timed, lambda: refine_by_votes(masks, found.mask))
        yield {"doing": "SAM refines the model's regions", "part": 0.8}
        prompted, took_prompts = run(
            timed, lambda: refine_by_prompts(predictor, photo, found.mask, found.labels)
        )
        numbers, names = pictures_of_masks(masks)
        labels = self.models.labels(model)
        count = f"{len(masks)} mask{'' if len(masks) == 1 else 's'}"
        yield {
            **photo_answer(photo, path, note),
            "figures": [
                figure("The model", found.mask, labels, took, model or self.models.names[0]),
                figure("SAM, everything: no classes", numbers, names, took_all, count),
                figure("SAM's masks, the model's votes", voted, labels, took_votes,
                       changed(voted, found.mask)),
                figure("The model's regions, SAM's boundaries", prompted, labels, took_prompts,
                       changed(prompted, found.mask)),
            ],
        }  # fmt: skip

    def given_mask(self, image: gr.FileData, mask: gr.FileData, model: str = "") -> dict:
        """A mask to correct in place of the model's, at the size of the photo for SAM."""
        photo, _ = open_photo(image["path"], MAX_SAM_SIDE)
        ids = read_mask(mask["path"], image["path"], self.models.segmenter(model).labels)
        return {"ids": save_png(resized_ids(ids, photo.size), "ids")}

    def training_pairs(
        self, images: list[gr.FileData], masks: list[gr.FileData], model: str = ""
    ) -> dict:
        """Photos and their corrected masks as a ZIP in the layout that `--dataset_name folder`
        reads: images/, masks/ and labels.json."""
        check_count(images, MAX_IMAGES, "pairs")
        if len(images) != len(masks):
            raise UserError(
                f"There are {len(images)} photos but {len(masks)} masks: send one mask per photo."
            )
        labels = self.models.segmenter(model).labels
        path = new_file("training_pairs.zip")
        names = unique_names([stem(each["path"]) for each in images])
        with zipfile.ZipFile(path, "w") as archive:
            for image, mask, name in zip(images, masks, names, strict=True):
                photo, _ = open_photo(image["path"], MAX_SAM_SIDE)
                ids = np.asarray(open_mask(mask["path"]).convert("RGB"))[..., 0]
                if ids.shape != (photo.height, photo.width):
                    raise UserError(
                        f"The mask of {name} has {ids.shape[1]} × {ids.shape[0]} pixels, but "
                        f"the photo {photo.width} × {photo.height}."
                    )
                archive.writestr(f"images/{name}.png", encoded(photo))
                archive.writestr(f"masks/{name}.png", encoded(index_png(ids, labels)))
            archive.writestr("labels.json", json.dumps(labels.to_dict(), indent=1))
        return {"file": str(path), "count": len(images)}


def check_fractions(points: object) -> None:
    """Raise a UserError unless these are points (x, y, 1 or 0), one of them on the object."""
    if not isinstance(points, list) or not points:
        raise UserError("An object must be a list of points.")
    check_number_of_points(points)
    for point in points:
        if (
            not isinstance(point, list)
            or len(point) != 3
            or any(type(value) not in (int, float) for value in point)
            or not (0 <= point[0] <= 1 and 0 <= point[1] <= 1 and point[2] in (0, 1))
        ):
            raise UserError(
                "A point must be [x, y, label], with x and y from 0 to 1, and label 1 on the "
                "object or 0 outside."
            )
    if not any(point[2] for point in points):
        raise UserError("At least one point must be on the object: [x, y, 1].")


def changed(refined: np.ndarray, mask: np.ndarray) -> str:
    return f"{100 * np.mean(refined != mask):.1f} % changed"
