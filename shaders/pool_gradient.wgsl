// Pooling by windows backwards: how much its result, weighted by a gradient, changes with each value.
//
//   output[i, j, c] = Σ gradient[y, x, FIRST + c] / n over the windows [y, x] that [i, j] lies in; n are the window's pixels inside,
//                     or without MEAN those that have its maximum, and other pixels have no share
//
// gradient  [images][OUT_HEIGHT][OUT_WIDTH][ALL/4] vec4 of f32
// input     [images][IN_HEIGHT][IN_WIDTH][CHANNELS/4] vec4
// output    as input, f32; where ADD the sum is added to what is there
//
// One invocation computes 4 channels of a pixel; x: channels, y: input pixels, z: images.

override ADD: bool;

// #include "storage.wgsl"
// #include "windows.wgsl"

@group(0) @binding(0) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;

fn pixel(image: u32, y: i32, x: i32, c: u32) -> vec4f {
    return unpack(input[((image * IN_HEIGHT + u32(y)) * IN_WIDTH + u32(x)) * (CHANNELS / 4) + c]);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let c_count = CHANNELS / 4;
    if id.x >= c_count {
        return;
    }
    let here = vec2i(i32(id.y / IN_WIDTH), i32(id.y % IN_WIDTH));
    let own = pixel(id.z, here.x, here.y, id.x);
    var sum = vec4f();
    for (var y = 0u; y < OUT_HEIGHT; y++) {
        for (var x = 0u; x < OUT_WIDTH; x++) {
            let inside = window(y, x);
            let first = inside.xy;
            let end = inside.zw;
            if any(here < first) || any(here >= end) {
                continue;
            }
            var count = vec4f(window_pixels(first, end));
            var share = vec4f(1.0);
            if !MEAN {
                count = vec4f();
                for (var i = first.x; i < end.x && any(share > vec4f()); i++) {
                    for (var j = first.y; j < end.y; j++) {
                        let other = pixel(id.z, i, j, id.x);
                        share = select(share, vec4f(), other > own);
                        count += select(vec4f(), vec4f(1.0), other == own);
                    }
                }
            }
            sum += gradient[pooled(id.z, y * OUT_WIDTH + x, id.x)] * share / max(count, vec4f(1.0));
        }
    }
    let at = (id.z * IN_HEIGHT * IN_WIDTH + id.y) * c_count + id.x;
    if ADD {
        sum += output[at];
    }
    output[at] = sum;
}
