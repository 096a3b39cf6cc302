// SPDX-License-Identifier: MPL-2.0
//! The files of one directory, as the rules of [`super`] see them.
//!
//! Invariant: a file appears whole or not at all (written under another name, then renamed),
//! readable for this user only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Access, FlockOperation, OFlags, access, flock};
use rustix::io::Errno;

use crate::signalling::line_codec::MAX_LINE;
use crate::signalling::{Role, SignallingError};

/// A copy of our offer, locked as long as its offerer lives.
const MARKER: &str = ".rswebrtc-offerer";

/// How files that are not yet renamed begin and end.
const TEMPORARY: (&str, &str) = (".rswebrtc-", ".tmp");

/// A file that changed less than this ago is read again: file systems count time in ticks.
const FRESH: Duration = Duration::from_secs(2);

/// The directory.
#[derive(Clone)]
pub(super) struct Directory {
    path: Arc<PathBuf>,
    /// What was read last, of four names at most. A file that did not change is not opened again:
    /// opening it would wake whoever watches the directory, us included.
    last: Arc<Mutex<Vec<(PathBuf, Seen)>>>,
}

/// A file as it was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) text: String,
    /// When it got here, whatever time a copy kept: status change time, which a rename sets.
    arrived: (i64, i64),
    inode: u64,
    size: u64,
}

impl Seen {
    /// Whether a file that is like this now is as it was when it was read.
    fn is_unchanged(&self, now: &fs::Metadata) -> bool {
        let known = (self.arrived, self.inode, self.size);
        let since = UNIX_EPOCH
            .checked_add(Duration::from_secs(u64::try_from(now.ctime()).unwrap_or(0)))
            .and_then(|changed| SystemTime::now().duration_since(changed).ok());
        known == (arrived(now), now.ino(), now.size()) && since.is_some_and(|age| age > FRESH)
    }
}

fn arrived(metadata: &fs::Metadata) -> (i64, i64) {
    (metadata.ctime(), metadata.ctime_nsec())
}

/// All files as they were read.
pub(super) struct Snapshot {
    pub(super) offer: Option<Seen>,
    pub(super) answer: Option<Seen>,
    pub(super) bye: Option<Seen>,
    /// The offer is ours, and who wrote it is dead.
    abandoned: bool,
}

impl Snapshot {
    /// Why the offer is of an earlier call, if it is.
    pub(super) fn used_up(&self) -> Option<&'static str> {
        let offer = self.offer.as_ref()?;
        let as_new = |file: &Option<Seen>| {
            file.as_ref()
                .is_some_and(|file| file.arrived >= offer.arrived)
        };
        if as_new(&self.bye) {
            Some("bye.json ended it")
        } else if as_new(&self.answer) {
            Some("answer.json answers it")
        } else if self.abandoned {
            Some("its offerer is gone")
        } else {
            None
        }
    }
}

impl Directory {
    /// At `path`, which need not exist.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path: Arc::new(path),
            last: Arc::default(),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn offer(&self) -> PathBuf {
        self.path.join("offer.json")
    }

    pub(super) fn answer(&self) -> PathBuf {
        self.path.join("answer.json")
    }

    fn bye(&self) -> PathBuf {
        self.path.join("bye.json")
    }

    /// Makes it ready for a new call; an offerer gets its place.
    pub(super) fn prepare(&self, role: Role) -> Result<Option<Published>, SignallingError> {
        fs::create_dir_all(self.path()).map_err(|source| SignallingError::Write {
            what: format!(
                "{} cannot be created: set location to a directory that this user can write",
                self.path.display()
            ),
            source: source.into(),
        })?;
        access(self.path(), Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| self.write_error(self.path(), error.into()))?;
        match role {
            Role::Offerer => {
                self.await_place()?;
                // The offer first: what else is there tells that it is used up.
                self.remove(&self.offer())?;
                let lock = self.take_place()?;
                for name in ["offer.json", "bye.json", MARKER] {
                    self.remove_temporaries(name);
                }
                self.remove(&self.answer())?;
                self.remove(&self.bye())?;
                Ok(Some(Published {
                    directory: self.clone(),
                    text: None,
                    lock,
                }))
            }
            Role::Answerer => {
                self.remove_temporaries("answer.json");
                if !self.offer().exists() {
                    self.remove(&self.answer())?;
                    self.remove(&self.bye())?;
                }
                Ok(None)
            }
        }
    }

