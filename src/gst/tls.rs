//! Decides whether to accept a camera's certificate that GLib does not trust: by the same rules as for webhooks, or by
//! its fingerprint.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::observed::Observed;
use crate::config::Camera;
use crate::outbound::{self, Objection, Shown};
use crate::types::Clock;

/// Maximum certificates read from one chain.
const CHAIN_MAX: usize = 8;

/// GLib's objections, by bit of `GTlsCertificateFlags`.
const OBJECTIONS: &[(u32, Objection)] = &[
    (1 << 0, Objection::Issuer),
    (1 << 1, Objection::Name),
    (1 << 2, Objection::NotYet),
    (1 << 3, Objection::Expired),
    (1 << 4, Objection::Revoked),
    (1 << 5, Objection::Weak),
];

/// Handles `accept-certificate`, which the source emits for certificates that GLib does not trust.
pub(super) fn watch(source: &gst::Element, camera: &Camera, observed: &Arc<Observed>, clock: &Arc<dyn Clock>) {
    let (camera, observed, clock) = (camera.clone(), Arc::clone(observed), Arc::clone(clock));
    source.connect("accept-certificate", false, move |args| {
        observed.certificate_untrusted.store(true, Ordering::Release);
        let judged = chain(args.get(2)).and_then(|chain| {
            let shown = Shown { chain, objections: objections(args.get(3)), host: &camera.host };
            let now = Duration::from_nanos(clock.unix_ns());
            outbound::accept(&shown, camera.ca_file.as_deref(), camera.fingerprint.as_ref(), now)
        });
        if let Err(why) = &judged {
            let _ = observed.certificate.set(why.clone());
        }
        Some(judged.is_ok().to_value())
    });
}

/// The certificates presented, the camera's own first, as DER.
fn chain(shown: Option<&glib::Value>) -> Result<Vec<Vec<u8>>, String> {
    let mut next = shown.and_then(|shown| shown.get::<Option<glib::Object>>().ok().flatten());
    let mut chain = Vec::new();
    while let Some(certificate) = next.filter(|_| chain.len() < CHAIN_MAX) {
        chain.push(
            certificate.property::<Option<glib::ByteArray>>("certificate").map(|der| der.to_vec()).unwrap_or_default(),
        );
        next = certificate.property::<Option<glib::Object>>("issuer");
    }
    match chain.first().is_some_and(|own| !own.is_empty()) {
        true => Ok(chain),
        false => Err("the camera shows no certificate".into()),
    }
}

/// GLib's objections to a certificate.
fn objections(flags: Option<&glib::Value>) -> Vec<Objection> {
    let class = flags.and_then(|flags| Some((glib::FlagsClass::with_type(flags.type_())?, flags)));
    let Some((class, flags)) = class else { return Vec::new() };
    OBJECTIONS.iter().filter(|(bit, _)| class.is_set(flags, *bit)).map(|(_, objection)| *objection).collect()
}
