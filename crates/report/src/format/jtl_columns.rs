//! Positions of the columns of a JTL: from its header, or derived from its rows if there is none.
//!
//! JMeter writes columns in a fixed order, and settings omit some of them. Without a header, all
//! selections of columns that fit the first rows are compared; the one closest to JMeter's defaults is used.

use super::numbers::{EARLIEST, millis, timestamp, whole};
use super::rows::{Row, Rows};

/// Position of a missing column.
const NONE: usize = usize::MAX;
/// Number of examined rows in a file without a header.
pub const ROWS_LOOKED_AT: usize = 50;

/// Positions of the columns; [`NONE`] for missing ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    pub count: usize,
    pub time: usize,
    pub elapsed: usize,
    pub label: usize,
    pub code: usize,
    pub message: usize,
    pub thread: usize,
    pub data_type: usize,
    pub success: usize,
    pub failure: usize,
    pub bytes: usize,
    pub sent: usize,
    pub group_threads: usize,
    pub active: usize,
    pub url: usize,
    pub samples: usize,
    pub errors: usize,
    pub host: usize,
}

impl Columns {
    /// Positions by header names, ignoring case.
    pub fn named(names: &[&[u8]]) -> Self {
        let at = |name: &str| {
            let same = |other: &&[u8]| other.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
            names.iter().position(same).unwrap_or(NONE)
        };
        Self {
            count: names.len(),
            time: at("timeStamp"),
            elapsed: at("elapsed"),
            label: at("label"),
            code: at("responseCode"),
            message: at("responseMessage"),
            thread: at("threadName"),
            data_type: at("dataType"),
            success: at("success"),
            failure: at("failureMessage"),
            bytes: at("bytes"),
            sent: at("sentBytes"),
            group_threads: at("grpThreads"),
            active: at("allThreads"),
            url: at("URL"),
            samples: at("SampleCount"),
            errors: at("ErrorCount"),
            host: at("Hostname"),
        }
    }

    /// Positions derived from the first rows of a file without a header; `None` if they are not JMeter's.
    pub fn guessed(head: &[u8], delimiter: u8) -> Option<Self> {
        let rows = first_rows(head, delimiter);
        let first = rows.first()?;
        let mut search = Search {
            count: first.len(),
            rows: rows.iter().filter(|row| row.len() == first.len()).collect(),
            chosen: Vec::new(),
            best: None,
        };
        search.from(0, 0, 0);
        let (_, names) = search.best?;
        let has = |name: &str| names.contains(&name);
        let is_of_jmeter = has("success") && (has("threadName") || has("responseCode"));
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        is_of_jmeter.then(|| Self::named(&names))
    }

    /// True if a column exists.
    pub fn has(column: usize) -> bool {
        column != NONE
    }
}

type Fields = Vec<Vec<u8>>;

fn first_rows(head: &[u8], delimiter: u8) -> Vec<Fields> {
    let mut rows = Rows::new(delimiter);
    rows.push(head);
    let mut found = Vec::new();
    while let Some(row) = rows.next() {
        if row == Row::Fields {
            found.push(rows.fields().map(<[u8]>::to_vec).collect());
        }
        if found.len() == ROWS_LOOKED_AT {
            break;
        }
    }
    if found.is_empty() {
        // A single row without a line end.
        rows.end();
        if rows.next() == Some(Row::Fields) {
            found.push(rows.fields().map(<[u8]>::to_vec).collect());
        }
    }
    found
}

/// Columns that always occur together: their names, the penalties for their presence and absence, and whether they fit
/// a row.
struct Group(&'static [&'static str], u32, u32, fn(&Context<'_>) -> bool);

/// Never omitted.
const ALWAYS: u32 = u32::MAX;

/// JMeter's columns in order.
const GROUPS: [Group; 18] = [
    Group(&["timeStamp"], 0, ALWAYS, |row| {
        let time = row.field(0);
        time.len() >= 9 && timestamp(time).is_some_and(|time| time >= EARLIEST)
    }),
    Group(&["elapsed"], 0, ALWAYS, |row| {
        millis(row.field(0).strip_prefix(b"-").unwrap_or(row.field(0))).is_some()
    }),
    Group(&["label"], 0, 20, |_| true),
    Group(&["responseCode"], 0, 10, |row| is_code(row.field(0))),
    Group(&["responseMessage"], 0, 10, |row| !is_thread(row.field(0))),
    Group(&["threadName"], 0, 10, |row| is_thread(row.field(0))),
    Group(&["dataType"], 0, 10, |row| {
        matches!(row.field(0), b"" | b"text" | b"bin")
    }),
    Group(&["success"], 0, 30, |row| is_bool(row.field(0))),
    Group(&["failureMessage"], 0, 8, |row| {
        row.value("success")
            .is_none_or(|success| success != b"true" || row.field(0).is_empty())
    }),
    Group(&["bytes"], 0, 10, |row| row.number(0).is_some()),
    Group(&["sentBytes"], 0, 7, |row| row.number(0).is_some()),
    Group(
        &["grpThreads", "allThreads"],
        0,
        30,
        |row| matches!((row.number(0), row.number(1)), (Some(of_group), Some(all)) if of_group <= all),
    ),
    Group(&["URL"], 0, 5, |row| {
        let url = row.field(0);
        matches!(url, b"" | b"null") || memchr::memmem::find(url, b"://").is_some()
    }),
    Group(&["Latency"], 0, 10, |row| {
        let elapsed = row.value("elapsed").and_then(whole);
        row.number(0)
            .is_some_and(|latency| elapsed.is_none_or(|elapsed| latency <= elapsed))
    }),
    Group(&["Encoding"], 20, 0, |row| {
        let encoding = row.field(0);
        encoding.is_empty() || encoding.first().is_some_and(u8::is_ascii_alphabetic)
    }),
    Group(
        &["SampleCount", "ErrorCount"],
        20,
        0,
        |row| matches!((row.number(0), row.number(1)), (Some(samples), Some(errors)) if samples > 0 && errors <= samples),
    ),
    Group(&["Hostname"], 15, 0, |row| {
        let host = row.field(0);
        !host.is_empty() && whole(host).is_none() && memchr::memmem::find(host, b"://").is_none()
    }),
    Group(&["IdleTime"], 0, 6, |row| row.number(0).is_some()),
];
/// Omitted by old versions, and followed by variables of the test plan.
const CONNECT: Group = Group(&["Connect"], 0, 3, |row| row.number(0).is_some());
/// Penalty of a variable.
const VARIABLE: u32 = 12;

/// A row, and the columns selected for its first fields.
struct Context<'a> {
    row: &'a Fields,
    chosen: &'a [&'static str],
}

