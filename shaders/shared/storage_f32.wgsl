// Four values as they lie in a storage buffer: f32. Operand is the type of a product's factors.

alias Stored = vec4f;
fn unpack(stored: Stored) -> vec4f { return stored; }
fn pack(value: vec4f) -> Stored { return value; }

alias Operand = vec4f;
fn operand(stored: Stored) -> Operand { return unpack(stored); }
