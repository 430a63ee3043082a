"""Writes models as people have them: every head, scale of pixels and file format, small, with what their frameworks answer.

    target/keras/bin/pip install keras-hub
    target/keras/bin/python tools/make_heads.py       # make_golden.py tells how to make that environment

Writes
    tests/data/forms/*.zst            a file for each form
    tests/data/forms.safetensors      the answer of each to the test image
    tests/data/refused/*.zst          models that are something else, and weights that do not tell enough
"""

import os
import random
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import keras_hub
import numpy as np
import tf_keras
from keras.src.applications import imagenet_utils
from safetensors.numpy import load_file, save_file
from tf_keras.src.applications import imagenet_utils as imagenet_utils_2

from oracle import DATA, SCRATCH, keep, pattern, weights_of

SIDE = 71
FORMS, REFUSED = (os.path.join(DATA, folder) for folder in ("forms", "refused"))
K3, K2 = keras.layers, tf_keras.layers


def fill(model):
    """Weights that compress well: the backbone's layers share their tables, those of the head have their own."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            fill(layer)
        elif layer.weights:
            is_backbone = layer.name.startswith(("block", "conv2d", "separable", "depthwise")) or "batch_normalization" in layer.name and layer.weights[0].shape[0] > 300
            name = "backbone" if is_backbone and "4096" not in str(layer.weights[0].shape) else layer.name.rstrip("_0123456789")
            layer.set_weights([array(name, weight, value.shape) for weight, value in zip(layer.weights, layer.get_weights())])
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()
    return model


def calibrate(form, module, image):
    """Scales each dense layer so that its values at the test image are about 1, in which no softmax saturates."""
    for layer in form.layers:
        if isinstance(layer, module.layers.Dense):
            x = module.Model(form.inputs, layer.input).predict(image, verbose=0)
            kernel, *bias = layer.get_weights()
            layer.set_weights([kernel * np.float32(2 / max(np.abs(x @ kernel).max(), 1e-9)), *bias])


def array(name, weight, shape):
    kind = weight.name.split("/")[-1].split(":")[0]
    if kind in ("count", "seed_generator_state", "mean", "variance"):
        return {"mean": np.float32([120, 110, 100]), "variance": np.float32([4000, 5000, 6000])}.get(kind, np.zeros(shape))
    values = weights_of(name, "kernel" if kind == "alpha" else kind, shape)
    return np.abs(values) if kind == "alpha" else values


def backbone(applications, pooling=None, side=SIDE, weights=None):
    return applications.Xception(weights=weights, include_top=False, input_shape=(side, side, 3), pooling=pooling)


def sequential(layers, *parts, side=SIDE, module=keras):
    return module.Sequential([module.Input((side, side, 3)), *parts])


def model(head, *front, module=keras, side=SIDE, pooling=None):
    """Front → backbone → head, a nested backbone in a functional model; the head is a function or a list of layers."""
    image = module.Input((side, side, 3))
    x = image
    for step in front:
        x = step(x)
    x = backbone(module.applications, pooling)(x)
    if callable(head):
        x = head(x)
    else:
        for layer in head:
            x = layer(x)
    return module.Model(image, x)


def joined(layers, first, second):
    def head(x):
        x = layers.Concatenate()([first()(x), second()(x)])
        return layers.Dense(4, activation="softmax")(layers.Dropout(0.5)(layers.BatchNormalization()(x)))

    return head


def flat(layers):
    """A backbone that is not nested: its layers are the model's own."""
    base = backbone(keras.applications)
    x = layers.GlobalAveragePooling2D()(base.output)
    x = layers.Dense(16, activation="relu")(x)
    return keras.Model(base.input, layers.Dense(3, activation="softmax")(layers.BatchNormalization()(x)))


