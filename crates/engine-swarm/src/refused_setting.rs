//! Limits and settings of a definition that a node refuses. They are known only when a container starts there, and
//! Docker reports them in the text of the container runtime (ARCHITECTURE.md, How Docker Swarm behaves).

use atq_task::spec::{Sysctls, TaskSpec, UlimitName, names_of};
use std::fmt;

/// runc's text for a limit, before its number in the kernel.
const RLIMIT_TYPE: &str = "error setting rlimit type ";
/// crun's text for a limit, before its name in capitals.
const RLIMIT_NAME: &str = "setrlimit `RLIMIT_";

/// A limit or setting that prevents the start of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusedSetting {
    /// A limit of the processes.
    Ulimit(UlimitName),
    /// A setting of the kernel.
    Sysctl(&'static str),
}

impl RefusedSetting {
    /// Finds it in the text of a failed start.
    pub fn find(text: &str) -> Option<Self> {
        let limit = ulimit(text).map(Self::Ulimit);
        limit.or_else(|| sysctl(text).map(Self::Sysctl))
    }

    /// The remedy, with the requested limits of the services.
    pub fn hint(self, spec: &TaskSpec) -> String {
        match self {
            Self::Ulimit(name) => {
                let option = name.as_str();
                let unit = option.to_uppercase();
                format!(
                    "the definition requests {}; without the capability CAP_SYS_RESOURCE a node grants at most the hard \
                     limit of its container runtime, which `prlimit --{option} --pid $(pidof containerd)` shows there: \
                     request less, or raise `Limit{unit}` of the services docker and containerd",
                    requested(name, spec)
                )
            }
            Self::Sysctl(_) => {
                "the kernel of the node lacks this setting, or does not accept its value: remove or change it, or \
                 select other nodes by `placement.constraints`"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for RefusedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ulimit(name) => write!(f, "the node does not grant `ulimits.{}`", name.as_str()),
            Self::Sysctl(name) => write!(f, "the node does not accept `sysctls.{name}`"),
        }
    }
}

fn ulimit(text: &str) -> Option<UlimitName> {
    let after = |prefix| text.split_once(prefix).map(|(_, rest)| rest);
    let number = after(RLIMIT_TYPE).map(|rest| leading(rest, |c| c.is_ascii_digit()));
    let name = after(RLIMIT_NAME).map(|rest| leading(rest, |c| c.is_ascii_uppercase()));
    let is_it = |limit: &UlimitName| {
        number == Some(limit.number().to_string())
            || name.as_deref() == Some(limit.as_str().to_uppercase().as_str())
    };
    UlimitName::ALL.into_iter().find(is_it)
}

fn leading(text: &str, is_part: impl Fn(char) -> bool) -> String {
    text.chars().take_while(|c| is_part(*c)).collect()
}

/// Runtimes name the file, `/proc/sys/net/ipv4/tcp_tw_reuse`, or the setting, `net.ipv4.tcp_tw_reuse`.
fn sysctl(text: &str) -> Option<&'static str> {
    let is_named = |name: &&&str| text.contains(**name) || text.contains(&name.replace('.', "/"));
    names_of::<Sysctls>().iter().find(is_named).copied()
}

/// The hard limits of the services, largest first.
fn requested(name: UlimitName, spec: &TaskSpec) -> String {
    let services = [&spec.worker, &spec.master].into_iter();
    let limits = services.flat_map(|service| service.ulimits.iter());
    let of_name = limits.filter(|(limited, _)| *limited == name);
    let mut hard: Vec<u64> = of_name.map(|(_, limit)| limit.hard()).collect();
    hard.sort_unstable_by(|a, b| b.cmp(a));
    hard.dedup();
    let hard: Vec<String> = hard.iter().map(ToString::to_string).collect();
    hard.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "starting container failed: failed to create shim task: OCI runtime create failed: runc create \
                         failed: unable to start container process: error during container init: ";

    fn found(rest: &str) -> Option<String> {
        RefusedSetting::find(&format!("{START}{rest}: unknown")).map(|found| found.to_string())
    }

    #[test]
    fn a_refused_limit_is_found_by_its_number_and_by_its_name() {
        for name in UlimitName::ALL {
            let number = name.number();
            let expected = format!("the node does not grant `ulimits.{}`", name.as_str());
            let runc = format!(
                "error setting rlimits for ready process: error setting rlimit type {number}: operation not permitted"
            );
            assert_eq!(found(&runc), Some(expected.clone()));
            let crun = format!(
                "setrlimit `RLIMIT_{}`: Operation not permitted",
                name.as_str().to_uppercase()
            );
            assert_eq!(found(&crun), Some(expected));
        }
        assert_eq!(found("error setting rlimit type 77: x"), None);
        assert_eq!(found("error setting rlimit type 14: x"), None);
    }

    #[test]
    fn a_refused_setting_is_found_by_its_file_and_by_its_name() {
        let expected = "the node does not accept `sysctls.net.ipv4.ip_local_port_range`";
        for text in [
            "write /proc/sys/net/ipv4/ip_local_port_range: invalid argument",
            "open sysctl net/ipv4/ip_local_port_range: no such file or directory",
            "sysctl \"net.ipv4.ip_local_port_range\" is not in a separate kernel namespace",
        ] {
            assert_eq!(found(text).as_deref(), Some(expected));
        }
        let of_docker = "open /proc/sys/net/ipv6/conf/eth0/disable_ipv6: read-only file system";
        assert_eq!(found(of_docker), None);
        assert_eq!(RefusedSetting::find("task: non-zero exit (1)"), None);
    }
}
