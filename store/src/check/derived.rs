//! `index.json` and `refs.json`: whether they say what the database says.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Check;
use crate::catalogue::Verdict;
use crate::check::finding::{Fault, Finding, Remedy, Thing};
use crate::error::Error;
use crate::store::Store;

/// How often it is looked whether all changes are written, in a store where they never cease.
const LOOKS: u32 = 40;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

impl Check<'_, '_> {
    /// Both files against the database. Where changes never cease to come, nothing is said of them.
    pub(super) fn derived(&mut self) -> Result<(), Error> {
        self.go_on()?;
        let store = self.store.clone();
        for place in store.stale_files(self.watch.go_on)? {
            self.found(Finding {
                thing: Thing::Derived,
                fault: Fault::Contradiction {
                    reason: "does not say what the database says".to_owned(),
                },
                place,
                harms: Vec::new(),
                remedy: Remedy::MakeAgain,
            });
        }
        Ok(())
    }
}

impl Store {
    /// Those of the derived files that do not say what the database says; none where changes never cease.
    pub(crate) fn stale_files(&self, go_on: &dyn Fn() -> io::Result<()>) -> Result<Vec<PathBuf>, Error> {
        for _ in 0..LOOKS {
            go_on().map_err(Error::io("check the store"))?;
            match self
                .inner
                .catalogue
                .verdict(&self.inner.paths, &self.inner.database)?
            {
                Verdict::Changing => std::thread::sleep(PAUSE),
                Verdict::Of(stale) => return Ok(stale),
            }
        }
        Ok(Vec::new())
    }
}