def forms():
    """Name, model, and how to compile it."""
    gap, gmp, dense = K3.GlobalAveragePooling2D, K3.GlobalMaxPooling2D, K3.Dense
    softmax = lambda: dense(4, activation="softmax")
    yield "norm.keras", model([gap(), K3.BatchNormalization(), K3.Dropout(0.3), dense(32), K3.BatchNormalization(), K3.ReLU(), softmax()]), None
    yield "norm_bare.keras", model([K3.BatchNormalization(scale=False), K3.Activation("elu"), gap(), K3.BatchNormalization(center=False), K3.LeakyReLU(), softmax()]), None
    yield "norm_last.h5", model([gap(), dense(4, use_bias=False), K3.BatchNormalization(), K3.Activation("softmax")]), None
    yield "max.keras", model([gmp(), dense(32, activation="relu"), softmax()]), None
    yield "flatten.keras", model([K3.Flatten(), dense(16, activation="relu"), softmax()]), None
    yield "flatten.h5", model([K3.BatchNormalization(), K3.Flatten(), softmax()]), None
    yield "average_flatten.keras", model([K3.AveragePooling2D(2), K3.Flatten(), softmax()]), None
    yield "max_flatten.h5", model([K3.MaxPooling2D((2, 3), strides=1, padding="same"), K3.BatchNormalization(), K3.Flatten(), softmax()]), None
    yield "average_same.keras", model([K3.AveragePooling2D(2, padding="same"), gmp(), softmax()]), None
    yield "joined.keras", model(joined(K3, gap, gmp)), None
    yield "joined_max.h5", model(joined(K3, gmp, gap)), None
    yield "flat.h5", flat(K3), None
    names = ["relu", "relu6", "elu", "selu", "leaky_relu", "gelu", "silu", "tanh", "hard_sigmoid", "softplus", "sigmoid"]
    yield "arguments.keras", model([gap(), *[dense(12 + place, activation=name) for place, name in enumerate(names)], softmax()]), None
    layers = [K3.ReLU(), K3.ReLU(max_value=6.0), K3.ELU(0.7), K3.LeakyReLU(0.2), K3.PReLU(), K3.ReLU(negative_slope=0.1)]
    layers += [K3.Activation(name) for name in ("selu", "gelu", "swish", "tanh", "hard_sigmoid", "softplus", "sigmoid", "linear")]
    yield "layers.h5", model([gap(), *[part for layer in layers for part in (dense(9), layer)], dense(4), K3.Softmax()]), None
    yield "spatial.keras", model([K3.PReLU(shared_axes=[1, 2]), K3.Activation("gelu"), K3.PReLU(), K3.GaussianNoise(0.1), gap(), softmax()]), None
    functions = lambda x: keras.ops.softmax(dense(4)(keras.ops.relu(dense(8)(keras.ops.mean(x, axis=[1, 2])))))
    yield "functions.keras", model(functions), None
    yield "multi.h5", model([gap(), dense(5, activation="sigmoid")]), "binary_crossentropy"
    yield "single.keras", model([gap(), dense(64, activation="relu"), dense(1, activation="sigmoid")]), "binary_crossentropy"
    yield "regression.keras", model([gap(), dense(1)]), "mse"
    yield "regression3.h5", model([gap(), dense(3)]), keras.losses.Huber()
    yield "tanh.keras", model([gap(), dense(2, activation="tanh")]), None
    yield "logits.keras", model([gap(), dense(3)]), None
    yield "logits_multi.h5", model([gap(), dense(3)]), keras.losses.BinaryCrossentropy(from_logits=True)
    yield "features.keras", model([]), None
    yield "features_average.h5", backbone(keras.applications, "avg"), None
    yield "features_max.keras", backbone(keras.applications, "max"), None
    # What is in front of the backbone.
    mode = lambda name: lambda x: imagenet_utils.preprocess_input(x, mode=name)
    short = lambda: [gap(), softmax()]
    yield "pixels_tf.keras", model(short(), mode("tf")), None
    yield "pixels_torch.keras", model(short(), mode("torch")), None
    yield "pixels_caffe.keras", model(short(), mode("caffe")), None
    yield "pixels_unit.h5", model(short(), K3.Rescaling(1 / 255)), None
    yield "pixels_each.keras", model(short(), K3.Rescaling([1 / 128, 1 / 64, 1 / 255], [-1, -2, 0.5])), None
    yield "pixels_norm.keras", model(short(), K3.Normalization(mean=[120, 110, 100], variance=[4000, 5000, 6000])), None
    yield "pixels_trained.h5", model(short(), K3.Normalization(), K3.Rescaling(0.5)), None
    yield "pixels_arithmetic.keras", model(short(), lambda x: 1.0 - (x * 2 - 10) / 255.0), None
    # Keras 2.
    gap, gmp, dense = K2.GlobalAveragePooling2D, K2.GlobalMaxPooling2D, K2.Dense
    softmax = lambda: dense(4, activation="softmax")
    two = lambda head, *front, **more: model(head, *front, module=tf_keras, **more)
    mode = lambda name: lambda x: imagenet_utils_2.preprocess_input(x, mode=name)
    short = lambda: [gap(), softmax()]
    yield "two_torch.h5", two(short(), mode("torch")), None
    yield "two_caffe.h5", two(short(), mode("caffe")), None
    yield "two_trained.h5", two(short(), K2.Normalization()), None
    yield "two_joined.h5", two(joined(K2, gap, gmp)), None
    yield "two_norm.h5", two([gap(), K2.BatchNormalization(), dense(16, activation="hard_sigmoid"), K2.PReLU(), softmax()]), "mse"
    yield "two_multi.h5", two([K2.Flatten(), K2.Dropout(0.1), dense(3, activation="sigmoid")]), "binary_crossentropy"
    yield "two_regression.h5", two([gmp(), dense(1)]), "mean_absolute_error"
    base = backbone(tf_keras.applications, "avg")
    yield "two_sequential.h5", tf_keras.Sequential([base, dense(8, activation="elu"), K2.LeakyReLU(0.1), dense(2, activation="softmax")]), None
    # KerasHub's, the book's, models of a class of their own, and those that resize.
    hub = lambda shape: hub_backbone(keras_hub.models.XceptionBackbone, shape)
    converter = lambda size: keras_hub.layers.XceptionImageConverter(image_size=(size, size), scale=1 / 127.5, offset=-1)
    processor = keras_hub.models.XceptionImageClassifierPreprocessor(image_converter=converter(SIDE))
    yield "hub.keras", keras_hub.models.XceptionImageClassifier(hub((None, None, 3)), 4, preprocessor=processor, activation="softmax"), None
    yield "hub_max.keras", keras_hub.models.XceptionImageClassifier(hub((SIDE, SIDE, 3)), 3, pooling="max"), None
    image = keras.Input((SIDE, SIDE, 3))
    x = K3.GlobalAveragePooling2D()(hub((None, None, 3))(converter(SIDE)(image)))
    x = K3.Dense(1, activation="sigmoid")(K3.Dropout(0.25)(K3.Dense(64)(x)))
    yield "hub_book.keras", keras.Model(image, x), "binary_crossentropy"
    yield "hub_book.h5", keras.Model(image, x), None
    yield "subclassed.keras", Subclassed(), None
    image = keras.Input((None, None, 3))
    x = K3.Rescaling(1 / 127.5, -1)(K3.Resizing(SIDE, SIDE)(image))
    base = keras.applications.Xception(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3), pooling="avg")
    yield "resized.keras", keras.Model(image, K3.Dense(3, activation="softmax")(base(x))), None
    # Images of one size that the model itself makes another.
    yield "front_resize.keras", fronted(keras, (96, 80), K3.Resizing(96, 80), K3.Rescaling(1 / 127.5, -1)), None
    yield "front_crop.keras", fronted(keras, (75, 90), K3.Rescaling(1 / 127.5, -1), K3.Resizing(100, 110), K3.CenterCrop(75, 90)), None
    yield "front_aspect.h5", fronted(keras, (75, 100), K3.Resizing(75, 100, interpolation="nearest", crop_to_aspect_ratio=True)), None
    yield "front_small.keras", fronted(keras, (80, 72), K3.CenterCrop(60, 60), K3.CenterCrop(80, 72)), None
    yield "front_up.h5", fronted(tf_keras, (142, 213), K2.UpSampling2D((2, 3))), None
    yield "front_up.keras", fronted(keras, (142, 142), K3.UpSampling2D(2, interpolation="bilinear")), None
    # Written anew from the paper, layers made in another order.
    yield "own.keras", own(keras), None
    yield "own.h5", own(keras), None
    yield "own_two.h5", own(tf_keras, use_bias=True), None
    # With the changes that the paper compares, and with halves of separable convolutions as layers by themselves.
    yield "own_plain.keras", own(keras, residuals=()), None
    yield "own_relu.keras", own(keras, halves=lambda: [K3.ReLU()], use_bias=True), None
    yield "own_elu.h5", own(keras, halves=lambda: [K3.Activation("elu")]), None
    yield "own_elu_two.h5", own(tf_keras, halves=lambda: [K2.ELU()], use_bias=True), None
    yield "own_halves.keras", own(keras, halves=list, use_bias=True), None
    yield from drawn(30)


