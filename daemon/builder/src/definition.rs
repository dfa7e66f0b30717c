//! Opens the build context and reads the Dockerfile, and tells of it.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use mica_dockerfile::{Dockerfile, ParseError, is_builtin_frontend};
use mica_task::{Chore, Event, Reporter};

use crate::chore::chore;
use crate::context::{Context, DEFAULT_NAME};
use crate::error::Error;
use crate::input::Source;
use crate::named::Opener;
use crate::options::Options;
use crate::selection::Tree;

/// What a context that is received is called among what moves (BuildKit's words).
const CONTEXT: &str = "transferring context:";
/// What a Dockerfile is called there.
const DOCKERFILE: &str = "transferring dockerfile:";

/// How often it is told how much of a context came.
const PAUSE: Duration = Duration::from_millis(100);

/// A build as it is defined.
pub(crate) struct Definition {
    /// The Dockerfile's name.
    pub name: String,
    /// Its text.
    pub bytes: Vec<u8>,
    /// What it says.
    pub dockerfile: Dockerfile,
}

/// The build context, opened.
pub(crate) struct Opening {
    /// Where the Dockerfile may be.
    pub context: Context,
    /// Whether all of it had to come from somewhere first, which was told.
    is_received: bool,
}

impl Opening {
    /// Opens a context. `dockerfile` is the Dockerfile where it comes apart from it.
    pub(crate) fn new(
        opener: &Opener<'_>,
        source: Source,
        dockerfile: Option<Vec<u8>>,
    ) -> Result<Self, Error> {
        let reporter = opener.remotes.reporter;
        let source = match source {
            Source::Tar(tar) => Source::Tar(Box::new(Told::new(tar, reporter.clone()))),
            other => other,
        };
        let is_received = matches!(source, Source::Tar(_) | Source::Address(_));
        let context = match is_received {
            true => chore(reporter, &Chore::Context, || opener.main(source, dockerfile))?,
            false => opener.main(source, dockerfile)?,
        };
        Ok(Self { context, is_received })
    }

    /// Reads the Dockerfile and what it says.
    pub(crate) fn definition(&self, reporter: &Reporter, options: &Options) -> Result<Definition, Error> {
        let asked = match options.dockerfile.as_str() {
            "" => DEFAULT_NAME,
            name => name,
        };
        let definition = Chore::Definition {
            file: asked.to_owned(),
        };
        chore(reporter, &definition, || {
            let (name, bytes) = self.context.dockerfile(asked)?;
            reporter.report(Event::Moved {
                chore: definition.clone(),
                what: DOCKERFILE.to_owned(),
                current: bytes.len() as u64,
                total: None,
            });
            let dockerfile = parse(&name, &bytes, options)?;
            Ok(Definition {
                name,
                bytes,
                dockerfile,
            })
        })
    }

    /// The files that COPY and ADD may take.
    pub(crate) fn tree(&self, reporter: &Reporter, dockerfile: &str, filter: bool) -> Result<Tree, Error> {
        let tree = || self.context.tree(dockerfile, filter);
        match self.is_received {
            true => tree(),
            false => chore(reporter, &Chore::Context, tree),
        }
    }
}

fn parse(name: &str, bytes: &[u8], options: &Options) -> Result<Dockerfile, Error> {
    let dockerfile = Dockerfile::parse(bytes).map_err(|e| match e {
        ParseError::Empty => Error::EmptyDockerfile(name.to_owned()),
        other => Error::Parse(other),
    })?;
    let asked = options
        .build_arg("BUILDKIT_SYNTAX")
        .or(dockerfile.directives.syntax.as_deref());
    match asked {
        Some(syntax) if !is_builtin_frontend(syntax) => Err(Error::Syntax {
            line: 1,
            name: syntax.to_owned(),
        }),
        _ => Ok(dockerfile),
    }
}

/// A context on its way in, of which it is told now and then how much came.
struct Told {
    inner: Box<dyn Read + Send>,
    reporter: Reporter,
    count: u64,
    last: Instant,
}

impl Told {
    fn new(inner: Box<dyn Read + Send>, reporter: Reporter) -> Self {
        Self {
            inner,
            reporter,
            count: 0,
            last: Instant::now(),
        }
    }
}

impl Read for Told {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.count += count as u64;
        let is_end = count == 0 && !buf.is_empty();
        if is_end || self.last.elapsed() >= PAUSE {
            self.last = Instant::now();
            self.reporter.report(Event::Moved {
                chore: Chore::Context,
                what: CONTEXT.to_owned(),
                current: self.count,
                total: None,
            });
        }
        Ok(count)
    }
}
