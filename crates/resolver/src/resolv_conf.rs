//! `/etc/resolv.conf`, parsed like glibc: keywords start at the beginning of a line, the last `search` or `domain`
//! applies, and invalid lines are ignored.

use std::net::IpAddr;
use std::time::Duration;

const PATH: &str = "/etc/resolv.conf";
/// The kernel's host name. Its domain is the search list when the file has none.
const HOST_NAME_PATH: &str = "/proc/sys/kernel/hostname";
/// Further servers are ignored, as in glibc.
const MAX_NAMESERVERS: usize = 3;
/// Maximum values of the options, as in glibc.
const MAX_NDOTS: usize = 15;
const MAX_TIMEOUT: usize = 30;
const MAX_ATTEMPTS: usize = 5;

/// DNS servers and resolver options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// The servers, in query order.
    pub nameservers: Vec<IpAddr>,
    /// Domains that are appended to short names.
    pub search: Vec<String>,
    /// A name with fewer dots is tried with the search list first.
    pub ndots: usize,
    /// Timeout of a query to one server.
    pub timeout: Duration,
    /// Number of rounds through the list of servers.
    pub attempts: usize,
    /// Whether queries use TCP only.
    pub tcp: bool,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            tcp: false,
        }
    }
}

impl ResolvConf {
    /// Reads the file of this machine; an unreadable file is treated as empty.
    pub fn from_system() -> Self {
        let mut conf = Self::parse(&std::fs::read(PATH).unwrap_or_default());
        if conf.search.is_empty() {
            let host = std::fs::read_to_string(HOST_NAME_PATH).unwrap_or_default();
            conf.search.extend(domain_of(host.trim()));
        }
        conf
    }

    /// Parses the text of a file.
    pub fn parse(text: &[u8]) -> Self {
        let mut conf = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            conf.parse_line(&String::from_utf8_lossy(line));
        }
        conf
    }

    fn parse_line(&mut self, line: &str) {
        let Some((keyword, rest)) = line.split_once([' ', '\t']) else {
            return;
        };
        let rest = rest.split(['#', ';', '\r']).next().unwrap_or_default();
        let mut words = rest.split_whitespace();
        match keyword {
            "nameserver" if self.nameservers.len() < MAX_NAMESERVERS => {
                self.nameservers
                    .extend(words.next().and_then(parse_address));
            }
            "domain" | "search" => self.search = words.map(str::to_owned).collect(),
            "options" => words.for_each(|word| self.parse_option(word)),
            _ => {}
        }
    }

    fn parse_option(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        match (name, value.parse::<usize>()) {
            ("ndots", Ok(number)) => self.ndots = number.min(MAX_NDOTS),
            ("timeout", Ok(number)) => {
                self.timeout = Duration::from_secs(number.clamp(1, MAX_TIMEOUT) as u64);
            }
            ("attempts", Ok(number)) => self.attempts = number.clamp(1, MAX_ATTEMPTS),
            ("use-vc", _) => self.tcp = true,
            _ => {}
        }
    }
}

/// Parses an address; drops the zone of a link-local address.
fn parse_address(word: &str) -> Option<IpAddr> {
    word.split('%').next()?.parse().ok()
}

fn domain_of(host: &str) -> Option<String> {
    let (_, domain) = host.split_once('.')?;
    (!domain.is_empty()).then(|| domain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(text.as_bytes())
    }

    fn nameservers(text: &str) -> Vec<String> {
        let servers = parse(text).nameservers;
        servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nameservers_are_parsed_line_by_line() {
        let text = "# generated\n; old\nnameserver 10.0.0.1\r\nnameserver\t::1 # the second\nnameserver fe80::1%eth0\n";
        assert_eq!(nameservers(text), ["10.0.0.1", "::1", "fe80::1"]);
        let text = "nameserver 10.0.0.1;x\nnameserver ${DNS}\nnameserver\nnameserver 10.0.0.256\nnameserver 10.0.0.2";
        assert_eq!(nameservers(text), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(
            nameservers("nameserver 1.1.1.1\n".repeat(9).as_str()).len(),
            3
        );
    }

    #[test]
    fn invalid_lines_are_ignored_as_in_the_c_library() {
        let text = " nameserver 8.8.8.8\nNameserver 8.8.8.8\nnameservers 8.8.8.8\nnameserver=8.8.8.8\nserver 8.8.8.8\n";
        assert_eq!(parse(text), ResolvConf::default());
        let conf =
            ResolvConf::parse(b"\xff\xfe\nsearch \xff.test\nnameserver 10.0.0.1\n\x00\noptions");
        assert_eq!(conf.nameservers.len(), 1);
    }

    #[test]
    fn an_invalid_search_domain_keeps_the_rest() {
        let conf = parse("nameserver 10.0.0.1\nsearch corp.test .other.test ${DOMAIN} # why\n");
        assert_eq!(conf.search, ["corp.test", ".other.test", "${DOMAIN}"]);
        assert_eq!(conf.nameservers.len(), 1);
        assert_eq!(parse("search a\ndomain b\n").search, ["b"]);
        assert_eq!(parse("domain b\nsearch a c\n").search, ["a", "c"]);
    }

    #[test]
    fn options_are_limited() {
        let conf =
            parse("options ndots:99 timeout:999 attempts:0 rotate edns0 nonsense: :5 use-vc\n");
        assert_eq!((conf.ndots, conf.attempts, conf.tcp), (15, 1, true));
        assert_eq!(conf.timeout, Duration::from_secs(30));
        assert_eq!(parse("options ndots:x timeout:\n"), ResolvConf::default());
        assert_eq!(parse("options ndots:0").ndots, 0);
    }

    #[test]
    fn the_domain_of_a_host_name() {
        assert_eq!(domain_of("ci-1.corp.test"), Some("corp.test".to_owned()));
        assert_eq!(domain_of("ci-1"), None);
        assert_eq!(domain_of("ci-1."), None);
    }

    proptest! {
        #[test]
        fn no_line_hides_a_server(noise: Vec<u8>) {
            let mut text = noise;
            text.extend_from_slice(b"\nnameserver 10.0.0.1\n");
            let conf = ResolvConf::parse(&text);
            prop_assert!(conf.nameservers.len() == 3 || conf.nameservers.contains(&IpAddr::from([10, 0, 0, 1])));
        }
    }
}
