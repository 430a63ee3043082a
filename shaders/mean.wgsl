// Mean over all pixels (global average pooling).
//
//   output[c] = Σ_p input[p, c] / PIXELS
//
// input   [PIXELS][CHANNELS/4] vec4
// output  [CHANNELS/4] vec4
//
// One invocation computes 4 channels.

override PIXELS: u32;
override CHANNELS: u32;

@group(0) @binding(0) var<storage, read> input: array<vec4f>;
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
        sum += input[p * c_count + c];
    }
    output[c] = sum / f32(PIXELS);
}
