#![no_main]

use xception_fuzz::{check, readers::OWN};

libfuzzer_sys::fuzz_target!(|file: &[u8]| check(&OWN, file));
