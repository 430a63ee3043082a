// Maximum over all pixels (global max pooling).
//
//   output[FIRST + c] = max_p input[p, c]
//
// input   [images][PIXELS][CHANNELS/4] vec4
// output  [images][ALL/4] vec4, of which FIRST and on are written
//
// One invocation computes 4 channels; x: channels, y: images.

override PIXELS: u32;
override CHANNELS: u32;
override FIRST: u32;
override ALL: u32;

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
    output[id.y * (ALL / 4) + FIRST / 4 + c] = largest;
}
