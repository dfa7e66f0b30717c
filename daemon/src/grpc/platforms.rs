//! Results for several platforms, as clients hand them to and fro: a name for each, and in the metadata which is for what
//! (BuildKit's `exporter/containerimage/exptypes`, "refs.platforms").

use std::collections::HashMap;

use mica_oci::{ImageId, Platform, PlatformImage};
use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::routes::build_query::MOST_PLATFORMS;

/// The key of the metadata.
const KEY: &str = "refs.platforms";
/// The most platforms of one result.
const MOST: usize = MOST_PLATFORMS;

#[derive(Serialize, Deserialize)]
struct Platforms {
    #[serde(rename = "Platforms", default)]
    platforms: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Platform")]
    platform: Platform,
}

/// The metadata that says what each of these images is for.
pub(super) fn metadata(images: &[PlatformImage]) -> Result<HashMap<String, Vec<u8>>, Status> {
    let entry = |image: &PlatformImage| Entry {
        id: image.platform.to_string(),
        platform: image.platform.clone(),
    };
    let platforms = Platforms {
        platforms: images.iter().map(entry).collect(),
    };
    let bytes = serde_json::to_vec(&platforms).map_err(|error| Status::internal(error.to_string()))?;
    Ok(HashMap::from([(KEY.to_owned(), bytes)]))
}

/// The images behind the names of a result, in the order in which its metadata has them; `None` if it says nothing of
/// platforms.
pub(super) fn read(
    metadata: &HashMap<String, Vec<u8>>,
    names: &HashMap<String, String>,
    find: impl Fn(&str) -> Result<ImageId, Status>,
) -> Result<Option<Vec<PlatformImage>>, Status> {
    let invalid = |text: String| Status::invalid_argument(format!("{KEY} of the result: {text}"));
    let Some(bytes) = metadata.get(KEY) else {
        return Ok(None);
    };
    let Platforms { platforms } =
        serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    if platforms.is_empty() || platforms.len() > MOST {
        return Err(invalid(format!("{} platforms, not 1 to {MOST}", platforms.len())));
    }
    if platforms.len() != names.len() {
        return Err(invalid(format!(
            "{} platforms for {} results",
            platforms.len(),
            names.len()
        )));
    }
    let mut images: Vec<PlatformImage> = Vec::new();
    for Entry { id, platform } in platforms {
        let name = names
            .get(&id)
            .ok_or_else(|| invalid(format!("there is no result {id:?}")))?;
        if images.iter().any(|known| known.platform == platform) {
            return Err(invalid(format!("{platform} is there twice")));
        }
        let image = find(name)?;
        images.push(PlatformImage { platform, image });
    }
    Ok(Some(images))
}

/// What the folder of a platform's files is called among those of others (BuildKit's name).
pub(super) fn folder(platform: &Platform) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' => c,
        _ => '_',
    };
    let name: String = platform.to_string().chars().map(plain).collect();
    // never a name that leads elsewhere, whatever a client calls its platform
    match name.trim_matches('.').is_empty() {
        true => "_".to_owned(),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::Digest;

    fn image(platform: &str) -> PlatformImage {
        PlatformImage {
            platform: platform.parse().unwrap(),
            image: ImageId(Digest::of(platform.as_bytes())),
        }
    }

    #[test]
    fn what_is_told_is_understood() {
        let images = [image("linux/arm/v7"), image("linux/amd64")];
        let metadata = metadata(&images).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&metadata[KEY]),
            r#"{"Platforms":[{"ID":"linux/arm/v7","Platform":{"architecture":"arm","os":"linux","variant":"v7"}},{"ID":"linux/amd64","Platform":{"architecture":"amd64","os":"linux"}}]}"#
        );
        let names = images
            .iter()
            .map(|image| (image.platform.to_string(), image.platform.to_string()));
        let names: HashMap<String, String> = names.collect();
        let find = |name: &str| Ok(ImageId(Digest::of(name.as_bytes())));
        assert_eq!(read(&metadata, &names, find).unwrap().unwrap(), images);
        assert_eq!(read(&HashMap::new(), &names, find).unwrap(), None);
        let fewer = HashMap::from([("linux/amd64".to_owned(), "x".to_owned())]);
        assert!(read(&metadata, &fewer, find).is_err());
        for wrong in [
            r#"{"Platforms":[{"ID":"a","Platform":{"os":"linux"}},{"ID":"linux/amd64","Platform":{}}]}"#,
            r#"{"Platforms":[{"ID":"linux/amd64","Platform":{}},{"ID":"linux/amd64","Platform":{}}]}"#,
            r#"{"Platforms":[]}"#,
            "{}",
            "x",
        ] {
            let metadata = HashMap::from([(KEY.to_owned(), wrong.into())]);
            assert!(read(&metadata, &names, find).is_err(), "{wrong}");
        }
    }

    #[test]
    fn folders_stay_where_they_are() {
        assert_eq!(folder(&"linux/arm/v7".parse().unwrap()), "linux_arm_v7");
        let odd = Platform {
            os: "..".to_owned(),
            architecture: "/\0".to_owned(),
            os_version: String::new(),
            variant: String::new(),
        };
        assert!(!folder(&odd).contains('/'));
    }
}
