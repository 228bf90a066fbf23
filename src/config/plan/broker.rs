//! An MQTT broker's parsed address.

use std::fmt;

use super::address::{HostPort, User, host_port, peer};

/// Advice for an address that cannot be read.
const FORM: &str = "write mqtt://[user:password@]host[:port], or mqtts:// with TLS; the topics are `topic_prefix`";

/// A broker's address. `Debug` does not show user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// The broker's name or IP address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection uses TLS: `mqtts://`.
    pub tls: bool,
    /// The credentials.
    pub user: Option<User>,
}

impl Broker {
    /// Parses `mqtt://[user[:password]@]host[:port]`. User and password end at the last `@`, may contain any character,
    /// and are percent-decoded if encoded.
    ///
    /// # Errors
    /// What is wrong, and what to write. Neither contains a part of the address.
    pub fn read(url: &str) -> Result<Self, (String, String)> {
        let wrong = |what: &str, label: &str| Err((what.to_owned(), label.to_owned()));
        let unread = "the broker's address cannot be read";
        let Some((scheme, rest)) = url.trim().split_once("://") else { return wrong(unread, FORM) };
        let tls = match &*scheme.to_ascii_lowercase() {
            "mqtt" => false,
            "mqtts" => true,
            "ws" | "wss" => return wrong("MQTT over WebSocket is not built", FORM),
            _ => return wrong(unread, FORM),
        };
        if rest.chars().any(char::is_control) {
            return wrong(unread, "it holds a control character");
        }
        let (user, peer) = rest.rsplit_once('@').map_or((None, rest), |(user, peer)| (Some(user), peer));
        let peer = peer.strip_suffix('/').unwrap_or(peer);
        if peer.is_empty() || peer.starts_with(':') {
            return wrong("the broker's address has no host", FORM);
        }
        if peer.contains(['/', '?', '#']) {
            let label = "a topic is set by `topic_prefix`; in a password / is %2F, ? is %3F, # is %23, @ is %40";
            return wrong("the broker's address has a path", label);
        }
        let Some(HostPort { host, port }) = host_port(peer) else {
            return wrong(unread, "the port is a number from 1 to 65535; in a password @ is %40, : is %3A");
        };
        let user = user.map(User::read);
        if user.as_ref().is_some_and(|user| user.name.chars().chain(user.password.chars()).any(char::is_control)) {
            return wrong(unread, "its user or password holds a control character");
        }
        Ok(Self { host, port: port.unwrap_or(if tls { 8883 } else { 1883 }), tls, user })
    }

    /// `host:port`, for display.
    pub fn peer(&self) -> String {
        peer(&self.host, self.port)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("peer", &self.peer()).field("tls", &self.tls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_address_is_read_with_any_password() {
        for (url, user, peer, tls) in [
            ("mqtt://broker", None, "broker:1883", false),
            ("MQTTS://broker/", None, "broker:8883", true),
            ("mqtt://10.0.0.7:1884", None, "10.0.0.7:1884", false),
            ("mqtts://[fe80::1]", None, "[fe80::1]:8883", true),
            ("mqtt://u@b", Some(("u", "")), "b:1883", false),
            ("mqtt://u:p@ss/w?r#d@b:2", Some(("u", "p@ss/w?r#d")), "b:2", false),
            ("mqtt://a%40b.c:p%3A%2F@b", Some(("a@b.c", "p:/")), "b:1883", false),
        ] {
            let read = Broker::read(url).unwrap_or_else(|why| panic!("{url}: {why:?}"));
            let named = read.user.as_ref().map(|user| (&*user.name, &*user.password));
            assert_eq!((named, &*read.peer(), read.tls), (user, peer, tls), "{url}");
        }
    }

    #[test]
    fn an_unreadable_address_is_refused_with_advice_and_without_its_secrets() {
        for (url, part) in [
            ("broker:1883", "cannot be read"),
            ("http://u:canary@broker", "cannot be read"),
            ("wss://u:canary@broker", "WebSocket"),
            ("mqtt://", "no host"),
            ("mqtt://u:canary@", "no host"),
            ("mqtt://u:canary@:1883", "no host"),
            ("mqtt://u:canary@broker:0", "cannot be read"),
            ("mqtt://u:canary@broker:99999", "cannot be read"),
            ("mqtt://u:canary@bro ker", "cannot be read"),
            ("mqtt://u:canary@broker/topic", "has a path"),
            ("mqtt://u:canary/broker", "has a path"),
            ("mqtt://u:can%00ary@broker", "cannot be read"),
        ] {
            let (what, label) = Broker::read(url).unwrap_err();
            assert!(what.contains(part) && !what.contains("canary") && !label.contains("canary"), "{url}: {what}");
        }
        let shown = format!("{:?}", Broker::read("mqtt://viewer:canary@b").unwrap());
        assert!(shown.contains("b:1883") && !shown.contains("viewer") && !shown.contains("canary"), "{shown}");
    }
}
