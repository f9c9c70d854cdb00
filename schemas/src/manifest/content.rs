//! Finding things in a manifest, in all the shapes one may have: `modulesContent` at the top or under `content`,
//! desired properties whole or as dotted paths.

use crate::document::node::{Kind, Member, Node};

/// The two groups of modules the edge agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `edgeAgent` and `edgeHub`.
    System,
    /// Everybody else.
    User,
}

impl Section {
    fn of(name: &str) -> Option<Self> {
        match name {
            "systemModules" => Some(Self::System),
            "modules" => Some(Self::User),
            _ => None,
        }
    }
}

/// The member that holds the content of all modules. `moduleContent` is an old spelling.
pub fn modules_content(root: &Node) -> Option<&Member> {
    let find = |node: &Node, key: &str| node.member(key).is_some();
    let holder = if find(root, "modulesContent") || find(root, "moduleContent") { root } else { root.get("content")? };
    holder.member("modulesContent").or_else(|| holder.member("moduleContent"))
}

fn modules_content_mut(root: &mut Node) -> Option<&mut Node> {
    let key = |node: &Node| ["modulesContent", "moduleContent"].into_iter().find(|key| node.get(key).is_some());
    if let Some(key) = key(root) {
        return root.get_mut(key);
    }
    let holder = root.get_mut("content")?;
    let key = key(holder)?;
    holder.get_mut(key)
}

/// A module that the edge agent runs, as the manifest describes it.
#[derive(Debug, Clone, Copy)]
pub struct ModuleEntry<'a> {
    /// Its group.
    pub section: Section,
    /// Its name.
    pub name: &'a str,
    /// The member that describes it; its key is a dotted path in a layered deployment.
    pub member: &'a Member,
}

/// All modules under `$edgeAgent`.
pub fn modules(root: &Node) -> Vec<ModuleEntry<'_>> {
    let mut found = Vec::new();
    let agent = modules_content(root).and_then(|content| content.value.get("$edgeAgent"));
    for member in agent.and_then(Node::members).unwrap_or_default() {
        let path: Vec<&str> = member.key.split('.').collect();
        collect(&path, member, &mut found);
    }
    found
}

fn collect<'a>(path: &[&'a str], member: &'a Member, found: &mut Vec<ModuleEntry<'a>>) {
    let members = || member.value.members().unwrap_or_default();
    match path {
        ["properties"] => members().iter().filter(|m| m.key == "desired").for_each(|m| {
            collect(&["properties", "desired"], m, found);
        }),
        ["properties", "desired"] => {
            for section in members().iter().filter(|m| Section::of(&m.key).is_some()) {
                collect(&["properties", "desired", &section.key], section, found);
            }
        }
        ["properties", "desired", section] => {
            if let Some(section) = Section::of(section) {
                found.extend(members().iter().map(|member| ModuleEntry { section, name: &member.key, member }));
            }
        }
        ["properties", "desired", section, name] => {
            if let Some(section) = Section::of(section) {
                found.push(ModuleEntry { section, name, member });
            }
        }
        _ => {}
    }
}

/// The texts of all routes under `$edgeHub`, whole or each under a path of its own.
pub fn route_texts(root: &Node) -> Vec<&Node> {
    let Some(content) = modules_content(root).map(|content| &content.value) else { return Vec::new() };
    let whole = desired(content, "$edgeHub").and_then(|desired| desired.value.member_any_case("routes"));
    let paths = content.get("$edgeHub").and_then(Node::members).unwrap_or_default();
    whole
        .into_iter()
        .chain(paths.iter().filter(|member| member.key == "properties.desired.routes"))
        .flat_map(|routes| routes.value.members().unwrap_or_default())
        .chain(paths.iter().filter(|member| member.key.starts_with("properties.desired.routes.")))
        .filter_map(|route| match route.value.text() {
            Some(_) => Some(&route.value),
            None => route.value.member_any_case("route").map(|text| &text.value),
        })
        .filter(|node| node.text().is_some())
        .collect()
}

/// Calls `change` for every module under `$edgeAgent`.
pub fn for_each_module(root: &mut Node, change: &mut dyn FnMut(Section, &str, &mut Node)) {
    let Some(agent) = modules_content_mut(root).and_then(|content| content.get_mut("$edgeAgent")) else { return };
    let Kind::Object(members) = &mut agent.kind else { return };
    for member in members {
        let path = member.key.clone();
        visit(&path.split('.').collect::<Vec<_>>(), &mut member.value, change);
    }
}

fn visit(path: &[&str], node: &mut Node, change: &mut dyn FnMut(Section, &str, &mut Node)) {
    match path {
        ["properties", "desired", section, name] => {
            if let Some(section) = Section::of(section) {
                change(section, name, node);
            }
        }
        ["properties"] | ["properties", "desired"] | ["properties", "desired", _] => {
            let Kind::Object(members) = &mut node.kind else { return };
            for member in members {
                let mut longer = path.to_vec();
                let key = member.key.clone();
                longer.push(&key);
                visit(&longer, &mut member.value, change);
            }
        }
        _ => {}
    }
}

/// Whether the content is a layer: the agent's configuration is not whole, and something stands under a dotted path, or
/// there is neither an agent nor a hub.
pub fn is_layered(content: &Node) -> bool {
    let is_path = |member: &Member| member.key.starts_with("properties.desired.");
    let modules = content.members().unwrap_or_default();
    let has_paths = modules.iter().any(|module| module.value.members().unwrap_or_default().iter().any(is_path));
    let has = |name: &str| content.get(name).is_some();
    desired(content, "$edgeAgent").is_none()
        && (has_paths || (!modules.is_empty() && !has("$edgeAgent") && !has("$edgeHub")))
}

/// The desired properties of a module, where they stand whole: `properties.desired` or `properties` and `desired`.
pub fn desired<'a>(content: &'a Node, module: &str) -> Option<&'a Member> {
    let holder = content.get(module)?;
    holder.member("properties.desired").or_else(|| holder.get("properties")?.member("desired"))
}
