"""Writes Keras's Inception V3 with random weights in the files that it has been saved in, and what Keras computes with them.

    target/keras/bin/python tools/make_inception.py   # make_golden.py tells how to make that environment

Writes
    tests/data/inception/*.zst           the same weights in four kinds of files, with a head of five classes
    tests/data/inception.safetensors     logits, and sums and samples of the blocks' outputs, for the test image at two sizes
"""

import os
import re

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tf_keras
from safetensors.numpy import save_file

from oracle import DATA, SCRATCH, keep, pattern, record, weights_of

FOLDER = os.path.join(DATA, "inception")
SIZES = [(75, 75), (150, 107)]
BLOCKS = ["mixed0", "mixed2", "mixed3", "mixed4", "mixed7", "mixed8", "mixed9", "mixed10"]


def number(name):
    """The number of a layer among those of its class, as they are made."""
    return int((re.findall(r"_(\d+)$", name) or ["0"])[0])


def fill(model, image):
    """Weights by formula; batch norms are scaled to the values that they get, so that none of many layers drowns the others."""
    for layer in model.layers:
        if layer.name.startswith("conv2d"):
            shape = layer.kernel.shape
            table = weights_of(f"conv{number(layer.name)}", "depthwise_kernel", shape) * np.float32(9 / 4) ** 0.5
            layer.set_weights([table * np.float32(np.sqrt(6 / np.prod(shape[:-1])))])
        elif layer.weights and not layer.name.startswith("batch_normalization"):
            layer.set_weights([weights_of(layer.name, name, value.shape) for name, value in zip(["kernel", "bias"], layer.get_weights())])
    norms = sorted((layer for layer in model.layers if layer.name.startswith("batch_normalization")), key=lambda layer: number(layer.name))
    for index, norm in enumerate(norms):
        values = np.asarray(keras.Model(model.input, norm.input)(image))
        beta, mean, variance = (weights_of(f"norm{index}", name, norm.beta.shape) for name in ["beta", "moving_mean", "moving_variance"])
        norm.set_weights([beta, mean * values.std() + values.mean(), variance * values.var()])
    return model


def build():
    """Keras takes any size where there is no head."""
    keras.utils.clear_session()
    backbone = keras.applications.InceptionV3(weights=None, include_top=False)
    pooled = keras.layers.GlobalAveragePooling2D(name="avg_pool")(backbone.output)
    return keras.Model(backbone.input, keras.layers.Dense(5, activation="softmax", name="predictions")(pooled))


def main():
    os.makedirs(FOLDER, exist_ok=True)
    os.makedirs(SCRATCH, exist_ok=True)
    golden, images = {}, {size: pattern(*size)[None].astype(np.float32) / 127.5 - 1 for size in SIZES}
    # In float64, so that what is off is ours.
    keras.config.set_floatx("float64")
    exact = build()
    keras.config.set_floatx("float32")
    model = fill(build(), images[SIZES[1]])
    exact.set_weights(model.get_weights())
    kernel, bias = model.get_layer("predictions").get_weights()
    for (height, width), image in images.items():
        *outputs, pooled = keras.Model(exact.input, [exact.get_layer(name).output for name in [*BLOCKS, "avg_pool"]])(image)
        for name, value in zip(BLOCKS, outputs):
            record(golden, f"inception_v3_keras.{height}x{width}.{name}", np.asarray(value[0]))
        golden[f"inception_v3_keras.{height}x{width}.logits"] = np.ascontiguousarray((np.asarray(pooled[0]) @ kernel + bias).astype(np.float32))

    def save(name, write):
        path = os.path.join(SCRATCH, name)
        write(path)
        keep(path, FOLDER)
        os.remove(path)

    save("model.keras", model.save)
    save("weights.weights.h5", model.save_weights)
    tf_keras.backend.clear_session()
    # Official files are of Keras 2, which numbers layers from 1.
    tf_keras.layers.Conv2D(1, 1), tf_keras.layers.BatchNormalization()
    old = tf_keras.applications.InceptionV3(weights=None, classes=5, input_shape=(75, 75, 3))
    by_number = lambda prefix: {number(layer.name): layer for layer in model.layers if layer.name.startswith(prefix)}
    convs, norms = by_number("conv2d"), by_number("batch_normalization")
    for layer in old.layers:
        if layer.name.startswith("conv2d"):
            layer.set_weights(convs[number(layer.name) - 1].get_weights())
        elif layer.name.startswith("batch_normalization"):
            layer.set_weights(norms[number(layer.name) - 1].get_weights())
    old.get_layer("predictions").set_weights([kernel, bias])
    difference = np.abs(old.predict(images[SIZES[0]], verbose=0) - model.predict(images[SIZES[0]], verbose=0)).max()
    assert difference < 1e-5, difference
    save("whole.h5", old.save)
    save("weights.h5", old.save_weights)
    save_file(golden, os.path.join(DATA, "inception.safetensors"), {"made_by": f"tools/make_inception.py, Keras {keras.__version__}"})
    print(golden["inception_v3_keras.150x107.logits"])


if __name__ == "__main__":
    main()
