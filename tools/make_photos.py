"""Writes tests/data/photos with PIL: a small photo in every form that decoders treat apart; and what PIL reads from each of them, upright,
as RGBA (tests/data/photos.safetensors). Colour profiles are left aside, 16-bit values have their upper 8 bits, of an animation the
first frame is taken. Users never need this.

    python3 -m venv target/pil
    target/pil/bin/pip install pillow==13.0.0 numpy safetensors
    target/pil/bin/python tools/make_photos.py
"""

import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms, ImageOps
from safetensors.numpy import save_file

FINDS = pathlib.Path(__file__).parent.parent / "tests" / "data" / "crashes" / "image"
PHOTOS = pathlib.Path(__file__).parent.parent / "tests" / "data" / "photos"
WIDTH, HEIGHT = 40, 24
ORIENTATION = 0x0112


def photo(shift=0):
    image = Image.new("RGB", (WIDTH, HEIGHT))
    image.putdata([(6 * x + shift, 10 * y, x * y % 256) for y in range(HEIGHT) for x in range(WIDTH)])
    return image


def png(path, bits, colour, rows, *others):
    """A PNG of samples that PIL does not write: grey (0), RGB (2), grey and alpha (4) or RGBA (6); and of other chunks."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = rows.astype(">u2" if bits == 16 else "u1")
    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], bits, colour, 0, 0, 0)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [(b"IHDR", header), *others, (b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


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
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    save(f"exif{orientation}.jpg", image, quality=90, subsampling="4:4:4", exif=exif)
    save(f"exif{orientation}.png", image, exif=exif)
    save(f"exif{orientation}.webp", image, lossless=True, exif=exif)
# Red and green change places: what heeds the profile shows other colours.
swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
count = struct.unpack(">I", swapped[128:132])[0]
tags = {bytes(swapped[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
red, green = tags[b"rXYZ"], tags[b"gXYZ"]
swapped[red + 4 : red + 12], swapped[green + 4 : green + 12] = swapped[green + 4 : green + 12], swapped[red + 4 : red + 12]
save("profile.jpg", image, quality=90, subsampling="4:4:4", icc_profile=bytes(swapped))
save("profile.png", image, icc_profile=bytes(swapped))
save("profile.webp", image, lossless=True, icc_profile=bytes(swapped))
levels = np.asarray(clear).astype(np.uint32)
deep = levels * 257
save("gray_alpha.png", clear.convert("LA"))
png(PHOTOS / "gray16.png", 16, 0, deep[..., 1:2])
png(PHOTOS / "gray_alpha16.png", 16, 4, deep[..., [1, 3]])
png(PHOTOS / "rgb16.png", 16, 2, deep[..., :3])
png(PHOTOS / "rgba16.png", 16, 6, deep)
save("interlaced.gif", image.quantize(32), interlace=1)
save("one.png", Image.new("RGB", (1, 1), (12, 200, 99)))
save("wide.png", Image.new("RGB", (3000, 1), (12, 200, 99)))
# Chunks of 64 MB, compressed to 64 KB.
zeros = zlib.compress(bytes(1 << 26), 9)
png(FINDS / "profile-bomb", 8, 6, levels, (b"iCCP", b"a\0\0" + zeros))
png(FINDS / "text-bomb", 8, 6, levels, (b"zTXt", b"Comment\0\0" + zeros), (b"iTXt", b"a\0\1\0\0\0" + zeros))


def pixels(path):
    image = Image.open(path)
    if image.mode == "I;16":
        levels = np.asarray(image) >> 8
        image = Image.fromarray(levels.astype(np.uint8))
    return np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))


save_file({path.name: pixels(path) for path in sorted(PHOTOS.iterdir())}, PHOTOS.with_suffix(".safetensors"))
