//! The log of a build: everything it told, as compressed text, one line for each thing.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mica_oci::BuildId;
use mica_store::{OpenLog, Store};
use mica_task::{Event, Reporter, StepId, Stream};

/// The most a log takes on disk, in bytes; what comes after is left out, and said to be.
const LOG_LIMIT: u64 = 256 << 20;

/// How hard logs are compressed: hardly, as output comes while steps run.
const LEVEL: i32 = 1;

/// The longest line that is put together before it is written, in bytes.
const LINE_LIMIT: usize = 64 << 10;

/// The log of one build. Its file is made when there is something to keep: a build that finds all its steps in the cache
/// leaves none.
#[derive(Clone)]
pub(crate) struct BuildLog(Arc<Mutex<Log>>);

struct Log {
    store: Store,
    build: BuildId,
    begun: Instant,
    /// What was told before there was a file.
    early: Vec<u8>,
    output: Output,
    steps: HashMap<StepId, Step>,
}

enum Output {
    NotYet,
    Open(Box<zstd::Encoder<'static, Counted>>),
    /// It is full, or the disk failed: the build goes on.
    Closed,
}

/// A step that is not done yet.
struct Step {
    begun: Instant,
    /// Output without a line end, by stream.
    unfinished: [Vec<u8>; 2],
}

/// A file, and what went into it.
struct Counted {
    file: OpenLog,
    written: u64,
}

impl Write for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buf)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BuildLog {
    /// The log of a new build.
    pub(crate) fn new(store: &Store) -> Self {
        Self(Arc::new(Mutex::new(Log {
            store: store.clone(),
            build: BuildId::fresh(),
            begun: Instant::now(),
            early: Vec::new(),
            output: Output::NotYet,
            steps: HashMap::new(),
        })))
    }

    /// By what name it is found again.
    pub(crate) fn build(&self) -> BuildId {
        self.lock().build
    }

    /// A reporter that writes everything down before it passes it on. If that fails the user is told once.
    pub(crate) fn tee(&self, to: &Reporter) -> Reporter {
        let (log, to) = (self.clone(), to.clone());
        Reporter::new(move |event| {
            let trouble = log.lock().write(&event).err();
            to.report(event);
            if let Some(error) = trouble {
                let text = format!("the log of this build ends here: {error}");
                to.report(Event::Warning {
                    text,
                    line: None,
                    finding: None,
                });
            }
        })
    }

    /// Writes the last line and closes the file; says whether there is one.
    pub(crate) fn finish(&self, last: Option<&str>) -> bool {
        let mut log = self.lock();
        // a build that failed before its first step said all it had to say
        let is_begun = !log.early.is_empty() || !matches!(log.output, Output::NotYet);
        if let Some(text) = last.filter(|_| is_begun) {
            // the end of a log that cannot be written is lost, like all before it
            let _ = log.open().and_then(|()| log.put(&format!("ERROR: {text}\n")));
        }
        match std::mem::replace(&mut log.output, Output::Closed) {
            Output::Open(encoder) => encoder.finish().is_ok(),
            Output::NotYet | Output::Closed => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn write(&mut self, event: &Event) -> io::Result<()> {
        let result = self.tell(event);
        if result.is_err() {
            self.output = Output::Closed;
        }
        result
    }

    fn tell(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Started {
                step, position, name, ..
            } => {
                let now = Instant::now();
                let place = position.map_or(String::new(), |(number, count)| format!("[{number}/{count}] "));
                self.steps.insert(
                    *step,
                    Step {
                        begun: now,
                        unfinished: Default::default(),
                    },
                );
                let first = name.lines().next().unwrap_or_default();
                self.put(&format!("#{step} {place}{first}\n"))
            }
            Event::Executing { .. } => self.open(),
            Event::Log { step, stream, bytes } => self.lines(*step, *stream, bytes),
            Event::Note { step, text } => {
                let place = step.map_or(String::new(), |step| format!("#{step} "));
                self.put(&format!("{place}({text})\n"))
            }
            Event::Warning { text, line, .. } => {
                let place = line.map_or(String::new(), |line| format!(" (line {line})"));
                self.put(&format!("WARNING{place}: {text}\n"))
            }
            Event::Done { step, cached, .. } => {
                let end = match self.end(*step)? {
                    Some(_) if *cached => "CACHED".to_owned(),
                    Some(seconds) => format!("DONE {seconds:.1}s"),
                    None => return Ok(()),
                };
                self.put(&format!("#{step} {end}\n"))
            }
            Event::Failed { step, .. } => {
                let seconds = self.end(*step)?.unwrap_or_default();
                self.put(&format!("#{step} FAILED {seconds:.1}s\n"))
            }
            Event::Excerpt { text } => self.put(text),
            Event::Built { image } => self.put(&format!("BUILT {image}\n")),
            Event::Tagged { reference } => self.put(&format!("TAGGED {}\n", reference.familiar())),
            _ => Ok(()),
        }
    }

    /// Writes what is left of a step's output; gives how long it took, in seconds.
    fn end(&mut self, step: StepId) -> io::Result<Option<f64>> {
        let Some(mut ended) = self.steps.remove(&step) else {
            return Ok(None);
        };
        for rest in ended.unfinished.iter_mut().filter(|rest| !rest.is_empty()) {
            self.line(step, rest)?;
        }
        Ok(Some(ended.begun.elapsed().as_secs_f64()))
    }

    /// Writes whole lines, each with its step and the seconds since the build began; the rest waits for its end.
    fn lines(&mut self, step: StepId, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let Some(own) = self.steps.get_mut(&step) else {
            return Ok(());
        };
        let slot = usize::from(stream == Stream::Stderr);
        let mut waiting = std::mem::take(&mut own.unfinished[slot]);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            waiting.extend_from_slice(piece);
            if waiting.ends_with(b"\n") || waiting.len() >= LINE_LIMIT {
                self.line(step, &waiting)?;
                waiting.clear();
            }
        }
        if let Some(own) = self.steps.get_mut(&step) {
            own.unfinished[slot] = waiting;
        }
        Ok(())
    }

