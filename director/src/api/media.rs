//! Content negotiation.

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

const JSON: &str = "application/json";

/// Labels JSON responses with the vendor media type if `Accept` contains it by name.
pub async fn vendor(State(media): State<&'static str>, request: Request, next: Next) -> Response {
    let wanted = accepts(request.headers(), media);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if wanted && headers.get(CONTENT_TYPE).is_some_and(|kind| kind == JSON) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    }
    response
}

/// Whether the `Accept` header contains `media`, and does not prefer JSON. Wildcards do not count.
pub fn accepts(headers: &HeaderMap, media: &str) -> bool {
    prefers(headers, media, JSON)
}

/// Whether the `Accept` header contains `media`, and does not prefer the type `other`. Wildcards do not count.
pub fn prefers(headers: &HeaderMap, media: &str, other: &str) -> bool {
    let ranges: Vec<Range> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .collect();
    let Some(media) = Range::parse(media) else {
        return false;
    };
    let best_quality = |matches: &dyn Fn(&Range) -> bool| {
        let matching = ranges.iter().filter(|range| matches(range));
        matching.map(|range| range.quality).max()
    };
    let wanted = best_quality(&|range| range.covers(&media)).unwrap_or(0);
    wanted > 0 && wanted >= best_quality(&|range| range.essence == other).unwrap_or(0)
}

/// An item of an `Accept` header.
struct Range {
    essence: String,
    /// The parameter `type`, which distinguishes a collection from its items. Other parameters, such as `view` of the
    /// 2018 version, are ignored.
    kind: Option<String>,
    /// The parameter `version`. It matters only for types that have one.
    version: Option<String>,
    /// In thousandths.
    quality: u16,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
        let essence = parts.next().filter(|essence| !essence.is_empty())?;
        let mut range = Self {
            essence,
            kind: None,
            version: None,
            quality: 1000,
        };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or_default();
            let value = value.trim().trim_matches('"');
            match name.trim() {
                "type" => range.kind = Some(value.to_owned()),
                "version" => range.version = Some(value.to_owned()),
                "q" => range.quality = thousandths(value),
                _ => {}
            }
        }
        Some(range)
    }

    fn covers(&self, media: &Self) -> bool {
        self.essence == media.essence
            && (self.kind.is_none() || self.kind == media.kind)
            && (self.version.is_none() || media.version.is_none() || self.version == media.version)
    }
}

/// An invalid weight counts as zero.
fn thousandths(text: &str) -> u16 {
    let weight = text.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0);
    (weight * 1000.0) as u16
}
