// Pooling by windows.
//
//   output[y, x, c] = max input[i, j, c], or their mean where MEAN, over the pixels of the window at
//                     [y · STRIDE_Y − PAD_TOP, x · STRIDE_X − PAD_LEFT] that lie inside
//
// input   [images][IN_HEIGHT][IN_WIDTH][CHANNELS/4] vec4
// output  [images][OUT_HEIGHT][OUT_WIDTH][CHANNELS/4] vec4
//
// One invocation computes 4 channels of a pixel; x: channels, y: output pixels, z: images.

override IN_HEIGHT: u32;
override IN_WIDTH: u32;
override CHANNELS: u32;
override OUT_HEIGHT: u32;
override OUT_WIDTH: u32;
override KERNEL_HEIGHT: u32;
override KERNEL_WIDTH: u32;
override STRIDE_Y: u32;
override STRIDE_X: u32;
override PAD_TOP: u32;
override PAD_LEFT: u32;
override MEAN: bool;

// #include "storage.wgsl"

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let c_count = CHANNELS / 4;
    if id.x >= c_count {
        return;
    }
    let top = i32(id.y / OUT_WIDTH * STRIDE_Y) - i32(PAD_TOP);
    let left = i32(id.y % OUT_WIDTH * STRIDE_X) - i32(PAD_LEFT);
    let first = vec2i(max(top, 0), max(left, 0));
    let end = min(vec2i(top + i32(KERNEL_HEIGHT), left + i32(KERNEL_WIDTH)), vec2i(i32(IN_HEIGHT), i32(IN_WIDTH)));
    // No value lies below the lowest f32.
    var value = select(vec4f(-3.4028234e38), vec4f(), MEAN);
    for (var y = first.x; y < end.x; y++) {
        for (var x = first.y; x < end.y; x++) {
            let pixel = unpack(input[((id.z * IN_HEIGHT + u32(y)) * IN_WIDTH + u32(x)) * c_count + id.x]);
            value = select(max(value, pixel), value + pixel, MEAN);
        }
    }
    if MEAN {
        value /= f32((end.x - first.x) * (end.y - first.y));
    }
    output[(id.z * OUT_HEIGHT * OUT_WIDTH + id.y) * c_count + id.x] = pack(value);
}
