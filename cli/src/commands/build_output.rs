//! `--output` and `--push`: where else a built image goes.

use crate::error::Error;
use crate::fields;

/// What is done with an image besides keeping it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Destination {
    /// Whether its names are pushed.
    pub(super) push: bool,
    /// More names for it.
    pub(super) names: Vec<String>,
    /// How layers are compressed when they are pushed.
    pub(super) compression: Option<String>,
}

impl Destination {
    /// Reads the flags.
    ///
    /// # Errors
    /// An output other than an image of the daemon's, and what would change what it is.
    pub(super) fn parse(outputs: &[String], push: bool) -> Result<Self, Error> {
        let mut destination = Self {
            push,
            ..Self::default()
        };
        for output in outputs {
            destination.add(output)?;
        }
        Ok(destination)
    }

    fn add(&mut self, output: &str) -> Result<(), Error> {
        let fields = fields::split(output);
        let pairs: Vec<(&str, &str)> = fields.iter().filter_map(|field| field.split_once('=')).collect();
        let kind = pairs
            .iter()
            .find(|(key, _)| *key == "type")
            .map_or("", |(_, value)| value);
        match kind {
            "docker" | "image" => {}
            "registry" => self.push = true,
            "tar" | "oci" => return Err(refused(output, "build with -t NAME, then `save -o FILE NAME`")),
            // a folder's name alone is the short form of type=local, `-` that of type=tar
            _ => {
                return Err(refused(
                    output,
                    "images are the only output; `save -o FILE NAME` writes one to a file",
                ));
            }
        }
        for (key, value) in pairs {
            match (key, value) {
                ("type" | "unpack" | "store" | "oci-mediatypes", _) => {}
                ("name", names) => self.names.extend(names.split(',').map(str::to_owned)),
                ("push", "true" | "1") => self.push = true,
                ("push", "false" | "0") => {}
                ("compression", "gzip" | "zstd") => self.compression = Some(value.to_owned()),
                ("dest", _) => return Err(refused(output, "build with -t NAME, then `save -o FILE NAME`")),
                (key, _) => return Err(refused(output, &format!("{key}={value} cannot be had"))),
            }
        }
        Ok(())
    }
}

fn refused(output: &str, reason: &str) -> Error {
    Error::Elsewhere {
        message: format!("--output {output} is not supported: {reason}"),
        code: 125,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(outputs: &[&str]) -> Result<Destination, String> {
        let outputs: Vec<String> = outputs.iter().map(|output| (*output).to_owned()).collect();
        Destination::parse(&outputs, false).map_err(|error| error.to_string())
    }

    #[test]
    fn images_are_the_only_output() {
        assert_eq!(parse(&[]), Ok(Destination::default()));
        assert_eq!(parse(&["type=docker"]), Ok(Destination::default()));
        assert_eq!(parse(&["type=image,push=false"]), Ok(Destination::default()));
        let pushed = parse(&[r#"type=image,"name=a/b:c,d",push=true,compression=zstd"#]).unwrap();
        assert!(pushed.push);
        assert_eq!(pushed.names, ["a/b:c", "d"]);
        assert_eq!(pushed.compression.as_deref(), Some("zstd"));
        assert!(parse(&["type=registry"]).unwrap().push);
        for (output, words) in [
            ("out", "--output out is not supported: images are the only output"),
            ("-", "--output - is not supported"),
            ("type=local,dest=x", "images are the only output"),
            ("type=tar,dest=x", "save -o FILE NAME"),
            ("type=oci,dest=x", "save -o FILE NAME"),
            ("type=docker,dest=x", "save -o FILE NAME"),
            (
                "type=image,push-by-digest=true",
                "push-by-digest=true cannot be had",
            ),
        ] {
            let told = parse(&[output]).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
    }
}
