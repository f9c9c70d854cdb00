//! All the paths that a set of conditions asks for, so that one scan of a body finds every value.

use crate::route::body::path::{BodyPath, Step};

/// Where the value of a path is kept while a message is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(pub(in crate::route) usize);

/// Paths as a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyPaths {
    nodes: Vec<PathNode>,
    slots: usize,
}

/// A place in the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::route) struct PathNode {
    /// Where the value that is found here goes.
    pub(in crate::route) slot: Option<Slot>,
    names: Vec<(Box<str>, NodeIndex)>,
    indices: Vec<(u32, NodeIndex)>,
}

/// A node of the tree by its number.
pub(in crate::route) type NodeIndex = usize;

/// The node of the body itself.
pub(in crate::route) const ROOT: NodeIndex = 0;

impl Default for BodyPaths {
    fn default() -> Self {
        Self { nodes: vec![PathNode::default()], slots: 0 }
    }
}

impl BodyPaths {
    /// The slot of a path, a new one if nobody asked for it before; none if the path cannot be followed.
    pub fn slot(&mut self, path: &BodyPath) -> Option<Slot> {
        let mut at = ROOT;
        for step in path.steps.as_ref()? {
            let known = match step {
                Step::Name(name) => self.nodes[at].named(name),
                Step::Index(index) => self.nodes[at].element(*index),
            };
            at = known.unwrap_or_else(|| self.add(at, step));
        }
        if let Some(slot) = self.nodes[at].slot {
            return Some(slot);
        }
        let slot = Slot(self.slots);
        self.slots += 1;
        self.nodes[at].slot = Some(slot);
        Some(slot)
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.slots
    }

    /// Whether nobody asked for anything.
    pub fn is_empty(&self) -> bool {
        self.slots == 0
    }

    pub(in crate::route) fn node(&self, index: NodeIndex) -> &PathNode {
        &self.nodes[index]
    }

    fn add(&mut self, at: NodeIndex, step: &Step) -> NodeIndex {
        let new = self.nodes.len();
        self.nodes.push(PathNode::default());
        match step {
            Step::Name(name) => self.nodes[at].names.push((name.clone(), new)),
            Step::Index(index) => self.nodes[at].indices.push((*index, new)),
        }
        new
    }
}

impl PathNode {
    /// The node below under a name.
    pub(in crate::route) fn named(&self, name: &str) -> Option<NodeIndex> {
        self.names.iter().find(|(known, _)| **known == *name).map(|(_, node)| *node)
    }

    /// The node below at an index.
    pub(in crate::route) fn element(&self, index: u32) -> Option<NodeIndex> {
        self.indices.iter().find(|(known, _)| *known == index).map(|(_, node)| *node)
    }

    /// All nodes below.
    pub(in crate::route) fn below(&self) -> impl Iterator<Item = NodeIndex> {
        self.names.iter().map(|(_, node)| *node).chain(self.indices.iter().map(|(_, node)| *node))
    }
}
