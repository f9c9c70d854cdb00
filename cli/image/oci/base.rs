//! Base images: what a module's own layers are put on. They come from a layout, an archive or a registry, are examined
//! once, and stay in the store.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::image::error::ImageError;
use crate::image::oci::digest::Digest;
use crate::image::oci::document::{CONFIG, Descriptor, Index, LAYER, LAYER_GZIP, MANIFEST, Manifest};
use crate::image::oci::files::climbs_out;
use crate::image::oci::layout;
use crate::image::oci::store::Store;
use crate::image::oci::zstd;
use crate::image::platform::Platform;
use crate::output::file::write_atomically;

/// The folder, beside the content, with what is known of base images.
const FOLDER: &str = "bases";

/// A base image, all of whose content is in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its manifest; none, where an archive had none.
    pub manifest: Option<Descriptor>,
    /// Its configuration.
    pub config: Value,
    /// Where that is, byte for byte.
    pub config_at: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// What it was taken from, and how that looked then.
    pub origin: String,
}

/// Where a base image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A directory that is an image layout.
    Layout(PathBuf),
    /// An archive of a layout, or of an engine.
    Archive(PathBuf),
    /// A registry.
    Registry(String),
}

impl Origin {
    /// Reads `oci:DIRECTORY`, `oci-archive:FILE`, `docker-archive:FILE`, or an image's name. Paths start at `directory`.
    pub fn read(text: &str, directory: &Path) -> Self {
        match text.split_once(':') {
            Some(("oci", path)) => Self::Layout(directory.join(path)),
            Some(("oci-archive" | "docker-archive", path)) => Self::Archive(directory.join(path)),
            _ => Self::Registry(text.to_owned()),
        }
    }

    /// How it looks now, without reading it: where that is another, so is the image.
    pub fn look(&self) -> String {
        let stamp = |path: &Path| {
            use std::os::unix::fs::MetadataExt as _;
            let look = path.metadata().map(|file| format!("{}.{} {}", file.mtime(), file.mtime_nsec(), file.len()));
            format!("{} {}", path.display(), look.unwrap_or_default())
        };
        match self {
            Self::Layout(path) => stamp(&path.join(layout::INDEX_FILE)),
            Self::Archive(path) => stamp(path),
            Self::Registry(name) => name.clone(),
        }
    }
}

/// What is known of a base image that was taken into the store before, if its content is still there.
pub fn known(store: &Store, origin: &Origin, platform: &Platform) -> Option<Base> {
    let bytes = fs::read(record(store, origin, platform)).ok()?;
    let base: Base = serde_json::from_slice(&bytes).ok()?;
    (base.origin == origin.look() && base.layers.iter().all(|layer| store.has(layer))).then_some(base)
}

/// The content of all base images that were taken into the store.
pub fn content(store: &Store) -> Vec<Descriptor> {
    let records = fs::read_dir(store.root().join(FOLDER)).into_iter().flatten().flatten();
    let bases = records.filter_map(|entry| serde_json::from_slice::<Base>(&fs::read(entry.path()).ok()?).ok());
    bases.flat_map(|base| base.layers.into_iter().chain([base.config_at]).chain(base.manifest)).collect()
}

/// Takes an image into the store. `pull` does so with all content of one in a registry, and returns its manifest.
pub fn import(
    store: &Store,
    origin: &Origin,
    platform: &Platform,
    pull: impl FnOnce(&str) -> Result<Descriptor, ImageError>,
) -> Result<Base, ImageError> {
    match origin {
        Origin::Layout(path) => {
            let from = Store::new(path);
            if !path.join(layout::INDEX_FILE).is_file() {
                return Err(no_image(path, "it is no image layout: it has no index.json"));
            }
            let found = select(&from, &layout::read(path)?, platform, &path.display().to_string())?;
            layout::copy(&from, store, std::slice::from_ref(&found))?;
            of_manifest(store, &found, origin, platform)
        }
        Origin::Archive(path) => of_archive(store, path, origin, platform),
        Origin::Registry(name) => {
            let found = pull(name)?;
            of_manifest(store, &found, origin, platform)
        }
    }
}

