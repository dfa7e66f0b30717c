//! Images for several platforms, and the index that holds their manifests together.

use std::collections::BTreeMap;

use crate::config::ImageConfig;
use crate::digest::ImageId;
use crate::manifest::{Descriptor, Index};
use crate::media::{MediaType, OCI_INDEX};
use crate::platform::Platform;

/// An image, and what it was built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformImage {
    /// What it was asked to be for.
    pub platform: Platform,
    /// The image.
    pub image: ImageId,
}

impl PlatformImage {
    /// Of several images the one that a name means where it can mean only one: that for this machine, else the first.
    pub fn main(images: &[Self]) -> Option<&Self> {
        let host = Platform::host();
        let own = images.iter().find(|image| image.platform == host);
        own.or_else(|| images.first())
    }
}

impl Index {
    /// An OCI index of these manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::new(OCI_INDEX)),
            manifests,
            annotations: BTreeMap::new(),
        }
    }
}

impl Descriptor {
    /// The same in an index, of an image with this config that was asked for `platform`: the version of the system is known
    /// from the config alone.
    #[must_use]
    pub fn of_platform(self, platform: &Platform, config: &ImageConfig) -> Self {
        let mut platform = platform.clone();
        if platform.os_version.is_empty() && platform.os == config.os {
            platform.os_version.clone_from(&config.os_version);
        }
        Self {
            platform: Some(platform),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::document::Raw;
    use crate::media::OCI_MANIFEST;

    fn image(platform: &str) -> PlatformImage {
        PlatformImage {
            platform: platform.parse().unwrap(),
            image: ImageId(Digest::of(platform.as_bytes())),
        }
    }

    #[test]
    fn a_name_means_the_image_for_this_machine_or_the_first() {
        let host = Platform::host().to_string();
        let both = [image("linux/s390x"), image(&host)];
        assert_eq!(PlatformImage::main(&both), Some(&both[1]));
        let foreign = [image("linux/s390x"), image("linux/riscv64")];
        assert_eq!(PlatformImage::main(&foreign), Some(&foreign[0]));
        assert_eq!(PlatformImage::main(&[]), None);
    }

    #[test]
    fn an_index_says_what_its_manifests_are_for() {
        let manifest = Descriptor::new(OCI_MANIFEST, Digest::of(b"x"), 7);
        let config = ImageConfig {
            os: "windows".to_owned(),
            os_version: "10.0.20348.1".to_owned(),
            ..ImageConfig::default()
        };
        let windows: Platform = "windows/amd64".parse().unwrap();
        let arm: Platform = "linux/arm/v6".parse().unwrap();
        let index = Index::new(vec![
            manifest.clone().of_platform(&windows, &config),
            manifest.of_platform(&arm, &config),
        ]);
        let raw = Raw::of(index).unwrap();
        let digest = Digest::of(b"x");
        assert_eq!(
            String::from_utf8_lossy(raw.bytes()),
            format!(
                "{{\"schemaVersion\":2,\"mediaType\":\"{OCI_INDEX}\",\"manifests\":[\
                 {{\"mediaType\":\"{OCI_MANIFEST}\",\"digest\":\"{digest}\",\"size\":7,\"platform\":\
                 {{\"architecture\":\"amd64\",\"os\":\"windows\",\"os.version\":\"10.0.20348.1\"}}}},\
                 {{\"mediaType\":\"{OCI_MANIFEST}\",\"digest\":\"{digest}\",\"size\":7,\"platform\":\
                 {{\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v6\"}}}}]}}"
            )
        );
        let read = Raw::<Index>::parse(raw.bytes()).unwrap();
        assert_eq!((read.digest(), read.value()), (raw.digest(), raw.value()));
    }
}
