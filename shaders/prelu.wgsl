// Activation function with slopes that were trained (PReLU).
//
//   output[p, c] = input[p, c], times slope[c], or else slope[p, c], where it is below 0
//
// input   [images][PIXELS][⌈CHANNELS/4⌉] vec4, padded with zeros
// slope   [⌈CHANNELS/4⌉] vec4 where SHARED, else [PIXELS][⌈CHANNELS/4⌉]
// output  as input
//
// One invocation computes 4 channels of a pixel; x: channels, y: pixels, z: images.

// #include "storage.wgsl"
// #include "slope.wgsl"

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> slope: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= groups() {
        return;
    }
    let at = place(id);
    let x = unpack(input[at]);
    output[at] = pack(select(x, x * slope_of(id), x < vec4f()));
}