    /// Reads all files, as they were together; `choosing`: who waits for an offer wants to know
    /// whether its offerer is alive.
    pub(super) fn scan(&self, choosing: bool) -> Result<Snapshot, SignallingError> {
        /// Nobody changes files that often.
        const ATTEMPTS: u32 = 10;
        let mut snapshot = self.scan_once(choosing)?;
        for _ in 0..ATTEMPTS {
            // Who begins a new call removes the old offer before the rest: as long as the offer
            // is there, what was read beside it belongs to it.
            let offer = self.read(&self.offer())?;
            if offer == snapshot.offer {
                return Ok(snapshot);
            }
            snapshot = self.scan_once(choosing)?;
        }
        snapshot.offer = None;
        Ok(snapshot)
    }

    fn scan_once(&self, choosing: bool) -> Result<Snapshot, SignallingError> {
        let offer = self.read(&self.offer())?;
        let to_check = offer.as_ref().filter(|_| choosing);
        let abandoned = to_check.is_some_and(|offer| self.is_abandoned(offer));
        Ok(Snapshot {
            offer,
            abandoned,
            answer: self.read(&self.answer())?,
            bye: self.read(&self.bye())?,
        })
    }

    /// Removes what a used offer left beside the one that was taken up.
    pub(super) fn remove_old(&self, snapshot: &Snapshot) -> Result<(), SignallingError> {
        if snapshot.answer.is_some() {
            self.remove(&self.answer())?;
        }
        if snapshot.bye.is_some() {
            self.remove(&self.bye())?;
        }
        Ok(())
    }

    pub(super) fn remove_bye(&self) -> Result<(), SignallingError> {
        self.remove(&self.bye())
    }

    /// Says bye, if `offer` is still the offer in the directory.
    pub(super) fn write_bye(&self, offer: &str, text: &str) -> Result<(), SignallingError> {
        match self.read(&self.offer())? {
            Some(seen) if seen.text == offer => self.write(&self.bye(), text),
            _ => Ok(()),
        }
    }

