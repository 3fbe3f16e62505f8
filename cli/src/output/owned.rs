//! A directory that may contain files of other programs. This program replaces and removes only its own files, which are
//! listed in `.atq-files` in the format of `sha256sum`. A file that was modified since, a link and a directory count as
//! foreign.

use super::draft::{Draft, digest_of};
use super::write_error;
use crate::error::CliError;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

#[cfg(test)]
mod tests;

/// Name of the list.
pub const LIST: &str = ".atq-files";
/// Maximum length of a name in bytes, as in nearly all file systems.
const MAX_NAME_LENGTH: usize = 255;

/// A relative path that stays within the directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Parses a name.
    ///
    /// # Errors
    /// The reason, when the name is invalid or leads out of the directory.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('\0') {
            return Err("has a NUL character in its name");
        }
        let mut parts = Vec::new();
        for component in Path::new(text).components() {
            match component {
                Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
                Component::CurDir => {}
                Component::ParentDir => return Err("leads out of the archive by `..`"),
                Component::RootDir | Component::Prefix(_) => return Err("has an absolute name"),
            }
        }
        match parts.is_empty() {
            true => Err("has an empty name"),
            false => Ok(Self(parts.join("/"))),
        }
    }

    /// The path, with `/` as separator.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below the directory `dir`.
    #[must_use]
    pub fn below(&self, dir: &str) -> Self {
        Self(format!("{dir}/{}", self.0))
    }
}

/// The current object at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occupant {
    Nothing,
    /// A file that this program wrote earlier, unmodified.
    Own,
    Foreign,
}

/// The final name of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The name; differs from the requested one if that was taken.
    pub name: String,
    /// Whether a file of this program was replaced.
    pub replaced: bool,
}

/// A directory with its list.
#[derive(Debug)]
pub struct Owned {
    dir: PathBuf,
    /// Digests of the files on the list.
    files: BTreeMap<String, String>,
    /// Files written since [`Self::open`], which no other file of the same archive may replace.
    written: BTreeSet<String>,
    /// Whether the last line of the list is incomplete.
    is_truncated: bool,
}

