//! What vertices are called, in BuildKit's words.

use mica_oci::{Digest, Reference};
use mica_task::{Chore, StagePlace};

/// The name of what is done beside the steps.
pub(super) fn chore(chore: &Chore) -> String {
    match chore {
        Chore::Definition { file } => format!("[internal] load build definition from {}", line(file)),
        Chore::Ignore => "[internal] load .dockerignore".to_owned(),
        Chore::Context => "[internal] load build context".to_owned(),
        Chore::Image { name } => format!("[internal] load metadata for {}", canonical(name)),
        Chore::Sbom { generator } => format!("generating sbom using {}", canonical(generator)),
        Chore::Export => "exporting to image".to_owned(),
        Chore::Deliver { tar: true } => "exporting to client tarball".to_owned(),
        Chore::Deliver { tar: false } => "exporting to client directory".to_owned(),
    }
}

/// The name of a step: its stage and number, and the instruction or the image it starts from.
pub(super) fn step(text: &str, place: &StagePlace, digest: Option<&Digest>) -> String {
    let StagePlace {
        name,
        number,
        count,
        base: image,
        ..
    } = place;
    let stage = name.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
    let width = count.to_string().len();
    let what = match image {
        Some(image) => base(image, digest),
        None => line(text),
    };
    format!("[{stage}{number:width$}/{count}] {what}")
}

/// What fetching an image is called.
pub(super) fn base(image: &str, digest: Option<&Digest>) -> String {
    let name = canonical(image);
    match digest {
        Some(digest) if !name.contains('@') => format!("FROM {name}@{digest}"),
        _ => format!("FROM {name}"),
    }
}

/// The whole name of an image; what is no name, an ID say, as it is.
fn canonical(name: &str) -> String {
    match name.parse::<Reference>() {
        Ok(reference) => reference.or_latest().to_string(),
        Err(_) => line(name),
    }
}

/// The first line of a text, without what would move a cursor.
fn line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    first.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: Option<&str>, number: u32, count: u32, base: Option<&str>) -> StagePlace {
        StagePlace {
            stage: 0,
            name: name.map(str::to_owned),
            number,
            count,
            base: base.map(str::to_owned),
        }
    }

    #[test]
    fn steps_have_their_place_in_front() {
        for (text, place, expected) in [
            ("RUN a\tb", place(None, 2, 3, None), "[2/3] RUN a b"),
            ("RUN a", place(Some("work"), 2, 12, None), "[work  2/12] RUN a"),
            (
                "FROM x",
                place(None, 1, 3, Some("x")),
                "[1/3] FROM docker.io/library/x:latest",
            ),
            (
                "FROM ghcr.io/a/b:1 AS c",
                place(Some("c"), 1, 3, Some("ghcr.io/a/b:1")),
                "[c 1/3] FROM ghcr.io/a/b:1",
            ),
        ] {
            assert_eq!(step(text, &place, None), expected);
        }
        let digest = Digest::of(b"");
        assert_eq!(
            step("", &place(None, 1, 1, Some("x:1")), Some(&digest)),
            format!("[1/1] FROM docker.io/library/x:1@{digest}")
        );
        let pinned = format!("x@{digest}");
        assert_eq!(
            base(&pinned, Some(&digest)),
            format!("FROM docker.io/library/x@{digest}")
        );
    }

    #[test]
    fn chores_are_internal() {
        let of = |image: &str| {
            chore(&Chore::Image {
                name: image.to_owned(),
            })
        };
        assert_eq!(of("x"), "[internal] load metadata for docker.io/library/x:latest");
        assert_eq!(of("Not\x1b A Name"), "[internal] load metadata for Not  A Name");
    }
}
