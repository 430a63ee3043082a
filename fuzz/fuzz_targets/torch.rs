#![no_main]

use xception_fuzz::{check, readers::HEAD};

libfuzzer_sys::fuzz_target!(|file: &[u8]| check(&HEAD, file));
