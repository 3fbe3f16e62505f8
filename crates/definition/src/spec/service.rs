//! A service of a task.

use super::declared::Declared;
use super::reader::{Field, Object, Reader, STRING_BYTES};
use super::{
    MAX_WORKERS, Placement, REMOTES, RESERVED_PREFIX, Resources, STOP_GRACE, SplitFile, Sysctls,
    Ulimits, WORKER_ADDRESSES, WORKERS_NAME,
};
use crate::image;
use crate::wording::{is_name, shorten, wrong_type};
use atq_api_spec::task::{ServicePayload, TaskService};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

static SERVICE: LazyLock<Declared> =
    LazyLock::new(|| Declared::of::<ServicePayload>().shown_as::<TaskService>());

/// Reserved namespaces of labels, with their owners. Upper and lower case are the same: tools that compare labels
/// without their case must not take a label of a user for one of the Director.
const RESERVED_LABELS: [(&str, &str); 2] = [("com.atq", "the Director"), ("com.docker", "Docker")];

/// An environment variable of a container. Its value may be a password: it never appears in
/// `Debug` output, answers, events or log lines.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Name, without `=`.
    pub name: String,
    /// Value; may be empty.
    pub value: String,
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

/// One service of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The service's name on the task's network.
    pub alias: String,
    /// Image reference as given by the user.
    pub image: String,
    /// Arguments of the container; the image's entrypoint is kept.
    pub args: Vec<String>,
    /// Environment of the container.
    pub environment: Vec<EnvVar>,
    /// The bundle that is mounted at `/atq/data`.
    pub fileid: Option<String>,
    /// Number of containers.
    pub replicas: u32,
    /// True if the containers get a terminal.
    pub tty: bool,
    /// Existing overlay networks to join in addition to the task's own.
    pub networks: Vec<String>,
    /// Resource limits and reservations of a container.
    #[serde(default)]
    pub resources: Resources,
    /// Placement of the containers.
    #[serde(default)]
    pub placement: Placement,
    /// Labels of the user, for the service and its containers.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Seconds between SIGTERM and SIGKILL; `None`: [`STOP_GRACE`].
    #[serde(default)]
    pub stop_grace_period: Option<u64>,
    /// Files of the bundle that are split between the replicas.
    #[serde(default)]
    pub split: Vec<SplitFile>,
    /// The user of the containers, in Docker's notation; `None`: the user of the image.
    #[serde(default)]
    pub user: Option<String>,
    /// Limits of the processes of a container.
    #[serde(default)]
    pub ulimits: Ulimits,
    /// Settings of the kernel for the network of a container.
    #[serde(default)]
    pub sysctls: Sysctls,
}

impl ServiceSpec {
    /// Time between SIGTERM and SIGKILL, with its default.
    pub fn stop_grace(&self) -> Duration {
        self.stop_grace_period
            .map_or(STOP_GRACE, Duration::from_secs)
    }

    /// True if the user set the variable `name`.
    pub fn sets(&self, name: &str) -> bool {
        self.environment.iter().any(|var| var.name == name)
    }

    /// The service as shown in answers. `id` is Docker's; `readiness` belongs to the task.
    pub(super) fn shown(&self, id: Option<&str>) -> TaskService {
        TaskService {
            id: id.unwrap_or_default().to_owned(),
            alias: self.alias.clone(),
            file_id: self.fileid.clone().unwrap_or_default(),
            image: self.image.clone(),
            replicas: self.replicas,
            tty: self.tty,
            args: self.args.clone(),
            networks: self.networks.clone(),
            resources: self.resources.shown(),
            placement: self.placement.shown(),
            labels: self.labels.clone(),
            stop_grace_period: self.stop_grace_period,
            readiness: None,
            split: self.split.clone(),
            user: self.user.clone(),
            ulimits: self.ulimits.shown(),
            sysctls: (self.sysctls != Sysctls::default()).then(|| self.sysctls.clone()),
        }
    }

    /// The service in the format of a definition, with the names of variables but without their values.
    pub(super) fn without_values(&self) -> ServicePayload {
        let shown = self.shown(None);
        let variables = self.environment.iter();
        ServicePayload {
            alias: shown.alias,
            image: shown.image,
            args: shown.args,
            environment: variables.map(|variable| variable.name.clone()).collect(),
            fileid: self.fileid.clone(),
            split: shown.split,
            user: shown.user,
            replicas: shown.replicas,
            tty: shown.tty,
            networks: shown.networks,
            resources: shown.resources,
            placement: shown.placement,
            labels: shown.labels,
            stop_grace_period: shown.stop_grace_period,
            ulimits: shown.ulimits,
            sysctls: shown.sysctls,
            readiness: shown.readiness,
        }
    }
}

/// Maximum time in seconds between SIGTERM and SIGKILL, regardless of a Director's configuration.
pub fn max_stop_grace() -> u64 {
    SERVICE.range("stopGracePeriod").into_inner().1
}

