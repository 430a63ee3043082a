//! The module `cpu_threads`.

pub use xception::*;
