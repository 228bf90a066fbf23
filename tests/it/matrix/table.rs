//! The fault matrix: what may happen to a source of each kind, and what is expected then.

use std::time::Duration;

/// What happens to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server is killed, and started again as soon as that is noticed.
    Kill,
    /// The server stops, and its connections stand.
    Freeze,
    /// Every connection is reset; the server takes new ones.
    Reset,
    /// Nobody listens for some seconds.
    Refuse,
    /// The address is edited to a name that nobody has, and back.
    NoDns,
    /// The server has another password for a while.
    Unauthorized,
    /// The server has nothing at the path for a while.
    NotFound,
    /// What the server sends is described wrongly for some seconds.
    WrongSdp,
    /// The server comes back with another codec.
    Codec,
    /// The pictures have another size from one to the next.
    Size,
    /// RTP ends; RTCP and what keeps the session alive go on.
    Silence,
    /// Noise comes in place of the media.
    Garbage,
    /// A few bytes in a second.
    Drip,
    /// So many of a hundred packets are lost.
    Loss(u8),
}

/// How a source is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    RtspUdp,
    RtspTcp,
    Http,
    Hls,
    Whip,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [Self::RtspUdp, Self::RtspTcp, Self::Http, Self::Hls, Self::Whip];
}

/// What is expected of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// The loss is noticed, and when it is over the source is back by itself within this time.
    Back(Duration),
    /// The loss is noticed and the user's part named; once it is over, a restart brings the source back.
    Flagged,
    /// The loss is noticed and what is refused is named; since it was granted before, the source is tried on, and is
    /// back by itself within this time.
    Named(Duration),
    /// An edit breaks the source, which is noticed; another brings it back.
    Edited,
    /// Frames go on without a failure.
    Holds,
    /// Frames may stay away, which is noticed; when it is over the source delivers within this time.
    Worse(Duration),
    /// It means nothing for this kind, and why.
    Nothing(&'static str),
}

/// A lost source is noticed within this time of its last frame.
pub(super) const NOTICED: Duration = Duration::from_secs(3);
/// What HLS needs beyond that: three segments.
pub(super) const HLS_TARGETS: u32 = 3;
/// The length of a segment of the tests' HLS peer.
pub(super) const HLS_TARGET: Duration = Duration::from_secs(1);

/// Back after a short loss.
const SOON: Expect = Expect::Back(Duration::from_secs(2));
/// Back after any that passes by itself.
const LATER: Expect = Expect::Back(Duration::from_secs(12));
/// A server that has just started may not have its cameras yet.
const NAMED: Expect = Expect::Named(Duration::from_secs(12));
const WORSE: Expect = Expect::Worse(Duration::from_secs(12));
const NO_SDP: Expect = Expect::Nothing("this kind has no description of its own");
const NO_RTCP: Expect = Expect::Nothing("nothing keeps this kind alive beside its media");
const NO_LOSS: Expect = Expect::Nothing("TCP sends again what is lost: it is only later");
const WAITS: Expect = Expect::Nothing("the publisher connects to the engine");
const UDP: Expect = Expect::Nothing("its packets are datagrams: no connection stands that could be reset");

/// The matrix: one row for each fault, one column for each of [`Kind::ALL`].
#[rustfmt::skip]
pub(super) const ROWS: &[(Fault, [Expect; 5])] = &[
    //                      RTSP UDP          RTSP TCP          HTTP              HLS               WHIP
    (Fault::Kill,         [SOON,             SOON,             SOON,             LATER,            SOON]),
    (Fault::Freeze,       [LATER,            LATER,            LATER,            LATER,            LATER]),
    (Fault::Reset,        [SOON,             SOON,             SOON,             Expect::Holds,    UDP]),
    (Fault::Refuse,       [LATER,            LATER,            LATER,            LATER,            WAITS]),
    (Fault::NoDns,        [Expect::Edited,   Expect::Edited,   Expect::Edited,   Expect::Edited,   WAITS]),
    (Fault::Unauthorized, [Expect::Flagged,  Expect::Flagged,  Expect::Flagged,  Expect::Flagged,  WAITS]),
    (Fault::NotFound,     [NAMED,            NAMED,            NAMED,            NAMED,            WAITS]),
    (Fault::WrongSdp,     [LATER,            LATER,            NO_SDP,           NO_SDP,           LATER]),
    (Fault::Codec,        [SOON,             SOON,             SOON,             LATER,            SOON]),
    (Fault::Size,         [Expect::Holds,    Expect::Holds,    Expect::Holds,    Expect::Holds,    Expect::Holds]),
    (Fault::Silence,      [LATER,            LATER,            NO_RTCP,          NO_RTCP,          LATER]),
    (Fault::Garbage,      [LATER,            LATER,            LATER,            LATER,            LATER]),
    (Fault::Drip,         [LATER,            LATER,            LATER,            LATER,            LATER]),
    (Fault::Loss(5),      [Expect::Holds,    NO_LOSS,          NO_LOSS,          NO_LOSS,          Expect::Holds]),
    (Fault::Loss(20),     [WORSE,            NO_LOSS,          NO_LOSS,          NO_LOSS,          WORSE]),
    (Fault::Loss(50),     [WORSE,            NO_LOSS,          NO_LOSS,          NO_LOSS,          WORSE]),
];

/// The cells of the ordinary suite.
pub(super) const ORDINARY: [(Fault, Kind); 10] = [
    (Fault::Kill, Kind::RtspTcp),
    (Fault::Freeze, Kind::RtspTcp),
    (Fault::Freeze, Kind::RtspUdp),
    (Fault::Reset, Kind::RtspTcp),
    (Fault::Unauthorized, Kind::RtspTcp),
    (Fault::WrongSdp, Kind::RtspTcp),
    (Fault::Kill, Kind::Whip),
    (Fault::Size, Kind::RtspTcp),
    (Fault::Silence, Kind::RtspUdp),
    (Fault::Garbage, Kind::Http),
];

/// A cell of the matrix.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) fault: Fault,
    pub(super) kind: Kind,
    pub(super) expect: Expect,
}

impl Cell {
    /// Its source's id.
    pub(super) fn id(&self) -> String {
        format!("{:?}-{:?}", self.fault, self.kind).to_lowercase().replace(['(', ')'], "")
    }

    /// A lost source of the kind is noticed within this time of its last frame.
    pub(super) fn noticed(&self) -> Duration {
        match self.kind {
            Kind::Hls => NOTICED + HLS_TARGETS * HLS_TARGET,
            _ => NOTICED,
        }
    }
}

/// Every cell that means something.
pub(super) fn cells() -> Vec<Cell> {
    let of_row = |(fault, expects): &(Fault, [Expect; 5])| {
        let fault = *fault;
        let cell = move |(kind, expect): (Kind, Expect)| Cell { fault, kind, expect };
        Kind::ALL.into_iter().zip(*expects).map(cell).collect::<Vec<_>>()
    };
    let runs = |cell: &Cell| !matches!(cell.expect, Expect::Nothing(_));
    ROWS.iter().flat_map(of_row).filter(runs).collect()
}

/// The cell of a fault and a kind.
pub(super) fn cell((fault, kind): (Fault, Kind)) -> Cell {
    cells().into_iter().find(|cell| cell.fault == fault && cell.kind == kind).expect("it means something")
}
