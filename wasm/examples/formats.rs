//! The module `formats`.

pub use xception::*;
