//! `index.json` and `refs.json`: whether they say what the database says.

use std::time::Duration;

use super::Check;
use crate::catalogue::Verdict;
use crate::check::finding::{Fault, Finding, Remedy, Thing};
use crate::error::Error;

/// How often it is looked whether all changes are written, in a store where they never cease.
const LOOKS: u32 = 40;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

impl Check<'_, '_> {
    /// Both files against the database. Where changes never cease to come, nothing is said of them.
    pub(super) fn derived(&mut self) -> Result<(), Error> {
        let inner = self.store.inner.clone();
        for _ in 0..LOOKS {
            self.go_on()?;
            match inner.catalogue.verdict(&inner.paths, &inner.database)? {
                Verdict::Changing => std::thread::sleep(PAUSE),
                Verdict::Of(stale) => {
                    for place in stale {
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
                    break;
                }
            }
        }
        Ok(())
    }
}
