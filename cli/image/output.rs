//! Where images go that were built: layouts, archives, engines.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::commands::device::block_on_until_signal;
use crate::error::CommandError;
use crate::image::error::ImageError;
use crate::image::images::{ForAll, Image};
use crate::image::oci::archive::{self, Packed};
use crate::image::oci::document::Descriptor;
use crate::image::oci::layout;
use crate::image::oci::store::Store;
use crate::image::plan::PlannedModule;
use crate::image::registry::client::{Logins, Registry};
use crate::image::registry::push::{Sent, push, push_referrer};
use crate::image::registry::reference::{InvalidReference, Reference};
use crate::output::printer::Printer;
use crate::output::progress::Transfer;

/// A place on disk for images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory that is, or becomes, an image layout.
    Layout(PathBuf),
    /// A file that engines load.
    Archive(PathBuf),
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("oci", path)) if !path.is_empty() => Ok(Self::Layout(path.into())),
            Some(("docker-archive", path)) if !path.is_empty() => Ok(Self::Archive(path.into())),
            _ => Err("a place for images is written oci:DIRECTORY or docker-archive:FILE".to_owned()),
        }
    }
}

/// Images to hand on.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// Where their content is.
    pub store: &'a Store,
    /// One for each module and platform.
    pub each: &'a [(PlannedModule, Image)],
    /// One for each module that was built for several platforms.
    pub for_all: &'a [ForAll],
}

impl Images<'_> {
    /// Writes them to a place on disk; a relative path starts at `directory`.
    pub fn write(&self, place: &Place, directory: &Path) -> Result<PathBuf, ImageError> {
        match place {
            Place::Layout(path) => {
                let path = directory.join(path);
                let entries = self.entries();
                layout::copy(self.store, &Store::new(&path), &entries)?;
                layout::add(&path, &entries)?;
                Ok(path)
            }
            Place::Archive(path) => {
                let path = directory.join(path);
                archive(self.store, &self.packed(), &path)?;
                Ok(path)
            }
        }
    }

    /// All of them, with their names, and their bills of materials.
    fn entries(&self) -> Vec<Descriptor> {
        let images = self.each.iter().map(|(module, image)| image.manifest.clone().named(&module.image));
        let for_all = self.for_all.iter().map(|all| all.index.clone().named(&all.name));
        let bills = self.each.iter().filter_map(|(_, image)| image.bill.as_ref().map(|(bill, _)| bill.clone()));
        images.chain(for_all).chain(bills).collect()
    }

    /// Sends them to their registries; a signal ends that at once.
    pub fn push(&self, logins: &Logins, printer: &Printer) -> Result<Vec<Sent>, CommandError> {
        block_on_until_signal(self.send(logins, printer))
    }

    async fn send(&self, logins: &Logins, printer: &Printer) -> Result<Vec<Sent>, CommandError> {
        let mut registries: BTreeMap<String, Registry> = BTreeMap::new();
        let mut all = Vec::new();
        let images = self.each.iter().map(|(module, image)| (&module.image, &image.manifest, image.bill.as_ref()));
        let for_all = self.for_all.iter().map(|all| (&all.name, &all.index, None));
        for (name, entry, bill) in images.chain(for_all) {
            let reference: Reference =
                name.parse().map_err(|error: InvalidReference| CommandError::usage(error.to_string()))?;
            let registry = match registries.entry(reference.registry.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(Registry::of(&reference, logins).await?),
            };
            let transfer = Transfer::new(printer, name, "pushing");
            let sent = push(registry, self.store, entry, &reference, &transfer).await?;
            transfer.end();
            // What was there was sent with its bill.
            if let Some((bill, _)) = bill.filter(|_| !sent.is_unchanged()) {
                push_referrer(registry, self.store, bill, &reference).await?;
            }
            all.push(sent);
        }
        Ok(all)
    }

    /// The images as archives have them.
    pub fn packed(&self) -> Vec<Packed> {
        let images = self.each.iter();
        images
            .map(|(module, image)| Packed { manifest: image.manifest.clone(), names: vec![module.image.clone()] })
            .collect()
    }
}

/// Writes an archive in one step.
pub fn archive(store: &Store, images: &[Packed], path: &Path) -> Result<(), ImageError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.part", std::process::id()));
    let partial = PathBuf::from(partial);
    let write = || {
        let file = File::create(&partial).map_err(ImageError::io(&partial))?;
        archive::write(store, images, BufWriter::new(file))?;
        fs::rename(&partial, path).map_err(ImageError::io(path))
    };
    let written = write();
    if written.is_err() {
        // The first failure is the one to report.
        let _ = fs::remove_file(&partial);
    }
    written
}
