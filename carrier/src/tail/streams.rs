//! The followed files of a container, and the next bytes of each.
//!
//! A file is identified by its inode, so that a renamed file is the same file: the Director is told its new path before anything
//! else of the container is sent. A new file under the path of one that is not listed any more has the next generation of this
//! path, and waits until everything of the other one is sent; what is appended to the other one later is not followed. A
//! truncated file begins again with the next generation. A file that is replaced or truncated and then grows beyond the sent
//! part between two looks is noticed only if its inode has changed.
//!
//! A file stays open while it is followed: nobody else gets its inode, and what was written before it was deleted is still
//! sent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use atq_node_protocol::tail::{MAX_HEADER, MAX_RENAMES, Outcome, Renamed};

use super::scan::{FileId, Found, Listing, Status, status};

/// Maximum number of files of a container that are followed at the same time.
pub const MAX_FILES: usize = 256;
/// Maximum number of paths of a container whose generations are remembered.
const MAX_PATHS: usize = 4096;

/// The files of one container.
#[derive(Debug, Default)]
pub struct Streams {
    all: Vec<Stream>,
    /// Files of which the Director accepts no more bytes, and their generations. They are closed, and need no place among the
    /// followed ones.
    ignored: BTreeMap<Found, u64>,
    /// The last generation of each path.
    generations: HashMap<String, u64>,
    /// Renames that the Director has not confirmed.
    renames: Option<PendingRenames>,
    /// Number of all renames.
    renamed: u64,
    /// Whether files wait for a place.
    is_full: bool,
    /// Whether a new file waits for the next look, which may find the one that had its path before.
    waits: bool,
    /// The reason why some bytes are not followed.
    problem: Option<String>,
}

/// Files that have other paths now, all at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRenames {
    /// Number of these renames.
    pub number: u64,
    /// The paths.
    pub paths: Vec<Renamed>,
}

#[derive(Debug)]
struct Stream {
    id: FileId,
    file: File,
    path: String,
    generation: u64,
    /// Position of the next byte to send.
    offset: u64,
    /// Size when it was last looked at.
    size: u64,
    /// Whether the Director has received something of this generation.
    begun: bool,
    /// Whether the last listing had it under no path.
    is_missed: bool,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Followed,
    /// Another file has its path, and was begun.
    Replaced,
}

/// Bytes of a file to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file.
    pub id: FileId,
    /// Its path.
    pub path: String,
    /// Its generation.
    pub generation: u64,
    /// Position of the first byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Stream {
    /// Whether something of it is to be sent. The Director is told that a path has a new generation also if it is empty.
    fn has_more(&self) -> bool {
        let is_new_generation = self.generation > 0 && !self.begun;
        self.phase == Phase::Followed && (self.offset < self.size || is_new_generation)
    }

    fn begin_again(&mut self, generation: u64) {
        self.generation = generation;
        self.offset = 0;
        self.begun = false;
    }
}

impl Streams {
    /// Compares the files with a new listing. Opens new files with `open`, at most `budget` in total.
    pub fn update(
        &mut self,
        listing: &Listing,
        budget: usize,
        mut open: impl FnMut(&Found) -> io::Result<Option<File>>,
    ) {
        self.look_at_open_files();
        if self.renames.is_some() {
            // The Director confirms one change of paths after the other.
            return;
        }
        self.rename(listing);
        (self.is_full, self.waits) = (false, false);
        self.ignored
            .retain(|found, _| listing.files.binary_search(found).is_ok());
        let ignored: HashSet<FileId> = self.ignored.keys().map(|found| found.id).collect();
        for found in &listing.files {
            let is_known = self.all.iter().any(|stream| stream.id == found.id);
            if is_known || ignored.contains(&found.id) {
                continue;
            }
            if self.may_be_renamed(&found.path) {
                self.waits = true;
                continue;
            }
            if self.all.len() >= MAX_FILES.min(budget) {
                self.is_full = true;
                break;
            }
            match open(found) {
                Ok(Some(file)) => self.follow(found, file),
                Ok(None) => {}
                Err(error) => {
                    let reason = crate::problem::reason(&error);
                    self.note(format!("`{}` cannot be opened: {reason}", found.path));
                }
            }
        }
        let listed: HashSet<FileId> = listing.files.iter().map(|found| found.id).collect();
        for stream in &mut self.all {
            stream.is_missed = !listed.contains(&stream.id);
        }
    }

    /// Whether the file with this path may have another one that was not listed: a listing takes time. It has when the next
    /// listing has it, and was moved away if not.
    fn may_be_renamed(&self, path: &str) -> bool {
        self.all.iter().any(|stream| {
            let is_first = !stream.is_missed && stream.phase == Phase::Followed;
            let is_deleted = || status(&stream.file).is_ok_and(|status| status.is_deleted);
            is_first && stream.path == path && !is_deleted()
        })
    }

