//! Sending the bytes that containers append to their result files to the Director.
//!
//! The volumes with the results are mounted below one directory, read-only. Containers control their content, and may change it
//! at any time: `scan` never leaves a volume, and all numbers are bounded. Every body waits for its answer, so that nothing
//! accumulates in memory: a Director that is slow, or down, delays the next read.

mod scan;
mod streams;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use atq_node_protocol::order::Tail;
use atq_node_protocol::outcome::CarrierOutcome;
use atq_node_protocol::tail::{
    Answer, Header, MAX_BYTES, MAX_PARTS, MAX_PROBLEM, Part, Renames, SourceProblem, encode,
};
use atq_retry::{Backoff, Pauses};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::Args;
use crate::http::Director;
use crate::problem::{Problem, reason};
use scan::Root;
use streams::{Piece, Streams};

/// Maximum number of open files of all containers together.
const MAX_OPEN_FILES: usize = 2048;
/// Maximum number of bytes of all problems in a body together, which the containers with problems share.
const MAX_PROBLEMS: usize = 64 * 1024;
/// A file gets at least this many bytes of a body, however many files have more.
const MIN_SHARE: usize = 16 * 1024;
/// Bodies without bytes are sent this often, so that the Director knows that nothing is missing.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// The Director stores the bytes before it answers.
const POST_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses after a failed request. A Director that restarts refuses connections and tokens for seconds.
const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(5),
};
/// Statuses of bodies that the Director never accepts.
const INVALID: [u16; 2] = [400, 413];

/// Sends appended bytes until the process is ended.
///
/// # Errors
/// When the URL cannot be used, or the Director does not understand this carrier.
pub fn run(args: &Args, order: &Tail) -> Result<CarrierOutcome, Problem> {
    raise_open_files();
    // The deadline is too far away to have an effect.
    let director = Director::at(
        &order.url,
        order.certificate.as_deref(),
        args,
        Instant::now() + Duration::from_secs(1 << 32),
    )?;
    let path = format!("{}/tail", order.run);
    let interval = Duration::from_millis(order.interval_ms.clamp(50, 60_000));
    let mut follower = Follower::new(args.results_dir.clone(), &order.sources);
    let mut backoff = Backoff::new(PAUSES);
    let mut next_look = Instant::now();
    let mut last_sent: Option<Instant> = None;
    loop {
        if Instant::now() >= next_look {
            follower.look();
            next_look = Instant::now() + interval;
        }
        let body = follower.next_body();
        let is_due = last_sent.is_none_or(|sent| sent.elapsed() >= IDLE_INTERVAL);
        if body.is_idle() && !is_due {
            sleep_until(next_look);
            continue;
        }
        match send(&director, &path, &body) {
            Ok(answer) => {
                backoff.reset();
                last_sent = Some(Instant::now());
                if !follower.apply(&body, &answer) {
                    sleep_until(next_look);
                }
            }
            Err(problem) if problem.is_temporary() => {
                eprintln!("{problem}");
                thread::sleep(backoff.next_pause());
            }
            Err(problem) => return Err(problem),
        }
    }
}

fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}

/// Sends a body. Its problem is permanent only if the Director does not understand it.
fn send(director: &Director, path: &str, body: &Body) -> Result<Answer, Problem> {
    let bytes = encode(&body.header, &body.bytes);
    let sent = director.exchange(path, &bytes, POST_TIMEOUT);
    let (status, text) = sent.map_err(|problem| Problem::temporary(problem.to_string()))?;
    if !(200..300).contains(&status) {
        let text = String::from_utf8_lossy(&text);
        let text = format!(
            "the Director answered {status}: {}",
            text.trim().escape_debug()
        );
        return Err(Problem::new(text, !INVALID.contains(&status)));
    }
    let answer: Answer = serde_json::from_slice(&text)
        .map_err(|e| Problem::permanent(format!("invalid answer of the Director: {e}")))?;
    match answer.parts.len() == body.header.parts.len() {
        true => Ok(answer),
        false => Err(Problem::permanent(
            "invalid answer of the Director: it has another number of parts",
        )),
    }
}

/// Raises the number of files that may be open to what is allowed. A lower number limits how many are followed.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("cannot raise the number of open files: {error}");
    }
}

