// Four values as they lie in a storage buffer: f32. Operand is the type of a product's factors.

alias Stored = vec4f;
fn unpack(stored: Stored) -> vec4f { return stored; }
fn pack(value: vec4f) -> Stored { return value; }

alias Operand = vec4f;
fn operand(stored: Stored) -> Operand { return unpack(stored); }

// A sum of products and four more.
fn multiply_add(sum: vec4f, a: Operand, w0: Operand, w1: Operand, w2: Operand, w3: Operand) -> vec4f {
    return sum + a.x * w0 + a.y * w1 + a.z * w2 + a.w * w3;
}
