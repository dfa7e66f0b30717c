//! What is to be said of an image beside it: `--provenance`, `--sbom` and `--attest`, as clients write them.

use std::collections::BTreeMap;

/// Who lists what is in an image unless something else is named (BuildKit's choice).
const GENERATOR: &str = "docker/buildkit-syft-scanner:stable-1";

/// What is to be said of an image beside it. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attesting {
    /// How it was made.
    pub provenance: Option<Provenance>,
    /// What is in it.
    pub sbom: Option<Sbom>,
    /// Where the client says that its context is from: `source`, `revision` and others, by key.
    pub vcs: BTreeMap<String, String>,
}

/// How it is told how an image was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// How much is told.
    pub mode: Mode,
    /// In which form.
    pub version: Version,
    /// Who vouches for the builder, as an address; empty for nobody.
    pub builder_id: String,
    /// Whether the client says that the build can be repeated.
    pub reproducible: bool,
    /// What it is called as a file; `provenance.json` if `None`.
    pub file: Option<String>,
}

/// How much is told of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing that may be private: no build arguments, no labels, no Dockerfile.
    Min,
    /// Everything that is known.
    #[default]
    Max,
}

/// The form of a provenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// SLSA v0.2.
    #[default]
    Slsa02,
    /// SLSA v1.
    Slsa1,
}

/// Who lists what is in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sbom {
    /// The image that is run for it.
    pub generator: String,
    /// What else it is told, as `BUILDKIT_SCAN_NAME=VALUE`.
    pub parameters: BTreeMap<String, String>,
}

impl Attesting {
    /// Whether nothing is to be said.
    pub fn is_empty(&self) -> bool {
        self.provenance.is_none() && self.sbom.is_none()
    }

    /// Takes `type=KIND,…`, as `--attest` has it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take_typed(&mut self, text: &str) -> Result<(), String> {
        let kind = fields(text)?.into_iter().find(|(key, _)| key == "type");
        match kind {
            Some((_, kind)) => self.take(&kind, text),
            None => Err(format!(
                "attestation {text:?} says no type: type=provenance or type=sbom"
            )),
        }
    }

    /// Takes what is asked of one kind: `mode=max,…`, or nothing for what it is by default. The last word on a kind counts.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, kind: &str, text: &str) -> Result<(), String> {
        let fields = fields(text)?;
        let is_set = |wanted: &str| {
            let mut set = fields.iter().filter(|(key, _)| key == wanted);
            set.next_back().is_some_and(|(_, value)| is_true(value))
        };
        // what clients add by themselves is nothing that anybody asked for
        let is_wanted = !is_set("disabled") && !is_set("inline-only");
        match kind.to_ascii_lowercase().as_str() {
            "provenance" => {
                let read = provenance(&fields)?;
                self.provenance = is_wanted.then_some(read);
            }
            "sbom" => {
                let read = sbom(&fields);
                self.sbom = is_wanted.then_some(read);
            }
            _ => {
                return Err(format!(
                    "unknown attestation type {kind:?}: provenance and sbom are known"
                ));
            }
        }
        Ok(())
    }
}

fn provenance(fields: &[(String, String)]) -> Result<Provenance, String> {
    let mut read = Provenance::default();
    for (key, value) in fields {
        match key.as_str() {
            "mode" => {
                read.mode = match value.as_str() {
                    "min" => Mode::Min,
                    "max" | "full" => Mode::Max,
                    other => return Err(format!("invalid provenance mode {other:?}: min or max")),
                }
            }
            "version" => {
                read.version = match value.as_str() {
                    "v0.2" => Version::Slsa02,
                    "v1" => Version::Slsa1,
                    other => return Err(format!("invalid provenance version {other:?}: v0.2 or v1")),
                }
            }
            "builder-id" => read.builder_id.clone_from(value),
            "reproducible" => read.reproducible = is_true(value),
            "filename" if is_file_name(value) => read.file = Some(value.clone()),
            "filename" => {
                return Err(format!(
                    "invalid provenance filename {value:?}: it is no name of a file"
                ));
            }
            _ => {}
        }
    }
    Ok(read)
}

fn sbom(fields: &[(String, String)]) -> Sbom {
    let mut read = Sbom {
        generator: GENERATOR.to_owned(),
        parameters: BTreeMap::new(),
    };
    for (key, value) in fields {
        match key.as_str() {
            "generator" if value.is_empty() => {}
            "generator" => read.generator.clone_from(value),
            // `true` is how a flag without a value comes
            "type" | "disabled" | "inline-only" | "true" | "" => {}
            _ => {
                read.parameters.insert(key.clone(), value.clone());
            }
        }
    }
    read
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "t" | "true")
}

fn is_file_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '\0'])
}

/// `key=value,…`; a field in quotes may have commas in it (RFC 4180).
fn fields(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut();
        match (character, field) {
            ('"', Some(field)) if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => fields.push(String::new()),
            (other, Some(field)) => field.push(other),
            (_, None) => {}
        }
    }
    if quoted {
        return Err(format!("a quote is not closed in {text:?}"));
    }
    let pair = |field: String| match field.split_once('=') {
        Some((key, value)) => (key.trim().to_owned(), value.to_owned()),
        None => (field.trim().to_owned(), String::new()),
    };
    Ok(fields.into_iter().map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(texts: &[&str]) -> Result<Attesting, String> {
        let mut read = Attesting::default();
        for text in texts {
            read.take_typed(text)?;
        }
        Ok(read)
    }

    #[test]
    fn what_is_asked_for_is_read() {
        assert!(typed(&[]).unwrap().is_empty());
        let read = typed(&[
            "type=provenance,mode=min,version=v1,builder-id=https://b",
            "type=sbom",
        ])
        .unwrap();
        let provenance = read.provenance.unwrap();
        assert_eq!((provenance.mode, provenance.version), (Mode::Min, Version::Slsa1));
        assert_eq!(provenance.builder_id, "https://b");
        assert_eq!(read.sbom.unwrap().generator, GENERATOR);
        let mut plain = Attesting::default();
        plain.take("provenance", "").unwrap();
        assert_eq!(plain.provenance, Some(Provenance::default()));
        plain.take("SBOM", r#""generator=a/b:1,2",EXTRA=x"#).unwrap();
        let sbom = plain.sbom.unwrap();
        assert_eq!(sbom.generator, "a/b:1,2");
        assert_eq!(
            sbom.parameters.into_iter().collect::<Vec<_>>(),
            [("EXTRA".into(), "x".into())]
        );
    }

    #[test]
    fn what_nobody_asked_for_is_not_made() {
        for text in [
            "type=provenance,disabled=true",
            "type=provenance,mode=min,inline-only=true",
            "type=sbom,disabled=1",
        ] {
            assert!(typed(&[text]).unwrap().is_empty(), "{text}");
        }
        assert!(
            typed(&["type=sbom", "type=sbom,disabled=true"])
                .unwrap()
                .is_empty()
        );
        assert!(
            !typed(&["type=sbom,disabled=true", "type=sbom,disabled=false"])
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "mode=max",
            "type=other",
            "type=provenance,mode=half",
            "type=provenance,version=v2",
            "type=provenance,filename=../x",
            r#"type=provenance,"mode=max"#,
        ] {
            assert!(typed(&[text]).is_err(), "{text}");
        }
    }
}
