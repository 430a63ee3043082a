// Fully connected layer, or some of its outputs.
//
//   output[FIRST + n] = r(bias[FIRST + n] + Σ_k input[k] · weight[n, k]),  r = ReLU where RELU_AFTER, else the identity
//
// input   [images][⌈INPUTS/4⌉] vec4, padded with zeros
// weight  [OUTPUTS][⌈INPUTS/4⌉] vec4
// bias    [FIRST + OUTPUTS] or more; scalars, because the number of classes need not be a multiple of 4
// output  [images][4·⌈ALL/4⌉], of which FIRST and on are written
//
// A workgroup computes 16 outputs (y) of one image (z), each by 16 invocations (x) that sum every 16th vec4 along k; the first of them
// adds up their sums.

override INPUTS: u32;
override FIRST: u32;
override OUTPUTS: u32;
override ALL: u32;
override RELU_AFTER: bool;

// #include "storage.wgsl"

@group(0) @binding(0) var<storage, read> input: array<vec4f>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

var<workgroup> partial: array<array<f32, 16>, 16>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let k_count = (INPUTS + 3) / 4;
    // Invocations past the end repeat the last output: all must reach the barrier.
    let n = min(id.y, OUTPUTS - 1);
    var sum = 0.0;
    for (var k = id.x; k < k_count; k += 16) {
        sum += dot(input[id.z * k_count + k], unpack(weight[n * k_count + k]));
    }
    partial[id.y % 16][id.x] = sum;
    workgroupBarrier();
    if id.x == 0 && id.y < OUTPUTS {
        var total = bias[FIRST + n];
        for (var i = 0u; i < 16; i++) {
            total += partial[id.y % 16][i];
        }
        if RELU_AFTER {
            total = max(total, 0.0);
        }
        output[id.z * ((ALL + 3) / 4 * 4) + FIRST + n] = total;
    }
}
