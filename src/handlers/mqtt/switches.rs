//! Switches that others turn by messages: one per source, and one of the profile, in the shape of Frigate's `set` and
//! `state` topics.
//!
//! A message becomes a command for the engine, and never a change by itself; the state at the broker is what the engine
//! shows of its configuration, whoever changed that. A kept message is ignored: it is of another time, and would act
//! again with every connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::connection::Message;
use super::topic;
use crate::alert::{Command, Commands, ShownSwitches, Switches};
use crate::outbound::mqtt::packet::Incoming;
use crate::types::{SourceId, one_line};

/// The payloads of a source's topics.
pub(super) const ON: &str = "ON";
pub(super) const OFF: &str = "OFF";
/// The payload of the profile's topics for no profile.
pub(super) const NO_PROFILE: &str = "none";
/// Most characters of a received text in a log line.
const SHOWN_CHARS_MAX: usize = 60;

/// See the module.
pub(super) struct Switchboard {
    handler: Arc<str>,
    prefix: String,
    commands: Commands,
    shown: watch::Receiver<ShownSwitches>,
    /// The states that the broker has, by topic; empty where that is not known.
    told: Mutex<BTreeMap<String, String>>,
    /// A state is to be published again.
    again: Notify,
}

impl Switchboard {
    pub(super) fn new(handler: Arc<str>, prefix: String, commands: Commands) -> Self {
        let shown = commands.switches();
        Self { handler, prefix, commands, shown, told: Mutex::default(), again: Notify::new() }
    }

    /// What to subscribe to.
    pub(super) fn topics(&self) -> [String; 2] {
        [topic::any_source_set(&self.prefix), topic::profile_set(&self.prefix)]
    }

    /// Whether the engine has shown what can be switched.
    pub(super) fn is_shown(&self) -> bool {
        self.shown.borrow().is_some()
    }

    /// What can be switched, as it is now.
    pub(super) fn switches(&self) -> Arc<Switches> {
        self.shown.borrow().clone().unwrap_or_default()
    }

    /// Takes a message: sends the command, or logs why it is none. Never waits.
    pub(super) fn take(&self, message: &Incoming) {
        let Incoming { topic, payload, is_kept } = message;
        let shown = cut(topic);
        if *is_kept {
            tracing::warn!(handler = %self.handler, "a kept message at {shown} is ignored: publish it without retain");
            return;
        }
        let read = match std::str::from_utf8(payload) {
            Ok(text) => read(&self.prefix, topic, text, &self.switches()),
            Err(_) => Err("it is no text".to_owned()),
        };
        // The sender may show the new state already.
        let state = topic.strip_suffix("/set").map(|switch| format!("{switch}/state"));
        state.iter().for_each(|state| self.told.lock().get_mut(state).into_iter().for_each(String::clear));
        let sent = read.and_then(|command| self.commands.send(command).map_err(|refused| refused.to_string()));
        if let Err(why) = sent {
            tracing::warn!(handler = %self.handler, "a message at {shown} switches nothing: {why}");
            self.again.notify_one();
        }
    }

    /// Logs a message that is too long to be read.
    pub(super) fn refuse_long(&self) {
        tracing::warn!(handler = %self.handler, "a message that is too long switches nothing");
    }

    /// The states that the broker does not have, and for switches that are gone an empty one, which removes theirs.
    pub(super) fn due(&self) -> Vec<Message> {
        // Until they are shown, nothing is known.
        let Some(switches) = self.shown.borrow().clone() else { return Vec::new() };
        let (wanted, told) = (states(&self.prefix, &switches), self.told.lock());
        let gone = told.keys().filter(|topic| !wanted.contains_key(*topic)).map(|topic| (topic.clone(), String::new()));
        let changed = wanted.iter().filter(|(topic, state)| told.get(*topic) != Some(state));
        let due = gone.chain(changed.map(|(topic, state)| (topic.clone(), state.clone())));
        due.map(|(topic, state)| Message { topic, payload: state.into_bytes(), retain: true }).collect()
    }

    /// Remembers that the broker has a state.
    pub(super) fn on_published(&self, message: &Message) {
        let mut told = self.told.lock();
        match message.payload.is_empty() {
            true => drop(told.remove(&message.topic)),
            false => drop(told.insert(message.topic.clone(), String::from_utf8_lossy(&message.payload).into_owned())),
        }
    }

    /// The broker may have forgotten everything, or still have the state of a switch that is gone since.
    pub(super) fn on_connected(&self) {
        self.told.lock().values_mut().for_each(String::clear);
    }

