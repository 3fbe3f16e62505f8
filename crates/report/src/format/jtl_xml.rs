//! JMeter's results in XML. Samples nested in a request are parts of it and are not counted; those nested in a
//! transaction are its requests.

use super::jtl_csv::{
    SUM_WITHOUT_COUNT, TRANSACTION, is_empty_transaction, is_success, start, worker, wrong,
};
use super::numbers::{bytes, millis, whole};
use super::xml_tags::{Piece, Tags};
use super::{BadRow, Decoder, FileTally, Sample};
use quick_xml::events::attributes::Attributes as Raw;

/// Maximum length of the message of an assertion, in bytes.
const MAX_FAILURE: usize = 64 * 1024;
/// Element names of samples; `sampleResult` in files of JMeter 2.0.
const SAMPLES: [&[u8]; 4] = [b"httpSample", b"sample", b"statSample", b"sampleResult"];

/// The attributes of a sample.
#[derive(Debug, Default)]
struct Attributes {
    time: Option<Vec<u8>>,
    elapsed: Option<Vec<u8>>,
    success: Option<bool>,
    label: Vec<u8>,
    code: Vec<u8>,
    message: Vec<u8>,
    thread: Option<Vec<u8>>,
    host: Vec<u8>,
    failure: Vec<u8>,
    received: u64,
    sent: u64,
    active: Option<u32>,
    samples: Option<Vec<u8>>,
    errors: Option<Vec<u8>>,
}

/// The document.
#[derive(Debug, Default)]
pub struct Xml {
    tags: Tags,
    content: Content,
}

impl Decoder for Xml {
    fn push(&mut self, bytes: &[u8], into: &mut FileTally) {
        let content = &mut self.content;
        self.tags
            .push(bytes, &mut |piece| content.take(piece, into));
    }

    fn finish(&mut self, into: &mut FileTally) {
        if !self.tags.is_complete() || self.content.depth > 0 {
            self.content.end_early(into);
        }
    }

    fn memory(&self) -> usize {
        let current = self.content.current.as_ref();
        self.tags.memory() + current.map_or(0, |(_, current)| current.memory())
    }
}

impl Attributes {
    fn memory(&self) -> usize {
        let texts = [
            &self.label,
            &self.code,
            &self.message,
            &self.host,
            &self.failure,
        ];
        let others = [
            &self.time,
            &self.elapsed,
            &self.thread,
            &self.samples,
            &self.errors,
        ];
        let texts = texts.into_iter().chain(others.into_iter().flatten());
        texts.map(Vec::capacity).sum()
    }
}

#[derive(Debug, Default)]
struct Content {
    /// Number of open elements: one is `testResults`, two a sample.
    depth: usize,
    /// Number of nested transactions among them, after `testResults`.
    transactions: usize,
    /// The open sample, and the number of elements around it.
    current: Option<(usize, Attributes)>,
    in_failure: bool,
    /// Number of elements so far that may be samples.
    elements: u64,
}

impl Content {
    fn take(&mut self, piece: Piece<'_>, into: &mut FileTally) {
        match piece {
            Piece::Tag([b'?' | b'!', ..]) => {}
            Piece::Tag([b'/', ..]) => self.close(into),
            Piece::Tag([tag @ .., b'/']) => {
                self.open(tag, into);
                self.close(into);
            }
            Piece::Tag(tag) => self.open(tag, into),
            Piece::Text(text) | Piece::Data(text) => self.text(text),
            Piece::BrokenTag => {
                self.elements += 1;
                into.found.record(self.elements, Err(BadRow::Malformed));
            }
        }
    }

    fn open(&mut self, tag: &[u8], into: &mut FileTally) {
        let end = tag.iter().position(u8::is_ascii_whitespace);
        let name = &tag[..end.unwrap_or(tag.len())];
        if name == b"testResults" {
            if self.depth > 0 {
                self.end_early(into);
            }
            self.depth = 0;
        } else if self.depth == 1 + self.transactions && self.current.is_none() {
            self.sample(name, tag, into);
        } else if name == b"failureMessage" {
            // `<assertionResult><failureMessage>` of the sample itself; the first one is used.
            self.in_failure = self.current.as_ref().is_some_and(|(depth, current)| {
                self.depth == depth + 2 && current.failure.is_empty()
            });
        }
        self.depth += 1;
    }

    /// An element at the level of samples.
    fn sample(&mut self, name: &[u8], tag: &[u8], into: &mut FileTally) {
        let attributes = attributes(&String::from_utf8_lossy(tag), name.len());
        if name == b"statSample" && attributes.samples.is_none() {
            into.found.wrong = Some(SUM_WITHOUT_COUNT.to_owned());
            return;
        }
        let is_sample =
            SAMPLES.contains(&name) || (attributes.time.is_some() && attributes.elapsed.is_some());
        if !is_sample || is_metric(&attributes) {
            // A transaction contains other elements as well.
            if self.transactions == 0 {
                self.elements += 1;
                into.found.metrics += 1;
            }
            return;
        }
        self.elements += 1;
        if attributes.message.starts_with(TRANSACTION) {
            self.transactions += 1;
            self.count(&attributes, into);
        } else {
            self.current = Some((self.depth, attributes));
        }
    }

    fn close(&mut self, into: &mut FileTally) {
        self.depth = self.depth.saturating_sub(1);
        self.in_failure = false;
        if self.transactions > 0 && self.depth == self.transactions {
            self.transactions -= 1;
        }
        if let Some((_, attributes)) = self.current.take_if(|(depth, _)| *depth >= self.depth) {
            self.count(&attributes, into);
        }
    }

