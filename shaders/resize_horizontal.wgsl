// Resampling of a photo along its rows, as PIL does it: a weighted sum of neighbouring columns, rounded to 8 bits.
//
//   output[y, x] = round(Σ_t weights[x, t] · white(photo[first_row + y, first[x] + t]))
//
// photo   rgba8unorm texture; transparency is composited on white and rounded to 8 bits
// taps    stride, first_row, rows, image; then [OUT_WIDTH] pairs of (first column, count); then
//         [OUT_WIDTH][stride] weights as the bits of f32
// output  [rows][OUT_WIDTH] RGB in 8 bits each
//
// One invocation computes 1 pixel; x: columns, y: rows.

override OUT_WIDTH: u32;

@group(0) @binding(0) var photo: texture_2d<f32>;
@group(0) @binding(1) var<storage, read> taps: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;

fn white(color: vec4f) -> vec3f {
    let opaque = color.rgb * color.a + (1.0 - color.a);
    return floor(opaque * 255.0 + 0.5) / 255.0;
}

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let stride = taps[0];
    let first_row = taps[1];
    let rows = taps[2];
    if id.x >= OUT_WIDTH || id.y >= rows {
        return;
    }
    let first = taps[4 + 2 * id.x];
    let count = taps[5 + 2 * id.x];
    let weights = 4 + 2 * OUT_WIDTH + id.x * stride;
    var sum = vec3f();
    for (var t = 0u; t < count; t++) {
        sum += bitcast<f32>(taps[weights + t]) * white(textureLoad(photo, vec2u(first + t, first_row + id.y), 0));
    }
    output[id.y * OUT_WIDTH + id.x] = pack4x8unorm(vec4f(sum, 0.0));
}
