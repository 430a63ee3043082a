"""Writes timm's part of the golden values, as tools/make_golden.py does for Keras (the two do not load together):
tests/data/timm.safetensors.zst, a file of `legacy_xception` with weights by formula, and its layer outputs at 150 and 299
pixels, tests/data/golden_timm.safetensors.

    python3 -m venv target/timm
    target/timm/bin/pip install timm torch safetensors zstandard
    target/timm/bin/python tools/make_golden_timm.py
"""

import os

import numpy as np
import timm
import torch
from safetensors.numpy import save_file

from oracle import DATA, DOWN, SCRATCH, keep, pattern, record, weights_of


def main():
    golden = {}
    model = timm.create_model("legacy_xception", pretrained=False).eval()
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            state[name] = np.zeros((), np.int64)
        elif len(shape) == 4:
            depthwise = shape[1] == 1
            order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            array = "depthwise_kernel" if depthwise else "kernel"
            values = weights_of(name, array, tuple(shape[i] for i in order))
            state[name] = np.ascontiguousarray(values.transpose(np.argsort(order)))
        elif len(shape) == 2:
            state[name] = np.ascontiguousarray(weights_of(name, "kernel", shape[::-1]).T)
        else:
            norm = not name.startswith("fc")
            kinds = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
            state[name] = weights_of(name, kinds[name.split(".")[-1]] if norm else "bias", shape)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    save_file(state, os.path.join(SCRATCH, "timm.safetensors"))
    keep(os.path.join(SCRATCH, "timm.safetensors"))
    modules = {"block1_conv1": "act1", "block1_conv2": "act2", "block14_sepconv1": "act3", "block14_sepconv2": "act4"}
    for block in range(2, 14):
        modules[f"block{block}_pool" if block in DOWN else f"block{block}_sepconv3"] = f"block{block - 1}"
    for size in (150, 299):
        outputs = {}
        for ours, theirs in modules.items():
            # ReLU works in place: what comes later must not change it.
            keep_output = lambda _module, _inputs, output, ours=ours: outputs.__setitem__(ours, output.clone())
            model.get_submodule(theirs).register_forward_hook(keep_output)
        image = pattern(size, size).transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
        with torch.no_grad():
            logits = model(torch.from_numpy(image))
        for name, value in outputs.items():
            record(golden, f"timm.{size}.{name}", value[0].permute(1, 2, 0).numpy())
        record(golden, f"timm.{size}.avg_pool", outputs["block14_sepconv2"].mean((2, 3)).numpy())
        record(golden, f"timm.{size}.fc", logits.numpy())
    made_by = f"tools/make_golden_timm.py, timm {timm.__version__}, torch {torch.__version__}"
    save_file(golden, os.path.join(DATA, "golden_timm.safetensors"), {"made_by": made_by})


if __name__ == "__main__":
    main()
