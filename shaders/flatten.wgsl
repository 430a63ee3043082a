// All values of an activation as a vector, row by row with the channels innermost.
//
//   output[p · channels + c] = input[p, c]
//
// input   [images][LEN/4] vec4, whose channels are whole vec4s
// output  as input, f32
//
// One invocation copies 4 values; x: values, y: images.

override LEN: u32;

// #include "storage.wgsl"

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < LEN / 4 {
        let at = id.y * (LEN / 4) + id.x;
        output[at] = unpack(input[at]);
    }
}