/// The manifest for a platform among entries, of which any may be an index.
pub fn select(
    store: &Store,
    entries: &[Descriptor],
    platform: &Platform,
    what: &str,
) -> Result<Descriptor, ImageError> {
    let mut offered = Vec::new();
    for entry in entries {
        if entry.is_index() {
            let index: Index = store.document(entry)?;
            if let Ok(found) = select(store, &index.manifests, platform, what) {
                return Ok(found);
            }
            offered.extend(index.manifests.into_iter().filter_map(|manifest| manifest.platform));
        } else if entry.is_manifest() {
            let found = match &entry.platform {
                Some(platform) => platform.clone(),
                None => platform_of(&store.document::<Value>(&store.document::<Manifest>(entry)?.config)?)
                    .unwrap_or_else(Platform::of_machine),
            };
            if platform.accepts(&found) {
                return Ok(entry.clone());
            }
            offered.push(found);
        }
    }
    let offered: Vec<String> =
        offered.iter().map(ToString::to_string).filter(|name| name != "unknown/unknown").collect();
    let reason = match offered.as_slice() {
        [] => "there is no image in it".to_owned(),
        offered => format!("it has no image for {platform}, but for {}", offered.join(", ")),
    };
    Err(ImageError::NoImage { what: what.to_owned(), reason })
}

/// The base image with a manifest whose content is in the store; its layers are examined.
pub fn of_manifest(
    store: &Store,
    found: &Descriptor,
    origin: &Origin,
    platform: &Platform,
) -> Result<Base, ImageError> {
    let manifest: Manifest = store.document(found)?;
    let config: Value = store.document(&manifest.config)?;
    let layers = manifest.layers.iter().map(in_our_words).collect();
    let config_at = manifest.config;
    keep(
        store,
        Base { manifest: Some(found.clone()), config, config_at, layers, origin: origin.look() },
        origin,
        platform,
    )
}

/// Docker and the image specification have two names for each kind of layer.
fn in_our_words(layer: &Descriptor) -> Descriptor {
    let media_type = match layer.media_type.as_str() {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => LAYER_GZIP,
        "application/vnd.docker.image.rootfs.diff.tar" => LAYER,
        other => other,
    };
    Descriptor::new(media_type, layer.digest.clone(), layer.size)
}

fn of_archive(store: &Store, path: &Path, origin: &Origin, platform: &Platform) -> Result<Base, ImageError> {
    let files = unpack(store, path)?;
    let text = |name: &str| files.get(name).and_then(|found| store.read(found).ok());
    if let Some(images) = text(super::archive::IMAGES) {
        let images: Vec<Value> =
            serde_json::from_slice(&images).map_err(|error| no_image(path, &format!("manifest.json: {error}")))?;
        for image in &images {
            if let Some(base) = of_document(store, image, &files, path, Some(platform))? {
                return keep(store, Base { origin: origin.look(), ..base }, origin, platform);
            }
        }
        return Err(no_image(path, &format!("it has no image for {platform}")));
    }
    let index = text(layout::INDEX_FILE).ok_or_else(|| no_image(path, "it is no archive of images"))?;
    let index: Index =
        serde_json::from_slice(&index).map_err(|error| no_image(path, &format!("index.json: {error}")))?;
    let found = select(store, &index.manifests, platform, &path.display().to_string())?;
    of_manifest(store, &found, origin, platform)
}

/// The one image in an archive that an engine just wrote, whatever it is for.
pub fn of_engine(store: &Store, path: &Path) -> Result<Base, ImageError> {
    let files = unpack(store, path)?;
    let list = files.get(super::archive::IMAGES).ok_or_else(|| no_image(path, "it has no manifest.json"))?;
    let images: Vec<Value> = store.document(list)?;
    let image = images.first().ok_or_else(|| no_image(path, "there is no image in it"))?;
    of_document(store, image, &files, path, None)?.ok_or_else(|| no_image(path, "there is no image in it"))
}

