//! The module `cpu`.

pub use xception::*;
