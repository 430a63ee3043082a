// Resampling of a photo along its rows, as Pillow does it: a sum of neighbouring columns in integers, rounded to 8 bits.
//
//   output[y, x] = clamp((½ + Σ_t weights[x, t] · white(photo[first_row + y, first[x] + t])) >> 22, 0, 255)
//
// photo   rgba8unorm texture; transparency is composited on white and rounded to 8 bits
// taps    stride, first_row, rows, image; then [OUT_WIDTH] pairs of (first column, count); then
//         [OUT_WIDTH][stride] weights as the bits of i32, of which 22 are fractional
// output  [rows][OUT_WIDTH] RGB in 8 bits each
//
// One invocation computes 1 pixel; x: columns, y: rows.

override OUT_WIDTH: u32;

@group(0) @binding(0) var photo: texture_2d<f32>;
@group(0) @binding(1) var<storage, read> taps: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;

// The same integers as src/resize/resizer.rs has.
fn white(color: vec4f) -> vec3i {
    let level = vec4i(color * 255.0 + 0.5);
    return (level.rgb * level.a + 255 * (255 - level.a) + 127) / 255;
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
    var sum = vec3i(1 << 21);
    for (var t = 0u; t < count; t++) {
        sum += bitcast<i32>(taps[weights + t]) * white(textureLoad(photo, vec2u(first + t, first_row + id.y), 0));
    }
    let level = vec3u(clamp(sum >> vec3u(22), vec3i(), vec3i(255)));
    output[id.y * OUT_WIDTH + id.x] = level.r | (level.g << 8) | (level.b << 16);
}
