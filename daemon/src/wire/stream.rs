//! Events of a build as the lines of docker's classic builder (engine API contract, section 5).

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use mica_api::Message;
use mica_oci::{Digest, ImageId, Reference};
use mica_task::{Event, StepId, Stream};
use serde::Serialize;

use crate::wire::held::Held;
use crate::wire::transfer;

/// One line of a stream: the object and CR LF.
pub(crate) fn line<T: Serialize>(message: &T) -> Bytes {
    let mut bytes = serde_json::to_vec(message)
        // a message has no map keys but texts and no number that JSON lacks
        .unwrap_or_else(|error| format!("{{\"error\":\"cannot write a message: {error}\"}}").into_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes.into()
}

/// What is said of a build, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Style {
    /// Only the image's ID, or if it fails everything.
    pub(crate) quiet: bool,
    /// Says that a step's container was removed when the step is done.
    pub(crate) remove: bool,
    /// Says so even when the step failed.
    pub(crate) force_remove: bool,
}

/// Turns the events of a build into lines.
pub(crate) struct ClassicStream {
    style: Style,
    containers: HashMap<StepId, String>,
    names: BTreeMap<StepId, Named>,
    /// Of which step the last line was, where stages are built at the same time.
    speaking: Option<StepId>,
    /// Whether that line has no end yet.
    in_line: bool,
    unfinished: HashMap<(StepId, bool), Vec<u8>>,
    seed: u64,
    built: Option<ImageId>,
    tagged: Vec<Reference>,
    held: Held,
}

/// A step that is not done yet.
struct Named {
    name: String,
    position: Option<(u32, u32)>,
    /// Whether its line was written; that waits until there is something to tell of it, so that steps which are done in no
    /// time are not torn apart by those of other stages.
    announced: bool,
}

impl ClassicStream {
    /// A stream in which nothing was said yet. `seed` makes the synthetic container IDs of different builds differ.
    pub(crate) fn new(style: Style, seed: u64) -> Self {
        Self {
            style,
            containers: HashMap::new(),
            names: BTreeMap::new(),
            speaking: None,
            in_line: false,
            unfinished: HashMap::new(),
            seed,
            built: None,
            tagged: Vec::new(),
            held: Held::default(),
        }
    }

    /// The lines for an event; empty where there is nothing to say, or nothing yet.
    pub(crate) fn event(&mut self, event: Event) -> Bytes {
        let mut texts = Vec::new();
        if let Event::Transfer { event, .. } = &event {
            // it is for one of the steps that have told nothing yet
            let silent = self.names.iter().filter(|(_, named)| !named.announced);
            for step in silent.map(|(step, _)| *step).collect::<Vec<_>>() {
                self.turn_to(step, &mut texts);
            }
            let messages = transfer::messages(event);
            return self.emit(texts.into_iter().map(Message::stream).chain(messages));
        }
        self.say(event, &mut texts);
        self.emit(texts.into_iter().map(Message::stream))
    }

    fn say(&mut self, event: Event, texts: &mut Vec<String>) {
        match event {
            Event::Started {
                step, position, name, ..
            } => {
                let named = Named {
                    name,
                    position,
                    announced: false,
                };
                self.names.insert(step, named);
            }
            Event::Executing { step, container } => {
                self.turn_to(step, texts);
                if container {
                    let id = self.container(step);
                    texts.push(format!(" ---> Running in {id}\n"));
                    self.containers.insert(step, id);
                }
            }
            Event::Log { step, stream, bytes } => {
                self.turn_to(step, texts);
                texts.extend(self.log(step, stream, &bytes));
                self.in_line = bytes.last().is_some_and(|last| *last != b'\n');
            }
            Event::Progress { .. } => {}
            Event::Transfer { .. } => {}
            // what is done beside the steps is not told here
            Event::Planned { .. } | Event::Begun { .. } | Event::Moved { .. } | Event::Ended { .. } => {}
            Event::Triggers { count: 1 } => texts.push("# Executing 1 build trigger\n".to_owned()),
            Event::Triggers { count } => texts.push(format!("# Executing {count} build triggers\n")),
            Event::Note { step, text } => {
                if let Some(step) = step {
                    self.turn_to(step, texts);
                }
                self.end_line(texts);
                texts.push(format!(" ---> {text}\n"));
            }
            Event::Warning { text, .. } => texts.push(format!(" ---> [Warning] {text}\n")),
            Event::Done { step, cached, state } => {
                self.turn_to(step, texts);
                self.in_line = false;
                texts.extend(self.flush(step));
                self.done(step, cached, &state, texts);
            }
            Event::Failed { step, .. } => {
                self.turn_to(step, texts);
                self.in_line = false;
                texts.extend(self.flush(step));
                if let Some(id) = self.containers.remove(&step).filter(|_| self.style.force_remove) {
                    texts.push(format!(" ---> Removed intermediate container {id}\n"));
                }
            }
            Event::Excerpt { text } => {
                self.end_line(texts);
                texts.push(text);
            }
            Event::Kept { build, enterable } => {
                self.end_line(texts);
                texts.extend(kept(&build.to_string(), enterable));
            }
            Event::Built { image } => self.built = Some(image),
            Event::Tagged { reference } => self.tagged.push(reference),
        }
    }

