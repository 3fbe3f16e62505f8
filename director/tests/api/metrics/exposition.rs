//! A strict reader of both text formats, and of the table in the docs.

use std::collections::{BTreeMap, BTreeSet};

/// The page with the tables of metrics.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    Text,
}

/// A family of metrics.
#[derive(Debug)]
pub struct Family {
    pub name: String,
    pub kind: String,
    pub help: String,
    pub unit: Option<String>,
    pub samples: Vec<Sample>,
    format: Format,
}

/// A line with a value.
#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// The output of a scrape.
#[derive(Debug)]
pub struct Exposition {
    pub families: Vec<Family>,
}

type Labels = BTreeSet<String>;

/// Name, type and labels of the metrics in the docs.
pub fn documented() -> BTreeSet<(String, String, Labels)> {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `atq_"));
    let rows = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").filter(|cell| !cell.is_empty());
        let name = cells[1].trim_matches('`').to_owned();
        let labels = labels.map(|label| label.trim_matches('`').to_owned());
        (name, cells[2].to_owned(), labels.collect())
    });
    let all: Vec<_> = rows.collect();
    let documented: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(documented.len(), all.len(), "a metric is documented twice");
    documented
}

/// The values of a label in the docs: the words of its rows in backticks.
pub fn documented_values(label: &str) -> BTreeSet<String> {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let start = format!("| `{label}`");
    let rows = page.lines().filter(|line| line.starts_with(&start));
    let words = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    words.map(str::to_owned).collect()
}

impl Exposition {
    /// Reads an output.
    ///
    /// # Errors
    /// The first violation of a rule.
    pub fn parse(text: &str, format: Format) -> Result<Self, String> {
        let body = match format {
            Format::OpenMetrics => text.strip_suffix("# EOF\n").ok_or("no EOF at the end")?,
            Format::Text => text,
        };
        if !body.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        let mut families: Vec<Family> = Vec::new();
        for line in body.lines() {
            read_line(line, &mut families, format).map_err(|error| format!("{error}: `{line}`"))?;
        }
        let exposition = Self { families };
        exposition.check()?;
        Ok(exposition)
    }

    /// Rules for more than one line.
    fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        let mut series = BTreeSet::new();
        for family in &self.families {
            if !names.insert(&family.name) {
                return Err(format!("`{}` occurs twice", family.name));
            }
            if family.kind.is_empty() || family.samples.is_empty() {
                return Err(format!("`{}` has no type or no sample", family.name));
            }
            for sample in &family.samples {
                if !series.insert(sample.series()) {
                    return Err(format!("`{}` occurs twice", sample.series()));
                }
            }
            if family.kind == "histogram" {
                family.check_histogram()?;
            }
        }
        Ok(())
    }

    /// The value of a series; labels are sorted by name.
    pub fn value(&self, series: &str) -> Option<f64> {
        let found = self.samples().find(|sample| sample.series() == series);
        found.map(|sample| sample.value)
    }

    /// The number of series with this name.
    pub fn series(&self, name: &str) -> usize {
        self.names_of(name).len()
    }

    /// The series with this name.
    pub fn names_of(&self, name: &str) -> BTreeSet<String> {
        let samples = self.samples().filter(|sample| sample.name == name);
        samples.map(Sample::series).collect()
    }

    /// The values of a label.
    pub fn label_values(&self, label: &str) -> BTreeSet<String> {
        let values = self.samples().filter_map(|sample| sample.labels.get(label));
        values.cloned().collect()
    }

    /// All series.
    pub fn all_names(&self) -> BTreeSet<String> {
        self.samples().map(Sample::series).collect()
    }

    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.iter().flat_map(|family| &family.samples)
    }
}

impl Family {
    /// The name in queries: that of the samples, except for histograms.
    pub fn full_name(&self) -> String {
        let suffix = match (self.format, self.kind.as_str()) {
            (Format::OpenMetrics, "counter") => "_total",
            (Format::OpenMetrics, "info") => "_info",
            _ => "",
        };
        format!("{}{suffix}", self.name)
    }

    /// The names of the labels, which all samples have.
    pub fn labels(&self) -> BTreeSet<String> {
        let labels = |sample: &Sample| -> BTreeSet<String> {
            let names = sample.labels.keys().filter(|name| *name != "le");
            names.cloned().collect()
        };
        let first = labels(&self.samples[0]);
        assert!(self.samples.iter().all(|sample| labels(sample) == first));
        first
    }

    /// Whether a sample of this name belongs to the family.
    fn owns(&self, name: &str) -> bool {
        let suffix = name.strip_prefix(&self.name);
        match (self.kind.as_str(), self.format) {
            ("histogram", _) => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
            ("counter", Format::OpenMetrics) => suffix == Some("_total"),
            ("info", Format::OpenMetrics) => suffix == Some("_info"),
            ("counter", Format::Text) => suffix == Some("") && name.ends_with("_total"),
            ("gauge", _) => suffix == Some("") && !name.ends_with("_total"),
            _ => false,
        }
    }

