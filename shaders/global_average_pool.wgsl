// Mean over all pixels (global average pooling).
//
//   output[FIRST + c] = Σ_p input[p, c] / PIXELS
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
    var sum = vec4f();
    for (var p = 0u; p < PIXELS; p++) {
        sum += unpack(input[(id.y * PIXELS + p) * c_count + c]);
    }
    output[id.y * (ALL / 4) + FIRST / 4 + c] = sum / f32(PIXELS);
}
