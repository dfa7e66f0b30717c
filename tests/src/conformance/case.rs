//! A case: a Dockerfile, what it is built with, and what must come of it; and the text files that cases are kept in.

use crate::conformance::entry::Entry;

/// Where an expectation comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Recorded from Debian's dockerd.
    Dockerd,
    /// Written by hand after the named sections of the build contract.
    Contract(String),
}

/// How the context reaches the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Send {
    /// As a folder.
    #[default]
    Folder,
    /// As a tar on standard input, compressed by the named program.
    Tar(Option<String>),
    /// Only the Dockerfile, on standard input.
    Dockerfile,
    /// A folder, and the Dockerfile on standard input.
    FolderAndDockerfile,
    /// As a repository that a git daemon serves; with what follows its address.
    Git(String),
    /// As a tar that an HTTP server gives.
    Http,
    /// Only the Dockerfile, from an HTTP server.
    HttpDockerfile,
}

/// A folder or an archive that a case makes.
#[derive(Debug, Clone)]
pub struct Files {
    /// What the section's heading says behind its kind.
    pub name: String,
    /// What lies in it.
    pub entries: Vec<Entry>,
}

/// What must come of a case.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// Texts that the failing build must tell; empty if it must not fail.
    pub errors: Vec<String>,
    /// The line of the Dockerfile that the failing build must name.
    pub line: Option<u32>,
    /// Everything else, line by line.
    pub lines: Vec<String>,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Where its expectation comes from.
    pub source: Source,
    /// The base image that the result is compared with.
    pub against: String,
    /// Features that it needs and that may be pending.
    pub needs: Vec<String>,
    /// The Dockerfile's name.
    pub file: String,
    /// The Dockerfile.
    pub dockerfile: String,
    /// `NAME=VALUE`, or `NAME` for what the client's environment has.
    pub build_args: Vec<String>,
    /// `NAME=VALUE`.
    pub labels: Vec<String>,
    /// The stage to build.
    pub target: Option<String>,
    /// `HOST:IP`.
    pub hosts: Vec<String>,
    /// Mode of the network.
    pub network: Option<String>,
    /// Platform.
    pub platform: Option<String>,
    /// Flags only a command line has, word by word.
    pub flags: Vec<String>,
    /// The client's environment.
    pub environment: Vec<String>,
    /// How the context is sent.
    pub send: Send,
    /// The context.
    pub context: Vec<Entry>,
    /// Other folders: `@NAME@` in the Dockerfile and in flags is their path.
    pub folders: Vec<Files>,
    /// Archives within the context: `NAME [FORMAT] [PROGRAM]`.
    pub archives: Vec<Files>,
    /// What an HTTP server gives below `@HTTP@`.
    pub served: Vec<Entry>,
    /// Archives that it gives, named like those of the context.
    pub served_archives: Vec<Files>,
    /// What lies in a repository whose address is `@GIT@`.
    pub repository: Vec<Entry>,
    /// What must come of it.
    pub expected: Expected,
}

