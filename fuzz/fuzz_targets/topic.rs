//! Topics, property bags, user names and tokens from a client.
#![no_main]

use edgectl_hub::message::Message;
use edgectl_schemas::sas::SasToken;
use edgectl_simulator::mqtt::property_bag;
use edgectl_simulator::mqtt::topic::{Published, feature_of};
use edgectl_simulator::mqtt::username::Username;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = Published::parse(text);
    let _ = feature_of(text);
    let _ = Username::parse(text);
    let _ = SasToken::parse(text);
    property_bag::read(text, &mut Message::default());
});
