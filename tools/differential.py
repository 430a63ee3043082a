"""Compares our readers of weights with h5py, safetensors and PyTorch (`weights_only`) on random files: what both read must be equal.
Half of the files are written by those libraries, with random layouts, dtypes, compression and views; the other half are such files with
damaged bytes. Differences are kept in target/differential and end the run with an error.

    python3 -m venv target/readers
    target/readers/bin/pip install h5py==3.16.0 safetensors numpy torch
    cargo build --release --example arrays
    target/readers/bin/python tools/differential.py [files] [seed]
"""

import collections
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import warnings

import h5py
import numpy as np
import safetensors.torch
import torch

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = ROOT / "target" / "differential"
TOOL = ROOT / "target" / "release" / "examples" / "arrays"
KINDS = ["h5", "pth", "safetensors"]
BATCH = 50
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
OTHERS = [torch.int64, torch.int8, torch.bool, torch.complex64]


def values(rng, shape, dtype=np.float32):
    return (np.random.default_rng(rng.getrandbits(32)).standard_normal(shape) * 100).astype(dtype)


def shape(rng, least=1):
    return tuple(rng.randint(1, 6) for _ in range(rng.randint(least, 4)))


def write_h5(rng, path):
    # HDF5 2.0's own layout of chunks is refused.
    libver = rng.choice(["earliest", ("earliest", "v110"), ("v108", "v112"), ("v112", "v112")])
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["backend"] = rng.choice(["tensorflow", np.bytes_("torch"), 7])
        for number in range(rng.randint(1, 12)):
            group = rng.choice([f"p_re_lu_{number}", f"a/b_{number}", f"layers/p_re_lu_{number}/vars", f"model_weights/x{number}/x{number}"])
            options = {}
            if rng.random() < 0.5:
                options["chunks"] = True
                options |= rng.choice([{}, {"compression": "gzip", "compression_opts": rng.randint(1, 9)}, {"shuffle": True, "compression": "gzip"}])
                options |= rng.choice([{}, {"fletcher32": True}])
            dtype = rng.choice(["<f4", "<f4", "<f4", "<f8", ">f4", ">f8", "<f2", "<i4"])
            sides = shape(rng)
            if "chunks" in options:
                options["chunks"] = tuple(rng.randint(1, side) for side in sides)
                # hdf5-pure does not list chunks of several unlimited sides in files of the second kind.
                options["maxshape"] = rng.choice([None, sides, tuple(None for _ in sides) if libver[0][0] != "v" else None])
            name = f"{group}/{'0' if group.endswith('vars') else 'alpha:0'}"
            if "chunks" not in options and rng.random() < 0.1:
                # Parts that nobody wrote have the fill value. Ours refuses chunks that are not there.
                dataset = file.create_dataset(name, sides, dtype, fillvalue=rng.choice([0, 1.5]), **options)
                dataset[: max(1, sides[0] // 2)] = 3
            else:
                file.create_dataset(name, data=values(rng, sides, dtype), **options)
            if rng.random() < 0.1:
                # hdf5-pure refuses files with soft links in groups of the first kind, which Keras never makes.
                file[f"linked_{number}/alpha"] = h5py.SoftLink(f"/{name}") if libver[0] == "v112" else file[name]


def write_torch(rng, path):
    shared = torch.tensor(values(rng, (6, 6, 6)))

    def tensor():
        dtype = rng.choice(FLOATS * 3 + OTHERS)
        made = torch.tensor(values(rng, shape(rng, 0))).to(dtype)
        kind = rng.randrange(8)
        if kind == 0:
            return shared[rng.randint(0, 5)]
        if kind == 1:
            return shared.permute(2, 0, 1)[1:, ::2]
        if kind == 2:
            return made.t() if made.dim() == 2 else made
        if kind == 3:
            return made.expand(3, *made.shape)
        if kind == 4:
            return torch.nn.Parameter(made) if made.is_floating_point() else made
        if kind == 5 and made.dim() == 4:
            return made.to(memory_format=torch.channels_last)
        return made

    made = collections.OrderedDict((f"{rng.choice(['conv', 'fc', 'block.1'])}.{number}.weight", tensor()) for number in range(rng.randint(1, 12)))
    saved = rng.choice([made, {"state_dict": made, "epoch": 7}, dict(made), {"model": {"inner": dict(made)}, "list": [tensor(), 3]}])
    torch.save(saved, path, _use_new_zipfile_serialization=rng.random() < 0.7, pickle_protocol=rng.choice([2, 2, 4]))


def write_safetensors(rng, path):
    dtypes = FLOATS * 3 + [torch.int64, torch.int8, torch.bool]
    tensors = {f"block{number}.weight": torch.tensor(values(rng, shape(rng, 0))).to(rng.choice(dtypes)) for number in range(rng.randint(1, 12))}
    safetensors.torch.save_file(tensors, path, metadata=rng.choice([None, {"format": "pt"}]))


WRITERS = {"h5": write_h5, "pth": write_torch, "safetensors": write_safetensors}


def damage(rng, data):
    data = bytearray(data)
    # Most of what matters is at the beginning of an HDF5 or safetensors file, and at the end of a zip archive.
    place = lambda: rng.choice([rng.randrange(len(data)), rng.randrange(min(len(data), 700)), max(0, len(data) - 1 - rng.randrange(900))])
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = place()
        kind = rng.randrange(5)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice([0, 1, 2, 8, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            length = rng.choice([1, 2, 4, 8])
            source = place()
            data[at : at + length] = data[source : source + length]
        elif kind == 3:
            number = rng.choice([1, 2, 3, 4, 7, 16, 255, 65536])
            data[at : at + 2] = number.to_bytes(8, "little")[:2]
        else:
            # Digits of a shape or an offset in JSON, and of names in pickles.
            digits = [index for index, byte in enumerate(data[:1500]) if 48 <= byte <= 57]
            if digits:
                data[rng.choice(digits)] = rng.randrange(48, 58)
    return bytes(data)


def is_damaged(path):
    return int(os.path.basename(path).split(".")[0]) % 6 >= 3


def found(array):
    array = np.asarray(array, "<f4", order="C")
    return [list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]


def oracle(path):
    """The floating-point arrays that the other library reads; none of values that are no numbers, nor h5py's of float16, which ours refuses."""
    if path.endswith(".h5"):
        arrays = {}

        def visit(group, prefix, depth):
            for name in group:
                item = group.get(name)
                if isinstance(item, h5py.Group) and depth < 20:
                    visit(item, f"{prefix}/{name}", depth + 1)
                elif isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.shape is not None and item.dtype.itemsize > 2:
                    if item.size > 1 << 24:
                        continue
                    try:
                        arrays[f"{prefix}/{name}"] = item[()]
                    except OSError:
                        pass

        with h5py.File(path, "r") as file:
            visit(file, "", 0)
    elif path.endswith(".safetensors"):
        arrays = {name: tensor.float().numpy() for name, tensor in safetensors.torch.load_file(path).items() if tensor.is_floating_point()}
    else:
        arrays = {}

        def walk(value, name):
            if isinstance(value, torch.Tensor):
                if value.is_floating_point() and value.dtype in FLOATS and value.numel() < 1 << 24:
                    arrays[name] = value.detach().float().numpy()
            elif isinstance(value, dict):
                for key, inner in value.items():
                    walk(inner, f"{name}.{key}" if name else str(key))
            elif isinstance(value, (list, tuple)):
                for index, inner in enumerate(value):
                    walk(inner, f"{name}.{index}" if name else str(index))

        # Of protocols that PyTorch writes, `weights_only` reads the second alone; whole files are our own.
        walk(torch.load(path, map_location="cpu", weights_only=is_damaged(path)), "")
    return {name: found(array) for name, array in arrays.items() if np.isfinite(array).all()}


def serve():
    """Answers a path a line; the other libraries crash on some files, and take a process with them."""
    warnings.simplefilter("ignore")
    for path in sys.stdin:
        try:
            print(json.dumps({"arrays": oracle(path.strip())}), flush=True)
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:200]}), flush=True)


