// Multiplies and adds, to measure how fast arithmetic is.
//
//   output[i] = Σ_j of 8 vec4 that STEPS times become x_j · factor + x_j, factor = input[0]
//
// input   [1] vec4
// output  [invocations] vec4
//
// One invocation does 32 · STEPS multiply-accumulates in 8 chains that do not wait for one another.

override STEPS: u32;

@group(0) @binding(0) var<storage, read> input: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let factor = input[0];
    let start = vec4f(f32(id.x));
    var x0 = start;
    var x1 = start + 1.0;
    var x2 = start + 2.0;
    var x3 = start + 3.0;
    var x4 = start + 4.0;
    var x5 = start + 5.0;
    var x6 = start + 6.0;
    var x7 = start + 7.0;
    for (var i = 0u; i < STEPS; i++) {
        x0 = fma(x0, factor, x0);
        x1 = fma(x1, factor, x1);
        x2 = fma(x2, factor, x2);
        x3 = fma(x3, factor, x3);
        x4 = fma(x4, factor, x4);
        x5 = fma(x5, factor, x5);
        x6 = fma(x6, factor, x6);
        x7 = fma(x7, factor, x7);
    }
    output[id.x] = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7;
}
