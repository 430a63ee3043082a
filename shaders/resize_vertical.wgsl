// Resampling along the columns, in integers and rounded to 8 bits as Pillow does, then normalisation for the network.
//
//   output[y, x] = normalise(clamp((½ + Σ_t weights[y, t] · input[first[y] − first_row + t, x]) >> 22, 0, 255))
//
// input   [rows][WIDTH] RGB in 8 bits each, as resize_horizontal leaves it
// taps    stride, first_row, rows, image; then [HEIGHT] pairs of (first row, count); then
//         [HEIGHT][stride] weights as the bits of i32, of which 22 are fractional
// output  [images][HEIGHT][WIDTH] vec4: three channels and 0
//
// One invocation computes 1 pixel; x: columns, y: rows.

override WIDTH: u32;
override HEIGHT: u32;

// #include "storage.wgsl"
// #include "normalise.wgsl"

@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read> taps: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= WIDTH || id.y >= HEIGHT {
        return;
    }
    let stride = taps[0];
    let first_row = taps[1];
    let first = taps[4 + 2 * id.y] - first_row;
    let count = taps[5 + 2 * id.y];
    let weights = 4 + 2 * HEIGHT + id.y * stride;
    var sum = vec3i(1 << 21);
    for (var t = 0u; t < count; t++) {
        let level = (vec3u(input[(first + t) * WIDTH + id.x]) >> vec3u(0, 8, 16)) & vec3u(255);
        sum += bitcast<i32>(taps[weights + t]) * vec3i(level);
    }
    let level = vec3f(clamp(sum >> vec3u(22), vec3i(), vec3i(255)));
    output[(taps[3] * HEIGHT + id.y) * WIDTH + id.x] = pack(normalise(level));
}
