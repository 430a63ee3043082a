// A fully connected layer backwards, or the share of some of its outputs: how much its result, weighted by a gradient, changes with
// each input.
//
//   output[k] = Σ_n gradient[FIRST + n] · weight[n, k],  only over outputs with result[FIRST + n] > 0 where RELU_AFTER
//
// gradient, result  [images][4·⌈ALL/4⌉]; the result is the layer's own
// weight            [OUTPUTS][⌈INPUTS/4⌉] vec4
// output            [images][⌈INPUTS/4⌉] vec4; where FIRST is not 0 the sum is added to what is there
//
// One invocation computes 4 inputs; x: inputs, y: images.

override INPUTS: u32;
override FIRST: u32;
override OUTPUTS: u32;
override ALL: u32;
override RELU_AFTER: bool;

// #include "storage.wgsl"

@group(0) @binding(0) var<storage, read> gradient: array<f32>;
@group(0) @binding(1) var<storage, read> result: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<Stored>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let k = id.x;
    let k_count = (INPUTS + 3) / 4;
    if k >= k_count {
        return;
    }
    let image = id.y * ((ALL + 3) / 4 * 4) + FIRST;
    var sum = vec4f();
    if FIRST > 0 {
        sum = output[id.y * k_count + k];
    }
    for (var n = 0u; n < OUTPUTS; n++) {
        if !RELU_AFTER || result[image + n] > 0.0 {
            sum += gradient[image + n] * unpack(weight[n * k_count + k]);
        }
    }
    output[id.y * k_count + k] = sum;
}
