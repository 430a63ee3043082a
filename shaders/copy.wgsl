// Copies values, to measure how fast memory is.
//
//   output[i] = input[i]
//
// input   [length] vec4
// output  as input; its length is a multiple of 256
//
// One invocation copies one vec4.

@group(0) @binding(0) var<storage, read> input: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
    output[id.x] = input[id.x];
}
