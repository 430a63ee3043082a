// Maximum over all pixels (global max pooling).
//
//   output[c] = max_p input[p, c]
//
// input   [images][PIXELS][CHANNELS/4] vec4
// output  [images][CHANNELS/4] vec4
//
// One invocation computes 4 channels; x: channels, y: images.

override PIXELS: u32;
override CHANNELS: u32;

// #include "storage.wgsl"

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let c = id.x;
    let c_count = CHANNELS / 4;
    if c >= c_count {
        return;
    }
    let first = id.y * PIXELS;
    var largest = unpack(input[first * c_count + c]);
    for (var p = 1u; p < PIXELS; p++) {
        largest = max(largest, unpack(input[(first + p) * c_count + c]));
    }
    output[id.y * c_count + c] = largest;
}
