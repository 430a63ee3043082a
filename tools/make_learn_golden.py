"""Writes tests/data/learn.safetensors: three data sets whose classes overlap, scikit-learn's coefficients for them, and what it predicts for others.

    python3 -m venv target/sklearn
    target/sklearn/bin/pip install numpy safetensors scikit-learn==1.9.1
    target/sklearn/bin/python tools/make_learn_golden.py
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

SETS = {"few": (45, 90, 3, 3.0), "wide": (60, 160, 5, 4.0), "uneven": (120, 24, 4, 2.0)}

arrays = {}
for seed, (name, (count, features, classes, apart)) in enumerate(SETS.items()):
    random = np.random.default_rng(seed)
    centres = random.standard_normal((classes, features)) * apart / np.sqrt(features)
    # The first classes of the last set are the most frequent.
    odds = np.linspace(3, 1, classes) if name == "uneven" else np.ones(classes)
    both = []
    for part in ["train", "test"]:
        labels = np.concatenate([np.arange(classes), random.choice(classes, count - classes, p=odds / odds.sum())])
        # As behind a ReLU and a mean.
        values = np.maximum(centres[labels] + random.standard_normal((count, features)), 0).astype(np.float32)
        arrays |= {f"{name}.{part}.features": values, f"{name}.{part}.classes": labels.astype(np.int32)}
        both.append((values, labels))
    (values, labels), (others, _) = both
    for kind, weight in [("plain", None), ("balanced", "balanced")]:
        model = LogisticRegression(C=1.0, tol=1e-9, max_iter=10000, class_weight=weight).fit(values.astype(np.float64), labels)
        arrays |= {f"{name}.{kind}.weights": model.coef_.astype(np.float32), f"{name}.{kind}.biases": model.intercept_.astype(np.float32)}
        arrays[f"{name}.{kind}.predicted"] = model.predict(others).astype(np.int32)
    rest = OneVsRestClassifier(LogisticRegression(C=1.0, tol=1e-9, max_iter=10000)).fit(values.astype(np.float64), labels)
    coefficients = [(one.coef_[0], one.intercept_[0]) for one in rest.estimators_]
    arrays[f"{name}.rest.weights"] = np.stack([weights for weights, _ in coefficients]).astype(np.float32)
    arrays[f"{name}.rest.biases"] = np.array([bias for _, bias in coefficients], np.float32)
    arrays[f"{name}.rest.predicted"] = rest.predict(others).astype(np.int32)

save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, pathlib.Path(__file__).parent.parent / "tests" / "data" / "learn.safetensors")
