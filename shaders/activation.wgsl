// Activation function of each value by itself.
//
//   output[i] = f(input[i])
//
// input   [images][PIXELS][⌈CHANNELS/4⌉] vec4, padded with zeros
// output  as input
//
// One invocation computes 4 channels of a pixel; x: channels, y: pixels, z: images.

// #include "storage.wgsl"
// #include "elementwise.wgsl"
// #include "functions.wgsl"

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= groups() {
        return;
    }
    let at = place(id);
    // Padding stays zero.
    let is_padding = 4 * id.x + vec4u(0, 1, 2, 3) >= vec4u(CHANNELS);
    output[at] = pack(select(activation(unpack(input[at])), vec4f(), is_padding));
}
