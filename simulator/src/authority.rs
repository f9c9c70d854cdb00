//! The development certificate authority: one root kept in a folder, and the certificates of one device under it.
//!
//! The root stands in for the certificate that a device's owner would install, and for the one that the owner has told the
//! cloud hub of, so that it vouches for devices too. The device's edge authority is made afresh at each start and before it
//! ends, because everything that clients trust is the root. Keys are ECDSA P-256, which every client
//! library takes and which are made in well under a millisecond. Names and uses follow the runtime's own
//! certificates (`aziot-edge CA D`, server and identity certificates of the workload API).

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use edgectl_schemas::ids::{DeviceId, Identity};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use crate::thumbprint::thumbprints;

/// The file in the authority's folder that has the root's key and certificate.
const ROOT_FILE: &str = "root-ca.pem";
/// The file in the authority's folder that clients outside the device are told to trust.
const BUNDLE_FILE: &str = "trust-bundle.pem";

const DAY: Duration = Duration::from_hours(24);
const ROOT_DAYS: u32 = 20 * 365;
const EDGE_DAYS: u32 = 365;
/// How long the runtime's server certificates hold by default.
const LEAF_DAYS: u32 = 30;
/// How long a device's own certificate holds.
const CLIENT_DAYS: u32 = 365;
/// Longest common name that X.509 allows, in characters.
const MAX_COMMON_NAME: usize = 64;

/// Why the authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file or folder of the authority cannot be read or written.
    #[error("cannot use {path} for the development certificates")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The root's file is there but is not a key and its certificate.
    #[error("{path} is not a development root certificate with its key ({reason}); delete it to have a new one made")]
    Corrupt {
        /// The root's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name cannot stand in a certificate.
    #[error("{0:?} cannot be a name in a certificate")]
    Name(String),
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// The certificate authority of one device.
#[derive(Debug)]
pub struct Authority {
    root: Issuer<'static, KeyPair>,
    edge: Mutex<EdgeAuthority>,
    device: DeviceId,
    root_pem: String,
    bundle_path: PathBuf,
}

#[derive(Debug)]
struct EdgeAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    made_at: Timestamp,
    expires_at: Timestamp,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate and the chain to the root, PEM, leaf first; the root itself is not in it.
    pub certificate_pem: String,
    /// The private key, PKCS#8 in PEM.
    pub private_key_pem: String,
    /// The certificate's SHA-1 and SHA-256 digests, as a registry knows it by.
    pub thumbprints: [String; 2],
    /// When the certificate ends.
    pub expires_at: Timestamp,
}

impl Authority {
    /// Opens the authority in a folder for a device. Folder and root are made when they are not there yet; two
    /// processes that do so at once end with the same root.
    pub fn open(folder: &Path, device: &DeviceId, now: Timestamp) -> Result<Self, AuthorityError> {
        let (root, root_pem) = open_root(folder, now)?;
        let bundle_path = folder.join(BUNDLE_FILE);
        if fs::read_to_string(&bundle_path).is_ok_and(|bundle| bundle == root_pem) {
            tracing::trace!(path = %bundle_path.display(), "trust bundle is up to date");
        } else {
            write_whole(&bundle_path, &root_pem, true).map_err(|source| file_error(&bundle_path, source))?;
        }
        let edge = Mutex::new(make_edge(&root, device, now)?);
        Ok(Self { root, edge, device: device.clone(), root_pem, bundle_path })
    }

    /// The roots that clients of the device trust, PEM.
    pub fn trust_bundle(&self) -> &str {
        &self.root_pem
    }

    /// The file with the trust bundle, for clients that are configured by a path.
    pub fn trust_bundle_path(&self) -> &Path {
        &self.bundle_path
    }

    /// Makes a certificate for a server that is reached under some host names and IP addresses. The first name is the
    /// common name.
    pub fn issue_server(&self, names: &[&str], now: Timestamp) -> Result<Issued, AuthorityError> {
        let common_name = names.first().ok_or_else(|| AuthorityError::Name(String::new()))?;
        let names = names.iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
        self.issue(common_name, names, ExtendedKeyUsagePurpose::ServerAuth, now)
    }

    /// Makes the certificate with which a module proves who it is. The alternative name is a DNS entry that holds a
    /// URI, as the runtime writes it.
    pub fn issue_identity(
        &self,
        hub_host: &str,
        device: &DeviceId,
        module: &str,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        let name = format!("URI: azureiot://{hub_host}/devices/{device}/modules/{module}");
        self.issue(module, vec![dns_name(&name)?], ExtendedKeyUsagePurpose::ClientAuth, now)
    }

    /// Makes the certificate with which a device, or a module that connects by itself, proves to a hub who it is. The root
    /// signs it, so it outlives the device's edge authority.
    pub fn issue_client(&self, identity: &Identity, now: Timestamp) -> Result<Issued, AuthorityError> {
        let (key, parameters) = client(identity, now)?;
        let certificate = parameters.signed_by(&key, &self.root)?;
        Ok(issued(&certificate, "", &key, &parameters))
    }

