//! WS-Discovery: asks by multicast who is a camera, and collects the answers.
//!
//! Source: OASIS "Web Services Dynamic Discovery" of April 2005, which ONVIF's core specification prescribes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use dsengine::error::{Code, Error};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};
use url::Url;

use super::xml;

/// The multicast group and the port of WS-Discovery.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const PORT: u16 = 3702;
/// Largest answer, in bytes: the largest datagram.
const ANSWER_BYTES_MAX: usize = 65_535;
/// Most answers that are read, useless ones included.
const ANSWERS_MAX: usize = 1_024;
/// Most cameras that are kept.
const FOUND_MAX: usize = 256;
/// Most addresses of one camera.
const ADDRESSES_MAX: usize = 8;

/// A camera that has answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// Where the answer came from.
    pub(super) from: SocketAddr,
    /// Its name and its hardware, as it says.
    pub(super) name: Option<String>,
    pub(super) hardware: Option<String>,
    /// Its own service, at the address that answered.
    pub(super) service: Option<Url>,
    /// Services at other addresses, which are not asked; without user and query.
    pub(super) elsewhere: Vec<String>,
}

/// Asks, and collects answers until the time is over.
pub(super) async fn search(
    interface: Option<Ipv4Addr>,
    host: Option<&str>,
    limit: Duration,
) -> Result<Vec<Found>, Error> {
    let failed = |what: &str, error: std::io::Error| Error::new(Code::Io, format!("{what}: {error}"));
    let to = match host {
        Some(host) => {
            let at = if host.contains(':') { host.to_owned() } else { format!("{host}:{PORT}") };
            let found =
                tokio::net::lookup_host(&at).await.map_err(|error| failed(&at, error))?.find(SocketAddr::is_ipv4);
            found.ok_or_else(|| Error::new(Code::Io, format!("{host} has no IPv4 address")))?
        }
        None => SocketAddr::from((GROUP, PORT)),
    };
    // A multicast leaves through the interface of the address that its socket is bound to.
    let socket = UdpSocket::bind((interface.unwrap_or(Ipv4Addr::UNSPECIFIED), 0)).await.map_err(|error| {
        let own =
            interface.map_or_else(|| "no socket".to_owned(), |own| format!("{own} is not an address of this machine"));
        failed(&own, error)
    })?;
    let id = message_id().ok_or_else(|| Error::new(Code::Io, "the system gives no random bytes"))?;
    let probe = probe(&id);
    let (begun, mut found, mut answers) = (Instant::now(), Vec::<Found>::new(), 0);
    let until = begun + limit;
    // A datagram may get lost: the question is asked three times, and answers to any of them count once.
    let mut questions = [0, 1, 2].map(|n| begun + limit / 6 * n).into_iter().peekable();
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    while answers < ANSWERS_MAX && found.len() < FOUND_MAX {
        let next = questions.peek().copied();
        tokio::select! {
            () = sleep_until(next.unwrap_or(until)), if next.is_some() => {
                questions.next();
                let sent = socket.send_to(probe.as_bytes(), to).await;
                let hint = "name this machine's address in the cameras' network with --interface ADDR";
                sent.map_err(|error| failed(&format!("the question cannot be sent to {to}"), error).hint(hint))?;
            }
            got = timeout_at(until, socket.recv_from(&mut buffer)) => {
                let Ok(got) = got else { break };
                answers += 1;
                // An error is about an earlier question: nobody listens at the host that is asked.
                let Ok((length, from)) = got else { continue };
                let text = buffer.get(..length).map(String::from_utf8_lossy).unwrap_or_default();
                for camera in read(&text, from, &id) {
                    if !found.iter().any(|other| (other.from.ip(), &other.service) == (from.ip(), &camera.service)) {
                        found.push(camera);
                    }
                }
            }
        }
    }
    found.sort_by_key(|camera| camera.from);
    Ok(found)
}

