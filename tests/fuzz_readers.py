"""Coverage-guided fuzzing of the readers of masks and of COCO JSON, with atheris.

    python tests/fuzz_readers.py masks --seconds 600

Not a part of `make test`: atheris has to be installed beside hfseg (`pip install atheris`). An
input may end in ids that belong to the classes or in a `UserError`; anything else, and more than
`fuzzing.CPU_SECONDS`, is a finding. Findings are kept in a folder, one file for each place in the
code, and printed; the exit code is 1 if there are any.
"""

import argparse
import io
import json
import random
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import atheris

with atheris.instrument_imports(include=["hfseg"]):
    import hfseg.data.readers.coco as coco
    from hfseg.data.masks import MaskDecoder, open_image
    from hfseg.data.readers import ReadOptions
    from hfseg.errors import UserError
    from hfseg.labels import LabelSet

import numpy as np
from fuzzing import JUNK, Hang, limited, paths_in
from PIL import Image

LARGEST_INPUT = 4096
PIXELS = 1 << 16
"""As Pillow's limit, so that an input takes milliseconds; larger ones are refused as usual."""
SIZE = (12, 8)

LABELS = LabelSet(("ground", "wall", "roof"), ((0, 0, 0), (200, 0, 0), (0, 200, 0)))
DECODERS = (
    MaskDecoder.for_labels(LABELS),
    MaskDecoder.for_labels(LABELS, ids={0: 255, 1: 0, 2: 1, 700: 2}),
    MaskDecoder.for_labels(LABELS, ignored_colors=((255, 255, 255),)),
    MaskDecoder(3),
)
"""Ids, other raw values, an ignored color, and no table of colors."""


# ---- masks ----