/// The image that an entry of an engine's archive describes, if it is for the platform.
fn of_document(
    store: &Store,
    image: &Value,
    files: &BTreeMap<String, Descriptor>,
    path: &Path,
    platform: Option<&Platform>,
) -> Result<Option<Base>, ImageError> {
    let file = |name: Option<&str>| {
        let name = name.unwrap_or_default();
        files.get(name).ok_or_else(|| no_image(path, &format!("{name:?}, which it names, is not in it")))
    };
    let config = file(image.get("Config").and_then(Value::as_str))?;
    let config_at = Descriptor { media_type: CONFIG.to_owned(), ..config.clone() };
    let config: Value = store.document(&config_at)?;
    if platform.is_some_and(|wanted| !platform_of(&config).is_some_and(|found| wanted.accepts(&found))) {
        return Ok(None);
    }
    let mut layers = Vec::new();
    for name in image.get("Layers").and_then(Value::as_array).into_iter().flatten() {
        let found = file(name.as_str())?;
        let mut start = [0; 2];
        let count = File::open(store.path(&found.digest)).and_then(|mut file| file.read(&mut start)).unwrap_or(0);
        let media_type = if count == 2 && start == [0x1f, 0x8b] { LAYER_GZIP } else { LAYER };
        layers.push(Descriptor::new(media_type, found.digest.clone(), found.size));
    }
    Ok(Some(Base { manifest: None, config, config_at, layers, origin: String::new() }))
}

/// Takes all files of an archive into the store.
fn unpack(store: &Store, path: &Path) -> Result<BTreeMap<String, Descriptor>, ImageError> {
    let mut file = File::open(path).map_err(ImageError::io(path))?;
    let mut start = [0; 2];
    let is_compressed = file.read(&mut start).map_err(ImageError::io(path))? == 2 && start == [0x1f, 0x8b];
    let file = File::open(path).map_err(ImageError::io(path))?;
    let reader: Box<dyn Read> = if is_compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut archive = tar::Archive::new(reader);
    let (mut files, mut links) = (BTreeMap::new(), Vec::new());
    for entry in archive.entries().map_err(ImageError::io(path))? {
        let entry = entry.map_err(ImageError::io(path))?;
        let name = entry_path(&entry, path)?;
        let key = name.to_string_lossy().trim_start_matches("./").to_owned();
        if entry.header().entry_type().is_file() {
            files.insert(key, store.put_reader(MANIFEST, entry)?);
        } else if let Ok(Some(target)) = entry.link_name() {
            let target = name.parent().unwrap_or(Path::new("")).join(target);
            links.push((key, crate::solution::placeholder::normal(&target).to_string_lossy().into_owned()));
        }
    }
    // Engines wrote layers that are in an archive twice as links.
    for (name, target) in links {
        if let Some(found) = files.get(&target).cloned() {
            files.insert(name, found);
        }
    }
    Ok(files)
}

/// The path of an entry, which must stay where the archive is unpacked.
fn entry_path(entry: &tar::Entry<'_, impl Read>, what: &Path) -> Result<PathBuf, ImageError> {
    let path = entry.path().map_err(ImageError::io(what))?.into_owned();
    let relative = path.strip_prefix("/").unwrap_or(&path);
    if climbs_out(relative, 0) {
        return Err(no_image(
            what,
            &format!("its entry {} climbs out of its directory, so it is not used", path.display()),
        ));
    }
    Ok(relative.to_owned())
}

/// What an image is for.
pub fn platform_of(config: &Value) -> Option<Platform> {
    serde_json::from_value(config.clone()).ok()
}

