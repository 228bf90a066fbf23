//! Access control: the plan's tokens, their scopes, and what a request requires. Pure.
//!
//! The bound address decides, not the peer's: a proxy on the same machine connects from 127.0.0.1.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::ApiError;
use super::routes::{Need, Public};
use crate::config::{AdminPlan, Scope};
use crate::control::{Rights, Who};

/// The caller's name if no token is required.
const LOOPBACK: &str = "loopback";

/// The SHA-256 of a secret, compared in constant time.
#[derive(Clone, Copy)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    pub(super) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// One token of the plan, without its text.
struct Token {
    digest: Digest,
    grant: Arc<Grant>,
}

/// A token's permissions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    name: String,
    scopes: Vec<Scope>,
    /// The sources that it is limited to; `None` = all.
    sources: Option<Vec<String>>,
}

impl Grant {
    fn rights(&self) -> Rights {
        let is_whole = self.sources.is_none() && self.scopes.contains(&Scope::Control);
        if is_whole { Rights::Whole } else { Rights::Limited }
    }
}

/// The plan's access settings.
pub(super) struct Access {
    /// Bound to loopback: no token is required.
    open: bool,
    tokens: Vec<Token>,
    hosts: Vec<String>,
    probes: bool,
    metrics: bool,
    metrics_path: Option<String>,
}

/// The sender of a request.
#[derive(Clone)]
pub(super) struct Caller {
    peer: SocketAddr,
    who: Identity,
}

#[derive(Clone)]
enum Identity {
    /// Bound to loopback, where no token is needed. A token that may change everything gives whole rights.
    Open(Rights),
    /// A token, by header or by session.
    Token(Digest, Arc<Grant>),
    /// Neither; may access public pages only.
    Anonymous,
}

impl Access {
    /// `bound` is the address that was bound.
    pub(super) fn new(plan: &AdminPlan, bound: IpAddr) -> Self {
        let tokens = plan.tokens.iter().map(|token| Token {
            digest: Digest::of(token.token.as_bytes()),
            grant: Arc::new(Grant {
                name: token.name.clone(),
                scopes: token.scopes.clone(),
                sources: (!token.sources.is_empty()).then(|| token.sources.iter().map(ToString::to_string).collect()),
            }),
        });
        Self {
            open: bound.to_canonical().is_loopback(),
            tokens: tokens.collect(),
            hosts: plan.allowed_hosts.clone(),
            probes: plan.public.probes,
            metrics: plan.public.metrics,
            metrics_path: plan.metrics.then(|| plan.metrics_path.clone()),
        }
    }

    /// Whether no token is required.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// The path of the metrics page; `None` if it is not served.
    pub(super) fn metrics_path(&self) -> Option<&str> {
        self.metrics_path.as_deref()
    }

    /// Whether this Host header is allowed: `localhost`, a literal address, or one that the plan lists.
    pub(super) fn allows_host(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // DNS rebinding cannot produce a literal address in the Host header.
        let literal = bare.parse::<IpAddr>().is_ok_and(|address| !address.is_unspecified());
        let listed = |name: &String| name.eq_ignore_ascii_case(host);
        literal || host.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(listed)
    }

    /// The caller with this token. Compares with all, so that the time reveals nothing.
    pub(super) fn find(&self, digest: &Digest, peer: SocketAddr) -> Option<Caller> {
        let found = self.tokens.iter().fold(None, |found, t| if t.digest.matches(digest) { Some(t) } else { found })?;
        Some(Caller { peer, who: Identity::Token(found.digest, Arc::clone(&found.grant)) })
    }

    /// The caller where no token is required, with the one that it sent nevertheless.
    pub(super) fn open_with(&self, digest: Option<&Digest>, peer: SocketAddr) -> Caller {
        let sent = digest.and_then(|digest| self.find(digest, peer)).map(|caller| caller.rights());
        let rights = sent.filter(|rights| *rights == Rights::Whole).unwrap_or(Rights::Local);
        Caller { peer, who: Identity::Open(rights) }
    }

    /// The caller without a token.
    pub(super) fn nobody(&self, peer: SocketAddr) -> Caller {
        Caller { peer, who: if self.open { Identity::Open(Rights::Local) } else { Identity::Anonymous } }
    }

    /// Whether a request requires a token.
    pub(super) fn asks_for_token(&self, need: &Need) -> bool {
        let public = match need.public {
            Some(Public::Probes) => self.probes,
            Some(Public::Metrics) => self.metrics,
            None => false,
        };
        need.scope.is_some() && !public && !self.open
    }

