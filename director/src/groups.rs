//! Groups of this machine.
//!
//! The C library's functions do not work in a static program, because they load plug-ins. So the file is read, and other
//! sources, such as a directory service, are queried by the program `getent`.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Timeout of a query of other sources.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between two checks whether the query has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The id of a group, given by name or as a number; `None` if there is no such group. Blocks the thread.
pub fn id(name: &str) -> Option<u32> {
    let file = fs::read_to_string("/etc/group").unwrap_or_default();
    find(&file, name)
        .or_else(|| name.parse().ok())
        .or_else(|| find(&query(name)?, name))
}

/// The id of a group in the format of `/etc/group`.
fn find(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        fields.nth(1).filter(|_| is_it)?.trim().parse().ok()
    })
}

/// The line of a group in the output of `getent`; `None` without a result in time.
fn query(name: &str) -> Option<String> {
    let mut child = Command::new("getent")
        .args(["--", "group", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let begun = Instant::now();
    // One line always fits in the pipe.
    while matches!(child.try_wait(), Ok(None)) {
        if begun.elapsed() > TIMEOUT {
            // It may have ended meanwhile.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        sleep(POLL_INTERVAL);
    }
    let mut text = String::new();
    child.stdout.take()?.read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let file = "root:x:0:\nbroken\natq-users:x:12:\natq:x:987:alice,bob\n";
        assert_eq!(find(file, "atq"), Some(987));
        assert_eq!(find(file, "root"), Some(0));
        assert_eq!(find(file, "at"), None);
        assert_eq!(find(file, "broken"), None);
    }

    #[test]
    fn groups_of_this_machine_and_numbers_are_known() {
        assert_eq!(id("root"), Some(0));
        assert_eq!(id("4711"), Some(4711));
        assert_eq!(id("no-such-group-here"), None);
        assert_eq!(id("-no-option"), None);
    }

    #[test]
    fn other_sources_are_queried() {
        assert_eq!(query("root").and_then(|line| find(&line, "root")), Some(0));
    }
}
