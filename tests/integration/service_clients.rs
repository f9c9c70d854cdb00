//! The real SDKs of services against the cloud hub of a simulated device.

use serde_json::json;

use crate::clients::{Site, node};
use crate::sdk;

#[test]
fn the_python_sdk_manages_devices_configurations_and_jobs() {
    let python = sdk::service_python();
    let site = Site::start();
    site.run(python, "python/service.py", &site.facts());
    site.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn the_python_sdks_send_to_devices_and_read_what_they_send() {
    let python = sdk::service_python();
    let site = Site::start();
    site.run(python, "python/endpoint.py", &site.facts());
    site.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn the_node_sdks_do_all_that_services_do() {
    let (node, modules) = node("node_service");
    let site = Site::start();
    let mut facts = site.facts();
    facts["nodeModules"] = json!(modules);
    site.run(&node, "node_service/service.js", &facts);
    site.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn devices_bring_files_with_the_python_sdk() {
    let python = sdk::service_python();
    let site = Site::start();
    site.run(python, "python/files.py", &site.facts());
    site.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn devices_bring_files_with_the_node_sdk_services_are_told_and_tools_find_the_endpoint() {
    let (node, modules) = node("node_service");
    let site = Site::start();
    let mut facts = site.facts();
    facts["nodeModules"] = json!(modules);
    site.run(&node, "node_service/files.js", &facts);
    site.run(&node, "node_service/redirect.js", &facts);
    site.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn what_services_did_survives_a_kill() {
    let python = sdk::service_python();
    let site = Site::start();
    site.run(python, "python/service.py", &site.facts());
    let events = || {
        let told = site.edgectl(&["events", "--json", "--source", "all"]).assert().success();
        String::from_utf8(told.get_output().stdout.clone()).unwrap()
    };
    let before = events();
    assert!(before.lines().count() > 10, "{before}");
    site.kill();
    site.edgectl(&["sim", "up", "-d"]).assert().success();
    assert!(events().starts_with(&before), "what was received is still there");
    let mut facts = site.facts();
    facts["after"] = json!(true);
    site.run(python, "python/after.py", &facts);
    site.edgectl(&["sim", "down"]).assert().success();
}
