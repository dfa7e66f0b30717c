//! One line of a progress stream: what build, load, pull and push send while they work.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A line of a progress stream. Lines are JSON objects, each ended with CR LF; every field is optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// Text to be shown as it is, line ends inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What goes on with `id`, or in general.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What `status` is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Numbers to draw a bar from; `{}` on lines that belong to a bar but have no numbers.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// The bar, drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Results for programs; of a classic build always an [`IdAux`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<Value>,
    /// The failure that ended the work; the last line of the stream.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// The same failure, text only; some clients look only here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far something is, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    /// Bytes done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<i64>,
    /// Bytes in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// When it began, in unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// Whether the numbers are to be left out of the bar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidecounts: Option<bool>,
    /// What is counted, if not bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<String>,
}

/// Why the work failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// The exit code of the command that failed, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// The text.
    pub message: String,
}

/// The `aux` of a classic build: the image so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdAux {
    /// `sha256:` and 64 digits.
    #[serde(rename = "ID")]
    pub id: String,
}

impl Message {
    /// A line of text.
    pub fn stream(text: impl Into<String>) -> Self {
        Self {
            stream: Some(text.into()),
            ..Self::default()
        }
    }

    /// A status without an id.
    pub fn status(text: impl Into<String>) -> Self {
        Self {
            status: Some(text.into()),
            ..Self::default()
        }
    }

    /// A result that is an image.
    pub fn image(id: impl Into<String>) -> Self {
        let id: String = id.into();
        Self {
            aux: Some(serde_json::json!({ "ID": id })),
            ..Self::default()
        }
    }

    /// A result that is several images, for platforms; `id` is that of the one which has the names.
    pub fn images(id: impl Into<String>, images: &[BuiltImage]) -> Self {
        let id: String = id.into();
        Self {
            aux: Some(serde_json::json!({ "ID": id, "Images": images })),
            ..Self::default()
        }
    }

    /// The failure that ends a stream; `code` is the exit code of a failed command.
    pub fn failure(message: impl Into<String>, code: Option<i64>) -> Self {
        let message = message.into();
        Self {
            error_detail: Some(ErrorDetail {
                code,
                message: message.clone(),
            }),
            error: Some(message),
            ..Self::default()
        }
    }

    /// The image that `aux` names, if it names one.
    pub fn aux_id(&self) -> Option<String> {
        let aux = self.aux.as_ref()?;
        serde_json::from_value::<IdAux>(aux.clone())
            .ok()
            .map(|aux| aux.id)
    }

    /// The images of a result for several platforms.
    pub fn aux_images(&self) -> Vec<BuiltImage> {
        let images = self.aux.as_ref().and_then(|aux| aux.get("Images"));
        let images = images.and_then(|images| serde_json::from_value(images.clone()).ok());
        images.unwrap_or_default()
    }
}

/// One of the images of a build for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BuiltImage {
    /// What it is for: `os/architecture[/variant]`.
    pub platform: String,
    /// Its ID.
    #[serde(rename = "ID")]
    pub id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hold_only_what_is_set() {
        for (message, text) in [
            (Message::stream("a\n"), r#"{"stream":"a\n"}"#),
            (Message::status("s"), r#"{"status":"s"}"#),
            (Message::image("sha256:00"), r#"{"aux":{"ID":"sha256:00"}}"#),
            (
                Message::failure("f", Some(7)),
                r#"{"errorDetail":{"code":7,"message":"f"},"error":"f"}"#,
            ),
            (
                Message::failure("f", None),
                r#"{"errorDetail":{"message":"f"},"error":"f"}"#,
            ),
            (
                Message {
                    progress_detail: Some(ProgressDetail::default()),
                    ..Message::default()
                },
                r#"{"progressDetail":{}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&message).unwrap(), text);
            assert_eq!(serde_json::from_str::<Message>(text).unwrap(), message);
        }
    }

    #[test]
    fn only_an_image_has_an_id() {
        assert_eq!(Message::image("x").aux_id().as_deref(), Some("x"));
        let push = Message {
            aux: Some(serde_json::json!({"Tag": "t"})),
            ..Message::default()
        };
        assert_eq!(push.aux_id(), None);
        assert!(push.aux_images().is_empty());
        let built = ["linux/amd64", "linux/arm64"].map(|platform| BuiltImage {
            platform: platform.to_owned(),
            id: "y".to_owned(),
        });
        let message = Message::images("x", &built);
        assert_eq!(message.aux_id().as_deref(), Some("x"));
        assert_eq!(message.aux_images(), built);
    }
}
