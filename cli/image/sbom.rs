//! Bills of materials: what of others is in an image, as SPDX 2.3 writes it down.

use serde_json::{Value, json};

use crate::image::content::content::Package;
use crate::image::error::ImageError;
use crate::image::oci::config;
use crate::image::oci::document::{Descriptor, EMPTY, MANIFEST, Manifest};
use crate::image::oci::store::Store;

/// What such a document is.
pub const MEDIA_TYPE: &str = "application/spdx+json";

/// What a bill is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The image's name.
    pub image: &'a str,
    /// Its manifest.
    pub manifest: &'a Descriptor,
    /// The base image's name, and digest if it has one.
    pub base: Option<(&'a str, Option<&'a str>)>,
    /// When it was made, in seconds since 1970.
    pub time: u64,
}

/// The bill of an image.
pub fn document(subject: Subject<'_>, packages: &[Package]) -> Value {
    let digest = &subject.manifest.digest;
    let (name, version) = subject.image.rsplit_once(':').unwrap_or((subject.image, ""));
    let mut entries = vec![json!({
        "SPDXID": "SPDXRef-image",
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{ "algorithm": "SHA256", "checksumValue": digest.hexadecimal() }],
    })];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")];
    if let Some((base, digest)) = subject.base {
        entries.push(json!({
            "SPDXID": "SPDXRef-base",
            "name": base,
            "versionInfo": digest.unwrap_or_default(),
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "primaryPackagePurpose": "CONTAINER",
        }));
        relationships.push(relationship("SPDXRef-image", "DESCENDANT_OF", "SPDXRef-base"));
    }
    for (index, package) in packages.iter().enumerate() {
        let id = format!("SPDXRef-package-{index}");
        entries.push(json!({
            "SPDXID": id,
            "name": package.name,
            "versionInfo": package.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": package.license.as_deref().unwrap_or("NOASSERTION"),
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package_url(package),
            }],
        }));
        relationships.push(relationship("SPDXRef-image", "CONTAINS", &id));
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.image,
        "documentNamespace": format!("https://spdx.org/spdxdocs/{}-{}", name.rsplit('/').next().unwrap_or(name), digest.hexadecimal()),
        "creationInfo": {
            "created": config::created(subject.time),
            "creators": [format!("Tool: edgectl-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": entries,
        "relationships": relationships,
    })
}

fn relationship(of: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": of, "relationshipType": kind, "relatedSpdxElement": to })
}

/// Packages as package URLs name them.
fn package_url(package: &Package) -> String {
    let name = match package.ecosystem.as_str() {
        "pypi" => package.name.to_lowercase().replace('_', "-"),
        _ => package.name.replace('@', "%40"),
    };
    format!("pkg:{}/{name}@{}", package.ecosystem, package.version.replace('+', "%2B"))
}

/// Puts a bill into the store, with the manifest by which it refers to its image.
pub fn attach(store: &Store, image: &Descriptor, bill: &[u8]) -> Result<Descriptor, ImageError> {
    let bill = store.put(MEDIA_TYPE, bill)?;
    let nothing = store.put(EMPTY, b"{}")?;
    let mut subject = Descriptor::new(&image.media_type, image.digest.clone(), image.size);
    subject.platform = None;
    let mut manifest = Manifest::new(nothing, vec![bill]);
    manifest.artifact_type = Some(MEDIA_TYPE.to_owned());
    manifest.subject = Some(subject);
    let mut descriptor = store.put(MANIFEST, json!(manifest).to_string().as_bytes())?;
    descriptor.artifact_type = Some(MEDIA_TYPE.to_owned());
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_by_their_address() {
        let package = |ecosystem: &str, name: &str| Package {
            ecosystem: ecosystem.to_owned(),
            name: name.to_owned(),
            version: "1.0+x".to_owned(),
            license: None,
        };
        assert_eq!(package_url(&package("pypi", "Paho_MQTT")), "pkg:pypi/paho-mqtt@1.0%2Bx");
        assert_eq!(package_url(&package("npm", "@azure/core")), "pkg:npm/%40azure/core@1.0%2Bx");
        let store_place = tempfile::tempdir().unwrap();
        let store = Store::new(store_place.path());
        let image = store.put(MANIFEST, b"{}").unwrap();
        let subject = Subject { image: "r/a:1-amd64", manifest: &image, base: Some(("b", None)), time: 0 };
        let bill = document(subject, &[package("npm", "x")]);
        assert_eq!(bill["packages"].as_array().unwrap().len(), 3);
        let referrer: Manifest = store.document(&attach(&store, &image, bill.to_string().as_bytes()).unwrap()).unwrap();
        assert_eq!(referrer.subject.unwrap().digest, image.digest);
    }
}
