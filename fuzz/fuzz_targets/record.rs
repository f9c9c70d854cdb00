//! Records of the log, as a crash may have left them.
#![no_main]

use edgectl_hub::edge::store::record::Record;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Record::decode(data);
});
