"""Writes timm's aligned Xceptions and its Inception V3 with random weights, and what timm computes with them.

    target/keras/bin/pip install torch timm           # make_golden.py tells how to make that environment
    target/keras/bin/python tools/make_networks.py [names…]

Writes
    tests/data/networks/*.zst          a file of each network
    tests/data/networks.safetensors    its logits, and sums and samples of its blocks' outputs, for the test image at two sizes
"""

import os
import sys
import zlib

import numpy as np
import timm
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors

from oracle import DATA, SCRATCH, keep, pattern, record

FOLDER = os.path.join(DATA, "networks")
NAMES = ["xception41", "xception65", "xception71", "xception41p", "xception65p", "inception_v3"]
SIZES = {"inception_v3": [(75, 75), (150, 107)]}
OTHER_SIZES = [(71, 71), (150, 107)]

# Our names of the blocks of an Inception V3, and timm's.
INCEPTION = {
    "stem.conv1": "Conv2d_1a_3x3",
    "stem.pool2": "Pool2",
    "mixed0": "Mixed_5b",
    "mixed2": "Mixed_5d",
    "mixed3": "Mixed_6a",
    "mixed4": "Mixed_6b",
    "mixed7": "Mixed_6e",
    "mixed8": "Mixed_7a",
    "mixed9": "Mixed_7b",
    "mixed10": "Mixed_7c",
}


def fill(model):
    """Weights of their own for each array, that compress well: they repeat every 97."""
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        module, kind = name.rsplit(".", 1)
        is_norm = f"{module}.running_var" in state
        table = np.random.default_rng(zlib.crc32(name.encode())).uniform(-1, 1, 97)
        if is_norm and kind in ("weight", "running_var"):
            table = 1 + table / 2
            # What is added up must not grow from block to block.
            if kind == "weight" and module.startswith("blocks"):
                table *= 0.8 if module.count(".") == 2 else 0.4 if module.endswith("conv3.bn_pw") else 1
        elif tensor.dim() == 1:
            table = table / 10
        elif "Mixed_5b.branch1x1.conv.weight" in state:
            table *= np.sqrt(6 / tensor[0].numel())
        else:
            table *= np.sqrt((4 if tensor[0].numel() < 728 else 0.5) / tensor[0].numel())
        tensor.copy_(torch.from_numpy(np.resize(table.astype(np.float32), tuple(tensor.shape))))
    model.load_state_dict(state)
    return model.eval()


def calibrate(model, image):
    """Scales each batch norm to the values that it gets, so that none of many layers drowns the others."""

    def scale(norm, inputs):
        deviation, mean = torch.std_mean(inputs[0])
        norm.running_var *= deviation**2
        norm.running_mean.mul_(deviation).add_(mean)

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(scale) for norm in norms]
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()


def tensor_of(height, width):
    """The test image as networks read it."""
    return torch.from_numpy(pattern(height, width).transpose(2, 0, 1)[None].astype(np.float32)) / 127.5 - 1


def blocks(model, is_before):
    """Our name of a value, and the module that gives it. Batch norm that comes first is ours of the block before."""
    if hasattr(model, "Mixed_5b"):
        yield from ((ours, getattr(model, theirs)) for ours, theirs in INCEPTION.items())
        return
    last = len(model.blocks) - 1
    yield "stem.0", model.stem[0]
    yield "stem.1", model.blocks[0].norm if is_before else model.stem[1]
    for index, block in enumerate(model.blocks):
        if index not in (0, 1, 2, 3, last // 2, last - 1, last):
            continue
        if is_before:
            block = model.act if index == last else model.blocks[index + 1].norm
        yield f"blocks.{index}.stack.conv3", block


def main():
    os.makedirs(FOLDER, exist_ok=True)
    goldens = os.path.join(DATA, "networks.safetensors")
    names = sys.argv[1:] or NAMES
    golden = {} if names == NAMES else {key: value for key, value in load_file(goldens).items() if key.split(".")[0] not in names}
    for name in names:
        model = fill(timm.create_model(name, pretrained=False, num_classes=5))
        path = os.path.join(SCRATCH, f"{name}.{'pth' if name.endswith(('p', 'v3')) else 'safetensors'}")
        state = dict(model.state_dict())
        if name == "inception_v3":
            calibrate(model, tensor_of(150, 107))
            # A published file has the classifier that only training needs; it takes no small images.
            auxiliary = timm.create_model(name, pretrained=False, num_classes=5, aux_logits=True).state_dict()
            state |= {key: torch.zeros_like(value) for key, value in auxiliary.items() if key.startswith("AuxLogits")}
        torch.save({"state_dict": {f"model.{key}": value for key, value in state.items()}}, path) if path.endswith("pth") else save_tensors(state, path)
        keep(path, FOLDER)
        os.remove(path)
        for height, width in SIZES.get(name, OTHER_SIZES):
            seen, handles = {}, []
            for ours, module in blocks(model, name.endswith("p")):
                handles.append(module.register_forward_hook(lambda _, __, out, ours=ours: seen.update({ours: out.detach().clone()})))
            with torch.no_grad():
                golden[f"{name}.{height}x{width}.logits"] = np.ascontiguousarray(model(tensor_of(height, width))[0].numpy())
            for handle in handles:
                handle.remove()
            for ours, value in seen.items():
                record(golden, f"{name}.{height}x{width}.{ours}", value[0].permute(1, 2, 0).numpy())
        print(name, golden[f"{name}.150x107.logits"])
    save_file(golden, goldens, {"made_by": f"tools/make_networks.py, timm {timm.__version__}"})


if __name__ == "__main__":
    main()
