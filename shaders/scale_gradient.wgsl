// Scale of each channel backwards: how much its result, weighted by a gradient, changes with each value.
//
//   output[p, c] = gradient[p, c] · scale[c]
//
// gradient  [images][PIXELS][⌈CHANNELS/4⌉] vec4 of f32
// scale     [⌈CHANNELS/4⌉] vec4
// output    as gradient
//
// One invocation computes 4 channels of a pixel; x: channels, y: pixels, z: images.

override PIXELS: u32;
override CHANNELS: u32;

@group(0) @binding(0) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(1) var<storage, read> scale: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let c_count = (CHANNELS + 3) / 4;
    if id.x >= c_count {
        return;
    }
    let at = (id.z * PIXELS + id.y) * c_count + id.x;
    output[at] = gradient[at] * scale[id.x];
}
