"""Writes PyTorch's files as people have them: every container, prefix and dtype, small, with what PyTorch answers.

    target/keras/bin/pip install torch timm           # make_golden.py tells how to make that environment
    target/keras/bin/python tools/make_checkpoints.py

Writes
    tests/data/checkpoints/*.zst          a file for each form
    tests/data/head*.pth.zst              heads by themselves
    tests/data/checkpoints.safetensors    the logits of each for the test image
    tests/data/refused/*.zst              heads whose arrays do not tell enough
"""

import os
import zlib
from collections import OrderedDict

import numpy as np
import timm
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors
from torch import nn

from oracle import DATA, SCRATCH, keep, pattern

SIDE = 71
FOLDER, REFUSED = (os.path.join(DATA, folder) for folder in ("checkpoints", "refused"))


def values(kind, shape, fan_in):
    table = np.random.default_rng(zlib.crc32(kind.encode())).uniform(-1, 1, 97)
    if kind.startswith(("gamma", "variance")):
        table = 1 + table / 2
    elif kind in ("bias", "mean") or kind.startswith("mean"):
        table = table / 10
    else:
        table = table * np.sqrt((4 if fan_in < 728 else 0.25) / fan_in)
    return torch.from_numpy(np.resize(table.astype(np.float32), shape))


def fill(model):
    """Weights that compress well."""
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        is_norm = tensor.dim() == 1 and name.rsplit(".", 1)[0] + ".running_var" in state
        kind = {"running_mean": "mean", "running_var": "variance"}.get(name.split(".")[-1])
        kind = kind or ("gamma" if is_norm and name.endswith("weight") else "weight" if name.endswith("weight") else "bias")
        if any(part in name for part in ("fc", "last_linear", "classifier")):
            kind += name
        tensor.copy_(values(kind, tuple(tensor.shape), max(int(np.prod(tensor.shape[1:])), 1)))
    model.load_state_dict(state)
    return model.eval()


def xception(classes=4, head=None, name="fc"):
    model = timm.create_model("legacy_xception", pretrained=False, num_classes=classes)
    if name == "last_linear":
        model.last_linear = model.fc
        del model.fc
        model.forward_head = lambda x, pre_logits=False: model.last_linear(model.global_pool(x))
    if head:
        setattr(model, name, head)
    return fill(model)


class Wrapped(nn.Module):
    """As FaceForensics++ and Lightning wrap it: `model.` or another prefix, with more beside it."""

    def __init__(self, name, inner, **more):
        super().__init__()
        self.name = name
        setattr(self, name, inner)
        for key, module in more.items():
            setattr(self, key, module)

    def forward(self, x):
        return getattr(self, self.name)(x)


def renamed(state, old, new):
    return OrderedDict((new + name.removeprefix(old) if name.startswith(old) else name, tensor) for name, tensor in state.items())