def fronted(module, size, *steps):
    """A model of images of 71×71 that other layers make an input of the backbone."""
    image = x = module.Input((SIDE, SIDE, 3))
    for step in steps:
        x = step(x)
    x = module.applications.Xception(weights=None, include_top=False, input_shape=(*size, 3))(x)
    return module.Model(image, module.layers.Dense(3, activation="softmax")(module.layers.GlobalAveragePooling2D()(x)))


def own(module, residuals=("shortcuts", "sums"), halves=None, use_bias=False):
    """Xception without Keras Applications: no names, shortcuts made last, ReLU as a layer. `halves` makes the layers between the halves of a
    separable convolution, where these are two."""
    layers, norms = module.layers, []

    def norm(x):
        norms.append(layers.BatchNormalization())
        return norms[-1](x)

    def separable(x, filters):
        if halves is None:
            return norm(layers.SeparableConv2D(filters, 3, padding="same", use_bias=use_bias)(x))
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=use_bias)(x)
        for layer in halves():
            x = layer(x)
        return norm(layers.Conv2D(filters, 1, use_bias=use_bias)(x))

    image = module.Input((SIDE, SIDE, 3))
    x = layers.ReLU()(norm(layers.Conv2D(32, 3, strides=2, use_bias=use_bias)(image)))
    x = layers.ReLU()(norm(layers.Conv2D(64, 3, use_bias=use_bias)(x)))

    def down(x, first, second, has_relu=True):
        y = separable(layers.ReLU()(x) if has_relu else x, first)
        y = separable(layers.ReLU()(y), second)
        y = layers.MaxPooling2D(3, strides=2, padding="same")(y)
        if "shortcuts" not in residuals:
            return y
        return layers.Add()([norm(layers.Conv2D(second, 1, strides=2, padding="same", use_bias=use_bias)(x)), y])

    x = down(down(down(x, 128, 128, False), 256, 256), 728, 728)
    for _ in range(8):
        y = x
        for _ in range(3):
            y = separable(layers.Activation("relu")(y), 728)
        x = layers.Add()([x, y]) if "sums" in residuals else y
    x = down(x, 728, 1024)
    x = layers.ReLU()(separable(x, 1536))
    x = layers.ReLU()(separable(x, 2048))
    form = module.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    form.norms = norms
    return form


