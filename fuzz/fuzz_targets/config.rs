#![no_main]

use xception_fuzz::{check, readers::CONFIG};

libfuzzer_sys::fuzz_target!(|file: &[u8]| check(&CONFIG, file));
