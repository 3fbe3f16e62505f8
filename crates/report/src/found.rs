//! What a decoder noticed about a file, beside its samples.

/// Up to this share of the rows, in percent, rows that cannot be read leave the figures sound.
pub const SOUND_PERCENT: u64 = 1;
/// In a file of so many rows, one row that cannot be read leaves the figures sound.
const SOUND_ROWS: u64 = 20;
/// How much of a value is shown.
const SHOWN: usize = 40;

/// Why a row cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRow {
    /// It cannot be split into fields.
    Malformed,
    /// It has so many fields, and should have so many.
    Fields(usize, usize),
    /// The value of a field is impossible.
    Value(&'static str, String),
    /// Its time is shortly after 1970.
    Early(String),
    /// Its histogram cannot be decoded, for this reason.
    Histogram(&'static str),
}

impl BadRow {
    /// The value of a field is impossible.
    pub fn value(name: &'static str, text: &[u8]) -> Self {
        Self::Value(name, shown(text))
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
    let text = String::from_utf8_lossy(text.get(..SHOWN * 4).unwrap_or(text)).into_owned();
    let short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short + "..."
    } else {
        short
    }
}

/// What came of reading a file.
#[derive(Debug, Default)]
pub struct Found {
    /// Samples that are counted.
    pub samples: u64,
    /// Rows that are counted; some stand for several samples.
    pub rows: u64,
    /// Whether one row that cannot be read puts all figures in doubt: it may have been the sum of the others.
    pub is_summary: bool,
    /// Rows that are figures of machines, and no samples.
    pub metrics: u64,
    /// Rows that are parts of requests, and no requests.
    pub sub_results: u64,
    /// What is wrong with the file as a whole.
    pub wrong: Option<String>,
    /// Rows that could not be read.
    bad: u64,
    /// The first of them, counted from one with the header, and why.
    first_bad: Option<(u64, BadRow)>,
    /// Whether the last of them is the file's last line, without an end.
    cut: bool,
    /// The first row with zero bytes in it.
    damaged: Option<u64>,
    /// Rows whose time is shortly after 1970, and the first of these times.
    early: u64,
    first_early: Option<String>,
}

impl Found {
    /// Counts a row that cannot be read. `cut`: it is the last one and has no end; `damaged`: it has zero
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

    /// A row that cannot be read goes over so many lines more, which may have been rows.
    pub fn bad_lines(&mut self, lines: u64) {
        self.bad += lines;
    }

    /// Why the figures of the file are in doubt; none when they are sound.
    pub fn problem(&self) -> Option<String> {
        let parts = [
            self.wrong.clone(),
            self.early(),
            self.damaged.map(|row| {
                format!(
                    "row {row} holds zero bytes, as after a loss of power: samples may be missing"
                )
            }),
            (!self.is_sound()).then(|| self.bad_rows()).flatten(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// What should be known about the file though its figures are sound.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_sound() && self.bad > 0 {
            let rows = self.bad_rows().unwrap_or_default();
            notes.push(format!(
                "{rows}; up to {SOUND_PERCENT} % of such rows are left out without doubting the rest"
            ));
        }
        if self.metrics > 0 {
            notes.push(format!(
                "{} rows are figures of machines (as of a PerfMon listener) and no requests: they are not counted",
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

    /// Whether the rows that cannot be read are too few to matter.
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
            "; the last row is cut off"
        } else {
            ""
        };
        Some(match (self.bad, self.cut) {
            (1, true) => "the last row is cut off and was left out".to_owned(),
            (1, false) => format!("row {row} cannot be read: {why}"),
            (bad, _) => format!("{bad} rows cannot be read, the first is row {row}: {why}{cut}"),
        })
    }
}
