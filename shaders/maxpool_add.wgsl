// 3×3 max pooling with stride 2, and the sum with the block's shortcut.
//
//   output[y, x, c] = shortcut[y, x, c] + max_{i, j} input[2y + i − PAD_TOP, 2x + j − PAD_LEFT, c]
//
// input     [IN_HEIGHT][IN_WIDTH][CHANNELS/4] vec4; positions outside it do not count
// shortcut  [OUT_HEIGHT][OUT_WIDTH][CHANNELS/4] vec4
// output    as shortcut
//
// One invocation computes 1 pixel × 4 channels; x: channels, y: columns, z: rows.

override IN_HEIGHT: u32;
override IN_WIDTH: u32;
override OUT_HEIGHT: u32;
override OUT_WIDTH: u32;
override CHANNELS: u32;
override PAD_TOP: u32;
override PAD_LEFT: u32;

// Four values as they are stored: f32 here; kernel.rs puts f16 in place of these three lines.
alias Stored = vec4f;
fn unpack(stored: Stored) -> vec4f { return stored; }
fn pack(value: vec4f) -> Stored { return value; }

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> shortcut: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let c = id.x;
    let c_count = CHANNELS / 4;
    if c >= c_count {
        return;
    }
    // The window's centre always lies inside, for either padding; positions outside repeat it.
    let y = 2 * id.z + 1 - PAD_TOP;
    let x = 2 * id.y + 1 - PAD_LEFT;
    let centre_y = min(y, IN_HEIGHT - 1);
    let centre_x = min(x, IN_WIDTH - 1);
    var largest = unpack(input[(centre_y * IN_WIDTH + centre_x) * c_count + c]);
    for (var i = 0u; i < 3; i++) {
        for (var j = 0u; j < 3; j++) {
            // Row or column −1 wraps round to a huge number.
            let row = y + i - 1;
            let column = x + j - 1;
            if row < IN_HEIGHT && column < IN_WIDTH {
                largest = max(largest, unpack(input[(row * IN_WIDTH + column) * c_count + c]));
            }
        }
    }
    let out = (id.z * OUT_WIDTH + id.y) * c_count + c;
    output[out] = pack(largest + unpack(shortcut[out]));
}
