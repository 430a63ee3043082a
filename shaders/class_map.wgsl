// Class activation map: what each pixel of the last activation contributes to a class.
//
//   output[p] = Σ_c input[p, c] · weight[c] where SHARED, else PIXELS · Σ_c input[p, c] · weight[p, c]
//
// input   [images][PIXELS][CHANNELS/4] vec4
// weight  [images][CHANNELS/4] vec4: how much the class's logit changes with each channel's mean; or of each pixel, as input
// output  [images][PIXELS]; its mean over the pixels is the logit, but for the biases
//
// A workgroup computes one pixel (x) of one image (y); each of its 64 invocations sums every 64th vec4 of channels, and the first of
// them adds up their sums.

override PIXELS: u32;
override CHANNELS: u32;
override SHARED: bool;

// #include "storage.wgsl"

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let c_count = CHANNELS / 4;
    let p = group.y * PIXELS + group.x;
    var sum = 0.0;
    for (var c = lane; c < c_count; c += 64) {
        sum += dot(unpack(input[p * c_count + c]), weight[select(p, group.y, SHARED) * c_count + c]);
    }
    partial[lane] = sum;
    workgroupBarrier();
    if lane == 0 {
        var total = 0.0;
        for (var i = 0u; i < 64; i++) {
            total += partial[i];
        }
        output[p] = total * select(f32(PIXELS), 1.0, SHARED);
    }
}
