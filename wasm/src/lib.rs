//! Nothing: the modules are the examples.
