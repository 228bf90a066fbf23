//! Trusted certificates: the machine's, those of `SSL_CERT_FILE`, and those of a configured file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};

use super::failure::of_certificate;
use crate::text;

/// TLS that trusts the machine's store (or `SSL_CERT_FILE` and `SSL_CERT_DIR`, where set) and the authorities in
/// `ca_file`. If the machine's store is empty, Mozilla's roots are used.
///
/// # Errors
/// Why `ca_file` cannot be used.
pub fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let Trusted { roots, .. } = Trusted::load(ca_file)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The certificates that [`tls`] trusts, for a library that makes its own configuration from them.
#[derive(Debug)]
pub struct Authorities {
    /// The certificates.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Whether Mozilla's roots are trusted beside them: the machine's store is empty.
    pub with_mozilla: bool,
}

/// What [`tls`] trusts, as certificates. Those that cannot be used are left out.
///
/// # Errors
/// Why `ca_file` cannot be used.
pub fn authorities(ca_file: Option<&Path>) -> Result<Authorities, String> {
    let Trusted { mut written, with_mozilla, .. } = Trusted::load(ca_file)?;
    written.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
    Ok(Authorities { certificates: written, with_mozilla })
}

/// The trusted certificates.
struct Trusted {
    roots: RootCertStore,
    /// Whether Mozilla's roots are among them.
    with_mozilla: bool,
    /// The same certificates, as stored: a server may present one of them itself.
    written: Vec<CertificateDer<'static>>,
}

impl Trusted {
    fn load(ca_file: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let mut written = of_machine();
        // Unreadable certificates in the store are skipped: one bad file must not disable all the others.
        let (known, _) = roots.add_parsable_certificates(written.iter().cloned());
        if known == 0 {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        if let Some(file) = ca_file {
            let certificates = certificates(file)?;
            let (added, refused) = roots.add_parsable_certificates(certificates.iter().cloned());
            if refused > 0 {
                let shown = file.display();
                return Err(format!("{shown} holds {added} certificates that can be read and {refused} that cannot"));
            }
            written.extend(certificates);
        }
        Ok(Self { roots, with_mozilla: known == 0, written })
    }
}

/// The machine's trusted certificates, from OpenSSL's locations. Unreadable ones are skipped.
fn of_machine() -> Vec<CertificateDer<'static>> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let (file, dirs) = match (set("SSL_CERT_FILE"), set("SSL_CERT_DIR")) {
        (None, None) => {
            let found = openssl_probe::probe();
            (found.cert_file, found.cert_dir)
        }
        (file, dirs) => (file.map(PathBuf::from), dirs.iter().flat_map(std::env::split_paths).collect()),
    };
    let listed = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    let paths = file.into_iter().chain(listed.map(|entry| entry.path())).filter(|path| path.is_file());
    let read = |path: PathBuf| Some(sections(&std::fs::read(path).ok()?));
    // A store holds most of them twice: in a bundle, and each in its own file.
    let certificates: BTreeSet<Vec<u8>> = paths.filter_map(read).flatten().flatten().map(|der| der.to_vec()).collect();
    certificates.into_iter().map(CertificateDer::from).collect()
}

/// The certificates in a configured file: PEM, or one certificate as DER.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = file.display();
    let bytes = text::bytes(file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let certificates: Vec<_> =
        sections(&bytes).into_iter().collect::<Result<_, _>>().map_err(|why| format!("{shown} is damaged: {why}"))?;
    match certificates.is_empty() {
        true => Err(format!("{shown} holds no certificate: {}", contents(&bytes))),
        false => Ok(certificates),
    }
}

/// The certificates in the bytes of a file.
fn sections(bytes: &[u8]) -> Vec<Result<CertificateDer<'static>, String>> {
    if is_der(bytes) {
        return vec![Ok(CertificateDer::from(bytes.to_vec()))];
    }
    // A store's comments may be in any encoding; only its sections count.
    let decoded = text::decode(bytes);
    let text = decoded.as_ref().map_or(bytes, |text| text.as_bytes());
    CertificateDer::pem_slice_iter(text).map(|section| section.map_err(|error| error.to_string())).collect()
}

/// Whether these bytes are a DER sequence of more than 127 bytes, as every certificate is; no text begins like it.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x84, ..])
}

