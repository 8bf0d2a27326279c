"""Mean intersection over union, as a module of Hugging Face `evaluate`.

The same call and the same keys as the Hub's `mean_iou`, and equal to it to the last digit wherever
every id is a class. It differs in four ways:

- `add` and `add_batch` count pixels at once and keep no image, so the memory is constant;
- a label or a prediction that is not a class id is an error; the Hub's silently drops it from one
  side of the fraction;
- labels of -100 are ignored like `ignore_index`; the Hub's counts any prediction there as wrong;
- the `confusion_matrix` is returned too.

`evaluate.load` copies this one file, so it imports nothing from hfseg, repeats four formulas (a
test compares them with `hfseg.metrics.table`), and imports one module per line.
"""

from collections import Counter

import datasets
import evaluate
import numpy as np

UNLABELED = -100
"""The label that PyTorch's losses ignore by default, and that `Trainer` pads with."""

_LARGEST_ID = 65535  # 16-bit masks
_BYTES = 256
_BASE = _LARGEST_ID - UNLABELED + 1  # a pair of ids is packed in one int64 to be counted

_DESCRIPTION = """
IoU is the area of overlap between the predicted segmentation and the ground truth divided by the
area of their union. Here the areas are summed over all images first; mean IoU is the mean over
the classes that occur in the labels or in the predictions.
"""

_INPUTS = """
Args:
    predictions (`list` of masks): class ids, each (height, width), any integer dtype; arrays,
        nested lists, tensors or PIL images. Sizes may differ from image to image.
    references (`list` of masks): the true ids, each of the size of its prediction.
    num_labels (`int`): number of classes; ids run from 0 to num_labels - 1.
    ignore_index (`int`, defaults to 255): pixels with this label do not count, nor do those with
        -100. It is compared after `label_map` and `reduce_labels`.
    nan_to_num (`int`, *optional*): replaces NaN.
    label_map (`dict`, *optional*): old id -> new id, applied to the labels (not to the
        predictions), all mappings at once.
    reduce_labels (`bool`, defaults to `False`): subtract 1 from the labels; 0 is ignored.
    confusion_matrix (`(num_labels, num_labels)` integers, *optional*): counts to score instead of
        masks, such as the sum over several processes; rows are the ground truth.

Returns:
    `dict` with
    - *mean_iou*, *mean_accuracy* (`float`): means over the classes where they are defined,
    - *overall_accuracy* (`float`): correct pixels over all pixels that count,
    - *per_category_iou* (`ndarray` (num_labels,)): NaN for a class in no label or prediction,
    - *per_category_accuracy* (`ndarray` (num_labels,)): recall; NaN for a class in no label,
    - *confusion_matrix* (`ndarray` (num_labels, num_labels), int64): rows are the ground truth.

Examples:

    >>> import numpy as np
    >>> metric = evaluate.load("path/to/mean_iou")
    >>> metric.add_batch(
    ...     predictions=[np.array([[0, 1], [1, 1]])], references=[np.array([[0, 0], [1, 255]])]
    ... )
    >>> round(float(metric.compute(num_labels=2)["mean_iou"]), 2)
    0.5
"""

_CITATION = """
@article{everingham2010pascal,
  title = {The Pascal Visual Object Classes (VOC) Challenge},
  author = {Everingham, Mark and Van Gool, Luc and Williams, Christopher and Winn, John and
            Zisserman, Andrew},
  journal = {International Journal of Computer Vision},
  volume = {88},
  pages = {303--338},
  year = {2010}
}
"""