    /// Waits until there may be something [`Switchboard::due`]. May be dropped and called again.
    pub(super) async fn changed(&self, seen: &mut watch::Receiver<ShownSwitches>) {
        tokio::select! {
            () = self.again.notified() => {}
            shown = seen.changed() => if shown.is_err() {
                // The engine has ended; so does this task, soon.
                std::future::pending::<()>().await;
            }
        }
    }

    /// A view of the switches that waits for changes from now on.
    pub(super) fn follow(&self) -> watch::Receiver<ShownSwitches> {
        let mut seen = self.shown.clone();
        seen.mark_unchanged();
        seen
    }
}

/// The state of each switch, by topic.
fn states(prefix: &str, switches: &Switches) -> BTreeMap<String, String> {
    let source = |(id, enabled): &(SourceId, bool)| {
        let state = if *enabled { ON } else { OFF };
        (topic::source_state(prefix, id.as_str()), state.to_owned())
    };
    let mut states: BTreeMap<_, _> = switches.sources.iter().map(source).collect();
    if !switches.profiles.is_empty() {
        let profile = switches.profile.clone().unwrap_or_else(|| NO_PROFILE.to_owned());
        states.insert(topic::profile_state(prefix), profile);
    }
    states
}

/// The command of a message, or why it is none.
fn read(prefix: &str, topic: &str, payload: &str, switches: &Switches) -> Result<Command, String> {
    if topic == topic::profile_set(prefix) {
        let known = |name: &str| switches.profiles.iter().any(|profile| profile == name);
        return match payload {
            name if known(name) => Ok(Command::Profile(Some(name.to_owned()))),
            NO_PROFILE | "" => Ok(Command::Profile(None)),
            name if switches.profiles.is_empty() => Err(format!("there is no profile {}", cut(name))),
            name => Err(format!("there is no profile {}: known are {}", cut(name), switches.profiles.join(", "))),
        };
    }
    let mut named = switches.sources.iter().filter(|(id, _)| topic == topic::source_set(prefix, id.as_str()));
    let enabled = match payload {
        ON => true,
        OFF => false,
        other => return Err(format!("{} is neither {ON} nor {OFF}", cut(other))),
    };
    match (named.next(), named.next()) {
        (Some((id, _)), None) => Ok(Command::Source { id: id.clone(), enabled }),
        (Some(_), Some(_)) => Err("two sources have this topic: give one of them another id".to_owned()),
        (None, _) => Err("there is no such source".to_owned()),
    }
}

/// A received text for the log.
fn cut(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    one_line(&shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switches() -> Switches {
        Switches {
            sources: [("gate", true), ("a/b", false), ("x+", true), ("x#", true)]
                .map(|(id, enabled)| (SourceId::from(id), enabled))
                .to_vec(),
            profiles: vec!["home".into(), "away".into()],
            profile: None,
        }
    }

    #[test]
    fn a_message_is_a_command_or_says_why_not() {
        let source = |id: &str, enabled| Ok(Command::Source { id: id.into(), enabled });
        let profile = |name: Option<&str>| Ok(Command::Profile(name.map(str::to_owned)));
        for (topic, payload, wanted) in [
            ("ds/gate/enabled/set", "OFF", source("gate", false)),
            ("ds/a_b/enabled/set", "ON", source("a/b", true)),
            ("ds/profile/set", "away", profile(Some("away"))),
            ("ds/profile/set", "none", profile(None)),
            ("ds/profile/set", "", profile(None)),
            ("ds/gate/enabled/set", "off", Err("off is neither ON nor OFF")),
            ("ds/yard/enabled/set", "ON", Err("there is no such source")),
            ("ds/x_/enabled/set", "ON", Err("two sources have this topic: give one of them another id")),
            ("ds/profile/set", "a\nb", Err("there is no profile a⏎b: known are home, away")),
            ("other/gate/enabled/set", "ON", Err("there is no such source")),
        ] {
            let read = read("ds", topic, payload, &switches());
            assert_eq!(read, wanted.map_err(str::to_owned), "{topic} {payload:?}");
        }
        assert_eq!(cut(&"ä".repeat(1000)).chars().count(), SHOWN_CHARS_MAX);
    }

    #[test]
    fn each_switch_has_a_state_and_the_profile_only_where_there_are_some() {
        let all = states("ds", &switches());
        let expected = [("a_b/enabled/state", OFF), ("gate/enabled/state", ON), ("profile/state", NO_PROFILE)];
        for (topic, state) in expected {
            assert_eq!(all.get(&format!("ds/{topic}")).map(String::as_str), Some(state), "{topic}");
        }
        assert!(!states("ds", &Switches::default()).contains_key("ds/profile/state"));
        let away = Switches { profile: Some("away".into()), ..switches() };
        assert_eq!(states("ds", &away)["ds/profile/state"], "away");
    }
}
