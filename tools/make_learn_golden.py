"""Writes tests/data/learn.safetensors: data sets, scikit-learn's coefficients for three of them, and what it predicts for others.

Three are points whose classes overlap. Three are made of photos: parts of kitchenware, of which the other examples are other photos; small parts
of five pictures; and parts of all, darker, as they are, or brighter. Their features are those of the kitchenware model, every fourth.

    python3 -m venv target/sklearn
    target/sklearn/bin/pip install numpy safetensors pillow scikit-learn==1.9.1
    target/sklearn/bin/python tools/make_learn_golden.py
"""

import pathlib
import subprocess

import numpy as np
from PIL import Image, ImageEnhance
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier

ROOT = pathlib.Path(__file__).parent.parent
SETS = {"few": (45, 90, 3, 3.0), "wide": (60, 160, 5, 4.0), "uneven": (120, 24, 4, 2.0)}
KITCHEN = {"cup": ["0000 0009 0020", "0299 0403 0422"], "plate": ["0004 0192 0385", "0002 0026"], "spoon": ["0001 0024", "0207"]}
PICTURES = ["astronaut", "chelsea", "coffee", "flower", "temple"]
EACH = 12


def cut(picture, random, least, most):
    """A part of a picture, whose sides are shares of its own."""
    sides = [int(side * random.uniform(least, most)) for side in picture.size]
    x, y = [int(random.uniform(0, whole - side)) for whole, side in zip(picture.size, sides)]
    return picture.crop((x, y, x + sides[0], y + sides[1])).resize((150, 150))


def photos(name, of, random):
    """Photos of each class, to learn (0) or to predict (1)."""
    kitchen = lambda number: Image.open(ROOT / f"models/kitchenware/photos/{number}.jpg").convert("RGB")
    picture = lambda name: Image.open(ROOT / f"www/samples/{name}.jpg").convert("RGB")
    pick = lambda names: names[random.integers(len(names))]
    if name == "kitchenware":
        return {label: [cut(kitchen(pick(numbers[of].split())), random, 0.3, 0.6) for _ in range(EACH)] for label, numbers in KITCHEN.items()}
    if name == "pictures":
        return {label: [cut(picture(label), random, 0.08, 0.16) for _ in range(EACH)] for label in PICTURES}
    light = lambda factor: ImageEnhance.Brightness(cut(picture(pick(PICTURES)), random, 0.2, 0.5)).enhance(factor * random.uniform(0.8, 1.25))
    return {label: [light(factor) for _ in range(EACH)] for label, factor in {"bright": 2.5, "dark": 0.2, "normal": 0.8}.items()}


def embeddings(pictures):
    """The features of pictures, by this project's CPU backend."""
    folder = ROOT / "target/learn"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures):
        picture.save(path)
    command = ["cargo", "run", "--release", "--quiet", "--example", "photo_features", "--", *map(str, paths)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    return np.array([[float(value) for value in line.split()] for line in lines], np.float32)[:, ::4]


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

for seed, name in enumerate(["kitchenware", "pictures", "light"]):
    random = np.random.default_rng(100 + seed)
    both = []
    for of, role in enumerate(["train", "test"]):
        classes = photos(name, of, random)
        values = embeddings([picture for pictures in classes.values() for picture in pictures])
        labels = np.repeat(np.arange(len(classes)), EACH)
        arrays |= {f"{name}.{role}.features": values, f"{name}.{role}.classes": labels.astype(np.int32)}
        both.append((values, labels))
    (values, labels), (others, right) = both
    for kind, model in [
        ("balanced", LogisticRegression(C=1.0, tol=1e-9, max_iter=10000, class_weight="balanced")),
        ("neighbours", KNeighborsClassifier(5, metric="cosine", algorithm="brute")),
    ]:
        predicted = model.fit(values.astype(np.float64), labels).predict(others.astype(np.float64))
        arrays[f"{name}.{kind}.predicted"] = predicted.astype(np.int32)
        print(name, kind, f"{(predicted == right).sum()} of {len(right)}")

save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, ROOT / "tests/data/learn.safetensors")