def _scores(confusion) -> dict:
    """The segmentation scores of a confusion matrix, in float64.

    With intersection = the diagonal, label area = row sums and prediction area = column sums:
    IoU = intersection / (label area + prediction area - intersection) and
    accuracy = intersection / label area (Long, Shelhamer & Darrell, "Fully Convolutional Networks
    for Semantic Segmentation", 2015, section 5).

    Args:
        confusion: (K, K) counts, array or tensor; rows ground truth, columns prediction.

    Returns:
        `mean_iou`, `mean_accuracy`, `overall_accuracy` (float64) and `per_category_iou`,
        `per_category_accuracy` ((K,) float64). A class in neither labels nor predictions has an
        IoU of NaN, one in no label an accuracy of NaN; the means ignore NaN, and are NaN
        where all are.

    Raises:
        ValueError: a matrix that is not square or has negative counts.
    """
    confusion = _array(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"a confusion matrix must be square, but this one is {confusion.shape}")
    if (confusion < 0).any():
        raise ValueError(
            f"a confusion matrix can't have negative counts, but this one has {confusion.min()}"
        )

    intersection = np.diagonal(confusion).astype(np.float64)
    label_area = confusion.sum(1).astype(np.float64)
    prediction_area = confusion.sum(0).astype(np.float64)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        iou = intersection / (label_area + prediction_area - intersection)
        accuracy = intersection / label_area
        overall_accuracy = intersection.sum() / label_area.sum()

    return {
        "mean_iou": _mean(iou),
        "mean_accuracy": _mean(accuracy),
        "overall_accuracy": overall_accuracy,
        "per_category_iou": iou,
        "per_category_accuracy": accuracy,
    }


def _array(values) -> np.ndarray:
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)  # tensors of any device


def _mean(values):
    # np.nanmean, as the Hub's: the order of summation decides the last digit
    return np.float64(np.nan) if np.isnan(values).all() else np.nanmean(values)


