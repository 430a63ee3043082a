//! The readers that are fuzzed: those of `tests/mutations`.

#[path = "../../tests/mutations/memory.rs"]
mod memory;
#[path = "../../tests/mutations/readers.rs"]
pub mod readers;

/// Reads a file.
///
/// # Panics
/// Where it takes more memory than the file warrants.
pub fn check(reader: &readers::Reader, file: &[u8]) {
    let (_, memory) = memory::measured(("fuzz", 0), || (reader.read)(file).is_ok());
    let limit = (reader.limit)(file);
    assert!(memory <= limit, "{memory} of {limit} bytes");
}