impl Context<'_> {
    /// A field after those with a column.
    fn field(&self, offset: usize) -> &[u8] {
        let field = self.row.get(self.chosen.len() + offset);
        field.map_or(&b""[..], Vec::as_slice)
    }

    fn number(&self, offset: usize) -> Option<u64> {
        whole(self.field(offset))
    }

    /// The value of a selected column.
    fn value(&self, name: &str) -> Option<&[u8]> {
        let at = self.chosen.iter().position(|chosen| *chosen == name)?;
        self.row.get(at).map(Vec::as_slice)
    }
}

struct Search<'a> {
    count: usize,
    rows: Vec<&'a Fields>,
    chosen: Vec<&'static str>,
    best: Option<(u32, Vec<&'static str>)>,
}

impl Search<'_> {
    /// Tries all selections from this group on for the fields from `at` on.
    fn from(&mut self, number: usize, at: usize, cost: u32) {
        if self.best.as_ref().is_some_and(|(best, _)| cost >= *best) {
            return;
        }
        let Some(Group(names, present, absent, fits)) = GROUPS
            .get(number)
            .or((number == GROUPS.len()).then_some(&CONNECT))
        else {
            return self.end(at, cost);
        };
        let next = at + names.len();
        if next <= self.count && self.fits(*fits) {
            self.chosen.extend(*names);
            self.from(number + 1, next, cost + present);
            self.chosen.truncate(at);
        }
        if *absent != ALWAYS {
            self.from(number + 1, at, cost + absent);
        }
    }

    /// The remaining fields are variables.
    fn end(&mut self, at: usize, cost: u32) {
        let variables = self.count - at;
        let cost = cost + VARIABLE * u32::try_from(variables).unwrap_or(1000);
        if self.best.as_ref().is_none_or(|(best, _)| cost < *best) {
            let mut names = self.chosen.clone();
            names.resize(self.count, "");
            self.best = Some((cost, names));
        }
    }

    fn fits(&self, fits: fn(&Context<'_>) -> bool) -> bool {
        let chosen = &self.chosen;
        let mut rows = self.rows.iter().map(|row| Context { row, chosen });
        rows.all(|row| fits(&row))
    }
}

/// `200`, an empty field, or JMeter's text for a missing response.
fn is_code(text: &[u8]) -> bool {
    text.starts_with(b"Non HTTP")
        || (text.len() <= 5 && !text.contains(&b' ') && !is_bool(text) && !text.contains(&b'-'))
}

/// `Users 1-1`: the name of the group, its number, and the number of the thread.
fn is_thread(text: &[u8]) -> bool {
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let Some(dash) = memchr::memrchr(b'-', text) else {
        return false;
    };
    let (before, after) = (&text[..dash], &text[dash + 1..]);
    let group = before.rsplit(|byte| *byte == b' ').next();
    digits(after) && group.is_some_and(digits)
}

fn is_bool(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn columns_of_a_file_without_a_header_are_derived_from_its_values() {
        for (row, names) in [
            (
                "1709287200088,826,Home,200,OK,Users 1-1,text,true,,1233,230,5,5,http://x/,1,0,1",
                "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect",
            ),
            (
                "1709287200088,826,Home,200,OK,Users 1-1,text,true,,1233,230,5,5,1,0,1",
                "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,Latency,IdleTime,Connect",
            ),
            (
                "1709287200088,826,Home,200,OK,Users 1-1,text,true,,1233,230,5,5,http://x/,1,0,1,u000",
                "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect,",
            ),
            (
                "1709287200088,826,Home,500,Oops,Users 1-1,text,false,5,1,7,1,host-a,0",
                "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,bytes,grpThreads,allThreads,Latency,Hostname,Connect",
            ),
            (
                "1709287200088,826,Home,200,Users 1-1,true,1233,5,5,1",
                "timeStamp,elapsed,label,responseCode,threadName,success,bytes,grpThreads,allThreads,Latency",
            ),
            (
                "2024-03-01 10:00:00,900,Home,,,Users 1-1,,true,,100,20,5,5,http://x/,3,10,1,gen-a,0,1",
                "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,SampleCount,ErrorCount,Hostname,IdleTime,Connect",
            ),
        ] {
            let names: Vec<&[u8]> = names.split(',').map(str::as_bytes).collect();
            let found = Columns::guessed(row.as_bytes(), b',').unwrap();
            assert_eq!(found, Columns::named(&names), "{row}");
        }
    }

    #[test]
    fn other_tables_are_not_mistaken_for_those_of_jmeter() {
        for text in [
            "hello, world\nthis is text\n",
            "1709287200088,826,true\n",
            "1709287200088,12,info,started,true\n",
            "a,b,c,d,e,f,g,true\n",
        ] {
            assert_eq!(Columns::guessed(text.as_bytes(), b','), None, "{text}");
        }
    }
}
