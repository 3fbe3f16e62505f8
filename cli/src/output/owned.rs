//! A directory in which other people's files may lie. This program replaces and removes only what it wrote itself:
//! the file `.atq-files` lists that, in the form of `sha256sum`. A file that was changed since, a link and a directory
//! count as somebody else's.

use super::draft::{Draft, digest_of};
use super::unwritten;
use crate::trouble::Trouble;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

#[cfg(test)]
mod tests;

/// The list.
pub const LIST: &str = ".atq-files";
/// Most bytes of a name, as of nearly all file systems.
const LONGEST: usize = 255;

/// A path below the directory: nothing in it leads elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name, unless it leads out of the directory.
    ///
    /// # Errors
    /// Why it is none.
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

    /// The text, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same below the directory `dir`.
    #[must_use]
    pub fn below(&self, dir: &str) -> Self {
        Self(format!("{dir}/{}", self.0))
    }
}

/// What is at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occupant {
    Nothing,
    /// As this program wrote it, before.
    Own,
    Foreign,
}

/// Where a file went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its name, which differs from the wanted one if that was taken.
    pub name: String,
    /// Whether a file of this program was replaced.
    pub replaced: bool,
}

/// The directory.
#[derive(Debug)]
pub struct Owned {
    dir: PathBuf,
    /// Digests of the files on the list.
    files: BTreeMap<String, String>,
    /// What was written since [`Self::open`]: no other file of the same archive may replace it.
    fresh: BTreeSet<String>,
    /// Whether the list ends within a line.
    is_cut: bool,
}

impl Owned {
    /// Reads the list, if there is one.
    ///
    /// # Errors
    /// When there is something of its name that is no list.
    pub fn open(dir: &Path) -> Result<Self, Trouble> {
        let path = dir.join(LIST);
        let foreign = |why: String| {
            Trouble::usage(
                format!(
                    "`{}` is no list of files that `atq` wrote: {why}",
                    path.display()
                ),
                "remove it, or name another directory",
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
            fresh: BTreeSet::new(),
            is_cut: !(text.is_empty() || text.ends_with('\n')),
        })
    }

    /// Fails when something that this program did not write is at `name`.
    ///
    /// # Errors
    /// Names it.
    pub fn must_be_free(&self, name: &str) -> Result<(), Trouble> {
        match self.occupant(name) {
            Occupant::Foreign => {
                Err(self.taken(name, "was not written by `atq`, or was changed since"))
            }
            Occupant::Nothing | Occupant::Own => Ok(()),
        }
    }

    /// Fails when `name` is something else than a directory, or cannot be written into.
    ///
    /// # Errors
    /// Names it.
    pub fn must_take_files(&self, name: &str) -> Result<(), Trouble> {
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

    fn taken(&self, name: &str, why: &str) -> Trouble {
        Trouble::usage(
            format!("`{}` {why}", self.dir.join(name).display()),
            "nothing of yours is overwritten: move it away, or name another directory",
        )
    }

    /// Removes the files on the list of which `is_meant`, and the directories that are empty then.
    ///
    /// # Errors
    /// When one cannot be removed, or the list not be written.
    pub fn clear(&mut self, is_meant: impl Fn(&str) -> bool) -> Result<(), Trouble> {
        let listed: Vec<String> = self
            .files
            .keys()
            .filter(|name| is_meant(name))
            .cloned()
            .collect();
        let mut cleared = Ok(());
        for name in listed {
            if self.occupant(&name) == Occupant::Own {
                let path = self.dir.join(&name);
                if let Err(error) = fs::remove_file(&path) {
                    cleared = cleared.and(Err(unwritten(&path)(error)));
                    continue;
                }
                self.remove_empty_parents(&name);
            }
            self.files.remove(&name);
        }
        cleared.and(self.store().map_err(unwritten(&self.dir.join(LIST))))
    }

    /// Those at the top stay: they may be there on purpose.
    fn remove_empty_parents(&self, name: &str) {
        let parents = Path::new(name).ancestors().skip(1);
        for parent in parents.filter(|parent| parent.components().count() > 1) {
            if fs::remove_dir(self.dir.join(parent)).is_err() {
                return;
            }
        }
    }

    /// Writes the list anew.
    fn store(&self) -> io::Result<()> {
        let lines = self.files.iter().map(|(name, digest)| line(name, digest));
        let lines: String = lines.collect();
        Draft::with(&self.dir, lines.as_bytes())?.replace(&self.dir.join(LIST))
    }

    /// Before the file is in its place: whatever ends this program, there is no file that it forgot.
    fn note(&mut self, name: &str, digest: &str) -> io::Result<()> {
        let path = self.dir.join(LIST);
        if std::mem::take(&mut self.is_cut) {
            self.store()?;
        }
        let mut list = OpenOptions::new().create(true).append(true).open(path)?;
        list.write_all(line(name, digest).as_bytes())?;
        self.files.insert(name.to_owned(), digest.to_owned());
        self.fresh.insert(name.to_owned());
        Ok(())
    }

    /// Says that this program has just written `name` by another way.
    ///
    /// # Errors
    /// When it cannot be read, or the list not be written.
    pub fn adopt(&mut self, name: &str) -> Result<(), Trouble> {
        let path = self.dir.join(name);
        let noted = digest_of(&path).and_then(|digest| self.note(name, &digest));
        noted.map_err(unwritten(&path))
    }

    /// Makes the directories of `name`, beside what is there already, and begins a file in the last one.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn begin(&mut self, name: &Name) -> Result<(Name, Draft), Trouble> {
        let (parents, last) = match name.0.rsplit_once('/') {
            Some((parents, last)) => (self.make_dir(parents)?, last),
            None => (String::new(), name.0.as_str()),
        };
        let dir = self.dir.join(&parents);
        let draft = Draft::create_in(&dir).map_err(unwritten(&dir))?;
        Ok((Name(join(&parents, last)), draft))
    }