    /// Notices files that have other paths now.
    fn rename(&mut self, listing: &Listing) {
        let mut names: HashMap<FileId, Vec<&String>> = HashMap::new();
        for found in &listing.files {
            names.entry(found.id).or_default().push(&found.path);
        }
        let new_path = |stream: &Stream| -> Option<String> {
            let names = names.get(&stream.id)?;
            let is_renamed = !names.contains(&&stream.path);
            is_renamed.then(|| names.first().map(|path| (*path).clone()))?
        };
        let moved = self
            .all
            .iter()
            .filter_map(|stream| Some((stream.id, new_path(stream)?)));
        let moved: HashMap<FileId, String> = moved.collect();
        if moved.is_empty() {
            return;
        }
        // What the Director has under a path is that of one file; others begin again under their new path.
        let holders = self.all.iter().filter(|stream| self.is_holder(stream));
        let holders: HashSet<FileId> = holders.map(|stream| stream.id).collect();
        let paths = self
            .all
            .iter()
            .filter(|stream| holders.contains(&stream.id));
        let paths = paths.filter_map(|stream| {
            Some(Renamed {
                from: stream.path.clone(),
                to: moved.get(&stream.id)?.clone(),
            })
        });
        let paths: Vec<Renamed> = paths.collect();
        if !fits(&paths) {
            return self.note("too many files were renamed at the same time".to_owned());
        }
        let taken: HashSet<&String> = moved.values().collect();
        self.all
            .retain(|stream| match moved.contains_key(&stream.id) {
                true => holders.contains(&stream.id),
                // Another file has its path.
                false => !taken.contains(&stream.path),
            });
        for Renamed { from, to } in &paths {
            self.generations.remove(from);
            self.generations.remove(to);
        }
        for stream in &mut self.all {
            if let Some(path) = moved.get(&stream.id) {
                stream.path.clone_from(path);
            }
            let last = self.generations.entry(stream.path.clone()).or_default();
            *last = stream.generation.max(*last);
        }
        if !paths.is_empty() {
            self.renamed += 1;
            self.renames = Some(PendingRenames {
                number: self.renamed,
                paths,
            });
        }
    }

    /// Whether what the Director has under its path is that of this file.
    fn is_holder(&self, stream: &Stream) -> bool {
        let mut others = self.all.iter().filter(|other| other.path == stream.path);
        stream.phase == Phase::Followed
            && !others
                .any(|other| other.phase == Phase::Followed && other.generation < stream.generation)
    }

    /// Renames that the Director has not confirmed. They come before everything else.
    pub fn renames(&self) -> Option<&PendingRenames> {
        self.renames.as_ref()
    }

    /// The Director has confirmed these renames.
    pub fn renamed(&mut self, number: u64) {
        self.renames.take_if(|pending| pending.number == number);
    }

    /// Sends ignored files again: another Director may accept them.
    pub fn forget_ignored(&mut self) {
        for (found, generation) in std::mem::take(&mut self.ignored) {
            // They are the same generation then, unless another file has their path.
            if self.generations.get(&found.path) == Some(&generation) {
                match generation.checked_sub(1) {
                    Some(before) => self.generations.insert(found.path, before),
                    None => self.generations.remove(&found.path),
                };
            }
        }
    }

    /// Notices growth, truncation and deletion.
    fn look_at_open_files(&mut self) {
        let mut truncated = Vec::new();
        let mut late = None;
        self.all.retain_mut(|stream| {
            let Ok(Status { size, is_deleted }) = status(&stream.file) else {
                return false;
            };
            let is_shorter = size < stream.offset && stream.phase == Phase::Followed;
            if is_shorter {
                truncated.push(stream.id);
            }
            if stream.phase == Phase::Replaced && size > stream.size {
                late = Some(stream.path.clone());
            }
            stream.size = size;
            !is_deleted || is_shorter || stream.has_more()
        });
        for id in truncated {
            let Some(path) = self.find(id).map(|stream| stream.path.clone()) else {
                continue;
            };
            let generation = self.next_generation(&path);
            if let Some(stream) = self.find(id) {
                stream.begin_again(generation);
            }
        }
        if let Some(path) = late {
            self.note(format!(
                "`{path}` was replaced, and the old file still grows; that is not followed"
            ));
        }
    }

    fn follow(&mut self, found: &Found, file: File) {
        let is_known = self.generations.contains_key(&found.path);
        if !is_known && self.generations.len() >= MAX_PATHS {
            self.note("there were too many files; new ones are not followed".to_owned());
            return;
        }
        let Ok(Status { size, .. }) = status(&file) else {
            return;
        };
        let generation = self.next_generation(&found.path);
        self.all.push(Stream {
            id: found.id,
            file,
            path: found.path.clone(),
            generation,
            offset: 0,
            size,
            begun: false,
            is_missed: false,
            phase: Phase::Followed,
        });
    }

    fn next_generation(&mut self, path: &str) -> u64 {
        match self.generations.get_mut(path) {
            Some(last) => {
                *last += 1;
                *last
            }
            None => {
                self.generations.insert(path.to_owned(), 0);
                0
            }
        }
    }

    fn find(&mut self, id: FileId) -> Option<&mut Stream> {
        self.all.iter_mut().find(|stream| stream.id == id)
    }