def refused():
    """Name and model of those that are something else."""
    gap, softmax = K3.GlobalAveragePooling2D, lambda: K3.Dense(3, activation="softmax")
    image, numbers = keras.Input((SIDE, SIDE, 3)), keras.Input((5,))
    x = gap()(backbone(keras.applications)(image))
    yield "two_inputs.keras", keras.Model([image, numbers], softmax()(K3.Concatenate(name="odd")([x, numbers])))
    yield "two_outputs.keras", keras.Model(image, [softmax()(x), K3.Dense(1, name="odd")(x)])
    yield "convolution.h5", model([K3.Conv2D(8, 1, activation="relu", name="odd"), gap(), softmax()])
    yield "lstm.keras", model([K3.Reshape((9, 2048), name="odd"), K3.LSTM(4), softmax()])
    yield "lambda.h5", model([gap(), K3.Lambda(lambda x: x * 2, name="odd"), softmax()])
    yield "layer_norm.keras", model([gap(), K3.LayerNormalization(name="odd"), softmax()])
    yield "padded.keras", fronted(keras, (75, 75), K3.ZeroPadding2D(2, name="odd"))
    yield "no_residuals.h5", own(keras, residuals=("shortcuts",))
    yield "norm.weights.h5", model([gap(), K3.Dense(8), K3.BatchNormalization(), softmax()])
    yield "prelu.weights.h5", model([gap(), K3.Dense(8), K3.PReLU(), softmax()])
    yield "convolution.weights.h5", model([K3.Conv2D(8, 1), gap(), softmax()])
    yield "layer_norm.weights.h5", model([gap(), K3.LayerNormalization(), softmax()])


def hub_backbone(make, shape):
    filters = [[32, 64], [128, 128], [256, 256], [728, 728], *[[728, 728, 728]] * 8, [728, 1024], [1536, 2048]]
    return make(filters, [block in (1, 2, 3, 12) for block in range(14)], image_shape=shape)


class Subclassed(keras.Model):
    """A model whose config tells nothing."""

    def __init__(self, **more):
        super().__init__(**more)
        self.encoder = backbone(keras.applications, "avg")
        self.hidden = K3.Dense(16, activation="relu")
        self.out = K3.Dense(3, activation="softmax")
        self.build((None, SIDE, SIDE, 3))

    def build(self, shape):
        self.hidden.build((None, 2048))
        self.out.build((None, 16))
        self.built = True

    def calibrate(self, seen):
        x = self.encoder.predict(seen, verbose=0)
        for layer in (self.hidden, self.out):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * np.float32(2 / np.abs(x @ kernel).max()), bias])
            x = np.maximum(layer(x).numpy(), 0)

    def call(self, x):
        return self.out(self.hidden(self.encoder(x)))


