//! The delay of a stream by its RTCP sender reports (RFC 3550, section 6.4.1): when the camera captured a picture by
//! its own clock, against when the packets arrived here.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use parking_lot::Mutex;

use super::Kept;
use super::tap::Anchor;
use crate::backend::evidence::Lag;

/// Seconds from 1900, where NTP begins, to 1970.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;
/// The packet type of a sender report.
const SENDER_REPORT: u8 = 200;

/// Which stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gst) enum Side {
    /// The one that is analysed.
    Detect,
    /// The evidence's own.
    Evidence,
}

/// What a report says: an RTP time, and the sender's clock at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Report {
    rtp: u32,
    unix_ns: u64,
    /// Ticks of the RTP time per second.
    rate: u32,
}

/// Measures the delay of one pipeline.
#[derive(Clone)]
pub(in crate::gst) struct Reports {
    kept: Arc<Kept>,
    side: Side,
    newest: Arc<Mutex<Option<Report>>>,
}

impl Reports {
    pub(super) fn new(kept: &Arc<Kept>, side: Side) -> Self {
        Self { kept: Arc::clone(kept), side, newest: Arc::default() }
    }

    fn lag(&self) -> &Lag {
        match self.side {
            Side::Detect => &self.kept.lags.detect,
            Side::Evidence => &self.kept.lags.evidence,
        }
    }

    /// Reads the reports that an rtspsrc receives.
    pub(in crate::gst) fn watch(&self, source: &gst::Element) {
        self.lag().forget();
        let newest = Arc::clone(&self.newest);
        source.connect("new-manager", false, move |args| {
            let manager = args.get(1)?.get::<gst::Element>().ok()?;
            let newest = Arc::clone(&newest);
            manager.connect("new-jitterbuffer", false, move |args| {
                let buffer = args.get(1)?.get::<gst::Element>().ok()?;
                let newest = Arc::clone(&newest);
                buffer.connect("handle-sync", false, move |args| {
                    let report = args.get(1)?.get::<gst::Structure>().ok().and_then(|told| read(&told));
                    if report.is_some() {
                        *newest.lock() = report;
                    }
                    None
                });
                None
            });
            None
        });
    }

    /// Measures the packets that pass a pad of rtspsrc.
    pub(in crate::gst) fn measure(&self, pad: &gst::Pad, source: &glib::WeakRef<gst::Element>) {
        let (ours, source) = (self.clone(), source.clone());
        // Only the pad's own streaming thread locks it.
        let anchor = Mutex::new(Anchor::default());
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let Some(gst::PadProbeData::Buffer(buffer)) = &info.data else { return gst::PadProbeReturn::Ok };
            let rtp = buffer.map_readable().ok().and_then(|bytes| last_of_picture(&bytes));
            let newest = *ours.newest.lock();
            if let (Some(rtp), Some(report)) = (rtp, newest) {
                let now_ns = ours.kept.clock.unix_ns();
                let arrived_ns = anchor.lock().unix_ns(pad, buffer, &source, true, now_ns);
                ours.lag().add(signed(arrived_ns).saturating_sub(signed(report.unix_ns(rtp))));
            }
            gst::PadProbeReturn::Ok
        });
    }
}

impl Report {
    /// The sender's clock at an RTP time. RTP times wrap around.
    fn unix_ns(&self, rtp: u32) -> u64 {
        let ticks = i64::from(rtp.wrapping_sub(self.rtp).cast_signed());
        let ns = i128::from(ticks) * 1_000_000_000 / i128::from(self.rate.max(1));
        self.unix_ns.saturating_add_signed(i64::try_from(ns).unwrap_or_default())
    }
}

/// The report in a `handle-sync` signal.
fn read(told: &gst::Structure) -> Option<Report> {
    let rate = told.get::<u32>("clock-rate").ok().filter(|rate| *rate > 0)?;
    let packet = told.get::<gst::Buffer>("sr-buffer").ok()?;
    let bytes = packet.map_readable().ok()?;
    let (rtp, unix_ns) = sender_report(&bytes)?;
    Some(Report { rtp, unix_ns, rate })
}

/// The RTP time and the Unix time of a sender report.
fn sender_report(bytes: &[u8]) -> Option<(u32, u64)> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if bytes.first()? >> 6 != 2 || *bytes.get(1)? != SENDER_REPORT {
        return None;
    }
    let (seconds, fraction, rtp) = (u64::from(word(8)?), u64::from(word(12)?), word(16)?);
    let unix_s = seconds.checked_sub(NTP_TO_UNIX_S)?;
    Some((rtp, unix_s * 1_000_000_000 + ((fraction * 1_000_000_000) >> 32)))
}

/// The time in the header of an RTP packet (RFC 3550, section 5.1), if its marker says that it is the last of a picture:
/// one packet of each is enough.
fn last_of_picture(bytes: &[u8]) -> Option<u32> {
    let time = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
    (bytes[0] >> 6 == 2 && bytes[1] >> 7 == 1).then_some(time)
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_report_is_read_and_maps_rtp_times_around_their_end() {
        let mut packet = vec![0x80, 200, 0, 6, 1, 2, 3, 4];
        packet.extend((1_700_000_000_u32.wrapping_add(NTP_TO_UNIX_S as u32)).to_be_bytes());
        packet.extend(0x8000_0000_u32.to_be_bytes());
        packet.extend(0xffff_ff00_u32.to_be_bytes());
        let (rtp, unix_ns) = sender_report(&packet).unwrap();
        assert_eq!((rtp, unix_ns), (0xffff_ff00, 1_700_000_000_500_000_000));
        let report = Report { rtp, unix_ns, rate: 90_000 };
        assert_eq!(report.unix_ns(rtp), unix_ns);
        assert_eq!(report.unix_ns(rtp.wrapping_add(90_000)), unix_ns + 1_000_000_000);
        assert_eq!(report.unix_ns(rtp.wrapping_sub(45_000)), unix_ns - 500_000_000);
        packet[1] = 201;
        assert_eq!(sender_report(&packet), None, "a receiver's report");
        assert_eq!(sender_report(&packet[..7]), None);
        assert_eq!(last_of_picture(&[0x80, 0x80 | 96, 0, 1, 0, 0, 1, 0]), Some(256));
        assert_eq!(last_of_picture(&[0x80, 96, 0, 1, 0, 0, 1, 0]), None, "more of it follows");
        assert_eq!(last_of_picture(&[0x80, 96]), None);
    }
}
