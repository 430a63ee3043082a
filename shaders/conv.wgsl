// Convolution over windows as a matrix product over pixels (m), the values of a window (k) and output channels (n); 1×1 convolution is one
// whose window is a pixel. Batch norm is folded in; in the epilogue the block's residual path is added, pooled where that halves the
// resolution, and a ReLU applied.
//
//   output[m, n] = r(bias[n] + Σ_k window[m, k] · weight[k, n] + a[m, n])
//   window[m, k] with k = (i, j, c) = input[y · STRIDE + i − WINDOW_TOP, x · STRIDE + j − WINDOW_LEFT, c],
//             (y, x) the row and column of m in the output; outside of the input are zeros
//   a[m, n] = 0, or residual[m, n] where ADD, times bias[OUT_CHANNELS + n] where SCALED, or where POOL
//             max_{i, j} residual[2y + i − PAD_TOP, 2x + j − PAD_LEFT, n], 3×3
//
// input     [images][IN_HEIGHT][IN_WIDTH][⌈IN_CHANNELS/4⌉] vec4; IN_CHANNELS is 3 or a multiple of 4
// weight    [KERNEL_HEIGHT][KERNEL_WIDTH][IN_CHANNELS][OUT_CHANNELS/4] vec4
// bias      [OUT_CHANNELS/4] vec4, twice where SCALED
// residual  [PIXELS][OUT_CHANNELS/4] vec4, or where POOL [images][IN_HEIGHT][IN_WIDTH][OUT_CHANNELS/4]
// numbers   the shapes
// output    [PIXELS][ALL/4] vec4, OUT_CHANNELS from FIRST on, all images' pixels; r is ReLU where RELU_AFTER, else the identity
//
// One invocation computes a register tile of 16 pixels × 8 channels, straight from storage: each step over four k
// loads 24 vec4s for 512 multiply-accumulates, as products of 4×4 matrices (four channels × four k) with a pixel's
// four k. Tiles are counted along channels first, then along pixels, so that no invocation idles where channels are few.
// x: 16 tiles; y: workgroups of them, and z too where they are more than one dimension takes.
// OUT_CHANNELS is a multiple of 8 in every layer; ragged pixels are computed from the last one and not stored. The sums
// are named because compilers keep indexed local arrays out of registers. This suits CPUs: sepconv.wgsl is for GPUs.

// #include "product_numbers.wgsl"
// #include "product.wgsl"

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> residual: array<Stored>;
@group(0) @binding(4) var<storage, read> numbers: array<u32>;
@group(0) @binding(5) var<storage, read_write> output: array<Stored>;

// The weights of a channel group, from vec4 w on; an image has no fourth channel.
fn weights(w: u32) -> mat4x4f {
    let row = OUT_CHANNELS / 4;
    return mat4x4f(
        unpack(weight[w]),
        unpack(weight[w + row]),
        unpack(weight[w + 2 * row]),
        select(unpack(weight[w + 3 * row]), vec4f(), IN_CHANNELS == 3),
    );
}

// Stores the sums of pixel m at channel group n.
fn store(m: u32, n: u32, sum: vec4f) {
    output[result(m, n)] = epilogue(m, n, sum);
}

@compute @workgroup_size(16)
fn main(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    read_numbers();
    let n_count = OUT_CHANNELS / 4;
    let tile = (group.z * groups.y + group.y) * 16 + index;
    let n = tile % (n_count / 2) * 2;
    let m = tile / (n_count / 2) * 16;
    if m >= PIXELS {
        return;
    }
    var left0 = bias[n];
    var right0 = bias[n + 1];
    var left1 = left0;
    var right1 = right0;
    var left2 = left0;
    var right2 = right0;
    var left3 = left0;
    var right3 = right0;
    var left4 = left0;
    var right4 = right0;
    var left5 = left0;
    var right5 = right0;
    var left6 = left0;
    var right6 = right0;
    var left7 = left0;
    var right7 = right0;
    var left8 = left0;
    var right8 = right0;
    var left9 = left0;
    var right9 = right0;
    var left10 = left0;
    var right10 = right0;
    var left11 = left0;
    var right11 = right0;
    var left12 = left0;
    var right12 = right0;
    var left13 = left0;
    var right13 = right0;
    var left14 = left0;
    var right14 = right0;
    var left15 = left0;
    var right15 = right0;
    for (var tap = 0u; tap < KERNEL_HEIGHT * KERNEL_WIDTH; tap++) {
        let p0 = source(m, tap);
        let p1 = source(m + 1, tap);
        let p2 = source(m + 2, tap);
        let p3 = source(m + 3, tap);
        let p4 = source(m + 4, tap);
        let p5 = source(m + 5, tap);
        let p6 = source(m + 6, tap);
        let p7 = source(m + 7, tap);
        let p8 = source(m + 8, tap);
        let p9 = source(m + 9, tap);
        let p10 = source(m + 10, tap);
        let p11 = source(m + 11, tap);
        let p12 = source(m + 12, tap);
        let p13 = source(m + 13, tap);
        let p14 = source(m + 14, tap);
        let p15 = source(m + 15, tap);
        for (var c = 0u; c < in_count(); c++) {
            let w = weight_row(tap * in_count() + c) * n_count + n;
            let l = weights(w);
            let r = weights(w + 1);
            let v0 = value(p0, c);
            left0 += l * v0;
            right0 += r * v0;
            let v1 = value(p1, c);
            left1 += l * v1;
            right1 += r * v1;
            let v2 = value(p2, c);
            left2 += l * v2;
            right2 += r * v2;
            let v3 = value(p3, c);
            left3 += l * v3;
            right3 += r * v3;
            let v4 = value(p4, c);
            left4 += l * v4;
            right4 += r * v4;
            let v5 = value(p5, c);
            left5 += l * v5;
            right5 += r * v5;
            let v6 = value(p6, c);
            left6 += l * v6;
            right6 += r * v6;
            let v7 = value(p7, c);
            left7 += l * v7;
            right7 += r * v7;
            let v8 = value(p8, c);
            left8 += l * v8;
            right8 += r * v8;
            let v9 = value(p9, c);
            left9 += l * v9;
            right9 += r * v9;
            let v10 = value(p10, c);
            left10 += l * v10;
            right10 += r * v10;
            let v11 = value(p11, c);
            left11 += l * v11;
            right11 += r * v11;
            let v12 = value(p12, c);
            left12 += l * v12;
            right12 += r * v12;
            let v13 = value(p13, c);
            left13 += l * v13;
            right13 += r * v13;
            let v14 = value(p14, c);
            left14 += l * v14;
            right14 += r * v14;
            let v15 = value(p15, c);
            left15 += l * v15;
            right15 += r * v15;
        }
    }
    // Indexed only here, where it is done once and spares 32 copies of the epilogue.
    var left = array<vec4f, 16>(
        left0, left1, left2, left3, left4, left5, left6, left7,
        left8, left9, left10, left11, left12, left13, left14, left15,
    );
    var right = array<vec4f, 16>(
        right0, right1, right2, right3, right4, right5, right6, right7,
        right8, right9, right10, right11, right12, right13, right14, right15,
    );
    for (var i = 0u; i < 16 && m + i < PIXELS; i++) {
        store(m + i, n, left[i]);
        store(m + i, n + 1, right[i]);
    }
}
