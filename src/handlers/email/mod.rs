//! Mails alerts, those within `min_interval_seconds` in one mail: delivered once the server has taken it.
//!
//! `digest` says which alerts come in one mail, `letter` writes it, `session` speaks with the server, `reply` says what
//! an answer means. Every attempt has a connection of its own. An attempt that is repeated sends the same `Message-ID`,
//! to those receivers only whom the server has not taken yet.

mod digest;
mod letter;
mod plain;
mod reply;
mod session;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use parking_lot::Mutex;

use super::attached::Attached;
use crate::alert::{BoxFuture, Commands, DeliveryError, Handler, Retry};
use crate::config::{EmailPlan, Encryption};
use crate::error::{Code, Error};
use crate::outbound::{self, Authorities};
use crate::telemetry::redact;
use crate::telemetry::redact::MASK;
use crate::types::{Alert, AlertId, Clock};

use digest::Digest;
use reply::{Failure, Refused};

/// Mails alerts through one server.
pub struct Email {
    name: Arc<str>,
    plan: EmailPlan,
    /// `None` without encryption.
    tls: Option<TlsParameters>,
    clock: Arc<dyn Clock>,
    partial: Mutex<Option<Partial>>,
    attached: Attached,
    digest: Digest,
}

/// An alert that the server has taken for some of its receivers.
struct Partial {
    id: AlertId,
    /// Receivers who need no further mail: it was taken for them, or refused for good.
    settled: Vec<Address>,
    /// Those of them who were refused.
    refused: Vec<Refused>,
}

impl Email {
    /// Creates a handler. Opens no connection yet: the server may start later.
    ///
    /// # Errors
    /// [`Code::Handler`] for an unusable `ca_file`, or a server whose name no certificate can be for.
    pub fn new(name: Arc<str>, plan: EmailPlan, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let wrong = |what: String| Error::new(Code::Handler, format!("handler {name}: {what}"));
        let tls = match plan.encryption {
            Encryption::None => None,
            Encryption::StartTls | Encryption::Tls => {
                let authorities = outbound::authorities(plan.ca_file.as_deref()).map_err(|what| {
                    wrong(format!("ca_file: {what}"))
                        .hint("write ca_file: certs/ca.pem, a file with `BEGIN CERTIFICATE` in it, or DER")
                })?;
                let tls = trusting(&plan.server, authorities);
                Some(tls.map_err(|error| wrong(format!("no TLS with {}: {error}", plan.server)))?)
            }
        };
        Ok(Self {
            name,
            plan,
            tls,
            clock,
            partial: Mutex::new(None),
            attached: Attached::default(),
            digest: Digest::default(),
        })
    }

    /// Sends an alert's mail to the receivers who have not got it.
    async fn send(&self, alert: &Alert) -> Result<(), DeliveryError> {
        if let Some(outcome) = self.digest.take_mailed(&alert.id) {
            return outcome;
        }
        let others = self.digest.others(self.plan.min_interval, alert);
        let sent = SystemTime::UNIX_EPOCH + Duration::from_nanos(self.clock.unix_ns());
        let picture = self.attached.picture(self.plan.picture, alert).await;
        let letter = letter::write(&self.plan, &self.name, alert, &others, sent, picture)
            .map_err(|what| self.failed(&Failure { what, retry: Retry::Never }))?;
        let receivers = self.unsettled(&alert.id);
        let talk = session::deliver(&self.plan, self.tls.as_ref(), &receivers, &letter);
        let refused = match talk.await {
            Ok(refused) => refused,
            Err(failure) => {
                let mut error = self.failed(&failure);
                // Those who deferred it refuse it for good now: the others have it.
                if error.retry == Retry::Never && self.is_partly_taken(&alert.id) {
                    error.retry = Retry::Partly;
                    self.digest.on_taken(&Err(error.clone()), self.clock.monotonic_ns());
                }
                return Err(error);
            }
        };
        let outcome = self.settle(&alert.id, &receivers, refused);
        if outcome.as_ref().map_or_else(|error| error.retry.gives_up(), |()| true) {
            self.digest.on_taken(&outcome, self.clock.monotonic_ns());
        }
        outcome
    }

    fn is_partly_taken(&self, id: &AlertId) -> bool {
        self.partial.lock().as_ref().is_some_and(|partial| partial.id == *id)
    }

    /// The receivers for whom the server has neither taken nor refused this alert.
    fn unsettled(&self, id: &AlertId) -> Vec<Address> {
        let mut receivers: Vec<Address> = Vec::new();
        let all = [&self.plan.to, &self.plan.cc, &self.plan.bcc];
        for mailbox in all.into_iter().flatten() {
            if !receivers.contains(&mailbox.email) {
                receivers.push(mailbox.email.clone());
            }
        }
        if let Some(partial) = self.partial.lock().as_ref().filter(|partial| partial.id == *id) {
            receivers.retain(|receiver| !partial.settled.contains(receiver));
        }
        receivers
    }

    /// The outcome where the server has taken the mail for `receivers` but for `refused`.
    fn settle(&self, id: &AlertId, receivers: &[Address], refused: Vec<Refused>) -> Result<(), DeliveryError> {
        let mut slot = self.partial.lock();
        let mut partial = slot.take().filter(|partial| partial.id == *id).unwrap_or_else(|| Partial {
            id: id.clone(),
            settled: Vec::new(),
            refused: Vec::new(),
        });
        let (later, never): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|refused| !refused.failure.retry.gives_up());
        let taken = receivers.iter().filter(|receiver| later.iter().all(|refused| refused.receiver != **receiver));
        partial.settled.extend(taken.cloned());
        partial.refused.extend(never);
        let worst = later.first().map(|refused| refused.failure.retry);
        let worst = worst.or_else(|| partial.refused.first().map(|_| Retry::Partly));
        let said: Vec<&str> = partial.refused.iter().chain(&later).map(|refused| &*refused.failure.what).collect();
        let Some(retry) = worst else { return Ok(()) };
        let error = self.failed(&Failure { what: format!("{}; the others got it", said.join("; ")), retry });
        if !later.is_empty() {
            *slot = Some(partial);
        }
        Err(error)
    }

    /// A delivery error, without the password in any form in which it goes to the server.
    fn failed(&self, failure: &Failure) -> DeliveryError {
        let mut what = failure.what.clone();
        if let Some(login) = &self.plan.login {
            let plain = format!("\0{}\0{}", login.user, login.password);
            for secret in [STANDARD.encode(plain), STANDARD.encode(&login.password), login.password.clone()] {
                what = what.replace(&secret, MASK);
            }
        }
        let message = format!("{}: {}", session::address(&self.plan), redact(&what));
        DeliveryError { message, retry: failure.retry }
    }
}

/// TLS with `server` that trusts these authorities.
fn trusting(server: &str, authorities: Authorities) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    let store = match authorities.with_mozilla {
        true => CertificateStore::WebpkiRoots,
        false => CertificateStore::None,
    };
    let mut builder = TlsParameters::builder(server.to_owned()).certificate_store(store);
    for certificate in authorities.certificates {
        builder = builder.add_root_certificate(Certificate::from_der(certificate.to_vec())?);
    }
    builder.build_rustls()
}

impl Handler for Email {
    fn name(&self) -> &str {
        &self.name
    }

    /// A delivery has its own timeout.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    fn attach(&self, commands: Commands) {
        self.attached.attach(&commands);
        self.digest.attach(commands);
    }

    fn collects(&self, alert: &Alert) -> Option<Duration> {
        self.digest.rest(self.plan.min_interval, alert, self.clock.monotonic_ns())
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(self.send(alert))
    }
}
