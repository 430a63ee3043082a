// Softmax over the logits, and the TOP most likely classes in order; equal ones by their number.
//
//   p[n] = exp(logits[n] − max) / Σ_i exp(logits[i] − max)
//
// logits  [images][4·⌈CLASSES/4⌉]
// answer  [images] of [TOP] class numbers, then as the bits of f32 their [TOP] probabilities and all [CLASSES]
//
// One workgroup does all of an image (y): each invocation visits every 256th class, and trees of barriers reduce. A rank without
// a class (NaN in the logits) is 0xffffffff.

override CLASSES: u32;
override TOP: u32;

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> answer: array<u32>;

const LANES = 256u;
const NONE = 0xffffffffu;
const LOWEST = -3.4e38;

var<workgroup> values: array<f32, LANES>;
var<workgroup> numbers: array<u32, LANES>;
var<workgroup> ranked: array<f32, TOP>;

// The larger value wins, then the smaller number.
fn before(value: f32, number: u32, other_value: f32, other_number: u32) -> bool {
    return value > other_value || (value == other_value && number < other_number);
}

// Leaves the winner over all lanes in lane 0.
fn reduce_best(lane: u32) {
    workgroupBarrier();
    for (var half = LANES / 2; half > 0; half /= 2) {
        if lane < half && before(values[lane + half], numbers[lane + half], values[lane], numbers[lane]) {
            values[lane] = values[lane + half];
            numbers[lane] = numbers[lane + half];
        }
        workgroupBarrier();
    }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    let begin = group.y * ((CLASSES + 3) / 4 * 4);
    let top = group.y * (2 * TOP + CLASSES);
    let all = top + 2 * TOP;
    var last_value = 3.4e38;
    var last_number = NONE;
    var largest = 0.0;
    // Rank by rank: the best class after the last one.
    for (var rank = 0u; rank < TOP; rank++) {
        var value = LOWEST;
        var number = NONE;
        for (var n = lane; n < CLASSES; n += LANES) {
            let candidate = logits[begin + n];
            let later = rank == 0 || before(last_value, last_number, candidate, n);
            if later && before(candidate, n, value, number) {
                value = candidate;
                number = n;
            }
        }
        values[lane] = value;
        numbers[lane] = number;
        reduce_best(lane);
        last_value = values[0];
        last_number = numbers[0];
        if rank == 0 {
            largest = last_value;
        }
        if lane == 0 {
            answer[top + rank] = last_number;
            ranked[rank] = last_value;
        }
        workgroupBarrier();
    }

    var sum = 0.0;
    for (var n = lane; n < CLASSES; n += LANES) {
        sum += exp(logits[begin + n] - largest);
    }
    values[lane] = sum;
    workgroupBarrier();
    for (var half = LANES / 2; half > 0; half /= 2) {
        if lane < half {
            values[lane] += values[lane + half];
        }
        workgroupBarrier();
    }
    sum = values[0];
    for (var n = lane; n < CLASSES; n += LANES) {
        answer[all + n] = bitcast<u32>(exp(logits[begin + n] - largest) / sum);
    }
    if lane < TOP {
        answer[top + TOP + lane] = bitcast<u32>(exp(ranked[lane] - largest) / sum);
    }
}
