//! The command line tool, and files to give it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn model() -> String {
    root().join("models/kitchenware/kitchenware.keras").display().to_string()
}

pub fn photo(name: &str) -> String {
    root().join("models/kitchenware/photos").join(name).display().to_string()
}

/// A file of this test run.
pub fn scratch(name: &str, content: &[u8]) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

pub fn xception(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xception")).args(arguments).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// It failed with this exit code and one sentence that holds all of `words`, and did not panic.
pub fn refused(output: &Output, code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let sentences: Vec<&str> = stderr.lines().filter(|line| line.starts_with("xception: ")).collect();
    let fits = |sentence: &&str| words.iter().all(|word| sentence.contains(word));
    assert!(sentences.iter().any(fits), "no sentence with {words:?} in: {stderr}");
}