impl Case {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            source: Source::Contract(String::new()),
            against: "base".to_owned(),
            needs: Vec::new(),
            file: "Dockerfile".to_owned(),
            dockerfile: String::new(),
            build_args: Vec::new(),
            labels: Vec::new(),
            target: None,
            hosts: Vec::new(),
            network: None,
            platform: None,
            flags: Vec::new(),
            environment: Vec::new(),
            send: Send::Folder,
            context: Vec::new(),
            folders: Vec::new(),
            archives: Vec::new(),
            served: Vec::new(),
            served_archives: Vec::new(),
            repository: Vec::new(),
            expected: Expected::default(),
        }
    }

    /// Whether a plain `POST /build` can carry it: no flags of the command line, a folder, and nothing for a client to leave out.
    pub fn fits_the_api(&self) -> bool {
        let ignores = self
            .context
            .iter()
            .any(|entry| entry.path.ends_with(".dockerignore"));
        self.flags.is_empty()
            && self.environment.is_empty()
            && self.send == Send::Folder
            && !ignores
            && self.build_args.iter().all(|arg| arg.contains('='))
    }

    fn header(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line
            .split_once(':')
            .ok_or_else(|| format!("{line:?} is no field"))?;
        let value = value.trim().to_owned();
        match key {
            "about" => {}
            "source" => {
                self.source = match value.split_once(' ') {
                    Some(("dockerd", "20.10")) => Source::Dockerd,
                    Some(("contract", sections)) => Source::Contract(sections.to_owned()),
                    _ => return Err(format!("{value:?} is no source")),
                }
            }
            "against" => self.against = value,
            "needs" => self.needs.push(value),
            "file" => self.file = value,
            "build-arg" => self.build_args.push(value),
            "label" => self.labels.push(value),
            "target" => self.target = Some(value),
            "add-host" => self.hosts.push(value),
            "network" => self.network = Some(value),
            "platform" => self.platform = Some(value),
            "flags" => self.flags.extend(value.split_whitespace().map(str::to_owned)),
            "env" => self.environment.push(value),
            "send" => self.send = send(&value)?,
            _ => return Err(format!("{key:?} is no field")),
        }
        Ok(())
    }

    fn section(&mut self, heading: &str, body: &str) -> Result<(), String> {
        let (kind, name) = heading.split_once(' ').unwrap_or((heading, ""));
        let entries = || {
            let lines = body.lines().filter(|line| !line.trim().is_empty());
            lines.map(Entry::parse).collect::<Result<Vec<_>, _>>()
        };
        let files = || {
            entries().map(|entries| Files {
                name: name.to_owned(),
                entries,
            })
        };
        match kind {
            "Dockerfile" if body.trim().is_empty() => {}
            "Dockerfile" => self.dockerfile = body.to_owned(),
            // bytes that no editor keeps: a JSON string
            "Dockerfile-json" => {
                self.dockerfile = serde_json::from_str(body.trim()).map_err(|e| format!("{heading}: {e}"))?;
            }
            "context" => self.context = entries()?,
            "folder" => self.folders.push(files()?),
            "tar" => self.archives.push(files()?),
            "served" => self.served = entries()?,
            "served-tar" => self.served_archives.push(files()?),
            "repository" => self.repository = entries()?,
            "expect" => self.expected = expected(body)?,
            _ => return Err(format!("{heading:?} is no section")),
        }
        Ok(())
    }
}

fn send(value: &str) -> Result<Send, String> {
    let (kind, rest) = value.split_once(' ').unwrap_or((value, ""));
    Ok(match kind {
        "tar" => Send::Tar(Some(rest.to_owned()).filter(|program| !program.is_empty())),
        "dockerfile" => Send::Dockerfile,
        "folder-and-dockerfile" => Send::FolderAndDockerfile,
        "git" => Send::Git(rest.to_owned()),
        "http" => Send::Http,
        "http-dockerfile" => Send::HttpDockerfile,
        _ => return Err(format!("{value:?} is no way to send a context")),
    })
}

fn expected(body: &str) -> Result<Expected, String> {
    let mut expected = Expected::default();
    for line in body.lines().filter(|line| !line.trim().is_empty()) {
        match line.split_once(' ') {
            Some(("error", text)) => expected.errors.push(text.to_owned()),
            Some(("line", number)) => {
                expected.line = Some(number.parse().map_err(|e| format!("{line:?}: {e}"))?);
            }
            _ => expected.lines.push(line.to_owned()),
        }
    }
    Ok(expected)
}

/// Reads the cases of a file.
///
/// # Errors
/// The case and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for part in format!("\n{text}").split("\n=== ").skip(1) {
        let (name, rest) = part.split_once('\n').ok_or("a case without a body")?;
        let mut case = Case::new(name.trim());
        let told = |error: String| format!("{name}: {error}");
        let rest = format!("\n{rest}");
        let mut sections = rest.split("\n--- ");
        let head = sections.next().unwrap_or_default();
        for line in head
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        {
            case.header(line).map_err(told)?;
        }
        for section in sections {
            let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
            // splitting took the line end before the next heading
            case.section(heading.trim(), &format!("{body}\n")).map_err(told)?;
        }
        cases.push(case);
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_cases_is_read() {
        let text = "# words\n=== one\nsource: contract 7.13\nbuild-arg: A=1\n--- Dockerfile\nFROM base\nRUN true\n--- context\n\
                    f 644 0:0 f \"x\"\n--- expect\nlayers 1\n=== two\nsource: dockerd 20.10\n--- Dockerfile\nFROM nowhere\n--- expect\n\
                    error not found\nline 1\n";
        let cases = parse(text).unwrap();
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0].dockerfile, "FROM base\nRUN true\n");
        assert_eq!(cases[0].source, Source::Contract("7.13".to_owned()));
        assert_eq!(cases[0].context.len(), 1);
        assert_eq!(cases[0].expected.lines, ["layers 1"]);
        assert!(cases[0].fits_the_api());
        assert_eq!(cases[1].source, Source::Dockerd);
        assert_eq!(cases[1].expected.errors, ["not found"]);
        assert_eq!(cases[1].expected.line, Some(1));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for text in [
            "=== a\nsuorce: x\n",
            "=== a\nsource: hearsay\n",
            "=== a\n--- Dockerflie\n",
            "=== a\n--- context\nf\n",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
