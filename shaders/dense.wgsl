// Fully connected layer.
//
//   output[n] = r(bias[n] + Σ_k input[k] · weight[k, n]),  r = ReLU where RELU_AFTER, else the identity
//
// input   [INPUTS]
// weight  [INPUTS][OUTPUTS]; scalars, because the number of classes is anybody's
// bias    [OUTPUTS]
// output  [OUTPUTS]
//
// A workgroup computes 64 outputs: invocation (x, y) sums every fourth k for output x, then row 0 adds up
// the four rows.

override INPUTS: u32;
override OUTPUTS: u32;
override RELU_AFTER: bool;

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

var<workgroup> partial: array<array<f32, 64>, 4>;

@compute @workgroup_size(64, 4)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_id) local: vec3u) {
    // Invocations past the end repeat the last output: all must reach the barrier.
    let n = min(id.x, OUTPUTS - 1);
    var sum = 0.0;
    for (var k = local.y; k < INPUTS; k += 4) {
        sum += input[k] * weight[k * OUTPUTS + n];
    }
    partial[local.y][local.x] = sum;
    workgroupBarrier();
    if local.y == 0 && id.x < OUTPUTS {
        var total = bias[n];
        for (var i = 0u; i < 4; i++) {
            total += partial[i][local.x];
        }
        if RELU_AFTER {
            total = max(total, 0.0);
        }
        output[n] = total;
    }
}