/// The files of all containers.
struct Follower {
    dir: PathBuf,
    sources: Vec<Source>,
    /// Number of pieces that were sent. It determines whose turn is next.
    turn: usize,
    /// The Director that has answered last.
    instance: Option<String>,
    /// Start of the ids of renames, which no other carrier uses.
    own: String,
}

/// A container.
struct Source {
    name: String,
    root: Option<Root>,
    streams: Streams,
    /// Whether the last listing succeeded.
    is_listed: bool,
    problem: Option<String>,
    /// The problem of the last body that the Director has answered.
    told: Option<SourceProblem>,
}

/// A body, and the origin of each of its parts.
struct Body {
    header: Header,
    bytes: Vec<u8>,
    /// For each part, the index of its container, and the piece.
    pieces: Vec<(usize, Piece)>,
    /// The problem of each container.
    problems: Vec<Option<SourceProblem>>,
    /// Whether the Director does not know one of the problems yet.
    has_news: bool,
}

impl Body {
    /// Whether it only reports that nothing was appended.
    fn is_idle(&self) -> bool {
        self.header.parts.is_empty() && self.header.renames.is_none() && !self.has_news
    }
}

impl Follower {
    fn new(dir: PathBuf, sources: &[String]) -> Self {
        let source = |name: &String| Source {
            name: name.clone(),
            root: None,
            streams: Streams::default(),
            is_listed: false,
            problem: None,
            told: None,
        };
        Self {
            dir,
            sources: sources.iter().map(source).collect(),
            turn: 0,
            instance: None,
            own: unique(),
        }
    }

    /// Looks for new, grown, truncated and deleted files.
    fn look(&mut self) {
        let opened = self.sources.iter().map(|one| one.streams.open_files());
        let mut left = MAX_OPEN_FILES.saturating_sub(opened.sum());
        for source in &mut self.sources {
            let before = source.streams.open_files();
            source.look(&self.dir, before + left);
            let now = source.streams.open_files();
            left = (left + before).saturating_sub(now);
        }
    }

    /// The next bytes, at most [`MAX_BYTES`], in turns between the files.
    fn next_body(&mut self) -> Body {
        if let Some(renames) = self.sources.iter().find_map(|one| self.renames_of(one)) {
            return self.body_of(renames);
        }
        let mut pending = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            pending.extend(source.streams.pending().into_iter().map(|id| (index, id)));
        }
        if !pending.is_empty() {
            let next = self.turn % pending.len();
            pending.rotate_left(next);
        }
        let share = (MAX_BYTES / pending.len().max(1)).max(MIN_SHARE);
        let mut bytes = Vec::new();
        let mut pieces = Vec::new();
        for (index, id) in pending {
            let left = MAX_BYTES - bytes.len();
            if left == 0 || pieces.len() == MAX_PARTS {
                break;
            }
            let streams = &mut self.sources[index].streams;
            let piece = streams.read(id, share.min(left), &mut bytes);
            pieces.extend(piece.map(|piece| (index, piece)));
        }
        self.turn = self.turn.wrapping_add(pieces.len());
        let problems = self.problems();
        Body {
            header: self.header(&pieces, &problems),
            bytes,
            pieces,
            has_news: self.has_news(&problems),
            problems,
        }
    }

    fn renames_of(&self, source: &Source) -> Option<Renames> {
        let pending = source.streams.renames()?;
        Some(Renames {
            source: source.name.clone(),
            id: format!("{}.{}", self.own, pending.number),
            paths: pending.paths.clone(),
        })
    }

    /// A body with renames, and nothing else.
    fn body_of(&self, renames: Renames) -> Body {
        Body {
            header: Header {
                renames: Some(renames),
                instance: self.instance.clone(),
                ..Header::default()
            },
            bytes: Vec::new(),
            pieces: Vec::new(),
            problems: self.sources.iter().map(|one| one.told.clone()).collect(),
            has_news: false,
        }
    }

    fn header(&self, pieces: &[(usize, Piece)], problems: &[Option<SourceProblem>]) -> Header {
        let part = |(index, piece): &(usize, Piece)| Part {
            source: self.sources[*index].name.clone(),
            path: piece.path.clone(),
            generation: piece.generation,
            offset: piece.offset,
            length: piece.length,
        };
        let of_source = |wanted: usize| -> Vec<Piece> {
            let own = pieces.iter().filter(|(index, _)| *index == wanted);
            own.map(|(_, piece)| piece.clone()).collect()
        };
        let all = || self.sources.iter().enumerate();
        let up_to_date = all().filter(|(index, source)| {
            source.is_listed && source.streams.is_complete_with(&of_source(*index))
        });
        Header {
            parts: pieces.iter().map(part).collect(),
            up_to_date: up_to_date.map(|(_, source)| source.name.clone()).collect(),
            problems: problems.iter().flatten().cloned().collect(),
            instance: self.instance.clone(),
            renames: None,
        }
    }

    /// The problem of each container: one that is reported as up to date without a problem has none.
    fn problems(&self) -> Vec<Option<SourceProblem>> {
        let having = self.sources.iter().filter(|one| one.problem.is_some());
        let longest = MAX_PROBLEMS / having.count().max(1);
        let problem = |source: &Source| {
            Some(SourceProblem {
                source: source.name.clone(),
                problem: shorten(source.problem.as_deref()?, longest.min(MAX_PROBLEM)),
                is_unread: !source.is_listed,
            })
        };
        self.sources.iter().map(problem).collect()
    }

    fn has_news(&self, problems: &[Option<SourceProblem>]) -> bool {
        let mut known = self.sources.iter().map(|source| &source.told);
        // That a problem is over is no news: the next body without bytes reports it.
        problems
            .iter()
            .any(|problem| known.next() != Some(problem) && problem.is_some())
    }

    /// Continues each file according to the answer. Returns whether this is progress.
    fn apply(&mut self, body: &Body, answer: &Answer) -> bool {
        for (source, told) in self.sources.iter_mut().zip(&body.problems) {
            source.told.clone_from(told);
        }
        self.recognize(answer);
        if let (Some(renames), true) = (&body.header.renames, answer.renamed) {
            self.renamed(renames);
        }
        let mut has_progressed = answer.renamed;
        for ((index, piece), outcome) in body.pieces.iter().zip(&answer.parts) {
            let streams = &mut self.sources[*index].streams;
            has_progressed |= streams.apply(piece, *outcome);
        }
        has_progressed
    }
}

