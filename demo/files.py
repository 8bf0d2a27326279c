"""Files that endpoints write for visitors, in the temporary folder of the page."""

import io
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image


def new_file(name: str) -> Path:
    """A path for a result, in a new folder that nobody can guess."""
    folder = Path(get_upload_folder(), secrets.token_hex(16))
    folder.mkdir(parents=True)
    return folder / safe_name(name)


def save_photo(image: Image.Image, name: str) -> str:
    """Write a JPEG and return its path."""
    path = new_file(f"{name}.jpg")
    image.save(path, quality=92)
    return str(path)


def save_png(image: Image.Image | np.ndarray, name: str) -> str:
    """Write an image or an array of values as PNG and return its path."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    path = new_file(f"{name}.png")
    image.save(path, compress_level=3)
    return str(path)


def file_data(path: str) -> dict[str, object]:
    """How an endpoint returns a file to gradio's client."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def stem(path: str) -> str:
    """The name of an upload, for the names of its results."""
    return safe_name(Path(path).stem)[:60] or "image"


def safe_name(name: str) -> str:
    """The name without characters that could cause problems in file systems or headers."""
    kept = "".join(letter if letter.isalnum() or letter in "-_ ." else "_" for letter in name)
    return kept.strip(". ")[:100] or "image"


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, numbered where two are alike."""
    found: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate.lower() in {each.lower() for each in found}:
            candidate = f"{name}_{number}"
            number += 1
        found.append(candidate)
    return found


def encoded(image: Image.Image) -> bytes:
    """The image as the bytes of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