impl Reader<'_> {
    pub(super) fn service(&mut self, role: &str, task: &Object) -> Option<ServiceSpec> {
        let Some(value) = task.field(role).value else {
            return self.fault(
                role,
                "is missing; expected an object with `alias` and `image`".into(),
            );
        };
        let service = self.object(role, value, &SERVICE)?;
        let alias = self.alias(&service.field("alias"));
        let image = self.image(&service.field("image"));
        let args = self.texts(&service.field("args"), STRING_BYTES);
        let environment = self.environment(&service.field("environment"));
        let bundle = bundle_field(&service);
        let fileid = self.bundle_id(&service, &bundle);
        let id = fileid.as_ref().and_then(Option::as_deref);
        let split = self.split(role, &service.field("split"), &bundle, id);
        let user = self.user(&service.field("user"));
        let replicas = self.replicas(role, service.field("replicas"));
        let tty = self.boolean(&service.field("tty"));
        let networks = self.networks(&service.field("networks"));
        let resources = self.resources(&service.field("resources"));
        let placement = self.placement(&service.field("placement"));
        let labels = self.labels(&service.field("labels"));
        let grace = service.field("stopGracePeriod");
        let stop_grace_period =
            self.whole_number(&grace.at_most(self.surroundings.max_stop_grace()));
        let ulimits = self.ulimits(&service.field("ulimits"));
        let sysctls = self.sysctls(&service.field("sysctls"));
        if let (Some(image), Some(environment)) = (&image, &environment) {
            self.check_required_variables(role, image, environment);
        }
        Some(ServiceSpec {
            alias: alias?,
            image: image?,
            args: args?,
            environment: environment?,
            fileid: fileid?,
            replicas: replicas?,
            tty: tty?.unwrap_or_default(),
            networks: networks?,
            resources: resources?,
            placement: placement?,
            labels: labels?,
            stop_grace_period: stop_grace_period?,
            split: split?,
            user: user?,
            ulimits: ulimits?,
            sysctls: sysctls?,
        })
    }

    fn alias(&mut self, field: &Field) -> Option<String> {
        let alias = self.required_text(field)?;
        if !is_name(&alias, 1..=63) {
            let why = format!(
                "`{}` is not an alias; expected 1 to 63 letters, digits, `_` or `-`, \
                 with a letter or digit at both ends",
                shorten(&alias)
            );
            return self.fault(&field.path, why);
        }
        match alias.eq_ignore_ascii_case(WORKERS_NAME) {
            true => self.fault(
                &field.path,
                format!("`{alias}` is used by the Director itself"),
            ),
            false => Some(alias),
        }
    }

    fn image(&mut self, field: &Field) -> Option<String> {
        let text = self.required_text(field)?;
        if let Err(why) = image::check(&text) {
            return self.fault(&field.path, format!("`{}` {why}", shorten(&text)));
        }
        match self.surroundings.required_variables(&text) {
            Ok(_) => Some(text),
            Err(why) => self.fault(&field.path, why),
        }
    }

    fn check_required_variables(&mut self, role: &str, image: &str, environment: &[EnvVar]) {
        let required = self
            .surroundings
            .required_variables(image)
            .unwrap_or_default();
        for name in required {
            // The Director sets these two for the master.
            let given = role == "master" && (name == REMOTES || name == WORKER_ADDRESSES);
            if !given && !environment.iter().any(|var| var.name == name) {
                let why = format!("lacks `{name}`, which the image `{image}` requires");
                self.note(&format!("{role}.environment"), why);
            }
        }
    }

    fn replicas(&mut self, role: &str, field: Field) -> Option<u32> {
        let field = field.at_most(self.surroundings.max_replicas());
        let number = self.number(&field)?;
        if role == "worker" && number > MAX_WORKERS {
            let why = format!(
                "is {number}; at most {MAX_WORKERS} workers fit into one answer of Docker's DNS (64 KiB)"
            );
            return self.fault(&field.path, why);
        }
        u32::try_from(number).ok()
    }

    fn bundle_id(&mut self, service: &Object, field: &Field) -> Option<Option<String>> {
        let [fileid, shown] = bundle_fields(service);
        if !fileid.is_empty() && !shown.is_empty() && fileid.value != shown.value {
            let why = "and `fileId` name two bundles; expected one of them".to_owned();
            return self.fault(&fileid.path, why);
        }
        let id = match field.value {
            None => return Some(None),
            Some(Value::String(id)) if id.is_empty() => return Some(None),
            Some(Value::String(id)) => id,
            Some(other) => return self.fault(&field.path, wrong_type(other, "a string")),
        };
        if self.surroundings.has_bundle(id) {
            return Some(Some(id.clone()));
        }
        let why = format!(
            "`{}` is unknown; upload the bundle first and use the `id` of the answer",
            shorten(id)
        );
        self.fault(&field.path, why)
    }

    fn user(&mut self, field: &Field) -> Option<Option<String>> {
        let Some(user) = self.any_text(field)? else {
            return Some(None);
        };
        let visible = |c: char| !c.is_whitespace() && !c.is_control();
        let parts: Vec<&str> = user.split(':').collect();
        let fits = parts.len() <= 2
            && parts.iter().all(|part| !part.is_empty())
            && user.chars().all(visible)
            && user.len() <= field.max_length();
        match fits {
            true => Some(Some(user)),
            false => {
                let why = format!(
                    "`{}` is not a user; expected one like `root`, `1000` or `1000:1000`",
                    shorten(&user)
                );
                self.fault(&field.path, why)
            }
        }
    }

    fn environment(&mut self, field: &Field) -> Option<Vec<EnvVar>> {
        let texts = self.texts(field, usize::MAX)?;
        let before = self.faults.len();
        let vars: Vec<EnvVar> = texts
            .iter()
            .enumerate()
            .filter_map(|(index, text)| self.variable(&field.item(index), text))
            .collect();
        self.check_duplicates(field, &vars);
        (self.faults.len() == before).then_some(vars)
    }

    /// Parses a variable. Messages never contain its value, which may be a password.
    fn variable(&mut self, path: &str, text: &str) -> Option<EnvVar> {
        let Some((name, value)) = text.split_once('=') else {
            return self.fault(path, "has no `=`; expected `NAME=value`".into());
        };
        if name.is_empty() {
            return self.fault(path, "has no name before `=`; expected `NAME=value`".into());
        }
        if name == WORKER_ADDRESSES {
            return self.fault(
                path,
                format!("sets `{WORKER_ADDRESSES}`, which the Director sets itself"),
            );
        }
        if name.starts_with(RESERVED_PREFIX) {
            let name = shorten(name);
            let why = format!(
                "sets `{name}`; names that start with `{RESERVED_PREFIX}` belong to the Director"
            );
            return self.fault(path, why);
        }
        if text.len() > STRING_BYTES {
            let why = format!(
                "is {} bytes long; a container's variable holds at most {STRING_BYTES} bytes \
                 together with its name (a limit of the Linux kernel)",
                text.len()
            );
            return self.fault(path, why);
        }
        Some(EnvVar {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }

    fn check_duplicates(&mut self, field: &Field, vars: &[EnvVar]) {
        let mut seen = HashSet::new();
        for var in vars {
            if !seen.insert(var.name.as_str()) {
                self.note(&field.path, format!("sets `{}` twice", shorten(&var.name)));
            }
        }
    }

    fn networks(&mut self, field: &Field) -> Option<Vec<String>> {
        let names = self.texts(field, STRING_BYTES)?;
        let before = self.faults.len();
        let mut seen = HashSet::new();
        for (index, name) in names.iter().enumerate() {
            let at = field.item(index);
            if name.is_empty() {
                self.note(
                    &at,
                    "is empty; expected the name of an overlay network".into(),
                );
            } else if !seen.insert(name) {
                self.note(&at, format!("names `{}` twice", shorten(name)));
            }
        }
        (self.faults.len() == before).then_some(names)
    }

    fn labels(&mut self, field: &Field) -> Option<BTreeMap<String, String>> {
        let labels = match field.value {
            None => return Some(BTreeMap::new()),
            Some(Value::Object(labels)) => labels,
            Some(other) => {
                return self.fault(&field.path, wrong_type(other, "an object of strings"));
            }
        };
        let before = self.faults.len();
        let labels: BTreeMap<String, String> = labels
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), self.label(field, key, value)?)))
            .collect();
        (self.faults.len() == before).then_some(labels)
    }

    fn label(&mut self, field: &Field, key: &str, value: &Value) -> Option<String> {
        let at = format!("{}.{}", field.path, shorten(key));
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let why = format!(
                "has the key `{}`; expected one without blanks",
                shorten(key)
            );
            return self.fault(&field.path, why);
        }
        let lower = key.to_ascii_lowercase();
        let is_in = |space: &str| {
            let rest = lower.strip_prefix(space);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if let Some((space, owner)) = RESERVED_LABELS.into_iter().find(|(space, _)| is_in(space)) {
            let why = match lower == space {
                true => format!("cannot be set; the label `{space}` belongs to {owner}"),
                false => {
                    format!("cannot be set; labels that start with `{space}.` belong to {owner}")
                }
            };
            return self.fault(&at, why);
        }
        self.text(&at, value)
    }
}

/// The fields `fileid`, and `fileId` as used in answers.
fn bundle_fields<'v>(service: &Object<'v>) -> [Field<'v>; 2] {
    ["fileid", "fileId"].map(|name| service.field(name))
}

/// The field that names the bundle.
fn bundle_field<'v>(service: &Object<'v>) -> Field<'v> {
    let [fileid, shown] = bundle_fields(service);
    match fileid.is_empty() && !shown.is_empty() {
        true => shown,
        false => fileid,
    }
}
