// Resizing of an image to another size, as TensorFlow does it: half-pixel centres, no antialiasing.
//
//   y' = (y + ½) · SCALE_Y − ½, x' = (x + ½) · SCALE_X − ½
//   output[y, x] = p[y', x'] between the two nearest rows and columns; where NEAREST, p[⌊y' + ½⌋, ⌊x' + ½⌋]
//   p[y, x] = input[FIRST_ROW + y, FIRST_COLUMN + x], of which KEPT_ROWS and KEPT_COLUMNS are kept
//
// input   [images][IN_HEIGHT][IN_WIDTH] vec4: three channels and 0
// output  [images][HEIGHT][WIDTH] vec4 likewise
//
// One invocation computes 1 pixel; x: columns, y: rows, z: images.

// #include "storage.wgsl"

override IN_HEIGHT: u32;
override IN_WIDTH: u32;
override FIRST_ROW: u32;
override FIRST_COLUMN: u32;
override KEPT_ROWS: u32;
override KEPT_COLUMNS: u32;
override HEIGHT: u32;
override WIDTH: u32;
override SCALE_Y: f32;
override SCALE_X: f32;
override NEAREST: bool;

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read_write> output: array<Stored>;

fn pixel(image: u32, x: u32, y: u32) -> vec4f {
    return unpack(input[(image * IN_HEIGHT + FIRST_ROW + y) * IN_WIDTH + FIRST_COLUMN + x]);
}

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= WIDTH || id.y >= HEIGHT {
        return;
    }
    let centre = (vec2f(id.xy) + 0.5) * vec2f(SCALE_X, SCALE_Y);
    let at = select(centre - 0.5, floor(centre), NEAREST);
    let last = vec2i(i32(KEPT_COLUMNS), i32(KEPT_ROWS)) - 1;
    let low = vec2u(clamp(vec2i(floor(at)), vec2i(), last));
    let high = vec2u(clamp(vec2i(ceil(at)), vec2i(), last));
    let share = at - floor(at);
    let upper = mix(pixel(id.z, low.x, low.y), pixel(id.z, high.x, low.y), share.x);
    let lower = mix(pixel(id.z, low.x, high.y), pixel(id.z, high.x, high.y), share.x);
    output[(id.z * HEIGHT + id.y) * WIDTH + id.x] = pack(mix(upper, lower, share.y));
}