    /// Makes a directory with all above it, and says its name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_dir(&mut self, name: &str) -> Result<String, Trouble> {
        let mut made = String::new();
        for part in name.split('/') {
            made = self.make_one(&join(&made, part))?;
        }
        Ok(made)
    }

    fn make_one(&mut self, wanted: &str) -> Result<String, Trouble> {
        for name in names(wanted) {
            let path = self.dir.join(&name);
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                return Ok(name);
            }
            match self.occupant(&name) {
                Occupant::Foreign => continue,
                Occupant::Own => fs::remove_file(&path).map_err(unwritten(&path))?,
                Occupant::Nothing => {}
            }
            fs::create_dir(&path).map_err(unwritten(&path))?;
            return Ok(name);
        }
        Err(unwritten(&self.dir.join(wanted))("no free name"))
    }

    /// Gives `draft`, from [`Self::begin`], its place, or one beside it if that is somebody else's.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&mut self, name: &Name, draft: Draft) -> Result<Placed, Trouble> {
        let digest = draft.digest();
        for candidate in names(&name.0) {
            let path = self.dir.join(&candidate);
            let occupant = self.occupant(&candidate);
            if occupant == Occupant::Foreign {
                if is_file_with(&path, &digest) {
                    // There already.
                    return Ok(placed(candidate, false));
                }
                continue;
            }
            let put = self
                .note(&candidate, &digest)
                .and_then(|()| match occupant {
                    Occupant::Own => draft.replace(&path),
                    _ => draft.place(&path),
                });
            put.map_err(unwritten(&path))?;
            return Ok(placed(candidate, occupant == Occupant::Own));
        }
        Err(unwritten(&self.dir.join(&name.0))("no free name"))
    }

    fn occupant(&self, name: &str) -> Occupant {
        // What is behind a link is not in this directory.
        let mut above = Path::new(name).ancestors().skip(1);
        let leads_away = above.any(|dir| {
            let found = fs::symlink_metadata(self.dir.join(dir));
            !dir.as_os_str().is_empty() && found.is_ok_and(|found| !found.is_dir())
        });
        let path = self.dir.join(name);
        match fs::symlink_metadata(&path) {
            _ if leads_away => Occupant::Foreign,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Occupant::Nothing,
            _ if self.fresh.contains(name) => Occupant::Foreign,
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

/// The name, and those that are tried when it is taken: `x`, `x.atq-1`, `x.atq-2`, ... A part that is too long for a
/// file system loses its middle.
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

/// `name` with `end`, in at most 255 bytes. Different long names stay different by a digest.
fn shortened(name: &str, end: &str) -> String {
    if name.len() + end.len() <= LONGEST {
        return format!("{name}{end}");
    }
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    let extension = extension.filter(|text| text.len() <= 16);
    let extension = extension.map_or_else(String::new, |text| format!(".{text}"));
    let end = format!("~{}{extension}{end}", digest(name));
    let mut kept = LONGEST.saturating_sub(end.len());
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    format!("{}{end}", name.get(..kept).unwrap_or_default())
}

/// A short one.
fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = format!("{:x}", Sha256::digest(text.as_bytes()));
    format!("{digest:.16}")
}

/// As `sha256sum` writes it: a name with a line break is escaped, and a backslash at the beginning says so.
fn line(name: &str, digest: &str) -> String {
    let escaped = name
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    let mark = if escaped == name { "" } else { "\\" };
    format!("{mark}{digest}  {escaped}\n")
}

/// The files on a list. A last line without an end was cut off: its file was never put in its place.
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
    // Whoever wrote it: nothing outside the directory is ever touched.
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
