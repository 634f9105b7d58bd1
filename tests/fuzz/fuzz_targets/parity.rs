#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: icecore_fuzz::write_seeds("parity"), |data: &[u8]| icecore_fuzz::parity(data));
