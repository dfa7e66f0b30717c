//! Leases: what one job touched, kept from deletion until it ends.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use mica_oci::{DiffId, Digest};

use crate::locks::lock;

/// One thing that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Pin {
    /// A blob.
    Blob(Digest),
    /// A layer in all its forms.
    Layer(DiffId),
}

/// What all leases together keep, with the number of leases that keep it.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<HashMap<Pin, usize>>);

impl Pins {
    /// Whether any lease keeps the layer.
    pub(crate) fn holds_layer(&self, diff_id: &DiffId) -> bool {
        lock(&self.0).contains_key(&Pin::Layer(*diff_id))
    }

    /// Whether any lease keeps what lies under this digest, as a blob or as a layer's tar.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        let pins = lock(&self.0);
        pins.contains_key(&Pin::Blob(*digest)) || pins.contains_key(&Pin::Layer(DiffId(*digest)))
    }
}

/// Keeps everything that is touched through it from being deleted, until its last clone drops.
/// Lives in memory only: after a crash there is no lease.
#[derive(Debug, Clone)]
pub struct Lease(Arc<Held>);

#[derive(Debug)]
struct Held {
    pins: Arc<Pins>,
    own: Mutex<HashSet<Pin>>,
}

impl Lease {
    pub(crate) fn new(pins: Arc<Pins>) -> Self {
        Self(Arc::new(Held {
            pins,
            own: Mutex::default(),
        }))
    }

    /// Keeps `pin`. The caller holds the gate's shared side if it has just looked the thing up.
    pub(crate) fn pin(&self, pin: Pin) {
        if lock(&self.0.own).insert(pin) {
            *lock(&self.0.pins.0).entry(pin).or_default() += 1;
        }
    }

    pub(crate) fn pin_blob(&self, digest: &Digest) {
        self.pin(Pin::Blob(*digest));
    }

    pub(crate) fn pin_layer(&self, diff_id: &DiffId) {
        self.pin(Pin::Layer(*diff_id));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut pins = lock(&self.pins.0);
        for pin in lock(&self.own).drain() {
            if let Some(count) = pins.get_mut(&pin) {
                *count -= 1;
                if *count == 0 {
                    pins.remove(&pin);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_kept_until_the_last_lease_drops() {
        let pins = Arc::new(Pins::default());
        let digest = Digest::of(b"x");
        let one = Lease::new(pins.clone());
        let two = Lease::new(pins.clone());
        one.pin_blob(&digest);
        one.pin_blob(&digest);
        two.pin_blob(&digest);
        let clone = one.clone();
        drop(one);
        drop(two);
        assert!(pins.holds(&digest));
        drop(clone);
        assert!(!pins.holds(&digest));
    }

    #[test]
    fn a_layer_keeps_its_tar() {
        let pins = Arc::new(Pins::default());
        let lease = Lease::new(pins.clone());
        let diff_id = DiffId(Digest::of(b"layer"));
        lease.pin_layer(&diff_id);
        assert!(pins.holds(diff_id.digest()) && pins.holds_layer(&diff_id));
    }
}
