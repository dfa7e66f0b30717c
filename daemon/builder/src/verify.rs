//! Whether two builds of the same inputs came to the same image, and if not, where they part.

use std::io;

use mica_layer::{Found, ImagePath, Kind, Stack, Step};
use mica_oci::{DiffId, Digest, Hashing};

use crate::error::{Error, StepError};
use crate::layers::Layers;
use crate::state::State;

/// How many paths are named.
const NAMED: usize = 20;

/// Compares what two builds came to. `first` and `second` are the digests of their configs.
///
/// # Errors
/// [`Error::NotReproducible`] names the first step whose layers differ, and the files in them that do.
pub(crate) fn compare(
    [first, second]: [&State; 2],
    configs: [Digest; 2],
    layers: &Layers<'_>,
) -> Result<(), Error> {
    let made = |state: &State| {
        let entries = state.image.history.iter().filter(|entry| !entry.empty_layer);
        entries.map(|entry| entry.created_by.clone()).collect::<Vec<_>>()
    };
    for ((one, other), step) in first.layers.iter().zip(&second.layers).zip(made(first)) {
        if one != other {
            let differences = differences(one, other, layers).map_err(|problem| problem.at(0, &step))?;
            return Err(Error::NotReproducible { step, differences });
        }
    }
    if configs[0] != configs[1] {
        let histories = first.image.history.iter().zip(&second.image.history);
        let differing = histories.filter(|(one, other)| one != other).map(|(one, _)| one);
        let step = differing.map(|entry| entry.created_by.clone()).next();
        return Err(Error::NotReproducible {
            step: step.unwrap_or_else(|| "the config".to_owned()),
            differences: format!("  the configs are {} and {}\n", configs[0], configs[1]),
        });
    }
    Ok(())
}

/// The first paths that differ, and how many more there are.
#[derive(Default)]
struct Differences {
    lines: Vec<String>,
    more: usize,
}

impl Differences {
    fn note(&mut self, path: &ImagePath, what: &str) {
        match self.lines.len() < NAMED {
            true => self.lines.push(format!("{path}: {what}")),
            false => self.more += 1,
        }
    }

    fn text(self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(&format!("  {line}\n"));
        }
        if self.more > 0 {
            text.push_str(&format!("  and {} more\n", self.more));
        }
        if self.lines.is_empty() {
            text.push_str("  the same files, packed differently\n");
        }
        text
    }
}

fn differences(one: &DiffId, other: &DiffId, layers: &Layers<'_>) -> Result<String, StepError> {
    let stack = |layer| layers.stack(std::slice::from_ref(layer));
    let [first, second] = [stack(one)?, stack(other)?];
    let mut differences = Differences::default();
    visit(&first, layers, &mut |path, found| {
        match second.lookup(path)? {
            None => differences.note(path, "only in the first build"),
            Some(again) => {
                let what = what_differs(
                    [found, &again],
                    [content(&first, path, found)?, content(&second, path, &again)?],
                );
                if !what.is_empty() {
                    differences.note(path, &what);
                }
            }
        }
        Ok(())
    })?;
    visit(&second, layers, &mut |path, _| {
        if first.lookup(path)?.is_none() {
            differences.note(path, "only in the second build");
        }
        Ok(())
    })?;
    Ok(differences.text())
}

fn what_differs([one, again]: [&Found; 2], contents: [Option<Digest>; 2]) -> String {
    let [one, again] = [&one.node.meta, &again.node.meta];
    let all = [
        (one.kind != again.kind, "type or size"),
        (contents[0] != contents[1], "content"),
        (one.mode != again.mode, "mode"),
        ((one.uid, one.gid) != (again.uid, again.gid), "owner"),
        (one.xattrs != again.xattrs, "attributes"),
        (one.mtime != again.mtime, "time"),
    ];
    let differing = all.iter().filter(|(differs, _)| *differs).map(|(_, word)| *word);
    differing.collect::<Vec<_>>().join(", ")
}

/// Shows all of a layer but its root, which is no part of it.
fn visit(
    stack: &Stack,
    layers: &Layers<'_>,
    show: &mut dyn FnMut(&ImagePath, &Found) -> Result<(), StepError>,
) -> Result<(), StepError> {
    let mut failure = None;
    stack.walk(&ImagePath::root(), &mut |path, found| {
        if path.is_root() {
            return Ok(Step::Into);
        }
        let shown = layers
            .cancel
            .check()
            .map_err(StepError::from)
            .and_then(|()| show(path, found));
        Ok(match (failure.is_none(), shown) {
            (true, Ok(())) => Step::Into,
            (true, Err(problem)) => {
                failure = Some(problem);
                Step::Over
            }
            (false, _) => Step::Over,
        })
    })?;
    failure.map_or(Ok(()), Err)
}

fn content(stack: &Stack, path: &ImagePath, found: &Found) -> Result<Option<Digest>, StepError> {
    if found.node.content.is_some() || !matches!(found.node.meta.kind, Kind::File { .. }) {
        return Ok(found.node.content);
    }
    let mut hashing = Hashing::new(io::sink());
    io::copy(&mut stack.open(path)?.reader(), &mut hashing)?;
    Ok(Some(hashing.finish().1))
}
