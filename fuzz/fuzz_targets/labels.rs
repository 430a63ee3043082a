#![no_main]

use xception_fuzz::{check, readers::LABELS};

libfuzzer_sys::fuzz_target!(|file: &[u8]| check(&LABELS, file));
