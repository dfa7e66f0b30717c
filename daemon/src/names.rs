//! Who gave which image its name, so that users without all rights may take their own names away again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use mica_oci::Reference;

/// How many names are remembered; the oldest are forgotten first, and then only who has all rights may remove them.
const KEPT: usize = 16 << 10;

/// Who gave the last names, as long as the daemon runs: by `build -t`, `tag`, `pull`, `load` and `import`.
#[derive(Default)]
pub(crate) struct Names(Mutex<Given>);

#[derive(Default)]
struct Given {
    users: HashMap<Reference, u32>,
    order: VecDeque<Reference>,
}

impl Names {
    /// A user gave an image this name; whoever gave it before did not.
    pub(crate) fn given(&self, user: u32, name: &Reference) {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if given.users.insert(name.clone(), user).is_none() {
            given.order.push_back(name.clone());
        }
        if given.order.len() > KEPT
            && let Some(oldest) = given.order.pop_front()
        {
            given.users.remove(&oldest);
        }
    }

    /// Whether the user was the last to give the name.
    pub(crate) fn is_of(&self, user: u32, name: &Reference) -> bool {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.users.get(name) == Some(&user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_who_gave_a_name_has_it() {
        let names = Names::default();
        names.given(1, &name("a:1"));
        assert!(names.is_of(1, &name("docker.io/library/a:1")));
        assert!(!names.is_of(1, &name("a:2")) && !names.is_of(2, &name("a:1")));
        names.given(2, &name("a:1"));
        assert!(!names.is_of(1, &name("a:1")) && names.is_of(2, &name("a:1")));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let names = Names::default();
        for number in 0..=KEPT {
            names.given(1, &name(&format!("a:{number}")));
        }
        assert!(!names.is_of(1, &name("a:0")) && names.is_of(1, &name("a:1")));
        assert_eq!(names.0.lock().unwrap().users.len(), KEPT);
    }
}
