//! What the paths of a registry mean (OCI distribution spec, "Endpoints").

use hyper::Method;

use crate::registry::fault::Kind;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Root,
    Token,
    Manifest(String, String),
    Blob(String, String),
    UploadStart(String),
    Upload(String, String),
    Tags(String),
    /// On the host that redirects lead to.
    Stored(String),
    Other,
}

impl Route {
    pub(crate) fn of(path: &str, token_path: &str) -> Self {
        if path == "/v2/" || path == "/v2" {
            return Self::Root;
        }
        if path == token_path {
            return Self::Token;
        }
        let Some(rest) = path.strip_prefix("/v2/") else {
            return Self::Other;
        };
        if let Some(name) = rest
            .strip_suffix("/blobs/uploads/")
            .or_else(|| rest.strip_suffix("/blobs/uploads"))
        {
            return Self::UploadStart(name.to_owned());
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Self::Tags(name.to_owned());
        }
        let Some((front, last)) = rest.rsplit_once('/') else {
            return Self::Other;
        };
        let last = last.replace("%3A", ":");
        if let Some(name) = front.strip_suffix("/blobs/uploads") {
            return Self::Upload(name.to_owned(), last);
        }
        if let Some(name) = front.strip_suffix("/blobs") {
            return Self::Blob(name.to_owned(), last);
        }
        match front.strip_suffix("/manifests") {
            Some(name) => Self::Manifest(name.to_owned(), last),
            None => Self::Other,
        }
    }

    pub(crate) fn kind(&self, method: &Method) -> Kind {
        match self {
            Self::Root => Kind::Root,
            Self::Token => Kind::Token,
            Self::Manifest(..) => Kind::Manifest,
            Self::Blob(..) => Kind::Blob,
            Self::UploadStart(_) => Kind::UploadStart,
            Self::Upload(..) if method == Method::PATCH => Kind::UploadPatch,
            Self::Upload(..) if method == Method::PUT => Kind::UploadPut,
            Self::Upload(..) => Kind::UploadOther,
            Self::Tags(_) => Kind::Tags,
            Self::Stored(_) => Kind::Stored,
            Self::Other => Kind::Other,
        }
    }

    /// The repository it is about.
    pub(crate) fn repository(&self) -> Option<&str> {
        match self {
            Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::UploadStart(name)
            | Self::Upload(name, _)
            | Self::Tags(name) => Some(name),
            Self::Root | Self::Token | Self::Stored(_) | Self::Other => None,
        }
    }
}

/// The values of a parameter in a query or form, in order.
pub(crate) fn parameters(query: &str, name: &str) -> Vec<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(own, _)| *own == name)
        .map(|(_, value)| unescaped(value))
        .collect()
}

/// The first value of a parameter.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    parameters(query, name).into_iter().next()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => b'?',
                }
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
