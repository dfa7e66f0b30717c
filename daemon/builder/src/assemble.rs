//! The last touches to an image: labels of the command line, and the times of its history.

use jiff::Timestamp;
use mica_oci::{History, ImageConfig};

use crate::state::State;

/// The config of a finished stage. `epoch` (SOURCE_DATE_EPOCH) caps every time of a step built here.
pub(crate) fn assemble(state: &State, labels: &[(String, String)], epoch: Option<Timestamp>) -> ImageConfig {
    let mut image = state.image.clone();
    if !labels.is_empty() {
        image
            .config
            .labels
            .get_or_insert_default()
            .extend(labels.iter().cloned());
    }
    let fallback = image.created;
    fill_times(&mut image.history);
    if let Some(epoch) = epoch {
        let built = image.history.iter_mut().skip(state.inherited);
        built.for_each(|entry| {
            entry.created = entry
                .created
                .map_or(Some(epoch), |created| Some(created.min(epoch)))
        });
    }
    image.created = image.history.last().map_or(fallback, |entry| entry.created);
    image
}

/// Steps that made no layer take the time of the first new layer, or of the layer before them where none follows (BuildKit's rule).
fn fill_times(history: &mut [History]) {
    let first_gap = history
        .iter()
        .position(|entry| entry.created.is_none())
        .unwrap_or(history.len());
    let mut time = history[first_gap..]
        .iter()
        .find_map(|entry| entry.created)
        .or_else(|| history[..first_gap].iter().rev().find_map(|entry| entry.created));
    for entry in &mut history[first_gap..] {
        match entry.created {
            Some(created) => time = Some(created),
            None => entry.created = time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(history: &[Option<i64>]) -> Vec<Option<i64>> {
        let entry = |second: &Option<i64>| History {
            created: second.and_then(|s| Timestamp::from_second(s).ok()),
            ..History::default()
        };
        let mut history: Vec<_> = history.iter().map(entry).collect();
        fill_times(&mut history);
        history
            .iter()
            .map(|entry| entry.created.map(Timestamp::as_second))
            .collect()
    }

    #[test]
    fn steps_without_a_layer_borrow_a_time() {
        assert_eq!(
            times(&[Some(1), None, Some(5), None, Some(7), None]),
            [1, 5, 5, 5, 7, 7].map(Some)
        );
        assert_eq!(times(&[Some(1), None, None]), [1, 1, 1].map(Some));
        assert_eq!(times(&[None, None]), [None, None]);
        assert_eq!(times(&[]), []);
    }
}