/// The cameras in an answer to the question `id`; none in anything else.
fn read(text: &str, from: SocketAddr, id: &str) -> Vec<Found> {
    let Ok(document) = xml::parse(text) else { return Vec::new() };
    let root = document.root();
    if xml::text(root, &["RelatesTo"]).is_none_or(|answered| answered != id) {
        return Vec::new();
    }
    xml::all(root, "ProbeMatch").take(ADDRESSES_MAX).map(|found| camera(found, from)).collect()
}

fn camera(found: roxmltree::Node<'_, '_>, from: SocketAddr) -> Found {
    let scopes = xml::list(found, &["Scopes"]);
    let scope = |what: &str| {
        let of = |scope: &String| Some(scope.strip_prefix("onvif://www.onvif.org/")?.strip_prefix(what)?.to_owned());
        let value = scopes.iter().find_map(of);
        let text = percent_encoding::percent_decode_str(&value?).decode_utf8_lossy().replace('_', " ");
        Some(text.chars().filter(|c| !c.is_control()).collect::<String>()).filter(|text| !text.is_empty())
    };
    let addresses = xml::list(found, &["XAddrs"]);
    let addresses = addresses.iter().take(ADDRESSES_MAX).filter_map(|address| Url::parse(address).ok());
    let (own, others): (Vec<Url>, Vec<Url>) = addresses.partition(|address| is_at(address, from));
    Found {
        from,
        name: scope("name/"),
        hardware: scope("hardware/"),
        service: own.into_iter().next(),
        elsewhere: others.iter().map(shown).collect(),
    }
}

/// Whether an address is HTTP at the host that answered.
pub(super) fn is_at(address: &Url, from: SocketAddr) -> bool {
    matches!(address.scheme(), "http" | "https")
        && address.host_str().is_some_and(|host| host.trim_matches(['[', ']']) == from.ip().to_string())
}

/// An address for display.
pub(super) fn shown(address: &Url) -> String {
    let port = address.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", address.scheme(), address.host_str().unwrap_or_default(), address.path())
}

/// A random identifier of the question.
fn message_id() -> Option<String> {
    let mut bytes = [0; 16];
    let got = getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [hex.get(..8)?, hex.get(8..12)?, hex.get(12..16)?, hex.get(16..20)?, hex.get(20..)?];
    (got == bytes.len()).then(|| format!("uuid:{}", parts.join("-")))
}

fn probe(id: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\" \
         xmlns:n=\"http://www.onvif.org/ver10/network/wsdl\"><s:Header><a:MessageID>{id}</a:MessageID>\
         <a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>\
         <a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action></s:Header>\
         <s:Body><d:Probe><d:Types>n:NetworkVideoTransmitter</d:Types></d:Probe></s:Body></s:Envelope>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_that_answered_is_asked() {
        let from: SocketAddr = "192.0.2.7:3702".parse().unwrap();
        let answer = |addresses: &str, id: &str| {
            format!(
                "<e xmlns:d='x'><RelatesTo>{id}</RelatesTo><d:ProbeMatch><d:Scopes>onvif://www.onvif.org/name/Gate%204 \
                 onvif://www.onvif.org/hardware/H_1</d:Scopes><d:XAddrs>{addresses}</d:XAddrs></d:ProbeMatch></e>"
            )
        };
        let addresses = "http://u:p@evil.example/x?k=v file:///etc/passwd http://192.0.2.7:8080/onvif/device_service";
        let found = read(&answer(addresses, "uuid:1"), from, "uuid:1");
        let [found] = &found[..] else { panic!("{found:?}") };
        assert_eq!(found.service.as_ref().map(Url::as_str), Some("http://192.0.2.7:8080/onvif/device_service"));
        assert_eq!(found.elsewhere, ["http://evil.example/x", "file:///etc/passwd"]);
        assert_eq!((found.name.as_deref(), found.hardware.as_deref()), (Some("Gate 4"), Some("H 1")));
        assert_eq!(read(&answer(addresses, "uuid:2"), from, "uuid:1"), [], "an answer to another question");
        assert_eq!(read("<a><b>", from, "uuid:1"), []);
    }
}
