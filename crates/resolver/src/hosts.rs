//! `/etc/hosts`. Names are compared as text, because names with `_` are valid in this file.

use std::net::IpAddr;

const PATH: &str = "/etc/hosts";

/// The entries of a hosts file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Vec<(IpAddr, Vec<String>)>);

impl Hosts {
    /// Reads the file of this machine; an unreadable file is treated as empty.
    pub fn from_system() -> Self {
        Self::parse(&std::fs::read(PATH).unwrap_or_default())
    }

    /// Parses an address and its names from each line. A line without a valid address is ignored.
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        Self(text.lines().filter_map(parse_line).collect())
    }

    /// The addresses of a host, in the order of the lines; empty when it is not in the file.
    pub fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let lines = self.0.iter();
        lines
            .filter(|(_, names)| names.iter().any(|name| name.eq_ignore_ascii_case(host)))
            .map(|(address, _)| *address)
            .collect()
    }
}

fn parse_line(line: &str) -> Option<(IpAddr, Vec<String>)> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let address = words.next()?.parse().ok()?;
    Some((address, words.map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str, host: &str) -> Vec<String> {
        let found = Hosts::parse(text.as_bytes()).addresses(host);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn any_form_of_name_is_found() {
        let text = "127.0.0.1 localhost\n10.0.0.1\tatq_director my_team.director.corp -a- # 10.0.0.9 x\r\n::1 atq_director";
        assert_eq!(addresses(text, "atq_director"), ["10.0.0.1", "::1"]);
        assert_eq!(addresses(text, "My_Team.Director.Corp"), ["10.0.0.1"]);
        assert_eq!(addresses(text, "my_team.director.corp."), ["10.0.0.1"]);
        assert_eq!(addresses(text, "-a-"), ["10.0.0.1"]);
        assert!(addresses(text, "x").is_empty());
        assert!(addresses(text, "").is_empty());
    }

    #[test]
    fn a_bad_line_is_ignored() {
        let text = "nonsense a\n10.0.0.300 a\n10.0.0.1\n\n#\n10.0.0.2 a";
        assert_eq!(addresses(text, "a"), ["10.0.0.2"]);
        let found = Hosts::parse(b"\xff\xfe \xff\n10.0.0.2 a\n").addresses("a");
        assert_eq!(found.len(), 1);
    }
}
