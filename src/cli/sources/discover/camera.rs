//! What a camera says of itself: model, profiles and the addresses of its streams.

use std::fmt;

use dsengine::engine::SystemClock;
use dsengine::telemetry::redact;
use dsengine::types::{Clock as _, rfc3339, since_epoch};
use roxmltree::Node;
use serde::Serialize;
use url::Url;

use super::search::{Found, is_at, shown};
use super::soap::{self, Login};
use super::xml;

/// Most profiles that are asked for their address.
const PROFILES_MAX: usize = 16;
/// A camera's clock that differs by more, in seconds, is mentioned: logins depend on it.
const CLOCK_OFF_MAX: i64 = 5;

/// A camera that was found.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Camera {
    /// The IP address that answered.
    pub(super) address: String,
    /// Its name, as it says.
    pub(super) name: Option<String>,
    /// Its maker and model, as it says.
    pub(super) model: Option<String>,
    /// Its streams, the largest picture first.
    pub(super) profiles: Vec<Profile>,
    /// What else there is to know.
    pub(super) notes: Vec<String>,
    /// Why its streams are not known.
    pub(super) error: Option<String>,
}

/// One of a camera's streams.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Profile {
    #[serde(skip)]
    pub(super) token: String,
    /// Its name, as the camera says.
    pub(super) name: Option<String>,
    /// Its codec, as the camera says: `H264`.
    pub(super) codec: Option<String>,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Most frames per second.
    pub(super) fps: Option<u32>,
    /// Its address, without a user; absent where the camera names none.
    pub(super) uri: Option<String>,
    /// Whether the address is at the host that answered.
    pub(super) is_own: bool,
}

/// Asks a camera that was found.
pub(super) async fn ask(found: Found, login: Option<Login>) -> Camera {
    let mut camera = Camera {
        address: found.from.ip().to_string(),
        name: found.name.clone(),
        model: found.hardware.clone(),
        ..Camera::default()
    };
    for elsewhere in &found.elsewhere {
        camera.notes.push(format!("it names a service at {elsewhere}, another address, which is not asked"));
    }
    camera.error = match &found.service {
        Some(service) => camera.fill(service, &found, login.as_ref()).await.err(),
        None => Some("it names no service at its own address".into()),
    };
    // Equal sizes keep the camera's order.
    camera.profiles.sort_by_key(|profile| std::cmp::Reverse(profile.pixels()));
    camera
}

impl Camera {
    async fn fill(&mut self, service: &Url, found: &Found, login: Option<&Login>) -> Result<(), String> {
        let own_ms = SystemClock::new().unix_ns() / 1_000_000;
        // Cameras refuse a login that was made at another time than theirs.
        let offset_ms = self.offset_ms(service, own_ms).await?;
        let at = || (SystemClock::new().unix_ns() / 1_000_000).saturating_add_signed(offset_ms);
        let device = "<GetDeviceInformation xmlns=\"http://www.onvif.org/ver10/device/wsdl\"/>";
        // Some let only an administrator read it; the streams do not depend on it.
        if let Ok(answer) = soap::ask(service, device, login, at()).await {
            let document = xml::parse(&answer)?;
            let words = ["Manufacturer", "Model"].map(|name| xml::text(document.root(), &[name]));
            let model: Vec<String> = words.into_iter().flatten().collect();
            self.model = Some(model.join(" ")).filter(|model| !model.is_empty()).or(self.model.take());
        }
        let media = self.media(service, found, login, at()).await;
        let profiles = "<GetProfiles xmlns=\"http://www.onvif.org/ver10/media/wsdl\"/>";
        self.profiles = read_profiles(&soap::ask(&media, profiles, login, at()).await?)?;
        for profile in &mut self.profiles {
            let uri = soap::ask(&media, &stream_question(&profile.token), login, at()).await;
            match uri.and_then(|answer| Ok(xml::text(xml::parse(&answer)?.root(), &["MediaUri", "Uri"]))) {
                Ok(Some(uri)) => profile.set_uri(&uri, found, &mut self.notes),
                Ok(None) => self.notes.push(format!("it names no address for the profile {}", profile.token)),
                Err(why) => {
                    self.notes.push(format!("the address of the profile {} is not known: {why}", profile.token))
                }
            }
        }
        if self.profiles.is_empty() {
            return Err("it has no profile".into());
        }
        Ok(())
    }

    /// How far the camera's clock is ahead, in milliseconds. No login is needed for that.
    async fn offset_ms(&mut self, service: &Url, own_ms: u64) -> Result<i64, String> {
        let question = "<GetSystemDateAndTime xmlns=\"http://www.onvif.org/ver10/device/wsdl\"/>";
        let answer = match soap::ask(service, question, None, own_ms).await {
            Ok(answer) => answer,
            // Some require a login even for that: their clock has to be right.
            Err(why) if why.contains("user") || why.contains("fault") => return Ok(0),
            Err(why) => return Err(why),
        };
        let document = xml::parse(&answer)?;
        let time = xml::all(document.root(), "UTCDateTime").next().and_then(moment);
        let offset_ms = time.map_or(0, |time| time.saturating_sub_unsigned(own_ms));
        if offset_ms.abs() / 1_000 > CLOCK_OFF_MAX {
            self.notes.push(format!(
                "its clock says {}, which is {} s off: set its time server",
                rfc3339(own_ms.saturating_add_signed(offset_ms)),
                offset_ms.abs() / 1_000
            ));
        }
        Ok(offset_ms)
    }

