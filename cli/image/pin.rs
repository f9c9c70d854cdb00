//! Names of images in a manifest, pinned to what was built: a digest in the place of a tag.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::CommandError;
use crate::image::images;
use crate::image::oci::document::{Descriptor, Index};
use crate::image::oci::layout;
use crate::image::oci::store::Store;
use crate::image::plan::PlannedModule;
use crate::solution::solution::Solution;

/// Images by their names, and what they are pinned to.
#[derive(Debug, Default)]
pub struct Pins {
    by_name: BTreeMap<String, String>,
}

impl Pins {
    /// Looks up what was built last for each module: the image for all platforms where this one is in it, else its own.
    pub fn of(solution: &Solution, modules: &[PlannedModule]) -> Result<Self, CommandError> {
        let store = images::store(solution);
        let entries = layout::read(store.root())?;
        let named = |name: &str| entries.iter().find(|entry| entry.name() == Some(name));
        let mut by_name = BTreeMap::new();
        for module in modules {
            let own = named(&module.image).ok_or_else(|| {
                CommandError::usage(format!("{} was not built as an image, so there is no digest of it", module.image))
                    .hint("Run `edgectl build --push` first, or `--load`.")
            })?;
            let all = named(module.image_of_all()).filter(|all| holds(&store, all, own));
            let repository = module.image.rsplit_once(':').map_or(module.image.as_str(), |(repository, _)| repository);
            by_name.insert(module.image.clone(), format!("{repository}@{}", all.unwrap_or(own).digest));
        }
        Ok(Self { by_name })
    }

    /// Pins the modules of a manifest's content.
    pub fn apply(&self, modules_content: &mut Value) {
        let modules =
            modules_content.pointer_mut("/$edgeAgent/properties.desired/modules").and_then(Value::as_object_mut);
        for (_, module) in modules.into_iter().flatten() {
            if let Some(image) = module.pointer_mut("/settings/image")
                && let Some(pinned) = image.as_str().and_then(|name| self.by_name.get(name))
            {
                *image = json!(pinned);
            }
        }
    }

    /// Pins the images in a manifest's text, which stays as it is otherwise.
    pub fn apply_to_text(&self, text: &str) -> String {
        self.by_name.iter().fold(text.to_owned(), |text, (name, pinned)| {
            text.replace(&format!("\"image\": {}", json!(name)), &format!("\"image\": {}", json!(pinned)))
        })
    }
}

/// Whether an index has an image, as it is now, in it.
fn holds(store: &Store, all: &Descriptor, own: &Descriptor) -> bool {
    store.document::<Index>(all).is_ok_and(|index| index.manifests.iter().any(|entry| entry.digest == own.digest))
}
