//! WORKDIR: names the working directory, and makes it.

use mica_layer::{ImagePath, Meta};

use crate::draft::{Draft, NewDirectory};
use crate::error::StepError;
use crate::key::KeyWriter;
use crate::ops::config::Scope;
use crate::owner::{Names, Owner, parse_owner};
use crate::site::{Outcome, Place, Site};
use crate::state::State;

/// Names the working directory; one that does not begin at the root begins at the last one.
pub(crate) fn set(path: &str, state: &mut State, scope: &Scope<'_>) -> Result<(), StepError> {
    let path = scope.word(state, path)?;
    if path.starts_with('/') {
        state.image.config.working_dir = path;
    } else if !path.is_empty() {
        let joined = format!("{}/{path}", state.cwd());
        state.image.config.working_dir = ImagePath::clamped(joined.as_bytes()).to_string();
    }
    Ok(())
}

/// Carries out a WORKDIR. Gives the layer, unless it names the root, and the history line.
pub(crate) fn step(
    path: &str,
    state: &mut State,
    site: &Site<'_>,
    place: Place,
) -> Result<(Option<Outcome>, String), StepError> {
    set(path, state, &site.scope)?;
    let created_by = format!("WORKDIR {}", state.cwd());
    if ImagePath::clamped(state.cwd().as_bytes()).is_root() {
        return Ok((None, created_by));
    }
    let epoch = site.layers.epoch;
    let key = KeyWriter::new("workdir", &state.chain())
        .named("working directory")
        .field(state.cwd())
        .named("user")
        .field(&state.image.config.user)
        .named("SOURCE_DATE_EPOCH")
        .option(epoch.map(i64::to_le_bytes))
        .finish();
    // making a directory gives the same whenever it is done: --no-cache does not concern it
    let outcome = site.layer(&key, &[], false, place, || {
        site.executing(place, true);
        let below = site.layers.stack(&state.layers)?;
        let mut draft = Draft::new(&below, site.now());
        let user = state.image.config.user.as_str();
        let owner = if user.is_empty() {
            Owner::default()
        } else {
            parse_owner(user, &below, Names::In)?
        };
        let meta = Meta {
            uid: owner.uid,
            gid: owner.gid,
            ..Meta::directory(0o755, site.now())
        };
        let owned = !user.is_empty();
        draft.make_path(state.cwd().as_bytes(), &NewDirectory { meta, owned })?;
        let order = site.order(state, place, &created_by);
        site.layers.make(order, &draft.into_changes(), site.form(place))
    })?;
    Ok((Some(outcome), created_by))
}
