//! Who new files belong to: `--chown` and USER, looked up in an image's own passwd and group files.

use std::io::Read;

use mica_layer::{ImagePath, Stack};

use crate::error::StepError;

/// The most of /etc/passwd and /etc/group that is read, in bytes.
const FILE_LIMIT: u64 = 16 << 20;

/// A user and a group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What to do with a name that the image does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Unknown names are 0, as BuildKit takes them.
    In,
    /// There is no image to look names up in: any name but `root` is an error.
    Nowhere,
}

/// Reads `user[:group]` of `--chown` or USER: numbers as they are, a number alone is user and group, a name alone brings
/// its group, `:group` leaves the user 0.
pub(crate) fn parse_owner(text: &str, image: &Stack, names: Names) -> Result<Owner, StepError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (text, None),
    };
    let (uid, default_gid) = match (user, user.parse::<u32>()) {
        ("", _) | ("root", _) => (0, 0),
        (_, Ok(uid)) => (uid, uid),
        (name, Err(_)) => look_up(image, "etc/passwd", no_number(name)?, names)?
            .map_or((0, 0), |f| (f.number(2), f.number(3))),
    };
    let gid = match group.map(|g| (g, g.parse::<u32>())) {
        None => default_gid,
        Some(("root", _)) => 0,
        Some((_, Ok(gid))) => gid,
        Some((name, Err(_))) => {
            look_up(image, "etc/group", no_number(name)?, names)?.map_or(0, |f| f.number(2))
        }
    };
    Ok(Owner { uid, gid })
}

/// A name, unless it is a number that no user or group can have.
fn no_number(text: &str) -> Result<&str, StepError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(StepError::Invalid(format!(
            "{text:?} is not a user or group: numbers go from 0 to {}",
            u32::MAX
        )));
    }
    Ok(text)
}

/// One line of passwd(5) or group(5).
struct Fields(Vec<String>);

impl Fields {
    fn number(&self, at: usize) -> u32 {
        self.0.get(at).and_then(|field| field.parse().ok()).unwrap_or(0)
    }
}

fn look_up(image: &Stack, file: &str, name: &str, names: Names) -> Result<Option<Fields>, StepError> {
    if names == Names::Nowhere {
        return Err(StepError::Invalid(format!(
            "cannot look up {name:?}: there is no /{file} to look in, give numbers instead"
        )));
    }
    let path = image.resolve(&ImagePath::clamped(file.as_bytes()), true)?;
    let is_file = image
        .lookup(&path)?
        .is_some_and(|found| matches!(found.node.meta.kind, mica_layer::Kind::File { .. }));
    if !is_file {
        return Ok(None);
    }
    let mut text = Vec::new();
    image
        .open(&path)?
        .reader()
        .take(FILE_LIMIT)
        .read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .map(|line| Fields(line.trim().split(':').map(str::to_owned).collect()))
        .find(|fields| fields.0[0] == name && fields.0.len() >= 3))
}