    /// Says of which step the next lines are: announces it, or comes back to it.
    fn turn_to(&mut self, step: StepId, texts: &mut Vec<String>) {
        let is_speaking = self.speaking == Some(step);
        let Some(named) = self.names.get_mut(&step) else {
            return;
        };
        let was_announced = std::mem::replace(&mut named.announced, true);
        if is_speaking && was_announced {
            return;
        }
        let line = named.position.map(|(number, count)| match was_announced {
            true => format!(" ---> Step {number}/{count} goes on\n"),
            false => format!("Step {number}/{count} : {}\n", named.name),
        });
        self.end_line(texts);
        texts.extend(line);
        self.speaking = Some(step);
    }

    fn end_line(&mut self, texts: &mut Vec<String>) {
        if std::mem::take(&mut self.in_line) {
            texts.push("\n".to_owned());
        }
    }

    fn done(&mut self, step: StepId, cached: bool, state: &str, texts: &mut Vec<String>) {
        let name = self
            .names
            .remove(&step)
            .map(|named| named.name)
            .unwrap_or_default();
        let word = name.split_ascii_whitespace().next().unwrap_or_default();
        let container = self.containers.remove(&step);
        // a base image is there or not: docker never calls it cached
        if cached && !word.eq_ignore_ascii_case("FROM") {
            texts.push(" ---> Using cache\n".to_owned());
        } else if let Some(id) = container.filter(|_| self.style.remove || self.style.force_remove) {
            texts.push(format!(" ---> Removed intermediate container {id}\n"));
        }
        // an ARG before the first FROM changes no image, and docker then shows none
        if !state.is_empty() || word.eq_ignore_ascii_case("FROM") {
            texts.push(format!(" ---> {state}\n"));
        }
    }

    /// The last lines: what was built and how it is called.
    pub(crate) fn finish(&mut self, image: &ImageId, unused_args: &[String]) -> Bytes {
        let image = self.built.unwrap_or(*image);
        if self.style.quiet {
            return line(&Message::stream(format!("{image}\n")));
        }
        let mut lines = Vec::new();
        lines.push(Message::image(image.to_string()));
        if !unused_args.is_empty() {
            lines.push(Message::stream(format!(
                "[Warning] One or more build-args [{}] were not consumed\n",
                unused_args.join(" ")
            )));
        }
        lines.push(Message::stream(format!(
            "Successfully built {}\n",
            image.digest().short()
        )));
        for reference in std::mem::take(&mut self.tagged) {
            lines.push(Message::stream(format!(
                "Successfully tagged {}\n",
                reference.familiar()
            )));
        }
        self.emit(lines.into_iter())
    }

    /// The last lines of a build that failed.
    pub(crate) fn fail(&mut self, message: &str, code: Option<i32>) -> Bytes {
        let mut bytes = std::mem::take(&mut self.held).into_lines();
        bytes.extend_from_slice(&line(&Message::failure(message, code.map(i64::from))));
        bytes.into()
    }

