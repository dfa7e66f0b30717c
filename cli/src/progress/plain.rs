//! A build as lines: `#N [name]`, `#N 0.123 output`, `#N DONE 0.1s`.
//!
//! What is said of one vertex stays together as long as it goes on; what others have to say waits for that, but neither long
//! nor in large amounts. Output is never dropped.

mod talk;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mica_api::{Status, VertexWarning};

use crate::progress::plain::talk::Talk;
use crate::progress::trace::MAX_WARNINGS;

/// How long what a vertex has to say waits for another one.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many bytes it may be, so that they fill no memory.
const HELD_LIMIT: usize = 64 << 10;

/// The lines of a build.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    /// By digest; numbered in the order in which they began.
    places: HashMap<String, usize>,
    /// By that number.
    talks: BTreeMap<usize, Talk>,
    /// Whose lines come now.
    speaking: Option<usize>,
    /// How many were announced.
    count: usize,
    warnings: Vec<VertexWarning>,
    out: Vec<u8>,
}

impl Plain {
    /// The text for what changed.
    pub(crate) fn update(&mut self, status: Status, now: Instant) -> Vec<u8> {
        for vertex in status.vertexes {
            if vertex.started.is_some() {
                self.talk(&vertex.digest).set(vertex);
            }
        }
        for part in status.statuses {
            self.talk(&part.vertex.clone()).part(part, now);
        }
        for log in status.logs {
            let talk = self.talk(&log.vertex);
            talk.log(&log);
            // before one piece is too much
            if talk.held() > HELD_LIMIT {
                let place = self.places[&log.vertex];
                self.speak(place);
            }
        }
        for warning in status.warnings {
            self.talk(&warning.vertex).warn(&warning.short);
            if self.warnings.len() < MAX_WARNINGS {
                self.warnings.push(warning);
            }
        }
        for talk in self.talks.values_mut() {
            talk.note_waiting(now);
        }
        self.choose(now);
        std::mem::take(&mut self.out)
    }

    /// When something that waits has waited long enough.
    pub(crate) fn due(&self) -> Option<Instant> {
        let waiting = self.talks.values().filter_map(Talk::waits_since);
        waiting.min().map(|since| since + PATIENCE)
    }

    /// The text for what has waited long enough.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<u8> {
        self.choose(now);
        std::mem::take(&mut self.out)
    }

    /// All that is still to be said. What runs, if anything, was stopped `now`.
    pub(crate) fn finish(&mut self, now: Timestamp) -> Vec<u8> {
        let places: Vec<usize> = self.talks.keys().copied().collect();
        for place in self.speaking.into_iter().chain(places) {
            if let Some(talk) = self.talks.get_mut(&place) {
                talk.cancel(now);
                if talk.has_more() {
                    self.speak(place);
                }
            }
        }
        std::mem::take(&mut self.out)
    }

    /// What those that failed are called, and what they wrote last.
    pub(crate) fn failures(&self) -> Vec<(String, Vec<String>)> {
        self.talks.values().filter_map(Talk::failure).collect()
    }

    /// What the user should know.
    pub(crate) fn warnings(&self) -> &[VertexWarning] {
        &self.warnings
    }

    fn talk(&mut self, digest: &str) -> &mut Talk {
        let next = self.places.len();
        let place = *self.places.entry(digest.to_owned()).or_insert(next);
        self.talks.entry(place).or_default()
    }

    /// Says what is to be said now: all of what ended, all of who speaks, and of another one who waited too long or follows.
    fn choose(&mut self, now: Instant) {
        let speaking = self.speaking;
        let has_ended =
            |(place, talk): (&usize, &Talk)| (talk.has_ended() && talk.has_more()).then_some(*place);
        let mut ended: Vec<usize> = self.talks.iter().filter_map(has_ended).collect();
        // who speaks is not interrupted at the end
        ended.sort_by_key(|place| (Some(*place) != speaking, *place));
        for place in ended {
            self.speak(place);
        }
        if let Some(place) = self.speaking {
            let has_more = self.talks.get(&place).is_some_and(Talk::has_more);
            if has_more {
                self.speak(place);
            }
        }
        let late = |talk: &Talk| talk.waits_since().is_some_and(|since| since + PATIENCE <= now);
        let nobody_speaks = self.speaking.is_none();
        let next = self
            .talks
            .iter()
            .find(|(_, talk)| late(talk) || (nobody_speaks && talk.has_more()));
        if let Some(place) = next.map(|(place, _)| *place) {
            self.speak(place);
        }
    }

    /// Says all that one has to say.
    fn speak(&mut self, place: usize) {
        let Some(talk) = self.talks.get_mut(&place) else {
            return;
        };
        if !talk.is_begun() {
            return;
        }
        if self.speaking != Some(place) {
            let before = self
                .speaking
                .take()
                .and_then(|before| self.talks.get(&before)?.number());
            if let Some(before) = before {
                self.out.extend_from_slice(format!("#{before} ...\n").as_bytes());
            }
            if self.count > 0 {
                self.out.push(b'\n');
            }
        }
        let Some(talk) = self.talks.get_mut(&place) else {
            return;
        };
        let number = talk.number().unwrap_or_else(|| {
            self.count += 1;
            talk.announce(self.count);
            self.count
        });
        let is_new = self.speaking != Some(place);
        talk.say(number, is_new, &mut self.out);
        self.speaking = Some(place);
        if talk.has_ended() {
            self.speaking = None;
        }
    }
}

#[cfg(test)]
mod tests;
