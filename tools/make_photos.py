"""Writes tests/data/photos with PIL: a small photo in every form that decoders treat apart. Users never need this.

    python3 -m venv target/pil
    target/pil/bin/pip install pillow==13.0.0
    target/pil/bin/python tools/make_photos.py
"""

import pathlib

from PIL import Image

PHOTOS = pathlib.Path(__file__).parent.parent / "tests" / "data" / "photos"
WIDTH, HEIGHT = 40, 24
ORIENTATION = 0x0112


def photo(shift=0):
    image = Image.new("RGB", (WIDTH, HEIGHT))
    image.putdata([(6 * x + shift, 10 * y, x * y % 256) for y in range(HEIGHT) for x in range(WIDTH)])
    return image


def save(name, image, **options):
    image.save(PHOTOS / name, **options)


PHOTOS.mkdir(exist_ok=True)
image = photo()
clear = image.copy()
clear.putalpha(image.getchannel("R"))
turned = Image.Exif()
turned[ORIENTATION] = 6
save("baseline.jpg", image, quality=60)
save("progressive.jpg", image, quality=60, progressive=True, exif=turned)
save("restarts.jpg", image, quality=60, subsampling="4:2:0", restart_marker_blocks=1, exif=turned)
save("gray.jpg", image.convert("L"), quality=60)
save("cmyk.jpg", image.convert("CMYK"), quality=60)
save("rgb.png", image)
save("rgba.png", clear, exif=turned)
save("palette.png", image.quantize(16), transparency=3)
save("bilevel.png", image.convert("1"))
save("gray16.png", image.convert("L").convert("I;16"))
save("animated.png", image, save_all=True, append_images=[photo(99)])
save("lossy.webp", image, quality=50, exif=turned)
save("lossy_alpha.webp", clear, quality=50)
save("lossless.webp", clear, lossless=True)
save("palette.webp", image.quantize(8).convert("RGB"), lossless=True)
save("animated.webp", image, save_all=True, append_images=[photo(99)], quality=50)
save("still.gif", image.quantize(32))
save("animated.gif", image.quantize(16), save_all=True, append_images=[photo(99).quantize(16)], transparency=3)
save("rgb.bmp", image)
save("rgba.bmp", clear)
save("palette.bmp", image.quantize(64))
save("bilevel.bmp", image.convert("1"))