def forms():
    """Name, what is saved, how, and the model."""
    legacy = {"_use_new_zipfile_serialization": False}
    plain = xception()
    state = renamed(plain.state_dict(), "fc", "last_linear")
    matrices = OrderedDict((name, tensor[:, :, 0, 0].clone() if "pointwise.weight" in name else tensor) for name, tensor in state.items())
    yield "cadene.pth", matrices, legacy, plain
    yield "zip.pth", plain.state_dict(), {}, plain
    yield "whole.pt", plain, {}, plain
    yield "whole_legacy.p", Wrapped("model", renamed_model(2)), legacy, None
    inner = xception(2)
    inner.adjust_channel = nn.Sequential(nn.Conv2d(2048, 16, 1), nn.BatchNorm2d(16))
    deepfake = fill(Wrapped("backbone", inner))
    yield "deepfakebench.pth", renamed(deepfake.state_dict(), "backbone.fc", "backbone.last_linear"), {}, deepfake
    one = xception(1)
    optimizer = torch.optim.Adam(one.parameters())
    one(torch.zeros(1, 3, SIDE, SIDE)).sum().backward()
    optimizer.step()
    one = fill(one)
    checkpoint = {"epoch": 3, "state_dict": renamed(one.state_dict(), "", "model."), "optimizer_states": [optimizer.state_dict()], "hyper_parameters": {"lr": 0.1}}
    yield "lightning.ckpt", {**checkpoint, "optimizer_states": [small(optimizer.state_dict())]}, {}, one
    averages = {"model": renamed(plain.state_dict(), "", "module."), "ema": renamed(xception(4).state_dict(), "", "module."), "best": 0.9}
    for tensor in averages["ema"].values():
        tensor.zero_() if tensor.is_floating_point() else None
    yield "parallel.pth", averages, {}, plain
    for name, dtype in [("half", torch.float16), ("bfloat", torch.bfloat16), ("double", torch.float64)]:
        model = xception().to(dtype)
        yield f"{name}.pt", {"net": model.state_dict()}, legacy if name == "half" else {}, model.float()
    head = nn.Sequential(nn.Linear(2048, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    yield "sequential.bin", {"model_state_dict": xception(4, head).state_dict()}, {}, xception(4, head)
    norms = lambda: nn.Sequential(nn.Linear(2048, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 9), nn.ReLU(), nn.BatchNorm1d(9), nn.Dropout(0.5), nn.Linear(9, 3))
    yield "norms.pth", xception(4, norms()).state_dict(), {}, xception(4, norms())
    first = lambda: nn.Sequential(nn.BatchNorm1d(2048, affine=False), nn.Dropout(0.5), nn.Linear(2048, 9, bias=False), nn.BatchNorm1d(9), nn.Linear(9, 3))
    yield "norms_first.safetensors", xception(4, first()).state_dict(), {}, xception(4, first())
    # Strides of another order, and tensors that share one storage.
    model = xception().to(memory_format=torch.channels_last)
    shared = torch.cat([model.bn1.weight.detach(), model.bn1.bias.detach()])
    state = {**model.state_dict(), "bn1.weight": shared[:32], "bn1.bias": shared[32:], "fc.weight": model.fc.weight.detach().T.contiguous().T}
    yield "strides.pth", state, {}, model
    yield "strides_legacy.pth", state, legacy, model
    outside = fill(Wrapped("encoder", xception(0), classifier=nn.Linear(2048, 3)))
    outside.forward = lambda x: outside.classifier(outside.encoder(x))
    yield "outside.safetensors", outside.state_dict(), {}, outside
    yield "bfloat.safetensors", xception().to(torch.bfloat16).state_dict(), {}, xception().to(torch.bfloat16).float()
    yield "features.pth", xception(0).state_dict(), {}, xception(0)


def refused():
    """Name and model of those whose arrays do not tell enough."""
    norm = Wrapped("norm", nn.BatchNorm1d(2048), out=nn.Linear(2048, 3))
    yield "norm.pth", xception(4, norm)
    yield "layer_norm.pth", xception(4, nn.Sequential(nn.Linear(2048, 8), nn.LayerNorm(8), nn.Linear(8, 3)))
    yield "prelu.pth", xception(4, nn.Sequential(nn.Linear(2048, 8), nn.PReLU(), nn.Linear(8, 3)))
    biased = xception(4)
    biased.block3.rep[1].conv1.bias = nn.Parameter(torch.ones(256))
    yield "bias.pth", biased
    narrowed = xception(4, nn.Linear(512, 3))
    narrowed.adjust_channel = nn.Conv2d(2048, 512, 1)
    yield "convolution.pth", fill(narrowed)


def renamed_model(classes):
    model = timm.create_model("legacy_xception", pretrained=False, num_classes=classes)
    model.last_linear = nn.Sequential(nn.Dropout(0.5), model.fc)
    del model.fc
    return fill(model)


def small(state):
    """An optimizer's state, of which a few tensors do."""
    return {"state": dict(list(state["state"].items())[:2]), "param_groups": state["param_groups"]}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    torch.set_grad_enabled(True)
    golden = {}
    image = torch.from_numpy(pattern(SIDE, SIDE).transpose(2, 0, 1)[None].astype(np.float32)) / 127.5 - 1
    for name, saved, how, model in forms():
        path = os.path.join(SCRATCH, name)
        (save_tensors({key: tensor.contiguous() for key, tensor in saved.items()}, path) if name.endswith("safetensors") else torch.save(saved, path, **how))
        with torch.no_grad():
            if model is None:
                inner = saved.model
                model = lambda x: inner.last_linear(inner.global_pool(inner.forward_features(x)))
            golden[name] = np.ascontiguousarray(model(image)[0].numpy().ravel(), dtype=np.float32)
        print(name, golden[name][:4])
        keep(path, FOLDER)
        os.remove(path)
    os.makedirs(REFUSED, exist_ok=True)
    for name, model in refused():
        torch.save(model.state_dict(), os.path.join(SCRATCH, name))
        keep(os.path.join(SCRATCH, name), REFUSED)
    # Heads by themselves.
    head = fill(nn.Sequential(OrderedDict(classifier=nn.Linear(2048, 3))))
    saved = [("head.pth", head.state_dict(), {}), ("head_module.pth", head, {}), ("head_legacy.pth", head.state_dict(), {"_use_new_zipfile_serialization": False})]
    for name, what, how in saved:
        torch.save(what, os.path.join(SCRATCH, name), **how)
        keep(os.path.join(SCRATCH, name))
    save_file(golden, os.path.join(DATA, "checkpoints.safetensors"), {"made_by": f"tools/make_checkpoints.py, torch {torch.__version__}"})


if __name__ == "__main__":
    main()
