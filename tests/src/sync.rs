//! Tasks whose tools run through `atq-sync`.

use serde_json::{Value, json};

/// A task in which every worker runs a shell script as its tool.
pub fn sync_task(name: &str, image: &str, workers: u32, script: &str, options: &[&str]) -> Value {
    let master: Vec<&str> = ["master"].iter().chain(options).copied().collect();
    json!({
        "name": name,
        "worker": {
            "alias": "workers", "image": image, "replicas": workers,
            "args": ["worker", "--", "/bin/sh", "-c", script],
            "readiness": {"tcp": 7700},
        },
        "master": {"alias": "master", "image": image, "args": master},
    })
}

/// The skew in milliseconds that a log of the master contains.
pub fn skew_ms(log: &str) -> Option<f64> {
    let (_, rest) = log.split_once("skew ")?;
    rest.split_once(" ms")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_skew_is_read_from_a_log() {
        let log = "x\natq-sync: 3 tools started; skew 1.204 ms (uncertainty 0.149 ms); y\n";
        assert_eq!(skew_ms(log), Some(1.204));
        assert_eq!(skew_ms("nothing"), None);
    }
}