impl Owned {
    /// Opens a directory and reads its list, if there is one.
    ///
    /// # Errors
    /// When `.atq-files` exists but is not a valid list.
    pub fn open(dir: &Path) -> Result<Self, CliError> {
        let path = dir.join(LIST);
        let foreign = |why: String| {
            CliError::usage(
                format!(
                    "`{}` is not a valid list of files written by `atq`: {why}",
                    path.display()
                ),
                "remove it, or choose another directory",
            )
        };
        let text = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Ok(found) if found.is_file() => {
                fs::read_to_string(&path).map_err(|error| foreign(error.to_string()))?
            }
            Ok(_) => return Err(foreign("it is not a file".to_owned())),
            Err(error) => return Err(foreign(error.to_string())),
        };
        Ok(Self {
            dir: dir.to_owned(),
            files: parse(&text).map_err(foreign)?,
            written: BTreeSet::new(),
            is_truncated: !(text.is_empty() || text.ends_with('\n')),
        })
    }

    /// Checks that there is no foreign file at `name`.
    ///
    /// # Errors
    /// Names the foreign file.
    pub fn check_free(&self, name: &str) -> Result<(), CliError> {
        match self.occupant(name) {
            Occupant::Foreign => {
                Err(self.taken(name, "was not written by `atq`, or was modified since"))
            }
            Occupant::Nothing | Occupant::Own => Ok(()),
        }
    }

    /// Checks that `name` is absent or a writable directory.
    ///
    /// # Errors
    /// Names the path.
    pub fn check_writable_dir(&self, name: &str) -> Result<(), CliError> {
        let path = self.dir.join(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(found) if found.is_dir() => Draft::create_in(&path)
                .map(drop)
                .map_err(|error| self.taken(name, &format!("cannot be written: {error}"))),
            Ok(_) => Err(self.taken(name, "is not a directory")),
            Err(error) => Err(self.taken(name, &error.to_string())),
        }
    }

    fn taken(&self, name: &str, why: &str) -> CliError {
        CliError::usage(
            format!("`{}` {why}", self.dir.join(name).display()),
            "files of others are not overwritten: move it away, or choose another directory",
        )
    }

    /// Removes the selected files on the list, and directories that become empty.
    ///
    /// # Errors
    /// When a file cannot be removed, or the list cannot be written.
    pub fn clear(&mut self, is_selected: impl Fn(&str) -> bool) -> Result<(), CliError> {
        let listed: Vec<String> = self
            .files
            .keys()
            .filter(|name| is_selected(name))
            .cloned()
            .collect();
        let mut cleared = Ok(());
        for name in listed {
            if self.occupant(&name) == Occupant::Own {
                let path = self.dir.join(&name);
                if let Err(error) = fs::remove_file(&path) {
                    cleared = cleared.and(Err(write_error(&path)(error)));
                    continue;
                }
                self.remove_empty_parents(&name);
            }
            self.files.remove(&name);
        }
        cleared.and(self.store().map_err(write_error(&self.dir.join(LIST))))
    }

    /// Top-level directories stay, since the user may have created them.
    fn remove_empty_parents(&self, name: &str) {
        let parents = Path::new(name).ancestors().skip(1);
        for parent in parents.filter(|parent| parent.components().count() > 1) {
            if fs::remove_dir(self.dir.join(parent)).is_err() {
                return;
            }
        }
    }

    /// Rewrites the list.
    fn store(&self) -> io::Result<()> {
        let lines = self.files.iter().map(|(name, digest)| line(name, digest));
        let lines: String = lines.collect();
        Draft::with(&self.dir, lines.as_bytes())?.replace(&self.dir.join(LIST))
    }

    /// Adds a file to the list. Must precede moving the file, so that a crash leaves no unlisted file.
    fn record(&mut self, name: &str, digest: &str) -> io::Result<()> {
        let path = self.dir.join(LIST);
        if std::mem::take(&mut self.is_truncated) {
            self.store()?;
        }
        let mut list = OpenOptions::new().create(true).append(true).open(path)?;
        list.write_all(line(name, digest).as_bytes())?;
        self.files.insert(name.to_owned(), digest.to_owned());
        self.written.insert(name.to_owned());
        Ok(())
    }

    /// Adds a file that this program has written in another way.
    ///
    /// # Errors
    /// When the file cannot be read, or the list cannot be written.
    pub fn adopt(&mut self, name: &str) -> Result<(), CliError> {
        let path = self.dir.join(name);
        let recorded = digest_of(&path).and_then(|digest| self.record(name, &digest));
        recorded.map_err(write_error(&path))
    }

    /// Creates the directories of `name`, under other names if these are taken, and starts a file in the last one.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn begin(&mut self, name: &Name) -> Result<(Name, Draft), CliError> {
        let (parents, last) = match name.0.rsplit_once('/') {
            Some((parents, last)) => (self.make_dir(parents)?, last),
            None => (String::new(), name.0.as_str()),
        };
        let dir = self.dir.join(&parents);
        let draft = Draft::create_in(&dir).map_err(write_error(&dir))?;
        Ok((Name(join(&parents, last)), draft))
    }

    /// Creates a directory with its parents; returns its name.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn make_dir(&mut self, name: &str) -> Result<String, CliError> {
        let mut created = String::new();
        for part in name.split('/') {
            created = self.make_one(&join(&created, part))?;
        }
        Ok(created)
    }

    fn make_one(&mut self, wanted: &str) -> Result<String, CliError> {
        for name in names(wanted) {
            let path = self.dir.join(&name);
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                return Ok(name);
            }
            match self.occupant(&name) {
                Occupant::Foreign => continue,
                Occupant::Own => fs::remove_file(&path).map_err(write_error(&path))?,
                Occupant::Nothing => {}
            }
            fs::create_dir(&path).map_err(write_error(&path))?;
            return Ok(name);
        }
        Err(write_error(&self.dir.join(wanted))("no free name"))
    }

    /// Moves `draft`, from [`Self::begin`], to its name, or to another name if that is taken.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put(&mut self, name: &Name, draft: Draft) -> Result<Placed, CliError> {
        let digest = draft.digest();
        for candidate in names(&name.0) {
            let path = self.dir.join(&candidate);
            let occupant = self.occupant(&candidate);
            if occupant == Occupant::Foreign {
                if is_file_with(&path, &digest) {
                    // The same content exists already.
                    return Ok(placed(candidate, false));
                }
                continue;
            }
            let put = self
                .record(&candidate, &digest)
                .and_then(|()| match occupant {
                    Occupant::Own => draft.replace(&path),
                    _ => draft.place(&path),
                });
            put.map_err(write_error(&path))?;
            return Ok(placed(candidate, occupant == Occupant::Own));
        }
        Err(write_error(&self.dir.join(&name.0))("no free name"))
    }

    fn occupant(&self, name: &str) -> Occupant {
        // A path through a link is outside this directory.
        let mut above = Path::new(name).ancestors().skip(1);
        let leads_away = above.any(|dir| {
            let found = fs::symlink_metadata(self.dir.join(dir));
            !dir.as_os_str().is_empty() && found.is_ok_and(|found| !found.is_dir())
        });
        let path = self.dir.join(name);
        match fs::symlink_metadata(&path) {
            _ if leads_away => Occupant::Foreign,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Occupant::Nothing,
            _ if self.written.contains(name) => Occupant::Foreign,
            _ => match self.files.get(name) {
                Some(digest) if is_file_with(&path, digest) => Occupant::Own,
                _ => Occupant::Foreign,
            },
        }
    }
}

