//! Limits of the processes of a container. Whether a node grants them is known only when a container starts there.

use super::declared::{Declared, MAX_WHOLE};
use super::reader::{Field, Reader};
use crate::wording::wrong_type;
use atq_api_spec::kernel::{self as wire, SoftAndHard};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

static ULIMITS: LazyLock<Declared> = LazyLock::new(Declared::of::<wire::Ulimits>);
static SOFT_AND_HARD: LazyLock<Declared> = LazyLock::new(Declared::of::<SoftAndHard>);

/// A limited resource. The others of `setrlimit(2)` raise priorities, or end a tool in the middle of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UlimitName {
    /// Bytes of a core dump.
    Core,
    /// Bytes of locked memory.
    Memlock,
    /// Open files and connections.
    Nofile,
    /// Processes and threads of a user.
    Nproc,
    /// Bytes of a stack.
    Stack,
}

impl UlimitName {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Core,
        Self::Memlock,
        Self::Nofile,
        Self::Nproc,
        Self::Stack,
    ];

    /// The name in definitions and in Docker's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Memlock => "memlock",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Stack => "stack",
        }
    }

    /// Its number in the Linux kernel.
    pub fn number(self) -> u32 {
        match self {
            Self::Stack => 3,
            Self::Core => 4,
            Self::Nproc => 6,
            Self::Nofile => 7,
            Self::Memlock => 8,
        }
    }

    /// Bounds of the value. Below a minimum no program starts; above a maximum no kernel grants it.
    pub fn range(self) -> RangeInclusive<u64> {
        match self {
            Self::Core | Self::Memlock => 0..=MAX_WHOLE,
            Self::Nofile => 64..=1 << 30,
            // The maximum of `kernel.pid_max`.
            Self::Nproc => 1..=1 << 22,
            // Arguments and environment take up to a quarter of the stack.
            Self::Stack => 128 << 10..=1 << 30,
        }
    }
}

/// A soft limit, and a hard limit that is not below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    soft: u64,
    hard: u64,
}

impl Ulimit {
    /// `None` if the soft limit is above the hard one.
    pub fn new(soft: u64, hard: u64) -> Option<Self> {
        (soft <= hard).then_some(Self { soft, hard })
    }

    /// The limit at the start of a process.
    pub fn soft(self) -> u64 {
        self.soft
    }

    /// The limit up to which a process can raise its soft limit.
    pub fn hard(self) -> u64 {
        self.hard
    }

    fn shown(self) -> wire::Ulimit {
        let Self { soft, hard } = self;
        match soft == hard {
            true => wire::Ulimit::Both(hard),
            false => wire::Ulimit::Each(SoftAndHard { soft, hard }),
        }
    }
}

/// Limits of the processes of a container; those of absent resources are the defaults of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimits(BTreeMap<UlimitName, Ulimit>);

impl Ulimits {
    /// The defined limits.
    pub fn iter(&self) -> impl Iterator<Item = (UlimitName, Ulimit)> + '_ {
        self.0.iter().map(|(name, limit)| (*name, *limit))
    }

    /// True if no limit is defined.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn shown(&self) -> Option<wire::Ulimits> {
        let of = |name| self.0.get(&name).map(|limit| limit.shown());
        (!self.is_empty()).then(|| wire::Ulimits {
            core: of(UlimitName::Core),
            memlock: of(UlimitName::Memlock),
            nofile: of(UlimitName::Nofile),
            nproc: of(UlimitName::Nproc),
            stack: of(UlimitName::Stack),
        })
    }
}

impl Reader<'_> {
    pub(super) fn ulimits(&mut self, field: &Field) -> Option<Ulimits> {
        let limits = self.optional_object(field, &ULIMITS)?;
        let before = self.faults.len();
        let of = |name: UlimitName| {
            let field = limits.field(name.as_str()).within(name.range());
            Some((name, self.ulimit(&field)??))
        };
        let limits = UlimitName::ALL.into_iter().filter_map(of).collect();
        (self.faults.len() == before).then_some(Ulimits(limits))
    }

    fn ulimit(&mut self, field: &Field) -> Option<Option<Ulimit>> {
        match field.value {
            None => Some(None),
            Some(Value::Number(_)) => {
                let number = self.required_number(field)?;
                Some(Ulimit::new(number, number))
            }
            Some(value @ Value::Object(_)) => self.soft_and_hard(field, value).map(Some),
            Some(other) => {
                let (min, max) = field.range.clone().into_inner();
                let expected = format!(
                    "a whole number from {min} to {max}, or an object of `soft` and `hard`"
                );
                self.fault(&field.path, wrong_type(other, &expected))
            }
        }
    }

    fn soft_and_hard(&mut self, field: &Field, value: &Value) -> Option<Ulimit> {
        let limits = self.object(&field.path, value, &SOFT_AND_HARD)?;
        let [soft, hard] =
            ["soft", "hard"].map(|name| limits.field(name).within(field.range.clone()));
        let at = soft.path.clone();
        let (soft, hard) = (self.required_number(&soft), self.required_number(&hard));
        let (soft, hard) = (soft?, hard?);
        Ulimit::new(soft, hard).or_else(|| {
            let why = format!("is {soft}; expected at most the hard limit, {hard}");
            self.fault(&at, why)
        })
    }
}
