// Activation functions by number: f by FUNCTION, with α or a slope as PARAMETER where it has one.

override FUNCTION: u32;
override PARAMETER: f32;

// Beyond this exp and tanh of f32 have no other value than at it, and nothing overflows.
const LARGEST = vec4f(87.0);

// 1 / (1 + exp(−x))
fn sigmoid(x: vec4f) -> vec4f {
    return 1.0 / (1.0 + exp(clamp(-x, -LARGEST, LARGEST)));
}

// tanh, which some drivers compute from exp(x) without regard to its range.
fn hyperbolic_tangent(x: vec4f) -> vec4f {
    return tanh(clamp(x, vec4f(-10.0), vec4f(10.0)));
}

// The error function, after Abramowitz and Stegun 7.1.26: errs by less than 2e-7.
fn error_function(x: vec4f) -> vec4f {
    let a = abs(x);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - sum * exp(-min(a * a, LARGEST)));
}

fn activation(x: vec4f) -> vec4f {
    let negative = exp(max(min(x, vec4f()), -LARGEST)) - 1.0;
    switch FUNCTION {
        case 0: { return max(x, vec4f()); }
        case 1: { return clamp(x, vec4f(), vec4f(6.0)); }
        case 2: { return select(x, PARAMETER * negative, x < vec4f()); }
        case 3: { return 1.050701 * select(x, 1.6732632 * negative, x < vec4f()); }
        case 4: { return select(x, PARAMETER * x, x < vec4f()); }
        case 5: { return 0.5 * x * (1.0 + error_function(x * 0.70710678)); }
        case 6: { return 0.5 * x * (1.0 + hyperbolic_tangent(0.7978846 * (x + 0.044715 * x * x * x))); }
        case 7: { return x * sigmoid(x); }
        case 8: { return hyperbolic_tangent(x); }
        case 9: { return sigmoid(x); }
        case 10: { return clamp(PARAMETER * x + 0.5, vec4f(), vec4f(1.0)); }
        default: { return max(x, vec4f()) + log(1.0 + exp(max(-abs(x), -LARGEST))); }
    }
}