    fn emit(&mut self, messages: impl Iterator<Item = Message>) -> Bytes {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend_from_slice(&line(&message));
        }
        if !self.style.quiet {
            return bytes.into();
        }
        if !bytes.is_empty() {
            self.held.push(bytes.into());
        }
        Bytes::new()
    }

    /// An ID such as docker gives containers; there is no container, but clients count these lines.
    fn container(&self, step: StepId) -> String {
        Digest::of(format!("{} {step}", self.seed).as_bytes()).short()
    }

    /// Output as text. A character that came in halves waits for its other half.
    fn log(&mut self, step: StepId, stream: Stream, bytes: &[u8]) -> Option<String> {
        let waiting = self
            .unfinished
            .entry((step, stream == Stream::Stderr))
            .or_default();
        waiting.extend_from_slice(bytes);
        let whole = waiting.len() - unfinished_character(waiting);
        let rest = waiting.split_off(whole);
        let text = String::from_utf8_lossy(waiting).into_owned();
        *waiting = rest;
        (!text.is_empty()).then(|| dress(stream, &text))
    }

    /// The halves whose other half never came.
    fn flush(&mut self, step: StepId) -> Vec<String> {
        let mut texts = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let waiting = self.unfinished.remove(&(step, stream == Stream::Stderr));
            if let Some(bytes) = waiting.filter(|bytes| !bytes.is_empty()) {
                texts.push(dress(stream, &String::from_utf8_lossy(&bytes)));
            }
        }
        texts
    }
}

/// What is written to standard error is red, its line end inside.
fn dress(stream: Stream, text: &str) -> String {
    match stream {
        Stream::Stdout => text.to_owned(),
        Stream::Stderr => format!("\u{1b}[91m{text}\u{1b}[0m"),
    }
}

/// How what a failed build told can be looked at.
pub(crate) fn kept(build: &str, enterable: bool) -> Vec<String> {
    let mut lines = vec![format!(" ---> All output of this build: mica logs {build}\n")];
    if enterable {
        lines.push(format!(" ---> A shell where it failed: mica debug {build}\n"));
    }
    lines
}

