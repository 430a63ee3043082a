#![no_main]

use xception_fuzz::{check, readers::FOREIGN};

libfuzzer_sys::fuzz_target!(|file: &[u8]| check(&FOREIGN, file));
