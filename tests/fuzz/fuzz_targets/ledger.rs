#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: icecore_fuzz::write_seeds("ledger"), |data: &[u8]| icecore_fuzz::ledger(data));