    /// The media service, at the camera's own address; the device service where it names no other.
    async fn media(&mut self, service: &Url, found: &Found, login: Option<&Login>, at_unix_ms: u64) -> Url {
        let question = "<GetCapabilities xmlns=\"http://www.onvif.org/ver10/device/wsdl\">\
                        <Category>Media</Category></GetCapabilities>";
        let answer = soap::ask(service, question, login, at_unix_ms).await.unwrap_or_default();
        let named = xml::parse(&answer).ok().and_then(|answer| xml::text(answer.root(), &["Media", "XAddr"]));
        match named.and_then(|named| Url::parse(&named).ok()) {
            Some(media) if is_at(&media, found.from) => media,
            Some(other) => {
                let other = shown(&other);
                self.notes.push(format!("it names a media service at {other}, another address, which is not asked"));
                service.clone()
            }
            None => service.clone(),
        }
    }
}

impl Profile {
    fn set_uri(&mut self, uri: &str, found: &Found, notes: &mut Vec<String>) {
        let Ok(mut parsed) = Url::parse(uri) else {
            return notes.push(format!("the address of the profile {} cannot be read", self.token));
        };
        let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        self.is_own = host == found.from.ip().to_string();
        if !self.is_own {
            notes.push(format!("the profile {} is at {host}, another address: do not send it a password", self.token));
        }
        // Some write the user into it.
        let _ = (parsed.set_username(""), parsed.set_password(None));
        self.uri = Some(redact(parsed.as_str()).into_owned());
    }
}

/// The question for the address of a profile's stream.
fn stream_question(token: &str) -> String {
    let token = xml::escaped(token);
    format!(
        "<GetStreamUri xmlns=\"http://www.onvif.org/ver10/media/wsdl\"><StreamSetup>\
         <Stream xmlns=\"http://www.onvif.org/ver10/schema\">RTP-Unicast</Stream>\
         <Transport xmlns=\"http://www.onvif.org/ver10/schema\"><Protocol>RTSP</Protocol></Transport></StreamSetup>\
         <ProfileToken>{token}</ProfileToken></GetStreamUri>"
    )
}

/// The profiles with video.
fn read_profiles(answer: &str) -> Result<Vec<Profile>, String> {
    let document = xml::parse(answer)?;
    let read = |node: Node<'_, '_>| {
        let video = xml::all(node, "VideoEncoderConfiguration").next()?;
        let token: String = node.attribute("token")?.chars().filter(|c| !c.is_control()).take(64).collect();
        Some(Profile {
            token,
            // The profile's own name comes before those of its parts.
            name: xml::text(node, &["Name"]),
            codec: xml::text(video, &["Encoding"]),
            width: number(video, &["Resolution", "Width"]).unwrap_or(0),
            height: number(video, &["Resolution", "Height"]).unwrap_or(0),
            fps: number(video, &["FrameRateLimit"]),
            ..Profile::default()
        })
    };
    Ok(xml::all(document.root(), "Profiles").filter_map(read).take(PROFILES_MAX).collect())
}

/// A number within reason; some write `25.0`.
fn number(node: Node<'_, '_>, path: &[&'static str]) -> Option<u32> {
    let number: f64 = xml::text(node, path)?.parse().ok()?;
    Some(number.clamp(0.0, 65_535.0) as u32)
}

/// A moment in ONVIF's form, in milliseconds since 1970.
fn moment(node: Node<'_, '_>) -> Option<i64> {
    let part = |group, name| xml::text(node, &[group, name])?.parse::<u32>().ok();
    let text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        part("Date", "Year")?,
        part("Date", "Month")?,
        part("Date", "Day")?,
        part("Time", "Hour")?,
        part("Time", "Minute")?,
        part("Time", "Second")?.min(59)
    );
    i64::try_from(since_epoch(&text)?.as_millis()).ok()
}

/// One line for the camera, one for each stream and note.
impl fmt::Display for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unnamed = || "(no name)".to_owned();
        write!(f, "{}  {}", self.address, self.name.clone().unwrap_or_else(unnamed))?;
        if let Some(model) = &self.model {
            write!(f, "  {model}")?;
        }
        for profile in &self.profiles {
            write!(f, "\n  {}  {}", profile.described(), profile.uri.as_deref().unwrap_or("(no address)"))?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        if let Some(error) = &self.error {
            write!(f, "\n  its streams are not known: {error}")?;
        }
        Ok(())
    }
}

impl Profile {
    /// Pixels of a picture.
    pub(super) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Name, codec, size and rate.
    pub(super) fn described(&self) -> String {
        let name = self.name.as_deref().unwrap_or(&self.token);
        let codec = self.codec.as_deref().unwrap_or("video");
        let rate = self.fps.map(|fps| format!(", {fps} frames/s")).unwrap_or_default();
        format!("{name}: {codec}, {} x {}{rate}", self.width, self.height)
    }
}
