"""Writes the golden values of tests/data with Keras and PIL as oracles. Users never need this; run it once when
the network's definition or the fixtures change, and commit what it writes.

    python3 -m venv target/keras
    target/keras/bin/pip install keras==3.15.0 tensorflow-cpu==2.21.0 tf_keras==2.21.0 pillow safetensors zstandard
    npm run setup                                             # fetches the kitchenware model
    cargo run --release --example photo_tensors               # writes target/golden/photos.safetensors
    target/keras/bin/python tools/make_golden.py

Writes
    tests/data/*.zst            weight files of every layout that Keras has had, all with the same weights
    tests/data/golden.safetensors   layer outputs of that network at 150 and 299 pixels; PIL's resized images;
                                logits of the kitchenware model on its photos, class activation maps of two of them
"""

import functools
import os
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import h5py
import keras
import numpy as np
import tensorflow as tf
import tf_keras
from PIL import Image, ImageOps
from safetensors.numpy import load_file, save_file

from oracle import DATA, DOWN, KITCHENWARE, SCRATCH, keep, pattern, record, weights_of


def conv_layers():
    """Our layer names in network order, with the index among Keras 1's batch norms (a shortcut's comes first)."""
    names = ["block1_conv1", "block1_conv2"]
    for block in range(2, 14):
        names += [f"block{block}_sepconv{i + 1}" for i in range(2 if block in DOWN else 3)]
        if block in DOWN:
            names.append(f"block{block}_shortcut")
    return names + ["block14_sepconv1", "block14_sepconv2"]


def our_names(layers):
    """Maps Keras layers that hold weights to our names."""
    shortcuts = iter(f"block{block}_shortcut" for block in DOWN)
    norms = iter(f"block{block}_shortcut" for block in DOWN)
    for layer in layers:
        if not layer.weights:
            continue
        if layer.name.startswith("conv2d"):
            yield layer, next(shortcuts)
        elif layer.name.startswith("batch_normalization"):
            yield layer, next(norms)
        else:
            yield layer, layer.name.removesuffix("_bn")


def fill(model):
    """Gives a Keras model, nested ones included, the weights of `weights_of`."""
    nested = [layer for layer in model.layers if hasattr(layer, "layers")]
    for inner in nested:
        fill(inner)
    for layer, name in our_names([layer for layer in model.layers if layer not in nested]):
        arrays = [weight.name.split("/")[-1].split(":")[0] for weight in layer.weights]
        layer.set_weights([weights_of(name, array, w.shape) for array, w in zip(arrays, layer.get_weights())])
    return model


def keras1_file(path):
    """The official ImageNet file's layout: Keras 1's names, numbered by creation."""
    counts = {"convolution2d": 0, "separableconvolution2d": 0}
    order = conv_layers()
    norm_order = list(order)
    for at, name in enumerate(order):
        if name.endswith("shortcut"):
            norm_order[at - 2 : at + 1] = [name, order[at - 2], order[at - 1]]
    shapes = {}
    model = keras.applications.Xception(weights=None)
    for layer, name in our_names(model.layers):
        for weight in layer.weights:
            shapes[name, weight.name] = tuple(weight.shape)
    with h5py.File(path, "w") as file:
        def write(group, ours, arrays):
            for suffix, array in arrays:
                file[f"{group}/{group}_{suffix}:0"] = weights_of(ours, array, shapes[ours, array])

        for name in order:
            separable = "sepconv" in name
            kind = "separableconvolution2d" if separable else "convolution2d"
            counts[kind] += 1
            arrays = [("depthwise_kernel",) * 2, ("pointwise_kernel",) * 2] if separable else [("W", "kernel")]
            write(f"{kind}_{counts[kind]}", name, arrays)
            norm = [("gamma",) * 2, ("beta",) * 2, ("running_mean", "moving_mean"), ("running_std", "moving_variance")]
            write(f"batchnormalization_{norm_order.index(name) + 1}", name, norm)
        write("dense_2", "predictions", [("W", "kernel"), ("b", "bias")])


def head(layers):
    """Dense layers whose names are not the ones that Keras 3 gives to their groups, one without a bias."""
    return [
        layers.Dense(64, activation="relu", name="dense_1"),
        layers.Dropout(0.2),
        layers.Dense(64, activation="relu", name="dense", use_bias=False),
        layers.Dense(7, name="predictions"),
    ]


def sigmoid():
    """A head of one output, the probability of the second of two classes."""
    dense = keras.layers.Dense
    layers = [dense(64, activation="relu", name="hidden"), dense(1, activation="sigmoid", name="predictions")]
    return fill(keras.Sequential([keras.Input((2048,)), *layers]))


