//! Output: progress lines, and one table at the end.

use atq_tests::docker::docker;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Instant;

static BEGUN: OnceLock<Instant> = OnceLock::new();

/// Prints a progress line with the time since the first one.
pub fn say(text: impl AsRef<str>) {
    let begun = BEGUN.get_or_init(Instant::now);
    println!(
        "{:>7.1} s  {}",
        begun.elapsed().as_secs_f64(),
        text.as_ref()
    );
}

/// A measurement, with an optional limit.
#[derive(Debug)]
pub struct Row {
    what: String,
    figure: String,
    limit: String,
    met: Option<bool>,
}

impl Row {
    /// A measurement without a limit.
    pub fn plain(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            figure: figure.into(),
            limit: String::new(),
            met: None,
        }
    }

    /// A measurement with a limit, and whether it is met. A missed limit is no failure: results depend on the machine
    /// and its other load.
    pub fn with_limit(
        what: impl Into<String>,
        figure: impl Into<String>,
        limit: impl Into<String>,
        met: bool,
    ) -> Self {
        Self {
            what: what.into(),
            figure: figure.into(),
            limit: limit.into(),
            met: Some(met),
        }
    }

    /// Prints the row as a progress line.
    pub fn print(self) -> Self {
        say(format!("{}: {}{}", self.what, self.figure, self.verdict()));
        self
    }

    fn verdict(&self) -> String {
        match self.met {
            Some(true) => format!("  [limit met: {}]", self.limit),
            Some(false) => format!("  [limit missed: {}]", self.limit),
            None => String::new(),
        }
    }
}

/// The table as aligned Markdown.
pub fn render(rows: &[Row]) -> String {
    let cells: Vec<[String; 4]> = rows.iter().map(cells).collect();
    let head = ["what", "figure", "limit", ""].map(str::to_owned);
    let widths: [usize; 4] = std::array::from_fn(|column| {
        let all = cells.iter().chain([&head]);
        all.map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    });
    let line = widths.map(|width| "-".repeat(width));
    let mut text = String::new();
    for row in [&head, &line].into_iter().chain(&cells) {
        text.push('|');
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string cannot fail.
            let _ = write!(text, " {cell:<width$} |");
        }
        text.push('\n');
    }
    text
}

fn cells(row: &Row) -> [String; 4] {
    let verdict = match row.met {
        Some(true) => "limit met",
        Some(false) => "limit missed",
        None => "",
    };
    [
        row.what.clone(),
        row.figure.clone(),
        row.limit.clone(),
        verdict.to_owned(),
    ]
}

/// Describes cores, memory, kernel and Engine of this machine.
pub async fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (info, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let cpu = field(&info, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let kilobytes =
        field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let load = read("/proc/loadavg");
    let engine = docker(&["version", "--format", "{{.Server.Version}}"]).await;
    format!(
        "Machine: {cores} cores ({cpu}), {:.1} GiB memory, Linux {}, Docker Engine {}; load average at the start {}",
        kilobytes.unwrap_or_default() / f64::from(1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
        engine.unwrap_or_else(|error| format!("unknown ({error})")),
        load.split(' ').next().unwrap_or_default(),
    )
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_marks_missed_limits() {
        let rows = [
            Row::plain("size", "12 MB"),
            Row::with_limit("reply", "60 ms", "<= 50 ms", false),
        ];
        let text = render(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(
            lines.iter().all(|line| line.len() == lines[0].len()),
            "{text}"
        );
        assert!(lines[3].ends_with("| <= 50 ms | limit missed |"), "{text}");
        assert!(lines[2].contains("| size  | 12 MB  |"), "{text}");
    }
}