    /// Keeps the first problem.
    fn note(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// Number of open files.
    pub fn open_files(&self) -> usize {
        self.all.len()
    }

    /// The reason why some bytes are not followed.
    pub fn problem(&self) -> Option<&str> {
        let is_full = "there are too many files; some are not followed";
        self.problem
            .as_deref()
            .or_else(|| self.is_full.then_some(is_full))
    }

    /// The files of which something is to be sent now.
    pub fn pending(&self) -> Vec<FileId> {
        let pending = self
            .all
            .iter()
            .filter(|stream| stream.has_more() && !self.waits_for_another(stream));
        pending.map(|stream| stream.id).collect()
    }

    /// Whether an earlier file with the same path is not sent completely.
    fn waits_for_another(&self, stream: &Stream) -> bool {
        stream.generation > 0
            && self.all.iter().any(|other| {
                other.path == stream.path
                    && other.generation < stream.generation
                    && other.has_more()
            })
    }

    /// Whether nothing is left after these pieces, which are not sent yet.
    pub fn is_complete_with(&self, pieces: &[Piece]) -> bool {
        let is_listed = self.renames.is_none() && !self.waits;
        is_listed
            && self.all.iter().all(|stream| {
                let piece = pieces.iter().find(|piece| piece.id == stream.id);
                match piece {
                    Some(piece) => piece.offset + piece.length >= stream.size,
                    None => !stream.has_more(),
                }
            })
    }

    /// Appends the next bytes of a file to `buffer`, at most `longest`. `None` if there are none, or they cannot be read.
    pub fn read(&mut self, id: FileId, longest: usize, buffer: &mut Vec<u8>) -> Option<Piece> {
        let stream = self.find(id)?;
        let left = usize::try_from(stream.size.saturating_sub(stream.offset)).unwrap_or(usize::MAX);
        let start = buffer.len();
        buffer.resize(start + left.min(longest), 0);
        let (read, problem) = read_at(&stream.file, &mut buffer[start..], stream.offset);
        buffer.truncate(start + read);
        let piece = Piece {
            id,
            path: stream.path.clone(),
            generation: stream.generation,
            offset: stream.offset,
            length: read as u64,
        };
        // A file that was truncated meanwhile has another size at the next look.
        let has_piece = read > 0 || (left == 0 && stream.has_more());
        if let Some(error) = problem {
            let reason = crate::problem::reason(&error);
            self.note(format!("`{}` cannot be read: {reason}", piece.path));
        }
        has_piece.then_some(piece)
    }

    /// Continues a file according to the outcome of a piece. Returns whether this is progress.
    pub fn apply(&mut self, piece: &Piece, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Accepted => self.accepted(piece),
            Outcome::Ignored => {
                self.all.retain(|stream| stream.id != piece.id);
                let found = Found {
                    path: piece.path.clone(),
                    id: piece.id,
                };
                self.ignored.insert(found, piece.generation);
            }
            Outcome::NotStored => return false,
            Outcome::ResumeAt { generation, bytes } => {
                self.resume(piece, generation, bytes);
                return false;
            }
        }
        true
    }

    fn accepted(&mut self, piece: &Piece) {
        for stream in &mut self.all {
            if stream.id == piece.id {
                stream.offset = piece.offset + piece.length;
                stream.begun = true;
            } else if stream.path == piece.path
                && stream.generation < piece.generation
                && stream.phase == Phase::Followed
            {
                stream.phase = Phase::Replaced;
            }
        }
    }

    /// Continues where the received part ends: after a restart of the Director or of this carrier.
    fn resume(&mut self, piece: &Piece, received: u64, bytes: u64) {
        let has_successor = self
            .all
            .iter()
            .any(|other| other.path == piece.path && other.generation > piece.generation);
        let last = self.generations.get(&piece.path).copied();
        let Some(stream) = self.find(piece.id) else {
            return;
        };
        let is_shorter = bytes > stream.size;
        let generation = if received > piece.generation && has_successor {
            stream.phase = Phase::Replaced;
            return;
        } else if received < piece.generation && piece.offset > 0 {
            // This generation is not received at all.
            stream.begin_again(piece.generation);
            return;
        } else if received < piece.generation {
            stream.begin_again(received + 1);
            received + 1
        } else if is_shorter {
            // It was truncated or replaced while nothing followed it.
            let next = received.max(last.unwrap_or_default()) + 1;
            stream.begin_again(next);
            next
        } else {
            stream.generation = received;
            stream.offset = bytes;
            stream.begun = true;
            received
        };
        let last = self.generations.entry(piece.path.clone()).or_default();
        if !has_successor {
            *last = generation;
        }
    }
}

/// Whether these renames fit into a header, also if all their characters are escaped.
fn fits(paths: &[Renamed]) -> bool {
    let length = |renamed: &Renamed| 2 * (renamed.from.len() + renamed.to.len()) + 32;
    let length: usize = paths.iter().map(length).sum();
    paths.len() <= MAX_RENAMES && length <= MAX_HEADER - 4096
}

/// Reads until the buffer is full or the file ends; returns the number of bytes.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> (usize, Option<io::Error>) {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (read, Some(error)),
        }
    }
    (read, None)
}
