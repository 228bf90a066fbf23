//! Whose certificates are trusted: the machine's, those of `SSL_CERT_FILE`, and a file's of one's own.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// TLS that trusts what this machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` in place of its store, where they are
/// set), and beside that the authorities in `ca_file`. Where the machine has no store, the web's usual roots count.
///
/// # Errors
/// Why `ca_file` cannot be used.
pub fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // What cannot be read of a store is its owner's matter: one bad file among many keeps nobody from working.
    let (known, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if known == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(file) = ca_file {
        let shown = file.display();
        let bytes = std::fs::read(file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let certificates: Vec<CertificateDer<'_>> = match CertificateDer::pem_slice_iter(&bytes).collect() {
            Ok(certificates) => certificates,
            Err(error) => return Err(format!("{shown} is no PEM file: {error}")),
        };
        let (added, refused) = roots.add_parsable_certificates(certificates);
        if added == 0 || refused > 0 {
            return Err(format!("{shown} holds {added} certificates that can be read and {refused} that cannot"));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
