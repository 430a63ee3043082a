// Scale and shift of each channel: a batch norm by itself.
//
//   output[p, c] = input[p, c] · scale[c] + shift[c]
//
// input         [images][PIXELS][⌈CHANNELS/4⌉] vec4, padded with zeros
// scale, shift  [⌈CHANNELS/4⌉] vec4, padded with zeros
// output        as input
//
// One invocation computes 4 channels of a pixel; x: channels, y: pixels, z: images.

// #include "storage.wgsl"
// #include "elementwise.wgsl"

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> scale: array<vec4f>;
@group(0) @binding(2) var<storage, read> shift: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= groups() {
        return;
    }
    let at = place(id);
    output[at] = pack(unpack(input[at]) * scale[id.x] + shift[id.x]);
}