def drawn(count):
    """Forms drawn at random from the grammar of heads."""
    for seed in range(count):
        rng = random.Random(seed)
        two = rng.random() < 0.3
        layers, module = (K2, tf_keras) if two else (K3, keras)
        names = ["relu", "elu", "selu", "gelu", "swish", "tanh", "hard_sigmoid", "softplus", "sigmoid"] + ["silu", "relu6"] * (not two)
        functions = [lambda: layers.Activation(rng.choice(names)), lambda: layers.LeakyReLU(rng.choice([0.1, 0.3])), lambda: layers.PReLU()]
        functions += [lambda: layers.ELU(0.5), lambda: layers.ReLU(max_value=6.0), lambda: layers.Activation("linear")]
        idle = [lambda: layers.Dropout(0.4), lambda: layers.GaussianNoise(0.2)]
        head = []
        for _ in range(rng.randrange(3)):
            step = rng.choice([layers.BatchNormalization, *functions, lambda: layers.SpatialDropout2D(0.2), lambda: layers.MaxPooling2D(2, strides=1), lambda: layers.AveragePooling2D(2, padding="same")])
            head.append(step())
        pools = [layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D]
        pool = rng.choice([*pools, layers.Flatten, "both"])
        head.append(pool() if pool != "both" else rng.sample(pools, 2))
        for _ in range(rng.randrange(5)):
            step = rng.choice([layers.BatchNormalization, *functions, *idle, lambda: layers.Dense(rng.randrange(3, 40), activation=rng.choice([None, *names]), use_bias=rng.random() < 0.8)])
            head.append(step())
        units, last = rng.choice([(1, "sigmoid"), (1, None), (3, "softmax"), (6, "sigmoid"), (5, None), (2, "tanh"), (9, "softmax")])
        head.append(layers.Dense(units, activation=last))
        if rng.random() < 0.3:
            head.insert(-1, layers.BatchNormalization())

        def build(x):
            for layer in head:
                if isinstance(layer, list):
                    x = layers.Concatenate()([pool()(x) for pool in layer])
                else:
                    x = layer(x)
            return x

        front = rng.choice([[], [layers.Rescaling(1 / 127.5, -1)], [layers.Rescaling(1 / 255)], [layers.Normalization()]])
        yield f"drawn_{seed:02}.{'h5' if two or rng.random() < 0.4 else 'keras'}", model(build, *front, module=module), rng.choice([None, "mse"])


def main():
    os.makedirs(FORMS, exist_ok=True)
    golden = {}
    only = sys.argv[1:]
    image = pattern(SIDE, SIDE)[None].astype(np.float32)
    for name, form, loss in forms():
        if only and not any(part in name for part in only):
            continue
        fill(form)
        # Layers of one shape have the same tables: their means tell them apart.
        for place, norm in enumerate(getattr(form, "norms", [])):
            gamma, beta, mean, variance = norm.get_weights()
            norm.set_weights([gamma, beta, np.full_like(mean, 0.02 * (place % 7 - 3)), variance])
        if loss:
            form.compile("sgd", loss)
        text = "" if isinstance(form, Subclassed) else form.to_json()
        told = any(part in text for part in ("Rescaling", "ImageConverter", '"Normalization"', "TrueDivide", "truediv", "Stack", "getitem"))
        seen = image if told else image / np.float32(127.5) - 1
        if isinstance(form, Subclassed):
            form.calibrate(seen)
        else:
            # A preprocessor is not part of the graph.
            inner = image / np.float32(127.5) - 1 if name == "hub.keras" else seen
            calibrate(form, tf_keras if isinstance(form, tf_keras.Model) else keras, inner)
        answer = form.predict(seen, verbose=0)[0]
        path = os.path.join(SCRATCH, name)
        form.save(path)
        golden[name] = np.ascontiguousarray(answer.ravel(), dtype=np.float32)
        print(name, answer.shape, answer.ravel()[:5])
        keep(path, FORMS)
        os.remove(path)
    os.makedirs(REFUSED, exist_ok=True)
    for name, form in refused():
        if only and not any(part in f"refused/{name}" for part in only):
            continue
        fill(form)
        path = os.path.join(SCRATCH, name)
        (form.save_weights if "weights" in name else form.save)(path)
        keep(path, REFUSED)
        os.remove(path)
    if only:
        golden = load_file(os.path.join(DATA, "forms.safetensors")) | golden
    if golden:
        save_file(golden, os.path.join(DATA, "forms.safetensors"), {"made_by": f"tools/make_heads.py, Keras {keras.__version__}"})


if __name__ == "__main__":
    main()
