#![no_main]

use xception_fuzz::{check, readers::LEARNED};

libfuzzer_sys::fuzz_target!(|file: &[u8]| check(&LEARNED, file));