    fn text(&mut self, text: &[u8]) {
        if let Some((_, current)) = self.current.as_mut().filter(|_| self.in_failure) {
            let room = MAX_FAILURE.saturating_sub(current.failure.len());
            current.failure.extend(text.iter().take(room));
        }
    }

    /// The document ends prematurely.
    fn end_early(&mut self, into: &mut FileTally) {
        if let Some((_, attributes)) = self.current.take() {
            self.count(&attributes, into);
        }
        self.transactions = 0;
        into.found.wrong = Some("it ends before `</testResults>`".to_owned());
    }

    fn count(&self, attributes: &Attributes, into: &mut FileTally) {
        if is_empty_transaction(&attributes.message) {
            into.found.samples += 1;
            into.found.rows += 1;
            return;
        }
        let failure = unescape(&String::from_utf8_lossy(&attributes.failure));
        let read = sample(attributes, &failure).map(|sample| into.add(&sample));
        into.found.record(self.elements, read);
    }
}

/// True if it is a figure of a machine, without thread and response.
fn is_metric(attributes: &Attributes) -> bool {
    let samples = attributes.samples.as_ref();
    let sums_several = samples.is_some_and(|samples| samples != b"1");
    attributes.code.is_empty()
        && !sums_several
        && match &attributes.thread {
            Some(thread) => thread.is_empty(),
            None => attributes.active == Some(0),
        }
}

fn sample<'a>(attributes: &'a Attributes, failure: &'a [u8]) -> Result<Sample<'a>, BadRow> {
    let elapsed = attributes.elapsed.as_deref().unwrap_or_default();
    let (samples, errors) = counts(attributes)?;
    let (code, message) = (&attributes.code, &attributes.message);
    let thread = attributes.thread.as_deref().unwrap_or_default();
    Ok(Sample {
        start: attributes.time.as_deref().map(start).transpose()?,
        elapsed: millis(elapsed).ok_or_else(|| BadRow::value("t", elapsed))?,
        samples,
        errors,
        label: &attributes.label,
        transaction: message.starts_with(TRANSACTION),
        code,
        message: wrong(code, message, failure),
        received: attributes.received,
        sent: attributes.sent,
        active: attributes.active,
        worker: worker(&attributes.host, thread),
        thread,
        ..Sample::default()
    })
}

fn counts(attributes: &Attributes) -> Result<(u64, Option<u64>), BadRow> {
    // Without the attribute, only the response code shows the outcome.
    let by_code = (!attributes.code.is_empty()).then(|| is_success(&attributes.code));
    let failed = attributes.success.or(by_code).map(|success| !success);
    let number = |name, text: &Option<Vec<u8>>| {
        let number = |text| whole(text).ok_or_else(|| BadRow::value(name, text));
        text.as_deref().map(number).transpose()
    };
    let samples = number("sc", &attributes.samples)?.unwrap_or(1);
    let errors = number("ec", &attributes.errors)?;
    if samples == 0 || errors.is_some_and(|errors| errors > samples) {
        let sum = format!("{samples}`, its `ec` is `{}", errors.unwrap_or_default());
        return Err(BadRow::Value("sc".into(), sum));
    }
    let of_one = failed.map(u64::from);
    let errors = match samples {
        1 => of_one.or(errors),
        // For several unsuccessful samples the number of failed ones is unknown.
        _ => errors.or(of_one.filter(|failed| *failed == 0)),
    };
    Ok((samples, errors))
}

fn attributes(tag: &str, name: usize) -> Attributes {
    let mut found = Attributes::default();
    for attribute in Raw::new(tag, name).with_checks(false).flatten() {
        let raw = &attribute.value;
        let text = || unescape(&String::from_utf8_lossy(raw));
        match attribute.key.as_ref() {
            b"ts" | b"timeStamp" => found.time = Some(raw.to_vec()),
            b"t" | b"time" => found.elapsed = Some(raw.to_vec()),
            b"s" | b"success" => found.success = Some(raw.eq_ignore_ascii_case(b"true")),
            b"lb" | b"label" => found.label = text(),
            b"rc" | b"responseCode" => found.code = text(),
            b"rm" | b"responseMessage" => found.message = text(),
            b"tn" | b"threadName" => found.thread = Some(text()),
            b"hn" => found.host = text(),
            b"by" => found.received = bytes(raw),
            b"sby" => found.sent = bytes(raw),
            b"na" => found.active = whole(raw).and_then(|active| active.try_into().ok()),
            b"sc" => found.samples = Some(raw.to_vec()),
            b"ec" => found.errors = Some(raw.to_vec()),
            _ => {}
        }
    }
    found
}

/// Resolves entities. Control characters, which are invalid in XML but written by JMeter as
/// entities, are shown like `\0` and `\x1b`.
fn unescape(raw: &str) -> Vec<u8> {
    if let Ok(text) = quick_xml::escape::unescape(raw) {
        return text.into_owned().into_bytes();
    }
    let mut text = String::with_capacity(raw.len());
    let mut parts = raw.split('&');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let resolved = part
            .split_once(';')
            .and_then(|(entity, rest)| Some((character(entity)?, rest)));
        match resolved {
            Some((character, rest)) => {
                text.push_str(&character);
                text.push_str(rest);
            }
            None => {
                text.push('&');
                text.push_str(part);
            }
        }
    }
    text.into_bytes()
}

fn character(entity: &str) -> Option<String> {
    if let Some(text) = quick_xml::escape::resolve_xml_entity(entity) {
        return Some(text.to_owned());
    }
    let number = entity.strip_prefix('#')?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    Some(match code {
        0 => "\\0".to_owned(),
        1..0x20 => format!("\\x{code:02x}"),
        _ => char::from_u32(code)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
            .to_string(),
    })
}
