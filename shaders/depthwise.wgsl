// Depthwise 3×3 convolution, padded with zeros to the same size; optionally a ReLU before it.
//
//   output[y, x, c] = Σ_{i, j} r(input[y + i − 1, x + j − 1, c]) · weight[i, j, c],  r = ReLU or identity
//
// input   [images][HEIGHT][WIDTH][CHANNELS/4] vec4
// weight  [3][3][CHANNELS/4] vec4
// output  as input
//
// One invocation computes 4 neighbouring pixels × 4 channels; x: channels, y: columns, z: rows
// of all images.

override HEIGHT: u32;
override WIDTH: u32;
override CHANNELS: u32;
override RELU_BEFORE: bool;

// Four values as they are stored: f32 here; kernel.rs puts f16 in place of these three lines.
alias Stored = vec4f;
fn unpack(stored: Stored) -> vec4f { return stored; }
fn pack(value: vec4f) -> Stored { return value; }

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

// The value at a column that may lie outside the image.
fn load(row: u32, x: i32, c: u32) -> vec4f {
    if x < 0 || x >= i32(WIDTH) {
        return vec4f();
    }
    let value = unpack(input[(row * WIDTH + u32(x)) * (CHANNELS / 4) + c]);
    if RELU_BEFORE {
        return max(value, vec4f());
    }
    return value;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let c = id.x;
    let c_count = CHANNELS / 4;
    let x = id.y * 4;
    if c >= c_count || x >= WIDTH {
        return;
    }
    var sum0 = vec4f();
    var sum1 = vec4f();
    var sum2 = vec4f();
    var sum3 = vec4f();
    for (var i = 0u; i < 3; i++) {
        // Row −1 wraps round to a huge number and is skipped like one past the end.
        if id.z % HEIGHT + i - 1 < HEIGHT {
            let row = id.z + i - 1;
            let left = i32(x) - 1;
            let v0 = load(row, left, c);
            let v1 = load(row, left + 1, c);
            let v2 = load(row, left + 2, c);
            let v3 = load(row, left + 3, c);
            let v4 = load(row, left + 4, c);
            let v5 = load(row, left + 5, c);
            let w0 = unpack(weight[i * 3 * c_count + c]);
            let w1 = unpack(weight[(i * 3 + 1) * c_count + c]);
            let w2 = unpack(weight[(i * 3 + 2) * c_count + c]);
            sum0 += v0 * w0 + v1 * w1 + v2 * w2;
            sum1 += v1 * w0 + v2 * w1 + v3 * w2;
            sum2 += v2 * w0 + v3 * w1 + v4 * w2;
            sum3 += v3 * w0 + v4 * w1 + v5 * w2;
        }
    }
    let out = (id.z * WIDTH + x) * c_count + c;
    output[out] = pack(sum0);
    if x + 1 < WIDTH { output[out + c_count] = pack(sum1); }
    if x + 2 < WIDTH { output[out + 2 * c_count] = pack(sum2); }
    if x + 3 < WIDTH { output[out + 3 * c_count] = pack(sum3); }
}