fn placed(name: String, replaced: bool) -> Placed {
    Placed { name, replaced }
}

fn join(dir: &str, name: &str) -> String {
    match dir.is_empty() {
        true => name.to_owned(),
        false => format!("{dir}/{name}"),
    }
}

fn is_file_with(path: &Path, digest: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
        && digest_of(path).is_ok_and(|found| found == digest)
}

/// The name and its alternatives when it is taken: `x`, `x.atq-1`, `x.atq-2`, ... A name that is too long is shortened.
fn names(wanted: &str) -> impl Iterator<Item = String> {
    let (dir, last) = wanted.rsplit_once('/').unwrap_or(("", wanted));
    let (dir, last) = (dir.to_owned(), last.to_owned());
    (0..1000).map(move |number| {
        let end = match number {
            0 => String::new(),
            _ => format!(".atq-{number}"),
        };
        join(&dir, &shortened(&last, &end))
    })
}

/// `name` with `end`, in at most 255 bytes. A digest distinguishes long names.
fn shortened(name: &str, end: &str) -> String {
    if name.len() + end.len() <= MAX_NAME_LENGTH {
        return format!("{name}{end}");
    }
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    let extension = extension.filter(|text| text.len() <= 16);
    let extension = extension.map_or_else(String::new, |text| format!(".{text}"));
    let end = format!("~{}{extension}{end}", digest(name));
    let mut length = MAX_NAME_LENGTH.saturating_sub(end.len());
    while !name.is_char_boundary(length) {
        length -= 1;
    }
    format!("{}{end}", name.get(..length).unwrap_or_default())
}

/// A short digest.
fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = format!("{:x}", Sha256::digest(text.as_bytes()));
    format!("{digest:.16}")
}

/// A line in the format of `sha256sum`: a leading backslash marks an escaped name.
fn line(name: &str, digest: &str) -> String {
    let escaped = name
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    let mark = if escaped == name { "" } else { "\\" };
    format!("{mark}{digest}  {escaped}\n")
}

/// Parses a list. An incomplete last line is ignored: its file was never moved to its name.
fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut files = BTreeMap::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let Some(line) = line.strip_suffix('\n') else {
            break;
        };
        let (name, digest) = entry(line).ok_or_else(|| format!("line {}", index + 1))?;
        files.insert(name, digest);
    }
    Ok(files)
}

fn entry(line: &str) -> Option<(String, String)> {
    let (is_escaped, line) = match line.strip_prefix('\\') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (digest, name) = line.split_once("  ")?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = if is_escaped {
        unescaped(name)?
    } else {
        name.to_owned()
    };
    // Never touch files outside the directory, even with a manipulated list.
    let is_below = Name::parse(&name).is_ok_and(|parsed| parsed.0 == name);
    (is_digest && is_below).then(|| (name, digest.to_ascii_lowercase()))
}

fn unescaped(text: &str) -> Option<String> {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            }),
            c => out.push(c),
        }
    }
    Some(out)
}