def masks() -> list[bytes]:
    """Small masks in each way that a dataset may store them."""
    ids = np.random.default_rng(0).integers(0, 3, SIZE[::-1], dtype=np.uint8)
    palette = Image.fromarray(ids)
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    gray, deep = Image.fromarray(ids), Image.fromarray(ids.astype(np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    found = []
    for image, form, options in (
        (gray, "PNG", {}), (palette, "PNG", {}), (palette.convert("RGB"), "PNG", {}),
        (palette.convert("RGBA"), "PNG", {}), (gray.convert("LA"), "PNG", {}), (deep, "PNG", {}),
        (gray.convert("1"), "PNG", {}), (gray, "PNG", {"exif": turned}),
        (palette, "PNG", {"transparency": 0}), (gray, "TIFF", {}), (deep, "TIFF", {}),
        (palette, "TIFF", {"compression": "packbits"}), (gray.convert("F"), "TIFF", {}),
        (gray.convert("I"), "TIFF", {"compression": "tiff_lzw"}), (palette, "GIF", {}),
        (palette, "BMP", {}), (gray, "JPEG", {}), (gray, "JPEG", {"exif": turned}),
        (gray, "PPM", {}), (palette.convert("RGB"), "WEBP", {"lossless": True}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        found.append(buffer.getvalue())
    return found


def read_mask(content: bytes, folder: Path) -> None:
    """The mask as each decoder reads it, alone and after it has seen the dataset."""
    mask = open_image(content, "mask.png")
    problem = None
    for decoder in DECODERS:
        for settled in (decoder, decoder.sniff([mask])):
            try:
                ids = settled(mask, "mask.png")
            except UserError as error:
                problem = error
            else:
                assert ids.dtype == np.uint8 and sorted(ids.shape) == sorted(mask.size)
                assert set(np.unique(ids)) <= {0, 1, 2, 255}
    if problem is not None:
        raise problem


# ---- COCO JSON ----


def coco_files() -> list[bytes]:
    """Polygons, holes, crowds, both kinds of run lengths, ids of text, and Roboflow's root."""
    square = [2, 1, 9, 1, 9, 6, 2, 6]
    hole = [4, 3, 6, 3, 6, 5, 4, 5]
    images = [
        {"id": index, "file_name": f"{index}.png", "height": SIZE[1], "width": SIZE[0]}
        for index in range(2)
    ]
    categories = [
        {"id": 0, "name": "roofs", "supercategory": "none"},
        {"id": 1, "name": "wall", "supercategory": "roofs"},
        {"id": 2, "name": "roof", "supercategory": "roofs"},
    ]
    lengths = {"size": [SIZE[1], SIZE[0]], "counts": [9, 30, 57]}
    text = {"size": [SIZE[1], SIZE[0]], "counts": "9n0K"}
    shapes: list[dict[str, Any]] = [
        {"segmentation": [square]}, {"segmentation": square, "bbox": [2, 1, 7, 5]},
        {"segmentation": [square, hole], "area": 31}, {"segmentation": [square, hole], "area": 39},
        {"segmentation": lengths, "iscrowd": 1}, {"segmentation": text, "iscrowd": 0},
    ]  # fmt: skip
    annotations = [
        {"id": index, "image_id": index % 2, "category_id": 1 + index % 2, **shape}
        for index, shape in enumerate(shapes)
    ]
    whole = {"images": images, "categories": categories, "annotations": annotations}
    parts = [{**whole, "annotations": [each]} for each in annotations]
    names = {"roof": "r", "wall": "w"}
    texts = {
        **whole,
        "categories": [{"id": v, "name": k} for k, v in names.items()],
        "annotations": [{**annotations[0], "category_id": "r"}],
    }
    return [json.dumps(tree).encode() for tree in (whole, *parts, texts)]


def read_coco(content: bytes, folder: Path) -> None:
    """Every mask of a folder that holds this JSON and two images."""
    (folder / "a.json").write_bytes(content)
    reading = coco.read(folder, ReadOptions()).settled(folder)
    problem = None
    for split, pairs in reading.splits.items():
        assert not [name for name in reading.names(split) if name.startswith("..")]
        for pair in pairs:
            try:
                ids = reading.decoder(pair.mask, pair.image)
            except UserError as error:
                problem = error
            else:
                assert ids.dtype == np.uint8 and ids.shape == (pair.mask.height, pair.mask.width)
                assert set(np.unique(ids)) <= {*range(len(reading.labels)), 255}
    if problem is not None:
        raise problem


def change_json(content: bytes, largest: int, seed: int) -> bytes:
    """Mostly some values of the tree replaced, removed or repeated; else as libFuzzer does."""
    draw = random.Random(seed)
    try:
        tree = json.loads(content)
        paths = paths_in(tree)
    except (ValueError, RecursionError, AttributeError, TypeError):
        paths = []
    if not paths or draw.random() < 0.3:
        return atheris.Mutate(content, largest)
    for _ in range(draw.randint(1, 3)):
        *parents, key = draw.choice(paths)
        place = tree
        for each in parents:
            place = place[each]
        how = draw.choice(["junk", "swap", "number", "remove", "repeat"])
        if how == "junk":
            place[key] = draw.choice(JUNK)
        elif how == "swap":
            *others, last = draw.choice(paths)
            value = tree
            for each in (*others, last):
                value = value[each]
            place[key] = json.loads(json.dumps(value))
        elif how == "number":
            place[key] = draw.choice([draw.randint(-3, 300), draw.uniform(-40, 40)])
        elif how == "remove":
            del place[key]
        elif isinstance(place, list):
            place.append(place[key])
        paths = paths_in(tree)
        if not paths:
            break
    changed = json.dumps(tree).encode()
    return changed if len(changed) <= largest else atheris.Mutate(content, largest)


# ---- running ----

TARGETS: dict[str, tuple[Callable[[bytes, Path], None], Callable[[], list[bytes]]]] = {
    "masks": (read_mask, masks),
    "coco": (read_coco, coco_files),
}


def place_of(error: BaseException) -> str:
    """The kind of an error, and where it was raised, as the name of a file."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}-{Path(last.filename).stem}-{last.lineno}"


def fuzz(target: str, folder: Path, options: list[str]) -> None:
    """Start libFuzzer, which ends this process when its time is up."""
    read, _ = TARGETS[target]
    data, findings = folder / "data", folder / "findings"
    data.mkdir(exist_ok=True)
    for index in range(2):
        Image.new("RGB", SIZE, (index, 0, 0)).save(data / f"{index}.png")
    Image.MAX_IMAGE_PIXELS = PIXELS
    warnings.simplefilter("ignore")

    def once(content: bytes) -> None:
        try:
            with limited():
                read(content, data)
        except UserError as error:
            assert str(error).strip() and "Traceback" not in str(error)
        except (Exception, Hang) as error:
            file = findings / place_of(error)
            if not file.exists():
                file.write_bytes(content)
                traceback.print_exc()

    changes = {"custom_mutator": change_json} if target == "coco" else {}
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], once, **changes)
    atheris.Fuzz()


def main() -> int:
    """Fuzz in a process of its own, since libFuzzer never returns; then tell what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="keeps the corpus for the next time")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        fuzz(given.target, given.folder, [
            f"-max_total_time={given.seconds}", f"-max_len={LARGEST_INPUT}", "-seed=1",
            "-print_final_stats=1", "-timeout=120",
        ])  # fmt: skip
    folder = (given.folder or Path(mkdtemp())).resolve()
    for name in ("corpus", "findings"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index, content in enumerate(TARGETS[given.target][1]()):
        (folder / "corpus" / f"seed-{index}").write_bytes(content)
    again = ["--inside", "--seconds", str(given.seconds), "--folder", str(folder)]
    done = subprocess.run([sys.executable, __file__, given.target, *again], check=False)
    findings = sorted((folder / "findings").iterdir())
    for file in findings:
        print(f"finding: {file}")
    kept = sum(1 for _ in (folder / "corpus").iterdir())
    print(f"{given.target}: {kept} inputs in the corpus, {len(findings)} findings, in {folder}")
    return int(bool(findings) or done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
