// Resizing as TensorFlow's ResizeBilinear does it, between the two nearest pixels along each axis, then normalisation.
//
//   upper = mix(p[top, left], p[top, right], share[x])
//   lower = mix(p[bottom, left], p[bottom, right], share[x])
//   output[y, x] = normalise(mix(upper, lower, share[y]))
//
// photo   rgba8unorm texture; p = 255 · photo, where transparency is composited on white and rounded to 8 bits
// across  1, first_row, rows, image; then [WIDTH] pairs of (left column, 2, or 1 where it is the right one too); then
//         [WIDTH] shares of the right column as the bits of f32
// down    rows likewise: [HEIGHT] pairs and shares
// output  [images][HEIGHT][WIDTH] vec4: three channels and 0
//
// One invocation computes 1 pixel; x: columns, y: rows.

override WIDTH: u32;
override HEIGHT: u32;

// #include "storage.wgsl"
// #include "normalise.wgsl"

@group(0) @binding(0) var photo: texture_2d<f32>;
@group(0) @binding(1) var<storage, read> across: array<u32>;
@group(0) @binding(2) var<storage, read> down: array<u32>;
@group(0) @binding(3) var<storage, read_write> output: array<Stored>;

// The same integers as src/resize/resizer.rs has.
fn white(x: u32, y: u32) -> vec3f {
    let level = vec4i(textureLoad(photo, vec2u(x, y), 0) * 255.0 + 0.5);
    return vec3f((level.rgb * level.a + 255 * (255 - level.a) + 127) / 255);
}

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= WIDTH || id.y >= HEIGHT {
        return;
    }
    let left = across[4 + 2 * id.x];
    let right = left + across[5 + 2 * id.x] - 1;
    let top = down[4 + 2 * id.y];
    let bottom = top + down[5 + 2 * id.y] - 1;
    let share = vec2f(bitcast<f32>(across[4 + 2 * WIDTH + id.x]), bitcast<f32>(down[4 + 2 * HEIGHT + id.y]));
    let upper = mix(white(left, top), white(right, top), share.x);
    let lower = mix(white(left, bottom), white(right, bottom), share.x);
    let level = mix(upper, lower, share.y);
    output[(across[3] * HEIGHT + id.y) * WIDTH + id.x] = pack(normalise(level));
}
