// Activation function backwards: how much its result, weighted by a gradient, changes with each value.
//
//   output[i] = gradient[i] · f′(input[i])
//
// gradient  [images][PIXELS][⌈CHANNELS/4⌉] vec4 of f32
// input     as gradient, stored as activations are where they are not vectors
// output    as gradient
//
// One invocation computes 4 channels of a pixel; x: channels, y: pixels, z: images.

// #include "storage.wgsl"
// #include "elementwise.wgsl"
// #include "functions.wgsl"

@group(0) @binding(0) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;

fn slope(x: vec4f) -> vec4f {
    let right = x > vec4f();
    let one = vec4f(1.0);
    let negative = exp(max(min(x, vec4f()), -LARGEST));
    let logistic = sigmoid(x);
    switch FUNCTION {
        case 0: { return select(vec4f(), one, right); }
        case 1: { return select(vec4f(), one, right & (x < vec4f(6.0))); }
        case 2: { return select(PARAMETER * negative, one, right); }
        case 3: { return 1.050701 * select(1.6732632 * negative, one, right); }
        case 4: { return select(vec4f(PARAMETER), one, right); }
        case 5: {
            let density = 0.3989423 * exp(-min(0.5 * x * x, LARGEST));
            return 0.5 * (1.0 + error_function(x * 0.70710678)) + x * density;
        }
        case 6: {
            let t = hyperbolic_tangent(0.7978846 * (x + 0.044715 * x * x * x));
            return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.7978846 * (1.0 + 0.134145 * x * x);
        }
        case 7: { return logistic * (1.0 + x * (1.0 - logistic)); }
        case 8: { let t = hyperbolic_tangent(x); return 1.0 - t * t; }
        case 9: { return logistic * (1.0 - logistic); }
        case 10: { return select(vec4f(), vec4f(PARAMETER), abs(PARAMETER * x) < vec4f(0.5)); }
        default: { return logistic; }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= groups() {
        return;
    }
    let at = place(id);
    output[at] = gradient[at] * slope(unpack(input[at]));
}
