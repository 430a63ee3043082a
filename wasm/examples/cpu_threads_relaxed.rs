//! The module `cpu_threads_relaxed`.

pub use xception::*;
