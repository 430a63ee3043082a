// Pooling by windows.
//
//   output[y, x, FIRST + c] = max input[i, j, c], or their mean where MEAN, over the pixels of the window at
//                             [y · STRIDE_Y − PAD_TOP, x · STRIDE_X − PAD_LEFT] that lie inside, or where PADDED all of it
//
// input   [images][IN_HEIGHT][IN_WIDTH][CHANNELS/4] vec4
// output  [images][OUT_HEIGHT][OUT_WIDTH][ALL/4] vec4
//
// One invocation computes 4 channels of a pixel; x: channels, y: output pixels, z: images.

// #include "storage.wgsl"
// #include "windows.wgsl"

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let c_count = CHANNELS / 4;
    if id.x >= c_count {
        return;
    }
    let inside = window(id.y / OUT_WIDTH, id.y % OUT_WIDTH);
    let first = inside.xy;
    let end = inside.zw;
    // No value lies below the lowest f32.
    var value = select(vec4f(-3.4028234e38), vec4f(), MEAN);
    for (var y = first.x; y < end.x; y++) {
        for (var x = first.y; x < end.y; x++) {
            let pixel = unpack(input[((id.z * IN_HEIGHT + u32(y)) * IN_WIDTH + u32(x)) * c_count + id.x]);
            value = select(max(value, pixel), value + pixel, MEAN);
        }
    }
    if MEAN {
        value /= window_pixels(first, end);
    }
    output[pooled(id.z, id.y, id.x)] = pack(value);
}
