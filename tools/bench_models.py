"""Writes what `npm run bench` compares: one model in each runtime's own format, one photo, and Keras's answer to it.

    python tools/bench_models.py bench/models/299 299      # in the environment that bench/requirements.txt makes

The weights are the trained kitchenware model's, or in a folder that begins with inception_v3 those of npm's nsfwjs, which
tests/e2e/nsfwjs.mjs takes out of its package. Up to their means these networks are convolutional, so they fit any input size. Each file is
what the runtime's own converter makes of the model by default. Writes, in the folder:

    model.keras     the model for this input size, which `xception convert` reads
    model.onnx      for onnxruntime-web, by Keras's own export (tf2onnx)
    tfjs/           for TensorFlow.js, a graph model by its converter
    model.tflite    for LiteRT, by TensorFlow Lite's converter, from a frozen graph: it cannot read Keras 3's models
    photo.png       the photo, resized
    golden.json     the logits of Keras
"""

import json
import os
import re
import shutil
import sys
import types

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
KITCHENWARE = os.path.join(ROOT, "models", "kitchenware")
PHOTO = "0000.jpg"


def rebuild(size):
    """The kitchenware model for photos of another size."""
    trained = keras.models.load_model(os.path.join(KITCHENWARE, "kitchenware.keras"), compile=False)
    backbone = keras.applications.Xception(weights=None, include_top=False, input_shape=(size, size, 3))
    backbone.set_weights(trained.get_layer("xception").get_weights())
    backbone.trainable = False
    image = keras.Input((size, size, 3), name="image")
    values = keras.layers.GlobalAveragePooling2D()(backbone(image, training=False))
    for name in ("dense", "dense_1"):
        values = keras.layers.Dense.from_config(trained.get_layer(name).get_config())(values)
    model = keras.Model(image, values)
    for name in ("dense", "dense_1"):
        model.get_layer(name).set_weights(trained.get_layer(name).get_weights())
    return model


def inception(size):
    """The Inception V3 of nsfwjs, from its TensorFlow.js files, without the softmax at its end."""
    folder = os.path.join(ROOT, "bench", "models", "nsfwjs")
    with open(os.path.join(folder, "model.json")) as file:
        described = json.load(file)
    (group,) = described["weightsManifest"]
    shards = (open(os.path.join(folder, path), "rb").read() for path in group["paths"])
    data, arrays, at = np.frombuffer(b"".join(shards), np.uint8), {}, 0
    for entry in group["weights"]:
        how, count = entry["quantization"], int(np.prod(entry["shape"]))
        assert how["dtype"] == "uint8"
        values = data[at : at + count] * how["scale"] + how["min"]
        arrays[entry["name"]], at = values.astype(np.float32).reshape(entry["shape"]), at + count
    keras.utils.clear_session()
    backbone = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(size, size, 3))
    backbone.trainable = False
    for layer in backbone.layers:
        kind, number = re.fullmatch(r"(conv2d|.*?)(?:_(\d+))?", layer.name).groups()
        # Theirs are numbered from 1.
        of = lambda array: arrays[f"{kind}_{int(number or 0) + 1}/{array}"]
        if kind == "conv2d":
            layer.set_weights([of("kernel")])
        elif kind == "batch_normalization":
            layer.set_weights([of("beta"), of("moving_mean"), of("moving_variance")])
    image = keras.Input((size, size, 3), name="image")
    values = keras.layers.GlobalAveragePooling2D()(backbone(image, training=False))
    dense = [layer["config"] for layer in described["modelTopology"]["model_config"]["config"]["layers"] if layer["class_name"] == "Dense"]
    layers = []
    for config in dense:
        activation = None if config is dense[-1] else config["activation"]
        layers.append(keras.layers.Dense(config["units"], activation=activation))
        values = layers[-1](values)
    model = keras.Model(image, values)
    for layer, config in zip(layers, dense):
        layer.set_weights([arrays[f"{config['name']}/kernel"], arrays[f"{config['name']}/bias"]])
    return model


def write_tfjs(model, folder):
    """The converter imports packages for kinds of models that this is none of; two of them would be a gigabyte."""
    for name in ("tensorflow_decision_forests", "tensorflow_hub", "jax", "jax.experimental", "jax.experimental.jax2tf", "flax"):
        sys.modules.setdefault(name, types.ModuleType(name))
    from tensorflowjs.converters.tf_saved_model_conversion_v2 import convert_tf_saved_model

    saved = f"{folder}.saved"
    model.export(saved, verbose=False)
    convert_tf_saved_model(saved, folder)
    shutil.rmtree(saved)


def write_tflite(model, size, path):
    function = tf.function(lambda image: model(image, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, size, size, 3), tf.float32, name="image"))
    frozen = convert_variables_to_constants_v2(concrete)
    names = [[tensor.op.name for tensor in tensors] for tensors in (frozen.inputs, frozen.outputs)]
    graph = f"{path}.pb"
    tf.io.write_graph(frozen.graph, os.path.dirname(path), os.path.basename(graph), as_text=False)
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(graph, *names)
    with open(path, "wb") as file:
        file.write(converter.convert())
    os.remove(graph)


def main():
    folder, size = os.path.join(ROOT, sys.argv[1]), int(sys.argv[2])
    os.makedirs(folder, exist_ok=True)
    in_folder = lambda name: os.path.join(folder, name)
    model = inception(size) if os.path.basename(folder).startswith("inception_v3") else rebuild(size)
    model.save(in_folder("model.keras"))
    photo = Image.open(os.path.join(KITCHENWARE, "photos", PHOTO)).convert("RGB").resize((size, size), Image.BILINEAR)
    photo.save(in_folder("photo.png"))
    logits = model.predict(np.asarray(photo)[None] / np.float32(127.5) - 1, verbose=0)[0]
    model.export(in_folder("model.onnx"), format="onnx", verbose=False)
    write_tflite(model, size, in_folder("model.tflite"))
    write_tfjs(model, in_folder("tfjs"))
    # Written last: where it is, everything is.
    with open(in_folder("golden.json"), "w") as file:
        json.dump({"size": size, "photo": PHOTO, "keras": keras.__version__, "logits": logits.tolist()}, file)


main()
