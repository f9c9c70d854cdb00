//! What a client presents in a TLS handshake, before anyone knows who it is: DER certificates.
#![no_main]

use std::sync::{Arc, LazyLock};

use edgectl_hub::clock::SystemClock;
use edgectl_schemas::ids::DeviceId;
use edgectl_simulator::authority::Authority;
use edgectl_simulator::client_certificate::CertificateReader;
use jiff::Timestamp;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;

static READER: LazyLock<CertificateReader> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("edgectl-fuzz-{}", std::process::id()));
    let device = DeviceId::new("edge").expect("an identifier");
    let authority = Authority::open(&folder, &device, Timestamp::UNIX_EPOCH).expect("an authority");
    // It is only needed for its root.
    let _ = std::fs::remove_dir_all(&folder);
    CertificateReader::new(authority.trust_bundle(), Arc::new(default_provider()), Arc::new(SystemClock))
        .expect("a root")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A leaf and, behind a length, the certificate that signed it.
    let (leaf, signer) = match bytes {
        [high, low, rest @ ..] => rest.split_at(rest.len().min(usize::from(u16::from_be_bytes([*high, *low])))),
        _ => (bytes, &[][..]),
    };
    let chain = [leaf, signer].map(CertificateDer::from);
    let _ = READER.read(&chain);
    let _ = READER.read(&chain[..1]);
});
