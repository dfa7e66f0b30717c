//! A layer's tree as the changes it was written from.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use crate::allowance::{Allowance, GoOn, wanted};
use crate::changes::{Change, Changes};
use crate::diff::{check_length, drop_lone_links, is_whiteout};
use crate::error::Error;
use crate::handle::Handle;
use crate::pack::XattrPolicy;
use crate::path::ImagePath;
use crate::source::Source;
use crate::tar::WHITEOUT_PREFIX;
use crate::tree_view::DirView;

/// The number of the one layer there is, for links.
const LAYER: u32 = 0;

/// Reads the tree of a layer as changes: packed, they give the tar whose tree it is. The root is left out; sockets, which no
/// layer holds, too. Bytes are read later, the tree must stay until then.
/// Of extended attributes only those of `xattrs` are read: to be packed under the same policy.
///
/// # Errors
/// [`Error::Changes`] if it takes more than `allowance`; [`Error::Io`] as soon as `go_on` fails; [`Error::Path`] for a name that begins with `.wh.`, which a tar cannot hold, and for a file whose content overlayfs left
/// in another layer; [`Error::Limit`] for a path too long for Linux.
pub fn changes_of_tree(
    tree: &Path,
    xattrs: XattrPolicy,
    mut allowance: Allowance,
    go_on: GoOn<'_>,
) -> Result<Changes, Error> {
    let view = Arc::new(DirView::open(tree)?);
    let mut changes = Changes::new();
    let mut ahead = vec![ImagePath::root()];
    while let Some(dir) = ahead.pop() {
        let Some((fd, names)) = view.root().list_while(&dir, &mut |name| {
            wanted(go_on)?;
            allowance.borrow(&dir, name)
        })?
        else {
            continue;
        };
        for name in names {
            wanted(go_on)?;
            allowance.give_back(&name);
            let path = dir.join(&name);
            check_length(&path)?;
            let failed = |error: std::io::Error| view.root().failed("read", &path, error);
            let Some(file) = Handle::at(fd.as_fd(), &name).map_err(|errno| failed(errno.into()))? else {
                continue;
            };
            if let Some(change) = change(&view, &path, &file, xattrs)? {
                match &change {
                    Change::Node { meta, .. } => allowance.take(&path, meta)?,
                    Change::Whiteout => allowance.take_whiteout(&path)?,
                }
                if file.is_directory() {
                    ahead.push(path.clone());
                }
                changes.insert(path, change);
            }
        }
    }
    drop_lone_links(&mut changes);
    Ok(changes)
}

fn change(
    view: &Arc<DirView>,
    path: &ImagePath,
    file: &Handle,
    xattrs: XattrPolicy,
) -> Result<Option<Change>, Error> {
    let bad = |reason: &str| Error::Path {
        path: path.clone(),
        reason: reason.to_owned(),
    };
    let Some((meta, marks)) = file
        .meta_with(xattrs)
        .map_err(|error| view.root().failed("read", path, error))?
    else {
        return Ok(None);
    };
    if is_whiteout(file, marks) {
        return Ok(Some(Change::Whiteout));
    }
    if marks.elsewhere {
        return Err(bad(
            "its content is in another layer (overlayfs metacopy or redirect_dir)",
        ));
    }
    if path
        .file_name()
        .is_some_and(|name| name.starts_with(WHITEOUT_PREFIX))
    {
        return Err(bad("a layer cannot hold a name that begins with .wh."));
    }
    Ok(Some(Change::Node {
        source: match meta.size() {
            0 => Source::Empty,
            _ => Source::Layer(view.clone(), path.clone()),
        },
        opaque: meta.is_directory() && marks.opaque,
        meta,
        content: None,
        link: file.link().map(|key| (LAYER, key)),
    }))
}
