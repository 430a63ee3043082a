"""What the scripts that write golden values share: where things are, weights by formula, the test image."""

import os
import zlib

import numpy as np
import zstandard

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
DATA = os.path.join(ROOT, "tests", "data")
SCRATCH = os.path.join(ROOT, "target", "golden")
KITCHENWARE = os.path.join(ROOT, "models", "kitchenware")

# Blocks that halve the resolution.
DOWN = [2, 3, 4, 13]


def weights_of(name, array, shape):
    """Random values that repeat every 97, so that files of them compress a thousandfold."""
    random = np.random.default_rng(zlib.crc32(f"{name}/{array}".encode()))
    table = random.uniform(-1, 1, 97)
    if array in ("gamma", "moving_variance"):
        table = 1 + table / 2
    elif array in ("beta", "moving_mean", "bias"):
        table = table / 10
    else:
        fan_in = np.prod(shape[:-1]) if array != "depthwise_kernel" else 9
        # Residuals must not grow from block to block, or nothing else would count.
        table = table * np.sqrt((4 if fan_in < 728 else 0.25) / fan_in)
    return np.resize(table.astype(np.float32), shape)


def keep(path, folder=DATA):
    """Compresses a file of the scratch folder into tests/data, or another one."""
    with open(path, "rb") as file:
        packed = zstandard.ZstdCompressor(level=19, write_content_size=True).compress(file.read())
    name = os.path.join(folder, os.path.basename(path) + ".zst")
    with open(name, "wb") as file:
        file.write(packed)
    print(f"{name}: {len(packed)} bytes")


def pattern(height, width):
    """A test image: [height, width, 3] of 8 bits. tests/common/mod.rs has the same formula."""
    y, x, c = np.ogrid[:height, :width, :3]
    return ((y * 31 + x * 17 + c * 101 + (x * y) % 53 * 5 + (x // 9 + y // 7) % 2 * 90) % 256).astype(np.uint8)


def record(golden, name, value):
    """Keeps the sums of an output's channels, the last dimension, and some of its values."""
    value = value.reshape(-1, value.shape[-1]).astype(np.float32)
    random = np.random.default_rng(zlib.crc32(name.encode()))
    places = np.sort(random.choice(value.size, min(300, value.size), replace=False)).astype(np.int64)
    golden[f"{name}.sums"] = value.astype(np.float64).sum(0).astype(np.float32)
    golden[f"{name}.places"] = places
    golden[f"{name}.values"] = value.ravel()[places]
    print(name, value.shape, "largest", np.abs(value).max())


def noise(seed, height, width):
    """A test image of random bytes, by SplitMix64: [height, width, 3] of 8 bits. Every third is black and white in each channel,
    which takes sums beyond the range of levels. tests/resize_golden.rs has the same formula."""
    size = height * width * 3
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, size // 8 + 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    values = z.astype("<u8").view(np.uint8)[:size].reshape(height, width, 3)
    return np.where(values < 128, 0, 255).astype(np.uint8) if seed % 3 == 0 else values