    /// Writes a whole file at once.
    pub(super) fn write(&self, path: &Path, text: &str) -> Result<(), SignallingError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = self.temporary(&name);
        let write = || {
            let mut file = create(&temporary)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&temporary, path)
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&temporary);
            self.write_error(path, source)
        })
    }

    fn temporary(&self, name: &str) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (before, after) = TEMPORARY;
        let process = std::process::id();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        self.path
            .join(format!("{before}{name}.{process}-{count}{after}"))
    }

    fn write_error(&self, path: &Path, source: io::Error) -> SignallingError {
        SignallingError::Write {
            what: format!(
                "{} cannot be written: set location to a directory that this user can write, \
                 on a disk with room",
                path.display()
            ),
            source: source.into(),
        }
    }

    /// A regular file; a pipe or a device of that name would block.
    fn read(&self, path: &Path) -> Result<Option<Seen>, SignallingError> {
        let read = || {
            let now = fs::metadata(path)?;
            if let Some((_, seen)) = self.last().iter().find(|(of, _)| of == path)
                && seen.is_unchanged(&now)
            {
                return Ok(seen.clone());
            }
            let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("it is not a file"));
            }
            let mut bytes = Vec::new();
            let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
            file.take(limit).read_to_end(&mut bytes)?;
            Ok(Seen {
                text: String::from_utf8_lossy(&bytes).into_owned(),
                arrived: arrived(&metadata),
                inode: metadata.ino(),
                size: metadata.size(),
            })
        };
        match read() {
            Ok(seen) => {
                let mut last = self.last();
                last.retain(|(of, _)| of != path);
                last.push((path.to_owned(), seen.clone()));
                Ok(Some(seen))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // Replaced while it was read, on a network file system.
            Err(error) if error.raw_os_error() == Some(Errno::STALE.raw_os_error()) => Ok(None),
            Err(source) => Err(SignallingError::Read {
                what: format!(
                    "{} cannot be read: make it readable for this user, or remove it",
                    path.display()
                ),
                source: source.into(),
            }),
        }
    }

    fn last(&self) -> MutexGuard<'_, Vec<(PathBuf, Seen)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, path: &Path) -> Result<(), SignallingError> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(SignallingError::Write {
                    what: format!(
                        "{}, of an earlier call, cannot be removed: remove it, \
                         or set location to another directory",
                        path.display()
                    ),
                    source: source.into(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Removes what a process that was killed while writing left.
    fn remove_temporaries(&self, name: &str) {
        let (before, after) = TEMPORARY;
        let before = format!("{before}{name}.");
        for entry in fs::read_dir(self.path()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&before) && name.ends_with(after) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Waits until the offerer of the last call, if it lives, is done.
    fn await_place(&self) -> Result<(), SignallingError> {
        /// What it gets to finish.
        const PATIENCE: Duration = Duration::from_secs(1);
        const PAUSE: Duration = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while let Ok(marker) = File::open(self.path.join(MARKER))
            && flock(&marker, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
        {
            if waited >= PATIENCE {
                return Err(SignallingError::Settings(format!(
                    "another offerer uses {}: set role=answer on one of the two, \
                     or give each call a directory of its own",
                    self.path.display()
                )));
            }
            std::thread::sleep(PAUSE);
            waited += PAUSE;
        }
        Ok(())
    }

    /// Puts up a marker of our own, which nobody else ever locks for writing. `None` on a file
    /// system without locks: then an offer whose offerer was killed before it was answered
    /// cannot be told from a fresh one.
    fn take_place(&self) -> Result<Option<File>, SignallingError> {
        let path = self.path.join(MARKER);
        let temporary = self.temporary(MARKER);
        let failed = |source| self.write_error(&path, source);
        let file = create(&temporary).map_err(failed)?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            log::info!("file: no locks in {}: {error}", self.path.display());
            let _ = fs::remove_file(&temporary);
            self.remove(&path)?;
            return Ok(None);
        }
        fs::rename(&temporary, &path).map_err(failed)?;
        Ok(Some(file))
    }

    fn is_abandoned(&self, offer: &Seen) -> bool {
        let path = self.path.join(MARKER);
        // Without a readable marker the offer is a foreign one.
        let Ok(Some(marker)) = self.read(&path) else {
            return false;
        };
        let Ok(file) = File::open(&path) else {
            return false;
        };
        // The lock goes with the file at the end of this function.
        marker.text == offer.text && flock(&file, FlockOperation::NonBlockingLockShared).is_ok()
    }
}

/// An offerer's files; removed when it goes.
pub(super) struct Published {
    directory: Directory,
    /// Of `offer.json`, once written.
    text: Option<String>,
    lock: Option<File>,
}

impl Published {
    /// What we wrote as offer.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Writes the offer.
    pub(super) fn publish(&mut self, text: &str) -> Result<(), SignallingError> {
        let directory = &self.directory;
        if let Some(marker) = &mut self.lock {
            // Without its copy, the offer is like a foreign one.
            let _ = marker
                .set_len(0)
                .and_then(|()| marker.rewind())
                .and_then(|()| marker.write_all(text.as_bytes()));
        }
        // What a late answerer of an earlier call wrote since our start.
        directory.remove(&directory.answer())?;
        directory.remove(&directory.bye())?;
        directory.write(&directory.offer(), text)?;
        self.text = Some(text.to_owned());
        Ok(())
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let directory = &self.directory;
        if let Some(text) = &self.text
            && let Ok(Some(offer)) = directory.read(&directory.offer())
            && offer.text == *text
        {
            // The offer first: alone, it would look unanswered.
            let _ = fs::remove_file(directory.offer());
            let _ = fs::remove_file(directory.answer());
        }
        if self.lock.is_some() {
            let _ = fs::remove_file(directory.path.join(MARKER));
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}