def fixtures():
    def path(name):
        return os.path.join(SCRATCH, name)

    plain = fill(keras.applications.Xception(weights=None))
    plain.save_weights(path("keras3.weights.h5"))
    plain.save(path("keras3.h5"))
    # Keras 3: augmentation, two rescalings, a nested backbone.
    layers = keras.layers
    backbone = keras.applications.Xception(weights=None, include_top=False, input_shape=(150, 150, 3), pooling="avg")
    augment = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
    rescale = [layers.Rescaling(1 / 255.0), layers.Rescaling(2.0, -1.0)]
    model = keras.Sequential([keras.Input((150, 150, 3)), augment, *rescale, backbone, *head(layers), layers.Softmax()])
    fill(model).save(path("sequential.keras"))
    keras1_file(path("keras1.h5"))
    # Keras 2: preprocessing as arithmetic, a nested backbone.
    layers = tf_keras.layers
    backbone = tf_keras.applications.Xception(weights=None, include_top=False, input_shape=(150, 150, 3))
    image = tf_keras.Input((150, 150, 3))
    x = backbone(tf_keras.applications.xception.preprocess_input(image), training=False)
    x = layers.GlobalAveragePooling2D()(x)
    for layer in [*head(layers), layers.Activation("softmax")]:
        x = layer(x)
    model = fill(tf_keras.Model(image, x))
    model.compile("adam", "categorical_crossentropy")
    model.save(path("keras2.h5"))
    # The same model in two files: a backbone without its top, and a head.
    fill(keras.applications.Xception(weights=None, include_top=False, input_shape=(150, 150, 3))).save(path("notop.h5"))
    model = fill(keras.Sequential([keras.Input((2048,)), *head(keras.layers), keras.layers.Softmax()]))
    heads = ["head.keras", "head.h5", "head.weights.h5"]
    for name in heads:
        (model.save_weights if "weights" in name else model.save)(path(name))
    heads += ["sigmoid.keras", "sigmoid.weights.h5"]
    sigmoid().save(path(heads[-2]))
    sigmoid().save_weights(path(heads[-1]))
    for name in ["keras3.weights.h5", "keras3.h5", "sequential.keras", "keras1.h5", "keras2.h5", "notop.h5", *heads]:
        keep(path(name))


def network(golden):
    for size in (150, 299):
        model = fill(keras.applications.Xception(weights=None, input_shape=(size, size, 3), classifier_activation=None))
        adds = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)]
        outputs = {"block1_conv1": "block1_conv1_act", "block1_conv2": "block1_conv2_act"}
        for block, add in zip(range(2, 14), adds):
            outputs[f"block{block}_pool" if block in DOWN else f"block{block}_sepconv3"] = add
        outputs |= {f"block14_sepconv{i}": f"block14_sepconv{i}_act" for i in (1, 2)}
        outputs |= {"avg_pool": "avg_pool", "predictions": "predictions"}
        probe = keras.Model(model.input, [model.get_layer(name).output for name in outputs.values()])
        image = pattern(size, size)[None].astype(np.float32) / 127.5 - 1
        for name, value in zip(outputs, probe.predict(image, verbose=0)):
            record(golden, f"{size}.{name}", value[0])
            if name == "avg_pool":
                golden[f"{size}.sigmoid"] = sigmoid().predict(value, verbose=0)[0]
        if size == 150:
            explained(golden, "150", probe(image)[-3][0], lambda mean: model.get_layer("predictions")(mean), [0, 7, 999])


def explained(golden, name, features, head, classes):
    """Class activation maps: each pixel's features times what the logit changes with their mean, by automatic differentiation."""
    for index in classes:
        mean = tf.reduce_mean(features, axis=(0, 1))[None]
        with tf.GradientTape() as tape:
            tape.watch(mean)
            logit = head(mean)[0, index]
        golden[f"explain.{name}.{index}"] = tf.reduce_sum(features * tape.gradient(logit, mean)[0], -1).numpy()


def resized(golden):
    filters = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}
    for width, height in [(200, 133), (90, 120), (20, 15)]:
        image = Image.fromarray(pattern(height, width))
        for name, filter in filters.items():
            for fit in ("squash", "crop"):
                size = (30, 24)
                out = image.resize(size, filter) if fit == "squash" else ImageOps.fit(image, size, filter)
                golden[f"resize.{width}x{height}.{name}.{fit}"] = np.asarray(out)
    # timm: resize, then crop the centre.
    for side in (20, 150):
        image = Image.fromarray(pattern(side, side)).resize((36, 36), Image.BICUBIC)
        golden[f"resize.{side}x{side}.bicubic.centre"] = np.asarray(image.crop((3, 3, 33, 33)))


def kitchen(golden):
    """Logits on the tensors that our own decoder and nearest resize make, which PIL's must resemble."""
    path = os.path.join(SCRATCH, "photos.safetensors")
    if not os.path.exists(path):
        sys.exit(f"{path} is missing: this file's first lines tell how to make it")
    model = keras.models.load_model(os.path.join(KITCHENWARE, "kitchenware.keras"), compile=False)
    for name, tensor in sorted(load_file(path).items()):
        image = Image.open(os.path.join(KITCHENWARE, "photos", f"{name}.jpg")).convert("RGB")
        difference = np.abs(np.asarray(image.resize((150, 150), Image.NEAREST)).astype(int) - tensor).mean()
        golden[f"kitchen.{name}"] = model.predict(tensor[None] / np.float32(127.5) - 1, verbose=0)[0]
        print(name, golden[f"kitchen.{name}"], f"PIL's pixels differ by {difference:.2f} on average")
        assert difference < 1
        if name in ("0009", "0412"):
            backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
            behind = model.layers[model.layers.index(backbone) + 1 :]
            dense = [layer for layer in behind if isinstance(layer, keras.layers.Dense)]
            features = backbone(tensor[None] / np.float32(127.5) - 1)[0]
            head = lambda mean: functools.reduce(lambda x, layer: layer(x), dense, mean)
            explained(golden, f"kitchen.{name}", features, head, range(6))


def main():
    os.makedirs(SCRATCH, exist_ok=True)
    os.makedirs(DATA, exist_ok=True)
    golden = {}
    fixtures()
    network(golden)
    resized(golden)
    kitchen(golden)
    save_file(golden, os.path.join(DATA, "golden.safetensors"), {"made_by": f"tools/make_golden.py, Keras {keras.__version__}"})


if __name__ == "__main__":
    main()
