// Scale of each channel backwards: how much its result, weighted by a gradient, changes with each value.
//
//   output[p, c] = gradient[p, c] · scale[c]
//
// gradient  [images][PIXELS][⌈CHANNELS/4⌉] vec4 of f32
// scale     [⌈CHANNELS/4⌉] vec4
// output    as gradient
//
// One invocation computes 4 channels of a pixel; x: channels, y: pixels, z: images.

// #include "elementwise.wgsl"

@group(0) @binding(0) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(1) var<storage, read> scale: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= groups() {
        return;
    }
    let at = place(id);
    output[at] = gradient[at] * scale[id.x];
}
