enable f16;
// Four values as they lie in a storage buffer: f16, with the device's shader-f16. Stores saturate to ±65504. Operand is the type of a
// product's factors: f16 too.

alias Stored = vec4h;
fn unpack(stored: Stored) -> vec4f { return vec4f(stored); }
fn pack(value: vec4f) -> Stored { return vec4h(clamp(value, vec4f(-65504.0), vec4f(65504.0))); }

alias Operand = vec4h;
fn operand(stored: Stored) -> Operand { return stored; }
