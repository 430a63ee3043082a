"""Writes tests/data/activations.csv: values of Keras's activations, as `Activation` of src/ops/ computes them.
Run it when another version of Keras is to be the oracle.

    python3 -m venv target/keras
    target/keras/bin/pip install keras==3.15.0 tensorflow-cpu==2.21.0
    target/keras/bin/python tools/make_activations_golden.py
"""

import csv
import os
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np

X = [-100.0, -20.0, -6.0, -3.0, -2.9, -1.0, -0.5, -1e-3, 0.0, 1e-3, 0.5, 1.0, 2.4, 3.0, 6.0, 6.5, 20.0, 100.0]

# Names of the operation's functions, their parameter, and Keras's way to say it. Keras 2's hard sigmoid is 0.2·x + 0.5.
CASES = [
    ("relu", 0.0, keras.activations.relu),
    ("relu6", 0.0, keras.activations.relu6),
    ("elu", 1.0, keras.activations.elu),
    ("elu", 0.5, lambda x: keras.activations.elu(x, alpha=0.5)),
    ("selu", 0.0, keras.activations.selu),
    ("leaky_relu", 0.3, lambda x: keras.activations.leaky_relu(x, negative_slope=0.3)),
    ("leaky_relu", 0.01, lambda x: keras.activations.leaky_relu(x, negative_slope=0.01)),
    ("gelu", 0.0, lambda x: keras.activations.gelu(x, approximate=False)),
    ("gelu_tanh", 0.0, lambda x: keras.activations.gelu(x, approximate=True)),
    ("silu", 0.0, keras.activations.silu),
    ("tanh", 0.0, keras.activations.tanh),
    ("sigmoid", 0.0, keras.activations.sigmoid),
    ("hard_sigmoid", 1 / 6, keras.activations.hard_sigmoid),
    ("hard_sigmoid", 0.2, lambda x: keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)),
    ("softplus", 0.0, keras.activations.softplus),
]

path = Path(__file__).resolve().parent.parent / "tests/data/activations.csv"
with path.open("w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["function", "parameter", *X])
    for name, parameter, function in CASES:
        values = keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(np.array(X, np.float32))))
        writer.writerow([name, np.float32(parameter), *values])
