// PReLU backwards: how much its result, weighted by a gradient, changes with each value.
//
//   output[p, c] = gradient[p, c], times slope[c], or else slope[p, c], where input[p, c] is not above 0
//
// gradient  [images][PIXELS][⌈CHANNELS/4⌉] vec4 of f32
// input     as gradient, stored as activations are where they are not vectors
// slope     [⌈CHANNELS/4⌉] vec4 where SHARED, else [PIXELS][⌈CHANNELS/4⌉]
// output    as gradient
//
// One invocation computes 4 channels of a pixel; x: channels, y: pixels, z: images.

// #include "storage.wgsl"
// #include "slope.wgsl"

@group(0) @binding(0) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read> slope: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= groups() {
        return;
    }
    let at = place(id);
    let below = gradient[at] * slope_of(id);
    output[at] = select(below, gradient[at], unpack(input[at]) > vec4f());
}
