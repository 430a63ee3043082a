//! The module `learn`.

pub use xception::*;
