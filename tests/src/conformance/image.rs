//! A saved image: its config, and its layers laid over each other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use serde_json::Value;

use crate::conformance::entry::{Content, Entry, Kind};
use crate::conformance::tar::{Member, members};

/// An image taken apart.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The config document.
    pub config: Value,
    /// Names in each layer, as the layers have them.
    pub layers: Vec<Vec<String>>,
    /// Name to number of the file; hard links have one number.
    pub names: BTreeMap<String, usize>,
    /// The files.
    pub files: Vec<Entry>,
}

impl Image {
    /// Takes apart what `docker save` writes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(archive: &[u8]) -> Result<Self, String> {
        let members = members(archive)?;
        let body = |name: &str| find(&members, name).ok_or_else(|| format!("{name} is not in the archive"));
        let manifest: Value = serde_json::from_slice(body("manifest.json")?).map_err(|e| e.to_string())?;
        let config = manifest[0]["Config"]
            .as_str()
            .ok_or("no config in the manifest")?;
        let mut image = Self {
            config: serde_json::from_slice(body(config)?).map_err(|e| e.to_string())?,
            ..Self::default()
        };
        for layer in manifest[0]["Layers"].as_array().into_iter().flatten() {
            let packed = body(layer.as_str().unwrap_or_default())?;
            let mut bytes = Vec::new();
            if packed.starts_with(&[0x1f, 0x8b]) {
                let mut unpacked = flate2::read::GzDecoder::new(packed);
                unpacked.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
            } else {
                bytes = packed.to_vec();
            }
            image.lay(&bytes)?;
        }
        Ok(image)
    }

    /// Lays a layer over what is there.
    fn lay(&mut self, layer: &[u8]) -> Result<(), String> {
        let mut own = BTreeSet::new();
        let mut listed = Vec::new();
        for member in members(layer)? {
            listed.push(member.name.clone());
            let trimmed = member.name.trim_start_matches("./").trim_matches('/');
            if trimmed.is_empty() || trimmed == "." {
                continue;
            }
            let path = format!("/{trimmed}");
            let (parent, name) = path.rsplit_once('/').expect("it starts with one");
            if name == ".wh..wh..opq" {
                self.remove_below(parent, &own);
            } else if let Some(name) = name.strip_prefix(".wh.") {
                let gone = format!("{parent}/{name}");
                self.names.remove(&gone);
                self.remove_below(&gone, &own);
            } else {
                self.put(&path, member)?;
                own.insert(path);
            }
        }
        self.layers.push(listed);
        Ok(())
    }

    fn remove_below(&mut self, folder: &str, but: &BTreeSet<String>) {
        let below = format!("{folder}/");
        self.names
            .retain(|name, _| !name.starts_with(&below) || but.contains(name));
    }

    fn put(&mut self, path: &str, member: Member<'_>) -> Result<(), String> {
        let kind = match member.letter {
            b'0' | b'7' => Kind::File(Content::Bytes(member.body.to_vec())),
            b'1' => {
                let target = format!(
                    "/{}",
                    member.link.trim_start_matches("./").trim_start_matches('/')
                );
                let file = *self
                    .names
                    .get(&target)
                    .ok_or_else(|| format!("{path} links to {target}"))?;
                self.remove_below(path, &BTreeSet::new());
                self.names.insert(path.to_owned(), file);
                return Ok(());
            }
            b'2' => Kind::Link(member.link),
            b'3' => Kind::Device('c', member.device.0, member.device.1),
            b'4' => Kind::Device('b', member.device.0, member.device.1),
            b'5' => Kind::Folder,
            b'6' => Kind::Pipe,
            other => return Err(format!("{path} is of type {other}")),
        };
        if kind != Kind::Folder {
            self.remove_below(path, &BTreeSet::new());
        }
        self.files.push(Entry {
            path: path.to_owned(),
            kind,
            mode: member.mode,
            owner: member.owner,
            time: Some(member.time),
            xattrs: member.xattrs,
        });
        self.names.insert(path.to_owned(), self.files.len() - 1);
        Ok(())
    }
}

/// The content of a name; old engines write a layer that comes twice as a link to itself.
fn find<'a>(members: &[Member<'a>], name: &str) -> Option<&'a [u8]> {
    let member = members.iter().find(|member| member.name == name)?;
    if member.letter == b'2' {
        let target = member.link.trim_start_matches("../");
        return members
            .iter()
            .find(|member| member.name == target)
            .map(|member| member.body);
    }
    Some(member.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::archive::{Format, tar};

    fn layer(lines: &[&str]) -> Vec<u8> {
        let entries: Vec<Entry> = lines.iter().map(|line| Entry::parse(line).unwrap()).collect();
        tar(&entries, Format::Pax)
    }

    #[test]
    fn layers_are_laid_over_each_other() {
        let mut image = Image::default();
        image
            .lay(&layer(&[
                "d 755 0:0 d",
                "f 644 0:0 d/a \"1\"",
                "h d/b = d/a",
                "f 644 0:0 d/c \"\"",
                "d 755 0:0 e",
                "f 644 0:0 e/x \"\"",
            ]))
            .unwrap();
        image
            .lay(&layer(&[
                "f 0 0:0 d/.wh.c \"\"",
                "d 700 0:0 e",
                "f 0 0:0 e/.wh..wh..opq \"\"",
                "f 644 0:0 e/y \"\"",
            ]))
            .unwrap();
        let names: Vec<_> = image.names.keys().map(String::as_str).collect();
        assert_eq!(names, ["/d", "/d/a", "/d/b", "/e", "/e/y"]);
        assert_eq!(image.names["/d/a"], image.names["/d/b"]);
        assert_eq!(image.files[image.names["/e"]].mode, 0o700);
        image.lay(&layer(&["f 644 0:0 d \"\""])).unwrap();
        assert_eq!(image.names.len(), 3);
    }
}