/// Examines the layers of a base image and remembers it.
fn keep(store: &Store, base: Base, origin: &Origin, platform: &Platform) -> Result<Base, ImageError> {
    let layers = base.layers.iter().map(|layer| zstd::in_gzip(store, layer)).collect::<Result<_, _>>()?;
    let base = Base { layers, ..base };
    let told: Vec<&str> = base
        .config
        .pointer("/rootfs/diff_ids")
        .and_then(Value::as_array)
        .map(|found| found.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if told.len() != base.layers.len() {
        let reason = format!("it has {} layers, and its configuration speaks of {}", base.layers.len(), told.len());
        return Err(ImageError::NoImage { what: base.origin, reason });
    }
    for (layer, told) in base.layers.iter().zip(told) {
        let found = examine(store, layer)?;
        if found.as_str() != told {
            let reason = format!("its content is {found}, and the configuration of {} says {told}", base.origin);
            return Err(ImageError::NoImage { what: layer.digest.to_string(), reason });
        }
    }
    let path = record(store, origin, platform);
    let bytes = serde_json::to_vec(&base).unwrap_or_default();
    write_atomically(&path, &bytes).map_err(ImageError::io(path))?;
    Ok(base)
}

/// Looks through a layer. Nothing in it may leave the directory that an engine unpacks it into. Says what it is before
/// compression.
pub fn examine(store: &Store, layer: &Descriptor) -> Result<Digest, ImageError> {
    let path = store.path(&layer.digest);
    let what = PathBuf::from(layer.digest.as_str());
    let file = File::open(&path).map_err(ImageError::io(&path))?;
    let plain: Box<dyn Read> = match layer.media_type.as_str() {
        LAYER_GZIP => Box::new(MultiGzDecoder::new(file)),
        LAYER => Box::new(file),
        other => {
            let reason = format!("a layer of the kind {other} cannot be examined");
            return Err(ImageError::NoImage { what: layer.digest.to_string(), reason });
        }
    };
    let mut hashed = Hashed { reader: plain, hash: Sha256::new() };
    let mut archive = tar::Archive::new(&mut hashed);
    for entry in archive.entries().map_err(ImageError::io(&what))? {
        let entry = entry.map_err(|error| no_image(&what, &format!("it is no archive: {error}")))?;
        entry_path(&entry, &what)?;
        if entry.header().entry_type().is_hard_link()
            && let Some(target) = entry.link_name().map_err(ImageError::io(&what))?
            && climbs_out(target.strip_prefix("/").unwrap_or(&target), 0)
        {
            let path = entry.path().unwrap_or_default().display().to_string();
            return Err(no_image(
                &what,
                &format!("its entry {path} leads to {}, out of its directory, so it is not used", target.display()),
            ));
        }
    }
    std::io::copy(&mut hashed, &mut std::io::sink()).map_err(ImageError::io(&what))?;
    Ok(Digest::of_hash(hashed.hash))
}

/// A reader that hashes what is read.
struct Hashed<R> {
    reader: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

fn record(store: &Store, origin: &Origin, platform: &Platform) -> PathBuf {
    let name = match origin {
        Origin::Layout(path) | Origin::Archive(path) => path.display().to_string(),
        Origin::Registry(name) => name.clone(),
    };
    let digest = Digest::of(format!("{name}\n{platform}").as_bytes());
    store.root().join(FOLDER).join(format!("{}.json", &digest.hexadecimal()[..32]))
}

fn no_image(path: &Path, reason: &str) -> ImageError {
    ImageError::NoImage { what: path.display().to_string(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::image::oci::archive::{self, Packed};

    /// A layer with one entry, whose path is written as it is.
    fn layer(path: &str, link: Option<&str>) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(0o644);
        header.set_size(u64::from(link.is_none()));
        if let Some(target) = link {
            header.set_entry_type(tar::EntryType::Link);
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        }
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append(&header, if link.is_some() { &b""[..] } else { &b"x"[..] }).unwrap();
        archive.into_inner().unwrap()
    }

    fn image(root: &Path, layer: &[u8], architecture: &str) -> (Store, Descriptor) {
        let store = Store::new(root);
        let layer = store.put(LAYER, layer).unwrap();
        let config = json!({
            "architecture": architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
        });
        let config = store.put(CONFIG, config.to_string().as_bytes()).unwrap();
        let manifest = json!(Manifest::new(config, vec![layer])).to_string();
        let manifest = store.put(MANIFEST, manifest.as_bytes()).unwrap();
        layout::add(root, &[manifest.clone().named("base:1")]).unwrap();
        (store, manifest)
    }

    fn taken(layer: &[u8], architecture: &str) -> Result<Base, ImageError> {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        image(there.path(), layer, architecture);
        let origin = Origin::Layout(there.path().to_owned());
        import(&Store::new(here.path()), &origin, &"linux/amd64".parse().unwrap(), |_| unreachable!())
    }

    #[test]
    fn a_base_is_taken_from_a_layout_and_from_an_archive_and_known_afterwards() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, manifest) = image(there.path(), &layer("bin/sh", None), "amd64");
        let file = there.path().join("image.tar");
        let packed = Packed { manifest, names: vec!["base:1".to_owned()] };
        archive::write(&from, &[packed], File::create(&file).unwrap()).unwrap();
        let platform: Platform = "linux/amd64".parse().unwrap();
        for origin in [Origin::Layout(there.path().to_owned()), Origin::Archive(file)] {
            let store = Store::new(here.path());
            assert_eq!(known(&store, &origin, &platform), None);
            let base = import(&store, &origin, &platform, |_| unreachable!()).unwrap();
            assert!(store.verify(&base.layers[0]));
            assert_eq!(known(&store, &origin, &platform), Some(base.clone()));
            store.remove(&base.layers[0].digest);
            assert_eq!(known(&store, &origin, &platform), None);
        }
    }

    #[test]
    fn entries_that_climb_out_are_refused() {
        for bytes in [layer("../../etc/passwd", None), layer("a/../../b", None), layer("a", Some("../../etc/shadow"))] {
            let error = taken(&bytes, "amd64").unwrap_err().to_string();
            assert!(error.contains("so it is not used"), "{error}");
        }
    }

    #[test]
    fn an_image_for_another_platform_and_one_that_is_damaged_are_refused() {
        let error = taken(&layer("a", None), "arm64").unwrap_err().to_string();
        assert!(error.contains("no image for linux/amd64, but for linux/arm64"), "{error}");
        let error = taken(b"no archive at all, but longer than a block", "amd64").unwrap_err().to_string();
        assert!(error.contains("it is no archive"), "{error}");
    }

    /// A frame of zstd with blocks that are as they are.
    fn framed(plain: &[u8]) -> Vec<u8> {
        let size = u32::try_from(plain.len()).unwrap();
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
        frame.extend(size.to_le_bytes());
        let blocks = plain.chunks(1024);
        let last = blocks.len() - 1;
        for (number, block) in blocks.enumerate() {
            let header = u32::try_from(block.len() << 3).unwrap() | u32::from(number == last);
            frame.extend(&header.to_le_bytes()[..3]);
            frame.extend(block);
        }
        frame
    }

    #[test]
    fn layers_in_zstd_are_kept_in_gzip_and_say_the_same() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let plain = layer("bin/sh", None);
        let from = Store::new(there.path());
        let compressed = from.put(zstd::LAYER_ZSTD, &framed(&plain)).unwrap();
        let told = Digest::of(&plain);
        let rootfs = json!({ "type": "layers", "diff_ids": [told] });
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs }).to_string();
        let config = from.put(CONFIG, config.as_bytes()).unwrap();
        let manifest = json!(Manifest::new(config, vec![compressed])).to_string();
        let manifest = from.put(MANIFEST, manifest.as_bytes()).unwrap();
        layout::add(there.path(), &[manifest.named("base:1")]).unwrap();
        let (store, origin) = (Store::new(here.path()), Origin::Layout(there.path().to_owned()));
        let platform = "linux/amd64".parse().unwrap();
        let base = import(&store, &origin, &platform, |_| unreachable!()).unwrap();
        assert_eq!(base.layers[0].media_type, LAYER_GZIP);
        assert_eq!(examine(&store, &base.layers[0]).unwrap(), told);
        assert_eq!(known(&store, &origin, &platform), Some(base));
    }
}
