//! Problems found by a decoder in a file.

use std::borrow::Cow;

/// Maximum percentage of unreadable rows for which the figures are still trusted.
pub const SOUND_PERCENT: u64 = 1;
/// In a file with this many rows, one unreadable row does not affect the trust in the figures.
const SOUND_ROWS: u64 = 20;
/// Displayed characters of a value.
const SHOWN_CHARS: usize = 40;

/// The reason why a row cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRow {
    /// It cannot be split into fields.
    Malformed,
    /// It has an unexpected number of fields (found, expected).
    Fields(usize, usize),
    /// A field has an invalid value.
    Value(Cow<'static, str>, String),
    /// Its time is shortly after 1970.
    Early(String),
    /// Its histogram cannot be decoded, for this reason.
    Histogram(&'static str),
}

impl BadRow {
    /// A field has an invalid value.
    pub fn value(name: &'static str, text: &[u8]) -> Self {
        Self::Value(name.into(), shown(text))
    }

    /// Replaces the name of the field by the one that `spelling` returns for it.
    pub fn renamed(mut self, spelling: impl Fn(&str) -> Option<String>) -> Self {
        if let Self::Value(name, _) = &mut self
            && let Some(own) = spelling(name)
        {
            *name = own.into();
        }
        self
    }

    /// Its time is shortly after 1970.
    pub fn early(text: &[u8]) -> Self {
        Self::Early(shown(text))
    }

    fn text(&self) -> String {
        match self {
            Self::Malformed => "it cannot be split into fields".to_owned(),
            Self::Fields(seen, wanted) => format!("it has {seen} fields instead of {wanted}"),
            Self::Value(name, value) => format!("its `{name}` is `{value}`"),
            Self::Early(value) => format!("its time is `{value}`"),
            Self::Histogram(why) => format!("its histogram cannot be decoded: {why}"),
        }
    }
}

fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..SHOWN_CHARS * 4).unwrap_or(text)).into_owned();
    let short: String = text.chars().take(SHOWN_CHARS).collect();
    if short.len() < text.len() {
        short + "..."
    } else {
        short
    }
}

/// The result of reading a file.
#[derive(Debug, Default)]
pub struct Found {
    /// Counted samples.
    pub samples: u64,
    /// Counted rows; one row may stand for several samples.
    pub rows: u64,
    /// True if a single unreadable row makes all figures doubtful, because it may be the sum of the others.
    pub is_summary: bool,
    /// Rows with figures of machines instead of samples.
    pub metrics: u64,
    /// Rows that are parts of requests.
    pub sub_results: u64,
    /// A problem of the whole file.
    pub wrong: Option<String>,
    /// Unreadable rows.
    bad: u64,
    /// The first unreadable row, counted from one including the header, and the reason.
    first_bad: Option<(u64, BadRow)>,
    /// True if the last unreadable row is the file's last line and is not terminated.
    cut: bool,
    /// The first row with zero bytes.
    damaged: Option<u64>,
    /// Rows with a time shortly after 1970, and the first of these times.
    early: u64,
    first_early: Option<String>,
}

impl Found {
    /// Counts an unreadable row. `cut`: it is the last one and not terminated; `damaged`: it has zero
    /// bytes.
    pub fn bad_row(&mut self, number: u64, why: BadRow, cut: bool, damaged: bool) {
        if let BadRow::Early(time) = &why {
            self.early += 1;
            self.first_early.get_or_insert_with(|| time.clone());
            return;
        }
        self.bad += 1;
        self.cut |= cut;
        if damaged {
            self.damaged.get_or_insert(number);
        }
        self.first_bad.get_or_insert((number, why));
    }

    /// Counts a record that cannot be read, in a file whose records have no lines.
    pub fn record(&mut self, number: u64, read: Result<(), BadRow>) {
        if let Err(why) = read {
            self.bad_row(number, why, false, false);
        }
    }

    /// Counts further lines covered by an unreadable row, which may have been rows.
    pub fn bad_lines(&mut self, lines: u64) {
        self.bad += lines;
    }

    /// The problem that makes the figures doubtful, if there is one.
    pub fn problem(&self) -> Option<String> {
        let parts = [
            self.wrong.clone(),
            self.early(),
            self.damaged.map(|row| {
                format!(
                    "row {row} contains zero bytes, as after a power failure: samples may be missing"
                )
            }),
            (!self.is_sound()).then(|| self.bad_rows()).flatten(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Notes that do not affect the trust in the figures.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_sound() && self.bad > 0 {
            let rows = self.bad_rows().unwrap_or_default();
            notes.push(format!(
                "{rows}; up to {SOUND_PERCENT} % of unreadable rows are ignored"
            ));
        }
        if self.metrics > 0 {
            notes.push(format!(
                "{} rows are figures of machines (for example of a PerfMon listener) and not requests: they are not counted",
                self.metrics
            ));
        }
        if self.sub_results > 0 {
            notes.push(format!(
                "{} rows are parts of requests (redirects, embedded resources) and not counted, as in JMeter's own summary",
                self.sub_results
            ));
        }
        notes
    }

    /// True if the number of unreadable rows is negligible.
    fn is_sound(&self) -> bool {
        let rows = self.rows + self.bad;
        let few = self.bad * 100 <= rows * SOUND_PERCENT || (self.bad == 1 && rows >= SOUND_ROWS);
        (self.bad == 0 || (few && !self.is_summary)) && !self.cut && self.damaged.is_none()
    }

    fn early(&self) -> Option<String> {
        let time = self.first_early.as_ref()?;
        Some(format!(
            "{} rows are dated 1970 (the first `{time}`) and not counted: times must be milliseconds since 1970, not seconds",
            self.early
        ))
    }

    fn bad_rows(&self) -> Option<String> {
        let (row, why) = self.first_bad.as_ref()?;
        let why = why.text();
        let cut = if self.cut {
            "; the last row is truncated"
        } else {
            ""
        };
        Some(match (self.bad, self.cut) {
            (1, true) => "the last row is truncated and was ignored".to_owned(),
            (1, false) => format!("row {row} cannot be read: {why}"),
            (bad, _) => format!("{bad} rows cannot be read, the first is row {row}: {why}{cut}"),
        })
    }
}