/// What a file without a certificate holds, and what to do.
fn contents(bytes: &[u8]) -> String {
    let decoded = text::decode(bytes);
    let lines = decoded.as_deref().unwrap_or_default().lines();
    let label = |line: &str| Some(line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")?.to_owned());
    let labels: BTreeSet<String> = lines.filter_map(label).collect();
    if labels.contains("TRUSTED CERTIFICATE") {
        return "its `TRUSTED CERTIFICATE` is OpenSSL's own form; convert it with `openssl x509 -in FILE -out ca.pem`"
            .into();
    }
    match (bytes.is_empty(), decoded.is_ok(), labels.into_iter().next()) {
        (true, ..) => "it is empty".into(),
        (_, _, Some(label)) => format!("it begins with `{}`", label.chars().take(40).collect::<String>()),
        (_, true, None) => "it is text without `BEGIN CERTIFICATE`".into(),
        (_, false, None) => "it is neither PEM nor DER".into(),
    }
}

/// Another TLS library's objection to a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objection {
    /// No trusted authority has signed it.
    Issuer,
    /// It is for another host name.
    Name,
    /// It is not valid yet.
    NotYet,
    /// It has expired.
    Expired,
    /// It was revoked.
    Revoked,
    /// Its signature algorithm is insecure.
    Weak,
}

/// A certificate that another TLS library did not trust.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The chain as DER, the server's own certificate first.
    pub chain: Vec<Vec<u8>>,
    /// That library's objections.
    pub objections: Vec<Objection>,
    /// The host that was requested.
    pub host: &'a str,
}

/// Accepts a server's certificate if its fingerprint matches, where one is given; else if [`tls`] would trust it, as of
/// `now` since 1970. A certificate that is itself in a trusted file is accepted as it is.
///
/// # Errors
/// Why it is rejected.
pub fn accept(
    shown: &Shown<'_>,
    ca_file: Option<&Path>,
    fingerprint: Option<&[u8; 32]>,
    now: Duration,
) -> Result<(), String> {
    let host = shown.host;
    let own = shown.chain.first().ok_or_else(|| format!("{host} shows no certificate"))?;
    if let Some(wanted) = fingerprint {
        let found: [u8; 32] = Sha256::digest(own).into();
        return match found == *wanted {
            true => Ok(()),
            false => Err(format!(
                "the certificate of {host} has another fingerprint than the one that is set: it is now {}",
                hex(&found)
            )),
        };
    }
    let trusted = Trusted::load(ca_file)?;
    let own_is_written = trusted.written.iter().any(|certificate| certificate.as_ref() == own);
    let other = shown.objections.iter().any(|objection| *objection != Objection::Issuer);
    if own_is_written && !other {
        return Ok(());
    }
    if own_is_written || (other && !shown.objections.contains(&Objection::Issuer)) {
        return Err(of_certificate(&objection(&shown.objections), host));
    }
    let mut chain = shown.chain.iter().map(|der| CertificateDer::from(der.as_slice()));
    let own = chain.next().ok_or_else(|| format!("{host} shows no certificate"))?;
    let name = ServerName::try_from(host).map_err(|_| format!("{host} is no name that a certificate can be for"))?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(trusted.roots), Arc::new(ring::default_provider()));
    let verifier = verifier.build().map_err(|error| error.to_string())?;
    let verified =
        verifier.verify_server_cert(&own, &chain.collect::<Vec<_>>(), &name, &[], UnixTime::since_unix_epoch(now));
    match verified {
        Ok(_) => Ok(()),
        // A self-signed certificate counts as one of an unknown issuer.
        Err(rustls::Error::InvalidCertificate(error)) if error.to_string().contains("CaUsedAsEndEntity") => {
            Err(unknown(host, &shown.chain))
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Err(unknown(host, &shown.chain)),
        Err(rustls::Error::InvalidCertificate(error)) => Err(of_certificate(&error, host)),
        Err(error) => Err(format!("the certificate of {host} cannot be used: {error}")),
    }
}

/// The error for an unknown issuer, with the certificate's fingerprint to compare with the server's.
fn unknown(host: &str, chain: &[Vec<u8>]) -> String {
    let own = chain.first().map(|own| hex(&Sha256::digest(own))).unwrap_or_default();
    format!("{} (its SHA-256 is {own})", of_certificate(&CertificateError::UnknownIssuer, host))
}

/// The most specific objection.
fn objection(objections: &[Objection]) -> CertificateError {
    match objections.iter().find(|objection| **objection != Objection::Issuer) {
        Some(Objection::Expired) => CertificateError::Expired,
        Some(Objection::NotYet) => CertificateError::NotValidYet,
        Some(Objection::Name) => CertificateError::NotValidForName,
        Some(Objection::Revoked) => CertificateError::Revoked,
        Some(Objection::Weak) => CertificateError::BadSignature,
        Some(Objection::Issuer) | None => CertificateError::UnknownIssuer,
    }
}

