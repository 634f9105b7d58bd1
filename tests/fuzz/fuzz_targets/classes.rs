#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: icecore_fuzz::classes::write_seeds(), |data: &[u8]| icecore_fuzz::classes::check(data));
