"""Writes tests/data/resize.txt: hashes of images that Pillow and timm resize, for the same bytes. Pillow 12.1 is the oracle: later
ones make the vertical pass first for some photos, 12.2 where the height is over 100 times the width, 13 where it shrinks much more.

    python3 -m venv target/timm
    target/timm/bin/pip install timm torch torchvision "pillow<12.2" zstandard
    target/timm/bin/python tools/make_resize_golden.py
"""

import hashlib
import os

import numpy as np
import PIL
import timm
from PIL import Image, ImageOps
from timm.data import create_transform

from oracle import DATA, noise

FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
# Height and width of the network's input; few, because the GPU has pipelines for each.
SIZES = [(1, 1), (2, 3), (7, 5), (24, 30), (71, 71), (100, 37), (150, 150), (224, 224), (299, 299), (299, 150)]
PHOTOS = [(1, 1), (2, 1), (5000, 40), (40, 5000), (1, 777), (299, 299), (224, 150), (333, 334), (640, 480), (480, 640)]
CROPS = [0.8975, 0.875, 0.9, 0.95, 0.99, 0.5]


def main():
    random = np.random.default_rng(22)

    def photo(elongation):
        """Width and height: small and large sides alike, uniform in the number of digits."""
        while True:
            width, height = (int(side) for side in np.exp(random.uniform(0, np.log(5001), 2)))
            if width * height <= 200_000 and max(width, height) <= elongation * min(width, height):
                return width, height

    def case(filter, fit, crop, resize, size, elongation=5000):
        seed = len(lines)
        width, height = PHOTOS[seed % len(PHOTOS)] if random.random() < 0.2 else photo(elongation)
        image = Image.fromarray(noise(seed, height, width))
        out = np.ascontiguousarray(resize(image, *size))
        assert out.shape == (*size, 3) and out.dtype == np.uint8
        digest = hashlib.sha256(out.tobytes()).hexdigest()
        lines.append(f"{seed} {width} {height} {filter} {fit} {crop} {size[0]} {size[1]} {digest}")

    def transform(filter, crop):
        def resize(image, height, width):
            options = {"interpolation": filter, "crop_pct": crop, "normalize": False}
            return create_transform((3, height, width), **options)(image).numpy().transpose(1, 2, 0)

        return resize

    lines = []
    for filter in FILTERS:
        kind = getattr(Image.Resampling, filter.upper())
        for i in range(30):
            squash = lambda image, height, width: np.asarray(image.resize((width, height), kind))
            case(filter, "squash", 1, squash, SIZES[i % len(SIZES)])
        for i in range(12):
            fit = lambda image, height, width: np.asarray(ImageOps.fit(image, (width, height), kind))
            case(filter, "crop", 1, fit, SIZES[i % len(SIZES)])
        for i in range(8):
            crop = CROPS[i % len(CROPS)]
            # timm forgets the filter where height and width differ, and has bilinear there.
            sizes = [size for size in SIZES if size[0] == size[1] or filter == "bilinear"]
            case(filter, "crop", crop, transform(filter, crop), sizes[-1 - i % len(sizes)], elongation=200)
    with open(os.path.join(DATA, "resize.txt"), "w") as file:
        file.write(f"# tools/make_resize_golden.py, Pillow {PIL.__version__}, timm {timm.__version__}\n")
        file.write("# seed, width and height of the photo, filter, fit, crop, height and width of the input, SHA-256 of its bytes\n")
        file.write("\n".join(lines) + "\n")
    print(len(lines), "images")


if __name__ == "__main__":
    main()
