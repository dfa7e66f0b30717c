//! `micad --rebuild`: the database made again from the files, and what came of it for whoever asked.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mica_engine::{Harm, LostImage, Origin, RebuildProgress, Rebuilt};

use crate::error::Error;
use crate::say;

/// Between two lines of progress.
const PAUSE: Duration = Duration::from_secs(1);
/// The most things of one kind that are named.
const MOST: usize = 20;

/// Makes the database of the store at `root` again, and says what came of it.
pub(crate) fn run(root: &Path) -> ExitCode {
    let mut last = Instant::now();
    let mut tell = |progress| {
        if last.elapsed() >= PAUSE {
            last = Instant::now();
            say(&described(&progress));
        }
    };
    match mica_engine::rebuild(root, &mut tell) {
        Ok(rebuilt) => {
            // nobody left to tell if this fails
            let _ = std::io::stdout().write_all(report(root, &rebuilt).as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&Error::Rebuild(error).describe());
            ExitCode::FAILURE
        }
    }
}

fn described(progress: &RebuildProgress) -> String {
    match progress {
        RebuildProgress::Blobs { bytes, total } => {
            format!("hashing blobs: {} of {}", human(*bytes), human(*total))
        }
        RebuildProgress::Trees { done, total } => format!("packing unpacked layers: {done} of {total}"),
        RebuildProgress::Search { done, total } => {
            format!("looking for missing layers in blobs that nothing names: {done} of {total}")
        }
    }
}

/// Bytes as people read them.
fn human(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// `1 image`, `2 images`.
fn count(number: u64, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

fn report(root: &Path, rebuilt: &Rebuilt) -> String {
    let from = match rebuilt.origin {
        Origin::Refs => "mica/refs.json",
        Origin::Index => "index.json, as mica/refs.json is lost",
        Origin::Blobs => "the blobs alone, as mica/refs.json and index.json are lost",
    };
    let mut text = format!(
        "The database of {} was made again from {from}: {}, {}, {}.\n",
        root.display(),
        count(rebuilt.images, "image"),
        count(rebuilt.names, "name"),
        count(rebuilt.layers, "layer"),
    );
    let mut line = |said: String| {
        // a String takes all that is written to it
        let _ = writeln!(text, "{said}");
    };
    match rebuilt.origin {
        Origin::Refs => {}
        Origin::Index => line(
            "Lost: names by digest, and the names of images with layers that no blob has; \"mica tag\" gives names again."
                .to_owned(),
        ),
        Origin::Blobs => line("Lost: all names; \"mica tag\" gives names again.".to_owned()),
    }
    list(
        &mut line,
        &rebuilt.found,
        "Found without a name",
        ToString::to_string,
    );
    list(
        &mut line,
        &rebuilt.renewed,
        "Has a new manifest, its own being lost",
        ToString::to_string,
    );
    list(&mut line, &rebuilt.harmed, "Not whole", harm);
    list(&mut line, &rebuilt.lost, "Lost", lost);
    list(&mut line, &rebuilt.unread, "A name that is none", |name| {
        format!("{name:?}")
    });
    list(&mut line, &rebuilt.bad, "Damaged and set aside", |path| {
        path.display().to_string()
    });
    line("Lost: the build cache, and from where blobs came. The next builds do all steps again.".to_owned());
    if rebuilt.mounts > 0 {
        line(format!(
            "Lost: {} of RUN steps. They are still in mica/mounts and go when micad starts.",
            count(rebuilt.mounts, "cache mount")
        ));
    }
    if rebuilt.leftovers > 0 {
        line(format!(
            "{} of blobs that only the build cache had go when micad starts.",
            human(rebuilt.leftovers)
        ));
    }
    if let Some(aside) = &rebuilt.aside {
        line(format!(
            "The old database lies in {}. Remove it when it is not needed any more.",
            aside.display()
        ));
    }
    text
}

fn list<T>(line: &mut impl FnMut(String), things: &[T], what: &str, described: impl Fn(&T) -> String) {
    for thing in things.iter().take(MOST) {
        line(format!("{what}: {}", described(thing)));
    }
    if things.len() > MOST {
        line(format!("{what}: {} more", things.len() - MOST));
    }
}

fn harm(harm: &Harm) -> String {
    format!(
        "image {}{} lacks layer {}; pull, load or build it again",
        harm.image,
        named(&harm.names),
        harm.layer
    )
}

fn lost(lost: &LostImage) -> String {
    let image = match &lost.image {
        Some(image) => format!("image {image}"),
        None => "an image".to_owned(),
    };
    format!("{image}{}: {}", named(&lost.names), lost.reason)
}

fn named(names: &[mica_oci::Reference]) -> String {
    match names.is_empty() {
        true => String::new(),
        false => {
            let names: Vec<String> = names.iter().map(mica_oci::Reference::familiar).collect();
            format!(" ({})", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told() {
        let mut rebuilt = Rebuilt::default();
        (rebuilt.images, rebuilt.names, rebuilt.layers) = (1, 2, 0);
        let text = report(Path::new("/store"), &rebuilt);
        assert!(
            text.starts_with(
                "The database of /store was made again from mica/refs.json: 1 image, 2 names, 0 layers.\n"
            ),
            "{text}"
        );
        assert!(
            text.contains("Lost: the build cache") && !text.contains("mount"),
            "{text}"
        );

        rebuilt.origin = Origin::Index;
        (rebuilt.mounts, rebuilt.leftovers) = (1, 2_500_000);
        rebuilt.aside = Some("/store/mica/bad/db-1".into());
        rebuilt.bad = (0..MOST + 3)
            .map(|n| format!("/store/mica/bad/{n}").into())
            .collect();
        let digest = mica_oci::Digest::of(b"x");
        rebuilt.harmed = vec![Harm {
            image: mica_oci::ImageId(digest),
            names: vec!["app:1".parse().unwrap(), "other".parse().unwrap()],
            layer: mica_oci::DiffId(digest),
        }];
        let text = report(Path::new("/store"), &rebuilt);
        for part in [
            "from index.json, as mica/refs.json is lost",
            "Lost: names by digest",
            &format!(
                "Not whole: image {digest} (app:1, other) lacks layer {digest}; pull, load or build it again\n"
            ),
            "Damaged and set aside: /store/mica/bad/19\nDamaged and set aside: 3 more\n",
            "Lost: 1 cache mount of RUN steps.",
            "2 MB of blobs that only the build cache had go",
            "The old database lies in /store/mica/bad/db-1.",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