    fn issue(
        &self,
        common_name: &str,
        names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut parameters = parameters(common_name, now, LEAF_DAYS);
        parameters.subject_alt_names = names;
        as_leaf(&mut parameters, usage);
        let mut edge = self.edge.lock().unwrap_or_else(PoisonError::into_inner);
        // What is signed must not outlive who signs, nor be older: the clock may have been set back.
        if edge.expires_at < timestamp(&parameters) || now < edge.made_at {
            *edge = make_edge(&self.root, &self.device, now)?;
        }
        let certificate = parameters.signed_by(&key, &edge.issuer)?;
        Ok(issued(&certificate, &edge.pem, &key, &parameters))
    }
}

/// From when and until when the root in a folder holds. None if there is none; nothing is made.
pub fn root_validity(folder: &Path) -> Result<Option<(Timestamp, Timestamp)>, AuthorityError> {
    let path = folder.join(ROOT_FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| file_error(&path, source))?,
    };
    let corrupt = |reason: String| AuthorityError::Corrupt { path: path.clone(), reason };
    read_root(&text).map_err(corrupt)?;
    let certificate = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| corrupt(error.to_string()))?;
    let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| corrupt(error.to_string()))?;
    let time = |time: ASN1Time| Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX);
    Ok(Some((time(parsed.validity().not_before), time(parsed.validity().not_after))))
}

/// Makes a certificate for a device that nobody but the device itself vouches for: a hub knows it by its thumbprint.
pub fn self_signed_client(identity: &Identity, now: Timestamp) -> Result<Issued, AuthorityError> {
    let (key, parameters) = client(identity, now)?;
    let certificate = parameters.self_signed(&key)?;
    Ok(issued(&certificate, "", &key, &parameters))
}

fn client(identity: &Identity, now: Timestamp) -> Result<(KeyPair, CertificateParams), AuthorityError> {
    let name = identity.to_string();
    // A shorter name would be another device's.
    if name.chars().count() > MAX_COMMON_NAME {
        return Err(AuthorityError::Name(name));
    }
    let mut parameters = parameters(&name, now, CLIENT_DAYS);
    as_leaf(&mut parameters, ExtendedKeyUsagePurpose::ClientAuth);
    Ok((KeyPair::generate()?, parameters))
}

fn as_leaf(parameters: &mut CertificateParams, usage: ExtendedKeyUsagePurpose) {
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![usage];
}

fn issued(certificate: &Certificate, chain_pem: &str, key: &KeyPair, parameters: &CertificateParams) -> Issued {
    Issued {
        certificate_pem: certificate.pem() + chain_pem,
        private_key_pem: key.serialize_pem(),
        thumbprints: thumbprints(certificate.der()),
        expires_at: timestamp(parameters),
    }
}

/// When a certificate ends.
fn timestamp(parameters: &CertificateParams) -> Timestamp {
    Timestamp::from_second(parameters.not_after.unix_timestamp()).unwrap_or(Timestamp::MAX)
}

fn make_edge(
    root: &Issuer<'static, KeyPair>,
    device: &DeviceId,
    now: Timestamp,
) -> Result<EdgeAuthority, AuthorityError> {
    let key = KeyPair::generate()?;
    let mut parameters = authority_parameters(&format!("aziot-edge CA {device}"), now, EDGE_DAYS);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let pem = parameters.signed_by(&key, root)?.pem();
    let expires_at = timestamp(&parameters);
    Ok(EdgeAuthority { issuer: Issuer::new(parameters, key), pem, made_at: now, expires_at })
}

fn open_root(folder: &Path, now: Timestamp) -> Result<(Issuer<'static, KeyPair>, String), AuthorityError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| file_error(folder, source))?;
    let path = folder.join(ROOT_FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = make_root(now)?;
            match write_whole(&path, &made, false) {
                Ok(()) => made,
                // Another process made one in the meantime: that one is the root.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    fs::read_to_string(&path).map_err(|source| file_error(&path, source))?
                }
                Err(source) => return Err(file_error(&path, source)),
            }
        }
        read => read.map_err(|source| file_error(&path, source))?,
    };
    read_root(&text).map_err(|reason| AuthorityError::Corrupt { path, reason })
}

fn make_root(now: Timestamp) -> Result<String, AuthorityError> {
    let key = KeyPair::generate()?;
    let certificate = authority_parameters("edgectl development root", now, ROOT_DAYS).self_signed(&key)?;
    Ok(key.serialize_pem() + &certificate.pem())
}