    /// Buckets ascend, are cumulative and end with `+Inf`, which equals the count.
    fn check_histogram(&self) -> Result<(), String> {
        type Parts = (Vec<(f64, f64)>, Option<f64>, Option<f64>);
        let mut histograms: BTreeMap<String, Parts> = BTreeMap::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le");
            let (buckets, count, sum) = histograms.entry(format!("{labels:?}")).or_default();
            match (sample.name.strip_prefix(&self.name), bound) {
                (Some("_bucket"), Some(bound)) => {
                    let bound = number(&bound).ok_or("`le` is not a number")?;
                    buckets.push((bound, sample.value));
                }
                (Some("_count"), None) => *count = Some(sample.value),
                (Some("_sum"), None) => *sum = Some(sample.value),
                _ => return Err(format!("`{}`: unexpected `le`", sample.series())),
            }
        }
        for (labels, (buckets, count, sum)) in histograms {
            let ascends = buckets
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            let last = buckets.last().copied();
            let is_complete = last.is_some_and(|last| last.0 == f64::INFINITY);
            if !ascends || !is_complete || last.map(|last| last.1) != count || sum.is_none() {
                return Err(format!(
                    "`{}{labels}`: wrong buckets: {buckets:?}",
                    self.name
                ));
            }
        }
        Ok(())
    }
}

impl Sample {
    /// Name and labels, sorted by name.
    fn series(&self) -> String {
        let labels = self.labels.iter();
        let labels: Vec<_> = labels
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        match labels.is_empty() {
            true => self.name.clone(),
            false => format!("{}{{{}}}", self.name, labels.join(",")),
        }
    }
}

fn read_line(line: &str, families: &mut Vec<Family>, format: Format) -> Result<(), String> {
    let Some(comment) = line.strip_prefix("# ") else {
        let sample = read_sample(line)?;
        let family = families
            .last_mut()
            .filter(|family| family.owns(&sample.name));
        family
            .ok_or("the sample is not of the last family")?
            .samples
            .push(sample);
        return Ok(());
    };
    let mut parts = comment.splitn(3, ' ');
    let (keyword, name, rest) = (parts.next(), parts.next(), parts.next());
    let (Some(keyword), Some(name), Some(rest)) = (keyword, name, rest) else {
        return Err("an incomplete comment".to_owned());
    };
    check_name(name)?;
    if keyword == "HELP" {
        families.push(Family {
            name: name.to_owned(),
            kind: String::new(),
            help: rest.to_owned(),
            unit: None,
            samples: Vec::new(),
            format,
        });
        return Ok(());
    }
    let family = families.last_mut().filter(|family| family.name == name);
    let family = family.ok_or("the comment is not of the last family")?;
    if !family.samples.is_empty() {
        return Err("a comment after samples".to_owned());
    }
    let kinds: &[&str] = match format {
        Format::OpenMetrics => &["counter", "gauge", "histogram", "info"],
        Format::Text => &["counter", "gauge", "histogram"],
    };
    match keyword {
        "TYPE" if family.kind.is_empty() && kinds.contains(&rest) => family.kind = rest.to_owned(),
        "UNIT" if format == Format::OpenMetrics && family.unit.is_none() => {
            if !name.ends_with(&format!("_{rest}")) {
                return Err("the name does not end with the unit".to_owned());
            }
            family.unit = Some(rest.to_owned());
        }
        _ => return Err("an unexpected comment".to_owned()),
    }
    Ok(())
}

fn read_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, rest) = line.split_at(end);
    check_name(name)?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = value.strip_prefix(' ').ok_or("no blank before the value")?;
    let value = number(value).ok_or("not a number")?;
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Reads labels up to `}`; returns the rest of the line.
fn read_labels(mut rest: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        check_name(name)?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().ok_or("a label without an end")? {
                (at, '"') => break at,
                (_, '\\') => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                    _ => return Err("an unknown escape".to_owned()),
                },
                (_, other) => value.push(other),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label `{name}` occurs twice"));
        }
        let after = &after[end + 1..];
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok((labels, after.strip_prefix('}').ok_or("no `}`")?)),
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_valid) {
        true => Ok(()),
        false => Err(format!("`{name}` is not a name")),
    }
}

/// A finite number or `+Inf`.
fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "# HELP a_seconds A.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
        a_seconds_sum{x=\"1\"} 3\na_seconds_count{x=\"1\"} 2\na_seconds_bucket{le=\"1.0\",x=\"1\"} 1\n\
        a_seconds_bucket{le=\"+Inf\",x=\"1\"} 2\n# HELP b B.\n# TYPE b counter\nb_total 1\n# EOF\n";

    #[test]
    fn violations_of_the_rules_are_found() {
        let is_valid = |text: &str| Exposition::parse(text, Format::OpenMetrics).is_ok();
        assert!(is_valid(VALID));
        for (good, bad) in [
            ("# EOF\n", ""),
            ("# EOF\n", "# EOF\n\n"),
            ("b_total 1\n", "b_total 1\nb_total 2\n"),
            ("b_total 1\n", "b 1\n"),
            ("b_total 1\n", "b_total NaN\n"),
            ("b_total 1\n", ""),
            ("# TYPE b counter\n", ""),
            ("# TYPE b counter\n", "# TYPE b meter\n"),
            ("# HELP b B.\n", "# HELP a_seconds B.\n"),
            ("_count{x=\"1\"} 2", "_count{x=\"1\"} 3"),
            ("le=\"1.0\",x=\"1\"} 1", "le=\"1.0\",x=\"1\"} 5"),
            ("a_seconds_bucket{le=\"+Inf\",x=\"1\"} 2\n", ""),
            ("a_seconds_sum{x=\"1\"} 3\n", ""),
            ("# UNIT a_seconds seconds", "# UNIT a_seconds bytes"),
            ("{le=\"1.0\",x=\"1\"}", "{le=\"1.0\",x=\"1\",x=\"1\"}"),
            ("{le=\"1.0\",x=\"1\"}", "{le=\"1.0\",x=\"1}"),
        ] {
            assert!(VALID.contains(good), "{good}");
            assert!(!is_valid(&VALID.replacen(good, bad, 1)), "{good} -> {bad}");
        }
    }
}
