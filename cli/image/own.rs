//! An image of this program itself, for engines that are to run it: the program with the libraries that it runs with here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::error::ImageError;
use super::oci::config::{self, Settings};
use super::oci::document::{CONFIG, Descriptor, MANIFEST, Manifest};
use super::oci::files::Files;
use super::oci::layer::{self, Packing};
use super::oci::store::Store;
use super::platform::Platform;

/// Where the program lies in its image.
const PROGRAM: &str = "/usr/bin/edgectl";
/// What the kernel says is mapped into this process.
const MAPS: &str = "/proc/self/maps";

/// Makes the image in a store: nothing but the program, what it is linked with, and the loader, which is what is started.
pub fn make(store: &Store, program: &Path) -> Result<Descriptor, ImageError> {
    let maps = fs::read_to_string(MAPS).map_err(ImageError::io(MAPS))?;
    let libraries = libraries(&maps);
    let mut files = Files::default();
    for library in &libraries {
        files.add_program(&library.to_string_lossy(), library);
    }
    let libraries = layer::write(store, &files, 0, "libraries", Packing::Gzip)?;
    let mut files = Files::default();
    files.add_program(PROGRAM, program);
    let program = layer::write(store, &files, 0, "edgectl", Packing::Gzip)?;
    let settings = Settings { entrypoint: entrypoint(&maps), ..Settings::default() };
    let platform = Platform::of_machine();
    let layers = [libraries, program];
    let config = config::compose(None, &platform, &settings, &layers, 0);
    let config = store.put(CONFIG, config.to_string().as_bytes())?;
    let manifest = Manifest::new(config, layers.iter().map(|layer| layer.descriptor.clone()).collect());
    let mut manifest = store.put(MANIFEST, json!(manifest).to_string().as_bytes())?;
    manifest.platform = Some(platform);
    Ok(manifest)
}

/// The shared objects among what is mapped, the loader with them; none where the program is linked statically.
fn libraries(maps: &str) -> BTreeSet<PathBuf> {
    // Address, rights, offset, device, inode, and the path, which may have spaces in it.
    let paths = maps.lines().filter_map(|line| line.find('/').map(|begin| &line[begin..]));
    paths.filter(|path| name_of(path).contains(".so")).map(PathBuf::from).collect()
}

/// The loader starts the program, and finds the libraries where they were.
fn entrypoint(maps: &str) -> Vec<String> {
    let libraries = libraries(maps);
    let is_loader = |path: &&PathBuf| name_of(&path.to_string_lossy()).starts_with("ld-");
    let Some(loader) = libraries.iter().find(is_loader) else { return vec![PROGRAM.to_owned()] };
    let folders: BTreeSet<String> =
        libraries.iter().filter_map(|path| path.parent()).map(|folder| folder.display().to_string()).collect();
    let folders: Vec<String> = folders.into_iter().collect();
    vec![loader.display().to_string(), "--library-path".to_owned(), folders.join(":"), PROGRAM.to_owned()]
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_says_what_is_needed() {
        let maps = "\
55d0-55d1 r-xp 00000000 fe:00 1 /usr/bin/edgectl
7f04-7f05 r-xp 00026000 fe:00 2                  /usr/lib/x86_64-linux-gnu/libc.so.6
7f06-7f07 r--p 00026000 fe:00 2                  /usr/lib/x86_64-linux-gnu/libc.so.6
7f08-7f09 r-xp 00001000 fe:00 3                  /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
7ffe-7fff rw-p 00000000 00:00 0                  [stack]
";
        let folder = "/usr/lib/x86_64-linux-gnu";
        let found: Vec<PathBuf> = libraries(maps).into_iter().collect();
        assert_eq!(found, [format!("{folder}/ld-linux-x86-64.so.2"), format!("{folder}/libc.so.6")].map(PathBuf::from));
        let loader = format!("{folder}/ld-linux-x86-64.so.2");
        assert_eq!(entrypoint(maps), [&loader, "--library-path", folder, PROGRAM]);
        assert_eq!(entrypoint("55d0-55d1 r-xp 00000000 fe:00 1 /edgectl\n"), [PROGRAM]);
    }
}