class _Pairs:
    """Pixels of each (label, prediction) pair of raw ids, in constant memory.

    Nearly all masks hold ids up to 255: for those it is one table and one `bincount` per image.
    """

    def __init__(self):
        self.table = np.zeros(_BYTES * _BYTES, dtype=np.int64)
        self.others: Counter[int] = Counter()  # packed pair -> pixels

    def copy(self):
        result = _Pairs()
        result.table, result.others = self.table.copy(), self.others.copy()
        return result

    def add(self, prediction, label):
        """Count one image: two arrays from `_mask`."""
        if prediction.dtype == label.dtype == np.uint8:
            packed = (prediction.astype(np.uint16) * _BYTES + label).ravel()
            ends = np.flatnonzero(packed[1:] != packed[:-1])  # masks have long runs of one pair
            if len(ends) < packed.size // 8:
                ends = np.append(ends, packed.size - 1)
                counts = np.bincount(packed[ends], np.diff(ends, prepend=-1)).astype(np.int64)
            else:
                counts = np.bincount(packed)
            self.table[: len(counts)] += counts
            return
        label, prediction = label.astype(np.int64), prediction.astype(np.int64)
        packed = (label - UNLABELED) * _BASE + (prediction - UNLABELED)
        values, counts = np.unique(packed, return_counts=True)
        self.others.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def arrays(self):
        """Labels, predictions and pixels, each (P,) int64."""
        small = np.flatnonzero(self.table)
        packed = np.fromiter(self.others.keys(), dtype=np.int64, count=len(self.others))
        counts = np.fromiter(self.others.values(), dtype=np.int64, count=len(self.others))
        return (
            np.concatenate([small % _BYTES, packed // _BASE + UNLABELED]),
            np.concatenate([small // _BYTES, packed % _BASE + UNLABELED]),
            np.concatenate([self.table[small], counts]),
        )


def _mask(mask, what) -> np.ndarray:
    """The mask as (H, W) uint8 where the ids fit, else int64; ValueError for anything else."""
    mask = _array(mask)
    if mask.ndim != 2:
        raise ValueError(f"{what} must be (height, width), but its shape is {mask.shape}")
    if mask.dtype.kind not in "iub":
        raise ValueError(f"{what} must hold integer class ids, but its dtype is {mask.dtype}")
    if mask.dtype == np.uint8 or (mask.size and mask.min() >= 0 and mask.max() < _BYTES):
        return mask.astype(np.uint8, copy=False)
    possible = ((mask >= 0) & (mask <= _LARGEST_ID)) | (mask == UNLABELED)
    if not possible.all():
        raise ValueError(f"{what} holds {mask[~possible][0]}, which can't be a class id")
    return mask.astype(np.int64)


def _checked(predictions, references, first=0) -> list:
    """The masks of a batch, pair by pair; `first` numbers the images in messages."""
    if predictions is None or references is None:
        raise ValueError("predictions and references must be given together")
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions, but {len(references)} references")
    batch = []
    for number, (prediction, reference) in enumerate(
        zip(predictions, references, strict=True), start=first
    ):
        prediction = _mask(prediction, f"the prediction of image {number}")
        label = _mask(reference, f"the reference of image {number}")
        if prediction.shape != label.shape:
            raise ValueError(
                f"image {number}: the prediction is {prediction.shape}, "
                f"but the reference is {label.shape}"
            )
        batch.append((prediction, label))
    return batch


def _confusion_from_pairs(pairs, num_labels, ignore_index, label_map, reduce_labels) -> np.ndarray:
    """(num_labels, num_labels) int64 from the pairs of raw ids."""
    raw_labels, predictions, counts = pairs.arrays()
    labels = raw_labels.copy()
    for old_id, new_id in (label_map or {}).items():
        labels[raw_labels == old_id] = new_id
    ignored = labels == UNLABELED
    if reduce_labels:
        ignored |= (labels == 0) | (labels == 255)
        labels = labels - 1
    ignored |= labels == ignore_index

    labels, predictions, counts = labels[~ignored], predictions[~ignored], counts[~ignored]
    for name, ids in (("label", labels), ("prediction", predictions)):
        outside = (ids < 0) | (ids >= num_labels)
        if outside.any():
            raise ValueError(
                f"{name} {ids[outside][0]} is not in 0..{num_labels - 1} "
                f"({counts[outside].sum()} pixels have such ids); "
                f"num_labels is {num_labels}, ignore_index {ignore_index}"
            )
    confusion = np.zeros((num_labels, num_labels), dtype=np.int64)
    np.add.at(confusion, (labels, predictions), counts)
    return confusion


class MeanIoU(evaluate.Metric):
    """Mean IoU with constant memory; see the description and the inputs of the module."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.num_process != 1:
            raise ValueError(
                "this metric does not gather over processes: compute a confusion matrix in each, "
                "add them, and give the sum to compute(confusion_matrix=...)"
            )
        self._reset()

    def _reset(self):
        self._pairs = _Pairs()
        self._num_images = 0

    def __len__(self):
        return self._num_images

    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Image(), "references": datasets.Image()}
            ),
        )

    def add_batch(self, *, predictions=None, references=None):
        """Count a batch of masks; nothing is kept but the counts."""
        for prediction, label in _checked(predictions, references, first=self._num_images):
            self._pairs.add(prediction, label)
            self._num_images += 1

    def add(self, *, prediction=None, reference=None):
        """Count one prediction and its reference; nothing is kept but the counts."""
        if prediction is None or reference is None:
            raise ValueError("prediction and reference must be given together")
        self.add_batch(predictions=[prediction], references=[reference])

    def compute(
        self,
        *,
        predictions=None,
        references=None,
        num_labels,
        ignore_index=255,
        nan_to_num=None,
        label_map=None,
        reduce_labels=False,
        confusion_matrix=None,
    ):
        """Score everything that was added and the masks given here, and start over.

        An error changes nothing, so the call can be repeated.
        """
        masks_given = predictions is not None or references is not None
        if confusion_matrix is not None:
            if masks_given or len(self):
                raise ValueError("give either masks or a confusion_matrix, not both")
            confusion = _array(confusion_matrix)
            if confusion.shape != (num_labels, num_labels):
                raise ValueError(
                    f"the confusion_matrix is {confusion.shape}, but num_labels is {num_labels}"
                )
        else:
            pairs = self._pairs.copy()
            if masks_given:
                for prediction, label in _checked(predictions, references, first=len(self)):
                    pairs.add(prediction, label)
            elif not len(self):
                raise ValueError(
                    "there is nothing to score: call add or add_batch first, or give masks"
                )
            confusion = _confusion_from_pairs(
                pairs, num_labels, ignore_index, label_map, reduce_labels
            )
        result = _scores(confusion)
        if nan_to_num is not None:
            result = {key: np.nan_to_num(value, nan=nan_to_num) for key, value in result.items()}
        self._reset()
        return {**result, "confusion_matrix": confusion}
