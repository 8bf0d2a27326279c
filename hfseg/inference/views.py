"""Test-time augmentation: the mean prediction over several views of an image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from hfseg.errors import UserError


@dataclass(frozen=True)
class Views:
    """The scales, with `flip` each also mirrored.

    Args:
        scales: factors on the height and width of `pixel_values`.
        flip: also mirror images, left to right.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __iter__(self) -> Iterator[tuple[float, bool]]:
        return ((scale, flip) for scale in self.scales for flip in (False, True)[: 1 + self.flip])

    def mean_probabilities(
        self,
        probabilities: Callable[[torch.Tensor, bool], torch.Tensor],
        pixel_values: torch.Tensor,
    ) -> torch.Tensor:
        """The mean over all views of the (N, C, H, W) probabilities, mirror images undone.

        Args:
            probabilities: (N, 3, h, w) pixel values of any size, and whether they are mirrored
                -> (N, C, H, W), one size.
        """
        total, count = None, 0
        for scale, flip in self:
            view = _scaled(pixel_values, scale)
            answer = probabilities(view.flip(-1) if flip else view, flip)
            answer = answer.flip(-1) if flip else answer
            total = answer if total is None else total.add_(answer)
            count += 1
        assert total is not None
        return total / count


def parse_views(text: "str | Views | None") -> Views | None:
    """`"flip,0.75,1.0,1.25"` -> `Views`; None and "none" -> None.

    Raises:
        UserError: a part that is neither `flip` nor a scale from 0.1 to 10.
    """
    if text is None or isinstance(text, Views) or text.strip().lower() in ("", "none"):
        return text if isinstance(text, Views) else None
    scales: list[float] = []
    flip = False
    for part in (part.strip().lower() for part in text.split(",")):
        if part == "flip":
            flip = True
            continue
        try:
            scale = float(part)
        except ValueError:
            scale = 0.0
        if not 0.1 <= scale <= 10 or scale in scales:
            raise UserError(
                f"tta {text!r}: {part!r} must be flip or a scale from 0.1 to 10, each at most "
                "once, such as flip,0.75,1.0,1.25"
            )
        scales.append(scale)
    return Views(tuple(scales) or (1.0,), flip)


def _scaled(pixel_values: torch.Tensor, scale: float) -> torch.Tensor:
    if scale == 1:
        return pixel_values
    size = [max(1, round(scale * side)) for side in pixel_values.shape[-2:]]
    return F.interpolate(
        pixel_values, size=size, mode="bilinear", align_corners=False, antialias=scale < 1
    )
