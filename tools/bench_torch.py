"""Times PyTorch on the same network, to set beside `xception bench --json`: timm's `legacy_xception` with random weights, eager, in
f32 (TF32 off) or f16, channels last. On CUDA where there is a GPU, else on the CPU's threads.

    python3 -m venv target/timm
    target/timm/bin/pip install timm torch
    target/timm/bin/python tools/bench_torch.py --batch 32
    xception bench --model model.safetensors --dtype f32 --batch 32 --json
"""

import argparse
import json
import statistics
import time

import timm
import torch

MACS = 8.357e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1, help="photos at once (1)")
    parser.add_argument("--dtype", choices=["f32", "f16"], default="f32", help="of weights and activations (f32)")
    parser.add_argument("--runs", type=int, default=20, help="how many times, after three to warm up (20)")
    arguments = parser.parse_args()

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    dtype = {"f32": torch.float32, "f16": torch.float16}[arguments.dtype]
    model = timm.create_model("legacy_xception", pretrained=False).eval()
    model = model.to(device, dtype, memory_format=torch.channels_last)
    photos = torch.rand(arguments.batch, 3, 299, 299) * 2 - 1
    pinned = photos.to(dtype, memory_format=torch.channels_last)
    pinned = pinned.pin_memory() if cuda else pinned
    resident = pinned.to(device)

    def wait():
        if cuda:
            torch.cuda.synchronize()

    @torch.inference_mode()
    def measure(work):
        times = []
        for run in range(arguments.runs + 3):
            wait()
            start = time.perf_counter()
            work()
            wait()
            times.append((time.perf_counter() - start) * 1e3)
        times = sorted(times[3:])
        return {"median": statistics.median(times), "min": times[0], "max": times[-1]}

    def whole():
        model(pinned.to(device, non_blocking=True)).softmax(1).topk(5).indices.cpu()

    network, total = measure(lambda: model(resident)), measure(whole)
    print(json.dumps({
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
        "dtype": arguments.dtype,
        "batch": arguments.batch,
        "gpuMs": network,
        "ms": total,
        "gflops": 2 * MACS * arguments.batch / network["median"] / 1e6,
    }))


if __name__ == "__main__":
    main()
