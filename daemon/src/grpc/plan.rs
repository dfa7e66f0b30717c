//! Results as plans: a client that builds one target from another hands back what it was given for it, as BuildKit's LLB.
//! The plans made here have one operation, which names an image of the store.

use std::collections::HashMap;

use mica_buildkit::message::solver::{Definition, Op, OpInput, OpMetadata, SourceOp};
use mica_oci::{Digest, ImageId};
use prost::Message;
use tonic::Status;

/// What such an operation takes its files from, with the image's ID behind it.
const RESULT: &str = "mica-result://";

/// The most operations of a plan that are looked at.
const MAX_OPS: usize = 16;

/// The plan that means this image.
pub(super) fn of(image: &ImageId) -> Definition {
    let source = Op {
        source: Some(SourceOp {
            identifier: format!("{RESULT}{image}"),
        }),
        ..Op::default()
    };
    let source = source.encode_to_vec();
    let digest = Digest::of(&source).to_string();
    // the last operation of a plan only names its result
    let last = Op {
        inputs: vec![OpInput {
            digest: digest.clone(),
            index: 0,
        }],
        ..Op::default()
    };
    Definition {
        def: vec![source, last.encode_to_vec()],
        metadata: HashMap::from([(digest, OpMetadata {})]),
    }
}

/// The image that a plan means.
pub(super) fn image(definition: &Definition) -> Result<ImageId, Status> {
    let found = definition.def.iter().take(MAX_OPS).find_map(|bytes| {
        let source = Op::decode(bytes.as_slice()).ok()?.source?;
        let digest: Digest = source.identifier.strip_prefix(RESULT)?.parse().ok()?;
        Some(ImageId(digest))
    });
    found.ok_or_else(|| {
        Status::unimplemented(
            "micad carries out Dockerfiles, not LLB: only results of its own can be built from",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_leads_to_its_image_and_no_other_plan_does() {
        let id = ImageId(Digest::of(b"x"));
        assert_eq!(image(&of(&id)).unwrap(), id);
        let other = Op {
            source: Some(SourceOp {
                identifier: "docker-image://docker.io/library/x".into(),
            }),
            ..Op::default()
        };
        for def in [
            vec![],
            vec![b"\xff\xff".to_vec()],
            vec![other.encode_to_vec()],
            vec![Op::default().encode_to_vec()],
        ] {
            let plan = Definition {
                def,
                ..Definition::default()
            };
            assert!(image(&plan).is_err());
        }
    }
}
