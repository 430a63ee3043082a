#![no_main]

use xception_fuzz::{check, readers::IMAGE};

libfuzzer_sys::fuzz_target!(|file: &[u8]| check(&IMAGE, file));