/// A fingerprint as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test double's certificate, and its file.
    fn shown(name: &str, objections: &[Objection]) -> (Shown<'static>, std::path::PathBuf) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doubles/tls").join(name);
        let own = certificates(&file).unwrap().remove(0);
        (Shown { chain: vec![own.to_vec()], objections: objections.to_vec(), host: "127.0.0.1" }, file)
    }

    #[test]
    fn a_certificate_is_accepted_by_its_authority_itself_or_its_fingerprint() {
        let now = Duration::from_secs(1_800_000_000);
        let said = |name: &str, objections: &[Objection], ca: bool| {
            let (shown, file) = shown(name, objections);
            accept(&shown, Some(&*file).filter(|_| ca), None, now)
        };
        let issuer = Objection::Issuer;
        assert_eq!(said("camera-own.pem", &[issuer], true), Ok(()));
        for (name, objections, ca, part) in [
            ("camera-own.pem", &[issuer][..], false, "authority that this machine does not trust"),
            ("camera-expired.pem", &[issuer, Objection::Expired], true, "has expired"),
            ("camera-name.pem", &[issuer, Objection::Name], true, "another name than 127.0.0.1"),
            ("camera-own.pem", &[Objection::NotYet], false, "not valid yet"),
            ("camera-own.pem", &[Objection::Revoked], false, "revoked"),
        ] {
            let why = said(name, objections, ca).unwrap_err();
            assert!(why.contains(part), "{name} {objections:?}: {why}");
        }
        let (expired, _) = shown("camera-expired.pem", &[issuer, Objection::Expired]);
        let own: [u8; 32] = Sha256::digest(&expired.chain[0]).into();
        assert_eq!(accept(&expired, None, Some(&own), now), Ok(()), "the fingerprint says which, and no more is asked");
        let why = accept(&expired, None, Some(&[7; 32]), now).unwrap_err();
        assert!(why.contains("another fingerprint") && why.contains(&hex(&own)), "{why}");
        let empty = Shown { chain: vec![], objections: vec![], host: "cam" };
        assert!(accept(&empty, None, None, now).is_err());
    }

    #[test]
    fn a_file_of_authorities_is_read_in_every_form_and_one_without_any_is_told_by_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let pem =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doubles/tls/ca.pem")).unwrap();
        let (_, own) = shown("ca.pem", &[]);
        let der = certificates(&own).unwrap();
        let of = |bytes: &[u8]| {
            let file = dir.path().join("ca");
            std::fs::write(&file, bytes).unwrap();
            certificates(&file).and_then(|read| Trusted::load(Some(&file)).map(|_| read))
        };
        let utf16 = |mark: [u8; 2], unit: fn(u16) -> [u8; 2]| {
            mark.into_iter().chain(pem.encode_utf16().flat_map(unit)).collect::<Vec<u8>>()
        };
        for bytes in [
            pem.clone().into_bytes(),
            format!("\u{FEFF}{pem}").into_bytes(),
            utf16([0xFF, 0xFE], u16::to_le_bytes),
            utf16([0xFE, 0xFF], u16::to_be_bytes),
            pem.replace('\n', "\r\n").into_bytes(),
            [b"# caf\xE9\n", pem.as_bytes()].concat(),
            der[0].to_vec(),
        ] {
            assert_eq!(of(&bytes).as_ref(), Ok(&der));
        }
        for (bytes, said) in [
            (pem.replace(" CERTIFICATE", " TRUSTED CERTIFICATE").into_bytes(), "openssl x509 -in FILE"),
            (pem.replace(" CERTIFICATE", " PKCS7").into_bytes(), "it begins with `PKCS7`"),
            (b"".to_vec(), "it is empty"),
            (b"nothing here\n".to_vec(), "text without `BEGIN CERTIFICATE`"),
            (vec![0xFF, 0, 7], "neither PEM nor DER"),
            (der[0][..200].to_vec(), "0 certificates that can be read and 1 that cannot"),
        ] {
            let why = of(&bytes).unwrap_err();
            assert!(why.contains(said), "{said}: {why}");
        }
        let why = certificates(dir.path()).unwrap_err();
        assert!(why.contains("it is a folder"), "{why}");
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let why = certificates(&pipe).unwrap_err();
        assert!(why.contains("is no regular file"), "a pipe without a writer would be waited for: {why}");
    }
}
