// SPDX-License-Identifier: MPL-2.0
//! The sessions that there are.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::crypto::ring;
use tokio::sync::mpsc;

use super::session::Request;

/// Requests for one session that wait.
const REQUESTS: usize = 16;

/// The sessions by their ids, and how many there may be.
pub(super) struct Registry {
    sessions: Mutex<HashMap<String, mpsc::Sender<Request>>>,
    limit: usize,
}

/// Why there is no place.
#[derive(Debug)]
pub(super) enum NoPlace {
    /// All are taken.
    Full,
    /// The system gives no random numbers.
    NoRandom,
}

impl Registry {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            sessions: Mutex::default(),
            limit,
        })
    }

    /// Takes a place under an id of 128 random bits. Requests for it come out of the receiver.
    pub(super) fn enter(self: &Arc<Self>) -> Result<(Place, mpsc::Receiver<Request>), NoPlace> {
        let id = random_hex().ok_or(NoPlace::NoRandom)?;
        let tag = random_hex().ok_or(NoPlace::NoRandom)?;
        let (sender, requests) = mpsc::channel(REQUESTS);
        let mut sessions = self.sessions();
        if sessions.len() >= self.limit {
            return Err(NoPlace::Full);
        }
        sessions.insert(id.clone(), sender);
        let place = Place {
            registry: self.clone(),
            id,
            tag,
        };
        Ok((place, requests))
    }

    /// Frees a place whose holder may not have noticed yet.
    pub(super) fn remove(&self, id: &str) {
        self.sessions().remove(id);
    }

    /// The way to a session.
    pub(super) fn find(&self, id: &str) -> Option<mpsc::Sender<Request>> {
        self.sessions().get(id).cloned()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<Request>>> {
        // A map is whole between two calls, whatever panicked.
        self.sessions
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A place in the registry; dropped, it is free.
pub(super) struct Place {
    registry: Arc<Registry>,
    id: String,
    tag: String,
}

impl Place {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Random too, and public: entity tags begin with it.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// Enough of the id to tell sessions apart in a log; who knows all of it may end the session.
    pub(super) fn short_id(&self) -> &str {
        self.id.get(..8).unwrap_or_default()
    }

    /// Frees the place before the end.
    pub(super) fn leave(&self) {
        self.registry.remove(&self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// 128 random bits of the system's.
fn random_hex() -> Option<String> {
    let mut bytes = [0; 16];
    let random = ring::default_provider().secure_random;
    random.fill(&mut bytes).ok()?;
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    Some(hex)
}