    fn line(&mut self, step: StepId, line: &[u8]) -> io::Result<()> {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.put_bytes(format!("#{step} {seconds:.3} ").as_bytes())?;
        self.put_bytes(line.strip_suffix(b"\n").unwrap_or(line))?;
        self.put_bytes(b"\n")
    }

    fn open(&mut self) -> io::Result<()> {
        if !matches!(self.output, Output::NotYet) {
            return Ok(());
        }
        let file = self.store.create_log(&self.build).map_err(io::Error::other)?;
        let mut encoder = zstd::Encoder::new(Counted { file, written: 0 }, LEVEL)?;
        encoder.write_all(&std::mem::take(&mut self.early))?;
        self.output = Output::Open(Box::new(encoder));
        Ok(())
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.put_bytes(text.as_bytes())
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.output {
            Output::NotYet => self.early.extend_from_slice(bytes),
            Output::Closed => {}
            Output::Open(encoder) if encoder.get_ref().written < LOG_LIMIT => encoder.write_all(bytes)?,
            Output::Open(encoder) => {
                encoder.write_all(b"\n[the log is full: what comes after was not kept]\n")?;
                if let Output::Open(encoder) = std::mem::replace(&mut self.output, Output::Closed) {
                    encoder.finish()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn text(store: &Store, log: &BuildLog) -> String {
        let file = store.log(&log.build()).unwrap().unwrap();
        io::read_to_string(zstd::Decoder::new(file).unwrap()).unwrap()
    }

    fn started(step: StepId) -> Event {
        Event::Started {
            step,
            position: Some((step + 1, 2)),
            name: format!("RUN {step}\nmore"),
            place: None,
        }
    }

    fn said(step: StepId, stream: Stream, text: &str) -> Event {
        Event::Log {
            step,
            stream,
            bytes: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn lines_of_steps_done_at_the_same_time_stay_whole() {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let log = BuildLog::new(&store);
        let reporter = log.tee(&Reporter::silent());
        let executing = Event::Executing {
            step: 0,
            container: true,
        };
        for event in [
            started(0),
            executing,
            started(1),
            said(0, Stream::Stdout, "a"),
            said(1, Stream::Stderr, "one\ntwo\nthr"),
            said(0, Stream::Stdout, "b\n"),
            said(1, Stream::Stderr, "ee"),
            Event::Done {
                step: 1,
                cached: true,
                state: String::new(),
            },
            Event::Failed {
                step: 0,
                reason: String::new(),
            },
        ] {
            reporter.report(event);
        }
        assert!(log.finish(Some("it broke")));
        let text = text(&store, &log);
        // the seconds are the third word of lines of output
        let lines: Vec<String> = text
            .lines()
            .map(|line| match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
                [step, time, rest] if time.parse::<f64>().is_ok() => format!("{step} {rest}"),
                _ => line.to_owned(),
            })
            .collect();
        assert_eq!(
            lines,
            [
                "#0 [1/2] RUN 0",
                "#1 [2/2] RUN 1",
                "#1 one",
                "#1 two",
                "#0 ab",
                "#1 three",
                "#1 CACHED",
                "#0 FAILED 0.0s",
                "ERROR: it broke",
            ]
        );
    }

    #[test]
    fn a_build_that_does_nothing_leaves_no_log() {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let log = BuildLog::new(&store);
        log.tee(&Reporter::silent()).report(started(0));
        assert!(!log.finish(None));
        assert!(store.logs().unwrap().is_empty());
    }

    #[test]
    fn a_log_that_cannot_be_written_costs_no_build() {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path()).unwrap();
        fs_err::write(folder.path().join("mica/logs"), "in the way").unwrap();
        let log = BuildLog::new(&store);
        let told = Arc::new(Mutex::new(Vec::new()));
        let reporter = Reporter::new({
            let told = told.clone();
            move |event| told.lock().unwrap().push(event)
        });
        let reporter = log.tee(&reporter);
        for step in [0, 1] {
            reporter.report(Event::Executing {
                step,
                container: true,
            });
        }
        let told = told.lock().unwrap();
        let warnings = told.iter().filter(|event| matches!(event, Event::Warning { .. }));
        assert_eq!((told.len(), warnings.count()), (3, 1), "{told:?}");
    }
}
