//! Why a source is not there: which line of the ignore file hides it, or what is called nearly so.

use std::sync::Arc;

use mica_dockerfile::ignore::IgnorePatterns;
use mica_dockerfile::nearest;
use mica_layer::{Error as LayerError, ImagePath, Stack};

/// How many directories are looked into for a file of the same name.
const MAX_DIRECTORIES: usize = 1000;
/// How many names of one directory are compared.
const MAX_NAMES: usize = 10_000;

/// An ignore file that may be why.
#[derive(Debug, Clone)]
pub(crate) struct IgnoreFile {
    /// What it is called.
    pub name: String,
    /// What it leaves out.
    pub patterns: Arc<IgnorePatterns>,
}

impl IgnoreFile {
    /// The line that hides `path`, in words.
    fn hides(&self, path: &ImagePath) -> Option<String> {
        let by = self
            .patterns
            .excluding(&String::from_utf8_lossy(path.as_bytes()))?;
        Some(format!(
            ": line {} of {} leaves it out ({})",
            by.line, self.name, by.pattern
        ))
    }
}

/// What is known of an `argument` that names nothing in `stack`, to be put behind an error; empty if that is nothing. A
/// failure to look around is no second error.
pub(crate) fn hint(stack: &Stack, ignore: Option<&IgnoreFile>, argument: &str) -> String {
    let path = ImagePath::clamped(argument.as_bytes());
    if let Some(words) = ignore.and_then(|file| file.hides(&path)) {
        return words;
    }
    let near = misspelt(stack, &path)
        .and_then(|near| match near {
            Some(near) => Ok(Some(near)),
            None => elsewhere(stack, &path),
        })
        .unwrap_or_default();
    let root = if argument.starts_with('/') { "/" } else { "" };
    near.map_or_else(String::new, |near| {
        format!(
            ": did you mean {root}{}?",
            String::from_utf8_lossy(near.as_bytes())
        )
    })
}

/// The path with its first name that is not there made one that is, if all of it is there then.
fn misspelt(stack: &Stack, path: &ImagePath) -> Result<Option<ImagePath>, LayerError> {
    let mut found = ImagePath::root();
    let mut names = path.components();
    for name in names.by_ref() {
        let next = found.join(name);
        if stack.lookup(&stack.resolve(&next, true)?)?.is_some() {
            found = next;
            continue;
        }
        let Some(near) = near_name(stack, &found, name)? else {
            return Ok(None);
        };
        found = found.join(near.as_bytes());
        break;
    }
    for name in names {
        found = found.join(name);
    }
    let exists = stack.lookup(&stack.resolve(&found, true)?)?.is_some();
    Ok(exists.then_some(found))
}

fn near_name(stack: &Stack, directory: &ImagePath, name: &[u8]) -> Result<Option<String>, LayerError> {
    let wanted = String::from_utf8_lossy(name);
    let directory = stack.resolve(directory, true)?;
    if !is_directory(stack, &directory)? {
        return Ok(None);
    }
    let names: Vec<String> = stack
        .read_dir(&directory)?
        .into_iter()
        .take(MAX_NAMES)
        .filter_map(|(name, _)| String::from_utf8(name).ok())
        .collect();
    let same = names.iter().find(|name| name.eq_ignore_ascii_case(&wanted));
    Ok(same
        .map(String::as_str)
        .or_else(|| nearest(&wanted, names.iter().map(String::as_str)))
        .map(str::to_owned))
}

/// A file of the same name in another directory, one of those nearest to the root.
fn elsewhere(stack: &Stack, path: &ImagePath) -> Result<Option<ImagePath>, LayerError> {
    let Some(wanted) = path.file_name() else {
        return Ok(None);
    };
    let mut level = vec![ImagePath::root()];
    let mut seen = 0;
    while !level.is_empty() {
        let mut below = Vec::new();
        for directory in level {
            seen += 1;
            if seen > MAX_DIRECTORIES {
                return Ok(None);
            }
            for (name, found) in stack.read_dir(&directory)?.into_iter().take(MAX_NAMES) {
                let path = directory.join(&name);
                if name == wanted {
                    return Ok(Some(path));
                }
                if found.node.meta.is_directory() {
                    below.push(path);
                }
            }
        }
        level = below;
    }
    Ok(None)
}

fn is_directory(stack: &Stack, path: &ImagePath) -> Result<bool, LayerError> {
    Ok(stack
        .lookup(path)?
        .is_some_and(|found| found.node.meta.is_directory()))
}
