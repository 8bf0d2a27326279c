"""The probabilities of a model at the temperature it was calibrated with.

`config.calibration_temperature` is T: probabilities are `softmax(log p / T)`, where p is what the
model gives by itself. For logits z that is `softmax(z / T)` (Guo et al. 2017, see
`metrics.calibration`); it also holds for models that return probabilities, and for means of
several. The largest stays the largest.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch

from hfseg.disk import write_text
from hfseg.errors import UserError
from hfseg.models.universal import is_universal

_KEY = "calibration_temperature"


def temperature_of(model: Any) -> float:
    """The model's temperature; 1 where it was not calibrated.

    Raises:
        UserError: the config holds something that is not a positive number.
    """
    value = getattr(model.config, _KEY, 1.0)
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(f"the model's config.json has {_KEY} {value!r}: expected a positive number")
    return float(value)


def set_temperature(model: Any, temperature: float) -> None:
    """Use this temperature from now on; `save_temperature` keeps it."""
    setattr(model.config, _KEY, temperature)


def forget_temperature(model: Any) -> None:
    """A model that is trained further has to be calibrated anew."""
    if hasattr(model.config, _KEY):
        delattr(model.config, _KEY)


def save_temperature(folder: str | Path, temperature: float) -> None:
    """Write the temperature into the config.json of a model folder.

    Raises:
        UserError: the file can't be read or written.
    """
    file = Path(folder) / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        text = json.dumps({**config, _KEY: temperature}, indent=2, ensure_ascii=False) + "\n"
        write_text(file, text)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: the temperature can't be saved there ({error})") from error


def at_temperature(probabilities: torch.Tensor, temperature: float, dim: int = 0) -> torch.Tensor:
    """Probabilities over `dim` at a temperature; at 1 they are returned as they are."""
    if temperature == 1:
        return probabilities
    return (log_of(probabilities) / temperature).softmax(dim)


def log_scores(model: Any, scores: torch.Tensor) -> torch.Tensor:
    """What `softmax` makes the model's probabilities of: logits as they are, the log of others."""
    return log_of(scores) if is_universal(model) else scores


def log_of(probabilities: torch.Tensor) -> torch.Tensor:
    """Finite also where a probability is 0."""
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def top_probability(scores: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """The probability of the class chosen, (B, H, W), of (B, C, H, W) float32 `log_scores`."""
    scores = scores / temperature
    return (scores.amax(1) - scores.logsumexp(1)).exp()
