//! One conversation with a mail server: connect, encrypt, log in, hand over one mail.

use std::fmt::Display;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{self, Instant};

use super::plain::Plain;
use super::reply::{Failure, Refused, Request};
use crate::alert::Retry;
use crate::config::{EmailPlan, Encryption};
use crate::outbound;

/// How a password is sent; both are for encrypted connections or this machine.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
/// Longest wait for the answer to the goodbye, which decides nothing.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Hands a mail over to the server, for those of the receivers whom it takes; returns the others. If it takes none of
/// them, the first of them who may be taken later says why.
pub(super) async fn deliver(
    plan: &EmailPlan,
    tls: Option<&TlsParameters>,
    receivers: &[Address],
    letter: &[u8],
) -> Result<Vec<Refused>, Failure> {
    let step = Step { plan, until: Instant::now() + plan.timeout, address: address(plan) };
    let mut connection = step.open(tls).await?;
    let outcome = step.hand_over(&mut connection, receivers, letter).await;
    // The mail is taken or not, whatever comes of this.
    let _ = time::timeout(GOODBYE_MAX, connection.quit()).await;
    outcome
}

/// The server as `host:port`.
pub(super) fn address(plan: &EmailPlan) -> String {
    match plan.server.contains(':') {
        true => format!("[{}]:{}", plan.server, plan.port),
        false => format!("{}:{}", plan.server, plan.port),
    }
}

/// What every step of a conversation knows.
struct Step<'p> {
    plan: &'p EmailPlan,
    until: Instant,
    address: String,
}

impl Step<'_> {
    /// Waits for an answer until the time is over; `overdue` says what has not come.
    async fn within<T, E>(
        &self,
        overdue: &str,
        what: impl Future<Output = Result<T, E>>,
    ) -> Result<Result<T, E>, Failure> {
        time::timeout_at(self.until, what).await.map_err(|_| {
            let (address, timeout) = (&self.address, self.plan.timeout);
            Failure::later(format!("{overdue} {address} within {timeout:?}"))
        })
    }

    /// The answer to a request.
    async fn ask<T>(&self, request: Request<'_>, what: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        let overdue = match (request, self.plan.encryption) {
            (Request::Hello, Encryption::Tls) => "no TLS and greeting from",
            (Request::Hello, _) => "connected, and no greeting (where it begins with TLS, set tls: tls) from",
            (Request::StartTls, _) => "connected, and no TLS with",
            (Request::Login, _) => "connected, and no answer to the login from",
            (Request::Sender(_) | Request::Receiver(_), _) => "connected, and no answer from",
            (Request::Letter, _) => "the mail was sent, and no answer came from",
        };
        let answer = self.within(overdue, what).await?;
        answer.map_err(|error| Failure::of(&error, request, &self.address, self.plan.login.is_some()))
    }

    fn nameless(&self, why: Option<&dyn Display>) -> Failure {
        Failure::later(outbound::of_name(&self.address, why))
    }

    /// Opens a connection that is encrypted as configured, and logs in.
    async fn open(&self, tls: Option<&TlsParameters>) -> Result<AsyncSmtpConnection, Failure> {
        let found = self.within("no address of", lookup_host((&*self.plan.server, self.plan.port))).await?;
        let addresses: Vec<SocketAddr> = found.map_err(|error| self.nameless(Some(&error)))?.collect();
        let Some(first) = addresses.first() else { return Err(self.nameless(None)) };
        let hello = introduction(*first);
        let mut connection = match (self.plan.encryption, tls) {
            (Encryption::Tls, tls) => {
                let opened =
                    AsyncSmtpConnection::connect_tokio1(addresses.as_slice(), None, &hello, tls.cloned(), None);
                self.ask(Request::Hello, opened).await?
            }
            (Encryption::StartTls | Encryption::None, _) => {
                let opened = self.within("no connection to", TcpStream::connect(addresses.as_slice())).await?;
                let stream = opened.map_err(|e| Failure::later(outbound::of_mail_connection(&e, &self.address)))?;
                let greeted = AsyncSmtpConnection::connect_with_transport(Box::new(Plain::new(stream)), &hello);
                self.ask(Request::Hello, greeted).await?
            }
        };
        if let (Encryption::StartTls, Some(tls)) = (self.plan.encryption, tls) {
            if !connection.can_starttls() {
                let remedy = "set tls: tls with its port for that, or tls: none if the mails may be read on their way";
                return Err(Failure::later(format!("{} offers no STARTTLS: {remedy}", self.address)));
            }
            self.ask(Request::StartTls, connection.starttls(tls.clone(), &hello)).await?;
        }
        self.log_in(&mut connection).await?;
        Ok(connection)
    }

    async fn log_in(&self, connection: &mut AsyncSmtpConnection) -> Result<(), Failure> {
        let Some(login) = &self.plan.login else { return Ok(()) };
        if connection.server_info().get_auth_mechanism(&MECHANISMS).is_none() {
            let remedy = "leave username and password out if it wants none, else check tls and smtp_port";
            return Err(Failure::later(format!("{} offers no login by user and password; {remedy}", self.address)));
        }
        let credentials = Credentials::new(login.user.clone(), login.password.clone());
        self.ask(Request::Login, connection.auth(&MECHANISMS, &credentials)).await.map(drop)
    }

    /// Names sender and receivers, and sends the mail.
    async fn hand_over(
        &self,
        connection: &mut AsyncSmtpConnection,
        receivers: &[Address],
        letter: &[u8],
    ) -> Result<Vec<Refused>, Failure> {
        let sender = &self.plan.from.email;
        let mail = Mail::new(Some(sender.clone()), Vec::new());
        self.ask(Request::Sender(sender), connection.command(mail)).await?;
        let mut refused = Vec::new();
        for receiver in receivers {
            let request = Request::Receiver(receiver);
            let answer = self
                .within("connected, and no answer from", connection.command(Rcpt::new(receiver.clone(), Vec::new())));
            let Err(error) = answer.await? else { continue };
            let failure = Failure::of(&error, request, &self.address, self.plan.login.is_some());
            // Without an answer, or with the one that announces the end, the connection is of no further use.
            match error.status().map(u16::from) {
                None | Some(421) => return Err(failure),
                Some(_) => refused.push(Refused { receiver: receiver.clone(), failure }),
            }
        }
        if refused.len() == receivers.len() {
            let first = refused.iter().find(|refused| !refused.failure.retry.gives_up()).or(refused.first());
            let nobody = || Failure { what: "the mail has no receiver".to_owned(), retry: Retry::Never };
            return Err(first.map_or_else(nobody, |refused| refused.failure.clone()));
        }
        self.ask(Request::Letter, connection.command(Data)).await?;
        self.ask(Request::Letter, connection.message(letter)).await?;
        Ok(refused)
    }
}

/// How this machine introduces itself to the server at `to`: by its own address on the way there.
fn introduction(to: SocketAddr) -> ClientId {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // This sends nothing.
    let own = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(to)?;
        socket.local_addr()
    });
    match own.map(|own| own.ip()) {
        Ok(IpAddr::V4(ip)) => ClientId::Ipv4(ip),
        Ok(IpAddr::V6(ip)) => ClientId::Ipv6(ip),
        Err(_) => ClientId::default(),
    }
}
