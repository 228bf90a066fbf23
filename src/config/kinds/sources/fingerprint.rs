//! A certificate's fingerprint, as people write it.

use crate::config::source_uri::Refusal;

/// Parses a fingerprint as tools print it: 64 hexadecimal digits, with or without colons.
pub(super) fn sha256(text: &str) -> Result<[u8; 32], Refusal> {
    let digits = text.trim().to_ascii_lowercase().replace(':', "");
    let digits = digits.strip_prefix("sha256").unwrap_or(&digits).trim_start_matches(['=', ' ']);
    let mut out = [0; 32];
    let is_hex = digits.len() == 2 * out.len() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
    for (at, slot) in out.iter_mut().enumerate() {
        let Some(byte) = byte(at).filter(|_| is_hex) else {
            let label = "expected the 64 digits that `openssl x509 -noout -fingerprint -sha256` prints";
            return Err(("`parameters.fingerprint` is not a SHA-256".to_owned(), label.to_owned()));
        };
        *slot = byte;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_tools_print_it() {
        let (plain, colons) = ("0A".repeat(32), ["0a"; 32].join(":"));
        for text in [&plain, &colons, &format!("sha256:{plain}"), &format!("SHA256={colons}"), &format!(" {plain}\n")] {
            assert_eq!(sha256(text), Ok([10; 32]), "{text}");
        }
        for text in ["", "0a", &"0g".repeat(32), &"0a".repeat(33), &"0ä".repeat(32)] {
            assert!(sha256(text).is_err(), "{text}");
        }
    }
}
