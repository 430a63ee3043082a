"""Writes tests/data/resize_tf.safetensors: images that TensorFlow resizes, as Keras's `image_dataset_from_directory` has it do.
Run it when another version of TensorFlow is to be the oracle.

    python3 -m venv target/keras
    target/keras/bin/pip install keras==3.15.0 tensorflow-cpu==2.21.0 pillow safetensors zstandard
    target/keras/bin/python tools/make_resize_golden_tf.py
"""

import os
import tempfile

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import tensorflow as tf
from PIL import Image
from safetensors.numpy import save_file

from oracle import DATA, noise

# Width and height of photos, and height and width of the network's input.
CASES = [
    ((53, 37), (12, 15)),
    ((200, 133), (12, 15)),
    ((90, 120), (12, 15)),
    ((7, 5), (12, 15)),
    ((15, 12), (12, 15)),
    ((1, 1), (4, 5)),
    ((2, 1), (7, 3)),
    ((1000, 7), (9, 16)),
    ((7, 1000), (16, 9)),
    ((3, 500), (5, 1)),
    ((1003, 801), (17, 17)),
    ((299, 298), (31, 31)),
]


def main():
    golden = {}
    for seed, ((width, height), size) in enumerate(CASES):
        with tempfile.TemporaryDirectory() as folder:
            Image.fromarray(noise(seed, height, width)).save(os.path.join(folder, "photo.png"))
            for method in ("bilinear", "nearest"):
                for fit in ("squash", "crop"):
                    images = keras.utils.image_dataset_from_directory(
                        folder, labels=None, image_size=size, interpolation=method, crop_to_aspect_ratio=fit == "crop", verbose=False
                    )
                    name = f"{seed}.{width}x{height}.tf-{method}.{fit}.{size[0]}x{size[1]}"
                    golden[name] = next(iter(images)).numpy()[0]
    made_by = f"tools/make_resize_golden_tf.py, TensorFlow {tf.__version__}, Keras {keras.__version__}"
    save_file(golden, os.path.join(DATA, "resize_tf.safetensors"), {"made_by": made_by})
    print(len(golden), "images")


if __name__ == "__main__":
    main()
