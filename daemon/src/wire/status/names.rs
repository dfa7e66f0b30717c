//! What vertices are called, in BuildKit's words.

use mica_oci::{Digest, Reference};
use mica_task::{Chore, StagePlace, StagePlatform};

/// The name of what is done beside the steps.
pub(super) fn chore(chore: &Chore) -> String {
    match chore {
        Chore::Definition { file } => format!("[internal] load build definition from {}", line(file)),
        Chore::Ignore => "[internal] load .dockerignore".to_owned(),
        Chore::Context => "[internal] load build context".to_owned(),
        Chore::Image { name } => format!("[internal] load metadata for {}", canonical(name)),
        Chore::CacheImport { name } => format!("importing cache manifest from {}", line(name)),
        Chore::CacheLayers { name } => format!("loading layers from cache {}", line(name)),
        Chore::CacheExport => "exporting cache to registry".to_owned(),
        Chore::Sbom { generator } => format!("generating sbom using {}", canonical(generator)),
        Chore::Export => "exporting to image".to_owned(),
        Chore::Deliver { tar: true } => "exporting to client tarball".to_owned(),
        Chore::Deliver { tar: false } => "exporting to client directory".to_owned(),
    }
}

/// The name of a step: its stage and number, and the instruction or the image it starts from.
pub(super) fn step(text: &str, place: &StagePlace, digest: Option<&Digest>) -> String {
    let StagePlace {
        platform,
        name,
        number,
        count,
        base: image,
        ..
    } = place;
    let platform = platform.as_ref().map(of_platform).unwrap_or_default();
    let stage = name.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
    let width = count.to_string().len();
    let what = match image {
        Some(image) => base(image, digest),
        None => line(text),
    };
    format!("[{platform}{stage}{number:width$}/{count}] {what}")
}

/// What a stage is for, and if that is not what the image is for, that too.
fn of_platform(StagePlatform { own, target }: &StagePlatform) -> String {
    if own == target {
        return format!("{own} ");
    }
    let mut goal = match own.os == target.os {
        true => target.architecture.clone(),
        false => format!("{}/{}", target.os, target.architecture),
    };
    if !target.variant.is_empty() {
        goal.push_str(&format!("/{}", target.variant));
    }
    format!("{own}->{goal} ")
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
            platform: None,
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
        let for_arm = |own: &str| StagePlace {
            platform: Some(StagePlatform {
                own: own.parse().unwrap(),
                target: "linux/arm/v7".parse().unwrap(),
            }),
            ..place(Some("work"), 2, 3, None)
        };
        assert_eq!(
            step("RUN a", &for_arm("linux/arm/v7"), None),
            "[linux/arm/v7 work 2/3] RUN a"
        );
        assert_eq!(
            step("RUN a", &for_arm("linux/amd64"), None),
            "[linux/amd64->arm/v7 work 2/3] RUN a"
        );
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