    /// Checks that the caller may make a request.
    ///
    /// # Errors
    /// 401 without a token, 403 with an insufficient one.
    pub(super) fn check(&self, caller: &Caller, need: &Need) -> Result<(), ApiError> {
        let (Some(scope), true) = (need.scope, self.asks_for_token(need)) else { return Ok(()) };
        let grant = match &caller.who {
            Identity::Open(_) | Identity::Anonymous => return Err(ApiError::no_token()),
            Identity::Token(_, grant) => grant,
        };
        if !grant.scopes.contains(&scope) {
            return Err(ApiError::no_scope(&grant.name, scope));
        }
        match &grant.sources {
            Some(sources) if need.whole => Err(ApiError::limited(&grant.name, sources)),
            _ => Ok(()),
        }
    }

    /// Whether an open stream may continue: its token still exists with the same permissions.
    pub(super) fn still_allows(&self, caller: &Caller) -> bool {
        match &caller.who {
            Identity::Open(_) => self.open,
            Identity::Anonymous => false,
            Identity::Token(digest, grant) => {
                self.tokens.iter().any(|token| token.digest.matches(digest) && token.grant == *grant)
            }
        }
    }
}

impl Caller {
    /// The token's name, or `loopback`.
    pub(super) fn name(&self) -> &str {
        match &self.who {
            Identity::Open(_) => LOOPBACK,
            Identity::Token(_, grant) => &grant.name,
            Identity::Anonymous => "",
        }
    }

    /// Its address.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The token's digest; `None` without a token.
    pub(super) fn token(&self) -> Option<Digest> {
        match &self.who {
            Identity::Token(digest, _) => Some(*digest),
            _ => None,
        }
    }