impl Follower {
    /// Forgets the answers of another Director: it may accept files that the earlier one has ignored.
    fn recognize(&mut self, answer: &Answer) {
        if answer.instance.is_none() || answer.instance == self.instance {
            return;
        }
        self.instance.clone_from(&answer.instance);
        for source in &mut self.sources {
            source.streams.forget_ignored();
            source.told = None;
            // The ignored files are found at the next look.
            source.is_listed = false;
        }
    }

    fn renamed(&mut self, renames: &Renames) {
        let own = format!("{}.", self.own);
        let number = renames.id.strip_prefix(&own);
        let number = number.and_then(|number| number.parse().ok());
        let mut sources = self.sources.iter_mut();
        let source = sources.find(|source| source.name == renames.source);
        if let (Some(source), Some(number)) = (source, number) {
            source.streams.renamed(number);
        }
    }
}

/// The time in nanoseconds, and the process.
fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.unwrap_or_default().as_nanos();
    format!("{nanos}-{}", std::process::id())
}

impl Source {
    /// Looks at its files; at most `budget` of them may be open.
    fn look(&mut self, dir: &std::path::Path, budget: usize) {
        let listed = self.list(dir, budget);
        self.is_listed = listed.is_ok();
        self.problem = match listed {
            Ok(problem) => problem.or_else(|| self.streams.problem().map(str::to_owned)),
            Err(error) => Some(format!("its results cannot be read: {}", reason(&error))),
        };
    }

    /// Returns the reason why some files are not listed.
    fn list(&mut self, dir: &std::path::Path, budget: usize) -> std::io::Result<Option<String>> {
        let root = match self.root.take() {
            Some(root) => root,
            None => Root::open(&dir.join(&self.name))?,
        };
        let root = self.root.insert(root);
        let listing = root.list()?;
        self.streams
            .update(&listing, budget, |found| root.open_file(found));
        Ok(listing.problem)
    }
}

/// The start of a text, at most `longest` bytes.
fn shorten(text: &str, longest: usize) -> String {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests;
