// Four values as they lie in a storage buffer: f16 in two words, which needs no feature of the device. Stores saturate to ±65504.
// Operand is the type of a product's factors: f32.

alias Stored = vec2u;
fn unpack(stored: Stored) -> vec4f { return vec4f(unpack2x16float(stored.x), unpack2x16float(stored.y)); }
fn pack(value: vec4f) -> Stored {
    let saturated = clamp(value, vec4f(-65504.0), vec4f(65504.0));
    return vec2u(pack2x16float(saturated.xy), pack2x16float(saturated.zw));
}

alias Operand = vec4f;
fn operand(stored: Stored) -> Operand { return unpack(stored); }

// A sum of products and four more.
fn multiply_add(sum: vec4f, a: Operand, w0: Operand, w1: Operand, w2: Operand, w3: Operand) -> vec4f {
    return sum + a.x * w0 + a.y * w1 + a.z * w2 + a.w * w3;
}
