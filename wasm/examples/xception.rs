//! The module `xception`.

pub use xception::*;
