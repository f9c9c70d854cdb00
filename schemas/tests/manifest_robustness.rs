//! No document makes the checker panic, and what it reports stands in the text.

use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::manifest::checks::run::{Purpose, check};
use proptest::prelude::*;

/// A layer over a base, in one text: every room of the checker has something to look at.
const MANIFEST: &str = r#"{"modulesContent":{"$edgeAgent":{"properties.desired":{"schemaVersion":"1.1","runtime":{"type":
"docker","settings":{"registryCredentials":{"a":{"address":"x.y","username":"u","password":"p"}}}},"systemModules":{
"edgeAgent":{"type":"docker","settings":{"image":"a:1.5"}},"edgeHub":{"type":"docker","status":"running","settings":{
"image":"h:1","createOptions":"{\"HostConfig\":{\"PortBindings\":{\"443/tcp\":[{\"HostPort\":\"443\"}]},\"Binds\":[\"",
"createOptions01":"/a:/b\"],\"Privileged\":true},\"Env\":[\"Ä=\\u00e9\"]}"}}},"modules":{"m":{"type":"docker","status":
"running","env":{"A":{"value":1}},"settings":{"image":"x.y/m:2","createOptions":{"HostConfig":{"PortBindings":{"443/tcp":
[{"HostPort":"443"}]}}}}}}}},"$edgeHub":{"properties.desired":{"schemaVersion":"1.2","routes":{"r":{"route":
"FROM /messages/modules/m/* WHERE $body.é = 'ü' AND as_number(t) > 3 INTO BrokeredEndpoint(\"/modules/M/inputs/i\") x",
"priority":3},"s":"FROM /messages/modules/*/x INTO $upstream"},"storeAndForwardConfiguration":{"timeToLiveSecs":5},
"mqttBroker":{"bridges":[{"endpoint":"e","settings":[{"direction":"in","topic":"a/#"}]}],"authorizations":[{"identities":
["{{iot:identity}}"],"allow":[{"operations":["mqtt:publish"],"resources":["a/+"]}]}]}}},"m":{"properties.desired.a":1}}}"#;

fn mutated(text: &str, changes: &[(prop::sample::Index, u8, char)]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for (index, what, character) in changes {
        let at = index.index(characters.len().max(1));
        match what % 4 {
            0 if at < characters.len() => {
                characters.remove(at);
            }
            1 => characters.insert(at, *character),
            2 if at < characters.len() => characters[at] = *character,
            _ => {
                let end = (at + 20).min(characters.len());
                let piece = characters[at.min(end)..end].to_vec();
                let to = (at * 7) % (characters.len() + 1);
                characters.splice(to..to, piece);
            }
        }
    }
    characters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changed_manifests_are_checked_to_the_end(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(),
            prop::sample::select(vec!['"', '\\', '{', '}', '[', ']', ':', ',', '$', '/', '*', '\'', '(', '1', 'é', ' ', '\n'])), 0..6),
        is_template in any::<bool>(),
        is_yaml in any::<bool>(),
    ) {
        let text = mutated(MANIFEST, &changes);
        let format = if is_yaml { Format::Yaml } else { Format::Json };
        let purpose = if is_template { Purpose::Template } else { Purpose::Manifest };
        if let Ok(document) = Document::parse("m", text.clone(), format) {
            for found in check(&document, purpose).diagnostics {
                prop_assert!(text.get(found.span.range()).is_some(), "{}: {:?}", found.message, found.span);
            }
        }
    }

    #[test]
    fn changed_create_options_have_places_in_their_text(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(),
            prop::sample::select(vec!['"', '\\', '{', '}', '[', ']', ':', ',', '1', 'é', ' '])), 1..4),
    ) {
        let options = r#"{"HostConfig":{"Binds":["a"],"portBindings":{"1/tcp":[{"HostPort":"1"}]}},"Mounts":[],"Cmdd":1}"#;
        let value = serde_json::to_string(&mutated(options, &changes)).expect("a text is JSON");
        let text = format!(r#"{{"modulesContent":{{"$edgeAgent":{{"properties.desired":{{"modules":{{"m":{{"settings":
            {{"image":"a:1","createOptions":{value}}}}}}}}}}}}}}}"#);
        let start = text.find("createOptions").expect("it is there");
        if let Ok(document) = Document::parse("m", text.clone(), Format::Json) {
            for found in check(&document, Purpose::Manifest).diagnostics {
                let is_option = found.rule.code.starts_with("EDGE04");
                prop_assert!(!is_option || found.span.start >= start, "{}: {:?}", found.message, found.span);
                prop_assert!(text.get(found.span.range()).is_some());
            }
        }
    }
}
