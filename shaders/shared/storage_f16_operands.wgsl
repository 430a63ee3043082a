enable f16;
// Four values as they lie in a storage buffer: f16, with the device's shader-f16. Stores saturate to ±65504. Operand is the type of a
// product's factors: f16 too.

alias Stored = vec4h;
fn unpack(stored: Stored) -> vec4f { return vec4f(stored); }
fn pack(value: vec4f) -> Stored { return vec4h(clamp(value, vec4f(-65504.0), vec4f(65504.0))); }

alias Operand = vec4h;
fn operand(stored: Stored) -> Operand { return stored; }

// A sum of products and four more, which are added up as f16.
fn multiply_add(sum: vec4f, a: Operand, w0: Operand, w1: Operand, w2: Operand, w3: Operand) -> vec4f {
    return sum + vec4f(a.x * w0 + a.y * w1 + a.z * w2 + a.w * w3);
}