/// Takes apart what [`make_root`] made; the text is the certificate's alone, without the key.
fn read_root(text: &str) -> Result<(Issuer<'static, KeyPair>, String), String> {
    let certificate = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string())?;
    let provider = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(vec![certificate.clone()], key.clone_key(), &provider)
        .map_err(|error| error.to_string())?;
    let key = KeyPair::try_from(&key).map_err(|error| error.to_string())?;
    let start = text.find("-----BEGIN CERTIFICATE-----").ok_or("no certificate in it")?;
    let root = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| error.to_string())?;
    Ok((root, text[start..].to_owned()))
}

fn parameters(common_name: &str, now: Timestamp, days: u32) -> CertificateParams {
    let epoch = date_time_ymd(1970, 1, 1);
    let now = epoch + Duration::from_secs(now.as_second().max(0).unsigned_abs());
    let mut parameters = CertificateParams::default();
    // A day of grace for clients whose clock is behind.
    parameters.not_before = now - DAY;
    parameters.not_after = now + DAY * days;
    let common_name: String = common_name.chars().take(MAX_COMMON_NAME).collect();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

fn authority_parameters(common_name: &str, now: Timestamp, days: u32) -> CertificateParams {
    let mut parameters = parameters(common_name, now, days);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    parameters
}

fn alternative_name(name: &str) -> Result<SanType, AuthorityError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => dns_name(name),
    }
}

fn dns_name(name: &str) -> Result<SanType, AuthorityError> {
    if name.is_empty() {
        return Err(AuthorityError::Name(name.to_owned()));
    }
    Ok(SanType::DnsName(name.try_into().map_err(|_| AuthorityError::Name(name.to_owned()))?))
}

fn file_error(path: &Path, source: io::Error) -> AuthorityError {
    AuthorityError::File { path: path.to_owned(), source }
}

/// Writes a file that is seen whole or not at all. Only its owner may read it.
fn write_whole(path: &Path, text: &str, replace: bool) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(
        |mut file| -> io::Result<()> {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        },
    );
    let placed = written.and_then(|()| {
        // A link, unlike a rename, fails when the name is taken.
        if replace { fs::rename(&temporary, path) } else { fs::hard_link(&temporary, path) }
    });
    if placed.is_err() || !replace {
        let removed = fs::remove_file(&temporary);
        tracing::trace!(?removed, "temporary file");
    }
    placed
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use jiff::SignedDuration;

    use super::*;

    fn device() -> DeviceId {
        DeviceId::new("edge1").unwrap()
    }

    #[test]
    fn the_root_is_kept_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("authority");
        let first = Authority::open(&folder, &device(), Timestamp::now()).unwrap();
        let second = Authority::open(&folder, &device(), Timestamp::now()).unwrap();
        assert_eq!(first.trust_bundle(), second.trust_bundle());
        assert_eq!(fs::read_to_string(first.trust_bundle_path()).unwrap(), first.trust_bundle());
        assert!(!first.trust_bundle().contains("PRIVATE"));
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(folder.join(ROOT_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [ROOT_FILE, BUNDLE_FILE]);
    }

    #[test]
    fn processes_that_start_at_once_end_with_one_root() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Authority::open(folder.path(), &device(), Timestamp::now()).unwrap().trust_bundle().to_owned();
        let bundles: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(bundles.iter().all(|bundle| *bundle == bundles[0]));
    }

    #[test]
    fn a_corrupt_root_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ROOT_FILE);
        let one = make_root(Timestamp::now()).unwrap();
        let other = make_root(Timestamp::now()).unwrap();
        let at = |text: &str| text.find("-----BEGIN CERT").unwrap();
        let mixed = format!("{}{}", &one[..at(&one)], &other[at(&other)..]);
        for text in ["", "not a certificate", &one[..one.len() / 2], &one[at(&one)..], &mixed] {
            fs::write(&path, text).unwrap();
            let error = Authority::open(folder.path(), &device(), Timestamp::now()).unwrap_err();
            assert!(matches!(error, AuthorityError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains(ROOT_FILE));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn names_that_no_certificate_can_have_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), &device(), Timestamp::now()).unwrap();
        for names in [&[][..], &[""][..], &["gerät"][..]] {
            assert!(matches!(authority.issue_server(names, Timestamp::now()), Err(AuthorityError::Name(_))));
        }
    }
    #[test]
    fn what_is_signed_does_not_outlive_who_signs() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let authority = Authority::open(folder.path(), &device(), now).unwrap();
        let signers_end = |days: i64| {
            let issued = authority.issue_server(&["a"], now + SignedDuration::from_hours(24 * days)).unwrap();
            let signer = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes()).nth(1).unwrap().unwrap();
            let (_, signer) = x509_parser::parse_x509_certificate(&signer).unwrap();
            let end = Timestamp::from_second(signer.validity().not_after.timestamp()).unwrap();
            assert!(end >= issued.expires_at);
            end
        };
        assert_eq!(signers_end(0), signers_end(300));
        assert!(signers_end(0) < signers_end(350));
    }
}