class Oracle:
    """Another process, started again where it ended."""

    def __init__(self):
        self.process = None

    def ask(self, path):
        if self.process is None:
            command = ["timeout", "600", sys.executable, __file__, "serve"]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if answer:
            return json.loads(answer)
        self.process = None
        return {"error": "crash"}


def compare(ours, theirs, written):
    """What differs. Of a damaged file, of which `written` are the arrays before, one reader may have arrays that the other refuses, and ours
    may have found what was written where theirs did not."""
    if "error" in ours or "error" in theirs:
        return []
    for name, (sides, hashed) in ours["arrays"].items():
        if not isinstance(hashed, str):
            if written is None and name in theirs["arrays"]:
                yield f"{name}: {hashed}"
            continue
        if name not in theirs["arrays"]:
            if written is not None:
                continue
            yield f"{name} is ours alone: {sides}"
        elif [sides, hashed] not in (theirs["arrays"][name], (written or {}).get(name)):
            yield f"{name}: {[sides, hashed]}, theirs {theirs['arrays'][name]}"


def main():
    count, seed = (list(map(int, sys.argv[1:])) + [3000, 1][len(sys.argv) - 1 :])[:2]
    FOLDER.mkdir(parents=True, exist_ok=True)
    other, tally, differences = Oracle(), collections.Counter(), 0
    for start in range(0, count, BATCH):
        paths, written = [], {}
        for index in range(start, min(start + BATCH, count)):
            rng = random.Random(seed << 32 | index)
            kind = KINDS[index % 3]
            path = FOLDER / f"{index}.{kind}"
            WRITERS[kind](rng, path)
            if is_damaged(str(path)):
                written[str(path)] = other.ask(path).get("arrays", {})
                path.write_bytes(damage(rng, path.read_bytes()))
            paths.append(str(path))
        output = subprocess.run([TOOL, *paths], capture_output=True, text=True, check=True).stdout
        for line in output.splitlines():
            ours = json.loads(line)
            path, theirs = ours["file"], other.ask(ours["file"])
            state = "damaged" if is_damaged(path) else "whole"
            verdict = ["read" if "arrays" in one else "refused" for one in (ours, theirs)]
            tally[path.rsplit(".", 1)[1], state, f"ours {verdict[0]}", f"theirs {verdict[1]}"] += 1
            wrong = list(compare(ours, theirs, written.get(path)))
            if state == "whole" and verdict[0] == "refused":
                wrong.append(f"ours refuses: {ours['error']}")
            if wrong:
                differences += 1
                print(path, *wrong, sep="\n  ")
            else:
                os.remove(path)
    for key, number in sorted(tally.items()):
        print(f"{number:7}  {', '.join(key)}")
    if differences > 0:
        sys.exit(f"{differences} files differ")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
