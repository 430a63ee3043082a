// Depthwise 3×3 convolution with any stride, padded with zeros, and with a bias.
//
//   output[y, x, c] = a(bias[c] + Σ_{i, j} b(input[y·STRIDE + i − 1, x·STRIDE + j − 1, c]) · weight[i, j, c]),
//   a = ReLU where RELU_AFTER, b = ReLU where RELU_BEFORE, else identity
//
// input   [images][IN_HEIGHT][IN_WIDTH][IN_CHANNELS/4] vec4
// weight  [3][3][IN_CHANNELS/4] vec4
// bias    [IN_CHANNELS/4] vec4
// output  [images][OUT_HEIGHT][OUT_WIDTH][IN_CHANNELS/4] vec4
//
// One invocation computes 4 channels of a pixel; x: channels, y: columns, z: rows of all images. The nine loads do not wait for one
// another: what is outside is read inside, and taken as zero.

// #include "storage.wgsl"

override IN_HEIGHT: u32;
override IN_WIDTH: u32;
override IN_CHANNELS: u32;
override OUT_HEIGHT: u32;
override OUT_WIDTH: u32;
override STRIDE: u32;
override RELU_BEFORE: bool;
override RELU_AFTER: bool;

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let c_count = IN_CHANNELS / 4;
    let c = id.x;
    if c >= c_count || id.y >= OUT_WIDTH {
        return;
    }
    let image = id.z / OUT_HEIGHT * IN_HEIGHT;
    let top = id.z % OUT_HEIGHT * STRIDE;
    let left = id.y * STRIDE;
    var sum = bias[c];
    for (var i = 0u; i < 3; i++) {
        for (var j = 0u; j < 3; j++) {
            // Row or column −1 wraps round to a huge number.
            let y = top + i - 1;
            let x = left + j - 1;
            let inside = y < IN_HEIGHT && x < IN_WIDTH;
            let at = (image + min(y, IN_HEIGHT - 1)) * IN_WIDTH + min(x, IN_WIDTH - 1);
            let value = unpack(input[at * c_count + c]);
            sum += select(vec4f(), select(value, max(value, vec4f()), RELU_BEFORE), inside) * unpack(weight[(3 * i + j) * c_count + c]);
        }
    }
    output[(id.z * OUT_WIDTH + id.y) * c_count + c] = pack(select(sum, max(sum, vec4f()), RELU_AFTER));
}
