//! The HTTP listener's address, tokens and pages.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// The HTTP listener.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminPlan {
    /// Whether to listen at all.
    pub enabled: bool,
    /// The address to bind. Loopback is open; any other requires a token.
    pub listen: IpAddr,
    /// Its port; 0 = any free one.
    pub port: u16,
    /// Allowed host names besides localhost and literal addresses.
    pub allowed_hosts: Vec<String>,
    /// The access tokens.
    pub tokens: Vec<TokenPlan>,
    /// What requires no token.
    pub public: Public,
    /// Whether the metrics page is served.
    pub metrics: bool,
    /// Path of the metrics page.
    pub metrics_path: String,
}

impl Default for AdminPlan {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8000,
            allowed_hosts: Vec::new(),
            tokens: Vec::new(),
            public: Public { probes: true, metrics: false },
            metrics: true,
            metrics_path: "/metrics".to_owned(),
        }
    }
}

/// One token.
#[derive(Clone, PartialEq)]
pub struct TokenPlan {
    /// Its name, for the audit.
    pub name: String,
    /// Its text.
    pub token: String,
    /// Its scopes.
    pub scopes: Vec<Scope>,
    /// The sources that it is limited to; empty = all.
    pub sources: Vec<String>,
}

impl fmt::Debug for TokenPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, token: _, scopes, sources } = self;
        let mut shown = f.debug_struct("TokenPlan");
        shown.field("name", name).field("scopes", scopes).field("sources", sources).finish_non_exhaustive()
    }
}

/// A token's scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Reading.
    Read,
    /// Changes.
    Control,
    /// Publishing pictures and detections.
    Publish,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Read, Self::Control, Self::Publish];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Control => "control",
            Self::Publish => "publish",
        }
    }
}

/// What requires no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Public {
    /// The probes.
    pub probes: bool,
    /// The metrics page.
    pub metrics: bool,
}