/// How many bytes at the end begin a UTF-8 character that is not complete.
fn unfinished_character(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(bytes).unwrap();
        text.split_terminator("\r\n").map(str::to_owned).collect()
    }

    fn started(step: StepId, name: &str) -> Event {
        Event::Started {
            step,
            position: Some((step, 3)),
            name: name.into(),
            place: None,
        }
    }

    fn done(step: StepId, cached: bool) -> Event {
        Event::Done {
            step,
            cached,
            state: "0123456789ab".into(),
        }
    }

    fn log(step: StepId, stream: Stream, bytes: &[u8]) -> Event {
        Event::Log {
            step,
            stream,
            bytes: bytes.to_vec(),
        }
    }

    fn style() -> Style {
        Style {
            remove: true,
            ..Style::default()
        }
    }

    #[test]
    fn a_build_reads_as_docker_s() {
        let image = ImageId(Digest::of(b""));
        let mut stream = ClassicStream::new(style(), 1);
        let mut out = Vec::new();
        for event in [
            started(1, "FROM busybox"),
            done(1, true),
            started(2, "RUN echo hi"),
            Event::Executing {
                step: 2,
                container: true,
            },
            log(2, Stream::Stdout, b"hi\n"),
            log(2, Stream::Stderr, b"oh\n"),
            done(2, false),
            started(3, "COPY a b"),
            Event::Executing {
                step: 3,
                container: false,
            },
            done(3, true),
            Event::Built { image },
            Event::Tagged {
                reference: "x:1".parse().unwrap(),
            },
        ] {
            out.extend(text(&stream.event(event)));
        }
        out.extend(text(&stream.finish(&image, &["A".into(), "B".into()])));
        let id = stream.container(2);
        assert_eq!(
            out,
            [
                r#"{"stream":"Step 1/3 : FROM busybox\n"}"#.to_owned(),
                r#"{"stream":" ---> 0123456789ab\n"}"#.to_owned(),
                r#"{"stream":"Step 2/3 : RUN echo hi\n"}"#.to_owned(),
                format!(r#"{{"stream":" ---> Running in {id}\n"}}"#),
                r#"{"stream":"hi\n"}"#.to_owned(),
                r#"{"stream":"\u001b[91moh\n\u001b[0m"}"#.to_owned(),
                format!(r#"{{"stream":" ---> Removed intermediate container {id}\n"}}"#),
                r#"{"stream":" ---> 0123456789ab\n"}"#.to_owned(),
                r#"{"stream":"Step 3/3 : COPY a b\n"}"#.to_owned(),
                r#"{"stream":" ---> Using cache\n"}"#.to_owned(),
                r#"{"stream":" ---> 0123456789ab\n"}"#.to_owned(),
                format!(r#"{{"aux":{{"ID":"{image}"}}}}"#),
                r#"{"stream":"[Warning] One or more build-args [A B] were not consumed\n"}"#.to_owned(),
                r#"{"stream":"Successfully built e3b0c44298fc\n"}"#.to_owned(),
                r#"{"stream":"Successfully tagged x:1\n"}"#.to_owned(),
            ]
        );
    }

    #[test]
    fn what_changes_no_image_shows_none() {
        let mut stream = ClassicStream::new(style(), 1);
        let done = |step| Event::Done {
            step,
            cached: false,
            state: String::new(),
        };
        let mut out = Vec::new();
        for event in [started(1, "ARG A"), done(1), started(2, "FROM scratch"), done(2)] {
            out.extend(text(&stream.event(event)));
        }
        assert_eq!(
            out,
            [
                r#"{"stream":"Step 1/3 : ARG A\n"}"#,
                r#"{"stream":"Step 2/3 : FROM scratch\n"}"#,
                r#"{"stream":" ---> \n"}"#,
            ]
        );
    }

    #[test]
    fn output_of_steps_done_at_the_same_time_is_told_apart() {
        let mut stream = ClassicStream::new(style(), 1);
        let mut out = String::new();
        for event in [
            started(1, "RUN a"),
            log(1, Stream::Stdout, b"a1\n"),
            started(2, "RUN b"),
            log(2, Stream::Stdout, b"b1"),
            log(1, Stream::Stdout, b"a2\n"),
            log(1, Stream::Stdout, b"a3\n"),
            done(2, false),
            done(1, false),
        ] {
            for line in text(&stream.event(event)) {
                let message: Message = serde_json::from_str(&line).unwrap();
                out.push_str(&message.stream.unwrap());
            }
        }
        let expected = "Step 1/3 : RUN a\na1\nStep 2/3 : RUN b\nb1\n ---> Step 1/3 goes on\na2\na3\n ---> Step 2/3 goes on\n \
                        ---> 0123456789ab\n ---> Step 1/3 goes on\n ---> 0123456789ab\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_failure_is_the_last_line() {
        let mut stream = ClassicStream::new(style(), 1);
        stream.event(started(1, "RUN false"));
        stream.event(Event::Executing {
            step: 1,
            container: true,
        });
        assert!(
            stream
                .event(Event::Failed {
                    step: 1,
                    reason: String::new(),
                })
                .is_empty(),
            "only forcerm removes then"
        );
        assert_eq!(
            text(&stream.fail("no", Some(7))),
            [r#"{"errorDetail":{"code":7,"message":"no"},"error":"no"}"#]
        );
    }

    #[test]
    fn a_quiet_build_says_its_image_or_everything() {
        let quiet = Style {
            quiet: true,
            ..Style::default()
        };
        let image = ImageId(Digest::of(b""));
        let mut stream = ClassicStream::new(quiet.clone(), 1);
        assert!(stream.event(started(1, "RUN x")).is_empty());
        assert_eq!(
            text(&stream.finish(&image, &[])),
            [format!(r#"{{"stream":"{image}\n"}}"#)]
        );

        let mut stream = ClassicStream::new(quiet, 1);
        stream.event(started(1, "RUN x"));
        stream.event(Event::Failed {
            step: 1,
            reason: String::new(),
        });
        let out = text(&stream.fail("no", None));
        assert_eq!(out.len(), 2, "{out:?}");
    }

    #[test]
    fn a_quiet_build_keeps_only_the_last_output() {
        let quiet = Style {
            quiet: true,
            ..Style::default()
        };
        let mut stream = ClassicStream::new(quiet, 1);
        for _ in 0..100 {
            stream.event(log(1, Stream::Stdout, &[b'x'; 64 << 10]));
        }
        let out = stream.fail("no", None);
        assert!(
            out.len() < crate::wire::held::LIMIT + (128 << 10),
            "{}",
            out.len()
        );
        assert!(text(&out)[0].contains("was not kept"));
    }

    #[test]
    fn characters_in_halves_are_put_together() {
        let mut stream = ClassicStream::new(style(), 1);
        let bytes = "aé€😀".as_bytes();
        let mut out = String::new();
        for byte in bytes {
            for line in text(&stream.event(log(1, Stream::Stdout, &[*byte]))) {
                let message: Message = serde_json::from_str(&line).unwrap();
                out.push_str(&message.stream.unwrap());
            }
        }
        assert_eq!(out, "aé€😀");
        assert!(stream.event(log(1, Stream::Stdout, &[0xe2, 0x82])).is_empty());
        assert!(text(&stream.event(done(1, false)))[0].contains('\u{fffd}'));
    }
}
