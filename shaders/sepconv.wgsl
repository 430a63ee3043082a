// Separable convolution in one pass: a depthwise 3×3 convolution, padded with zeros to the same size, and the product
// of its result over pixels (m), input channels (k) and output channels (n); or that product alone; or convolution over
// windows, k being the values of a window. Batch norm is folded in; in the epilogue the block's residual path is added,
// pooled where that halves the resolution, and a ReLU applied.
//
//   output[m, n] = r(bias[n] + Σ_k column[m, k] · weight[k, n] + a[m, n])
//   column[m, k] = Σ_{i, j} s(input[y + i − 1, x + j − 1, k]) · filters[i, j, k] where DEPTHWISE,
//                  else with k = (i, j, c) input[y · STRIDE + i − WINDOW_TOP, x · STRIDE + j − WINDOW_LEFT, c]; outside are zeros
//   a[m, n] = 0, or residual[m, n] where ADD, times bias[OUT_CHANNELS + n] where SCALED, or where POOL
//             with (y, x) the row and column of m in the output max_{i, j} residual[2y + i − PAD_TOP, 2x + j − PAD_LEFT, n], 3×3
//
// input     [images][IN_HEIGHT][IN_WIDTH][⌈IN_CHANNELS/4⌉] vec4; IN_CHANNELS is 3 or a multiple of 4
// weight    [KERNEL_HEIGHT][KERNEL_WIDTH][IN_CHANNELS][OUT_CHANNELS/4] vec4; the window of what is no convolution is a pixel
// bias      [OUT_CHANNELS/4] vec4, twice where SCALED
// residual  [PIXELS][OUT_CHANNELS/4] vec4, or where POOL [images][IN_HEIGHT][IN_WIDTH][OUT_CHANNELS/4]
// filters   [3][3][IN_CHANNELS/4] vec4; not read where not DEPTHWISE
// output    [PIXELS][ALL/4] vec4, OUT_CHANNELS from FIRST on, all images' pixels; r is ReLU where RELU_AFTER, s where RELU_BEFORE
//
// A workgroup computes GROUP_M·TILE_M pixels × GROUP_N·TILE_N vec4s of channels; x: channels; y: pixels, and z too where
// they are more than one dimension takes. Chunk by chunk of TILE_K vec4s along k its invocations put the columns of their
// pixels into workgroup memory, then each multiplies them into a register tile of TILE_M (4 or 8) pixels × TILE_N (1 or
// 2) vec4s, with weights straight from storage. There are two chunks in memory, so that one barrier a chunk is enough.
// SPLIT_K slices of invocations (z) take turns along k; their sums are added up in the end. Sums are f32 and named because
// compilers keep indexed local arrays out of registers.

// #include "product_constants.wgsl"
// #include "product.wgsl"

override DEPTHWISE: bool;
override RELU_BEFORE: bool;
override GROUP_N: u32;
override GROUP_M: u32;
// Neighbours along channels of each four rows of invocations: a subgroup is a block of both, and loads less than one row of both would.
override LANES_N: u32;
override SPLIT_K: u32;
override TILE_M: u32;
override TILE_N: u32;
override TILE_K: u32;
// Two chunks for each slice, by four pixels.
override A_TILE_LEN: u32;
// One slice's sums, where there are several slices.
override SUMS: u32;

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> residual: array<Stored>;
@group(0) @binding(4) var<storage, read> filters: array<Stored>;
@group(0) @binding(5) var<storage, read_write> output: array<Stored>;

// Four pixels by chunk, four pixels of the workgroup and channel group: what an invocation multiplies with has constant places in it.
var<workgroup> a_tile: array<array<Operand, 4>, A_TILE_LEN>;
var<workgroup> sums: array<vec4f, SUMS>;

// The weights of a channel group's fourth channel, from vec4 w on; an image has none.
fn last(w: u32) -> Stored {
    if IN_CHANNELS == 3 {
        return Stored();
    }
    return weight[w];
}

