// Copies values, to measure how fast memory is.
//
//   output[i] = input[i]
//
// input   [length] vec4
// output  as input; its length is a multiple of 256
//
// One invocation copies one vec4; x and y: places, y for lengths beyond 65535 workgroups of 256.

@group(0) @binding(0) var<storage, read> input: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.y * groups.x * 256 + id.x;
    output[i] = input[i];
}
