//! The module `cpu_relaxed`.

pub use xception::*;
