// Resampling along the columns, rounded to 8 bits as PIL does, then normalisation for the network.
//
//   output[y, x] = SCALE · round(Σ_t weights[y, t] · 255 · input[first[y] − first_row + t, x]) + OFFSET
//
// input   [rows][WIDTH] RGB in 8 bits each, as resize_horizontal leaves it
// taps    stride, first_row, rows, image; then [HEIGHT] pairs of (first row, count); then
//         [HEIGHT][stride] weights as the bits of f32
// output  [images][HEIGHT][WIDTH] vec4: RGB and 0
//
// One invocation computes 1 pixel; x: columns, y: rows.

override WIDTH: u32;
override HEIGHT: u32;
override SCALE: f32;
override OFFSET: f32;

// Four values as they are stored: f32 here; shader.rs puts f16 in place of these three lines.
alias Stored = vec4f;
fn unpack(stored: Stored) -> vec4f { return stored; }
fn pack(value: vec4f) -> Stored { return value; }

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
    var sum = vec3f();
    for (var t = 0u; t < count; t++) {
        sum += bitcast<f32>(taps[weights + t]) * unpack4x8unorm(input[(first + t) * WIDTH + id.x]).rgb;
    }
    let level = floor(clamp(sum, vec3f(), vec3f(1.0)) * 255.0 + 0.5);
    output[(taps[3] * HEIGHT + id.y) * WIDTH + id.x] = pack(vec4f(level * SCALE + OFFSET, 0.0));
}