// The left matrix: pixel m of the result, channel group c.
fn column(m: u32, c: u32) -> vec4f {
    if !DEPTHWISE {
        return value(source(m, c / in_count()), c % in_count());
    }
    let x = m % OUT_WIDTH;
    let y = m / OUT_WIDTH % OUT_HEIGHT;
    var sum = vec4f();
    for (var i = 0u; i < 3; i++) {
        for (var j = 0u; j < 3; j++) {
            // Row or column −1 wraps round to a huge number. What is outside is read somewhere, and taken as zero:
            // taps without a branch are loaded together.
            let inside = (y + i - 1 < IN_HEIGHT) & (x + j - 1 < IN_WIDTH);
            var value = unpack(input[(m + i * IN_WIDTH + j - IN_WIDTH - 1) * in_count() + c]);
            if RELU_BEFORE {
                value = max(value, vec4f());
            }
            sum += select(vec4f(), value, inside) * unpack(filters[(3 * i + j) * in_count() + c]);
        }
    }
    return sum;
}

// Stores the sums of pixel m at channel group n, bias included.
fn store(m: u32, n: u32, sum: vec4f) {
    if m < PIXELS {
        output[result(m, n)] = epilogue(m, n, sum);
    }
}

@compute @workgroup_size(GROUP_N, GROUP_M, SPLIT_K)
fn main(
    @builtin(local_invocation_id) local: vec3u,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let k_count = KERNEL_HEIGHT * KERNEL_WIDTH * in_count();
    let n_count = OUT_CHANNELS / 4;
    let threads = GROUP_N * GROUP_M;
    let block_m = GROUP_M * TILE_M;
    let chunk = block_m * TILE_K;
    let index = local.y * GROUP_N + local.x;
    let block = index / LANES_N;
    let lane_n = index % LANES_N + block / 4 % (GROUP_N / LANES_N) * LANES_N;
    let lane_m = block % 4 + block / 4 / (GROUP_N / LANES_N) * 4;
    let first = (group.z * groups.y + group.y) * block_m;
    let n = (group.x * GROUP_N + lane_n) * TILE_N;
    // Invocations past the end repeat the last channels: all must reach the barriers.
    let held = min(n, n_count - TILE_N);
    var left0 = vec4f();
    var left1 = vec4f();
    var left2 = vec4f();
    var left3 = vec4f();
    var left4 = vec4f();
    var left5 = vec4f();
    var left6 = vec4f();
    var left7 = vec4f();
    var right0 = vec4f();
    var right1 = vec4f();
    var right2 = vec4f();
    var right3 = vec4f();
    var right4 = vec4f();
    var right5 = vec4f();
    var right6 = vec4f();
    var right7 = vec4f();
    let turns = (k_count / TILE_K + SPLIT_K - 1) / SPLIT_K;
    for (var turn = 0u; turn < turns; turn++) {
        let begin = (turn * SPLIT_K + local.z) * TILE_K;
        let buffer = (turn % 2 * SPLIT_K + local.z) * (chunk / 4);
        if begin < k_count {
            for (var i = index; i < chunk; i += threads) {
                let c = i % TILE_K;
                let pixel = i / TILE_K;
                a_tile[buffer + pixel / 4 * TILE_K + c][pixel % 4] = Operand(column(min(first + pixel, PIXELS - 1), begin + c));
            }
        }
        workgroupBarrier();
        if begin < k_count {
            for (var j = 0u; j < TILE_K; j++) {
                let w = weight_row(begin + j) * n_count + held;
                let l0 = operand(weight[w]);
                let l1 = operand(weight[w + n_count]);
                let l2 = operand(weight[w + 2 * n_count]);
                let l3 = operand(last(w + 3 * n_count));
                let at = buffer + lane_m * (TILE_M / 4) * TILE_K + j;
                let v0 = a_tile[at][0];
                let v1 = a_tile[at][1];
                let v2 = a_tile[at][2];
                let v3 = a_tile[at][3];
                left0 = multiply_add(left0, v0, l0, l1, l2, l3);
                left1 = multiply_add(left1, v1, l0, l1, l2, l3);
                left2 = multiply_add(left2, v2, l0, l1, l2, l3);
                left3 = multiply_add(left3, v3, l0, l1, l2, l3);
                var r0 = Operand();
                var r1 = Operand();
                var r2 = Operand();
                var r3 = Operand();
                if TILE_N > 1 {
                    r0 = operand(weight[w + 1]);
                    r1 = operand(weight[w + n_count + 1]);
                    r2 = operand(weight[w + 2 * n_count + 1]);
                    r3 = operand(last(w + 3 * n_count + 1));
                    right0 = multiply_add(right0, v0, r0, r1, r2, r3);
                    right1 = multiply_add(right1, v1, r0, r1, r2, r3);
                    right2 = multiply_add(right2, v2, r0, r1, r2, r3);
                    right3 = multiply_add(right3, v3, r0, r1, r2, r3);
                }
                if TILE_M > 4 {
                    let v4 = a_tile[at + TILE_K][0];
                    let v5 = a_tile[at + TILE_K][1];
                    let v6 = a_tile[at + TILE_K][2];
                    let v7 = a_tile[at + TILE_K][3];
                    left4 = multiply_add(left4, v4, l0, l1, l2, l3);
                    left5 = multiply_add(left5, v5, l0, l1, l2, l3);
                    left6 = multiply_add(left6, v6, l0, l1, l2, l3);
                    left7 = multiply_add(left7, v7, l0, l1, l2, l3);
                    if TILE_N > 1 {
                        right4 = multiply_add(right4, v4, r0, r1, r2, r3);
                        right5 = multiply_add(right5, v5, r0, r1, r2, r3);
                        right6 = multiply_add(right6, v6, r0, r1, r2, r3);
                        right7 = multiply_add(right7, v7, r0, r1, r2, r3);
                    }
                }
            }
        }
    }
    // One slice after another hands its sums to the first.
    for (var slice = 1u; slice < SPLIT_K; slice++) {
        workgroupBarrier();
        if local.z == slice {
            sums[index] = left0;
            sums[index + threads] = left1;
            sums[index + 2 * threads] = left2;
            sums[index + 3 * threads] = left3;
            if TILE_M > 4 {
                sums[index + 4 * threads] = left4;
                sums[index + 5 * threads] = left5;
                sums[index + 6 * threads] = left6;
                sums[index + 7 * threads] = left7;
            }
        }
        workgroupBarrier();
        if local.z == 0 {
            left0 += sums[index];
            left1 += sums[index + threads];
            left2 += sums[index + 2 * threads];
            left3 += sums[index + 3 * threads];
            if TILE_M > 4 {
                left4 += sums[index + 4 * threads];
                left5 += sums[index + 5 * threads];
                left6 += sums[index + 6 * threads];
                left7 += sums[index + 7 * threads];
            }
        }
    }
    if local.z != 0 || n >= n_count {
        return;
    }
    let m = first + lane_m * TILE_M;
    let left_bias = bias[n];
    store(m, n, left0 + left_bias);
    store(m + 1, n, left1 + left_bias);
    store(m + 2, n, left2 + left_bias);
    store(m + 3, n, left3 + left_bias);
    if TILE_M > 4 {
        store(m + 4, n, left4 + left_bias);
        store(m + 5, n, left5 + left_bias);
        store(m + 6, n, left6 + left_bias);
        store(m + 7, n, left7 + left_bias);
    }
    if TILE_N > 1 {
        // OUT_CHANNELS is a multiple of 8.
        let right_bias = bias[n + 1];
        store(m, n + 1, right0 + right_bias);
        store(m + 1, n + 1, right1 + right_bias);
        store(m + 2, n + 1, right2 + right_bias);
        store(m + 3, n + 1, right3 + right_bias);
        if TILE_M > 4 {
            store(m + 4, n + 1, right4 + right_bias);
            store(m + 5, n + 1, right5 + right_bias);
            store(m + 6, n + 1, right6 + right_bias);
            store(m + 7, n + 1, right7 + right_bias);
        }
    }
}