    /// Its scopes.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        match &self.who {
            Identity::Open(_) => Scope::ALL.to_vec(),
            Identity::Token(_, grant) => grant.scopes.clone(),
            Identity::Anonymous => Vec::new(),
        }
    }

    /// The sources that it is limited to; `None` = all.
    pub(super) fn sources(&self) -> Option<&[String]> {
        match &self.who {
            Identity::Open(_) => None,
            Identity::Token(_, grant) => grant.sources.as_deref(),
            Identity::Anonymous => Some(&[]),
        }
    }

    /// What its edits may bring into the configuration. Without a token any user of the machine may ask.
    pub(super) fn rights(&self) -> Rights {
        match &self.who {
            Identity::Open(rights) => *rights,
            Identity::Token(_, grant) => grant.rights(),
            Identity::Anonymous => Rights::Limited,
        }
    }

    /// This caller as the author of a change.
    pub(super) fn author(&self) -> Who {
        Who::new(self.name(), self.peer.to_string()).with(self.rights())
    }

    /// Whether it may read. Others see less on the public pages.
    pub(super) fn reads(&self) -> bool {
        self.scopes().contains(&Scope::Read)
    }

    /// Whether it may see a source.
    pub(super) fn sees(&self, source: &str) -> bool {
        self.sources().is_none_or(|sources| sources.iter().any(|s| s == source))
    }

    /// As [`Caller::sees`], as a result.
    ///
    /// # Errors
    /// 403 for a source that its token does not include.
    pub(super) fn check_source(&self, source: &str) -> Result<(), ApiError> {
        match self.sources() {
            Some(sources) if !self.sees(source) => Err(ApiError::limited(self.name(), sources)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Public as PublicPlan, TokenPlan};

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4000);

    fn token(name: &str, scopes: &[Scope], sources: &[&str]) -> TokenPlan {
        TokenPlan {
            name: name.into(),
            token: format!("{name}-secret-of-some-length"),
            scopes: scopes.to_vec(),
            sources: sources.iter().map(|s| (*s).into()).collect(),
        }
    }

    fn plan() -> AdminPlan {
        AdminPlan {
            tokens: vec![
                token("viewer", &[Scope::Read], &[]),
                token("operator", &[Scope::Read, Scope::Control], &[]),
                token("guard", &[Scope::Read, Scope::Control], &["gate"]),
            ],
            allowed_hosts: vec!["cam.example".into()],
            public: PublicPlan { probes: true, metrics: false },
            ..AdminPlan::default()
        }
    }

    fn need(scope: Scope, whole: bool) -> Need {
        Need { scope: Some(scope), whole, public: None }
    }

    fn caller(access: &Access, name: &str) -> Caller {
        access.find(&Digest::of(format!("{name}-secret-of-some-length").as_bytes()), PEER).unwrap()
    }

    #[test]
    fn the_bound_address_decides_whether_a_token_is_required() {
        for (bound, open) in [("127.0.0.1", true), ("127.8.0.1", true), ("::1", true), ("::ffff:127.0.0.1", true)]
            .into_iter()
            .chain([("0.0.0.0", false), ("10.0.0.1", false), ("::", false)])
        {
            let access = Access::new(&plan(), bound.parse().unwrap());
            // The peer is on the same machine in all cases.
            let asked = access.check(&access.nobody(PEER), &need(Scope::Control, true));
            assert_eq!(asked.is_ok(), open, "{bound}");
        }
    }

    #[test]
    fn a_token_allows_its_scopes_on_its_sources_and_no_more() {
        let access = Access::new(&plan(), "10.0.0.1".parse().unwrap());
        let status = |name: &str, scope, whole| {
            access.check(&caller(&access, name), &need(scope, whole)).err().map(|error| error.status().as_u16())
        };
        assert_eq!(status("viewer", Scope::Read, true), None);
        assert_eq!(status("viewer", Scope::Control, false), Some(403));
        assert_eq!(status("operator", Scope::Control, true), None);
        assert_eq!(status("operator", Scope::Publish, false), Some(403));
        assert_eq!(status("guard", Scope::Control, false), None);
        assert_eq!(status("guard", Scope::Read, true), Some(403));
        let guard = caller(&access, "guard");
        assert!(guard.check_source("gate").is_ok() && guard.check_source("yard").is_err());
        assert!(access.find(&Digest::of(b"guard"), PEER).is_none());
        let nobody = access.check(&access.nobody(PEER), &need(Scope::Read, false)).unwrap_err();
        assert_eq!(nobody.status().as_u16(), 401);
    }

    #[test]
    fn a_token_that_may_change_everything_brings_references_and_a_limited_one_no_files_either() {
        let digest = |name: &str| Digest::of(format!("{name}-secret-of-some-length").as_bytes());
        let [open, closed] = ["127.0.0.1", "10.0.0.1"].map(|bound| Access::new(&plan(), bound.parse().unwrap()));
        for (name, rights, on_loopback) in [
            ("operator", Rights::Whole, Rights::Whole),
            ("guard", Rights::Limited, Rights::Local),
            ("viewer", Rights::Limited, Rights::Local),
        ] {
            assert_eq!(caller(&closed, name).author().rights, rights, "{name}");
            assert_eq!(open.open_with(Some(&digest(name)), PEER).rights(), on_loopback, "{name} on loopback");
        }
        assert_eq!((open.nobody(PEER).rights(), closed.nobody(PEER).rights()), (Rights::Local, Rights::Limited));
        assert_eq!(open.open_with(None, PEER).rights(), Rights::Local);
        assert_eq!(open.open_with(Some(&digest("nobody")), PEER).rights(), Rights::Local);
    }

    #[test]
    fn public_pages_need_no_token_where_the_plan_says_so() {
        let access = Access::new(&plan(), "10.0.0.1".parse().unwrap());
        let page = |public| Need { public: Some(public), ..need(Scope::Read, false) };
        assert!(access.check(&access.nobody(PEER), &page(Public::Probes)).is_ok());
        assert!(access.check(&access.nobody(PEER), &page(Public::Metrics)).is_err());
    }

    #[test]
    fn hosts_are_localhost_literal_addresses_and_those_that_are_listed() {
        let access = Access::new(&plan(), "10.0.0.1".parse().unwrap());
        for host in
            ["localhost", "LocalHost", "127.0.0.1", "10.1.2.3", "[::1]", "[fe80::1]", "cam.example", "Cam.Example"]
        {
            assert!(access.allows_host(host), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "0.0.0.0", "[::]", "", "a.cam.example"]
        {
            assert!(!access.allows_host(host), "{host}");
        }
    }

    #[test]
    fn a_stream_ends_with_its_token() {
        let access = Access::new(&plan(), "10.0.0.1".parse().unwrap());
        let guard = caller(&access, "guard");
        assert!(access.still_allows(&guard));
        let mut changed = plan();
        changed.tokens[2].sources = vec!["yard".into()];
        assert!(!Access::new(&changed, "10.0.0.1".parse().unwrap()).still_allows(&guard));
        changed.tokens.truncate(2);
        let changed = Access::new(&changed, "10.0.0.1".parse().unwrap());
        assert!(!changed.still_allows(&guard) && changed.still_allows(&caller(&changed, "viewer")));
    }
}
